//! What the agreed order means: DID operations, the state that they make, and its storage.
//!
//! - [`did`]: `did:realdid:<network>:<id>`, an id that only the holder of its first keys can register
//! - [`document`]: the numbered keys of a DID, what each may be used for, its controllers and, where accredited, services
//! - [`key_set`]: keys that a record commits to without showing them: for recovery, and for the next change
//! - [`operation`]: create, update, recover, deactivate: who may, on which version, with what effect; what registrars and
//!   issuers do; propose and vote
//! - [`governance`]: the validators and parameters in charge, those aimed at, and what is voted on
//! - [`transaction`]: an operation with its chain, expiry, signers and signatures, and the check of all of them
//! - [`batch`]: what validators exchange: many transactions by one author, checked in one go
//! - [`block`]: one height of the chain: the batches that consensus put in order
//! - [`record`]: the state of one DID at one version
//! - [`registry`]: who may register or issue, and what issuers publish for verifiers; never a credential
//! - [`uri`]: addresses that are safe to keep and to print
//! - [`receipt`]: what became of a transaction
//! - [`tree`]: the authenticated tree, its proofs, and its layout in buckets
//! - [`state`]: what the tree holds, and under which keys
//! - [`proof`]: what shows a DID's state, a receipt or an entry of the registry to whoever knows the root
//! - [`outcome`]: the hashes of what a block led to, as checkpoints sign them
//! - [`mod@apply`]: the pure fold `(state, block) -> changes`
//! - [`resolution`]: records as W3C DID documents and DID resolution results
//! - [`snapshot`]: a ledger at one height in pieces, each checked by itself, for a node that begins there
//! - `store` (feature `store`): all of it in RocksDB, one synced write a block; nothing else names RocksDB
//!
//! The rules read no clock, no randomness and no hash-map order: every node, and every replay, gets the same state
//! to the bit. Consensus is left to others: a block's proof is opaque here.

pub mod apply;
pub mod batch;
pub mod block;
pub mod did;
pub mod document;
pub mod governance;
pub mod key_set;
pub mod operation;
pub mod outcome;
pub mod proof;
pub mod receipt;
pub mod record;
pub mod registry;
pub mod resolution;
pub mod snapshot;
pub mod state;
#[cfg(feature = "store")]
pub mod store;
pub mod transaction;
pub mod tree;
pub mod uri;

pub use apply::{ApplyError, Changes, StateView, apply};
pub use batch::{Batch, BatchError, CheckedBatch, UncheckedBatch};
pub use block::{Block, Tip};
pub use did::{Did, DidId};
pub use document::{Document, Key, KeyNumber, Purposes, VerificationKey};
pub use governance::{Governance, Proposal};
pub use key_set::KeySet;
pub use operation::{Change, Create, Deactivate, GovernanceVote, Operation, Propose, Recover, Salt, Update};
pub use outcome::Outcome;
pub use receipt::{Code, ItemReceipt, Receipt};
pub use record::{Commitments, Endorsement, Header, Moment, Record, Version, Withdrawal};
pub use registry::{RegistryEntry, RegistryKey};
#[cfg(feature = "store")]
pub use store::{Adoption, Pruned, Restoration, RestoreError, Stand, Store, StoreError};
pub use transaction::unchecked::UncheckedTransaction;
pub use transaction::{CheckedTransaction, Transaction, TransactionError};

/// How a node gets a ledger in the place of one that is damaged or wrong. In every message that has no other way out,
/// because "delete it" alone is no way out on a chain that goes on from another: that one's DIDs are in no block of it.
pub const HOW_TO_REPLACE: &str = "Stop the node and put a copy of a stopped node's data/store in the place of its own \
    (never its data/journal, and leave this node's own, which holds what the validator voted). Where genesis.toml names \
    no predecessor and other nodes of this build run, deleting data/store (it alone) is enough, as long as some node \
    keeps the chain's first blocks: it syncs again. Else begin from a snapshot (`realdid snapshot fetch`) or a backup \
    (`realdid backup restore`)";

#[cfg(test)]
mod samples;

//! Makes the proofs that light clients check ([`client::light`]).
//!
//! A proof holds at a block whose checkpoint a quorum certified; under load the tip is some blocks past the newest such one,
//! so what is proved is read as it was then. Whatever was put together is checked once as the client will: a block that came in
//! between makes this node try again, never answer wrongly.
//!
//! - [`did`]: what a DID resolves to
//! - [`fate`]: a transaction's receipt, or that it expired without one
//! - [`entry`]: what the trust registry holds
//! - [`portion`]: the changes of the validators alone
//!
//! All of it waits, for the disk and for certificates: it is for threads that may.

mod did;
mod entry;
mod fate;

use std::thread;
use std::time::Duration;

use client::light::{Link, Links};
use consensus::CheckpointCertificate;
use genesis::encoding::{DecodeError, encode};
use genesis::{Digest, Epoch, Height};
use ledger::batch::BatchError;
use ledger::proof::FateProofError;
use ledger::resolution::Problem;
use ledger::{Store, StoreError};
use tokio::sync::Semaphore;

pub use self::did::{Proved, find, prove};
pub use self::entry::prove_entry;
pub use self::fate::prove_fate;
use self::fate::{MAX_BLOCKS, MAX_TRANSACTIONS};
use crate::wire::decode_checkpoint;

/// The most changes of the validators in one answer. A client that is further behind asks for them in steps ([`portion`]).
const MAX_LINKS: usize = 256;
/// And the most bytes of them, about: sets can be large.
const MAX_LINKS_BYTES: usize = 4 << 20;
/// How often it is tried, and how long it waits in between: a certificate follows its block within a round of messages.
const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(25);
/// How many proofs are put together at once: each may read thousands of rows, and consensus needs the machine too.
static PROVERS: Semaphore = Semaphore::const_new(8);
/// How many about transactions, besides. Each may read hundreds of thousands of rows: they must not keep the others waiting.
static FATE_PROVERS: Semaphore = Semaphore::const_new(2);

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// The disk fails, or is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The options cannot be followed: there is nothing to prove.
    #[error("{0}")]
    Question(Problem),
    /// Others are at work.
    #[error("this node makes as many proofs at once as it may: try again, or ask another")]
    Busy,
    /// A stored certificate is damaged.
    #[error("the certificate of a checkpoint is damaged: {0}")]
    Certificate(#[from] DecodeError),
    /// A certificate that every node keeps is missing.
    #[error(
        "this node lost the certificate of block {height}, which closed epoch {epoch}: it proves nothing to clients that know \
         no later epoch. Ask another node"
    )]
    NoLink {
        /// The epoch.
        epoch: Epoch,
        /// Its last block.
        height: Height,
    },
    /// The transaction has no receipt, and nobody said when it expires.
    #[error(
        "up to block {height} transaction {id} has no receipt. That it expired without one is proved to who says when it \
         expires, and gives a height of the chain before it was signed: {{\"after\": …, \"expiresAt\": …}}"
    )]
    NoReceipt {
        /// The transaction.
        id: Digest,
        /// The newest block that can be proved.
        height: Height,
    },
    /// The transaction can still be applied.
    #[error(
        "transaction {id} has no receipt, and can be applied until block {expires_at}: nothing is certain before"
    )]
    NotOver {
        /// The transaction.
        id: Digest,
        /// Its expiry.
        expires_at: Height,
    },
    /// No window at all.
    #[error(transparent)]
    Window(#[from] FateProofError),
    /// Too many blocks could have applied it.
    #[error(
        "it takes {blocks} blocks to show that the transaction expired, and a node reads at most {MAX_BLOCKS}: give a later \
         height before it was signed, or look at it through a node that you trust (tx_status)"
    )]
    TooWide {
        /// How many.
        blocks: u64,
    },
    /// Blocks that are too large could have applied it.
    #[error(
        "the blocks that could have applied the transaction have more than {MAX_TRANSACTIONS} others ({read} up to where this \
         node gave up): give a later height before it was signed, or look at it through a node that you trust (tx_status)"
    )]
    TooMany {
        /// How many were read.
        read: usize,
    },
    /// Part of what a proof is made of is not here.
    #[error(
        "this node does not have block {height} with its transactions, which the proof takes: ask another"
    )]
    Gone {
        /// The block.
        height: Height,
    },
    /// The receipts of a block are not those that it led to.
    #[error("the receipts of block {height} are not all here: the store is damaged")]
    Receipts {
        /// The block.
        height: Height,
    },
    /// A stored batch is damaged.
    #[error("a batch of a block is damaged: {0}")]
    Batch(#[from] BatchError),
    /// The validators have certified no block that can still be proved.
    #[error(
        "no checkpoint near block {tip} is certified yet: a quorum signs one shortly after each block. Try again; where that \
         does not help, the network has no quorum, or this node is catching up"
    )]
    NotCertified {
        /// The newest block.
        tip: Height,
    },
}

impl ProveError {
    /// Whether the same question may be answered later, or by another node.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Busy | Self::NoLink { .. } | Self::NotCertified { .. })
    }
}

/// What `attempt` makes at the newest block with a certificate. Waits a little where nothing comes of it: no block has one yet, or
/// another came in between.
fn settled<T>(
    store: &Store,
    provers: &Semaphore,
    mut attempt: impl FnMut(CheckpointCertificate) -> Result<Option<T>, ProveError>,
) -> Result<T, ProveError> {
    let Ok(_permit) = provers.try_acquire() else { return Err(ProveError::Busy) };
    for _ in 0..TRIES {
        if let Some((_, bytes)) = store.checkpoint_at_or_before(store.tip().height)?
            && let Some(made) = attempt(decode_checkpoint(&bytes)?)?
        {
            return Ok(made);
        }
        thread::sleep(PAUSE);
    }
    Err(ProveError::NotCertified { tip: store.tip().height })
}

/// Some of the changes of the validators since those of the epoch `since`, and whether there are more.
///
/// # Errors
/// When the disk fails, or the certificate of one is lost.
pub fn portion(store: &Store, since: Epoch) -> Result<(Links, bool), ProveError> {
    let Some((_, bytes)) = store.newest_checkpoint()? else { return Ok((Links(Vec::new()), false)) };
    let until = decode_checkpoint(&bytes)?.checkpoint.epoch;
    let links = links(store, since, until)?;
    let more = since.0.saturating_add(links.len() as u64) < until.0;
    Ok((Links(links), more))
}

/// What leads from the validators of the epoch `since` to those of `until`, which a block is certified in: no more than one answer
/// bears.
fn links(store: &Store, since: Epoch, until: Epoch) -> Result<Vec<Link>, ProveError> {
    let (mut links, mut bytes) = (Vec::new(), 0);
    for (epoch, height) in store.closing_heights(since, MAX_LINKS) {
        if epoch >= until || bytes > MAX_LINKS_BYTES {
            break;
        }
        let missing = || ProveError::NoLink { epoch, height };
        let certificate = store.checkpoint(height)?.ok_or_else(missing)?;
        let configuration = store.configuration_of(epoch.next())?.ok_or_else(missing)?;
        let link = Link { certificate: decode_checkpoint(&certificate)?, configuration };
        bytes += encode(&link).len();
        links.push(link);
    }
    Ok(links)
}

#[cfg(test)]
mod tests {
    use ledger::RegistryKey;
    use ledger::registry::Role;

    use super::*;
    use crate::replay::samples::Chain;

    #[test]
    fn proofs_of_transactions_keep_no_others_waiting() {
        let chain = Chain::full();
        let fate = || prove_fate(&chain.store, &chain.genesis, &Digest::ZERO, None, Epoch::ZERO);
        let key = RegistryKey::Accreditation(chain.dids[0].0.id(), Role::Issuer);
        assert!(matches!(fate(), Err(ProveError::NoReceipt { .. })));
        let taken = FATE_PROVERS.try_acquire_many(2).unwrap();
        assert!(matches!(fate(), Err(ProveError::Busy)));
        let proof = prove_entry(&chain.store, &key, Epoch::ZERO).unwrap();
        assert!(proof.entry.entry.is_none());
        drop(taken);
        assert!(matches!(fate(), Err(ProveError::NoReceipt { .. })));
    }
}

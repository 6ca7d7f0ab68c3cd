//! What integrators link: keys, transactions and the JSON-RPC surface of a RealDID node.
//!
//! - [`api`]: the types, methods and error codes that node and client share
//! - [`rpc`]: a typed client that says what to do when a call fails
//! - [`keyring`]: the keys of DIDs on disk, written before anything is submitted
//! - [`key_file`]: one secret key in a file, for a node's roles
//! - [`governance`]: what operators sign: proposals, votes, and that a joining validator is ready
//! - [`private_file`]: files that only their owner may read, written whole or not at all
//! - [`wallet`]: signs transactions with a keyring's keys
//!
//! Depends on the ledger's rules alone: no RocksDB, no libp2p, and the wallet needs no runtime. A node's answer is
//! taken at its word here; proofs come with the light client.

pub mod api;
pub mod governance;
pub mod key_file;
pub mod keyring;
pub mod private_file;
pub mod rpc;
pub mod wallet;

pub use key_file::{KeyFile, Role};
pub use keyring::{Entry, Keyring};
pub use rpc::{Client, RpcError};

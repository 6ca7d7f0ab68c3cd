//! What integrators link: keys, transactions and the JSON-RPC surface of a RealDID node.
//!
//! - [`api`]: the types, methods and error codes that node and client share
//! - [`rpc`]: a typed client that says what to do when a call fails
//! - [`keyring`]: the keys of DIDs on disk, written before anything is submitted
//! - [`key_file`]: one secret key in a file, for a node's roles; plain, or encrypted with a [`passphrase`]
//! - [`governance`]: what operators sign: proposals, votes, and that a joining validator is ready
//! - [`private_file`]: files that only their owner may read, written whole or not at all
//! - [`wallet`]: signs transactions with a keyring's keys
//! - [`light`]: answers that are checked against the genesis document alone
//!
//! No RocksDB, no libp2p, and the wallet and the light client need no runtime. All but the light client is behind the feature
//! `wallet`, which is on unless turned off: a browser needs none of it.

#[cfg(feature = "wallet")]
pub mod api;
#[cfg(feature = "wallet")]
pub mod governance;
#[cfg(feature = "wallet")]
pub mod key_file;
#[cfg(feature = "wallet")]
pub mod keyring;
pub mod light;
#[cfg(feature = "wallet")]
pub mod passphrase;
#[cfg(feature = "wallet")]
pub mod private_file;
#[cfg(feature = "wallet")]
pub mod rpc;
#[cfg(feature = "wallet")]
pub mod wallet;

#[cfg(feature = "wallet")]
pub use key_file::{KeyFile, Role, StoredKey};
#[cfg(feature = "wallet")]
pub use keyring::{Entry, Keyring};
#[cfg(feature = "wallet")]
pub use passphrase::Passphrase;
#[cfg(feature = "wallet")]
pub use rpc::{Client, RpcError};

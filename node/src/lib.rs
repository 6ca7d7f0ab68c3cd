//! The RealDID node: the one crate that wires, waits and exits.
//!
//! - [`node`]: how the parts run together
//! - [`cli`]: the commands, a verb a file; [`config`] and [`home`]: a node's folder and its settings; [`unlock`]: the
//!   passphrase of its keys
//! - [`driver`]: step → persist → perform; [`journal`]: what must survive a crash; [`executor`]: what is final is
//!   executed
//! - [`mempool`], [`batcher`]: from clients to batches; [`intake`], [`availability`], [`quota`], [`shelf`],
//!   [`fetcher`]: batches of all validators; [`opaque`]: batches that nobody looks into, for measurements
//! - [`membership`]: who is in charge now, as the parts of the node see it; [`clocks`]: what their clocks say
//! - [`succession`]: the chain that goes on after a quorum was lost for good
//! - [`replay`]: the whole chain executed again, out of a file or a store
//! - [`sync`]: blocks for who was away; [`wire`]: what nodes say to one another
//! - [`snapshot`]: ledgers at one height, for nodes that begin there; [`admin`]: what the operator asks of a node at work
//! - [`prove`]: the proofs that light clients check
//! - [`rpc`]: JSON-RPC, a namespace a file; [`http`], [`health`], [`metrics`], [`participation`]: for operators; [`disk`]: its
//!   floor

pub mod admin;
pub mod availability;
pub mod batcher;
pub mod cli;
pub mod clocks;
pub mod config;
pub mod disk;
pub mod driver;
pub mod executor;
pub mod fetcher;
pub mod health;
pub mod home;
pub mod http;
pub mod intake;
pub mod journal;
pub mod membership;
pub mod mempool;
pub mod metrics;
pub mod node;
pub mod opaque;
pub mod participation;
pub mod prove;
pub mod quota;
pub mod replay;
pub mod rpc;
pub mod shelf;
pub mod snapshot;
pub mod succession;
pub mod sync;
pub mod unlock;
pub mod wire;

pub use node::{run, run_opaque};

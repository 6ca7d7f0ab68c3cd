//! How many transactions a second a network of real processes commits, how soon, at what cost, and how far that is from what
//! the machine could do: `scripts/bench`.
//!
//! Validators and client share this machine. The load is open: what is due is sent when it is due, and a transaction's latency
//! counts from then until its receipt was seen. Each run has a network of its own, made for it and thrown away.
//!
//! Invariant: no figure comes from a run in which a validator fell behind, the client missed its rate, or a transaction was
//! lost ([`verdict`]). A node that is full and says when to come back does neither.
//!
//! - [`setup`]: what is measured: validators, links, the mix of transactions, who may register
//! - [`state`]: ledgers that are full already when a run begins
//! - [`ceilings`]: what the machine does at best, without a network
//! - [`network`]: a network that is set up so
//! - [`ordering`]: one that only orders, and its load; [`feed`]: how that reaches a node
//! - [`sign`]: the load, signed beforehand
//! - [`send`]: how transactions and the wait for receipts reach a node: the one place that knows
//! - [`load`]: sends what is due, and takes down what came of it
//! - [`resources`]: what the processes use
//! - [`figures`]: a run's figures, and medians
//! - [`verdict`]: why a run does not count
//! - [`search`]: the ramp to saturation
//! - [`campaign`]: all runs, in their order
//! - [`report`], [`plot`]: the same for people
//! - [`compare`]: against an earlier report

pub mod campaign;
pub mod ceilings;
pub mod compare;
pub mod feed;
pub mod figures;
pub mod load;
pub mod network;
pub mod ordering;
pub mod plot;
pub mod report;
pub mod resources;
pub mod search;
pub mod send;
pub mod setup;
pub mod sign;
pub mod state;
pub mod verdict;

//! A network of unmodified [`consensus::Replica`]s in simulated time. One seed decides everything: delays, losses,
//! crashes, torn journals, partitions, clocks. The same seed gives the same run, step by step.
//!
//! - [`campaign`]: many seeds on all cores
//! - [`chance`]: the seed's stream of numbers
//! - [`plan`]: what a run consists of; drawn from a seed, or made by hand for a scenario
//! - [`world`]: the event loop, and what a scenario can do to the network
//! - [`journal`], [`store`], [`contents`]: a machine's votes, its ledger, and what the items stand for
//! - [`machine`]: one validator's process, with the disk that outlives it
//! - [`weather`]: the faults of a drawn run, and what is checked when they are over
//! - [`witness`]: what must hold after every step, whatever happens
//! - [`adversary`]: Byzantine replicas, by name
//! - [`fault`]: what goes wrong by itself, by name
//! - [`forge`]: messages that an honest replica would not send, signed by the letter of the protocol

pub mod adversary;
pub mod campaign;
pub mod chance;
pub mod contents;
pub mod fault;
pub mod forge;
pub mod journal;
pub mod machine;
pub mod plan;
pub mod store;
pub mod weather;
pub mod witness;
pub mod world;

use std::fmt;
use std::time::Duration;

pub use plan::Plan;
pub use weather::{Report, run};
pub use world::{HostId, World};

/// A rule that was broken, with all that is needed to see it again.
pub struct Failure {
    /// What was broken.
    pub what: String,
    /// At which step.
    pub step: u64,
    /// When, in simulated time.
    pub at: Duration,
    /// The seed.
    pub seed: u64,
    /// The command that runs the same again.
    pub again: String,
}

impl std::error::Error for Failure {}

/// As people read it: a test that returns a failure prints it by `Debug`.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, step, at, seed, again } = self;
        write!(f, "{what}\n  seed {seed}, step {step}, at {at:?}\n  again: {again}")
    }
}

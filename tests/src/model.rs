//! Model checking: every run of the production [`consensus::Replica`] in a small network, up to a number of views.
//!
//! The honest validators are real replicas. The Byzantine ones are the environment: at any moment they may send any
//! single honest replica anything from a [`menu`] that they can sign. The network delivers what was sent in any
//! order, any number of times, or never; timers go off whenever they may; a replica may restart from its records.
//!
//! - [`menu`]: what may happen to a replica, given what was sent
//! - [`local`]: one replica's states and steps, each step made once
//! - [`mod@explore`]: all combinations, and what must hold in each
//!
//! # Why fewer runs stand for all
//!
//! - *What was sent stays sent.* A message may arrive late, twice or never, so that what is enabled only grows. That
//!   a replica sends again, asks, or answers adds nothing that the network may not deliver anyway: left out.
//! - *Votes are counted by quorums.* Votes short of a quorum decide nothing but when a view is given up, and views
//!   are given up by time at any moment too. So votes arrive as certificates, and also all at once, one by one, as
//!   far as they were sent: that goes through the replica's own count. Both lead to the same states if that count is
//!   right; if it is not, the states that follow are explored too.
//! - *Silent steps wait.* A step that sends nothing new enables nothing elsewhere. It can therefore be put off until
//!   just before the next step of its replica that does, and a state of the network is one of replicas that have
//!   just sent something. What a replica can finalise is looked at in every state, over all silent steps.
//! - *Times are relative.* Timers go off in the order in which they are due, or all at once. A replica's clock tells
//!   nothing about another's.
//!
//! What is executed is left out: no CHECKPOINT is signed, and no epoch ends. That the others know of no vote that the
//! records lack (P7) is told at each start at once: one tells the truth, the rest deny it.
//!
//! Views beyond the bound are entered, but nothing that is said there is delivered, and no timer runs there.

pub mod explore;
pub mod local;
pub mod menu;
mod sets;

pub use explore::{Report, Violation, explore};

use genesis::ValidatorIndex;

/// What is explored.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// How many validators there are: four at most, three honest ones at most.
    pub validators: u16,
    /// Which of them break the rules.
    pub byzantine: Vec<ValidatorIndex>,
    /// The last view in which something is said.
    pub views: u64,
    /// Whether replicas restart.
    pub restarts: bool,
}

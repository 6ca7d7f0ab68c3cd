//! How throughput and latency change with the number of validators: unmodified [`consensus::Replica`]s on links and cores that
//! cost time. All of it is simulated time, and follows from the plan and its seed alone.
//!
//! - [`plan`]: what a run consists of, and its bounds
//! - [`costs`]: what each thing costs a core or a disk; constants, or measured here
//! - [`server`]: a link's direction or a core, which does one thing at a time, urgent things first
//! - [`holders`]: who holds which batches, as `node::availability` counts them
//! - [`author`]: transactions that arrive at a validator, and when it seals them
//! - [`machine`]: one validator: its links, cores, queues and replica
//! - [`network`]: the event loop
//! - [`driver`], [`batches`], [`execution`]: what a validator does, as the node's parts of these names do it
//! - [`figures`]: what is measured, and how it is printed
//!
//! Invariant: nothing is sent before the records of its step are durable, and no batch is acknowledged before it is checked
//! and durable, as in the node.
//!
//! The model, short: every link is lossless; a copy of a frame for each receiver passes the sender's uplink, the delay and the
//! receiver's downlink, votes ahead of batches; the loop that drives the replica comes before all else that its core does, and
//! waits for the journal's disk. Left out: what TCP does (slow start, windows, retransmission), the bounds of the node's send
//! queues and inboxes, clients' connections, the mempool's bound, RocksDB's compaction, and faults.

pub mod author;
pub mod batches;
pub mod costs;
pub mod driver;
pub mod execution;
pub mod figures;
pub mod holders;
pub mod machine;
pub mod network;
pub mod plan;
pub mod server;

use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// Simulated time, or a span of it, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nanos(pub u64);

impl Nanos {
    /// The beginning.
    pub const ZERO: Self = Self(0);

    /// `seconds`, rounded to a nanosecond; nothing where it is negative.
    pub fn of_seconds(seconds: f64) -> Self {
        Self((seconds * 1e9).round() as u64)
    }

    /// The same in seconds.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// From `earlier` to here; nothing where that is later.
    pub fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }

    /// So many times this span.
    pub fn times(self, count: u64) -> Self {
        Self(self.0 * count)
    }
}

impl Add for Nanos {
    type Output = Self;

    fn add(self, span: Self) -> Self {
        Self(self.0 + span.0)
    }
}

impl AddAssign for Nanos {
    fn add_assign(&mut self, span: Self) {
        self.0 += span.0;
    }
}

impl Sub for Nanos {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self(self.0 - earlier.0)
    }
}

impl From<Duration> for Nanos {
    fn from(span: Duration) -> Self {
        Self(span.as_nanos() as u64)
    }
}

impl From<Nanos> for Duration {
    fn from(span: Nanos) -> Self {
        Self::from_nanos(span.0)
    }
}

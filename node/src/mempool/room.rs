//! How much may be in the mempool: in bytes, in time, and of what is not checked yet.
//!
//! Invariant: whoever is told "busy" is told so before anything of what it sent is looked at, so that a node that is
//! offered twice what it can take does not spend its time on checking what it then refuses. What is let in waits for about
//! [`MAX_DELAY_SECONDS`] at most: more would only make everybody's wait longer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ledger::CheckedTransaction;

use super::Mempool;

/// How many seconds of what this node gets ordered may wait here. A change of the view, which costs about one, refuses
/// nobody.
const MAX_DELAY_SECONDS: usize = 2;
/// What may wait however slowly it gets on, in bytes: about a thousand registrations.
const LEAST_BYTES: usize = 512 << 10;
/// What is taken for the bytes ordered in a second until that was measured: bursts of about 2,400 registrations.
const FIRST_GUESS: usize = 512 << 10;
/// Over how long it is measured.
const MEASURE: Duration = Duration::from_secs(1);
/// How many transactions may wait to be checked: a quarter of a second of one thread's work.
const MAX_UNCHECKED: usize = 4_096;

/// There is no room.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Busy {
    /// No more bytes fit.
    #[error("the node's mempool holds {held} of {most} bytes: submit again in a while, or at another node")]
    Full {
        /// Bytes held.
        held: usize,
        /// Bytes allowed.
        most: usize,
    },
    /// What waits already takes as long as anything may wait.
    #[error(
        "the {held} bytes that wait at this node take it longer than {MAX_DELAY_SECONDS} s to get ordered ({most} do not): \
         submit again in a while, or at another node"
    )]
    Behind {
        /// Bytes held.
        held: usize,
        /// Bytes that are ordered in that time.
        most: usize,
    },
    /// Too many wait to be checked.
    #[error(
        "{count} transactions wait to be checked at this node: submit again in a while, or at another node"
    )]
    Unchecked {
        /// How many.
        count: usize,
    },
}

impl Busy {
    /// When to try again.
    pub const fn retry_after(&self) -> Duration {
        match self {
            // A block or a few later.
            Self::Full { .. } | Self::Behind { .. } => Duration::from_millis(250),
            Self::Unchecked { .. } => Duration::from_millis(100),
        }
    }
}

/// How fast what is held gets ordered, and what waits to be checked.
#[derive(Debug)]
pub(super) struct Flow {
    /// Held for what is not checked yet.
    reserved_bytes: usize,
    unchecked: usize,
    /// Bytes that were ordered since then.
    ordered: usize,
    since: Instant,
    /// Whether anybody was refused meanwhile.
    refused: bool,
    /// How many calls were, ever.
    refusals: u64,
    ordered_a_second: usize,
}

impl Flow {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            reserved_bytes: 0,
            unchecked: 0,
            ordered: 0,
            since: now,
            refused: false,
            refusals: 0,
            ordered_a_second: FIRST_GUESS,
        }
    }

    /// These bytes were ordered. A second in which nobody was refused says only that it can be as fast as that.
    pub(super) fn freed(&mut self, bytes: usize, now: Instant) {
        self.ordered += bytes;
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed < MEASURE {
            return;
        }
        let measured = (self.ordered as f64 / elapsed.as_secs_f64()) as usize;
        self.ordered_a_second = if self.refused { measured } else { measured.max(self.ordered_a_second) };
        (self.ordered, self.since, self.refused) = (0, now, false);
    }

    fn refuse(&mut self) {
        self.refused = true;
        self.refusals += 1;
    }

    /// How many calls were refused since the start.
    pub(super) const fn refusals(&self) -> u64 {
        self.refusals
    }

    fn check(&self, held: usize, length: usize, max_bytes: usize) -> Result<(), Busy> {
        let held = held.saturating_add(self.reserved_bytes);
        let most = self.ordered_a_second.saturating_mul(MAX_DELAY_SECONDS).max(LEAST_BYTES);
        if self.unchecked >= MAX_UNCHECKED {
            Err(Busy::Unchecked { count: self.unchecked })
        } else if held.saturating_add(length) > max_bytes {
            Err(Busy::Full { held, most: max_bytes })
        } else if held.saturating_add(length) > most {
            Err(Busy::Behind { held, most })
        } else {
            Ok(())
        }
    }
}

/// Room for transactions that are not checked yet. Given back when dropped.
#[derive(Debug)]
pub struct Room {
    mempool: Arc<Mempool>,
    count: usize,
    bytes: usize,
}

impl Mempool {
    /// Room for the first ones of transactions of these lengths, in bytes, and why there is none for the next one, if
    /// there is not.
    pub fn reserve(self: &Arc<Self>, lengths: impl IntoIterator<Item = usize>) -> (Room, Option<Busy>) {
        let mut content = self.lock();
        let mut room = Room { mempool: Arc::clone(self), count: 0, bytes: 0 };
        for length in lengths {
            if let Err(busy) = content.flow.check(content.pending_bytes, length, self.max_bytes) {
                content.flow.refuse();
                return (room, Some(busy));
            }
            content.flow.reserved_bytes += length;
            content.flow.unchecked += 1;
            room.count += 1;
            room.bytes += length;
        }
        (room, None)
    }
}

impl Room {
    /// For how many transactions.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Accepts transactions that it was reserved for. One that is here already is accepted again, and kept once.
    pub fn admit(mut self, transactions: Vec<CheckedTransaction>) {
        let mempool = Arc::clone(&self.mempool);
        let mut content = mempool.lock();
        content.flow.reserved_bytes -= std::mem::take(&mut self.bytes);
        content.flow.unchecked -= std::mem::take(&mut self.count);
        if transactions.is_empty() {
            return;
        }
        transactions.into_iter().for_each(|transaction| content.accept(transaction));
        drop(content);
        mempool.changed.notify_one();
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if self.count > 0 {
            let mut content = self.mempool.lock();
            content.flow.reserved_bytes -= self.bytes;
            content.flow.unchecked -= self.count;
        }
    }
}

//! Transactions that arrive at one validator, evenly spaced, and when it seals them into a batch: the rule of
//! `node::batcher`.
//!
//! Invariant: each transaction is sealed once, in the order of arrival.

use std::time::Duration;

use super::Nanos;

/// A batch of this size does not wait.
const FULL_BYTES: u64 = 256 << 10;
/// Nor does one that waited so long.
const MAX_AGE: Duration = Duration::from_millis(25);
/// How many batches of one author may be under way.
const MAX_SEALED: usize = 64;

/// How batches are sealed.
#[derive(Clone, Copy, Debug)]
pub struct Sealing {
    /// The bytes of a transaction.
    pub transaction_bytes: u64,
    /// The most transactions in a batch.
    pub most: u64,
    /// How long a transaction waits at most where others of this author's are under way.
    pub age: Nanos,
    /// Whether one waits so long even where none is under way.
    pub always_waits: bool,
}

impl Sealing {
    /// As the node does it, for transactions of so many bytes.
    pub fn of_node(transaction_bytes: u64, max_batch_bytes: u64, max_batch_transactions: u64) -> Self {
        let room = max_batch_bytes - ledger::batch::OVERHEAD_BYTES as u64;
        let most = (room / transaction_bytes).clamp(1, max_batch_transactions);
        Self { transaction_bytes, most, age: MAX_AGE.into(), always_waits: false }
    }
}

/// Transactions in a row: those of one author from the `first` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The place of the first among the author's.
    pub first: u64,
    /// How many.
    pub count: u64,
}

/// What arrives at one validator.
#[derive(Clone, Debug)]
pub struct Author {
    sealing: Sealing,
    /// From one transaction to the next; none where none come.
    gap: Option<Nanos>,
    /// When the first one comes.
    start: Nanos,
    /// How many are in batches.
    taken: u64,
    /// Own batches that are not executed yet.
    pub sealed: usize,
}

impl Author {
    /// Transactions at `rate` a second from `start` on.
    pub fn new(rate: f64, start: Nanos, sealing: Sealing) -> Self {
        let gap = (rate > 0.0).then(|| Nanos((1e9 / rate).round().max(1.0) as u64));
        Self { sealing, gap, start, taken: 0, sealed: 0 }
    }

    /// When the transaction at `place` arrives.
    pub fn arrival(&self, place: u64) -> Nanos {
        self.gap.map_or(Nanos(u64::MAX), |gap| self.start + gap.times(place))
    }

    /// How many have arrived by `now`.
    pub fn arrived(&self, now: Nanos) -> u64 {
        match self.gap {
            Some(gap) if now >= self.start => now.since(self.start).0 / gap.0 + 1,
            _ => 0,
        }
    }

    /// When the next batch is to be sealed; `now` where that is at once. None where one of those under way must be executed
    /// first, or nothing comes.
    pub fn due(&self, now: Nanos) -> Option<Nanos> {
        self.gap?;
        if self.sealed >= MAX_SEALED {
            return None;
        }
        let oldest = self.arrival(self.taken);
        let waits = self.sealed > 0 || self.sealing.always_waits;
        if !waits {
            return Some(oldest.max(now));
        }
        let full = FULL_BYTES.div_ceil(self.sealing.transaction_bytes).min(self.sealing.most);
        let is_full = self.arrival(self.taken + full - 1);
        Some((oldest + self.sealing.age).min(is_full).max(now))
    }

    /// Seals what has arrived.
    pub fn seal(&mut self, now: Nanos) -> Run {
        let count = (self.arrived(now) - self.taken).min(self.sealing.most);
        let run = Run { first: self.taken, count };
        self.taken += count;
        self.sealed += usize::from(count > 0);
        run
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn author(rate: f64) -> Author {
        Author::new(rate, Nanos::ZERO, Sealing::of_node(330, 1 << 20, 4_000))
    }

    #[test]
    fn the_first_transaction_is_sealed_at_once_and_the_next_ones_after_an_age() {
        let mut author = author(1_000.0);
        assert_eq!(author.due(Nanos::ZERO), Some(Nanos::ZERO));
        assert_eq!(author.seal(Nanos::ZERO), Run { first: 0, count: 1 });
        assert_eq!(author.due(Nanos::ZERO), Some(Nanos(26 * MS)), "25 ms after the second came, at 1 ms");
        assert_eq!(author.seal(Nanos(26 * MS)), Run { first: 1, count: 26 });
        author.sealed = 0;
        assert_eq!(author.due(Nanos(26 * MS)), Some(Nanos(27 * MS)));
    }

    #[test]
    fn a_full_batch_does_not_wait_and_none_is_sealed_beyond_what_may_be_under_way() {
        let mut author = author(1_000_000.0);
        author.seal(Nanos::ZERO);
        let full = author.due(Nanos::ZERO).unwrap();
        assert_eq!(full, Nanos(795_000), "256 KiB are 795 transactions");
        while author.sealed < MAX_SEALED {
            let due = author.due(full).unwrap().max(full);
            assert!(author.seal(due + Nanos(MS)).count <= 3_177);
        }
        assert_eq!(author.due(Nanos(999 * MS)), None);
    }

    #[test]
    fn each_transaction_is_sealed_once_and_one_that_nobody_sends_never() {
        let mut author = author(12_345.0);
        let (mut next, mut now) = (0, Nanos::ZERO);
        for _ in 0..50 {
            now = author.due(now).unwrap();
            let run = author.seal(now);
            assert_eq!(run.first, next);
            assert!(author.arrival(run.first + run.count - 1) <= now);
            (next, author.sealed) = (next + run.count, 1);
        }
        assert_eq!(self::author(0.0).due(now), None);
    }
}

//! Who holds which batches, at one validator: the same answers as `node::availability` gives (a test holds them against each
//! other), at the cost of a bit for each holder. A hundred validators tell each other of thousands of batches a second.

use genesis::ValidatorIndex;

use super::Nanos;

/// The most validators: a bit each.
pub const MOST: usize = 128;

/// A batch, by the order in which they were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BatchId(pub u32);

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    holders: u128,
    is_held: bool,
    is_offered: bool,
    is_ordered: bool,
    /// When somebody spoke of it first.
    since: Nanos,
}

/// What is known of all batches.
#[derive(Debug)]
pub struct Holders {
    me: u128,
    quorum: u32,
    entries: Vec<Entry>,
    /// How many batches a quorum was said to hold before they were here.
    pub late: u64,
}

/// Whether a block may name its batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// All are here.
    Ready,
    /// These are not.
    Missing(Vec<BatchId>),
    /// One was named by a final block already.
    Invalid,
}

fn bit(validator: ValidatorIndex) -> u128 {
    1 << validator.0
}

impl Holders {
    /// Nothing known yet.
    pub fn new(me: ValidatorIndex, quorum: usize) -> Self {
        Self { me: bit(me), quorum: quorum as u32, entries: Vec::new(), late: 0 }
    }

    fn entry(&mut self, batch: BatchId, now: Nanos) -> &mut Entry {
        let place = batch.0 as usize;
        if self.entries.len() <= place {
            self.entries.resize(place + 1, Entry::default());
        }
        let entry = &mut self.entries[place];
        if entry.holders == 0 {
            entry.since = now;
        }
        entry
    }

    /// The batch is here, checked and durable. Says whether that makes it available.
    pub fn hold(&mut self, batch: BatchId, now: Nanos) -> bool {
        let (me, quorum) = (self.me, self.quorum);
        let entry = self.entry(batch, now);
        let is_late = !entry.is_held && entry.holders.count_ones() >= quorum;
        entry.is_held = true;
        entry.holders |= me;
        let offers = entry.offers(quorum);
        self.late += u64::from(is_late);
        offers
    }

    /// A peer says that it holds the batch. Says whether that makes it available.
    pub fn held_by(&mut self, peer: ValidatorIndex, batch: BatchId, now: Nanos) -> bool {
        let quorum = self.quorum;
        let entry = self.entry(batch, now);
        entry.holders |= bit(peer);
        entry.offers(quorum)
    }

    /// A final block names these.
    pub fn order(&mut self, payload: &[BatchId], now: Nanos) {
        for batch in payload {
            self.entry(*batch, now).is_ordered = true;
        }
    }

    /// Whether the batch is here.
    pub fn holds(&self, batch: BatchId) -> bool {
        self.entries.get(batch.0 as usize).is_some_and(|entry| entry.is_held)
    }

    /// Whether a block may name these.
    pub fn judge(&self, payload: &[BatchId]) -> Payload {
        let entry = |batch: &BatchId| self.entries.get(batch.0 as usize).copied().unwrap_or_default();
        if payload.iter().any(|batch| entry(batch).is_ordered) {
            return Payload::Invalid;
        }
        let missing: Vec<_> = payload.iter().copied().filter(|batch| !entry(batch).is_held).collect();
        if missing.is_empty() { Payload::Ready } else { Payload::Missing(missing) }
    }

    /// Who is known to hold the batch, beside this validator.
    pub fn others(&self, batch: BatchId) -> Vec<ValidatorIndex> {
        let holders = self.entries.get(batch.0 as usize).map_or(0, |entry| entry.holders) & !self.me;
        (0..MOST as u16).map(ValidatorIndex).filter(|index| holders & bit(*index) != 0).collect()
    }

    /// The first batch from `from` on that no final block names; `made` where there is none before it.
    pub fn first_open(&self, from: BatchId, made: BatchId) -> BatchId {
        let is_done = |place: u32| self.entries.get(place as usize).is_some_and(|entry| entry.is_ordered);
        (from.0..made.0).find(|place| !is_done(*place)).map_or(made, BatchId)
    }

    /// The batches from `first` on that are here and that no final block names.
    pub fn waiting(&self, first: BatchId) -> impl Iterator<Item = BatchId> {
        let entries = self.entries.iter().enumerate().skip(first.0 as usize);
        let waits = entries.filter(|(_, entry)| entry.is_held && !entry.is_ordered);
        waits.map(|(place, _)| BatchId(place as u32))
    }

    /// The batches from `first` on that a quorum holds with this validator, which does not have them, and that somebody spoke
    /// of before `before`. Not those that are ordered: execution asks for them.
    pub fn overdue(&self, first: BatchId, before: Nanos) -> impl Iterator<Item = BatchId> {
        let quorum = self.quorum;
        let late = move |entry: &Entry| {
            !entry.is_held
                && !entry.is_ordered
                && entry.holders.count_ones() + 1 >= quorum
                && entry.since < before
        };
        let entries = self.entries.iter().enumerate().skip(first.0 as usize);
        entries.filter(move |(_, entry)| late(entry)).map(|(place, _)| BatchId(place as u32))
    }
}

impl Entry {
    fn offers(&mut self, quorum: u32) -> bool {
        let offers =
            self.is_held && !self.is_offered && !self.is_ordered && self.holders.count_ones() >= quorum;
        self.is_offered |= offers;
        offers
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use genesis::{Digest, Height, PublicKey};
    use node::availability::{Availability, Held};

    use super::*;
    use crate::founding::item;
    use crate::simulation::chance::Chance;

    #[test]
    fn it_offers_each_batch_exactly_when_the_node_s_own_availability_does() {
        let mut chance = Chance::new(1);
        for validators in [4_u16, 10, 100] {
            let keys: Vec<_> = (0..validators).map(|index| PublicKey::Ed25519([index as u8; 32])).collect();
            let quorum = usize::from(validators - (validators - 1) / 3);
            let mut node = Availability::new(keys[0], &keys, quorum, 100);
            let mut mine = Holders::new(ValidatorIndex(0), quorum);
            let now = Instant::now();
            let digest = |batch: BatchId| -> Digest { item(u64::from(batch.0)) };
            for _ in 0..20_000 {
                let batch = BatchId(chance.below(40) as u32);
                let peer = ValidatorIndex(chance.below(u64::from(validators)) as u16);
                let (theirs, ours) = if chance.percent(2) {
                    node.order(&[digest(batch)], Height(1));
                    mine.order(&[batch], Nanos::ZERO);
                    (false, false)
                } else if peer.0 == 0 {
                    let held = Held { digest: digest(batch), expires_at: Height(50) };
                    (node.hold(held, now).is_some(), mine.hold(batch, Nanos::ZERO))
                } else {
                    let offer = node.held_by(keys[usize::from(peer.0)], digest(batch), now);
                    (offer.is_some(), mine.held_by(peer, batch, Nanos::ZERO))
                };
                assert_eq!(theirs, ours, "{batch:?} by {peer:?} of {validators}");
            }
        }
    }

    #[test]
    fn what_a_quorum_holds_with_this_validator_and_it_lacks_is_overdue_after_a_while() {
        let mut known = Holders::new(ValidatorIndex(0), 3);
        known.held_by(ValidatorIndex(1), BatchId(7), Nanos(10));
        assert_eq!(known.overdue(BatchId(0), Nanos(50)).count(), 0);
        known.held_by(ValidatorIndex(2), BatchId(7), Nanos(20));
        assert_eq!(known.overdue(BatchId(0), Nanos(10)).count(), 0, "not yet");
        assert_eq!(known.overdue(BatchId(0), Nanos(50)).collect::<Vec<_>>(), [BatchId(7)]);
        assert_eq!(known.others(BatchId(7)), [ValidatorIndex(1), ValidatorIndex(2)]);
        assert_eq!(known.judge(&[BatchId(7)]), Payload::Missing(vec![BatchId(7)]));
        known.hold(BatchId(7), Nanos(60));
        assert_eq!(known.overdue(BatchId(0), Nanos(99)).count(), 0);
        assert_eq!(known.judge(&[BatchId(7)]), Payload::Ready);
        known.order(&[BatchId(7)], Nanos(70));
        assert_eq!(known.judge(&[BatchId(7)]), Payload::Invalid);
    }
}

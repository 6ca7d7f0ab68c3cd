//! Who holds which batches: what may be proposed, what may be prepared, and what must be fetched.
//!
//! A batch is available once a quorum, this node among them, says that it holds it, valid and durable: then it
//! survives whatever the quorum survives, and nobody has to wait for it when a block names it. Batches that final
//! blocks named are remembered as long as a block could name them again, so that none is executed twice.
//!
//! Bounded: each peer may name so many batches that are not here ([`MAX_UNSEEN_PER_PEER`]).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use consensus::Offer;
use genesis::{Digest, Height, PublicKey};

use crate::fetcher::Missing;

/// How many batches that are not here one peer may speak of.
const MAX_UNSEEN_PER_PEER: usize = 4_096;
/// A batch that a quorum holds and this node does not is fetched after this time: its push is probably lost.
const FETCH_AFTER: Duration = Duration::from_millis(200);
/// Talk of a batch that never came is forgotten after this time.
const FORGET_UNSEEN_AFTER: Duration = Duration::from_secs(60);
/// How many batches that were found invalid are remembered.
const MAX_INVALID: usize = 1_024;

/// A batch that is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its digest.
    pub digest: Digest,
    /// The last height of a block that may name it.
    pub expires_at: Height,
}

#[derive(Debug)]
struct Entry {
    held: Option<Held>,
    holders: BTreeSet<PublicKey>,
    announced: bool,
    since: Instant,
}

/// What is known of the batches that no final block names yet, and of those that one does.
#[derive(Debug)]
pub struct Availability {
    me: PublicKey,
    /// The validators' network keys: nobody else's word counts.
    members: BTreeSet<PublicKey>,
    quorum: usize,
    lifetime: u64,
    entries: BTreeMap<Digest, Entry>,
    unseen: BTreeMap<PublicKey, usize>,
    ordered: BTreeMap<Digest, Height>,
    ordered_at: VecDeque<(Height, Digest)>,
    invalid: VecDeque<Digest>,
}

/// Whether a block may name its batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// All are here.
    Ready,
    /// These are not.
    Missing(Vec<Digest>),
    /// One can never be named there.
    Invalid(Digest),
}

impl Availability {
    /// Nothing known yet. A batch may be named for `lifetime` heights at most.
    pub fn new(me: PublicKey, members: &[PublicKey], quorum: usize, lifetime: u64) -> Self {
        Self {
            me,
            members: members.iter().copied().collect(),
            quorum,
            lifetime,
            entries: BTreeMap::new(),
            unseen: BTreeMap::new(),
            ordered: BTreeMap::new(),
            ordered_at: VecDeque::new(),
            invalid: VecDeque::new(),
        }
    }

    /// The batch is here, valid and durable. Offers it, if that makes it available.
    pub fn hold(&mut self, held: Held, now: Instant) -> Option<Offer> {
        if self.ordered.contains_key(&held.digest) {
            return None;
        }
        let me = self.me;
        let entry = self.entries.entry(held.digest).or_insert_with(|| Entry::new(now));
        if entry.held.replace(held).is_none() {
            seen(&mut self.unseen, &entry.holders);
        }
        entry.holders.insert(me);
        self.announce(held.digest)
    }

    /// A peer says that it holds the batch. Offers it, if that makes it available.
    pub fn held_by(&mut self, peer: PublicKey, digest: Digest, now: Instant) -> Option<Offer> {
        if self.ordered.contains_key(&digest) {
            return None;
        }
        if !self.entries.contains_key(&digest) || self.entries[&digest].held.is_none() {
            let count = self.unseen.entry(peer).or_default();
            if *count >= MAX_UNSEEN_PER_PEER {
                return None;
            }
            let entry = self.entries.entry(digest).or_insert_with(|| Entry::new(now));
            if entry.holders.insert(peer) {
                *count += 1;
            }
            return None;
        }
        if let Some(entry) = self.entries.get_mut(&digest) {
            entry.holders.insert(peer);
        }
        self.announce(digest)
    }

    /// An epoch has begun, with other validators. Offers what they make available.
    pub fn set_members(&mut self, members: &[PublicKey], quorum: usize) -> Vec<Offer> {
        self.members = members.iter().copied().collect();
        self.quorum = quorum;
        let digests: Vec<_> = self.entries.keys().copied().collect();
        digests.into_iter().filter_map(|digest| self.announce(digest)).collect()
    }

    /// Whether a final block named the batch, as far back as that matters.
    pub fn is_ordered(&self, digest: &Digest) -> bool {
        self.ordered.contains_key(digest)
    }

    fn announce(&mut self, digest: Digest) -> Option<Offer> {
        let entry = self.entries.get_mut(&digest)?;
        let holders = entry.holders.intersection(&self.members).count();
        let held = entry.held.filter(|_| holders >= self.quorum && !entry.announced)?;
        entry.announced = true;
        Some(self.offer(held))
    }

    /// The heights of the blocks that may name a batch.
    pub fn offer(&self, held: Held) -> Offer {
        let first = Height(held.expires_at.0.saturating_sub(self.lifetime));
        Offer { digest: held.digest, first, last: held.expires_at }
    }

    /// The batch with this digest can never be valid.
    pub fn condemn(&mut self, digest: Digest) {
        if !self.invalid.contains(&digest) {
            self.invalid.push_back(digest);
            if self.invalid.len() > MAX_INVALID {
                self.invalid.pop_front();
            }
        }
    }

    /// Whether a block at `height` may name these batches (P2).
    pub fn judge(&self, payload: &[Digest], height: Height) -> Payload {
        let mut missing = Vec::new();
        for digest in payload {
            if self.ordered.contains_key(digest) || self.invalid.contains(digest) {
                return Payload::Invalid(*digest);
            }
            match self.entries.get(digest).and_then(|entry| entry.held) {
                Some(held) if height > held.expires_at || held.expires_at.since(height) > self.lifetime => {
                    return Payload::Invalid(*digest);
                }
                Some(_) => {}
                None => missing.push(*digest),
            }
        }
        if missing.is_empty() { Payload::Ready } else { Payload::Missing(missing) }
    }

    /// A final block at `height` names these batches.
    pub fn order(&mut self, payload: &[Digest], height: Height) {
        for digest in payload {
            self.remove(digest);
            self.ordered.insert(*digest, height);
            self.ordered_at.push_back((height, *digest));
        }
        while let Some((oldest, digest)) = self.ordered_at.front().copied() {
            if oldest.plus(self.lifetime) >= height {
                break;
            }
            self.ordered_at.pop_front();
            self.ordered.remove(&digest);
        }
    }

    /// Forgets what can not be named any more after the block at `tip`, and talk of batches that never came.
    /// Returns those that were here.
    pub fn expire(&mut self, tip: Height, now: Instant) -> Vec<Digest> {
        let gone: Vec<(Digest, bool)> = self
            .entries
            .iter()
            .filter(|(_, entry)| match entry.held {
                Some(held) => held.expires_at <= tip,
                None => now.duration_since(entry.since) > FORGET_UNSEEN_AFTER,
            })
            .map(|(digest, entry)| (*digest, entry.held.is_some()))
            .collect();
        gone.iter().for_each(|(digest, _)| self.remove(digest));
        gone.into_iter().filter(|(_, held)| *held).map(|(digest, _)| digest).collect()
    }

    fn remove(&mut self, digest: &Digest) {
        let Some(entry) = self.entries.remove(digest) else { return };
        if entry.held.is_none() {
            seen(&mut self.unseen, &entry.holders);
        }
    }

    /// The batches that a quorum holds and this node should have by now, each with who holds it; at most `max`.
    pub fn overdue(&self, now: Instant, max: usize) -> Vec<Missing> {
        let late = |entry: &Entry| {
            entry.held.is_none()
                && entry.holders.len() + 1 >= self.quorum
                && now.duration_since(entry.since) > FETCH_AFTER
        };
        let overdue = self.entries.iter().filter(|(_, entry)| late(entry)).take(max);
        let missing = |(digest, entry): (&Digest, &Entry)| Missing {
            digest: *digest,
            holders: entry.holders.iter().copied().collect(),
        };
        overdue.map(missing).collect()
    }

    /// Who says that it holds the batch.
    pub fn holders(&self, digest: &Digest) -> Vec<PublicKey> {
        self.entries.get(digest).map(|entry| entry.holders.iter().copied().collect()).unwrap_or_default()
    }

    /// The batches that are here and wait to be ordered, each once, those after `place` first: who takes a few at a
    /// time comes to all of them.
    pub fn waiting_after(&self, place: Digest) -> impl Iterator<Item = (&Held, &BTreeSet<PublicKey>)> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let after = self.entries.range((Excluded(place), Unbounded));
        let before = self.entries.range((Unbounded, Included(place)));
        after.chain(before).filter_map(|(_, entry)| entry.held.as_ref().map(|held| (held, &entry.holders)))
    }
}

/// A batch that these spoke of came, or is forgotten.
fn seen(unseen: &mut BTreeMap<PublicKey, usize>, holders: &BTreeSet<PublicKey>) {
    for holder in holders {
        if let Some(count) = unseen.get_mut(holder) {
            *count -= 1;
        }
    }
}

impl Entry {
    fn new(since: Instant) -> Self {
        Self { held: None, holders: BTreeSet::new(), announced: false, since }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(byte: u8) -> Digest {
        Digest::from_bytes([byte; 32])
    }

    fn held(byte: u8, expires_at: u64) -> Held {
        Held { digest: digest(byte), expires_at: Height(expires_at) }
    }

    fn peer(index: u8) -> PublicKey {
        PublicKey::Ed25519([index; 32])
    }

    fn of_four() -> Availability {
        Availability::new(peer(0), &[0, 1, 2, 3].map(peer), 3, 100)
    }

    #[test]
    fn the_word_of_who_is_no_validator_does_not_count_until_it_is_one() {
        let (mut known, now) = (of_four(), Instant::now());
        known.hold(held(1, 50), now);
        known.held_by(peer(1), digest(1), now);
        assert!(known.held_by(peer(9), digest(1), now).is_none());
        let offers = known.set_members(&[0, 1, 2, 9].map(peer), 3);
        assert_eq!(offers.len(), 1, "an epoch began in which it is one");
    }

    #[test]
    fn a_batch_is_available_once_a_quorum_with_this_node_holds_it_and_only_once() {
        let (mut known, now) = (of_four(), Instant::now());
        assert!(known.held_by(peer(1), digest(1), now).is_none());
        assert!(known.held_by(peer(2), digest(1), now).is_none());
        assert!(known.held_by(peer(3), digest(1), now).is_none(), "a quorum without this node is none");
        let offer = known.hold(held(1, 50), now).expect("available");
        assert_eq!((offer.first, offer.last), (Height(0), Height(50)));
        assert!(known.hold(held(1, 50), now).is_none());
        assert!(known.held_by(peer(3), digest(1), now).is_none());
        known.hold(held(2, 50), now);
        known.held_by(peer(1), digest(2), now);
        assert!(known.held_by(peer(1), digest(2), now).is_none(), "one peer twice is one holder");
        assert!(known.held_by(peer(2), digest(2), now).is_some());
    }

    #[test]
    fn an_ordered_an_expired_and_an_overlong_batch_may_not_be_named() {
        let (mut known, now) = (of_four(), Instant::now());
        for byte in 1..=3 {
            known.hold(held(byte, 50), now);
        }
        assert_eq!(known.judge(&[digest(1), digest(2)], Height(50)), Payload::Ready);
        assert_eq!(known.judge(&[digest(1), digest(9)], Height(50)), Payload::Missing(vec![digest(9)]));
        assert_eq!(known.judge(&[digest(1)], Height(51)), Payload::Invalid(digest(1)));
        let early =
            Availability::new(peer(0), &[peer(0)], 1, 100).hold(held(4, 500), now).expect("available");
        assert_eq!((early.first, early.last), (Height(400), Height(500)), "no leader names it before");
        known.hold(held(4, 500), now);
        assert_eq!(known.judge(&[digest(4)], Height(10)), Payload::Invalid(digest(4)));
        known.order(&[digest(1)], Height(40));
        assert_eq!(known.judge(&[digest(1)], Height(41)), Payload::Invalid(digest(1)));
        assert!(known.hold(held(1, 50), now).is_none(), "it is not available again");
        known.order(&[digest(2)], Height(141));
        assert_eq!(
            known.judge(&[digest(1)], Height(142)),
            Payload::Missing(vec![digest(1)]),
            "forgotten in time"
        );
        assert_eq!(known.expire(Height(50), now), [digest(3)]);
    }

    #[test]
    fn a_peer_that_speaks_of_endless_batches_is_bounded_and_others_are_not_hurt() {
        let (mut known, now) = (of_four(), Instant::now());
        for number in 0..2 * MAX_UNSEEN_PER_PEER {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&(number as u64).to_le_bytes());
            known.held_by(peer(1), Digest::from_bytes(bytes), now);
        }
        assert_eq!(known.entries.len(), MAX_UNSEEN_PER_PEER);
        known.held_by(peer(2), digest(7), now);
        assert_eq!(known.entries.len(), MAX_UNSEEN_PER_PEER + 1);
        known.expire(Height(0), now + FORGET_UNSEEN_AFTER * 2);
        assert_eq!((known.entries.len(), known.unseen[&peer(1)]), (0, 0));
    }
}

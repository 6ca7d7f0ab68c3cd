//! What other nodes have shown of themselves as sources of blocks and batches: who stalled or lied is left alone for a
//! time, and named.
//!
//! Invariants: a fault sets back who committed it, and nobody else; each further one twice as long, up to a bound. Lies
//! are not forgiven by later good answers, stalls are. Only keys that the network admits are remembered.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use genesis::PublicKey;

use crate::membership::Membership;
use crate::metrics::Metrics;

/// What a peer did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It took too long.
    Stalled,
    /// It refused to answer, or went away.
    Refused,
    /// Its answer is malformed, or does not prove what it claims.
    Invalid,
    /// Its blocks are certified, but do not continue this node's chain.
    Unlinked,
}

impl Fault {
    /// In a word, for figures and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stalled => "stalled",
            Self::Refused => "refused",
            Self::Invalid => "invalid",
            Self::Unlinked => "unlinked",
        }
    }

    /// Whether it can not happen to an honest peer.
    const fn is_lie(self) -> bool {
        matches!(self, Self::Invalid | Self::Unlinked)
    }

    /// For how long a peer is left alone the first time, and at most.
    const fn penalties(self) -> (Duration, Duration) {
        if self.is_lie() {
            (Duration::from_secs(30), Duration::from_secs(600))
        } else {
            (Duration::from_secs(1), Duration::from_secs(30))
        }
    }
}

/// One peer's record.
#[derive(Clone, Copy, Debug, Default)]
struct Record {
    stalls: u32,
    lies: u32,
    until: Option<Instant>,
}

/// The records, by network key.
#[derive(Debug, Default)]
pub struct Records(BTreeMap<PublicKey, Record>);

impl Records {
    /// Sets a peer back; returns for how long.
    pub fn fault(&mut self, peer: PublicKey, fault: Fault, now: Instant) -> Duration {
        let record = self.0.entry(peer).or_default();
        let count = if fault.is_lie() { &mut record.lies } else { &mut record.stalls };
        let (first, longest) = fault.penalties();
        let penalty = first.saturating_mul(1 << (*count).min(16)).min(longest);
        *count = count.saturating_add(1);
        record.until = record.until.max(Some(now + penalty));
        penalty
    }

    /// A peer was of use.
    pub fn served(&mut self, peer: &PublicKey) {
        if let Some(record) = self.0.get_mut(peer) {
            record.stalls = 0;
        }
    }

    /// Whether a peer may be asked.
    pub fn may_be_asked(&self, peer: &PublicKey, now: Instant) -> bool {
        self.0.get(peer).and_then(|record| record.until).is_none_or(|until| until <= now)
    }

    /// Forgets who is not among `admitted`.
    pub fn retain(&mut self, admitted: &[PublicKey]) {
        self.0.retain(|peer, _| admitted.contains(peer));
    }
}

/// The records, for all parts that ask other nodes. Clones are the same.
#[derive(Clone)]
pub struct Peers {
    /// For the peers' names.
    membership: Membership,
    metrics: Arc<Metrics>,
    records: Arc<Mutex<Records>>,
}

impl Peers {
    /// Nothing is known of anybody.
    pub fn new(membership: Membership, metrics: Arc<Metrics>) -> Self {
        Self { membership, metrics, records: Arc::default() }
    }

    /// The records.
    pub fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a peer is called.
    pub fn name(&self, peer: &PublicKey) -> String {
        let members = self.membership.now();
        members.by_network_key(peer).map_or_else(|| peer.to_string(), |index| members.name(index))
    }

    /// Drops a peer for a time, and says so.
    pub fn drop_for(&self, peer: &PublicKey, fault: Fault, why: &dyn Display) {
        let penalty = self.records().fault(*peer, fault, Instant::now());
        // Names are the validators' alone, so that the figure has few labels.
        let is_validator = self.membership.now().by_network_key(peer).is_some();
        let (name, reason) = (self.name(peer), fault.name());
        let label = if is_validator { name.as_str() } else { "other" };
        self.metrics.peers_dropped.with_label_values(&[label, reason]).inc();
        let seconds = penalty.as_secs();
        tracing::warn!(peer = name, reason, why = %why, seconds, "not asking a peer for blocks or batches for a time");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(byte: u8) -> PublicKey {
        PublicKey::Ed25519([byte; 32])
    }

    #[test]
    fn a_stalling_peer_is_left_alone_twice_as_long_each_time_within_a_bound_and_forgiven_once_it_serves() {
        let (mut records, now) = (Records::default(), Instant::now());
        let penalties: Vec<u64> =
            (0..8).map(|_| records.fault(peer(1), Fault::Stalled, now).as_secs()).collect();
        assert_eq!(penalties, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert!(!records.may_be_asked(&peer(1), now + Duration::from_secs(29)));
        assert!(records.may_be_asked(&peer(1), now + Duration::from_secs(30)));
        assert!(records.may_be_asked(&peer(2), now), "another peer is not hurt");
        records.served(&peer(1));
        assert_eq!(records.fault(peer(1), Fault::Refused, now).as_secs(), 1);
    }

    #[test]
    fn a_liar_is_left_alone_longer_and_good_answers_in_between_do_not_help_it() {
        let (mut records, now) = (Records::default(), Instant::now());
        assert_eq!(records.fault(peer(1), Fault::Invalid, now).as_secs(), 30);
        records.served(&peer(1));
        assert_eq!(records.fault(peer(1), Fault::Unlinked, now).as_secs(), 60);
        assert_eq!((0..40).map(|_| records.fault(peer(1), Fault::Invalid, now).as_secs()).max(), Some(600));
    }

    #[test]
    fn a_stall_does_not_shorten_the_penalty_of_a_lie_and_who_is_not_admitted_is_forgotten() {
        let (mut records, now) = (Records::default(), Instant::now());
        records.fault(peer(1), Fault::Invalid, now);
        records.fault(peer(1), Fault::Stalled, now);
        records.fault(peer(2), Fault::Stalled, now);
        assert!(!records.may_be_asked(&peer(1), now + Duration::from_secs(29)));
        assert!(records.may_be_asked(&peer(2), now + Duration::from_secs(1)));
        records.retain(&[peer(2)]);
        assert_eq!(records.0.len(), 1);
    }
}

//! What the driver counts of what it performs: for the figures alone, nothing here decides anything.
//!
//! A block's way has five phases as one replica sees it: `propose` (from when the view was entered, or something waited, to this replica's
//! PREPARE), `prepare` (to its COMMIT), `commit` (until it is final), `execute` (until it is executed), `certify` (until a quorum has signed
//! what that led to). Observers do not vote, so they measure the last two alone. Bounded by [`MOST`] a phase.

use std::collections::BTreeMap;
use std::time::Instant;

use consensus::message::{PrePrepare, VoteKind};
use consensus::{Message, Record};
use genesis::{Height, ValidatorIndex, View};
use prometheus::HistogramVec;

use super::{Driver, Work};
use crate::wire::Gossip;

/// How many blocks are under way in a phase at most; more are not measured.
const MOST: usize = 256;

/// When phases began that have not ended.
#[derive(Debug)]
pub(super) struct Phases {
    view: View,
    entered: Instant,
    prepared: BTreeMap<View, Instant>,
    committed: BTreeMap<View, Instant>,
    finalized: BTreeMap<Height, Instant>,
    executed: BTreeMap<Height, Instant>,
    /// The highest view whose proposal showed its leader's clock.
    clock_shown: View,
}

impl Phases {
    pub(super) fn new() -> Self {
        Self {
            view: View::ZERO,
            entered: Instant::now(),
            prepared: BTreeMap::new(),
            committed: BTreeMap::new(),
            finalized: BTreeMap::new(),
            executed: BTreeMap::new(),
            clock_shown: View::ZERO,
        }
    }

    /// Views begin anew with an epoch.
    pub(super) fn begin_epoch(&mut self) {
        let (finalized, executed) = (std::mem::take(&mut self.finalized), std::mem::take(&mut self.executed));
        *self = Self { finalized, executed, ..Self::new() };
    }

    /// The replica is in `view` now.
    pub(super) fn enter(&mut self, view: View) {
        if view != self.view {
            (self.view, self.entered) = (view, Instant::now());
        }
    }

    /// This replica voted, perhaps not for the first time. `waits` is since when something does.
    fn voted(&mut self, kind: VoteKind, view: View, waits: Option<Instant>, seconds: &HistogramVec) {
        match kind {
            VoteKind::Prepare if view == self.view && !self.prepared.contains_key(&view) => {
                // On an idle chain a view lasts for as long as nobody wants anything.
                if let Some(waits) = waits {
                    observe(seconds, "propose", self.entered.max(waits));
                }
                note(&mut self.prepared, view);
            }
            VoteKind::Commit if !self.committed.contains_key(&view) => {
                if let Some(since) = self.prepared.get(&view) {
                    observe(seconds, "prepare", *since);
                    note(&mut self.committed, view);
                }
            }
            VoteKind::Prepare | VoteKind::Commit | VoteKind::ViewChange => {}
        }
    }

    /// The block at `height`, of `view`, is final.
    pub(super) fn finalized(&mut self, view: View, height: Height, seconds: &HistogramVec) {
        if let Some(since) = self.committed.get(&view) {
            observe(seconds, "commit", *since);
        }
        self.prepared = self.prepared.split_off(&view.next());
        self.committed = self.committed.split_off(&view.next());
        note(&mut self.finalized, height);
    }

    /// It is executed.
    pub(super) fn executed(&mut self, height: Height, seconds: &HistogramVec) {
        if let Some(since) = self.finalized.remove(&height) {
            observe(seconds, "execute", since);
            note(&mut self.executed, height);
        }
    }

    /// A quorum has signed what it led to.
    pub(super) fn certified(&mut self, height: Height, seconds: &HistogramVec) {
        if let Some(since) = self.executed.get(&height) {
            observe(seconds, "certify", *since);
        }
        self.executed = self.executed.split_off(&height.next());
    }

    /// Whether a proposal in `view` is the first one of its view and of no earlier one: others are old, and tell no time.
    fn shows_clock(&mut self, view: View) -> bool {
        let first = view >= self.view && view > self.clock_shown;
        if first {
            self.clock_shown = view;
        }
        first
    }
}

fn observe(seconds: &HistogramVec, phase: &str, since: Instant) {
    seconds.with_label_values(&[phase]).observe(since.elapsed().as_secs_f64());
}

fn note<K: Ord>(began: &mut BTreeMap<K, Instant>, key: K) {
    if began.len() >= MOST {
        began.pop_first();
    }
    began.insert(key, Instant::now());
}

impl Work {
    /// Counts a message that is sent.
    pub(super) fn count(&self, gossip: &Gossip) {
        let kind = match gossip {
            Gossip::Held(_) => "held",
            Gossip::Consensus(_, message) => match message {
                Message::PrePrepare(_) => "pre_prepare",
                Message::Vote(_) => "vote",
                Message::Certificate(_) => "certificate",
                Message::Fetch(_) => "fetch",
                Message::Checkpoint(_) => "checkpoint",
                Message::CheckpointCertificate(_) => "checkpoint_certificate",
                Message::OwnVotes(_) => "own_vote",
                Message::Attestation(_) => "attestation",
            },
        };
        self.driver.metrics.messages_sent.with_label_values(&[kind]).inc();
    }

    /// This replica tells the others something: a vote ends a phase.
    pub(super) fn note_vote(&mut self, message: &Message) {
        if let Message::Vote(vote) = message
            && self.driver.membership.now().me == Some(vote.voter)
        {
            let waits = self.driver.replica.status().armed.map(|since| self.driver.started + since);
            self.phases.voted(vote.kind, vote.view, waits, &self.driver.metrics.phase_seconds);
        }
    }

    /// A leader's own proposal has come: it shows the leader's clock.
    pub(super) fn note_clock(&mut self, from: ValidatorIndex, proposal: &PrePrepare) {
        let (view, time) = (proposal.candidate.view, proposal.candidate.time);
        if self.driver.replica.context().validators.leader(view) == from && self.phases.shows_clock(view) {
            let key = self.keys.get(usize::from(from.0)).copied();
            key.into_iter().for_each(|key| self.driver.clocks.shown(key, time, self.now().clock));
        }
    }
}

/// The views that have failed by what is recorded now. Each is recorded once.
pub(super) fn failed(records: &[Record]) -> impl Iterator<Item = View> {
    records.iter().filter_map(|record| match record {
        Record::Certificate(certificate) if certificate.kind == VoteKind::ViewChange => {
            Some(certificate.view)
        }
        _ => None,
    })
}

impl Driver {
    /// Counts views that failed.
    pub(super) fn count_failed_views(&self, views: &[View]) {
        let validators = &self.replica.context().validators;
        for view in views {
            self.metrics.view_changes.inc();
            if let Some(leader) = validators.get(validators.leader(*view)) {
                self.metrics.missed_proposals.with_label_values(&[&leader.name]).inc();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn each_phase_of_a_block_is_measured_once_however_often_votes_are_sent_again() {
        let metrics = Metrics::new().unwrap();
        let seconds = &metrics.phase_seconds;
        let mut phases = Phases::new();
        let waits = Some(Instant::now());
        for view in (1..=3).map(View) {
            phases.enter(view);
            for _again in 0..2 {
                phases.voted(VoteKind::Prepare, view, waits.filter(|_| view != View(3)), seconds);
                phases.voted(VoteKind::Commit, view, waits, seconds);
            }
        }
        // An observer's view of a block: it voted for none.
        for (view, height) in [(1, 1), (2, 2), (9, 3)] {
            phases.finalized(View(view), Height(height), seconds);
            phases.executed(Height(height), seconds);
        }
        phases.certified(Height(2), seconds);
        phases.certified(Height(2), seconds);
        let counts = ["propose", "prepare", "commit", "execute", "certify"]
            .map(|phase| seconds.with_label_values(&[phase]).get_sample_count());
        assert_eq!(counts, [2, 3, 2, 3, 1]);
        (0..3 * MOST as u64).for_each(|height| phases.finalized(View(height + 10), Height(height), seconds));
        assert_eq!(phases.finalized.len(), MOST);
    }

    #[test]
    fn only_the_first_proposal_of_a_view_that_is_not_over_shows_a_clock() {
        let mut phases = Phases::new();
        phases.enter(View(5));
        let shows = [4, 5, 5, 7, 6, 8].map(|view| phases.shows_clock(View(view)));
        assert_eq!(shows, [false, true, false, true, false, true]);
        phases.begin_epoch();
        phases.enter(View(1));
        assert!(phases.shows_clock(View(1)));
    }
}

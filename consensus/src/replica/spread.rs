//! P8: everything that matters is sent again until it is settled, and certificates reach those who lack them.

use std::time::Duration;

use genesis::ValidatorIndex;

use super::receive::grace;
use super::{Now, Own, Replica};
use crate::bug::{Bug, on};
use crate::certificate::Certificate;
use crate::message::{Fetch, Message};
use crate::output::{Action, Recipient};

/// How many COMMITs that are not settled are sent again: a later one settles the earlier.
const COMMITS_RESENT: usize = 8;

impl Replica {
    /// The certificate by which this replica is in its view.
    pub(super) fn entry_certificate(&self) -> Option<&Certificate> {
        let before = self.view.previous();
        let of_view = |certificate: &&Certificate| certificate.view == before;
        self.prepared
            .get(&before)
            .or_else(|| self.failed.get(&before))
            .or_else(|| self.committed.as_ref().filter(of_view))
            .or_else(|| self.tip_certificate.as_ref().filter(of_view))
    }

    /// A view was entered: those who do not show soon that they can enter it too will be told. Not by an observer, whom
    /// nobody shows anything.
    pub(super) fn plan_spread(&mut self, now: Now) {
        if self.me.is_none() {
            return;
        }
        let due = now.elapsed + grace(self.pacemaker.delta());
        for peer in self.peers.values_mut() {
            peer.spread_at = (peer.shown < self.view).then_some(due);
        }
    }

    pub(super) fn spread(&mut self, now: Now) {
        let view = self.view;
        let due = |peer: &super::Peer| peer.spread_at.is_some_and(|at| at <= now.elapsed);
        let mut behind = Vec::new();
        for (index, peer) in self.peers.iter_mut().filter(|(_, peer)| due(peer)) {
            peer.spread_at = None;
            if peer.shown < view {
                behind.push(*index);
            }
        }
        if let Some(certificate) = self.entry_certificate().cloned() {
            for peer in behind.into_iter().filter(|_| !on(Bug::NothingSpread)) {
                self.output.send(Recipient::One(peer), Message::Certificate(certificate.clone()));
            }
        }
        self.tell(now);
    }

    /// A block is final: those who do not show soon, by their CHECKPOINT, that they know it will be told.
    pub(super) fn plan_to_tell(&mut self, now: Now) {
        let soonest = now.elapsed + self.pacemaker.delta();
        for peer in self.peers.values_mut() {
            peer.tell_at = peer.tell_at.max(soonest);
        }
    }

    /// Who shows nothing new is told less and less often.
    fn tell(&mut self, now: Now) {
        if self.me.is_none() {
            return;
        }
        let (tip, delta) = (self.tip.height, self.pacemaker.delta());
        let longest = Duration::from_millis(self.parameters.heartbeat_ms).max(delta);
        let mut behind = Vec::new();
        for (index, peer) in &mut self.peers {
            if peer.executed < tip && peer.tell_at <= now.elapsed {
                peer.tell_pause = (peer.tell_pause * 2).clamp(delta, longest);
                peer.tell_at = now.elapsed + peer.tell_pause;
                behind.push(*index);
            }
        }
        for peer in behind {
            for message in self.finality() {
                self.output.send(Recipient::One(peer), message);
            }
        }
    }

    /// A peer came up: it gets what it may have missed.
    pub(super) fn greet(&mut self, peer: ValidatorIndex) {
        let entry = self.entry_certificate().cloned().map(Message::Certificate);
        let messages = entry.into_iter().chain(self.finality()).chain(self.unsettled()).collect::<Vec<_>>();
        for message in messages {
            self.output.send(Recipient::One(peer), message);
        }
        self.inquire(Recipient::One(peer));
    }

    /// What this replica signed and neither a certificate nor a later vote has settled.
    fn unsettled(&self) -> Vec<Message> {
        let current = self.own.get(&self.view);
        let proposal = current.and_then(|own| own.proposal).filter(|_| self.closed.is_none());
        let proposal = proposal.and_then(|digest| self.blocks.get(&digest));
        // Once nothing waits here any more, a view is given up aloud only together with others: a network that is
        // done stays silent (P10).
        let gives_up = self.armed.is_some() || self.others_gave_up();
        let votes = |own: &Own| [own.prepare.clone(), own.view_change.clone().filter(|_| gives_up)];
        let of_view = current.into_iter().flat_map(votes).flatten();
        // COMMIT is sent in certified views alone; the views that failed may be many more. An empty block that too many
        // gave up to be committed waits for a later one, in silence.
        let certified = self.prepared.keys().rev().filter(|_| self.unfinal.is_some());
        let certified = certified.filter(|view| !self.failed.contains_key(view));
        let commits = certified.filter_map(|view| self.own.get(view)?.commit.clone()).take(COMMITS_RESENT);
        let votes = of_view.chain(commits).map(Message::Vote).filter(|_| self.closed.is_none());
        let result = self.uncertified_checkpoint().cloned().map(Message::Checkpoint);
        proposal.map(super::Known::message).into_iter().chain(votes).chain(result).collect()
    }

    /// Whether blocks or certificates were asked for that did not come yet.
    pub(super) fn has_questions(&self) -> bool {
        !self.asked_candidates.is_empty()
            || self.asked_certificates.is_some()
            || self.asked_checkpoint.is_some()
    }

    /// Sends again, on a timer of its own, what is not settled, and asks again for what is missing.
    pub(super) fn resend(&mut self, now: Now) {
        let questions = self.has_questions() || self.awaits_opening().is_some() || self.inquires();
        let behind = self.committed.is_some() || self.results.is_above(self.tip.height);
        let waits = questions || self.unfinal.is_some() || behind;
        if self.resend_at.is_some_and(|at| at <= now.elapsed) {
            self.resend_at = None;
            let unsettled = if on(Bug::NothingSentAgain) { Vec::new() } else { self.unsettled() };
            for message in unsettled {
                self.output.send(Recipient::All, message);
            }
            if waits {
                self.ask_again();
            }
        }
        if self.resend_at.is_none() && (waits || !self.unsettled().is_empty()) {
            self.resend_at = Some(now.elapsed + self.pacemaker.delta());
        }
    }

    /// Everybody is asked for what is newest; of the rest the answers are large, so that one peer at a time is asked,
    /// the next one each time.
    fn ask_again(&mut self) {
        let newest = Fetch::Newest { view: self.view, finalized: self.tip.view };
        self.output.send(Recipient::All, Message::Fetch(newest));
        self.inquire(Recipient::All);
        if self.committed.is_some() || self.results.is_above(self.tip.height) {
            self.output.act(Action::Synchronize { after: self.tip.height });
        }
        let candidates: Vec<_> = self.asked_candidates.iter().copied().map(Fetch::Candidate).collect();
        let certificates = self.asked_certificates.map(|(from, _)| {
            // From where the last answer stopped, or anew.
            let to = self.failed_from.previous().max(from);
            Fetch::Certificates { from, to }
        });
        let checkpoint = self.asked_checkpoint.or(self.awaits_opening()).map(Fetch::Checkpoint);
        self.helper = self.next_helper();
        for fetch in candidates.into_iter().chain(certificates).chain(checkpoint) {
            self.fetch(None, fetch);
        }
    }

    /// The peer after the one that was asked last.
    fn next_helper(&self) -> Option<ValidatorIndex> {
        let others = || self.peers.keys().copied();
        let after = self.helper.and_then(|last| others().find(|peer| *peer > last));
        after.or_else(|| others().next())
    }

    /// Peers showed that they are in a higher view: ask them for the certificate that leads there. One that answers
    /// nothing new is asked less and less often: a vote for a far view is cheap.
    pub(super) fn catch_up(&mut self, now: Now) {
        let (view, tip, delta) = (self.view, self.tip.height, self.pacemaker.delta());
        let longest = Duration::from_millis(self.parameters.heartbeat_ms);
        let fetch = Fetch::Newest { view, finalized: self.tip.view };
        let due = self.catch_up_at.is_some_and(|at| at <= now.elapsed);
        let mut next: Option<Duration> = None;
        let ahead = |peer: &super::Peer| peer.shown > view || peer.executed > tip;
        for (index, peer) in self.peers.iter_mut().filter(|(_, peer)| ahead(peer)) {
            if due && peer.ask_at <= now.elapsed {
                peer.ask_pause = (peer.ask_pause * 2).clamp(delta, longest.max(delta));
                peer.ask_at = now.elapsed + peer.ask_pause;
                self.output.send(Recipient::One(*index), Message::Fetch(fetch.clone()));
            }
            let soonest = now.elapsed + grace(delta);
            let at = if due { peer.ask_at } else { self.catch_up_at.unwrap_or(peer.ask_at.max(soonest)) };
            next = Some(next.map_or(at, |next| next.min(at)));
        }
        self.catch_up_at = next;
    }
}

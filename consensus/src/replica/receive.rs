//! Facts from peers: what a message adds to what is known. Nothing here decides; `progress` does.

use std::time::Duration;

use genesis::{Digest, Height, ValidatorIndex, View};

use super::{Known, Now, Phase, Replica, VIEWS_AHEAD, VIEWS_BEHIND, Verdict};
use crate::bug::{Bug, on};
use crate::candidate::Block;
use crate::certificate::Certificate;
use crate::evidence::Statement;
use crate::message::{Attestation, Fetch, Kind, Message, PrePrepare, Vote, VoteKind};
use crate::output::Recipient;

/// How many certificates one question is answered with. Each travels as a message of its own: none grows with
/// the number of views that failed.
pub(super) const CERTIFICATES_AN_ANSWER: u64 = 64;
/// How many questions of one peer are answered within Δ.
const ANSWERS_IN_DELTA: u32 = 200;

impl Replica {
    pub(super) fn receive(&mut self, now: Now, from: ValidatorIndex, message: Message) {
        if Some(from) == self.me {
            return;
        }
        match message {
            // Votes come from their voter alone: an old one, replayed, must not make a dead validator look alive.
            Message::Vote(vote) if vote.voter == from => self.receive_vote(now, &vote),
            Message::Vote(_) => {}
            Message::PrePrepare(proposal) => self.receive_proposal(now, from, proposal),
            Message::Certificate(certificate) => self.receive_certificate(now, from, certificate),
            Message::Fetch(fetch) => self.answer(now, from, &fetch),
            Message::Checkpoint(vote) if vote.voter == from => self.receive_checkpoint(now, vote),
            Message::Checkpoint(_) => {}
            Message::CheckpointCertificate(certificate) => {
                if self.certify_checkpoint(now, certificate) {
                    self.helped(from);
                }
            }
            Message::OwnVotes(votes) => self.remembered(from, &votes),
            Message::Attestation(attestation) if attestation.voter == from => {
                self.receive_attestation(now, from, attestation);
            }
            Message::Attestation(_) => {}
        }
    }

    fn receive_vote(&mut self, now: Now, vote: &Vote) {
        let shown = if vote.kind == VoteKind::Commit { vote.view.next() } else { vote.view };
        self.heard(now, vote.voter, vote.view, shown);
        if let Some(peer) = self.peers.get_mut(&vote.voter) {
            let newest = peer.highest.first().map_or(View::ZERO, |highest| highest.view);
            if vote.view > newest {
                peer.highest.clear();
            }
            if vote.view >= newest && peer.highest.iter().all(|held| held.kind != vote.kind) {
                peer.highest.push(vote.clone());
            }
        }
        if vote.view <= self.tip.view {
            self.answer_settled(now, vote);
            return;
        }
        if self.closed.is_some() {
            // It does not know yet that this epoch is over.
            self.answer_finality(now, vote.voter);
        }
        if vote.kind == VoteKind::ViewChange && vote.view == self.view && self.armed.is_none() {
            // It waits for something that is done here: the newest final block is what it lacks.
            self.answer_finality(now, vote.voter);
        }
        let counted = vote.view <= self.view.plus(VIEWS_AHEAD) && vote.view.plus(VIEWS_BEHIND) >= self.view;
        if counted {
            self.count(now, vote);
        }
    }

    fn receive_proposal(&mut self, now: Now, from: ValidatorIndex, proposal: PrePrepare) {
        let leader = self.context.validators.leader(proposal.candidate.view);
        let known = Known { signature: proposal.signature, block: Block::new(proposal.candidate) };
        let (view, digest) = (known.block.view, known.block.digest());
        if leader == from {
            self.heard(now, leader, view, view);
        }
        self.watch_leader(leader, &known);
        let own = Some(leader) == self.me && view >= self.view;
        if view <= self.tip.view || own {
            return;
        }
        let long = known.block.payload.len() as u64 > self.parameters.max_block_batches
            || known.block.nonces.len() > self.context.validators.len();
        if long {
            // Never kept, not even to be looked at.
            if view == self.view && self.phase == Phase::Waiting {
                self.phase = Phase::Rejected;
            }
            return;
        }
        if self.asked_candidates.remove(&digest) || self.is_certified(view, digest) {
            self.helped(from);
            self.blocks.insert(digest, known.clone());
            self.stirred = true;
        }
        if view == self.view {
            self.consider(known);
        } else if view > self.view {
            // P5: one a leader; the nearest view, so that a far one cannot crowd it out.
            let place = self.early.get(&leader).map(|early| early.block.view);
            if place.is_none_or(|early| early <= self.view || view < early) {
                self.early.insert(leader, known);
            }
        }
    }

    fn receive_certificate(&mut self, now: Now, from: ValidatorIndex, certificate: Certificate) {
        let shown = certificate.view.next();
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.shown = peer.shown.max(shown);
        }
        if self.certify(now, certificate) {
            self.helped(from);
        }
    }

    /// `peer` answered something that was not known: it is asked first from now on.
    fn helped(&mut self, peer: ValidatorIndex) {
        self.helper = Some(peer);
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.ask_pause = Duration::ZERO;
        }
    }

    fn is_certified(&self, view: View, digest: Digest) -> bool {
        let names = |certificate: &Certificate| certificate.view == view && certificate.digest == digest;
        self.prepared.get(&view).is_some_and(names) || self.committed.as_ref().is_some_and(names)
    }

    fn heard(&mut self, now: Now, peer: ValidatorIndex, view: View, shown: View) {
        let delta = self.pacemaker.delta();
        let current = self.view;
        let Some(peer) = self.peers.get_mut(&peer) else { return };
        peer.heard_view = peer.heard_view.max(view);
        peer.heard_at = now.elapsed;
        if shown > peer.shown {
            peer.shown = shown;
            (peer.ask_at, peer.ask_pause) = (now.elapsed, Duration::ZERO);
        }
        if peer.shown < current && peer.spread_at.is_none() {
            // P8: a message from an older view is answered with the newest certificate.
            peer.spread_at = Some(now.elapsed + grace(delta));
        }
        if peer.shown > current {
            let at = peer.ask_at.max(now.elapsed + grace(delta));
            self.catch_up_at = Some(self.catch_up_at.map_or(at, |planned| planned.min(at)));
        }
    }

    /// A vote about what is final here. One late COMMIT is usual; a second means that its sender lacks the
    /// certificate.
    fn answer_settled(&mut self, now: Now, vote: &Vote) {
        let Some(peer) = self.peers.get_mut(&vote.voter) else { return };
        let again = vote.kind != VoteKind::Commit || vote.view <= peer.commit_seen;
        if vote.kind == VoteKind::Commit {
            peer.commit_seen = peer.commit_seen.max(vote.view);
        }
        if again {
            self.answer_finality(now, vote.voter);
        }
    }

    /// Shows `peer` the newest final block's certificate, at most once in Δ/2.
    pub(super) fn answer_finality(&mut self, now: Now, peer: ValidatorIndex) {
        let pause = self.pacemaker.delta() / 2;
        let Some(known) = self.peers.get_mut(&peer) else { return };
        if known.answer_after > now.elapsed {
            return;
        }
        known.answer_after = now.elapsed + pause;
        for message in self.finality() {
            self.output.send(Recipient::One(peer), message);
        }
    }

    /// What shows others up to where blocks are final.
    pub(super) fn finality(&self) -> Vec<Message> {
        let commit = self.tip_certificate.clone().map(Message::Certificate);
        let newest =
            self.results.newest_certificate().filter(|newest| newest.checkpoint.epoch == self.context.epoch);
        commit.into_iter().chain(newest.cloned().map(Message::CheckpointCertificate)).collect()
    }

    /// `peer` signed the checkpoint at `height`, so it knows that block final.
    pub(super) fn executed_by(&mut self, now: Now, peer: ValidatorIndex, height: Height) {
        let delta = self.pacemaker.delta();
        let tip = self.tip.height;
        let Some(peer) = self.peers.get_mut(&peer) else { return };
        if height > peer.executed {
            peer.executed = height;
            (peer.tell_at, peer.tell_pause) = (now.elapsed + delta, Duration::ZERO);
            (peer.ask_at, peer.ask_pause) = (now.elapsed, Duration::ZERO);
        }
        if height > tip {
            let at = peer.ask_at.max(now.elapsed + grace(delta));
            self.catch_up_at = Some(self.catch_up_at.map_or(at, |planned| planned.min(at)));
        }
    }

    /// An answer to a replica without a journal. It names the view that its sender is in, and how it got there.
    fn receive_attestation(&mut self, now: Now, from: ValidatorIndex, attestation: Attestation) {
        if let Some(entry) = attestation.entry.clone() {
            self.receive_certificate(now, from, entry);
        }
        self.attested(&attestation);
    }

    /// P13: a leader proposes once a view.
    fn watch_leader(&mut self, leader: ValidatorIndex, known: &Known) {
        let view = known.block.view;
        let statement = |known: &Known| Statement {
            kind: Kind::PrePrepare,
            view,
            digest: known.block.digest(),
            signature: known.signature,
        };
        let held = self.blocks.values().chain(self.early.values());
        let other = held
            .filter(|held| held.block.view == view)
            .find(|held| held.block.digest() != known.block.digest());
        if let Some((first, second)) = other.map(|other| (statement(other), statement(known))) {
            self.accuse(leader, first, second);
        }
    }

    /// The votes of `peer` in the highest view that any is known of here, from what it sent or from a certificate (P7). All
    /// kinds: one may be in records that lack another.
    fn highest_votes(&self, peer: ValidatorIndex) -> Vec<Vote> {
        let held = self.prepared.values().rev().chain(self.failed.values().rev());
        let held = held.chain(&self.committed).chain(&self.tip_certificate);
        let in_certificates = held.filter_map(|certificate| {
            let (_, signature) = certificate.signatures.iter().find(|(signer, _)| *signer == peer)?;
            let Certificate { kind, view, digest, .. } = *certificate;
            Some(Vote { kind, view, digest, voter: peer, signature: *signature })
        });
        let sent = self.peers.get(&peer).into_iter().flat_map(|peer| peer.highest.iter().cloned());
        let mut votes: Vec<_> = in_certificates.chain(sent).collect();
        let highest = votes.iter().map(|vote| vote.view).max();
        votes.retain(|vote| Some(vote.view) == highest);
        votes.sort_by_key(|vote| vote.kind);
        votes.dedup_by_key(|vote| vote.kind);
        if on(Bug::LastOwnVoteShown) {
            votes.drain(..votes.len().saturating_sub(1));
        }
        votes
    }

    /// Whether a question of `from` may be answered now. A few bytes ask for a hundred messages: each peer gets
    /// so many answers within Δ, at once or one after the other, and no more.
    fn may_answer(&mut self, now: Now, from: ValidatorIndex) -> bool {
        let delta = self.pacemaker.delta();
        let Some(peer) = self.peers.get_mut(&from) else { return false };
        if peer.answered_until > now.elapsed + delta {
            return false;
        }
        peer.answered_until = peer.answered_until.max(now.elapsed) + delta / ANSWERS_IN_DELTA;
        true
    }

    fn answer(&mut self, now: Now, from: ValidatorIndex, fetch: &Fetch) {
        if !self.may_answer(now, from) {
            return;
        }
        let mut answers = Vec::new();
        match *fetch {
            Fetch::Newest { view, finalized } => {
                if view < self.view {
                    answers.extend(self.entry_certificate().cloned().map(Message::Certificate));
                }
                if finalized < self.tip.view {
                    answers.extend(self.finality());
                }
            }
            Fetch::Candidate(digest) => {
                let recent = || self.recent.iter().find(|known| known.block.digest() == digest);
                answers.extend(self.blocks.get(&digest).or_else(recent).map(Known::message));
            }
            Fetch::Certificates { from: first, to } => {
                // Newest first: with the first of them the asker can enter the newest view.
                let views = (first <= to).then_some(first..=to);
                let held = views.into_iter().flat_map(|views| {
                    let failed = self.failed.range(views.clone()).rev().take(CERTIFICATES_AN_ANSWER as usize);
                    let prepared = self.prepared.range(views).rev().take(CERTIFICATES_AN_ANSWER as usize);
                    failed.chain(prepared)
                });
                answers.extend(held.map(|(_, certificate)| Message::Certificate(certificate.clone())));
                if first <= self.tip.view {
                    answers.extend(self.finality());
                }
            }
            Fetch::Checkpoint(height) => {
                let held = self.results.certificate(height).or(self.results.newest_certificate());
                let held = held.filter(|held| held.checkpoint.epoch == self.context.epoch);
                answers.extend(held.cloned().map(Message::CheckpointCertificate));
            }
            Fetch::OwnVotes => answers.push(Message::OwnVotes(self.highest_votes(from))),
            Fetch::Attestation(nonce) => self.answer_nonce(now, from, nonce),
        }
        if let Some(peer) = self.peers.get_mut(&from) {
            // One is paid for already.
            peer.answered_until +=
                self.pacemaker.delta() / ANSWERS_IN_DELTA * answers.len().saturating_sub(1) as u32;
        }
        for answer in answers {
            self.output.send(Recipient::One(from), answer);
        }
    }

    pub(super) fn judged(&mut self, of: Digest, answer: Verdict) {
        if let Phase::Examining { digest, verdict, .. } = &mut self.phase
            && *digest == of
        {
            *verdict = Some(answer);
        }
    }
}

/// How long a peer is given to show by itself what it holds, before it is told.
pub(super) fn grace(delta: Duration) -> Duration {
    delta / 4
}

//! Entering views, and voting in them. All votes are cast here, by [`Replica::cast`], which holds the rules that
//! safety rests on.

use genesis::{Digest, View};

use super::{Broken, Known, MAX_UNFINAL, Now, Own, Phase, Replica, VIEWS_BEHIND};
use crate::bug::{Bug, on};
use crate::candidate::Parent;
use crate::certificate::Certificate;
use crate::message::{Message, Vote, VoteKind};
use crate::output::{Recipient, Record};

impl Replica {
    /// Signs a vote, makes it a fact here, and has it recorded before it is sent (P7).
    pub(super) fn cast(&mut self, now: Now, kind: VoteKind, view: View, digest: Digest) {
        // Below the tip nothing is signed: what was signed there may be forgotten (P7's floor).
        assert!(
            view > self.tip.view || on(Bug::VotesBelowTip),
            "a vote in {view}, below the final view {}",
            self.tip.view
        );
        let Some(me) = self.me.filter(|_| self.may_sign(view)) else { return };
        let vote = self.context.vote((me, &self.secret), kind, view, digest);
        let own = self.own.entry(view).or_default();
        match kind {
            VoteKind::Prepare => {
                assert!(
                    own.prepare.is_none() || on(Bug::PreparesTwice),
                    "P2: a second PREPARE in view {view}"
                );
                own.prepare = Some(vote.clone());
            }
            VoteKind::Commit => {
                assert!(
                    own.view_change.is_none() && own.commit.is_none() || on(Bug::CommitsAfterViewChange),
                    "P3: COMMIT after a vote in {view}"
                );
                own.commit = Some(vote.clone());
            }
            VoteKind::ViewChange => {
                assert!(
                    own.commit.is_none() || on(Bug::GivesUpAfterCommit),
                    "P5: VIEW-CHANGE after COMMIT in view {view}"
                );
                own.view_change = Some(vote.clone());
            }
        }
        self.output.record(Record::Vote(vote.clone()));
        self.output.send(Recipient::All, Message::Vote(vote.clone()));
        self.stirred = true;
        self.count(now, &vote);
    }

    /// Counts a vote; where it completes a certificate, takes that in.
    pub(super) fn count(&mut self, now: Now, vote: &Vote) {
        let quorum = self.quorum();
        let tally = self.tallies.entry(vote.view).or_default();
        let contradicted = tally.contradicted_by(vote);
        let certificate = tally.add(vote, quorum);
        if let Some(first) = contradicted {
            self.accuse(vote.voter, first, vote.statement());
        }
        if vote.kind == VoteKind::ViewChange && vote.view == self.view {
            self.stirred = true; // P5's f+1 may be reached.
        }
        if let Some(certificate) = certificate {
            self.certify(now, certificate);
        }
    }

    /// Takes in a certificate that was checked, or counted here.
    /// Says whether it was news.
    pub(super) fn certify(&mut self, now: Now, certificate: Certificate) -> bool {
        let (kind, view, digest) = (certificate.kind, certificate.view, certificate.digest);
        if view <= self.tip.view && !on(Bug::VotesBelowTip) || self.closed.is_some() {
            return false;
        }
        let known = match kind {
            VoteKind::Prepare => self.prepared.contains_key(&view),
            VoteKind::ViewChange => self.failed.contains_key(&view),
            VoteKind::Commit => self.committed.as_ref().is_some_and(|newest| newest.view >= view),
        };
        if known {
            return false;
        }
        self.stirred = true;
        self.output.record(Record::Certificate(certificate.clone()));
        match kind {
            VoteKind::Prepare => {
                self.prepared.insert(view, certificate);
                self.last_block_at = now.elapsed;
                if on(Bug::PreparedIsFinal) {
                    self.committed = self.prepared.get(&view).cloned();
                }
                self.commit(now, view, digest);
            }
            VoteKind::ViewChange => {
                self.failed.insert(view, certificate);
            }
            VoteKind::Commit => self.committed = Some(certificate),
        }
        true
    }

    /// P3: a quorum prepared `digest`; COMMIT it, unless its view was given up here (or, as is plain from a
    /// view-change certificate, by too many for the commit to succeed).
    pub(super) fn commit(&mut self, now: Now, view: View, digest: Digest) {
        let own = self.own.get(&view);
        let gave_up = !on(Bug::CommitsAfterViewChange)
            && (own.is_some_and(|own| own.view_change.is_some()) || self.failed.contains_key(&view));
        if own.is_none_or(|own| own.commit.is_none()) && !gave_up {
            self.cast(now, VoteKind::Commit, view, digest);
        }
    }

    /// P3, P5, P8: a certificate of any kind for a view opens the next one; nothing else does.
    pub(super) fn advance(&mut self, now: Now) {
        let newest = |map: &std::collections::BTreeMap<View, Certificate>| map.keys().next_back().copied();
        let certified = newest(&self.prepared)
            .max(newest(&self.failed))
            .max(self.committed.as_ref().map(|certificate| certificate.view))
            .max(Some(self.tip.view));
        let next = certified.unwrap_or(View::ZERO).next();
        if next > self.view {
            self.enter(now, next);
        }
    }

    fn enter(&mut self, now: Now, view: View) {
        let before = view.previous();
        let failed = self.failed.contains_key(&before) && !self.prepared.contains_key(&before);
        if failed {
            self.pacemaker.view_failed();
        }
        if !(failed && (self.view == before || on(Bug::JumpKeepsFailedFrom))) {
            self.failed_from = view;
        }
        self.view = view;
        self.entered = now.elapsed;
        self.phase = Phase::Waiting;
        // After a restart the way into a view may be found again only later than what was signed in it.
        if !on(Bug::OwnVotesNotResumed) {
            self.resume();
        }
        if !self.inquires() {
            self.resend_at = None;
        }
        self.forget_questions();
        self.stirred = true;
        self.tallies.retain(|of, _| of.plus(VIEWS_BEHIND) >= view);
        self.drop_stray_blocks();
        self.plan_spread(now);
        self.take_early_proposal();
    }

    /// Blocks that nobody can ever need again: neither prepared here, nor certified, nor of this view. Looked for
    /// when there are twice as many as after the last time: a leader keeps its block of every view that failed,
    /// and going through them all in each view would make long trouble longer.
    fn drop_stray_blocks(&mut self) {
        if self.blocks.len() < 2 * self.blocks_kept + MAX_UNFINAL {
            return;
        }
        let (view, own, prepared, committed) = (self.view, &self.own, &self.prepared, &self.committed);
        self.blocks.retain(|digest, known| {
            let of = known.block.view;
            of >= view
                || own
                    .get(&of)
                    .is_some_and(|own| own.prepare.as_ref().is_some_and(|vote| vote.digest == *digest))
                || prepared.get(&of).is_some_and(|certificate| certificate.digest == *digest)
                || committed.as_ref().is_some_and(|certificate| certificate.digest == *digest)
        });
        self.blocks_kept = self.blocks.len();
    }

    /// P5: a pre-prepare may overtake the votes that open its view.
    fn take_early_proposal(&mut self) {
        let view = self.view;
        let early = self.early.remove(&self.leader());
        self.early.retain(|_, known| known.block.view > view);
        if let Some(known) = early.filter(|known| known.block.view == view) {
            self.consider(known);
        }
    }

    /// The leader's first pre-prepare of this view; others are not looked at (P2).
    pub(super) fn consider(&mut self, known: Known) {
        if self.phase == Phase::Waiting || on(Bug::PreparesTwice) {
            self.phase = Phase::Examining { digest: known.block.digest(), verdict: None, asked: false };
            self.blocks.insert(known.block.digest(), known);
            self.stirred = true;
        }
    }

    /// P5: gives the view up on time-out, on an invalid pre-prepare, when f+1 others have, or when its leader is
    /// known to be away, has given it up, or cannot propose (P9). Never after COMMIT.
    pub(super) fn give_up(&mut self, now: Now) {
        let own = self.own.get(&self.view);
        if own.is_some_and(|own| own.view_change.is_some() || own.commit.is_some()) {
            return;
        }
        let late = self.view_deadline().is_some_and(|deadline| deadline <= now.elapsed);
        let rejected = self.phase == Phase::Rejected;
        let before = self.view.previous();
        if late && before > self.tip.view && on(Bug::GivesUpAfterCommit) {
            self.cast(now, VoteKind::ViewChange, before, Digest::ZERO);
        }
        let no_proposal = self.leader_is_away(now) || self.leader_gave_up() || self.leads_without_blocks();
        if self.others_gave_up() || late || rejected || no_proposal {
            self.cast(now, VoteKind::ViewChange, self.view, Digest::ZERO);
        }
    }

    /// P5: f+1 others gave the current view up, so at least one honest one.
    pub(super) fn others_gave_up(&self) -> bool {
        let others = self.tallies.get(&self.view).map_or(0, |tally| tally.view_changes_by_others(self.me));
        others > if on(Bug::OneMakesAllGiveUp) { 0 } else { self.context.validators.faulty() }
    }

    /// The block that a new one extends: the highest with a prepare certificate, else the tip.
    pub(super) fn best_parent(&self) -> Parent {
        match self.prepared.last_key_value() {
            Some((view, certificate)) => Parent { view: *view, digest: certificate.digest },
            None => Parent { view: self.tip.view, digest: self.tip.digest },
        }
    }

    /// The highest view above `parent` and below the current one for which no view-change certificate is held.
    pub(super) fn gap_above(&mut self, parent: View) -> Option<View> {
        while self.failed_from > parent.next() && self.failed.contains_key(&self.failed_from.previous()) {
            self.failed_from = self.failed_from.previous();
        }
        (self.failed_from > parent.next()).then(|| self.failed_from.previous())
    }

    /// What this replica signed in `view`.
    pub(super) fn own_in(&self, view: View) -> Option<&Own> {
        self.own.get(&view)
    }

    /// The digests that the blocks from `parent` to above the tip name.
    pub(super) fn ordered_by(&self, parent: Parent) -> Result<std::collections::BTreeSet<Digest>, Broken> {
        let ancestors = self.ancestors(parent)?;
        Ok(ancestors.iter().flat_map(|block| block.payload.iter().copied()).collect())
    }
}

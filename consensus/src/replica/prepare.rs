//! P2: whether the leader's pre-prepare may be prepared. "Not yet" waits, and asks for what is missing; "never"
//! rejects.

use std::collections::BTreeSet;
use std::time::Duration;

use genesis::{Digest, Height, UnixMillis};

use super::checkpoint::Unproven;
use super::epoch::Place;
use super::receive::CERTIFICATES_AN_ANSWER;
use super::{Broken, Now, Phase, Replica, Verdict};
use crate::bug::{Bug, on};
use crate::candidate::Block;
use crate::checkpoint::Cited;
use crate::message::{Fetch, VoteKind};
use crate::output::{Action, Record};

/// What is known of a pre-prepare so far.
enum Finding {
    /// All that P2 asks for is there.
    Ready,
    /// Something is missing that may come.
    NotYet(Missing),
    /// It breaks a rule for good.
    Never,
}

enum Missing {
    Block(Digest),
    ParentCertificate,
    ViewChange,
    Checkpoint(Height),
    Time(Duration),
    Verdict,
}

impl Replica {
    /// Looks at the pre-prepare of this view, if one waits, and prepares it when it may be.
    pub(super) fn examine(&mut self, now: Now) {
        self.time_fits_at = None;
        let Phase::Examining { digest, verdict, asked } = self.phase else { return };
        let Some(known) = self.blocks.get(&digest).cloned() else { return };
        match self.find(now, &known.block, verdict) {
            Finding::Ready => {
                self.phase = Phase::Prepared;
                self.record_cited(known.block.cites);
                self.output.record(Record::PrePrepare(crate::message::PrePrepare {
                    candidate: known.block.candidate().clone(),
                    signature: known.signature,
                }));
                self.cast(now, VoteKind::Prepare, known.block.view, digest);
            }
            Finding::Never => {
                self.phase = Phase::Rejected;
                self.blocks.remove(&digest);
                self.stirred = true;
            }
            Finding::NotYet(Missing::Block(missing)) => self.ask_for_block(missing),
            Finding::NotYet(Missing::ParentCertificate) if on(Bug::ParentNotAskedFor) => {}
            Finding::NotYet(Missing::ParentCertificate) => {
                self.ask_for_certificates(known.block.parent.view, known.block.parent.view);
            }
            Finding::NotYet(Missing::Checkpoint(height)) => self.ask_for_checkpoint(height),
            Finding::NotYet(Missing::ViewChange) => self.ask_for_view_changes(known.block.parent.view),
            Finding::NotYet(Missing::Time(wait)) => self.time_fits_at = Some(now.elapsed + wait),
            Finding::NotYet(Missing::Verdict) => {
                if !asked {
                    self.phase = Phase::Examining { digest, verdict, asked: true };
                    self.output.act(Action::Judge(known.block));
                }
            }
        }
    }

    fn find(&mut self, now: Now, block: &Block, verdict: Option<Verdict>) -> Finding {
        let distinct: BTreeSet<_> = block.payload.iter().collect();
        // The node judges by the final blocks that it has heard of; the newest may be news to it.
        let ordered = !on(Bug::FinalItemAgain) && distinct.iter().any(|digest| self.pool.was_ordered(digest));
        let twice = distinct.len() != block.payload.len() && !on(Bug::ItemTwiceInBlock);
        let repeats = ordered || twice;
        if repeats || verdict == Some(Verdict::Invalid) {
            return Finding::Never;
        }
        // The tip is final, which proves more than a prepare certificate does. Any other parent is asked for only
        // once a quorum has vouched for it: else a leader could have us fetch and keep whatever it makes up.
        if block.parent.digest != self.tip.digest {
            match self.prepared.get(&block.parent.view) {
                _ if block.parent.view <= self.tip.view => return Finding::Never,
                Some(certificate) if certificate.digest == block.parent.digest => {}
                Some(_) => return Finding::Never,
                None if on(Bug::ParentUncertified) => {}
                None => return Finding::NotYet(Missing::ParentCertificate),
            }
        }
        let ancestors = match self.ancestors(block.parent) {
            Ok(ancestors) => ancestors,
            Err(Broken::Missing(digest)) => return Finding::NotYet(Missing::Block(digest)),
            Err(Broken::Conflicts) => return Finding::Never,
        };
        let parent = ancestors.first().copied();
        let parent_time = parent.map_or(self.tip.time, |parent| parent.time);
        let older = block.cites.height < parent.map_or(self.tip.cites, |parent| parent.cites).height;
        if older && !on(Bug::OlderCheckpointCited) {
            return Finding::Never; // Nobody keeps the certificate of a checkpoint that old.
        }
        let place = match self.place(block, parent) {
            Ok(place) => place,
            Err(Unproven::Missing(height)) if height < block.height => {
                return Finding::NotYet(Missing::Checkpoint(height));
            }
            Err(_) => return Finding::Never,
        };
        let repeats =
            ancestors.iter().any(|ancestor| ancestor.payload.iter().any(|digest| distinct.contains(digest)));
        let repeats = repeats && !on(Bug::AncestorsItemAgain);
        if repeats || !self.fits(block, parent, place) {
            return Finding::Never;
        }
        if self.gap_above(block.parent.view).is_some() && !on(Bug::ViewSkipped) {
            return Finding::NotYet(Missing::ViewChange);
        }
        if place == Place::Filler {
            return Finding::Ready;
        }
        let early = self.ahead_of_clock(now, block.time, parent_time);
        if early > 0 {
            return Finding::NotYet(Missing::Time(Duration::from_millis(early)));
        }
        if verdict.is_none() && !block.payload.is_empty() && !on(Bug::PreparedUnjudged) {
            return Finding::NotYet(Missing::Verdict);
        }
        Finding::Ready
    }

    /// Whether height, time, and what it cites follow from its parent (P1, P6, P11, P12).
    fn fits(&self, block: &Block, parent: Option<&Block>, place: Place) -> bool {
        let tip = &self.tip;
        let (height, time, cites) = parent
            .map_or((tip.height, tip.time, tip.cites), |parent| (parent.height, parent.time, parent.cites));
        if place == Place::Filler {
            if on(Bug::FillerCarries) {
                return true;
            }
            let empty = block.payload.is_empty() && block.nonces.is_empty();
            return empty && (block.height, block.time, block.cites) == (height, time, cites);
        }
        let newer =
            block.cites == cites || block.cites.height > cites.height && block.cites.height < block.height;
        let newer = newer || on(Bug::OlderCheckpointCited);
        let carries = block.payload.is_empty() || self.may_carry(block.height, block.cites);
        let later = block.time > time || on(Bug::TimeNotAboveParent);
        let next = block.height == height.next() || on(Bug::HeightUnchecked);
        next && later && newer && carries
    }

    /// P6: a block too far past the checkpoint that it cites is empty.
    pub(super) fn may_carry(&self, height: Height, cites: Cited) -> bool {
        on(Bug::LagIgnored) || height.since(cites.height) <= self.parameters.max_checkpoint_lag
    }

    /// Asks for the certificate of a checkpoint that a block cites.
    pub(super) fn ask_for_checkpoint(&mut self, height: Height) {
        if self.asked_checkpoint != Some(height) {
            self.asked_checkpoint = Some(height);
            self.fetch(Some(self.leader()), Fetch::Checkpoint(height));
        }
    }

    /// P11: by how many milliseconds `time` is above what the clock allows. One unit above the parent is always
    /// allowed, so that a leader who runs the clock ahead does not make the next honest one look early.
    fn ahead_of_clock(&self, now: Now, time: UnixMillis, parent: UnixMillis) -> u64 {
        let allowed = now.clock.plus(self.parameters.clock_bound_ms).max(parent.next());
        if on(Bug::ClockBoundIgnored) { 0 } else { time.since(allowed) }
    }

    pub(super) fn ask_for_block(&mut self, digest: Digest) {
        if self.asked_candidates.insert(digest) {
            self.fetch(Some(self.leader()), Fetch::Candidate(digest));
        }
    }

    /// Asks for the view-change certificates that are missing above `parent`, a few at a time from the top.
    pub(super) fn ask_for_view_changes(&mut self, parent: genesis::View) {
        if let Some(top) = self.gap_above(parent) {
            self.ask_for_certificates(parent.next(), top);
        }
    }

    fn ask_for_certificates(&mut self, from: genesis::View, to: genesis::View) {
        // One answer at a time: ask again when it has come in full, or by the timer.
        let answered = match self.asked_certificates {
            Some((asked_from, asked_to)) => {
                from < asked_from || to > asked_to || asked_to.since(to) >= CERTIFICATES_AN_ANSWER
            }
            None => true,
        };
        if answered {
            self.asked_certificates = Some((from, to));
            let whom = self.helper.or(Some(self.leader()));
            self.fetch(whom, Fetch::Certificates { from, to });
        }
    }

    pub(super) fn forget_questions(&mut self) {
        self.asked_candidates.clear();
        self.asked_certificates = None;
        self.asked_checkpoint = None;
    }
}

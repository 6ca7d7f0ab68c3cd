//! Making a replica: anew, or from what it had recorded (P7).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use genesis::{Digest, View};

use super::{Config, Known, Now, Own, Peer, Phase, Replica};
use crate::candidate::{Block, Tip};
use crate::certificate::Certificate;
use crate::message::{PrePrepare, Vote, VoteKind};
use crate::output::{Output, Record};
use crate::pacemaker::Pacemaker;
use crate::pool::Pool;

/// Why records are not those of this replica.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RecoverError {
    /// A vote by somebody else.
    #[error(
        "the journal holds a vote by validator {found}, but this is validator {expected}: it is another node's"
    )]
    AnotherVoter {
        /// Whose vote it is.
        found: u16,
        /// Who this is.
        expected: u16,
    },
    /// Two votes that one replica must not both cast.
    #[error("the journal holds contradicting votes in view {0}: it was edited, or two nodes wrote to it")]
    Contradiction(View),
}

impl Replica {
    /// Makes the replica whose newest final, executed block is `tip`, with the certificate that covers it where
    /// one is known, from the records that it had persisted in order; none for a new one. The output finalises
    /// again what is above `tip`.
    ///
    /// # Errors
    /// When the records are not this replica's own.
    pub fn recover(
        config: Config,
        now: Now,
        tip: Tip,
        tip_certificate: Option<Certificate>,
        records: impl IntoIterator<Item = Record>,
    ) -> Result<(Self, Output), RecoverError> {
        let mut replica = Self::new(config, now, tip, tip_certificate);
        for record in records {
            replica.restore(record)?;
        }
        replica.finalize(now);
        if replica.halted {
            return Ok(replica.with_output());
        }
        let prepared: Vec<_> =
            replica.prepared.iter().map(|(view, certificate)| (*view, certificate.digest)).collect();
        for (view, digest) in prepared {
            replica.commit(now, view, digest); // P3, where the crash came between the two.
        }
        replica.advance(now);
        replica.resume();
        let view = replica.view;
        for peer in replica.peers.values_mut() {
            // Nobody is held to be away for what was not heard before the restart.
            peer.heard_view = view;
        }
        replica.progress(now);
        Ok(replica.with_output())
    }

    fn with_output(mut self) -> (Self, Output) {
        let output = std::mem::take(&mut self.output);
        (self, output)
    }

    /// What a later [`Replica::recover`] needs, from the present state alone: the journal may start anew with it,
    /// once the newest final block is executed and durable. (Final blocks that are not executed stand in the
    /// earlier records alone.)
    pub fn records(&self) -> Vec<Record> {
        let certificates = self.failed.values().chain(self.prepared.values()).chain(&self.committed);
        let certificates = certificates.chain(&self.tip_certificate).cloned().map(Record::Certificate);
        let blocks = self.blocks.values().filter(|known| self.must_keep(known)).map(|known| {
            let candidate = known.block.candidate().clone();
            Record::PrePrepare(PrePrepare { candidate, signature: known.signature })
        });
        let votes = self.own.values().flat_map(|own| {
            [&own.prepare, &own.commit, &own.view_change].into_iter().flatten().cloned().map(Record::Vote)
        });
        blocks.chain(certificates).chain(votes).collect()
    }

    fn must_keep(&self, known: &Known) -> bool {
        let (view, digest) = (known.block.view, known.block.digest());
        let own = self.own.get(&view);
        let voted = own.is_some_and(|own| {
            own.proposal == Some(digest) || own.prepare.as_ref().is_some_and(|vote| vote.digest == digest)
        });
        voted || self.prepared.get(&view).is_some_and(|certificate| certificate.digest == digest)
    }

    fn new(config: Config, now: Now, tip: Tip, tip_certificate: Option<Certificate>) -> Self {
        let Config { context, me, secret, parameters } = config;
        let peer = Peer {
            heard_view: tip.view,
            heard_at: now.elapsed,
            shown: View::ZERO,
            spread_at: None,
            commit_seen: View::ZERO,
            answer_after: now.elapsed,
            answered_until: now.elapsed,
            ask_at: now.elapsed,
            ask_pause: Duration::ZERO,
        };
        let others = context.validators.iter().map(|(index, _)| index).filter(|index| *index != me);
        let peers = others.map(|index| (index, peer.clone())).collect();
        Self {
            pacemaker: Pacemaker::new(&parameters),
            context,
            me,
            secret,
            parameters,
            tip,
            tip_certificate,
            committed: None,
            blocks: BTreeMap::new(),
            blocks_kept: 0,
            prepared: BTreeMap::new(),
            failed: BTreeMap::new(),
            failed_from: tip.view.next(),
            own: BTreeMap::new(),
            tallies: BTreeMap::new(),
            early: BTreeMap::new(),
            recent: VecDeque::new(),
            pool: Pool::default(),
            view: tip.view.next(),
            entered: now.elapsed,
            phase: Phase::Waiting,
            peers,
            asked_candidates: BTreeSet::new(),
            asked_certificates: None,
            helper: None,
            armed: None,
            unfinal: None,
            last_block_at: now.elapsed,
            resend_at: None,
            catch_up_at: None,
            time_fits_at: None,
            halted: false,
            output: Output::default(),
            stirred: false,
        }
    }

    fn restore(&mut self, record: Record) -> Result<(), RecoverError> {
        match record {
            Record::Vote(vote) => self.restore_vote(vote),
            Record::PrePrepare(proposal) => {
                self.restore_proposal(proposal);
                Ok(())
            }
            Record::Certificate(certificate) => {
                self.restore_certificate(certificate);
                Ok(())
            }
        }
    }

    fn restore_vote(&mut self, vote: Vote) -> Result<(), RecoverError> {
        if vote.voter != self.me {
            return Err(RecoverError::AnotherVoter { found: vote.voter.0, expected: self.me.0 });
        }
        if vote.view <= self.tip.view {
            return Ok(());
        }
        let view = vote.view;
        let quorum = self.quorum();
        if let Some(certificate) = self.tallies.entry(view).or_default().add(&vote, quorum) {
            self.restore_certificate(certificate); // A network of one: its vote is the certificate.
        }
        let own = self.own.entry(view).or_default();
        let place = match vote.kind {
            VoteKind::Prepare => &mut own.prepare,
            VoteKind::Commit => &mut own.commit,
            VoteKind::ViewChange => &mut own.view_change,
        };
        let differs = place.replace(vote.clone()).is_some_and(|earlier| earlier.digest != vote.digest);
        if differs || own.commit.is_some() && own.view_change.is_some() {
            return Err(RecoverError::Contradiction(view));
        }
        Ok(())
    }

    fn restore_proposal(&mut self, proposal: PrePrepare) {
        let block = Block::new(proposal.candidate);
        let (view, digest) = (block.view, block.digest());
        if view > self.tip.view {
            if self.context.validators.leader(view) == self.me {
                self.own.entry(view).or_default().proposal = Some(digest);
            }
            self.blocks.insert(digest, Known { block, signature: proposal.signature });
        }
    }

    fn restore_certificate(&mut self, certificate: Certificate) {
        let view = certificate.view;
        if view <= self.tip.view {
            let of_tip = certificate.kind == VoteKind::Commit && certificate.digest == self.tip.digest;
            if of_tip && certificate.digest != Digest::ZERO {
                self.tip_certificate = Some(certificate);
            }
            return;
        }
        match certificate.kind {
            VoteKind::Prepare => {
                self.prepared.insert(view, certificate);
            }
            VoteKind::ViewChange => {
                self.failed.insert(view, certificate);
            }
            VoteKind::Commit => {
                if self.committed.as_ref().is_none_or(|newest| newest.view < view) {
                    self.committed = Some(certificate);
                }
            }
        }
    }

    /// Takes the current view up where the crash left it.
    fn resume(&mut self) {
        let Some(Own { proposal, prepare, .. }) = self.own.get(&self.view).cloned() else { return };
        if prepare.is_some() {
            self.phase = Phase::Prepared;
        } else if let Some(digest) = proposal {
            // Proposed, but not prepared: looked at like anybody's proposal, since its payload is judged anew.
            self.phase = Phase::Examining { digest, verdict: None, asked: false };
        }
    }
}

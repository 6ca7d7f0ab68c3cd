//! Making a replica: anew, or from what it had recorded (P7).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use genesis::{Configuration, Digest, Epoch, Height, ValidatorIndex, View, encoding};

use super::checkpoint::Results;
use super::epoch::Closed;
use super::standing::Standing;
use super::{Config, Known, Now, Own, Peer, Phase, Replica, Start};
use crate::bug::{Bug, on};
use crate::candidate::Block;
use crate::certificate::Certificate;
use crate::checkpoint::{CheckpointCertificate, Cited};
use crate::evidence::Watch;
use crate::message::{Context, PrePrepare, Vote, VoteKind};
use crate::output::{Action, Output, Record};
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
    /// Makes the replica that begins at `start`, from the records that it had persisted in order; none for a new one. The
    /// output finalises again what is above the start.
    ///
    /// # Errors
    /// When the records are not this replica's own.
    pub fn recover(
        config: Config,
        now: Now,
        start: Start,
        records: impl IntoIterator<Item = Record>,
    ) -> Result<(Self, Output), RecoverError> {
        let memory = config.memory;
        let executed = start.executed.clone();
        let mut replica = Self::new(config, now, start);
        replica.restore_all(records)?;
        if let Some(executed) = executed {
            replica.executed(executed);
        }
        replica.finalize(now);
        if replica.halted {
            return Ok(replica.with_output());
        }
        replica.advance(now);
        replica.resume();
        let view = replica.view;
        for peer in replica.peers.values_mut() {
            // Nobody is held to be away for what was not heard before the restart.
            peer.heard_view = view;
        }
        replica.stand_after_start(memory);
        replica.progress(now);
        Ok(replica.with_output())
    }

    /// P3, where the crash came between a prepare certificate and its COMMIT.
    pub(super) fn commit_prepared(&mut self, now: Now) {
        let prepared: Vec<_> =
            self.prepared.iter().map(|(view, certificate)| (*view, certificate.digest)).collect();
        for (view, digest) in prepared {
            self.commit(now, view, digest);
        }
    }

    fn with_output(mut self) -> (Self, Output) {
        let output = std::mem::take(&mut self.output);
        (self, output)
    }

    /// What a later [`Replica::recover`] needs, from the present state alone: the journal may start anew with it,
    /// once the newest final block is executed and durable. (Final blocks that are not executed stand in the
    /// earlier records alone.)
    pub fn records(&self) -> Vec<Record> {
        // The records that are put aside come first: what is appended later belongs to the present epoch.
        let later = self.later.values().flatten().cloned();
        let checkpoints = self.results.certificates().cloned().map(Record::Checkpoint);
        let certificates = self.failed.values().chain(self.prepared.values()).chain(&self.committed);
        let certificates = certificates.chain(&self.tip_certificate).cloned().map(Record::Certificate);
        // Who has closed the epoch votes no more, but others may need the closing block's body to follow.
        let closing = self
            .recent
            .iter()
            .filter(|known| self.closed.is_some() && known.block.digest() == self.tip.digest);
        let blocks = self.blocks.values().filter(|known| self.must_keep(known)).chain(closing).map(|known| {
            let candidate = known.block.candidate().clone();
            Record::PrePrepare(PrePrepare { candidate, signature: known.signature })
        });
        let votes = self.own.values().flat_map(|own| {
            [&own.prepare, &own.commit, &own.view_change].into_iter().flatten().cloned().map(Record::Vote)
        });
        let standing = self.standing_record();
        let before = standing.into_iter().chain(later).chain([self.epoch_record(), self.floor_record()]);
        before.chain(checkpoints).chain(blocks).chain(certificates).chain(votes).collect()
    }

    /// Says that what follows belongs to the present epoch.
    fn epoch_record(&self) -> Record {
        Record::Epoch(self.context.epoch, self.results.opening().cloned())
    }

    fn must_keep(&self, known: &Known) -> bool {
        let (view, digest) = (known.block.view, known.block.digest());
        let own = self.own.get(&view);
        own.is_some_and(|own| own.is_about(&digest))
            || self.prepared.get(&view).is_some_and(|certificate| certificate.digest == digest)
    }

    fn new(config: Config, now: Now, start: Start) -> Self {
        let Config { chain, origin, epoch, configuration, opening, secret, memory: _, nonce } = config;
        let Configuration { validators, parameters } = configuration;
        let context = Context { chain, epoch, validators };
        let me = context.validators.by_consensus_key(&secret.public());
        let Start { tip, certificate: tip_certificate, executed, certified } = start;
        let opened = opening.as_ref().map(|opening| opening.checkpoint.cited());
        let origin = opened.unwrap_or(Cited { height: origin, digest: chain });
        let mut results = Results::new(origin, opening);
        for certificate in certified {
            results.restore(certificate);
        }
        let closing =
            executed.filter(|executed| executed.next.is_some() && executed.checkpoint.epoch == epoch);
        Self {
            pacemaker: Pacemaker::new(&parameters),
            peers: peers(&context, me, now),
            standing: Standing::new(nonce),
            results,
            closed: closing.map(|executed| Closed { height: executed.checkpoint.height, next: None }),
            later: BTreeMap::new(),
            watch: Watch::default(),
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
            asked_candidates: BTreeSet::new(),
            asked_certificates: None,
            asked_checkpoint: None,
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

    /// Takes in the records of this epoch, and puts those of later ones aside. Says whether others told in this epoch
    /// where a loss of records ended (P7).
    fn restore_all(&mut self, records: impl IntoIterator<Item = Record>) -> Result<(), RecoverError> {
        let mut of = Epoch::ZERO;
        // A rewritten journal repeats what the one before it put aside.
        let mut aside = BTreeSet::new();
        for record in records {
            match record {
                Record::Epoch(epoch, opening) => {
                    of = epoch;
                    let closes =
                        |opening: &CheckpointCertificate| opening.checkpoint.epoch == self.context.epoch;
                    if let Some(opening) = opening.clone().filter(closes) {
                        self.restore_checkpoint(opening);
                    }
                    let record = Record::Epoch(epoch, opening);
                    if epoch > self.context.epoch && aside.insert(encoding::encode(&(of, &record))) {
                        self.later.entry(epoch).or_default().push(record);
                    }
                }
                // The loss concerns the key, whatever the epoch.
                Record::Wiped => self.restore_loss(),
                Record::Recovered { epoch, bar } => self.restore_recovery(epoch, bar),
                record
                    if of == self.context.epoch || of < self.context.epoch && on(Bug::OldRecordsTakenUp) =>
                {
                    self.restore(record)?;
                }
                record if of > self.context.epoch && aside.insert(encoding::encode(&(of, &record))) => {
                    self.later.entry(of).or_default().push(record);
                }
                _ => {}
            }
        }
        if of != self.context.epoch {
            self.output.record(self.epoch_record());
        }
        Ok(())
    }

    /// A new epoch has begun in which this replica was before it was started from an older ledger.
    pub(super) fn take_up_later_records(&mut self, now: Now) {
        let records = self.later.remove(&self.context.epoch).unwrap_or_default();
        self.later = self.later.split_off(&self.context.epoch);
        for record in records {
            // They were checked when they were made; a contradiction among them was found when they were written.
            if self.restore(record).is_err() {
                self.forget_everything();
            }
        }
        self.advance(now);
        self.resume();
    }

    fn restore(&mut self, record: Record) -> Result<(), RecoverError> {
        match record {
            Record::Vote(vote) => self.restore_vote(vote)?,
            Record::PrePrepare(proposal) => self.restore_proposal(proposal),
            Record::Certificate(certificate) => self.restore_certificate(certificate),
            Record::Checkpoint(certificate) => self.restore_checkpoint(certificate),
            Record::Floor(view) => self.restore_floor(view),
            Record::Epoch(..) | Record::Wiped | Record::Recovered { .. } => {}
        }
        Ok(())
    }

    /// The ledger may have lost it in the crash (it keeps certificates without a sync), and can serve no block that cites
    /// it without.
    fn restore_checkpoint(&mut self, certificate: CheckpointCertificate) {
        self.output.act(Action::Certified(certificate.clone()));
        self.results.restore(certificate);
    }

    fn restore_vote(&mut self, vote: Vote) -> Result<(), RecoverError> {
        if Some(vote.voter) != self.me {
            let expected = self.me.map_or(u16::MAX, |me| me.0);
            return Err(RecoverError::AnotherVoter { found: vote.voter.0, expected });
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
            if Some(self.context.validators.leader(view)) == self.me {
                self.own.entry(view).or_default().proposal = Some(digest);
            }
            self.blocks.insert(digest, Known { block, signature: proposal.signature });
        } else if digest == self.tip.digest && !on(Bug::ClosingBodyForgotten) {
            self.remember(Known { block, signature: proposal.signature });
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
    pub(super) fn resume(&mut self) {
        let Some(Own { proposal, prepare, .. }) = self.own.get(&self.view).cloned() else { return };
        if prepare.is_some() {
            self.phase = Phase::Prepared;
        } else if let Some(digest) = proposal {
            // Proposed, but not prepared: looked at like anybody's proposal, since its payload is judged anew.
            self.phase = Phase::Examining { digest, verdict: None, asked: false };
        }
    }
}

/// All other validators, of whom nothing is known yet.
pub(super) fn peers(
    context: &Context,
    me: Option<ValidatorIndex>,
    now: Now,
) -> BTreeMap<ValidatorIndex, Peer> {
    let peer = Peer {
        heard_view: View::ZERO,
        heard_at: now.elapsed,
        shown: View::ZERO,
        spread_at: None,
        commit_seen: View::ZERO,
        highest: Vec::new(),
        executed: Height::ZERO,
        tell_at: now.elapsed,
        tell_pause: Duration::ZERO,
        answer_after: now.elapsed,
        answered_until: now.elapsed,
        ask_at: now.elapsed,
        ask_pause: Duration::ZERO,
    };
    let others = context.validators.iter().map(|(index, _)| index).filter(|index| Some(*index) != me);
    others.map(|index| (index, peer.clone())).collect()
}

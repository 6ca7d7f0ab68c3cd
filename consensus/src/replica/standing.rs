//! P7: whether this replica may sign, when it cannot be sure what it signed before.
//!
//! At every start, and in every epoch anew, a replica asks its peers for its own highest vote, and waits for q−1 answers
//! (with itself a quorum, without which nothing moves anyhow). One above its records means that they are not whole. A
//! replica that lost its records asks q *others* which view they are in: its last view u needed q−1 other signers in
//! u−1, of whom at least one honest one answers, so with x the highest answer, x ≥ u−1, and above x+1 it signed nothing.
//!
//! Once told, it needs no word in later epochs: to have been in the next one before the loss, it would have held what
//! closed this one, so that a quorum had signed the closing block's checkpoint; of them at least one honest one is among
//! those who told, and whoever knows the closing block final tells nobody anything in this epoch any more. (A bar in view
//! 1 of every epoch to come would stop the chain for good once more than f had been wiped, one after the other.)
//!
//! Invariant: [`Replica::may_sign`] is asked before anything is signed in a view.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use genesis::{Digest, Epoch, ValidatorIndex, View};

use super::{Memory, Now, Replica};
use crate::bug::{Bug, on};
use crate::message::{Attestation, Fetch, Message, Vote, VoteKind};
use crate::output::{Recipient, Record};

/// For how many views a nonce keeps timers running: until x+3 is entered, with x the view in which it was first heard. An
/// answer may be given a view later than that, and bars up to the one after it.
const NONCE_VIEWS: u64 = 3;
/// A member's nonce counts again after so many Δ: it may not keep an idle chain awake.
const NONCE_PAUSE: u32 = 8;
/// Who has not asked again for so many Δ votes again: it asks every Δ until then.
const NONCE_PATIENCE: u32 = 4;

/// Whether this replica may sign, for status pages and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// It has no seat in this epoch: it follows.
    Observing,
    /// It asks the others for its own highest vote.
    Inquiring {
        /// How many answered.
        answers: usize,
        /// How many must.
        needed: usize,
    },
    /// Its records are lost: it asks the others which view they are in.
    Wiped {
        /// How many answered.
        answers: usize,
        /// How many must.
        needed: usize,
    },
    /// It may have voted up to this view before its records were lost.
    Barred(View),
    /// It votes.
    Voting,
}

#[derive(Clone, Debug)]
enum State {
    Observing,
    Inquiring(BTreeSet<ValidatorIndex>),
    Wiped(BTreeMap<ValidatorIndex, View>),
    Voting,
}

/// A nonce that another replica asks with.
#[derive(Clone, Copy, Debug)]
struct Asked {
    nonce: Digest,
    counted_at: Duration,
    heard_at: Duration,
    /// Timers run for it below this view.
    until: View,
}

/// What is known of lost records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    /// None were.
    Never,
    /// They were, and nobody has told enough yet.
    Open,
    /// They were, and in this epoch others told that nothing was signed in it above the bar, nor in any later epoch.
    Ended { epoch: Epoch, bar: View },
}

/// What this replica knows of its own past, and of others that lost theirs.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    state: State,
    /// Nothing is signed in this epoch up to this view.
    bar: View,
    /// Nor up to this one: what was signed there may be pruned from the records.
    floor: View,
    nonce: Digest,
    loss: Loss,
    asked: BTreeMap<ValidatorIndex, Asked>,
}

impl Standing {
    /// What of all this decides anything, as bytes.
    pub(super) fn fingerprint(&self) -> Vec<u8> {
        let (kind, answers): (u8, Vec<(ValidatorIndex, View)>) = match &self.state {
            State::Observing => (0, Vec::new()),
            State::Inquiring(answers) => (1, answers.iter().map(|index| (*index, View::ZERO)).collect()),
            State::Wiped(answers) => (2, answers.iter().map(|(index, view)| (*index, *view)).collect()),
            State::Voting => (3, Vec::new()),
        };
        let ended = match self.loss {
            Loss::Never => None,
            Loss::Open => Some(None),
            Loss::Ended { epoch, bar } => Some(Some((epoch, bar))),
        };
        let asked: Vec<_> =
            self.asked.iter().map(|(index, asked)| (*index, asked.nonce, asked.until)).collect();
        genesis::encoding::encode(&(kind, answers, self.bar.max(self.floor), self.nonce, ended, asked))
    }

    /// Before anything is known.
    pub(super) fn new(nonce: Digest) -> Self {
        let (bar, floor, asked) = (View::ZERO, View::ZERO, BTreeMap::new());
        Self { state: State::Observing, bar, floor, nonce, loss: Loss::Never, asked }
    }
}

impl Replica {
    /// Whether anything may be signed in `view`.
    pub(super) fn may_sign(&self, view: View) -> bool {
        // An epoch that is over by this replica's own records is over, whatever its ledger has forgotten.
        let is_over = self.closed.is_some() || !self.later.is_empty();
        let above = view > self.barred_up_to() || on(Bug::BarIgnored);
        self.is_voting() && above && !is_over && !self.halted
    }

    /// Nothing is signed in this epoch up to this view.
    fn barred_up_to(&self) -> View {
        self.standing.bar.max(self.standing.floor)
    }

    /// Whether this replica is sure what it signed.
    pub(super) fn is_voting(&self) -> bool {
        matches!(self.standing.state, State::Voting)
    }

    /// For status pages.
    pub(super) fn report(&self) -> Report {
        let quorum = self.quorum();
        match &self.standing.state {
            State::Observing => Report::Observing,
            State::Inquiring(answers) => Report::Inquiring { answers: answers.len(), needed: quorum - 1 },
            State::Wiped(answers) => Report::Wiped { answers: answers.len(), needed: quorum },
            State::Voting if self.view <= self.barred_up_to() => Report::Barred(self.barred_up_to()),
            State::Voting => Report::Voting,
        }
    }

    /// Whose answers are missing before this replica may sign.
    pub fn waits_for(&self) -> Vec<ValidatorIndex> {
        let answered = |peer: &ValidatorIndex| match &self.standing.state {
            State::Inquiring(answers) => answers.contains(peer),
            State::Wiped(answers) => answers.contains_key(peer),
            State::Observing | State::Voting => true,
        };
        self.peers.keys().copied().filter(|peer| !answered(peer)).collect()
    }

    /// The records are not to be trusted: as if they were lost.
    pub(super) fn forget_everything(&mut self) {
        self.standing.loss = Loss::Open;
        self.standing.state = State::Wiped(BTreeMap::new());
        self.output.record(Record::Wiped);
    }

    /// A record of an earlier loss.
    pub(super) fn restore_loss(&mut self) {
        self.standing.loss = Loss::Open;
    }

    /// A record of what others told after it.
    pub(super) fn restore_recovery(&mut self, epoch: Epoch, bar: View) {
        self.standing.loss = Loss::Ended { epoch, bar };
    }

    /// A record of up to where the records were pruned.
    pub(super) fn restore_floor(&mut self, floor: View) {
        self.standing.floor = self.standing.floor.max(floor);
    }

    /// In a new epoch nothing is pruned yet.
    pub(super) fn forget_floor(&mut self) {
        self.standing.floor = View::ZERO;
    }

    /// After the records were read: what they leave open.
    pub(super) fn stand_after_start(&mut self, memory: Memory) {
        if memory == Memory::Lost {
            self.output.record(Record::Wiped);
            self.standing.loss = Loss::Open;
        }
        self.stand();
    }

    /// At the beginning of an epoch, or of this process in it.
    pub(super) fn stand(&mut self) {
        let here = self.context.epoch;
        self.standing.asked.clear();
        self.standing.bar = match self.standing.loss {
            Loss::Ended { epoch, bar } if epoch == here => bar,
            _ => View::ZERO,
        };
        let whole = match self.standing.loss {
            Loss::Never => true,
            Loss::Open => false,
            Loss::Ended { epoch, .. } => epoch <= here,
        };
        self.standing.state = match self.me {
            None => State::Observing,
            Some(_) if whole => State::Inquiring(BTreeSet::new()),
            Some(_) => State::Wiped(BTreeMap::new()),
        };
        self.inquire(Recipient::All);
    }

    /// Asks what is to be known before anything is signed.
    pub(super) fn inquire(&mut self, to: Recipient) {
        let question = match self.standing.state {
            State::Inquiring(_) => Fetch::OwnVotes,
            State::Wiped(_) => Fetch::Attestation(self.standing.nonce),
            State::Voting if self.is_barred() => Fetch::Attestation(self.standing.nonce),
            State::Observing | State::Voting => return,
        };
        self.output.send(to, Message::Fetch(question));
    }

    /// Whether [`Replica::inquire`] has anything to ask.
    pub(super) fn inquires(&self) -> bool {
        matches!(self.standing.state, State::Inquiring(_) | State::Wiped(_)) || self.is_barred()
    }

    /// Whether the others must go on to a later view before this replica votes again: until they have, it asks on, which
    /// keeps their timers running (P10) however long the messages or the processes take.
    fn is_barred(&self) -> bool {
        self.is_voting() && self.view <= self.standing.bar && !on(Bug::BarredFallsSilent)
    }

    /// A peer showed the highest votes of this replica's own that it has seen.
    pub(super) fn remembered(&mut self, from: ValidatorIndex, votes: &[Vote]) {
        for vote in votes {
            if Some(vote.voter) != self.me {
                return; // Not an answer.
            }
            // Who knows of its loss asks already: to begin anew each time would let one peer keep it silent for good.
            // In an epoch that is over by the records nothing is signed: what was signed there proves nothing.
            let over = !self.later.is_empty() && !on(Bug::OldEpochsVoteCounts);
            let lost = !over && self.has_forgotten(vote) && !on(Bug::OwnVoteIgnored);
            if !matches!(self.standing.state, State::Wiped(_)) && lost {
                self.forget_everything();
                self.stirred = true;
                return self.inquire(Recipient::All);
            }
        }
        if let State::Inquiring(answers) = &mut self.standing.state {
            answers.insert(from);
            self.stirred = true;
        }
    }

    /// Whether the records lack a vote that this replica cast. Below the tip, and up to the bar, nothing is signed,
    /// remembered or not.
    fn has_forgotten(&self, vote: &Vote) -> bool {
        let own = self.own.get(&vote.view);
        let cast = own.and_then(|own| match vote.kind {
            VoteKind::Prepare => own.prepare.as_ref(),
            VoteKind::Commit => own.commit.as_ref(),
            VoteKind::ViewChange => own.view_change.as_ref(),
        });
        vote.view > self.tip.view.max(self.barred_up_to())
            && cast.is_none_or(|cast| cast.digest != vote.digest)
    }

    /// A peer said which view it is in.
    pub(super) fn attested(&mut self, attestation: &Attestation) {
        let fresh = attestation.nonce == self.standing.nonce || on(Bug::NonceIgnored);
        if fresh && let State::Wiped(answers) = &mut self.standing.state {
            let view = answers.entry(attestation.voter).or_default();
            *view = attestation.view.max(*view);
            self.stirred = true;
        }
    }

    /// Goes on to sign once enough is known.
    pub(super) fn regain(&mut self, now: Now) {
        let (quorum, nonce) = (self.quorum(), self.standing.nonce);
        match &mut self.standing.state {
            State::Inquiring(answers) if answers.len() + 1 >= quorum || on(Bug::OwnVoteNotAsked) => {
                self.standing.state = State::Voting;
                self.resend_at = None;
                self.stirred = true;
                self.commit_prepared(now);
            }
            State::Wiped(answers) => {
                // Whoever prepared a block that names the nonce has told its view: nobody can vote and be silent.
                let blocks = &self.blocks;
                let names = |digest: &Digest| {
                    blocks.get(digest).is_some_and(|known| known.block.nonces.contains(&nonce))
                };
                for certificate in self.prepared.values().filter(|certificate| names(&certificate.digest)) {
                    let others = certificate.signatures.iter().filter(|(signer, _)| Some(*signer) != self.me);
                    for (signer, _) in others {
                        let view = answers.entry(*signer).or_default();
                        *view = certificate.view.max(*view);
                    }
                }
                let enough = match () {
                    () if on(Bug::LossCountsItself) => quorum - 1,
                    () if on(Bug::LossAsksTooFew) => quorum / 2 + 1,
                    () => quorum,
                };
                // What was told in a later epoch stays: this one is over.
                if answers.len() >= enough && self.standing.loss == Loss::Open {
                    self.recovered();
                }
            }
            State::Inquiring(_) | State::Observing | State::Voting => {}
        }
    }

    fn recovered(&mut self) {
        let State::Wiped(answers) = &self.standing.state else { return };
        let highest = answers.values().max().copied().unwrap_or_default();
        self.standing.bar = if on(Bug::BarOneTooLow) { highest } else { highest.next() };
        let (epoch, bar) = (self.context.epoch, self.standing.bar);
        self.standing.loss = Loss::Ended { epoch, bar };
        self.standing.state = State::Voting;
        self.output.record(Record::Recovered { epoch, bar });
        self.stirred = true;
    }

    /// What the journal must keep of all this, whatever the epoch.
    pub(super) fn standing_record(&self) -> Option<Record> {
        match self.standing.loss {
            Loss::Never => None,
            Loss::Open => Some(Record::Wiped),
            Loss::Ended { epoch, bar } => Some(Record::Recovered { epoch, bar }),
        }
    }

    /// Up to where this epoch's records are pruned once the journal begins anew.
    pub(super) fn floor_record(&self) -> Record {
        if on(Bug::FloorNotRecorded) {
            return Record::Floor(View::ZERO);
        }
        Record::Floor(self.standing.floor.max(self.tip.view))
    }

    /// Another replica lost its records. Answers, once this one is sure of its own view.
    pub(super) fn answer_nonce(&mut self, now: Now, from: ValidatorIndex, nonce: Digest) {
        let pause = self.pacemaker.delta() * NONCE_PAUSE;
        let until = self.view.plus(NONCE_VIEWS);
        let asked = Asked { nonce, counted_at: now.elapsed, heard_at: now.elapsed, until };
        match self.standing.asked.get_mut(&from) {
            Some(earlier) if now.elapsed < earlier.counted_at + pause => {
                // Lost again, soon after it asked. Answered now it would be barred above views that nobody enters in an
                // idle network; it asks again, and then counts.
                if earlier.nonce != nonce {
                    return;
                }
                earlier.heard_at = now.elapsed;
            }
            _ => {
                self.standing.asked.insert(from, asked);
            }
        }
        // After a restart this replica may have voted above the view that it found its way back to.
        let is_back = self.own.last_key_value().is_none_or(|(highest, _)| *highest <= self.view);
        // Who lacks final blocks cannot say that this epoch is not over.
        let lacks_blocks = self.committed.is_some() || self.results.is_above(self.tip.height);
        let lacks_blocks = lacks_blocks && !on(Bug::ToldWithBlocksMissing);
        let may_tell = is_back && !lacks_blocks && self.may_sign(self.view);
        let Some(me) = self.me.filter(|_| may_tell) else { return };
        let entry = self.entry_certificate().cloned();
        if entry.is_none() && self.view > View::ZERO.next() {
            return; // The next view brings one.
        }
        let answer = self.context.attest((me, &self.secret), nonce, self.view, entry);
        self.output.send(Recipient::One(from), Message::Attestation(answer));
    }

    /// P10: somebody waits for this replica's next views.
    pub(super) fn nonce_waits(&self, now: Now) -> bool {
        self.nonces_that_wait(now).next().is_some()
    }

    fn nonces_that_wait(&self, now: Now) -> impl Iterator<Item = Digest> {
        let patience = self.pacemaker.delta() * NONCE_PATIENCE;
        let asked = self.standing.asked.values();
        let waits = move |asked: &&Asked| self.view < asked.until && asked.heard_at + patience > now.elapsed;
        asked.filter(waits).map(|asked| asked.nonce)
    }

    /// The nonces that a block of this view should name: none that `named` holds.
    pub(super) fn nonces_to_name(&self, now: Now, named: &BTreeSet<Digest>) -> Vec<Digest> {
        let nonces: BTreeSet<_> = self.nonces_that_wait(now).collect();
        nonces.into_iter().filter(|nonce| !named.contains(nonce)).collect()
    }
}

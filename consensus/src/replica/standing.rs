//! P7: whether this replica may sign, when it cannot be sure what it signed before.
//!
//! At every start, and in every epoch anew, a replica asks its peers for its own highest vote, and waits for q−1 answers
//! (with itself a quorum, without which nothing moves anyhow). One above its records means that they are not whole. A
//! replica that lost its records asks q *others* which view they are in: its last view u needed q−1 other signers in
//! u−1, of whom at least one honest one answers, so with x the highest answer, x ≥ u−1, and above x+1 it signed nothing.
//!
//! Invariant: [`Replica::may_sign`] is asked before anything is signed in a view.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use genesis::{Digest, PublicKey, ValidatorIndex, View};

use super::{Memory, Now, Replica};
use crate::message::{Attestation, Fetch, Message, Vote, VoteKind};
use crate::output::{Recipient, Record};

/// For how many views a nonce keeps timers running: until x+2 is entered, with x the answerer's view.
const NONCE_VIEWS: u64 = 3;
/// A member's nonce counts again after so many Δ: it may not keep an idle chain awake.
const NONCE_PAUSE: u32 = 8;

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
    /// Timers run for it below this view.
    until: View,
}

/// What this replica knows of its own past, and of others that lost theirs.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    state: State,
    /// Nothing is signed in this epoch up to this view.
    bar: View,
    nonce: Digest,
    /// The records were lost once; these told since where they were.
    told: Option<BTreeSet<PublicKey>>,
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
        let told: Option<Vec<_>> = self.told.as_ref().map(|told| told.iter().copied().collect());
        let asked: Vec<_> =
            self.asked.iter().map(|(index, asked)| (*index, asked.nonce, asked.until)).collect();
        genesis::encoding::encode(&(kind, answers, self.bar, self.nonce, told, asked))
    }

    /// Before anything is known.
    pub(super) fn new(nonce: Digest) -> Self {
        Self { state: State::Observing, bar: View::ZERO, nonce, told: None, asked: BTreeMap::new() }
    }
}

impl Replica {
    /// Whether anything may be signed in `view`.
    pub(super) fn may_sign(&self, view: View) -> bool {
        self.is_voting() && view > self.standing.bar && self.closed.is_none() && !self.halted
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
            State::Voting if self.view <= self.standing.bar => Report::Barred(self.standing.bar),
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
        self.restore_loss();
        self.standing.state = State::Wiped(BTreeMap::new());
        self.output.record(Record::Wiped);
    }

    /// A record of an earlier loss.
    pub(super) fn restore_loss(&mut self) {
        self.standing.told = Some(BTreeSet::new());
        self.standing.bar = View(u64::MAX);
        self.forget_later_recoveries();
    }

    /// A record of what others told after it.
    pub(super) fn restore_recovery(&mut self, bar: View, by: Vec<PublicKey>) {
        self.standing.told = Some(by.into_iter().collect());
        self.standing.bar = bar;
    }

    /// An epoch begins in which others told already, before this replica was started from an older ledger.
    pub(super) fn stand_recovered(&mut self, bar: View, by: Vec<PublicKey>) {
        self.restore_recovery(bar, by);
        if self.me.is_some() {
            self.standing.state = State::Inquiring(BTreeSet::new());
            self.inquire(Recipient::All);
        }
    }

    /// After the records were read: what they leave open. `recovered` says in which epoch others told last.
    pub(super) fn stand_after_start(&mut self, memory: Memory, recovered_here: bool) {
        if memory == Memory::Lost {
            self.output.record(Record::Wiped);
            self.restore_loss();
        }
        let whole = self.standing.told.is_none() || recovered_here && memory == Memory::Whole;
        if self.me.is_some() && whole {
            self.standing.state = State::Inquiring(BTreeSet::new());
        } else {
            self.stand_in_new_epoch();
        }
        self.inquire(Recipient::All);
    }

    /// What was signed in an epoch is known only from that epoch's own validators (P7).
    pub(super) fn stand_in_new_epoch(&mut self) {
        self.standing.bar = View::ZERO;
        self.standing.asked.clear();
        if self.me.is_none() {
            self.standing.state = State::Observing;
            return;
        }
        let Some(told) = self.standing.told.clone() else {
            self.standing.state = State::Inquiring(BTreeSet::new());
            return self.inquire(Recipient::All);
        };
        // Who told in an earlier epoch was in no view of this one.
        let others = self.context.validators.iter().filter(|(index, _)| Some(*index) != self.me);
        let earlier = others.filter(|(_, validator)| told.contains(&validator.consensus_key));
        self.standing.state = State::Wiped(earlier.map(|(index, _)| (index, View::ZERO)).collect());
        self.inquire(Recipient::All);
    }

    /// Asks what is to be known before anything is signed.
    pub(super) fn inquire(&mut self, to: Recipient) {
        let question = match self.standing.state {
            State::Inquiring(_) => Fetch::OwnVote,
            State::Wiped(_) => Fetch::Attestation(self.standing.nonce),
            State::Observing | State::Voting => return,
        };
        self.output.send(to, Message::Fetch(question));
    }

    /// Whether [`Replica::inquire`] has anything to ask.
    pub(super) fn inquires(&self) -> bool {
        matches!(self.standing.state, State::Inquiring(_) | State::Wiped(_))
    }

    /// A peer showed the highest vote of this replica's own that it has seen.
    pub(super) fn remembered(&mut self, from: ValidatorIndex, vote: Option<&Vote>) {
        if let Some(vote) = vote {
            if Some(vote.voter) != self.me {
                return; // Not an answer.
            }
            // Who knows of its loss asks already: to begin anew each time would let one peer keep it silent for good.
            if !matches!(self.standing.state, State::Wiped(_)) && self.has_forgotten(vote) {
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
        vote.view > self.tip.view.max(self.standing.bar) && cast.is_none_or(|cast| cast.digest != vote.digest)
    }

    /// A peer said which view it is in.
    pub(super) fn attested(&mut self, attestation: &Attestation) {
        if attestation.nonce == self.standing.nonce
            && let State::Wiped(answers) = &mut self.standing.state
        {
            let view = answers.entry(attestation.voter).or_default();
            *view = attestation.view.max(*view);
            self.stirred = true;
        }
    }

    /// Goes on to sign once enough is known.
    pub(super) fn regain(&mut self, now: Now) {
        let (quorum, nonce) = (self.quorum(), self.standing.nonce);
        match &mut self.standing.state {
            State::Inquiring(answers) if answers.len() + 1 >= quorum => {
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
                if answers.len() >= quorum {
                    self.recovered();
                }
            }
            State::Inquiring(_) | State::Observing | State::Voting => {}
        }
    }

    fn recovered(&mut self) {
        let State::Wiped(answers) = &self.standing.state else { return };
        self.standing.bar = answers.values().max().copied().unwrap_or_default().next();
        let keys = answers.keys().filter_map(|index| self.context.key(*index));
        let by: Vec<_> = keys.chain(self.standing.told.iter().flatten().copied()).collect();
        let told: BTreeSet<_> = by.into_iter().collect();
        let by = told.iter().copied().collect();
        self.standing.told = Some(told);
        self.standing.state = State::Voting;
        self.output.record(Record::Recovered { epoch: self.context.epoch, bar: self.standing.bar, by });
        self.stirred = true;
    }

    /// What the journal must keep of all this.
    pub(super) fn standing_records(&self) -> Vec<Record> {
        let Some(told) = &self.standing.told else { return Vec::new() };
        let by: Vec<_> = told.iter().copied().collect();
        match self.standing.state {
            State::Voting => {
                vec![Record::Recovered { epoch: self.context.epoch, bar: self.standing.bar, by }]
            }
            // The bar of an epoch that this replica has been told about holds over a restart.
            State::Inquiring(_) => {
                vec![Record::Recovered { epoch: self.context.epoch, bar: self.standing.bar, by }]
            }
            State::Wiped(_) | State::Observing => vec![Record::Wiped],
        }
    }

    /// Another replica lost its records. Answers, once this one is sure of its own view.
    pub(super) fn answer_nonce(&mut self, now: Now, from: ValidatorIndex, nonce: Digest) {
        let pause = self.pacemaker.delta() * NONCE_PAUSE;
        let until = self.view.plus(NONCE_VIEWS);
        let counted = self.standing.asked.get(&from).map(|asked| asked.counted_at);
        if counted.is_none_or(|at| at + pause <= now.elapsed) {
            self.standing.asked.insert(from, Asked { nonce, counted_at: now.elapsed, until });
        }
        // After a restart this replica may have voted above the view that it found its way back to.
        let is_back = self.own.last_key_value().is_none_or(|(highest, _)| *highest <= self.view);
        let Some(me) = self.me.filter(|_| is_back && self.may_sign(self.view)) else { return };
        let entry = self.entry_certificate().cloned();
        if entry.is_none() && self.view > View::ZERO.next() {
            return; // The next view brings one.
        }
        let answer = self.context.attest((me, &self.secret), nonce, self.view, entry);
        self.output.send(Recipient::One(from), Message::Attestation(answer));
    }

    /// P10: somebody waits for this replica's next views.
    pub(super) fn nonce_waits(&self) -> bool {
        self.standing.asked.values().any(|asked| self.view < asked.until)
    }

    /// The nonces that a block of this view should name: none that `named` holds.
    pub(super) fn nonces_to_name(&self, named: &BTreeSet<Digest>) -> Vec<Digest> {
        let waits = self.standing.asked.values().filter(|asked| self.view < asked.until);
        let nonces: BTreeSet<_> = waits.map(|asked| asked.nonce).collect();
        nonces.into_iter().filter(|nonce| !named.contains(nonce)).collect()
    }
}

//! What may happen to a replica, given what the honest ones have sent.
//!
//! Invariant: everything on offer passed the production code's own verification, and nothing else is asked of it.
//! So a verification that lets too much through is found out by what comes of it.

use std::collections::BTreeMap;

use consensus::message::VoteKind;
use consensus::{Block, Candidate, Certificate, Cited, Finality, Input, Message, Parent, Verified};
use genesis::{Digest, Epoch, Height, Parameters, UnixMillis, ValidatorIndex, View};

use super::Bounds;
use super::sets::{Bits, Map};
use crate::founding::{Founding, item, secret};
use crate::simulation::forge;

/// Something that an honest replica sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fact {
    /// A proposal.
    Proposal(Digest),
    /// A vote.
    Vote(VoteKind, View, Digest),
}

/// All that one replica has sent: a bit for each fact.
pub type Sent = u128;

/// Something that may happen to a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stimulus {
    /// A proposal arrives.
    Proposal(Digest),
    /// A certificate arrives.
    Certificate(VoteKind, View, Digest),
    /// The votes of these validators (a bit each) arrive, one by one.
    Votes(VoteKind, View, Digest, u8),
    /// The chain up to this block arrives from a peer's store, with its certificate.
    Synced(Digest),
    /// The next timer goes off that changes something.
    Soon,
    /// All timers of the view go off at once.
    Late,
    /// The process ends, and starts from its records.
    Restart,
}

/// The name of a stimulus or of a set of them.
pub type Id = u32;

/// Everything that was ever named in an exploration, under small numbers.
#[derive(Debug)]
pub struct Menu {
    /// The network.
    pub founding: Founding,
    /// What is explored.
    pub bounds: Bounds,
    /// The item that waits at all replicas from the start.
    pub item: Digest,
    blocks: BTreeMap<Digest, (Block, Verified<Message>)>,
    facts: Vec<Fact>,
    fact_ids: BTreeMap<Fact, usize>,
    /// Of each honest replica.
    stimuli: Vec<Vec<(Stimulus, Vec<Input>)>>,
    stimulus_ids: BTreeMap<(usize, Stimulus), Option<Id>>,
    sets: Vec<Bits>,
    set_ids: BTreeMap<Bits, Id>,
    on_offer: Map<(usize, Vec<Sent>), Id>,
    certificates: BTreeMap<(Fact, u8), Option<Verified<Certificate>>>,
}

impl Menu {
    /// A menu on which nothing stands yet.
    pub fn new(bounds: Bounds) -> Self {
        let parameters = Parameters { heartbeat_ms: 86_400_000, ..Parameters::default() };
        Self {
            founding: Founding::new(bounds.validators, parameters),
            item: item(1),
            blocks: BTreeMap::new(),
            facts: Vec::new(),
            fact_ids: BTreeMap::new(),
            stimuli: vec![Vec::new(); usize::from(bounds.validators)],
            bounds,
            stimulus_ids: BTreeMap::new(),
            sets: Vec::new(),
            set_ids: BTreeMap::new(),
            on_offer: Map::default(),
            certificates: BTreeMap::new(),
        }
    }

    /// The validators that keep the rules.
    pub fn honest(&self) -> Vec<ValidatorIndex> {
        let all = (0..self.bounds.validators).map(ValidatorIndex);
        all.filter(|index| !self.bounds.byzantine.contains(index)).collect()
    }

    /// The bit of what an honest replica sends; `None` for what is said beyond the bound, or by another.
    pub fn note(&mut self, sender: ValidatorIndex, message: &Message) -> Option<Sent> {
        let fact = match message {
            Message::Vote(vote) if vote.voter == sender => Fact::Vote(vote.kind, vote.view, vote.digest),
            Message::PrePrepare(proposal) => {
                let block = Block::new(proposal.candidate.clone());
                if self.leader(block.view) != sender {
                    return None;
                }
                let digest = block.digest();
                if !self.blocks.contains_key(&digest) {
                    let verified = message.clone().verify(&self.founding.context);
                    self.blocks.insert(digest, (block, verified.expect("an honest proposal is valid")));
                }
                Fact::Proposal(digest)
            }
            _ => return None,
        };
        let view = match fact {
            Fact::Proposal(digest) => self.blocks[&digest].0.view,
            Fact::Vote(_, view, _) => view,
        };
        if view.0 > self.bounds.views {
            return None;
        }
        let id = *self.fact_ids.entry(fact).or_insert_with(|| {
            self.facts.push(fact);
            self.facts.len() - 1
        });
        assert!(id < 128, "more than 128 different messages: `Sent` is too small");
        Some(1 << id)
    }

    /// The facts in `sent`.
    pub fn facts(&self, sent: Sent) -> impl Iterator<Item = Fact> + '_ {
        self.facts.iter().enumerate().filter(move |(id, _)| sent >> id & 1 == 1).map(|(_, fact)| *fact)
    }

    /// The votes in the highest view among what `sender` has sent, as a peer tells them who heard all of it (P7).
    pub fn highest_votes(&self, sender: ValidatorIndex, sent: Sent) -> Verified<Message> {
        let context = &self.founding.context;
        let votes = self.facts(sent).filter_map(|fact| match fact {
            Fact::Vote(kind, view, digest) => Some((view, kind, digest)),
            Fact::Proposal(_) => None,
        });
        let mut votes: Vec<_> = votes.collect();
        votes.sort();
        let highest = votes.last().map(|(view, ..)| *view);
        let votes = votes.into_iter().filter(|(view, ..)| Some(*view) == highest);
        let signed = votes
            .map(|(view, kind, digest)| forge::vote(context, (sender, &secret(sender)), kind, view, digest));
        Message::OwnVotes(signed.collect()).verify(context).expect("signed by its voter")
    }

    /// A block that was named.
    pub fn block(&self, digest: &Digest) -> Option<&Block> {
        self.blocks.get(digest).map(|(block, _)| block)
    }

    /// The chain from height 1 to the block with this digest; empty for genesis.
    pub fn chain(&self, digest: &Digest) -> Vec<&Block> {
        let mut chain = Vec::new();
        let mut next = *digest;
        while let Some(block) = self.block(&next) {
            chain.push(block);
            next = block.parent.digest;
        }
        chain.reverse();
        chain
    }

    /// A stimulus of the honest replica at `place`.
    pub fn stimulus(&self, place: usize, id: Id) -> Stimulus {
        self.stimuli[place][id as usize].0
    }

    /// What the replica is fed for it.
    pub fn inputs(&self, place: usize, id: Id) -> &[Input] {
        &self.stimuli[place][id as usize].1
    }

    /// A set of stimuli.
    pub fn set(&self, id: Id) -> &Bits {
        &self.sets[id as usize]
    }

    /// The name of the set of all that may happen to the honest replica at `place`, when the honest ones have sent
    /// `sent`.
    pub fn on_offer(&mut self, place: usize, sent: &[Sent]) -> Id {
        if let Some(set) = self.on_offer.get(&(place, sent.to_vec())) {
            return *set;
        }
        let host = self.honest()[place];
        let mut set = Bits::default();
        for stimulus in self.possible(host, sent) {
            if let Some(id) = self.offer(place, host, stimulus, sent) {
                set.insert(id);
            }
        }
        let id = *self.set_ids.entry(set.clone()).or_insert_with(|| {
            self.sets.push(set);
            self.sets.len() as Id - 1
        });
        self.on_offer.insert((place, sent.to_vec()), id);
        id
    }

    fn leader(&self, view: View) -> ValidatorIndex {
        self.founding.context.validators.leader(view)
    }

    fn byzantine(&self) -> u8 {
        self.bounds.byzantine.iter().map(|index| 1 << index.0).sum()
    }

    /// Who sent each fact: a bit for each honest validator.
    fn senders(&self, sent: &[Sent]) -> BTreeMap<Fact, u8> {
        let mut senders: BTreeMap<Fact, u8> = BTreeMap::new();
        for (honest, sent) in self.honest().into_iter().zip(sent) {
            for fact in self.facts(*sent) {
                *senders.entry(fact).or_default() |= 1 << honest.0;
            }
        }
        senders
    }

    fn possible(&mut self, host: ValidatorIndex, sent: &[Sent]) -> Vec<Stimulus> {
        let mut possible = vec![Stimulus::Soon, Stimulus::Late];
        possible.extend(self.bounds.restarts.then_some(Stimulus::Restart));
        let senders = self.senders(sent);
        let mut known = Vec::new();
        for (fact, honest) in &senders {
            match *fact {
                Fact::Proposal(digest) => {
                    known.push(digest);
                    let others = *honest != 1 << host.0;
                    possible.extend(others.then_some(Stimulus::Proposal(digest)));
                }
                Fact::Vote(kind, view, digest) => {
                    let signers = honest | self.byzantine();
                    let others = signers & !(1 << host.0);
                    // A single vote is never a quorum's last together with the own one, nor one of f+1.
                    let several = (1..=others).filter(|some| some & !others == 0 && some.count_ones() > 1);
                    possible.extend(several.map(|voters| Stimulus::Votes(kind, view, digest, voters)));
                    if self.is_certified(kind, view, digest, signers) {
                        possible.push(Stimulus::Certificate(kind, view, digest));
                        if kind == VoteKind::Commit {
                            possible.push(Stimulus::Synced(digest));
                        }
                    }
                }
            }
        }
        possible.extend(self.byzantine_proposals(known).into_iter().map(Stimulus::Proposal));
        possible
    }

    /// What Byzantine leaders may propose: on genesis, on each of the honest leaders' blocks and on each other's,
    /// certified or not, twice over, and what repeats an item.
    fn byzantine_proposals(&mut self, mut known: Vec<Digest>) -> Vec<Digest> {
        let mut digests = Vec::new();
        for view in (1..=self.bounds.views).map(View) {
            let leader = self.leader(view);
            if !self.bounds.byzantine.contains(&leader) {
                continue;
            }
            let genesis = &self.founding.genesis;
            let root = (View::ZERO, genesis.chain(), Height::ZERO, genesis.time());
            let blocks = known.iter().filter_map(|digest| self.block(digest));
            let blocks = blocks.map(|block| (block.view, block.digest(), block.height, block.time));
            let parents: Vec<_> =
                std::iter::once(root).chain(blocks).filter(|parent| parent.0 < view).collect();
            for (parent_view, digest, height, time) in parents {
                let parent = Parent { view: parent_view, digest };
                let ordered = self.chain(&digest).iter().any(|block| block.payload.contains(&self.item));
                let mut variants = vec![(Vec::new(), time.next()), (vec![self.item], time.next())];
                if ordered {
                    variants.push((Vec::new(), time.next().next()));
                }
                for (payload, time) in variants {
                    let digest = self.propose(leader, view, parent, height.next(), (payload, time));
                    known.push(digest);
                    digests.push(digest);
                }
            }
        }
        digests
    }

    fn propose(
        &mut self,
        leader: ValidatorIndex,
        view: View,
        parent: Parent,
        height: Height,
        (payload, time): (Vec<Digest>, UnixMillis),
    ) -> Digest {
        let (epoch, cites, nonces) = (Epoch::ZERO, Cited::genesis(&self.founding.genesis), Vec::new());
        let block = Block::new(Candidate { epoch, view, height, parent, time, cites, nonces, payload });
        let digest = block.digest();
        if !self.blocks.contains_key(&digest) {
            let context = &self.founding.context;
            let proposal = forge::proposal(context, &secret(leader), block.candidate().clone());
            let message = Message::PrePrepare(proposal).verify(context).expect("signed by its leader");
            self.blocks.insert(digest, (block, message));
        }
        digest
    }

    fn is_certified(&mut self, kind: VoteKind, view: View, digest: Digest, signers: u8) -> bool {
        let key = (Fact::Vote(kind, view, digest), signers);
        if !self.certificates.contains_key(&key) {
            let certificate = self.certify(kind, view, digest, signers);
            self.certificates.insert(key, certificate);
        }
        self.certificates[&key].is_some()
    }

    /// The certificate that these signers can make, if the production code takes it for one: as it is, else with
    /// the first signer as often as a quorum needs.
    fn certify(
        &self,
        kind: VoteKind,
        view: View,
        digest: Digest,
        signers: u8,
    ) -> Option<Verified<Certificate>> {
        let context = &self.founding.context;
        let vote = |index: u16| {
            let index = ValidatorIndex(index);
            forge::vote(context, (index, &secret(index)), kind, view, digest)
        };
        let members = || (0..self.bounds.validators).filter(|index| signers >> index & 1 == 1);
        let votes: Vec<_> = members().map(vote).collect();
        let missing = context.validators.quorum().saturating_sub(votes.len());
        let certificate = forge::certificate(&votes)?;
        certificate.verify(context).ok().or_else(|| {
            let first = members().next()?;
            let repeated: Vec<_> = (0..missing).map(|_| vote(first)).chain(votes).collect();
            forge::certificate(&repeated)?.verify(context).ok()
        })
    }

    /// The name of what may happen to the replica at `place`, with its inputs made ready.
    fn offer(&mut self, place: usize, host: ValidatorIndex, stimulus: Stimulus, sent: &[Sent]) -> Option<Id> {
        if let Some(id) = self.stimulus_ids.get(&(place, stimulus)) {
            return *id;
        }
        let inputs = self.prepare(host, stimulus, sent);
        let stimuli = &mut self.stimuli[place];
        let id = inputs.map(|inputs| {
            stimuli.push((stimulus, inputs));
            stimuli.len() as Id - 1
        });
        self.stimulus_ids.insert((place, stimulus), id);
        id
    }

    fn prepare(&self, host: ValidatorIndex, stimulus: Stimulus, sent: &[Sent]) -> Option<Vec<Input>> {
        let context = &self.founding.context;
        let signers = |kind, view, digest| {
            self.senders(sent).get(&Fact::Vote(kind, view, digest)).copied().unwrap_or(0) | self.byzantine()
        };
        // Whose connection it comes by decides nothing here: the messages prove themselves.
        let from = ValidatorIndex(u16::from(host.0 == 0));
        let inputs = match stimulus {
            Stimulus::Proposal(digest) => {
                let (block, message) = &self.blocks[&digest];
                vec![Input::Received { from: self.leader(block.view), message: message.clone() }]
            }
            Stimulus::Certificate(kind, view, digest) => {
                let certificate = self.certify(kind, view, digest, signers(kind, view, digest))?;
                let message = Message::Certificate(certificate.into_inner()).verify(context).ok()?;
                vec![Input::Received { from, message }]
            }
            Stimulus::Votes(kind, view, digest, voters) => {
                let voters = (0..self.bounds.validators).filter(|index| voters >> index & 1 == 1);
                let received = voters.map(|index| {
                    let from = ValidatorIndex(index);
                    let vote = forge::vote(context, (from, &secret(from)), kind, view, digest);
                    let message = Message::Vote(vote).verify(context).expect("signed by its voter");
                    Input::Received { from, message }
                });
                received.collect()
            }
            Stimulus::Synced(digest) => {
                let view = self.block(&digest)?.view;
                let signers = signers(VoteKind::Commit, view, digest);
                let commit = self.certify(VoteKind::Commit, view, digest, signers)?;
                let candidates = self.chain(&digest).into_iter().map(|block| block.candidate().clone());
                let finality = Finality::Commit(commit.into_inner()).verify(context).ok()?;
                vec![Input::Synced { candidates: candidates.collect(), finality, cited: None }]
            }
            Stimulus::Soon | Stimulus::Late | Stimulus::Restart => Vec::new(),
        };
        Some(inputs)
    }
}

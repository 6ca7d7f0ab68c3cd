//! Kinds that act when their machine leads: the block of its replica is replaced by one that the rules forbid, or by
//! two.

use std::collections::BTreeMap;

use consensus::message::{PrePrepare, Vote, VoteKind};
use consensus::{Candidate, Cited, Message};
use genesis::{Digest, Height, View};

use super::super::forge;
use super::super::world::HostId;
use super::{Adversary, Content, Kind, Parcel, Scene};

/// Of how many views the altered proposals are remembered.
const STAGES: usize = 64;
/// In how many of 100 own views an adversary acts; in the others its blocks are right, so that others build on them.
const OFTEN: u64 = 75;
const LEADING: [Kind; 5] = [
    Kind::EquivocatingLeader,
    Kind::InvalidBlock,
    Kind::WithheldBatch,
    Kind::GarbageBatch,
    Kind::ClockRunner,
];

/// Who is shown what in one view.
#[derive(Debug)]
pub struct Stage {
    kind: Kind,
    /// Its replica's block, which its replica prepares.
    original: Digest,
    /// What those get who are not shown the original.
    instead: Option<(PrePrepare, Vote)>,
    shown: BTreeMap<HostId, bool>,
}

impl Adversary {
    /// Replaces the own proposal, and the PREPARE for it, by what the stage of its view says.
    pub(super) fn lead(&mut self, scene: &Scene, message: &Message, parcels: &mut [Parcel]) {
        let (view, digest) = match message {
            Message::PrePrepare(proposal)
                if self.context.validators.leader(proposal.candidate.view) == self.me =>
            {
                let view = proposal.candidate.view;
                if !self.stages.contains_key(&view) {
                    self.set(scene, &proposal.candidate);
                }
                (view, proposal.candidate.digest())
            }
            Message::Vote(vote) if vote.voter == self.me && vote.kind == VoteKind::Prepare => {
                (vote.view, vote.digest)
            }
            _ => return,
        };
        let Some(stage) = self.stages.get(&view).filter(|stage| stage.original == digest) else { return };
        let Some((proposal, prepare)) = &stage.instead else { return };
        for parcel in parcels {
            if stage.shown.get(&parcel.to).copied().unwrap_or(true) {
                let instead = match message {
                    Message::PrePrepare(_) => Message::PrePrepare(proposal.clone()),
                    _ => Message::Vote(prepare.clone()),
                };
                parcel.content = Content::Message(instead);
                self.deeds.count(stage.kind);
            }
        }
    }

    /// Decides what is shown in the view of `candidate`, once and for all.
    fn set(&mut self, scene: &Scene, candidate: &Candidate) {
        let kinds: Vec<_> = LEADING.into_iter().filter(|kind| self.is(*kind)).collect();
        let Some(kind) = self.chance.pick(&kinds) else { return };
        let original = candidate.digest();
        let mut stage = Stage { kind, original, instead: None, shown: BTreeMap::new() };
        if self.chance.percent(OFTEN) {
            let altered = self.alter(kind, scene, candidate.clone());
            let digest = altered.digest();
            let proposal = forge::proposal(&self.context, &self.secret, altered);
            let voter = (self.me, &self.secret);
            let prepare = forge::vote(&self.context, voter, VoteKind::Prepare, candidate.view, digest);
            stage.instead = Some((proposal, prepare));
            if kind == Kind::EquivocatingLeader {
                let percent = self.chance.between(20, 80);
                stage.shown =
                    scene.peers.iter().map(|(host, _)| (*host, self.chance.percent(percent))).collect();
            }
        }
        if self.stages.len() >= STAGES {
            self.stages.pop_first();
        }
        self.stages.insert(candidate.view, stage);
    }

    fn alter(&mut self, kind: Kind, scene: &Scene, mut candidate: Candidate) -> Candidate {
        match kind {
            Kind::WithheldBatch => candidate.payload = vec![self.new_item()],
            Kind::GarbageBatch => {
                let item = self.new_item();
                self.garbage.push(item);
                candidate.payload.truncate(1);
                candidate.payload.push(item);
            }
            Kind::ClockRunner => {
                let ahead = [400, 600, 1_000, 5_000, 60_000, 3_600_000, u64::MAX / 2];
                let ahead = self.chance.pick(&ahead).unwrap_or(600);
                candidate.time.0 = candidate.time.0.saturating_add(ahead);
            }
            Kind::InvalidBlock => self.spoil(scene, &mut candidate),
            _ => match self.chance.below(3) {
                0 if !candidate.payload.is_empty() => {
                    candidate.payload.pop();
                }
                1 if candidate.payload.len() > 1 => candidate.payload.reverse(),
                _ => candidate.time.0 += 1,
            },
        }
        candidate
    }

    /// Extends its parent's parent: a fork, unless somebody misses the certificate that the parent's view failed.
    fn skip_parent(&mut self, candidate: &mut Candidate) {
        let parent = self.memory.iter().rev().find_map(|message| match message {
            Message::PrePrepare(earlier) if earlier.candidate.digest() == candidate.parent.digest => {
                Some(earlier.candidate.clone())
            }
            _ => None,
        });
        match parent {
            Some(parent) => {
                candidate.parent = parent.parent;
                candidate.height = parent.height;
                candidate.payload = parent.payload;
                candidate.cites = parent.cites;
                if self.chance.percent(50) {
                    // Nothing to judge: it may be prepared at once, before its rival is final.
                    candidate.payload.clear();
                }
            }
            None => candidate.height.0 += 2,
        }
    }

    fn spoil(&mut self, scene: &Scene, candidate: &mut Candidate) {
        match self.chance.below(20) {
            13.. => self.skip_parent(candidate),
            9 => candidate.cites.height = candidate.cites.height.next(),
            10 => candidate.cites.digest = self.noise(),
            // What the chain began with: an old checkpoint, which its parent has passed.
            11 => candidate.cites = Cited { height: Height::ZERO, digest: self.context.chain },
            12 => candidate.nonces = (0..self.context.validators.len() + 1).map(|_| self.noise()).collect(),
            0 => candidate.height.0 += 1,
            1 => candidate.height.0 = candidate.height.0.saturating_sub(1),
            2 => candidate.time.0 = candidate.time.0.min(scene.tip.time.0),
            3 => candidate.parent.digest = self.noise(),
            4 => candidate.parent.view = View(candidate.parent.view.0.saturating_sub(1)),
            5 => {
                // A fork below what is final, height and all.
                candidate.parent.view = View::ZERO;
                candidate.parent.digest = self.context.chain;
                candidate.height.0 = 1;
            }
            6 => {
                let item = candidate.payload.first().copied().unwrap_or_else(|| self.new_item());
                candidate.payload = vec![item, item];
            }
            7 => {
                // More than any block may name.
                candidate.payload = (0..70).map(|_| self.new_item()).collect();
            }
            _ => {
                // Something that an earlier block put in order.
                let ordered = self.memory.iter().rev().find_map(|message| match message {
                    Message::PrePrepare(earlier) if earlier.candidate.view < candidate.view => {
                        earlier.candidate.payload.first().copied()
                    }
                    _ => None,
                });
                match ordered {
                    Some(item) => candidate.payload = vec![item],
                    None => candidate.height.0 += 7,
                }
            }
        }
    }
}

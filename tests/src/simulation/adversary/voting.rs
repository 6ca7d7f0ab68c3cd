//! Kinds that contradict their own votes, or withhold them.

use consensus::Message;
use consensus::message::{Vote, VoteKind};
use genesis::{Digest, View};

use super::super::forge;
use super::{Adversary, Content, Kind, Parcel, Scene};

impl Adversary {
    /// The own vote in a parcel.
    fn own_vote<'a>(&self, parcel: &'a Parcel) -> Option<&'a Vote> {
        match &parcel.content {
            Content::Message(Message::Vote(vote)) if vote.voter == self.me => Some(vote),
            _ => None,
        }
    }

    fn sign(&self, kind: VoteKind, view: View, digest: Digest) -> Content {
        let voter = (self.me, &self.secret);
        Content::Message(Message::Vote(forge::vote(&self.context, voter, kind, view, digest)))
    }

    /// Equivocating voter: about half of the receivers get a vote for another block, some get both.
    pub(super) fn vote_twice(&mut self, parcels: &mut Vec<Parcel>) {
        if !self.is(Kind::EquivocatingVoter) {
            return;
        }
        let mut other: Option<Content> = None;
        let mut more = Vec::new();
        for parcel in parcels.iter_mut() {
            let Some(vote) = self.own_vote(parcel).filter(|vote| vote.kind != VoteKind::ViewChange) else {
                continue;
            };
            let (kind, view, digest) = (vote.kind, vote.view, vote.digest);
            if !self.chance.percent(50) {
                continue;
            }
            let instead = match &other {
                Some(other) => other.clone(),
                None => {
                    let another = self.proposed_instead(view, digest);
                    let another = another.unwrap_or_else(|| self.noise());
                    other.insert(self.sign(kind, view, another)).clone()
                }
            };
            if self.chance.percent(30) {
                more.push(parcel.clone());
            }
            parcel.content = instead;
            self.deeds.count(Kind::EquivocatingVoter);
        }
        parcels.extend(more);
    }

    /// Another block of `view` than `digest` that it has seen.
    fn proposed_instead(&self, view: View, digest: Digest) -> Option<Digest> {
        let digests = self.memory.iter().rev().filter_map(|message| match message {
            Message::PrePrepare(proposal) if proposal.candidate.view == view => {
                Some(proposal.candidate.digest())
            }
            _ => None,
        });
        digests.into_iter().find(|other| *other != digest)
    }

    /// Vote-then-deny: with each COMMIT goes a VIEW-CHANGE for the same view, and the other way round; with every
    /// PREPARE too, so that it gives up each view at once.
    pub(super) fn deny(&mut self, parcels: &mut Vec<Parcel>) {
        if !self.is(Kind::VoteThenDeny) {
            return;
        }
        let mut more: Vec<Parcel> = Vec::new();
        let mut contrary: Option<Content> = None;
        for parcel in parcels.iter() {
            let Some(vote) = self.own_vote(parcel) else { continue };
            let content = match (vote.kind, &contrary) {
                (_, Some(content)) => content.clone(),
                (VoteKind::Prepare | VoteKind::Commit, None) => {
                    self.sign(VoteKind::ViewChange, vote.view, Digest::ZERO)
                }
                (VoteKind::ViewChange, None) => {
                    let Some(digest) = self.proposed_instead(vote.view, Digest::ZERO) else { continue };
                    self.sign(VoteKind::Commit, vote.view, digest)
                }
            };
            contrary = Some(content.clone());
            more.push(Parcel::now(parcel.to, content));
            self.deeds.count(Kind::VoteThenDeny);
        }
        // Some hear the denial first.
        if self.chance.percent(50) {
            parcels.extend(more);
        } else {
            parcels.splice(0..0, more);
        }
    }

    /// Certificate hoarder: PREPAREs, COMMITs and certificates go to one machine a view.
    pub(super) fn hoard(&mut self, scene: &Scene, parcels: &mut Vec<Parcel>) {
        if !self.is(Kind::CertificateHoarder) || scene.peers.is_empty() {
            return;
        }
        let favourite = |view: View| scene.peers[(view.0 / 3) as usize % scene.peers.len()].0;
        let deeds = &mut self.deeds;
        parcels.retain(|parcel| {
            let view = match &parcel.content {
                Content::Message(Message::Vote(vote)) if vote.kind != VoteKind::ViewChange => vote.view,
                Content::Message(Message::Certificate(certificate)) => certificate.view,
                _ => return true,
            };
            let shown = parcel.to == favourite(view);
            if !shown {
                deeds.count(Kind::CertificateHoarder);
            }
            shown
        });
    }
}

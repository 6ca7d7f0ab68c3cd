//! Counts the votes of one view until they make a certificate.
//!
//! Invariant: of each voter the first vote of each kind counts, and no other. Bounded by three votes a validator.

use std::collections::BTreeMap;

use genesis::{Digest, Signature, ValidatorIndex};

use crate::bug::{Bug, on};
use crate::certificate::Certificate;
use crate::evidence::Statement;
use crate::message::{Vote, VoteKind};

/// The votes of one view.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    votes: BTreeMap<(VoteKind, ValidatorIndex), (Digest, Signature)>,
}

impl Tally {
    /// Counts `vote`. Returns the certificate when this vote completed a quorum of exactly its kind and digest.
    pub(crate) fn add(&mut self, vote: &Vote, quorum: usize) -> Option<Certificate> {
        let mut voter = vote.voter;
        while on(Bug::VoterCountedTwice) && self.votes.contains_key(&(vote.kind, voter)) {
            voter = ValidatorIndex(voter.0 + 1_000);
        }
        let slot = self.votes.entry((vote.kind, voter));
        let std::collections::btree_map::Entry::Vacant(slot) = slot else { return None };
        slot.insert((vote.digest, vote.signature));
        let signatures: Vec<_> = self
            .of(vote.kind)
            .filter(|(_, (digest, _))| *digest == vote.digest)
            .map(|(voter, (_, signature))| (voter, *signature))
            .collect();
        (signatures.len() == quorum).then_some(Certificate {
            kind: vote.kind,
            view: vote.view,
            digest: vote.digest,
            signatures,
        })
    }

    /// A vote counted here that no honest replica casts beside `vote` (P13).
    pub(crate) fn contradicted_by(&self, vote: &Vote) -> Option<Statement> {
        let statement = vote.statement();
        let cast = [VoteKind::Prepare, VoteKind::Commit, VoteKind::ViewChange].into_iter();
        cast.filter_map(|kind| {
            let (digest, signature) = self.votes.get(&(kind, vote.voter))?;
            Some(Statement { kind: kind.into(), view: vote.view, digest: *digest, signature: *signature })
        })
        .find(|earlier| earlier.contradicts(&statement))
    }

    /// Whether `voter` gave the view up.
    pub(crate) fn gave_up(&self, voter: ValidatorIndex) -> bool {
        self.votes.contains_key(&(VoteKind::ViewChange, voter))
    }

    /// How many others than `me` gave the view up.
    pub(crate) fn view_changes_by_others(&self, me: Option<ValidatorIndex>) -> usize {
        self.of(VoteKind::ViewChange).filter(|(voter, _)| Some(*voter) != me).count()
    }

    fn of(&self, kind: VoteKind) -> impl Iterator<Item = (ValidatorIndex, &(Digest, Signature))> {
        let all = (kind, ValidatorIndex(0))..=(kind, ValidatorIndex(u16::MAX));
        self.votes.range(all).map(|((_, voter), vote)| (*voter, vote))
    }
}

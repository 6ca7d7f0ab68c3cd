//! Who is in charge, what the validators aim at, and what they vote on.
//!
//! A change that a quorum approves does not act at once: it makes the *pending* configuration, which becomes the
//! current one at an epoch's end, validators and parameters together (`docs/decisions/005-parameters-wait.md`).
//! Which block ends the epoch, and which configuration its certificate names, is consensus's to say.
//!
//! The rules:
//!
//! - Only the governance keys of the current validators propose and vote, each alone in its transaction.
//! - Votes are counted when one comes in: of the current validators, each once. A quorum of approvals makes the
//!   change; so many rejections that no quorum is left close the proposal. So does its expiry.
//! - A change builds on what is aimed at: the pending configuration, or the current one where there is none. Where it
//!   no longer fits (somebody else's change came first), the proposal is closed without effect.
//!
//! Two kinds of change act otherwise: accreditations at once, when the deciding vote executes; other rules of execution at
//! the height that was voted ([`RULES`] says which this build has).
//!
//! Invariant: `pending` differs from `configuration`; what is aimed at is never lost by an epoch's end.

use std::collections::{BTreeMap, BTreeSet};

use genesis::{Configuration, Digest, Epoch, Genesis, Height, PublicKey};
use serde::{Deserialize, Serialize};

use crate::operation::{Change, GovernanceVote, Propose};
use crate::{Code, Moment};

/// For how many heights a proposal stays open: days on a busy network, longer on an idle one.
pub const PROPOSAL_LIFETIME: u64 = 1_000_000;
/// How many proposals one validator may have open.
pub const MAX_PROPOSALS_EACH: usize = 8;
/// How many proposals may be open.
pub const MAX_PROPOSALS: usize = 512;
/// The rules of execution that this build has.
pub const RULES: u32 = 1;
/// The rules of execution that every chain begins with, whatever build founds it or executes it again.
const FOUNDING_RULES: u32 = 1;

/// The part of the state that is about the validators themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Governance {
    /// The epoch of the next block.
    pub epoch: Epoch,
    /// The height of the block that closed the epoch before; in the first, where the chain begins.
    pub began: Height,
    /// Who is in charge of the next block.
    pub configuration: Configuration,
    /// What is aimed at, where it differs.
    pub pending: Option<Configuration>,
    /// The pending configurations that blocks of this epoch, or the block that began it, left: one of these is what
    /// a checkpoint certificate may make the current one.
    pub announced: BTreeSet<Digest>,
    /// What is voted on, by the ids of the transactions that proposed it.
    pub proposals: BTreeMap<Digest, Proposal>,
    /// The version of the rules of execution that hold.
    pub rules: u32,
    /// Those that are to hold, where others were decided.
    pub activation: Option<Activation>,
}

/// Rules that are to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activation {
    /// Their version.
    pub version: u32,
    /// The first block that they hold for.
    pub height: Height,
}

/// A change that is voted on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// The governance key that proposed it.
    pub proposer: PublicKey,
    /// The change.
    pub change: Change,
    /// The last height at which a vote counts.
    pub expires_at: Height,
    /// What each governance key last said.
    pub votes: BTreeMap<PublicKey, bool>,
}

impl Governance {
    /// Before the first block.
    pub fn of(genesis: &Genesis) -> Self {
        Self {
            epoch: Epoch::ZERO,
            began: genesis.height(),
            configuration: Configuration::of(genesis),
            pending: None,
            announced: BTreeSet::new(),
            proposals: BTreeMap::new(),
            rules: FOUNDING_RULES,
            activation: None,
        }
    }

    /// The configuration that changes build on.
    pub fn aim(&self) -> &Configuration {
        self.pending.as_ref().unwrap_or(&self.configuration)
    }

    /// The current validators that approve and that reject a proposal.
    pub fn tally(&self, proposal: &Proposal) -> (usize, usize) {
        let votes = |wanted: bool| {
            let members = self.configuration.validators.iter();
            members.filter(|(_, member)| proposal.votes.get(&member.governance_key) == Some(&wanted)).count()
        };
        (votes(true), votes(false))
    }

    /// Whether a block at `height` closes a proposal for its age alone.
    pub(crate) fn has_expired(&self, height: Height) -> bool {
        self.proposals.values().any(|proposal| height > proposal.expires_at)
    }

    /// Closes what expired before the block at `height`.
    pub(crate) fn expire(&mut self, height: Height) {
        self.proposals.retain(|_, proposal| height <= proposal.expires_at);
    }

    /// The rules that a block at `height` is executed by.
    pub(crate) fn rules_at(&self, height: Height) -> u32 {
        let due = self.activation.filter(|activation| activation.height <= height);
        due.map_or(self.rules, |activation| activation.version)
    }

    /// Whether rules that were decided on act from the block at `height` on.
    pub(crate) fn has_due_rules(&self, height: Height) -> bool {
        self.activation.is_some_and(|activation| activation.height <= height)
    }

    /// Lets them act, before the block at `height`: what is decided next does not take them back.
    pub(crate) fn begin_rules(&mut self, height: Height) {
        self.rules = self.rules_at(height);
        self.activation = None;
    }

    /// Whether other rules can be decided on in the block at `height`.
    fn may_activate(&self, version: u32, from: Height, height: Height) -> bool {
        version > self.rules && from > height
    }

    /// Whether `propose` by `signers` opens a proposal, and who proposes. What costs least comes first: a refusal must
    /// be cheap, as a validator can have many.
    pub(crate) fn may_propose(
        &self,
        propose: &Propose,
        signers: &[PublicKey],
        now: Moment,
    ) -> Result<PublicKey, Code> {
        let proposer = self.member(signers)?;
        let own = self.proposals.values().filter(|proposal| proposal.proposer == proposer).count();
        if own >= MAX_PROPOSALS_EACH || self.proposals.len() >= MAX_PROPOSALS {
            return Err(Code::TooManyProposals);
        }
        match propose.change {
            ref change if change.is_about_registry() => return Ok(proposer),
            Change::ActivateRules { version, height } => {
                let may = self.may_activate(version, height, now.height);
                return if may { Ok(proposer) } else { Err(Code::InvalidChange) };
            }
            _ => {}
        }
        match propose.change.applied_to(self.aim()) {
            Ok(next) if next != *self.aim() => Ok(proposer),
            Ok(_) | Err(_) => Err(Code::InvalidChange),
        }
    }

    /// Opens the proposal `id` by `proposer` ([`Self::may_propose`]), with the proposer's approval. What that decides about
    /// the registry is the caller's to do.
    pub(crate) fn propose(
        &mut self,
        id: Digest,
        propose: &Propose,
        proposer: PublicKey,
        now: Moment,
    ) -> Result<Option<Change>, Code> {
        let proposal = Proposal {
            proposer,
            change: propose.change.clone(),
            expires_at: now.height.plus(PROPOSAL_LIFETIME),
            votes: BTreeMap::from([(proposer, true)]),
        };
        self.proposals.insert(id, proposal);
        self.count(&id, now)
    }

    /// Whether `vote` by `signers` counts, and who votes.
    pub(crate) fn may_vote(&self, vote: &GovernanceVote, signers: &[PublicKey]) -> Result<PublicKey, Code> {
        let voter = self.member(signers)?;
        if self.proposals.contains_key(&vote.proposal) { Ok(voter) } else { Err(Code::NoSuchProposal) }
    }

    /// Takes the vote of `voter` ([`Self::may_vote`]). What it decides about the registry is the caller's to do.
    pub(crate) fn vote(
        &mut self,
        vote: &GovernanceVote,
        voter: PublicKey,
        now: Moment,
    ) -> Result<Option<Change>, Code> {
        if let Some(proposal) = self.proposals.get_mut(&vote.proposal) {
            proposal.votes.insert(voter, vote.approve);
        }
        self.count(&vote.proposal, now)
    }

    /// Makes `next` the current configuration from the block after `height` on. What is aimed at stays aimed at: also
    /// where that is the old configuration, because the validators changed their minds after the certificate that
    /// `next` stands in.
    pub(crate) fn close_epoch(&mut self, height: Height, next: Configuration) {
        let old = std::mem::replace(&mut self.configuration, next);
        let aim = self.pending.take().unwrap_or(old);
        self.pending = (aim != self.configuration).then_some(aim);
        self.epoch = self.epoch.next();
        self.began = height;
        self.announced.clear();
        // A vote is kept for members only; so there are never more of them than members.
        let validators = &self.configuration.validators;
        for proposal in self.proposals.values_mut() {
            proposal.votes.retain(|voter, _| validators.by_governance_key(voter).is_some());
        }
    }

    fn member(&self, signers: &[PublicKey]) -> Result<PublicKey, Code> {
        match signers {
            [key] if self.configuration.validators.by_governance_key(key).is_some() => Ok(*key),
            _ => Err(Code::NotAValidator),
        }
    }

    /// Decides a proposal if the votes do.
    fn count(&mut self, id: &Digest, now: Moment) -> Result<Option<Change>, Code> {
        let Some(proposal) = self.proposals.get(id) else { return Err(Code::NoSuchProposal) };
        let (approvals, rejections) = self.tally(proposal);
        let validators = &self.configuration.validators;
        let (quorum, members) = (validators.quorum(), validators.len());
        if approvals >= quorum {
            let Some(Proposal { change, .. }) = self.proposals.remove(id) else { return Ok(None) };
            match change {
                Change::ActivateRules { version, height } => {
                    if !self.may_activate(version, height, now.height) {
                        return Err(Code::ChangeNoLongerFits);
                    }
                    self.activation = Some(Activation { version, height });
                }
                change if change.is_about_registry() => return Ok(Some(change)),
                change => {
                    let next = change.applied_to(self.aim()).map_err(|_| Code::ChangeNoLongerFits)?;
                    self.pending = (next != self.configuration).then_some(next);
                }
            }
        } else if members - rejections < quorum {
            self.proposals.remove(id);
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;

//! The answer of [`super::method::GOV_PROPOSALS`].

use genesis::{Digest, Epoch, Height, PublicKey};
use ledger::Change;
use serde::{Deserialize, Serialize};

use super::status::ParametersJson;

/// Who is in charge, what the validators aim at, and what they vote on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Governance {
    /// The epoch of the next block.
    pub epoch: Epoch,
    /// The height of the block that closed the epoch before; for the
    /// first, the height that the chain begins after: 0, or that of its predecessor's last block.
    pub began: Height,
    /// How many approvals decide.
    pub quorum: usize,
    /// Who is in charge, by which parameters.
    pub current: Configuration,
    /// What takes its place when the epoch ends; none where nothing was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Configuration>,
    /// What is voted on.
    pub proposals: Vec<Proposal>,
}

/// Validators and parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Configuration {
    /// Its hash.
    pub digest: Digest,
    /// The validators, in their order.
    pub validators: Vec<Validator>,
    /// The parameters.
    #[serde(with = "ParametersJson")]
    pub parameters: genesis::Parameters,
}

/// A validator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Validator {
    /// What people call it.
    pub name: String,
    /// Signs consensus messages.
    pub consensus_key: PublicKey,
    /// Authenticates its connections.
    pub network_key: PublicKey,
    /// Signs its proposals and votes.
    pub governance_key: PublicKey,
    /// Where its peers reach it.
    pub address: String,
}

/// An open proposal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proposal {
    /// What a vote names.
    pub id: Digest,
    /// Who proposed it: a validator's name, or the governance key of one that left.
    pub proposer: String,
    /// The change, as in the transaction.
    pub change: Change,
    /// The names of the validators that approve.
    pub approvals: Vec<String>,
    /// The names of those that reject.
    pub rejections: Vec<String>,
    /// The last height at which a vote counts.
    pub expires_at: Height,
}

impl Governance {
    /// The ledger's governance as the API shows it.
    pub fn new(governance: &ledger::Governance) -> Self {
        let validators = &governance.configuration.validators;
        let proposals = governance.proposals.iter().map(|(id, proposal)| {
            let who = |wanted: bool| {
                let members = validators.iter();
                let voted =
                    members.filter(|(_, member)| proposal.votes.get(&member.governance_key) == Some(&wanted));
                voted.map(|(_, member)| member.name.clone()).collect()
            };
            let proposer = validators.by_governance_key(&proposal.proposer);
            let proposer = proposer.and_then(|index| validators.get(index));
            Proposal {
                id: *id,
                proposer: proposer
                    .map_or_else(|| proposal.proposer.to_string(), |member| member.name.clone()),
                change: proposal.change.clone(),
                approvals: who(true),
                rejections: who(false),
                expires_at: proposal.expires_at,
            }
        });
        Self {
            epoch: governance.epoch,
            began: governance.began,
            quorum: validators.quorum(),
            current: Configuration::new(&governance.configuration),
            pending: governance.pending.as_ref().map(Configuration::new),
            proposals: proposals.collect(),
        }
    }

    /// What a new proposal builds on.
    pub fn aim(&self) -> &Configuration {
        self.pending.as_ref().unwrap_or(&self.current)
    }
}

impl Configuration {
    /// The validators and parameters as the API shows them.
    pub fn new(configuration: &genesis::Configuration) -> Self {
        let validator = |validator: &genesis::Validator| Validator {
            name: validator.name.clone(),
            consensus_key: validator.consensus_key,
            network_key: validator.network_key,
            governance_key: validator.governance_key,
            address: validator.address.clone(),
        };
        Self {
            digest: configuration.digest(),
            validators: configuration.validators.iter().map(|(_, it)| validator(it)).collect(),
            parameters: configuration.parameters.clone(),
        }
    }
}

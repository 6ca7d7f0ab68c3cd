//! Propose: opens a change of the validators or the parameters for the validators to vote on.
//!
//! Whether a proposal is sound on its own (its keys, its ranges, the joining validator's word that it is ready) is
//! checked with the transaction's signatures, so an unsound one never enters a block. Who may propose, and whether
//! the change fits the validators there are, is asked at execution ([`crate::governance`]).

use genesis::configuration::Configuration;
use genesis::encoding::encode;
use genesis::parameters::{FoundedParameterError, ParameterError};
use genesis::validators::ValidatorSetError;
use genesis::{Digest, Genesis, Height, Parameters, SecretKey, Signature, Validator, ValidatorSet};
use serde::{Deserialize, Serialize};

use crate::DidId;
use crate::registry::{Grant, GrantError, Role};

/// What a joining validator's statement starts with.
const READY_DOMAIN: &[u8] = b"realdid ready v1";

/// Opens a proposal, whose id is the transaction's. It is the proposer's approval at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Propose {
    /// What is to change.
    pub change: Change,
}

/// A change of the configuration. The order of the variants is part of the encoding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Change {
    /// A validator joins, at the end of the list.
    AddValidator {
        /// Who.
        validator: Validator,
        /// Its consensus key's word that it is ready ([`sign_ready`]).
        ready: Signature,
    },
    /// A validator leaves.
    RemoveValidator {
        /// Its name.
        name: String,
    },
    /// A validator gets other keys, another address or another name, and keeps its place. Votes that its old
    /// governance key gave no longer count once that key is replaced.
    ReplaceValidator {
        /// Its name so far.
        name: String,
        /// What it is to be.
        validator: Validator,
        /// The consensus key's word that it is ready, also where that key stays.
        ready: Signature,
    },
    /// Other parameters: all of them, as the voters see them. Only those that
    /// [`Parameters::check_founded`] leaves free may differ from the genesis document's.
    SetParameters(Parameters),
    /// Somebody is accredited, or on other terms. This and the next three act at once.
    Accredit(Box<Grant>),
    /// An accreditation does not hold for the time being.
    Suspend {
        /// Whose.
        did: DidId,
        /// As what.
        role: Role,
    },
    /// A suspended accreditation holds again.
    Reinstate {
        /// Whose.
        did: DidId,
        /// As what.
        role: Role,
    },
    /// An accreditation holds no more.
    WithdrawAccreditation {
        /// Whose.
        did: DidId,
        /// As what.
        role: Role,
    },
    /// Other rules of execution hold from a height on: a build that lacks them stops before it.
    ActivateRules {
        /// The rules' version.
        version: u32,
        /// The first block that they hold for.
        height: Height,
    },
}

/// Why a change is refused, whatever the state.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ChangeError {
    /// The validator is not sound.
    #[error("validator.{field}: {problem}")]
    Validator {
        /// The field at fault.
        field: &'static str,
        /// What is wrong with which value.
        problem: String,
    },
    /// The joining key did not sign that it is ready as this validator on this chain.
    #[error(
        "`ready` is not the consensus key's signature over this validator (`{name}`) on chain {chain}: make it with the \
         node's own keys, for exactly these keys and this address"
    )]
    NotReady {
        /// The validator.
        name: String,
        /// This chain.
        chain: Digest,
    },
    /// The terms of an accreditation are not sound.
    #[error(transparent)]
    Grant(#[from] GrantError),
    /// A parameter is out of its range.
    #[error(transparent)]
    Range(#[from] ParameterError),
    /// A parameter that no vote may change.
    #[error(transparent)]
    Founded(#[from] FoundedParameterError),
}

/// What the consensus key of a validator signs before it may join: that it is ready to vote as `validator`, with
/// exactly these keys and this address, on `chain`. Whoever signs must be running, and in sync.
pub fn sign_ready(chain: &Digest, validator: &Validator, consensus: &SecretKey) -> Signature {
    consensus.sign(&ready_bytes(chain, validator))
}

fn ready_bytes(chain: &Digest, validator: &Validator) -> Vec<u8> {
    [READY_DOMAIN, chain.as_bytes(), &encode(validator)].concat()
}

impl Change {
    /// The parameters that it brings, checked without a signature or a key.
    pub(crate) fn check_form(&self, genesis: &Genesis) -> Result<(), ChangeError> {
        if let Self::SetParameters(parameters) = self {
            parameters.check()?;
            parameters.check_founded(genesis.parameters())?;
        }
        if let Self::Accredit(grant) = self {
            grant.check()?;
        }
        Ok(())
    }

    /// The validator that it brings: sound, and ready.
    pub(crate) fn check_keys(&self, chain: &Digest) -> Result<(), ChangeError> {
        let (Self::AddValidator { validator, ready } | Self::ReplaceValidator { validator, ready, .. }) =
            self
        else {
            return Ok(());
        };
        ValidatorSet::new(vec![validator.clone()]).map_err(|error| ChangeError::Validator {
            field: error.field.unwrap_or("validator"),
            problem: error.problem,
        })?;
        if !validator.consensus_key.verify(&ready_bytes(chain, validator), ready) {
            return Err(ChangeError::NotReady { name: validator.name.clone(), chain: *chain });
        }
        Ok(())
    }

    /// Whether it is about the trust registry, not about the configuration.
    pub(crate) const fn is_about_registry(&self) -> bool {
        matches!(
            self,
            Self::Accredit(_)
                | Self::Suspend { .. }
                | Self::Reinstate { .. }
                | Self::WithdrawAccreditation { .. }
        )
    }

    /// The configuration that `base` becomes. It stays where the change is about something else.
    ///
    /// # Errors
    /// When `base` has no such validator, has one that shares something with the new one, or would be left with none.
    pub fn applied_to(&self, base: &Configuration) -> Result<Configuration, ValidatorSetError> {
        let mut next = base.clone();
        match self {
            Self::AddValidator { validator, .. } => {
                next.validators = base.validators.adding(validator.clone())?
            }
            Self::RemoveValidator { name } => next.validators = base.validators.removing(name)?,
            Self::ReplaceValidator { name, validator, .. } => {
                next.validators = base.validators.replacing(name, validator.clone())?;
            }
            Self::SetParameters(parameters) => next.parameters = parameters.clone(),
            Self::Accredit(_)
            | Self::Suspend { .. }
            | Self::Reinstate { .. }
            | Self::WithdrawAccreditation { .. }
            | Self::ActivateRules { .. } => {}
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests;

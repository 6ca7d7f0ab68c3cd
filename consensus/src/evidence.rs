//! P13: two signed statements that no honest replica makes both. Anybody can check them, and they name who made them.
//!
//! Invariant of a verified evidence: both statements are of one validator in one epoch, validly signed, and contradict
//! each other. What a replica keeps is bounded: [`Watch`] accuses a validator a few times an epoch, then falls silent.

use std::collections::{BTreeMap, BTreeSet};

use genesis::{Digest, Epoch, PublicKey, Signature, ValidatorIndex, View};
use serde::{Deserialize, Serialize};

use crate::message::{Context, Kind, Verified};

/// How often one validator is accused in an epoch: the first case proves all there is to prove.
const CASES: usize = 4;

/// Something that a validator signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// What kind of thing.
    pub kind: Kind,
    /// In which view; for a checkpoint, at which height.
    pub view: View,
    /// About what.
    pub digest: Digest,
    /// The signature.
    pub signature: Signature,
}

/// Two statements that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// In which epoch.
    pub epoch: Epoch,
    /// Whose: the consensus key, which names the member whatever became of its place in the set.
    pub validator: PublicKey,
    /// What was seen first here.
    pub first: Statement,
    /// What was seen later.
    pub second: Statement,
}

/// Why evidence proves nothing.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EvidenceError {
    /// It is about another epoch than the one that it was checked against.
    #[error("it is about epoch {0}, but the validators are those of epoch {1}")]
    OtherEpoch(Epoch, Epoch),
    /// Nobody of that epoch has that key.
    #[error("`{0}` is not the consensus key of a validator of that epoch")]
    NotAValidator(PublicKey),
    /// An honest replica may have signed both.
    #[error("the two statements do not contradict each other")]
    NoContradiction,
    /// One of them is not signed.
    #[error("a signature is not valid")]
    Signature,
}

impl Statement {
    /// Whether no honest replica signs both.
    pub fn contradicts(&self, other: &Self) -> bool {
        let gave_up = |kinds: [Kind; 2]| {
            kinds == [Kind::Commit, Kind::ViewChange] || kinds == [Kind::ViewChange, Kind::Commit]
        };
        let differ = self.kind == other.kind && self.kind != Kind::Attestation && self.digest != other.digest;
        self.view == other.view && (differ || gave_up([self.kind, other.kind]))
    }
}

impl Evidence {
    /// Checks it against the validators of `context`, which are those of its epoch.
    ///
    /// # Errors
    /// Says why it proves nothing.
    pub fn verify(self, context: &Context) -> Result<Verified<Self>, EvidenceError> {
        if self.epoch != context.epoch {
            return Err(EvidenceError::OtherEpoch(self.epoch, context.epoch));
        }
        if context.validators.by_consensus_key(&self.validator).is_none() {
            return Err(EvidenceError::NotAValidator(self.validator));
        }
        if !self.first.contradicts(&self.second) {
            return Err(EvidenceError::NoContradiction);
        }
        let signed = |statement: &Statement| {
            let bytes = context.statement(statement.kind, statement.view, &statement.digest);
            self.validator.verify(&bytes, &statement.signature)
        };
        if !signed(&self.first) || !signed(&self.second) {
            return Err(EvidenceError::Signature);
        }
        Ok(Verified::by_construction(self, context))
    }

    /// What tells one case from another: who, and where.
    pub fn case(&self) -> Digest {
        // Others may have seen the two in the other order.
        let kind = self.first.kind.min(self.second.kind);
        let case = (self.epoch, self.validator, kind, self.first.view);
        Digest::of(genesis::Domain::Evidence, &genesis::encoding::encode(&case))
    }
}

/// Which cases were brought up already, in one epoch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    cases: BTreeMap<ValidatorIndex, BTreeSet<(Kind, View)>>,
}

impl Watch {
    /// Whether this case is news, and not one too many.
    pub(crate) fn is_news(&mut self, voter: ValidatorIndex, kind: Kind, view: View) -> bool {
        let cases = self.cases.entry(voter).or_default();
        cases.len() < CASES && cases.insert((kind, view))
    }
}

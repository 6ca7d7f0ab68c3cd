//! A quorum's votes of one kind, in one view, for one digest.
//!
//! Invariant of a verified certificate: its signers are distinct members of the set, at least a quorum of them,
//! and each signed the same statement.

use genesis::key::{Claim, verify_all};
use genesis::{Digest, Signature, ValidatorIndex, View, encoding};
use serde::{Deserialize, Serialize};

use crate::bug::{Bug, on};
use crate::message::{Context, Verified, VoteKind};

/// A quorum of votes. About 70 bytes a signer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// What the votes say.
    pub kind: VoteKind,
    /// In which view.
    pub view: View,
    /// Of which block; zero for a view-change.
    pub digest: Digest,
    /// Who signed, in ascending order, with their signatures.
    #[serde(deserialize_with = "encoding::list::<_, _, 70>")]
    pub signatures: Vec<(ValidatorIndex, Signature)>,
}

/// Why a certificate proves nothing.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CertificateError {
    /// Not enough signers, or more than there are.
    #[error("{signers} signers, but {quorum} to {validators} are needed")]
    Count {
        /// How many signed.
        signers: usize,
        /// How many must.
        quorum: usize,
        /// How many there are.
        validators: usize,
    },
    /// A signer twice, or out of order.
    #[error("signers are not in ascending order, each once")]
    Order,
    /// A signer that does not exist.
    #[error("signer {0} is not in the set")]
    UnknownSigner(u16),
    /// A view-change certificate about a block, or any certificate for view 0 or the last view.
    #[error("no such certificate can exist")]
    Impossible,
    /// One of the signatures does not fit.
    #[error("a signature is not valid")]
    Signature,
}

impl Certificate {
    /// Checks it against the validators of `context`.
    ///
    /// # Errors
    /// Says why it proves nothing.
    pub fn verify(self, context: &Context) -> Result<Verified<Self>, CertificateError> {
        self.check(context)?;
        Ok(Verified::by_construction(self, context))
    }

    pub(crate) fn check(&self, context: &Context) -> Result<(), CertificateError> {
        let about_nothing = self.kind == VoteKind::ViewChange && self.digest != Digest::ZERO;
        if about_nothing || self.view == View::ZERO || self.view.0 == u64::MAX {
            return Err(CertificateError::Impossible);
        }
        let statement = context.vote_statement(self.kind, self.view, &self.digest);
        check_signatures(context, &statement, &self.signatures)
    }
}

/// Whether a quorum of distinct members signed `statement`, as `signatures` say.
pub(crate) fn check_signatures(
    context: &Context,
    statement: &[u8],
    signatures: &[(ValidatorIndex, Signature)],
) -> Result<(), CertificateError> {
    let (signers, validators) = (signatures.len(), context.validators.len());
    let quorum = context.quorum();
    if !(quorum..=validators).contains(&signers) {
        return Err(CertificateError::Count { signers, quorum, validators });
    }
    // A threshold counts distinct signers, not signatures.
    let ascending = |(left, _): &(ValidatorIndex, _), (right, _): &(ValidatorIndex, _)| {
        left < right || on(Bug::RepeatedSignerAccepted) && left == right
    };
    if !signatures.is_sorted_by(ascending) {
        return Err(CertificateError::Order);
    }
    let known =
        |(index, _): &&(ValidatorIndex, _)| !on(Bug::ForeignSignerAccepted) || context.key(*index).is_some();
    let claims = signatures.iter().filter(known).map(|(index, signature)| {
        let signer = context.key(*index).ok_or(CertificateError::UnknownSigner(index.0))?;
        Ok(Claim { signer, message: statement, signature: *signature })
    });
    let claims = claims.collect::<Result<Vec<_>, _>>()?;
    if verify_all(&claims) || on(Bug::CertificateUnchecked) {
        Ok(())
    } else {
        Err(CertificateError::Signature)
    }
}

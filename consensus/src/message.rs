//! What validators say to one another, what they sign, and the proof that a signature was checked.
//!
//! Invariant: a [`Verified`] value was checked against the validator set; only [`Message::verify`] and
//! [`Certificate::verify`] make one. Every signature is over
//! `domain ‖ chain id ‖ epoch ‖ kind ‖ view ‖ digest`, so none is valid in another chain, epoch, role or view.

use genesis::key::Claim;
use genesis::{Digest, Epoch, PublicKey, SecretKey, Signature, ValidatorIndex, ValidatorSet, View, encoding};
use serde::{Deserialize, Serialize};

use crate::candidate::{Block, Candidate};
use crate::certificate::{Certificate, CertificateError};

/// The most bytes that any message has: the longest payload and the largest certificate fit well.
pub const MAX_MESSAGE_BYTES: usize = 512 << 10;

const DOMAIN: &[u8; 20] = b"realdid consensus v1";

/// What signatures are bound to: the chain, the epoch, and who may sign in it.
#[derive(Clone, Debug)]
pub struct Context {
    /// The chain's id.
    pub chain: Digest,
    /// The epoch.
    pub epoch: Epoch,
    /// Its validators.
    pub validators: ValidatorSet,
}

/// What a vote says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum VoteKind {
    /// "This is the leader's block, valid and durable here" (P2).
    Prepare,
    /// "A quorum prepared it, and I did not give up its view" (P3).
    Commit,
    /// "I give up this view" (P5); about no block: its digest is zero.
    ViewChange,
}

/// The kinds of things that are signed, as they stand in the signed bytes.
#[derive(Clone, Copy)]
enum Kind {
    PrePrepare = 0,
    Prepare = 1,
    Commit = 2,
    ViewChange = 3,
}

impl From<VoteKind> for Kind {
    fn from(kind: VoteKind) -> Self {
        match kind {
            VoteKind::Prepare => Self::Prepare,
            VoteKind::Commit => Self::Commit,
            VoteKind::ViewChange => Self::ViewChange,
        }
    }
}

/// One validator's signed vote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// What it says.
    pub kind: VoteKind,
    /// In which view.
    pub view: View,
    /// Of which block; zero for a view-change.
    pub digest: Digest,
    /// Who says it.
    pub voter: ValidatorIndex,
    /// Over the statement that these make.
    pub signature: Signature,
}

/// A leader's signed proposal (P1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrePrepare {
    /// What is proposed, in its own view.
    pub candidate: Candidate,
    /// By that view's leader.
    pub signature: Signature,
}

/// A question to a peer. Not signed: the channel says who asks, and the answer proves itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fetch {
    /// "I am in `view`, and final up to view `finalized`: show me what leads further."
    Newest {
        /// The asker's view.
        view: View,
        /// The view of the asker's newest final block.
        finalized: View,
    },
    /// "Show me the block with this digest."
    Candidate(Digest),
    /// "Show me your certificates of these views"; answered for the first few.
    Certificates {
        /// The first view.
        from: View,
        /// The last view.
        to: View,
    },
}

/// A message between two replicas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// A proposal.
    PrePrepare(PrePrepare),
    /// A vote.
    Vote(Vote),
    /// A quorum's votes.
    Certificate(Certificate),
    /// A question.
    Fetch(Fetch),
}

/// Something whose signatures were checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    pub(crate) fn by_construction(value: T) -> Self {
        Self(value)
    }

    /// The value, its proof of verification forgotten.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> std::ops::Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// Why a message is refused. The sender is at fault, never this node.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// Its bytes are not a message.
    #[error("not a message: {0}")]
    Encoding(#[from] encoding::DecodeError),
    /// It names a validator that does not exist.
    #[error("voter {0} is not in the set of {1}")]
    UnknownVoter(u16, usize),
    /// A view-change that names a block.
    #[error("a view-change names block {0}")]
    DigestInViewChange(Digest),
    /// A view or height that cannot be.
    #[error("{0}")]
    Impossible(&'static str),
    /// A candidate of another epoch.
    #[error("epoch {0}, but this is epoch {1}")]
    WrongEpoch(Epoch, Epoch),
    /// The signature does not fit.
    #[error("the signature of validator {0} is not valid")]
    Signature(u16),
    /// A certificate that is none.
    #[error("certificate: {0}")]
    Certificate(#[from] CertificateError),
}

impl Context {
    fn statement(&self, kind: Kind, view: View, digest: &Digest) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(DOMAIN.len() + 32 + 8 + 1 + 8 + 32);
        bytes.extend(DOMAIN);
        bytes.extend(self.chain.as_bytes());
        bytes.extend(self.epoch.0.to_le_bytes());
        bytes.push(kind as u8);
        bytes.extend(view.0.to_le_bytes());
        bytes.extend(digest.as_bytes());
        bytes
    }

    /// What a vote's signature is over.
    pub(crate) fn vote_statement(&self, kind: VoteKind, view: View, digest: &Digest) -> Vec<u8> {
        self.statement(kind.into(), view, digest)
    }

    /// The consensus key of the validator at `index`.
    pub(crate) fn key(&self, index: ValidatorIndex) -> Option<PublicKey> {
        self.validators.get(index).map(|validator| validator.consensus_key)
    }

    /// Signs a vote.
    pub(crate) fn vote(
        &self,
        (voter, secret): (ValidatorIndex, &SecretKey),
        kind: VoteKind,
        view: View,
        digest: Digest,
    ) -> Vote {
        let signature = secret.sign(&self.vote_statement(kind, view, &digest));
        Vote { kind, view, digest, voter, signature }
    }

    /// Signs a proposal.
    pub(crate) fn propose(&self, secret: &SecretKey, block: &Block) -> PrePrepare {
        let signature = secret.sign(&self.statement(Kind::PrePrepare, block.view, &block.digest()));
        PrePrepare { candidate: block.candidate().clone(), signature }
    }
}

impl Message {
    /// Reads a message from the wire.
    ///
    /// # Errors
    /// When the bytes are too long or no message in canonical form.
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        Ok(encoding::decode(bytes, MAX_MESSAGE_BYTES)?)
    }

    /// Its bytes for the wire.
    pub fn encode(&self) -> Vec<u8> {
        encoding::encode(self)
    }

    /// Checks every signature in it against `context`.
    ///
    /// # Errors
    /// Says what is wrong; the sender is at fault.
    pub fn verify(self, context: &Context) -> Result<Verified<Self>, MessageError> {
        match &self {
            Self::PrePrepare(proposal) => proposal.check(context)?,
            Self::Vote(vote) => vote.check(context)?,
            Self::Certificate(certificate) => certificate.check(context)?,
            Self::Fetch(_) => {}
        }
        Ok(Verified(self))
    }
}

impl Vote {
    fn check(&self, context: &Context) -> Result<(), MessageError> {
        let key = context
            .key(self.voter)
            .ok_or(MessageError::UnknownVoter(self.voter.0, context.validators.len()))?;
        if self.view == View::ZERO || self.view.0 == u64::MAX {
            return Err(MessageError::Impossible("no vote is cast in the first or the last possible view"));
        }
        if self.kind == VoteKind::ViewChange && self.digest != Digest::ZERO {
            return Err(MessageError::DigestInViewChange(self.digest));
        }
        let statement = context.vote_statement(self.kind, self.view, &self.digest);
        let valid = key.verify(&statement, &self.signature);
        if valid { Ok(()) } else { Err(MessageError::Signature(self.voter.0)) }
    }
}

impl PrePrepare {
    fn check(&self, context: &Context) -> Result<(), MessageError> {
        let candidate = &self.candidate;
        if candidate.epoch != context.epoch {
            return Err(MessageError::WrongEpoch(candidate.epoch, context.epoch));
        }
        if candidate.view.0 == u64::MAX || candidate.parent.view >= candidate.view {
            return Err(MessageError::Impossible("a block's view is above its parent's and below the last"));
        }
        let leader = context.validators.leader(candidate.view);
        let statement = context.statement(Kind::PrePrepare, candidate.view, &candidate.digest());
        let claim = context.key(leader).map(|signer| Claim {
            signer,
            message: &statement,
            signature: self.signature,
        });
        let valid = claim.is_some_and(|claim| claim.signer.verify(claim.message, &claim.signature));
        if valid { Ok(()) } else { Err(MessageError::Signature(leader.0)) }
    }
}

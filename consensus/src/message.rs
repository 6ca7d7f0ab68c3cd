//! What validators say to one another, what they sign, and the proof that a signature was checked.
//!
//! Invariant: a [`Verified`] value was checked against the validator set; only [`Message::verify`] and
//! [`Certificate::verify`] make one. Every signature is over
//! `domain ‖ chain id ‖ epoch ‖ kind ‖ view ‖ digest`, so none is valid in another chain, epoch, role or view.

use genesis::{Digest, Epoch, PublicKey, SecretKey, Signature, ValidatorIndex, ValidatorSet, View, encoding};
use serde::{Deserialize, Serialize};

use crate::bug::{Bug, on};
use crate::candidate::{Block, Candidate};
use crate::certificate::{Certificate, CertificateError};
use crate::checkpoint::{Checkpoint, CheckpointCertificate, CheckpointVote};
use crate::evidence::Statement;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// A leader's proposal (P1).
    PrePrepare = 0,
    /// See [`VoteKind::Prepare`].
    Prepare = 1,
    /// See [`VoteKind::Commit`].
    Commit = 2,
    /// See [`VoteKind::ViewChange`].
    ViewChange = 3,
    /// What execution led to (P6); the height stands in the place of the view.
    Checkpoint = 4,
    /// "I am in this view", to a replica that lost its journal (P7); the nonce stands in the place of the digest.
    Attestation = 5,
}

impl Kind {
    /// Its name, as the API shows it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PrePrepare => "pre-prepare",
            Self::Prepare => "prepare",
            Self::Commit => "commit",
            Self::ViewChange => "view-change",
            Self::Checkpoint => "checkpoint",
            Self::Attestation => "attestation",
        }
    }
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

/// "I am in this view", said to a replica that lost its journal (P7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attestation {
    /// The random number by which that replica knows that the answer is a new one.
    pub nonce: Digest,
    /// The view that the answerer is in.
    pub view: View,
    /// Who answers.
    pub voter: ValidatorIndex,
    /// Over the statement that these make.
    pub signature: Signature,
    /// The certificate by which it entered; none for the first view.
    pub entry: Option<Certificate>,
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
    /// "Show me the certificate of the checkpoint at this height", or the newest one where there is none.
    Checkpoint(genesis::Height),
    /// "Show me my votes in the highest view that you have seen any of": asked at every start (P7).
    OwnVotes,
    /// "I lost my journal: tell me, and sign with this nonce, which view you are in" (P7).
    Attestation(Digest),
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
    /// What execution led to.
    Checkpoint(CheckpointVote),
    /// A quorum's checkpoints.
    CheckpointCertificate(CheckpointCertificate),
    /// The answer to [`Fetch::OwnVotes`]: the asker's own votes in the highest view of this epoch that any was seen in, at
    /// most one of each kind, in the order of the kinds.
    OwnVotes(#[serde(deserialize_with = "encoding::list::<_, _, 114>")] Vec<Vote>),
    /// The answer to [`Fetch::Attestation`].
    Attestation(Attestation),
}

/// Something whose signatures were checked, against the validators of one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<T> {
    value: T,
    epoch: Epoch,
}

impl<T> Verified<T> {
    pub(crate) fn by_construction(value: T, context: &Context) -> Self {
        Self { value, epoch: context.epoch }
    }

    /// The epoch whose validators signed.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The value, its proof of verification forgotten.
    pub fn into_inner(self) -> T {
        self.value
    }
}

impl Verified<Message> {
    /// The checkpoint's certificate, where the message is one: it proves itself, whoever sent it.
    pub fn into_checkpoint_certificate(self) -> Option<Verified<CheckpointCertificate>> {
        let Self { value, epoch } = self;
        match value {
            Message::CheckpointCertificate(value) => Some(Verified { value, epoch }),
            _ => None,
        }
    }
}

impl<T> std::ops::Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
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
    pub(crate) fn statement(&self, kind: Kind, view: View, digest: &Digest) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(DOMAIN.len() + 32 + 8 + 1 + 8 + 32);
        bytes.extend(DOMAIN);
        if !on(Bug::ChainNotSigned) {
            bytes.extend(self.chain.as_bytes());
        }
        if !on(Bug::EpochNotSigned) {
            bytes.extend(self.epoch.0.to_le_bytes());
        }
        if !on(Bug::KindNotSigned) {
            bytes.push(kind as u8);
        }
        if !on(Bug::ViewNotSigned) {
            bytes.extend(view.0.to_le_bytes());
        }
        bytes.extend(digest.as_bytes());
        bytes
    }

    /// How many votes decide.
    pub(crate) fn quorum(&self) -> usize {
        self.validators.quorum() - usize::from(on(Bug::QuorumOneTooSmall))
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

    /// Signs a checkpoint.
    pub(crate) fn checkpoint_vote(
        &self,
        (voter, secret): (ValidatorIndex, &SecretKey),
        checkpoint: Checkpoint,
    ) -> CheckpointVote {
        let signature = secret.sign(&self.checkpoint_statement(&checkpoint));
        CheckpointVote { checkpoint, voter, signature }
    }

    /// Signs which view this replica is in.
    pub(crate) fn attest(
        &self,
        (voter, secret): (ValidatorIndex, &SecretKey),
        nonce: Digest,
        view: View,
        entry: Option<Certificate>,
    ) -> Attestation {
        let signature = secret.sign(&self.statement(Kind::Attestation, view, &nonce));
        Attestation { nonce, view, voter, signature, entry }
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
            Self::Checkpoint(vote) => vote.check(context)?,
            Self::CheckpointCertificate(certificate) => certificate.check(context)?,
            Self::OwnVotes(votes) => {
                let fits = |pair: &[Vote]| {
                    (pair[0].voter, pair[0].view) == (pair[1].voter, pair[1].view)
                        && pair[0].kind < pair[1].kind
                };
                if !votes.windows(2).all(fits) {
                    return Err(MessageError::Impossible(
                        "own votes are of one view, and of different kinds",
                    ));
                }
                votes.iter().try_for_each(|vote| vote.check(context))?;
            }
            Self::Attestation(attestation) => attestation.check(context)?,
        }
        Ok(Verified::by_construction(self, context))
    }
}

impl Context {
    /// Whether the validator at `voter` signed `statement`.
    fn check_signature(
        &self,
        voter: ValidatorIndex,
        statement: &[u8],
        signature: &Signature,
    ) -> Result<(), MessageError> {
        let key = self.key(voter).ok_or(MessageError::UnknownVoter(voter.0, self.validators.len()))?;
        if key.verify(statement, signature) || on(Bug::SignatureUnchecked) {
            Ok(())
        } else {
            Err(MessageError::Signature(voter.0))
        }
    }
}

impl CheckpointVote {
    /// It, as evidence speaks of it.
    pub(crate) fn statement(&self) -> Statement {
        let (view, digest) = (View(self.checkpoint.height.0), self.checkpoint.digest());
        Statement { kind: Kind::Checkpoint, view, digest, signature: self.signature }
    }

    fn check(&self, context: &Context) -> Result<(), MessageError> {
        let checkpoint = &self.checkpoint;
        if checkpoint.epoch != context.epoch {
            return Err(MessageError::WrongEpoch(checkpoint.epoch, context.epoch));
        }
        if checkpoint.height == genesis::Height::ZERO {
            return Err(MessageError::Impossible("genesis has no checkpoint of its own"));
        }
        context.check_signature(self.voter, &context.checkpoint_statement(checkpoint), &self.signature)
    }
}

impl Attestation {
    fn check(&self, context: &Context) -> Result<(), MessageError> {
        match &self.entry {
            Some(entry) if entry.view.next() == self.view => entry.check(context)?,
            None if self.view.0 <= 1 => {}
            _ => {
                return Err(MessageError::Impossible("a view is entered by a certificate of the one before"));
            }
        }
        let statement = context.statement(Kind::Attestation, self.view, &self.nonce);
        context.check_signature(self.voter, &statement, &self.signature)
    }
}

impl Vote {
    /// It, as evidence speaks of it.
    pub(crate) fn statement(&self) -> Statement {
        Statement { kind: self.kind.into(), view: self.view, digest: self.digest, signature: self.signature }
    }

    fn check(&self, context: &Context) -> Result<(), MessageError> {
        if self.view == View::ZERO || self.view.0 == u64::MAX {
            return Err(MessageError::Impossible("no vote is cast in the first or the last possible view"));
        }
        if self.kind == VoteKind::ViewChange && self.digest != Digest::ZERO {
            return Err(MessageError::DigestInViewChange(self.digest));
        }
        let statement = context.vote_statement(self.kind, self.view, &self.digest);
        context.check_signature(self.voter, &statement, &self.signature)
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
        context.check_signature(leader, &statement, &self.signature)
    }
}

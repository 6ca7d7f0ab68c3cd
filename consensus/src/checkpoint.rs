//! What the validators say of the ledger after a block (P6): the one thing in consensus that is about results.
//!
//! A checkpoint is signed after its block was executed, so a quorum of them proves that the block is final, and what
//! came of it: light clients, state sync, pruning and the change from one validator set to the next rest on it.
//!
//! Invariant of a verified certificate: as for [`crate::Certificate`].

use genesis::{Digest, Domain, Epoch, Height, Signature, UnixMillis, ValidatorIndex, encoding};
use serde::{Deserialize, Serialize};

use crate::certificate::{Certificate, CertificateError, check_signatures};
use crate::message::{Context, Kind, Verified, VoteKind};

/// What a block's execution led to. The roots are opaque here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The epoch of the block.
    pub epoch: Epoch,
    /// The height of the block.
    pub height: Height,
    /// The digest of the block.
    pub block: Digest,
    /// The time of the block.
    pub time: UnixMillis,
    /// The ledger's state after it.
    pub state_root: Digest,
    /// The receipts of its transactions.
    pub receipts_root: Digest,
    /// The hash of the configuration (validators and parameters) for the next height.
    pub configuration: Digest,
    /// The hash of the configuration that the validators voted for, as long as it differs from that (P12).
    pub pending: Option<Digest>,
}

/// One validator's signed checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointVote {
    /// What it says.
    pub checkpoint: Checkpoint,
    /// Who says it.
    pub voter: ValidatorIndex,
    /// Over the checkpoint's digest, with its height in the place of the view.
    pub signature: Signature,
}

/// A quorum's votes for one checkpoint. About 70 bytes a signer, and the checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointCertificate {
    /// What they say.
    pub checkpoint: Checkpoint,
    /// Who signed, in ascending order, with their signatures.
    #[serde(deserialize_with = "encoding::list::<_, _, 70>")]
    pub signatures: Vec<(ValidatorIndex, Signature)>,
}

/// The checkpoint that a block rests on (P1, P6): its certificate is known to whoever prepares the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cited {
    /// Its height; for genesis 0, or where the chain that this one goes on from ended.
    pub height: Height,
    /// Its digest; the chain's id for genesis.
    pub digest: Digest,
}

impl Checkpoint {
    /// The digest that is signed: over all fields.
    pub fn digest(&self) -> Digest {
        Digest::of(Domain::Checkpoint, &encoding::encode(self))
    }

    /// How a block names it.
    pub fn cited(&self) -> Cited {
        Cited { height: self.height, digest: self.digest() }
    }
}

impl Cited {
    /// What the first blocks of a chain cite: genesis needs no certificate.
    pub fn genesis(genesis: &genesis::Genesis) -> Self {
        Self { height: genesis.height(), digest: genesis.chain() }
    }
}

impl CheckpointCertificate {
    /// Checks it against the validators of `context`, whose epoch is the checkpoint's.
    ///
    /// # Errors
    /// Says why it proves nothing.
    pub fn verify(self, context: &Context) -> Result<Verified<Self>, CertificateError> {
        self.check(context)?;
        Ok(Verified::by_construction(self, context))
    }

    pub(crate) fn check(&self, context: &Context) -> Result<(), CertificateError> {
        if self.checkpoint.epoch != context.epoch || self.checkpoint.height == Height::ZERO {
            return Err(CertificateError::Impossible);
        }
        check_signatures(context, &context.checkpoint_statement(&self.checkpoint), &self.signatures)
    }
}

/// What proves that a block and its ancestors are final.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finality {
    /// A quorum committed it (P4).
    Commit(Certificate),
    /// A quorum executed it (P6).
    Checkpoint(CheckpointCertificate),
}

impl Finality {
    /// Checks it against the validators of `context`.
    ///
    /// # Errors
    /// Says why it proves nothing.
    pub fn verify(self, context: &Context) -> Result<Verified<Self>, CertificateError> {
        match &self {
            Self::Commit(certificate) if certificate.kind == VoteKind::Commit => {
                certificate.check(context)?
            }
            Self::Commit(_) => return Err(CertificateError::Impossible),
            Self::Checkpoint(certificate) => certificate.check(context)?,
        }
        Ok(Verified::by_construction(self, context))
    }

    /// The digest of the block that it is about.
    pub fn block(&self) -> Digest {
        match self {
            Self::Commit(certificate) => certificate.digest,
            Self::Checkpoint(certificate) => certificate.checkpoint.block,
        }
    }
}

impl Context {
    /// What a checkpoint's signature is over. Its height stands in the place of the view, so that two statements
    /// about one height contradict each other like two votes in one view.
    pub(crate) fn checkpoint_statement(&self, checkpoint: &Checkpoint) -> Vec<u8> {
        self.statement(Kind::Checkpoint, genesis::View(checkpoint.height.0), &checkpoint.digest())
    }
}

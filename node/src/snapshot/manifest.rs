//! What a snapshot is checked by.
//!
//! Invariant: [`Manifest::verify`] believes nothing but the genesis document: trust goes from one epoch's validators to the next's
//! by the certificate of the block between.

use client::light::Link;
use consensus::certificate::CertificateError;
use consensus::{CheckpointCertificate, Context};
use genesis::encoding::{DecodeError, decode, encode, list};
use genesis::{Configuration, Digest, Epoch, Genesis, Height};
use ledger::snapshot::{Anchor, PieceError, PieceInfo, check_list};
use ledger::{Outcome, Tip};
use serde::{Deserialize, Serialize};

use crate::wire::encode_checkpoint;

/// The most bytes of a manifest: of some 300,000 pieces.
pub const MAX_MANIFEST_BYTES: usize = 32 << 20;
/// The version of the layout. Another one is refused.
pub const FORMAT: u32 = 1;

/// The list of a snapshot's pieces, and what proves the state that they lead to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// Of which chain.
    pub chain: Digest,
    /// Every change of the validators, from the genesis document's on.
    #[serde(deserialize_with = "list::<_, _, 317>")]
    pub links: Vec<Link>,
    /// The certificates of the newest blocks, in ascending order, the last of them that of the snapshot's block. The first is to be at
    /// the checkpoint that this block cites. That is not checked, and harmless: peers are asked for a certificate that is missing.
    #[serde(deserialize_with = "list::<_, _, 177>")]
    pub recent: Vec<CheckpointCertificate>,
    /// The pieces, in the order in which they are taken in.
    #[serde(deserialize_with = "list::<_, _, 44>")]
    pub pieces: Vec<PieceInfo>,
}

/// Why a manifest is not to be believed.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The bytes are none.
    #[error("the manifest cannot be read: {0}")]
    Encoding(#[from] DecodeError),
    /// Of another build.
    #[error(
        "the snapshot has format {found}, but this build reads format {FORMAT}: let a node of this build make one"
    )]
    OtherFormat {
        /// Its own.
        found: u32,
    },
    /// Of another chain.
    #[error("the snapshot is of chain {found}, but the genesis document is of chain {expected}")]
    OtherChain {
        /// The snapshot's.
        found: Digest,
        /// The document's.
        expected: Digest,
    },
    /// A certificate that proves nothing.
    #[error("the certificate of block {height} (epoch {epoch}): {error}")]
    Certificate {
        /// The block.
        height: Height,
        /// Its epoch.
        epoch: Epoch,
        /// What is wrong.
        error: CertificateError,
    },
    /// A certificate in the wrong place.
    #[error(
        "the certificate of block {height} does not continue the one before it, or hands over to other validators"
    )]
    OutOfPlace {
        /// The block.
        height: Height,
    },
    /// No certificate of the snapshot's own block.
    #[error("it has no certificate of its own block")]
    NoCertificate,
    /// The pieces do not lead to the state that is certified.
    #[error(transparent)]
    Pieces(#[from] PieceError),
}

impl Manifest {
    /// Its canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads one.
    ///
    /// # Errors
    /// When the bytes are none.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let manifest: Self = decode(bytes, MAX_MANIFEST_BYTES)?;
        if manifest.format != FORMAT {
            return Err(ManifestError::OtherFormat { found: manifest.format });
        }
        Ok(manifest)
    }

    /// The block that the snapshot was made after, as it says.
    pub fn height(&self) -> Option<Height> {
        self.recent.last().map(|certificate| certificate.checkpoint.height)
    }

    /// The bytes of all pieces, as it says.
    pub fn bytes(&self) -> u64 {
        self.pieces.iter().map(|info| info.bytes).fold(0, u64::saturating_add)
    }

    /// Checks it by the genesis document.
    ///
    /// # Errors
    /// Says why it is not to be believed.
    pub fn verify(&self, genesis: &Genesis) -> Result<Anchor, ManifestError> {
        if self.chain != genesis.chain() {
            return Err(ManifestError::OtherChain { found: self.chain, expected: genesis.chain() });
        }
        let mut epochs = vec![(genesis.height(), Configuration::of(genesis))];
        let mut certificates = Vec::new();
        for Link { certificate, configuration } in &self.links {
            let (began, current) = last(&epochs);
            self.check(certificate, epochs.len(), current)?;
            let height = certificate.checkpoint.height;
            let hands_over = certificate.checkpoint.configuration == configuration.digest();
            if height <= began || !hands_over || configuration.digest() == current.digest() {
                return Err(ManifestError::OutOfPlace { height });
            }
            certificates.push((height, encode_checkpoint(certificate)));
            epochs.push((height, configuration.clone()));
        }
        let Some(newest) = self.recent.last() else { return Err(ManifestError::NoCertificate) };
        let (began, current) = last(&epochs);
        let mut before = began;
        for certificate in &self.recent {
            let height = certificate.checkpoint.height;
            // That of a block that closes its epoch is the last link's.
            let is_closing = self.links.last().is_some_and(|link| link.certificate == *certificate);
            if is_closing && self.recent.len() == 1 {
                continue;
            }
            self.check(certificate, epochs.len(), current)?;
            if height <= before || certificate.checkpoint.configuration != current.digest() {
                return Err(ManifestError::OutOfPlace { height });
            }
            before = height;
            certificates.push((height, encode_checkpoint(certificate)));
        }
        let checkpoint = newest.checkpoint.clone();
        check_list(&self.pieces, checkpoint.state_root)?;
        let tip = Tip { height: checkpoint.height, digest: checkpoint.block, time: checkpoint.time };
        let outcome = Outcome {
            state_root: checkpoint.state_root,
            receipts_root: checkpoint.receipts_root,
            configuration: checkpoint.configuration,
            pending: checkpoint.pending,
        };
        Ok(Anchor { tip, outcome, epochs, certificates })
    }

    /// Checks a certificate by the validators of the newest of so many epochs.
    fn check(
        &self,
        certificate: &CheckpointCertificate,
        epochs: usize,
        configuration: &Configuration,
    ) -> Result<(), ManifestError> {
        let epoch = Epoch(epochs as u64 - 1);
        let context = Context { chain: self.chain, epoch, validators: configuration.validators.clone() };
        match certificate.clone().verify(&context) {
            Ok(_) => Ok(()),
            Err(error) => {
                let height = certificate.checkpoint.height;
                Err(ManifestError::Certificate { height, epoch: certificate.checkpoint.epoch, error })
            }
        }
    }
}

fn last(epochs: &[(Height, Configuration)]) -> (Height, &Configuration) {
    match epochs.last() {
        Some((began, configuration)) => (*began, configuration),
        None => unreachable!("the first epoch is always there"),
    }
}

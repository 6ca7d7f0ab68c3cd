//! The light client: answers that are checked against the genesis document alone, whoever gives them.
//!
//! A node's answer comes with a proof: the DID's path in the state tree ([`ledger::proof`]), a quorum's certificate of the tree's
//! root ([`CheckpointCertificate`]), and, where the validators changed since the client last looked, a certificate for each
//! change ([`Link`]). The client checks all of it and resolves the DID itself, from what was proved. So a node can refuse
//! to answer, but not lie: neither about a document, nor about an old version, nor about there being no such DID.
//!
//! Invariants:
//! - Trust moves from one set of validators to the next only by a certificate of the earlier one, starting from the genesis
//!   document's.
//! - The client never goes back: a checkpoint below the highest that it saw is refused, and so is one that is older than the
//!   network's heartbeat and the skew that its clock is given. So an answer is at most `heartbeat_ms` and the skew out of date,
//!   by the client's own clock.
//!
//! Needs no node, no disk and no runtime: it compiles to `wasm32-unknown-unknown`. Where its pin is kept is left to the caller.

use consensus::certificate::CertificateError;
use consensus::{Checkpoint, CheckpointCertificate, Context};
use genesis::encoding::{DecodeError, decode, encode, list};
use genesis::{Configuration, Digest, Epoch, Genesis, Height, UnixMillis};
use ledger::proof::{DidProof, DidProofError};
use ledger::resolution::{Options, Resolution, resolve, time};
use ledger::{Did, DidId};
use serde::{Deserialize, Serialize};

/// The most bytes of a proof: of many versions, over many changes of large sets.
pub const MAX_PROOF_BYTES: usize = 16 << 20;

/// How far the client's clock and the network's may differ, unless the caller says otherwise: a minute.
pub const DEFAULT_SKEW_MS: u64 = 60_000;

/// From one epoch's validators to the next's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// That of the block which closed the epoch.
    pub certificate: CheckpointCertificate,
    /// Who is in charge of the next one, by which parameters.
    pub configuration: Configuration,
}

/// What a node sends with an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResolutionProof {
    /// The changes of the validators since the epoch that the client named, in their order.
    #[serde(deserialize_with = "list::<_, _, 317>")]
    pub links: Vec<Link>,
    /// That of the block after which the answer holds.
    pub certificate: CheckpointCertificate,
    /// The DID's state then.
    pub did: DidProof,
}

/// How far the client is: the newest checkpoint that it checked, and who is in charge since. Keep it: a client that
/// starts from it is quicker, and cannot be led back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    chain: Digest,
    epoch: Epoch,
    configuration: Configuration,
    newest: Option<Checkpoint>,
}

/// Checks the answers of nodes of one network.
#[derive(Clone, Debug)]
pub struct LightClient {
    network: String,
    skew_ms: u64,
    pin: Pin,
}

/// Why an answer is not to be believed.
#[derive(Debug, thiserror::Error)]
pub enum LightError {
    /// The bytes are no proof.
    #[error("the proof cannot be read: {0}")]
    Encoding(#[from] DecodeError),
    /// A pin of another chain.
    #[error("the pin is of chain {found}, but the genesis document is of chain {expected}")]
    OtherChain {
        /// The pin's.
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
    /// A change of the validators that the certificate does not name.
    #[error("the certificate of block {height} does not hand over to the configuration that comes with it")]
    NoHandover {
        /// The block.
        height: Height,
    },
    /// A certificate of another epoch than the one that the links lead to.
    #[error(
        "the certificate is of epoch {found}, but the proof leads to epoch {expected} only: ask with the epoch of your pin"
    )]
    OtherEpoch {
        /// The certificate's.
        found: Epoch,
        /// Where the links lead.
        expected: Epoch,
    },
    /// Behind what the client saw.
    #[error(
        "the answer is of block {height}, but block {newest} was seen already: the node is behind. Ask another"
    )]
    Behind {
        /// The answer's block.
        height: Height,
        /// The newest one seen.
        newest: Height,
    },
    /// Two certified results of one block: more than a third of the validators lied.
    #[error(
        "block {height} has two certified results, {seen} and {other}: the network's validators cannot be trusted"
    )]
    Fork {
        /// The block.
        height: Height,
        /// The checkpoint seen before.
        seen: Digest,
        /// The other one.
        other: Digest,
    },
    /// Too old.
    #[error(
        "the answer is of {time}, more than the heartbeat and the allowed skew ({allowed_ms} ms) before {now}: the node is cut off, \
         or holds newer blocks back. Ask another, or check this clock"
    )]
    Stale {
        /// The block's time.
        time: UnixMillis,
        /// The client's.
        now: UnixMillis,
        /// What is allowed between them, in ms.
        allowed_ms: u64,
    },
    /// A time that the answer's block does not lie after.
    #[error(
        "what held at {asked} is not settled as of block {height}: its time is not past that second, so a later block may still \
         change it. Ask again, or for the newest version"
    )]
    NotSettled {
        /// The time that was asked for.
        asked: String,
        /// The answer's block.
        height: Height,
    },
    /// The DID's state does not follow.
    #[error(transparent)]
    Did(#[from] DidProofError),
}

/// An answer that was checked.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The result of the resolution.
    pub resolution: Resolution,
    /// The checkpoint that it holds at.
    pub checkpoint: Checkpoint,
}

impl ResolutionProof {
    /// Its canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads it.
    ///
    /// # Errors
    /// When the bytes are no proof, or too many.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode(bytes, MAX_PROOF_BYTES)
    }
}

impl Pin {
    /// Its epoch: what to tell a node, so that it sends the changes since.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The newest checkpoint that was checked, if any.
    pub const fn newest(&self) -> Option<&Checkpoint> {
        self.newest.as_ref()
    }

    /// The context in which its epoch's certificates are checked.
    fn context(&self) -> Context {
        Context { chain: self.chain, epoch: self.epoch, validators: self.configuration.validators.clone() }
    }

    fn check(&self, certificate: CheckpointCertificate) -> Result<Checkpoint, LightError> {
        let Checkpoint { height, epoch, .. } = certificate.checkpoint;
        if epoch != self.epoch {
            return Err(LightError::OtherEpoch { found: epoch, expected: self.epoch });
        }
        let verified = certificate.verify(&self.context());
        let verified = verified.map_err(|error| LightError::Certificate { height, epoch, error })?;
        Ok(verified.into_inner().checkpoint)
    }

    /// Refuses what was overtaken.
    fn take(&mut self, checkpoint: Checkpoint) -> Result<(), LightError> {
        if let Some(newest) = &self.newest {
            if checkpoint.height < newest.height {
                return Err(LightError::Behind { height: checkpoint.height, newest: newest.height });
            }
            if checkpoint.height == newest.height && checkpoint != *newest {
                let (seen, other) = (newest.digest(), checkpoint.digest());
                return Err(LightError::Fork { height: checkpoint.height, seen, other });
            }
        }
        self.newest = Some(checkpoint);
        Ok(())
    }

    fn follow(&mut self, link: Link) -> Result<(), LightError> {
        let checkpoint = self.check(link.certificate)?;
        let next = link.configuration.digest();
        if checkpoint.configuration != next || next == self.configuration.digest() {
            return Err(LightError::NoHandover { height: checkpoint.height });
        }
        // A client that saw later blocks of this epoch than its last one was told of another chain.
        self.take(checkpoint)?;
        self.epoch = self.epoch.next();
        self.configuration = link.configuration;
        Ok(())
    }
}

impl LightClient {
    /// Trusts the network's genesis document, and nothing else.
    pub fn new(genesis: &Genesis) -> Self {
        let pin = Pin {
            chain: genesis.chain(),
            epoch: Epoch::ZERO,
            configuration: Configuration::of(genesis),
            newest: None,
        };
        Self { network: genesis.network().to_owned(), skew_ms: DEFAULT_SKEW_MS, pin }
    }

    /// Goes on from where a client of the same network was.
    ///
    /// # Errors
    /// When the pin is of another chain.
    pub fn resume(genesis: &Genesis, pin: Pin) -> Result<Self, LightError> {
        if pin.chain != genesis.chain() {
            return Err(LightError::OtherChain { found: pin.chain, expected: genesis.chain() });
        }
        Ok(Self { pin, ..Self::new(genesis) })
    }

    /// The same with another skew between the network's clock and the client's, in ms.
    #[must_use]
    pub fn with_skew_ms(self, skew_ms: u64) -> Self {
        Self { skew_ms, ..self }
    }

    /// How far it is.
    pub const fn pin(&self) -> &Pin {
        &self.pin
    }

    /// Checks a node's proof about `did` and resolves it from what was proved. `now` is the client's own clock.
    ///
    /// # Errors
    /// Says why the proof is not to be believed; then the client is as it was.
    pub fn resolve(
        &mut self,
        did: &Did,
        options: &Options,
        proof: ResolutionProof,
        now: UnixMillis,
    ) -> Result<Answer, LightError> {
        let mut pin = self.pin.clone();
        for link in proof.links {
            pin.follow(link)?;
        }
        let checkpoint = pin.check(proof.certificate)?;
        let allowed_ms = pin.configuration.parameters.heartbeat_ms.saturating_add(self.skew_ms);
        if now.0.saturating_sub(checkpoint.time.0) > allowed_ms {
            return Err(LightError::Stale { time: checkpoint.time, now, allowed_ms });
        }
        pin.take(checkpoint.clone())?;
        let resolution = self.prove(did, options, proof.did, &checkpoint)?;
        self.pin = pin;
        Ok(Answer { resolution, checkpoint })
    }

    fn prove(
        &self,
        did: &Did,
        options: &Options,
        proof: DidProof,
        checkpoint: &Checkpoint,
    ) -> Result<Resolution, LightError> {
        // Within one second the last version wins, and a node may show a block from before.
        if let Some(asked) = &options.version_time
            && time::parse(asked).is_some_and(|second| checkpoint.time.0 / 1_000 <= second)
        {
            return Err(LightError::NotSettled { asked: asked.clone(), height: checkpoint.height });
        }
        let id: DidId = did.id();
        let proven = proof.check(id, &checkpoint.state_root)?;
        let resolution = resolve(&proven, &self.network, &did.to_string(), options)?;
        if let Some(version) = resolution.version() {
            proven.expect_document(version)?;
        }
        Ok(resolution)
    }
}

#[cfg(test)]
mod tests;

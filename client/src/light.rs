//! The light client: answers that are checked against the genesis document alone, whoever gives them.
//!
//! A node's answer comes with a proof: the DID's path in the state tree ([`ledger::proof`]), a quorum's certificate of the tree's
//! root ([`CheckpointCertificate`]), and, where the validators changed since the client last looked, a certificate for each
//! change ([`Link`]). The client checks all of it and resolves the DID itself, from what was proved. So a node can refuse
//! to answer, but not lie: neither about a document, nor about an old version, nor about there being no such DID. What became of a
//! transaction, and what the trust registry holds, are proved in the same way.
//!
//! Invariants:
//! - Trust moves from one set of validators to the next only by a certificate of the earlier one, starting from the genesis
//!   document's.
//! - The client never goes back: a checkpoint below the highest that it saw is refused, and so is one that is older than the
//!   network's heartbeat and the skew that its clock is given. So an answer is at most `heartbeat_ms` and the skew out of date,
//!   by the client's own clock.
//!
//! Needs no node, no disk and no runtime: it compiles to `wasm32-unknown-unknown`. Where its pin is kept is left to the caller.

mod answers;
mod error;

use consensus::{Checkpoint, CheckpointCertificate, Context};
use genesis::encoding::{DecodeError, decode, encode, list};
use genesis::{Configuration, Digest, Epoch, Genesis, Height, UnixMillis};
use ledger::proof::DidProof;
use ledger::resolution::{Options, Resolution, resolve, time};
use ledger::{Did, DidId};
use serde::{Deserialize, Serialize};

pub use self::answers::{EntryAnswer, FateAnswer, RegistryProof, TransactionProof};
pub use self::error::LightError;

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

/// Links alone, for a client that is many epochs behind ([`LightClient::advance`]): in the order of their epochs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Links(#[serde(deserialize_with = "list::<_, _, 317>")] pub Vec<Link>);

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
    /// The height that the chain's first block follows.
    origin: Height,
    skew_ms: u64,
    pin: Pin,
}

/// An answer that was checked.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The result of the resolution.
    pub resolution: Resolution,
    /// The checkpoint that it holds at.
    pub checkpoint: Checkpoint,
}

impl Links {
    /// Their canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads them.
    ///
    /// # Errors
    /// When the bytes are no links, or too many.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode(bytes, MAX_PROOF_BYTES)
    }
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
        let (network, origin) = (genesis.network().to_owned(), genesis.height());
        Self { network, origin, skew_ms: DEFAULT_SKEW_MS, pin }
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
        let (pin, checkpoint) = self.trusted(proof.links, proof.certificate, now)?;
        let resolution = self.prove(did, options, proof.did, &checkpoint)?;
        self.pin = pin;
        Ok(Answer { resolution, checkpoint })
    }

    /// Follows the changes of the validators up to the epoch after the last of `links`, and knows no more than these then: for a
    /// client that is further behind than one answer bridges.
    ///
    /// # Errors
    /// Says which link is not to be believed; then the client is as it was.
    pub fn advance(&mut self, links: Links) -> Result<(), LightError> {
        self.pin = self.followed(links.0)?;
        Ok(())
    }

    fn followed(&self, links: Vec<Link>) -> Result<Pin, LightError> {
        let mut pin = self.pin.clone();
        links.into_iter().try_for_each(|link| pin.follow(link))?;
        Ok(pin)
    }

    /// Where the client would be after an answer at this certificate's checkpoint, if that is certified, new enough, and not
    /// overtaken.
    fn trusted(
        &self,
        links: Vec<Link>,
        certificate: CheckpointCertificate,
        now: UnixMillis,
    ) -> Result<(Pin, Checkpoint), LightError> {
        let mut pin = self.followed(links)?;
        let checkpoint = pin.check(certificate)?;
        let allowed_ms = pin.configuration.parameters.heartbeat_ms.saturating_add(self.skew_ms);
        if now.0.saturating_sub(checkpoint.time.0) > allowed_ms {
            return Err(LightError::Stale { time: checkpoint.time, now, allowed_ms });
        }
        pin.take(checkpoint.clone())?;
        Ok((pin, checkpoint))
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

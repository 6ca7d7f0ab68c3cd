//! Answers on other things than DIDs: what became of a transaction, and what the trust registry holds.

use consensus::{Checkpoint, CheckpointCertificate};
use genesis::encoding::{DecodeError, decode, encode, list};
use genesis::{Digest, UnixMillis};
use ledger::proof::{self, Fate, Window};
use ledger::{RegistryEntry, RegistryKey};
use serde::{Deserialize, Serialize};

use super::{LightClient, LightError, Link, MAX_PROOF_BYTES};

/// What a node sends with the fate of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransactionProof {
    /// The changes of the validators since the epoch that the client named, in their order.
    #[serde(deserialize_with = "list::<_, _, 317>")]
    pub links: Vec<Link>,
    /// That of the block after which the answer holds.
    pub certificate: CheckpointCertificate,
    /// What the state has of the transaction then.
    pub fate: proof::FateProof,
}

/// What a node sends with an entry of the trust registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistryProof {
    /// The changes of the validators since the epoch that the client named, in their order.
    #[serde(deserialize_with = "list::<_, _, 317>")]
    pub links: Vec<Link>,
    /// That of the block after which the answer holds.
    pub certificate: CheckpointCertificate,
    /// What the registry holds then.
    pub entry: proof::EntryProof,
}

/// What became of a transaction, checked.
#[derive(Clone, Debug)]
pub struct FateAnswer {
    /// Its receipt, or that there is none and never will be.
    pub fate: Fate,
    /// The checkpoint that it was shown at.
    pub checkpoint: Checkpoint,
}

/// What the trust registry holds, checked.
#[derive(Clone, Debug)]
pub struct EntryAnswer {
    /// The entry; none where there never was one.
    pub entry: Option<RegistryEntry>,
    /// The checkpoint that it holds at.
    pub checkpoint: Checkpoint,
}

impl TransactionProof {
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

impl RegistryProof {
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

impl LightClient {
    /// Checks a node's proof of what became of the transaction `id`. That it expired without a receipt is believed only where
    /// `window` says when it could be applied. `now` is the client's own clock.
    ///
    /// # Errors
    /// Says why the proof is not to be believed; then the client is as it was.
    pub fn receipt(
        &mut self,
        id: &Digest,
        window: Option<Window>,
        proof: TransactionProof,
        now: UnixMillis,
    ) -> Result<FateAnswer, LightError> {
        let (pin, checkpoint) = self.trusted(proof.links, proof.certificate, now)?;
        let fate = proof.fate.check(id, window, self.origin, &checkpoint.state_root)?;
        self.pin = pin;
        Ok(FateAnswer { fate, checkpoint })
    }

    /// Checks a node's proof of what the trust registry holds under `key`. `now` is the client's own clock.
    ///
    /// # Errors
    /// Says why the proof is not to be believed; then the client is as it was.
    pub fn registry(
        &mut self,
        key: &RegistryKey,
        proof: RegistryProof,
        now: UnixMillis,
    ) -> Result<EntryAnswer, LightError> {
        let (pin, checkpoint) = self.trusted(proof.links, proof.certificate, now)?;
        let entry = proof.entry.check(key, &checkpoint.state_root)?;
        self.pin = pin;
        Ok(EntryAnswer { entry, checkpoint })
    }
}

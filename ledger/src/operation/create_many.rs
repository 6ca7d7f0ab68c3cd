//! Create many: a registrar brings DIDs that others made, each with its owner's proof of possession.

use genesis::encoding::list;
use genesis::{Digest, Height, PublicKey, Signature};
use serde::{Deserialize, Serialize};

use super::create::{Inception, Salt};
use crate::{Commitments, DidId, Document};

/// What every proof starts with.
const POSSESSION_DOMAIN: &[u8; 21] = b"realdid possession v1";

/// The bytes that the owner of an item signs: domain, chain, registrar, id and expiry.
pub type PossessionBytes = [u8; 21 + 32 + 32 + 32 + 8];

/// Registers DIDs for their owners. Items fail alone; the receipt says of each what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateMany {
    /// Who brings them: accredited for it, and the endorser of each.
    pub registrar: DidId,
    /// The DIDs. At least one.
    #[serde(deserialize_with = "list::<_, _, 145>")]
    pub items: Vec<Item>,
}

/// The inception of a DID, and its owner's word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// The first document. Its threshold is 1, as one key speaks for it.
    pub document: Document,
    /// The commitment to the keys that recover the DID.
    pub recovery: Digest,
    /// The commitment to the keys that make the next change; none where the document's own do.
    pub next_keys: Option<Digest>,
    /// Makes the id unpredictable.
    pub salt: Salt,
    /// Which key of the document speaks for it: its place in the list, from 0.
    pub key: u16,
    /// That key's signature over [`possession_bytes`].
    pub proof: Signature,
}

/// Why an item is refused, whatever the state.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ItemError {
    /// The document is refused.
    #[error(transparent)]
    Document(#[from] crate::document::DocumentError),
    /// One key cannot speak for the document.
    #[error("the threshold is {threshold}, but one key speaks for an item: it must be 1")]
    Threshold {
        /// The document's.
        threshold: u16,
    },
    /// No key that could speak for it.
    #[error("key {key} is not the place of a capabilityInvocation key in the document")]
    Key {
        /// The place.
        key: u16,
    },
    /// A proof that the key did not make.
    #[error(
        "the proof by `{key}` is not valid for {did} by this registrar, on this chain, until this expiry"
    )]
    Proof {
        /// Who is said to have signed.
        key: PublicKey,
        /// The DID.
        did: DidId,
    },
}

/// What the owner of the DID `did` signs, so that `registrar` can register it on `chain` until `expires_at`.
pub fn possession_bytes(
    chain: &Digest,
    registrar: &DidId,
    did: &DidId,
    expires_at: Height,
) -> PossessionBytes {
    let mut bytes = [0; 21 + 32 + 32 + 32 + 8];
    bytes[..21].copy_from_slice(POSSESSION_DOMAIN);
    bytes[21..53].copy_from_slice(chain.as_bytes());
    bytes[53..85].copy_from_slice(registrar.as_bytes());
    bytes[85..117].copy_from_slice(did.as_bytes());
    bytes[117..].copy_from_slice(&expires_at.0.to_le_bytes());
    bytes
}

impl Item {
    /// The id of the DID.
    pub fn did(&self) -> DidId {
        let Self { document, recovery, next_keys, salt, key: _, proof: _ } = self;
        Inception { document, recovery, next_keys, salt }.did()
    }

    /// Checks it alone, as a node does in a transaction of `registrar` on `chain` that expires then: its form, its keys, and its owner's
    /// proof.
    ///
    /// # Errors
    /// Names what is wrong.
    pub fn check(
        &self,
        chain: &Digest,
        registrar: &DidId,
        expires_at: Height,
        parameters: &genesis::Parameters,
    ) -> Result<(), ItemError> {
        self.check_form(parameters)?;
        self.document.check_keys(&PublicKey::is_registrable)?;
        let (key, did) = (self.speaker()?, self.did());
        let sound = key.verify(&possession_bytes(chain, registrar, &did, expires_at), &self.proof);
        if sound { Ok(()) } else { Err(ItemError::Proof { key, did }) }
    }

    pub(crate) const fn commitments(&self) -> Commitments {
        Commitments { recovery: self.recovery, next_keys: self.next_keys }
    }

    /// The key that speaks for it.
    ///
    /// # Errors
    /// When it names none that can.
    pub(crate) fn speaker(&self) -> Result<PublicKey, ItemError> {
        let key = self.document.keys.get(usize::from(self.key));
        let key = key.filter(|key| key.purposes.contains(crate::Purposes::CAPABILITY_INVOCATION));
        key.and_then(|key| key.public.signer()).ok_or(ItemError::Key { key: self.key })
    }

    /// Checks its form, without a signature or a key.
    pub(crate) fn check_form(&self, parameters: &genesis::Parameters) -> Result<(), ItemError> {
        self.document.check_form(parameters)?;
        if self.document.threshold != 1 {
            return Err(ItemError::Threshold { threshold: self.document.threshold });
        }
        self.speaker().map(drop)
    }
}

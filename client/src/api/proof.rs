//! Proofs as the API carries them; [`crate::light`] checks them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use genesis::{Epoch, Height};
use ledger::proof::Window;
use ledger::registry::Role;
use ledger::{Did, RegistryKey};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Receipt, to_base64};
use crate::light::ResolutionProof;

/// The type of the proofs that stand in the metadata of resolution.
pub const PROOF_TYPE: &str = "RealDidResolutionProof2026";

/// A result of resolution with what shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proof {
    /// The block after which it holds.
    pub height: Height,
    /// The node's word for what the proof shows.
    pub resolution: Value,
    /// The canonical bytes of [`ResolutionProof`], in base64.
    pub proof: String,
}

impl Proof {
    /// What a node answers.
    pub fn new(height: Height, resolution: Value, proof: &ResolutionProof) -> Self {
        Self { height, resolution, proof: to_base64(&proof.encode()) }
    }
}

/// A proof in the metadata of resolution: one of the set `proof`, for callers who ask for it (`docs/resolving.md`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownProof {
    /// [`PROOF_TYPE`].
    #[serde(rename = "type")]
    pub kind: String,
    /// The block after which it holds.
    pub height: Height,
    /// It is for clients that know the validators of this epoch.
    pub since_epoch: Epoch,
    /// The canonical bytes of [`ResolutionProof`] as multibase text: `u` and base64url without padding.
    pub proof_value: String,
}

impl ShownProof {
    /// That of a proof for clients that know the validators of the epoch `since`.
    pub fn new(since: Epoch, proof: &ResolutionProof) -> Self {
        Self {
            kind: PROOF_TYPE.to_owned(),
            height: proof.certificate.checkpoint.height,
            since_epoch: since,
            proof_value: format!("u{}", URL_SAFE_NO_PAD.encode(proof.encode())),
        }
    }

    /// The one that a result of resolution or dereferencing brings, if any.
    pub fn of(result: &Value) -> Option<Self> {
        let places =
            ["didDocumentMetadata", "didResolutionMetadata", "contentMetadata", "dereferencingMetadata"];
        let proofs = places.into_iter().filter_map(|place| result.get(place)?.get("proof")?.as_array());
        let ours = |proof: &&Value| proof.get("type").and_then(Value::as_str) == Some(PROOF_TYPE);
        let proof = proofs.flatten().find(ours)?;
        serde_json::from_value(proof.clone()).ok()
    }

    /// The bytes for [`ResolutionProof::decode`].
    ///
    /// # Errors
    /// When the text is not multibase of the kind above.
    pub fn bytes(&self) -> Result<Vec<u8>, base64::DecodeError> {
        let other_base = || base64::DecodeError::InvalidByte(0, self.proof_value.bytes().next().unwrap_or(0));
        URL_SAFE_NO_PAD.decode(self.proof_value.strip_prefix('u').ok_or_else(other_base)?)
    }
}

/// The blocks that could apply a transaction, as [`super::method::TX_PROVE`] takes it: see [`Window`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProofWindow {
    /// A height of the chain before the transaction was signed, that a proof has shown.
    pub after: Height,
    /// The last height at which it can be applied.
    pub expires_at: Height,
}

impl From<ProofWindow> for Window {
    fn from(ProofWindow { after, expires_at }: ProofWindow) -> Self {
        Self { after, expires_at }
    }
}

impl From<Window> for ProofWindow {
    fn from(Window { after, expires_at }: Window) -> Self {
        Self { after, expires_at }
    }
}

/// What became of a transaction with what shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TransactionProof {
    /// The block after which it holds.
    pub height: Height,
    /// The node's word for what the proof shows: none where the transaction expired without a receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
    /// The canonical bytes of [`crate::light::TransactionProof`], in base64.
    pub proof: String,
}

/// Which entry of the trust registry, as [`super::method::REGISTRY_PROVE`] takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum RegistryQuestion {
    /// An accreditation.
    Accreditation {
        /// Whose.
        did: Did,
        /// As what: `registrar` or `issuer`.
        role: Role,
    },
    /// A schema.
    Schema {
        /// Whose.
        issuer: Did,
        /// Which of the issuer's.
        number: u16,
    },
    /// A status list.
    StatusList {
        /// Whose.
        issuer: Did,
        /// Which of the issuer's.
        number: u16,
    },
}

impl RegistryQuestion {
    /// Whom it is about.
    pub const fn did(&self) -> &Did {
        match self {
            Self::Accreditation { did, .. } => did,
            Self::Schema { issuer, .. } | Self::StatusList { issuer, .. } => issuer,
        }
    }

    /// What the ledger calls the entry.
    pub const fn key(&self) -> RegistryKey {
        match self {
            Self::Accreditation { did, role } => RegistryKey::Accreditation(did.id(), *role),
            Self::Schema { issuer, number } => RegistryKey::Schema(issuer.id(), *number),
            Self::StatusList { issuer, number } => RegistryKey::StatusList(issuer.id(), *number),
        }
    }
}

/// What the trust registry holds with what shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistryProof {
    /// The block after which it holds.
    pub height: Height,
    /// The node's word for what the proof shows: whether there is such an entry. What it says is in the proof.
    pub present: bool,
    /// The canonical bytes of [`crate::light::RegistryProof`], in base64.
    pub proof: String,
}

/// Changes of the validators, for a light client that is many of them behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Links {
    /// The canonical bytes of [`crate::light::Links`], in base64.
    pub links: String,
    /// Whether there are more: ask again from the epoch on to which these lead.
    pub more_links: bool,
}

//! The trust registry: who may register DIDs for others, who may issue credentials, and what issuers publish for verifiers.
//! Never a credential.
//!
//! Accreditations are the validators' ([`crate::governance`] decides, they act at once); schemas and status lists are the
//! accredited issuers'. Rows are never removed: a withdrawn accreditation stays, as what it did stays.
//!
//! Invariant: an entry lies under [`RegistryEntry::key`]; a schema's and a status list's versions count from 1.

pub mod accreditation;

use genesis::Digest;
use serde::{Deserialize, Serialize};

pub use self::accreditation::{Accreditation, Grant, GrantError, Role, Status};
use crate::uri::Uri;
use crate::{DidId, Moment, Version};

/// What an entry is called. The order of the variants is part of the encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegistryKey {
    /// An accreditation of this DID.
    Accreditation(DidId, Role),
    /// A schema of this issuer, by its number.
    Schema(DidId, u16),
    /// A status list of this issuer, by its number.
    StatusList(DidId, u16),
}

/// What the registry holds. The order of the variants is part of the encoding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegistryEntry {
    /// Who may do what.
    Accreditation(Accreditation),
    /// What credentials look like.
    Schema(Schema),
    /// Which credentials are void.
    StatusList(StatusList),
}

/// A description of credentials, by its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// Whose.
    pub issuer: DidId,
    /// Which of the issuer's.
    pub number: u16,
    /// How often it was published.
    pub version: Version,
    /// The digest of what is served.
    pub digest: Digest,
    /// Where it is served.
    pub uri: Uri,
    /// When this version was published.
    pub at: Moment,
}

/// A list of credentials' states, by its digest (W3C Bitstring Status List 1.0).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusList {
    /// Whose.
    pub issuer: DidId,
    /// Which of the issuer's.
    pub number: u16,
    /// How often it was published.
    pub version: Version,
    /// What its states are; the same at each version.
    pub purpose: StatusPurpose,
    /// The digest of what is served.
    pub digest: Digest,
    /// Where it is served.
    pub uri: Uri,
    /// When this version was published.
    pub at: Moment,
}

/// What a status list is for, as Bitstring Status List 1.0 names it. The order of the variants is part of the encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatusPurpose {
    /// Void for good.
    Revocation,
    /// Void for the time being.
    Suspension,
    /// There is a newer one.
    Refresh,
    /// The issuer's own codes.
    Message,
}

impl StatusPurpose {
    /// Whether it takes credentials back: what an issuer may do also while it may issue none.
    pub const fn takes_back(self) -> bool {
        matches!(self, Self::Revocation | Self::Suspension)
    }
}

impl RegistryEntry {
    /// What it is called.
    pub const fn key(&self) -> RegistryKey {
        match self {
            Self::Accreditation(entry) => RegistryKey::Accreditation(entry.did, entry.role),
            Self::Schema(entry) => RegistryKey::Schema(entry.issuer, entry.number),
            Self::StatusList(entry) => RegistryKey::StatusList(entry.issuer, entry.number),
        }
    }
}

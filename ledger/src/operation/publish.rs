//! Schemas and status lists: what an accredited issuer publishes for verifiers.

use genesis::Digest;
use serde::{Deserialize, Serialize};

use crate::registry::StatusPurpose;
use crate::uri::Uri;
use crate::{DidId, Version};

/// Publishes a version of a schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishSchema {
    /// Whose.
    pub issuer: DidId,
    /// Which of the issuer's.
    pub number: u16,
    /// The version that this makes: one more than the last; 1 for a new one.
    pub version: Version,
    /// The digest of what is served.
    pub digest: Digest,
    /// Where it is served.
    pub uri: Uri,
}

/// Publishes a version of a status list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishStatusList {
    /// Whose.
    pub issuer: DidId,
    /// Which of the issuer's.
    pub number: u16,
    /// The version that this makes: one more than the last; 1 for a new one.
    pub version: Version,
    /// What its states are; as at the versions before.
    pub purpose: StatusPurpose,
    /// The digest of what is served.
    pub digest: Digest,
    /// Where it is served.
    pub uri: Uri,
}

//! What an accredited subject serves, and where.

use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

use crate::uri::Uri;

/// A service of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// What it is called: the fragment `service-<n>` of its DID URL.
    pub number: NonZeroU16,
    /// What it does.
    pub kind: ServiceKind,
    /// Where.
    pub endpoint: Uri,
}

/// What a service does: types of the W3C's DID extensions registry. The order of the variants is part of the encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServiceKind {
    /// Domains of the subject.
    LinkedDomains,
    /// Credentials that the subject shows to all.
    LinkedVerifiablePresentation,
    /// Messages to the subject.
    DIDCommMessaging,
    /// Credentials by OpenID for Verifiable Credential Issuance.
    OID4VCI,
    /// Presentations by OpenID for Verifiable Presentations.
    OID4VP,
}

impl ServiceKind {
    /// Its name, in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LinkedDomains => "LinkedDomains",
            Self::LinkedVerifiablePresentation => "LinkedVerifiablePresentation",
            Self::DIDCommMessaging => "DIDCommMessaging",
            Self::OID4VCI => "OID4VCI",
            Self::OID4VP => "OID4VP",
        }
    }
}

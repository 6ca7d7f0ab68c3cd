//! Endorse, and withdraw an endorsement: a registrar's word on who stands behind a DID.
//!
//! Both replace the current header in place and make no version, so that neither makes the owner's change fail.

use serde::{Deserialize, Serialize};

use crate::DidId;

/// A registrar vouches for a DID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endorse {
    /// Which DID.
    pub did: DidId,
    /// Who vouches.
    pub registrar: DidId,
}

/// The registrar that vouched for a DID does so no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WithdrawEndorsement {
    /// Which DID.
    pub did: DidId,
    /// Who vouched.
    pub registrar: DidId,
    /// Why.
    pub reason: Reason,
}

/// Why an endorsement was withdrawn. The order of the variants is part of the encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The subject is not who was vouched for.
    Fraud,
    /// The subject has died.
    Death,
    /// A court said so.
    CourtOrder,
    /// Another reason.
    Other,
}

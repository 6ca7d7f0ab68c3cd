//! The trust registry as the API shows it.

use genesis::{Height, UnixMillis};
use ledger::Did;
use ledger::registry::{Role, Status};
use serde::{Deserialize, Serialize};

/// What a DID is accredited as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Issuer {
    /// Which DID.
    pub did: Did,
    /// Its accreditations; none where there never was one.
    pub accreditations: Vec<Accreditation>,
}

/// An accreditation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Accreditation {
    /// As what: `registrar` or `issuer`.
    pub role: Role,
    /// For what; none stands for no limit.
    pub scope: Vec<String>,
    /// The first time at which it holds.
    pub valid_from: UnixMillis,
    /// The first time at which it holds no more.
    pub valid_until: UnixMillis,
    /// How many DIDs a registrar may register altogether.
    pub quota: u64,
    /// How many it has registered.
    pub registrations: u64,
    /// `active`, `suspended` or `withdrawn`.
    pub status: Status,
    /// The height of the block that last decided on it.
    pub decided: Height,
}

/// Whether a DID may do something: the Trust Registry Query Protocol's question (ToIP TRQP 2.0).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Authorisation {
    /// Which DID.
    pub did: Did,
    /// Whether it may.
    pub authorised: bool,
    /// Why not: a receipt code's name, or `out_of_scope`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The time that was asked about.
    pub time: UnixMillis,
    /// The node's height: the answer is its state there.
    pub height: Height,
}

impl Accreditation {
    /// The ledger's accreditation as the API shows it.
    pub fn new(accreditation: ledger::registry::Accreditation) -> Self {
        let ledger::registry::Accreditation {
            role,
            scope,
            valid_from,
            valid_until,
            quota,
            registrations,
            status,
            at,
            ..
        } = accreditation;
        Self { role, scope, valid_from, valid_until, quota, registrations, status, decided: at.height }
    }
}

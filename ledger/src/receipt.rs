//! What became of a transaction.
//!
//! Invariant: an id has at most one receipt, the first; it never changes. Only transactions that were ordered within their
//! window (not past their expiry, and that not too far ahead) have one. Numbers and names of codes are part of
//! the protocol and the API: they are never reused.

use std::fmt;

use genesis::encoding::encode;
use genesis::{Digest, Domain, Height};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{DidId, Version};

/// What became of a transaction in the first block that ordered it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The transaction.
    pub id: Digest,
    /// The block that ordered it.
    pub height: Height,
    /// The last height at which it could be applied: up to there the id must be remembered.
    pub expires_at: Height,
    /// Its place among all transactions of that block, also those without a receipt, from 0.
    pub index: u32,
    /// Applied, or why not.
    pub code: Code,
    /// The DID that the operation names; none where it is about the validators themselves.
    pub did: Option<DidId>,
    /// The version that it made; none where it was not applied, or is about no DID.
    pub version: Option<Version>,
    /// What became of each item, in the order of a transaction that has several; else empty.
    pub items: Vec<ItemReceipt>,
}

/// What became of one of several DIDs in a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemReceipt {
    /// Which.
    pub did: DidId,
    /// Applied, or why not.
    pub code: Code,
}

/// Whether a transaction was applied, or why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
pub enum Code {
    /// It took effect.
    Applied = 0,
    /// It can no longer be ordered in time. In refusals; there is no receipt of it.
    Expired = 1,
    /// Its expiry is further ahead than `max_transaction_lifetime` allows. In refusals; there is no receipt of it.
    LifetimeTooLong = 2,
    /// The DID to be created exists, active or not.
    DidExists = 3,
    /// The DID to be changed does not exist.
    NoSuchDid = 4,
    /// The DID to be changed is deactivated, for good.
    Deactivated = 5,
    /// The DID's current version is not the one that the operation replaces.
    VersionMismatch = 6,
    /// Too few of the keys that the operation needs are among its signers.
    Unauthorised = 7,
    /// The signer of a proposal or vote is not, alone, the governance key of a current validator.
    NotAValidator = 8,
    /// The proposal voted on is not open: unknown, decided or expired.
    NoSuchProposal = 9,
    /// The proposer has as many proposals open as it may, or all together have.
    TooManyProposals = 10,
    /// The proposed change does not fit what the validators aim at, or changes nothing.
    InvalidChange = 11,
    /// The vote completed a quorum, but the change no longer fits: the proposal is closed without effect.
    ChangeNoLongerFits = 12,
    /// The keys that the record commits to for its next change are not the ones revealed.
    NotRevealed = 13,
    /// The keys revealed are not those that the record commits to for its recovery.
    OtherRecovery = 14,
    /// A controller in the document does not exist, is deactivated, has controllers itself, or is the DID itself.
    InvalidController = 15,
    /// The DID has as many versions as an update may make (`max_versions`).
    TooManyVersions = 16,
    /// Who acts is not accredited for it, or no more.
    NotAccredited = 17,
    /// The accreditation of who acts is suspended.
    AccreditationSuspended = 18,
    /// The accreditation of who acts does not hold yet, or no longer.
    AccreditationNotInForce = 19,
    /// The registrar has registered as many DIDs as it may.
    QuotaExceeded = 20,
    /// On this network a DID is registered with a registrar's endorsement (`registration`).
    EndorsementRequired = 21,
    /// The document has services, but the registry does not accredit the DID.
    ServicesNotAllowed = 22,
    /// The author of the batch registers more DIDs in one block than it may (`max_author_registrations`).
    TooManyRegistrations = 23,
    /// A registrar vouches for the DID already.
    AlreadyEndorsed = 24,
    /// This registrar does not vouch for the DID.
    NotEndorsed = 25,
    /// The status list has another purpose since its first version.
    OtherPurpose = 26,
}

impl Receipt {
    /// Its value in the tree of its block's receipts.
    pub fn digest(&self) -> Digest {
        Digest::of(Domain::Receipt, &encode(self))
    }
}

impl Code {
    /// All of them.
    pub const ALL: [Self; 27] = [
        Self::Applied,
        Self::Expired,
        Self::LifetimeTooLong,
        Self::DidExists,
        Self::NoSuchDid,
        Self::Deactivated,
        Self::VersionMismatch,
        Self::Unauthorised,
        Self::NotAValidator,
        Self::NoSuchProposal,
        Self::TooManyProposals,
        Self::InvalidChange,
        Self::ChangeNoLongerFits,
        Self::NotRevealed,
        Self::OtherRecovery,
        Self::InvalidController,
        Self::TooManyVersions,
        Self::NotAccredited,
        Self::AccreditationSuspended,
        Self::AccreditationNotInForce,
        Self::QuotaExceeded,
        Self::EndorsementRequired,
        Self::ServicesNotAllowed,
        Self::TooManyRegistrations,
        Self::AlreadyEndorsed,
        Self::NotEndorsed,
        Self::OtherPurpose,
    ];

    /// Its number, in bytes.
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// Its name, in JSON, logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Expired => "expired",
            Self::LifetimeTooLong => "lifetime_too_long",
            Self::DidExists => "did_exists",
            Self::NoSuchDid => "no_such_did",
            Self::Deactivated => "deactivated",
            Self::VersionMismatch => "version_mismatch",
            Self::Unauthorised => "unauthorised",
            Self::NotAValidator => "not_a_validator",
            Self::NoSuchProposal => "no_such_proposal",
            Self::TooManyProposals => "too_many_proposals",
            Self::InvalidChange => "invalid_change",
            Self::ChangeNoLongerFits => "change_no_longer_fits",
            Self::NotRevealed => "not_revealed",
            Self::OtherRecovery => "other_recovery",
            Self::InvalidController => "invalid_controller",
            Self::TooManyVersions => "too_many_versions",
            Self::NotAccredited => "not_accredited",
            Self::AccreditationSuspended => "accreditation_suspended",
            Self::AccreditationNotInForce => "accreditation_not_in_force",
            Self::QuotaExceeded => "quota_exceeded",
            Self::EndorsementRequired => "endorsement_required",
            Self::ServicesNotAllowed => "services_not_allowed",
            Self::TooManyRegistrations => "too_many_registrations",
            Self::AlreadyEndorsed => "already_endorsed",
            Self::NotEndorsed => "not_endorsed",
            Self::OtherPurpose => "other_purpose",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(self.name())
        } else {
            serializer.serialize_u16(self.number())
        }
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (found, text) = if deserializer.is_human_readable() {
            let name = String::deserialize(deserializer)?;
            (Self::ALL.into_iter().find(|code| code.name() == name), name)
        } else {
            let number = u16::deserialize(deserializer)?;
            (Self::ALL.into_iter().find(|code| code.number() == number), number.to_string())
        };
        found.ok_or_else(|| {
            let text: String = text.chars().take(80).collect();
            D::Error::custom(format!("`{text}` is not a receipt's code"))
        })
    }
}

#[cfg(test)]
mod tests {
    use genesis::encoding;

    use super::*;

    #[test]
    fn the_numbers_and_names_of_codes_are_frozen() {
        let table: Vec<(u16, &str)> =
            Code::ALL.into_iter().map(|code| (code.number(), code.name())).collect();
        assert_eq!(
            table,
            [
                (0, "applied"),
                (1, "expired"),
                (2, "lifetime_too_long"),
                (3, "did_exists"),
                (4, "no_such_did"),
                (5, "deactivated"),
                (6, "version_mismatch"),
                (7, "unauthorised"),
                (8, "not_a_validator"),
                (9, "no_such_proposal"),
                (10, "too_many_proposals"),
                (11, "invalid_change"),
                (12, "change_no_longer_fits"),
                (13, "not_revealed"),
                (14, "other_recovery"),
                (15, "invalid_controller"),
                (16, "too_many_versions"),
                (17, "not_accredited"),
                (18, "accreditation_suspended"),
                (19, "accreditation_not_in_force"),
                (20, "quota_exceeded"),
                (21, "endorsement_required"),
                (22, "services_not_allowed"),
                (23, "too_many_registrations"),
                (24, "already_endorsed"),
                (25, "not_endorsed"),
                (26, "other_purpose"),
            ]
        );
    }

    #[test]
    fn codes_survive_bytes_and_json_and_unknown_ones_are_refused() {
        for code in Code::ALL {
            assert_eq!(encoding::encode(&code), code.number().to_le_bytes());
            assert_eq!(encoding::decode::<Code>(&encoding::encode(&code), 2).unwrap(), code);
            assert_eq!(serde_json::from_str::<Code>(&format!("\"{code}\"")).unwrap(), code);
        }
        assert!(encoding::decode::<Code>(&[99, 0], 2).is_err());
        assert!(serde_json::from_str::<Code>("\"perhaps\"").unwrap_err().to_string().contains("`perhaps`"));
    }
}

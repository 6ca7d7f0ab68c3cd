//! What a transaction asks for, and the rule of each.
//!
//! - [`create`]: registers a DID; authorised by the inception's own keys
//! - [`update`]: replaces the document; authorised by the current one's keys
//! - [`deactivate`]: ends the DID for good; authorised likewise
//! - [`propose`], [`vote`]: what the validators decide about themselves; authorised by their governance keys, by the
//!   rules in [`crate::governance`]
//!
//! The rule for a DID is a function of the signers, the DID's current record and the block's moment; nothing else
//! counts. Signatures are checked before (by [`crate::transaction`]), so a signer here has signed.
//!
//! Invariant (compare-and-set): a change takes effect only on the version that it names, so of two changes to one
//! version at most one is applied, whatever the order.

pub mod create;
pub mod deactivate;
pub mod propose;
pub mod update;
pub mod vote;

pub use create::{Create, Salt};
pub use deactivate::Deactivate;
use genesis::PublicKey;
pub use propose::{Change, ChangeError, Propose, sign_ready};
use serde::{Deserialize, Serialize};
pub use update::Update;
pub use vote::GovernanceVote;

use crate::{Code, DidId, Document, Record, Version};

/// What a transaction asks for. The order of the variants is part of the encoding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Registers a DID.
    Create(Create),
    /// Replaces a DID's document.
    Update(Update),
    /// Ends a DID.
    Deactivate(Deactivate),
    /// Opens a proposal.
    Propose(Box<Propose>),
    /// Votes on a proposal.
    Vote(GovernanceVote),
}

impl Operation {
    /// The document that it brings.
    pub const fn document(&self) -> Option<&Document> {
        match self {
            Self::Create(create) => Some(&create.document),
            Self::Update(update) => Some(&update.document),
            Self::Deactivate(_) | Self::Propose(_) | Self::Vote(_) => None,
        }
    }

    /// The DID that it is about, if it is about one. For create this hashes the inception.
    pub fn did(&self) -> Option<DidId> {
        match self {
            Self::Create(create) => Some(create.did()),
            Self::Update(update) => Some(update.did),
            Self::Deactivate(deactivate) => Some(deactivate.did),
            Self::Propose(_) | Self::Vote(_) => None,
        }
    }
}

/// The record that a change may build on: of an active DID, at the version that it replaces, with one of the
/// signers in control. In this order, so that the code says what the sender must mend first.
fn replaceable<'a>(
    current: Option<&'a Record>,
    replaces: Version,
    signers: &[PublicKey],
) -> Result<&'a Record, Code> {
    let record = current.ok_or(Code::NoSuchDid)?;
    let document = record.document.as_ref().ok_or(Code::Deactivated)?;
    if record.header.version != replaces {
        return Err(Code::VersionMismatch);
    }
    if !document.is_controlled_by(signers) {
        return Err(Code::Unauthorised);
    }
    Ok(record)
}

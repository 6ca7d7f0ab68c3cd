//! What a transaction asks for, and the rule of each.
//!
//! - [`create`]: registers a DID; authorised by the inception's own keys
//! - [`update`]: replaces the document; authorised by the current one's keys or, with pre-rotation, the keys that the
//!   record commits to
//! - [`recover`]: replaces the document and both commitments; authorised by the keys committed to for that
//! - [`deactivate`]: ends the DID for good; authorised like either
//! - [`create_many`]: registers DIDs that others made; authorised by a registrar, and each by its owner
//! - [`endorse`]: a registrar's word on a DID, and its end; [`publish`]: an issuer's schemas and status lists
//! - [`propose`], [`vote`]: what the validators decide about themselves; authorised by their governance keys, by the
//!   rules in [`crate::governance`]
//!
//! The rule for a DID is a function of the signers, its current record, its controllers' and the block's moment and
//! parameters; nothing else counts. Signatures are checked before (by [`crate::transaction`]), so a signer here has signed.
//!
//! Invariant (compare-and-set): a change takes effect only on the version that it names, so of two changes to one
//! version at most one is applied, whatever the order. Those of the recovery keys name none, so that a thief of the
//! others cannot outrun them; a recovery commitment that was used is replaced, so each is made once.

pub mod create;
pub mod create_many;
pub mod deactivate;
pub mod endorse;
pub mod propose;
pub mod publish;
pub mod recover;
pub mod update;
pub mod vote;

use std::collections::BTreeMap;

pub use create::{Create, Salt};
pub use create_many::{CreateMany, Item, ItemError, possession_bytes};
pub use deactivate::Deactivate;
pub use endorse::{Endorse, Reason, WithdrawEndorsement};
use genesis::{Parameters, PublicKey};
pub use propose::{Change, ChangeError, Propose, sign_ready};
pub use publish::{PublishSchema, PublishStatusList};
pub use recover::Recover;
use serde::{Deserialize, Serialize};
pub use update::Update;
pub use vote::GovernanceVote;

use crate::{Code, DidId, Document, KeySet, Moment, Record, Version};

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
    /// Gives a DID back to its owner.
    Recover(Recover),
    /// Registers DIDs for their owners.
    CreateMany(CreateMany),
    /// Vouches for a DID.
    Endorse(Endorse),
    /// Does so no more.
    WithdrawEndorsement(WithdrawEndorsement),
    /// Publishes a schema.
    PublishSchema(PublishSchema),
    /// Publishes a status list.
    PublishStatusList(PublishStatusList),
}

impl Operation {
    /// What it is called, in figures and on pages: as its encoding in JSON names it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Update(_) => "update",
            Self::Deactivate(_) => "deactivate",
            Self::Propose(_) => "propose",
            Self::Vote(_) => "vote",
            Self::Recover(_) => "recover",
            Self::CreateMany(_) => "create_many",
            Self::Endorse(_) => "endorse",
            Self::WithdrawEndorsement(_) => "withdraw_endorsement",
            Self::PublishSchema(_) => "publish_schema",
            Self::PublishStatusList(_) => "publish_status_list",
        }
    }

    /// The document that it brings, where it brings one.
    pub const fn document(&self) -> Option<&Document> {
        match self {
            Self::Create(create) => Some(&create.document),
            Self::Update(update) => Some(&update.document),
            Self::Recover(recover) => Some(&recover.document),
            _ => None,
        }
    }

    /// The keys that it reveals.
    pub const fn revealed(&self) -> Option<&KeySet> {
        match self {
            Self::Recover(recover) => Some(&recover.revealed),
            Self::Update(update) => update.revealed.as_ref(),
            Self::Deactivate(deactivate) => deactivate.revealed.as_ref(),
            _ => None,
        }
    }

    /// The DID that it is about, if it is about one. For create this hashes the inception.
    pub fn did(&self) -> Option<DidId> {
        match self {
            Self::Create(create) => Some(create.did()),
            Self::Update(update) => Some(update.did),
            Self::Recover(recover) => Some(recover.did),
            Self::Deactivate(deactivate) => Some(deactivate.did),
            Self::Endorse(endorse) => Some(endorse.did),
            Self::WithdrawEndorsement(withdraw) => Some(withdraw.did),
            Self::PublishSchema(publish) => Some(publish.issuer),
            Self::PublishStatusList(publish) => Some(publish.issuer),
            Self::CreateMany(_) | Self::Propose(_) | Self::Vote(_) => None,
        }
    }
}

/// What a rule sees beside the operation and its DID's current record.
pub(crate) struct Scene<'a> {
    /// The block's place and time.
    pub(crate) now: Moment,
    /// Who signed, each once.
    pub(crate) signers: &'a [PublicKey],
    /// The parameters in charge.
    pub(crate) parameters: &'a Parameters,
    /// The newest records of the controllers in the current document and in the one that the operation brings.
    pub(crate) others: BTreeMap<DidId, Record>,
    /// Whether the registry accredits the DID. Known where the operation brings services, or registers without a registrar.
    pub(crate) is_accredited: bool,
}

impl Scene<'_> {
    /// Whether the signers may change `document`: by its own keys, or by those of one of its controllers. A controller's
    /// controllers count for nothing: the chain has one link.
    fn controls(&self, document: &Document) -> bool {
        let controllers =
            document.controllers.iter().filter_map(|did| self.others.get(did)?.document.as_ref());
        document.is_controlled_by(self.signers)
            || controllers.into_iter().any(|document| document.is_controlled_by(self.signers))
    }

    /// Whether `did` may have this document: each controller can be one, and services only where it is accredited.
    pub(crate) fn check_document(&self, did: DidId, document: &Document) -> Result<(), Code> {
        let can = |controller: &DidId| {
            let theirs = self.others.get(controller).and_then(|record| record.document.as_ref());
            *controller != did && theirs.is_some_and(|document| document.controllers.is_empty())
        };
        if !document.controllers.iter().all(can) {
            return Err(Code::InvalidController);
        }
        if document.services.is_empty() || self.is_accredited {
            Ok(())
        } else {
            Err(Code::ServicesNotAllowed)
        }
    }
}

/// The record of an active DID, and its document.
fn active(current: Option<&Record>) -> Result<(&Record, &Document), Code> {
    let record = current.ok_or(Code::NoSuchDid)?;
    Ok((record, record.document.as_ref().ok_or(Code::Deactivated)?))
}

/// The record that a change may build on: of an active DID, at the version that it replaces, with the signers in
/// control. In this order, so that the code says what the sender must mend first.
fn replaceable<'a>(
    current: Option<&'a Record>,
    replaces: Option<Version>,
    revealed: Option<&KeySet>,
    scene: &Scene<'_>,
) -> Result<&'a Record, Code> {
    let (record, document) = active(current)?;
    if replaces != Some(record.header.version) {
        return Err(Code::VersionMismatch);
    }
    let in_control = match (record.header.next_keys, revealed) {
        (None, None) => scene.controls(document),
        (Some(committed), Some(revealed)) if revealed.commitment() == committed => {
            revealed.is_satisfied_by(scene.signers)
        }
        (None, Some(_)) | (Some(_), _) => return Err(Code::NotRevealed),
    };
    if in_control { Ok(record) } else { Err(Code::Unauthorised) }
}

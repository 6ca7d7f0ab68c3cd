//! The JSON-RPC surface: methods, the shapes of their answers, and error codes. The server makes these types, the
//! client reads them; what they serialise to is the public API.
//!
//! | method | parameters | answer |
//! | --- | --- | --- |
//! | `tx_submit` | transaction (base64 of its canonical bytes) | [`Submitted`] |
//! | `tx_wait` | id, time-out in milliseconds | [`Receipt`], or [`code::TIMED_OUT`] with [`TimedOut`], or [`code::EXPIRED`] with [`Expired`] |
//! | `tx_submitBatch` | a list of transactions (base64) | a list of [`Outcome`]s: of [`Submitted`], or what `tx_submit` refuses it with |
//! | `tx_waitBatch` | a list of ids, time-out in milliseconds | [`Waited`], as soon as one of them has ended |
//! | `tx_status` | id | [`Fate`] |
//! | `tx_prove` | id, [`ProofWindow`] or none, the epoch that the caller knows the validators of, or none | [`TransactionProof`] |
//! | `did_resolve` | DID, [`ResolveOptions`] or none | a DID Resolution result |
//! | `did_prove` | DID, [`ResolveOptions`] or none, the epoch that the caller knows the validators of, or none | [`Proof`] |
//! | `chain_links` | the epoch that the caller knows the validators of | [`Links`] |
//! | `chain_genesis` | | the genesis document, as TOML |
//! | `did_history` | DID, version to begin with or none | [`History`] |
//! | `chain_status` | | [`ChainStatus`] |
//! | `chain_block` | height | [`Block`] |
//! | `chain_checkpoint` | height | [`Checkpoint`]: of that height, or the first one after it |
//! | `chain_validators` | epoch | [`Validators`] |
//! | `chain_participation` | first and last height | [`Participation`]: of the first of them, with where to go on |
//! | `chain_evidence` | | a list of [`Evidence`] |
//! | `net_peers` | | a list of [`Peer`] |
//! | `gov_proposals` | | [`Governance`] |
//! | `registry_issuer` | DID | [`Issuer`] |
//! | `registry_isAuthorised` | DID, role, scope or none, time in milliseconds or none | [`Authorisation`] |
//! | `registry_prove` | [`RegistryQuestion`], the epoch that the caller knows the validators of, or none | [`RegistryProof`] |
//!
//! Beside JSON-RPC, on the same port: `POST` to [`BATCH_PATH`] with a list of transactions as bytes ([`encode_batch`]), answered
//! with the JSON of `tx_submitBatch`.
//!
//! Invariant: field names, method names and codes are never reused for something else. Heights, views, versions and
//! times are JSON numbers; digests are hex, keys Multikey, DIDs their text.

mod did;
mod governance;
mod participation;
mod proof;
mod registry;
mod status;
mod submission;

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use genesis::{Digest, Epoch, Height, PublicKey, Signature, UnixMillis, View};
use ledger::{Did, Version};
use serde::{Deserialize, Serialize};

pub use self::did::{History, HistoryEntry, ResolveOptions};
pub use self::governance::{Configuration, Governance, Proposal, Validator};
pub use self::participation::{Participation, Share};
pub use self::proof::{
    Links, PROOF_TYPE, Proof, ProofWindow, RegistryProof, RegistryQuestion, ShownProof, TransactionProof,
};
pub use self::registry::{Accreditation, Authorisation, Issuer};
pub use self::status::{ChainStatus, Peer, Predecessor};
pub use self::submission::{
    BATCH_PATH, BATCH_TYPE, BatchBytesError, Outcome, Waited, decode_batch, encode_batch,
};

/// The methods' names.
pub mod method {
    /// Hands in a transaction; answers at once with its id.
    pub const TX_SUBMIT: &str = "tx_submit";
    /// Waits for a transaction's receipt.
    pub const TX_WAIT: &str = "tx_wait";
    /// Hands in many transactions; answers as soon as they are checked.
    pub const TX_SUBMIT_BATCH: &str = "tx_submitBatch";
    /// Waits until one of many transactions has ended.
    pub const TX_WAIT_BATCH: &str = "tx_waitBatch";
    /// What is known of a transaction now.
    pub const TX_STATUS: &str = "tx_status";
    /// What became of a transaction, with a proof.
    pub const TX_PROVE: &str = "tx_prove";
    /// Resolves a DID.
    pub const DID_RESOLVE: &str = "did_resolve";
    /// Resolves a DID, with a proof.
    pub const DID_PROVE: &str = "did_prove";
    /// The changes of the validators since an epoch.
    pub const CHAIN_LINKS: &str = "chain_links";
    /// The network's genesis document.
    pub const CHAIN_GENESIS: &str = "chain_genesis";
    /// The versions of a DID.
    pub const DID_HISTORY: &str = "did_history";
    /// Where the node stands.
    pub const CHAIN_STATUS: &str = "chain_status";
    /// A final block.
    pub const CHAIN_BLOCK: &str = "chain_block";
    /// The newest certificate of what a block's execution led to.
    pub const CHAIN_CHECKPOINT: &str = "chain_checkpoint";
    /// The validators of an epoch.
    pub const CHAIN_VALIDATORS: &str = "chain_validators";
    /// What each validator did in a range of blocks.
    pub const CHAIN_PARTICIPATION: &str = "chain_participation";
    /// Proofs that validators contradicted themselves.
    pub const CHAIN_EVIDENCE: &str = "chain_evidence";
    /// The node's peers.
    pub const NET_PEERS: &str = "net_peers";
    /// Who is in charge, and what is voted on.
    pub const GOV_PROPOSALS: &str = "gov_proposals";
    /// What a DID is accredited as.
    pub const REGISTRY_ISSUER: &str = "registry_issuer";
    /// Whether a DID may do something.
    pub const REGISTRY_IS_AUTHORISED: &str = "registry_isAuthorised";
    /// What the trust registry holds, with a proof.
    pub const REGISTRY_PROVE: &str = "registry_prove";
}

/// Error codes. Ours start at −32020: −32000 to −32011 are taken by the JSON-RPC server itself.
pub mod code {
    /// The parameters are not those of the method (JSON-RPC's own code). Mend the call.
    pub const INVALID_PARAMS: i32 = -32602;
    /// The node failed; its log says why (JSON-RPC's own code). Ask another node.
    pub const INTERNAL: i32 = -32603;
    /// The transaction is not base64 of a transaction's canonical bytes. Mend it; submitting it again is no use.
    pub const MALFORMED: i32 = -32020;
    /// The transaction breaks a rule that needs no state, such as a bad signature; data: [`super::Refused`].
    pub const REFUSED: i32 = -32021;
    /// The node holds as many transactions as it may, or more than it gets ordered in a while; data: [`super::Busy`]. It
    /// has not looked at the transaction: submit it again after that time.
    pub const BUSY: i32 = -32022;
    /// No receipt within the time given; data: [`super::TimedOut`]. The transaction may still land.
    pub const TIMED_OUT: i32 = -32030;
    /// The transaction was not ordered in time, and never will be; data: [`super::Expired`]. Sign it again.
    pub const EXPIRED: i32 = -32033;
    /// The thing asked for, such as a block, is not there (yet).
    pub const NOT_FOUND: i32 = -32031;
    /// The node is stopping, or has not caught up yet. Ask another node.
    pub const UNAVAILABLE: i32 = -32032;
}

/// Canonical bytes as the API carries them, such as a transaction's or a certificate's: standard base64 with padding.
pub fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The bytes in such a text: standard base64 with padding, nothing else.
///
/// # Errors
/// Says what is wrong with the text, without repeating it.
pub fn from_base64(text: &str) -> Result<Vec<u8>, base64::DecodeError> {
    STANDARD.decode(text)
}

/// The node holds the transaction and passes it on. Not yet ordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Submitted {
    /// The transaction's id: what to wait for.
    pub id: Digest,
    /// The last height at which it can be applied.
    pub expires_at: Height,
}

/// What became of a transaction, for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// The transaction.
    pub id: Digest,
    /// The block that ordered it.
    pub height: Height,
    /// The last height at which it could be applied.
    pub expires_at: Height,
    /// Its place in that block, from 0.
    pub index: u32,
    /// 0 where it was applied, else why not ([`ledger::Code::number`]).
    pub code: u16,
    /// The code's name ([`ledger::Code::name`]).
    pub result: Cow<'static, str>,
    /// The DID that it names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub did: Option<Did>,
    /// The version that it made; none where it was not applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// What became of each DID of a transaction that brings several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<ItemReceipt>,
}

/// What became of one of several DIDs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemReceipt {
    /// Which.
    pub did: Did,
    /// 0 where it was registered, else why not ([`ledger::Code::number`]).
    pub code: u16,
    /// The code's name ([`ledger::Code::name`]).
    pub result: Cow<'static, str>,
}

impl Receipt {
    /// The ledger's receipt as the API shows it on `network`.
    pub fn new(receipt: &ledger::Receipt, network: &str) -> Self {
        let item = |item: &ledger::ItemReceipt| ItemReceipt {
            did: Did::new(network, item.did),
            code: item.code.number(),
            result: Cow::Borrowed(item.code.name()),
        };
        Self {
            id: receipt.id,
            height: receipt.height,
            expires_at: receipt.expires_at,
            index: receipt.index,
            code: receipt.code.number(),
            result: Cow::Borrowed(receipt.code.name()),
            did: receipt.did.map(|id| Did::new(network, id)),
            version: receipt.version,
            items: receipt.items.iter().map(item).collect(),
        }
    }

    /// Whether the transaction took effect.
    pub fn is_applied(&self) -> bool {
        self.code == ledger::Code::Applied.number()
    }
}

/// What is known of a transaction now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Fate {
    /// Ordered: this is its end.
    Final {
        /// How it ended.
        receipt: Receipt,
    },
    /// The node holds it; it is not ordered yet.
    Pending {
        /// The last height at which it can be applied.
        expires_at: Height,
    },
    /// The node holds it, but it was not ordered in time: it never takes effect.
    Expired {
        /// The last height at which it could be applied.
        expires_at: Height,
        /// The node's height.
        height: Height,
    },
    /// The node does not hold it, and it was not ordered up to `height`.
    Unknown {
        /// The node's height.
        height: Height,
        /// The last height at which it could be applied if another node holds it.
        can_land_until: Height,
    },
}

impl Fate {
    /// The word in the field `state`.
    pub const fn state(&self) -> &'static str {
        match self {
            Self::Final { .. } => "final",
            Self::Pending { .. } => "pending",
            Self::Expired { .. } => "expired",
            Self::Unknown { .. } => "unknown",
        }
    }
}

/// Data of [`code::TIMED_OUT`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TimedOut {
    /// The transaction.
    pub id: Digest,
    /// `pending` or `unknown`, as in [`Fate`].
    pub state: Cow<'static, str>,
    /// The last height at which it can be applied.
    pub can_land_until: Height,
    /// The node's height.
    pub height: Height,
}

/// Data of [`code::EXPIRED`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Expired {
    /// The transaction.
    pub id: Digest,
    /// The last height at which it could be applied.
    pub expires_at: Height,
    /// The node's height.
    pub height: Height,
}

/// Data of [`code::REFUSED`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    /// The field at fault, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<Cow<'static, str>>,
    /// The limit that it passes, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

/// Data of [`code::BUSY`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Busy {
    /// How long to wait before submitting again.
    pub retry_after_ms: u64,
}

/// A final block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Block {
    /// Its place in the chain.
    pub height: Height,
    /// What was agreed on.
    pub digest: Digest,
    /// The block before it; the chain's id for the first.
    pub parent: Digest,
    /// The agreed time.
    pub time: UnixMillis,
    /// The view in which it was proposed.
    pub view: View,
    /// Its batches, in order.
    pub batches: Vec<Digest>,
    /// The ids of its transactions, in order; the first ones of a large block.
    pub transactions: Vec<Digest>,
    /// Whether that list was cut.
    pub more_transactions: bool,
}

/// What a quorum signed of the ledger after a block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// The epoch of the block.
    pub epoch: Epoch,
    /// The height of the block.
    pub height: Height,
    /// The digest of the block.
    pub block: Digest,
    /// The time of the block.
    pub time: UnixMillis,
    /// The ledger's state after it.
    pub state_root: Digest,
    /// The receipts of its transactions.
    pub receipts_root: Digest,
    /// The hash of the validators and parameters for the next height.
    pub configuration: Digest,
    /// The hash of those that the validators voted for, where they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Digest>,
    /// The names of those who signed.
    pub signers: Vec<String>,
    /// The certificate's canonical bytes, in base64.
    pub certificate: String,
}

/// Who is in charge in an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Validators {
    /// The epoch.
    pub epoch: Epoch,
    /// The height of the block that closed the epoch before; for the first, the height that the chain begins after: 0, or
    /// that of its predecessor's last block.
    pub began: Height,
    /// How many votes decide.
    pub quorum: usize,
    /// The validators and the parameters that they go by; checkpoints name its digest.
    pub configuration: Configuration,
}

/// A validator signed two things that no honest one signs both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// In which epoch.
    pub epoch: Epoch,
    /// Whose consensus key.
    pub validator: PublicKey,
    /// What that validator was called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What was seen first.
    pub first: Statement,
    /// What contradicts it.
    pub second: Statement,
}

/// Something that a validator signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    /// What kind of message: `pre-prepare`, `prepare`, `commit`, `view-change` or `checkpoint`.
    pub kind: Cow<'static, str>,
    /// In which view; for a checkpoint, at which height.
    pub view: View,
    /// About what.
    pub digest: Digest,
    /// The signature.
    pub signature: Signature,
}

#[cfg(test)]
mod tests;

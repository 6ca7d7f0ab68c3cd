//! `did_…`: what resolution takes, and the history of a DID.

use genesis::{Digest, Epoch, Height, UnixMillis};
use ledger::resolution::Options;
use ledger::{Did, Record, Version};
use serde::{Deserialize, Serialize, Serializer};

/// The options of [`super::method::DID_RESOLVE`], named as in DID Resolution. The node knows more of them than these:
/// `docs/resolving.md`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResolveOptions {
    /// A version's number, as text; the newest where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    /// A time in UTC without a fraction, such as `2026-07-23T10:20:30Z`: the version that was the newest then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_time: Option<String>,
    /// The media type in which the document, or the whole result, is wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accept: Option<String>,
    /// Whether the result is to bring a proof in its metadata ([`super::ShownProof`]). It makes the node work.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub proof: bool,
    /// The epoch whose validators the caller knows, for that proof; the first one where there is none.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text")]
    pub since_epoch: Option<Epoch>,
}

/// Options are texts.
fn as_text<S: Serializer>(epoch: &Option<Epoch>, serializer: S) -> Result<S::Ok, S::Error> {
    epoch.map(|epoch| epoch.to_string()).serialize(serializer)
}

impl From<ResolveOptions> for Options {
    fn from(options: ResolveOptions) -> Self {
        let ResolveOptions { version_id, version_time, accept, proof, since_epoch } = options;
        let proof = proof.then(|| "true".to_owned());
        let since_epoch = since_epoch.map(|epoch| epoch.to_string());
        Self { version_id, version_time, accept, proof, since_epoch, ..Self::default() }
    }
}

/// The versions of a DID, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct History {
    /// Whose.
    pub did: Did,
    /// Those from the version asked for on; the first ones of many.
    pub versions: Vec<HistoryEntry>,
    /// Whether there are more: ask again from the next one on.
    pub more_versions: bool,
}

/// One version of a DID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// Its number.
    pub version: Version,
    /// The block that made it.
    pub height: Height,
    /// The time of that block.
    pub time: UnixMillis,
    /// The digest of its document; none where it ended the DID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<Digest>,
    /// The digest of its header.
    pub header: Digest,
}

impl HistoryEntry {
    /// The ledger's record as the API lists it.
    pub fn new(record: &Record) -> Self {
        let header = &record.header;
        Self {
            version: header.version,
            height: header.updated.height,
            time: header.updated.time,
            document: header.document,
            header: header.digest(),
        }
    }
}

//! `did_…`: what resolution takes, and the history of a DID.

use genesis::{Digest, Height, UnixMillis};
use ledger::resolution::Options;
use ledger::{Did, Record, Version};
use serde::{Deserialize, Serialize};

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
}

impl From<ResolveOptions> for Options {
    fn from(ResolveOptions { version_id, version_time, accept }: ResolveOptions) -> Self {
        Self { version_id, version_time, accept, ..Self::default() }
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

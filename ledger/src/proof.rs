//! What shows the state, or that it has none of something, to whoever knows the root of the state tree: here a DID's; receipts
//! ([`receipt`]) and the trust registry ([`registry`]) in files of their own.
//!
//! The tree holds the digest of a DID's newest header. Older versions follow from it: every header names the digest of the one
//! before, and the digest of its document. So a proof is a path in the tree, headers from the newest down, and the documents that
//! are asked for; whoever checks it resolves the DID anew, from what was proved, by the same rules as a node.
//!
//! Invariant: a [`Proven`] holds only what the root vouches for. That a quorum vouches for the root is left to whoever
//! checks its certificate.

pub mod receipt;
pub mod registry;

use std::cell::RefCell;
use std::collections::BTreeMap;

use genesis::Digest;
use genesis::encoding::list;
use serde::{Deserialize, Serialize};

pub use self::receipt::{Fate, FateProof, FateProofError, InBlock, Window};
pub use self::registry::{EntryProof, EntryProofError};
use crate::resolution::History;
use crate::state::StateKey;
use crate::tree;
use crate::{DidId, Document, Header, Record, Version};

/// A DID's state, with what shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DidProof {
    /// The way to the DID in the state tree.
    pub path: tree::Proof,
    /// From the newest version down, without gaps; none where the DID does not exist.
    #[serde(deserialize_with = "list::<_, _, 139>")]
    pub headers: Vec<Header>,
    /// Documents of some of them.
    #[serde(deserialize_with = "list::<_, _, 26>")]
    pub documents: Vec<Document>,
}

/// Why a proof shows nothing.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum DidProofError {
    /// The path is not one in the tree.
    #[error("the DID's path: {0}")]
    Path(#[from] tree::ProofError),
    /// The path ends at another header than the first one, or there should be one, or none.
    #[error("the tree says that the newest header has digest {expected:?}, but the proof brings {found:?}")]
    Newest {
        /// What the tree holds.
        expected: Option<Digest>,
        /// What came.
        found: Option<Digest>,
    },
    /// A header that is not the one that its successor names.
    #[error("header {place} of the proof is not the one that version {version} names as the one before it")]
    Chain {
        /// Its place, from 0.
        place: usize,
        /// The version after it.
        version: Version,
    },
    /// A document that no header names.
    #[error("document {place} of the proof belongs to none of its headers")]
    Document {
        /// Its place, from 0.
        place: usize,
    },
    /// The answer needs a version that the proof does not bring.
    #[error("the answer needs version {version}, which the proof does not bring")]
    Missing {
        /// Which.
        version: Version,
    },
}

/// The versions of a DID that a proof showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    did: DidId,
    /// By their versions. Some without their documents, though their headers name one.
    records: BTreeMap<Version, Record>,
}

impl DidProof {
    /// What it shows of `did` in the state with this root.
    ///
    /// # Errors
    /// When it does not fit the root, or itself.
    pub fn check(self, did: DidId, state_root: &Digest) -> Result<Proven, DidProofError> {
        let expected = self.path.value(state_root, &StateKey::Did(did).digest())?;
        let found = self.headers.first().map(Header::digest);
        if expected != found || self.headers.first().is_some_and(|header| header.did != did) {
            return Err(DidProofError::Newest { expected, found });
        }
        for (place, pair) in (1..).zip(self.headers.windows(2)) {
            let [after, before] = pair else { continue };
            // The digest covers the DID and the version.
            if after.previous != before.digest() {
                return Err(DidProofError::Chain { place, version: after.version });
            }
        }
        let mut documents = BTreeMap::new();
        for (place, document) in self.documents.into_iter().enumerate() {
            let digest = document.digest();
            if !self.headers.iter().any(|header| header.document == Some(digest)) {
                return Err(DidProofError::Document { place });
            }
            documents.insert(digest, document);
        }
        let records = self.headers.into_iter().map(|header| {
            let document = header.document.and_then(|digest| documents.get(&digest).cloned());
            (header.version, Record { header, document })
        });
        Ok(Proven { did, records: records.collect() })
    }
}

impl Proven {
    /// Whether the document of `version` is here, unless that version has none.
    ///
    /// # Errors
    /// When it is not.
    pub fn expect_document(&self, version: Version) -> Result<(), DidProofError> {
        let complete = |record: &Record| record.document.is_some() || record.is_deactivated();
        match self.records.get(&version) {
            Some(record) if complete(record) => Ok(()),
            _ => Err(DidProofError::Missing { version }),
        }
    }
}

impl History for Proven {
    type Error = DidProofError;

    fn newest(&self, did: &DidId) -> Result<Option<Record>, DidProofError> {
        if *did != self.did {
            return Err(DidProofError::Missing { version: Version::FIRST });
        }
        Ok(self.records.last_key_value().map(|(_, record)| record.clone()))
    }

    fn at_version(&self, did: &DidId, version: Version) -> Result<Option<Record>, DidProofError> {
        let newest = self.newest(did)?.map_or(Version(0), |record| record.header.version);
        match self.records.get(&version) {
            Some(record) => Ok(Some(record.clone())),
            None if (Version::FIRST..=newest).contains(&version) => Err(DidProofError::Missing { version }),
            None => Ok(None),
        }
    }
}

/// A history that remembers which headers were read, so that a proof can bring just those. Documents are not kept: a DID can
/// have thousands of versions.
pub struct Recorder<'a, H> {
    history: &'a H,
    read: RefCell<BTreeMap<Version, Header>>,
}

impl<'a, H: History> Recorder<'a, H> {
    /// Of `history`.
    pub const fn new(history: &'a H) -> Self {
        Self { history, read: RefCell::new(BTreeMap::new()) }
    }

    /// The headers that a proof needs for what was read, and the document of `found`, the version that came of it.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn into_parts(
        self,
        did: &DidId,
        found: Option<Version>,
    ) -> Result<(Vec<Header>, Vec<Document>), H::Error> {
        let mut read = self.read.into_inner();
        let (Some(oldest), Some(newest)) = (read.keys().next().copied(), read.keys().next_back().copied())
        else {
            return Ok((Vec::new(), Vec::new()));
        };
        for version in (oldest.0..newest.0).map(Version) {
            if !read.contains_key(&version)
                && let Some(record) = self.history.at_version(did, version)?
            {
                read.insert(version, record.header);
            }
        }
        let shown = found.map(|found| self.history.at_version(did, found)).transpose()?.flatten();
        let documents = shown.and_then(|record| record.document).into_iter().collect();
        Ok((read.into_values().rev().collect(), documents))
    }

    fn note(&self, record: Option<Record>) -> Option<Record> {
        if let Some(record) = &record {
            self.read.borrow_mut().insert(record.header.version, record.header.clone());
        }
        record
    }
}

impl<H: History> History for Recorder<'_, H> {
    type Error = H::Error;

    fn newest(&self, did: &DidId) -> Result<Option<Record>, H::Error> {
        Ok(self.note(self.history.newest(did)?))
    }

    fn at_version(&self, did: &DidId, version: Version) -> Result<Option<Record>, H::Error> {
        Ok(self.note(self.history.at_version(did, version)?))
    }
}

//! The state of one DID at one version.
//!
//! A record is a header and a document. The header holds the document's digest and the digest of the header
//! before it, so that every old version follows from the current header, and a document can be erased without
//! breaking the chain.
//!
//! Invariant: a record has a document exactly while its DID is active; versions count from 1 without gaps. An endorsement and
//! its withdrawal change the current header in place: they make no version.

use std::fmt;

use genesis::{Digest, Domain, Height, UnixMillis, encoding};
use serde::{Deserialize, Serialize};

use crate::operation::Reason;
use crate::{DidId, Document};

/// How often a DID's state was set: the first is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u64);

/// A block's place and time, as far as the rules may know them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// The block's height.
    pub height: Height,
    /// The block's time.
    pub time: UnixMillis,
}

/// What a record's digest covers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Whose record it is.
    pub did: DidId,
    /// Which version.
    pub version: Version,
    /// The document's digest; none once the DID is deactivated.
    pub document: Option<Digest>,
    /// The commitment to the keys that recover the DID.
    pub recovery: Digest,
    /// The commitment to the keys that make the next change; none where the document's own do.
    pub next_keys: Option<Digest>,
    /// Who vouches for the DID, and since when; none where nobody ever did.
    pub endorsement: Option<Endorsement>,
    /// The digest of the header before it, as it stood when this version was made; zero at version 1.
    pub previous: Digest,
    /// When the DID was created.
    pub created: Moment,
    /// When this version was made.
    pub updated: Moment,
}

/// A registrar's word on a DID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endorsement {
    /// Who vouches.
    pub registrar: DidId,
    /// Since when.
    pub at: Moment,
    /// That it does so no more.
    pub withdrawn: Option<Withdrawal>,
}

/// The end of an endorsement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawal {
    /// Why.
    pub reason: Reason,
    /// Since when.
    pub at: Moment,
}

/// What a record commits to without showing it: [`KeySet::commitment`](crate::KeySet::commitment) of two sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commitments {
    /// The keys that recover the DID.
    pub recovery: Digest,
    /// The keys that make the next change, with pre-rotation.
    pub next_keys: Option<Digest>,
}

/// A DID at one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What its digest covers.
    pub header: Header,
    /// The document; none once the DID is deactivated.
    pub document: Option<Document>,
}

impl Version {
    /// The version that create makes.
    pub const FIRST: Self = Self(1);

    /// The one after this. 2^64 is never reached: it takes a transaction each.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Header {
    /// The digest that the next version's header names.
    pub fn digest(&self) -> Digest {
        Digest::of(Domain::Record, &encoding::encode(self))
    }
}

impl Record {
    /// Version 1 of `did`.
    pub(crate) fn first(
        did: DidId,
        document: Document,
        commitments: Commitments,
        endorsement: Option<Endorsement>,
        now: Moment,
    ) -> Self {
        let Commitments { recovery, next_keys } = commitments;
        let header = Header {
            did,
            version: Version::FIRST,
            document: Some(document.digest()),
            recovery,
            next_keys,
            endorsement,
            previous: Digest::ZERO,
            created: now,
            updated: now,
        };
        Self { header, document: Some(document) }
    }

    /// The version after this one, with `document`, or deactivated where there is none.
    pub(crate) fn successor(
        &self,
        document: Option<Document>,
        commitments: Commitments,
        now: Moment,
    ) -> Self {
        let Commitments { recovery, next_keys } = commitments;
        let header = Header {
            did: self.header.did,
            version: self.header.version.next(),
            document: document.as_ref().map(Document::digest),
            recovery,
            next_keys,
            endorsement: self.header.endorsement,
            previous: self.header.digest(),
            created: self.header.created,
            updated: now,
        };
        Self { header, document }
    }

    /// Whether the DID can no longer be used or changed.
    pub const fn is_deactivated(&self) -> bool {
        self.header.document.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{commitments, document, moment};

    #[test]
    fn every_version_names_the_header_before_it() {
        let did = DidId(Digest::from_bytes([1; 32]));
        let (old, new) = (commitments(1), commitments(2));
        let first = Record::first(did, document(&[1]), old, None, moment(1));
        let second = first.successor(Some(document(&[2])), new, moment(2));
        let last = second.successor(None, new, moment(3));
        assert_eq!((first.header.version, first.header.previous), (Version(1), Digest::ZERO));
        assert_eq!((second.header.version, second.header.previous), (Version(2), first.header.digest()));
        assert_eq!((second.header.recovery, second.header.next_keys), (new.recovery, new.next_keys));
        assert_eq!((last.header.version, last.header.previous), (Version(3), second.header.digest()));
        assert_eq!((last.header.created, last.header.updated), (moment(1), moment(3)));
        assert!(last.is_deactivated() && last.document.is_none() && !second.is_deactivated());
    }

    #[test]
    fn the_digest_covers_every_field_of_the_header() {
        let header =
            Record::first(DidId(Digest::ZERO), document(&[1]), commitments(1), None, moment(1)).header;
        let other = Digest::from_bytes([1; 32]);
        let endorsement = Endorsement { registrar: DidId(other), at: moment(1), withdrawn: None };
        let withdrawn = Some(Withdrawal { reason: Reason::Death, at: moment(2) });
        for changed in [
            Header { did: DidId(other), ..header.clone() },
            Header { version: Version(2), ..header.clone() },
            Header { document: None, ..header.clone() },
            Header { document: Some(other), ..header.clone() },
            Header { recovery: other, ..header.clone() },
            Header { next_keys: Some(other), ..header.clone() },
            Header { endorsement: Some(endorsement), ..header.clone() },
            Header { endorsement: Some(Endorsement { withdrawn, ..endorsement }), ..header.clone() },
            Header { previous: other, ..header.clone() },
            Header { created: moment(2), ..header.clone() },
            Header { updated: moment(2), ..header.clone() },
        ] {
            assert_ne!(changed.digest(), header.digest(), "{changed:?}");
        }
    }
}

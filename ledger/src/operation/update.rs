//! Update: replaces a DID's document.

use genesis::Digest;
use serde::{Deserialize, Serialize};

use super::{Scene, replaceable};
use crate::{Code, Commitments, DidId, Document, KeySet, Record, Version};

/// Replaces the document of a DID. Never touches the commitment to its recovery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Update {
    /// Whose document.
    pub did: DidId,
    /// The version that the sender saw; where the DID is at another, nothing changes.
    pub replaces: Version,
    /// The whole new document.
    pub document: Document,
    /// The keys that the record commits to for this change; none where it commits to none.
    pub revealed: Option<KeySet>,
    /// The commitment to the keys that make the next change; none where the document's own do.
    pub next_keys: Option<Digest>,
}

impl Update {
    /// Authorised by the current document's `capabilityInvocation` keys, by one of its controllers or, where the record commits to keys for its next
    /// change, by these alone; the new document's count for nothing.
    pub(crate) fn execute(&self, scene: &Scene<'_>, current: Option<&Record>) -> Result<Record, Code> {
        let record = replaceable(current, Some(self.replaces), self.revealed.as_ref(), scene)?;
        if record.header.version.0 >= scene.parameters.max_versions {
            return Err(Code::TooManyVersions);
        }
        scene.check_document(self.did, &self.document)?;
        let commitments = Commitments { recovery: record.header.recovery, next_keys: self.next_keys };
        Ok(record.successor(Some(self.document.clone()), commitments, scene.now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Purposes;
    use crate::samples::{commitments, create, document, key, moment, scene};

    fn current() -> Record {
        let mut document = document(&[1, 2]);
        document.keys[1].purposes = Purposes::AUTHENTICATION;
        Record::first(create(&[1]).did(), document, commitments(1), None, moment(1))
    }

    fn update(replaces: u64) -> Update {
        let (did, document) = (create(&[1]).did(), document(&[3]));
        Update { did, replaces: Version(replaces), document, revealed: None, next_keys: None }
    }

    fn execute(replaces: u64, signer: u8, current: Option<&Record>) -> Result<Record, Code> {
        update(replaces).execute(&scene(&[key(signer).public()], 2), current)
    }

    #[test]
    fn a_current_key_replaces_the_version_that_it_names() {
        let record = execute(1, 1, Some(&current())).unwrap();
        assert_eq!(record, current().successor(Some(document(&[3])), commitments(1), moment(2)));
    }

    #[test]
    fn neither_a_stranger_nor_a_key_of_the_new_document_nor_one_for_login_may_update() {
        for signer in [9, 3, 2] {
            assert_eq!(execute(1, signer, Some(&current())), Err(Code::Unauthorised), "signer {signer}");
        }
        assert_eq!(update(1).execute(&scene(&[], 2), Some(&current())), Err(Code::Unauthorised));
    }

    #[test]
    fn another_version_than_the_current_one_is_not_replaced() {
        for replaces in [0, 2, u64::MAX] {
            assert_eq!(execute(replaces, 1, Some(&current())), Err(Code::VersionMismatch));
        }
    }

    #[test]
    fn a_did_that_is_unknown_or_ended_is_not_updated() {
        assert_eq!(execute(1, 1, None), Err(Code::NoSuchDid));
        let ended = current().successor(None, commitments(1), moment(2));
        for replaces in [1, 2] {
            assert_eq!(execute(replaces, 1, Some(&ended)), Err(Code::Deactivated));
        }
    }

    #[test]
    fn with_pre_rotation_only_the_keys_committed_to_update_and_only_when_revealed() {
        let next = KeySet::of(key(7).public());
        let rotating = Commitments { next_keys: Some(next.commitment()), ..commitments(1) };
        let record = Record::first(create(&[1]).did(), document(&[1]), rotating, None, moment(1));
        let run = |revealed: Option<KeySet>, signer: u8| {
            let update = Update { revealed, ..update(1) };
            update.execute(&scene(&[key(signer).public()], 2), Some(&record))
        };
        assert_eq!(run(None, 1), Err(Code::NotRevealed));
        assert_eq!(run(None, 7), Err(Code::NotRevealed));
        assert_eq!(run(Some(KeySet::of(key(1).public())), 1), Err(Code::NotRevealed));
        assert_eq!(run(Some(next.clone()), 1), Err(Code::Unauthorised));
        let made = run(Some(next.clone()), 7).unwrap();
        assert_eq!((made.header.version, made.header.next_keys), (Version(2), None));
        // Where nothing was committed to, nothing is revealed.
        let plain = Update { revealed: Some(next), ..update(1) };
        let refused = plain.execute(&scene(&[key(1).public(), key(7).public()], 2), Some(&current()));
        assert_eq!(refused, Err(Code::NotRevealed));
    }
}

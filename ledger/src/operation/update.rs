//! Update: replaces a DID's document.

use genesis::PublicKey;
use serde::{Deserialize, Serialize};

use super::replaceable;
use crate::{Code, DidId, Document, Moment, Record, Version};

/// Replaces the document of a DID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Update {
    /// Whose document.
    pub did: DidId,
    /// The version that the sender saw; where the DID is at another, nothing changes.
    pub replaces: Version,
    /// The whole new document.
    pub document: Document,
}

impl Update {
    /// Authorised by one of the current document's `capabilityInvocation` keys; the new document's count for
    /// nothing.
    pub(crate) fn execute(
        &self,
        signers: &[PublicKey],
        current: Option<&Record>,
        now: Moment,
    ) -> Result<Record, Code> {
        let record = replaceable(current, self.replaces, signers)?;
        Ok(record.successor(Some(self.document.clone()), now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Purposes;
    use crate::samples::{create, document, key, moment};

    fn current() -> Record {
        let mut document = document(&[1, 2]);
        document.keys[1].purposes = Purposes::AUTHENTICATION;
        Record::first(create(&[1]).did(), document, moment(1))
    }

    fn execute(replaces: u64, signer: u8, current: Option<&Record>) -> Result<Record, Code> {
        let update =
            Update { did: create(&[1]).did(), replaces: Version(replaces), document: document(&[3]) };
        update.execute(&[key(signer).public()], current, moment(2))
    }

    #[test]
    fn a_current_key_replaces_the_version_that_it_names() {
        let record = execute(1, 1, Some(&current())).unwrap();
        assert_eq!(record, current().successor(Some(document(&[3])), moment(2)));
    }

    #[test]
    fn neither_a_stranger_nor_a_key_of_the_new_document_nor_one_for_login_may_update() {
        for signer in [9, 3, 2] {
            assert_eq!(execute(1, signer, Some(&current())), Err(Code::Unauthorised), "signer {signer}");
        }
        let update = Update { did: create(&[1]).did(), replaces: Version(1), document: document(&[3]) };
        assert_eq!(update.execute(&[], Some(&current()), moment(2)), Err(Code::Unauthorised));
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
        let ended = current().successor(None, moment(2));
        for replaces in [1, 2] {
            assert_eq!(execute(replaces, 1, Some(&ended)), Err(Code::Deactivated));
        }
    }
}

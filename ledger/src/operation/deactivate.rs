//! Deactivate: ends a DID for good.

use genesis::PublicKey;
use serde::{Deserialize, Serialize};

use super::replaceable;
use crate::{Code, DidId, Moment, Record, Version};

/// Ends a DID: no operation changes it after this one, and its id is never free again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deactivate {
    /// Which DID.
    pub did: DidId,
    /// The version that the sender saw; where the DID is at another, nothing changes.
    pub replaces: Version,
}

impl Deactivate {
    /// Authorised by one of the current document's `capabilityInvocation` keys.
    pub(crate) fn execute(
        &self,
        signers: &[PublicKey],
        current: Option<&Record>,
        now: Moment,
    ) -> Result<Record, Code> {
        let record = replaceable(current, self.replaces, signers)?;
        Ok(record.successor(None, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{create, document, key, moment};

    fn execute(replaces: u64, signers: &[PublicKey], current: Option<&Record>) -> Result<Record, Code> {
        let deactivate = Deactivate { did: create(&[1]).did(), replaces: Version(replaces) };
        deactivate.execute(signers, current, moment(2))
    }

    #[test]
    fn a_current_key_ends_the_did_once() {
        let current = Record::first(create(&[1]).did(), document(&[1]), moment(1));
        let ended = execute(1, &[key(1).public()], Some(&current)).unwrap();
        assert_eq!((ended.is_deactivated(), ended.header.version), (true, Version(2)));
        for replaces in [1, 2] {
            assert_eq!(execute(replaces, &[key(1).public()], Some(&ended)), Err(Code::Deactivated));
        }
    }

    #[test]
    fn a_stranger_nobody_and_an_old_version_do_not_end_it() {
        let current = Record::first(create(&[1]).did(), document(&[1]), moment(1));
        assert_eq!(execute(1, &[key(2).public()], Some(&current)), Err(Code::Unauthorised));
        assert_eq!(execute(1, &[], Some(&current)), Err(Code::Unauthorised));
        assert_eq!(execute(2, &[key(1).public()], Some(&current)), Err(Code::VersionMismatch));
        assert_eq!(execute(1, &[key(1).public()], None), Err(Code::NoSuchDid));
    }
}

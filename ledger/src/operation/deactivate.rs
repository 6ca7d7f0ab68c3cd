//! Deactivate: ends a DID for good.

use serde::{Deserialize, Serialize};

use super::{Scene, active, replaceable};
use crate::{Code, Commitments, DidId, KeySet, Record, Version};

/// Ends a DID: no operation changes it after this one, and its id is never free again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deactivate {
    /// Which DID.
    pub did: DidId,
    /// The version that the sender saw; where the DID is at another, nothing changes. The recovery keys need not name any.
    pub replaces: Option<Version>,
    /// The keys that the record commits to for its recovery or for its next change.
    pub revealed: Option<KeySet>,
}

impl Deactivate {
    /// Authorised by the recovery keys, or by whoever may update the document.
    pub(crate) fn execute(&self, scene: &Scene<'_>, current: Option<&Record>) -> Result<Record, Code> {
        let (record, _) = active(current)?;
        match &self.revealed {
            Some(revealed) if revealed.commitment() == record.header.recovery => {
                if self.replaces.is_some_and(|version| version != record.header.version) {
                    return Err(Code::VersionMismatch);
                }
                if !revealed.is_satisfied_by(scene.signers) {
                    return Err(Code::Unauthorised);
                }
            }
            revealed => {
                replaceable(current, self.replaces, revealed.as_ref(), scene)?;
            }
        }
        let commitments = Commitments { recovery: record.header.recovery, next_keys: None };
        Ok(record.successor(None, commitments, scene.now))
    }
}

#[cfg(test)]
mod tests {
    use genesis::PublicKey;

    use super::*;
    use crate::samples::{commitments, create, document, key, moment, recovery_key, scene};

    fn current() -> Record {
        Record::first(create(&[1]).did(), document(&[1]), commitments(1), None, moment(1))
    }

    fn deactivate(replaces: Option<u64>, revealed: Option<KeySet>) -> Deactivate {
        Deactivate { did: create(&[1]).did(), replaces: replaces.map(Version), revealed }
    }

    fn execute(replaces: u64, signers: &[PublicKey], current: Option<&Record>) -> Result<Record, Code> {
        deactivate(Some(replaces), None).execute(&scene(signers, 2), current)
    }

    #[test]
    fn a_current_key_ends_the_did_once() {
        let ended = execute(1, &[key(1).public()], Some(&current())).unwrap();
        assert_eq!((ended.is_deactivated(), ended.header.version), (true, Version(2)));
        for replaces in [1, 2] {
            assert_eq!(execute(replaces, &[key(1).public()], Some(&ended)), Err(Code::Deactivated));
        }
    }

    #[test]
    fn a_stranger_nobody_an_old_version_and_none_do_not_end_it() {
        let current = current();
        assert_eq!(execute(1, &[key(2).public()], Some(&current)), Err(Code::Unauthorised));
        assert_eq!(execute(1, &[], Some(&current)), Err(Code::Unauthorised));
        assert_eq!(execute(2, &[key(1).public()], Some(&current)), Err(Code::VersionMismatch));
        assert_eq!(execute(1, &[key(1).public()], None), Err(Code::NoSuchDid));
        let unnamed = deactivate(None, None).execute(&scene(&[key(1).public()], 2), Some(&current));
        assert_eq!(unnamed, Err(Code::VersionMismatch));
    }

    #[test]
    fn the_recovery_key_ends_it_without_naming_a_version() {
        let (secret, current) = (recovery_key(1).public(), current());
        let revealed = || Some(KeySet::of(secret));
        for replaces in [None, Some(1)] {
            let ended = deactivate(replaces, revealed()).execute(&scene(&[secret], 2), Some(&current));
            assert!(ended.unwrap().is_deactivated());
        }
        let stale = deactivate(Some(2), revealed()).execute(&scene(&[secret], 2), Some(&current));
        assert_eq!(stale, Err(Code::VersionMismatch));
        let thief = deactivate(None, revealed()).execute(&scene(&[key(1).public()], 2), Some(&current));
        assert_eq!(thief, Err(Code::Unauthorised));
    }

    #[test]
    fn with_pre_rotation_the_keys_in_use_do_not_end_it_and_those_committed_to_do() {
        let next = KeySet::of(key(7).public());
        let rotating = Commitments { next_keys: Some(next.commitment()), ..commitments(1) };
        let record = Record::first(create(&[1]).did(), document(&[1]), rotating, None, moment(1));
        let run = |revealed: Option<KeySet>, signer: u8| {
            deactivate(Some(1), revealed).execute(&scene(&[key(signer).public()], 2), Some(&record))
        };
        assert_eq!(run(None, 1), Err(Code::NotRevealed));
        assert_eq!(run(Some(next.clone()), 1), Err(Code::Unauthorised));
        assert!(run(Some(next), 7).unwrap().is_deactivated());
    }
}

//! Recover: gives a DID back to its owner, whatever became of its keys.

use genesis::Digest;
use serde::{Deserialize, Serialize};

use super::{Scene, active};
use crate::{Code, Commitments, DidId, Document, KeySet, Record};

/// Replaces the document of a DID and both commitments. It names no version, so that whoever stole the keys in use
/// cannot outrun it; the commitment that it uses up makes it count once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recover {
    /// Which DID.
    pub did: DidId,
    /// The keys that the record commits to for its recovery.
    pub revealed: KeySet,
    /// The whole new document.
    pub document: Document,
    /// The commitment to the keys that recover the DID from now on. Another one, as these are known now.
    pub recovery: Digest,
    /// The commitment to the keys that make the next change; none where the document's own do.
    pub next_keys: Option<Digest>,
}

impl Recover {
    /// Authorised by the keys that the record commits to for this, and by no others.
    pub(crate) fn execute(&self, scene: &Scene<'_>, current: Option<&Record>) -> Result<Record, Code> {
        let (record, _) = active(current)?;
        if self.revealed.commitment() != record.header.recovery {
            return Err(Code::OtherRecovery);
        }
        if !self.revealed.is_satisfied_by(scene.signers) {
            return Err(Code::Unauthorised);
        }
        scene.check_document(self.did, &self.document)?;
        let commitments = Commitments { recovery: self.recovery, next_keys: self.next_keys };
        Ok(record.successor(Some(self.document.clone()), commitments, scene.now))
    }

    /// Whether it commits to other keys than it shows.
    pub(crate) fn brings_other_keys(&self) -> bool {
        self.recovery != self.revealed.commitment()
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

    fn recover(number: u8) -> Recover {
        let Commitments { recovery, next_keys } = commitments(2);
        let revealed = KeySet::of(recovery_key(number).public());
        Recover { did: create(&[1]).did(), revealed, document: document(&[3]), recovery, next_keys }
    }

    fn execute(recover: &Recover, signer: &PublicKey, current: Option<&Record>) -> Result<Record, Code> {
        recover.execute(&scene(&[*signer], 9), current)
    }

    #[test]
    fn the_recovery_key_replaces_everything_at_any_version() {
        let later = current().successor(Some(document(&[2])), commitments(1), moment(2));
        for record in [current(), later] {
            let made = execute(&recover(1), &recovery_key(1).public(), Some(&record)).unwrap();
            assert_eq!(made, record.successor(Some(document(&[3])), commitments(2), moment(9)));
        }
    }

    #[test]
    fn no_other_key_recovers_and_a_used_one_does_so_no_more() {
        let (record, known) = (current(), recovery_key(1).public());
        for stranger in [key(1), key(3), recovery_key(2)] {
            let refused = execute(&recover(1), &stranger.public(), Some(&record));
            assert_eq!(refused, Err(Code::Unauthorised));
        }
        let own = recovery_key(2).public();
        assert_eq!(execute(&recover(2), &own, Some(&record)), Err(Code::OtherRecovery));
        let after = execute(&recover(1), &known, Some(&record)).unwrap();
        assert_eq!(execute(&recover(1), &known, Some(&after)), Err(Code::OtherRecovery));
    }

    #[test]
    fn as_many_recovery_keys_sign_as_the_threshold_asks_for() {
        let keys = [1, 2, 3].map(|number| recovery_key(number).public());
        let revealed = KeySet::new(2, keys.to_vec()).unwrap();
        let guarded = Commitments { recovery: revealed.commitment(), next_keys: None };
        let record = Record::first(create(&[1]).did(), document(&[1]), guarded, None, moment(1));
        let recover = Recover { revealed, ..recover(1) };
        for (signers, enough) in [(&keys[..2], true), (&keys[1..], true), (&[keys[0], keys[0]], false)] {
            let made = recover.execute(&scene(signers, 9), Some(&record));
            assert_eq!(made.is_ok(), enough, "{signers:?}");
        }
    }

    #[test]
    fn a_did_that_is_unknown_or_ended_is_not_recovered() {
        let known = recovery_key(1).public();
        assert_eq!(execute(&recover(1), &known, None), Err(Code::NoSuchDid));
        let ended = current().successor(None, commitments(1), moment(2));
        assert_eq!(execute(&recover(1), &known, Some(&ended)), Err(Code::Deactivated));
    }
}

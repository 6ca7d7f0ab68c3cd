//! Create: registers a DID under the hash of its inception.

use std::fmt;

use genesis::encoding::bytes;
use genesis::{Digest, Domain, Registration, encoding};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Scene;
use crate::{Code, Commitments, DidId, Document, Endorsement, Record};

/// The inception of a DID. Its hash is the DID's id, so nobody can register the id with other keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Create {
    /// The first document.
    pub document: Document,
    /// The commitment to the keys that recover the DID.
    pub recovery: Digest,
    /// The commitment to the keys that make the next change; none where the document's own do.
    pub next_keys: Option<Digest>,
    /// Makes the id unpredictable, and gives one set of keys as many DIDs as it likes.
    pub salt: Salt,
    /// The registrar that vouches for the DID from the start, and signs too. Not part of the inception.
    pub registrar: Option<DidId>,
}

/// What the id is the hash of.
#[derive(Serialize)]
pub(super) struct Inception<'a> {
    pub(super) document: &'a Document,
    pub(super) recovery: &'a Digest,
    pub(super) next_keys: &'a Option<Digest>,
    pub(super) salt: &'a Salt,
}

impl Inception<'_> {
    pub(super) fn did(&self) -> DidId {
        DidId(Digest::of(Domain::Inception, &encoding::encode(self)))
    }
}

/// 16 random bytes from the wallet. Text form: 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Salt(pub [u8; 16]);

impl Create {
    /// The id of the DID that this registers.
    pub fn did(&self) -> DidId {
        let Self { document, recovery, next_keys, salt, registrar: _ } = self;
        Inception { document, recovery, next_keys, salt }.did()
    }

    /// Authorised by the inception's own `capabilityInvocation` keys, as many as its threshold asks for. That the registrar behind
    /// `endorsement` signed too is looked at before; where the network asks for one, a DID that the registry accredits does
    /// without.
    pub(crate) fn execute(
        &self,
        did: DidId,
        endorsement: Option<Endorsement>,
        scene: &Scene<'_>,
        current: Option<&Record>,
    ) -> Result<Record, Code> {
        if current.is_some() {
            return Err(Code::DidExists);
        }
        if !self.document.is_controlled_by(scene.signers) {
            return Err(Code::Unauthorised);
        }
        let must_be_endorsed = scene.parameters.registration == Registration::Endorsed;
        if must_be_endorsed && endorsement.is_none() && !scene.is_accredited {
            return Err(Code::EndorsementRequired);
        }
        scene.check_document(did, &self.document)?;
        let commitments = Commitments { recovery: self.recovery, next_keys: self.next_keys };
        Ok(Record::first(did, self.document.clone(), commitments, endorsement, scene.now))
    }
}

impl fmt::Display for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Salt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            bytes::serialize(&self.0, serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Salt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return bytes::deserialize(deserializer).map(Self);
        }
        let text = String::deserialize(deserializer)?;
        let error = || serde::de::Error::custom("a salt is 32 lower-case hex digits");
        // Half a digest's worth of hex: reuse its strict parser.
        let digest: Digest = format!("{text}{:032}", 0).parse().map_err(|_| error())?;
        digest.as_bytes().first_chunk().copied().map(Self).ok_or_else(error)
    }
}

#[cfg(test)]
mod tests {
    use genesis::PublicKey;

    use super::*;
    use crate::KeyNumber;
    use crate::samples::{commitments, create, document, key, moment, scene};

    fn execute(create: &Create, signers: &[PublicKey], current: Option<&Record>) -> Result<Record, Code> {
        create.execute(create.did(), None, &scene(signers, 5), current)
    }

    #[test]
    fn a_did_is_created_at_version_1_by_one_of_its_own_keys() {
        let create = create(&[1, 2]);
        let record = execute(&create, &[key(2).public()], None).unwrap();
        assert_eq!(record, Record::first(create.did(), document(&[1, 2]), commitments(1), None, moment(5)));
    }

    #[test]
    fn a_stranger_or_nobody_cannot_create_it() {
        let create = create(&[1]);
        assert_eq!(execute(&create, &[key(2).public()], None), Err(Code::Unauthorised));
        assert_eq!(execute(&create, &[], None), Err(Code::Unauthorised));
    }

    #[test]
    fn as_many_of_its_own_keys_sign_as_the_threshold_asks_for() {
        let mut create = create(&[1, 2, 3]);
        create.document.threshold = 2;
        for (signers, enough) in [(&[1, 2][..], true), (&[2, 3, 9], true), (&[1, 1], false), (&[1, 9], false)]
        {
            let signers: Vec<PublicKey> = signers.iter().map(|seed| key(*seed).public()).collect();
            let expected = if enough { Ok(()) } else { Err(Code::Unauthorised) };
            assert_eq!(execute(&create, &signers, None).map(drop), expected, "{signers:?}");
        }
    }

    #[test]
    fn a_did_is_created_once_even_after_its_end() {
        let create = create(&[1]);
        let record = execute(&create, &[key(1).public()], None).unwrap();
        let ended = record.successor(None, commitments(1), moment(6));
        for current in [record, ended] {
            assert_eq!(execute(&create, &[key(1).public()], Some(&current)), Err(Code::DidExists));
        }
    }

    #[test]
    fn the_id_depends_on_every_part_of_the_inception() {
        let base = create(&[1, 2]);
        let mut renumbered = base.clone();
        renumbered.document.keys[0].number = KeyNumber::LAST;
        let salted = Create { salt: Salt([9; 16]), ..base.clone() };
        let mut joint = base.clone();
        joint.document.threshold = 2;
        let recoverable = Create { recovery: commitments(2).recovery, ..base.clone() };
        let rotating = Create { next_keys: Some(base.recovery), ..base.clone() };
        for changed in [create(&[1]), create(&[2, 1]), renumbered, salted, joint, recoverable, rotating] {
            assert_ne!(changed.did(), base.did());
        }
    }

    #[test]
    fn a_salt_survives_its_text_and_others_are_refused() {
        let text = "\"000102030405060708090a0b0c0d0eff\"";
        let salt: Salt = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&salt).unwrap(), text);
        for text in [
            "\"\"",
            "\"00\"",
            "\"000102030405060708090a0b0c0d0eFF\"",
            "\"000102030405060708090a0b0c0d0eff00\"",
        ] {
            assert!(
                serde_json::from_str::<Salt>(text).unwrap_err().to_string().contains("32 lower-case hex")
            );
        }
    }
}

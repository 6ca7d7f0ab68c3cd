//! The validator set: who votes, how many votes decide, and who leads a view.
//!
//! Every validator has weight one. With `n` validators, at most `f = ⌊(n−1)/3⌋` may be faulty, and a quorum is
//! `q = ⌈(n+f+1)/2⌉`: the least number such that two quorums share more than `f` validators, so at least one
//! honest one. (`2f+1` is not enough: at n = 6, two sets of three may be disjoint.)

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use crate::encoding::list;
use crate::{PublicKey, View};

/// The most validators a set may have. All of them talk to all of them.
pub const MAX_VALIDATORS: usize = 512;

/// A validator's place in its set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ValidatorIndex(pub u16);

/// A member of the set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validator {
    /// What people call it: 1 to 64 of `a-z 0-9 - .`, unique in the set.
    pub name: String,
    /// Signs consensus messages.
    pub consensus_key: PublicKey,
    /// Authenticates its connections.
    pub network_key: PublicKey,
    /// Signs its governance transactions.
    pub governance_key: PublicKey,
    /// Where its peers reach it: `IP:port` or `name:port`.
    pub address: String,
}

/// The validators, in an order that all nodes share. Never empty, never longer than [`MAX_VALIDATORS`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ValidatorSet {
    validators: Vec<Validator>,
}

/// Why a list is not a validator set.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{problem}")]
pub struct ValidatorSetError {
    /// The entry at fault, where there is one.
    pub index: Option<usize>,
    /// The field at fault, where there is one.
    pub field: Option<&'static str>,
    /// What is wrong, with the value.
    pub problem: String,
}

impl ValidatorSet {
    /// Checks the list: its length, each field, and that nothing is listed twice.
    ///
    /// # Errors
    /// Names the first entry and field at fault.
    pub fn new(validators: Vec<Validator>) -> Result<Self, ValidatorSetError> {
        if validators.is_empty() || validators.len() > MAX_VALIDATORS {
            let problem = format!("{} validators, but a set has 1 to {MAX_VALIDATORS}", validators.len());
            return Err(ValidatorSetError { index: None, field: None, problem });
        }
        for (index, validator) in validators.iter().enumerate() {
            validator.check().and_then(|()| validator.check_distinct_from(&validators[..index])).map_err(
                |(field, problem)| ValidatorSetError { index: Some(index), field: Some(field), problem },
            )?;
        }
        Ok(Self { validators })
    }

    /// This set with `validator` at its end.
    ///
    /// # Errors
    /// When the set is full, or the validator is not sound or shares something with a member.
    pub fn adding(&self, validator: Validator) -> Result<Self, ValidatorSetError> {
        let place = self.len();
        if place >= MAX_VALIDATORS {
            let problem = format!("the set has {place} validators already, and at most {MAX_VALIDATORS}");
            return Err(ValidatorSetError { index: None, field: None, problem });
        }
        Self::with_at(self.validators.clone(), place, validator)
    }

    /// This set without the member called `name`.
    ///
    /// # Errors
    /// When there is none of this name, or no other.
    pub fn removing(&self, name: &str) -> Result<Self, ValidatorSetError> {
        let place = self.place_of(name)?;
        if self.len() == 1 {
            let problem = format!("`{}` is the last validator", shown(name));
            return Err(ValidatorSetError { index: Some(place), field: None, problem });
        }
        let mut validators = self.validators.clone();
        validators.remove(place);
        Ok(Self { validators })
    }

    /// This set with `validator` in the place of the member called `name`.
    ///
    /// # Errors
    /// When there is none of this name, or the validator is not sound or shares something with another member.
    pub fn replacing(&self, name: &str, validator: Validator) -> Result<Self, ValidatorSetError> {
        let place = self.place_of(name)?;
        let mut others = self.validators.clone();
        others.remove(place);
        Self::with_at(others, place, validator)
    }

    /// Checks the new entry alone, as the others were; what costs least first.
    fn with_at(
        mut others: Vec<Validator>,
        place: usize,
        validator: Validator,
    ) -> Result<Self, ValidatorSetError> {
        validator.check_distinct_from(&others).and_then(|()| validator.check()).map_err(
            |(field, problem)| ValidatorSetError { index: Some(place), field: Some(field), problem },
        )?;
        others.insert(place, validator);
        Ok(Self { validators: others })
    }

    fn place_of(&self, name: &str) -> Result<usize, ValidatorSetError> {
        self.validators.iter().position(|validator| validator.name == name).ok_or_else(|| {
            let problem = format!("no validator is called `{}`", shown(name));
            ValidatorSetError { index: None, field: Some("name"), problem }
        })
    }

    /// `n`.
    pub fn len(&self) -> usize {
        self.validators.len()
    }

    /// Never true: a set has at least one validator.
    pub fn is_empty(&self) -> bool {
        self.validators.is_empty()
    }

    /// `f = ⌊(n−1)/3⌋`: how many may be faulty.
    pub fn faulty(&self) -> usize {
        (self.len() - 1) / 3
    }

    /// `q = ⌈(n+f+1)/2⌉`: how many votes decide.
    pub fn quorum(&self) -> usize {
        (self.len() + self.faulty() + 1).div_ceil(2)
    }

    /// The leader of `view`: all take turns.
    pub fn leader(&self, view: View) -> ValidatorIndex {
        ValidatorIndex((view.0 % self.len() as u64) as u16)
    }

    /// The member at `index`.
    pub fn get(&self, index: ValidatorIndex) -> Option<&Validator> {
        self.validators.get(usize::from(index.0))
    }

    /// All members with their places.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (ValidatorIndex, &Validator)> {
        self.validators.iter().enumerate().map(|(index, validator)| (ValidatorIndex(index as u16), validator))
    }

    /// The member with this consensus key.
    pub fn by_consensus_key(&self, key: &PublicKey) -> Option<ValidatorIndex> {
        self.iter().find(|(_, validator)| validator.consensus_key == *key).map(|(index, _)| index)
    }

    /// The member with this network key.
    pub fn by_network_key(&self, key: &PublicKey) -> Option<ValidatorIndex> {
        self.iter().find(|(_, validator)| validator.network_key == *key).map(|(index, _)| index)
    }

    /// The member with this governance key.
    pub fn by_governance_key(&self, key: &PublicKey) -> Option<ValidatorIndex> {
        self.iter().find(|(_, validator)| validator.governance_key == *key).map(|(index, _)| index)
    }
}

/// Checked as [`ValidatorSet::new`] does: whoever sent the bytes, a set is never empty.
impl<'de> Deserialize<'de> for ValidatorSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(list::<_, _, 124>(deserializer)?).map_err(D::Error::custom)
    }
}

impl Validator {
    fn check(&self) -> Result<(), (&'static str, String)> {
        let name_fits = (1..=64).contains(&self.name.len())
            && self.name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'));
        if !name_fits {
            let problem =
                format!("`{}` is not a name: expected 1 to 64 of a-z, 0-9, `-` and `.`", shown(&self.name));
            return Err(("name", problem));
        }
        for (field, key) in self.keys() {
            if !key.is_registrable() {
                return Err((
                    field,
                    format!("`{key}` is not a sound Ed25519 key: make one with `realdid keys new`"),
                ));
            }
        }
        let port =
            self.address.rsplit_once(':').filter(|(host, _)| !host.is_empty() && self.address.len() <= 260);
        if !port.is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port != 0)) {
            let problem = format!("`{}` is not an address: expected host:port", shown(&self.address));
            return Err(("address", problem));
        }
        Ok(())
    }

    /// A key in two roles or two entries would let one holder act as two.
    fn check_distinct_from(&self, others: &[Self]) -> Result<(), (&'static str, String)> {
        let keys = self.keys();
        for (position, (field, key)) in keys.iter().enumerate() {
            let twice_here = keys[..position].iter().any(|(_, other)| other == key);
            let elsewhere = others.iter().any(|other| other.keys().iter().any(|(_, theirs)| theirs == key));
            if twice_here || elsewhere {
                return Err((
                    *field,
                    format!("`{key}` is listed twice: every role of every validator has a key of its own"),
                ));
            }
        }
        for other in others {
            if other.name == self.name {
                return Err(("name", format!("`{}` is listed twice", self.name)));
            }
            if other.address == self.address {
                return Err(("address", format!("`{}` is listed twice", self.address)));
            }
        }
        Ok(())
    }

    fn keys(&self) -> [(&'static str, PublicKey); 3] {
        [
            ("consensus_key", self.consensus_key),
            ("network_key", self.network_key),
            ("governance_key", self.governance_key),
        ]
    }
}

/// A value cut to what fits into a message.
fn shown(value: &str) -> String {
    value.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SecretKey;

    fn validators(count: usize) -> Vec<Validator> {
        let key = |role: u8, index: usize| {
            let mut seed = [role; 32];
            seed[..8].copy_from_slice(&(index as u64).to_le_bytes());
            SecretKey::from_seed(seed).public()
        };
        (0..count)
            .map(|index| Validator {
                name: format!("node{index}"),
                consensus_key: key(1, index),
                network_key: key(2, index),
                governance_key: key(3, index),
                address: format!("127.0.0.1:{}", 1000 + index),
            })
            .collect()
    }

    #[test]
    fn two_quorums_always_share_an_honest_validator_and_the_honest_alone_are_a_quorum() {
        for count in 1..=MAX_VALIDATORS {
            let set = ValidatorSet { validators: Vec::new() };
            assert!(set.is_empty());
            let faulty = (count - 1) / 3;
            let quorum = (count + faulty + 1).div_ceil(2);
            assert!(2 * quorum - count > faulty, "n = {count}: overlap too small");
            assert!(2 * (quorum - 1) < count + faulty + 1, "n = {count}: larger than needed");
            assert!(count - faulty >= quorum, "n = {count}: the honest cannot decide");
        }
    }

    #[test]
    fn quorums_are_those_of_the_table() {
        for (count, faulty, quorum) in [
            (1, 0, 1),
            (2, 0, 2),
            (3, 0, 2),
            (4, 1, 3),
            (5, 1, 4),
            (6, 1, 4),
            (7, 2, 5),
            (10, 3, 7),
            (100, 33, 67),
        ] {
            let set = ValidatorSet::new(validators(count)).unwrap();
            assert_eq!((set.faulty(), set.quorum()), (faulty, quorum), "n = {count}");
        }
    }

    #[test]
    fn every_validator_leads_in_turn() {
        let set = ValidatorSet::new(validators(4)).unwrap();
        let leaders: Vec<u16> = (1..=5).map(|view| set.leader(View(view)).0).collect();
        assert_eq!(leaders, [1, 2, 3, 0, 1]);
    }

    #[test]
    fn a_change_of_the_set_is_checked_as_the_whole_set_would_be() {
        let all = validators(6);
        let set = ValidatorSet::new(all[..4].to_vec()).unwrap();
        let larger = set.adding(all[4].clone()).unwrap();
        assert_eq!(larger, ValidatorSet::new(all[..5].to_vec()).unwrap());
        assert_eq!(larger.removing("node4").unwrap(), set);
        let moved = Validator { address: "127.0.0.1:9".into(), ..all[1].clone() };
        let replaced = set.replacing("node1", moved.clone()).unwrap();
        assert_eq!(replaced.get(ValidatorIndex(1)), Some(&moved), "it keeps its place");
        assert_eq!(replaced.len(), 4);

        let taken = Validator { consensus_key: all[0].network_key, ..all[4].clone() };
        let twice = Validator { network_key: all[4].governance_key, ..all[4].clone() };
        let nameless = Validator { name: String::new(), ..all[4].clone() };
        for (unsound, field) in [
            (all[0].clone(), "consensus_key"),
            (taken, "consensus_key"),
            (twice, "governance_key"),
            (nameless, "name"),
        ] {
            assert_eq!(set.adding(unsound.clone()).unwrap_err().field, Some(field));
            let elsewhere = set.replacing("node3", unsound).unwrap_err();
            assert_eq!((elsewhere.index, elsewhere.field), (Some(3), Some(field)));
        }
        assert!(set.removing("node9").unwrap_err().problem.contains("no validator is called `node9`"));
        assert!(set.replacing("node9", all[4].clone()).is_err());
        let last = ValidatorSet::new(all[..1].to_vec()).unwrap();
        assert!(last.removing("node0").unwrap_err().problem.contains("the last validator"));
        let full = ValidatorSet { validators: validators(MAX_VALIDATORS) };
        let one_more = validators(MAX_VALIDATORS + 1).pop().unwrap();
        assert!(full.adding(one_more).unwrap_err().problem.contains("at most 512"));
    }

    #[test]
    fn bytes_that_are_no_set_are_refused_when_they_are_read() {
        use crate::encoding::{decode, encode};
        let list = validators(2);
        let bytes = encode(&list);
        assert_eq!(
            decode::<ValidatorSet>(&bytes, bytes.len()).unwrap(),
            ValidatorSet::new(list.clone()).unwrap()
        );
        for list in [vec![], vec![list[0].clone(), list[0].clone()]] {
            let bytes = encode(&list);
            assert!(decode::<ValidatorSet>(&bytes, bytes.len()).is_err(), "{list:?}");
        }
    }

    #[test]
    fn each_fault_names_its_entry_and_field() {
        let fault = |change: fn(&mut Vec<Validator>)| {
            let mut list = validators(4);
            change(&mut list);
            let error = ValidatorSet::new(list).unwrap_err();
            (error.index, error.field)
        };
        assert_eq!(fault(Vec::clear), (None, None));
        assert_eq!(fault(|list| list[2].name = "Ä".into()), (Some(2), Some("name")));
        assert_eq!(fault(|list| list[2].name = list[1].name.clone()), (Some(2), Some("name")));
        assert_eq!(fault(|list| list[3].address = "nowhere".into()), (Some(3), Some("address")));
        assert_eq!(fault(|list| list[3].address = list[0].address.clone()), (Some(3), Some("address")));
        assert_eq!(fault(|list| list[1].network_key = list[1].consensus_key), (Some(1), Some("network_key")));
        assert_eq!(
            fault(|list| list[1].consensus_key = list[0].governance_key),
            (Some(1), Some("consensus_key"))
        );
        // The identity point: everything verifies under it.
        let identity = {
            let mut bytes = [0; 32];
            bytes[0] = 1;
            bytes
        };
        let mut list = validators(1);
        list[0].governance_key = PublicKey::Ed25519(identity);
        assert_eq!(ValidatorSet::new(list).unwrap_err().field, Some("governance_key"));
    }
}

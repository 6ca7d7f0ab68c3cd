//! Keys that are not in a document: those that a record commits to by a digest, and that are shown only when used.
//!
//! A DID has two such commitments: to the keys that recover it, and, with pre-rotation, to the keys that make its next
//! change. Whoever steals the keys in use learns neither set.
//!
//! Invariant: 1 to [`KeySet::MAX_KEYS`] distinct keys in ascending order, and a threshold that they can reach; so a set
//! has one encoding, and a key counts once.

use genesis::{Digest, Domain, PublicKey, encoding};
use serde::{Deserialize, Serialize};

/// Some keys, and how many of them have to sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Content")]
pub struct KeySet {
    threshold: u16,
    keys: Vec<PublicKey>,
}

/// A set as it is read, unchecked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    threshold: u16,
    #[serde(deserialize_with = "encoding::list::<_, _, 36>")]
    keys: Vec<PublicKey>,
}

/// Why keys are no [`KeySet`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeySetError {
    /// No key, or too many.
    #[error("the key set has {count} keys, but must have 1 to {}", KeySet::MAX_KEYS)]
    Count {
        /// How many it has.
        count: usize,
    },
    /// Keys that are not in their one order, or one twice.
    #[error("keys[{index}], `{key}`, is out of order or listed twice: sort the keys by their bytes")]
    Order {
        /// Its place in the list, from 0.
        index: usize,
        /// The key.
        key: PublicKey,
    },
    /// A threshold that means nothing.
    #[error("the threshold is {threshold}, but must be 1 to {keys}, the number of keys")]
    Threshold {
        /// The threshold.
        threshold: u16,
        /// How many keys there are.
        keys: usize,
    },
    /// A key that several encodings or several owners could stand for.
    #[error("keys[{index}]: `{key}` is not a sound Ed25519 key (canonical, in the prime-order subgroup)")]
    Unregistrable {
        /// Its place in the list, from 0.
        index: usize,
        /// The key.
        key: PublicKey,
    },
}

impl KeySet {
    /// The most keys in a set.
    pub const MAX_KEYS: usize = 16;

    /// `keys`, sorted, of which `threshold` have to sign.
    ///
    /// # Errors
    /// When there are none, too many or one twice, or they cannot reach the threshold.
    pub fn new(threshold: u16, mut keys: Vec<PublicKey>) -> Result<Self, KeySetError> {
        keys.sort_unstable();
        Content { threshold, keys }.try_into()
    }

    /// One key, which signs alone.
    pub fn of(key: PublicKey) -> Self {
        Self { threshold: 1, keys: vec![key] }
    }

    /// How many of the keys have to sign.
    pub const fn threshold(&self) -> u16 {
        self.threshold
    }

    /// The keys, in ascending order.
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// What a record holds of it while it is secret.
    pub fn commitment(&self) -> Digest {
        Digest::of(Domain::KeySet, &encoding::encode(self))
    }

    /// Whether enough of its keys are among `signers`.
    pub fn is_satisfied_by(&self, signers: &[PublicKey]) -> bool {
        let signed = self.keys.iter().filter(|key| signers.contains(key)).count();
        signed >= usize::from(self.threshold)
    }

    /// Whether each key has one encoding and one owner, as `is_sound` says: else one owner could count twice.
    pub(crate) fn check_keys(&self, is_sound: &dyn Fn(&PublicKey) -> bool) -> Result<(), KeySetError> {
        match self.keys.iter().enumerate().find(|(_, key)| !is_sound(key)) {
            Some((index, key)) => Err(KeySetError::Unregistrable { index, key: *key }),
            None => Ok(()),
        }
    }
}

impl TryFrom<Content> for KeySet {
    type Error = KeySetError;

    fn try_from(Content { threshold, keys }: Content) -> Result<Self, KeySetError> {
        let count = keys.len();
        if count == 0 || count > Self::MAX_KEYS {
            return Err(KeySetError::Count { count });
        }
        if let Some(index) = keys.windows(2).position(|pair| pair[0] >= pair[1]) {
            return Err(KeySetError::Order { index: index + 1, key: keys[index + 1] });
        }
        if threshold == 0 || usize::from(threshold) > count {
            return Err(KeySetError::Threshold { threshold, keys: count });
        }
        Ok(Self { threshold, keys })
    }
}

#[cfg(test)]
mod tests {
    use genesis::encoding::{decode, encode};

    use super::*;
    use crate::samples::key;

    fn publics(seeds: &[u8]) -> Vec<PublicKey> {
        seeds.iter().map(|seed| key(*seed).public()).collect()
    }

    #[test]
    fn the_order_in_which_keys_are_named_does_not_matter() {
        let set = KeySet::new(2, publics(&[1, 2, 3])).unwrap();
        assert_eq!(set, KeySet::new(2, publics(&[3, 1, 2])).unwrap());
        assert_ne!(set.commitment(), KeySet::new(1, publics(&[1, 2, 3])).unwrap().commitment());
        assert_ne!(set.commitment(), KeySet::new(2, publics(&[1, 2, 4])).unwrap().commitment());
    }

    #[test]
    fn each_fault_names_the_value_and_the_limit() {
        let fault = |threshold, seeds: &[u8]| KeySet::new(threshold, publics(seeds)).unwrap_err().to_string();
        assert_eq!(fault(1, &[]), "the key set has 0 keys, but must have 1 to 16");
        assert_eq!(fault(1, &[7; 17]), "the key set has 17 keys, but must have 1 to 16");
        assert!(fault(1, &[7, 7]).starts_with("keys[1], `z6Mk"));
        assert_eq!(fault(0, &[1]), "the threshold is 0, but must be 1 to 1, the number of keys");
        assert_eq!(fault(3, &[1, 2]), "the threshold is 3, but must be 1 to 2, the number of keys");
    }

    #[test]
    fn a_set_survives_bytes_and_json_and_an_unsorted_one_is_not_read() {
        let set = KeySet::new(2, publics(&[1, 2])).unwrap();
        assert_eq!(decode::<KeySet>(&encode(&set), 100).unwrap(), set);
        let mut json = serde_json::to_value(&set).unwrap();
        assert_eq!(serde_json::from_value::<KeySet>(json.clone()).unwrap(), set);
        json["keys"].as_array_mut().unwrap().reverse();
        assert!(serde_json::from_value::<KeySet>(json).unwrap_err().to_string().contains("out of order"));
        let mut unsorted = set.keys.clone();
        unsorted.reverse();
        assert!(decode::<KeySet>(&encode(&(2_u16, unsorted)), 100).is_err());
    }

    #[test]
    fn a_threshold_counts_distinct_keys_of_the_set_alone() {
        let set = KeySet::new(2, publics(&[1, 2, 3])).unwrap();
        for (signers, enough) in
            [(&[1, 2][..], true), (&[3, 9, 1], true), (&[1, 1, 1], false), (&[1, 9], false), (&[], false)]
        {
            assert_eq!(set.is_satisfied_by(&publics(signers)), enough, "{signers:?}");
        }
    }
}

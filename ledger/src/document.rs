//! A DID's keys, what each may be used for, and which other DIDs may change it.
//!
//! A citizen's has no text in it and no name, and a key is called by a number: nothing that could say who the subject is.
//! Services, which have addresses, are for those that the registry accredits.
//!
//! Invariant: a document that passed [`Document::check`] has as many keys that may change it as its threshold asks
//! for, no two keys, numbers or
//! controllers alike, and only keys that are sound ([`VerificationKey`]). Who may replace it is left to
//! [`crate::operation`], its W3C form to [`crate::resolution`].

pub mod key_number;
pub mod service;
pub mod verification_key;

use std::collections::BTreeSet;
use std::fmt;

use genesis::{Digest, Domain, Parameters, PublicKey, encoding};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use key_number::KeyNumber;
pub use service::{Service, ServiceKind};
pub use verification_key::VerificationKey;

use crate::DidId;
use crate::transaction::MAX_SIGNERS;

/// The document of a DID as the ledger keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// How many of the `capabilityInvocation` keys have to sign a change.
    pub threshold: u16,
    /// The keys, in the order that resolution shows.
    #[serde(deserialize_with = "encoding::list::<_, _, 39>")]
    pub keys: Vec<Key>,
    /// Other DIDs, each of which may change this one as its own keys may.
    #[serde(deserialize_with = "encoding::list::<_, _, 32>")]
    pub controllers: Vec<DidId>,
    /// What the subject serves: only DIDs that the registry accredits have any.
    #[serde(deserialize_with = "encoding::list::<_, _, 14>")]
    pub services: Vec<Service>,
}

/// A key of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// What it is called: the fragment `key-<n>` of its DID URL.
    pub number: KeyNumber,
    /// The key.
    pub public: VerificationKey,
    /// What it may be used for.
    pub purposes: Purposes,
}

/// What a key may be used for: a set of DID Core's verification relationships. Text form: a list of their names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Purposes(u8);

/// Why a document is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DocumentError {
    /// No key, or too many.
    #[error("the document has {count} keys, but must have 1 to {most} (max_document_keys)")]
    KeyCount {
        /// How many it has.
        count: usize,
        /// The network's limit.
        most: u64,
    },
    /// Two keys with one number.
    #[error("keys[{index}]: the number {} is taken by a key before it", number.get())]
    NumberTwice {
        /// The second one's place in the list, from 0.
        index: usize,
        /// The number.
        number: KeyNumber,
    },
    /// A key that is listed twice.
    #[error("keys[{index}]: `{key}` is listed twice: give one key all its purposes")]
    KeyTwice {
        /// The second one's place in the list, from 0.
        index: usize,
        /// The key.
        key: Box<VerificationKey>,
    },
    /// A key that several encodings or several owners could stand for.
    #[error(
        "keys[{index}]: `{key}` is not a sound {} key (canonical and, for Ed25519, in the prime-order subgroup)",
        key.algorithm()
    )]
    Unregistrable {
        /// Its place in the list, from 0.
        index: usize,
        /// The key.
        key: Box<VerificationKey>,
    },
    /// A key that cannot do what it is for.
    #[error("keys[{index}]: a key of {} cannot have the purpose {purpose}: {}", key.algorithm(), purpose_rule(purpose))]
    UnfitPurpose {
        /// Its place in the list, from 0.
        index: usize,
        /// The key.
        key: Box<VerificationKey>,
        /// The purpose.
        purpose: &'static str,
    },
    /// Too many other DIDs.
    #[error("the document has {count} controllers, but may have at most {most} (max_controllers)")]
    ControllerCount {
        /// How many it has.
        count: usize,
        /// The network's limit.
        most: u64,
    },
    /// One of them twice.
    #[error("controllers[{index}]: {did} is listed twice")]
    ControllerTwice {
        /// The second one's place in the list, from 0.
        index: usize,
        /// Which.
        did: DidId,
    },
    /// Too many services.
    #[error("the document has {count} services, but may have at most {most} (max_services)")]
    ServiceCount {
        /// How many it has.
        count: usize,
        /// The network's limit.
        most: u64,
    },
    /// Two services with one number.
    #[error("services[{index}]: the number {number} is taken by a service before it")]
    ServiceTwice {
        /// The second one's place in the list, from 0.
        index: usize,
        /// The number.
        number: u16,
    },
    /// Larger than the network allows.
    #[error("the document has {length} bytes, but at most {most} are allowed (max_document_bytes)")]
    TooLarge {
        /// Its size in bytes.
        length: usize,
        /// The network's limit in bytes.
        most: u64,
    },
    /// A key without a purpose.
    #[error("keys[{index}]: `{number}` has no purpose: give it one, such as authentication")]
    NoPurpose {
        /// Its place in the list, from 0.
        index: usize,
        /// Its number.
        number: KeyNumber,
    },
    /// A threshold that the keys cannot reach, or that none has to.
    #[error(
        "the threshold is {threshold}, but must be 1 to {most}: as many as there are keys with the purpose \
         capabilityInvocation, at most {MAX_THRESHOLD}"
    )]
    Threshold {
        /// The threshold.
        threshold: u16,
        /// What it may be at most.
        most: usize,
    },
    /// Nobody could ever change the document again.
    #[error("no key has the purpose capabilityInvocation: nobody could ever update or deactivate the DID")]
    NoInvocationKey,
}

/// The most keys that a document may ask for: a transaction has room for their signatures and a registrar's. A higher one
/// would lock its DID.
pub const MAX_THRESHOLD: usize = MAX_SIGNERS - 1;

impl Document {
    /// Checks all that can be checked without the state.
    ///
    /// # Errors
    /// Names the first key at fault.
    pub fn check(&self, parameters: &Parameters) -> Result<(), DocumentError> {
        self.check_form(parameters)?;
        self.check_keys(&PublicKey::is_registrable)
    }

    /// The cheap part of the check: whoever calls this owes [`Document::check_keys`].
    pub(crate) fn check_form(&self, parameters: &Parameters) -> Result<(), DocumentError> {
        let (count, most) = (self.keys.len(), parameters.max_document_keys);
        if count == 0 || count as u64 > most {
            return Err(DocumentError::KeyCount { count, most });
        }
        let (threshold, keys) = (self.threshold, self.invocation_keys().count());
        if keys == 0 {
            return Err(DocumentError::NoInvocationKey);
        }
        let most = keys.min(MAX_THRESHOLD);
        if threshold == 0 || usize::from(threshold) > most {
            return Err(DocumentError::Threshold { threshold, most });
        }
        let (mut numbers, mut keys) = (BTreeSet::new(), BTreeSet::new());
        for (index, Key { number, public: key, purposes }) in self.keys.iter().enumerate() {
            if !numbers.insert(number) {
                return Err(DocumentError::NumberTwice { index, number: *number });
            }
            if !keys.insert(key) {
                return Err(DocumentError::KeyTwice { index, key: Box::new(*key) });
            }
            if *purposes == Purposes::NONE {
                return Err(DocumentError::NoPurpose { index, number: *number });
            }
            if let Some(purpose) = key.unfit(*purposes).names().next() {
                return Err(DocumentError::UnfitPurpose { index, key: Box::new(*key), purpose });
            }
        }
        let (count, most) = (self.controllers.len(), parameters.max_controllers);
        if count as u64 > most {
            return Err(DocumentError::ControllerCount { count, most });
        }
        let mut controllers = BTreeSet::new();
        if let Some(index) = self.controllers.iter().position(|did| !controllers.insert(did)) {
            return Err(DocumentError::ControllerTwice { index, did: self.controllers[index] });
        }
        let (count, most) = (self.services.len(), parameters.max_services);
        if count as u64 > most {
            return Err(DocumentError::ServiceCount { count, most });
        }
        let mut numbers = BTreeSet::new();
        if let Some(index) = self.services.iter().position(|service| !numbers.insert(service.number)) {
            return Err(DocumentError::ServiceTwice { index, number: self.services[index].number.get() });
        }
        let (length, most) = (encoding::encode(self).len(), parameters.max_document_bytes);
        if length as u64 > most {
            return Err(DocumentError::TooLarge { length, most });
        }
        Ok(())
    }

    /// Whether its keys may be listed; of those that sign, `is_sound` says it.
    pub(crate) fn check_keys(&self, is_sound: &dyn Fn(&PublicKey) -> bool) -> Result<(), DocumentError> {
        match self.keys.iter().enumerate().find(|(_, key)| !key.public.check(is_sound)) {
            Some((index, key)) => Err(DocumentError::Unregistrable { index, key: Box::new(key.public) }),
            None => Ok(()),
        }
    }

    /// Whether one of `signers` makes statements for it: is one of its `assertionMethod` keys.
    pub fn is_asserted_by(&self, signers: &[PublicKey]) -> bool {
        let keys = self.keys.iter().filter(|key| key.purposes.contains(Purposes::ASSERTION_METHOD));
        keys.filter_map(|key| key.public.signer()).any(|key| signers.contains(&key))
    }

    /// Whether `signers` may change this document: enough of its `capabilityInvocation` keys are among them.
    pub fn is_controlled_by(&self, signers: &[PublicKey]) -> bool {
        let signed = self
            .invocation_keys()
            .filter(|key| key.public.signer().is_some_and(|key| signers.contains(&key)))
            .count();
        // A document that was checked has a threshold of at least 1; no other one is anybody's.
        signed >= usize::from(self.threshold.max(1))
    }

    fn invocation_keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(|key| key.purposes.contains(Purposes::CAPABILITY_INVOCATION))
    }

    /// The digest of its canonical bytes.
    pub fn digest(&self) -> Digest {
        Digest::of(Domain::Document, &encoding::encode(self))
    }
}

impl VerificationKey {
    /// Those of `purposes` that a key of this kind cannot have.
    fn unfit(&self, purposes: Purposes) -> Purposes {
        let fit = match self {
            Self::Ed25519(_) => Purposes::SIGNING,
            Self::P256(_) | Self::Secp256k1(_) => Purposes::ALL.without(Purposes::CAPABILITY_INVOCATION),
            Self::X25519(_) => Purposes::KEY_AGREEMENT,
            Self::Bls12381G2(_) => Purposes::SIGNING.without(Purposes::CAPABILITY_INVOCATION),
        };
        purposes.without(fit)
    }
}

fn purpose_rule(purpose: &str) -> &'static str {
    match purpose {
        "capabilityInvocation" => "only Ed25519 keys change DIDs",
        "keyAgreement" => "it only signs",
        _ => "it only agrees on keys",
    }
}

impl Purposes {
    /// None at all: the start of a set.
    pub const NONE: Self = Self(0);
    /// Proves control of the DID, for example to log in.
    pub const AUTHENTICATION: Self = Self(1);
    /// Makes statements, for example credentials.
    pub const ASSERTION_METHOD: Self = Self(1 << 1);
    /// Updates and deactivates the DID itself.
    pub const CAPABILITY_INVOCATION: Self = Self(1 << 2);
    /// Passes on a capability to others.
    pub const CAPABILITY_DELEGATION: Self = Self(1 << 3);
    /// Agrees on a key with others, to encrypt to the subject.
    pub const KEY_AGREEMENT: Self = Self(1 << 4);
    /// All that a key which signs can be for.
    pub const SIGNING: Self = Self(0b1111);
    /// All that this build knows.
    pub const ALL: Self = Self(0b1_1111);

    /// Each with its name in DID Core, in the order of the specification.
    pub const NAMED: [(Self, &'static str); 5] = [
        (Self::AUTHENTICATION, "authentication"),
        (Self::ASSERTION_METHOD, "assertionMethod"),
        (Self::KEY_AGREEMENT, "keyAgreement"),
        (Self::CAPABILITY_INVOCATION, "capabilityInvocation"),
        (Self::CAPABILITY_DELEGATION, "capabilityDelegation"),
    ];

    /// Whether all of `others` are in this set.
    pub const fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// This set and `others`.
    #[must_use]
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// This set less `others`.
    #[must_use]
    pub const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMED.into_iter().filter(move |(purpose, _)| self.contains(*purpose)).map(|(_, name)| name)
    }
}

impl fmt::Debug for Purposes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

impl Serialize for Purposes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_seq(self.names())
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Purposes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            let bits = u8::deserialize(deserializer)?;
            let known = Self::ALL.contains(Self(bits));
            return if known {
                Ok(Self(bits))
            } else {
                Err(Error::custom(format!("{bits:#x} has unknown purposes")))
            };
        }
        Vec::<String>::deserialize(deserializer)?.into_iter().try_fold(Self::NONE, |set, text| {
            match Self::NAMED.into_iter().find(|(_, name)| *name == text) {
                Some((purpose, _)) => Ok(set.and(purpose)),
                None => {
                    let text: String = text.chars().take(80).collect();
                    let names = Self::ALL.names().collect::<Vec<_>>().join(", ");
                    Err(Error::custom(format!("`{text}` is not a purpose: expected one of {names}")))
                }
            }
        })
    }
}

#[cfg(test)]
mod tests;

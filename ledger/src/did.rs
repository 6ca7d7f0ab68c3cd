//! `did:realdid:<network>:<id>`.
//!
//! The id is the hash of the DID's inception (its first keys and a random salt), so it certifies itself: nobody can
//! register a DID for keys that are not theirs, and nothing about a person goes into it.
//!
//! Invariant: a DID has one text. Parsing accepts exactly what `Display` prints. Which network a node serves is
//! left to the callers.

use std::fmt;
use std::str::FromStr;

use genesis::Digest;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The method's name and what comes before it.
const PREFIX: &str = "did:realdid:";

/// The most characters that an id's text has: `z` and the base58 of 32 bytes of 0xff.
const MAX_ID_CHARS: usize = 45;

/// The most characters that a network's name has, as in the genesis document.
const MAX_NETWORK_CHARS: usize = 32;

/// The hash of a DID's inception: what the ledger knows it by. Text form: multibase base58btc, for example
/// `z4kq…`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DidId(pub Digest);

/// A DID of this method, with the network that it belongs to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Did {
    network: String,
    id: DidId,
}

/// Why a text is not a DID of this method.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum DidError {
    /// Not a DID at all, or malformed.
    #[error("`{text}` is not a DID of this method: {problem}; expected did:realdid:<network>:<id>")]
    Malformed {
        /// The text, cut to what fits into a message.
        text: String,
        /// Which part is wrong.
        problem: &'static str,
    },
    /// A DID, but of another method.
    #[error("`{text}` is a DID of another method; expected did:realdid:<network>:<id>")]
    OtherMethod {
        /// The text, cut to what fits into a message.
        text: String,
    },
}

/// Why a text is not an id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not a DID's id: expected `z` and 32 bytes in base58")]
pub struct DidIdError {
    text: String,
}

impl DidId {
    /// The 32 bytes: the key of this DID's rows.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl Did {
    /// The DID with this id on `network` (a genesis document's network name).
    pub fn new(network: &str, id: DidId) -> Self {
        Self { network: network.to_owned(), id }
    }

    /// The network's name.
    pub fn network(&self) -> &str {
        &self.network
    }

    /// What the ledger knows it by.
    pub const fn id(&self) -> DidId {
        self.id
    }
}

impl fmt::Display for DidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "z{}", bs58::encode(self.as_bytes()).into_string())
    }
}

/// The digest's first eight hex digits: enough to recognise it in a log line.
impl fmt::Debug for DidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl FromStr for DidId {
    type Err = DidIdError;

    fn from_str(text: &str) -> Result<Self, DidIdError> {
        let error = || DidIdError { text: shown(text) };
        // Base58 decoding takes quadratic time: refuse what cannot be an id before touching it.
        if text.len() > MAX_ID_CHARS {
            return Err(error());
        }
        let encoded = text.strip_prefix('z').ok_or_else(error)?;
        let mut bytes = [0; 32];
        match bs58::decode(encoded).onto(&mut bytes) {
            Ok(32) => Ok(Self(Digest::from_bytes(bytes))),
            _ => Err(error()),
        }
    }
}

impl fmt::Display for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}:{}", self.network, self.id)
    }
}

impl fmt::Debug for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Did {
    type Err = DidError;

    fn from_str(text: &str) -> Result<Self, DidError> {
        let malformed = |problem| DidError::Malformed { text: shown(text), problem };
        let Some(rest) = text.strip_prefix(PREFIX) else {
            return Err(if is_of_another_method(text) {
                DidError::OtherMethod { text: shown(text) }
            } else {
                malformed("it does not start with did:realdid:")
            });
        };
        let (network, id) = rest.split_once(':').ok_or_else(|| malformed("it has no id"))?;
        let network_fits = (2..=MAX_NETWORK_CHARS).contains(&network.len())
            && network.starts_with(|first: char| first.is_ascii_lowercase())
            && network.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9'));
        if !network_fits {
            return Err(malformed("the network is not 2 to 32 of a-z and 0-9, starting with a letter"));
        }
        let id =
            id.parse().map_err(|DidIdError { .. }| malformed("the id is not `z` and 32 bytes in base58"))?;
        Ok(Self { network: network.to_owned(), id })
    }
}

/// Whether `text` has a DID's form (`did:method:rest`) with another method's name than ours.
fn is_of_another_method(text: &str) -> bool {
    text.strip_prefix("did:").and_then(|rest| rest.split_once(':')).is_some_and(|(method, rest)| {
        method != "realdid"
            && !method.is_empty()
            && !rest.is_empty()
            && method.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9'))
    })
}

/// A text cut to what fits into a message.
fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}

impl Serialize for DidId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for DidId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
        } else {
            Digest::deserialize(deserializer).map(Self)
        }
    }
}

impl Serialize for Did {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Did {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_of_all_zeros_and_all_ones_survive_their_text() {
        for byte in [0, 1, 0x7f, 0xff] {
            let id = DidId(Digest::from_bytes([byte; 32]));
            assert_eq!(id.to_string().parse(), Ok(id));
            assert!(id.to_string().len() <= MAX_ID_CHARS);
        }
    }

    #[test]
    fn a_text_that_is_no_did_is_named_in_the_error() {
        let id = DidId(Digest::from_bytes([7; 32])).to_string();
        for (text, problem) in [
            (String::new(), "did:realdid:"),
            ("did:realdid".into(), "did:realdid:"),
            ("did::x".into(), "did:realdid:"),
            (format!("DID:realdid:test:{id}"), "did:realdid:"),
            ("did:realdid:test".into(), "no id"),
            (format!("did:realdid::{id}"), "network"),
            (format!("did:realdid:Test:{id}"), "network"),
            (format!("did:realdid:1st:{id}"), "network"),
            (format!("did:realdid:{}:{id}", "n".repeat(33)), "network"),
            ("did:realdid:test:".into(), "the id"),
            (format!("did:realdid:test:{}", &id[1..]), "the id"),
            (format!("did:realdid:test:{id}#key"), "the id"),
            (format!("did:realdid:test:{id} "), "the id"),
            (format!("did:realdid:test:{}", &id[..id.len() - 2]), "the id"),
            (format!("did:realdid:test:z{}", "2".repeat(100_000)), "the id"),
            (format!("did:realdid:test:z{}", "é".repeat(20)), "the id"),
        ] {
            let error = text.parse::<Did>().unwrap_err().to_string();
            assert!(
                error.contains(problem) && error.contains("expected did:realdid:<network>:<id>"),
                "{error}"
            );
            assert!(
                error.contains(&text.chars().take(20).collect::<String>()) && error.len() < 400,
                "{error}"
            );
        }
    }

    #[test]
    fn a_did_of_another_method_is_told_from_a_malformed_one() {
        let error = "did:web:example.org".parse::<Did>().unwrap_err();
        assert!(matches!(error, DidError::OtherMethod { .. }), "{error}");
    }

    proptest! {
        #[test]
        fn parsing_accepts_exactly_what_display_prints(bytes: [u8; 32], network in "[a-z][a-z0-9]{1,31}") {
            let did = Did::new(&network, DidId(Digest::from_bytes(bytes)));
            prop_assert_eq!(did.to_string().parse(), Ok(did));
        }

        #[test]
        fn any_text_that_parses_prints_as_itself(text in "did:realdid:[a-z]{2,4}:z[1-9A-Za-z]{43,44}") {
            if let Ok(did) = text.parse::<Did>() {
                prop_assert_eq!(did.to_string(), text);
            }
        }
    }
}

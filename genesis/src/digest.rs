//! BLAKE3 digests, domain-separated.
//!
//! Invariant: two different kinds of thing never share a digest, because each kind hashes under a context string
//! of its own (BLAKE3's `derive_key` mode, section 2.3 of the BLAKE3 paper).

pub mod many;

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use blake3::hazmat::{HasherExt, hash_derive_key_context};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::encoding::bytes;

/// A 32-byte BLAKE3 digest. Text form: 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Digest([u8; 32]);

/// How many kinds of things are hashed, the last one's place and one.
const DOMAINS: usize = Domain::Draft as usize + 1;

/// What is being hashed. The context strings are part of the protocol: changing one is a new protocol version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// A genesis document; the digest is the chain's id.
    Genesis,
    /// A consensus candidate (a block's header and its list of batches).
    Candidate,
    /// A batch of transactions.
    Batch,
    /// A transaction's operation, expiry and signers: its id.
    Transaction,
    /// The inception of a DID: its identifier.
    Inception,
    /// A DID document.
    Document,
    /// Keys that a record commits to without showing them.
    KeySet,
    /// A record of a DID: document, version and the digest of the record before it.
    Record,
    /// The validators and parameters of an epoch.
    Configuration,
    /// What a block's execution led to, as validators sign it.
    Checkpoint,
    /// A key and its value in a tree.
    Leaf,
    /// Two subtrees of a tree.
    Inner,
    /// What the state tree keeps something under.
    StateKey,
    /// Something in the state tree.
    StateValue,
    /// What became of a transaction.
    Receipt,
    /// What tells one contradiction of a validator from another.
    Evidence,
    /// A piece of a snapshot, or the list of its pieces.
    Snapshot,
    /// What a network is to be founded with, before its validators are known.
    Draft,
}

impl Domain {
    /// The context string's hash, which BLAKE3 starts from. Computed once.
    fn context_key(self) -> &'static [u8; 32] {
        static KEYS: [OnceLock<[u8; 32]>; DOMAINS] = [const { OnceLock::new() }; DOMAINS];
        KEYS[self as usize].get_or_init(|| hash_derive_key_context(self.context()))
    }

    const fn context(self) -> &'static str {
        match self {
            Self::Genesis => "realdid 2026-11 genesis v1",
            Self::Candidate => "realdid 2026-11 candidate v1",
            Self::Batch => "realdid 2026-11 batch v1",
            Self::Transaction => "realdid 2026-11 transaction v1",
            Self::Inception => "realdid 2026-11 inception v1",
            Self::Document => "realdid 2026-11 document v1",
            Self::KeySet => "realdid 2026-11 key set v1",
            Self::Record => "realdid 2026-11 record v1",
            Self::Configuration => "realdid 2026-11 configuration v1",
            Self::Checkpoint => "realdid 2026-11 checkpoint v1",
            Self::Leaf => "realdid 2026-11 leaf v1",
            Self::Inner => "realdid 2026-11 inner v1",
            Self::StateKey => "realdid 2026-11 state key v1",
            Self::StateValue => "realdid 2026-11 state value v1",
            Self::Receipt => "realdid 2026-11 receipt v1",
            Self::Evidence => "realdid 2026-11 evidence v1",
            Self::Snapshot => "realdid 2026-11 snapshot v1",
            Self::Draft => "realdid 2026-11 draft v1",
        }
    }
}

impl Digest {
    /// All zero: "nothing", for example the parent of the genesis block. No input hashes to it in practice.
    pub const ZERO: Self = Self([0; 32]);

    /// Hashes `bytes` under `domain`.
    pub fn of(domain: Domain, bytes: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new_from_context_key(domain.context_key());
        hasher.update(bytes);
        Self(*hasher.finalize().as_bytes())
    }

    /// Wraps 32 bytes that are a digest already.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The first eight hex digits: enough to recognise a digest in a log line.
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why a text is not a digest.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not a digest: expected 64 hex digits")]
pub struct DigestError {
    text: String,
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let error = || DigestError { text: text.chars().take(80).collect() };
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(error());
        }
        let nibble = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = match (nibble(pair[0]), nibble(pair[1])) {
                (Some(high), Some(low)) => high << 4 | low,
                _ => return Err(error()),
            };
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            bytes::serialize(&self.0, serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            text.parse().map_err(serde::de::Error::custom)
        } else {
            bytes::deserialize(deserializer).map(Self)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_in_two_domains_have_two_digests() {
        assert_ne!(Digest::of(Domain::Batch, b"x"), Digest::of(Domain::Candidate, b"x"));
    }

    #[test]
    fn a_digest_survives_its_text_form() {
        let digest = Digest::of(Domain::Batch, b"x");
        assert_eq!(digest.to_string().parse(), Ok(digest));
    }

    #[test]
    fn a_text_that_is_no_digest_is_named_in_the_error() {
        for text in ["", "00", &"g".repeat(64), &"A".repeat(64), &"é".repeat(32)] {
            let error = text.parse::<Digest>().unwrap_err().to_string();
            assert!(error.contains(&text[..text.len().min(10)]), "{error}");
        }
    }
}

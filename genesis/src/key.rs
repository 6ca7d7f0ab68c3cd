//! Keys, signatures, and the one rule that says which signatures are valid.
//!
//! The rule is ZIP-215 (<https://zips.z.cash/zip-0215>) for everything that is signed. `ed25519-dalek` makes keys
//! and signatures; `ed25519-zebra` checks them, because its single and its batch verification agree on every
//! input, and validators have to agree to the bit.
//!
//! Secret keys are wiped when dropped and have no text form here: `Debug` prints a placeholder.

pub mod known;
mod subgroup;

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::Signer;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::encoding::bytes;

/// The multicodec prefix of an Ed25519 public key (`0xed` as an unsigned varint), as in Multikey.
const ED25519_MULTICODEC: [u8; 2] = [0xed, 0x01];

/// A public key with its algorithm. Text form: Multikey (W3C Controlled Identifiers 1.0, section 2.2.2),
/// for example `z6Mkf…`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PublicKey {
    /// 32 bytes as RFC 8032 defines them.
    Ed25519([u8; 32]),
}

/// A signature with its algorithm. Text form: 128 hex digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    /// 64 bytes as RFC 8032 defines them.
    Ed25519([u8; 64]),
}

/// An Ed25519 secret key.
#[derive(Clone)]
pub struct SecretKey(ed25519_dalek::SigningKey);

/// One signature to be checked.
#[derive(Clone, Copy)]
pub struct Claim<'a> {
    /// Who is said to have signed.
    pub signer: PublicKey,
    /// What is said to be signed.
    pub message: &'a [u8],
    /// The signature.
    pub signature: Signature,
}

impl SecretKey {
    /// A fresh key from the operating system's randomness.
    pub fn generate() -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rand::Rng::fill_bytes(&mut rand::rng(), seed.as_mut());
        Self::from_seed(*seed)
    }

    /// The key that RFC 8032 derives from 32 secret bytes.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(&seed))
    }

    /// The 32 secret bytes, wiped when dropped. For key files and the transport, nothing else.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey::Ed25519(self.0.verifying_key().to_bytes())
    }

    /// Signs `message`. Deterministic (RFC 8032).
    pub fn sign(&self, message: &[u8]) -> Signature {
        let signature = Signature::Ed25519(self.0.sign(message).to_bytes());
        known::add(|| self.public(), message, &signature);
        signature
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.public())
    }
}

impl PublicKey {
    /// Whether this key signed `message` by the rule of ZIP-215.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> bool {
        if known::contains(self, message, signature) {
            return true;
        }
        let (Self::Ed25519(key), Signature::Ed25519(signature)) = (self, signature);
        ed25519_zebra::VerificationKey::try_from(*key)
            .and_then(|key| key.verify(&ed25519_zebra::Signature::from(*signature), message))
            .is_ok()
    }

    /// Whether this key may be registered: a canonical encoding of a point in the prime-order subgroup, other
    /// than the identity. Stricter than ZIP-215, so that a registered key has one encoding and one owner.
    pub fn is_registrable(&self) -> bool {
        are_registrable(std::slice::from_ref(self))
    }
}

/// Whether all of `keys` are [registrable](PublicKey::is_registrable): for some hundreds about three times as fast as one by
/// one. An unsound key passes with a chance of 2^-40 at most, each time it is tried.
pub fn are_registrable(keys: &[PublicKey]) -> bool {
    let point = |key: &PublicKey| {
        let PublicKey::Ed25519(bytes) = key;
        subgroup::decode(bytes)
    };
    let points: Option<Vec<_>> = keys.iter().map(point).collect();
    points.is_some_and(|points| subgroup::contains_all(&points))
}

/// Whether all of `claims` are valid; agrees with [`PublicKey::verify`] on every input, and is about twice as fast
/// for many.
pub fn verify_all(claims: &[Claim<'_>]) -> bool {
    if let [claim] = claims {
        return claim.signer.verify(claim.message, &claim.signature);
    }
    let mut verifier = ed25519_zebra::batch::Verifier::new();
    let mut all_known = true;
    for claim in claims {
        if known::contains(&claim.signer, claim.message, &claim.signature) {
            continue;
        }
        all_known = false;
        let (PublicKey::Ed25519(key), Signature::Ed25519(signature)) = (claim.signer, claim.signature);
        verifier.queue((
            ed25519_zebra::VerificationKeyBytes::from(key),
            ed25519_zebra::Signature::from(signature),
            claim.message,
        ));
    }
    all_known || verifier.verify(rand::rng()).is_ok()
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Ed25519(key) = self;
        let mut bytes = ED25519_MULTICODEC.to_vec();
        bytes.extend(key);
        write!(f, "z{}", bs58::encode(bytes).into_string())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Ed25519(bytes) = self;
        bytes[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why a text is not a key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{text}` is not an Ed25519 public key: expected a Multikey such as z6Mkf5rGMoatrSj1f4CyvuHBeXJELe9RPdzo2PKGNCKVtZxP"
)]
pub struct KeyError {
    text: String,
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let error = || KeyError { text: text.chars().take(80).collect() };
        // Base58 decoding takes quadratic time: refuse what cannot be a key before touching it.
        if text.len() > 64 {
            return Err(error());
        }
        let encoded = text.strip_prefix('z').ok_or_else(error)?;
        let bytes = bs58::decode(encoded).into_vec().map_err(|_| error())?;
        let key = bytes.strip_prefix(&ED25519_MULTICODEC).ok_or_else(error)?;
        key.try_into().map(Self::Ed25519).map_err(|_| error())
    }
}

/// The binary form of a key: algorithm index and bytes.
#[derive(Serialize, Deserialize)]
enum TaggedKey {
    Ed25519(#[serde(with = "bytes")] [u8; 32]),
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.collect_str(self);
        }
        let Self::Ed25519(key) = self;
        TaggedKey::Ed25519(*key).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom);
        }
        let TaggedKey::Ed25519(key) = TaggedKey::deserialize(deserializer)?;
        Ok(Self::Ed25519(key))
    }
}

/// The binary form of a signature: algorithm index and bytes.
#[derive(Serialize, Deserialize)]
enum TaggedSignature {
    Ed25519(#[serde(with = "bytes")] [u8; 64]),
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self::Ed25519(bytes) = self;
        if serializer.is_human_readable() {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            return serializer.serialize_str(&hex);
        }
        TaggedSignature::Ed25519(*bytes).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            let TaggedSignature::Ed25519(bytes) = TaggedSignature::deserialize(deserializer)?;
            return Ok(Self::Ed25519(bytes));
        }
        let text = String::deserialize(deserializer)?;
        let error = || serde::de::Error::custom("a signature is 128 lower-case hex digits");
        // Two digests' worth of hex: reuse their strict parser.
        let (left, right) = text.split_at_checked(64).ok_or_else(error)?;
        let half = |text: &str| text.parse::<crate::Digest>().map_err(|_| error());
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(half(left)?.as_bytes());
        bytes[32..].copy_from_slice(half(right)?.as_bytes());
        Ok(Self::Ed25519(bytes))
    }
}

#[cfg(test)]
mod tests;

//! The keys that a document lists. The ledger itself takes signatures of Ed25519 keys alone; the others are for whoever
//! deals with the subject.
//!
//! Invariant: a key that passed [`VerificationKey::check`] has one encoding. That a P-256, secp256k1 or BLS12-381 encoding
//! is a point of its curve is left to whoever uses the key, as the ledger never does.

use std::fmt;
use std::str::FromStr;

use genesis::PublicKey;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The most characters that a key's text has: `z` and the base58 of 98 bytes.
const MAX_CHARS: usize = 135;

/// The order of P-256's field (FIPS 186-5), big-endian: a coordinate is less.
const P256_FIELD: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x01, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
];

/// The order of secp256k1's field (SEC 2), big-endian.
const SECP256K1_FIELD: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xff, 0xff, 0xfc, 0x2f,
];

/// A public key with its algorithm. Text form: Multikey (W3C Controlled Identifiers 1.0, section 2.2.2), for example
/// `z6Mkf…`. The order of the variants is part of the encoding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum VerificationKey {
    /// As RFC 8032 defines them. Only these sign transactions.
    Ed25519([u8; 32]),
    /// A compressed point.
    P256([u8; 33]),
    /// A compressed point.
    Secp256k1([u8; 33]),
    /// As RFC 7748 defines them: for key agreement alone.
    X25519([u8; 32]),
    /// A compressed point of the second group, for signatures that can be shown in part (BBS).
    Bls12381G2([u8; 96]),
}

/// Why a text is not a key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{text}` is not a public key: expected a Multikey of Ed25519, P-256, secp256k1, X25519 or BLS12-381 G2, such as \
     z6Mkf5rGMoatrSj1f4CyvuHBeXJELe9RPdzo2PKGNCKVtZxP"
)]
pub struct VerificationKeyError {
    text: String,
}

impl VerificationKey {
    /// The key as a signer of transactions, where it can be one.
    pub const fn signer(&self) -> Option<PublicKey> {
        match self {
            Self::Ed25519(bytes) => Some(PublicKey::Ed25519(*bytes)),
            Self::P256(_) | Self::Secp256k1(_) | Self::X25519(_) | Self::Bls12381G2(_) => None,
        }
    }

    /// The algorithm's name.
    pub const fn algorithm(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "Ed25519",
            Self::P256(_) => "P-256",
            Self::Secp256k1(_) => "secp256k1",
            Self::X25519(_) => "X25519",
            Self::Bls12381G2(_) => "BLS12-381 G2",
        }
    }

    /// Whether it may be listed: for Ed25519 as `is_sound` says, for the others whether this is the one encoding that such a key
    /// has.
    pub(crate) fn check(&self, is_sound: &dyn Fn(&PublicKey) -> bool) -> bool {
        match self {
            Self::Ed25519(bytes) => is_sound(&PublicKey::Ed25519(*bytes)),
            Self::P256(point) => is_compressed(point, &P256_FIELD),
            Self::Secp256k1(point) => is_compressed(point, &SECP256K1_FIELD),
            // RFC 7748 ignores the highest bit, and zero is of low order.
            Self::X25519(bytes) => bytes[31] & 0x80 == 0 && *bytes != [0; 32],
            // The flags: compressed, and not the point at infinity.
            Self::Bls12381G2(point) => point[0] & 0b1100_0000 == 0b1000_0000,
        }
    }

    fn parts(&self) -> ([u8; 2], &[u8]) {
        match self {
            Self::Ed25519(bytes) => (ED25519, bytes),
            Self::P256(bytes) => (P256, bytes),
            Self::Secp256k1(bytes) => (SECP256K1, bytes),
            Self::X25519(bytes) => (X25519, bytes),
            Self::Bls12381G2(bytes) => (BLS12381_G2, bytes),
        }
    }
}

// The multicodec prefixes, as unsigned varints.
const ED25519: [u8; 2] = [0xed, 0x01];
const P256: [u8; 2] = [0x80, 0x24];
const SECP256K1: [u8; 2] = [0xe7, 0x01];
const X25519: [u8; 2] = [0xec, 0x01];
const BLS12381_G2: [u8; 2] = [0xeb, 0x01];

/// A compressed point (SEC 1): 2 or 3 for the sign, and a coordinate of the field.
fn is_compressed(point: &[u8; 33], field: &[u8; 32]) -> bool {
    matches!(point[0], 2 | 3) && point[1..] < field[..]
}

impl From<PublicKey> for VerificationKey {
    fn from(key: PublicKey) -> Self {
        let PublicKey::Ed25519(bytes) = key;
        Self::Ed25519(bytes)
    }
}

impl fmt::Display for VerificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (codec, bytes) = self.parts();
        write!(f, "z{}", bs58::encode([&codec, bytes].concat()).into_string())
    }
}

impl fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for VerificationKey {
    type Err = VerificationKeyError;

    fn from_str(text: &str) -> Result<Self, VerificationKeyError> {
        let error = || VerificationKeyError { text: text.chars().take(80).collect() };
        // Base58 decoding takes quadratic time: refuse what cannot be a key before touching it.
        if text.len() > MAX_CHARS {
            return Err(error());
        }
        let encoded = text.strip_prefix('z').ok_or_else(error)?;
        let bytes = bs58::decode(encoded).into_vec().map_err(|_| error())?;
        let (codec, key) = bytes.split_first_chunk::<2>().ok_or_else(error)?;
        let key = match *codec {
            ED25519 => key.try_into().ok().map(Self::Ed25519),
            P256 => key.try_into().ok().map(Self::P256),
            SECP256K1 => key.try_into().ok().map(Self::Secp256k1),
            X25519 => key.try_into().ok().map(Self::X25519),
            BLS12381_G2 => key.try_into().ok().map(Self::Bls12381G2),
            _ => None,
        };
        key.ok_or_else(error)
    }
}

/// The binary form: algorithm index and bytes. Serde has arrays of up to 32.
#[derive(Serialize, Deserialize)]
enum Tagged {
    Ed25519(#[serde(with = "genesis::encoding::bytes")] [u8; 32]),
    P256(u8, [u8; 32]),
    Secp256k1(u8, [u8; 32]),
    X25519(#[serde(with = "genesis::encoding::bytes")] [u8; 32]),
    Bls12381G2([[u8; 32]; 3]),
}

fn split(point: &[u8; 33]) -> (u8, [u8; 32]) {
    (point[0], std::array::from_fn(|index| point[index + 1]))
}

fn joined(sign: u8, coordinate: &[u8; 32]) -> [u8; 33] {
    std::array::from_fn(|index| if index == 0 { sign } else { coordinate[index - 1] })
}

impl Serialize for VerificationKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.collect_str(self);
        }
        let tagged = match self {
            Self::Ed25519(bytes) => Tagged::Ed25519(*bytes),
            Self::P256(point) => {
                let (sign, coordinate) = split(point);
                Tagged::P256(sign, coordinate)
            }
            Self::Secp256k1(point) => {
                let (sign, coordinate) = split(point);
                Tagged::Secp256k1(sign, coordinate)
            }
            Self::X25519(bytes) => Tagged::X25519(*bytes),
            Self::Bls12381G2(point) => {
                let third = |part: usize| std::array::from_fn(|index| point[32 * part + index]);
                Tagged::Bls12381G2([third(0), third(1), third(2)])
            }
        };
        tagged.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for VerificationKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return String::deserialize(deserializer)?.parse().map_err(D::Error::custom);
        }
        Ok(match Tagged::deserialize(deserializer)? {
            Tagged::Ed25519(bytes) => Self::Ed25519(bytes),
            Tagged::P256(sign, coordinate) => Self::P256(joined(sign, &coordinate)),
            Tagged::Secp256k1(sign, coordinate) => Self::Secp256k1(joined(sign, &coordinate)),
            Tagged::X25519(bytes) => Self::X25519(bytes),
            Tagged::Bls12381G2(parts) => {
                Self::Bls12381G2(std::array::from_fn(|index| parts[index / 32][index % 32]))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use genesis::encoding::{decode, encode};

    use super::*;
    use crate::samples::{agreement_key, key, point};

    fn all() -> [VerificationKey; 5] {
        [
            key(1).public().into(),
            VerificationKey::P256(point(2)),
            VerificationKey::Secp256k1(point(3)),
            agreement_key(4),
            VerificationKey::Bls12381G2(std::array::from_fn(|index| if index == 0 { 0x81 } else { 5 })),
        ]
    }

    #[test]
    fn a_key_of_each_algorithm_survives_its_text_and_its_bytes() {
        for (key, length) in all().into_iter().zip([32, 33, 33, 32, 96]) {
            assert_eq!(key.to_string().parse(), Ok(key));
            assert!(key.to_string().len() <= MAX_CHARS, "{}", key.to_string().len());
            let bytes = encode(&key);
            assert_eq!((bytes.len(), decode(&bytes, 100).unwrap()), (4 + length, key));
            let json = serde_json::to_string(&key).unwrap();
            assert_eq!(
                (json.trim_matches('"'), serde_json::from_str(&json).unwrap()),
                (&*key.to_string(), key)
            );
            assert!(key.check(&PublicKey::is_registrable), "{}", key.algorithm());
        }
    }

    /// The prefixes by which the W3C's specifications know them: Controlled Identifiers 1.0, section 2.2.2.
    #[test]
    fn the_texts_start_as_the_specification_says() {
        for (key, start) in all().iter().zip(["z6Mk", "zDn", "zQ3s", "z6LS", "zUC7"]) {
            assert!(key.to_string().starts_with(start), "{key} does not start with {start}");
        }
        let PublicKey::Ed25519(bytes) = key(1).public();
        assert_eq!(VerificationKey::Ed25519(bytes).to_string(), key(1).public().to_string());
    }

    #[test]
    fn a_second_encoding_is_refused() {
        let mut over = P256_FIELD.to_vec();
        over.insert(0, 2);
        for unsound in [
            VerificationKey::P256([4; 33]),
            VerificationKey::P256(over.try_into().unwrap()),
            VerificationKey::Secp256k1(std::array::from_fn(|index| if index == 0 { 2 } else { 0xff })),
            VerificationKey::X25519([0; 32]),
            VerificationKey::X25519([0x80; 32]),
            VerificationKey::Bls12381G2([1; 96]),
            VerificationKey::Bls12381G2([0xc0; 96]),
        ] {
            assert!(!unsound.check(&PublicKey::is_registrable), "{unsound}");
        }
    }

    #[test]
    fn a_text_that_is_no_key_is_named_in_the_error() {
        let long = format!("z{}", "2".repeat(100_000));
        let other = format!("z{}", bs58::encode([&[0x12, 0x20][..], &[7; 32]].concat()).into_string());
        for text in ["", "z", "z6Mk", "6Mk", &other, &long] {
            let error = text.parse::<VerificationKey>().unwrap_err().to_string();
            assert!(error.contains(&text[..text.len().min(20)]) && error.contains("Multikey"), "{error}");
        }
    }
}

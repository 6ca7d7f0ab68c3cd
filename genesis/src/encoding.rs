//! The one canonical byte form of everything that is hashed, signed, sent or stored.
//!
//! Format: bincode 2 with fixed-width little-endian integers. Structs and tuples are their fields in order; a
//! `Vec` or `String` is a `u64` length and its items; an `Option` is one byte and the value; an enum is a `u32`
//! index and the variant's fields.
//!
//! Invariant: a value has exactly one byte form. [`decode`] refuses trailing bytes and anything that does not
//! encode back to the bytes it came from, and reads at most `limit` bytes.
//!
//! This file alone names the codec. The test below holds the format, byte for byte, against `wincode`, an
//! independent implementation, so that the codec can be changed without changing a byte
//! (`docs/decisions/001-encoding.md`).

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The hard bound on anything decoded, whatever the caller's limit: 64 MiB.
const MAX_BYTES: usize = 64 << 20;

const CODEC: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Fixint,
    bincode::config::Limit<MAX_BYTES>,
> = bincode::config::standard().with_little_endian().with_fixed_int_encoding().with_limit::<MAX_BYTES>();

/// Why bytes are not the canonical form of a value.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// More bytes than the caller allows for this kind of value.
    #[error("{length} bytes, but at most {limit} are allowed here")]
    TooLong {
        /// What came, in bytes.
        length: usize,
        /// What is allowed, in bytes.
        limit: usize,
    },
    /// The bytes are not of this type.
    #[error("malformed: {reason}")]
    Malformed {
        /// What is wrong, in words.
        reason: String,
    },
    /// Bytes are left after the value.
    #[error("{count} bytes too many after the value")]
    Trailing {
        /// How many.
        count: usize,
    },
    /// The value has another, canonical form.
    #[error("not in canonical form")]
    NotCanonical,
}

/// The canonical bytes of `value`.
///
/// # Panics
/// When `value` is of a type without a fixed shape (a sequence of unknown length): a mistake in this program,
/// never a matter of input.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    match bincode::serde::encode_to_vec(value, CODEC) {
        Ok(bytes) => bytes,
        Err(error) => unreachable!("only types with a fixed shape are encoded: {error}"),
    }
}

/// The value whose canonical form is exactly `bytes`, which are at most `limit` long.
///
/// # Errors
/// When `bytes` are too long, malformed, followed by others, or not canonical. Allocates in proportion to the
/// length of `bytes`, never to a length that they claim.
pub fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8], limit: usize) -> Result<T, DecodeError> {
    if bytes.len() > limit {
        return Err(DecodeError::TooLong { length: bytes.len(), limit });
    }
    let (value, read): (T, usize) = bincode::serde::decode_from_slice(bytes, CODEC)
        .map_err(|error| DecodeError::Malformed { reason: in_words(error) })?;
    if read != bytes.len() {
        return Err(DecodeError::Trailing { count: bytes.len() - read });
    }
    if encode(&value) != bytes {
        return Err(DecodeError::NotCanonical);
    }
    Ok(value)
}

/// What the codec says, for whoever sent the bytes: the codec's own text is its Rust type.
fn in_words(error: bincode::error::DecodeError) -> String {
    use bincode::error::DecodeError as Codec;
    let what = match error {
        Codec::UnexpectedEnd { .. } => return "it ends too early".to_owned(),
        Codec::LimitExceeded => return "it claims to be longer than anything may be".to_owned(),
        Codec::Utf8 { .. } => "a text is not UTF-8".to_owned(),
        Codec::InvalidBooleanValue(byte) => format!("{byte} is neither true nor false"),
        // The types' own words, which may repeat what came.
        Codec::OtherString(text) => text.chars().take(120).collect(),
        Codec::Other(text) => text.to_owned(),
        _ => return "it is not a value of this type".to_owned(),
    };
    format!("it is not a value of this type: {what}")
}

/// Serde's form of a fixed array of 64 bytes (serde itself stops at 32): its bytes, without a length.
pub mod bytes64 {
    use std::fmt;

    use serde::de::{Error, SeqAccess, Visitor};
    use serde::ser::SerializeTuple;
    use serde::{Deserializer, Serializer};

    /// Writes the 64 bytes.
    ///
    /// # Errors
    /// When the serializer fails.
    pub fn serialize<S: Serializer>(bytes: &[u8; 64], serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(64)?;
        bytes.iter().try_for_each(|byte| tuple.serialize_element(byte))?;
        tuple.end()
    }

    /// Reads 64 bytes.
    ///
    /// # Errors
    /// When there are fewer.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 64], D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = [u8; 64];
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("64 bytes")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<[u8; 64], A::Error> {
                let mut bytes = [0; 64];
                for (index, byte) in bytes.iter_mut().enumerate() {
                    *byte = items.next_element()?.ok_or_else(|| A::Error::invalid_length(index, &self))?;
                }
                Ok(bytes)
            }
        }
        deserializer.deserialize_tuple(64, Bytes)
    }
}

#[cfg(test)]
mod tests;

//! The one canonical byte form of everything that is hashed, signed, sent or stored.
//!
//! Format: bincode 2 with fixed-width little-endian integers. Structs and tuples are their fields in order; a
//! `Vec` or `String` is a `u64` length and its items; an `Option` is one byte and the value; an enum is a `u32`
//! index and the variant's fields.
//!
//! Invariant: a value has exactly one byte form. [`decode`] refuses trailing bytes and anything that does not
//! encode back to the bytes it came from, and reads at most `limit` bytes.
//!
//! This file alone names the codec, which writes; [`reader`] reads, as the codec's own decoder believes what a length
//! claims. The test below holds the format, byte for byte, against `wincode`, an independent implementation, so that
//! either can be changed without changing a byte (`docs/decisions/001-encoding.md`).

mod reader;

use serde::Serialize;
use serde::de::DeserializeOwned;

use self::reader::Reader;
pub use self::reader::list;

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
/// When `bytes` are too long, malformed, followed by others, or not canonical. Allocates at most four times the length of
/// `bytes` and a little, never what a length claims: see [`list`].
pub fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8], limit: usize) -> Result<T, DecodeError> {
    let limit = limit.min(MAX_BYTES);
    if bytes.len() > limit {
        return Err(DecodeError::TooLong { length: bytes.len(), limit });
    }
    let mut reader = Reader::new(bytes);
    let value = T::deserialize(&mut reader).map_err(DecodeError::from)?;
    if reader.left() > 0 {
        return Err(DecodeError::Trailing { count: reader.left() });
    }
    if !encodes_to(&value, bytes) {
        return Err(DecodeError::NotCanonical);
    }
    Ok(value)
}

/// Takes what a value encodes to, as long as it is what was expected.
struct Expected<'a> {
    rest: &'a [u8],
}

impl bincode::enc::write::Writer for Expected<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
        self.rest = self.rest.strip_prefix(bytes).ok_or(bincode::error::EncodeError::UnexpectedEnd)?;
        Ok(())
    }
}

fn encodes_to<T: Serialize>(value: &T, bytes: &[u8]) -> bool {
    let mut expected = Expected { rest: bytes };
    bincode::serde::encode_into_writer(value, &mut expected, CODEC).is_ok() && expected.rest.is_empty()
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

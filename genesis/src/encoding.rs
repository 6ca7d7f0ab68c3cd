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
    /// Most values fit without the list being moved; none of them is kept for long.
    const USUAL_BYTES: usize = 384;
    let mut written = Written(Vec::with_capacity(USUAL_BYTES));
    match bincode::serde::encode_into_writer(value, &mut written, CODEC) {
        Ok(()) => written.0,
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

/// What a value encodes to.
struct Written(Vec<u8>);

impl bincode::enc::write::Writer for Written {
    fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
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

/// Serde's form of a fixed array of bytes: the bytes alone, without a length. They are written and read eight at a time, as numbers of
/// 64 bits, which in the canonical encoding is the same and several times faster than one by one. For that encoding alone.
pub mod bytes {
    use std::fmt;

    use serde::de::{Error, SeqAccess, Visitor};
    use serde::ser::SerializeTuple;
    use serde::{Deserializer, Serializer};

    /// Writes the bytes, a multiple of eight.
    ///
    /// # Errors
    /// When the serializer fails.
    pub fn serialize<const N: usize, S: Serializer>(
        bytes: &[u8; N],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        const { assert!(N.is_multiple_of(8), "whole words") }
        let mut tuple = serializer.serialize_tuple(N / 8)?;
        bytes
            .as_chunks()
            .0
            .iter()
            .try_for_each(|word| tuple.serialize_element(&u64::from_le_bytes(*word)))?;
        tuple.end()
    }

    /// Reads the bytes.
    ///
    /// # Errors
    /// When there are fewer.
    pub fn deserialize<'de, const N: usize, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<[u8; N], D::Error> {
        struct Bytes<const N: usize>;
        impl<'de, const N: usize> Visitor<'de> for Bytes<N> {
            type Value = [u8; N];
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{N} bytes")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<[u8; N], A::Error> {
                let mut bytes = [0; N];
                for (index, word) in bytes.as_chunks_mut().0.iter_mut().enumerate() {
                    let value: Option<u64> = items.next_element()?;
                    *word = value.ok_or_else(|| A::Error::invalid_length(8 * index, &self))?.to_le_bytes();
                }
                Ok(bytes)
            }
        }
        const { assert!(N.is_multiple_of(8), "whole words") }
        deserializer.deserialize_tuple(N / 8, Bytes)
    }
}

/// Serde's form of a list of bytes: a length and the bytes, written and compared in one go. For the canonical encoding alone, in which
/// it is the same as that of a `Vec<u8>`.
pub mod byte_list {
    use std::fmt;

    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    /// Writes the bytes.
    ///
    /// # Errors
    /// When the serializer fails.
    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    /// Reads the bytes. What is allocated is no more than there is.
    ///
    /// # Errors
    /// When there are fewer than the length says.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

#[cfg(test)]
mod tests;

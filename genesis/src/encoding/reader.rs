//! Reads values from their canonical bytes.
//!
//! Invariant: what is allocated is bounded by the bytes that are there, whatever lengths they claim. A text or a list of bytes is
//! read only where all of it is there. A list that is read by [`list`] reserves room for its items only where the bytes left
//! suffice for as many; any other list grows as its items come.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, DeserializeSeed, Deserializer, EnumAccess, Error, SeqAccess, VariantAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

use super::{DecodeError, MAX_BYTES};

/// Under this name [`list`] tells the reader how many bytes an item has at least.
const LIST: &str = "realdid list";

/// The bytes that are still to be read.
pub(super) struct Reader<'de> {
    rest: &'de [u8],
}

/// Why bytes are not of a type: in words, for whoever sent them.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("it ends too early")]
    End,
    #[error("it claims to be longer than anything may be")]
    Long,
    #[error("it is not a value of this type: {0}")]
    Other(String),
}

impl Error for ReadError {
    fn custom<T: fmt::Display>(text: T) -> Self {
        // The types' own words, which may repeat what came.
        Self::Other(text.to_string().chars().take(120).collect())
    }
}

impl From<ReadError> for DecodeError {
    fn from(error: ReadError) -> Self {
        Self::Malformed { reason: error.to_string() }
    }
}

impl<'de> Reader<'de> {
    pub(super) const fn new(bytes: &'de [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes are left.
    pub(super) const fn left(&self) -> usize {
        self.rest.len()
    }

    fn take(&mut self, count: usize) -> Result<&'de [u8], ReadError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(ReadError::End)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(ReadError::End)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// A length, of items with at least `least` bytes each.
    fn length(&mut self, least: usize) -> Result<usize, ReadError> {
        let length = usize::try_from(u64::from_le_bytes(self.array()?)).map_err(|_| ReadError::Long)?;
        match length.checked_mul(least) {
            Some(bytes) if bytes <= self.left() => Ok(length),
            Some(bytes) if bytes <= MAX_BYTES => Err(ReadError::End),
            _ => Err(ReadError::Long),
        }
    }

    fn truth(&mut self) -> Result<bool, ReadError> {
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [byte] => Err(ReadError::Other(format!("{byte} is neither true nor false"))),
        }
    }
}

/// Items one after the other. Without a trusted count it says nothing of how many are to come.
struct Items<'a, 'de> {
    reader: &'a mut Reader<'de>,
    left: usize,
    trusted: bool,
}

impl<'de> SeqAccess<'de> for Items<'_, 'de> {
    type Error = ReadError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, ReadError> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(&mut *self.reader).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        self.trusted.then_some(self.left)
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $number:ty,)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            visitor.$visit(<$number>::from_le_bytes(self.array()?))
        })*
    };
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = ReadError;

    numbers! {
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
        deserialize_u128 visit_u128 u128,
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
        deserialize_i128 visit_i128 i128,
    }

    // Bytes do not say what they are; and what the network agrees on has no fractions, letters, units or maps without order.
    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, ReadError> {
        Err(ReadError::custom("types of this kind have no encoding"))
    }

    forward_to_deserialize_any! { f32 f64 char identifier ignored_any }

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_bool(self.truth()?)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let length = self.length(1)?;
        visitor.visit_borrowed_bytes(self.take(length)?)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let length = self.length(1)?;
        let text =
            std::str::from_utf8(self.take(length)?).map_err(|_| ReadError::custom("a text is not UTF-8"))?;
        visitor.visit_borrowed_str(text)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if self.truth()? { visitor.visit_some(self) } else { visitor.visit_none() }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let left = self.length(1)?;
        visitor.visit_seq(Items { reader: self, left, trusted: false })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, left: usize, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_seq(Items { reader: self, left, trusted: false })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        count: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        if name != LIST {
            return self.deserialize_tuple(count, visitor);
        }
        let left = self.length(count)?;
        visitor.visit_seq(Items { reader: self, left, trusted: true })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let left = self.length(1)?;
        visitor.visit_map(Items { reader: self, left, trusted: false })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_enum(self)
    }
}

impl<'de> de::MapAccess<'de> for Items<'_, 'de> {
    type Error = ReadError;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, ReadError> {
        self.next_element_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, ReadError> {
        seed.deserialize(&mut *self.reader)
    }
}

impl<'de> EnumAccess<'de> for &mut Reader<'de> {
    type Error = ReadError;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), ReadError> {
        let index = u32::from_le_bytes(self.array()?);
        let index: de::value::U32Deserializer<ReadError> = de::IntoDeserializer::into_deserializer(index);
        Ok((seed.deserialize(index)?, self))
    }
}

impl<'de> VariantAccess<'de> for &mut Reader<'de> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, ReadError> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, count: usize, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_tuple(count, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_tuple(fields.len(), visitor)
    }
}

/// Serde's form of a list whose items have at least `LEAST` bytes each, for `#[serde(deserialize_with = "…")]`. From
/// canonical bytes it reserves room for all items at once, and only where the bytes that are left suffice for them: so
/// it takes as many times the bytes as an item takes in memory against `LEAST`, and never what a length claims.
///
/// # Errors
/// When there are fewer items than the length says, or one is malformed.
pub fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>, const LEAST: usize>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    struct Items<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<T> {
        type Value = Vec<T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::with_capacity(items.size_hint().unwrap_or(0));
            while let Some(item) = items.next_element()? {
                list.push(item);
            }
            Ok(list)
        }
    }
    if deserializer.is_human_readable() {
        return Vec::deserialize(deserializer);
    }
    deserializer.deserialize_tuple_struct(LIST, LEAST, Items(PhantomData))
}

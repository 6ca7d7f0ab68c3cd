//! What a key is called within its DID: a number, so that its name can say nothing about a person.
//!
//! Invariant: a number is 1 to 65,535 and has one text, `key-<n>`, the fragment of its DID URL.

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What stands before the number in its text.
const PREFIX: &str = "key-";

/// The number of a key in its DID, from 1. JSON form: the number; text form: `key-1`, the fragment of its DID URL.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct KeyNumber(NonZeroU16);

/// Why a number or a text is not a [`KeyNumber`].
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyNumberError {
    /// Keys are counted from 1.
    #[error("0 is not a key's number: expected 1 to {}", u16::MAX)]
    Zero,
    /// The text is not `key-` and a number.
    #[error("`{text}` does not name a key: expected key-1 to key-{}, without leading zeros", u16::MAX)]
    Text {
        /// The text, cut to what fits into a message.
        text: String,
    },
}

impl KeyNumber {
    /// The first one.
    pub const FIRST: Self = Self(NonZeroU16::MIN);
    /// The last one.
    pub const LAST: Self = Self(NonZeroU16::MAX);

    /// `number`, unless it is 0.
    ///
    /// # Errors
    /// When it is 0.
    pub const fn new(number: u16) -> Result<Self, KeyNumberError> {
        match NonZeroU16::new(number) {
            Some(number) => Ok(Self(number)),
            None => Err(KeyNumberError::Zero),
        }
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0.get()
    }

    /// The one after it, unless it is the last.
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }
}

impl TryFrom<u16> for KeyNumber {
    type Error = KeyNumberError;

    fn try_from(number: u16) -> Result<Self, KeyNumberError> {
        Self::new(number)
    }
}

impl From<KeyNumber> for u16 {
    fn from(number: KeyNumber) -> Self {
        number.get()
    }
}

impl fmt::Display for KeyNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.0)
    }
}

impl fmt::Debug for KeyNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for KeyNumber {
    type Err = KeyNumberError;

    fn from_str(text: &str) -> Result<Self, KeyNumberError> {
        // `parse` also takes `+1` and `01`: a number has one text.
        let number = text.strip_prefix(PREFIX).and_then(|digits| digits.parse().ok()).map(Self);
        number
            .filter(|number| number.to_string() == text)
            .ok_or_else(|| KeyNumberError::Text { text: text.chars().take(80).collect() })
    }
}

#[cfg(test)]
mod tests {
    use genesis::encoding::{decode, encode};

    use super::*;

    #[test]
    fn a_number_survives_its_text_its_json_and_its_two_bytes() {
        for (number, text) in [(1, "key-1"), (10, "key-10"), (u16::MAX, "key-65535")] {
            let key = KeyNumber::new(number).unwrap();
            assert_eq!((key.to_string().as_str(), text.parse()), (text, Ok(key)));
            let json = serde_json::to_string(&key).unwrap();
            assert_eq!(json, number.to_string());
            assert_eq!(serde_json::from_str::<KeyNumber>(&json).unwrap(), key);
            assert_eq!(encode(&key), number.to_le_bytes());
            assert_eq!(decode::<KeyNumber>(&number.to_le_bytes(), 2).unwrap(), key);
        }
    }

    #[test]
    fn a_name_or_an_id_number_is_no_key_number() {
        for text in [
            "",
            "key-",
            "key-0",
            "key-01",
            "key-+1",
            "key--1",
            "key- 1",
            "key-1 ",
            "Key-1",
            "key-65536",
            "key-11010519491231002x",
            "key-110105194912310021",
            "1",
            "zhang-san",
            "key-zhang-san",
        ] {
            let error = text.parse::<KeyNumber>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{text}` does not name a key")), "{error}");
        }
        for json in ["0", "65536", "-1", "1.0", "\"1\"", "\"key-1\"", "\"zhang-san\"", "null"] {
            assert!(serde_json::from_str::<KeyNumber>(json).is_err(), "{json}");
        }
        let error = decode::<KeyNumber>(&[0, 0], 2).unwrap_err().to_string();
        assert!(error.contains("0 is not a key's number: expected 1 to 65535"), "{error}");
    }

    #[test]
    fn the_last_number_has_no_next() {
        assert_eq!(KeyNumber::FIRST.next(), Some(KeyNumber::new(2).unwrap()));
        assert_eq!(KeyNumber::LAST.next(), None);
    }
}

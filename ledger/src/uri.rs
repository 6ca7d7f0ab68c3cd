//! Where something is served: an address that is safe to keep and to print.
//!
//! Invariant: `https://`, a host, at most [`Uri::MAX_BYTES`] bytes of visible ASCII, no user, no fragment, nothing that JSON
//! or HTML would have to escape.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An `https` address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Uri(String);

/// Why a text is no [`Uri`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{text}` is not an address: expected https://, a host, and at most {} bytes of visible ASCII without user and fragment",
    Uri::MAX_BYTES
)]
pub struct UriError {
    text: String,
}

impl Uri {
    /// The most bytes that an address has.
    pub const MAX_BYTES: usize = 255;

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Uri {
    type Error = UriError;

    fn try_from(text: String) -> Result<Self, UriError> {
        let allowed = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}'#&@".contains(&byte);
        let host = text.strip_prefix("https://").and_then(|rest| rest.split(['/', '?']).next());
        let sound = text.len() <= Self::MAX_BYTES
            && host.is_some_and(|host| host.starts_with(|first: char| first.is_ascii_alphanumeric()))
            && text.bytes().all(allowed);
        if sound { Ok(Self(text)) } else { Err(UriError { text: text.chars().take(80).collect() }) }
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_https_address_of_bounded_length_is_taken() {
        for text in ["https://a", "https://example.org/lists/1?x=2", "https://10.0.0.1:8443/"] {
            assert_eq!(Uri::try_from(text.to_owned()).unwrap().as_str(), text);
        }
        let long = format!("https://a/{}", "x".repeat(246));
        for text in [
            "",
            "http://a",
            "https://",
            "https:///a",
            "https://a b",
            "https://a\n",
            "https://ä",
            "https://u@a",
            "https://a#b",
            "https://a/\"",
            "https://a/<",
            "javascript:alert(1)",
            &long,
        ] {
            let error = Uri::try_from(text.to_owned()).unwrap_err().to_string();
            assert!(error.starts_with('`') && error.contains("255"), "{error}");
        }
    }
}

//! DID URLs (DID Core 1.1, section 3.2) and the percent-encoding in them (RFC 3986, section 2.1).
//!
//! Invariant: a [`DidUrl`] is decoded once, and so are its parameters. Whether its DID is one is left to resolution.

use super::problem::{Problem, shown};

/// A DID URL in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DidUrl {
    /// What should be a DID.
    pub did: String,
    /// What stands after the DID, from its first `/` on; empty where there is none.
    pub path: String,
    /// The parameters, in order, decoded.
    pub parameters: Vec<(String, String)>,
    /// What stands after `#`.
    pub fragment: Option<String>,
}

impl DidUrl {
    /// Reads a DID URL as it stands in the path of an HTTP URL: with any of its characters percent-encoded.
    pub(super) fn from_http_path(path: &str) -> Result<Self, Problem> {
        Self::parse(&decode(path)?)
    }

    /// Reads a DID URL.
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        let (rest, fragment) = match text.split_once('#') {
            Some((rest, fragment)) => (rest, Some(decode(fragment)?)),
            None => (text, None),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (did, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        Ok(Self { did: did.to_owned(), path: path.to_owned(), parameters: parameters(query)?, fragment })
    }
}

/// The names and values in a query, decoded. A `+` is itself, as in any URI.
pub(super) fn parameters(query: &str) -> Result<Vec<(String, String)>, Problem> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        })
        .collect()
}

fn decode(text: &str) -> Result<String, Problem> {
    let refused = |problem| Problem::InvalidDidUrl { url: shown(text), problem };
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|digit| char::from(digit).to_digit(16));
        match (digit(), digit()) {
            (Some(high), Some(low)) => decoded.push((high * 16 + low) as u8),
            _ => return Err(refused("it has a % without two hex digits")),
        }
    }
    String::from_utf8(decoded).map_err(|_| refused("it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn a_did_url_has_the_same_parts_however_it_is_encoded_in_a_path() {
        let url = DidUrl {
            did: "did:example:1".into(),
            path: "/a/b".into(),
            parameters: vec![pair("service", "files"), pair("relativeRef", "/résumé?x=1")],
            fragment: Some("key-1".into()),
        };
        let plain = "did:example:1/a/b?service=files&relativeRef=%2Fr%C3%A9sum%C3%A9%3Fx%3D1#key-1";
        let encoded = "did%3Aexample%3A1%2fa/b%3Fservice%3Dfiles%26relativeRef%3D%252Fr%25C3%25A9sum%25C3%25A9%253Fx%253D1\
                       %23key-1";
        assert_eq!(DidUrl::parse(plain), Ok(url.clone()));
        assert_eq!(DidUrl::from_http_path(encoded), Ok(url));
    }

    #[test]
    fn a_did_alone_has_no_other_parts() {
        let url =
            DidUrl { did: "did:example:1".into(), path: String::new(), parameters: vec![], fragment: None };
        assert_eq!(DidUrl::from_http_path("did:example:1"), Ok(url));
    }

    #[test]
    fn a_plus_is_a_plus_and_a_name_without_a_value_has_an_empty_one() {
        assert_eq!(parameters("a=b+c&d&&=e"), Ok(vec![pair("a", "b+c"), pair("d", ""), pair("", "e")]));
    }

    #[test]
    fn broken_percent_encoding_is_refused() {
        for text in ["did:example:1%", "%2", "%zz", "%+1", "%ff", "did:example:1%23%2541%25"] {
            assert!(matches!(DidUrl::from_http_path(text), Err(Problem::InvalidDidUrl { .. })), "{text}");
        }
        assert!(parameters("a=%c3").is_err());
    }
}

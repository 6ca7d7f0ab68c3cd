//! What the caller of resolution or dereferencing asks for: the options of DID Resolution 1.0, sections 4.1 and 5.1, the
//! DID parameters of section 3, which are passed on as options, and two of our own, for a proof.
//!
//! Invariant: each name stands once, and each value is ASCII and bounded. An option that is not known is refused rather
//! than ignored: its caller may rely on it. What the values mean is left to those who follow them.

use genesis::Epoch;
use serde_json::{Map, Value};

use super::problem::{Problem, shown};

/// The most bytes of one value.
const MAX_VALUE_BYTES: usize = 2_048;

/// What the caller asks for. The names are the specification's, in our case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// A version's number; the newest where there is none.
    pub version_id: Option<String>,
    /// A time: the version that was the newest then.
    pub version_time: Option<String>,
    /// The media types that the caller takes, as in HTTP's `Accept`.
    pub accept: Option<String>,
    /// What the verification method must be for.
    pub verification_relationship: Option<String>,
    /// A service's id, or the end of it.
    pub service: Option<String>,
    /// A service's type.
    pub service_type: Option<String>,
    /// A reference relative to the service's endpoint.
    pub relative_ref: Option<String>,
    /// `true` or `false`: whether relative DID URLs are to become absolute. Ours always are.
    pub expand_relative_urls: Option<String>,
    /// `true` or `false`: whether the result is to bring a proof. No option of the specification's.
    pub proof: Option<String>,
    /// The epoch whose validators the caller knows, for a proof; the first one where there is none.
    pub since_epoch: Option<String>,
}

impl Options {
    /// Reads options from a JSON object. Values are texts, or truth values where the option is one.
    ///
    /// # Errors
    /// Names the option, its value and what is allowed.
    pub fn from_json(options: &Map<String, Value>) -> Result<Self, Problem> {
        let mut read = Self::default();
        read.set_from_json(options)?;
        Ok(read)
    }

    /// Takes the options of a JSON object too.
    pub(super) fn set_from_json(&mut self, options: &Map<String, Value>) -> Result<(), Problem> {
        for (name, value) in options {
            match value {
                Value::String(value) => self.set(name, value)?,
                Value::Bool(value) => self.set(name, if *value { "true" } else { "false" })?,
                // As if it were absent: some clients write all the names that they know.
                Value::Null => {}
                other => return Err(invalid(name, &other.to_string(), "a text")),
            }
        }
        Ok(())
    }

    /// Takes one more option.
    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        if !value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(invalid(name, value, "printable ASCII"));
        }
        if value.len() > MAX_VALUE_BYTES {
            return Err(invalid(name, value, "at most 2048 bytes"));
        }
        let field = match name {
            "versionId" => &mut self.version_id,
            "versionTime" => &mut self.version_time,
            "accept" => &mut self.accept,
            "verificationRelationship" => &mut self.verification_relationship,
            "service" => &mut self.service,
            "serviceType" => &mut self.service_type,
            "relativeRef" => &mut self.relative_ref,
            "expandRelativeUrls" => &mut self.expand_relative_urls,
            "proof" => &mut self.proof,
            "sinceEpoch" => &mut self.since_epoch,
            _ => {
                return Err(Problem::UnsupportedOption {
                    name: shown(name),
                    hint: "versionId, versionTime, accept, expandRelativeUrls, verificationRelationship, service, \
                           serviceType, relativeRef, proof and sinceEpoch are",
                });
            }
        };
        if matches!(name, "expandRelativeUrls" | "proof") && !matches!(value, "true" | "false") {
            return Err(invalid(name, value, "true or false"));
        }
        if name == "sinceEpoch" && epoch(value).is_none() {
            return Err(invalid(name, value, "an epoch's number, from 0, without leading zeros"));
        }
        if field.is_some() {
            return Err(invalid(name, value, "it once"));
        }
        *field = Some(value.to_owned());
        Ok(())
    }

    /// Where a proof is asked for: the epoch whose validators the caller knows.
    pub fn proof_since(&self) -> Option<Epoch> {
        let since = self.since_epoch.as_deref().and_then(epoch).unwrap_or(Epoch::ZERO);
        (self.proof.as_deref() == Some("true")).then_some(since)
    }

    /// The first option that only a DID URL's dereferencing can follow.
    pub(super) fn for_dereferencing(&self) -> Option<&'static str> {
        let fields = [
            ("verificationRelationship", &self.verification_relationship),
            ("service", &self.service),
            ("serviceType", &self.service_type),
            ("relativeRef", &self.relative_ref),
        ];
        fields.into_iter().find(|(_, value)| value.is_some()).map(|(name, _)| name)
    }
}

fn epoch(text: &str) -> Option<Epoch> {
    // `parse` also takes `+1` and `01`: an epoch has one text.
    text.parse().ok().filter(|number: &u64| number.to_string() == text).map(Epoch)
}

pub(super) fn invalid(name: &str, value: &str, expected: &'static str) -> Problem {
    Problem::InvalidOption { name: shown(name), value: shown(value), expected }
}

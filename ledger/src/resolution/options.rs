//! What the caller of resolution or dereferencing asks for: the options of DID Resolution 1.0, sections 4.1 and 5.1, the
//! DID parameters of section 3, which are passed on as options, and two of our own, for a proof.
//!
//! Invariant: each name stands once, and each value is ASCII and bounded. An option that is not known is refused rather
//! than ignored: its caller may rely on it. What the values mean is left to those who follow them.

use std::fmt;

use genesis::Epoch;
use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

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
    /// Takes the options of `others` too.
    pub(super) fn take(&mut self, others: &Self) -> Result<(), Problem> {
        let given = others.fields().into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        given.into_iter().try_for_each(|(name, value)| self.set(name, value))
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
        let given = self.fields().into_iter().filter(|(_, value)| value.is_some());
        given.map(|(name, _)| name).find(|name| {
            matches!(*name, "verificationRelationship" | "service" | "serviceType" | "relativeRef")
        })
    }

    const fn fields(&self) -> [(&'static str, &Option<String>); 10] {
        [
            ("versionId", &self.version_id),
            ("versionTime", &self.version_time),
            ("accept", &self.accept),
            ("verificationRelationship", &self.verification_relationship),
            ("service", &self.service),
            ("serviceType", &self.service_type),
            ("relativeRef", &self.relative_ref),
            ("expandRelativeUrls", &self.expand_relative_urls),
            ("proof", &self.proof),
            ("sinceEpoch", &self.since_epoch),
        ]
    }
}

/// Options as a JSON object gives them: values are texts, or truth values where the option is one; null is as if it were
/// absent, since some clients write all the names that they know. They are taken while they are read, so that no value
/// but theirs is ever kept, whatever the object holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JsonOptions {
    taken: Options,
    problem: Option<Problem>,
}

impl JsonOptions {
    /// The options.
    ///
    /// # Errors
    /// Names the first option at fault, its value and what is allowed.
    pub fn check(self) -> Result<Options, Problem> {
        match self.problem {
            None => Ok(self.taken),
            Some(problem) => Err(problem),
        }
    }
}

impl<'de> Deserialize<'de> for JsonOptions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(JsonOptions::default())
    }
}

impl<'de> Visitor<'de> for JsonOptions {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of options")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some(Short(name)) = map.next_key()? {
            if self.problem.is_some() {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let taken = match map.next_value()? {
                Given::Text(value) => self.taken.set(&name, &value),
                Given::Null => Ok(()),
                Given::Other(value) => Err(invalid(&name, &value, "a text")),
            };
            self.problem = taken.err();
        }
        Ok(self)
    }
}

/// A text, of which no more is kept than is needed to refuse it.
struct Short(String);

fn short(text: &str) -> String {
    text.chars().take(MAX_VALUE_BYTES + 1).collect()
}

impl<'de> Deserialize<'de> for Short {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Short;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Short, E> {
                Ok(Short(short(text)))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// The value of an option.
enum Given {
    Text(String),
    Null,
    /// What no option has, in words.
    Other(String),
}

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Given;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Given, E> {
                Ok(Given::Text(short(text)))
            }
            fn visit_bool<E: Error>(self, truth: bool) -> Result<Given, E> {
                Ok(Given::Text(truth.to_string()))
            }
            fn visit_unit<E: Error>(self) -> Result<Given, E> {
                Ok(Given::Null)
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Given, E> {
                Ok(Given::Other(number.to_string()))
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Given, E> {
                Ok(Given::Other(number.to_string()))
            }
            fn visit_f64<E: Error>(self, number: f64) -> Result<Given, E> {
                Ok(Given::Other(number.to_string()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Given, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Given::Other("a list".to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Given, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Given::Other("an object".to_owned()))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

fn epoch(text: &str) -> Option<Epoch> {
    // `parse` also takes `+1` and `01`: an epoch has one text.
    text.parse().ok().filter(|number: &u64| number.to_string() == text).map(Epoch)
}

pub(super) fn invalid(name: &str, value: &str, expected: &'static str) -> Problem {
    Problem::InvalidOption { name: shown(name), value: shown(value), expected }
}

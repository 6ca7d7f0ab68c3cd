//! Records as W3C DID documents (DID Core 1.1, JSON-LD, Multikey), as results of DID Resolution 1.0 (the Candidate
//! Recommendation of 23 July 2026), and as answers of its HTTP binding.
//!
//! - [`resolve`]: a DID and options, to a result; [`find`] is its part that reads the state
//! - [`binding`]: a request of the HTTP binding, to an answer; and DID URLs' dereferencing
//! - [`Options`], [`Problem`], [`Form`]: what is asked for, why there is no answer, and how it is written
//!
//! Invariant: the same record gives the same JSON on every node. A deactivated DID has a null document; errors are
//! RFC 9457 objects with the type URIs of DID Resolution 1.0. Sockets, and the making of proofs, are left to others: a proof is
//! shown as it comes, beside what it is of.

pub mod binding;
mod dereference;
mod finding;
mod media;
mod options;
mod problem;
mod reference;
pub mod time;
mod url;

use serde_json::{Value, json};

pub use self::finding::Finding;
use self::finding::Found;
pub use self::media::{Form, Representation};
pub use self::options::{JsonOptions, Options};
pub use self::problem::Problem;
use self::problem::shown;
use crate::did::DidError;
use crate::document::Service;
use crate::{Did, DidId, Document, KeyNumber, Record, Version};

/// The JSON-LD context of DID Core 1.1, which defines Multikey too.
const CONTEXT: &str = "https://www.w3.org/ns/did/v1.1";

/// The contexts of DID Core 1.0, which knows no Multikey, in the place of [`CONTEXT`].
const OLD_CONTEXTS: [&str; 2] = ["https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1"];

/// The context of results from before DID Resolution 1.0.
const OLD_RESULT_CONTEXT: &str = "https://w3id.org/did-resolution/v1";

/// The state as far as resolution reads it.
pub trait History {
    /// Why the state cannot be read.
    type Error;

    /// The newest record of `did`.
    ///
    /// # Errors
    /// When the state cannot be read.
    fn newest(&self, did: &DidId) -> Result<Option<Record>, Self::Error>;

    /// The record of `did` at `version`.
    ///
    /// # Errors
    /// When the state cannot be read.
    fn at_version(&self, did: &DidId, version: Version) -> Result<Option<Record>, Self::Error>;
}

/// The result of resolving a DID.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolution {
    finding: Finding,
    form: Form,
}

/// Which version is asked for.
enum Selector {
    Newest,
    Version(Version),
    /// The newest of those up to this second since 1970, with its text.
    Time(u64, String),
}

/// Resolves the DID `text` on `network`. `accept` decides how the document is written, and which shape the result has.
///
/// # Errors
/// When `history` cannot be read. A DID that does not resolve is a result.
pub fn resolve<H: History>(
    history: &H,
    network: &str,
    text: &str,
    options: &Options,
) -> Result<Resolution, H::Error> {
    resolve_by(options, || find(history, network, text, options))
}

/// The same with what `look_up` finds, which can bring a proof. It is not asked where the options alone are at fault.
///
/// # Errors
/// Those of `look_up`.
pub fn resolve_by<E>(
    options: &Options,
    look_up: impl FnOnce() -> Result<Finding, E>,
) -> Result<Resolution, E> {
    let form = media::negotiate(options.accept.as_deref(), media::RESOLVING);
    let finding = match (options.for_dereferencing(), form) {
        (Some(name), _) => {
            let hint = "it is for DID URLs: use the HTTP binding";
            Problem::UnsupportedOption { name: name.to_owned(), hint }.into()
        }
        (None, Some(_)) => look_up()?,
        (None, None) => unsupported(options.accept.as_deref()).into(),
    };
    Ok(Resolution { finding, form: form.unwrap_or(Form::Result) })
}

fn unsupported(accept: Option<&str>) -> Problem {
    Problem::UnsupportedRepresentation { accept: shown(accept.unwrap_or_default()), offered: media::OFFERED }
}

/// What the state says of the DID `text` on `network`, before it is written in any form.
///
/// # Errors
/// When `history` cannot be read. That there is no such DID is a finding.
pub fn find<H: History>(
    history: &H,
    network: &str,
    text: &str,
    options: &Options,
) -> Result<Finding, H::Error> {
    Ok(match parse(network, text, options) {
        Ok((did, selector)) => select(history, &did, selector)?.into(),
        Err(problem) => problem.into(),
    })
}

fn parse(network: &str, text: &str, options: &Options) -> Result<(Did, Selector), Problem> {
    let did: Did = text.parse().map_err(|error| match error {
        DidError::OtherMethod { .. } => Problem::MethodNotSupported(error),
        DidError::Malformed { .. } => Problem::InvalidDid(error),
    })?;
    let selector = match (&options.version_id, &options.version_time) {
        (None, None) => Selector::Newest,
        (Some(version), None) => Selector::Version(parse_version(version)?),
        (None, Some(text)) => {
            let expected = "UTC without a fraction, such as 2026-07-23T10:20:30Z";
            let second = time::parse(text).ok_or_else(|| options::invalid("versionTime", text, expected))?;
            Selector::Time(second, text.clone())
        }
        (Some(_), Some(time)) => {
            return Err(options::invalid("versionTime", time, "either it or versionId, not both"));
        }
    };
    if did.network() != network {
        return Err(Problem::OtherNetwork { did, network: network.to_owned() });
    }
    Ok((did, selector))
}

fn parse_version(text: &str) -> Result<Version, Problem> {
    match text.parse() {
        // `parse` also takes `+1` and `01`: a version has one text.
        Ok(number) if number != 0 && format!("{number}") == text => Ok(Version(number)),
        _ => Err(options::invalid("versionId", text, "a number from 1 without leading zeros")),
    }
}

fn select<H: History>(
    history: &H,
    did: &Did,
    selector: Selector,
) -> Result<Result<Found, Problem>, H::Error> {
    let Some(newest) = history.newest(&did.id())? else {
        return Ok(Err(Problem::NotFound { did: did.clone() }));
    };
    let wanted = match selector {
        Selector::Newest => newest.header.version,
        Selector::Version(version) => version,
        Selector::Time(second, text) => match version_at(history, &did.id(), &newest, second)? {
            Some(version) => version,
            None => {
                let created = time::rfc3339(newest.header.created.time);
                return Ok(Err(Problem::NotYet { did: did.clone(), time: text, created }));
            }
        },
    };
    if wanted >= newest.header.version {
        return Ok(if wanted == newest.header.version {
            Ok(Found::new(did, &newest, None, &newest))
        } else {
            Err(Problem::NoSuchVersion { did: did.clone(), version: wanted, newest: newest.header.version })
        });
    }
    let next = history.at_version(&did.id(), wanted.next())?;
    Ok(match history.at_version(&did.id(), wanted)? {
        Some(record) => Ok(Found::new(did, &record, next.as_ref(), &newest)),
        None => {
            Err(Problem::NoSuchVersion { did: did.clone(), version: wanted, newest: newest.header.version })
        }
    })
}

/// The last version that was made up to the end of `second`; none where the DID came later. The times of versions never
/// fall, so it takes as many reads as their number has bits.
fn version_at<H: History>(
    history: &H,
    did: &DidId,
    newest: &Record,
    second: u64,
) -> Result<Option<Version>, H::Error> {
    let made_by_then = |record: &Record| record.header.updated.time.0 / 1_000 <= second;
    if made_by_then(newest) {
        return Ok(Some(newest.header.version));
    }
    // Below `early`, all were made by then; from `late` on, none was.
    let (mut early, mut late) = (0, newest.header.version.0);
    while late - early > 1 {
        let middle = early + (late - early) / 2;
        match history.at_version(did, Version(middle))? {
            Some(record) if made_by_then(&record) => early = middle,
            _ => late = middle,
        }
    }
    Ok((early > 0).then_some(Version(early)))
}

impl Resolution {
    /// That of a question that could not even be read.
    pub fn failed(problem: Problem) -> Self {
        Self { finding: problem.into(), form: Form::Result }
    }

    /// What it tells.
    pub const fn finding(&self) -> &Finding {
        &self.finding
    }

    /// The DID document, where the DID resolves and is not deactivated.
    pub fn document(&self) -> Option<&Value> {
        self.finding.document()
    }

    /// The version that was found; none where the DID does not resolve.
    pub fn version(&self) -> Option<Version> {
        self.finding.version()
    }

    /// Why it does not resolve.
    pub fn problem(&self) -> Option<&Problem> {
        self.finding.problem()
    }

    /// The HTTP status that the HTTP binding asks for: 200, 410 where the document is gone, or the problem's.
    pub fn status(&self) -> u16 {
        self.finding.status()
    }

    /// The resolution result with its three parts, in the shape that was asked for.
    pub fn to_json(&self) -> Value {
        self.finding.result(self.form)
    }
}

/// The document as readers of `representation` know it.
fn represented(document: &Value, representation: Representation) -> Value {
    let mut document = document.clone();
    if representation.is_old()
        && let Some(contexts) = document.get_mut("@context").and_then(Value::as_array_mut)
    {
        let others = contexts.iter().filter(|context| *context != CONTEXT).cloned();
        *contexts = OLD_CONTEXTS.into_iter().map(Value::from).chain(others).collect();
    }
    document
}

/// The DID document of `did` with the keys, controllers and services of `document`, as JSON-LD.
pub fn did_document(did: &Did, document: &Document) -> Value {
    let subject = did.to_string();
    let url = |number: KeyNumber| format!("{subject}#{number}");
    let methods: Vec<Value> = document
        .keys
        .iter()
        .map(|key| {
            json!({
                "id": url(key.number),
                "type": "Multikey",
                "controller": subject,
                "publicKeyMultibase": key.public.to_string(),
            })
        })
        .collect();
    let mut json = json!({ "@context": [CONTEXT], "id": subject, "verificationMethod": methods });
    if !document.controllers.is_empty() {
        let url = |id: &DidId| Did::new(did.network(), *id).to_string();
        json["controller"] = document.controllers.iter().map(url).collect::<Vec<_>>().into();
    }
    if !document.services.is_empty() {
        let one = |service: &Service| {
            json!({
                "id": format!("{subject}#service-{}", service.number),
                "type": service.kind.name(),
                "serviceEndpoint": service.endpoint.as_str(),
            })
        };
        json["service"] = document.services.iter().map(one).collect::<Vec<_>>().into();
    }
    for (purpose, name) in crate::Purposes::NAMED {
        let keys = document.keys.iter().filter(|key| key.purposes.contains(purpose));
        let urls: Vec<String> = keys.map(|key| url(key.number)).collect();
        if !urls.is_empty() {
            json[name] = urls.into();
        }
    }
    json
}

#[cfg(test)]
mod tests;

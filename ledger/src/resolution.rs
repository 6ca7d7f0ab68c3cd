//! Records as W3C DID documents (DID Core 1.1, JSON-LD, Multikey) and as results of DID Resolution 1.0.
//!
//! Invariant: the same record gives the same JSON on every node. A deactivated DID has a null document; errors are
//! RFC 9457 objects with the type URIs of DID Resolution 1.0. HTTP itself, and proofs, are left to others; the
//! status code that the HTTP binding asks for is [`Resolution::status`].

pub mod time;

use serde_json::{Map, Value, json};

use crate::did::DidError;
use crate::document::Service;
use crate::{Did, DidId, Document, Endorsement, KeyNumber, Record, Version, Withdrawal};

/// The JSON-LD context of DID Core 1.1, which defines Multikey too.
const CONTEXT: &str = "https://www.w3.org/ns/did/v1.1";

/// The media type of a DID document (DID Core 1.1).
const CONTENT_TYPE: &str = "application/did";

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

/// What the caller of resolution asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `versionId`: a version's number; the newest where there is none.
    pub version_id: Option<String>,
}

/// The result of resolving a DID.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolution {
    outcome: Result<Found, Problem>,
}

#[derive(Clone, Debug, PartialEq)]
struct Found {
    document: Option<Value>,
    metadata: Map<String, Value>,
}

/// Why a DID does not resolve.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Problem {
    /// The text is not a DID of this method.
    #[error("{0}")]
    InvalidDid(DidError),
    /// The text is a DID of another method.
    #[error("{0}")]
    MethodNotSupported(DidError),
    /// An option cannot be followed.
    #[error("versionId `{value}` is not a version: expected a number from 1 without leading zeros")]
    InvalidVersionId {
        /// What was asked for, cut to what fits into a message.
        value: String,
    },
    /// The DID belongs to another network.
    #[error("{did} is not of this network: ask a node of `{}`, as this one is of `{network}`", did.network())]
    OtherNetwork {
        /// What was asked for.
        did: Did,
        /// The network that this node serves.
        network: String,
    },
    /// No such DID.
    #[error("{did} is not registered")]
    NotFound {
        /// What was asked for.
        did: Did,
    },
    /// The DID exists, but never had this version.
    #[error("{did} has no version {version}: its newest is {newest}")]
    NoSuchVersion {
        /// What was asked for.
        did: Did,
        /// Which version was asked for.
        version: Version,
        /// The newest one.
        newest: Version,
    },
}

/// Resolves the DID `text` on `network`.
///
/// # Errors
/// When `history` cannot be read. A DID that does not resolve is a result.
pub fn resolve<H: History>(
    history: &H,
    network: &str,
    text: &str,
    options: &Options,
) -> Result<Resolution, H::Error> {
    let outcome = match parse(network, text, options) {
        Ok((did, version)) => find(history, &did, version)?,
        Err(problem) => Err(problem),
    };
    Ok(Resolution { outcome })
}

fn parse(network: &str, text: &str, options: &Options) -> Result<(Did, Option<Version>), Problem> {
    let did: Did = text.parse().map_err(|error| match error {
        DidError::OtherMethod { .. } => Problem::MethodNotSupported(error),
        DidError::Malformed { .. } => Problem::InvalidDid(error),
    })?;
    if did.network() != network {
        return Err(Problem::OtherNetwork { did, network: network.to_owned() });
    }
    let version = options.version_id.as_deref().map(parse_version).transpose()?;
    Ok((did, version))
}

fn parse_version(text: &str) -> Result<Version, Problem> {
    match text.parse() {
        // `parse` also takes `+1` and `01`: a version has one text.
        Ok(number) if number != 0 && format!("{number}") == text => Ok(Version(number)),
        _ => Err(Problem::InvalidVersionId { value: text.chars().take(80).collect() }),
    }
}

fn find<H: History>(
    history: &H,
    did: &Did,
    version: Option<Version>,
) -> Result<Result<Found, Problem>, H::Error> {
    let Some(newest) = history.newest(&did.id())? else {
        return Ok(Err(Problem::NotFound { did: did.clone() }));
    };
    let wanted = version.unwrap_or(newest.header.version);
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

impl Found {
    /// `record` is the version asked for, `next` the one after it, `newest` the DID's newest.
    fn new(did: &Did, record: &Record, next: Option<&Record>, newest: &Record) -> Self {
        let mut metadata = Map::new();
        let mut put = |name: &str, value: Value| metadata.insert(name.to_owned(), value);
        let (created, updated) = (record.header.created.time, record.header.updated.time);
        put("created", time::rfc3339(created).into());
        if record.header.version > Version::FIRST {
            put("updated", time::rfc3339(updated).into());
        }
        put("versionId", record.header.version.to_string().into());
        put("recoveryCommitment", record.header.recovery.to_string().into());
        if let Some(next_keys) = record.header.next_keys {
            put("nextKeysCommitment", next_keys.to_string().into());
        }
        if let Some(Endorsement { registrar, at, withdrawn }) = record.header.endorsement {
            let registrar = Did::new(did.network(), registrar);
            let mut shown = json!({ "registrar": registrar, "endorsed": time::rfc3339(at.time) });
            if let Some(Withdrawal { reason, at }) = withdrawn {
                shown["withdrawn"] = time::rfc3339(at.time).into();
                shown["reason"] = json!(reason);
            }
            put("endorsement", shown);
        }
        if let Some(next) = next {
            put("nextUpdate", time::rfc3339(next.header.updated.time).into());
            put("nextVersionId", next.header.version.to_string().into());
        }
        // It says that the DID is over, also beside a document from before: nobody may take that for a live one.
        if newest.is_deactivated() {
            put("deactivated", true.into());
        }
        Self { document: record.document.as_ref().map(|document| did_document(did, document)), metadata }
    }
}

impl Resolution {
    /// The DID document, where the DID resolves and is not deactivated.
    pub fn document(&self) -> Option<&Value> {
        self.outcome.as_ref().ok().and_then(|found| found.document.as_ref())
    }

    /// Why it does not resolve.
    pub fn problem(&self) -> Option<&Problem> {
        self.outcome.as_ref().err()
    }

    /// The HTTP status that the HTTP binding asks for: 200, 410 where the document is gone, or the problem's.
    pub fn status(&self) -> u16 {
        match &self.outcome {
            Ok(Found { document: Some(_), .. }) => 200,
            Ok(Found { document: None, .. }) => 410,
            Err(problem) => problem.status(),
        }
    }

    /// The resolution result with its three parts.
    pub fn to_json(&self) -> Value {
        match &self.outcome {
            Ok(Found { document, metadata }) => json!({
                "didDocument": document,
                "didResolutionMetadata": { "contentType": CONTENT_TYPE },
                "didDocumentMetadata": metadata,
            }),
            Err(problem) => json!({
                "didDocument": null,
                "didResolutionMetadata": { "error": problem.to_json() },
                "didDocumentMetadata": {},
            }),
        }
    }
}

impl Problem {
    /// As an RFC 9457 object.
    pub fn to_json(&self) -> Value {
        let (status, fragment, title) = self.kind();
        json!({
            "type": format!("https://www.w3.org/ns/did#{fragment}"),
            "title": title,
            "status": status,
            "detail": self.to_string(),
        })
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.kind().0
    }

    fn kind(&self) -> (u16, &'static str, &'static str) {
        match self {
            Self::InvalidDid(_) => (400, "INVALID_DID", "Invalid DID"),
            Self::InvalidVersionId { .. } => (400, "INVALID_OPTIONS", "Invalid options"),
            Self::MethodNotSupported(_) => (501, "METHOD_NOT_SUPPORTED", "Method not supported"),
            Self::OtherNetwork { .. } | Self::NotFound { .. } | Self::NoSuchVersion { .. } => {
                (404, "NOT_FOUND", "Not found")
            }
        }
    }
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

//! The HTTP binding of DID Resolution 1.0 (section 12.1), without the sockets: from the parts of a request to those of an
//! answer.
//!
//! A DID is resolved; a DID URL with a path, a fragment or the parameters of services is dereferenced. `versionId` and
//! `versionTime` choose the document in both. Where there is no document to show, a caller who takes results gets one
//! with the error in it, and another gets the error alone.
//!
//! Invariant: an answer's status is that of the specification's table, and its type is one that the caller takes, save
//! for errors.

use serde_json::{Map, Value, json};

use super::dereference::{Content, dereference};
use super::media::{DEREFERENCING, RESOLVING, SELECTING, negotiate};
use super::options::{JsonOptions, invalid};
use super::problem::shown;
use super::url::{DidUrl, parameters};
use super::{
    Finding, Form, Found, History, Options, Problem, Representation, find, represented, unsupported,
};

/// The media type of errors (RFC 9457).
pub const PROBLEM: &str = "application/problem+json";

/// A request, as far as the binding reads it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    /// What stands in the URL's path in the place of the DID or DID URL, percent-encoded as it came.
    pub identifier: &'a str,
    /// The URL's query, as it came.
    pub query: &'a str,
    /// The body of a POST.
    pub body: &'a [u8],
    /// The header `Accept`.
    pub accept: Option<&'a str>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The header `Content-Type`.
    pub content_type: Option<&'static str>,
    /// The header `Location`.
    pub location: Option<String>,
    /// The body; empty for a redirection.
    pub body: String,
}

/// Answers `request` on `network`, without proofs.
///
/// # Errors
/// When `history` cannot be read; [`failure`] then is the answer.
pub fn answer<H: History>(history: &H, network: &str, request: &Request<'_>) -> Result<Answer, H::Error> {
    answer_by(request, |did, options| find(history, network, did, options))
}

/// Answers `request` by what `look_up` finds of the DID's text, which brings a proof where [`Options::proof_since`] asks for
/// one.
///
/// # Errors
/// Those of `look_up`.
pub fn answer_by<E>(
    request: &Request<'_>,
    look_up: impl FnOnce(&str, &Options) -> Result<Finding, E>,
) -> Result<Answer, E> {
    let (url, options) = match read(request) {
        Ok(question) => question,
        Err(problem) => return Ok(Answer::problem(&problem.into(), negotiate(request.accept, RESOLVING))),
    };
    let accept = options.accept.as_deref().or(request.accept);
    let dereferences =
        !url.path.is_empty() || url.fragment.is_some() || options.for_dereferencing().is_some();
    let offered = match (&options.service, &options.service_type) {
        (None, None) if dereferences => DEREFERENCING,
        (None, None) => RESOLVING,
        _ => SELECTING,
    };
    let form = negotiate(accept, offered);
    if options.proof_since().is_some() && matches!(form, Some(Form::Document(_) | Form::UriList)) {
        // It would be dropped, and its caller rely on what nothing showed.
        let problem =
            invalid("proof", "true", "a whole result to be accepted with it, which has a place for it");
        return Ok(Answer::problem(&problem.into(), form));
    }
    let finding = look_up(&url.did, &options)?;
    let Some(form) = form else {
        let problem = finding.problem().cloned().unwrap_or_else(|| unsupported(accept));
        return Ok(Answer::problem(&problem.into(), None));
    };
    if !dereferences && form != Form::Dereferencing {
        return Ok(resolved(&finding, form));
    }
    let finding = if dereferences && matches!(finding.problem(), Some(Problem::InvalidDid(_))) {
        // What is asked for is a DID URL, and it is not one.
        let problem = "it does not begin with a DID of this method, did:realdid:<network>:<id>";
        Problem::InvalidDidUrl { url: shown(&url.did), problem }.into()
    } else {
        finding
    };
    Ok(dereferenced(finding, &url, &options, form))
}

/// The answer where `history` cannot be read.
pub fn failure(request: &Request<'_>) -> Answer {
    Answer::problem(&Problem::Internal.into(), negotiate(request.accept, RESOLVING))
}

/// The DID URL and the options in a request. DID parameters may stand in the DID URL, in the HTTP URL's query, or among
/// the options of the body; the same one twice is ambiguous.
fn read(request: &Request<'_>) -> Result<(DidUrl, Options), Problem> {
    let url = DidUrl::from_http_path(request.identifier)?;
    let mut options = Options::default();
    for (name, value) in url.parameters.iter().chain(&parameters(request.query)?) {
        options.set(name, value)?;
    }
    if !request.body.iter().all(u8::is_ascii_whitespace) {
        let refused = || invalid("body", &String::from_utf8_lossy(request.body), "a JSON object of options");
        let given: JsonOptions = serde_json::from_slice(request.body).map_err(|_| refused())?;
        options.take(&given.check()?)?;
    }
    if let Some(accept) = request.accept.filter(|_| options.accept.is_none()) {
        options.set("accept", accept)?;
    }
    Ok((url, options))
}

fn resolved(finding: &Finding, form: Form) -> Answer {
    let status = finding.status();
    match (form, &finding.outcome) {
        (Form::Document(representation), Ok(Found { document: Some(document), .. })) => {
            Answer::json(status, form.media_type(), &represented(document, representation))
        }
        // The Universal Resolver asks its drivers for this and takes a result too, which alone can tell it why.
        (Form::Document(Representation::LdJson), _) => {
            Answer::json(status, Form::OldResult.media_type(), &finding.result(Form::OldResult))
        }
        (Form::Document(_), Ok(_)) => Answer::json(status, form.media_type(), &Value::Null),
        (Form::Document(_), Err(_)) => Answer::problem(finding, Some(form)),
        (form, _) => Answer::json(status, form.media_type(), &finding.result(form)),
    }
}

fn dereferenced(finding: Finding, url: &DidUrl, options: &Options, form: Form) -> Answer {
    let found = match finding.outcome {
        Ok(found) => found,
        Err(_) => return Answer::problem(&finding, Some(form)),
    };
    let representation = form.representation();
    let Some(document) = found.document else {
        return match form {
            Form::Document(_) => Answer::json(410, form.media_type(), &Value::Null),
            _ => {
                let content = dereferencing(Value::Null, representation.media_type(), &found.metadata);
                Answer::json(410, Form::Dereferencing.media_type(), &content)
            }
        };
    };
    let document = represented(&document, representation);
    let (content, metadata) = match dereference(&document, url, options, form == Form::UriList) {
        Err(problem) => {
            // What is not in a document follows from the whole of it.
            let proof = found.metadata.get("proof").cloned();
            return Answer::problem(&Finding { outcome: Err(problem), proof }, Some(form));
        }
        Ok(Content::Urls(urls)) => return Answer::redirection(urls),
        Ok(Content::Document(document)) => (document, found.metadata),
        Ok(Content::Part(part)) => {
            // Of the document's metadata, what nobody who uses the part may miss, and what shows it.
            let kept = |name: &str| matches!(name, "deactivated" | "proof");
            (part, found.metadata.into_iter().filter(|(name, _)| kept(name)).collect())
        }
    };
    match form {
        Form::Document(_) => Answer::json(200, form.media_type(), &content),
        _ => {
            let content = dereferencing(content, representation.media_type(), &metadata);
            Answer::json(200, form.media_type(), &content)
        }
    }
}

/// A dereferencing result with its three parts.
fn dereferencing(content: Value, content_type: &str, metadata: &Map<String, Value>) -> Value {
    json!({
        "contentStream": content,
        "dereferencingMetadata": { "contentType": content_type },
        "contentMetadata": metadata,
    })
}

impl Answer {
    fn json(status: u16, content_type: &'static str, body: &Value) -> Self {
        Self { status, content_type: Some(content_type), location: None, body: body.to_string() }
    }

    /// To the first of several URLs: a redirection leads to one place.
    fn redirection(urls: Vec<String>) -> Self {
        Self { status: 303, content_type: None, location: urls.into_iter().next(), body: String::new() }
    }

    /// The error that was found, in a result where the caller takes one.
    fn problem(finding: &Finding, form: Option<Form>) -> Self {
        let problem = finding.problem().unwrap_or(&Problem::Internal);
        let status = problem.status();
        match form {
            Some(form @ (Form::Result | Form::OldResult)) => {
                Self::json(status, form.media_type(), &finding.result(form))
            }
            Some(Form::Dereferencing) => {
                let body = json!({
                    "contentStream": null,
                    "dereferencingMetadata": finding.error_metadata(problem, Form::Dereferencing),
                    "contentMetadata": {},
                });
                Self::json(status, Form::Dereferencing.media_type(), &body)
            }
            Some(Form::Document(_) | Form::UriList) | None => Self::json(status, PROBLEM, &problem.to_json()),
        }
    }
}

#[cfg(test)]
mod tests;

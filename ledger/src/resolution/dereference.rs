//! What a DID URL names, found in its DID's document (DID Resolution 1.0, section 5.4).
//!
//! It works on the JSON document alone, whatever that came from. Invariant: nothing that the document does not say comes
//! out, save a relative reference resolved against a service's endpoint ([`super::reference`]).

use serde_json::{Map, Value};

use super::options::Options;
use super::problem::{Problem, shown};
use super::reference;
use super::url::DidUrl;

/// The properties of a document that list verification methods or refer to them.
const RELATIONSHIPS: [&str; 5] =
    ["authentication", "assertionMethod", "keyAgreement", "capabilityInvocation", "capabilityDelegation"];

/// What a DID URL names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// The whole document, or the one with the selected services.
    Document(Value),
    /// A verification method or a service.
    Part(Value),
    /// The endpoints of the selected services: at least one.
    Urls(Vec<String>),
}

/// What `url` names in `document`; the endpoints of its services where `as_urls`.
pub(super) fn dereference(
    document: &Value,
    url: &DidUrl,
    options: &Options,
    as_urls: bool,
) -> Result<Content, Problem> {
    let nothing = |problem| Problem::NothingThere { url: shown(&named(url)), problem };
    if !url.path.is_empty() {
        return Err(nothing("DIDs of this method have no paths"));
    }
    let selects = options.service.is_some() || options.service_type.is_some();
    if options.relative_ref.is_some() && !selects {
        return Err(nothing("relativeRef is relative to a service: name one by service or serviceType"));
    }
    let document = if selects { with_selected_services(document, url, options) } else { document.clone() };
    if as_urls {
        let urls = if selects { endpoints(&document, url, options)? } else { Vec::new() };
        return if urls.is_empty() {
            Err(nothing("no such service has a URL"))
        } else {
            Ok(Content::Urls(urls))
        };
    }
    if options.relative_ref.is_some() {
        // Also where the URLs are not asked for, a reference that leads nowhere is the caller's mistake.
        endpoints(&document, url, options)?;
    }
    let part = url.fragment.as_ref().map(|fragment| find(&document, &url.did, fragment));
    if let Some(relationship) = &options.verification_relationship {
        check_relationship(&document, url, part.flatten(), relationship)?;
    }
    match part {
        None => Ok(Content::Document(document)),
        Some(None) => Err(nothing("the document has nothing with this fragment")),
        Some(Some(part)) => {
            let mut part = part.clone();
            if let Some(context) = document.get("@context") {
                part.insert("@context".to_owned(), context.clone());
            }
            Ok(Content::Part(part.into()))
        }
    }
}

/// The DID URL as far as messages need it.
fn named(url: &DidUrl) -> String {
    let fragment = url.fragment.as_ref().map_or_else(String::new, |fragment| format!("#{fragment}"));
    format!("{}{}{fragment}", url.did, url.path)
}

fn with_selected_services(document: &Value, url: &DidUrl, options: &Options) -> Value {
    let wanted = options.service.as_ref().map(|service| absolute(&url.did, service));
    let selected = |service: &&Value| {
        let id = service["id"].as_str().map(|id| absolute(&url.did, id));
        let of_type = |name: &String| match &service["type"] {
            Value::Array(types) => types.iter().any(|one| one == name),
            one => one == name,
        };
        (wanted.is_none() || id == wanted) && options.service_type.as_ref().is_none_or(of_type)
    };
    let services: Vec<Value> = list(document, "service").iter().filter(selected).cloned().collect();
    let mut document = document.clone();
    if let Some(properties) = document.as_object_mut() {
        properties.insert("service".to_owned(), services.into());
    }
    document
}

/// A service's or key's id, which documents and callers may write relative to the DID: `#key-1`, `key-1`.
fn absolute(did: &str, id: &str) -> String {
    if id.starts_with("did:") {
        id.to_owned()
    } else {
        format!("{did}#{}", id.strip_prefix('#').unwrap_or(id))
    }
}

fn list<'a>(document: &'a Value, name: &str) -> &'a [Value] {
    document.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The URLs of the document's services, with the relative reference and the fragment of the DID URL.
fn endpoints(document: &Value, url: &DidUrl, options: &Options) -> Result<Vec<String>, Problem> {
    let refused = |problem| Problem::InvalidDidUrl { url: shown(&named(url)), problem };
    let mut urls = Vec::new();
    for service in list(document, "service") {
        // An endpoint that is a map has no URL of its own.
        let endpoints = match &service["serviceEndpoint"] {
            Value::Array(endpoints) => endpoints.as_slice(),
            one => std::slice::from_ref(one),
        };
        for endpoint in endpoints.iter().filter_map(Value::as_str) {
            let mut found = match &options.relative_ref {
                Some(reference) => reference::resolve(endpoint, reference).map_err(refused)?,
                None => endpoint.to_owned(),
            };
            if let Some(fragment) = &url.fragment {
                if found.contains('#') {
                    return Err(refused("both it and the service's URL have a fragment"));
                }
                // It goes into a header: nothing but a fragment's own characters may get there.
                if !fragment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:@/?".contains(&byte)) {
                    return Err(refused("its fragment has a character that a URL's may not have"));
                }
                found = format!("{found}#{fragment}");
            }
            urls.push(found);
        }
    }
    Ok(urls)
}

/// The verification method or service with this fragment.
fn find<'a>(document: &'a Value, did: &str, fragment: &str) -> Option<&'a Map<String, Value>> {
    let id = absolute(did, fragment);
    let lists = ["verificationMethod", "service"].into_iter().chain(RELATIONSHIPS);
    let objects = lists.flat_map(|name| list(document, name)).filter_map(Value::as_object);
    objects.into_iter().find(|object| is_called(object.get("id"), did, &id))
}

fn is_called(value: Option<&Value>, did: &str, id: &str) -> bool {
    value.and_then(Value::as_str).is_some_and(|found| absolute(did, found) == id)
}

fn check_relationship(
    document: &Value,
    url: &DidUrl,
    part: Option<&Map<String, Value>>,
    relationship: &str,
) -> Result<(), Problem> {
    let is_key = |part: &Map<String, Value>| {
        part.contains_key("controller")
            && (part.contains_key("publicKeyMultibase") || part.contains_key("publicKeyJwk"))
    };
    let Some(id) = part.filter(|part| is_key(part)).and_then(|part| part.get("id")).and_then(Value::as_str)
    else {
        return Err(Problem::NotAVerificationMethod { url: shown(&named(url)) });
    };
    let id = absolute(&url.did, id);
    let is_it =
        |listed: &Value| is_called(Some(listed), &url.did, &id) || is_called(listed.get("id"), &url.did, &id);
    if RELATIONSHIPS.contains(&relationship) && list(document, relationship).iter().any(is_it) {
        Ok(())
    } else {
        Err(Problem::NotForRelationship { url: shown(&id), relationship: shown(relationship) })
    }
}

#[cfg(test)]
mod tests;

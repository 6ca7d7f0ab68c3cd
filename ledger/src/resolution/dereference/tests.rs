use serde_json::json;

use super::*;

const DID: &str = "did:realdid:test:z1";

fn document() -> Value {
    json!({
        "@context": ["https://www.w3.org/ns/did/v1.1"],
        "id": DID,
        "verificationMethod": [
            { "id": format!("{DID}#key-1"), "type": "Multikey", "controller": DID, "publicKeyMultibase": "z6Mk1" },
            { "id": "#key-2", "type": "Multikey", "controller": DID, "publicKeyMultibase": "z6Mk2" },
        ],
        "authentication": [format!("{DID}#key-1")],
        "assertionMethod": [{
            "id": format!("{DID}#key-3"), "type": "Multikey", "controller": DID, "publicKeyMultibase": "z6Mk3",
        }],
        "service": [
            { "id": format!("{DID}#service-1"), "type": "Files", "serviceEndpoint": "https://files.example/a/b" },
            { "id": "#service-2", "type": ["Files", "Agent"], "serviceEndpoint": ["https://one.example/", { "x": 1 }] },
            { "id": format!("{DID}#service-3"), "type": "Map", "serviceEndpoint": { "uri": "https://map.example" } },
        ],
    })
}

fn url(rest: &str) -> (DidUrl, Options) {
    let url = DidUrl::parse(&format!("{DID}{rest}")).unwrap();
    let mut options = Options::default();
    for (name, value) in &url.parameters {
        options.set(name, value).unwrap();
    }
    (url, options)
}

fn content(rest: &str) -> Result<Content, Problem> {
    let (url, options) = url(rest);
    dereference(&document(), &url, &options, false)
}

fn urls(rest: &str) -> Result<Vec<String>, Problem> {
    let (url, options) = url(rest);
    match dereference(&document(), &url, &options, true)? {
        Content::Urls(urls) => Ok(urls),
        other => panic!("{other:?}"),
    }
}

/// The ids of the services in the document that comes out.
fn services(rest: &str) -> Vec<String> {
    match content(rest) {
        Ok(Content::Document(document)) => {
            assert_eq!(document["verificationMethod"], self::document()["verificationMethod"]);
            let ids = document["service"].as_array().unwrap().iter().map(|service| service["id"].as_str());
            ids.map(|id| id.unwrap().to_owned()).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_fragment_names_a_key_or_a_service_with_the_documents_context() {
    for (fragment, field, value) in [
        ("#key-1", "publicKeyMultibase", "z6Mk1"),
        ("#key-2", "publicKeyMultibase", "z6Mk2"),
        ("#key-3", "publicKeyMultibase", "z6Mk3"),
        ("#service-1", "serviceEndpoint", "https://files.example/a/b"),
    ] {
        let Ok(Content::Part(part)) = content(fragment) else { panic!("{fragment}") };
        assert_eq!((&part[field], &part["@context"]), (&value.into(), &document()["@context"]));
    }
    let Ok(Content::Document(whole)) = content("") else { panic!("the document") };
    assert_eq!(whole, document());
}

#[test]
fn what_the_document_does_not_have_is_not_found() {
    for rest in ["#key-4", "#", "#key", "#z1", "/path", "/", "/#key-1", "?relativeRef=%2Fa"] {
        assert!(matches!(content(rest), Err(Problem::NothingThere { .. })), "{rest}");
    }
    for rest in ["?service=service-9", "?service=service-3", "?serviceType=None", "", "#key-1"] {
        assert!(matches!(urls(rest), Err(Problem::NothingThere { .. })), "{rest}");
    }
}

#[test]
fn services_are_selected_by_id_and_by_type_and_those_alone_are_left() {
    let (one, two) = (format!("{DID}#service-1"), "#service-2");
    assert_eq!(services("?service=service-1"), [one.as_str()]);
    assert_eq!(services("?service=%23service-2"), [two]);
    assert_eq!(services(&format!("?service={DID}%23service-2")), [two]);
    assert_eq!(services("?serviceType=Files"), [one.as_str(), two]);
    assert_eq!(services("?serviceType=Agent"), [two]);
    assert_eq!(services("?serviceType=Agent&service=service-1"), [""; 0]);
    assert_eq!(services("?service=service-9"), [""; 0]);
}

#[test]
fn a_services_urls_take_the_relative_reference_and_the_fragment() {
    for (rest, expected) in [
        ("?service=service-1", &["https://files.example/a/b"][..]),
        ("?service=service-1#x", &["https://files.example/a/b#x"]),
        ("?service=service-1&relativeRef=%2Fr%3Fv%3D1", &["https://files.example/r?v=1"]),
        ("?service=service-1&relativeRef=r#intro", &["https://files.example/a/r#intro"]),
        ("?serviceType=Files", &["https://files.example/a/b", "https://one.example/"]),
    ] {
        assert_eq!(urls(rest).unwrap(), expected, "{rest}");
    }
}

#[test]
fn a_relative_reference_that_leads_elsewhere_is_refused_whatever_is_asked_for() {
    for rest in [
        "?service=service-1&relativeRef=%2F%2Fevil.example",
        "?service=service-1&relativeRef=https:%2F%2Fevil.example",
        "?service=service-1&relativeRef=a%20b",
        "?service=service-1&relativeRef=a%23b#c",
        "?service=service-1#a%0d%0ab",
    ] {
        assert!(matches!(urls(rest), Err(Problem::InvalidDidUrl { .. })), "{rest}");
    }
    let rest = "?service=service-1&relativeRef=%2F%2Fevil.example";
    assert!(matches!(content(rest), Err(Problem::InvalidDidUrl { .. })));
}

#[test]
fn a_key_is_given_only_for_what_the_document_lists_it_for() {
    let asked = |fragment: &str, relationship: &str| {
        let (url, mut options) = url(fragment);
        options.set("verificationRelationship", relationship).unwrap();
        dereference(&document(), &url, &options, false)
    };
    assert!(matches!(asked("#key-1", "authentication"), Ok(Content::Part(_))));
    assert!(matches!(asked("#key-3", "assertionMethod"), Ok(Content::Part(_))));
    for (fragment, relationship) in [
        ("#key-1", "assertionMethod"),
        ("#key-2", "authentication"),
        ("#key-1", "service"),
        ("#key-1", "verificationMethod"),
        ("#key-1", ""),
    ] {
        let refused = asked(fragment, relationship);
        assert!(matches!(refused, Err(Problem::NotForRelationship { .. })), "{fragment} {relationship}");
    }
    for fragment in ["#service-1", "#key-9", ""] {
        let refused = asked(fragment, "authentication");
        assert!(matches!(refused, Err(Problem::NotAVerificationMethod { .. })), "{fragment}");
    }
}

#[test]
fn no_document_however_broken_panics() {
    let (url, options) = url("?service=a&relativeRef=b#c");
    for document in [
        Value::Null,
        json!([]),
        json!({ "service": {}, "verificationMethod": 1 }),
        json!({ "service": [1, null, { "id": 1 }, { "id": "a", "serviceEndpoint": "" }], "@context": 1 }),
    ] {
        for as_urls in [false, true] {
            let _ = dereference(&document, &url, &options, as_urls);
        }
    }
}

use proptest::prelude::*;

use super::*;
use crate::Did;
use crate::resolution::tests::history;
use crate::samples::Memory;

const RESULT: &str = "application/did-resolution";
const DEREFERENCING_RESULT: &str = "application/did-url-dereferencing";
const OLD: &str = "application/ld+json;profile=\"https://w3id.org/did-resolution\"";

fn ask(history: &Memory, request: &Request<'_>) -> (u16, &'static str, Value) {
    let Ok(answer) = answer(history, "test", request);
    assert_eq!(answer.location, None);
    let json = serde_json::from_str(&answer.body).unwrap();
    (answer.status, answer.content_type.unwrap(), json)
}

fn get<'a>(identifier: &'a str, query: &'a str, accept: &'a str) -> Request<'a> {
    Request { identifier, query, accept: Some(accept), body: b"" }
}

#[test]
fn a_did_resolves_to_a_result_or_to_the_document_alone_as_is_asked_for() {
    let (history, did) = history(false);
    for accept in [RESULT, "*/*"] {
        let (status, kind, json) = ask(&history, &get(&did, "", accept));
        assert_eq!((status, kind, &json["didDocument"]["id"]), (200, RESULT, &did.as_str().into()));
        assert_eq!(json["didResolutionMetadata"]["contentType"], "application/did");
    }
    assert_eq!(ask(&history, &Request { identifier: &did, ..Request::default() }).1, RESULT);
    let types =
        ["did", "did+ld+json", "did+json", "ld+json", "json"].map(|name| format!("application/{name}"));
    for accept in &types {
        let (status, kind, json) = ask(&history, &get(&did, "", accept));
        assert_eq!((status, kind, &json["id"]), (200, accept.as_str(), &did.as_str().into()));
        let old = !matches!(accept.as_str(), "application/did" | "application/json");
        let context = if old { "https://www.w3.org/ns/did/v1" } else { "https://www.w3.org/ns/did/v1.1" };
        assert_eq!(json["@context"][0], context, "{accept}");
    }
    let (status, kind, json) = ask(&history, &get(&did, "", OLD));
    assert_eq!((status, kind, &json["didDocument"]["id"]), (200, OLD, &did.as_str().into()));
}

#[test]
fn the_did_may_be_percent_encoded_and_options_stand_in_its_query_the_urls_or_the_body() {
    let (history, did) = history(false);
    let encoded = did.replace(':', "%3A");
    let in_did = format!("{encoded}%3FversionId%3D1");
    let by_time = "versionTime=2023-11-14T22%3A13%3A21Z";
    for request in [
        get(&encoded, "versionId=1", RESULT),
        get(&did, "versionId=1", RESULT),
        get(&in_did, "", RESULT),
        get(&encoded, by_time, RESULT),
        get(&encoded, "versionId=1&accept=application/did-resolution", "application/did"),
        Request { body: b" {\"versionId\": \"1\"} ", ..get(&did, "", RESULT) },
        Request {
            body: b"{\"versionTime\":\"2023-11-14T22:13:21Z\",\"expandRelativeUrls\":true}",
            ..get(&did, "", RESULT)
        },
        Request {
            body: b"{\"accept\":\"application/did-resolution\"}",
            ..get(&did, "versionId=1", "text/html")
        },
    ] {
        let (status, kind, json) = ask(&history, &request);
        let version = &json["didDocumentMetadata"]["versionId"];
        assert_eq!((status, kind, version), (200, RESULT, &"1".into()), "{request:?}");
    }
}

#[test]
fn each_error_has_its_status_of_the_table_in_each_form() {
    let (history, did) = history(false);
    let unknown = did.replace(":test:", ":prod:");
    let (twice, body) = (format!("{did}%3FversionId%3D1"), "versionId=1&versionId=1");
    let fragment = format!("{did}%23key-9");
    for (identifier, query, status, kind, word) in [
        ("", "", 400, "did#INVALID_DID", "invalidDid"),
        ("not-a-did", "", 400, "did#INVALID_DID", "invalidDid"),
        ("did:example", "", 400, "did#INVALID_DID", "invalidDid"),
        ("%zz", "", 400, "did#INVALID_DID_URL", "invalidDidUrl"),
        ("not-a-did%23key-1", "", 400, "did#INVALID_DID_URL", ""),
        (&did, "versionId=0", 400, "did#INVALID_OPTIONS", "invalidOptions"),
        (&did, "versionTime=2025-10-07", 400, "did#INVALID_OPTIONS", "invalidOptions"),
        (&did, "service=%F0%9F%94%A5", 400, "did#INVALID_OPTIONS", "invalidOptions"),
        (&did, "accept=%D0%9F", 400, "did#INVALID_OPTIONS", "invalidOptions"),
        (&did, body, 400, "did#INVALID_OPTIONS", "invalidOptions"),
        (&twice, "versionId=1", 400, "did#INVALID_OPTIONS", "invalidOptions"),
        (&unknown, "", 404, "did#NOT_FOUND", "notFound"),
        (&did, "versionId=9", 404, "did#NOT_FOUND", "notFound"),
        (&did, "versionTime=2001-01-01T00:00:00Z", 404, "did#NOT_FOUND", "notFound"),
        (&fragment, "", 404, "did#NOT_FOUND", ""),
        ("did:web:example.org", "", 501, "did#METHOD_NOT_SUPPORTED", "methodNotSupported"),
        ("did:web:example.org%23key-1", "", 501, "did#METHOD_NOT_SUPPORTED", ""),
        (&did, "noSuch=1", 501, "did#FEATURE_NOT_SUPPORTED", "featureNotSupported"),
    ] {
        let url = format!("https://www.w3.org/ns/{kind}");
        let (found, kind, json) = ask(&history, &get(identifier, query, "*/*"));
        let metadata = if kind == RESULT { "didResolutionMetadata" } else { "dereferencingMetadata" };
        let error = &json[metadata]["error"];
        assert_eq!((found, &error["type"], &error["status"]), (status, &url.as_str().into(), &status.into()));
        let (found, kind, json) = ask(&history, &get(identifier, query, "application/did"));
        assert_eq!((found, kind, &json), (status, PROBLEM, error), "{identifier}?{query}");
        // The old shape has no dereferencing.
        if !word.is_empty() {
            let (found, kind, json) = ask(&history, &get(identifier, query, OLD));
            let error = &json["didResolutionMetadata"]["error"];
            assert_eq!((found, kind, error), (status, OLD, &word.into()), "{identifier}?{query}");
        }
    }
}

#[test]
fn what_cannot_be_served_is_406_but_an_error_stays_what_it_is() {
    let (history, did) = history(false);
    for accept in ["text/html", "application/cbor", "text/uri-list", "application/did;q=0"] {
        let (status, kind, json) = ask(&history, &get(&did, "", accept));
        assert_eq!((status, kind), (406, PROBLEM));
        assert_eq!(json["type"], "https://www.w3.org/ns/did#REPRESENTATION_NOT_SUPPORTED");
        assert_eq!(ask(&history, &get("not-a-did", "", accept)).0, 400);
    }
    let fragment = format!("{did}%23key-3");
    for accept in [RESULT, OLD, "text/html", "text/uri-list"] {
        assert_eq!(ask(&history, &get(&fragment, "", accept)).0, 406, "{accept}");
    }
}

#[test]
fn a_deactivated_did_is_gone_with_a_null_document_in_each_form() {
    let (history, did) = history(true);
    for accept in [RESULT, OLD] {
        let (status, kind, json) = ask(&history, &get(&did, "", accept));
        assert_eq!((status, kind, &json["didDocument"]), (410, accept, &Value::Null));
        assert_eq!(json["didDocumentMetadata"]["deactivated"], true);
        assert_eq!(json["didResolutionMetadata"].get("error"), None);
    }
    assert_eq!(ask(&history, &get(&did, "", "application/did")), (410, "application/did", Value::Null));
    let fragment = format!("{did}%23key-1");
    let (status, kind, json) = ask(&history, &get(&fragment, "", "*/*"));
    assert_eq!((status, kind, &json["contentStream"]), (410, DEREFERENCING_RESULT, &Value::Null));
    assert_eq!(json["contentMetadata"]["deactivated"], true);
    assert_eq!(ask(&history, &get(&fragment, "", "application/did")), (410, "application/did", Value::Null));
    // What the old versions were can still be asked for, and they say that it is over.
    let (status, _, json) = ask(&history, &get(&fragment, "versionId=1", "*/*"));
    assert_eq!((status, &json["contentMetadata"]), (200, &json!({ "deactivated": true })));
}

#[test]
fn the_universal_resolver_gets_documents_as_ld_json_and_results_where_there_is_none() {
    let (living, did) = history(false);
    let (ended, ended_did) = history(true);
    let driver = "application/ld+json";
    assert_eq!(ask(&living, &get(&did, "", driver)).2["id"], did.as_str());
    let (status, kind, json) = ask(&ended, &get(&ended_did, "", driver));
    assert_eq!((status, kind, &json["didDocumentMetadata"]["deactivated"]), (410, OLD, &true.into()));
    let (status, kind, json) = ask(&living, &get("did:realdid:test:zz", "", driver));
    assert_eq!((status, kind, &json["didResolutionMetadata"]["error"]), (400, OLD, &"invalidDid".into()));
    let list = format!("{OLD},application/did+ld+json");
    assert_eq!(ask(&living, &get(&did, "", &list)).1, OLD);
}

#[test]
fn a_fragment_dereferences_to_the_key_of_the_version_asked_for() {
    let (history, did) = history(false);
    let url = format!("{did}#key-1");
    let encoded = format!("{did}%23key-1");
    let (status, kind, json) = ask(&history, &get(&encoded, "versionId=1", "*/*"));
    assert_eq!(
        (status, kind, &json["contentStream"]["id"]),
        (200, DEREFERENCING_RESULT, &url.as_str().into())
    );
    assert_eq!(json["dereferencingMetadata"], json!({ "contentType": "application/did" }));
    assert_eq!(json["contentMetadata"], json!({}));
    let (status, kind, json) = ask(&history, &get(&encoded, "versionId=1", "application/did+ld+json"));
    assert_eq!((status, kind, &json["id"]), (200, "application/did+ld+json", &url.as_str().into()));
    assert_eq!(json["@context"][0], "https://www.w3.org/ns/did/v1");
    assert_eq!(ask(&history, &get(&encoded, "versionId=2", "*/*")).0, 404);
}

#[test]
fn a_did_dereferences_to_its_document_and_an_unknown_service_leaves_none_in_it() {
    let (history, did) = history(false);
    let (status, _, json) = ask(&history, &get(&did, "", DEREFERENCING_RESULT));
    assert_eq!((status, &json["contentMetadata"]["versionId"]), (200, &"3".into()));
    let (status, kind, json) = ask(&history, &get(&did, "service=files", "*/*"));
    assert_eq!((status, kind, &json["contentStream"]["service"]), (200, DEREFERENCING_RESULT, &json!([])));
    assert_eq!(ask(&history, &get(&did, "service=files", "text/uri-list")).0, 404);
}

#[test]
fn a_service_of_a_document_redirects_who_takes_its_url() {
    let document = json!({
        "id": "did:realdid:test:z1",
        "service": [{ "id": "#service-1", "type": "X", "serviceEndpoint": "https://a.example/b" }],
    });
    let url = DidUrl::from_http_path("did:realdid:test:z1").unwrap();
    let mut options = Options::default();
    options.set("service", "service-1").unwrap();
    options.set("relativeRef", "/c").unwrap();
    let found = || Finding::from(Ok(Found { document: Some(document.clone()), metadata: Map::new() }));
    let answer = dereferenced(found(), &url, &options, Form::UriList);
    assert_eq!((answer.status, answer.location.as_deref()), (303, Some("https://a.example/c")));
    assert_eq!((answer.body.as_str(), answer.content_type), ("", None));
    let answer = dereferenced(found(), &url, &options, Form::Document(Representation::Did));
    assert_eq!((answer.status, answer.content_type), (200, Some("application/did")));
}

/// Asks with `proof=true`, and has a proof made for whatever is found; where it stands in the answer.
fn proved(history: &Memory, identifier: &str, query: &str, accept: &str) -> (u16, Value, Vec<&'static str>) {
    let query = format!("{query}&proof=true&sinceEpoch=7");
    let look_up = |did: &str, options: &Options| {
        assert_eq!(options.proof_since(), Some(genesis::Epoch(7)));
        find(history, "test", did, options).map(|finding| finding.with_proof(json!({ "type": "Shown" })))
    };
    let Ok(answer) = answer_by(&get(identifier, query.trim_start_matches('&'), accept), look_up);
    let json: Value = serde_json::from_str(&answer.body).unwrap();
    let places = ["didDocumentMetadata", "didResolutionMetadata", "contentMetadata", "dereferencingMetadata"];
    let shown = |place: &&str| json[*place]["proof"] == json!([{ "type": "Shown" }]);
    let places = places.into_iter().filter(shown).collect();
    (answer.status, json, places)
}

#[test]
fn a_proof_stands_beside_what_it_is_of_and_where_nothing_is_found_in_the_metadata_of_the_resolution() {
    let ((living, did), (over, _)) = (history(false), history(true));
    let unknown = Did::new("test", crate::DidId(genesis::Digest::from_bytes([9; 32]))).to_string();
    let key = format!("{did}%23key-3");
    for accept in [RESULT, OLD, "*/*"] {
        for (history, identifier, query, status, place) in [
            (&living, &did, "", 200, Some("didDocumentMetadata")),
            (&living, &did, "versionId=1", 200, Some("didDocumentMetadata")),
            (&over, &did, "", 410, Some("didDocumentMetadata")),
            (&living, &unknown, "", 404, Some("didResolutionMetadata")),
            (&living, &did, "versionId=9", 404, Some("didResolutionMetadata")),
            (&living, &did, "versionTime=2001-01-01T00:00:00Z", 404, Some("didResolutionMetadata")),
            // Nothing of the state was looked at.
            (&living, &did, "versionId=x", 400, None),
            (&living, &"did:web:example.org".to_owned(), "", 501, None),
            (&living, &did.replace(":test:", ":prod:"), "", 404, None),
        ] {
            let (found, _, places) = proved(history, identifier, query, accept);
            let expected: Vec<&str> = place.into_iter().collect();
            assert_eq!((found, places), (status, expected), "{identifier} {query} {accept}");
        }
    }
    // Of a DID URL, that of the document which it is in, or is not.
    for (identifier, query, status, place) in [
        (&key, "", 200, "contentMetadata"),
        (&did, "service=files", 200, "contentMetadata"),
        (&format!("{did}%23key-9"), "", 404, "dereferencingMetadata"),
        (&format!("{unknown}%23key-1"), "", 404, "dereferencingMetadata"),
    ] {
        let (found, _, places) = proved(&living, identifier, query, "*/*");
        assert_eq!((found, places), (status, vec![place]), "{identifier}");
    }
}

#[test]
fn a_proof_is_refused_to_who_takes_no_result_that_has_a_place_for_it() {
    let (history, did) = history(false);
    for accept in ["application/did", "application/ld+json", "application/json"] {
        let (status, json, places) = proved(&history, &did, "", accept);
        assert_eq!(
            (status, &json["type"], places),
            (400, &"https://www.w3.org/ns/did#INVALID_OPTIONS".into(), vec![])
        );
        let (status, _, json) = ask(&history, &get(&did, "proof=false&sinceEpoch=1", accept));
        assert_eq!((status, &json["id"]), (200, &did.as_str().into()));
    }
    for query in
        ["proof=yes", "proof=1", "proof=true&sinceEpoch=-1", "sinceEpoch=01", "proof=true&proof=true"]
    {
        assert_eq!(ask(&history, &get(&did, query, RESULT)).0, 400, "{query}");
    }
}

#[test]
fn a_body_that_is_no_object_of_options_is_refused() {
    let (history, did) = history(false);
    for body in [&b"x"[..], b"[]", b"1", b"{\"versionId\":1}", b"{", b"\xff", b"{\"versionId\":\"1\"} x"] {
        assert_eq!(ask(&history, &Request { body, ..get(&did, "", RESULT) }).0, 400, "{body:?}");
    }
    assert_eq!(ask(&history, &Request { body: b"\r\n", ..get(&did, "", RESULT) }).0, 200);
}

#[test]
fn a_failure_of_the_node_is_told_in_fixed_words() {
    let answer = failure(&get("did:realdid:test:z1", "", RESULT));
    assert_eq!((answer.status, answer.content_type), (500, Some(RESULT)));
    assert!(answer.body.contains("https://www.w3.org/ns/did#INTERNAL_ERROR") && !answer.body.contains("z1"));
}

/// Texts that are made of what the binding's own syntax is made of.
fn texts() -> impl Strategy<Value = String> {
    let words = [
        "did:realdid:test:",
        "did:",
        ":",
        "/",
        "?",
        "#",
        "%",
        "%23",
        "%3F",
        "&",
        "=",
        "+",
        ",",
        ";",
        "\"",
        "*",
        "q=0.5",
        "profile",
        "versionId",
        "versionTime",
        "service",
        "relativeRef",
        "proof",
        "sinceEpoch",
        "true",
        "accept",
        "application/did",
        "text/uri-list",
        "2025-10-07T00:00:00Z",
        "1",
        "x",
        "é",
        "\0",
    ];
    let part = prop_oneof![prop::sample::select(words.to_vec()).prop_map(str::to_owned), ".{0,3}"];
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn whatever_is_asked_the_answer_is_of_the_table(
        rest in texts(), of_ours in any::<bool>(), query in texts(), accept in texts(),
        body in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let (history, did) = history(false);
        let identifier = if of_ours { format!("{did}{rest}") } else { rest };
        let accept = Some(accept.as_str());
        let Ok(answer) = answer(&history, "test", &Request { identifier: &identifier, query: &query, body: &body, accept });
        prop_assert!(matches!(answer.status, 200 | 303 | 400 | 404 | 406 | 410 | 500 | 501), "{answer:?}");
        let redirects = answer.status == 303;
        prop_assert_eq!((answer.location.is_some(), answer.body.is_empty()), (redirects, redirects));
        prop_assert!(redirects || serde_json::from_str::<Value>(&answer.body).is_ok());
        prop_assert!(answer.body.len() < 4_000, "{} bytes", answer.body.len());
    }
}

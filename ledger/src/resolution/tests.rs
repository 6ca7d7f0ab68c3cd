use std::convert::Infallible;

use super::*;
use crate::operation::Reason;
use crate::samples::{Memory, agreement_key, commitments, create, document, key, moment, service};
use crate::{Commitments, Endorsement, Key, Moment, Purposes, Withdrawal};

impl History for Memory {
    type Error = Infallible;

    fn newest(&self, did: &DidId) -> Result<Option<Record>, Infallible> {
        crate::StateView::record(self, did)
    }

    fn at_version(&self, did: &DidId, version: Version) -> Result<Option<Record>, Infallible> {
        Ok(self.records.get(&(*did, version)).cloned())
    }
}

/// A DID with three versions, the last one deactivated where asked for.
pub(super) fn history(ended: bool) -> (Memory, String) {
    let first = Record::first(create(&[1]).did(), document(&[1]), commitments(1), None, moment(1));
    let second = first.successor(Some(document(&[2])), commitments(1), moment(2));
    let rotating = Commitments { next_keys: Some(commitments(9).recovery), ..commitments(1) };
    let third = second.successor((!ended).then(|| document(&[3])), rotating, moment(3));
    let did = Did::new("test", first.header.did).to_string();
    let records =
        [first, second, third].into_iter().map(|record| ((record.header.did, record.header.version), record));
    (Memory { records: records.collect(), ..Memory::default() }, did)
}

fn resolved(history: &Memory, text: &str, version: Option<&str>) -> (u16, Value) {
    asked(history, text, &Options { version_id: version.map(str::to_owned), ..Options::default() })
}

fn asked(history: &Memory, text: &str, options: &Options) -> (u16, Value) {
    let Ok(resolution) = resolve(history, "test", text, options);
    assert_eq!(resolution.document().is_some(), resolution.status() == 200);
    assert_eq!(resolution.problem().is_some(), !matches!(resolution.status(), 200 | 410));
    (resolution.status(), resolution.to_json())
}

#[test]
fn the_newest_version_resolves_with_its_metadata() {
    let (history, did) = history(false);
    let (status, json) = resolved(&history, &did, None);
    assert_eq!(status, 200);
    assert_eq!(json["didResolutionMetadata"], json!({ "contentType": "application/did" }));
    assert_eq!(
        json["didDocumentMetadata"],
        json!({
            "created": "2023-11-14T22:13:21Z",
            "updated": "2023-11-14T22:13:23Z",
            "versionId": "3",
            "recoveryCommitment": commitments(1).recovery.to_string(),
            "nextKeysCommitment": commitments(9).recovery.to_string(),
        })
    );
    assert_eq!(
        json["didDocument"]["verificationMethod"][0]["publicKeyMultibase"],
        key(3).public().to_string()
    );
}

#[test]
fn an_old_version_resolves_and_names_the_next() {
    let (history, did) = history(false);
    let (status, json) = resolved(&history, &did, Some("1"));
    assert_eq!(status, 200);
    assert_eq!(
        json["didDocumentMetadata"],
        json!({
            "created": "2023-11-14T22:13:21Z",
            "versionId": "1",
            "recoveryCommitment": commitments(1).recovery.to_string(),
            "nextUpdate": "2023-11-14T22:13:22Z",
            "nextVersionId": "2",
        })
    );
    assert_eq!(
        json["didDocument"]["verificationMethod"][0]["publicKeyMultibase"],
        key(1).public().to_string()
    );
}

#[test]
fn a_deactivated_did_has_a_null_document_and_its_old_versions_say_that_it_is_over() {
    let (history, did) = history(true);
    let (status, json) = resolved(&history, &did, None);
    assert_eq!((status, &json["didDocument"]), (410, &Value::Null));
    assert_eq!(json["didDocumentMetadata"]["deactivated"], true);
    assert_eq!(json["didDocumentMetadata"]["versionId"], "3");
    let (status, json) = resolved(&history, &did, Some("2"));
    assert_eq!(status, 200);
    assert_eq!(json["didDocumentMetadata"]["deactivated"], true);
}

/// The version that `did` had at a time.
fn at(history: &Memory, did: &str, time: &str) -> (u16, Value) {
    let options = Options { version_time: Some(time.to_owned()), ..Options::default() };
    let (status, json) = asked(history, did, &options);
    (status, json["didDocumentMetadata"]["versionId"].clone())
}

#[test]
fn a_time_gives_the_newest_version_of_then_and_before_the_first_there_is_none() {
    let (history, did) = history(false);
    assert_eq!(at(&history, &did, "2023-11-14T22:13:20Z"), (404, Value::Null));
    assert_eq!(at(&history, &did, "1970-01-01T00:00:00Z"), (404, Value::Null));
    for (time, version) in [
        ("2023-11-14T22:13:21Z", "1"),
        ("2023-11-14T22:13:22Z", "2"),
        ("2023-11-14T22:13:23Z", "3"),
        ("2023-11-14T22:13:24Z", "3"),
        ("9999-12-31T23:59:59Z", "3"),
    ] {
        assert_eq!(at(&history, &did, time), (200, version.into()), "{time}");
    }
    let (history, did) = self::history(true);
    assert_eq!(at(&history, &did, "2023-11-14T22:13:22Z"), (200, "2".into()));
    assert_eq!(at(&history, &did, "2023-11-14T22:13:23Z"), (410, "3".into()));
}

/// A DID whose version n was made at the n-th of `millis`.
fn made_at(millis: &[u64]) -> (Memory, String) {
    let moment = |millis: u64| Moment { time: genesis::UnixMillis(millis), ..moment(1) };
    let mut records =
        vec![Record::first(create(&[1]).did(), document(&[1]), commitments(1), None, moment(millis[0]))];
    for time in &millis[1..] {
        let next = records[records.len() - 1].successor(Some(document(&[1])), commitments(1), moment(*time));
        records.push(next);
    }
    let did = Did::new("test", records[0].header.did).to_string();
    let rows = records.into_iter().map(|record| ((record.header.did, record.header.version), record));
    (Memory { records: rows.collect(), ..Memory::default() }, did)
}

#[test]
fn within_one_second_the_last_version_wins() {
    let (history, did) = made_at(&[1_000_000, 1_000_300, 1_000_999, 1_001_000, 1_001_000]);
    assert_eq!(at(&history, &did, "1970-01-01T00:16:39Z"), (404, Value::Null));
    assert_eq!(at(&history, &did, "1970-01-01T00:16:40Z"), (200, "3".into()));
    assert_eq!(at(&history, &did, "1970-01-01T00:16:41Z"), (200, "5".into()));
}

#[test]
fn every_second_of_a_long_history_gives_the_version_that_a_walk_finds() {
    let millis: Vec<u64> = (0..100_u64).map(|number| 5_000 + number * number * 37).collect();
    let (history, did) = made_at(&millis);
    for second in 0..400 {
        let walked = millis.iter().rposition(|millis| millis / 1_000 <= second).map(|place| place + 1);
        let expected = match walked {
            Some(version) => (200, Value::from(version.to_string())),
            None => (404, Value::Null),
        };
        let text = time::rfc3339(genesis::UnixMillis(second * 1_000));
        assert_eq!(at(&history, &did, &text), expected, "{text}");
    }
}

#[test]
fn options_that_cannot_be_followed_are_named() {
    let (history, did) = history(false);
    let both = Options {
        version_id: Some("1".into()),
        version_time: Some("2023-11-14T22:13:21Z".into()),
        ..Options::default()
    };
    let late = Options { version_time: Some("2023-11-14T22:13:21.5Z".into()), ..Options::default() };
    let service = Options { service: Some("files".into()), ..Options::default() };
    let accept = Options { accept: Some("text/html".into()), ..Options::default() };
    for (options, status, fragment, named) in [
        (both, 400, "INVALID_OPTIONS", "versionTime"),
        (late, 400, "INVALID_OPTIONS", "2023-11-14T22:13:21.5Z"),
        (service, 501, "FEATURE_NOT_SUPPORTED", "service"),
        (accept, 406, "REPRESENTATION_NOT_SUPPORTED", "text/html"),
    ] {
        let (found, json) = asked(&history, &did, &options);
        let error = &json["didResolutionMetadata"]["error"];
        assert_eq!(
            (found, &error["type"]),
            (status, &format!("https://www.w3.org/ns/did#{fragment}").into())
        );
        assert!(error["detail"].as_str().unwrap().contains(named), "{error}");
    }
}

#[test]
fn options_are_read_from_json_each_once_and_bounded() {
    let read = |json: Value| serde_json::from_value::<JsonOptions>(json).unwrap().check();
    let options = read(json!({ "versionId": "2", "expandRelativeUrls": true, "accept": null })).unwrap();
    assert_eq!((options.version_id.as_deref(), options.accept), (Some("2"), None));
    assert!(
        matches!(read(json!({ "noSuch": "1" })), Err(Problem::UnsupportedOption { name, .. }) if name == "noSuch")
    );
    for wrong in [
        json!({ "versionId": 2 }),
        json!({ "versionId": "２" }),
        json!({ "versionId": "1".repeat(3_000) }),
        json!({ "versionId": "1\n" }),
        json!({ "expandRelativeUrls": "yes" }),
        json!({ "accept": ["application/did"] }),
    ] {
        assert!(matches!(read(wrong.clone()), Err(Problem::InvalidOption { .. })), "{wrong}");
    }
    let twice = serde_json::from_str::<JsonOptions>("{\"versionId\": \"1\", \"versionId\": \"2\"}").unwrap();
    assert!(matches!(twice.check(), Err(Problem::InvalidOption { expected: "it once", .. })));
    for none in ["[]", "1", "\"versionId\"", "{", "{\"x\": [}"] {
        assert!(serde_json::from_str::<JsonOptions>(none).is_err(), "{none}");
    }
}

#[test]
fn a_caller_from_before_gets_words_for_errors_and_the_contexts_that_it_knows() {
    let (history, did) = history(false);
    let old = |text: &str| {
        let accept = Some("application/ld+json;profile=\"https://w3id.org/did-resolution\"".to_owned());
        asked(&history, text, &Options { accept, ..Options::default() })
    };
    let (status, json) = old(&did);
    assert_eq!((status, &json["@context"]), (200, &"https://w3id.org/did-resolution/v1".into()));
    assert_eq!(json["didResolutionMetadata"], json!({ "contentType": "application/did+ld+json" }));
    assert_eq!(
        json["didDocument"]["@context"],
        json!(["https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1"])
    );
    let (status, json) = old("did:realdid:test:zz");
    let metadata = &json["didResolutionMetadata"];
    assert_eq!((status, &metadata["error"]), (400, &"invalidDid".into()));
    assert!(metadata["errorMessage"].as_str().unwrap().contains("did:realdid:test:zz"));
    for (text, word) in
        [("did:web:example.org", "methodNotSupported"), (&did.replace("test", "prod"), "notFound")]
    {
        assert_eq!(old(text).1["didResolutionMetadata"]["error"], word);
    }
}

#[test]
fn each_problem_has_its_type_status_and_the_value_in_its_detail() {
    let (history, did) = history(false);
    let unknown = Did::new("test", create(&[9]).did()).to_string();
    let elsewhere = did.replace(":test:", ":prod:");
    for (text, version, status, fragment) in [
        ("did:realdid:test:zz", None, 400, "INVALID_DID"),
        ("not a did", None, 400, "INVALID_DID"),
        ("did:web:example.org", None, 501, "METHOD_NOT_SUPPORTED"),
        (unknown.as_str(), None, 404, "NOT_FOUND"),
        (elsewhere.as_str(), None, 404, "NOT_FOUND"),
        (did.as_str(), Some("4"), 404, "NOT_FOUND"),
        (did.as_str(), Some("18446744073709551615"), 404, "NOT_FOUND"),
        (did.as_str(), Some("0"), 400, "INVALID_OPTIONS"),
        (did.as_str(), Some("01"), 400, "INVALID_OPTIONS"),
        (did.as_str(), Some("+1"), 400, "INVALID_OPTIONS"),
        (did.as_str(), Some("newest"), 400, "INVALID_OPTIONS"),
    ] {
        let (found, json) = resolved(&history, text, version);
        let error = &json["didResolutionMetadata"]["error"];
        assert_eq!(found, status, "{text} {version:?}");
        assert_eq!(error["type"], format!("https://www.w3.org/ns/did#{fragment}"));
        assert_eq!(error["status"], status);
        assert!(error["detail"].as_str().unwrap().contains(version.unwrap_or(text)), "{error}");
        assert_eq!(json["didDocument"], Value::Null);
    }
}

#[test]
fn a_document_lists_each_key_once_and_each_purpose_by_full_urls() {
    let mut document = document(&[1, 2]);
    document.keys[0].purposes = Purposes::CAPABILITY_INVOCATION;
    document.keys[1].purposes = Purposes::AUTHENTICATION.and(Purposes::CAPABILITY_INVOCATION);
    let did = Did::new("test", create(&[1]).did());
    let (first, second) = (format!("{did}#key-1"), format!("{did}#key-2"));
    let method = |id: &str, seed: u8| {
        let key = key(seed).public().to_string();
        json!({ "id": id, "type": "Multikey", "controller": did.to_string(), "publicKeyMultibase": key })
    };
    assert_eq!(
        did_document(&did, &document),
        json!({
            "@context": ["https://www.w3.org/ns/did/v1.1"],
            "id": did.to_string(),
            "verificationMethod": [method(&first, 1), method(&second, 2)],
            "authentication": [&second],
            "capabilityInvocation": [&first, &second],
        })
    );
}

#[test]
fn a_document_shows_its_controllers_services_and_keys_of_other_algorithms() {
    let mut document = document(&[1]);
    document.controllers = vec![create(&[8]).did(), create(&[9]).did()];
    document.services = vec![service(3)];
    let (number, public) = (KeyNumber::LAST, agreement_key(4));
    document.keys.push(Key { number, public, purposes: Purposes::KEY_AGREEMENT });
    let did = Did::new("test", create(&[1]).did());
    let json = did_document(&did, &document);
    let controllers = [8, 9].map(|seed| Did::new("test", create(&[seed]).did()).to_string());
    assert_eq!(json["controller"], json!(controllers));
    let service = json!({
        "id": format!("{did}#service-3"), "type": "LinkedDomains", "serviceEndpoint": "https://example.org/3",
    });
    assert_eq!(json["service"], json!([service]));
    assert_eq!(json["keyAgreement"], json!([format!("{did}#key-65535")]));
    assert_eq!(json["verificationMethod"][1]["publicKeyMultibase"], public.to_string());
    assert_eq!(json["verificationMethod"][1]["type"], "Multikey");
}

#[test]
fn the_metadata_show_who_endorsed_the_did_and_why_no_more() {
    let (mut history, did) = history(false);
    let record = history.records.values_mut().last().unwrap();
    let registrar = create(&[9]).did();
    record.header.endorsement = Some(Endorsement { registrar, at: moment(1), withdrawn: None });
    let shown = json!({ "registrar": Did::new("test", registrar), "endorsed": "2023-11-14T22:13:21Z" });
    assert_eq!(resolved(&history, &did, None).1["didDocumentMetadata"]["endorsement"], shown);
    let record = history.records.values_mut().last().unwrap();
    let withdrawn = Some(Withdrawal { reason: Reason::CourtOrder, at: moment(2) });
    record.header.endorsement = Some(Endorsement { registrar, at: moment(1), withdrawn });
    let shown = resolved(&history, &did, None).1["didDocumentMetadata"]["endorsement"].clone();
    assert_eq!(
        (&shown["withdrawn"], &shown["reason"]),
        (&json!("2023-11-14T22:13:22Z"), &json!("court_order"))
    );
}

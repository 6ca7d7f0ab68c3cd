//! DID Resolution's HTTP binding on a running node's RPC port: the table of its statuses, its media types, what the
//! Universal Resolver relies on, and the bounds of what it takes.

use std::io::{Read, Write};
use std::net::TcpStream;

use client::api::ResolveOptions;
use client::wallet::{self, Terms};
use genesis::SecretKey;
use ledger::{Did, Version};
use serde_json::{Value, json};
use tests::harness::{Cluster, PATIENCE, eventually, post, realdid, send};

pub(super) const RESULT: &str = "application/did-resolution";
pub(super) const OLD: &str = "application/ld+json;profile=\"https://w3id.org/did-resolution\"";
const PROBLEM: &str = "application/problem+json";

/// An answer over HTTP.
pub(super) struct Answer {
    pub(super) status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn kind(&self) -> &str {
        self.header("content-type").unwrap_or_default()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}

fn ask(port: u16, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    read(&send(port, request.as_bytes()).expect("an answer"))
}

fn read(answer: &str) -> Answer {
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

pub(super) fn get(port: u16, identifier: &str, accept: &str) -> Answer {
    let accept = format!("Accept: {accept}");
    let headers: &[&str] = if accept == "Accept: " { &[] } else { &[&accept] };
    ask(port, "GET", &format!("/1.0/identifiers/{identifier}"), headers, "")
}

/// Runs a command on the DIDs of `keyring`.
fn did(cluster: &Cluster, arguments: &[&str]) -> Value {
    let keyring = cluster.scratch().join("keyring");
    let keyring = keyring.to_str().expect("a path in UTF-8");
    let common = ["--rpc", &cluster.url(0), "--keyring", keyring, "--json"];
    let output = realdid(&[&["did"], arguments, &common[..]].concat());
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// A DID with two versions, and one that is deactivated.
pub(super) fn made(cluster: &Cluster) -> (String, String) {
    let [living, ended] =
        [(); 2].map(|()| did(cluster, &["create"])["did"].as_str().expect("a DID").to_owned());
    assert_eq!(did(cluster, &["update", &living])["version"], 2);
    assert_eq!(did(cluster, &["deactivate", &ended])["result"], "applied");
    (living, ended)
}

/// A DID that nobody registered.
pub(super) async fn unregistered(cluster: &Cluster) -> String {
    let status = cluster.client(0).status().await.expect("status");
    let terms = Terms { network: status.network, chain: status.chain, expires_at: status.height };
    wallet::registration(&terms, &SecretKey::generate()).0.to_string()
}

#[tokio::test]
async fn dids_and_did_urls_are_answered_by_the_table_in_the_type_that_is_asked_for() {
    let cluster = Cluster::start(1).await;
    let port = cluster.ports(0)[1];
    let (living, ended) = made(&cluster);
    let unknown = unregistered(&cluster).await;
    let encoded = living.replace(':', "%3A");

    for (accept, kind, id) in [
        ("", RESULT, "/didDocument/id"),
        ("*/*", RESULT, "/didDocument/id"),
        (RESULT, RESULT, "/didDocument/id"),
        (OLD, OLD, "/didDocument/id"),
        ("application/did-url-dereferencing", "application/did-url-dereferencing", "/contentStream/id"),
        ("application/did", "application/did", "/id"),
        ("application/did+ld+json", "application/did+ld+json", "/id"),
        ("application/did+json", "application/did+json", "/id"),
        ("application/json", "application/json", "/id"),
        // What the Universal Resolver sends to its drivers, now and before.
        ("application/ld+json", "application/ld+json", "/id"),
        ("application/did-resolution,application/did", RESULT, "/didDocument/id"),
        (&format!("{OLD},application/did+ld+json"), OLD, "/didDocument/id"),
        (&format!("{OLD}; charset=utf-8,application/ld+json"), OLD, "/didDocument/id"),
    ] {
        for identifier in [&living, &encoded] {
            let answer = get(port, identifier, accept);
            assert_eq!((answer.status, answer.kind()), (200, kind), "{accept}");
            assert_eq!(answer.json().pointer(id), Some(&Value::from(living.as_str())), "{accept}");
            assert_eq!(answer.header("cache-control"), Some("no-store"));
        }
    }

    let (ended_fragment, no_key) = (format!("{ended}%23key-1"), format!("{living}%23key-9"));
    for (identifier, status, word) in [
        ("", 400, "INVALID_DID"),
        ("not-a-did", 400, "INVALID_DID"),
        ("did:realdid:test:zz", 400, "INVALID_DID"),
        ("did%zz", 400, "INVALID_DID_URL"),
        ("not-a-did%23key-1", 400, "INVALID_DID_URL"),
        (&format!("{living}?versionId=two"), 400, "INVALID_OPTIONS"),
        (&format!("{living}?versionTime=2025-10-07T00:00:00%2B02:00"), 400, "INVALID_OPTIONS"),
        (&format!("{living}?versionTime=2025-10-07T00:00:00.123Z"), 400, "INVALID_OPTIONS"),
        (&format!("{living}?service=%D0%9F"), 400, "INVALID_OPTIONS"),
        (&format!("{living}?versionId=1&versionId=1"), 400, "INVALID_OPTIONS"),
        (&unknown, 404, "NOT_FOUND"),
        (&format!("{living}?versionId=3"), 404, "NOT_FOUND"),
        (&format!("{living}?versionTime=2001-01-01T00:00:00Z"), 404, "NOT_FOUND"),
        (&no_key, 404, "NOT_FOUND"),
        (&format!("{living}/path"), 404, "NOT_FOUND"),
        ("did:web:example.org", 501, "METHOD_NOT_SUPPORTED"),
        (&format!("{living}?unheardOf=1"), 501, "FEATURE_NOT_SUPPORTED"),
    ] {
        let whole = get(port, identifier, "*/*");
        let json = whole.json();
        let metadata = ["didResolutionMetadata", "dereferencingMetadata"].map(|name| &json[name]["error"]);
        let error = metadata.into_iter().find(|error| !error.is_null()).expect("an error");
        assert_eq!((whole.status, &error["status"]), (status, &status.into()), "{identifier}");
        assert_eq!(error["type"], format!("https://www.w3.org/ns/did#{word}"), "{identifier}");
        let alone = get(port, identifier, "application/did");
        assert_eq!((alone.status, alone.kind(), &alone.json()), (status, PROBLEM, error), "{identifier}");
    }
    for (identifier, accept) in [(&living, "text/html"), (&format!("{living}%23key-2"), RESULT)] {
        let answer = get(port, identifier, accept);
        assert_eq!((answer.status, answer.kind()), (406, PROBLEM));
        assert_eq!(answer.json()["type"], "https://www.w3.org/ns/did#REPRESENTATION_NOT_SUPPORTED");
    }

    for (accept, kind) in [("*/*", RESULT), (OLD, OLD), ("application/ld+json", OLD)] {
        let answer = get(port, &ended, accept);
        assert_eq!((answer.status, answer.kind()), (410, kind));
        assert_eq!(answer.json()["didDocument"], Value::Null);
        assert_eq!(answer.json()["didDocumentMetadata"]["deactivated"], true);
    }
    assert_eq!(get(port, &ended, "application/did").status, 410);
    assert_eq!(get(port, &ended_fragment, "*/*").status, 410);
    let old = get(port, &format!("{ended}?versionId=1"), "*/*");
    assert_eq!((old.status, &old.json()["didDocumentMetadata"]["deactivated"]), (200, &true.into()));
    let words = get(port, &unknown, "application/ld+json");
    assert_eq!((words.status, &words.json()["didResolutionMetadata"]["error"]), (404, &"notFound".into()));

    let key = get(port, &format!("{living}%23key-2?verificationRelationship=authentication"), "*/*");
    assert_eq!((key.status, &key.json()["contentStream"]["id"]), (200, &format!("{living}#key-2").into()));
    let before = get(port, &format!("{living}%23key-2?versionId=1"), "*/*");
    assert_eq!(before.status, 404);
    let services = get(port, &format!("{living}?service=files&relativeRef=%2Fa"), "*/*");
    assert_eq!((services.status, &services.json()["contentStream"]["service"]), (200, &json!([])));
}

#[tokio::test]
async fn a_service_redirects_to_its_url_and_its_document_says_where_else() {
    let cluster = Cluster::start(1).await;
    let port = cluster.ports(0)[1];
    let did = cluster.accredited(&[0], "issuer", "https://issuer.example/base/").await;
    for (query, location) in [
        ("service=service-1", "https://issuer.example/base/"),
        ("service=%23service-1", "https://issuer.example/base/"),
        ("serviceType=LinkedDomains", "https://issuer.example/base/"),
        ("service=service-1&relativeRef=lists%2F3%3Fx%3D1", "https://issuer.example/base/lists/3?x=1"),
        ("service=service-1&relativeRef=%2Flists", "https://issuer.example/lists"),
    ] {
        let answer = get(port, &format!("{did}?{query}"), "text/uri-list");
        assert_eq!((answer.status, answer.header("location")), (303, Some(location)), "{query}");
        assert_eq!((answer.body.as_str(), answer.header("cache-control")), ("", Some("no-store")));
        // Who takes no redirection gets the document with the service that was selected.
        let selected = get(port, &format!("{did}?{query}"), "application/did-url-dereferencing");
        let service = &selected.json()["contentStream"]["service"][0];
        assert_eq!((selected.status, &service["type"]), (200, &"LinkedDomains".into()), "{query}");
    }
    // The fragment goes along, where the service's URL has none.
    let answer = get(port, &format!("{did}%3Fservice=service-1%23top"), "text/uri-list");
    assert_eq!(answer.header("location"), Some("https://issuer.example/base/#top"));
    for (query, status) in [
        ("service=service-2", 404),
        ("serviceType=DIDCommMessaging", 404),
        ("service=service-1&relativeRef=%2F%2Fevil.example%2F", 400),
    ] {
        let answer = get(port, &format!("{did}?{query}"), "text/uri-list");
        assert_eq!((answer.status, answer.header("location")), (status, None), "{query}");
        assert_eq!(answer.kind(), PROBLEM);
    }
}

#[tokio::test]
async fn the_same_question_has_the_same_answer_by_get_by_post_and_over_json_rpc() {
    let cluster = Cluster::start(1).await;
    let (port, client) = (cluster.ports(0)[1], cluster.client(0));
    let (living, _) = made(&cluster);
    let did: Did = living.parse().expect("a DID");
    let history = client.history(&did, Version::FIRST).await.expect("a history");
    assert_eq!(history.versions.iter().map(|entry| entry.version.0).collect::<Vec<_>>(), [1, 2]);
    let rest = client.history(&did, Version(2)).await.expect("a history");
    assert_eq!((rest.versions.len(), rest.more_versions), (1, false));
    let unknown: Did = unregistered(&cluster).await.parse().expect("a DID");
    let refused = client.history(&unknown, Version::FIRST).await.expect_err("there is none");
    assert_eq!(refused.call().expect("the node's own answer").code, client::api::code::NOT_FOUND);

    let time = |place: usize| ledger::resolution::time::rfc3339(history.versions[place].time);
    for (name, value) in [
        ("versionId", "1".to_owned()),
        ("versionId", "2".to_owned()),
        ("versionId", "9".to_owned()),
        ("versionId", "x".to_owned()),
        ("versionTime", time(0)),
        ("versionTime", time(1)),
        ("versionTime", "2001-01-01T00:00:00Z".to_owned()),
        ("unheardOf", "1".to_owned()),
    ] {
        let by_get = get(port, &format!("{living}?{name}={value}"), RESULT);
        let body = json!({ name: value }).to_string();
        let by_post = ask(port, "POST", &format!("/1.0/identifiers/{living}"), &[], &body);
        assert_eq!((by_get.status, by_get.json()), (by_post.status, by_post.json()), "{name}={value}");
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "did_resolve", "params": [living, { name: value }] });
        let by_rpc = read(&post(port, call.to_string().as_bytes()).expect("an answer")).json();
        assert_eq!(by_rpc["result"], by_get.json(), "{name}={value}");
    }
    let options =
        ResolveOptions { version_time: Some(time(1)), accept: Some(OLD.into()), ..Default::default() };
    let resolved = client.resolve(&living, &options).await.expect("an answer");
    assert_eq!(resolved["didDocumentMetadata"]["versionId"], "2");
    assert_eq!(resolved["didResolutionMetadata"]["contentType"], "application/did+ld+json");
}

#[tokio::test]
async fn what_is_no_question_is_refused_and_json_rpc_goes_on_beside_it() {
    let mut cluster = Cluster::prepare(1);
    let path = cluster.home(0).join("config.toml");
    let settings = std::fs::read_to_string(&path).expect("a config");
    assert!(settings.contains("cors_origins = []"), "off unless named: {settings}");
    std::fs::write(&path, settings.replace("cors_origins = []", "cors_origins = [\"https://app.example\"]"))
        .expect("written");
    cluster.start_all_ready().await;
    let port = cluster.ports(0)[1];
    let at = "/1.0/identifiers/did:realdid:test:zz";

    let large = format!("{{\"versionId\":\"{}\"}}", "1".repeat(20_000));
    for (method, path, body, status) in [
        ("GET", "/nothing", "", 404),
        ("GET", "/1.0/identifiers", "", 404),
        ("GET", "/2.0/identifiers/did:realdid:test:zz", "", 404),
        ("POST", "/rpc", "{}", 404),
        ("DELETE", at, "", 405),
        ("PUT", at, "", 405),
        ("GET", &format!("{at}?versionId={}", "1".repeat(9_000)), "", 414),
        ("POST", at, &large, 413),
    ] {
        let answer = ask(port, method, path, &[], body);
        let json = answer.json();
        assert_eq!((answer.status, answer.kind()), (status, PROBLEM), "{method} {path}");
        assert_eq!((&json["status"], &json["type"]), (&status.into(), &"about:blank".into()));
        assert_eq!(answer.header("allow").is_some(), status == 405);
    }
    for body in ["x", "[]", "{\"versionId\":1}"] {
        assert_eq!(ask(port, "POST", at, &[], body).status, 400, "{body}");
    }
    let (head, whole) = (ask(port, "HEAD", at, &[], ""), ask(port, "GET", at, &[], ""));
    assert_eq!((head.status, head.body.as_str()), (400, ""));
    assert_eq!(head.header("content-length"), whole.header("content-length"));
    let options = ask(port, "OPTIONS", at, &[], "");
    assert_eq!((options.status, options.header("allow")), (204, Some("GET, HEAD, POST, OPTIONS")));
    assert_eq!(ask(port, "GET", at, &["Accept: application/d\u{ef}d"], "").status, 400);

    // Browsers: the page that was named may, on both, and another may not.
    for path in ["/", at] {
        let asks = ["Origin: https://app.example", "Access-Control-Request-Method: POST"];
        let allowed = ask(port, "OPTIONS", path, &asks, "");
        assert_eq!(allowed.status, 204);
        assert_eq!(allowed.header("access-control-allow-methods"), Some("GET, HEAD, POST"));
        for origin in ["https://app.example", "https://evil.example"] {
            let answer = ask(port, "GET", path, &[&format!("Origin: {origin}")], "");
            let named = origin == "https://app.example";
            assert_eq!(answer.header("access-control-allow-origin"), named.then_some(origin), "{path}");
        }
    }

    let socket = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                  Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    stream
        .write_all(format!("GET / HTTP/1.1\r\nHost: localhost\r\n{socket}\r\n\r\n").as_bytes())
        .expect("sent");
    let mut status = [0; 12];
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream.read_exact(&mut status).expect("an answer");
    assert_eq!(&status, b"HTTP/1.1 101");

    // A body that never comes to its end.
    let slow = format!("POST {at} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{{");
    let answer = read(&send(port, slow.as_bytes()).expect("an answer"));
    assert_eq!((answer.status, answer.kind()), (408, PROBLEM));
    cluster.register(0).await;
}

#[tokio::test]
async fn no_more_requests_are_at_work_than_the_settings_allow() {
    let mut cluster = Cluster::prepare(1);
    let path = cluster.home(0).join("config.toml");
    let settings = std::fs::read_to_string(&path).expect("a config");
    assert!(settings.contains("max_connections = 200"), "{settings}");
    std::fs::write(&path, settings.replace("max_connections = 200", "max_connections = 1")).expect("written");
    cluster.start_all_ready().await;
    let port = cluster.ports(0)[1];
    let at = "/1.0/identifiers/did:realdid:test:zz";
    let head = format!("POST {at} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n");
    let mut slow = Vec::new();
    eventually("one request is at work", async || {
        // One that comes while a question of this loop is at work is refused itself: so another is begun each time.
        let mut begun = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        begun.write_all(head.as_bytes()).expect("sent");
        slow.push(begun);
        ask(port, "GET", at, &[], "").status == 429
    })
    .await;
    drop(slow);
    eventually("it is given up", async || ask(port, "GET", at, &[], "").status == 400).await;
}

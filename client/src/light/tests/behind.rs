//! The typed client against a node that bridges fewer epochs in one answer than the light client is behind.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;

use serde_json::{Value, json};

use super::*;
use crate::Client;
use crate::api::{ResolveOptions, to_base64};
use crate::rpc::proved::ProvedError;

/// How many changes of the validators the node puts into one answer.
const MOST: usize = 100;

/// What the node answers: as the real one does, from the chain in memory. `false_from` is the epoch from which its links
/// are those of another network.
fn answer(chain: &Chain, did: &Did, method: &str, params: &Value, false_from: usize) -> Value {
    let since = |place: usize| params[place].as_u64().unwrap() as usize;
    let links = |since: usize| {
        let mut links: Vec<Link> = chain.links.iter().skip(since).take(MOST).cloned().collect();
        for link in links.iter_mut().skip(false_from.saturating_sub(since)) {
            link.certificate.signatures.clear();
        }
        links
    };
    match method {
        "did_prove" => {
            let proof = ResolutionProof { links: links(since(2)), ..chain.proof(did, &Options::default()) };
            json!({ "height": chain.height, "resolution": null, "proof": to_base64(&proof.encode()) })
        }
        "chain_links" => {
            let links = Links(links(since(0)));
            let more = since(0) + links.0.len() < chain.links.len();
            json!({ "links": to_base64(&links.encode()), "moreLinks": more })
        }
        other => panic!("{other}"),
    }
}

/// Serves `count` calls; the methods and the epochs that were asked for.
fn serve(
    listener: TcpListener,
    chain: &Chain,
    did: &Did,
    count: usize,
    false_from: usize,
) -> Vec<(String, u64)> {
    let mut asked = Vec::new();
    for _ in 0..count {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let call: Value = serde_json::from_slice(&body).unwrap();
        let method = call["method"].as_str().unwrap();
        let result = answer(chain, did, method, &call["params"], false_from);
        asked.push((method.to_owned(), call["params"].as_array().unwrap().last().unwrap().as_u64().unwrap()));
        let text = json!({ "jsonrpc": "2.0", "id": call["id"], "result": result }).to_string();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            text.len()
        );
        let mut stream = reader.into_inner();
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
    }
    asked
}

/// Resolves the DID by a node that serves this many calls.
fn asked(
    chain: &Chain,
    did: &Did,
    count: usize,
    false_from: usize,
) -> (LightClient, Result<Answer, ProvedError>, Vec<(String, u64)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let mut light = LightClient::new(&founded());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    std::thread::scope(|scope| {
        let served = scope.spawn(|| serve(listener, chain, did, count, false_from));
        let options = ResolveOptions::default();
        let answer = runtime.block_on(client.resolve_proved(&mut light, did, &options, time(chain.height)));
        (light.clone(), answer, served.join().unwrap())
    })
}

#[test]
fn a_client_that_is_behind_is_led_on_and_asks_again() {
    let (chain, did) = lived_for(263);
    let (light, answer, asked) = asked(&chain, &did, 5, usize::MAX);
    assert_eq!(answer.unwrap().resolution.version(), Some(Version(263)));
    assert_eq!(light.pin().epoch(), Epoch(262));
    let expected = [("did_prove", 0), ("chain_links", 0), ("chain_links", 100), ("chain_links", 200)];
    let expected = expected.into_iter().chain([("did_prove", 262)]);
    assert_eq!(asked, expected.map(|(method, since)| (method.to_owned(), since)).collect::<Vec<_>>());
}

#[test]
fn a_client_that_is_led_astray_stays_where_it_was_sure() {
    let (chain, did) = lived_for(263);
    let (light, answer, _) = asked(&chain, &did, 3, 150);
    let error = answer.unwrap_err();
    assert!(
        matches!(error, ProvedError::Light(LightError::Certificate { epoch: Epoch(150), .. })),
        "{error}"
    );
    assert_eq!(light.pin().epoch(), Epoch(100));
}

//! Answers that need no trust in the node that gives them, from real nodes: under load, across a change of the validators, and
//! after all of them were killed.

use std::time::{SystemTime, UNIX_EPOCH};

use client::api::{RegistryQuestion, ResolveOptions, ShownProof, code};
use client::light::{Answer, LightClient, ResolutionProof};
use client::rpc::proved::ProvedError;
use client::wallet::{self, Terms};
use genesis::encoding::encode;
use genesis::{Digest, Epoch, Genesis, Height, SecretKey, UnixMillis};
use ledger::proof::{Fate, Window};
use ledger::registry::Role;
use ledger::{Did, DidId, RegistryEntry};
use serde_json::{Value, json};
use tests::harness::{Cluster, eventually, printed, realdid};
use tests::history::Load;

use super::resolving::{OLD, RESULT, get, made, unregistered};

/// A light client of a cluster, which knows its genesis document and nothing else.
fn client_of(cluster: &Cluster) -> LightClient {
    let text = std::fs::read_to_string(cluster.home(0).join("genesis.toml")).expect("the genesis document");
    LightClient::new(&Genesis::parse(&text).expect("it is sound"))
}

/// What a node proves of a DID.
async fn proved(
    light: &mut LightClient,
    cluster: &Cluster,
    node: usize,
    did: &Did,
    options: &ResolveOptions,
) -> Answer {
    let bytes =
        cluster.client(node).prove(&did.to_string(), options, light.pin().epoch()).await.expect("a proof");
    let proof = ResolutionProof::decode(&bytes).expect("it is read");
    light.resolve(did, &options.clone().into(), proof, now()).expect("it holds")
}

fn now() -> UnixMillis {
    UnixMillis(SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64)
}

fn version(version: u64) -> ResolveOptions {
    ResolveOptions { version_id: Some(version.to_string()), ..ResolveOptions::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn every_node_proves_documents_versions_and_absences_under_load_and_after_the_validators_changed() {
    let mut cluster = Cluster::start(4).await;
    let keyring = cluster.scratch().join("keyring");
    let (keyring, url) = (keyring.to_str().expect("UTF-8").to_owned(), cluster.url(0));
    let run = |arguments: &[&str]| -> Value {
        let output = realdid(&[arguments, &["--json", "--rpc", &url, "--keyring", &keyring]].concat());
        assert!(output.status.success(), "{}", printed(&output));
        serde_json::from_slice(&output.stdout).expect("JSON")
    };
    let made = run(&["did", "create"]);
    let did: Did = made["did"].as_str().and_then(|did| did.parse().ok()).expect("a DID");
    run(&["did", "update", &did.to_string()]);
    let absent = Did::new("test", DidId(Digest::from_bytes([9; 32])));

    let load = Load::start(&cluster, 71).await;
    load.confirms(8).await;
    let mut early = client_of(&cluster);
    proved(&mut early, &cluster, 0, &did, &ResolveOptions::default()).await;
    cluster.decide(&[0, 1, 2], &["remove-validator", "node3"]);
    cluster.begins(&[0, 1, 2], 1).await;
    load.confirms(8).await;
    for node in 0..3 {
        for (did, options, number) in [
            (&did, ResolveOptions::default(), Some(2)),
            (&did, version(1), Some(1)),
            (&absent, ResolveOptions::default(), None),
        ] {
            // One that saw the old validators, and one that knows the founders alone.
            let mut new = client_of(&cluster);
            let answer = proved(&mut new, &cluster, node, did, &options).await;
            assert_eq!(answer.resolution.version().map(|version| version.0), number, "node {node}");
            assert_eq!(new.pin().epoch().0, 1);
            let told = cluster.call(node, "did_resolve", &json!([did, options])).expect("a result");
            assert_eq!(answer.resolution.to_json()["didDocument"], told["didDocument"]);
        }
    }
    // And one that is led on by the change alone.
    let (mut led, client) = (client_of(&cluster), cluster.client(2));
    client.catch_up(&mut led).await.expect("the change holds");
    assert_eq!(
        (led.pin().epoch().0, client.links(led.pin().epoch()).await.expect("none more").1),
        (1, false)
    );
    client.resolve_proved(&mut led, &did, &version(2), now()).await.expect("it holds");
    let answer = proved(&mut early, &cluster, 1, &did, &version(1)).await;
    assert!(answer.resolution.document().is_some() && early.pin().epoch().0 == 1);
    drop(load);

    cluster.kill_all();
    cluster.start_all();
    cluster.ready(0).await;
    cluster.ready(1).await;
    cluster.register(0).await;
    proved(&mut early, &cluster, 0, &did, &ResolveOptions::default()).await;
}

#[tokio::test]
async fn the_command_proves_from_the_genesis_hash_and_names_what_is_wrong() {
    let cluster = Cluster::start(4).await;
    let (url, pin) = (cluster.url(0), cluster.scratch().join("light.pin"));
    let pin = pin.to_str().expect("UTF-8");
    let (did, _) = cluster.register(0).await;
    let hash = cluster.client(0).status().await.expect("status").chain.to_string();
    let run = |did: &str, genesis: &str| {
        let arguments =
            ["did", "resolve", did, "--prove", "--genesis", genesis, "--pin", pin, "--rpc", &url, "--json"];
        let output = realdid(&arguments);
        (output.status.code(), printed(&output))
    };
    let (code, printed) = run(&did.to_string(), &hash);
    assert!(code == Some(0) && printed.contains("\"proved\""), "{printed}");
    let (code, printed) = run(&Did::new("test", DidId(Digest::from_bytes([9; 32]))).to_string(), &hash);
    assert!(code == Some(4) && printed.contains("NOT_FOUND"), "{printed}");
    let other = Digest::from_bytes([1; 32]).to_string();
    let (code, printed) = run(&did.to_string(), &other);
    assert!(code == Some(1) && printed.contains(&hash) && printed.contains(&other), "{printed}");
    std::fs::write(pin, b"no pin").expect("written");
    let (code, printed) = run(&did.to_string(), &hash);
    assert!(code == Some(1) && printed.contains("is no pin: delete it"), "{printed}");
}

/// What the proof in a result shows, and the epoch it is for.
fn shown(cluster: &Cluster, did: &str, query: &str, result: &Value) -> (Value, Epoch) {
    let shown = ShownProof::of(result).expect("a proof in the result");
    let proof = ResolutionProof::decode(&shown.bytes().expect("multibase")).expect("it is read");
    assert_eq!(proof.certificate.checkpoint.height, shown.height);
    let version_id = query.strip_prefix("&versionId=").map(str::to_owned);
    let options = ledger::resolution::Options { version_id, ..Default::default() };
    let did = did.parse().expect("a DID");
    let answer = client_of(cluster).resolve(&did, &options, proof, now()).expect("it holds");
    assert_eq!(answer.checkpoint.height, shown.height);
    (answer.resolution.to_json(), shown.since_epoch)
}

#[tokio::test]
async fn a_result_brings_the_proof_that_is_asked_for_over_http_and_json_rpc_and_none_unasked() {
    let cluster = Cluster::start(1).await;
    let port = cluster.ports(0)[1];
    let (living, ended) = made(&cluster);
    let unknown = unregistered(&cluster).await;
    for (did, query, status, place) in [
        (&living, "", 200, "didDocumentMetadata"),
        (&living, "&versionId=1", 200, "didDocumentMetadata"),
        (&ended, "", 410, "didDocumentMetadata"),
        (&ended, "&versionId=1", 200, "didDocumentMetadata"),
        (&unknown, "", 404, "didResolutionMetadata"),
        (&living, "&versionId=9", 404, "didResolutionMetadata"),
    ] {
        for accept in [RESULT, OLD] {
            let answer = get(port, &format!("{did}?proof=true{query}"), accept);
            let mut result = answer.json();
            assert_eq!(answer.status, status, "{did} {query}");
            assert_eq!(result[place]["proof"].as_array().map(Vec::len), Some(1), "{result}");
            // What it shows is just what stands beside it.
            let (proved, since) = shown(&cluster, did, query, &result);
            assert_eq!(since, Epoch::ZERO);
            result[place].as_object_mut().expect("metadata").remove("proof");
            assert_eq!(proved["didDocumentMetadata"], result["didDocumentMetadata"]);
            assert_eq!(proved["didDocument"]["id"], result["didDocument"]["id"]);
            if accept == RESULT {
                assert_eq!(proved, result);
            } else {
                let word = (status == 404).then_some("notFound");
                assert_eq!(result["didResolutionMetadata"]["error"].as_str(), word);
            }
        }
        let options = match query.strip_prefix("&versionId=") {
            Some(version) => json!({ "proof": true, "versionId": version }),
            None => json!({ "proof": true }),
        };
        let result = cluster.call(0, "did_resolve", &json!([did, options])).expect("a result");
        shown(&cluster, did, query, &result);
        let unasked = get(port, &format!("{did}?proof=false{query}"), RESULT).json();
        assert_eq!(ShownProof::of(&unasked), None);
    }
    let key = get(port, &format!("{living}%23key-2?proof=true"), "*/*");
    assert_eq!(key.json()["contentStream"]["id"], format!("{living}#key-2"));
    let (proved, _) = shown(&cluster, &living, "", &key.json());
    assert_eq!(proved["didDocument"]["verificationMethod"][0]["id"], format!("{living}#key-2"));
    assert_eq!(get(port, &format!("{living}?proof=true"), "application/did").status, 400);
    let far = get(port, &format!("{living}?proof=true&sinceEpoch=7"), RESULT).json();
    assert_eq!(ShownProof::of(&far).expect("a proof").since_epoch, Epoch(7));
}

/// Waits until a node knows the certificate of a block at or after `height`.
async fn certified(cluster: &Cluster, node: usize, height: Height) {
    eventually(&format!("node {node} has a certificate from height {height} on"), async || {
        cluster.client(node).status().await.is_ok_and(|status| status.certified_height >= height)
    })
    .await;
}

/// The code of the node's "no", or what came instead.
fn refused<T>(answer: Result<T, ProvedError>) -> Result<i32, String> {
    match answer {
        Ok(_) => Err("it is proved".to_owned()),
        Err(ProvedError::Rpc(error)) => error.call().map(|error| error.code).ok_or(error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_became_of_a_transaction_is_proved_under_load_and_that_one_expired() {
    let cluster = Cluster::start(4).await;
    let (client, mut light) = (cluster.client(1), client_of(&cluster));
    let load = Load::start(&cluster, 72).await;
    load.confirms(4).await;
    let (did, receipt) = cluster.register(0).await;
    let status = cluster.client(0).status().await.expect("status");
    // Signed, and never handed in.
    let (after, expires_at) = (status.height, status.height.plus(30));
    let terms = Terms { network: status.network, chain: status.chain, expires_at };
    let transaction = wallet::registration(&terms, &SecretKey::generate()).1;
    let never = transaction.id();
    let window = Window { after, expires_at };

    certified(&cluster, 1, receipt.height).await;
    let answer = client.fate_proved(&mut light, &receipt.id, None, now()).await.expect("it holds");
    let Fate::Final(proved) = answer.fate else { panic!("it has a receipt") };
    assert_eq!(client::api::Receipt::new(&proved, "test"), receipt);
    assert_eq!(proved.did, Some(did.id()));

    let unknown = client.fate_proved(&mut light, &never, None, now()).await;
    assert_eq!(refused(unknown), Ok(code::NOT_FOUND));
    let wide = Window { after: Height(0), expires_at: Height(50_000) };
    assert_eq!(
        refused(client.fate_proved(&mut light, &never, Some(wide), now()).await),
        Ok(code::INVALID_PARAMS)
    );
    let none = Window { after: expires_at, expires_at };
    assert_eq!(
        refused(client.fate_proved(&mut light, &never, Some(none), now()).await),
        Ok(code::INVALID_PARAMS)
    );
    let early = Window { after, expires_at: expires_at.plus(900) };
    assert_eq!(
        refused(client.fate_proved(&mut light, &never, Some(early), now()).await),
        Ok(code::NOT_FOUND)
    );

    certified(&cluster, 1, expires_at).await;
    certified(&cluster, 2, expires_at).await;
    let answer = client.fate_proved(&mut light, &never, Some(window), now()).await.expect("it holds");
    assert_eq!(answer.fate, Fate::Expired);
    assert!(answer.checkpoint.height >= expires_at);
    drop(load);

    // The same by the command: from an id, and from the file.
    let (url, home) = (cluster.url(2), cluster.home(0).join("genesis.toml"));
    let (file, after) = (cluster.scratch().join("never.tx"), after.0.to_string());
    std::fs::write(&file, encode(&transaction)).expect("written");
    let [genesis, file] = [&home, &file].map(|path| path.to_str().expect("UTF-8"));
    let show = |what: &str, more: &[&str]| {
        let arguments = ["tx", "show", what, "--prove", "--genesis", genesis, "--rpc", &url, "--json"];
        let output = realdid(&[&arguments, more].concat());
        (output.status.code(), printed(&output))
    };
    let (code, printed) = show(&receipt.id.to_string(), &[]);
    assert!(code == Some(0) && printed.contains("\"proved\"") && printed.contains("\"final\""), "{printed}");
    let (code, printed) = show(file, &["--after", &after]);
    assert!(code == Some(5) && printed.contains("\"expired\""), "{printed}");
    let (code, printed) = show(&never.to_string(), &[]);
    assert!(code == Some(4) && printed.contains("expiresAt"), "{printed}");
}

#[tokio::test]
async fn the_trust_registry_is_proved_by_every_node_and_what_is_not_in_it() {
    let cluster = Cluster::start(4).await;
    let did = cluster.accredited(&[0, 1, 2], "issuer", "https://issuer.example/").await;
    let height = cluster.client(0).status().await.expect("status").height;
    for node in 0..4 {
        certified(&cluster, node, height).await;
        let mut light = client_of(&cluster);
        for (role, present) in [(Role::Issuer, true), (Role::Registrar, false)] {
            let question = RegistryQuestion::Accreditation { did: did.clone(), role };
            let answer =
                cluster.client(node).entry_proved(&mut light, &question, now()).await.expect("it holds");
            let proved = answer.entry.map(|entry| match entry {
                RegistryEntry::Accreditation(accreditation) => (accreditation.did, accreditation.role),
                other => panic!("{other:?}"),
            });
            assert_eq!(proved, present.then_some((did.id(), role)), "node {node}");
        }
        let schema = RegistryQuestion::Schema { issuer: did.clone(), number: 1 };
        let answer = cluster.client(node).entry_proved(&mut light, &schema, now()).await.expect("it holds");
        assert_eq!(answer.entry, None);
    }
    let other = RegistryQuestion::Schema { issuer: Did::new("other", did.id()), number: 1 };
    let answer = cluster.client(0).entry_proved(&mut client_of(&cluster), &other, now()).await;
    assert_eq!(refused(answer), Ok(code::INVALID_PARAMS));
}

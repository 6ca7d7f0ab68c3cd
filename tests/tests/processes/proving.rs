//! Answers that need no trust in the node that gives them, from real nodes: under load, across a change of the validators, and
//! after all of them were killed.

use std::time::{SystemTime, UNIX_EPOCH};

use client::api::ResolveOptions;
use client::light::{Answer, LightClient, ResolutionProof};
use genesis::{Digest, Genesis, UnixMillis};
use ledger::{Did, DidId};
use serde_json::{Value, json};
use tests::harness::{Cluster, printed, realdid};
use tests::history::Load;

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
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    light.resolve(did, &options.clone().into(), proof, UnixMillis(now as u64)).expect("it holds")
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

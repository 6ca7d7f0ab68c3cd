//! What people and programs touch: the commands through a DID's life, and the description that the RPC gives of itself.

use serde_json::Value;
use tests::harness::{Cluster, post, realdid};

/// Runs a command with `--json`; its exit code and its answer, or its error where it has none.
fn run(arguments: &[&str]) -> (Option<i32>, Value) {
    let output = realdid(&[arguments, &["--json"]].concat());
    let text = if output.stdout.is_empty() { &output.stderr } else { &output.stdout };
    let text = String::from_utf8_lossy(text);
    let json = serde_json::from_str(&text).expect("JSON");
    (output.status.code(), json)
}

#[tokio::test]
async fn a_did_is_made_changed_resolved_at_each_version_and_ended_by_the_commands() {
    let cluster = Cluster::start(4).await;
    let keyring = cluster.scratch().join("keyring");
    let keyring = keyring.to_str().expect("a path in UTF-8");
    let (first, other) = (cluster.url(0), cluster.url(3));
    let (code, made) = run(&["did", "create", "--rpc", &first, "--keyring", keyring]);
    assert_eq!((code, &made["result"]), (Some(0), &Value::from("applied")), "{made}");
    let did = made["did"].as_str().expect("a DID");

    let (code, changed) = run(&["did", "update", did, "--rpc", &other, "--keyring", keyring]);
    assert_eq!((code, &changed["version"]), (Some(0), &Value::from(2)), "{changed}");
    let height = changed["height"].as_u64().expect("a height");
    cluster.reaches(0, genesis::Height(height)).await;
    let key = |version: &str| {
        let (code, resolved) = run(&["did", "resolve", did, "--rpc", &first, "--version", version]);
        assert_eq!(code, Some(0), "{resolved}");
        resolved.to_string().contains(&format!("{did}#key-{version}"))
    };
    assert!(key("1") && key("2"), "each version has the key of its time");

    let (code, recovered) = run(&["did", "recover", did, "--rpc", &first, "--keyring", keyring]);
    assert_eq!((code, &recovered["version"]), (Some(0), &Value::from(3)), "{recovered}");
    let (code, changed) = run(&["did", "update", did, "--add-key", "--rpc", &first, "--keyring", keyring]);
    assert_eq!((code, &changed["version"]), (Some(0), &Value::from(4)), "{changed}");
    assert!(key("3") && key("4"), "what recovery brought stays beside what came after");

    let (code, ended) = run(&["did", "deactivate", did, "--recovery", "--rpc", &first, "--keyring", keyring]);
    assert_eq!(code, Some(0), "{ended}");
    let (code, resolved) = run(&["did", "resolve", did, "--rpc", &first]);
    assert_eq!(code, Some(4), "{resolved}");
    let (code, listed) = run(&["did", "history", did, "--rpc", &first, "--from", "2"]);
    let numbers: Vec<u64> =
        listed.as_array().expect("a list").iter().filter_map(|it| it["version"].as_u64()).collect();
    assert_eq!((code, numbers), (Some(0), vec![2, 3, 4, 5]), "{listed}");
    assert!(listed[3]["document"].is_null() && listed[0]["document"].is_string(), "{listed}");
    let (code, refused) = run(&["did", "update", did, "--rpc", &first, "--keyring", keyring]);
    assert_ne!(code, Some(0), "{refused}");
    let (code, status) = run(&["status", "--rpc", &first]);
    assert_eq!((code, &status["status"]["ready"]), (Some(0), &Value::from(true)), "{status}");
}

#[tokio::test]
async fn the_rpc_describes_itself_and_serves_every_method_that_it_names() {
    let cluster = Cluster::start(1).await;
    let port = cluster.ports(0)[1];
    let call = |method: &str| {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":[]}}"#);
        let answer = post(port, body.as_bytes()).expect("an answer");
        let json = answer.split_once("\r\n\r\n").expect("a body").1;
        serde_json::from_str::<Value>(json).expect("JSON")
    };
    let document = call("rpc.discover");
    assert_eq!(document["result"]["openrpc"], "1.3.2");
    let methods = document["result"]["methods"].as_array().expect("methods");
    assert_eq!(methods.len(), 22);
    for method in methods {
        let name = method["name"].as_str().expect("a name");
        // Without its parameters a method may refuse, but it is there.
        assert_ne!(call(name)["error"]["code"], -32601, "{name} is described and not served");
        let faults = method["errors"].as_array().expect("errors");
        for fault in faults {
            let place = fault["$ref"].as_str().expect("a reference").trim_start_matches('#');
            assert!(document["result"].pointer(place).is_some(), "{name}: {place} leads nowhere");
        }
    }
}

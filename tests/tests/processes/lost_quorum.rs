//! Two of four validators are gone for good, with their disks: the survivors go on as a new chain.

use std::path::Path;

use client::api::ChainStatus;
use genesis::{Genesis, Height};
use serde_json::Value;
use tests::harness::{Cluster, eventually, printed, realdid};

/// Runs a command with `--json`; its exit code and its answer, or its error where it has none.
fn run(arguments: &[&str]) -> (Option<i32>, Value) {
    let output = realdid(&[arguments, &["--json"]].concat());
    let text = if output.stdout.is_empty() { &output.stderr } else { &output.stdout };
    let json = serde_json::from_slice(text).map_err(|error| format!("{error}: {}", printed(&output)));
    (output.status.code(), json.expect("an answer in JSON"))
}

fn text(path: &Path) -> String {
    path.to_str().expect("a path in UTF-8").to_owned()
}

/// `realdid genesis VERB --home (that of node)`, then `rest`.
fn genesis(cluster: &Cluster, verb: &str, node: usize, rest: &[&str]) -> (Option<i32>, Value) {
    let home = text(&cluster.home(node));
    run(&[&["genesis", verb, "--home", &home], rest].concat())
}

/// What a command must refuse, and why.
fn refused((code, answer): (Option<i32>, Value), why: &str) {
    let error = answer["error"].as_str().unwrap_or_default();
    assert!(code == Some(1) && error.contains(why), "expected `{why}`: {answer}");
}

fn read_genesis(path: &Path) -> Genesis {
    Genesis::parse(&std::fs::read_to_string(path).expect("a file")).expect("a genesis document")
}

/// How high a survivor stands: its newest final block, and up to where blocks are prepared.
fn standing(tip: &Value) -> (u64, u64) {
    let height = tip["height"].as_u64().expect("a height");
    (tip["prepared"]["height"].as_u64().unwrap_or(height), height)
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
    }
}

/// Registrations through nodes 0 and 1 without a pause, until both stop answering for lack of a quorum or `until` is there.
async fn load(cluster: &Cluster, count: usize) {
    for number in 0..count {
        // A node whose pool is full refuses: that is load enough.
        let _ = cluster.submit(number % 2).await;
    }
}

#[tokio::test]
async fn two_survivors_of_four_go_on_as_a_new_chain_with_all_dids_and_heights() {
    let mut cluster = Cluster::start(4).await;
    let keyring = text(&cluster.scratch().join("keyring"));
    let (code, made) = run(&["did", "create", "--rpc", &cluster.url(0), "--keyring", &keyring]);
    assert_eq!(code, Some(0), "{made}");
    let did = made["did"].as_str().expect("a DID").to_owned();
    let (code, changed) = run(&["did", "update", &did, "--rpc", &cluster.url(0), "--keyring", &keyring]);
    assert_eq!(code, Some(0), "{changed}");
    let (other, receipt) = cluster.register(0).await;
    cluster.reaches(1, receipt.height).await;

    // Two die under load, and their disks with them; the others can never decide anything again.
    load(&cluster, 200).await;
    for lost in [2, 3] {
        cluster.kill(lost);
        std::fs::remove_dir_all(cluster.home(lost)).expect("removed");
    }
    load(&cluster, 50).await;
    let stalled = cluster.client(0).status().await.expect("status");
    eventually("the survivors say that a quorum is missing", async || {
        cluster.client(0).status().await.is_ok_and(|status| !status.ready)
    })
    .await;
    refused(genesis(&cluster, "tip", 0, &[]), "a node is running");
    let before = cluster.client(0).status().await.expect("status");
    assert!(before.height.since(stalled.height) <= 1, "nothing can be decided: {before:?}");
    cluster.stop(0);
    cluster.stop(1);

    // Who holds the highest block makes the document.
    // One may hold a block of which the other alone has the certificate.
    let journals = [1, 0].map(|other| text(&cluster.home(other).join("data/journal")));
    let tips = [0, 1].map(|node: usize| {
        let (code, tip) = genesis(&cluster, "tip", node, &["--journal", &journals[node]]);
        assert_eq!(code, Some(0), "{tip}");
        tip
    });
    let best = usize::from(standing(&tips[1]) > standing(&tips[0]));
    let rest = 1 - best;
    let old = read_genesis(&cluster.home(best).join("genesis.toml"));
    let out = cluster.scratch().join("successor.toml");
    let file = text(&out);
    let succeed = |names: &str, more: &[&str]| {
        let arguments =
            [&["--validators", names, "--out", &file, "--journal", &journals[best]], more].concat();
        genesis(&cluster, "succeed", best, &arguments)
    };
    refused(succeed("node0,node9", &["--include-prepared"]), "no validator is called node9");
    refused(succeed("node0,node0", &["--include-prepared"]), "node0 is named twice");
    refused(succeed("node0,node1,node2", &["--include-prepared"]), "are a quorum");
    assert!(!out.exists(), "what is refused leaves no file");
    if tips[best]["prepared"].is_object() {
        refused(succeed("node0,node1", &[]), "may know it to be final");
    }
    let (code, made) = succeed("node0,node1", &["--include-prepared"]);
    assert_eq!(code, Some(0), "{made}");
    let next = read_genesis(&out);
    let end = Height(standing(&tips[best]).0);
    assert_eq!(next.height(), end);
    assert_eq!(next.predecessor().map(|predecessor| predecessor.chain), Some(old.chain()));
    assert!(end >= before.height, "no final block is lost: {end}, and clients saw {}", before.height);

    // Both take the step; the one that is not as high takes the other's ledger first.
    let foreign = Cluster::prepare(1);
    refused(
        genesis(&cluster, "adopt", best, &[&text(&foreign.home(0).join("genesis.toml"))]),
        "names no chain",
    );
    let (code, adopted) = genesis(&cluster, "adopt", best, &[&file]);
    assert_eq!(code, Some(0), "{adopted}");
    let (code, again) = genesis(&cluster, "adopt", best, &[&file]);
    assert_eq!((code, &again["changed"]), (Some(0), &Value::from(false)), "{again}");
    let (code, adopted) = genesis(&cluster, "adopt", rest, &[&file]);
    if standing(&tips[rest]).1 != end.0 {
        refused((code, adopted), "copy data/store");
        std::fs::remove_dir_all(cluster.home(rest).join("data/store")).expect("removed");
        copy_folder(&cluster.home(best).join("data/store"), &cluster.home(rest).join("data/store"));
        let (code, adopted) = genesis(&cluster, "adopt", rest, &[&file]);
        assert_eq!(code, Some(0), "{adopted}");
    } else {
        assert_eq!(code, Some(0), "{adopted}");
    }
    let short: String = old.chain().to_string().chars().take(8).collect();
    for survivor in [0, 1] {
        assert_eq!(read_genesis(&cluster.home(survivor).join(format!("genesis-{short}.toml"))), old);
        assert!(cluster.home(survivor).join(format!("data/journal-{short}")).is_dir());
    }

    // The chain goes on, with what was there.
    for survivor in [0, 1] {
        cluster.start_node(survivor);
    }
    for survivor in [0, 1] {
        cluster.ready(survivor).await;
    }
    let (_, fresh) = cluster.register(1).await;
    assert!(fresh.height > end, "{fresh:?}");
    cluster.reaches(0, fresh.height).await;
    for survivor in [0, 1] {
        let client = cluster.client(survivor);
        let ChainStatus { chain, predecessor, validators, .. } = client.status().await.expect("status");
        assert_eq!((chain, validators), (next.chain(), 2));
        let predecessor = predecessor.expect("the chain before");
        assert_eq!((predecessor.chain, predecessor.height), (old.chain(), end));
        let first = client.block(end.next()).await.expect("the first block");
        assert_eq!((first.height, first.parent), (end.next(), next.chain()));
        client.block(end).await.expect_err("a block of the old chain is not shown as one of this");
        let kept = client.wait(&receipt.id, std::time::Duration::from_secs(1)).await.expect("an old receipt");
        assert_eq!(kept, receipt);
    }
    let (code, resolved) = run(&["did", "resolve", &other.to_string(), "--rpc", &cluster.url(0)]);
    assert_eq!(code, Some(0), "{resolved}");

    // Holders opt in; then old DIDs change as before.
    let update = |url: &str| run(&["did", "update", &did, "--rpc", url, "--keyring", &keyring]);
    refused(update(&cluster.url(0)), "realdid did follow");
    let (code, followed) = run(&["did", "follow", &file, "--keyring", &keyring]);
    assert_eq!((code, followed["dids"].as_array().map(Vec::len)), (Some(0), Some(1)), "{followed}");
    let (code, changed) = update(&cluster.url(0));
    assert_eq!((code, &changed["version"]), (Some(0), &Value::from(3)), "{changed}");
    let height = changed["height"].as_u64().expect("a height");
    cluster.reaches(1, Height(height)).await;
    for version in ["1", "2", "3"] {
        let (code, resolved) = run(&["did", "resolve", &did, "--rpc", &cluster.url(1), "--version", version]);
        assert!(
            code == Some(0) && resolved.to_string().contains(&format!("{did}#key-{version}")),
            "{resolved}"
        );
    }

    // A restart of both finds all of it again.
    cluster.kill(0);
    cluster.kill(1);
    cluster.start_node(0);
    cluster.start_node(1);
    cluster.ready(0).await;
    let (_, last) = cluster.register(0).await;
    assert!(last.height.0 > height, "{last:?}");
}

#[tokio::test]
async fn a_folder_of_another_chain_is_not_adopted() {
    let mut cluster = Cluster::start(4).await;
    let stranger = Cluster::start(1).await;
    cluster.register(0).await;
    for node in 0..4 {
        cluster.stop(node);
    }
    let file = text(&cluster.scratch().join("successor.toml"));
    let arguments = ["--validators", "node0,node1", "--without-prepared", "--out", &file];
    let (code, made) = genesis(&cluster, "succeed", 0, &arguments);
    assert_eq!(code, Some(0), "{made}");
    refused(genesis(&stranger, "adopt", 0, &[&file]), "a node is running");
    let mut stranger = stranger;
    stranger.stop(0);
    refused(genesis(&stranger, "adopt", 0, &[&file]), "check which document it is");
    stranger.start_node(0);
    stranger.ready(0).await;
}

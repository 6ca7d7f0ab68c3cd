//! Ledgers that are not made by executing the chain, in real nodes: from snapshots and from backups; and nodes that forget old blocks.

use std::fs;
use std::path::Path;

use client::api::ResolveOptions;
use genesis::Height;
use ledger::Did;
use serde_json::{Value, json};
use tests::harness::{Cluster, eventually, printed, realdid};
use tests::history::Load;

use crate::crashes::assert_sound;

const OBSERVER: usize = 4;
/// How long transactions and batches are remembered, in blocks.
const MEMORY: u64 = 60;

/// Runs a command that must succeed; what it printed.
fn run(arguments: &[&str]) -> Value {
    let output = realdid(&[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", printed(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Runs a command that must fail; what it said.
fn refused(arguments: &[&str]) -> String {
    let output = realdid(arguments);
    assert!(!output.status.success(), "{arguments:?}: {}", printed(&output));
    printed(&output)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn change(path: &Path, old: &str, new: &str) {
    let content = fs::read_to_string(path).expect("a file");
    assert!(content.contains(old), "{old} is not in {}", path.display());
    fs::write(path, content.replace(old, new)).expect("written");
}

/// Four validators and an observer whose rules forget soon; none runs.
fn forgetful() -> Cluster {
    let cluster = Cluster::prepare_with(4, 1);
    for node in 0..=OBSERVER {
        let genesis = cluster.home(node).join("genesis.toml");
        let memory = |name: &str, default: u64| {
            change(&genesis, &format!("{name} = {default}"), &format!("{name} = {MEMORY}"));
        };
        memory("max_transaction_lifetime", 100_000);
        memory("max_batch_lifetime", 10_000);
    }
    cluster
}

async fn resolves(cluster: &Cluster, node: usize, did: &Did) {
    let resolved = cluster.client(node).resolve(&did.to_string(), &ResolveOptions::default()).await;
    assert_eq!(resolved.expect("an answer")["didDocument"]["id"], did.to_string().as_str(), "node {node}");
}

/// Registers DIDs until the chain is at `height`.
async fn grow(cluster: &Cluster, height: u64) -> Vec<Did> {
    let mut dids = Vec::new();
    loop {
        let (did, receipt) = cluster.register(0).await;
        dids.push(did);
        if receipt.height.0 >= height {
            return dids;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_node_begins_from_a_snapshot_of_a_network_that_has_forgotten_its_first_blocks() {
    let mut cluster = forgetful();
    for node in 0..3 {
        let config = cluster.home(node).join("config.toml");
        change(&config, "every_blocks = 0", "every_blocks = 50");
        change(&config, "keep_blocks = 0", "keep_blocks = 1");
    }
    for node in 0..4 {
        cluster.start_node(node);
    }
    for node in 0..4 {
        cluster.ready(node).await;
    }
    let early = grow(&cluster, 120).await;
    cluster.decide(&[0, 1, 2], &["set-parameter", "heartbeat_ms=45000"]);
    cluster.begins(&[0, 1, 2, 3], 1).await;
    let late = grow(&cluster, 330).await;
    // The fourth validator, which has everything, is away: the others have forgotten the beginning.
    cluster.stop(3);
    eventually("old blocks are forgotten", async || cluster.client(0).block(Height(1)).await.is_err()).await;
    eventually("three nodes have made a snapshot", async || {
        (0..3).all(|node| {
            let list = run(&["snapshot", "list", "--home", text(&cluster.home(node))]);
            list.as_array().is_some_and(|list| list.len() == 2 && list[1]["height"].as_u64() >= Some(300))
        })
    })
    .await;
    let observer = cluster.home(OBSERVER);
    let fetched = run(&["snapshot", "fetch", "--home", text(&observer)]);
    assert!(fetched["height"].as_u64() >= Some(300) && fetched["bytes"].as_u64() > Some(10_000), "{fetched}");
    let again = refused(&["snapshot", "fetch", "--home", text(&observer)]);
    assert!(again.contains("A snapshot is for a node without one"), "{again}");
    cluster.start_node(OBSERVER);
    let (new, receipt) = cluster.register(1).await;
    cluster.reaches(OBSERVER, receipt.height).await;
    cluster.begins(&[0, OBSERVER], 1).await;
    for did in [&early[0], &late[0], &new] {
        resolves(&cluster, OBSERVER, did).await;
        let proved = cluster.call(OBSERVER, "did_prove", &json!([did])).expect("a proof");
        assert!(proved["height"].as_u64() >= Some(330), "{proved}");
    }
    let unknown = cluster.call(OBSERVER, "chain_block", &json!([7])).expect_err("no such block here");
    assert!(unknown["message"].as_str().is_some_and(|message| message.contains("not kept")), "{unknown}");

    // It makes snapshots itself, and what it made is as good: a validator that lost all its data begins from it.
    cluster.kill(OBSERVER);
    cluster.start_node(OBSERVER);
    cluster.ready(OBSERVER).await;
    let made = run(&["snapshot", "create", "--home", text(&observer)]);
    cluster.lose(3, ".");
    let folder = made["path"].as_str().expect("a folder").to_owned();
    let lost = cluster.home(3);
    let restore = ["snapshot", "restore", "--home", text(&lost), "--from", &folder];
    let piece = Path::new(&folder).join("pieces/000001");
    let sound = fs::read(&piece).expect("a piece");
    let mut damaged = sound.clone();
    damaged[sound.len() / 2] ^= 1;
    fs::write(&piece, &damaged).expect("written");
    let told = refused(&restore);
    assert!(told.contains("000001") && told.contains("digest"), "{told}");
    let unfinished = refused(&["start", "--home", text(&lost)]);
    assert!(unfinished.contains("was not taken in to its end"), "{unfinished}");
    fs::write(&piece, &sound).expect("written");
    assert_eq!(run(&restore)["height"], made["height"]);
    cluster.start_node(3);
    cluster.votes(3).await;
    let (last, receipt) = cluster.register(2).await;
    cluster.reaches(3, receipt.height).await;
    for did in [&early[1], &last] {
        resolves(&cluster, 3, did).await;
    }
    cluster.assert_no_evidence(0..4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_backup_made_under_load_is_whole_and_brings_a_node_back() {
    let mut cluster = Cluster::start(4).await;
    let load = Load::start(&cluster, 93).await;
    load.confirms(20).await;
    let (home, backup) = (cluster.home(2), cluster.scratch().join("backup"));
    let (home, backup) = (text(&home), text(&backup));
    let made = run(&["backup", "create", "--home", home, "--to", backup]);
    assert!(made["height"].as_u64() > Some(0), "{made}");
    let twice = refused(&["backup", "create", "--home", home, "--to", backup]);
    assert!(twice.contains(backup) && twice.contains("File exists"), "{twice}");
    load.confirms(10).await;
    assert_eq!(run(&["backup", "verify", backup])["height"], made["height"]);
    let over = refused(&["backup", "restore", backup, "--home", home]);
    assert!(over.contains("a node is running in"), "{over}");
    cluster.stop(2);
    let over = refused(&["backup", "restore", backup, "--home", home]);
    assert!(over.contains("there is a ledger in"), "{over}");
    cluster.lose(2, "store");
    // What it tells next is older than what it told.
    load.forgets(2);
    assert_eq!(run(&["backup", "restore", backup, "--home", home])["height"], made["height"]);
    cluster.start_node(2);
    cluster.votes(2).await;
    load.confirms(10).await;
    assert_sound(load, &cluster).await;

    // What rots is noticed.
    let store = Path::new(backup).join("store");
    let largest = fs::read_dir(&store).expect("a folder").map(|entry| entry.expect("an entry").path());
    let table = largest.filter(|path| path.extension().is_some_and(|end| end == "sst"));
    let table = table.max_by_key(|path| fs::metadata(path).map_or(0, |data| data.len())).expect("a table");
    let mut bytes = fs::read(&table).expect("a table");
    let middle = bytes.len() / 3;
    bytes[middle] ^= 0xff;
    // A file of its own: the backup may share it with the ledger.
    fs::remove_file(&table).expect("removed");
    fs::write(&table, bytes).expect("written");
    refused(&["backup", "verify", backup]);
}

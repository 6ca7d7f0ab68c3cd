//! Who validates changes while the network runs, by the commands that operators use, under load.

use std::fs;
use std::path::PathBuf;

use client::api::code;
use genesis::Height;
use serde_json::json;
use tests::harness::folders::copy_folder;
use tests::harness::{Cluster, eventually, printed, realdid, submit};
use tests::history::Load;

use crate::crashes::assert_sound;

/// The observer that becomes a validator.
const JOINER: usize = 4;

/// An address as the validators know it.
fn address(cluster: &Cluster, node: usize) -> String {
    format!("127.0.0.1:{}", cluster.ports(node)[0])
}

fn text(path: &std::path::Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// A folder with a node's settings and fresh keys: what its operator makes to change them.
fn fresh_keys(cluster: &Cluster, node: usize) -> PathBuf {
    let home = cluster.scratch().join("new-keys");
    fs::create_dir_all(home.join("keys")).expect("a folder");
    for file in ["config.toml", "genesis.toml"] {
        fs::copy(cluster.home(node).join(file), home.join(file)).expect("copied");
    }
    for role in ["consensus", "network", "governance"] {
        let out = home.join(format!("keys/{role}.json"));
        let made = realdid(&["keys", "new", "--plain", "--role", role, "--out", text(&out)]);
        assert!(made.status.success(), "{}", printed(&made));
    }
    home
}

/// Waits for a few more blocks: the set that is in charge decides.
async fn goes_on(cluster: &Cluster, load: &Load, node: usize) {
    let before = cluster.client(node).status().await.expect("status").height;
    load.confirms(6).await;
    cluster.reaches(node, before.plus(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn validators_join_leave_and_get_new_keys_and_parameters_change_while_transactions_flow() {
    let mut cluster = Cluster::prepare_with(4, 1);
    // One that leaves is served for an epoch, and for good by those whose settings name it.
    cluster.admit_observer(3, &[0, 1, 2, JOINER]);
    cluster.start_all_ready().await;
    let load = Load::start(&cluster, 31).await;
    load.confirms(8).await;
    assert_eq!(cluster.standing(JOINER).await, "observing");

    // One joins: it has followed as an observer.
    let ready = cluster.readiness(&cluster.home(JOINER), "node4", &address(&cluster, JOINER));
    cluster.decide(&[0, 1, 2], &["add-validator", text(&ready)]);
    let all = [0, 1, 2, 3, JOINER];
    let joined = cluster.begins(&all, 1).await;
    cluster.votes(JOINER).await;
    let status = cluster.client(JOINER).status().await.expect("status");
    assert_eq!((status.node.as_str(), status.validators, status.quorum), ("node4", 5, 4));
    goes_on(&cluster, &load, JOINER).await;
    // What it is given, it orders.
    cluster.register(JOINER).await;

    // One leaves, and is an observer.
    cluster.decide(&[JOINER, 0, 1, 2], &["remove-validator", "node3"]);
    let left = cluster.begins(&all, 2).await;
    eventually("node 3 observes", async || cluster.standing(3).await == "observing").await;
    let refusal = submit(&cluster.client(3)).await.expect_err("an observer orders nothing");
    let refusal = refusal.call().expect("the node's own answer");
    assert_eq!(refusal.code, code::UNAVAILABLE, "{refusal}");
    assert!(refusal.message.contains("observer") && refusal.message.contains("validator"), "{refusal}");
    goes_on(&cluster, &load, 3).await;
    let (did, receipt) = cluster.register(0).await;
    cluster.reaches(3, receipt.height).await;
    let resolved =
        cluster.client(3).resolve(&did.to_string(), &Default::default()).await.expect("a resolution");
    assert_eq!(resolved["didDocument"]["id"], did.to_string().as_str());

    // One gets new keys: its folder changes when the epoch has begun that knows them.
    let home = fresh_keys(&cluster, 2);
    let ready = cluster.readiness(&home, "node2", &address(&cluster, 2));
    cluster.decide(&[0, 1, JOINER], &["replace-validator", "node2", text(&ready)]);
    let renewed = cluster.begins(&all, 3).await;
    cluster.stop(2);
    fs::remove_dir_all(cluster.home(2).join("keys")).expect("removed");
    copy_folder(&home.join("keys"), &cluster.home(2).join("keys"));
    cluster.lose(2, "journal");
    cluster.start_node(2);
    cluster.votes(2).await;
    goes_on(&cluster, &load, 2).await;

    // A parameter changes.
    cluster.decide(&[0, 2, JOINER], &["set-parameter", "heartbeat_ms=45000"]);
    let changed = cluster.begins(&all, 4).await;
    for node in all {
        let status = cluster.client(node).status().await.expect("status");
        assert_eq!(status.parameters.heartbeat_ms, 45_000, "at node {node}");
    }
    goes_on(&cluster, &load, 0).await;
    let began = [Height::ZERO, joined, left, renewed, changed];
    assert!(began.is_sorted_by(|one, next| one < next), "{began:?}");
    cluster.assert_no_evidence(all);
    assert_sound(load, &cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_is_voted_in_and_who_left_is_let_in_though_no_settings_name_it_and_all_others_restart() {
    let mut cluster = Cluster::prepare_with(4, 1);
    for node in 0..4 {
        cluster.admit_no_observers(node);
        cluster.start_node(node);
    }
    for node in 0..4 {
        cluster.ready(node).await;
    }
    cluster.start_node(JOINER);
    let ready = cluster.readiness(&cluster.home(JOINER), "node4", &address(&cluster, JOINER));
    cluster.decide(&[0, 1, 2], &["add-validator", text(&ready)]);
    let all = [0, 1, 2, 3, JOINER];
    cluster.begins(&all, 1).await;
    cluster.votes(JOINER).await;
    cluster.decide(&[0, 1, 2, 3], &["remove-validator", "node4"]);
    cluster.begins(&all, 2).await;
    for node in 0..4 {
        cluster.stop(node);
    }
    (0..4).for_each(|node| cluster.start_node(node));
    for node in 0..4 {
        cluster.ready(node).await;
    }
    let (_, receipt) = cluster.register(0).await;
    cluster.reaches(JOINER, receipt.height).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn governance_transactions_of_an_outsider_or_of_too_few_change_nothing() {
    let cluster = Cluster::start(4).await;
    let load = Load::start(&cluster, 32).await;
    let key = cluster.scratch().join("governance.json");
    let made = realdid(&["keys", "new", "--plain", "--role", "governance", "--out", text(&key)]);
    assert!(made.status.success(), "{}", printed(&made));
    for change in [&["remove-validator", "node3"][..], &["set-parameter", "heartbeat_ms=45000"]] {
        let refusal = cluster.gov(&key, 0, &[&["propose"], change].concat()).expect_err("an outsider");
        assert!(refusal.contains("not_a_validator"), "{refusal}");
    }
    // A validator's proposal stays open where one approves it and an outsider does.
    let proposal = cluster.gov(&cluster.governance_key(0), 0, &["propose", "remove-validator", "node3"]);
    let id = proposal.expect("a proposal")["id"].as_str().expect("an id").to_owned();
    cluster.gov(&cluster.governance_key(1), 1, &["vote", &id, "--approve"]).expect("a vote");
    cluster.gov(&cluster.governance_key(1), 1, &["vote", &id, "--approve"]).expect("the same vote again");
    let refusal = cluster.gov(&key, 2, &["vote", &id, "--approve"]).expect_err("an outsider");
    assert!(refusal.contains("not_a_validator"), "{refusal}");
    load.confirms(20).await;
    for node in 0..4 {
        let status = cluster.client(node).status().await.expect("status");
        assert_eq!((status.epoch.0, status.validators), (0, 4), "at node {node}");
        let governance = cluster.call(node, "gov_proposals", &json!([])).expect("an answer");
        assert_eq!(governance["pending"], json!(null), "{governance}");
    }
    assert_sound(load, &cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn nodes_that_are_killed_around_an_epochs_end_find_into_the_new_one() {
    let mut cluster = Cluster::start(4).await;
    let load = Load::start(&cluster, 33).await;
    for turn in 0..4_u64 {
        load.confirms(5).await;
        let away = turn as usize % 4;
        let voters: Vec<_> = (0..4).filter(|node| *node != away).collect();
        cluster.kill(away);
        let setting = format!("heartbeat_ms={}", 40_000 + turn);
        cluster.decide(&voters, &["set-parameter", &setting]);
        // Once all of the others too, whatever they are at.
        if turn % 2 == 1 {
            cluster.kill_all();
        }
        cluster.start_all();
        let began = cluster.begins(&[0, 1, 2, 3], turn + 1).await;
        assert!(began > Height::ZERO);
        for node in 0..4 {
            cluster.votes(node).await;
        }
    }
    cluster.assert_no_evidence(0..4);
    assert_sound(load, &cluster).await;
}

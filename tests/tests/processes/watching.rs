//! What an operator's Prometheus makes of a node: the rules and the dashboard name what nodes export, and each alert is fired by its
//! fault. `CheckpointLag` alone is left to the rules' own tests: too few validators that execute, while enough of them vote, is no
//! fault that a test of processes can cause.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use client::wallet::{self, Terms};
use genesis::SecretKey;
use genesis::encoding::encode;
use tests::harness::watch::{Alert, Prometheus, observability, promtool};
use tests::harness::{Cluster, eventually, get};
use tests::relay::Passage;

use crate::member;

/// All metrics of ours that a text names.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
    words.filter(|word| word.starts_with("realdid_")).map(str::to_owned).collect()
}

/// All series that a page shows, by their names.
fn exported(page: &str) -> BTreeSet<String> {
    let series = page.lines().filter(|line| !line.starts_with('#'));
    series.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned).collect()
}

#[test]
fn the_rules_and_the_example_are_sound_and_each_alert_fires_at_its_threshold() {
    assert!(promtool(&["check", "rules", "rules.yml"]).contains("SUCCESS"));
    assert!(promtool(&["check", "config", "prometheus.yml"]).contains("SUCCESS"));
    assert!(promtool(&["test", "rules", "rules-test.yml"]).contains("SUCCESS"));
    let read = |name: &str| fs::read_to_string(observability().join(name)).expect("a file");
    let tested = read("rules-test.yml");
    let alerts = read("rules.yml");
    let alerts = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    for alert in alerts {
        assert!(tested.contains(&format!("alertname: {alert}\n")), "{alert} has no test that expects it");
    }
}

#[tokio::test]
async fn every_metric_that_a_rule_or_a_panel_names_is_exported_by_a_running_node() {
    let cluster = Cluster::start(4).await;
    // What is counted by kind, method or phase is there from its first case on.
    cluster.register(0).await;
    let rules = fs::read_to_string(observability().join("rules.yml")).expect("rules");
    let dashboard = fs::read_to_string(observability().join("dashboard.json")).expect("a dashboard");
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).expect("JSON");
    let names: BTreeSet<String> = &named(&rules) | &named(&dashboard.to_string());
    assert!(names.len() > 30, "{names:?}");
    // A leader's clock shows with its first proposal that another node sees, and a ping takes a second.
    eventually("all metrics are there", async || {
        let page = get(cluster.ports(1)[2], "/metrics").expect("metrics");
        let missing: Vec<_> = names.difference(&exported(&page)).cloned().collect();
        if !missing.is_empty() {
            println!("not exported yet: {missing:?}");
            cluster.register(1).await;
        }
        missing.is_empty()
    })
    .await;
}

fn alert(name: &str, node: usize, validator: Option<&str>) -> Alert {
    (name.to_owned(), node, validator.map(str::to_owned))
}

/// Waits until these alerts fire and no others.
async fn fire_alone(prometheus: &Prometheus, alerts: &[Alert]) {
    let expected: BTreeSet<Alert> = alerts.iter().cloned().collect();
    eventually(&format!("{expected:?} and nothing else"), async || {
        let now = prometheus.alerts();
        if now != expected {
            println!("{now:?}");
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        now == expected
    })
    .await;
}

/// Submits registrations until the node has no room for more.
async fn fill(cluster: &Cluster, node: usize) {
    let client = cluster.client(node);
    let status = client.status().await.expect("status");
    let expires_at = status.height.plus(1_000);
    let terms = Terms { network: status.network, chain: status.chain, expires_at };
    eventually("a node without a quorum has no room left", async || {
        let transactions: Vec<_> =
            (0..500).map(|_| encode(&wallet::registration(&terms, &SecretKey::generate()).1)).collect();
        let answers = client.submit_batch(&transactions).await.expect("answers");
        answers.iter().any(Result::is_err)
    })
    .await;
}

#[tokio::test]
async fn alerts_tell_who_is_missing_that_nothing_is_decided_who_is_behind_and_whose_disk_is_low() {
    let mut cluster = Cluster::prepare_relayed(4, 71);
    // Enough for a start, and less than twice the floor once the node has claimed what it is going to write.
    cluster.give_small_disk(2, 320);
    cluster.set_disk_floor(2, 160);
    cluster.start_all_ready().await;
    let prometheus = Prometheus::start(&cluster).await;
    cluster.register(0).await;
    fire_alone(&prometheus, &[alert("DiskLow", 2, None)]).await;
    cluster.resize_disks(1_024);
    fire_alone(&prometheus, &[]).await;

    // Cut off, a node stays where it is while the others go on.
    cluster.relay().split(&[&[0, 2, 3], &[1]], Passage::Closed);
    for turn in 0..36 {
        cluster.register([0, 2, 3][turn % 3]).await;
    }
    prometheus.fires(&[("NodeBehind", 1, None), ("ValidatorMissing", 0, Some("node1"))]).await;
    prometheus.fires(&[("QuorumUnreachable", 1, None), ("NodeNotReady", 1, None)]).await;
    // Its turns to lead went by.
    prometheus.fires(&[("ViewsFail", 0, Some("node1"))]).await;
    cluster.relay().heal();
    eventually("the node is behind no more", async || {
        let alerts = prometheus.alerts();
        ["NodeBehind", "QuorumUnreachable", "NodeNotReady"]
            .iter()
            .all(|name| !alerts.contains(&alert(name, 1, None)))
    })
    .await;

    cluster.kill(2);
    cluster.kill(3);
    prometheus.fires(&[("NodeDown", 2, None), ("NodeDown", 3, None)]).await;
    for node in [0, 1] {
        prometheus
            .fires(&[("ValidatorMissing", node, Some("node3")), ("QuorumUnreachable", node, None)])
            .await;
    }
    fill(&cluster, 0).await;
    prometheus.fires(&[("MempoolFull", 0, None), ("NoBlocks", 0, None)]).await;
    cluster.start_all_ready().await;
    eventually("blocks are made again", async || {
        let alerts = prometheus.alerts();
        alerts.iter().all(|(name, ..)| ["ViewsFail", "MempoolFull"].contains(&name.as_str()))
    })
    .await;
}

#[tokio::test]
async fn alerts_tell_a_wrong_clock_a_key_that_runs_twice_and_a_validator_that_contradicts_itself() {
    let mut cluster = Cluster::start(4).await;
    let prometheus = Prometheus::start(&cluster).await;
    cluster.stop(2);
    cluster.set_clock_off(2, -600);
    cluster.start_node(2);
    cluster.ready(2).await;
    let off = alert("ClockSkew", 2, None);
    eventually("the node's clock is told to be off", async || {
        cluster.register(0).await;
        prometheus.alerts().contains(&off)
    })
    .await;
    let alerts = prometheus.alerts();
    let others = alerts.iter().find(|(name, node, _)| name == "ClockSkew" && *node != 2);
    assert_eq!(others, None, "the others' clocks are right");
    cluster.stop(2);
    cluster.clear_environment(2);
    cluster.start_node(2);
    cluster.ready(2).await;

    cluster.stop(3);
    let copy = cluster.copy_node(3);
    cluster.start_node(3);
    cluster.start_node(copy);
    prometheus.fires(&[("KeyRunsTwice", 0, None), ("KeyRunsTwice", 1, None)]).await;
    cluster.kill(copy);
    cluster.ready(3).await;

    member::contradict(&mut cluster).await;
    prometheus.fires(&[("ContradictoryVotes", 0, None), ("ContradictoryVotes", 1, None)]).await;
}

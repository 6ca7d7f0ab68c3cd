//! Nodes that die, alone, in pairs and all at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use client::api::ResolveOptions;
use genesis::{Digest, Height};
use ledger::Did;
use tests::harness::{Cluster, PATIENCE, eventually, submit};

async fn resolves(cluster: &Cluster, node: usize, did: &Did) {
    let client = cluster.client(node);
    let text = did.to_string();
    eventually(&format!("node {node} resolves {did}"), async || {
        let resolved = client.resolve(&text, &ResolveOptions::default()).await;
        resolved.is_ok_and(|resolution| resolution["didDocument"]["id"] == text.as_str())
    })
    .await;
}

#[tokio::test]
async fn a_did_registered_at_one_node_resolves_at_all() {
    let cluster = Cluster::start(4).await;
    let (did, receipt) = cluster.register(0).await;
    for node in 0..4 {
        cluster.reaches(node, receipt.height).await;
        resolves(&cluster, node, &did).await;
    }
}

#[tokio::test]
async fn with_one_of_four_killed_dids_still_finalise_and_it_catches_up() {
    let mut cluster = Cluster::start(4).await;
    cluster.register(0).await;
    cluster.kill(2);
    let mut last = Height::ZERO;
    // More blocks than a replica remembers for its peers, so that the stores must serve.
    for turn in 0..90 {
        last = cluster.register([0, 1, 3][turn % 3]).await.1.height;
    }
    cluster.start_node(2);
    cluster.reaches(2, last).await;
    let (did, _) = cluster.register(2).await;
    resolves(&cluster, 0, &did).await;
}

#[tokio::test]
async fn with_two_of_four_killed_nothing_commits_and_all_goes_on_when_one_returns() {
    let mut cluster = Cluster::start(4).await;
    let (first, _) = cluster.register(0).await;
    cluster.kill(2);
    cluster.kill(3);
    let client = cluster.client(0);
    let (did, id) = cluster.submit(0).await.expect("a node without a quorum still takes transactions");
    let error = client.wait(&id, Duration::from_secs(3)).await.expect_err("no quorum, no receipt");
    let call = error.call().expect("the node's own answer").clone();
    assert_eq!(call.code, client::api::code::TIMED_OUT, "{call}");
    let data = call.timed_out().expect("details");
    assert_eq!((data.id, data.state.as_ref()), (id, "pending"));
    assert!(call.message.contains("can still land until height"), "{call}");
    let height = client.status().await.expect("status").height;
    assert!(data.can_land_until > height);

    cluster.start_node(3);
    let receipt = client.wait(&id, PATIENCE).await.expect("the network goes on by itself");
    assert!(receipt.is_applied());
    for node in [0, 1, 3] {
        resolves(&cluster, node, &did).await;
        resolves(&cluster, node, &first).await;
    }
}

#[tokio::test]
async fn all_killed_at_once_under_load_no_receipt_that_a_client_saw_is_lost() {
    let mut cluster = Cluster::start(4).await;
    let mut seen: Vec<(Did, Digest, Height)> = Vec::new();
    for _round in 0..3 {
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..4)
            .map(|node| {
                let (client, stop) = (cluster.client(node), Arc::clone(&stop));
                tokio::spawn(async move {
                    let mut seen = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        // Calls fail while nodes are down: only what was confirmed counts.
                        let Ok((did, id)) = submit(&client).await else { break };
                        let Ok(receipt) = client.wait(&id, PATIENCE).await else { break };
                        seen.push((did, id, receipt.height));
                    }
                    seen
                })
            })
            .collect();
        let start = cluster.client(0).status().await.expect("status").height;
        cluster.reaches(0, start.plus(40)).await;
        cluster.kill_all();
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            seen.extend(client.await.expect("a client"));
        }
        cluster.start_all();
        for node in 0..4 {
            cluster.ready(node).await;
        }
        cluster.register(0).await;
    }
    assert!(seen.len() > 20, "the load was real: {} receipts", seen.len());
    for node in 0..4 {
        let client = cluster.client(node);
        for (did, id, height) in &seen {
            let receipt = client.wait(id, PATIENCE).await.expect("the receipt is there");
            assert_eq!((receipt.height, receipt.is_applied()), (*height, true), "{did} at node {node}");
        }
    }
    chains_agree(&cluster).await;
}

/// One block a height: the same one on every node.
async fn chains_agree(cluster: &Cluster) {
    let mut lowest = Height(u64::MAX);
    for node in 0..4 {
        lowest = lowest.min(cluster.client(node).status().await.expect("status").height);
    }
    for height in 1..=lowest.0 {
        let block = cluster.client(0).block(Height(height)).await.expect("a block");
        for node in 1..4 {
            assert_eq!(cluster.client(node).block(Height(height)).await.expect("a block"), block);
        }
    }
}

#[tokio::test]
async fn sigterm_ends_a_node_cleanly_and_it_starts_again() {
    let mut cluster = Cluster::start(4).await;
    cluster.register(1).await;
    let status = cluster.stop(1);
    assert!(status.success(), "{status}");
    let (_, receipt) = cluster.register(0).await;
    cluster.start_node(1);
    cluster.reaches(1, receipt.height).await;
}

#[tokio::test]
async fn a_network_of_one_and_of_two_work_too() {
    for validators in [1, 2] {
        let mut cluster = Cluster::start(validators).await;
        let (did, _) = cluster.register(validators - 1).await;
        cluster.kill_all();
        cluster.start_all();
        cluster.ready(0).await;
        resolves(&cluster, 0, &did).await;
        cluster.register(0).await;
    }
}

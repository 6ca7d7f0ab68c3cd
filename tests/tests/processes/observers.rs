//! Nodes without a vote: they follow, check everything and serve reads.

use std::time::{Duration, Instant};

use client::api::ResolveOptions;
use genesis::Height;
use tests::harness::{Cluster, eventually, submit};
use tests::history::Load;

use crate::crashes::assert_sound;

const OBSERVER: usize = 4;
/// How far an observer may be behind a validator, in time.
const BEHIND: Duration = Duration::from_secs(1);

async fn height(cluster: &Cluster, node: usize) -> Height {
    cluster.client(node).status().await.expect("status").height
}

/// For how long the observer is behind what a validator had at one moment.
async fn lag(cluster: &Cluster) -> Duration {
    let goal = height(cluster, 0).await;
    let start = Instant::now();
    cluster.reaches(OBSERVER, goal).await;
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_observer_follows_within_a_second_under_load_over_restarts_and_epochs_and_orders_nothing() {
    let mut cluster = Cluster::start_with(4, 1).await;
    let load = Load::start(&cluster, 41).await;
    for round in 0..4_u64 {
        load.confirms(5).await;
        let mut lags = Vec::new();
        for _ in 0..10 {
            lags.push(lag(&cluster).await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        lags.sort();
        assert!(lags[5] < BEHIND, "round {round}: behind by {lags:?}");
        let (did, receipt) = cluster.register(round as usize % 4).await;
        cluster.reaches(OBSERVER, receipt.height).await;
        let client = cluster.client(OBSERVER);
        let resolved = client.resolve(&did.to_string(), &ResolveOptions::default()).await.expect("an answer");
        assert_eq!(resolved["didDocument"]["id"], did.to_string().as_str());
        let status = client.status().await.expect("status");
        assert_eq!((status.node.as_str(), status.standing.as_str()), ("observer", "observing"));
        let refusal = submit(&client).await.expect_err("an observer orders nothing").to_string();
        assert!(refusal.contains("observer"), "{refusal}");
        match round {
            0 => {
                cluster.decide(&[0, 1, 2], &["set-parameter", "heartbeat_ms=45000"]);
                cluster.begins(&[0, 1, 2, 3, OBSERVER], 1).await;
            }
            1 => {
                cluster.kill(OBSERVER);
                load.confirms(10).await;
                cluster.start_node(OBSERVER);
            }
            // Away while an epoch ends.
            2 => {
                cluster.stop(OBSERVER);
                cluster.decide(&[0, 1, 2], &["set-parameter", "heartbeat_ms=50000"]);
                cluster.begins(&[0, 1, 2, 3], 2).await;
                load.confirms(10).await;
                cluster.start_node(OBSERVER);
                cluster.begins(&[0, OBSERVER], 2).await;
            }
            _ => {}
        }
        cluster.ready(OBSERVER).await;
    }
    assert_sound(load, &cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_observer_that_was_never_there_catches_up_over_many_blocks_and_epochs() {
    let mut cluster = Cluster::prepare_with(4, 1);
    for node in 0..4 {
        cluster.start_node(node);
    }
    for node in 0..4 {
        cluster.ready(node).await;
    }
    for epoch in 1..=3_u64 {
        let goal = height(&cluster, 0).await.plus(120);
        while height(&cluster, 0).await < goal {
            cluster.register(epoch as usize % 4).await;
        }
        cluster.decide(&[0, 1, 2], &["set-parameter", &format!("heartbeat_ms={}", 40_000 + epoch)]);
        cluster.begins(&[0, 1, 2, 3], epoch).await;
    }
    let (did, receipt) = cluster.register(0).await;
    cluster.start_node(OBSERVER);
    cluster.reaches(OBSERVER, receipt.height).await;
    cluster.begins(&[0, 1, 2, 3, OBSERVER], 3).await;
    for height in (1..=receipt.height.0).step_by(7) {
        let [one, other] = [0, OBSERVER].map(|node| cluster.client(node));
        let [one, other] = [one.block(Height(height)).await, other.block(Height(height)).await];
        assert_eq!(one.expect("a block"), other.expect("a block"));
    }
    let client = cluster.client(OBSERVER);
    eventually("the observer resolves", async || {
        let resolved = client.resolve(&did.to_string(), &ResolveOptions::default()).await;
        resolved.is_ok_and(|resolved| resolved["didDocument"]["id"] == did.to_string().as_str())
    })
    .await;
}

//! Networks that are slow, lose much, or fall apart, by the relay; under load, with every call written down.

use std::time::Duration;

use genesis::Height;
use tests::harness::{Cluster, eventually};
use tests::history::Load;
use tests::relay::{Passage, Weather};

use crate::crashes::assert_sound;

async fn height(cluster: &Cluster, node: usize) -> Height {
    cluster.client(node).status().await.expect("status").height
}

/// Waits until all nodes are where the highest is.
async fn together(cluster: &Cluster) {
    let mut highest = Height::ZERO;
    for node in 0..cluster.len() {
        highest = highest.max(height(cluster, node).await);
    }
    for node in 0..cluster.len() {
        cluster.reaches(node, highest).await;
    }
}

/// Waits until a node's height does not move for a while; that height.
async fn standstill(cluster: &Cluster, node: usize) -> Height {
    let mut last = Height::ZERO;
    eventually("the chain stands still", async || {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = height(cluster, node).await;
        std::mem::replace(&mut last, now) == now
    })
    .await;
    last
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn all_traffic_between_nodes_passes_through_the_relay() {
    let cluster = Cluster::start_relayed(4, 1).await;
    cluster.register(0).await;
    let pairs = || (0..4).flat_map(|from| (0..4).map(move |to| (from, to))).filter(|(from, to)| from != to);
    eventually("every node hears every other through the relay", async || {
        pairs().all(|(from, to)| cluster.relay().carried(from, to) > 0)
    })
    .await;
    assert_eq!(cluster.relay().strangers(), 0);
    // And none beside it: with everything cut, no node has a peer left.
    cluster.relay().split(&[], Passage::Closed);
    for node in 0..4 {
        let client = cluster.client(node);
        eventually("no peer is left", async || client.status().await.expect("status").peers_connected == 0)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_node_that_is_cut_off_decides_nothing_while_the_others_go_on_and_catches_up() {
    let cluster = Cluster::start_relayed(4, 2).await;
    let load = Load::start(&cluster, 11).await;
    for (alone, how) in [(3, Passage::Silent), (0, Passage::Closed), (1, Passage::Silent)] {
        load.confirms(8).await;
        let others: Vec<usize> = (0..4).filter(|node| *node != alone).collect();
        cluster.relay().split(&[&others], how);
        let stopped = standstill(&cluster, alone).await;
        load.confirms(15).await;
        assert_eq!(height(&cluster, alone).await, stopped, "one of four decided");
        assert!(height(&cluster, others[0]).await > stopped);
        cluster.relay().heal();
        together(&cluster).await;
    }
    load.confirms(8).await;
    assert_sound(load, &cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn two_halves_decide_nothing_and_go_on_as_one_after_the_heal() {
    let cluster = Cluster::start_relayed(4, 3).await;
    let load = Load::start(&cluster, 12).await;
    for (halves, how) in [([[0, 1], [2, 3]], Passage::Silent), ([[0, 2], [1, 3]], Passage::Closed)] {
        load.confirms(8).await;
        cluster.relay().split(&[&halves[0], &halves[1]], how);
        let stopped = [standstill(&cluster, 0).await, standstill(&cluster, 3).await];
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!([height(&cluster, 0).await, height(&cluster, 3).await], stopped, "two of four decided");
        cluster.relay().heal();
        load.confirms(8).await;
        together(&cluster).await;
    }
    assert_sound(load, &cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn one_way_cuts_stop_no_quorum_that_hears_itself() {
    let cluster = Cluster::start_relayed(4, 4).await;
    let load = Load::start(&cluster, 13).await;
    load.confirms(8).await;
    // Node 0 is heard by nobody, but hears all.
    for to in 1..4 {
        cluster.relay().cut(0, to, Passage::Silent);
    }
    load.confirms(12).await;
    cluster.relay().heal();
    together(&cluster).await;
    // Node 1 hears nobody, but is heard.
    for from in [0, 2, 3] {
        cluster.relay().cut(from, 1, Passage::Silent);
    }
    load.confirms(12).await;
    cluster.relay().heal();
    together(&cluster).await;
    // A ring: each hears the one before it, and the one across.
    for node in 0..4 {
        cluster.relay().cut(node, (node + 3) % 4, Passage::Silent);
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    cluster.relay().heal();
    load.confirms(12).await;
    assert_sound(load, &cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_tenth_of_a_second_of_delay_and_a_loss_of_five_in_a_hundred_slow_the_chain_and_break_nothing() {
    let cluster = Cluster::start_relayed(4, 5).await;
    let (delay, jitter) = (Duration::from_millis(100), Duration::from_millis(20));
    cluster.relay().weather(Weather { delay, jitter, loss_percent: 5, ..Weather::default() });
    let load = Load::start(&cluster, 14).await;
    let before = height(&cluster, 0).await;
    load.confirms(60).await;
    assert!(height(&cluster, 0).await > before.plus(10), "blocks were made, not one for all");
    cluster.relay().weather(Weather::default());
    assert_sound(load, &cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn cuts_and_kills_together_in_bad_weather_leave_a_linear_history() {
    let mut cluster = Cluster::start_relayed(4, 6).await;
    let (delay, jitter) = (Duration::from_millis(10), Duration::from_millis(10));
    cluster.relay().weather(Weather { delay, jitter, loss_percent: 2, ..Weather::default() });
    let load = Load::start(&cluster, 15).await;
    for turn in 0..4 {
        load.confirms(6).await;
        let (cut, killed) = (turn % 4, (turn + 1) % 4);
        let others: Vec<usize> = (0..4).filter(|node| *node != cut).collect();
        cluster.relay().split(&[&others], Passage::Silent);
        cluster.kill(killed);
        tokio::time::sleep(Duration::from_secs(1)).await;
        cluster.start_node(killed);
        cluster.relay().heal();
        cluster.ready(killed).await;
    }
    load.confirms(10).await;
    together(&cluster).await;
    assert_sound(load, &cluster).await;
}

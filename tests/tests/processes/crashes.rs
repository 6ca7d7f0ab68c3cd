//! Processes that are killed and frozen again and again, under load. What every client saw is written down, and one order
//! must explain it.

use genesis::Height;
use tests::harness::{Cluster, eventually};
use tests::history::Load;

/// How many writes must have taken effect, and reads been answered, for a history to say anything.
const LEAST: usize = 15;

/// Ends a load, and the test if what the clients saw cannot be, or is too little.
pub async fn assert_sound(load: Load, cluster: &Cluster) {
    let summary = load.finish(cluster).await.assert_sound();
    println!("{summary}");
    assert!(summary.applied >= LEAST && summary.reads >= LEAST, "the load was real: {summary}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn nodes_killed_one_after_another_under_load_leave_a_linear_history() {
    let mut cluster = Cluster::start(4).await;
    let load = Load::start(&cluster, 1).await;
    for turn in 0..8 {
        let node = turn % 4;
        load.confirms(8).await;
        cluster.kill(node);
        // Sometimes the others go on for a while, sometimes it is back at once.
        if turn % 2 == 0 {
            load.confirms(8).await;
        }
        cluster.start_node(node);
        cluster.ready(node).await;
    }
    load.confirms(8).await;
    assert_sound(load, &cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn all_nodes_killed_at_once_again_and_again_under_load_leave_a_linear_history() {
    let mut cluster = Cluster::start(4).await;
    let load = Load::start(&cluster, 2).await;
    for _ in 0..5 {
        load.confirms(15).await;
        cluster.kill_all();
        cluster.start_all_ready().await;
    }
    load.confirms(15).await;
    assert_sound(load, &cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn nodes_killed_while_they_start_leave_a_linear_history() {
    let mut cluster = Cluster::start(4).await;
    let load = Load::start(&cluster, 3).await;
    for turn in 0..12_u64 {
        load.confirms(3).await;
        cluster.kill(3);
        cluster.start_node(3);
        // From before its first line to after its recovery.
        tokio::time::sleep(std::time::Duration::from_millis(turn * 25)).await;
    }
    cluster.ready(3).await;
    load.confirms(10).await;
    assert_sound(load, &cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_leader_that_freezes_is_passed_over_and_comes_back_with_nothing_lost() {
    let cluster = Cluster::start(4).await;
    let load = Load::start(&cluster, 4).await;
    for _ in 0..4 {
        load.confirms(8).await;
        let status = cluster.client(0).status().await.expect("status");
        let leader = (0..4).find(|node| status.leader == format!("node{node}")).expect("a leader");
        cluster.pause(leader);
        load.confirms(15).await;
        let tip = cluster.client((leader + 1) % 4).status().await.expect("status").height;
        cluster.resume(leader);
        cluster.reaches(leader, tip).await;
    }
    load.confirms(8).await;
    assert_sound(load, &cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_frozen_majority_decides_nothing_and_goes_on_when_it_thaws() {
    let cluster = Cluster::start(4).await;
    let load = Load::start(&cluster, 5).await;
    load.confirms(10).await;
    for node in [1, 2, 3] {
        cluster.pause(node);
    }
    // What was on its way may still arrive; then nothing moves.
    let client = cluster.client(0);
    let mut last = Height::ZERO;
    eventually("the chain stands still", async || {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        let height = client.status().await.expect("status").height;
        std::mem::replace(&mut last, height) == height
    })
    .await;
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    assert_eq!(client.status().await.expect("status").height, last, "one of four decided");
    for node in [1, 2, 3] {
        cluster.resume(node);
    }
    load.confirms(30).await;
    assert_sound(load, &cluster).await;
}

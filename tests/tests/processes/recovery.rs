//! Validators that have lost what they voted, or hold an old copy of it, or run twice: they vote again by themselves, and
//! never against what they voted before.

use std::fs;
use std::time::Duration;

use genesis::Height;
use tests::harness::{Cluster, eventually, figure};
use tests::history::Load;

use crate::crashes::assert_sound;

/// What a node logs whose voting record is not what it was.
const LOST: &str = "this validator's voting record is lost or old";

/// What can become of what a node has written.
#[derive(Clone, Copy, Debug)]
enum Loss {
    Journal,
    Store,
    Everything,
}

impl Loss {
    const fn part(self) -> &'static str {
        match self {
            Self::Journal => "journal",
            Self::Store => "store",
            Self::Everything => ".",
        }
    }
}

/// Kills a node, takes a part of its disk from it, and waits until it votes again. The rest of the network goes on.
async fn lose(cluster: &mut Cluster, load: Option<&Load>, node: usize, loss: Loss) {
    cluster.kill(node);
    cluster.lose(node, loss.part());
    if let Some(load) = load.filter(|_| !matches!(loss, Loss::Journal)) {
        load.forgets(node);
    }
    fs::write(cluster.log(node), "").expect("a log that begins anew");
    cluster.start_node(node);
    cluster.votes(node).await;
    let is_wiped = !matches!(loss, Loss::Store);
    assert_eq!(cluster.logged(node, &[LOST]), is_wiped, "node {node} lost its {loss:?}");
    cluster.ready(node).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_validator_that_lost_its_journal_its_store_or_both_under_load_votes_again_by_itself() {
    let mut cluster = Cluster::start(4).await;
    let load = Load::start(&cluster, 51).await;
    for (node, loss) in [(3, Loss::Journal), (2, Loss::Everything), (1, Loss::Store)] {
        load.confirms(10).await;
        lose(&mut cluster, Some(&load), node, loss).await;
        // It is needed: the others alone are too few.
        let away = (node + 1) % 4;
        cluster.kill(away);
        load.confirms(8).await;
        cluster.start_node(away);
        cluster.votes(away).await;
    }
    cluster.assert_no_evidence(0..4);
    assert_sound(load, &cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn all_validators_wiped_one_after_another_under_load_lose_nothing() {
    let mut cluster = Cluster::start(4).await;
    let load = Load::start(&cluster, 52).await;
    for turn in 0..8 {
        load.confirms(4).await;
        let loss = if turn < 4 { Loss::Journal } else { Loss::Everything };
        lose(&mut cluster, Some(&load), turn % 4, loss).await;
    }
    load.confirms(8).await;
    cluster.assert_no_evidence(0..4);
    assert_sound(load, &cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_validator_restored_from_an_old_copy_of_its_data_votes_again_and_contradicts_nothing() {
    let mut cluster = Cluster::start(4).await;
    let load = Load::start(&cluster, 53).await;
    load.confirms(8).await;
    cluster.stop(3);
    let backup = cluster.back_up(3);
    cluster.start_node(3);
    for _ in 0..3 {
        cluster.votes(3).await;
        load.confirms(12).await;
        cluster.kill(3);
        cluster.restore(3, &backup);
        load.forgets(3);
        cluster.start_node(3);
    }
    cluster.votes(3).await;
    load.confirms(8).await;
    cluster.assert_no_evidence(0..4);
    assert_sound(load, &cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_wiped_validator_says_whom_it_waits_for_and_votes_when_they_are_there() {
    let mut cluster = Cluster::start(4).await;
    let (_, receipt) = cluster.register(0).await;
    for node in 0..4 {
        cluster.reaches(node, receipt.height).await;
    }
    cluster.kill(2);
    cluster.kill(3);
    cluster.lose(3, "journal");
    fs::write(cluster.log(3), "").expect("a log that begins anew");
    cluster.start_node(3);
    let client = cluster.client(3);
    eventually("it says that it was wiped, and what is missing", async || {
        let Ok(status) = client.status().await else { return false };
        let why = status.not_ready_because.unwrap_or_default();
        status.standing == "recovering"
            && why.contains("voting record was lost")
            && why.contains("2 of 3 other validators")
    })
    .await;
    assert!(cluster.logged(3, &[LOST, "waits_for", "node2"]), "the log names who is missing");
    // For as long as one answer is missing it signs nothing, and two alone decide nothing.
    let height = client.status().await.expect("status").height;
    let (_, id) = cluster.submit(0).await.expect("submitted");
    tokio::time::sleep(Duration::from_secs(4)).await;
    let status = client.status().await.expect("status");
    assert_eq!((status.standing.as_str(), status.height), ("recovering", height));
    cluster.start_node(2);
    cluster.votes(3).await;
    cluster.client(0).wait(&id, tests::harness::PATIENCE).await.expect("a receipt");
    cluster.assert_no_evidence(0..4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_validator_wiped_in_an_idle_network_votes_again_though_no_client_comes() {
    let mut cluster = Cluster::start(4).await;
    let (_, receipt) = cluster.register(0).await;
    for node in 0..4 {
        cluster.reaches(node, receipt.height).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    // The same one twice in a row too: the others must not take its second question for the first.
    for (node, loss) in [(1, Loss::Journal), (2, Loss::Everything), (2, Loss::Journal)] {
        lose(&mut cluster, None, node, loss).await;
    }
    cluster.assert_no_evidence(0..4);
    cluster.register(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn all_killed_at_once_in_the_middle_of_their_writes_go_on_with_their_records_whole() {
    let mut cluster = Cluster::start(4).await;
    let load = Load::start(&cluster, 54).await;
    for round in 0..4_usize {
        load.confirms(8).await;
        cluster.kill_all();
        for node in 0..4 {
            // What tears is what comes after the last sync: nobody has acted on it.
            let segment = cluster.segments(node).pop().expect("a segment");
            let mut bytes = fs::read(&segment).expect("a segment");
            let torn = bytes[bytes.len() - (7 * round + node + 3).min(bytes.len())..].to_vec();
            bytes.extend(&torn[..torn.len() - 1]);
            fs::write(&segment, bytes).expect("written");
            fs::write(cluster.log(node), "").expect("a log that begins anew");
        }
        cluster.start_all();
        for node in 0..4 {
            cluster.votes(node).await;
            assert!(!cluster.logged(node, &[LOST]), "node {node}: a torn tail is no loss");
            assert!(!cluster.logged(node, &["damaged"]), "node {node}: a torn tail is no damage");
        }
    }
    load.confirms(8).await;
    cluster.assert_no_evidence(0..4);
    assert_sound(load, &cluster).await;
}

/// One block a height on all nodes, as far as all are.
async fn chains_agree(cluster: &Cluster) -> Height {
    let mut lowest = Height(u64::MAX);
    for node in 0..cluster.len() {
        lowest = lowest.min(cluster.client(node).status().await.expect("status").height);
    }
    for height in 1..=lowest.0 {
        let block = cluster.client(0).block(Height(height)).await.expect("a block");
        for node in 1..cluster.len() {
            assert_eq!(cluster.client(node).block(Height(height)).await.expect("a block"), block);
        }
    }
    lowest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn one_home_run_on_two_hosts_forks_nothing_and_is_reported_within_seconds() {
    let mut cluster = Cluster::start(4).await;
    let load = Load::start(&cluster, 55).await;
    load.confirms(8).await;
    cluster.stop(3);
    let copy = cluster.copy_node(3);
    cluster.start_node(3);
    cluster.votes(3).await;
    let before = std::time::Instant::now();
    cluster.start_node(copy);
    let doubles = |cluster: &Cluster, node: usize| {
        figure(cluster.ports(node)[2], "realdid_p2p_double_keys_total").unwrap_or(0.0)
    };
    for node in 0..3 {
        eventually(&format!("node {node} reports the double"), async || {
            doubles(&cluster, node) > 0.0
                && cluster.logged(node, &["node3", "runs on two hosts with one key"])
        })
        .await;
    }
    println!("reported by all after {:.1} s", before.elapsed().as_secs_f64());
    assert!(before.elapsed() < Duration::from_secs(15), "reported after {:?}", before.elapsed());
    // Both go on for a while; the two may sign different things, and then only node 3 is accused.
    load.confirms(60).await;
    for node in 0..3 {
        let evidence = cluster.evidence(node);
        println!("node {node} holds {} pieces of evidence", evidence.len());
        assert!(evidence.iter().all(|piece| piece["name"] == "node3"), "{evidence:?}");
    }
    let lowest = chains_agree(&cluster).await;
    assert!(lowest > Height::ZERO, "nothing was compared");
    cluster.remove_copy();
    load.confirms(10).await;
    chains_agree(&cluster).await;
    assert_sound(load, &cluster).await;
}

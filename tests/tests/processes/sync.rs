//! A validator that was away for hundreds of blocks catches up from the others' stores: while the load goes on, and while
//! one of the others lies or says nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use client::{KeyFile, Role};
use consensus::{Candidate, CheckpointCertificate, Finality};
use genesis::encoding::{decode, encode};
use genesis::{Genesis, Height, PublicKey};
use p2p::{Inbox, IncomingRequest, Limits, Member, Network};
use tests::harness::{Cluster, PATIENCE, eventually, figure, submit};

/// So many blocks that each of three peers is asked for some at once.
const AWAY: Height = Height(700);
/// Where a node is so near to the others, it takes part.
const NEAR: u64 = 5;

/// Clients that register one DID after another through some nodes, until dropped.
struct Traffic(Arc<AtomicBool>);

impl Traffic {
    fn start(cluster: &Cluster, nodes: &[usize]) -> Self {
        let on = Arc::new(AtomicBool::new(true));
        for node in nodes {
            let (client, on) = (cluster.client(*node), Arc::clone(&on));
            tokio::spawn(async move {
                while on.load(Ordering::Relaxed) {
                    // A node that is down or busy is asked again.
                    if let Ok((_, id)) = submit(&client).await {
                        let _ = client.wait(&id, Duration::from_secs(5)).await;
                    }
                }
            });
        }
        Self(on)
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

async fn height(cluster: &Cluster, node: usize) -> Option<Height> {
    cluster.client(node).status().await.ok().map(|status| status.height)
}

/// Waits until the blocks up to `height` are there; as long as it takes where there is progress.
async fn produced(cluster: &Cluster, node: usize, height: Height) {
    let mut reached = Height::ZERO;
    while reached < height {
        reached = reached.plus(50).min(height);
        cluster.reaches(node, reached).await;
    }
}

/// How often a node stopped asking `peer` for this reason.
fn dropped(cluster: &Cluster, node: usize, peer: &str, reason: &str) -> f64 {
    let name = format!(r#"realdid_sync_peers_dropped_total{{peer="{peer}",reason="{reason}"}}"#);
    figure(cluster.ports(node)[2], &name).unwrap_or(0.0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_validator_that_was_away_catches_up_faster_than_the_others_go_on_under_load() {
    let mut cluster = Cluster::start(4).await;
    cluster.stop(3);
    let away_from = height(&cluster, 0).await.expect("a height");
    let traffic = Traffic::start(&cluster, &[0, 1, 2]);
    produced(&cluster, 0, AWAY).await;
    cluster.start_node(3);
    eventually("the node answers", async || height(&cluster, 3).await.is_some()).await;
    let (began, others_then) = (Instant::now(), height(&cluster, 0).await.expect("a height"));
    let mut told = String::new();
    loop {
        assert!(began.elapsed() < 3 * PATIENCE, "node 3 does not catch up");
        let (Some(others), Ok(status)) = (height(&cluster, 0).await, cluster.client(3).status().await) else {
            continue;
        };
        told = status.not_ready_because.filter(|why| why.contains(" of about ")).unwrap_or(told);
        if others.since(status.height) <= NEAR {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (seconds, others) = (began.elapsed().as_secs_f64(), height(&cluster, 0).await.expect("a height"));
    drop(traffic);
    let (made, got) = (others.since(others_then), others.since(away_from));
    println!("{got} blocks in {seconds:.1} s while the others made {made}; it told: {told}");
    assert!(got > 2 * made, "{got} blocks in the time that the others took for {made}");
    assert!(told.starts_with("catching up: at height "), "how far it is: {told:?}");
    let port = cluster.ports(3)[2];
    let blocks = figure(port, "realdid_sync_blocks_total").expect("a figure");
    assert!(blocks >= (AWAY.since(away_from) / 2) as f64, "{blocks} blocks came from the others' stores");
    assert!(figure(port, "realdid_sync_target").expect("a figure") >= AWAY.0 as f64);
    assert!(figure(port, "realdid_sync_bytes_total").expect("a figure") > 0.0);
    cluster.ready(3).await;
}

/// How validator 3, played by the test, answers requests.
#[derive(Clone, Copy)]
enum Play {
    /// With what validator 0 answers, one bit of it changed.
    Lies,
    /// With what validator 0 answers, but for the checkpoint that the blocks rest on.
    LeavesOut,
    /// Never.
    Stalls,
}

/// Validator 3's place is taken by the test. Node 2, which is away, meets it before the others.
async fn play(cluster: &mut Cluster, play: Play) -> Network {
    cluster.stop(3);
    let home = cluster.home(3);
    let text = std::fs::read_to_string(home.join("genesis.toml")).expect("a genesis document");
    let genesis = Genesis::parse(&text).expect("a genesis document");
    let key = KeyFile::read_for(&home.join("keys/network.json"), Role::Network).expect("a key");
    let members = genesis.validators().iter().filter(|(index, _)| index.0 != 3);
    let member =
        |key: PublicKey, address: String| Member { key, role: p2p::Role::Validator, address: Some(address) };
    let members: Vec<Member> =
        members.map(|(_, validator)| member(validator.network_key, validator.address.clone())).collect();
    let (honest, away) = (members[0].key, members[2].key);
    let listen: SocketAddr = ([127, 0, 0, 1], cluster.ports(3)[0]).into();
    let config = p2p::Config { key, chain: genesis.chain(), listen, members, limits: Limits::default() };
    let (network, inbox) = Network::start(config).await.expect("a network");
    tokio::spawn(answer(play, network.clone(), inbox, honest));
    let is_linked = |of: PublicKey| network.peers().iter().any(|peer| peer.key == of && peer.link.is_some());
    eventually("validator 0 lets the test in", async || is_linked(honest)).await;
    (0..2).for_each(|node| cluster.pause(node));
    cluster.start_node(2);
    eventually("node 2 lets the test in", async || is_linked(away)).await;
    (0..2).for_each(|node| cluster.resume(node));
    network
}

/// A range of blocks as it goes over the wire (docs/formats.md): the kind of answer, the blocks, their proof, the checkpoint
/// that the last of them cites, the newest one, and the first block that the peer has.
type Blocks = (
    u32,
    Vec<Candidate>,
    Option<Finality>,
    Option<CheckpointCertificate>,
    Option<CheckpointCertificate>,
    Height,
);

/// The answer without the checkpoint that its blocks rest on; any other answer as it is.
fn without_cited(answer: Vec<u8>) -> Vec<u8> {
    match decode::<Blocks>(&answer, answer.len()) {
        Ok((kind, blocks, proof, _, newest, first)) => {
            encode(&(kind, blocks, proof, None::<()>, newest, first))
        }
        Err(_) => answer,
    }
}

async fn answer(play: Play, network: Network, inbox: Inbox, honest: PublicKey) {
    let Inbox { mut votes, mut batches, mut requests, mut peers } = inbox;
    let mut unanswered: Vec<IncomingRequest> = Vec::new();
    loop {
        tokio::select! {
            Some(_) = votes.recv() => {}
            Some(_) = batches.recv() => {}
            Some(_) = peers.recv() => {}
            Some(request) = requests.recv() => match play {
                Play::Stalls => unanswered.push(request),
                Play::Lies | Play::LeavesOut => {
                    let network = network.clone();
                    tokio::spawn(async move {
                        let mut answer =
                            network.request(&honest, request.bytes).await.unwrap_or_else(|_| vec![0xff; 64]);
                        if let Play::LeavesOut = play {
                            return request.reply.answer(without_cited(answer));
                        }
                        let middle = answer.len() / 2;
                        answer[middle] ^= 1;
                        request.reply.answer(answer);
                    });
                }
            },
            else => return,
        }
    }
}

/// Node 2 misses blocks, and has one of three peers that is of no use.
async fn catches_up_all_the_same(how: Play, reason: &str) {
    let mut cluster = Cluster::start(4).await;
    cluster.stop(2);
    let traffic = Traffic::start(&cluster, &[0, 1, 3]);
    produced(&cluster, 0, AWAY).await;
    drop(traffic);
    let _network = play(&mut cluster, how).await;
    produced(&cluster, 2, AWAY).await;
    eventually(&format!("node 2 drops node3, which {reason}"), async || {
        dropped(&cluster, 2, "node3", reason) >= 1.0
    })
    .await;
    let log = std::fs::read_to_string(cluster.log(2)).expect("a log");
    let names =
        |line: &&str| line.contains("not asking a peer") && line.contains("node3") && line.contains(reason);
    let line = log.lines().find(names).expect("the log names the peer");
    println!("{line}");
    for honest in ["node0", "node1"] {
        assert_eq!(dropped(&cluster, 2, honest, "invalid"), 0.0, "{honest} did nothing wrong");
    }
    // With validators 0 and 1 it is a quorum: the network goes on.
    cluster.register(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_peer_that_lies_about_blocks_is_named_and_dropped_and_the_others_are_enough() {
    catches_up_all_the_same(Play::Lies, "invalid").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_peer_that_leaves_out_what_its_blocks_rest_on_is_named_and_dropped_and_the_others_are_enough() {
    catches_up_all_the_same(Play::LeavesOut, "invalid").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_peer_that_stalls_is_named_and_dropped_and_the_others_are_enough() {
    catches_up_all_the_same(Play::Stalls, "stalled").await;
}

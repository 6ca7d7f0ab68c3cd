//! How long four validators on this machine take to go on after a fault: `scripts/bench-faults`.
//!
//! - **Heal**: the network is cut for some seconds so that no quorum is left, and healed. Measured from the heal to the first
//!   new block on any node, and on every node. The relay models TCP: what was sent during the cut is sent again at intervals
//!   that double (see `tests::relay`), so a part of the time is the network's own.
//! - **Kill**: a node is killed (SIGKILL) under load and started again at once. Measured from the kill to its first vote
//!   after it has caught up with where the others were at its start.

// A program of the tests: what does not hold ends it.
#![allow(clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use genesis::Height;
use serde_json::json;
use tests::harness::{Cluster, PATIENCE, figure, submit};
use tests::relay::Passage;
use tests::simulation::chance::Chance;

const POLL: Duration = Duration::from_millis(5);
const NODES: usize = 4;

/// Measures how long a network of four takes to go on: after a cut is healed, and until a killed node votes again.
#[derive(Parser)]
#[command(name = "bench-faults")]
struct Options {
    /// How many times the network is cut
    #[arg(long, default_value_t = 50, value_name = "N")]
    cuts: usize,
    /// How many times a node is killed
    #[arg(long, default_value_t = 40, value_name = "N")]
    kills: usize,
    /// How long a cut lasts, in ms
    #[arg(long, num_args = 2, default_values_t = [1_000, 6_000], value_names = ["LEAST", "MOST"])]
    cut_ms: Vec<u64>,
    /// Where the lengths of the cuts follow from
    #[arg(long, default_value_t = 1, value_name = "SEED")]
    seed: u64,
    /// A line of JSON for each series
    #[arg(long)]
    json: bool,
}

/// How the network is cut. No part has a quorum.
const CUTS: [(&str, &[&[usize]], Passage); 3] = [
    ("two halves, silent", &[&[0, 1], &[2, 3]], Passage::Silent),
    ("all apart, silent", &[], Passage::Silent),
    ("two halves, closed", &[&[0, 2], &[1, 3]], Passage::Closed),
];

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let options = Options::parse();
    let (least, most) = (options.cut_ms[0], options.cut_ms[1]);
    if least > most {
        eprintln!("--cut-ms: {least} is above {most}");
        std::process::exit(2);
    }
    let mut results = Vec::new();
    if options.cuts > 0 {
        results.extend(heals(&options).await);
    }
    if options.kills > 0 {
        results.push(kills(&options).await);
    }
    for Series { name, times } in &results {
        let [half, most, longest] = [50, 99, 100].map(|percent| percentile(times, percent));
        if options.json {
            let count = times.len();
            let line =
                json!({ "what": name, "count": count, "p50_s": half, "p99_s": most, "max_s": longest });
            println!("{line}");
        } else {
            println!(
                "{name:45} {:3} times  p50 {half:5.2} s  p99 {most:5.2} s  max {longest:5.2} s",
                times.len()
            );
        }
    }
}

/// Times of one kind, in seconds.
struct Series {
    name: String,
    times: Vec<f64>,
}

/// By the nearest rank.
fn percentile(times: &[f64], percent: usize) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}

/// Clients that register one DID after another through all nodes, until dropped.
struct Traffic(Arc<AtomicBool>);

impl Traffic {
    fn start(cluster: &Cluster) -> Self {
        let on = Arc::new(AtomicBool::new(true));
        for node in 0..NODES {
            let (client, on) = (cluster.client(node), Arc::clone(&on));
            tokio::spawn(async move {
                while on.load(Ordering::Relaxed) {
                    // A node that is down is asked again.
                    if let Ok((_, id)) = submit(&client).await {
                        let _ = client.wait(&id, Duration::from_secs(1)).await;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
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

async fn highest(cluster: &Cluster) -> Height {
    let mut highest = Height::ZERO;
    for node in 0..NODES {
        highest = highest.max(height(cluster, node).await.unwrap_or(Height::ZERO));
    }
    highest
}

async fn heals(options: &Options) -> Vec<Series> {
    let cluster = Cluster::start_relayed(NODES, options.seed).await;
    let _traffic = Traffic::start(&cluster);
    let mut chance = Chance::new(options.seed);
    let mut first = Series { name: "heal to the first new block".to_owned(), times: Vec::new() };
    let mut all = Series { name: "heal to a new block on all nodes".to_owned(), times: Vec::new() };
    let mut kinds: Vec<_> = CUTS
        .iter()
        .map(|(name, ..)| Series { name: format!("heal to the first new block: {name}"), times: Vec::new() })
        .collect();
    for turn in 0..options.cuts {
        let kind = turn % CUTS.len();
        let (_, groups, how) = CUTS[kind];
        cluster.relay().split(groups, how);
        // What was decided already may still arrive: the cut is counted from when nothing does.
        let least = Duration::from_millis(chance.between(options.cut_ms[0], options.cut_ms[1]));
        tokio::time::sleep(least).await;
        let stopped = highest(&cluster).await;
        let start = Instant::now();
        cluster.relay().heal();
        let (mut behind, mut reached_first) = ((0..NODES).collect::<Vec<_>>(), None);
        while !behind.is_empty() {
            assert!(start.elapsed() < PATIENCE, "cut {turn}: nodes {behind:?} saw no new block");
            let mut left = Vec::new();
            for node in behind {
                if height(&cluster, node).await.is_some_and(|height| height > stopped) {
                    reached_first.get_or_insert(start.elapsed());
                } else {
                    left.push(node);
                }
            }
            behind = left;
            tokio::time::sleep(POLL).await;
        }
        let time = reached_first.unwrap_or_default().as_secs_f64();
        first.times.push(time);
        kinds[kind].times.push(time);
        all.times.push(start.elapsed().as_secs_f64());
        eprintln!("cut {turn}: {} ms, {}: {time:.2} s", least.as_millis(), CUTS[kind].0);
        tokio::time::sleep(Duration::from_millis(chance.between(500, 1_500))).await;
    }
    let mut results = vec![first, all];
    results.extend(kinds.into_iter().filter(|series| !series.times.is_empty()));
    results
}

async fn kills(options: &Options) -> Series {
    let mut cluster = Cluster::start(NODES).await;
    let _traffic = Traffic::start(&cluster);
    let mut series = Series { name: "kill to voting again".to_owned(), times: Vec::new() };
    for turn in 0..options.kills {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let node = turn % NODES;
        let metrics = cluster.ports(node)[2];
        let start = Instant::now();
        cluster.kill(node);
        let goal = highest(&cluster).await;
        cluster.start_node(node);
        let votes = || figure(metrics, "realdid_consensus_messages_sent_total{kind=\"vote\"}");
        let caught_up =
            || figure(metrics, "realdid_consensus_height").is_some_and(|height| height >= goal.0 as f64);
        let mut before = None;
        loop {
            assert!(start.elapsed() < PATIENCE, "kill {turn}: node {node} does not vote");
            // The pages are asked for one after another, so votes that are counted here came after the others' height.
            match before {
                None if caught_up() => before = Some(votes().unwrap_or(0.0)),
                Some(before) if votes().is_some_and(|votes| votes > before) => break,
                _ => {}
            }
            tokio::time::sleep(POLL).await;
        }
        let time = start.elapsed().as_secs_f64();
        eprintln!("kill {turn}: node {node}: {time:.2} s");
        series.times.push(time);
    }
    series
}

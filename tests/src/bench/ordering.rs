//! A network that only orders: the same nodes, with bytes that nobody looks into in the place of transactions. What it orders a
//! second is what other protocols tell that neither check clients' signatures nor execute.
//!
//! Unlike those, a vote is synced to disk before it is sent, and so is a batch before it is acknowledged; links are encrypted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use client::Client;
use node::opaque::Fate;
use tokio::task::JoinSet;

use super::feed::{self, Answer, Answers, Sender};
use super::figures::{Counts, Figures, Seen};
use super::load::{DRAIN, IN_TIME, Outcome, TICK, until_over};
use super::network::{cluster, measured};
use super::setup::Setup;
use crate::harness::Cluster;
use crate::say::tell;

/// The most bytes of one chunk.
const CHUNK_BYTES: u32 = 128 << 10;

/// A network that only orders.
#[derive(Debug)]
pub struct Network {
    cluster: Cluster,
    clients: Vec<Client>,
    item_bytes: u32,
}

impl Network {
    /// Makes a network whose items have `item_bytes`, starts it, and waits until each validator is ready.
    ///
    /// # Panics
    /// When that fails.
    pub async fn start(setup: &Setup, item_bytes: u32) -> Self {
        let mut cluster = cluster(setup);
        cluster.order_only();
        cluster.start_all_ready().await;
        let clients = (0..setup.validators).map(|node| cluster.client(node)).collect();
        Self { cluster, clients, item_bytes }
    }

    fn ports(&self) -> Vec<u16> {
        (0..self.clients.len()).map(|node| self.cluster.items_port(node)).collect()
    }

    /// Sends `count` items at `rate` a second, and takes down what came of it and what it took.
    pub async fn run(&self, count: u64, rate: u64) -> Figures {
        let told = |ordered| tell(format!("      {ordered} ordered"));
        let ports = self.ports();
        let load = run(&ports, self.item_bytes, count, rate, told);
        measured(&self.cluster, &self.clients, rate, load).await
    }

    /// One item at a time, at most `count` and for at most `time`: how long each took, in ms, ascending.
    ///
    /// # Errors
    /// What became of one that is not final.
    pub async fn run_lone(&self, count: usize, time: Duration) -> Result<Vec<f64>, String> {
        let told = |error: std::io::Error| error.to_string();
        let mut ways = Vec::new();
        for port in self.ports() {
            ways.push(feed::connect(port, self.item_bytes).await.map_err(told)?);
        }
        let (start, mut times) = (Instant::now(), Vec::new());
        let mut items = vec![7; self.item_bytes as usize];
        for number in 0..count {
            if start.elapsed() > time {
                break;
            }
            let place = number % ways.len();
            let (sender, answers) = &mut ways[place];
            items[..8].copy_from_slice(&number.to_le_bytes());
            let began = Instant::now();
            sender.send(1, &items).await.map_err(told)?;
            match tokio::time::timeout(DRAIN, answers.next()).await {
                Ok(Ok(Answer { fate: Fate::Final, .. })) => {}
                other => return Err(format!("a lone item is not final: {other:?}")),
            }
            times.push(began.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        Ok(times)
    }
}

#[derive(Default)]
struct Tally {
    counts: Counts,
    seen: Vec<Seen>,
    last: Duration,
}

/// What the tasks share.
struct Shared {
    count: u64,
    rate: u64,
    nodes: u64,
    item_bytes: u32,
    tally: Mutex<Tally>,
    /// Items that have no end yet.
    open: AtomicU64,
    start: Instant,
}

impl Shared {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the item is due that is the `number`th for this node, from the start.
    fn due(&self, node: u64, number: u64) -> Duration {
        Duration::from_secs_f64((node + number * self.nodes) as f64 / self.rate as f64)
    }

    /// How many of this node's items are due at a time.
    fn due_by(&self, node: u64, elapsed: Duration) -> u64 {
        self.share(node, (elapsed.as_secs_f64() * self.rate as f64) as u64 + 1)
    }

    /// How many of the first `all` items are this node's.
    fn share(&self, node: u64, all: u64) -> u64 {
        (all.min(self.count) + self.nodes - 1 - node) / self.nodes
    }
}

/// Sends `count` items of `item_bytes` at `rate` a second, in turn to each of `ports`, until each has its end or nothing comes any more.
///
/// # Panics
/// When a task does, or a node cannot be reached.
pub async fn run(ports: &[u16], item_bytes: u32, count: u64, rate: u64, told: impl Fn(u64)) -> Outcome {
    let mut ways = Vec::new();
    for port in ports {
        ways.push(feed::connect(*port, item_bytes).await.expect("a node that is ready takes items"));
    }
    let shared = Arc::new(Shared {
        count,
        rate,
        nodes: ports.len() as u64,
        item_bytes,
        tally: Mutex::default(),
        open: AtomicU64::new(count),
        start: Instant::now(),
    });
    let mut tasks = JoinSet::new();
    for (node, (sender, answers)) in (0..).zip(ways) {
        tasks.spawn(take_down(Arc::clone(&shared), node, answers));
        tasks.spawn(send_due(Arc::clone(&shared), node, sender));
    }
    let sending = Duration::from_secs_f64(count as f64 / rate as f64);
    let stand = || {
        let tally = shared.tally();
        (tally.last, tally.counts.committed)
    };
    until_over(shared.start, sending, &shared.open, stand, told).await;
    tasks.abort_all();
    while let Some(ended) = tasks.join_next().await {
        assert!(!ended.is_err_and(|error| error.is_panic()), "a task of the load panicked");
    }
    let mut tally = std::mem::take(&mut *shared.tally());
    let Counts { sent, committed, busy, expired, .. } = tally.counts;
    tally.counts.offered = count;
    tally.counts.lost = sent - committed - busy - expired;
    let elapsed = if tally.last.is_zero() { shared.start.elapsed() } else { tally.last };
    Outcome { counts: tally.counts, seen: tally.seen, elapsed }
}

/// Sends this node's share: items `node`, `node + nodes`, and so on, each when it is due.
async fn send_due(shared: Arc<Shared>, node: u64, mut sender: Sender) {
    let most = u64::from((CHUNK_BYTES / shared.item_bytes).max(1));
    // Nodes take their turns within a tick, so that the load is even.
    let offset = TICK.mul_f64(node as f64 / shared.nodes as f64);
    let mut tick = tokio::time::interval_at((shared.start + offset).into(), TICK);
    let item_bytes = shared.item_bytes as usize;
    let mut items: Vec<u8> =
        (0..most as usize * item_bytes).map(|place| (place * 31 + place / 251) as u8).collect();
    let (mut sent, share) = (0, shared.share(node, shared.count));
    while sent < share {
        tick.tick().await;
        let due = shared.due_by(node, shared.start.elapsed());
        while sent < due {
            let count = (due - sent).min(most);
            for place in 0..count {
                // No two are the same.
                let number = (node + (sent + place) * shared.nodes).to_le_bytes();
                items[place as usize * item_bytes..][..8].copy_from_slice(&number);
            }
            let now = shared.start.elapsed();
            let in_time = |place: &u64| now.saturating_sub(shared.due(node, sent + place)) <= IN_TIME;
            let in_time = (0..count).filter(in_time).count() as u64;
            let error = sender.send(count as u32, &items[..count as usize * item_bytes]).await.err();
            let mut tally = shared.tally();
            tally.counts.sent += count;
            tally.counts.sent_in_time += in_time;
            if let Some(error) = error {
                *tally.counts.failed_calls.entry(format!("sending: {}", error.kind())).or_default() += 1;
                return;
            }
            drop(tally);
            sent += count;
        }
    }
    // Closed, the node would take what it has not answered for abandoned.
    std::future::pending().await
}

/// Takes down what becomes of this node's items.
async fn take_down(shared: Arc<Shared>, node: u64, mut answers: Answers) {
    loop {
        let answer = answers.next().await;
        let at = shared.start.elapsed();
        let mut tally = shared.tally();
        let Answer { fate, first, count } = match answer {
            Ok(answer) => answer,
            Err(error) => {
                *tally.counts.failed_calls.entry(format!("waiting: {}", error.kind())).or_default() += 1;
                return;
            }
        };
        match fate {
            Fate::Final => {
                tally.counts.committed += u64::from(count);
                tally.last = at;
                let seen = (first..first + u64::from(count)).map(|number| {
                    let latency = at.saturating_sub(shared.due(node, number));
                    Seen { at, latency, dids: 0 }
                });
                tally.seen.extend(seen);
            }
            Fate::Refused => tally.counts.busy += u64::from(count),
            Fate::Expired => tally.counts.expired += u64::from(count),
        }
        drop(tally);
        shared.open.fetch_sub(u64::from(count), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_due_once_at_one_node_and_at_its_time() {
        let (count, rate, nodes) = (1_003, 400, 4);
        let shared = Shared {
            count,
            rate,
            nodes,
            item_bytes: 8,
            tally: Mutex::default(),
            open: AtomicU64::new(0),
            start: Instant::now(),
        };
        let share = |node| shared.share(node, count);
        assert_eq!((0..nodes).map(share).collect::<Vec<_>>(), [251, 251, 251, 250]);
        for node in 0..nodes {
            for number in 0..share(node) {
                let due = shared.due(node, number);
                let (before, after) =
                    (due.saturating_sub(Duration::from_millis(1)), due + Duration::from_millis(1));
                assert!(shared.due_by(node, before) <= number || due.is_zero(), "{node} {number}");
                assert!(shared.due_by(node, after) > number, "{node} {number}");
            }
        }
    }
}

//! Sends what is due and waits for receipts.
//!
//! For each node: a sender that fires every tick with what came due since the one before, some connections that
//! carry submissions, and some that wait for receipts: each for some transactions, until all of them have ended. All queues
//! hold parts of the one load, so they are bounded by it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use client::api::{Waited, code};
use client::{Client, RpcError};
use genesis::Digest;
use indicatif::ProgressBar;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::report::Report;
use super::sign::Signed;

/// How often what came due is sent.
const TICK: Duration = Duration::from_millis(10);

/// The most transactions in one submission.
const MAX_BATCH: usize = 1_000;

/// The most receipts that one call waits for.
const MAX_WAIT_BATCH: usize = 1_000;

/// How long one call waits.
const WAIT: Duration = Duration::from_secs(2);

/// How long to leave a node alone after it failed.
const PAUSE: Duration = Duration::from_millis(200);

/// How late a transaction may be sent and still count as sent in time.
const IN_TIME: Duration = Duration::from_millis(100);

/// A load and where it goes.
pub(super) struct Load {
    transactions: Vec<Signed>,
    rate: u64,
    clients: Vec<Client>,
    connections: u16,
    drain: Duration,
    stopped: Arc<AtomicBool>,
}

/// A transaction whose receipt is waited for.
struct Waiting {
    index: usize,
    due: Instant,
}

/// What the tasks share.
struct Shared {
    transactions: Vec<Signed>,
    clients: Vec<Client>,
    report: Mutex<Report>,
    /// Transactions that are neither final nor failed.
    open: AtomicU64,
    start: Instant,
    bar: ProgressBar,
}

impl Shared {
    fn report(&self) -> MutexGuard<'_, Report> {
        // Figures are counters: those of a task that panicked still hold.
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self, count: usize) {
        self.open.fetch_sub(count as u64, Ordering::Relaxed);
    }
}

impl Load {
    pub(super) fn new(
        transactions: Vec<Signed>,
        rate: u64,
        clients: Vec<Client>,
        connections: u16,
        drain: Duration,
        stopped: Arc<AtomicBool>,
    ) -> Self {
        Self { transactions, rate, clients, connections, drain, stopped }
    }

    /// Runs it to the end of the load and the last receipt, or until stopped.
    pub(super) async fn run(self, bar: &ProgressBar) -> Report {
        let count = self.transactions.len();
        let nodes = self.clients.len();
        let shared = Arc::new(Shared {
            transactions: self.transactions,
            clients: self.clients,
            report: Mutex::new(Report::new(self.rate, count as u64)),
            open: AtomicU64::new(count as u64),
            start: Instant::now(),
            bar: bar.clone(),
        });
        let half = usize::from(self.connections / 2);
        let mut tasks = JoinSet::new();
        for node in 0..nodes {
            let (submitted, receipts) = mpsc::unbounded_channel();
            let receipts = Arc::new(tokio::sync::Mutex::new(receipts));
            for _ in 0..half {
                tasks.spawn(wait_for_receipts(
                    Arc::clone(&shared),
                    node,
                    submitted.clone(),
                    Arc::clone(&receipts),
                ));
            }
            tasks.spawn(send(Arc::clone(&shared), node, self.rate, half, submitted));
        }
        let sending = Duration::from_secs_f64(count as f64 / self.rate as f64);
        let deadline = shared.start + sending + self.drain;
        let mut tick = tokio::time::interval(TICK);
        while shared.open.load(Ordering::Relaxed) > 0 && Instant::now() < deadline {
            tick.tick().await;
            if self.stopped.load(Ordering::Relaxed) {
                shared.report().interrupted = true;
                break;
            }
        }
        tasks.shutdown().await;
        let mut report = std::mem::replace(&mut *shared.report(), Report::new(self.rate, count as u64));
        let never_sent = count as u64 - report.sent;
        report.unresolved = shared.open.load(Ordering::Relaxed).saturating_sub(never_sent);
        if report.elapsed.is_zero() {
            report.elapsed = shared.start.elapsed();
        }
        report
    }
}

/// Sends this node's share: transactions `node`, `node + nodes`, and so on, each when it is due.
async fn send(
    shared: Arc<Shared>,
    node: usize,
    rate: u64,
    connections: usize,
    submitted: mpsc::UnboundedSender<Waiting>,
) {
    let nodes = shared.clients.len();
    // Nodes take their turns within a tick, so that the load is even.
    let offset = TICK.mul_f64(node as f64 / nodes as f64);
    let mut tick = tokio::time::interval_at((shared.start + offset).into(), TICK);
    let permits = Arc::new(Semaphore::new(connections));
    let mut submissions = JoinSet::new();
    let mut next = node;
    while next < shared.transactions.len() {
        // A tick that was missed is made up for: the load is open.
        let due = tick.tick().await.into_std();
        let due_count = due.duration_since(shared.start).as_secs_f64() * rate as f64;
        let mut batch = Vec::new();
        while next < shared.transactions.len() && (next as f64) <= due_count {
            batch.push(Waiting { index: next, due });
            next += nodes;
            if batch.len() == MAX_BATCH {
                spawn_submission(
                    &shared,
                    node,
                    &permits,
                    &submitted,
                    &mut submissions,
                    std::mem::take(&mut batch),
                );
            }
        }
        if !batch.is_empty() {
            spawn_submission(&shared, node, &permits, &submitted, &mut submissions, batch);
        }
        while submissions.try_join_next().is_some() {}
    }
    while submissions.join_next().await.is_some() {}
}

fn spawn_submission(
    shared: &Arc<Shared>,
    node: usize,
    permits: &Arc<Semaphore>,
    submitted: &mpsc::UnboundedSender<Waiting>,
    submissions: &mut JoinSet<()>,
    batch: Vec<Waiting>,
) {
    let (shared, permits, submitted) = (Arc::clone(shared), Arc::clone(permits), submitted.clone());
    submissions.spawn(async move {
        // Never closed, so there is always a permit in the end.
        let Ok(_permit) = permits.acquire().await else { return };
        submit(&shared, node, &submitted, batch).await;
    });
}

async fn submit(
    shared: &Shared,
    node: usize,
    submitted: &mpsc::UnboundedSender<Waiting>,
    batch: Vec<Waiting>,
) {
    let now = Instant::now();
    {
        let mut report = shared.report();
        report.sent += batch.len() as u64;
        let in_time = batch.iter().filter(|waiting| now.duration_since(waiting.due) <= IN_TIME).count();
        report.sent_in_time += in_time as u64;
    }
    let transactions: Vec<&[u8]> =
        batch.iter().map(|waiting| shared.transactions[waiting.index].bytes.as_slice()).collect();
    let answers = match shared.clients[node].submit_batch(&transactions).await {
        Ok(answers) => answers,
        Err(error) => {
            // The node may have taken them before the connection broke: their receipts decide.
            shared.report().call_failed(format!("submission: {}", kind(&error)));
            for waiting in batch {
                let _ = submitted.send(waiting);
            }
            return;
        }
    };
    for (waiting, answer) in batch.into_iter().zip(answers) {
        match answer {
            // Nobody reads any more where the run is over.
            Ok(_) => drop(submitted.send(waiting)),
            Err(error) => {
                shared.close(1);
                let mut report = shared.report();
                match error.code {
                    code::BUSY => report.busy += 1,
                    code => report.fail(format!("refused with code {code}")),
                }
            }
        }
    }
}

/// Waits for receipts, many in one call, over and over.
async fn wait_for_receipts(
    shared: Arc<Shared>,
    home: usize,
    again: mpsc::UnboundedSender<Waiting>,
    receipts: Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<Waiting>>>,
) {
    let nodes = shared.clients.len();
    let mut node = home;
    let mut open: HashMap<Digest, Waiting> = HashMap::new();
    loop {
        if open.is_empty() {
            let mut batch = Vec::new();
            if receipts.lock().await.recv_many(&mut batch, MAX_WAIT_BATCH).await == 0 {
                return;
            }
            open.extend(batch.into_iter().map(|waiting| (shared.transactions[waiting.index].id, waiting)));
        }
        let ids: Vec<_> = open.keys().copied().collect();
        match shared.clients[node].wait_batch(&ids, WAIT).await {
            Ok(waited) if waited.receipts.is_empty() && waited.expired.is_empty() => {
                // Others of this node's may get on meanwhile.
                open.drain().for_each(|(_, waiting)| drop(again.send(waiting)));
            }
            Ok(waited) => count_receipts(&shared, &mut open, waited),
            Err(error) => {
                shared.report().call_failed(format!("waiting: {}", kind(&error)));
                // Any node can tell the fate of a transaction.
                node = (node + 1) % nodes;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Takes down what came; what did not stays in `open`.
fn count_receipts(shared: &Shared, open: &mut HashMap<Digest, Waiting>, waited: Waited) {
    let now = Instant::now();
    let before = open.len();
    let mut report = shared.report();
    for receipt in waited.receipts {
        let Some(waiting) = open.remove(&receipt.id) else { continue };
        if receipt.is_applied() {
            report.commit(now.duration_since(waiting.due));
        } else {
            report.fail(receipt.result);
        }
    }
    for expired in waited.expired {
        if open.remove(&expired.id).is_some() {
            report.fail("expired");
        }
    }
    report.elapsed = now.duration_since(shared.start);
    shared.bar.set_position(report.committed);
    drop(report);
    shared.close(before - open.len());
}

/// A word for the figures.
fn kind(error: &RpcError) -> &'static str {
    match error {
        RpcError::Unreachable { .. } => "no connection",
        RpcError::Silent { .. } => "no answer in time",
        RpcError::Url { .. } | RpcError::Answer { .. } => "unexpected answer",
        RpcError::Call { .. } => "refused",
    }
}

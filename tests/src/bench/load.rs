//! Sends what is due when it is due, spread over the nodes, and takes down what comes of it.
//!
//! For each node: a sender that fires every tick with what came due since the one before, calls that carry submissions, and
//! some tasks that wait for receipts. All queues hold parts of the one load, so they are bounded by it; calls under way are
//! bounded too, and beyond that the client is late, which is counted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use client::{Client, RpcError};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::figures::{Counts, Seen};
use super::send::{self, Answer, Fate, MOST_AWAITED, MOST_SUBMITTED};
use super::sign::Signed;

/// How often what came due is sent.
pub(super) const TICK: Duration = Duration::from_millis(10);
/// Calls that submit to one node at the same time.
const SUBMITTING: usize = 96;
/// Calls that wait at one node at the same time.
const WAITING: usize = 16;
/// How long one call waits.
const WAIT: Duration = Duration::from_secs(2);
/// How long to leave a node alone that knows of nothing new or failed.
const PAUSE: Duration = Duration::from_millis(100);
/// How late a transaction may be sent and still count as sent in time.
pub(super) const IN_TIME: Duration = Duration::from_millis(100);
/// How long after the last one was sent receipts are waited for at most: at overload, what nodes hold is worked off first.
pub const DRAIN: Duration = Duration::from_secs(60);
/// How long after the last one was sent nothing may come for the wait to go on.
const SILENCE: Duration = Duration::from_secs(20);

/// What came of a load.
#[derive(Debug)]
pub struct Outcome {
    /// What became of its transactions.
    pub counts: Counts,
    /// The receipts that say `applied`.
    pub seen: Vec<Seen>,
    /// From the start to the last receipt.
    pub elapsed: Duration,
}

/// A transaction whose receipt is waited for.
struct Waiting {
    index: usize,
    due: Instant,
    /// Whether a node said that it holds it.
    accepted: bool,
}

#[derive(Default)]
struct Tally {
    counts: Counts,
    seen: Vec<Seen>,
    last: Duration,
    /// Waited for: accepted ones, and those of which no node said anything.
    open: [u64; 2],
}

/// What the tasks share.
struct Shared {
    transactions: Vec<Signed>,
    clients: Vec<Client>,
    rate: u64,
    tally: Mutex<Tally>,
    /// Transactions that have no end yet.
    open: AtomicU64,
    start: Instant,
}

type Queue = mpsc::UnboundedSender<Waiting>;

impl Shared {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self, count: usize) {
        self.open.fetch_sub(count as u64, Ordering::Relaxed);
    }
}

/// Sends `transactions` at `rate` a second, in turn to each of `clients`, until each has its end, nothing comes any more, or
/// [`DRAIN`] is over. Calls
/// `told` now and then with how many are committed.
///
/// # Panics
/// When a task does.
pub async fn run(transactions: Vec<Signed>, rate: u64, clients: Vec<Client>, told: impl Fn(u64)) -> Outcome {
    let (count, nodes) = (transactions.len(), clients.len());
    let shared = Arc::new(Shared {
        transactions,
        clients,
        rate,
        tally: Mutex::default(),
        open: AtomicU64::new(count as u64),
        start: Instant::now(),
    });
    let mut tasks = JoinSet::new();
    for node in 0..nodes {
        let (queue, receipts) = mpsc::unbounded_channel();
        let receipts = Arc::new(tokio::sync::Mutex::new(receipts));
        for _ in 0..WAITING {
            tasks.spawn(wait_for_receipts(Arc::clone(&shared), node, queue.clone(), Arc::clone(&receipts)));
        }
        tasks.spawn(send_due(Arc::clone(&shared), node, queue));
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
    tally.counts.offered = count as u64;
    [tally.counts.lost, tally.counts.unanswered] = tally.open;
    let elapsed = if tally.last.is_zero() { shared.start.elapsed() } else { tally.last };
    Outcome { counts: tally.counts, seen: tally.seen, elapsed }
}

/// Waits until no transaction is `open`, nothing comes any more, or [`DRAIN`] is over after all were sent, which takes `sending`. Calls `told`
/// now and then with how many are committed; `stand` says when the last one was, and how many are.
pub(super) async fn until_over(
    start: Instant,
    sending: Duration,
    open: &AtomicU64,
    stand: impl Fn() -> (Duration, u64),
    told: impl Fn(u64),
) {
    let mut tick = tokio::time::interval(TICK);
    for turn in 0_u64.. {
        let (elapsed, (last, committed)) = (start.elapsed(), stand());
        let is_over = elapsed > sending + DRAIN || elapsed > sending.max(last) + SILENCE;
        if is_over || open.load(Ordering::Relaxed) == 0 {
            break;
        }
        if turn % 200 == 199 {
            told(committed);
        }
        tick.tick().await;
    }
}

/// Sends this node's share: transactions `node`, `node + nodes`, and so on, each when it is due.
async fn send_due(shared: Arc<Shared>, node: usize, queue: Queue) {
    let nodes = shared.clients.len();
    // Nodes take their turns within a tick, so that the load is even.
    let offset = TICK.mul_f64(node as f64 / nodes as f64);
    let mut tick = tokio::time::interval_at((shared.start + offset).into(), TICK);
    let permits = Arc::new(Semaphore::new(SUBMITTING));
    let mut submissions = JoinSet::new();
    let due_at = |index: usize| shared.start + Duration::from_secs_f64(index as f64 / shared.rate as f64);
    let mut next = node;
    while next < shared.transactions.len() {
        // A tick that was missed is made up for: the load is open.
        let now = tick.tick().await.into_std();
        while next < shared.transactions.len() && due_at(next) <= now {
            let mut batch = Vec::new();
            while next < shared.transactions.len() && due_at(next) <= now && batch.len() < MOST_SUBMITTED {
                batch.push(Waiting { index: next, due: due_at(next), accepted: false });
                next += nodes;
            }
            let (shared, permits, queue) = (Arc::clone(&shared), Arc::clone(&permits), queue.clone());
            submissions.spawn(async move {
                // Never closed, so there is always a permit in the end.
                let Ok(_permit) = permits.acquire().await else { return };
                submit(&shared, node, &queue, batch).await;
            });
        }
        while submissions.try_join_next().is_some() {}
    }
    while submissions.join_next().await.is_some() {}
}

async fn submit(shared: &Shared, node: usize, queue: &Queue, batch: Vec<Waiting>) {
    let now = Instant::now();
    {
        let mut tally = shared.tally();
        tally.counts.sent += batch.len() as u64;
        let in_time = batch.iter().filter(|waiting| now.duration_since(waiting.due) <= IN_TIME).count();
        tally.counts.sent_in_time += in_time as u64;
        // Until the node says more.
        tally.open[1] += batch.len() as u64;
    }
    let signed: Vec<&Signed> = batch.iter().map(|waiting| &shared.transactions[waiting.index]).collect();
    let answers = send::submit(&shared.clients[node], &signed).await;
    let mut tally = shared.tally();
    let answers = match answers {
        Ok(answers) => answers,
        Err(error) => {
            // The node may have taken them before the connection broke: their receipts decide.
            count(&mut tally.counts.failed_calls, format!("submission: {}", kind(&error)));
            batch.into_iter().for_each(|waiting| drop(queue.send(waiting)));
            return;
        }
    };
    let mut ended = 0;
    for (waiting, answer) in batch.into_iter().zip(answers) {
        tally.open[1] -= 1;
        match answer {
            Answer::Accepted => {
                tally.open[0] += 1;
                // Nobody reads any more where the run is over.
                drop(queue.send(Waiting { accepted: true, ..waiting }));
                continue;
            }
            Answer::Busy => tally.counts.busy += 1,
            Answer::Refused(how) => count(&mut tally.counts.refused, how),
        }
        ended += 1;
    }
    drop(tally);
    shared.close(ended);
}

/// Waits for receipts, many in one call, over and over.
async fn wait_for_receipts(
    shared: Arc<Shared>,
    home: usize,
    again: Queue,
    receipts: Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<Waiting>>>,
) {
    let mut node = home;
    loop {
        let mut batch = Vec::new();
        receipts.lock().await.recv_many(&mut batch, MOST_AWAITED).await;
        if batch.is_empty() {
            return;
        }
        let ids: Vec<_> = batch.iter().map(|waiting| shared.transactions[waiting.index].id).collect();
        match send::wait(&shared.clients[node], &ids, WAIT).await {
            Ok(fates) => {
                if take_down(&shared, batch, fates, &again) == 0 {
                    tokio::time::sleep(PAUSE).await;
                }
            }
            Err(error) => {
                count(&mut shared.tally().counts.failed_calls, format!("waiting: {}", kind(&error)));
                batch.into_iter().for_each(|waiting| drop(again.send(waiting)));
                // Any node can tell the fate of a transaction.
                node = (node + 1) % shared.clients.len();
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Takes down what came, hands what did not to `again`, and returns how many came.
fn take_down(shared: &Shared, batch: Vec<Waiting>, fates: Vec<Fate>, again: &Queue) -> usize {
    let now = Instant::now();
    let at = now.duration_since(shared.start);
    let mut tally = shared.tally();
    let mut done = 0;
    for (waiting, fate) in batch.into_iter().zip(fates) {
        match fate {
            Fate::Ordered(receipt) if receipt.is_applied() => {
                let of_items = receipt.items.iter().filter(|item| item.code == 0).count() as u32;
                let signed = &shared.transactions[waiting.index];
                let dids = if receipt.items.is_empty() { signed.dids } else { of_items };
                tally.counts.committed += 1;
                tally.counts.dids += u64::from(dids);
                tally.seen.push(Seen { at, latency: now.duration_since(waiting.due), dids });
            }
            Fate::Ordered(receipt) => count(&mut tally.counts.not_applied, receipt.result.into_owned()),
            Fate::Expired => tally.counts.expired += 1,
            Fate::Open => {
                drop(again.send(waiting));
                continue;
            }
        }
        tally.open[usize::from(!waiting.accepted)] -= 1;
        done += 1;
    }
    if done > 0 {
        tally.last = at;
    }
    drop(tally);
    shared.close(done);
    done
}

/// One transaction after another, each submitted once the one before is final: how long each took, in ms, ascending. At most as
/// many as there are, for at most `time`; in turn through each of `clients`.
///
/// # Errors
/// What a node said instead of accepting one, or of giving a receipt that says `applied`.
pub async fn one_at_a_time(
    transactions: &[Signed],
    clients: &[Client],
    time: Duration,
) -> Result<Vec<f64>, String> {
    let (start, mut times) = (Instant::now(), Vec::new());
    for (signed, client) in transactions.iter().zip(clients.iter().cycle()) {
        if start.elapsed() > time {
            break;
        }
        let began = Instant::now();
        match send::submit(client, &[signed]).await.map_err(|error| error.to_string())?.as_slice() {
            [Answer::Accepted] => {}
            answers => return Err(format!("a lone transaction was not accepted: {answers:?}")),
        }
        loop {
            let fates = send::wait(client, &[signed.id], WAIT).await.map_err(|error| error.to_string())?;
            match fates.as_slice() {
                [Fate::Ordered(receipt)] if receipt.is_applied() => break,
                [Fate::Open] if began.elapsed() < DRAIN => {}
                fates => return Err(format!("a lone transaction was not applied: {fates:?}")),
            }
        }
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
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

fn count(kinds: &mut BTreeMap<String, u64>, kind: String) {
    *kinds.entry(kind).or_default() += 1;
}

//! Transactions between their submission here and their receipt, and who waits for one.
//!
//! - [`room`]: how much may be here, and room that is held for what is not checked yet
//! - [`waiting`]: who waits for the end of which transactions
//!
//! Invariant: while the node runs, a transaction that was accepted leaves by its receipt or by its expiry, in no other
//! way; whoever waits for it is told of either as soon as the block that decides it is executed. It is in the queue or in one batch; a batch that expires gives it back. Bounded in bytes; beyond, submission says
//! "busy". What was not in a batch when the node stopped is gone: its fate is "unknown" until it expires.

mod room;
mod waiting;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use genesis::{Digest, Height};
use ledger::{CheckedTransaction, Receipt};
use tokio::sync::Notify;

use self::room::Flow;
pub use self::room::{Busy, Room};
use self::waiting::Waiters;
pub use self::waiting::{Ended, Waiting};

/// The transactions of this node's clients.
#[derive(Debug)]
pub struct Mempool {
    content: Mutex<Content>,
    changed: Notify,
    max_bytes: usize,
}

#[derive(Debug)]
struct Content {
    queue: VecDeque<Arc<CheckedTransaction>>,
    queued_bytes: usize,
    /// Since when the oldest in the queue waits.
    oldest: Option<Instant>,
    /// Accepted, and in the queue or in a batch.
    pending: HashMap<Digest, Pending>,
    /// The same, by expiry, as long as it is ahead.
    expiring: BTreeSet<(Height, Digest)>,
    pending_bytes: usize,
    /// Sealed, by the digest of their batch.
    sealed: HashMap<Digest, Vec<Arc<CheckedTransaction>>>,
    waiters: Waiters,
    flow: Flow,
    /// Since when something is here, or the newest block was executed while it was.
    waits_since: Option<Instant>,
}

/// A transaction that was accepted.
#[derive(Clone, Copy, Debug)]
struct Pending {
    expires_at: Height,
    length: usize,
    /// How often the queue and batches hold it: after a restart two batches may.
    places: usize,
    /// Whether those who waited were told of its receipt or its expiry. What has a receipt by another node's batch stays here
    /// until its own batch is done.
    is_over: bool,
}

/// How full the mempool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Transactions accepted and without a receipt.
    pub transactions: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Bytes not yet in a batch.
    pub queued_bytes: usize,
    /// Own batches not yet ordered.
    pub sealed: usize,
    /// Since when the oldest transaction waits for a batch.
    pub oldest: Option<Instant>,
    /// Since when something is here without a block: none where nothing is.
    pub waits_since: Option<Instant>,
    /// The most bytes that may wait.
    pub max_bytes: usize,
    /// How many calls were told that there is no room.
    pub refusals: u64,
}

impl Mempool {
    /// An empty one that holds at most `max_bytes`.
    pub fn new(max_bytes: usize) -> Self {
        let content = Content {
            queue: VecDeque::new(),
            queued_bytes: 0,
            oldest: None,
            pending: HashMap::new(),
            expiring: BTreeSet::new(),
            pending_bytes: 0,
            sealed: HashMap::new(),
            waiters: Waiters::default(),
            flow: Flow::new(Instant::now()),
            waits_since: None,
        };
        Self { content: Mutex::new(content), changed: Notify::new(), max_bytes }
    }

    /// When a transaction that waits here expires; none where it does not wait.
    pub fn expiry(&self, id: &Digest) -> Option<Height> {
        self.lock().pending.get(id).map(|pending| pending.expires_at)
    }

    /// Takes the oldest transactions for a batch, up to these bounds.
    pub fn take(&self, max_bytes: usize, max_count: usize) -> Vec<Arc<CheckedTransaction>> {
        let mut content = self.lock();
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while taken.len() < max_count {
            let Some(next) = content.queue.front() else { break };
            let (id, length) = (next.id(), next.length());
            if content.is_over(&id) {
                // By another node's batch: in one of this node's it would only be refused as a repeat.
                content.queue.pop_front();
                content.queued_bytes -= length;
                content.release(&id);
                continue;
            }
            if bytes + length > max_bytes {
                break;
            }
            bytes += length;
            taken.extend(content.queue.pop_front());
        }
        content.queued_bytes -= bytes;
        content.oldest = content.queue.front().map(|_| Instant::now());
        taken
    }

    /// Whether this batch is of this node's making and not ordered yet.
    pub fn is_sealed(&self, batch: &Digest) -> bool {
        self.lock().sealed.contains_key(batch)
    }

    /// Tells all who wait that the node stops.
    pub fn close(&self) {
        self.lock().waiters.close();
    }

    /// These, which were taken, travel in that batch.
    pub fn sealed(&self, batch: Digest, transactions: Vec<Arc<CheckedTransaction>>) {
        self.lock().sealed.insert(batch, transactions);
    }

    /// Takes over a batch of this node's from before a restart.
    pub fn adopt(&self, batch: Digest, transactions: &[Arc<CheckedTransaction>]) {
        let mut content = self.lock();
        for transaction in transactions {
            content.hold(transaction);
        }
        content.sealed.insert(batch, transactions.to_vec());
    }

    /// The block at `height` was executed: these batches are done, these receipts are there, and what expires here without
    /// one is over.
    pub fn executed(&self, height: Height, batches: &[Digest], receipts: &[Receipt]) {
        let mut content = self.lock();
        let mut told = Vec::new();
        for receipt in receipts {
            if let Some(pending) = content.pending.get_mut(&receipt.id) {
                pending.is_over = true;
            }
            content.waiters.tell(&receipt.id, || Ended::Ordered(receipt.clone()), &mut told);
        }
        while let Some((expires_at, id)) = content.expiring.first().copied().filter(|(at, _)| *at <= height) {
            content.expiring.remove(&(expires_at, id));
            if let Some(pending) = content.pending.get_mut(&id) {
                pending.is_over = true;
            }
            content.waiters.tell(&id, || Ended::Expired(expires_at), &mut told);
        }
        let held = content.pending_bytes;
        for digest in batches {
            // A repeat leaves no receipt: what the batch held is done all the same.
            for transaction in content.sealed.remove(digest).unwrap_or_default() {
                content.release(&transaction.id());
            }
        }
        let freed = held - content.pending_bytes;
        let now = Instant::now();
        content.flow.freed(freed, now);
        content.waits_since = content.waits_since.map(|_| now);
        drop(content);
        told.into_iter().for_each(|told| told.wake());
        self.changed.notify_one();
    }

    /// These batches expired unordered; what can still land is queued again. What is over is released.
    pub fn unsealed(&self, batches: &[Digest], tip: Height) {
        let mut content = self.lock();
        for digest in batches {
            for transaction in content.sealed.remove(digest).unwrap_or_default() {
                // One that was executed meanwhile is pending no more.
                let Some(pending) = content.pending.get_mut(&transaction.id()) else { continue };
                pending.places -= 1;
                if pending.places > 0 {
                    continue;
                }
                if pending.is_over || pending.expires_at <= tip {
                    content.release(&transaction.id());
                } else {
                    content.enqueue(transaction);
                }
            }
        }
        for transaction in std::mem::take(&mut content.queue) {
            if transaction.transaction().expires_at <= tip {
                content.queued_bytes -= transaction.length();
                content.release(&transaction.id());
            } else {
                content.queue.push_back(transaction);
            }
        }
        drop(content);
        self.changed.notify_one();
    }

    /// Resolves when something changed since the last call.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// How full it is.
    pub fn load(&self) -> Load {
        let content = self.lock();
        Load {
            transactions: content.pending.len(),
            bytes: content.pending_bytes,
            queued_bytes: content.queued_bytes,
            sealed: content.sealed.len(),
            oldest: content.oldest,
            waits_since: content.waits_since,
            max_bytes: self.max_bytes,
            refusals: content.flow.refusals(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    /// Accepts a transaction. One that is here already is accepted again, and kept once.
    fn accept(&mut self, transaction: CheckedTransaction) {
        if !self.pending.contains_key(&transaction.id()) {
            self.enqueue(Arc::new(transaction));
        }
    }

    fn enqueue(&mut self, transaction: Arc<CheckedTransaction>) {
        self.hold(&transaction);
        self.queued_bytes += transaction.length();
        self.oldest.get_or_insert_with(Instant::now);
        self.queue.push_back(transaction);
    }

    fn is_over(&self, id: &Digest) -> bool {
        self.pending.get(id).is_none_or(|pending| pending.is_over)
    }

    /// It is in one more place.
    fn hold(&mut self, transaction: &CheckedTransaction) {
        let (id, expires_at) = (transaction.id(), transaction.transaction().expires_at);
        let length = transaction.length();
        let pending = self.pending.entry(id).or_insert_with(|| {
            self.pending_bytes += length;
            self.expiring.insert((expires_at, id));
            self.waits_since.get_or_insert_with(Instant::now);
            Pending { expires_at, length, places: 0, is_over: false }
        });
        pending.places += 1;
    }

    fn release(&mut self, id: &Digest) {
        if let Some(pending) = self.pending.remove(id) {
            self.pending_bytes -= pending.length;
            self.expiring.remove(&(pending.expires_at, *id));
        }
        if self.pending.is_empty() {
            self.waits_since = None;
        }
    }
}

#[cfg(test)]
mod tests;

//! Transactions between their submission here and their receipt, and who waits for one.
//!
//! Invariant: while the node runs, a transaction that was accepted leaves by its receipt or by its expiry, in no other
//! way; whoever waits for it is told of either as soon as the block that decides it is executed. It is in the queue or in one batch; a batch that expires gives it back. Bounded in bytes; beyond, submission says
//! "busy". What was not in a batch when the node stopped is gone: its fate is "unknown" until it expires.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use genesis::{Digest, Height};
use ledger::{CheckedTransaction, Receipt};
use tokio::sync::{Notify, oneshot};

/// How many calls may wait for a receipt.
const MAX_WAITING: usize = 100_000;

/// The transactions of this node's clients.
#[derive(Debug)]
pub struct Mempool {
    content: Mutex<Content>,
    changed: Notify,
    max_bytes: usize,
}

#[derive(Debug, Default)]
struct Content {
    queue: VecDeque<Arc<CheckedTransaction>>,
    queued_bytes: usize,
    /// Since when the oldest in the queue waits.
    oldest: Option<Instant>,
    /// Accepted, without a receipt: with their expiry.
    pending: HashMap<Digest, Height>,
    /// The same, by expiry, as long as it is ahead.
    expiring: BTreeSet<(Height, Digest)>,
    pending_bytes: usize,
    /// Sealed, by the digest of their batch.
    sealed: HashMap<Digest, Vec<Arc<CheckedTransaction>>>,
    waiting: HashMap<Digest, Vec<oneshot::Sender<Ended>>>,
    waiters: usize,
}

/// How the wait for a transaction ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was ordered in time.
    Ordered(Receipt),
    /// It can no longer be: the last height at which it could is past.
    Expired(Height),
}

/// The mempool is full.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the node's mempool holds {held} of {most} bytes: submit again in a while, or at another node")]
pub struct Busy {
    /// Bytes held.
    pub held: usize,
    /// Bytes allowed.
    pub most: usize,
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
}

impl Mempool {
    /// An empty one that holds at most `max_bytes`.
    pub fn new(max_bytes: usize) -> Self {
        Self { content: Mutex::default(), changed: Notify::new(), max_bytes }
    }

    /// Accepts a transaction. One that is here already is accepted again, and kept once.
    ///
    /// # Errors
    /// When there is no room.
    pub fn submit(&self, transaction: CheckedTransaction) -> Result<(), Busy> {
        let mut content = self.lock();
        let length = transaction.length();
        if content.pending.contains_key(&transaction.id()) {
            return Ok(());
        }
        if content.pending_bytes + length > self.max_bytes {
            return Err(Busy { held: content.pending_bytes, most: self.max_bytes });
        }
        content.hold(&transaction);
        content.enqueue(Arc::new(transaction));
        drop(content);
        self.changed.notify_one();
        Ok(())
    }

    /// When a transaction that waits here expires; none where it does not wait.
    pub fn expiry(&self, id: &Digest) -> Option<Height> {
        self.lock().pending.get(id).copied()
    }

    /// Takes the oldest transactions for a batch, up to these bounds.
    pub fn take(&self, max_bytes: usize, max_count: usize) -> Vec<Arc<CheckedTransaction>> {
        let mut content = self.lock();
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while taken.len() < max_count {
            let Some(next) = content.queue.front() else { break };
            if bytes + next.length() > max_bytes {
                break;
            }
            bytes += next.length();
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
        let mut content = self.lock();
        content.waiting.clear();
        content.waiters = 0;
    }

    /// These travel in that batch.
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
        for receipt in receipts {
            content.tell(&receipt.id, &Ended::Ordered(receipt.clone()));
        }
        while let Some((expires_at, id)) = content.expiring.first().copied().filter(|(at, _)| *at <= height) {
            content.expiring.remove(&(expires_at, id));
            content.tell(&id, &Ended::Expired(expires_at));
        }
        for digest in batches {
            // A repeat leaves no receipt: what the batch held is done all the same.
            for transaction in content.sealed.remove(digest).unwrap_or_default() {
                content.release(&transaction);
            }
        }
        drop(content);
        self.changed.notify_one();
    }

    /// These batches expired unordered; what can still land is queued again. What expired itself is released.
    pub fn unsealed(&self, batches: &[Digest], tip: Height) {
        let mut content = self.lock();
        for digest in batches {
            for transaction in content.sealed.remove(digest).unwrap_or_default() {
                // After a restart two batches may hold it; one that was executed meanwhile is pending no more.
                if content.pending.contains_key(&transaction.id()) && !content.is_placed(&transaction.id()) {
                    content.enqueue(transaction);
                }
            }
        }
        let expired = |transaction: &Arc<CheckedTransaction>| transaction.transaction().expires_at <= tip;
        let gone: Vec<_> = content.queue.iter().filter(|transaction| expired(transaction)).cloned().collect();
        for transaction in &gone {
            content.release(transaction);
            content.queued_bytes -= transaction.length();
        }
        content.queue.retain(|transaction| !expired(transaction));
        drop(content);
        self.changed.notify_one();
    }

    /// Where the end of `id` will be sent; none where too many wait already.
    pub fn wait(&self, id: Digest) -> Option<oneshot::Receiver<Ended>> {
        let mut content = self.lock();
        if content.waiters >= MAX_WAITING {
            content.sweep();
        }
        if content.waiters >= MAX_WAITING {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        content.waiting.entry(id).or_default().push(sender);
        content.waiters += 1;
        Some(receiver)
    }

    /// Forgets who no longer waits.
    pub fn sweep(&self) {
        self.lock().sweep();
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
        }
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    fn enqueue(&mut self, transaction: Arc<CheckedTransaction>) {
        self.queued_bytes += transaction.length();
        self.oldest.get_or_insert_with(Instant::now);
        self.queue.push_back(transaction);
    }

    /// Whether the queue or a batch holds it.
    fn is_placed(&self, id: &Digest) -> bool {
        let mut held = self.queue.iter().chain(self.sealed.values().flatten());
        held.any(|transaction| transaction.id() == *id)
    }

    fn hold(&mut self, transaction: &CheckedTransaction) {
        let (id, expires_at) = (transaction.id(), transaction.transaction().expires_at);
        if self.pending.insert(id, expires_at).is_none() {
            self.pending_bytes += transaction.length();
            self.expiring.insert((expires_at, id));
        }
    }

    fn release(&mut self, transaction: &CheckedTransaction) {
        if let Some(expires_at) = self.pending.remove(&transaction.id()) {
            self.pending_bytes -= transaction.length();
            self.expiring.remove(&(expires_at, transaction.id()));
        }
    }

    fn tell(&mut self, id: &Digest, ended: &Ended) {
        for waiter in self.waiting.remove(id).unwrap_or_default() {
            self.waiters -= 1;
            // Who no longer waits has seen its own time-out.
            drop(waiter.send(ended.clone()));
        }
    }

    fn sweep(&mut self) {
        self.waiting.retain(|_, waiters| {
            waiters.retain(|waiter| !waiter.is_closed());
            !waiters.is_empty()
        });
        self.waiters = self.waiting.values().map(Vec::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use client::wallet::{Terms, registration};
    use genesis::{Genesis, Parameters, SecretKey, UnixMillis, Validator};
    use ledger::Code;

    use super::*;

    fn network() -> Genesis {
        let key = |seed: u8| SecretKey::from_seed([seed; 32]).public();
        let validator = Validator {
            name: "node0".into(),
            consensus_key: key(1),
            network_key: key(2),
            governance_key: key(3),
            address: "127.0.0.1:26600".into(),
        };
        Genesis::new("test".into(), UnixMillis(1), Parameters::default(), vec![validator]).unwrap()
    }

    fn expiring(at: u64) -> CheckedTransaction {
        let terms = Terms { network: "test".into(), chain: network().chain(), expires_at: Height(at) };
        let (_, transaction) = registration(&terms, &SecretKey::from_seed([9; 32]));
        CheckedTransaction::check(transaction, &network()).unwrap()
    }

    fn receipt(transaction: &CheckedTransaction, height: u64) -> Receipt {
        let (id, expires_at) = (transaction.id(), transaction.transaction().expires_at);
        let (did, version) = (transaction.transaction().operation.did(), Some(ledger::Version::FIRST));
        Receipt {
            id,
            height: Height(height),
            expires_at,
            index: 0,
            code: Code::Applied,
            did,
            version,
            items: Vec::new(),
        }
    }

    #[test]
    fn who_waits_is_told_of_the_expiry_by_the_block_that_makes_it_certain() {
        let mempool = Mempool::new(1 << 20);
        let (queued, sealed) = (expiring(5), expiring(5));
        let mut ends = [&queued, &sealed].map(|transaction| mempool.wait(transaction.id()).unwrap());
        mempool.submit(queued.clone()).unwrap();
        let batch = Digest::from_bytes([1; 32]);
        mempool.adopt(batch, &[Arc::new(sealed.clone())]);
        mempool.executed(Height(4), &[], &[]);
        assert!(ends.iter_mut().all(|end| end.try_recv().is_err()));
        // The block that expires it holds its batch, too late for a receipt.
        mempool.executed(Height(5), &[batch], &[]);
        for mut end in ends {
            assert_eq!(end.try_recv(), Ok(Ended::Expired(Height(5))));
        }
        assert_eq!((mempool.expiry(&queued.id()), mempool.expiry(&sealed.id())), (Some(Height(5)), None));
    }

    #[test]
    fn a_receipt_in_the_last_block_counts_and_not_the_expiry() {
        let mempool = Mempool::new(1 << 20);
        let transaction = expiring(5);
        let mut end = mempool.wait(transaction.id()).unwrap();
        mempool.submit(transaction.clone()).unwrap();
        let receipt = receipt(&transaction, 5);
        mempool.executed(Height(5), &[], std::slice::from_ref(&receipt));
        assert_eq!(end.try_recv(), Ok(Ended::Ordered(receipt)));
    }
}

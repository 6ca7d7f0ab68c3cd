//! Checked batches in memory, between their check and their execution, so that neither is done twice.
//!
//! A cache: whatever is not on the shelf is read from the store, whose bytes this node checked before it kept them.
//! Bounded by the number of transactions on it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use genesis::Digest;
use ledger::CheckedBatch;

/// About 64 MiB of registrations.
const MAX_TRANSACTIONS: usize = 100_000;

/// Batches by digest.
#[derive(Debug, Default)]
pub struct Shelf {
    content: Mutex<Content>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Content {
    batches: BTreeMap<Digest, Arc<CheckedBatch>>,
    order: VecDeque<Digest>,
    transactions: usize,
}

impl Shelf {
    /// Puts a batch on the shelf; the oldest fall off where there is no room.
    pub fn put(&self, batch: Arc<CheckedBatch>) {
        let mut content = self.lock();
        let (digest, count) = (batch.digest(), batch.transactions().len());
        if content.batches.insert(digest, batch).is_none() {
            content.order.push_back(digest);
            content.transactions += count;
        }
        while content.transactions > MAX_TRANSACTIONS {
            let Some(oldest) = content.order.pop_front() else { break };
            content.forget(&oldest);
        }
        drop(content);
        self.arrived.notify_all();
    }

    /// Takes a batch off the shelf.
    pub fn take(&self, digest: &Digest) -> Option<Arc<CheckedBatch>> {
        let mut content = self.lock();
        let batch = content.forget(digest)?;
        content.order.retain(|other| other != digest);
        Some(batch)
    }

    /// Waits until something is put on the shelf, or the time is up.
    pub fn wait(&self, time: Duration) {
        // Whether it was the time or an arrival, the caller looks for itself.
        drop(self.arrived.wait_timeout(self.lock(), time).unwrap_or_else(PoisonError::into_inner));
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    fn forget(&mut self, digest: &Digest) -> Option<Arc<CheckedBatch>> {
        let batch = self.batches.remove(digest)?;
        self.transactions -= batch.transactions().len();
        Some(batch)
    }
}

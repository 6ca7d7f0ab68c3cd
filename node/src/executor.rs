//! Executes final blocks in order, behind finality, on a thread of its own: batches → changes → one write.
//!
//! Invariant: a receipt is told to a client only after its block is final, and so in a quorum's journals: after a crash it is
//! executed again.

mod timed;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use consensus::{Block, Candidate, Certificate, Checkpoint, Executed};
use genesis::{Digest, Genesis};
use ledger::{ApplyError, CheckedBatch, HOW_TO_REPLACE, Outcome, Receipt, Store, StoreError, apply};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::timed::Timed;
use crate::driver::Event;
use crate::fetcher::Want;
use crate::mempool::Mempool;
use crate::metrics::Metrics;
use crate::opaque::Contents;
use crate::shelf::Shelf;
use crate::snapshot::keeper::Due;
use crate::wire::Proof;

/// How long to wait for something before looking whether the node stops.
const PATIENCE: Duration = Duration::from_millis(100);
/// For how long a commit waits for others to be synced with, where nothing else syncs the store.
const SYNC_AFTER: Duration = Duration::from_millis(500);
/// After how many blocks expired batches are removed from the store.
const CLEAN_AFTER: u64 = 200;

/// A final block on its way to execution.
#[derive(Debug)]
pub struct Final {
    /// The block.
    pub block: Block,
    /// Its own certificate, where it has one.
    pub certificate: Option<Certificate>,
    /// The hash of the configuration that takes over after it, where it closes its epoch.
    pub closes: Option<Digest>,
}

/// What the thread needs.
pub struct Executor {
    /// The network's genesis.
    pub genesis: Arc<Genesis>,
    /// The ledger.
    pub store: Arc<Store>,
    /// Checked batches.
    pub shelf: Arc<Shelf>,
    /// Who waits for receipts.
    pub mempool: Arc<Mempool>,
    /// For batches that are missing.
    pub fetch: mpsc::Sender<Want>,
    /// The driver.
    pub events: mpsc::Sender<Event>,
    /// Where a snapshot is due.
    pub snapshots: Due,
    /// Figures.
    pub metrics: Arc<Metrics>,
    /// What batches hold.
    pub contents: Contents,
}

/// How the ledger keeps a block.
pub fn row(block: &Block, certificate: Option<Certificate>) -> ledger::Block {
    let proof = Proof { candidate: block.candidate().clone(), commit: certificate };
    ledger::Block {
        height: block.height,
        parent: block.parent.digest,
        digest: block.digest(),
        time: block.time,
        batches: block.payload.clone(),
        proof: proof.encode(),
    }
}

/// What the validators sign of an executed block (P6).
pub fn checkpoint(block: &Candidate, outcome: &Outcome) -> Checkpoint {
    Checkpoint {
        epoch: block.epoch,
        height: block.height,
        block: block.digest(),
        time: block.time,
        state_root: outcome.state_root,
        receipts_root: outcome.receipts_root,
        configuration: outcome.configuration,
        pending: outcome.pending,
    }
}

/// Why execution ended.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// The disk failed, or is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A block can not be executed.
    #[error(transparent)]
    Apply(#[from] ApplyError<StoreError>),
    /// A stored batch can not be read any more.
    #[error(
        "batch {digest}, which is checked before it is stored, is refused when read again: {problem}; the disk is \
         damaged. {HOW_TO_REPLACE}"
    )]
    Batch {
        /// Which.
        digest: Digest,
        /// What is wrong.
        problem: ledger::BatchError,
    },
}

impl Executor {
    /// Executes until `stop`, or until the disk fails.
    ///
    /// # Errors
    /// When the disk fails or is damaged: the node stops.
    pub fn run(self, finals: &Receiver<Final>, stop: &CancellationToken) -> Result<(), ExecutorError> {
        let mut unsynced: Option<Instant> = None;
        while !stop.is_cancelled() {
            match finals.recv_timeout(PATIENCE) {
                Ok(block) => {
                    if !self.execute(block, stop)? {
                        break;
                    }
                    unsynced.get_or_insert_with(Instant::now);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if unsynced.is_some_and(|since| since.elapsed() >= SYNC_AFTER) {
                self.store.sync()?;
                unsynced = None;
            }
        }
        Ok(self.store.sync()?)
    }

    /// Executes one block; false when the node stops before its batches came.
    fn execute(
        &self,
        Final { block, certificate, closes }: Final,
        stop: &CancellationToken,
    ) -> Result<bool, ExecutorError> {
        let Some(batches) = self.batches(&block, stop)? else { return Ok(false) };
        let timer = self.metrics.apply_seconds.start_timer();
        let row = row(&block, certificate);
        let view = Timed { store: &self.store, tree: &self.metrics.tree_seconds };
        let changes = apply(&view, row.moment(), closes, &batches)?;
        timer.observe_duration();
        let timer = self.metrics.commit_seconds.start_timer();
        self.store.commit(&row, &changes)?;
        timer.observe_duration();
        self.count(&batches, &changes.receipts);
        self.metrics.executed_height.set(row.height.0 as i64);
        self.snapshots.executed(&self.store, row.height);
        if !row.batches.is_empty() {
            let (height, transactions) = (row.height.0, changes.receipts.len());
            tracing::debug!(height, transactions, "executed");
        }
        if let Contents::Opaque(opaque) = &self.contents {
            // Before the mempool lets go of them: what it does not know any more has expired.
            opaque.executed(&row.batches);
        }
        self.mempool.executed(row.height, &row.batches, &changes.receipts);
        if row.height.0.is_multiple_of(CLEAN_AFTER) {
            let removed = self.store.remove_expired_batches()?;
            if removed > 0 {
                tracing::info!(removed, "removed batches that expired before a block named them");
            }
        }
        // The driver is gone only when the node stops.
        let next = closes.map(|_| self.store.governance().configuration.clone());
        let checkpoint = checkpoint(&block, &changes.outcome);
        let _ = self.events.blocking_send(Event::Executed(Executed { checkpoint, next }));
        Ok(true)
    }

    /// Counts what a block's transactions asked for, and what became of them.
    fn count(&self, batches: &[Arc<CheckedBatch>], receipts: &[Receipt]) {
        let transactions = batches.iter().flat_map(|batch| batch.transactions());
        let mut kinds = (0..).zip(transactions.map(|transaction| transaction.transaction().operation.kind()));
        // A look-up by label costs a lock: one for each kind and code, not for each receipt.
        let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for receipt in receipts {
            // Both are in the order of the block; what was skipped has no receipt.
            let kind =
                kinds.find(|(index, _): &(u32, _)| *index == receipt.index).map_or("", |(_, kind)| kind);
            *counts.entry((kind, receipt.code.name())).or_default() += 1;
        }
        for ((kind, code), count) in counts {
            self.metrics.transactions.with_label_values(&[kind, code]).inc_by(count);
        }
    }

    /// The block's batches, as far as they are executed; none when the node stops before they came.
    fn batches(
        &self,
        block: &Block,
        stop: &CancellationToken,
    ) -> Result<Option<Vec<Arc<CheckedBatch>>>, ExecutorError> {
        let mut batches = Vec::with_capacity(block.payload.len());
        for digest in &block.payload {
            let batch = loop {
                match &self.contents {
                    Contents::Transactions => {
                        if let Some(batch) = self.batch(digest)? {
                            break Some(batch);
                        }
                    }
                    Contents::Opaque(_) if self.store.has_batch(digest)? => break None,
                    Contents::Opaque(_) => {}
                }
                if stop.is_cancelled() {
                    return Ok(None);
                }
                // Final, so a quorum has it. All that the block lacks is asked for at once.
                let mut missing = Vec::new();
                for digest in &block.payload {
                    if !self.store.has_batch(digest)? {
                        missing.push(*digest);
                    }
                }
                let _ = self.fetch.try_send(Want::of_final_blocks(missing));
                self.shelf.wait(PATIENCE);
            };
            batches.extend(batch);
        }
        Ok(Some(batches))
    }

    fn batch(&self, digest: &Digest) -> Result<Option<Arc<CheckedBatch>>, ExecutorError> {
        if let Some(batch) = self.shelf.take(digest) {
            return Ok(Some(batch));
        }
        let Some(bytes) = self.store.batch(digest)? else { return Ok(None) };
        let checked = CheckedBatch::decode_already_verified(&bytes, &self.genesis);
        checked
            .map(|batch| Some(Arc::new(batch)))
            .map_err(|problem| ExecutorError::Batch { digest: *digest, problem })
    }
}

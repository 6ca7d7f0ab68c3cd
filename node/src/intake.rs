//! Where batches come in: they are checked (all signatures in one go), made durable, and then reported to the
//! driver, which acknowledges them. A thread of its own, so that checking never holds a vote up.
//!
//! Invariant: what is reported as held was found valid and is durable (rule P2).

use std::sync::Arc;

use genesis::{Digest, Genesis, Height, ValidatorIndex};
use ledger::{CheckedBatch, Store};
use tokio::sync::mpsc;

use crate::availability::Held;
use crate::driver::Event;
use crate::metrics::Metrics;
use crate::quota::Quotas;
use crate::shelf::Shelf;

/// How many batches are checked and made durable in one go at most.
const AT_ONCE: usize = 64;
/// How many batches may wait to be checked.
const QUEUE: usize = 256;

/// A batch on its way in.
#[derive(Debug)]
pub enum Arrival {
    /// Pushed by a peer, which must be its author.
    Pushed(ValidatorIndex, p2p::Incoming),
    /// Asked for by its digest.
    Fetched(Vec<u8>),
    /// Made here, of transactions that were checked when they were submitted.
    Own(Arc<CheckedBatch>, Arc<[u8]>),
}

/// What the thread needs.
pub struct Intake {
    /// The network's genesis.
    pub genesis: Arc<Genesis>,
    /// Where batches are kept.
    pub store: Arc<Store>,
    /// Where checked ones wait for execution.
    pub shelf: Arc<Shelf>,
    /// What authors have waiting.
    pub quotas: Arc<Quotas>,
    /// The driver.
    pub events: mpsc::Sender<Event>,
    /// Figures.
    pub metrics: Arc<Metrics>,
}

/// The way in, and its end for [`Intake::run`].
pub fn channel() -> (mpsc::Sender<Arrival>, mpsc::Receiver<Arrival>) {
    mpsc::channel(QUEUE)
}

/// Why a batch was not taken.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("{0}")]
    Invalid(#[from] ledger::BatchError),
    #[error("validator {pusher} pushed a batch of validator {author}")]
    NotItsAuthor { pusher: u16, author: u16 },
    #[error("it expires at height {expires_at}, but the tip is {tip} and the longest lifetime {most}")]
    Lifetime { expires_at: Height, tip: Height, most: u64 },
    #[error("validator {author} has as much waiting as it may")]
    Quota { author: u16 },
}

impl Intake {
    /// Takes batches in until the channel closes or the disk fails.
    ///
    /// # Errors
    /// When the disk fails: the node stops.
    pub fn run(self, mut arrivals: mpsc::Receiver<Arrival>) -> Result<(), ledger::StoreError> {
        while let Some(first) = arrivals.blocking_recv() {
            let mut taken = Vec::new();
            self.check(first, &mut taken)?;
            while taken.len() < AT_ONCE {
                let Ok(next) = arrivals.try_recv() else { break };
                self.check(next, &mut taken)?;
            }
            self.keep(taken)?;
        }
        Ok(())
    }

    fn check(
        &self,
        arrival: Arrival,
        taken: &mut Vec<(Arc<CheckedBatch>, Arc<[u8]>)>,
    ) -> Result<(), ledger::StoreError> {
        let (pusher, bytes) = match arrival {
            Arrival::Own(batch, bytes) => {
                taken.push((batch, bytes));
                return Ok(());
            }
            Arrival::Pushed(from, incoming) => (Some(from), incoming.frame),
            Arrival::Fetched(bytes) => (None, bytes),
        };
        let digest = CheckedBatch::digest_of(&bytes);
        if self.store.has_batch(&digest)? {
            // It was pushed again because its author misses the acknowledgement.
            self.report(Event::Again(digest));
            return Ok(());
        }
        let timer = self.metrics.batch_check_seconds.start_timer();
        match self.accept(pusher, &bytes) {
            Ok(batch) => {
                timer.observe_duration();
                taken.push((Arc::new(batch), bytes.into()));
            }
            Err(refused) => {
                timer.stop_and_discard();
                self.metrics.batches_refused.inc();
                let from = pusher.map(|from| from.0);
                tracing::warn!(%digest, from, reason = %refused, "a batch was refused");
                if matches!(refused, Refused::Invalid(_)) {
                    self.report(Event::Invalid(digest));
                }
            }
        }
        Ok(())
    }

    fn accept(&self, pusher: Option<ValidatorIndex>, bytes: &[u8]) -> Result<CheckedBatch, Refused> {
        if let Some(author) = pusher.filter(|author| !self.quotas.has_room(*author, bytes.len())) {
            return Err(Refused::Quota { author: author.0 });
        }
        let batch = CheckedBatch::decode_and_check(bytes, &self.genesis)?;
        let Some(from) = pusher else { return Ok(batch) };
        if batch.author() != from {
            return Err(Refused::NotItsAuthor { pusher: from.0, author: batch.author().0 });
        }
        // A pushed batch is for coming blocks; a fetched one may be of an old one. Tips differ a little from node
        // to node, so that up to twice the lifetime is kept here; blocks are held to the exact rule.
        let (expires_at, tip) = (batch.expires_at(), self.store.tip().height);
        let most = self.genesis.parameters().max_batch_lifetime;
        if expires_at <= tip || expires_at.since(tip) > 2 * most {
            return Err(Refused::Lifetime { expires_at, tip, most });
        }
        Ok(batch)
    }

    fn keep(&self, taken: Vec<(Arc<CheckedBatch>, Arc<[u8]>)>) -> Result<(), ledger::StoreError> {
        if taken.is_empty() {
            return Ok(());
        }
        let rows: Vec<(Digest, Height, &[u8])> =
            taken.iter().map(|(batch, bytes)| (batch.digest(), batch.expires_at(), bytes.as_ref())).collect();
        self.store.put_batches(&rows)?;
        for (batch, bytes) in &taken {
            self.quotas.charge(batch.digest(), batch.author(), bytes.len());
        }
        let held = taken.iter().map(|(batch, _)| Held {
            digest: batch.digest(),
            author: batch.author(),
            expires_at: batch.expires_at(),
        });
        let held = held.collect();
        for (batch, _) in taken {
            self.shelf.put(batch);
        }
        self.report(Event::Held(held));
        Ok(())
    }

    fn report(&self, event: Event) {
        // The driver is gone only when the node stops; then nobody needs to know.
        let _ = self.events.blocking_send(event);
    }
}

//! Packs the transactions of this node's clients into batches and pushes them to all others, ahead of ordering.
//!
//! A batch is sealed at once when none of this node's is under way (low load: low latency), else when it is large
//! or its oldest transaction has waited for a few milliseconds (high load: large batches).

use std::sync::Arc;
use std::time::{Duration, Instant};

use genesis::{Genesis, Height, PublicKey};
use ledger::{CheckedBatch, Store};
use p2p::{Channel, Network};
use tokio::sync::mpsc;

use crate::availability::Held;
use crate::intake::{Arrival, Entrance, Sound};
use crate::mempool::{Load, Mempool};
use crate::opaque::{Contents, Header};

/// A batch of this size does not wait.
const FULL_BYTES: usize = 256 << 10;
/// Nor does one that waited so long.
const MAX_AGE: Duration = Duration::from_millis(25);
/// How many batches of this node may be under way.
const MAX_SEALED: usize = 64;
/// For how many heights a batch may be named.
const LIFETIME: u64 = 1_000;

/// The expiry of a batch made at `tip`: below the most that the rules allow, so that peers whose tip is a little behind
/// take it too.
fn expiry(tip: Height, most: u64) -> Height {
    tip.plus(LIFETIME.min(most - most / 4))
}

/// What the batcher needs.
pub struct Batcher {
    /// The network's genesis.
    pub genesis: Arc<Genesis>,
    /// This node's network key, by which its batches are known.
    pub author: PublicKey,
    /// For the tip.
    pub store: Arc<Store>,
    /// Where transactions wait.
    pub mempool: Arc<Mempool>,
    /// Where batches go in.
    pub intake: Entrance,
    /// The others.
    pub network: Network,
    /// What batches hold.
    pub contents: Contents,
}

impl Batcher {
    /// Seals batches until the intake closes.
    pub async fn run(self) {
        // Digests must differ from those before a restart: the count goes on from the clock's microseconds.
        let since_epoch =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let mut sequence = since_epoch.as_micros() as u64;
        loop {
            let (load, full_bytes) = self.load();
            match due(&load, full_bytes, Instant::now()) {
                Due::Now => {
                    sequence += 1;
                    if self.seal(sequence).await.is_err() {
                        return; // The intake closed: the node stops.
                    }
                }
                Due::At(wait) => drop(tokio::time::timeout(wait, self.changed()).await),
                Due::Later => self.changed().await,
            }
        }
    }

    /// What waits to be sealed, and how much of it does not wait any longer.
    fn load(&self) -> (Load, usize) {
        match &self.contents {
            Contents::Transactions => (self.mempool.load(), FULL_BYTES),
            Contents::Opaque(opaque) => (opaque.load(self.mempool.load()), opaque.full_bytes()),
        }
    }

    async fn changed(&self) {
        match &self.contents {
            Contents::Transactions => self.mempool.changed().await,
            Contents::Opaque(opaque) => {
                tokio::select! {
                    () = self.mempool.changed() => opaque.give_up_expired(&self.mempool),
                    () = opaque.changed() => {}
                }
            }
        }
    }

    async fn seal(&self, sequence: u64) -> Result<(), mpsc::error::SendError<Arrival>> {
        let lifetime = self.genesis.parameters().max_batch_lifetime;
        let expires_at = expiry(self.store.tip().height, lifetime);
        let sealed = match &self.contents {
            Contents::Transactions => self.seal_transactions(sequence, expires_at),
            Contents::Opaque(opaque) => {
                let header = Header { author: self.author, sequence, expires_at };
                let sealed = opaque.seal(&header, &self.mempool);
                sealed.map(|(digest, bytes)| Sound::opaque(Held { digest, expires_at }, bytes))
            }
        };
        let Some(sealed) = sealed else { return Ok(()) };
        self.network.broadcast(Channel::Batches, Arc::clone(&sealed.bytes));
        self.intake.send(Arrival::Own(sealed)).await
    }

    fn seal_transactions(&self, sequence: u64, expires_at: Height) -> Option<Sound> {
        let parameters = self.genesis.parameters();
        let room = parameters.max_batch_bytes as usize - ledger::batch::OVERHEAD_BYTES;
        let transactions = self.mempool.take(room, parameters.max_batch_transactions as usize);
        if transactions.is_empty() {
            return None;
        }
        match CheckedBatch::assemble(self.author, sequence, expires_at, transactions.clone(), &self.genesis) {
            Ok((batch, bytes)) => {
                self.mempool.sealed(batch.digest(), transactions);
                Some(Sound::checked(Arc::new(batch), bytes.into()))
            }
            // The mempool keeps each transaction once, and `take` keeps to the limits.
            Err(error) => unreachable!("transactions from the mempool make a batch: {error}"),
        }
    }
}

enum Due {
    Now,
    At(Duration),
    Later,
}

fn due(load: &Load, full_bytes: usize, now: Instant) -> Due {
    let Some(oldest) = load.oldest.filter(|_| load.queued_bytes > 0 && load.sealed < MAX_SEALED) else {
        return Due::Later;
    };
    let age = now.saturating_duration_since(oldest);
    if load.sealed == 0 || load.queued_bytes >= full_bytes || age >= MAX_AGE {
        Due::Now
    } else {
        Due::At(MAX_AGE - age)
    }
}

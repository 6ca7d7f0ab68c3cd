//! Gets batches that should be here and are not: from who is said to hold them, then from anybody.
//!
//! Whatever is wanted is asked for again, from another peer each time, until it is here or no longer wanted.
//! Bounded in what is wanted and in requests at a time. What comes goes the way of all batches, through the intake.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use genesis::encoding::{decode, encode};
use genesis::{Digest, PublicKey};
use ledger::{CheckedBatch, Store};
use p2p::Network;
use tokio::sync::mpsc;

use crate::intake::Arrival;
use crate::metrics::Metrics;
use crate::wire::{Answer, Ask, MAX_ANSWER_BYTES};

/// How many batches may be wanted at a time; more are refused, and will be wanted again by who needs them.
const MAX_WANTED: usize = 8_192;
/// How many batches one request asks for.
const PER_REQUEST: usize = 64;
/// How many requests run at a time.
const REQUESTS: usize = 4;
/// The pause before a batch is asked for again.
const RETRY_AFTER: Duration = Duration::from_millis(150);
/// What nobody has is given up after so many tries; a block that needs it will want it anew.
const MAX_TRIES: u32 = 100;

/// Batches that are wanted, and who is said to hold them.
#[derive(Debug)]
pub struct Want {
    /// Which.
    pub digests: Vec<Digest>,
    /// Who is asked first: network keys.
    pub holders: Vec<PublicKey>,
}

/// What the task needs.
pub struct Fetcher {
    /// To see what has come.
    pub store: Arc<Store>,
    /// The others.
    pub network: Network,
    /// Where batches go in.
    pub intake: mpsc::Sender<Arrival>,
    /// Figures.
    pub metrics: Arc<Metrics>,
}

struct Wanted {
    holders: Vec<PublicKey>,
    tries: u32,
    next: Instant,
}

/// The way to ask for batches, and its end for [`Fetcher::run`].
pub fn channel() -> (mpsc::Sender<Want>, mpsc::Receiver<Want>) {
    mpsc::channel(1_024)
}

impl Fetcher {
    /// Fetches until nobody can want anything any more.
    pub async fn run(self, mut wants: mpsc::Receiver<Want>) {
        let this = Arc::new(self);
        let mut wanted: BTreeMap<Digest, Wanted> = BTreeMap::new();
        let mut requests = tokio::task::JoinSet::new();
        loop {
            let wait = wanted.values().map(|wanted| wanted.next).min();
            let full = requests.len() >= REQUESTS;
            let pause = async {
                match wait.filter(|_| !full) {
                    Some(next) => tokio::time::sleep_until(next.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                want = wants.recv() => match want {
                    Some(want) => this.note(&mut wanted, want),
                    None => return,
                },
                Some(_) = requests.join_next() => {}
                () = pause => {}
            }
            this.forget_what_came(&mut wanted);
            while requests.len() < REQUESTS {
                let Some((peer, digests)) = this.next_request(&mut wanted) else { break };
                let this = Arc::clone(&this);
                requests.spawn(async move { this.request(peer, digests).await });
            }
        }
    }

    fn note(&self, wanted: &mut BTreeMap<Digest, Wanted>, want: Want) {
        for digest in want.digests {
            if wanted.len() < MAX_WANTED || wanted.contains_key(&digest) {
                let entry = wanted.entry(digest).or_insert_with(|| {
                    self.metrics.batches_fetched.inc();
                    Wanted { holders: Vec::new(), tries: 0, next: Instant::now() }
                });
                entry.holders.clone_from(&want.holders);
            }
        }
    }

    fn forget_what_came(&self, wanted: &mut BTreeMap<Digest, Wanted>) {
        // An error of the disk shows itself where it can stop the node: in the intake and the executor.
        wanted.retain(|digest, wanted| {
            wanted.tries < MAX_TRIES && !self.store.has_batch(digest).unwrap_or(false)
        });
    }

    /// The batches that are due, for the peer that the first of them is to be asked from.
    fn next_request(&self, wanted: &mut BTreeMap<Digest, Wanted>) -> Option<(PublicKey, Vec<Digest>)> {
        let now = Instant::now();
        let connected: Vec<PublicKey> = self
            .network
            .peers()
            .into_iter()
            .filter(|peer| peer.link.is_some())
            .map(|peer| peer.key)
            .collect();
        let due: Vec<Digest> = wanted
            .iter()
            .filter(|(_, wanted)| wanted.next <= now)
            .map(|(digest, _)| *digest)
            .take(PER_REQUEST)
            .collect();
        let first = wanted.get(due.first()?)?;
        let holders = first.holders.iter().filter(|holder| connected.contains(holder));
        let candidates: Vec<PublicKey> = holders.chain(&connected).copied().collect();
        for digest in &due {
            if let Some(wanted) = wanted.get_mut(digest) {
                wanted.next = now + RETRY_AFTER;
            }
        }
        if candidates.is_empty() {
            return None; // Nobody is there: the next try is due in a while.
        }
        let peer = candidates[first_try(wanted, &due) as usize % candidates.len()];
        for digest in &due {
            if let Some(wanted) = wanted.get_mut(digest) {
                wanted.tries += 1;
            }
        }
        Some((peer, due))
    }

    async fn request(&self, peer: PublicKey, digests: Vec<Digest>) {
        let answer = match self.network.request(&peer, encode(&Ask::Batches(digests.clone()))).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::debug!(%peer, %error, "a request for batches failed");
                return;
            }
        };
        match decode(&answer, MAX_ANSWER_BYTES) {
            Ok(Answer::Batches(batches)) => {
                let asked = |bytes: &Vec<u8>| digests.contains(&CheckedBatch::digest_of(bytes));
                for bytes in batches.into_iter().take(digests.len()).filter(asked) {
                    if self.intake.send(Arrival::Fetched(bytes)).await.is_err() {
                        return; // The node stops.
                    }
                }
            }
            Ok(Answer::Blocks(..)) => {
                tracing::warn!(%peer, "a peer answered with blocks when asked for batches")
            }
            Err(error) => tracing::warn!(%peer, %error, "a peer's answer is malformed"),
        }
    }
}

fn first_try(wanted: &BTreeMap<Digest, Wanted>, due: &[Digest]) -> u32 {
    due.first().and_then(|digest| wanted.get(digest)).map_or(0, |wanted| wanted.tries)
}

//! Gets batches that should be here and are not: from who is said to hold them, then from anybody.
//!
//! Whatever is wanted is asked for again, from another peer each time, until it is here or no longer wanted.
//! Bounded in what is wanted and in requests at a time. What comes goes the way of all batches, through the intake.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use genesis::encoding::{decode, encode};
use genesis::{Digest, PublicKey};
use ledger::{CheckedBatch, Store};
use p2p::Network;
use tokio::sync::mpsc;

use crate::intake::Arrival;
use crate::metrics::Metrics;
use crate::quota::Account;
use crate::wire::{Answer, Ask, MAX_ANSWER_BYTES};

/// How many batches may be wanted at a time; more are refused, and will be wanted again by who needs them.
const MAX_WANTED: usize = 8_192;
/// How many batches one request asks for.
const PER_REQUEST: usize = 64;
/// How long a peer may take. One request runs to each peer at a time, so that a silent one holds up only itself.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pause before a batch is asked for again.
const RETRY_AFTER: Duration = Duration::from_millis(150);
/// What nobody has is given up after so many tries; a block that needs it will want it anew.
const MAX_TRIES: u32 = 50;

/// Batches that are wanted, and who is said to hold them.
#[derive(Debug)]
pub struct Want {
    /// Which.
    pub digests: Vec<Digest>,
    /// Who is asked first: network keys.
    pub holders: Vec<PublicKey>,
    /// On whose account they will wait; none where a final block names them.
    pub account: Option<Account>,
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
    account: Option<Account>,
    tries: u32,
    next: Instant,
}

/// One request: to whom, for what.
struct Request {
    peer: PublicKey,
    batches: BTreeMap<Digest, Option<Account>>,
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
        let mut busy: BTreeSet<PublicKey> = BTreeSet::new();
        let mut requests = tokio::task::JoinSet::new();
        loop {
            let next = wanted.values().map(|wanted| wanted.next).min();
            let pause = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                want = wants.recv() => match want {
                    Some(want) => this.note(&mut wanted, want),
                    None => return,
                },
                Some(done) = requests.join_next() => {
                    // A task that panicked says nothing: its peer stays busy, and is not asked again.
                    if let Ok(peer) = done {
                        busy.remove(&peer);
                    }
                }
                () = pause => {}
            }
            for request in this.requests(&mut wanted, &busy) {
                busy.insert(request.peer);
                let this = Arc::clone(&this);
                requests.spawn(async move { this.request(request).await });
            }
        }
    }

    fn note(&self, wanted: &mut BTreeMap<Digest, Wanted>, want: Want) {
        for digest in want.digests {
            if wanted.len() < MAX_WANTED || wanted.contains_key(&digest) {
                let entry = wanted.entry(digest).or_insert_with(|| {
                    self.metrics.batches_fetched.inc();
                    Wanted { holders: Vec::new(), account: want.account, tries: 0, next: Instant::now() }
                });
                entry.holders.clone_from(&want.holders);
                // What a final block names is wanted without condition, whoever else wanted it.
                entry.account = entry.account.and(want.account);
            }
        }
    }

    /// The batches that are due, each for the next of those who may hold it and are free.
    fn requests(&self, wanted: &mut BTreeMap<Digest, Wanted>, busy: &BTreeSet<PublicKey>) -> Vec<Request> {
        let now = Instant::now();
        let free: Vec<PublicKey> = self
            .network
            .peers()
            .into_iter()
            .filter(|peer| peer.link.is_some() && !busy.contains(&peer.key))
            .map(|peer| peer.key)
            .collect();
        let due: Vec<Digest> =
            wanted.iter().filter(|(_, wanted)| wanted.next <= now).map(|(digest, _)| *digest).collect();
        let mut requests: BTreeMap<PublicKey, BTreeMap<Digest, Option<Account>>> = BTreeMap::new();
        for digest in due {
            // An error of the disk shows itself where it can stop the node: in the intake and the executor.
            let here = self.store.has_batch(&digest).unwrap_or(false);
            let Some(entry) = wanted.get_mut(&digest) else { continue };
            if here || entry.tries >= MAX_TRIES {
                wanted.remove(&digest);
                continue;
            }
            entry.next = now + RETRY_AFTER;
            let holders = entry.holders.iter().filter(|holder| free.contains(holder));
            let candidates: Vec<PublicKey> = holders.chain(&free).copied().collect();
            if candidates.is_empty() {
                continue;
            }
            let peer = candidates[entry.tries as usize % candidates.len()];
            let request = requests.entry(peer).or_default();
            if request.len() < PER_REQUEST {
                entry.tries += 1;
                request.insert(digest, entry.account);
            }
        }
        requests.into_iter().map(|(peer, batches)| Request { peer, batches }).collect()
    }

    /// Asks, and hands on what comes. Returns who was asked.
    async fn request(&self, Request { peer, batches }: Request) -> PublicKey {
        let ask = encode(&Ask::Batches(batches.keys().copied().collect()));
        let answer = match tokio::time::timeout(PATIENCE, self.network.request(&peer, ask)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                tracing::debug!(%peer, %error, "a request for batches failed");
                return peer;
            }
            Err(_) => {
                tracing::debug!(%peer, seconds = PATIENCE.as_secs(), "a request for batches took too long");
                return peer;
            }
        };
        match decode(&answer, MAX_ANSWER_BYTES) {
            Ok(Answer::Batches(answers)) => {
                for bytes in answers.into_iter().take(batches.len()) {
                    let Some(account) = batches.get(&CheckedBatch::digest_of(&bytes)) else { continue };
                    if self.intake.send(Arrival::Fetched(*account, bytes)).await.is_err() {
                        break; // The node stops.
                    }
                }
            }
            Ok(Answer::Blocks(..)) => {
                tracing::warn!(%peer, "a peer answered with blocks when asked for batches")
            }
            Err(error) => tracing::warn!(%peer, %error, "a peer's answer is malformed"),
        }
        peer
    }
}

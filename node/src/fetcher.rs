//! Gets batches that should be here and are not: from who is said to hold them, then from anybody.
//!
//! Whatever is wanted is asked for again, from another peer each time, until it is here or no longer wanted. What was
//! wanted first is asked for first, and the peers share the work.
//! Bounded in what is wanted and in requests at a time. What comes goes the way of all batches, through the intake.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use genesis::encoding::{decode, encode};
use genesis::{Digest, PublicKey};
use ledger::{CheckedBatch, Store};
use p2p::Network;
use tokio::sync::mpsc;

use crate::intake::{Arrival, Entrance};
use crate::metrics::Metrics;
use crate::quota::{Account, Quotas};
use crate::sync::{Fault, Peers};
use crate::wire::{Answer, Ask, MAX_ANSWER_BYTES};

/// How many batches may be wanted at a time; more are refused, and will be wanted again by who needs them.
const MAX_WANTED: usize = 16_384;
/// How many wants may wait to be noted.
const WANTS: usize = 1_024;
/// How many batches one request asks for.
const PER_REQUEST: usize = 64;
/// How long a peer may take. One request runs to each peer at a time, so that a silent one holds up only itself.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pause before a batch is asked for again. While a request for it is under way another peer is asked after this
/// time where a block waits for this node's vote; where the block is final, after a longer one, since many are fetched.
const RETRY_AFTER: Duration = Duration::from_millis(150);
const RETRY_FINAL_AFTER: Duration = Duration::from_secs(2);
/// How long a batch that came may wait for its check before it is asked for again.
const CHECKED_WITHIN: Duration = Duration::from_secs(3);
/// The pause while all peers are busy.
const ALL_BUSY: Duration = Duration::from_millis(20);
/// What nobody has is given up after so many tries; a block that needs it will want it anew.
const MAX_TRIES: u32 = 50;

/// A batch that is not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Which.
    pub digest: Digest,
    /// Who is said to hold it, and is asked first: network keys.
    pub holders: Vec<PublicKey>,
}

/// Batches that are wanted.
#[derive(Debug)]
pub struct Want {
    /// Which.
    pub batches: Vec<Missing>,
    /// On whose account they will wait; none where a final block names them.
    pub account: Option<Account>,
}

impl Want {
    /// What final blocks name: a quorum holds it, whoever that is.
    pub fn of_final_blocks(digests: Vec<Digest>) -> Self {
        let missing = |digest| Missing { digest, holders: Vec::new() };
        Self { batches: digests.into_iter().map(missing).collect(), account: None }
    }
}

/// What the task needs.
pub struct Fetcher {
    /// To see what has come.
    pub store: Arc<Store>,
    /// The others.
    pub network: Network,
    /// Which of them are of use.
    pub peers: Peers,
    /// What may wait on whose account.
    pub quotas: Arc<Quotas>,
    /// Where batches go in.
    pub intake: Entrance,
    /// Figures.
    pub metrics: Arc<Metrics>,
}

struct Wanted {
    holders: Vec<PublicKey>,
    account: Option<Account>,
    tries: u32,
    next: Instant,
    /// Its place among all that was ever wanted.
    order: u64,
}

/// All that is wanted.
#[derive(Default)]
struct Wants {
    wanted: BTreeMap<Digest, Wanted>,
    count: u64,
    /// The peer whose turn is next.
    turn: usize,
}

/// One request: to whom, for what, in the order in which it was wanted.
struct Request {
    peer: PublicKey,
    batches: Vec<(Digest, Option<Account>)>,
}

/// What became of a request.
struct Done {
    peer: PublicKey,
    asked: Vec<Digest>,
    came: BTreeSet<Digest>,
}

/// The way to ask for batches, and its end for [`Fetcher::run`].
pub fn channel() -> (mpsc::Sender<Want>, mpsc::Receiver<Want>) {
    mpsc::channel(WANTS)
}

impl Fetcher {
    /// Fetches until nobody can want anything any more.
    pub async fn run(self, mut wants: mpsc::Receiver<Want>) {
        let this = Arc::new(self);
        let mut all = Wants::default();
        let mut busy: BTreeSet<PublicKey> = BTreeSet::new();
        let mut requests = tokio::task::JoinSet::new();
        let mut next: Option<Instant> = None;
        loop {
            let pause = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                want = wants.recv() => match want {
                    // All that is wanted by now is noted before the peers are looked through.
                    Some(want) => {
                        this.note(&mut all, want);
                        for _ in 0..WANTS {
                            let Ok(want) = wants.try_recv() else { break };
                            this.note(&mut all, want);
                        }
                    }
                    None => return,
                },
                Some(done) = requests.join_next() => {
                    // A task that panicked says nothing: its peer stays busy, and is not asked again.
                    if let Ok(done) = done {
                        this.done(&mut all, &mut busy, &done);
                    }
                }
                () = pause => {}
            }
            let (ready, pause) = this.requests(&mut all, &busy);
            next = pause;
            for request in ready {
                busy.insert(request.peer);
                let this = Arc::clone(&this);
                requests.spawn(async move { this.request(request).await });
            }
        }
    }

    fn note(&self, all: &mut Wants, want: Want) {
        for Missing { digest, holders } in want.batches {
            if all.wanted.len() >= MAX_WANTED && !all.wanted.contains_key(&digest) {
                continue;
            }
            let order = &mut all.count;
            let entry = all.wanted.entry(digest).or_insert_with(|| {
                self.metrics.batches_fetched.inc();
                *order += 1;
                let (next, order) = (Instant::now(), *order);
                Wanted { holders: Vec::new(), account: want.account, tries: 0, next, order }
            });
            entry.holders = holders;
            // What a final block names is wanted without condition, whoever else wanted it.
            entry.account = entry.account.and(want.account);
        }
    }

    fn done(&self, all: &mut Wants, busy: &mut BTreeSet<PublicKey>, Done { peer, asked, came }: &Done) {
        busy.remove(peer);
        let now = Instant::now();
        for digest in asked {
            let Some(entry) = all.wanted.get_mut(digest) else { continue };
            entry.next = match () {
                () if came.contains(digest) => now + CHECKED_WITHIN,
                // An answer holds what fits: the rest is asked for at once.
                () if !came.is_empty() => now,
                () => now + RETRY_AFTER,
            };
        }
    }

    /// The batches that are due, first those that were wanted first, over the peers that are free; and when to look again.
    fn requests(&self, all: &mut Wants, busy: &BTreeSet<PublicKey>) -> (Vec<Request>, Option<Instant>) {
        let now = Instant::now();
        let connected = self.network.peers().into_iter().filter(|peer| peer.link.is_some());
        let mut free: Vec<PublicKey> =
            connected.map(|peer| peer.key).filter(|peer| !busy.contains(peer)).collect();
        // A batch proves itself: where nobody else is left, those are asked again who were of no use.
        let records = self.peers.records();
        if free.iter().any(|peer| records.may_be_asked(peer, now)) {
            free.retain(|peer| records.may_be_asked(peer, now));
        }
        drop(records);
        let due = all.wanted.iter().filter(|(_, wanted)| wanted.next <= now);
        let mut due: Vec<(u64, Digest)> = due.map(|(digest, wanted)| (wanted.order, *digest)).collect();
        due.sort_unstable();
        let mut requests: BTreeMap<PublicKey, Vec<(Digest, Option<Account>)>> = BTreeMap::new();
        let (mut room, mut all_served) = (free.len() * PER_REQUEST, true);
        for (_, digest) in due {
            if room == 0 {
                all_served = false;
                break;
            }
            // An error of the disk shows itself where it can stop the node: in the intake and the executor.
            let here = self.store.has_batch(&digest).unwrap_or(false);
            let Some(entry) = all.wanted.get_mut(&digest) else { continue };
            // What the intake would refuse is not asked for: it is wanted anew, and fetched once there is room.
            let has_room =
                entry.account.is_none_or(|account| self.quotas.has_room(account, MAX_ANSWER_BYTES));
            if here || entry.tries >= MAX_TRIES || !has_room {
                all.wanted.remove(&digest);
                continue;
            }
            // First who is said to hold it, each once, then anybody, another one each time.
            let mut holders = entry.holders.iter().filter(|holder| free.contains(holder));
            let (holder, turn) = (holders.nth(entry.tries as usize), all.turn + entry.tries as usize);
            all.turn = (all.turn + 1) % free.len().max(1);
            let others = (0..free.len()).map(|place| &free[(turn + place) % free.len()]);
            let with_room =
                |peer: &&PublicKey| requests.get(*peer).is_none_or(|some| some.len() < PER_REQUEST);
            let Some(peer) = holder.into_iter().chain(others).copied().find(|peer| with_room(&peer)) else {
                continue;
            };
            entry.tries += 1;
            entry.next = now + if entry.account.is_some() { RETRY_AFTER } else { RETRY_FINAL_AFTER };
            requests.entry(peer).or_default().push((digest, entry.account));
            room -= 1;
        }
        let next = all.wanted.values().map(|wanted| wanted.next).min();
        let next = if all_served { next } else { Some(now + ALL_BUSY) };
        (requests.into_iter().map(|(peer, batches)| Request { peer, batches }).collect(), next)
    }

    /// Asks, and hands on what comes.
    async fn request(&self, Request { peer, batches }: Request) -> Done {
        let asked: Vec<Digest> = batches.iter().map(|(digest, _)| *digest).collect();
        let ask = encode(&Ask::Batches(asked.clone()));
        let mut done = Done { peer, asked, came: BTreeSet::new() };
        let answer = match tokio::time::timeout(PATIENCE, self.network.request(&peer, ask)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(p2p::RequestError::TimedOut)) | Err(_) => {
                let seconds = PATIENCE.as_secs();
                let why = format!("a request for {} batches took longer than {seconds} s", batches.len());
                self.peers.drop_for(&peer, Fault::Stalled, &why);
                return done;
            }
            Ok(Err(error)) => {
                tracing::debug!(%peer, %error, "a request for batches failed");
                return done;
            }
        };
        match decode(&answer, MAX_ANSWER_BYTES) {
            Ok(Answer::Batches(answers)) => {
                for bytes in answers.into_iter().take(batches.len()) {
                    let digest = CheckedBatch::digest_of(&bytes);
                    // What was not asked for is not taken: who sends it has nothing to gain.
                    let Some((_, account)) = batches.iter().find(|(asked, _)| *asked == digest) else {
                        continue;
                    };
                    if account.is_none() {
                        self.metrics.sync_bytes.inc_by(bytes.len() as u64);
                    }
                    if self.intake.send(Arrival::Fetched(*account, bytes)).await.is_err() {
                        break; // The node stops.
                    }
                    done.came.insert(digest);
                }
                if !done.came.is_empty() {
                    self.peers.records().served(&peer);
                }
            }
            Ok(_) => {
                let why = "it answered with something else when asked for batches";
                self.peers.drop_for(&peer, Fault::Invalid, &why);
            }
            Err(error) => self.peers.drop_for(&peer, Fault::Invalid, &error),
        }
        done
    }
}

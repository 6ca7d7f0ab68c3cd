//! Catches up from peers' stores when this node was away, and serves peers that were.
//!
//! A range of blocks is believed because its last block has a commit certificate and each block names the one before
//! it by hash; what a peer claims otherwise (its height, say) decides nothing.

use std::sync::Arc;
use std::time::Duration;

use consensus::message::VoteKind;
use consensus::{Candidate, Certificate, Context, Verified};
use genesis::encoding::{decode, encode};
use genesis::{Height, PublicKey};
use ledger::{Store, StoreError};
use p2p::{IncomingRequest, Network};
use tokio::sync::{mpsc, watch};

use crate::driver::{Event, Snapshot};
use crate::fetcher::Want;
use crate::wire::{Answer, Ask, MAX_ANSWER_BYTES, Proof};

/// How many blocks one answer holds, and how many bytes of batches.
const BLOCKS_AN_ANSWER: usize = 512;
const BYTES_AN_ANSWER: usize = 4 << 20;
/// Without a certificate among them, so many more are looked at: views that were prepared and never committed.
const MAX_UNCERTIFIED: usize = 8_192;
/// How many final blocks may wait for execution before more are asked for.
const MAX_AHEAD: u64 = 1_024;
/// How many requests are answered at a time.
const ANSWERS: usize = 4;
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// How long the driver may take to make a range final.
const TAKEN_WITHIN: Duration = Duration::from_secs(10);

/// What catching up needs.
pub struct Sync {
    /// What certificates are checked against.
    pub context: Context,
    /// The others.
    pub network: Network,
    /// For the blocks' batches.
    pub fetch: mpsc::Sender<Want>,
    /// The driver.
    pub events: mpsc::Sender<Event>,
    /// How far this node is.
    pub snapshot: watch::Receiver<Snapshot>,
}

/// What became of a range that was handed to the driver.
enum Taken {
    All,
    Late,
    Stopped,
}

/// Why a peer's answer is of no use.
#[derive(Debug, thiserror::Error)]
enum SyncError {
    #[error(transparent)]
    Request(#[from] p2p::RequestError),
    #[error("the answer is malformed: {0}")]
    Encoding(#[from] genesis::encoding::DecodeError),
    #[error("the answer is about something else")]
    AnotherKind,
    #[error("the answer has {0} blocks without a commit certificate")]
    NoCertificate(usize),
    #[error("the certificate is not valid: {0}")]
    Certificate(#[from] consensus::certificate::CertificateError),
    #[error("the blocks are not a chain that ends in the certified one")]
    NotAChain,
}

impl Sync {
    /// Catches up whenever the driver says so.
    pub async fn run(mut self, mut starts: mpsc::Receiver<Height>) {
        let mut turn = 0_usize;
        while let Some(after) = starts.recv().await {
            if after < self.final_height() {
                continue; // Asked for during a sync that has got further since.
            }
            if !self.catch_up(&mut turn).await {
                return; // The node stops.
            }
        }
    }

    fn final_height(&self) -> Height {
        self.snapshot.borrow().status.tip.height
    }

    /// Gets all blocks that the peers have. False when the node stops. `turn` goes on from sync to sync, so that a few
    /// peers that answer nothing are not asked first each time.
    async fn catch_up(&mut self, turn: &mut usize) -> bool {
        let first = self.final_height();
        let mut failures = 0;
        loop {
            let connected = self.network.peers().into_iter();
            let validators =
                connected.filter(|peer| peer.link.is_some() && peer.role == p2p::Role::Validator);
            let peers: Vec<PublicKey> = validators.map(|peer| peer.key).collect();
            if failures >= peers.len() {
                break;
            }
            *turn = turn.wrapping_add(1);
            let peer = peers[*turn % peers.len()];
            match self.range(peer, self.final_height()).await {
                Ok(Some((candidates, commit))) => {
                    let digests = candidates.iter().flat_map(|block| block.payload.iter().copied()).collect();
                    let _ = self.fetch.try_send(Want { digests, holders: vec![peer], account: None });
                    let last = candidates.last().map_or(Height::ZERO, |block| block.height);
                    if self.events.send(Event::Synced(candidates, commit)).await.is_err() {
                        return false;
                    }
                    match self.taken(last).await {
                        Taken::All => failures = 0,
                        Taken::Late => failures += 1,
                        Taken::Stopped => return false,
                    }
                    tracing::info!(height = %self.final_height(), "catching up");
                }
                // This peer has no more; the next may.
                Ok(None) => failures += 1,
                Err(error) => {
                    failures += 1;
                    tracing::warn!(%peer, %error, "a peer's blocks were not taken");
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            }
        }
        let last = self.final_height();
        if last > first {
            tracing::info!(from = %first.next(), to = %last, "caught up with the peers' stores");
        }
        true
    }

    /// Waits until the blocks up to `height` are final here, and execution is not too far behind.
    async fn taken(&mut self, height: Height) -> Taken {
        let is_final = |snapshot: &Snapshot| snapshot.status.tip.height >= height;
        match tokio::time::timeout(TAKEN_WITHIN, self.snapshot.wait_for(is_final)).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return Taken::Stopped,
            Err(_) => return Taken::Late,
        }
        let near = |snapshot: &Snapshot| height.since(snapshot.executed) <= MAX_AHEAD;
        if self.snapshot.wait_for(near).await.is_ok() { Taken::All } else { Taken::Stopped }
    }

    async fn range(
        &self,
        peer: PublicKey,
        after: Height,
    ) -> Result<Option<(Vec<Candidate>, Verified<Certificate>)>, SyncError> {
        let answer = self.network.request(&peer, encode(&Ask::Blocks(after.next()))).await?;
        let Answer::Blocks(blocks, certificate) = decode(&answer, MAX_ANSWER_BYTES)? else {
            return Err(SyncError::AnotherKind);
        };
        let Some(last) = blocks.last() else { return Ok(None) };
        let commit = certificate.filter(|certificate| certificate.kind == VoteKind::Commit);
        let commit = commit.ok_or(SyncError::NoCertificate(blocks.len()))?.verify(&self.context)?;
        let chained = blocks.windows(2).all(|pair| pair[1].parent.digest == pair[0].digest());
        let starts = blocks.first().is_some_and(|block| block.height == after.next());
        if !chained || !starts || commit.digest != last.digest() {
            return Err(SyncError::NotAChain);
        }
        Ok(Some((blocks, commit)))
    }
}

/// Answers peers' requests until the network ends.
pub async fn serve(mut requests: mpsc::Receiver<IncomingRequest>, store: Arc<Store>) {
    let places = Arc::new(tokio::sync::Semaphore::new(ANSWERS));
    while let Some(request) = requests.recv().await {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let store = Arc::clone(&store);
        tokio::task::spawn_blocking(move || {
            let _place = place;
            let from = request.from;
            match Ask::decode(&request.bytes) {
                Ok(ask) => match answer(&store, &ask) {
                    Ok(answer) => request.reply.answer(encode(&answer)),
                    Err(error) => tracing::error!(%error, "a peer's request could not be answered"),
                },
                Err(error) => tracing::warn!(%from, %error, "a request was refused"),
            }
        });
    }
}

fn answer(store: &Store, ask: &Ask) -> Result<Answer, StoreError> {
    match ask {
        Ask::Blocks(from) => blocks_from(store, *from),
        Ask::Batches(digests) => {
            let (mut batches, mut bytes) = (Vec::new(), 0);
            for digest in digests {
                if let Some(batch) = store.batch(digest)? {
                    bytes += batch.len() + 8;
                    if bytes > BYTES_AN_ANSWER && !batches.is_empty() {
                        break;
                    }
                    batches.push(batch);
                }
            }
            Ok(Answer::Batches(batches))
        }
    }
}

/// Blocks from `from` on, up to the last within bounds that has a certificate of its own.
fn blocks_from(store: &Store, from: Height) -> Result<Answer, StoreError> {
    let (mut candidates, mut certified) = (Vec::new(), None);
    let mut next = from;
    while certified.is_none() && candidates.len() < MAX_UNCERTIFIED {
        let blocks = store.blocks(next, BLOCKS_AN_ANSWER, BYTES_AN_ANSWER)?;
        let Some(last) = blocks.last() else { break };
        next = last.height.next();
        for block in blocks {
            let Ok(Proof { candidate, commit }) = Proof::decode(&block.proof) else {
                tracing::error!(height = %block.height, "the proof of a stored block can not be read");
                return Ok(Answer::Blocks(Vec::new(), None));
            };
            candidates.push(candidate);
            if let Some(commit) = commit {
                certified = Some((candidates.len(), commit));
            }
        }
    }
    let Some((count, commit)) = certified else { return Ok(Answer::Blocks(Vec::new(), None)) };
    candidates.truncate(count);
    Ok(Answer::Blocks(candidates, Some(commit)))
}

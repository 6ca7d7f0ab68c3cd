//! Catches up from peers' stores when this node was away, and serves peers that were.
//!
//! A range of blocks is believed because its last block has a commit certificate and each block names the one before
//! it by hash; what a peer claims otherwise (its height, say) decides nothing.

use std::sync::Arc;
use std::time::Duration;

use consensus::certificate::CertificateError;
use consensus::{Candidate, CheckpointCertificate, Context, Finality, Verified};
use genesis::encoding::{DecodeError, decode, encode};
use genesis::{Height, PublicKey};
use ledger::{Store, StoreError};
use p2p::{IncomingRequest, Network};
use tokio::sync::{mpsc, watch};

use crate::driver::{Event, Snapshot};
use crate::fetcher::Want;
use crate::membership::Membership;
use crate::wire::{Answer, Ask, MAX_ANSWER_BYTES, Proof, Range, decode_checkpoint};

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
/// How often a node without a vote, to which nobody sends votes, looks for new blocks.
const FOLLOW_EVERY: Duration = Duration::from_millis(100);

/// What catching up needs.
pub struct Sync {
    /// What certificates are checked against.
    pub membership: Membership,
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
    Encoding(#[from] DecodeError),
    #[error("the answer is about something else")]
    AnotherKind,
    #[error("the answer has {0} blocks and no proof that they are final")]
    NoProof(usize),
    #[error("a certificate is not valid: {0}")]
    Certificate(#[from] CertificateError),
    #[error("the blocks are not a chain that ends in the certified one")]
    NotAChain,
}

/// A peer's answer, checked.
struct Checked {
    blocks: Option<Blocks>,
    checkpoint: Option<Verified<CheckpointCertificate>>,
}

/// A chain of final blocks.
struct Blocks {
    candidates: Vec<Candidate>,
    finality: Verified<Finality>,
    cited: Option<Verified<CheckpointCertificate>>,
}

impl Sync {
    /// Catches up whenever the driver says so; all the time where this node has no vote.
    pub async fn run(mut self, mut starts: mpsc::Receiver<Height>) {
        let mut turn = 0_usize;
        loop {
            match tokio::time::timeout(FOLLOW_EVERY, starts.recv()).await {
                Ok(None) => return,
                Ok(Some(after)) if after < self.final_height() => continue, // It has got further since.
                Ok(Some(_)) => {}
                // Looked at anew each time: a validator may lose its vote, and an observer get one.
                Err(_) if self.membership.now().me.is_some() => continue,
                Err(_) => {}
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
                Ok(Checked { blocks, checkpoint }) => {
                    let mut taken = Taken::Late;
                    if let Some(Blocks { candidates, finality, cited }) = blocks {
                        let digests = candidates.iter().flat_map(|block| block.payload.iter().copied());
                        let digests = digests.collect();
                        let _ = self.fetch.try_send(Want { digests, holders: vec![peer], account: None });
                        let last = candidates.last().map_or(Height::ZERO, |block| block.height);
                        if self.events.send(Event::Synced(candidates, finality, cited)).await.is_err() {
                            return false;
                        }
                        taken = self.taken(last).await;
                    }
                    if let Some(checkpoint) = checkpoint
                        && self.events.send(Event::Certified(checkpoint)).await.is_err()
                    {
                        return false;
                    }
                    match taken {
                        Taken::All => failures = 0,
                        // This peer has no more; the next may.
                        Taken::Late => failures += 1,
                        Taken::Stopped => return false,
                    }
                }
                Err(error) => {
                    failures += 1;
                    tracing::warn!(%peer, %error, "a peer's blocks were not taken");
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            }
        }
        let last = self.final_height();
        if last > first.plus(1) {
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

    async fn range(&self, peer: PublicKey, after: Height) -> Result<Checked, SyncError> {
        let answer = self.network.request(&peer, encode(&Ask::Blocks(after.next()))).await?;
        let Answer::Blocks(range) = decode(&answer, MAX_ANSWER_BYTES)? else {
            return Err(SyncError::AnotherKind);
        };
        check(range, after, &self.membership.now().context)
    }
}

/// Checks what a peer says comes after the block at `after`. What is of another epoch is passed over: it can be checked
/// once that has begun here.
fn check(range: Range, after: Height, context: &Context) -> Result<Checked, SyncError> {
    let Range { candidates, finality, cited, checkpoint } = range;
    let of_epoch = |certificate: &CheckpointCertificate| certificate.checkpoint.epoch == context.epoch;
    let checkpoint = checkpoint.filter(of_epoch).map(|checkpoint| checkpoint.verify(context)).transpose()?;
    let Some(last) = candidates.last().filter(|last| last.epoch == context.epoch) else {
        return Ok(Checked { blocks: None, checkpoint });
    };
    let finality = finality.ok_or(SyncError::NoProof(candidates.len()))?.verify(context)?;
    let cited = cited.filter(of_epoch).map(|cited| cited.verify(context)).transpose()?;
    let chained = candidates.windows(2).all(|pair| pair[1].parent.digest == pair[0].digest());
    let starts = candidates.first().is_some_and(|block| block.height == after.next());
    if !chained || !starts || finality.block() != last.digest() {
        return Err(SyncError::NotAChain);
    }
    Ok(Checked { blocks: Some(Blocks { candidates, finality, cited }), checkpoint })
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

/// Why a request can not be answered: this node's store fails, or is damaged.
#[derive(Debug, thiserror::Error)]
enum AnswerError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the proof of a stored block, or a stored checkpoint, can not be read: {0}")]
    Encoding(#[from] DecodeError),
}

fn answer(store: &Store, ask: &Ask) -> Result<Answer, AnswerError> {
    match ask {
        Ask::Blocks(from) => Ok(Answer::Blocks(Range {
            checkpoint: newest_checkpoint(store, from.previous())?,
            ..blocks_from(store, *from)?
        })),
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

fn checkpoint_at(store: &Store, height: Height) -> Result<Option<CheckpointCertificate>, AnswerError> {
    Ok(store.checkpoint(height)?.map(|bytes| decode_checkpoint(&bytes)).transpose()?)
}

/// The newest checkpoint of the epoch of the block at `height`.
fn newest_checkpoint(store: &Store, height: Height) -> Result<Option<CheckpointCertificate>, AnswerError> {
    match store.epoch_start(store.epoch_of_height(height).next()) {
        Some(next) => checkpoint_at(store, next.began),
        None => Ok(store.newest_checkpoint()?.map(|(_, bytes)| decode_checkpoint(&bytes)).transpose()?),
    }
}

/// Blocks from `from` on and of one epoch, up to the last within bounds that has a proof of its own.
fn blocks_from(store: &Store, from: Height) -> Result<Range, AnswerError> {
    let (mut candidates, mut proven) = (Vec::new(), None);
    // The epoch's last block is proven by what closed the epoch.
    let epoch = store.epoch_of_height(from);
    let end = store.epoch_start(epoch.next()).map_or(Height(u64::MAX), |next| next.began);
    let mut next = from;
    while proven.is_none() && candidates.len() < MAX_UNCERTIFIED && next <= end {
        let blocks = store.blocks(next, BLOCKS_AN_ANSWER, BYTES_AN_ANSWER)?;
        let Some(last) = blocks.last() else { break };
        next = last.height.next();
        for block in blocks.into_iter().filter(|block| block.height <= end) {
            let Proof { candidate, commit } = Proof::decode(&block.proof)?;
            let commit = commit.map(Finality::Commit);
            let finality = match commit {
                None if block.height == end => checkpoint_at(store, end)?.map(Finality::Checkpoint),
                commit => commit,
            };
            let cites = candidate.cites.height;
            candidates.push(candidate);
            if let Some(finality) = finality {
                proven = Some((candidates.len(), finality, cites));
            }
        }
    }
    let Some((count, finality, cites)) = proven else { return Ok(Range::default()) };
    candidates.truncate(count);
    let cited = if cites == Height::ZERO { None } else { checkpoint_at(store, cites)? };
    Ok(Range { candidates, finality: Some(finality), cited, checkpoint: None })
}

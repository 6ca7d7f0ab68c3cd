//! Serves peers that were away: final blocks with what proves them, and batches.
//!
//! Invariant: an answer is bounded in blocks and in bytes, whatever is asked for; so is how many are made at a time.

use std::sync::Arc;

use consensus::{CheckpointCertificate, Finality};
use genesis::Height;
use genesis::encoding::{DecodeError, encode};
use ledger::{Store, StoreError};
use p2p::IncomingRequest;
use tokio::sync::mpsc;

use crate::snapshot::Shelf;
use crate::wire::{Answer, Ask, Offer, Proof, Range, Span, decode_checkpoint};

/// How many blocks one answer holds, and how many bytes of blocks or batches.
const BLOCKS_AN_ANSWER: usize = 512;
const BYTES_AN_ANSWER: usize = 4 << 20;
/// How many blocks are read from the store at a time.
const BLOCKS_AT_ONCE: usize = 64;
/// Without a certificate among them, so many more are looked at: views that were prepared and never committed.
pub(super) const MAX_UNCERTIFIED: usize = 8_192;
/// How many requests are answered at a time.
const ANSWERS: usize = 4;

/// Answers peers' requests until the network ends.
pub async fn serve(mut requests: mpsc::Receiver<IncomingRequest>, store: Arc<Store>, shelf: Shelf) {
    let places = Arc::new(tokio::sync::Semaphore::new(ANSWERS));
    while let Some(request) = requests.recv().await {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (store, shelf) = (Arc::clone(&store), shelf.clone());
        tokio::task::spawn_blocking(move || {
            let _place = place;
            let from = request.from;
            match Ask::decode(&request.bytes) {
                Ok(ask) => match answer(&store, &shelf, &ask) {
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
pub enum AnswerError {
    /// The disk fails, or is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What consensus made of a block is damaged.
    #[error("the proof of a stored block, or a stored checkpoint, can not be read: {0}")]
    Encoding(#[from] DecodeError),
    #[error("the snapshots can not be read: {0}")]
    Snapshot(#[from] std::io::Error),
}

fn answer(store: &Store, shelf: &Shelf, ask: &Ask) -> Result<Answer, AnswerError> {
    match ask {
        Ask::Blocks(span) => Ok(Answer::Blocks(Range {
            checkpoint: newest_checkpoint(store, span.from.previous())?,
            first: store.first_block(),
            ..blocks_of(store, *span)?
        })),
        Ask::Snapshot => {
            let newest = shelf.heights()?.last().copied();
            Ok(Answer::Snapshot(newest.map(|height| Offer { height })))
        }
        Ask::Slice { height, part, offset } => {
            Ok(shelf.folder(*height).slice(*part, *offset)?.map_or(Answer::NoSlice, Answer::Slice))
        }
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

pub(crate) fn checkpoint_at(
    store: &Store,
    height: Height,
) -> Result<Option<CheckpointCertificate>, AnswerError> {
    Ok(store.checkpoint(height)?.map(|bytes| decode_checkpoint(&bytes)).transpose()?)
}

/// The newest checkpoint of the epoch of the block at `height`.
fn newest_checkpoint(store: &Store, height: Height) -> Result<Option<CheckpointCertificate>, AnswerError> {
    match store.epoch_start(store.epoch_of_height(height).next()) {
        Some(next) => checkpoint_at(store, next.began),
        None => Ok(store.newest_checkpoint()?.map(|(_, bytes)| decode_checkpoint(&bytes)).transpose()?),
    }
}

/// Blocks of `span` and of one epoch, up to the last one of these that has a proof of its own, or the first after them.
pub(crate) fn blocks_of(store: &Store, Span { from, to }: Span) -> Result<Range, AnswerError> {
    let (mut candidates, mut proven) = (Vec::new(), None);
    // The epoch's last block is proven by what closed the epoch; the newest one by its checkpoint, where nothing else does.
    let (epoch, tip) = (store.epoch_of_height(from), store.tip().height);
    let end = store.epoch_start(epoch.next()).map_or(Height(u64::MAX), |next| next.began);
    let (mut next, mut bytes) = (from, 0);
    let is_enough = |count: usize, bytes: usize| count >= BLOCKS_AN_ANSWER || bytes >= BYTES_AN_ANSWER;
    'store: while candidates.len() < MAX_UNCERTIFIED && next <= end {
        let blocks = store.blocks(next, BLOCKS_AT_ONCE, BYTES_AN_ANSWER)?;
        let Some(last) = blocks.last() else { break };
        next = last.height.next();
        for block in blocks.into_iter().filter(|block| block.height <= end) {
            if proven.is_some() && (block.height > to || is_enough(candidates.len(), bytes)) {
                break 'store;
            }
            bytes += block.proof.len();
            let Proof { candidate, commit } = Proof::decode(&block.proof)?;
            let commit = commit.map(Finality::Commit);
            let finality = match commit {
                None if block.height == end || block.height == tip => {
                    checkpoint_at(store, block.height)?.map(Finality::Checkpoint)
                }
                commit => commit,
            };
            let cites = candidate.cites.height;
            candidates.push(candidate);
            let Some(finality) = finality else { continue };
            let cited = checkpoint_at(store, cites)?;
            // Nobody can take blocks without it, and a crash may have lost it here: another block's proof is as good.
            if cited.is_some() || cites == store.origin() {
                proven = Some((candidates.len(), finality, cited));
            }
        }
    }
    let Some((count, finality, cited)) = proven else { return Ok(Range::default()) };
    candidates.truncate(count);
    Ok(Range { candidates, finality: Some(finality), cited, ..Range::default() })
}

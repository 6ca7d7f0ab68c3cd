//! What became of a transaction, with a proof.
//!
//! A block's receipts are a tree that nobody keeps: it is made anew, from the block's transactions and their receipts. So the proof
//! of one receipt costs as much as its block is long, and that of none as much as all blocks that could have applied the
//! transaction. The latter is bounded by [`MAX_BLOCKS`] and [`MAX_TRANSACTIONS`].

use std::collections::BTreeSet;

use client::light::TransactionProof;
use consensus::CheckpointCertificate;
use genesis::{Digest, Epoch, Genesis, Height, UnixMillis};
use ledger::proof::{FateProof, InBlock, Window};
use ledger::state::{StateKey, receipt_leaves};
use ledger::tree::proof::prove as path_to;
use ledger::tree::{Leaf, root};
use ledger::{CheckedBatch, Store};

use super::{FATE_PROVERS, ProveError, links, settled};

/// The most blocks of a window: twice the lifetime that wallets give a transaction.
pub const MAX_BLOCKS: u64 = 2 * client::wallet::LIFETIME;
/// The most transactions in the blocks of a window, unless it is one block.
pub const MAX_TRANSACTIONS: usize = 200_000;

/// What a block's receipts come to.
struct Receipts {
    time: UnixMillis,
    root: Digest,
    leaves: Vec<Leaf>,
}

/// Proves what became of the transaction `id`, for a client that knows the validators of the epoch `since`: its receipt, or
/// that no block of `window` has one. Waits a little where neither can be proved yet.
///
/// # Errors
/// When the disk fails, there is no certified block to prove it at, or it is not certain yet what becomes of the transaction.
pub fn prove_fate(
    store: &Store,
    genesis: &Genesis,
    id: &Digest,
    window: Option<Window>,
    since: Epoch,
) -> Result<TransactionProof, ProveError> {
    if let Some(window) = window {
        let heights = window.heights(store.origin())?;
        let blocks = heights.end() - heights.start() + 1;
        if blocks > MAX_BLOCKS {
            return Err(ProveError::TooWide { blocks });
        }
    }
    settled(store, &FATE_PROVERS, |certificate| attempt(store, genesis, id, window, since, certificate))
}

fn attempt(
    store: &Store,
    genesis: &Genesis,
    id: &Digest,
    window: Option<Window>,
    since: Epoch,
    certificate: CheckpointCertificate,
) -> Result<Option<TransactionProof>, ProveError> {
    let height = certificate.checkpoint.height;
    let found = store.receipt(id)?;
    let heights = match (&found, window) {
        (Some(receipt), _) => receipt.height.0..=receipt.height.0,
        (None, Some(window)) if window.expires_at > store.tip().height => {
            return Err(ProveError::NotOver { id: *id, expires_at: window.expires_at });
        }
        (None, Some(window)) => window.heights(store.origin())?,
        (None, None) => return Err(ProveError::NoReceipt { id: *id, height }),
    };
    // Its certificate is still to come.
    if *heights.end() > height.0 {
        return Ok(None);
    }
    let Some(mut blocks) = in_blocks(store, genesis, id, heights.map(Height).collect(), height)? else {
        return Ok(None);
    };
    let fate = match found {
        Some(receipt) => {
            let Some(shown) = blocks.pop() else { return Ok(None) };
            FateProof::Final { receipt, shown: Box::new(shown) }
        }
        None => FateProof::Expired { blocks },
    };
    if fate.clone().check(id, window, store.origin(), &certificate.checkpoint.state_root).is_err() {
        return Ok(None);
    }
    let links = links(store, since, certificate.checkpoint.epoch)?;
    Ok(Some(TransactionProof { links, certificate, fate }))
}

/// What each of the blocks at `heights` has of a transaction, in the state after the block at `certified`. None where that is no
/// longer, or not yet, one to be proved.
fn in_blocks(
    store: &Store,
    genesis: &Genesis,
    id: &Digest,
    heights: Vec<Height>,
    certified: Height,
) -> Result<Option<Vec<InBlock>>, ProveError> {
    let keys: Vec<StateKey> = heights.iter().copied().map(StateKey::Block).collect();
    // First, as the state moves on while receipts are read.
    let Some(paths) = store.prove(certified, &keys)? else { return Ok(None) };
    let (mut blocks, mut read) = (Vec::with_capacity(heights.len()), 0);
    for (height, block) in heights.into_iter().zip(paths) {
        if read > MAX_TRANSACTIONS {
            return Err(ProveError::TooMany { read });
        }
        let Receipts { time, root, leaves } = receipts(store, genesis, height)?;
        read += leaves.len();
        blocks.push(InBlock { time, receipts_root: root, block, receipt: path_to(&leaves, id) });
    }
    Ok(Some(blocks))
}

/// The receipts of the block at `height`, as the leaves of their tree.
fn receipts(store: &Store, genesis: &Genesis, height: Height) -> Result<Receipts, ProveError> {
    let gone = || ProveError::Gone { height };
    let (block, outcome) = match (store.block(height)?, store.outcome_of(height)?) {
        (Some(block), Some(outcome)) => (block, outcome),
        _ => return Err(gone()),
    };
    let (time, expected) = (block.time, outcome.receipts_root);
    if expected == Digest::ZERO {
        return Ok(Receipts { time, root: expected, leaves: Vec::new() });
    }
    let mut ids = BTreeSet::new();
    for digest in &block.batches {
        let batch = CheckedBatch::decode_already_verified(&store.batch(digest)?.ok_or_else(gone)?, genesis)?;
        ids.extend(batch.transactions().iter().map(|transaction| transaction.id()));
    }
    let mut receipts = Vec::with_capacity(ids.len());
    for id in &ids {
        // A repeat has its receipt in an earlier block; one out of its window has none.
        receipts.extend(store.receipt(id)?.filter(|receipt| receipt.height == height));
    }
    let leaves = receipt_leaves(&receipts);
    if root(&leaves) != expected {
        return Err(ProveError::Receipts { height });
    }
    Ok(Receipts { time, root: expected, leaves })
}

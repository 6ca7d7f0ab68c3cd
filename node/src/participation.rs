//! What each validator did in a range of blocks, read from the ledger: for `chain_participation`, and so for `realdid report`.
//!
//! All is evidence that others hold too: blocks name their views and so their leaders, certificates their signers, batches their authors.
//! Invariant: one call reads at most [`MOST_BLOCKS`] blocks, and begins no block once it has read [`MOST_BYTES`] of batches.

use client::api::Participation;
use consensus::Candidate;
use genesis::encoding::{DecodeError, decode};
use genesis::{Configuration, Epoch, Genesis, Height, PublicKey, ValidatorSet, View};
use ledger::{Batch, Block, Store, StoreError};

use crate::wire::{Proof, decode_checkpoint};

/// How many blocks one call looks at.
pub const MOST_BLOCKS: usize = 1_000;
/// How many bytes of batches it reads.
pub const MOST_BYTES: usize = 32 << 20;
/// How many failed views in a row are counted one by one: more are a long outage, and everybody's.
const MOST_VIEWS: u64 = 10_000;

/// Why it cannot be said.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There are no such blocks here.
    #[error("no blocks {from} to {to}: this node has blocks {first} to {tip}")]
    NoBlocks {
        /// The first that was asked for.
        from: Height,
        /// The last.
        to: Height,
        /// The first that is here.
        first: Height,
        /// The last.
        tip: Height,
    },
    /// The disk failed, or is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is stored cannot be read.
    #[error("what is stored of block {height} cannot be read: {problem}")]
    Stored {
        /// Which block.
        height: Height,
        /// What is wrong.
        problem: DecodeError,
    },
}

/// An epoch that is being looked at.
struct Seats {
    epoch: Epoch,
    validators: ValidatorSet,
    /// Those of the epoch before: their last batches may come after its end.
    before: Option<ValidatorSet>,
}

impl Seats {
    fn of(store: &Store, epoch: Epoch) -> Result<Option<Self>, StoreError> {
        let validators = |configuration: Configuration| configuration.validators;
        let Some(now) = store.configuration_of(epoch)?.map(validators) else { return Ok(None) };
        let before = if epoch == Epoch::ZERO { None } else { store.configuration_of(epoch.previous())? };
        Ok(Some(Self { epoch, validators: now, before: before.map(validators) }))
    }

    fn author(&self, key: &PublicKey) -> Option<&str> {
        let sets = std::iter::once(&self.validators).chain(&self.before);
        sets.filter_map(|set| set.get(set.by_network_key(key)?))
            .map(|validator| validator.name.as_str())
            .next()
    }

    fn leader(&self, view: View) -> Option<&str> {
        self.validators.get(self.validators.leader(view)).map(|validator| validator.name.as_str())
    }
}

/// What the validators did in blocks `from` to `to`, or the first of them.
///
/// # Errors
/// When none of them is here, or the disk fails.
pub fn read(store: &Store, genesis: &Genesis, from: Height, to: Height) -> Result<Participation, ReadError> {
    let (first, tip) = (store.first_block(), store.tip().height);
    if from < first || from > tip || from > to {
        return Err(ReadError::NoBlocks { from, to, first, tip });
    }
    let last = to.min(tip);
    let mut part = Participation { from, to: from, ..Participation::default() };
    let mut seats: Option<Seats> = None;
    let (mut height, mut bytes) = (from, 0);
    while height <= last && part.blocks < MOST_BLOCKS as u64 && bytes < MOST_BYTES {
        // Forgotten meanwhile, perhaps.
        let Some(block) = store.block(height)? else {
            return Err(ReadError::NoBlocks { from, to, first, tip });
        };
        let stored = |problem| ReadError::Stored { height, problem };
        let Proof { candidate, commit } = Proof::decode(&block.proof).map_err(stored)?;
        if seats.as_ref().is_none_or(|seats| seats.epoch != candidate.epoch) {
            seats = Seats::of(store, candidate.epoch)?;
        }
        // A block that is here is of an epoch that is known here.
        let Some(seats) = &seats else { return Err(ReadError::NoBlocks { from, to, first, tip }) };
        part.blocks += 1;
        count_views(&mut part, seats, &candidate, store, height)?;
        if let Some(certificate) = commit {
            part.certificates += 1;
            let signers: Vec<_> = certificate.signatures.iter().map(|(index, _)| *index).collect();
            for (index, validator) in seats.validators.iter() {
                let share = part.share(&validator.name);
                share.certificates += 1;
                share.voted += u64::from(signers.contains(&index));
            }
        }
        if let Some(row) = store.checkpoint(height)? {
            part.checkpoints += 1;
            let certificate = decode_checkpoint(&row).map_err(stored)?;
            let signers: Vec<_> = certificate.signatures.iter().map(|(index, _)| *index).collect();
            for (index, validator) in seats.validators.iter() {
                let share = part.share(&validator.name);
                share.checkpoints += 1;
                share.checked += u64::from(signers.contains(&index));
            }
        }
        bytes += count_batches(&mut part, seats, &block, store, genesis)?;
        part.to = height;
        height = height.next();
    }
    part.next = (height <= last).then_some(height);
    Ok(part)
}

/// Who led to the block, and whose views since the block before brought none. Views begin anew with each epoch.
fn count_views(
    part: &mut Participation,
    seats: &Seats,
    candidate: &Candidate,
    store: &Store,
    height: Height,
) -> Result<(), StoreError> {
    for (_, validator) in seats.validators.iter() {
        part.share(&validator.name).seated += 1;
    }
    if let Some(leader) = seats.leader(candidate.view) {
        part.share(leader).led += 1;
    }
    let began = store.epoch_start(candidate.epoch).map(|start| start.began);
    let is_first = began.is_some_and(|began| height == began.next());
    let failed = if is_first { View::ZERO } else { candidate.parent.view };
    for view in (failed.0 + 1..candidate.view.0).rev().take(MOST_VIEWS as usize).map(View) {
        if let Some(leader) = seats.leader(view) {
            part.share(leader).missed_views += 1;
        }
    }
    Ok(())
}

/// Who made its batches. How many bytes they have.
fn count_batches(
    part: &mut Participation,
    seats: &Seats,
    block: &Block,
    store: &Store,
    genesis: &Genesis,
) -> Result<usize, ReadError> {
    let limit = usize::try_from(genesis.parameters().max_batch_bytes).unwrap_or(usize::MAX);
    let mut read = 0;
    for digest in &block.batches {
        // Of a ledger that began with a snapshot, the last blocks before it have no batches here.
        let Some(bytes) = store.batch(digest)? else { continue };
        read += bytes.len();
        let batch: Batch =
            decode(&bytes, limit).map_err(|problem| ReadError::Stored { height: block.height, problem })?;
        if let Some(author) = seats.author(&batch.author) {
            let share = part.share(author);
            share.batches += 1;
            share.transactions += batch.transactions.len() as u64;
        }
    }
    Ok(read)
}

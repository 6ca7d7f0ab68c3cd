//! Where the ledger begins: a node need not keep the whole chain.
//!
//! What a block led to (DIDs with all their versions, the registry, the state tree) stays for good; the block itself, its batches and
//! its receipts are needed by others that catch up, and for a while by the rules: a batch is named once, a transaction is
//! applied once. [`Store::prune`] removes what is no longer needed for that; a store that began from a snapshot never had it.
//!
//! Invariant: of the blocks after [`Base::bodies`] everything is there; of those after [`Base::blocks`], the row; of those whose
//! transactions could come again, the receipts.

use genesis::{Digest, Genesis, Height, UnixMillis};
use rocksdb::WriteBatch;
use serde::{Deserialize, Serialize};

use super::rows::{self, Family};
use super::{Durability, Store, StoreError};
use crate::snapshot::remembered_from;
use crate::store::PROVABLE_BLOCKS;
use crate::{CheckedBatch, Receipt};

/// The last blocks that are not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// Of this one and those before it there is no row.
    pub blocks: Height,
    /// Of this one and those before it there are no batches and no outcome, but that of this one.
    pub bodies: Height,
}

/// What is left of a block that came with a snapshot, without its batches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Remembered {
    /// Its time.
    pub(super) time: UnixMillis,
    /// The ids of its receipts.
    pub(super) ids: Vec<Digest>,
}

/// How many blocks one write removes.
const BLOCKS_A_WRITE: u64 = 64;

/// What [`Store::prune`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// The first block that is here in full.
    pub first: Height,
    /// How many blocks this removed.
    pub removed: u64,
}

impl Store {
    /// The first block that is here in full, with its batches, its receipts and what it led to; past the tip where there is none yet.
    pub fn first_block(&self) -> Height {
        self.base().bodies.next()
    }

    pub(super) fn base(&self) -> Base {
        self.head().base
    }

    /// The base on disk.
    pub(super) fn load_base(&self) -> Result<Base, StoreError> {
        let base: Option<Base> = self.get(Family::Meta, b"base")?;
        let origin = Base { blocks: self.origin(), bodies: self.origin() };
        // Blocks of a chain before this one are not shown as this one's.
        Ok(base.map_or(origin, |base| Base {
            blocks: base.blocks.max(origin.blocks),
            bodies: base.bodies.max(origin.bodies),
        }))
    }

    /// The lowest height that may be the newest one removed: everything after it can still be asked for by the rules, or by the
    /// proofs of the newest blocks.
    fn may_be_removed(&self) -> Result<Height, StoreError> {
        let tip = self.tip().height;
        let remembered = remembered_from(&self.lifetimes()?, tip);
        let parameters = &self.governance().configuration.parameters;
        let kept = parameters.max_batch_lifetime.max(PROVABLE_BLOCKS as u64 + parameters.max_checkpoint_lag);
        Ok(remembered.previous().min(Height(tip.0.saturating_sub(kept))))
    }

    /// Every epoch's height of beginning and its longest lifetime of a transaction.
    pub(super) fn lifetimes(&self) -> Result<Vec<(Height, u64)>, StoreError> {
        let epochs = self.head().epochs;
        let lifetime = |digest: &Digest| {
            let missing = || self.damaged(Family::Configurations, digest.as_bytes(), "it is missing".into());
            let configuration = self.configuration(digest)?.ok_or_else(missing)?;
            Ok(configuration.parameters.max_transaction_lifetime)
        };
        epochs.iter().map(|start| Ok((start.began, lifetime(&start.configuration)?))).collect()
    }

    /// Removes the blocks before the newest `keep`, with their batches and receipts, but none that the rules may still ask for.
    /// Returns after at most `most_blocks` of them. DIDs and their versions stay, and so do the checkpoints that lead from one
    /// epoch to the next.
    ///
    /// # Errors
    /// When the disk fails, or a row is damaged or missing.
    pub fn prune(&self, genesis: &Genesis, keep: u64, most_blocks: u64) -> Result<Pruned, StoreError> {
        let wanted = Height(self.tip().height.0.saturating_sub(keep));
        let last = wanted.min(self.may_be_removed()?);
        let mut removed = 0;
        while removed < most_blocks && self.forget_remembered(last)? {
            removed += 1;
        }
        loop {
            let base = self.base();
            let to =
                last.min(Height(base.bodies.0 + BLOCKS_A_WRITE.min(most_blocks.saturating_sub(removed))));
            if to <= base.bodies {
                return Ok(Pruned { first: base.bodies.next(), removed });
            }
            removed += to.since(base.bodies);
            self.remove_up_to(genesis, base, to)?;
        }
    }

    fn remove_up_to(&self, genesis: &Genesis, base: Base, to: Height) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        let mut height = base.blocks.next();
        let mut receipts = 0;
        while height <= to {
            if height > base.bodies {
                for receipt in self.receipts_of(genesis, height)? {
                    batch.delete_cf(self.family(Family::Receipts), receipt.id.as_bytes());
                    receipts += 1;
                }
                // That of the base is what the first block goes on from.
                batch.delete_cf(self.family(Family::Outcomes), rows::height_key(height.previous()));
            }
            for digest in self.block(height)?.into_iter().flat_map(|block| block.batches) {
                // One that came again after its block has a row among the unordered, too.
                for family in [Family::Batches, Family::Ordered, Family::Unordered] {
                    batch.delete_cf(self.family(family), digest.as_bytes());
                }
            }
            batch.delete_cf(self.family(Family::Blocks), rows::height_key(height));
            if self.epoch_start(self.epoch_of_height(height).next()).is_none_or(|next| next.began != height) {
                batch.delete_cf(self.family(Family::Checkpoints), rows::height_key(height));
            }
            height = height.next();
        }
        self.move_base(batch, Base { blocks: to, bodies: to }, receipts)
    }

    /// Removes the receipts of the oldest block that came with a snapshot, where that is not after `last`: the rules have let go of
    /// them. False where there is none.
    fn forget_remembered(&self, last: Height) -> Result<bool, StoreError> {
        let Some((key, row)) = self.seek(Family::Remembered, rocksdb::IteratorMode::Start)? else {
            return Ok(false);
        };
        if self.height_of_key(Family::Remembered, &key)? > last {
            return Ok(false);
        }
        let Remembered { ids, .. } = self.decode(Family::Remembered, &key, &row)?;
        let mut batch = WriteBatch::default();
        for id in &ids {
            batch.delete_cf(self.family(Family::Receipts), id.as_bytes());
        }
        batch.delete_cf(self.family(Family::Remembered), &key);
        let base = self.base();
        self.move_base(batch, base, ids.len() as u64)?;
        Ok(true)
    }

    /// Removes what `batch` does, with so many receipts; from before that on, nobody looks for it.
    fn move_base(&self, mut batch: WriteBatch, base: Base, receipts: u64) -> Result<(), StoreError> {
        let _ordering = self.ordering();
        let mut head = self.head();
        head.base = base;
        head.counts.receipts = head.counts.receipts.saturating_sub(receipts);
        self.put(&mut batch, Family::Meta, b"base", &head.base);
        self.put(&mut batch, Family::Meta, b"counts", &head.counts);
        self.set_head(head);
        self.write("removing old blocks", batch, Durability::Later)
    }

    /// The receipts of the block at `height`, in its order; of one that is not here in full, those that are remembered.
    ///
    /// # Errors
    /// When the disk fails, or a row is damaged or missing.
    pub fn receipts_of(&self, genesis: &Genesis, height: Height) -> Result<Vec<Receipt>, StoreError> {
        let ids: Vec<Digest> = if height <= self.base().bodies {
            self.remembered(height)?.map_or_else(Vec::new, |remembered| remembered.ids)
        } else {
            let mut ids = Vec::new();
            for digest in self.block(height)?.into_iter().flat_map(|block| block.batches) {
                let missing = || self.damaged(Family::Batches, digest.as_bytes(), "it is missing".into());
                let bytes = match self.batch(&digest)? {
                    // Forgotten while it was looked for.
                    None if height <= self.base().bodies => return Ok(Vec::new()),
                    bytes => bytes.ok_or_else(missing)?,
                };
                let batch = CheckedBatch::decode_already_verified(&bytes, genesis)
                    .map_err(|error| self.damaged(Family::Batches, digest.as_bytes(), error.to_string()))?;
                ids.extend(batch.transactions().iter().map(|transaction| transaction.id()));
            }
            ids
        };
        let mut receipts = Vec::with_capacity(ids.len());
        for id in ids {
            // Out of its window it has none; ordered before, its receipt is of that block. One that comes twice is counted once.
            receipts.extend(self.receipt(&id)?.filter(|receipt| receipt.height == height));
        }
        receipts.sort_unstable_by_key(|receipt| receipt.index);
        receipts.dedup_by_key(|receipt| receipt.index);
        Ok(receipts)
    }

    /// The time of a block that receipts are remembered of.
    pub(super) fn time_of(&self, height: Height) -> Result<UnixMillis, StoreError> {
        let time = match self.remembered(height)? {
            Some(remembered) => Some(remembered.time),
            None => self.block(height)?.map(|block| block.time),
        };
        let missing = || self.damaged(Family::Blocks, &rows::height_key(height), "it is missing".into());
        time.ok_or_else(missing)
    }

    fn remembered(&self, height: Height) -> Result<Option<Remembered>, StoreError> {
        self.get(Family::Remembered, &rows::height_key(height))
    }

    /// Gives the disk back what removed rows still occupy. Takes as long as reading and writing what is left.
    pub fn compact(&self) {
        let of_blocks = [
            Family::Batches,
            Family::Ordered,
            Family::Blocks,
            Family::Receipts,
            Family::Remembered,
            Family::Outcomes,
            Family::Checkpoints,
        ];
        for family in of_blocks {
            self.db.compact_range_cf(self.family(family), None::<&[u8]>, None::<&[u8]>);
        }
    }
}

#[cfg(test)]
mod tests;

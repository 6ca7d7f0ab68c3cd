//! Blocks out of a store, in ranges that prove themselves.

use genesis::{Digest, Height};
use ledger::Store;

use super::{ReplayError, Source};
use crate::sync::serve::{blocks_of, checkpoint_at};
use crate::wire::{Range, Span};

/// The first block that a store holds.
pub fn first_height(store: &Store) -> Height {
    store.first_block()
}

/// The blocks of a store from a height on. They end at the first block from another height on that has a proof of its own, or
/// at the last that has one.
pub struct FromStore<'a> {
    store: &'a Store,
    next: Height,
    to: Height,
}

impl<'a> FromStore<'a> {
    /// The blocks from height `from` on, to `to` at least, where they are proven so far.
    ///
    /// # Errors
    /// When the store does not hold the first of them.
    pub fn new(store: &'a Store, from: Height, to: Height) -> Result<Self, ReplayError> {
        let first = first_height(store);
        if from < first {
            return Err(ReplayError::NotKept { from, first });
        }
        Ok(Self { store, next: from, to })
    }

    /// The height of the block after those that were given so far.
    pub const fn next(&self) -> Height {
        self.next
    }
}

impl Source for FromStore<'_> {
    fn range(&mut self) -> Result<Option<Range>, ReplayError> {
        let from = self.next;
        if from > self.to {
            return Ok(None);
        }
        let Range { candidates, finality, cited, .. } = blocks_of(self.store, Span { from, to: self.to })?;
        let Some(last) = candidates.last() else { return Ok(None) };
        let (epoch, end) = (last.epoch, last.height);
        // What opened the epoch is of the one before, and comes with that one's last block.
        let cited = cited.filter(|cited| cited.checkpoint.epoch == epoch);
        let newest = self.store.checkpoint_at_or_before(end)?.filter(|(height, _)| *height >= from);
        let newest = newest.map(|(height, _)| checkpoint_at(self.store, height)).transpose()?.flatten();
        let checkpoint = newest.filter(|newest| newest.checkpoint.epoch == epoch);
        self.next = end.next();
        Ok(Some(Range { candidates, finality, cited, checkpoint, first: from }))
    }

    fn batch(&mut self, height: Height, digest: &Digest) -> Result<Vec<u8>, ReplayError> {
        let digest = *digest;
        self.store.batch(&digest)?.ok_or(ReplayError::NoBatch { height, digest })
    }
}

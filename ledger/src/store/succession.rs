//! The end of a chain that lost its quorum for good, and the beginning of the one that goes on from its state.
//!
//! DIDs, their histories and the receipts of all transactions are state: they stay. What only the old chain's validators
//! vouched for (checkpoints, epochs, evidence, outcomes) goes, and so do batches that no block named, since what they
//! hold was signed for the old chain. Its blocks stay on the disk, and are not shown as the new chain's.
//!
//! Invariants:
//! - The ledger becomes the new chain's in one synced write; doing it again changes nothing.
//! - A ledger that may hold blocks which were never final ([`Store::end`]) is opened by no node of the old chain.

use std::path::Path;

use genesis::{Genesis, Height, Predecessor};
use rocksdb::WriteBatch;

use super::error::Stand;
use super::rows::Family;
use super::{Durability, Head, Store, StoreError};
use crate::{Governance, Outcome, Tip};

/// Whether [`Store::adopt`] had anything to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adoption {
    /// The ledger is the new chain's from now on.
    Done,
    /// It was already.
    Before,
}

/// Above every key of a family that is cleared: they have at most 32 bytes.
const ABOVE_ALL_KEYS: [u8; 33] = [u8::MAX; 33];

impl Store {
    /// Opens a ledger that may have been ended, in order to found the next chain on it.
    ///
    /// # Errors
    /// Those of [`Store::open`].
    pub fn open_ended(path: &Path, genesis: &Genesis) -> Result<Self, StoreError> {
        Self::open_any(path, genesis)
    }

    /// Says durably that this chain goes on no more, before blocks are committed that may never have been final: no node
    /// opens the ledger again before it is another chain's.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn end(&self) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        self.put(&mut batch, Family::Meta, b"ended", &true);
        self.write("ending the chain", batch, Durability::Now)
    }

    /// Whether [`Store::end`] was called.
    ///
    /// # Errors
    /// When the disk fails or the row is damaged.
    pub fn has_ended(&self) -> Result<bool, StoreError> {
        Ok(self.get::<bool>(Family::Meta, b"ended")?.is_some())
    }

    /// Makes the ledger in the directory `path`, which stands exactly where `successor` begins, that chain's.
    ///
    /// # Errors
    /// When it is of a third chain, or stands elsewhere; then it is as it was. When the disk fails.
    pub fn adopt(path: &Path, successor: &Genesis) -> Result<Adoption, StoreError> {
        let store = Self::open_unread(path, successor)?;
        let Some(predecessor) = successor.predecessor() else {
            return Err(StoreError::NoPredecessor { chain: successor.chain() });
        };
        if store.get::<u32>(Family::Meta, b"format")?.is_none() {
            return Err(StoreError::NothingToGoOnFrom { path: store.path, predecessor: predecessor.chain });
        }
        store.check_format()?;
        let found = store.require(Family::Meta, b"chain")?;
        if found == successor.chain() {
            return Ok(Adoption::Before);
        }
        if found != predecessor.chain {
            return Err(StoreError::OtherPredecessor {
                path: store.path,
                found,
                expected: predecessor.chain,
            });
        }
        store.check_stands_at(predecessor, successor)?;
        store.become_successor(successor)?;
        Ok(Adoption::Done)
    }

    fn check_stands_at(&self, predecessor: &Predecessor, successor: &Genesis) -> Result<(), StoreError> {
        let tip: Tip = self.require(Family::Meta, b"tip")?;
        let outcome: Outcome = self.require(Family::Outcomes, &super::rows::height_key(tip.height))?;
        let Predecessor { height, block, state_root, .. } = *predecessor;
        let expected = Tip { height, digest: block, time: successor.time() };
        if tip == expected && outcome.state_root == state_root {
            return Ok(());
        }
        Err(StoreError::StandsElsewhere {
            path: self.path.clone(),
            found: Box::new(Stand { height: tip.height, block: tip.digest, state_root: outcome.state_root }),
            expected: Box::new(Stand { height, block, state_root }),
        })
    }

    fn become_successor(&self, successor: &Genesis) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        let cleared = [
            Family::Unordered,
            Family::Outcomes,
            Family::Configurations,
            Family::Epochs,
            Family::Checkpoints,
            Family::Evidence,
        ];
        for family in cleared {
            batch.delete_range_cf(self.family(family), &[][..], &ABOVE_ALL_KEYS[..]);
        }
        self.scan(Family::Unordered, |key, _| {
            if self.get::<Height>(Family::Ordered, key)?.is_none() {
                batch.delete_cf(self.family(Family::Batches), key);
            }
            Ok(())
        })?;
        batch.delete_cf(self.family(Family::Meta), b"ended");
        self.put(&mut batch, Family::Meta, b"chain", &successor.chain());
        self.put(&mut batch, Family::Meta, b"tip", &Tip::genesis(successor));
        self.found(&mut batch, &Governance::of(successor), &Outcome::genesis(successor));
        self.write("going on as another chain", batch, Durability::Now)
    }

    /// Refuses to found a ledger for a chain that goes on from another: its DIDs are not in its own blocks.
    pub(super) fn check_may_found(&self, genesis: &Genesis) -> Result<(), StoreError> {
        genesis.predecessor().map_or(Ok(()), |predecessor| {
            Err(StoreError::NothingToGoOnFrom { path: self.path.clone(), predecessor: predecessor.chain })
        })
    }

    /// The head of a ledger without blocks of its own.
    pub(super) fn first_head(genesis: &Genesis) -> Head {
        Head {
            tip: Tip::genesis(genesis),
            base: super::Base { blocks: genesis.height(), bodies: genesis.height() },
            counts: super::Counts::default(),
            outcome: Outcome::genesis(genesis),
            governance: std::sync::Arc::new(Governance::of(genesis)),
            epochs: std::sync::Arc::default(),
        }
    }
}

#[cfg(test)]
mod tests;

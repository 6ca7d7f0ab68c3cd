//! Governance on disk: what holds now, and who was in charge in every epoch that was, for whoever checks old blocks.
//!
//! Invariant: the current configuration, those of all epochs before, the pending one and those that blocks of this
//! epoch announced are all there. An announced one that no epoch got goes when its epoch ends.

use std::sync::Arc;

use genesis::{Configuration, Digest, Epoch, Height};
use rocksdb::WriteBatch;
use serde::{Deserialize, Serialize};

use super::rows::{self, Family};
use super::{Store, StoreError};
use crate::{Governance, Outcome};

/// An epoch's beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochStart {
    /// The height of the block that closed the epoch before; for the first, where the chain begins. The epoch's first block is the next.
    pub began: Height,
    /// Who is in charge, by which parameters.
    pub configuration: Digest,
}

impl EpochStart {
    fn of(governance: &Governance) -> Self {
        Self { began: governance.began, configuration: governance.configuration.digest() }
    }
}

impl Store {
    /// The validators, the parameters and what is voted on, at the tip.
    pub fn governance(&self) -> Arc<Governance> {
        self.head().governance
    }

    /// What the newest block led to; at genesis, what the genesis document did.
    pub fn outcome(&self) -> Outcome {
        self.head().outcome
    }

    /// What the block at `height` led to; none past the tip, of a chain before this one, or that is not kept here any more.
    ///
    /// # Errors
    /// When the disk fails, or the row is damaged or missing.
    pub fn outcome_of(&self, height: Height) -> Result<Option<Outcome>, StoreError> {
        if height < self.base().bodies || height > self.tip().height {
            return Ok(None);
        }
        let key = rows::height_key(height);
        match self.get(Family::Outcomes, &key)? {
            // Forgotten while it was looked for.
            None if height < self.base().bodies => Ok(None),
            None => Err(self.damaged(Family::Outcomes, &key, "it is missing".into())),
            outcome => Ok(outcome),
        }
    }

    /// The configuration with this digest: current, pending, announced in this epoch, or in charge in any.
    ///
    /// # Errors
    /// When the disk fails or the row is damaged.
    pub fn configuration(&self, digest: &Digest) -> Result<Option<Configuration>, StoreError> {
        let configuration: Option<Configuration> = self.get(Family::Configurations, digest.as_bytes())?;
        let sound = configuration.as_ref().is_none_or(|configuration| configuration.digest() == *digest);
        self.expect(sound, Family::Configurations, digest.as_bytes())?;
        Ok(configuration)
    }

    /// Who was in charge in `epoch`, by which parameters; none for an epoch to come.
    ///
    /// # Errors
    /// When the disk fails, or the row is damaged or missing.
    pub fn configuration_of(&self, epoch: Epoch) -> Result<Option<Configuration>, StoreError> {
        let Some(start) = self.epoch_start(epoch) else { return Ok(None) };
        let digest = start.configuration;
        let missing = || self.damaged(Family::Configurations, digest.as_bytes(), "it is missing".into());
        Ok(Some(self.configuration(&digest)?.ok_or_else(missing)?))
    }

    /// When `epoch` began, and with whom; none for an epoch to come.
    pub fn epoch_start(&self, epoch: Epoch) -> Option<EpochStart> {
        self.head().epochs.get(usize::try_from(epoch.0).ok()?).copied()
    }

    /// The epoch of the block at `height`: past the tip, the newest. A closing block belongs to the epoch that it closes.
    pub fn epoch_of_height(&self, height: Height) -> Epoch {
        let begun = self.head().epochs.partition_point(|start| start.began < height);
        Epoch(begun.saturating_sub(1) as u64)
    }

    /// The closing blocks of `epoch` and those after it that have ended, each epoch with its height, at most `max`.
    pub fn closing_heights(&self, epoch: Epoch, max: usize) -> Vec<(Epoch, Height)> {
        let first = usize::try_from(epoch.0).unwrap_or(usize::MAX);
        let epochs = self.head().epochs;
        let ended = (0..).map(Epoch).zip(epochs.iter().skip(1).map(|next| next.began));
        ended.skip(first).take(max).collect()
    }

    /// The rows of a ledger at genesis.
    pub(super) fn found(&self, batch: &mut WriteBatch, governance: &Governance, outcome: &Outcome) {
        let configuration = governance.configuration.digest();
        self.put(batch, Family::Outcomes, &rows::height_key(governance.began), outcome);
        self.put(batch, Family::Configurations, configuration.as_bytes(), &governance.configuration);
        self.put(batch, Family::Epochs, &rows::epoch_key(governance.epoch), &EpochStart::of(governance));
        self.put(batch, Family::Meta, b"governance", governance);
    }

    /// The rows of a change from `old` to `new`; the epochs after it.
    pub(super) fn put_governance(
        &self,
        batch: &mut WriteBatch,
        old: &Governance,
        new: &Governance,
        epochs: &Arc<Vec<EpochStart>>,
    ) -> Arc<Vec<EpochStart>> {
        let mut epochs = Arc::clone(epochs);
        if let Some(pending) = &new.pending {
            self.put(batch, Family::Configurations, pending.digest().as_bytes(), pending);
        }
        if new.epoch > old.epoch {
            let start = EpochStart::of(new);
            Arc::make_mut(&mut epochs).push(start);
            self.put(batch, Family::Epochs, &rows::epoch_key(new.epoch), &start);
            let is_epochs = |digest: &Digest| epochs.iter().any(|start| start.configuration == *digest);
            for digest in old.announced.difference(&new.announced).filter(|digest| !is_epochs(digest)) {
                batch.delete_cf(self.family(Family::Configurations), digest.as_bytes());
            }
        }
        self.put(batch, Family::Meta, b"governance", new);
        epochs
    }

    /// The beginnings of all epochs, up to that of `governance`.
    pub(super) fn load_epochs(&self, governance: &Governance) -> Result<Vec<EpochStart>, StoreError> {
        let mut epochs = Vec::new();
        self.scan(Family::Epochs, |key, value| {
            self.expect(key == rows::epoch_key(Epoch(epochs.len() as u64)), Family::Epochs, key)?;
            epochs.push(self.decode(Family::Epochs, key, value)?);
            Ok(())
        })?;
        let newest = (epochs.len() as u64).checked_sub(1).map(Epoch);
        let sound = newest == Some(governance.epoch) && epochs.last() == Some(&EpochStart::of(governance));
        self.expect(sound, Family::Epochs, &rows::epoch_key(governance.epoch))?;
        Ok(epochs)
    }
}

#[cfg(test)]
mod tests;

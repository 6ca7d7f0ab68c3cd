//! Checkpoint certificates and evidence of misbehaviour, in consensus's bytes: kept here, interpreted elsewhere.

use genesis::Height;
use rocksdb::{Direction, IteratorMode, WriteBatch};

use super::rows::{self, Family, Row};
use super::{Durability, Store, StoreError};

/// How many pieces of evidence are kept: enough to convict every member of the largest set twice.
pub const MAX_EVIDENCE: usize = 1_024;

/// The key and the value of a piece of evidence.
pub type EvidenceRow = (Vec<u8>, Vec<u8>);

impl Store {
    /// Keeps the checkpoint certificate of a height. Not synced: a crash may lose the newest, which the other nodes have
    /// too.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn put_checkpoint(&self, height: Height, bytes: &[u8]) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family(Family::Checkpoints), rows::height_key(height), bytes);
        self.write("storing a checkpoint", batch, Durability::Later)
    }

    /// The checkpoint certificate of a height.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn checkpoint(&self, height: Height) -> Result<Option<Vec<u8>>, StoreError> {
        let bytes = self.get_bytes(Family::Checkpoints, &rows::height_key(height))?;
        Ok(bytes.map(|bytes| bytes.to_vec()))
    }

    /// The newest checkpoint certificate, with its height.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn newest_checkpoint(&self) -> Result<Option<(Height, Vec<u8>)>, StoreError> {
        self.found_checkpoint(self.seek(Family::Checkpoints, IteratorMode::End)?)
    }

    /// The first checkpoint certificate at or after a height, with its own.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn checkpoint_at_or_after(&self, height: Height) -> Result<Option<(Height, Vec<u8>)>, StoreError> {
        let key = rows::height_key(height);
        self.found_checkpoint(self.seek(Family::Checkpoints, IteratorMode::From(&key, Direction::Forward))?)
    }

    /// The newest checkpoint certificate at or before a height, with its own.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn checkpoint_at_or_before(&self, height: Height) -> Result<Option<(Height, Vec<u8>)>, StoreError> {
        let key = rows::height_key(height);
        self.found_checkpoint(self.seek(Family::Checkpoints, IteratorMode::From(&key, Direction::Reverse))?)
    }

    fn found_checkpoint(&self, row: Option<Row>) -> Result<Option<(Height, Vec<u8>)>, StoreError> {
        let Some((key, bytes)) = row else { return Ok(None) };
        Ok(Some((self.height_of_key(Family::Checkpoints, &key)?, bytes.into_vec())))
    }

    /// Keeps evidence under a key that says what it is evidence of, in a synced write. The first under a key stays.
    /// False where it was not taken: one is there, or there are [`MAX_EVIDENCE`].
    ///
    /// # Errors
    /// When the disk fails.
    pub fn put_evidence(&self, key: &[u8], value: &[u8]) -> Result<bool, StoreError> {
        // So that two at once do not pass the limit, or replace one another.
        let _ordering = self.ordering();
        if self.get_bytes(Family::Evidence, key)?.is_some() || self.evidence()?.len() >= MAX_EVIDENCE {
            return Ok(false);
        }
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family(Family::Evidence), key, value);
        self.write("storing evidence", batch, Durability::Now)?;
        Ok(true)
    }

    /// All evidence, by its keys in their order: at most [`MAX_EVIDENCE`].
    ///
    /// # Errors
    /// When the disk fails.
    pub fn evidence(&self) -> Result<Vec<EvidenceRow>, StoreError> {
        let mut evidence = Vec::new();
        self.scan(Family::Evidence, |key, value| {
            evidence.push((key.to_vec(), value.to_vec()));
            Ok(())
        })?;
        Ok(evidence)
    }
}

#[cfg(test)]
mod tests;

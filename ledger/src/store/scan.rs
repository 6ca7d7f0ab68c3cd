//! All rows of a kind, one after another, for whoever checks a whole ledger. Nothing is held in memory.
//!
//! Invariant: a row that does not decode, or is not the one that its key names, is an error; never an item.

use genesis::encoding::encode;
use rocksdb::{IterateBounds, IteratorMode};

use super::base::Remembered;
use super::rows::{self, Family, Row};
use super::{Store, StoreError, options};
use crate::tree::BucketId;
use crate::tree::bucket::from_row;
use crate::{Moment, Receipt, Record, RegistryEntry};

impl Store {
    /// Every version of every DID: by DID, the oldest version first.
    pub fn versions(&self) -> impl Iterator<Item = Result<Record, StoreError>> {
        let mut older = self.older_records(IteratorMode::Start).peekable();
        let mut newest = self.newest_records().peekable();
        std::iter::from_fn(move || {
            // Both are by DID; of one DID the newest version comes last.
            let is_next = |older: &Record, newest: &Record| older.header.did <= newest.header.did;
            match (older.peek(), newest.peek()) {
                (Some(Ok(record)), Some(Ok(last))) if !is_next(record, last) => newest.next(),
                (Some(_), _) => older.next(),
                (None, _) => newest.next(),
            }
        })
    }

    /// The versions of DIDs before their newest, by DID and version.
    pub(super) fn older_records(
        &self,
        mode: IteratorMode<'_>,
    ) -> impl Iterator<Item = Result<Record, StoreError>> {
        self.rows(Family::History, mode).map(|row| {
            let (key, value) = row?;
            let record: Record = self.decode(Family::History, &key, &value)?;
            let expected = rows::history_key(&record.header.did, record.header.version);
            self.expect(*key == expected, Family::History, &key)?;
            Ok(record)
        })
    }

    /// The newest record of every DID.
    pub fn newest_records(&self) -> impl Iterator<Item = Result<Record, StoreError>> {
        self.rows(Family::Records, IteratorMode::Start).map(|row| {
            let (key, value) = row?;
            let record: Record = self.decode(Family::Records, &key, &value)?;
            self.expect(*key == *record.header.did.as_bytes(), Family::Records, &key)?;
            Ok(record)
        })
    }

    /// Every entry of the trust registry.
    pub fn registry_entries(&self) -> impl Iterator<Item = Result<RegistryEntry, StoreError>> {
        self.rows(Family::Registry, IteratorMode::Start).map(|row| {
            let (key, value) = row?;
            let entry: RegistryEntry = self.decode(Family::Registry, &key, &value)?;
            self.expect(*key == *encode(&entry.key()), Family::Registry, &key)?;
            Ok(entry)
        })
    }

    /// Every receipt, those of the chains before this one included.
    pub fn receipts(&self) -> impl Iterator<Item = Result<Receipt, StoreError>> {
        self.rows(Family::Receipts, IteratorMode::Start).map(|row| {
            let (key, value) = row?;
            let receipt: Receipt = self.decode(Family::Receipts, &key, &value)?;
            self.expect(*key == *receipt.id.as_bytes(), Family::Receipts, &key)?;
            Ok(receipt)
        })
    }

    /// The blocks of which the receipts came with a snapshot, without the batches.
    pub fn remembered_blocks(&self) -> impl Iterator<Item = Result<Moment, StoreError>> {
        self.rows(Family::Remembered, IteratorMode::Start).map(|row| {
            let (key, value) = row?;
            let Remembered { time, .. } = self.decode(Family::Remembered, &key, &value)?;
            Ok(Moment { height: self.height_of_key(Family::Remembered, &key)?, time })
        })
    }

    /// How many leaves the state tree has.
    ///
    /// # Errors
    /// When the disk fails or a bucket is damaged.
    pub fn count_leaves(&self) -> Result<u64, StoreError> {
        let mut count = 0;
        for row in self.rows(Family::Tree, IteratorMode::Start) {
            let (key, value) = row?;
            let leaves = BucketId::from_bytes(&key).and_then(|id| from_row(id, &value));
            let problem = || self.damaged(Family::Tree, &key, "it is no bucket of its place".into());
            count += leaves.ok_or_else(problem)?.len() as u64;
        }
        Ok(count)
    }

    /// The rows of a family whose keys are among `keys`.
    pub(super) fn rows_within(
        &self,
        family: Family,
        keys: impl IterateBounds,
    ) -> impl Iterator<Item = Result<Row, StoreError>> {
        let mut options = options::scan();
        options.set_iterate_range(keys);
        let rows = self.db.iterator_cf_opt(self.family(family), options, IteratorMode::Start);
        rows.map(move |row| row.map_err(|source| self.read_error(family, &[], &source)))
    }

    /// The rows of a family.
    pub(super) fn rows(
        &self,
        family: Family,
        mode: IteratorMode<'_>,
    ) -> impl Iterator<Item = Result<Row, StoreError>> {
        let rows = self.db.iterator_cf_opt(self.family(family), options::scan(), mode);
        rows.map(move |row| row.map_err(|source| self.read_error(family, &[], &source)))
    }
}

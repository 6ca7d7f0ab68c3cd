//! The ledger in RocksDB. Nothing else names RocksDB.
//!
//! | column family | key | value |
//! | --- | --- | --- |
//! | `meta` | `format`, `chain`, `tip`, `counts` | the format's number, the chain's id, [`Tip`], [`Counts`] |
//! | `batches` | batch digest | the batch's bytes as they came |
//! | `unordered` | batch digest | the batch's expiry, while no final block names it |
//! | `ordered` | batch digest | the height of the block that names it |
//! | `blocks` | height | [`Block`] |
//! | `receipts` | transaction id | [`Receipt`] |
//! | `records` | DID id | the newest [`Record`] |
//! | `history` | DID id ‖ version | [`Record`] |
//!
//! Heights and versions in keys are big-endian, so that they sort; values are in the canonical encoding.
//!
//! Invariants:
//! - A block, its receipts, its records and the tip become durable in one synced write: after a crash the store is
//!   at height h or h−1, never between. The tip's parents and their batches are all there.
//! - A batch that a final block names is never removed by [`Store::remove_expired_batches`].
//! - A row that does not decode, or is not the row that was asked for, is an error; never an answer.
//! - After a failed write nothing is written any more: what the disk holds is known again only after a restart.
//!
//! Left to the node: that blocks are final, and batches and changes the right ones.

mod error;
mod options;
mod rows;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

use genesis::encoding::encode;
use genesis::{Digest, Genesis, Height};
use rocksdb::{DB, WriteBatch, WriteOptions};
use serde::{Deserialize, Serialize};

pub use self::error::StoreError;
use self::rows::Family;
use crate::resolution::History;
use crate::{Block, Changes, CheckedBatch, DidId, Header, Receipt, Record, StateView, Tip, Version};

/// The version of the layout above. Another one is refused when the store is opened.
const FORMAT: u32 = 1;

/// The ledger of one chain in one directory, which one process at a time holds.
pub struct Store {
    db: DB,
    path: PathBuf,
    head: RwLock<Head>,
    /// Held by whoever changes which batches are ordered, so that removal and commit never cross.
    ordering: Mutex<()>,
    /// Set by the first write that failed.
    halted: AtomicBool,
}

#[derive(Clone, Copy)]
struct Head {
    tip: Tip,
    counts: Counts,
}

/// How much the ledger holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// DIDs, deactivated ones included.
    pub dids: u64,
    /// Receipts.
    pub receipts: u64,
    /// Versions of DIDs: transactions that were applied.
    pub versions: u64,
}

/// Figures for metrics; cheap to get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// How much the ledger holds.
    pub counts: Counts,
    /// What each column family has on disk, in bytes, without the write-ahead log.
    pub disk_bytes: Vec<(&'static str, u64)>,
    /// What is in memory and, for a restart, in the write-ahead log only, in bytes.
    pub memtable_bytes: u64,
}

impl Store {
    /// Opens the ledger in the directory `path`, or makes one for the chain of `genesis`.
    ///
    /// # Errors
    /// When another process holds the directory, it holds another chain or another format, or it is damaged.
    pub fn open(path: &Path, genesis: &Genesis) -> Result<Self, StoreError> {
        let db = DB::open_cf_descriptors(&options::database(), path, options::column_families())
            .map_err(|source| StoreError::from_open(path, &source))?;
        let head = Head { tip: Tip::genesis(genesis), counts: Counts::default() };
        let store = Self {
            db,
            path: path.to_owned(),
            head: RwLock::new(head),
            ordering: Mutex::new(()),
            halted: AtomicBool::new(false),
        };
        let head = store.load_head(genesis.chain(), head)?;
        *store.head.write().unwrap_or_else(PoisonError::into_inner) = head;
        Ok(store)
    }

    /// The head on disk; writes `new` where the directory is new.
    fn load_head(&self, chain: Digest, new: Head) -> Result<Head, StoreError> {
        let Some(format) = self.get::<u32>(Family::Meta, b"format")? else {
            // Nothing was ever written: the first write holds all of these rows.
            let mut batch = WriteBatch::default();
            self.put(&mut batch, Family::Meta, b"format", &FORMAT);
            self.put(&mut batch, Family::Meta, b"chain", &chain);
            self.put(&mut batch, Family::Meta, b"tip", &new.tip);
            self.put(&mut batch, Family::Meta, b"counts", &new.counts);
            self.write("founding the ledger", batch)?;
            return Ok(new);
        };
        let path = self.path.clone();
        if format != FORMAT {
            return Err(StoreError::OtherFormat { path, found: format, expected: FORMAT });
        }
        let found = self.require(Family::Meta, b"chain")?;
        if found != chain {
            return Err(StoreError::OtherChain { path, found, expected: chain });
        }
        Ok(Head { tip: self.require(Family::Meta, b"tip")?, counts: self.require(Family::Meta, b"counts")? })
    }

    /// The newest final block; genesis where there is none.
    pub fn tip(&self) -> Tip {
        self.head().tip
    }

    /// Makes batches durable, in one synced write: each with its digest, its expiry, and its bytes. A batch that is
    /// there already is left as it is. When this returns, a vote may name them.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn put_batches(&self, batches: &[(Digest, Height, &[u8])]) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        for (digest, expires_at, bytes) in batches {
            if !self.has_batch(digest)? {
                batch.put_cf(self.family(Family::Batches), digest.as_bytes(), bytes);
                self.put(&mut batch, Family::Unordered, digest.as_bytes(), expires_at);
            }
        }
        if batch.is_empty() { Ok(()) } else { self.write("storing batches", batch) }
    }

    /// The bytes of a batch, checked against its digest.
    ///
    /// # Errors
    /// When the disk fails or the bytes are not those of the batch.
    pub fn batch(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let key = digest.as_bytes();
        let known = self.has_batch(digest)?;
        match self.get_bytes(Family::Batches, key)? {
            Some(bytes) if CheckedBatch::digest_of(&bytes) != *digest => {
                Err(self.damaged(Family::Batches, key, "the batch has another digest".into()))
            }
            Some(bytes) => Ok(Some(bytes.to_vec())),
            // Asked again, as it may have expired and been removed in between.
            None if known && self.has_batch(digest)? => {
                Err(self.damaged(Family::Batches, key, "it is missing".into()))
            }
            None => Ok(None),
        }
    }

    /// Whether a batch is there, and durable. Does not read the batch.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn has_batch(&self, digest: &Digest) -> Result<bool, StoreError> {
        // A batch's row is written and removed together with one of these.
        Ok(self.get_bytes(Family::Unordered, digest.as_bytes())?.is_some()
            || self.get_bytes(Family::Ordered, digest.as_bytes())?.is_some())
    }

    /// Makes the next block and its changes durable, in one synced write.
    ///
    /// # Errors
    /// When the block does not extend the tip, a batch of it was not stored, or the disk fails.
    pub fn commit(&self, block: &Block, changes: &Changes) -> Result<(), StoreError> {
        let _ordering = self.ordering.lock().unwrap_or_else(PoisonError::into_inner);
        let Head { tip, counts } = self.head();
        if !block.extends(&tip) {
            let (height, parent) = (block.height, block.parent);
            return Err(StoreError::NotNext {
                height,
                parent,
                tip_height: tip.height,
                tip_digest: tip.digest,
            });
        }
        let mut batch = WriteBatch::default();
        for digest in &block.batches {
            if !self.has_batch(digest)? {
                return Err(StoreError::NoBatch { height: block.height, digest: *digest });
            }
            batch.delete_cf(self.family(Family::Unordered), digest.as_bytes());
            self.put(&mut batch, Family::Ordered, digest.as_bytes(), &block.height);
        }
        for receipt in &changes.receipts {
            self.put(&mut batch, Family::Receipts, receipt.id.as_bytes(), receipt);
        }
        for record in &changes.records {
            let bytes = encode(record);
            let key = rows::history_key(&record.header.did, record.header.version);
            batch.put_cf(self.family(Family::Records), record.header.did.as_bytes(), &bytes);
            batch.put_cf(self.family(Family::History), key, &bytes);
        }
        let head = Head { tip: block.tip(), counts: counts.after(changes) };
        self.put(&mut batch, Family::Blocks, &rows::height_key(block.height), block);
        self.put(&mut batch, Family::Meta, b"tip", &head.tip);
        self.put(&mut batch, Family::Meta, b"counts", &head.counts);
        self.write("committing a block", batch)?;
        *self.head.write().unwrap_or_else(PoisonError::into_inner) = head;
        Ok(())
    }

    /// The block at `height`; none at genesis and past the tip.
    ///
    /// # Errors
    /// When the disk fails, or the row is damaged or missing.
    pub fn block(&self, height: Height) -> Result<Option<Block>, StoreError> {
        if height == Height::ZERO || height > self.tip().height {
            return Ok(None);
        }
        let key = rows::height_key(height);
        let block: Block = self.require(Family::Blocks, &key)?;
        self.expect(block.height == height, Family::Blocks, &key)?;
        Ok(Some(block))
    }

    /// Blocks from height `from` on, without gaps: at most `max_blocks`, and no more once they have `max_bytes`
    /// without their batches. Empty past the tip.
    ///
    /// # Errors
    /// When the disk fails, or a row is damaged or missing.
    pub fn blocks(
        &self,
        from: Height,
        max_blocks: usize,
        max_bytes: usize,
    ) -> Result<Vec<Block>, StoreError> {
        let (mut blocks, mut bytes) = (Vec::new(), 0);
        let mut height = from.max(Height(1));
        while blocks.len() < max_blocks && bytes < max_bytes {
            let Some(block) = self.block(height)? else { break };
            bytes += block.batches.len() * 32 + block.proof.len() + rows::BLOCK_OVERHEAD_BYTES;
            blocks.push(block);
            height = height.next();
        }
        Ok(blocks)
    }

    /// The batches that the final blocks after height `after` name, each with its block's height, in order: what a
    /// restarted node must remember so that no batch is named twice.
    ///
    /// # Errors
    /// When the disk fails, or a row is damaged or missing.
    pub fn batches_named_after(&self, after: Height) -> Result<Vec<(Digest, Height)>, StoreError> {
        let mut named = Vec::new();
        let mut height = after.next();
        while let Some(block) = self.block(height)? {
            named.extend(block.batches.iter().map(|digest| (*digest, height)));
            height = height.next();
        }
        Ok(named)
    }

    /// The height of the final block that names a batch.
    ///
    /// # Errors
    /// When the disk fails or the row is damaged.
    pub fn height_of_batch(&self, digest: &Digest) -> Result<Option<Height>, StoreError> {
        self.get(Family::Ordered, digest.as_bytes())
    }

    /// The batches that no final block names yet, each with its expiry: what a restarted node still holds for blocks
    /// to come.
    ///
    /// # Errors
    /// When the disk fails or a row is damaged.
    pub fn unordered_batches(&self) -> Result<Vec<(Digest, Height)>, StoreError> {
        let mut batches = Vec::new();
        self.scan(Family::Unordered, |key, value| {
            let expires_at: Height = self.decode(Family::Unordered, key, value)?;
            batches.push((self.digest_key(Family::Unordered, key)?, expires_at));
            Ok(())
        })?;
        Ok(batches)
    }

    /// Removes the batches that no final block names and none can name any more, because they expired at or before
    /// the tip. Returns how many.
    ///
    /// # Errors
    /// When the disk fails or a row is damaged.
    pub fn remove_expired_batches(&self) -> Result<usize, StoreError> {
        let _ordering = self.ordering.lock().unwrap_or_else(PoisonError::into_inner);
        let tip = self.tip().height;
        let mut batch = WriteBatch::default();
        let mut count = 0;
        self.scan(Family::Unordered, |key, value| {
            let expires_at: Height = self.decode(Family::Unordered, key, value)?;
            let digest = self.digest_key(Family::Unordered, key)?;
            if expires_at > tip {
                return Ok(());
            }
            // A batch that came again while a commit ordered it has both rows: only the index goes.
            if self.height_of_batch(&digest)?.is_none() {
                batch.delete_cf(self.family(Family::Batches), key);
                count += 1;
            }
            batch.delete_cf(self.family(Family::Unordered), key);
            Ok(())
        })?;
        if !batch.is_empty() {
            self.write("removing expired batches", batch)?;
        }
        Ok(count)
    }

    /// The receipt of a transaction.
    ///
    /// # Errors
    /// When the disk fails or the row is damaged.
    pub fn receipt(&self, id: &Digest) -> Result<Option<Receipt>, StoreError> {
        let receipt: Option<Receipt> = self.get(Family::Receipts, id.as_bytes())?;
        let sound = receipt.as_ref().is_none_or(|receipt| receipt.id == *id);
        self.expect(sound, Family::Receipts, id.as_bytes())?;
        Ok(receipt)
    }

    /// The newest record of a DID.
    ///
    /// # Errors
    /// When the disk fails or the row is damaged.
    pub fn record(&self, did: &DidId) -> Result<Option<Record>, StoreError> {
        let record: Option<Record> = self.get(Family::Records, did.as_bytes())?;
        let sound = record.as_ref().is_none_or(|record| record.header.did == *did);
        self.expect(sound, Family::Records, did.as_bytes())?;
        Ok(record)
    }

    /// The record of a DID at a version.
    ///
    /// # Errors
    /// When the disk fails or the row is damaged.
    pub fn version(&self, did: &DidId, version: Version) -> Result<Option<Record>, StoreError> {
        let key = rows::history_key(did, version);
        let Some(record) = self.get::<Record>(Family::History, &key)? else {
            // Versions have no gaps: a missing row is damage, unless the DID never got that far.
            let newest = self.record(did)?.map_or(0, |record| record.header.version.0);
            let made = (1..=newest).contains(&version.0);
            return if made {
                Err(self.damaged(Family::History, &key, "it is missing".into()))
            } else {
                Ok(None)
            };
        };
        let Header { did: found, version: at, .. } = &record.header;
        self.expect(found == did && *at == version, Family::History, &key)?;
        Ok(Some(record))
    }

    /// The records of a DID from version `from` on, oldest first, at most `max_records`.
    ///
    /// # Errors
    /// When the disk fails or a row is damaged.
    pub fn history(&self, did: &DidId, from: Version, max_records: usize) -> Result<Vec<Record>, StoreError> {
        let mut records = Vec::new();
        let mut version = from.max(Version::FIRST);
        while records.len() < max_records {
            let Some(record) = self.version(did, version)? else { break };
            records.push(record);
            version = version.next();
        }
        Ok(records)
    }

    /// Figures for metrics.
    ///
    /// # Errors
    /// When RocksDB cannot say.
    pub fn statistics(&self) -> Result<Statistics, StoreError> {
        let property = |family: Family, name: &str| {
            let value = self.db.property_int_value_cf(self.family(family), name);
            value.map(|value| value.unwrap_or(0)).map_err(|source| self.read_error(family, &[], &source))
        };
        let (mut disk_bytes, mut memtable_bytes) = (Vec::new(), 0);
        for family in Family::ALL {
            let tables = property(family, "rocksdb.live-sst-files-size")?;
            disk_bytes.push((family.name(), tables + property(family, "rocksdb.live-blob-file-size")?));
            memtable_bytes += property(family, "rocksdb.cur-size-all-mem-tables")?;
        }
        Ok(Statistics { counts: self.head().counts, disk_bytes, memtable_bytes })
    }

    fn head(&self) -> Head {
        *self.head.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The only place that writes: synced, or the store halts.
    fn write(&self, doing: &'static str, batch: WriteBatch) -> Result<(), StoreError> {
        if self.halted.load(Ordering::Acquire) {
            return Err(StoreError::Halted { doing });
        }
        let mut synced = WriteOptions::default();
        synced.set_sync(true);
        self.db.write_opt(batch, &synced).map_err(|source| {
            self.halted.store(true, Ordering::Release);
            StoreError::Write { doing, path: self.path.clone(), problem: source.to_string() }
        })
    }
}

impl Counts {
    fn after(self, changes: &Changes) -> Self {
        let first = |record: &&Record| record.header.version == Version::FIRST;
        Self {
            dids: self.dids + changes.records.iter().filter(first).count() as u64,
            receipts: self.receipts + changes.receipts.len() as u64,
            versions: self.versions + changes.records.len() as u64,
        }
    }
}

impl StateView for Store {
    type Error = StoreError;

    fn record(&self, did: &DidId) -> Result<Option<Record>, StoreError> {
        Store::record(self, did)
    }

    fn has_receipt(&self, id: &Digest) -> Result<bool, StoreError> {
        Ok(self.get_bytes(Family::Receipts, id.as_bytes())?.is_some())
    }
}

impl History for Store {
    type Error = StoreError;

    fn newest(&self, did: &DidId) -> Result<Option<Record>, StoreError> {
        self.record(did)
    }

    fn at_version(&self, did: &DidId, version: Version) -> Result<Option<Record>, StoreError> {
        self.version(did, version)
    }
}

#[cfg(test)]
mod tests;

//! The ledger in RocksDB. Nothing else names RocksDB.
//!
//! | column family | key | value |
//! | --- | --- | --- |
//! | `meta` | `format`, `chain`, `tip`, `counts`, `governance`, `ended`, `base`, `restoring` | the format's number, the chain's id, [`Tip`], [`Counts`], [`Governance`], there once the chain was given up, [`base::Base`] where it is not the chain's beginning, how far a snapshot was taken in (`snapshot`) |
//! | `batches` | batch digest | the batch's bytes as they came |
//! | `unordered` | batch digest | the batch's expiry, while no final block names it |
//! | `ordered` | batch digest | the height of the block that names it |
//! | `blocks` | height | [`Block`] |
//! | `receipts` | transaction id | [`crate::Receipt`] |
//! | `records` | DID id | the newest [`Record`] |
//! | `registry` | the encoding of its [`RegistryKey`] | [`RegistryEntry`] |
//! | `history` | DID id ‖ version | [`Record`], of the versions before the newest |
//! | `outcomes` | height, from [`base::Base::bodies`] on, which on a whole chain is that of the founding | [`Outcome`] |
//! | `configurations` | digest | [`genesis::Configuration`]: of each epoch, pending, or announced in this epoch |
//! | `epochs` | epoch | [`EpochStart`] |
//! | `checkpoints` | height | a checkpoint certificate, in consensus's bytes |
//! | `tree` | a bucket's prefix ‖ depth | its leaves, each its key and its value ([`crate::tree::bucket`]) |
//! | `evidence` | consensus's key | evidence of misbehaviour, in consensus's bytes |
//! | `remembered` | height | of a block that came with a snapshot, without its batches: the ids of its receipts |
//!
//! Heights, epochs and versions in keys are big-endian, so that they sort; values are in the canonical encoding.
//!
//! Invariants:
//! - A block, its receipts, records, governance and outcome, and the tip are one write, and writes become durable in their order: after a
//!   crash the store stands at a block, never between two, or is refused when it is opened (`docs/decisions/011-what-a-block-waits-for.md`). A commit waits for the disk only where it ends an epoch, since final
//!   blocks are in the voting journal: whoever lets go of them there calls [`Store::sync`] first. The tip's parents and their
//!   batches are there from [`base::Base`] on.
//! - A batch that a final block names is never removed by [`Store::remove_expired_batches`].
//! - A row that does not decode, or is not the row that was asked for, is an error; never an answer.
//! - After a failed write nothing is written any more: what the disk holds is known again only after a restart.
//!
//! Left to the node: that blocks are final, and batches and changes the right ones.

mod backup;
mod base;
mod certificates;
mod epochs;
mod error;
mod options;
mod reads;
mod rows;
mod scan;
mod snapshot;
mod statistics;
mod succession;
mod tree;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use genesis::encoding::encode;
use genesis::{Configuration, Digest, Genesis, Height};
use rocksdb::{DB, WriteBatch, WriteOptions};

pub use self::base::{Base, Pruned};
pub use self::certificates::{EvidenceRow, MAX_EVIDENCE};
pub use self::epochs::EpochStart;
pub use self::error::{Stand, StoreError};
use self::rows::Family;
pub use self::snapshot::{Restoration, RestoreError};
pub use self::statistics::{Counts, Statistics};
pub use self::succession::Adoption;
pub use self::tree::PROVABLE_BLOCKS;
use crate::resolution::History;
use crate::tree::{Change, Update};
use crate::{
    Block, Changes, CheckedBatch, DidId, Governance, Header, Outcome, Record, RegistryEntry, RegistryKey,
    StateView, Tip, Version,
};

/// The version of the layout above. Another one is refused when the store is opened.
const FORMAT: u32 = 4;

/// The ledger of one chain in one directory, which one process at a time holds.
pub struct Store {
    db: DB,
    path: PathBuf,
    /// The height that the chain's first block follows. Blocks up to there are those of the chains before.
    origin: Height,
    head: RwLock<Head>,
    tree: tree::Tree,
    /// Held by whoever changes what it looked at before, so that a removal and a commit never cross.
    ordering: Mutex<()>,
    /// Why the first write failed that did.
    halted: OnceLock<String>,
}

#[derive(Clone)]
struct Head {
    tip: Tip,
    base: Base,
    counts: Counts,
    outcome: Outcome,
    governance: Arc<Governance>,
    /// One an epoch: each takes a quorum's vote, so they stay few.
    epochs: Arc<Vec<EpochStart>>,
}

/// Whether a write waits for the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Durability {
    /// It is durable when the call returns.
    Now,
    /// With the next one that is; a crash before may lose it, whole.
    Later,
}

impl Store {
    /// Opens the ledger in the directory `path`, or makes one for the chain of `genesis`.
    ///
    /// # Errors
    /// When another process holds the directory, it holds another chain or another format, the chain in it was ended, or
    /// it is damaged; or when there is none, and the chain goes on from another.
    pub fn open(path: &Path, genesis: &Genesis) -> Result<Self, StoreError> {
        let store = Self::open_any(path, genesis)?;
        if store.has_ended()? {
            return Err(StoreError::Ended { path: store.path });
        }
        Ok(store)
    }

    /// The same, whether the chain was ended or not.
    fn open_any(path: &Path, genesis: &Genesis) -> Result<Self, StoreError> {
        let store = Self::open_unread(path, genesis)?;
        let head = store.load_head(genesis)?;
        store.load_tree(head.outcome.state_root)?;
        store.set_head(head);
        Ok(store)
    }

    /// Opens the directory. What it holds is not looked at yet.
    fn open_unread(path: &Path, genesis: &Genesis) -> Result<Self, StoreError> {
        let db = DB::open_cf_descriptors(&options::database(), path, options::column_families())
            .map_err(|source| StoreError::from_open(path, &source))?;
        Ok(Self {
            db,
            path: path.to_owned(),
            origin: genesis.height(),
            head: RwLock::new(Self::first_head(genesis)),
            tree: tree::Tree::default(),
            ordering: Mutex::new(()),
            halted: OnceLock::new(),
        })
    }

    /// The head on disk; founds the ledger where the directory is new.
    fn load_head(&self, genesis: &Genesis) -> Result<Head, StoreError> {
        let chain = genesis.chain();
        if self.get::<u32>(Family::Meta, b"format")?.is_none() {
            self.check_not_restoring()?;
            self.check_may_found(genesis)?;
            // Nothing was ever written: the first write holds all of these rows.
            let new = self.head();
            let mut batch = WriteBatch::default();
            self.put(&mut batch, Family::Meta, b"format", &FORMAT);
            self.put(&mut batch, Family::Meta, b"chain", &chain);
            self.put(&mut batch, Family::Meta, b"tip", &new.tip);
            self.put(&mut batch, Family::Meta, b"counts", &new.counts);
            self.found(&mut batch, &new.governance, &new.outcome);
            self.write("founding the ledger", batch, Durability::Now)?;
            let epochs = Arc::new(self.load_epochs(&new.governance)?);
            return Ok(Head { epochs, ..new });
        }
        self.check_format()?;
        let path = self.path.clone();
        let found = self.require(Family::Meta, b"chain")?;
        if genesis.predecessor().is_some_and(|predecessor| predecessor.chain == found) {
            return Err(StoreError::NotAdopted { path, found, expected: chain });
        }
        if found != chain {
            return Err(StoreError::OtherChain { path, found, expected: chain });
        }
        let tip: Tip = self.require(Family::Meta, b"tip")?;
        let outcome: Outcome = self.require(Family::Outcomes, &rows::height_key(tip.height))?;
        let governance: Arc<Governance> = Arc::new(self.require(Family::Meta, b"governance")?);
        let pending = governance.pending.as_ref().map(Configuration::digest);
        let agree = governance.configuration.digest() == outcome.configuration && pending == outcome.pending;
        self.expect(agree, Family::Meta, b"governance")?;
        let epochs = Arc::new(self.load_epochs(&governance)?);
        let base = self.load_base()?;
        Ok(Head { tip, base, counts: self.require(Family::Meta, b"counts")?, outcome, governance, epochs })
    }

    fn check_format(&self) -> Result<(), StoreError> {
        let found = self.require(Family::Meta, b"format")?;
        if found == FORMAT {
            return Ok(());
        }
        Err(StoreError::OtherFormat { path: self.path.clone(), found, expected: FORMAT })
    }

    /// The height that the chain's first block follows: 0, or where the chain that it goes on from ended.
    pub const fn origin(&self) -> Height {
        self.origin
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
        if batch.is_empty() { Ok(()) } else { self.write("storing batches", batch, Durability::Now) }
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
            None if self.height_of_batch(digest)?.is_some_and(|height| height <= self.base().bodies) => {
                Ok(None)
            }
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

    /// Writes the next block and its changes, in one write that is whole or not there after a crash: durable once
    /// [`Store::sync`] or [`Store::put_batches`] is called after it.
    ///
    /// # Errors
    /// When the block does not extend the tip, a batch of it was not stored, or the disk fails.
    pub fn commit(&self, block: &Block, changes: &Changes) -> Result<(), StoreError> {
        let _ordering = self.ordering();
        let Head { tip, base, counts, governance, epochs, .. } = self.head();
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
        self.put_records(&mut batch, &changes.records)?;
        for (key, entry) in &changes.registry {
            self.put(&mut batch, Family::Registry, &encode(key), entry);
        }
        let (governance, epochs) = match &changes.governance {
            Some(new) => (Arc::clone(new), self.put_governance(&mut batch, &governance, new, &epochs)),
            None => (governance, epochs),
        };
        self.put_tree(&mut batch, &changes.tree);
        let replaced = self.entries(changes.registry.keys())?;
        let outcome = changes.outcome;
        let head = Head {
            tip: block.tip(),
            base,
            counts: counts.after(block.height, changes),
            outcome,
            governance,
            epochs,
        };
        self.put(&mut batch, Family::Blocks, &rows::height_key(block.height), block);
        self.put(&mut batch, Family::Outcomes, &rows::height_key(block.height), &head.outcome);
        self.put(&mut batch, Family::Meta, b"tip", &head.tip);
        self.put(&mut batch, Family::Meta, b"counts", &head.counts);
        // Where an epoch ends the journal goes on in the next one, and so must the ledger.
        let ends = changes.governance.as_ref().is_some_and(|governance| governance.began == block.height);
        let durability = if ends { Durability::Now } else { Durability::Later };
        self.write("committing a block", batch, durability)?;
        self.adopt_tree(block.height, &changes.tree, replaced);
        self.set_head(head);
        Ok(())
    }

    /// The block at `height`; none past the tip, of a chain before this one, or that is not kept here any more.
    ///
    /// # Errors
    /// When the disk fails, or the row is damaged or missing.
    pub fn block(&self, height: Height) -> Result<Option<Block>, StoreError> {
        if height <= self.base().blocks || height > self.tip().height {
            return Ok(None);
        }
        let key = rows::height_key(height);
        let Some(block) = self.get::<Block>(Family::Blocks, &key)? else {
            // Forgotten while it was looked for.
            let is_gone = height <= self.base().blocks;
            let missing = || self.damaged(Family::Blocks, &key, "it is missing".into());
            return if is_gone { Ok(None) } else { Err(missing()) };
        };
        self.expect(block.height == height, Family::Blocks, &key)?;
        Ok(Some(block))
    }

    /// Blocks from height `from` on, without gaps: at most `max_blocks`, and no more once they have `max_bytes`
    /// without their batches. Empty past the tip, and before [`Store::first_block`].
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
        let mut height = from.max(self.origin.next());
        if height < self.first_block() {
            return Ok(blocks);
        }
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
        let mut height = after.max(self.base().blocks).next();
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
        let _ordering = self.ordering();
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
            self.write("removing expired batches", batch, Durability::Now)?;
        }
        Ok(count)
    }

    /// The rows of records that a block made, in its order: the newest of each DID takes the place of the one before, which
    /// joins the older versions unless it is the same version, endorsed.
    fn put_records(&self, batch: &mut WriteBatch, records: &[Record]) -> Result<(), StoreError> {
        let mut newest: BTreeMap<DidId, &Record> = BTreeMap::new();
        for record in records {
            let Header { did, version, .. } = record.header;
            let before = match newest.insert(did, record) {
                Some(before) => Some(Cow::Borrowed(before)),
                None if version == Version::FIRST => None,
                None => self.record(&did)?.map(Cow::Owned),
            };
            if let Some(before) = before.filter(|before| before.header.version != version) {
                let key = rows::history_key(&did, before.header.version);
                self.put(batch, Family::History, &key, &*before);
            }
        }
        for (did, record) in newest {
            self.put(batch, Family::Records, did.as_bytes(), record);
        }
        Ok(())
    }

    fn check_not_halted(&self, doing: &'static str) -> Result<(), StoreError> {
        match self.halted.get() {
            Some(problem) => Err(StoreError::Halted { doing, problem: problem.clone() }),
            None => Ok(()),
        }
    }

    /// Refuses all writes from now on, and says why in each refusal: of several threads nobody knows whose error is seen.
    fn halt(&self, doing: &'static str, source: &rocksdb::Error) -> StoreError {
        let problem = source.to_string();
        self.halted.get_or_init(|| problem.clone());
        StoreError::Write { doing, path: self.path.clone(), problem }
    }

    /// Makes all that was written durable.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn sync(&self) -> Result<(), StoreError> {
        let doing = "syncing the log";
        self.check_not_halted(doing)?;
        self.db.flush_wal(true).map_err(|source| self.halt(doing, &source))
    }

    fn head(&self) -> Head {
        self.head.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_head(&self, head: Head) {
        *self.head.write().unwrap_or_else(PoisonError::into_inner) = head;
    }

    fn ordering(&self) -> MutexGuard<'_, ()> {
        self.ordering.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The only place that writes. After a failure the store halts.
    fn write(
        &self,
        doing: &'static str,
        batch: WriteBatch,
        durability: Durability,
    ) -> Result<(), StoreError> {
        self.check_not_halted(doing)?;
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Now);
        self.db.write_opt(batch, &options).map_err(|source| self.halt(doing, &source))
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

    fn records(&self, dids: &[DidId]) -> Result<Vec<Option<Record>>, StoreError> {
        self.newest_of(dids)
    }

    fn have_receipts(&self, ids: &[Digest]) -> Result<Vec<bool>, StoreError> {
        let keys: Vec<_> = ids.iter().map(Digest::as_bytes).collect();
        self.get_many(Family::Receipts, &keys, &|_, row| Ok(row.is_some()))
    }

    fn governance(&self) -> Result<Arc<Governance>, StoreError> {
        Ok(Store::governance(self))
    }

    fn configuration(&self, digest: &Digest) -> Result<Option<Configuration>, StoreError> {
        Store::configuration(self, digest)
    }

    fn registry(&self, key: &RegistryKey) -> Result<Option<RegistryEntry>, StoreError> {
        Store::registry(self, key)
    }

    fn outcome(&self) -> Result<Outcome, StoreError> {
        Ok(Store::outcome(self))
    }

    fn update_tree(&self, changes: &[Change]) -> Result<Update, StoreError> {
        self.work_out(changes)
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
mod chain_tests;
#[cfg(test)]
mod tests;

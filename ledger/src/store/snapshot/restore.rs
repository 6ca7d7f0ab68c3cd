//! Making a ledger of pieces.
//!
//! Invariants:
//! - A piece that does not follow from what is certified is refused before anything of it is written.
//! - What a crash leaves goes on with the first piece that is not there, or is begun anew.

use std::collections::BTreeSet;
use std::path::Path;

use genesis::{Configuration, Digest, Genesis, Height};
use rocksdb::WriteBatch;
use serde::{Deserialize, Serialize};

use super::super::base::{Base, Remembered};
use super::super::rows::{self, Family};
use super::super::{Counts, Durability, EpochStart, FORMAT, Store, StoreError, options};
use crate::snapshot::{
    Anchor, BlockReceipts, Piece, PieceError, PieceInfo, PieceKind, check_list, remembered_from,
};
use crate::state::{BlockSummary, StateKey, receipt_leaves};
use crate::tree::bucket::{are_sound, split, to_row};
use crate::tree::{self, Leaf};
use crate::{Block, DidId, Governance, Header, Record, RegistryEntry, RegistryKey, Version};

/// A ledger on its way in.
pub struct Restoration {
    store: Store,
    chain: Digest,
    anchor: Anchor,
    pieces: Vec<PieceInfo>,
    progress: Progress,
    /// The leaves of the receipts that came of a block whose others come in the next piece.
    leaves: Vec<Leaf>,
}

/// How far it is. After a crash it goes on here.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Progress {
    /// Of which snapshot.
    list: Digest,
    /// Which piece is next.
    next: u64,
    /// The block that comes next, from the tip down: its height and digest.
    block: (Height, Digest),
    /// The height of the receipts that come next.
    receipts: Height,
    /// The registry's key, the DID, and the version of a DID that came last: no row comes twice.
    last: Last,
}

/// What came last of each kind of piece whose rows are in order.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Last {
    registry: Option<RegistryKey>,
    record: Option<DidId>,
    version: Option<(DidId, Version)>,
}

/// The most receipts that a block has: as many as its batches can have transactions.
const MAX_BLOCK_RECEIPTS: usize = 1 << 24;

/// Why a ledger cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// A piece is not part of the ledger that was certified.
    #[error("piece {number} ({kind}): {error}")]
    Piece {
        /// Which, from 0.
        number: usize,
        /// What it should hold.
        kind: &'static str,
        /// What is wrong.
        error: PieceError,
    },
    /// The list of pieces, or the whole.
    #[error(transparent)]
    Whole(#[from] PieceError),
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn not_proven<T: std::fmt::Display>(what: T) -> PieceError {
    PieceError::NotProven { what: what.to_string() }
}

fn proven(sound: bool, what: impl std::fmt::Display) -> Result<(), PieceError> {
    if sound { Ok(()) } else { Err(not_proven(what)) }
}

impl Restoration {
    /// Begins to make the ledger that `anchor` speaks of in the directory `path`, out of `pieces`. Where that was begun before with
    /// the same ones, it goes on there.
    ///
    /// # Errors
    /// When there is a ledger already, the list of pieces does not lead to the certified state, or the disk fails.
    pub fn open(
        path: &Path,
        genesis: &Genesis,
        anchor: Anchor,
        pieces: Vec<PieceInfo>,
    ) -> Result<Self, RestoreError> {
        check_list(&pieces, anchor.outcome.state_root)?;
        let mut store = Store::open_unread(path, genesis)?;
        if store.get::<u32>(Family::Meta, b"format")?.is_some() {
            let tip: crate::Tip = store.require(Family::Meta, b"tip")?;
            return Err(StoreError::NotEmpty { path: store.path, height: tip.height }.into());
        }
        let list = crate::snapshot::digest(&genesis::encoding::encode(&(anchor.tip, &pieces)));
        let mut before: Option<Progress> = store.get(Family::Meta, b"restoring")?;
        if before.is_some_and(|before| before.list != list) {
            // Of another snapshot: none of it counts.
            drop(store);
            rocksdb::DB::destroy(&options::database(), path)
                .map_err(|source| StoreError::from_open(path, &source))?;
            store = Store::open_unread(path, genesis)?;
            before = None;
        }
        let lifetime = |(began, configuration): &(Height, Configuration)| {
            (*began, configuration.parameters.max_transaction_lifetime)
        };
        let lifetimes: Vec<_> = anchor.epochs.iter().map(lifetime).collect();
        let tip = anchor.tip;
        let progress = before.unwrap_or_else(|| Progress {
            list,
            next: 0,
            block: (tip.height, tip.digest),
            receipts: remembered_from(&lifetimes, tip.height),
            last: Last::default(),
        });
        let restoration =
            Self { store, chain: genesis.chain(), anchor, pieces, progress, leaves: Vec::new() };
        let Self { store, .. } = &restoration;
        let mut batch = WriteBatch::default();
        store.put(&mut batch, Family::Meta, b"restoring", &progress);
        store.write("beginning to take in a snapshot", batch, Durability::Later)?;
        if restoration.place() >= restoration.trees() {
            store.load_tree(restoration.anchor.outcome.state_root)?;
        }
        Ok(restoration)
    }

    fn place(&self) -> usize {
        usize::try_from(self.progress.next).unwrap_or(usize::MAX)
    }

    /// How many of the pieces are of the tree: the first ones.
    fn trees(&self) -> usize {
        self.pieces.partition_point(|info| matches!(info.kind, PieceKind::Tree(..)))
    }

    /// Which piece is needed next, with its number from 0; none where all are there.
    pub fn next(&self) -> Option<(usize, PieceInfo)> {
        Some((self.place(), *self.pieces.get(self.place())?))
    }

    /// Takes in the bytes of the piece that is next. Whether blocks in it are what their digests say is for the caller to look at:
    /// a digest is over what consensus agreed on.
    ///
    /// # Errors
    /// When they are not those, or do not follow from what is certified: then nothing has changed, and others may be tried. When the
    /// disk fails.
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), RestoreError> {
        let Some((number, info)) = self.next() else { return Ok(()) };
        let kind = info.kind.name();
        let wrong = |error| RestoreError::Piece { number, kind, error };
        let piece = Piece::decode(&info, bytes).map_err(wrong)?;
        let mut batch = WriteBatch::default();
        let (progress, leaves) = (self.progress, self.leaves.clone());
        let checked = match (piece, info.kind) {
            (Piece::Tree(leaves), PieceKind::Tree(id, summary)) => {
                let sound = are_sound(id, &leaves) && tree::summary(id, &leaves) == summary;
                split(id, &leaves, &mut |id, leaves| {
                    batch.put_cf(self.store.family(Family::Tree), id.to_bytes(), to_row(leaves));
                });
                Ok(proven(sound, "a subtree"))
            }
            (Piece::Governance(governance, announced), _) => {
                self.governance(&mut batch, &governance, &announced)
            }
            (Piece::Registry(entries), _) => self.registry(&mut batch, &entries),
            (Piece::Records(records), _) => self.records(&mut batch, &records),
            (Piece::History(records), _) => self.history(&mut batch, &records),
            (Piece::Blocks(blocks), _) => Ok(self.blocks(&mut batch, &blocks)),
            (Piece::Receipts(blocks), _) => self.receipts(&mut batch, &blocks),
            (Piece::Tree(_), _) => Ok(Err(PieceError::OtherKind)),
        };
        if let Err(error) = checked? {
            (self.progress, self.leaves) = (progress, leaves);
            return Err(wrong(error));
        }
        self.progress.next += 1;
        // A block's receipts that go on in the next piece are proved by that: after a crash both are taken in again.
        if self.leaves.is_empty() {
            self.store.put(&mut batch, Family::Meta, b"restoring", &self.progress);
        }
        self.store.write("taking in a snapshot", batch, Durability::Later)?;
        if self.place() == self.trees() {
            self.store.load_tree(self.anchor.outcome.state_root)?;
        }
        Ok(())
    }

    /// Whether each of `values` stands in the tree under its key.
    fn are_in_tree(&self, mut values: Vec<(Digest, Digest)>) -> Result<bool, StoreError> {
        values.sort_unstable();
        let keys: Vec<Digest> = values.iter().map(|(key, _)| *key).collect();
        if !keys.is_sorted_by(|a, b| a < b) {
            return Ok(false);
        }
        let found = self.store.find_leaves(&keys)?;
        Ok(found.iter().zip(&values).all(|(found, (_, value))| *found == Some(*value)))
    }

    fn governance(
        &self,
        batch: &mut WriteBatch,
        governance: &Governance,
        announced: &[Configuration],
    ) -> Result<Result<(), PieceError>, StoreError> {
        let digests: BTreeSet<Digest> = announced.iter().map(Configuration::digest).collect();
        let sound = self.are_in_tree(vec![(StateKey::Governance.digest(), governance.digest())])?
            && digests == governance.announced
            && self.anchor.epochs.last().map(|(began, configuration)| (*began, configuration.digest()))
                == Some((governance.began, governance.configuration.digest()))
            && self.anchor.epochs.len() as u64 == governance.epoch.0 + 1;
        for configuration in announced.iter().chain(&governance.pending) {
            self.store.put(batch, Family::Configurations, configuration.digest().as_bytes(), configuration);
        }
        self.store.put(batch, Family::Meta, b"governance", governance);
        Ok(proven(sound, "the governance"))
    }

    fn registry(
        &mut self,
        batch: &mut WriteBatch,
        entries: &[RegistryEntry],
    ) -> Result<Result<(), PieceError>, StoreError> {
        let leaf = |entry: &RegistryEntry| (StateKey::Registry(entry.key()).digest(), entry.digest());
        for entry in entries {
            let row = |key: &RegistryKey| genesis::encoding::encode(key);
            if self.progress.last.registry.is_some_and(|last| row(&last) >= row(&entry.key())) {
                return Ok(Err(not_proven("the order of the registry's entries")));
            }
            self.progress.last.registry = Some(entry.key());
            self.store.put(batch, Family::Registry, &genesis::encoding::encode(&entry.key()), entry);
        }
        Ok(proven(self.are_in_tree(entries.iter().map(leaf).collect())?, "an entry of the trust registry"))
    }

    fn records(
        &mut self,
        batch: &mut WriteBatch,
        records: &[Record],
    ) -> Result<Result<(), PieceError>, StoreError> {
        let leaf = |record: &Record| (StateKey::Did(record.header.did).digest(), record.header.digest());
        for record in records {
            if self.progress.last.record.is_some_and(|last| last >= record.header.did) {
                return Ok(Err(not_proven("the order of the records")));
            }
            self.progress.last.record = Some(record.header.did);
            if let Err(error) = has_its_document(record) {
                return Ok(Err(error));
            }
            self.store.put(batch, Family::Records, record.header.did.as_bytes(), record);
        }
        Ok(proven(self.are_in_tree(records.iter().map(leaf).collect())?, "the record of a DID"))
    }

    fn history(
        &mut self,
        batch: &mut WriteBatch,
        records: &[Record],
    ) -> Result<Result<(), PieceError>, StoreError> {
        // The version that comes next, and the digest that the one after it names.
        let mut expected: Option<(DidId, Version, Digest)> = None;
        for record in records {
            let header = &record.header;
            let place = (header.did, header.version);
            if self.progress.last.version.is_some_and(|last| last <= place) {
                return Ok(Err(not_proven("the order of older versions")));
            }
            self.progress.last.version = Some(place);
            let after = match expected {
                Some((did, version, digest)) if did == header.did && version == header.version => {
                    Some(digest)
                }
                _ => self.after(header)?.map(|after| after.header.previous),
            };
            if after != Some(header.digest()) {
                return Ok(Err(not_proven(format!("version {} of a DID", header.version))));
            }
            if let Err(error) = has_its_document(record) {
                return Ok(Err(error));
            }
            let key = rows::history_key(&header.did, header.version);
            self.store.put(batch, Family::History, &key, record);
            expected = Some((header.did, Version(header.version.0.saturating_sub(1)), header.previous));
        }
        Ok(Ok(()))
    }

    /// The version after this one, where it is here: the newest, or one that came before.
    fn after(&self, header: &Header) -> Result<Option<Record>, StoreError> {
        let next = header.version.next();
        let newest = self.store.record(&header.did)?.filter(|record| record.header.version == next);
        let key = rows::history_key(&header.did, next);
        newest.map_or_else(|| self.store.get(Family::History, &key), |newest| Ok(Some(newest)))
    }

    fn blocks(&mut self, batch: &mut WriteBatch, blocks: &[Block]) -> Result<(), PieceError> {
        let mut expected = self.progress.block;
        for block in blocks {
            proven((block.height, block.digest) == expected, format!("block {}", block.height))?;
            self.store.put(batch, Family::Blocks, &rows::height_key(block.height), block);
            for digest in &block.batches {
                self.store.put(batch, Family::Ordered, digest.as_bytes(), &block.height);
            }
            expected = (block.height.previous(), block.parent);
        }
        self.progress.block = expected;
        Ok(())
    }

    fn receipts(
        &mut self,
        batch: &mut WriteBatch,
        blocks: &[BlockReceipts],
    ) -> Result<Result<(), PieceError>, StoreError> {
        let (mut height, mut leaves) = (self.progress.receipts, std::mem::take(&mut self.leaves));
        let mut summaries = Vec::new();
        for (place, BlockReceipts { at, receipts, goes_on }) in blocks.iter().enumerate() {
            let of_block = receipts.iter().all(|receipt| receipt.height == at.height);
            // What goes on without end brings nothing, or more than a block can have.
            let ends = !goes_on
                || place + 1 == blocks.len()
                    && !receipts.is_empty()
                    && leaves.len() + receipts.len() < MAX_BLOCK_RECEIPTS;
            if at.height != height || !of_block || !ends {
                return Ok(Err(not_proven(format!("what is said of the receipts of block {}", at.height))));
            }
            leaves.extend(receipt_leaves(receipts));
            for receipt in receipts {
                self.store.put(batch, Family::Receipts, receipt.id.as_bytes(), receipt);
            }
            if !goes_on {
                let ids = leaves.iter().map(|leaf| leaf.key).collect();
                let remembered = Remembered { time: at.time, ids };
                self.store.put(batch, Family::Remembered, &rows::height_key(height), &remembered);
                leaves.sort_unstable_by_key(|leaf| leaf.key);
                if !leaves.is_sorted_by(|a, b| a.key < b.key) {
                    return Ok(Err(not_proven(format!("a receipt that block {height} has twice"))));
                }
                let root = tree::root(&leaves);
                leaves.clear();
                let summary = BlockSummary { height, time: at.time, receipts_root: root };
                summaries.push((StateKey::Block(height).digest(), summary.digest()));
                height = height.next();
            }
        }
        let sound = self.are_in_tree(summaries)?;
        if sound {
            (self.progress.receipts, self.leaves) = (height, leaves);
        }
        Ok(proven(sound, "the receipts of a block"))
    }

    /// Makes a ledger of it, durably, once all pieces are there and nothing is missing.
    ///
    /// # Errors
    /// When something is missing, or the disk fails.
    pub fn finish(self) -> Result<(), RestoreError> {
        let counts = self.count()?;
        let Self { store, anchor, .. } = &self;
        let mut batch = WriteBatch::default();
        store.put(&mut batch, Family::Meta, b"format", &FORMAT);
        store.put(&mut batch, Family::Meta, b"chain", &self.chain);
        store.put(&mut batch, Family::Meta, b"tip", &anchor.tip);
        store.put(&mut batch, Family::Meta, b"counts", &counts);
        let base = Base { blocks: self.progress.block.0, bodies: anchor.tip.height };
        store.put(&mut batch, Family::Meta, b"base", &base);
        store.put(&mut batch, Family::Outcomes, &rows::height_key(anchor.tip.height), &anchor.outcome);
        for (epoch, (began, configuration)) in anchor.epochs.iter().enumerate() {
            let digest = configuration.digest();
            store.put(&mut batch, Family::Configurations, digest.as_bytes(), configuration);
            let start = EpochStart { began: *began, configuration: digest };
            store.put(&mut batch, Family::Epochs, &rows::epoch_key(genesis::Epoch(epoch as u64)), &start);
        }
        for (height, bytes) in &anchor.certificates {
            batch.put_cf(store.family(Family::Checkpoints), rows::height_key(*height), bytes);
        }
        batch.delete_cf(store.family(Family::Meta), b"restoring");
        Ok(store.write("beginning from a snapshot", batch, Durability::Now)?)
    }

    /// Counts what is there, and compares it with what must be.
    fn count(&self) -> Result<Counts, RestoreError> {
        let Self { store, anchor, pieces, progress: Progress { block, receipts, .. }, .. } = self;
        let incomplete = |what: String| RestoreError::Whole(PieceError::Incomplete { what });
        if self.place() < pieces.len() {
            return Err(incomplete(format!("{} of {} pieces are here", self.place(), pieces.len())));
        }
        let Some(governance) = store.get::<Governance>(Family::Meta, b"governance")? else {
            return Err(incomplete("the governance is missing".into()));
        };
        let lifetime = governance.configuration.parameters.max_batch_lifetime;
        let lowest = Height(anchor.tip.height.0.saturating_sub(lifetime)).max(store.origin());
        if block.0 > lowest {
            return Err(incomplete(format!("the blocks down to {} are needed", lowest.next())));
        }
        if *receipts <= anchor.tip.height {
            return Err(incomplete(format!("the receipts from block {receipts} on are missing")));
        }
        let (mut leaves, mut entries, mut dids, mut versions, mut older) = (0, 0, 0, 0, 0);
        store.scan(Family::Tree, |_, row| {
            leaves += row.len() as u64 / 64;
            Ok(())
        })?;
        store.scan(Family::Registry, |_, _| {
            entries += 1;
            Ok(())
        })?;
        store.scan(Family::Records, |key, row| {
            dids += 1;
            versions += store.decode::<Record>(Family::Records, key, row)?.header.version.0;
            Ok(())
        })?;
        store.scan(Family::History, |_, _| {
            older += 1;
            Ok(())
        })?;
        // Each block left a leaf, also those of a chain before this one; the governance is one.
        let (blocks, expected) = (anchor.tip.height.0, anchor.tip.height.0 + entries + dids + 1);
        if leaves != expected {
            let what = format!(
                "the state has {leaves} leaves, but {dids} DIDs, {entries} entries of the registry, {blocks} blocks and the \
                 governance are {expected}"
            );
            return Err(incomplete(what));
        }
        if versions != dids + older {
            return Err(incomplete(format!("{} of {versions} versions of DIDs are here", dids + older)));
        }
        let mut receipts = 0;
        store.scan(Family::Receipts, |_, _| {
            receipts += 1;
            Ok(())
        })?;
        Ok(Counts { dids, receipts, versions })
    }
}

fn has_its_document(record: &Record) -> Result<(), PieceError> {
    let digest = record.document.as_ref().map(crate::Document::digest);
    proven(
        digest == record.header.document,
        format!("the document of version {} of a DID", record.header.version),
    )
}

impl Store {
    /// Refuses to found a ledger where one is on its way in.
    pub(in crate::store) fn check_not_restoring(&self) -> Result<(), StoreError> {
        match self.get::<Progress>(Family::Meta, b"restoring")? {
            Some(_) => Err(StoreError::Restoring { path: self.path.clone() }),
            None => Ok(()),
        }
    }
}

//! The state tree on disk: a row a bucket, of which a block writes the leaves that change (`options` has RocksDB merge them, when it
//! reads or compacts). The nodes above the buckets are in memory, and rebuilt from the rows at start.
//!
//! Invariants:
//! - A block's changes of the tree are in the write that commits the block, and in memory after it: what a crash leaves is the
//!   tree of the tip. Its root is compared with the tip's outcome when the store is opened, so no damaged or missing bucket is
//!   ever built upon.
//! - A proof is checked by its own hashes before it is given out.

use std::collections::VecDeque;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use genesis::encoding::encode;
use genesis::{Digest, Height};
use rocksdb::WriteBatch;

use super::rows::Family;
use super::{Store, StoreError};
use crate::state::StateKey;
use crate::tree::bucket::{changed, from_row, to_row};
use crate::tree::trie::Replaced;
use crate::tree::{BucketId, Buckets, Leaf, Proof, Trie, Update};
use crate::{RegistryEntry, RegistryKey};

/// How many blocks back the tree can be proved: a checkpoint's certificate comes a little after its block, by default within 64.
pub const PROVABLE_BLOCKS: usize = 96;
/// What is kept for that, in bytes, about: fewer blocks where they are large.
const PROVABLE_BYTES: usize = 256 << 20;

/// The tree as far as it is in memory.
#[derive(Default)]
pub(super) struct Memory {
    trie: Trie,
    /// What the newest blocks replaced, the oldest first, without gaps up to the tip.
    recent: VecDeque<Recent>,
}

/// What a block replaced.
struct Recent {
    height: Height,
    nodes: Replaced,
    registry: Entries,
    /// What both occupy in memory, about.
    bytes: usize,
}

impl Recent {
    fn new(height: Height, nodes: Replaced, registry: Entries) -> Self {
        // What is in an entry besides, in lists and texts, is about as long as its encoding.
        let texts: usize = registry.iter().map(|(_, entry)| encode(entry).len()).sum();
        let bytes = nodes.bytes() + size_of_val(registry.as_slice()) + texts;
        Self { height, nodes, registry, bytes }
    }
}

/// Entries of the trust registry, none where there was none.
pub(super) type Entries = Vec<(RegistryKey, Option<RegistryEntry>)>;

/// The tree of a store.
pub(super) type Tree = RwLock<Memory>;

impl Buckets for Store {
    type Error = StoreError;

    fn read(&self, ids: &[BucketId]) -> Result<Vec<Vec<Leaf>>, StoreError> {
        let keys: Vec<[u8; 9]> = ids.iter().map(|id| id.to_bytes()).collect();
        self.get_many(Family::Tree, &keys, &|key, row| {
            row.map_or(Ok(Vec::new()), |row| self.bucket(self.bucket_id(key)?, row))
        })
    }

    fn both<A: Send, B: Send>(
        &self,
        one: impl FnOnce() -> A + Send,
        other: impl FnOnce() -> B + Send,
    ) -> (A, B) {
        rayon::join(one, other)
    }
}

impl Store {
    /// What [`crate::StateView::update_tree`] asks for.
    pub(super) fn work_out(&self, changes: &[crate::tree::Change]) -> Result<Update, StoreError> {
        self.memory().trie.update(self, changes)
    }

    /// The values of `keys`, in ascending order, at the tip.
    pub(super) fn find_leaves(&self, keys: &[Digest]) -> Result<Vec<Option<Digest>>, StoreError> {
        self.memory().trie.find(self, keys)
    }

    /// The rows of an update.
    ///
    /// # Panics
    /// When it was worked out on another state: the block's changes are not this ledger's.
    pub(super) fn put_tree(&self, batch: &mut WriteBatch, update: &Update) {
        assert_eq!(
            update.base(),
            self.memory().trie.root(),
            "a block's changes are worked out on the tip's state"
        );
        let family = self.family(Family::Tree);
        for row in update.rows() {
            let key = row.id.to_bytes();
            match changed(&row.before, &row.after) {
                _ if row.after.is_empty() => batch.delete_cf(family, key),
                Some(leaves) if !row.before.is_empty() => batch.merge_cf(family, key, to_row(&leaves)),
                _ => batch.put_cf(family, key, to_row(&row.after)),
            }
        }
    }

    /// Takes over an update that the block at `height` brought, and that is durable now.
    pub(super) fn adopt_tree(&self, height: Height, update: &Update, registry: Entries) {
        let mut memory = self.tree.write().unwrap_or_else(PoisonError::into_inner);
        let nodes = memory.trie.adopt(update);
        memory.recent.push_back(Recent::new(height, nodes, registry));
        let mut bytes: usize = memory.recent.iter().map(|block| block.bytes).sum();
        while memory.recent.len() > PROVABLE_BLOCKS || bytes > PROVABLE_BYTES {
            let Some(oldest) = memory.recent.pop_front() else { break };
            bytes -= oldest.bytes;
        }
    }

    /// What the registry holds under these keys before they are changed.
    pub(super) fn entries<'a>(
        &self,
        keys: impl Iterator<Item = &'a RegistryKey>,
    ) -> Result<Entries, StoreError> {
        keys.map(|key| Ok((*key, self.registry(key)?))).collect()
    }

    /// The entry of the trust registry under `key` after the block at `height`, where [`Store::prove`] proves that block's state: a
    /// registrar's changes with each registration, and certificates come some blocks late.
    ///
    /// # Errors
    /// When the disk fails or the row is damaged.
    pub fn registry_after(
        &self,
        key: &RegistryKey,
        height: Height,
    ) -> Result<Option<RegistryEntry>, StoreError> {
        // Before the look at the memory, as a block that is committed in between then is in both.
        let newest = self.registry(key)?;
        let memory = self.memory();
        let later = memory.recent.iter().filter(|block| block.height > height);
        let mut replaced = later.flat_map(|block| &block.registry);
        let before = replaced.find(|(changed, _)| changed == key).map(|(_, entry)| entry.clone());
        Ok(before.unwrap_or(newest))
    }

    /// Rebuilds the tree from its rows, and compares its root with the one that is expected.
    pub(super) fn load_tree(&self, expected: Digest) -> Result<(), StoreError> {
        // The key of a bucket of all keys begins with a 0, too.
        let (left, right) = rayon::join(|| self.load_half(..[0x80]), || self.load_half([0x80]..));
        let trie = Trie::of_halves(left?, right?);
        let found = trie.root();
        if found != expected {
            let problem =
                format!("its root is {found}, not {expected}: a bucket is missing, or of another height");
            return Err(self.damaged(Family::Tree, &[], problem));
        }
        *self.tree.write().unwrap_or_else(PoisonError::into_inner) = Memory { trie, recent: VecDeque::new() };
        Ok(())
    }

    fn load_half(&self, keys: impl rocksdb::IterateBounds) -> Result<Trie, StoreError> {
        Trie::load(self.rows_within(Family::Tree, keys).map(|row| {
            let (key, value) = row?;
            let id = self.bucket_id(&key)?;
            Ok((id, self.bucket(id, &value)?))
        }))
    }

    /// Whether each of `keys` is in the state after the block at `height`, and with which value. None where that is not one of the newest
    /// [`PROVABLE_BLOCKS`], or of fewer large ones, or the store was opened after it.
    ///
    /// # Errors
    /// When the disk fails or a bucket is damaged.
    pub fn prove(&self, height: Height, keys: &[StateKey]) -> Result<Option<Vec<Proof>>, StoreError> {
        let mut proofs = Vec::with_capacity(keys.len());
        for key in keys.iter().map(StateKey::digest) {
            let proof = match self.prove_key(height, &key)? {
                // A block was committed between the look at the memory and the one at the disk: now none can.
                Some(None) => {
                    let _ordering = self.ordering();
                    self.prove_key(height, &key)?
                }
                other => other,
            };
            match proof {
                Some(Some(proof)) => proofs.push(proof),
                Some(None) => {
                    return Err(self.damaged(
                        Family::Tree,
                        key.as_bytes(),
                        "its bucket has another digest".into(),
                    ));
                }
                None => return Ok(None),
            }
        }
        Ok(Some(proofs))
    }

    /// The inner option is none where the bucket is not the one that the memory knows.
    fn prove_key(&self, height: Height, key: &Digest) -> Result<Option<Option<Proof>>, StoreError> {
        let path = {
            let memory = self.memory();
            let tip = memory.recent.back().map_or_else(|| self.tip().height, |newest| newest.height);
            let since = memory.recent.iter().filter(|block| block.height > height).map(|block| &block.nodes);
            if height > tip || tip.since(height) != since.clone().count() as u64 {
                return Ok(None);
            }
            memory.trie.path(since, key)
        };
        let read = path.missing().map(|id| self.read(&[id])).transpose()?;
        Ok(Some(path.finish(read.into_iter().flatten().next().unwrap_or_default())))
    }

    /// What the tree's nodes occupy in memory, in bytes.
    pub fn tree_memory_bytes(&self) -> usize {
        self.memory().trie.memory_bytes()
    }

    fn memory(&self) -> RwLockReadGuard<'_, Memory> {
        self.tree.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn bucket_id(&self, key: &[u8]) -> Result<BucketId, StoreError> {
        BucketId::from_bytes(key)
            .ok_or_else(|| self.damaged(Family::Tree, key, "its key is no bucket's".into()))
    }

    fn bucket(&self, id: BucketId, row: &[u8]) -> Result<Vec<Leaf>, StoreError> {
        let problem = || self.damaged(Family::Tree, &id.to_bytes(), "it is no bucket of its place".into());
        from_row(id, row).ok_or_else(problem)
    }
}

#[cfg(test)]
mod tests;

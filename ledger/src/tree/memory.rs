//! A tree whose buckets are in memory too: for what is small, and for tests.

use std::collections::BTreeMap;
use std::convert::Infallible;

use genesis::Digest;

use super::{BucketId, Buckets, Change, Leaf, Proof, Trie, Update};

/// A whole tree in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryTree {
    trie: Trie,
    rows: Rows,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rows(BTreeMap<BucketId, Vec<Leaf>>);

impl Buckets for Rows {
    type Error = Infallible;

    fn read(&self, ids: &[BucketId]) -> Result<Vec<Vec<Leaf>>, Infallible> {
        Ok(ids.iter().map(|id| self.0.get(id).cloned().unwrap_or_default()).collect())
    }
}

impl MemoryTree {
    /// The root of the whole tree.
    pub fn root(&self) -> Digest {
        self.trie.root()
    }

    /// Works out what `changes`, in ascending order of their keys and each key once, make of the tree.
    pub fn update(&self, changes: &[Change]) -> Update {
        let Ok(update) = self.trie.update(&self.rows, changes);
        update
    }

    /// Takes over an update that was worked out on this tree as it is.
    pub fn adopt(&mut self, update: &Update) {
        for row in update.rows() {
            if row.after.is_empty() {
                self.rows.0.remove(&row.id);
            } else {
                self.rows.0.insert(row.id, row.after.clone());
            }
        }
        self.trie.adopt(update);
    }

    /// The way to `key`.
    pub fn prove(&self, key: &Digest) -> Option<Proof> {
        let path = self.trie.path(std::iter::empty(), key);
        let read = path.missing().and_then(|id| self.rows.0.get(&id).cloned());
        path.finish(read.unwrap_or_default())
    }

    /// The rows of its buckets.
    pub fn rows(&self) -> impl Iterator<Item = (BucketId, &[Leaf])> {
        self.rows.0.iter().map(|(id, leaves)| (*id, leaves.as_slice()))
    }

    /// The nodes above its buckets.
    #[cfg(test)]
    pub(super) const fn trie(&self) -> &Trie {
        &self.trie
    }

    /// The leaves of a bucket.
    #[cfg(test)]
    pub(super) fn row(&self, id: BucketId) -> Option<Vec<Leaf>> {
        self.rows.0.get(&id).cloned()
    }
}

//! Leaves that share a prefix, kept together.

use genesis::Digest;
use serde::{Deserialize, Serialize};

use super::{Change, Leaf};

/// A bucket with more leaves than this is split, unless it is at [`MAX_DEPTH`].
pub const MAX_LEAVES: usize = 16;

/// No bucket is deeper. Keys that share more bits than this cannot be found in numbers: 17 of them cost 2^64 hashes each.
pub const MAX_DEPTH: u8 = 64;

/// How many bytes a leaf has in a row: its key and its value.
const LEAF_BYTES: usize = 64;

/// A place for a bucket: all keys that begin with these bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "[u8; 9]", try_from = "[u8; 9]")]
pub struct BucketId {
    /// The bits, from the most significant down; those from `depth` on are 0.
    prefix: u64,
    /// How many bits.
    depth: u8,
}

/// Where buckets are kept.
pub trait Buckets: Sync {
    /// Why one cannot be read.
    type Error: Send;

    /// The leaves of each of `ids`, which are in ascending order. None of them has children.
    ///
    /// # Errors
    /// When one cannot be read, or holds what it should not.
    fn read(&self, ids: &[BucketId]) -> Result<Vec<Vec<Leaf>>, Self::Error>;

    /// Does both, at the same time where that is to be had.
    fn both<A: Send, B: Send>(
        &self,
        one: impl FnOnce() -> A + Send,
        other: impl FnOnce() -> B + Send,
    ) -> (A, B) {
        (one(), other())
    }
}

impl BucketId {
    /// All keys.
    pub const ROOT: Self = Self { prefix: 0, depth: 0 };

    /// How many bits the keys share.
    pub const fn depth(self) -> u8 {
        self.depth
    }

    /// The half of it to the left.
    #[must_use]
    pub const fn left(self) -> Self {
        Self { prefix: self.prefix, depth: self.depth + 1 }
    }

    /// The half of it to the right.
    #[must_use]
    pub const fn right(self) -> Self {
        Self { prefix: self.prefix | 1 << (63 - self.depth), depth: self.depth + 1 }
    }

    /// Whether `other`'s bit at `depth`, which it has, is 1.
    pub(super) const fn is_right_at(self, depth: u8) -> bool {
        self.prefix >> (63 - depth) & 1 == 1
    }

    /// Whether `key` belongs here.
    pub fn contains(self, key: &Digest) -> bool {
        let bytes = key.as_bytes().first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
        self.depth == 0 || (bytes ^ self.prefix) >> (64 - self.depth) == 0
    }

    /// Whether `other` is this place, or one below it.
    pub const fn covers(self, other: Self) -> bool {
        let shared = if self.depth == 0 { 0 } else { (self.prefix ^ other.prefix) >> (64 - self.depth) };
        other.depth >= self.depth && shared == 0
    }

    /// The other half of the place that it is a half of, and whether that is to the right of it; none for the root.
    pub fn sibling(self) -> Option<(Self, bool)> {
        let bit = 1_u64.checked_shl(u32::from(64 - self.depth.min(MAX_DEPTH))).filter(|_| self.depth > 0)?;
        Some((Self { prefix: self.prefix ^ bit, depth: self.depth }, self.prefix & bit == 0))
    }

    /// The key of its row: the prefix, big-endian, and the depth.
    pub fn to_bytes(self) -> [u8; 9] {
        let mut bytes = [self.depth; 9];
        bytes[..8].copy_from_slice(&self.prefix.to_be_bytes());
        bytes
    }

    /// The place that a row's key names; none where it is not in the form that [`Self::to_bytes`] gives.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (prefix, depth) = bytes.split_first_chunk()?;
        let (prefix, [depth]) = (u64::from_be_bytes(*prefix), depth) else { return None };
        let beyond = prefix.checked_shl(u32::from(*depth)).unwrap_or(0);
        (*depth <= MAX_DEPTH && beyond == 0).then_some(Self { prefix, depth: *depth })
    }
}

impl From<BucketId> for [u8; 9] {
    fn from(id: BucketId) -> Self {
        id.to_bytes()
    }
}

impl TryFrom<[u8; 9]> for BucketId {
    type Error = &'static str;

    fn try_from(bytes: [u8; 9]) -> Result<Self, &'static str> {
        Self::from_bytes(&bytes)
            .ok_or("the bits of a prefix beyond its depth are 0, and no depth is above 64")
    }
}

/// The row of these leaves.
pub fn to_row(leaves: &[Leaf]) -> Vec<u8> {
    leaves.iter().flat_map(|leaf| [leaf.key, leaf.value]).flat_map(|digest| *digest.as_bytes()).collect()
}

/// A row with that of the changed leaves `changes`, both in ascending order of their keys: of two with one key the changed one
/// stays. None where either is no list of leaves. Associative, so that changes may be brought together before they meet their row.
pub fn merge_rows(row: &[u8], changes: &[u8]) -> Option<Vec<u8>> {
    let ((mut before, []), (changes, [])) =
        (row.as_chunks::<LEAF_BYTES>(), changes.as_chunks::<LEAF_BYTES>())
    else {
        return None;
    };
    let mut merged = Vec::with_capacity((before.len() + changes.len()) * LEAF_BYTES);
    for change in changes {
        let smaller = before.partition_point(|leaf| leaf[..32] < change[..32]);
        merged.extend(before[..smaller].as_flattened());
        let is_same = before.get(smaller).is_some_and(|leaf| leaf[..32] == change[..32]);
        before = &before[smaller + usize::from(is_same)..];
        merged.extend(change);
    }
    merged.extend(before.as_flattened());
    Some(merged)
}

/// The leaves that lead from `before` to `after` by [`merge_rows`]; none where a leaf went.
pub fn changed(before: &[Leaf], after: &[Leaf]) -> Option<Vec<Leaf>> {
    let (mut changed, mut rest) = (Vec::new(), before);
    for leaf in after {
        match rest {
            [first, others @ ..] if first.key == leaf.key => {
                rest = others;
                changed.extend((first.value != leaf.value).then_some(*leaf));
            }
            [first, ..] if first.key < leaf.key => return None,
            _ => changed.push(*leaf),
        }
    }
    rest.is_empty().then_some(changed)
}

/// The leaves of a row; none where they are not those of a bucket at `id`, in order.
pub fn from_row(id: BucketId, row: &[u8]) -> Option<Vec<Leaf>> {
    let (chunks, []) = row.as_chunks::<LEAF_BYTES>() else { return None };
    let leaf = |bytes: &[u8; LEAF_BYTES]| {
        let (key, value) = bytes.split_first_chunk::<32>()?;
        Some(Leaf { key: Digest::from_bytes(*key), value: Digest::from_bytes(*value.first_chunk()?) })
    };
    let leaves: Vec<Leaf> = chunks.iter().filter_map(leaf).collect();
    are_sound(id, &leaves).then_some(leaves)
}

/// The buckets that `leaves`, in ascending order and all below `id`, are kept in. `visit` is given each.
pub fn split(id: BucketId, leaves: &[Leaf], visit: &mut impl FnMut(BucketId, &[Leaf])) {
    if leaves.is_empty() {
        return;
    }
    if leaves.len() <= MAX_LEAVES || id.depth == MAX_DEPTH {
        return visit(id, leaves);
    }
    let (left, right) = leaves.split_at(super::left_of(leaves, id.depth.into(), |leaf| &leaf.key));
    split(id.left(), left, visit);
    split(id.right(), right, visit);
}

/// Whether `leaves` are in ascending order of their keys, each once, and all below `id`.
pub fn are_sound(id: BucketId, leaves: &[Leaf]) -> bool {
    leaves.is_sorted_by(|a, b| a.key < b.key) && leaves.iter().all(|leaf| id.contains(&leaf.key))
}

/// `leaves` with `changes`, both in ascending order of their keys.
pub(super) fn merge(leaves: &[Leaf], changes: &[Change]) -> Vec<Leaf> {
    let mut merged = Vec::with_capacity(leaves.len() + changes.len());
    let mut rest = leaves;
    for (key, value) in changes {
        let before = rest.partition_point(|leaf| leaf.key < *key);
        merged.extend_from_slice(&rest[..before]);
        rest = &rest[before..];
        if let [same, after @ ..] = rest
            && same.key == *key
        {
            rest = after;
        }
        merged.extend(value.map(|value| Leaf { key: *key, value }));
    }
    merged.extend_from_slice(rest);
    merged
}

//! The authenticated state: a sparse Merkle tree over 256-bit keys, whose root depends on its content alone.
//!
//! The rules, bits of a key counted from the most significant:
//!
//! - an empty subtree is 32 zero bytes;
//! - a leaf is `H(key ‖ value)` in the domain `Leaf`;
//! - an inner node at depth d is `H(left ‖ right)` in the domain `Inner`: left are the keys whose bit d is 0;
//! - a subtree with one leaf is that leaf, at whatever depth.
//!
//! So no leaf passes for an inner node (two domains), and two sets of leaves have two roots. How the tree is laid out is no
//! part of the rules:
//!
//! - [`bucket`]: up to 16 leaves with a common prefix, a row on disk each
//! - [`trie`]: the nodes above the buckets, in memory, rebuilt from the buckets at start
//! - [`plan`]: which hashes a change needs, so that those of one depth are computed many at a time
//! - [`proof`]: that a key has a value, or none
//!
//! A change of k keys reads and writes k buckets at most, and hashes their leaves and the paths above them. A bucket that
//! grows too large is split where it is, so keys that were ground to share a prefix cost their own bucket's depth only.
//!
//! Left to others: what keys and values stand for ([`crate::state`]), and the disk.

pub mod bucket;
pub mod memory;
pub mod plan;
pub mod proof;
pub mod trie;

use genesis::Digest;
use serde::{Deserialize, Serialize};

use self::bucket::MAX_DEPTH;
pub use self::bucket::{BucketId, Buckets};
pub use self::memory::MemoryTree;
use self::plan::{Plan, Source};
pub use self::proof::{Proof, ProofError};
pub use self::trie::{Trie, Update};

/// A key and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaf {
    /// The key.
    pub key: Digest,
    /// The value.
    pub value: Digest,
}

/// What is to become of a key: its new value, or none.
pub type Change = (Digest, Option<Digest>);

/// What a subtree looks like from above.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Summary {
    /// It has no leaf.
    #[default]
    Empty,
    /// It has one leaf, with this digest.
    Leaf(Digest),
    /// It has several, under a node with this digest.
    Inner(Digest),
}

impl Summary {
    /// The subtree's root.
    pub const fn digest(&self) -> Digest {
        match self {
            Self::Empty => Digest::ZERO,
            Self::Leaf(digest) | Self::Inner(digest) => *digest,
        }
    }
}

/// The root over `leaves`, which are in ascending order of their keys.
pub fn root(leaves: &[Leaf]) -> Digest {
    let mut plan = Plan::new();
    let source = plan.subtree(leaves, 0);
    plan.run().summary(source).digest()
}

/// The summary of a subtree with `leaves`, in ascending order of their keys, below `id`.
pub fn summary(id: BucketId, leaves: &[Leaf]) -> Summary {
    let mut plan = Plan::new();
    let source = plan.subtree(leaves, id.depth().into());
    plan.run().summary(source)
}

/// The root over subtrees, in ascending order; what none of them covers is empty. None where one lies within another, or
/// they are not in order.
pub fn root_of_subtrees(subtrees: &[(BucketId, Summary)]) -> Option<Digest> {
    let mut plan = Plan::new();
    let source = join_subtrees(&mut plan, BucketId::ROOT, subtrees)?;
    Some(plan.run().summary(source).digest())
}

fn join_subtrees(plan: &mut Plan, id: BucketId, subtrees: &[(BucketId, Summary)]) -> Option<Source> {
    match subtrees {
        [] => return Some(Source::Known(Summary::Empty)),
        [(only, summary)] if *only == id => return Some(Source::Known(*summary)),
        _ if id.depth() == MAX_DEPTH => return None,
        _ => {}
    }
    let (left, right) = subtrees.split_at(subtrees.partition_point(|(part, _)| id.left().covers(*part)));
    if !right.iter().all(|(part, _)| id.right().covers(*part)) {
        return None;
    }
    let (left, right) = (join_subtrees(plan, id.left(), left)?, join_subtrees(plan, id.right(), right)?);
    Some(plan.join(id.depth().into(), left, right))
}

/// The bit of `key` that says on which side of a node at `depth` it is: true is right.
fn bit(key: &Digest, depth: usize) -> bool {
    key.as_bytes()[depth / 8] >> (7 - depth % 8) & 1 == 1
}

/// How many of `items`, which are in order and share their first `depth` bits, are on the left of the node there.
fn left_of<T>(items: &[T], depth: usize, key: impl Fn(&T) -> &Digest) -> usize {
    items.partition_point(|item| !bit(key(item), depth))
}

#[cfg(test)]
mod tests;

//! That a key has a value in the tree with a known root, or has none.
//!
//! A proof is a path from the root down to where the key would be: the digests beside the path, and what it ends at. It ends
//! at the key's own leaf (present), at another key's leaf that has the same bits as far as the path goes (absent), or at
//! nothing (absent).

use genesis::encoding::list;
use genesis::{Digest, Domain};
use serde::{Deserialize, Serialize};

use super::bucket::BucketId;
use super::plan::Plan;
use super::trie::{Node, Replaced, Trie};
use super::{Leaf, Summary, bit, left_of};

/// The most digests beside a path: one a bit of the key.
pub const MAX_SIBLINGS: usize = 256;

/// A path to where a key is, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// The digest beside the path at each depth, from the root down.
    #[serde(deserialize_with = "list::<_, _, 32>")]
    pub siblings: Vec<Digest>,
    /// What the path ends at, if anything.
    pub end: Option<Leaf>,
}

/// Why a proof shows nothing.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ProofError {
    /// A path longer than a key.
    #[error("the path has {count} steps, but a key has {MAX_SIBLINGS} bits")]
    TooLong {
        /// Its steps.
        count: usize,
    },
    /// It ends at a leaf that the path to the key does not lead to.
    #[error("the path ends at {found}, which is not on the way to {key}")]
    Astray {
        /// The key asked for.
        key: Digest,
        /// The key that it ends at.
        found: Digest,
    },
    /// It is a path in another tree.
    #[error("the path leads from root {found}, not from {expected}")]
    OtherRoot {
        /// The root that was expected.
        expected: Digest,
        /// The root that the path has.
        found: Digest,
    },
}

impl Proof {
    /// The value of `key` in the tree with this root; none where it has none.
    ///
    /// # Errors
    /// When the proof does not show it.
    pub fn value(&self, root: &Digest, key: &Digest) -> Result<Option<Digest>, ProofError> {
        let count = self.siblings.len();
        if count > MAX_SIBLINGS {
            return Err(ProofError::TooLong { count });
        }
        let shares_path = |leaf: &Leaf| (0..count).all(|depth| bit(&leaf.key, depth) == bit(key, depth));
        if let Some(leaf) = self.end.as_ref().filter(|leaf| !shares_path(leaf)) {
            return Err(ProofError::Astray { key: *key, found: leaf.key });
        }
        let mut digest =
            self.end.as_ref().map_or(Digest::ZERO, |leaf| hash(Domain::Leaf, &leaf.key, &leaf.value));
        for (depth, sibling) in self.siblings.iter().enumerate().rev() {
            let (left, right) = if bit(key, depth) { (sibling, &digest) } else { (&digest, sibling) };
            digest = hash(Domain::Inner, left, right);
        }
        if digest != *root {
            return Err(ProofError::OtherRoot { expected: *root, found: digest });
        }
        Ok(self.end.filter(|leaf| leaf.key == *key).map(|leaf| leaf.value))
    }
}

fn hash(domain: Domain, left: &Digest, right: &Digest) -> Digest {
    Digest::of(domain, &[*left.as_bytes(), *right.as_bytes()].concat())
}

/// The way to `key` in the tree of `leaves`, which are in ascending order.
pub fn prove(leaves: &[Leaf], key: &Digest) -> Proof {
    let mut proof = Proof { siblings: Vec::new(), end: None };
    proof.extend(leaves, 0, key);
    proof
}

impl Proof {
    /// Goes on from a node at `depth` with these leaves below it.
    fn extend(&mut self, mut leaves: &[Leaf], mut depth: usize, key: &Digest) {
        while leaves.len() > 1 {
            let (left, right) = leaves.split_at(left_of(leaves, depth, |leaf| &leaf.key));
            let (own, other) = if bit(key, depth) { (right, left) } else { (left, right) };
            self.siblings.push(summary(other, depth + 1).digest());
            (leaves, depth) = (own, depth + 1);
        }
        self.end = leaves.first().copied();
    }
}

fn summary(leaves: &[Leaf], depth: usize) -> Summary {
    let mut plan = Plan::new();
    let source = plan.subtree(leaves, depth);
    plan.run().summary(source)
}

/// The way to a key as far as the memory knows it. The bucket at its end is still to be read.
#[derive(Clone, Debug)]
pub struct Path {
    key: Digest,
    siblings: Vec<Digest>,
    /// The bucket, unless the path ends before.
    end: Option<End>,
}

#[derive(Clone, Debug)]
struct End {
    id: BucketId,
    summary: Summary,
    /// Its leaves, where they changed since.
    leaves: Option<Vec<Leaf>>,
}

impl Trie {
    /// The way to `key` in the tree as it was before the updates that `since` replaced, the oldest first.
    pub fn path<'a>(&self, since: impl Iterator<Item = &'a Replaced> + Clone, key: &Digest) -> Path {
        let node = |index: u32| -> Node {
            let old = since.clone().find_map(|replaced| {
                let place = replaced.nodes.binary_search_by_key(&index, |(index, _)| *index).ok()?;
                Some(replaced.nodes[place].1)
            });
            old.unwrap_or_else(|| self.node(index))
        };
        let mut path = Path { key: *key, siblings: Vec::new(), end: None };
        let (mut here, mut id) = (node(0), BucketId::ROOT);
        while here.summary != Summary::Empty {
            let Some(children) = here.children() else {
                let leaves = since.clone().find_map(|replaced| {
                    let place = replaced.rows.binary_search_by_key(&id, |(id, _)| *id).ok()?;
                    Some(replaced.rows[place].1.clone())
                });
                path.end = Some(End { id, summary: here.summary, leaves });
                break;
            };
            let (left, right) = (node(children), node(children + 1));
            // A lone leaf ends the path where its subtree begins; it is still to be looked for, below.
            let goes_right = match here.summary {
                Summary::Inner(_) => bit(key, id.depth().into()),
                _ => left.summary == Summary::Empty,
            };
            let (own, other) = if goes_right { (right, left) } else { (left, right) };
            if matches!(here.summary, Summary::Inner(_)) {
                path.siblings.push(other.summary.digest());
            }
            (here, id) = (own, if goes_right { id.right() } else { id.left() });
        }
        path
    }
}

impl Path {
    /// The bucket to be read, where one is.
    pub fn missing(&self) -> Option<BucketId> {
        self.end.as_ref().filter(|end| end.leaves.is_none()).map(|end| end.id)
    }

    /// The proof, with the leaves of the bucket that was missing. None where they are not those that the memory knew: a
    /// change came in between.
    pub fn finish(self, read: Vec<Leaf>) -> Option<Proof> {
        let mut proof = Proof { siblings: self.siblings, end: None };
        if let Some(End { id, summary: known, leaves }) = self.end {
            let leaves = leaves.unwrap_or(read);
            if summary(&leaves, id.depth().into()) != known {
                return None;
            }
            proof.extend(&leaves, id.depth().into(), &self.key);
        }
        Some(proof)
    }
}

//! Which hashes a change needs. A plan is drawn up first, and run then: leaves first, then the nodes of each depth from the
//! deepest up, so that many are hashed at once.

use std::sync::LazyLock;

use genesis::digest::many::{Pair, PairHasher};
use genesis::{Digest, Domain};

use super::{Leaf, Summary, left_of};

static LEAF: LazyLock<PairHasher> = LazyLock::new(|| PairHasher::new(Domain::Leaf));
static INNER: LazyLock<PairHasher> = LazyLock::new(|| PairHasher::new(Domain::Inner));

/// A subtree whose summary the plan will know once it ran, or knows already.
#[derive(Clone, Copy, Debug)]
pub enum Source {
    /// As it is.
    Known(Summary),
    /// The leaf with this place in the plan.
    Leaf(usize),
    /// The node with this place in the plan.
    Inner(usize),
}

/// Hashes to be computed.
#[derive(Debug, Default)]
pub struct Plan {
    leaves: Vec<Pair>,
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    depth: usize,
    left: Source,
    right: Source,
}

/// The hashes of a plan.
#[derive(Debug)]
pub struct Hashes {
    leaves: Vec<Digest>,
    nodes: Vec<Digest>,
}

impl Source {
    const fn is_empty(&self) -> bool {
        matches!(self, Self::Known(Summary::Empty))
    }

    const fn is_leaf(&self) -> bool {
        matches!(self, Self::Leaf(_) | Self::Known(Summary::Leaf(_)))
    }
}

impl Plan {
    /// One without hashes.
    pub fn new() -> Self {
        Self::default()
    }

    /// The subtree at `depth` with these leaves, in ascending order.
    pub fn subtree(&mut self, leaves: &[Leaf], depth: usize) -> Source {
        match leaves {
            [] => Source::Known(Summary::Empty),
            [leaf] => {
                self.leaves.push(pair(&leaf.key, &leaf.value));
                Source::Leaf(self.leaves.len() - 1)
            }
            _ => {
                let (left, right) = leaves.split_at(left_of(leaves, depth, |leaf| &leaf.key));
                let (left, right) = (self.subtree(left, depth + 1), self.subtree(right, depth + 1));
                self.join(depth, left, right)
            }
        }
    }

    /// The subtree at `depth` with these two below it. A lone leaf is no node.
    pub fn join(&mut self, depth: usize, left: Source, right: Source) -> Source {
        if right.is_empty() && (left.is_empty() || left.is_leaf()) {
            left
        } else if left.is_empty() && right.is_leaf() {
            right
        } else {
            self.nodes.push(Node { depth, left, right });
            Source::Inner(self.nodes.len() - 1)
        }
    }

    /// Computes the hashes.
    pub fn run(self) -> Hashes {
        let mut leaves = Vec::with_capacity(self.leaves.len());
        LEAF.hash(&self.leaves, &mut leaves);
        let mut hashes = Hashes { leaves, nodes: vec![Digest::ZERO; self.nodes.len()] };
        let mut by_depth: Vec<Vec<usize>> = Vec::new();
        for (place, node) in self.nodes.iter().enumerate() {
            if by_depth.len() <= node.depth {
                by_depth.resize_with(node.depth + 1, Vec::new);
            }
            by_depth[node.depth].push(place);
        }
        let (mut pairs, mut digests) = (Vec::new(), Vec::new());
        for places in by_depth.iter().rev() {
            pairs.clear();
            digests.clear();
            pairs.extend(places.iter().map(|place| {
                let Node { left, right, .. } = &self.nodes[*place];
                pair(&hashes.summary(*left).digest(), &hashes.summary(*right).digest())
            }));
            INNER.hash(&pairs, &mut digests);
            for (place, digest) in places.iter().zip(&digests) {
                hashes.nodes[*place] = *digest;
            }
        }
        hashes
    }
}

impl Hashes {
    /// What became of a subtree of the plan.
    pub fn summary(&self, source: Source) -> Summary {
        match source {
            Source::Known(summary) => summary,
            Source::Leaf(place) => Summary::Leaf(self.leaves[place]),
            Source::Inner(place) => Summary::Inner(self.nodes[place]),
        }
    }
}

fn pair(left: &Digest, right: &Digest) -> Pair {
    let mut pair = [0; 64];
    pair[..32].copy_from_slice(left.as_bytes());
    pair[32..].copy_from_slice(right.as_bytes());
    pair
}

//! One height of the chain.
//!
//! A block names its batches, in order. Consensus decides it: `digest` is the agreed candidate's, and `proof` holds
//! whatever consensus needs to show it to others. This crate carries both and interprets neither.

use genesis::encoding::list;
use genesis::{Digest, Genesis, Height, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::Moment;

/// A final block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Its place; the first block after genesis is 1, unless the chain goes on from another.
    pub height: Height,
    /// The digest of the block before it; the chain's id for the first.
    pub parent: Digest,
    /// The digest of the candidate that was agreed on.
    pub digest: Digest,
    /// The agreed time.
    pub time: UnixMillis,
    /// The digests of its batches, in the order of execution.
    #[serde(deserialize_with = "list::<_, _, 32>")]
    pub batches: Vec<Digest>,
    /// The candidate and its certificate, in consensus's bytes. Empty where a later block's certificate covers it.
    #[serde(deserialize_with = "list::<_, _, 1>")]
    pub proof: Vec<u8>,
}

/// The newest final block, as far as its successor needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tip {
    /// Its height; at genesis 0, or where the chain that this one goes on from ended.
    pub height: Height,
    /// Its digest; the chain's id at genesis.
    pub digest: Digest,
    /// Its time; the chain's founding at genesis.
    pub time: UnixMillis,
}

impl Block {
    /// What the rules may know of it.
    pub const fn moment(&self) -> Moment {
        Moment { height: self.height, time: self.time }
    }

    /// The chain's tip once this block is final.
    pub const fn tip(&self) -> Tip {
        Tip { height: self.height, digest: self.digest, time: self.time }
    }

    /// Whether this block comes directly after `tip`.
    pub fn extends(&self, tip: &Tip) -> bool {
        tip.height.0.checked_add(1) == Some(self.height.0) && self.parent == tip.digest
    }
}

impl Tip {
    /// The tip of a chain without blocks.
    pub fn genesis(genesis: &Genesis) -> Self {
        Self { height: genesis.height(), digest: genesis.chain(), time: genesis.time() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{block_after, genesis};

    #[test]
    fn a_block_extends_only_its_parent_at_the_height_before() {
        let tip = Tip::genesis(&genesis());
        let block = block_after(&tip, &[]);
        assert!(block.extends(&tip));
        assert!(!block.extends(&block.tip()));
        assert!(!Block { height: Height(2), ..block.clone() }.extends(&tip));
        assert!(!Block { parent: Digest::ZERO, ..block }.extends(&tip));
    }
}

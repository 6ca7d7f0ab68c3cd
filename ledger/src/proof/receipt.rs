//! What shows a transaction's receipt, or that it expired without one.
//!
//! The state tree holds every block's summary, with the root of a tree of its receipts. So a receipt is shown by two paths: to the
//! block in the state tree, and to the transaction in the block's. That there is none takes these two for every block that could
//! have applied the transaction: from the one after its maker saw the chain, to its expiry. No block outside applies it.

use std::ops::RangeInclusive;

use genesis::encoding::list;
use genesis::{Digest, Height, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::state::{BlockSummary, StateKey};
use crate::{Receipt, tree};

/// What a block has of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InBlock {
    /// The block's time.
    pub time: UnixMillis,
    /// The root of its receipts.
    pub receipts_root: Digest,
    /// The way to the block in the state tree.
    pub block: tree::Proof,
    /// The way to the transaction in the tree of the block's receipts.
    pub receipt: tree::Proof,
}

/// What became of a transaction, with what shows it. The order of the variants is part of the encoding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum FateProof {
    /// It has a receipt.
    Final {
        /// Which.
        receipt: Receipt,
        /// What its block has of it.
        shown: Box<InBlock>,
    },
    /// It has none and never will.
    Expired {
        /// What each block of its window has of it: nothing.
        #[serde(deserialize_with = "list::<_, _, 58>")]
        blocks: Vec<InBlock>,
    },
}

/// The blocks that could apply a transaction. The caller vouches for both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// A height of the chain before the transaction was signed: one that an answer checked with a proof has shown, not one that a
    /// node says. Where the chain had not come so far, a block before could apply the transaction.
    pub after: Height,
    /// The last height at which the transaction can be applied, as it says itself.
    pub expires_at: Height,
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It has this receipt.
    Final(Receipt),
    /// It was in no block that could apply it, so it took no effect and never will.
    Expired,
}

/// Why a proof shows nothing.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum FateProofError {
    /// A path is not one in its tree.
    #[error("block {height}: {error}")]
    Path {
        /// The block.
        height: Height,
        /// What is wrong.
        error: tree::ProofError,
    },
    /// The state has another summary of the block.
    #[error("the state tree does not hold block {height} as the proof brings it")]
    Block {
        /// The block.
        height: Height,
    },
    /// The receipt is of another transaction.
    #[error("the receipt is of transaction {found}, not {expected}")]
    OtherTransaction {
        /// The transaction asked for.
        expected: Digest,
        /// The receipt's.
        found: Digest,
    },
    /// The block has another receipt of the transaction, or should have one, or none.
    #[error("block {height} holds {expected:?} of the transaction, but the proof brings {found:?}")]
    Receipt {
        /// The block.
        height: Height,
        /// The digest of the receipt that it holds.
        expected: Option<Digest>,
        /// That of the one that came.
        found: Option<Digest>,
    },
    /// That there is no receipt was not asked for.
    #[error("the proof is that the transaction expired, but nobody said when: ask with its expiry")]
    NoWindow,
    /// The window is none.
    #[error("a transaction that expires at height {expires_at} cannot have been signed after block {after}")]
    EmptyWindow {
        /// The window's beginning.
        after: Height,
        /// Its end.
        expires_at: Height,
    },
    /// The proof is of fewer or more blocks.
    #[error("the transaction could be applied in {expected} blocks, but the proof is of {found}")]
    Count {
        /// The window's length.
        expected: u64,
        /// How many came.
        found: usize,
    },
}

impl Window {
    /// The heights of its blocks, on a chain whose blocks come after `origin`.
    ///
    /// # Errors
    /// When there are none.
    pub fn heights(&self, origin: Height) -> Result<RangeInclusive<u64>, FateProofError> {
        let Self { after, expires_at } = *self;
        let after = after.max(origin);
        if after >= expires_at {
            return Err(FateProofError::EmptyWindow { after, expires_at });
        }
        Ok(after.0 + 1..=expires_at.0)
    }
}

impl InBlock {
    /// The digest of the receipt of `id` that the block at `height` has, if any, in the state with this root.
    fn check(
        &self,
        id: &Digest,
        height: Height,
        state_root: &Digest,
    ) -> Result<Option<Digest>, FateProofError> {
        let path = |error| FateProofError::Path { height, error };
        let summary = BlockSummary { height, time: self.time, receipts_root: self.receipts_root };
        let held = self.block.value(state_root, &StateKey::Block(height).digest()).map_err(path)?;
        if held != Some(summary.digest()) {
            return Err(FateProofError::Block { height });
        }
        self.receipt.value(&self.receipts_root, id).map_err(path)
    }
}

impl FateProof {
    /// What it shows of the transaction `id` in the state with this root. `window` says which blocks could apply it, on a chain
    /// whose blocks come after `origin`; without it only a receipt is shown.
    ///
    /// # Errors
    /// When it does not fit the root, itself, or the window.
    pub fn check(
        self,
        id: &Digest,
        window: Option<Window>,
        origin: Height,
        state_root: &Digest,
    ) -> Result<Fate, FateProofError> {
        match self {
            Self::Final { receipt, shown } => {
                if receipt.id != *id {
                    return Err(FateProofError::OtherTransaction { expected: *id, found: receipt.id });
                }
                let (height, found) = (receipt.height, Some(receipt.digest()));
                let expected = shown.check(id, height, state_root)?;
                if expected != found {
                    return Err(FateProofError::Receipt { height, expected, found });
                }
                Ok(Fate::Final(receipt))
            }
            Self::Expired { blocks } => {
                let heights = window.ok_or(FateProofError::NoWindow)?.heights(origin)?;
                let (expected, found) = (heights.end() - heights.start() + 1, blocks.len());
                if expected != found as u64 {
                    return Err(FateProofError::Count { expected, found });
                }
                for (height, block) in heights.map(Height).zip(blocks) {
                    let held = block.check(id, height, state_root)?;
                    if held.is_some() {
                        return Err(FateProofError::Receipt { height, expected: held, found: None });
                    }
                }
                Ok(Fate::Expired)
            }
        }
    }
}

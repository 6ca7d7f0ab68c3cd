//! Why blocks are not taken: with which height, and what to do.

use consensus::Checkpoint;
use genesis::{Digest, Epoch, Height};
use ledger::{ApplyError, BatchError, HOW_TO_REPLACE, StoreError};

use super::stream::StreamError;
use crate::sync::check::Lie;
use crate::sync::serve::AnswerError;

/// Why blocks are not taken. What came before them is in the ledger.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The disk failed, or is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The disk, or a stored block's proof, is damaged.
    #[error(transparent)]
    Kept(#[from] AnswerError),
    /// A block can not be executed.
    #[error(transparent)]
    Apply(#[from] ApplyError<StoreError>),
    /// The stream can not be read.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The ledger can not be gone on from.
    #[error("{0:#}")]
    Position(anyhow::Error),
    /// Somebody wants no more.
    #[error("stopped")]
    Stopped,
    /// Blocks of a store that it does not hold.
    #[error(
        "the blocks from height {from} on are not all here: this ledger holds those from {first} on. Say --from {first}, or \
         ask a node that keeps them all"
    )]
    NotKept {
        /// The first that was asked for.
        from: Height,
        /// The first that is here.
        first: Height,
    },
    /// A store that lacks a batch.
    #[error("batch {digest} of block {height} is not in the ledger: it is damaged. {HOW_TO_REPLACE}")]
    NoBatch {
        /// The block.
        height: Height,
        /// The batch.
        digest: Digest,
    },
    /// Blocks are missing between the ledger and what comes.
    #[error(
        "the blocks begin at height {first}, but the ledger ends at {tip}: blocks from height {} on are needed, as \
         `realdid chain export --from` makes them", tip.next()
    )]
    Gap {
        /// The first that comes.
        first: Height,
        /// The ledger's tip.
        tip: Height,
    },
    /// Blocks that do not prove themselves.
    #[error("the blocks from height {from} on are not proven, and were not taken: {problem}")]
    Unproven {
        /// The first of them.
        from: Height,
        /// What is wrong.
        problem: Lie,
    },
    /// A range without blocks.
    #[error("blocks from height {from} on are announced, and none comes: what was read is damaged")]
    Empty {
        /// The height of the block that should come.
        from: Height,
    },
    /// A range that says of itself that it begins elsewhere.
    #[error(
        "the blocks from height {from} on should come, but what comes says that it begins at {found}: what was read is damaged"
    )]
    OtherFirst {
        /// The height of the block that should come.
        from: Height,
        /// What the range says.
        found: Height,
    },
    /// Blocks of an epoch that has not begun, or is over.
    #[error(
        "the blocks from height {from} on are of epoch {found}, but the ledger is in epoch {here}: they are not the ones that \
         come next, or the checkpoint that closed epoch {here} is missing before them"
    )]
    OtherEpoch {
        /// The first of them.
        from: Height,
        /// Their epoch.
        found: Epoch,
        /// The ledger's.
        here: Epoch,
    },
    /// A certificate that proves nothing about the blocks that it comes with.
    #[error(
        "the checkpoint of height {height} that comes with the blocks from height {from} on is not of these blocks and not one \
         that they cite: what was read is damaged"
    )]
    Stray {
        /// The first block.
        from: Height,
        /// The checkpoint's height.
        height: Height,
    },
    /// A block that the ledger has otherwise.
    #[error(
        "block {height} is {there}, but the ledger here has {here}: they are of two histories, or one of them is damaged. Check \
         the ledger with `realdid chain verify`"
    )]
    Fork {
        /// The height.
        height: Height,
        /// The ledger's block.
        here: Digest,
        /// The other.
        there: Digest,
    },
    /// A batch that is another than the block names.
    #[error(
        "block {height} names batch {expected}, but {found} comes in its place: what was read is damaged"
    )]
    OtherBatch {
        /// The block.
        height: Height,
        /// What it names.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// A batch that no honest validator lets pass.
    #[error(
        "batch {digest} of block {height}, which a quorum made final, is refused by this build: {problem}"
    )]
    Batch {
        /// The block.
        height: Height,
        /// The batch.
        digest: Digest,
        /// What is wrong.
        problem: BatchError,
    },
    /// Execution led to something else than what the validators signed.
    #[error(
        "block {} leads to another result here than {signers} validators signed, and was not taken: here {}, signed {}. The \
         ledger it was executed on is damaged, or this build executes otherwise than theirs. Execute the chain again from its \
         first block, with the build that the validators run", here.height, shown(here), shown(signed)
    )]
    OtherOutcome {
        /// What was computed.
        here: Box<Checkpoint>,
        /// What the validators signed.
        signed: Box<Checkpoint>,
        /// How many signed it.
        signers: usize,
    },
    /// Execution led to something else than the store says.
    #[error(
        "block {height} leads to state {executed} when it is executed again, but the ledger says {stored}: it is damaged, or \
         was made by a build that executes otherwise. {HOW_TO_REPLACE}"
    )]
    OtherStoredOutcome {
        /// The block.
        height: Height,
        /// The state's root as executed.
        executed: Digest,
        /// As stored.
        stored: Digest,
    },
}

fn shown(checkpoint: &Checkpoint) -> String {
    let Checkpoint { block, state_root, receipts_root, configuration, pending, .. } = checkpoint;
    let pending = pending.map(|pending| format!(", pending {pending}")).unwrap_or_default();
    format!(
        "block {block}, state {state_root}, receipts {receipts_root}, configuration {configuration}{pending}"
    )
}

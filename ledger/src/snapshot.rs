//! A ledger at one height, in pieces: how a node begins without the chain before it.
//!
//! A quorum's certificate of a block names the root of the state after it, and the block. From those two digests everything
//! follows; each piece is checked, when it arrives, by what came before it:
//!
//! | piece | is checked by |
//! | --- | --- |
//! | [`Piece::Tree`]: the leaves of a subtree | its summary; all summaries together by the state's root |
//! | [`Piece::Governance`] | its leaf, and the digests in it |
//! | [`Piece::Registry`] | each entry by its leaf |
//! | [`Piece::Records`]: the newest record of each DID | each header by its leaf, each document by its header |
//! | [`Piece::History`]: older versions, each DID's newest first | each header by the one after it |
//! | [`Piece::Blocks`]: without their batches, the newest first | each by the digest that the one after it names |
//! | [`Piece::Receipts`]: block by block, the oldest first | each block's by their root, in that block's leaf |
//!
//! The blocks are those whose batches no block may name again, the receipts those whose transactions could be ordered again
//! ([`remembered_from`]): without them a node would decide otherwise than the others. That nothing was left out is counted at the
//! end: as many DIDs, entries and blocks as the tree has leaves, as many versions as the newest ones say.
//!
//! Invariant: two nodes that make a snapshot after the same block cut the same pieces, so that each can be had from either.
//!
//! Left to others: certificates, and where pieces are kept (the node); rows (`store::snapshot`).

use genesis::encoding::{DecodeError, decode, encode, list};
use genesis::{Configuration, Digest, Domain, Height};
use serde::{Deserialize, Serialize};

use crate::tree::{BucketId, Leaf, Summary};
use crate::{Block, Governance, Outcome, Receipt, Record, RegistryEntry, Tip};

/// The most bytes of a piece.
pub const MAX_PIECE_BYTES: usize = 16 << 20;
/// A piece is closed once it has so many bytes: the next item goes into the next one.
#[cfg(feature = "store")]
pub(crate) const FULL_PIECE_BYTES: usize = 2 << 20;
/// What a piece of the tree has beside its leaves, in bytes: its kind and their number.
const PIECE_HEAD_BYTES: u64 = 12;
/// What a leaf has, in bytes.
const LEAF_BYTES: u64 = 64;
/// A subtree with more leaves than this is cut into its halves.
pub(crate) const MAX_PIECE_LEAVES: usize = 32_768;

/// What is known of a piece before it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PieceInfo {
    /// What it holds.
    pub kind: PieceKind,
    /// Its length in bytes, at most [`MAX_PIECE_BYTES`].
    pub bytes: u64,
    /// Its digest ([`digest`]).
    pub digest: Digest,
}

/// What a piece holds. The order of the variants is part of the encoding, and that of the pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PieceKind {
    /// The leaves of this subtree of the state tree, which has this summary.
    Tree(BucketId, Summary),
    /// See [`Piece::Governance`].
    Governance,
    /// See [`Piece::Registry`].
    Registry,
    /// See [`Piece::Records`].
    Records,
    /// See [`Piece::History`].
    History,
    /// See [`Piece::Blocks`].
    Blocks,
    /// See [`Piece::Receipts`].
    Receipts,
}

/// A part of a ledger. The order of the variants is part of the encoding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "one is there at a time")]
pub enum Piece {
    /// Leaves, in ascending order.
    Tree(#[serde(deserialize_with = "list::<_, _, 64>")] Vec<Leaf>),
    /// Who is in charge and what is voted on, and the configurations that it announced.
    Governance(Governance, #[serde(deserialize_with = "list::<_, _, 200>")] Vec<Configuration>),
    /// Entries of the trust registry.
    Registry(#[serde(deserialize_with = "list::<_, _, 80>")] Vec<RegistryEntry>),
    /// Newest records.
    Records(#[serde(deserialize_with = "list::<_, _, 140>")] Vec<Record>),
    /// Records of earlier versions; in descending order of DID and version.
    History(#[serde(deserialize_with = "list::<_, _, 140>")] Vec<Record>),
    /// Blocks, in descending order of height without gaps.
    Blocks(#[serde(deserialize_with = "list::<_, _, 96>")] Vec<Block>),
    /// Receipts, in ascending order of height without gaps.
    Receipts(#[serde(deserialize_with = "list::<_, _, 25>")] Vec<BlockReceipts>),
}

/// Receipts of one block, in its order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockReceipts {
    /// The block's moment.
    pub at: crate::Moment,
    /// Its receipts, or a part of them.
    #[serde(deserialize_with = "list::<_, _, 64>")]
    pub receipts: Vec<Receipt>,
    /// Whether there are more of this block, first thing in the next piece.
    pub goes_on: bool,
}

/// What a quorum's certificates say of a ledger, from the genesis document up to the block that a snapshot was made after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The block.
    pub tip: Tip,
    /// What it led to.
    pub outcome: Outcome,
    /// Every epoch's height of beginning and its configuration, from the first on.
    pub epochs: Vec<(Height, Configuration)>,
    /// The certificates that a ledger keeps of it, each with its height.
    pub certificates: Vec<(Height, Vec<u8>)>,
}

/// Why a piece is not part of the ledger that the certificates speak of.
#[derive(Debug, thiserror::Error)]
pub enum PieceError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Encoding(#[from] DecodeError),
    /// Damaged on its way, or another one.
    #[error("its digest is {found}, not {expected}")]
    OtherDigest {
        /// The bytes'.
        found: Digest,
        /// The piece's.
        expected: Digest,
    },
    /// It holds something else than it should.
    #[error("it holds something else than the list of pieces says")]
    OtherKind,
    /// The list of pieces does not lead to the certified state.
    #[error("the subtrees in the list of pieces do not lead to the state's root {0}")]
    OtherRoot(Digest),
    /// The list is not in the order that pieces come in.
    #[error("piece {0} of the list is out of order, or too long")]
    OutOfOrder(usize),
    /// The tree is cut finer than it is by whoever makes a snapshot.
    #[error("the list of pieces cuts the tree into more subtrees than there are leaves for")]
    CutTooFine,
    /// Something in it does not follow from what is certified.
    #[error("{what} does not follow from the certified state")]
    NotProven {
        /// What.
        what: String,
    },
    /// Something is missing at the end.
    #[error("it is incomplete: {what}")]
    Incomplete {
        /// What.
        what: String,
    },
}

impl Piece {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads the piece that `info` speaks of.
    ///
    /// # Errors
    /// When the bytes are others, or do not hold what they should.
    pub fn decode(info: &PieceInfo, bytes: &[u8]) -> Result<Self, PieceError> {
        let found = digest(bytes);
        if found != info.digest || bytes.len() as u64 != info.bytes {
            return Err(PieceError::OtherDigest { found, expected: info.digest });
        }
        let piece = Self::read(bytes)?;
        if piece.place() == info.kind.place() { Ok(piece) } else { Err(PieceError::OtherKind) }
    }

    /// Reads a piece, whichever.
    ///
    /// # Errors
    /// When the bytes are none.
    pub fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode(bytes, MAX_PIECE_BYTES)
    }

    const fn place(&self) -> u8 {
        match self {
            Self::Tree(_) => 0,
            Self::Governance(..) => 1,
            Self::Registry(_) => 2,
            Self::Records(_) => 3,
            Self::History(_) => 4,
            Self::Blocks(_) => 5,
            Self::Receipts(_) => 6,
        }
    }
}

impl PieceKind {
    const fn place(&self) -> u8 {
        match self {
            Self::Tree(..) => 0,
            Self::Governance => 1,
            Self::Registry => 2,
            Self::Records => 3,
            Self::History => 4,
            Self::Blocks => 5,
            Self::Receipts => 6,
        }
    }

    /// Its name, for people.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Tree(..) => "tree",
            Self::Governance => "governance",
            Self::Registry => "registry",
            Self::Records => "records",
            Self::History => "history",
            Self::Blocks => "blocks",
            Self::Receipts => "receipts",
        }
    }
}

/// The digest of a piece's bytes.
pub fn digest(bytes: &[u8]) -> Digest {
    Digest::of(Domain::Snapshot, bytes)
}

/// Whether a list of pieces can be that of a snapshot of the state with the root `root`.
///
/// # Errors
/// When pieces are out of order or too long, or the subtrees lead to another root or are cut too fine: each bucket of the tree takes
/// memory for good.
pub fn check_list(pieces: &[PieceInfo], root: Digest) -> Result<(), PieceError> {
    let mut before = 0;
    for (number, info) in pieces.iter().enumerate() {
        if info.kind.place() < before || info.bytes > MAX_PIECE_BYTES as u64 {
            return Err(PieceError::OutOfOrder(number));
        }
        before = info.kind.place();
    }
    let subtree = |info: &PieceInfo| match info.kind {
        PieceKind::Tree(id, summary) => {
            Some((id, summary, info.bytes.saturating_sub(PIECE_HEAD_BYTES) / LEAF_BYTES))
        }
        _ => None,
    };
    let mut subtrees: Vec<_> = pieces.iter().map_while(subtree).collect();
    subtrees.sort_unstable_by_key(|(id, ..)| *id);
    if is_cut_too_fine(&subtrees) {
        return Err(PieceError::CutTooFine);
    }
    let subtrees: Vec<_> = subtrees.into_iter().map(|(id, summary, _)| (id, summary)).collect();
    if crate::tree::root_of_subtrees(&subtrees) != Some(root) {
        return Err(PieceError::OtherRoot(root));
    }
    Ok(())
}

/// Whether some subtree, each with how many leaves it has, would fit into one piece with the other half of its place.
fn is_cut_too_fine(subtrees: &[(BucketId, Summary, u64)]) -> bool {
    subtrees.iter().enumerate().any(|(place, (id, _, leaves))| {
        let Some((sibling, is_right)) = id.sibling() else { return false };
        let neighbour =
            if is_right { subtrees.get(place + 1) } else { place.checked_sub(1).map(|it| &subtrees[it]) };
        match neighbour {
            Some((other, _, others)) if *other == sibling => leaves + others <= MAX_PIECE_LEAVES as u64,
            Some((other, ..)) => !sibling.covers(*other),
            None => true,
        }
    })
}

/// The first block whose receipts must be known after the block at `tip`: an earlier block's transactions have expired. Each of
/// `epochs` is the height that it began after, and the longest lifetime of a transaction in it.
pub fn remembered_from(epochs: &[(Height, u64)], tip: Height) -> Height {
    let ends = epochs.iter().skip(1).map(|(began, _)| *began).chain([tip]);
    let first = |(&(began, lifetime), end): (&(Height, u64), Height)| {
        let first = began.next().max(Height((tip.0 + 1).saturating_sub(lifetime)));
        (first <= end).then_some(first)
    };
    epochs.iter().zip(ends).find_map(first).unwrap_or_else(|| tip.next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_are_remembered_as_long_as_their_own_epochs_lifetimes_say() {
        let from = |epochs: &[(u64, u64)], tip| {
            let epochs: Vec<_> = epochs.iter().map(|(began, most)| (Height(*began), *most)).collect();
            remembered_from(&epochs, Height(tip)).0
        };
        // A transaction of block 1 may expire at 11, so after block 10 it can still come again, after 11 not.
        assert_eq!([10, 11, 12].map(|tip| from(&[(0, 10)], tip)), [1, 2, 3]);
        assert_eq!(from(&[(5, 100)], 20), 6);
        // Shortened at 50: what was ordered before may expire later.
        assert_eq!([60, 149, 150, 151].map(|tip| from(&[(0, 100), (50, 10)], tip)), [1, 50, 141, 142]);
        // Lengthened at 50.
        assert_eq!([55, 60, 200].map(|tip| from(&[(0, 10), (50, 100)], tip)), [46, 51, 101]);
        assert_eq!(from(&[(7, 10)], 7), 8);
    }

    #[test]
    fn a_piece_of_another_kind_or_with_a_flipped_bit_is_refused() {
        let bytes = Piece::Registry(Vec::new()).encode();
        let info = |kind| PieceInfo { kind, bytes: bytes.len() as u64, digest: digest(&bytes) };
        assert!(Piece::decode(&info(PieceKind::Registry), &bytes).is_ok());
        assert!(matches!(Piece::decode(&info(PieceKind::Records), &bytes), Err(PieceError::OtherKind)));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let refused = Piece::decode(&info(PieceKind::Registry), &flipped);
            assert!(matches!(refused, Err(PieceError::OtherDigest { .. })));
        }
    }
}

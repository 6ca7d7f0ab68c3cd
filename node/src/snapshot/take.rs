//! Making a node's ledger of a snapshot.
//!
//! Invariant: each piece is checked before the next one is asked for, whoever gives it.

use std::path::Path;

use consensus::Candidate;
use genesis::Genesis;
use ledger::snapshot::{Anchor, Piece, PieceError, PieceInfo, PieceKind};
use ledger::{Block, Restoration, RestoreError};

use super::{Manifest, ManifestError};
use crate::executor;
use crate::wire::Proof;

/// Why no ledger can be made.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// The manifest is not to be believed.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A piece, or the disk.
    #[error(transparent)]
    Restore(#[from] RestoreError),
}

/// A ledger on its way in.
pub struct Taking {
    restoration: Restoration,
    count: usize,
}

impl Taking {
    /// Begins to make the ledger in the directory `store` of the snapshot that `manifest` lists, or goes on where that was left.
    ///
    /// # Errors
    /// When the manifest is not to be believed, there is a ledger already, or the disk fails.
    pub fn begin(store: &Path, genesis: &Genesis, manifest: &Manifest) -> Result<Self, TakeError> {
        let anchor: Anchor = manifest.verify(genesis)?;
        let restoration = Restoration::open(store, genesis, anchor, manifest.pieces.clone())?;
        Ok(Self { restoration, count: manifest.pieces.len() })
    }

    /// The piece that is next, with its number; none where all are here.
    pub fn next(&self) -> Option<(usize, PieceInfo)> {
        self.restoration.next()
    }

    /// How many pieces there are.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Takes in the bytes of the piece that is next.
    ///
    /// # Errors
    /// When they do not follow from what is certified: others may be tried. When the disk fails.
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), TakeError> {
        if let Some((number, info)) = self.next().filter(|(_, info)| info.kind == PieceKind::Blocks) {
            check_blocks(&info, bytes).map_err(|error| RestoreError::Piece {
                number,
                kind: info.kind.name(),
                error,
            })?;
        }
        Ok(self.restoration.put(bytes)?)
    }

    /// Makes a ledger of it, durably.
    ///
    /// # Errors
    /// When something is missing, or the disk fails.
    pub fn finish(self) -> Result<(), TakeError> {
        Ok(self.restoration.finish()?)
    }
}

/// Whether each block is what its digest says: that is over the candidate, which is consensus's to know.
fn check_blocks(info: &PieceInfo, bytes: &[u8]) -> Result<(), PieceError> {
    let Piece::Blocks(blocks) = Piece::decode(info, bytes)? else { return Err(PieceError::OtherKind) };
    let is_sound = |block: &Block| {
        let Ok(Proof { candidate, commit: None }) = Proof::decode(&block.proof) else { return false };
        is_row_of(block, candidate)
    };
    match blocks.iter().find(|block| !is_sound(block)) {
        Some(block) => Err(PieceError::NotProven { what: format!("block {}", block.height) }),
        None => Ok(()),
    }
}

fn is_row_of(block: &Block, candidate: Candidate) -> bool {
    executor::row(&consensus::Block::new(candidate), None) == *block
}

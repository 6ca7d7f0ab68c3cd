//! Cutting a ledger into pieces.
//!
//! Invariant: how it is cut depends on what the ledger holds alone, not on how its rows came about.

use std::iter::Peekable;

use genesis::{Genesis, Height};
use rocksdb::IteratorMode;

use super::super::rows::Family;
use super::super::{Store, StoreError};
use crate::snapshot::{
    BlockReceipts, FULL_PIECE_BYTES, MAX_PIECE_LEAVES, Piece, PieceInfo, PieceKind, digest, remembered_from,
};
use crate::tree::bucket::{BucketId, from_row};
use crate::tree::{self, Leaf};
use crate::{Block, Record, RegistryEntry};

/// Where pieces go.
struct Cutter<E, F: FnMut(PieceInfo, &[u8]) -> Result<(), E>> {
    emit: F,
}

impl<E: From<StoreError>, F: FnMut(PieceInfo, &[u8]) -> Result<(), E>> Cutter<E, F> {
    fn emit(&mut self, kind: PieceKind, piece: &Piece) -> Result<(), E> {
        let bytes = piece.encode();
        (self.emit)(PieceInfo { kind, bytes: bytes.len() as u64, digest: digest(&bytes) }, &bytes)
    }

    /// Pieces of `items`, each with its length in bytes, about.
    fn emit_all<T>(
        &mut self,
        kind: PieceKind,
        items: impl Iterator<Item = Result<(T, usize), E>>,
        piece: impl Fn(Vec<T>) -> Piece,
    ) -> Result<(), E> {
        let (mut held, mut bytes) = (Vec::new(), 0);
        for item in items {
            let (item, length) = item?;
            held.push(item);
            bytes += length;
            if bytes >= FULL_PIECE_BYTES {
                self.emit(kind, &piece(std::mem::take(&mut held)))?;
                bytes = 0;
            }
        }
        if held.is_empty() { Ok(()) } else { self.emit(kind, &piece(held)) }
    }
}

/// A subtree while the rows are gone through.
enum Part {
    /// It is small enough so far to go into one piece with its neighbour.
    Open(Vec<Leaf>),
    /// It is in pieces.
    Cut,
}

impl Store {
    /// Cuts the ledger, on which nothing is committed meanwhile, into pieces, and gives each to `emit`. `bare` makes of a block what
    /// all nodes have of it in common: its proof may carry one node's certificate.
    ///
    /// # Errors
    /// When the disk fails, a row is damaged, or `emit` or `bare` do.
    pub fn cut<E: From<StoreError>>(
        &self,
        genesis: &Genesis,
        bare: impl Fn(Block) -> Result<Block, E>,
        emit: impl FnMut(PieceInfo, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut cutter = Cutter { emit };
        self.cut_tree(&mut cutter)?;
        let governance = self.governance();
        let mut announced = Vec::new();
        for digest in &governance.announced {
            let missing = || self.damaged(Family::Configurations, digest.as_bytes(), "it is missing".into());
            announced.push(self.configuration(digest)?.ok_or_else(missing)?);
        }
        cutter.emit(PieceKind::Governance, &Piece::Governance((*governance).clone(), announced))?;
        let entries = self.rows(Family::Registry, IteratorMode::Start).map(|row| {
            let (key, value) = row?;
            let entry: RegistryEntry = self.decode(Family::Registry, &key, &value)?;
            Ok((entry, value.len()))
        });
        cutter.emit_all(PieceKind::Registry, entries, Piece::Registry)?;
        let records = self.rows(Family::Records, IteratorMode::Start).map(|row| {
            let (key, value) = row?;
            let record: Record = self.decode(Family::Records, &key, &value)?;
            Ok((record, value.len()))
        });
        cutter.emit_all(PieceKind::Records, records, Piece::Records)?;
        let older = self.rows(Family::History, IteratorMode::End).map(|row| {
            let (key, value) = row?;
            let record: Record = self.decode(Family::History, &key, &value)?;
            Ok((record, value.len()))
        });
        cutter.emit_all(PieceKind::History, older, Piece::History)?;
        let tip = self.tip().height;
        let lifetime = self.governance().configuration.parameters.max_batch_lifetime;
        let first = Height(tip.0.saturating_sub(lifetime)).max(self.origin()).next();
        let blocks = (first.0..=tip.0).rev().map(|height| {
            let height = Height(height);
            let missing = || self.damaged(Family::Blocks, &height.0.to_be_bytes(), "it is missing".into());
            let block = bare(self.block(height)?.ok_or_else(missing)?)?;
            let length = 128 + block.proof.len() + 32 * block.batches.len();
            Ok((block, length))
        });
        cutter.emit_all(PieceKind::Blocks, blocks, Piece::Blocks)?;
        self.cut_receipts(&mut cutter, genesis)
    }

    fn cut_receipts<E: From<StoreError>>(
        &self,
        cutter: &mut Cutter<E, impl FnMut(PieceInfo, &[u8]) -> Result<(), E>>,
        genesis: &Genesis,
    ) -> Result<(), E> {
        /// What one receipt has at least, in bytes.
        const RECEIPT_BYTES: usize = 64;
        let tip = self.tip().height;
        let first = remembered_from(&self.lifetimes()?, tip);
        let (mut held, mut bytes) = (Vec::new(), 0);
        for height in (first.0..=tip.0).map(Height) {
            let time = self.time_of(height)?;
            let at = crate::Moment { height, time };
            let mut receipts = self.receipts_of(genesis, height)?.into_iter().peekable();
            loop {
                let mut part = Vec::new();
                while bytes < FULL_PIECE_BYTES
                    && let Some(receipt) = receipts.next()
                {
                    bytes += RECEIPT_BYTES + 40 * receipt.items.len() + 48;
                    part.push(receipt);
                }
                let goes_on = receipts.peek().is_some();
                bytes += 32;
                held.push(BlockReceipts { at, receipts: part, goes_on });
                if bytes >= FULL_PIECE_BYTES {
                    cutter.emit(PieceKind::Receipts, &Piece::Receipts(std::mem::take(&mut held)))?;
                    bytes = 0;
                }
                if !goes_on {
                    break;
                }
            }
        }
        if held.is_empty() { Ok(()) } else { cutter.emit(PieceKind::Receipts, &Piece::Receipts(held)) }
    }

    fn cut_tree<E: From<StoreError>>(
        &self,
        cutter: &mut Cutter<E, impl FnMut(PieceInfo, &[u8]) -> Result<(), E>>,
    ) -> Result<(), E> {
        let rows = self.rows(Family::Tree, IteratorMode::Start).map(|row| {
            let (key, value) = row?;
            let id = BucketId::from_bytes(&key);
            let leaves = id.and_then(|id| Some((id, from_row(id, &value)?)));
            leaves.ok_or_else(|| self.damaged(Family::Tree, &key, "it is no bucket of its place".into()))
        });
        match gather(cutter, BucketId::ROOT, &mut rows.peekable())? {
            Part::Open(leaves) => emit_leaves(cutter, BucketId::ROOT, leaves),
            Part::Cut => Ok(()),
        }
    }
}

/// Goes through the rows below `id`: what is too large for one piece is cut into its halves.
fn gather<E: From<StoreError>>(
    cutter: &mut Cutter<E, impl FnMut(PieceInfo, &[u8]) -> Result<(), E>>,
    id: BucketId,
    rows: &mut Peekable<impl Iterator<Item = Result<(BucketId, Vec<Leaf>), StoreError>>>,
) -> Result<Part, E> {
    match rows.peek() {
        Some(Ok((next, _))) if !id.covers(*next) => return Ok(Part::Open(Vec::new())),
        None => return Ok(Part::Open(Vec::new())),
        Some(Ok((next, _))) if *next != id => {}
        Some(_) => {
            // The row of this very place, or what went wrong with it.
            let leaves = rows.next().transpose()?.map(|(_, leaves)| leaves);
            return Ok(Part::Open(leaves.unwrap_or_default()));
        }
    }
    let (left, right) = (gather(cutter, id.left(), rows)?, gather(cutter, id.right(), rows)?);
    let parts = match (left, right) {
        (Part::Open(mut left), Part::Open(right)) if left.len() + right.len() <= MAX_PIECE_LEAVES => {
            left.extend(right);
            return Ok(Part::Open(left));
        }
        parts => parts,
    };
    for (id, part) in [(id.left(), parts.0), (id.right(), parts.1)] {
        if let Part::Open(leaves) = part {
            emit_leaves(cutter, id, leaves)?;
        }
    }
    Ok(Part::Cut)
}

fn emit_leaves<E: From<StoreError>>(
    cutter: &mut Cutter<E, impl FnMut(PieceInfo, &[u8]) -> Result<(), E>>,
    id: BucketId,
    leaves: Vec<Leaf>,
) -> Result<(), E> {
    if leaves.is_empty() {
        return Ok(());
    }
    let kind = PieceKind::Tree(id, tree::summary(id, &leaves));
    cutter.emit(kind, &Piece::Tree(leaves))
}

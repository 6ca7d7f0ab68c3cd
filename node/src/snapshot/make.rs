//! Writing a snapshot into a folder.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use client::light::Link;
use genesis::{Epoch, Genesis, Height};
use ledger::snapshot::PieceInfo;
use ledger::{Block, Store, StoreError};

use super::manifest::FORMAT;
use super::{Folder, Manifest, Part, Shelf};
use crate::wire::{Proof, decode_checkpoint};

/// Why a snapshot cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// The ledger.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row of it that is not the ledger's to read.
    #[error("the proof of a stored block, or a stored checkpoint, cannot be read: {0}")]
    Encoding(#[from] genesis::encoding::DecodeError),
    /// The tip is not certified.
    #[error(
        "the newest block, {0}, has no certificate here, so a snapshot would prove nothing. Start the node, and make the snapshot \
         while it runs"
    )]
    NotCertified(Height),
    /// A certificate is missing that leads there.
    #[error(
        "the certificate of block {0}, which closed its epoch, is missing here: make the snapshot on another node"
    )]
    NoLink(Height),
    /// It was not to go on.
    #[error("the snapshot was not finished: the node stops")]
    Stopped,
    /// The folder.
    #[error("cannot write {}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> MakeError {
    move |source| MakeError::Io { path: path.to_owned(), source }
}

/// Makes a snapshot of `store`, on which nothing is committed meanwhile, and puts it on the shelf, which is claimed. One of the same
/// height that is there already is left as it is. `progress` is given what is known of each piece, and says whether to go on.
///
/// # Errors
/// When the tip has no certificate, a disk fails, or it was not to go on.
pub fn make(
    store: &Store,
    genesis: &Genesis,
    shelf: &Shelf,
    mut progress: impl FnMut(&PieceInfo) -> bool,
) -> Result<(Folder, Manifest), MakeError> {
    let height = store.tip().height;
    let done = shelf.folder(height);
    if done.path().exists() {
        let bytes = done.read(Part::Manifest, super::MAX_MANIFEST_BYTES as u64);
        let bytes = bytes.map_err(failed(&done.file(Part::Manifest)))?;
        if let Ok(manifest) = Manifest::decode(&bytes) {
            return Ok((done, manifest));
        }
    }
    let mut manifest = Manifest {
        format: FORMAT,
        chain: genesis.chain(),
        links: links(store)?,
        recent: recent(store)?,
        pieces: Vec::new(),
    };
    let unfinished = Folder::new(shelf.path().join(format!("{height}.part")));
    let pieces = unfinished.path().join("pieces");
    // What a crash left.
    match fs::remove_dir_all(unfinished.path()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed(unfinished.path())(error));
        }
        _ => {}
    }
    fs::create_dir_all(&pieces).map_err(failed(&pieces))?;
    store.cut(genesis, bare, |info, bytes| {
        let number = u32::try_from(manifest.pieces.len()).unwrap_or(u32::MAX);
        write(&unfinished.file(Part::Piece(number)), bytes)?;
        manifest.pieces.push(info);
        if progress(&info) { Ok(()) } else { Err(MakeError::Stopped) }
    })?;
    write(&unfinished.file(Part::Manifest), &manifest.encode())?;
    for folder in [&pieces, unfinished.path()] {
        sync(folder)?;
    }
    fs::rename(unfinished.path(), done.path()).map_err(failed(done.path()))?;
    sync(shelf.path())?;
    Ok((done, manifest))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), MakeError> {
    let written = File::create(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(failed(path))
}

fn sync(folder: &Path) -> Result<(), MakeError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))
}

/// What all nodes have of a block: its own certificate may be another node's, or none.
fn bare(block: Block) -> Result<Block, MakeError> {
    let Proof { candidate, .. } = Proof::decode(&block.proof)?;
    Ok(Block { proof: Proof { candidate, commit: None }.encode(), ..block })
}

fn links(store: &Store) -> Result<Vec<Link>, MakeError> {
    let mut links = Vec::new();
    for (epoch, height) in store.closing_heights(Epoch::ZERO, usize::MAX) {
        let bytes = store.checkpoint(height)?.ok_or(MakeError::NoLink(height))?;
        let configuration = store.configuration_of(epoch.next())?.ok_or(MakeError::NoLink(height))?;
        links.push(Link { certificate: decode_checkpoint(&bytes)?, configuration });
    }
    Ok(links)
}

/// The certificates from the one that the tip cites on, as far as they are of its epoch.
fn recent(store: &Store) -> Result<Vec<consensus::CheckpointCertificate>, MakeError> {
    let tip = store.tip().height;
    let newest = store.checkpoint(tip)?.ok_or(MakeError::NotCertified(tip))?;
    let newest = decode_checkpoint(&newest)?;
    let governance = store.governance();
    let mut recent = Vec::new();
    if governance.began < tip
        && let Some(block) = store.block(tip)?
    {
        let cites = Proof::decode(&block.proof)?.candidate.cites.height;
        for height in (cites.0.max(governance.began.0 + 1)..tip.0).map(Height) {
            let bytes = store.checkpoint(height)?;
            recent.extend(bytes.map(|bytes| decode_checkpoint(&bytes)).transpose()?);
        }
    }
    recent.push(newest);
    Ok(recent)
}

//! Snapshots: a ledger at one block in pieces ([`ledger::snapshot`]), with the certificates that it is checked by.
//!
//! - [`manifest`]: the list of pieces and the certificates, from the genesis document on
//! - [`make`]: writes one into a folder · [`keeper`]: when the running node does, and forgets old blocks
//! - [`take`]: makes a ledger of one · [`fetch`]: gets it from peers
//!
//! ```text
//! data/snapshots/<height>/manifest
//!                         pieces/000000, 000001, …
//! ```
//!
//! Invariants:
//! - Nothing in a snapshot is believed but what follows from the genesis document; so it does not matter where it came from.
//! - A folder with a height for its name is whole: it is made under another name.

pub mod fetch;
pub mod keeper;
pub mod make;
pub mod manifest;
pub mod take;

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use genesis::Height;

pub use self::manifest::{MAX_MANIFEST_BYTES, Manifest, ManifestError};

/// The most bytes of a file that go into one answer to a peer.
pub const SLICE_BYTES: u64 = 4 << 20;

/// The snapshots of a node: a folder of folders.
#[derive(Clone, Debug)]
pub struct Shelf {
    folder: PathBuf,
    /// Held by whoever makes one, so that no two write into one folder.
    making: Arc<Mutex<()>>,
}

/// A snapshot in a folder of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    path: PathBuf,
}

/// A file of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Part {
    /// The list of pieces.
    Manifest,
    /// A piece, by its number.
    Piece(u32),
}

impl Shelf {
    /// The snapshots in `folder`, which need not exist.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, making: Arc::default() }
    }

    /// Where they are.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Waits until nobody else makes one. Clones are the same.
    pub fn claim(&self) -> MutexGuard<'_, ()> {
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The heights of those that are whole, in ascending order.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn heights(&self) -> io::Result<Vec<Height>> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut heights = Vec::new();
        for entry in entries {
            let height = entry?.file_name().to_str().and_then(|name| name.parse().ok()).map(Height);
            heights.extend(height);
        }
        heights.sort_unstable();
        Ok(heights)
    }

    /// The snapshot of a height, whether there is one or not.
    pub fn folder(&self, height: Height) -> Folder {
        Folder::new(self.folder.join(height.to_string()))
    }

    /// Removes all but the newest `keep`.
    ///
    /// # Errors
    /// When a folder cannot be removed.
    pub fn tidy(&self, keep: usize) -> io::Result<()> {
        let heights = self.heights()?;
        for height in &heights[..heights.len().saturating_sub(keep)] {
            // Under another name first: what a crash leaves of it is not taken for a whole one.
            let unfinished = self.folder.join(format!("{height}.part"));
            fs::rename(self.folder(*height).path, &unfinished)?;
            fs::remove_dir_all(unfinished)?;
        }
        Ok(())
    }
}

impl Folder {
    /// The one at `path`.
    pub const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file of it.
    pub fn file(&self, part: Part) -> PathBuf {
        match part {
            Part::Manifest => self.path.join("manifest"),
            Part::Piece(number) => self.path.join("pieces").join(format!("{number:06}")),
        }
    }

    /// A file of it, if it has at most `limit` bytes.
    ///
    /// # Errors
    /// When it cannot be read, or is longer.
    pub fn read(&self, part: Part, limit: u64) -> io::Result<Vec<u8>> {
        let file = File::open(self.file(part))?;
        let length = file.metadata()?.len();
        if length > limit {
            let problem = format!("it has {length} bytes, but at most {limit} are expected");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, problem));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        file.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// What a file of it has from `offset` on, at most [`SLICE_BYTES`]; empty past its end. None where there is no such file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn slice(&self, part: Part, offset: u64) -> io::Result<Option<Vec<u8>>> {
        let mut file = match File::open(self.file(part)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let rest = file.metadata()?.len().saturating_sub(offset).min(SLICE_BYTES);
        if rest == 0 {
            return Ok(Some(Vec::new()));
        }
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::with_capacity(usize::try_from(rest).unwrap_or(0));
        file.take(rest).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }
}

#[cfg(test)]
mod tests;

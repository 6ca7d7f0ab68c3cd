//! The disk's floor: below it a node stops cleanly, before it fails in the middle of a write.
//!
//! Invariant: a node that runs has seen [`DiskConfig::floor_bytes`] free on its data folder's file system at most [`EVERY`] ago, and
//! none starts with less. What is free is what a user without privileges may take, as `df` shows it.
//!
//! Left to others: a write that fails all the same (the disk fills up within seconds, or a quota is reached) stops the node with the
//! error of the write.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::DiskConfig;
use crate::home::Home;

/// How often the disk is looked at.
const EVERY: Duration = Duration::from_secs(3);

/// What a start needs above the floor: the store and the journal claim some 75 MiB for what they are going to write, and give it back
/// when the node stops. Without this a node that stopped could start, only to stop again.
const CLAIMED_AT_START: u64 = 128 << 20;

/// Why a node does not start, or stops.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the disk of {} is nearly full: {} are free, and {} are needed (floor_bytes under [disk] in config.toml, and {} more for a start). \
     Free some or give it a larger disk, then start the node; nothing is lost. Old blocks can go: `realdid chain prune --help`",
    path.display(), Size(*free_bytes), Size(*needed_bytes), Size(CLAIMED_AT_START)
)]
pub struct DiskFull {
    /// On whose file system.
    pub path: PathBuf,
    /// What is free there, in bytes.
    pub free_bytes: u64,
    /// What is needed, in bytes.
    pub needed_bytes: u64,
}

/// How much room there is, against the floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// At least twice the floor.
    Plenty,
    /// Less than twice the floor, and not below it.
    Scarce,
    /// Below the floor: the node stops.
    Gone,
}

/// What is free, and what must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Space {
    /// Bytes that the node may still write.
    pub free_bytes: u64,
    /// Bytes of them that it needs to run: its floor.
    pub floor_bytes: u64,
}

impl Space {
    /// Whether somebody should make room: less than twice the floor is free.
    pub const fn is_low(&self) -> bool {
        self.free_bytes < self.floor_bytes.saturating_mul(2)
    }
}

/// A number of bytes, for people: `3.2 GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

/// The disk that a node's data are on.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
    floor_bytes: u64,
    free_bytes: AtomicU64,
}

impl Disk {
    /// The disk of the node in `home`, which has enough room.
    ///
    /// # Errors
    /// [`DiskFull`] below the floor and what a start claims; else what the system says.
    pub fn open(home: &Home, config: DiskConfig) -> anyhow::Result<Self> {
        let disk = Self::look_at(home, config)?;
        disk.full_for_a_start().map_or(Ok(disk), |full| Err(full.into()))
    }

    /// The disk of the node in `home`, however full.
    ///
    /// # Errors
    /// What the system says, with the folder.
    pub fn look_at(home: &Home, config: DiskConfig) -> io::Result<Self> {
        // Before the first start there is no data folder; afterwards it may be a disk of its own.
        let data = home.data();
        let path = if data.is_dir() { data } else { home.path().to_owned() };
        let free_bytes = AtomicU64::new(free_bytes(&path)?);
        Ok(Self { path, floor_bytes: config.floor_bytes, free_bytes })
    }

    /// What was free when it was last looked at.
    pub fn free(&self) -> Size {
        Size(self.free_bytes.load(Ordering::Relaxed))
    }

    /// What was free then, and what must be.
    pub fn space(&self) -> Space {
        Space { free_bytes: self.free().0, floor_bytes: self.floor_bytes }
    }

    /// How much room that is.
    pub fn room(&self) -> Room {
        room(self.free().0, self.floor_bytes)
    }

    /// What the node is to be stopped with, if it is.
    pub fn full(&self) -> Option<DiskFull> {
        self.less_than(self.floor_bytes)
    }

    /// What keeps the node from starting, if it does not run.
    pub fn full_for_a_start(&self) -> Option<DiskFull> {
        // A floor of 0 is none.
        let more = if self.floor_bytes == 0 { 0 } else { CLAIMED_AT_START };
        self.less_than(self.floor_bytes.saturating_add(more))
    }

    fn less_than(&self, needed_bytes: u64) -> Option<DiskFull> {
        let (path, free_bytes) = (self.path.clone(), self.free().0);
        (free_bytes < needed_bytes).then_some(DiskFull { path, free_bytes, needed_bytes })
    }

    /// Looks now. Where the system does not tell, what was known stays, and the log says so.
    fn look(&self) {
        match free_bytes(&self.path) {
            Ok(free) => self.free_bytes.store(free, Ordering::Relaxed),
            Err(error) => tracing::warn!(%error, "how much of the disk is free cannot be told"),
        }
    }

    /// Looks at the disk every few seconds, and says so when room gets scarce; ends when it is gone.
    pub async fn until_full(self: std::sync::Arc<Self>) -> DiskFull {
        let mut last = Room::Plenty;
        loop {
            let room = self.room();
            if let Some(full) = self.full() {
                return full;
            }
            match room {
                Room::Scarce if last != room => tracing::warn!(
                    disk = %self.path.display(), free = %self.free(), floor = %Size(self.floor_bytes),
                    "the disk fills up: this node stops when less than the floor is free"
                ),
                Room::Plenty if last != room => {
                    tracing::info!(free = %self.free(), "the disk has room again")
                }
                _ => {}
            }
            last = room;
            tokio::time::sleep(EVERY).await;
            let disk = std::sync::Arc::clone(&self);
            // A file system that hangs must not hold up whoever waits here.
            if let Err(error) = tokio::task::spawn_blocking(move || disk.look()).await {
                tracing::warn!(%error, "the look at the disk was cut off");
            }
        }
    }
}

fn room(free_bytes: u64, floor_bytes: u64) -> Room {
    if free_bytes < floor_bytes {
        Room::Gone
    } else if free_bytes < floor_bytes.saturating_mul(2) {
        Room::Scarce
    } else {
        Room::Plenty
    }
}

fn free_bytes(path: &Path) -> io::Result<u64> {
    let told = rustix::fs::statvfs(path)
        .map_err(|error| io::Error::other(format!("the file system of {}: {error}", path.display())))?;
    Ok(told.f_bavail.saturating_mul(told.f_frsize))
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        match units.into_iter().find(|(unit, _)| self.0 >= *unit) {
            // One decimal, cut and not rounded: no text says more than there is.
            Some((unit, name)) => {
                write!(f, "{}.{} {name}", self.0 / unit, (u128::from(self.0 % unit) * 10) / u128::from(unit))
            }
            None => write!(f, "{} bytes", self.0),
        }
    }
}

#[cfg(test)]
mod tests;

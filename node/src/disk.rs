//! How much room there is on the disk under a node's data.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The disk under a folder.
#[derive(Clone, Debug)]
pub struct Disk {
    /// The folder.
    pub folder: PathBuf,
    /// Free bytes that the node needs to run (`floor_bytes` in its settings).
    pub floor_bytes: u64,
}

/// How much room there is on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Room {
    /// Bytes that the node may still write.
    pub free_bytes: u64,
    /// Bytes of them that it needs to run.
    pub floor_bytes: u64,
}

impl Room {
    /// Whether somebody should make room: less than twice the floor is free.
    pub const fn is_low(&self) -> bool {
        self.free_bytes < self.floor_bytes.saturating_mul(2)
    }
}

impl Disk {
    /// Looks now.
    ///
    /// # Errors
    /// When the system cannot say; names the folder.
    pub fn room(&self) -> io::Result<Room> {
        let said = rustix::fs::statvfs(&self.folder).map_err(|error| {
            io::Error::other(format!("how much is free under {}: {error}", self.folder.display()))
        })?;
        // What is kept for root alone does not count.
        let free_bytes = said.f_bavail.saturating_mul(said.f_frsize);
        Ok(Room { free_bytes, floor_bytes: self.floor_bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_low_below_twice_its_floor_and_a_folder_that_is_gone_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut disk = Disk { folder: folder.path().to_owned(), floor_bytes: 1 };
        assert!(!disk.room().unwrap().is_low());
        disk.floor_bytes = u64::MAX / 2;
        assert!(disk.room().unwrap().is_low());
        disk.folder = folder.path().join("gone");
        assert!(disk.room().unwrap_err().to_string().contains("gone"));
    }
}

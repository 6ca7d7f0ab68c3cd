//! How much the ledger holds, for metrics.

use genesis::Height;
use serde::{Deserialize, Serialize};

use super::rows::Family;
use super::{Store, StoreError};
use crate::{Changes, Record, Version};

/// How much the ledger holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// DIDs, deactivated ones included.
    pub dids: u64,
    /// Receipts.
    pub receipts: u64,
    /// Versions of DIDs: transactions about DIDs that were applied.
    pub versions: u64,
}

/// Figures for metrics; cheap to get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// How much the ledger holds.
    pub counts: Counts,
    /// What each column family has on disk, in bytes, without the write-ahead log.
    pub disk_bytes: Vec<(&'static str, u64)>,
    /// What is in memory and, for a restart, in the write-ahead log only, in bytes.
    pub memtable_bytes: u64,
}

impl Store {
    /// Figures for metrics.
    ///
    /// # Errors
    /// When RocksDB cannot say.
    pub fn statistics(&self) -> Result<Statistics, StoreError> {
        let property = |family: Family, name: &str| {
            let value = self.db.property_int_value_cf(self.family(family), name);
            value.map(|value| value.unwrap_or(0)).map_err(|source| self.read_error(family, &[], &source))
        };
        let (mut disk_bytes, mut memtable_bytes) = (Vec::new(), 0);
        for family in Family::ALL {
            let tables = property(family, "rocksdb.live-sst-files-size")?;
            disk_bytes.push((family.name(), tables + property(family, "rocksdb.live-blob-file-size")?));
            memtable_bytes += property(family, "rocksdb.cur-size-all-mem-tables")?;
        }
        Ok(Statistics { counts: self.head().counts, disk_bytes, memtable_bytes })
    }
}

impl Counts {
    /// With the block at `height`. A record that was only endorsed is no new version.
    pub(super) fn after(self, height: Height, changes: &Changes) -> Self {
        let made = || changes.records.iter().filter(|record| record.header.updated.height == height);
        let first = |record: &&Record| record.header.version == Version::FIRST;
        Self {
            dids: self.dids + made().filter(first).count() as u64,
            receipts: self.receipts + changes.receipts.len() as u64,
            versions: self.versions + made().count() as u64,
        }
    }
}

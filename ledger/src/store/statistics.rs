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
    /// How much the ledger holds.
    pub fn counts(&self) -> Counts {
        self.head().counts
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::{Endorse, Reason, WithdrawEndorsement};
    use crate::registry::Role;
    use crate::samples::{create, created, grant, proposed, signed, voted};
    use crate::store::tests::Fixture;
    use crate::{Change, Code, Operation, Transaction};

    #[test]
    fn a_did_that_is_made_and_endorsed_in_one_block_is_counted_once() {
        let fixture = Fixture::new();
        let commit = |transactions: &[Transaction]| {
            let (_, changes) = fixture.commit(transactions);
            let applied = changes.receipts.iter().all(|receipt| receipt.code == Code::Applied);
            assert!(applied, "{:?}", changes.receipts);
            let Counts { dids, versions, .. } = fixture.store().statistics().unwrap().counts;
            (dids, versions)
        };
        let proposal = proposed(0, 1, Change::Accredit(Box::new(grant(1, Role::Registrar))));
        let votes = [1, 2].map(|member| voted(member, 1, proposal.id(), true));
        assert_eq!(commit(&[&[created(1), proposal], &votes[..]].concat()), (1, 1));
        let (did, registrar) = (create(&[2]).did(), create(&[1]).did());
        let endorse = signed(Operation::Endorse(Endorse { did, registrar }), 1);
        assert_eq!(commit(&[created(2), endorse]), (2, 2));
        // Nor is its withdrawal, some blocks later, a version.
        let withdraw = WithdrawEndorsement { did, registrar, reason: Reason::Other };
        assert_eq!(commit(&[signed(Operation::WithdrawEndorsement(withdraw), 1)]), (2, 2));
    }
}

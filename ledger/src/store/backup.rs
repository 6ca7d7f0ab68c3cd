//! A copy of the ledger while it is at work.

use std::path::Path;

use rocksdb::checkpoint::Checkpoint;

use super::{Store, StoreError};
use crate::Tip;

impl Store {
    /// Makes a copy of the ledger as of its tip, which is returned, in the new directory `to`: a store like this one, of which the
    /// disk is told. Files that do not change any more are shared with this one where both are on one file system, so it takes
    /// about as long as writing what is in memory; a block that comes meanwhile waits for that.
    ///
    /// # Errors
    /// When the directory exists, or the disk fails.
    pub fn backup(&self, to: &Path) -> Result<Tip, StoreError> {
        let failed =
            |source: rocksdb::Error| StoreError::Backup { path: to.to_owned(), problem: source.to_string() };
        let _ordering = self.ordering();
        let tip = self.tip();
        Checkpoint::new(&self.db).and_then(|checkpoint| checkpoint.create_checkpoint(to)).map_err(failed)?;
        Ok(tip)
    }

    /// Reads every file of the ledger and compares it with its checksums. Takes as long as reading all of it.
    ///
    /// # Errors
    /// Names the first file that is damaged.
    pub fn verify_checksums(&self) -> Result<(), StoreError> {
        let options = || {
            let mut options = rocksdb::ReadOptions::default();
            options.set_verify_checksums(true);
            options.fill_cache(false);
            options
        };
        for family in super::Family::ALL {
            let rows = self.db.iterator_cf_opt(self.family(family), options(), rocksdb::IteratorMode::Start);
            for row in rows {
                row.map_err(|source| self.read_error(family, &[], &source))?;
            }
        }
        Ok(())
    }
}

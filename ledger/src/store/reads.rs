//! Reading what blocks led to: receipts, records, versions and the trust registry.
//!
//! Invariant: a row that does not decode, or is not the one that was asked for, is an error; never an answer.

use std::cmp::Ordering;

use genesis::Digest;
use genesis::encoding::encode;

use super::rows::{self, Family};
use super::{Store, StoreError};
use crate::{DidId, Header, Receipt, Record, RegistryEntry, RegistryKey, Version};

impl Store {
    /// The receipt of a transaction.
    ///
    /// # Errors
    /// When the disk fails or the row is damaged.
    pub fn receipt(&self, id: &Digest) -> Result<Option<Receipt>, StoreError> {
        let receipt: Option<Receipt> = self.get(Family::Receipts, id.as_bytes())?;
        let sound = receipt.as_ref().is_none_or(|receipt| receipt.id == *id);
        self.expect(sound, Family::Receipts, id.as_bytes())?;
        Ok(receipt)
    }

    /// The entry of the trust registry under `key`.
    ///
    /// # Errors
    /// When the disk fails or the row is damaged.
    pub fn registry(&self, key: &RegistryKey) -> Result<Option<RegistryEntry>, StoreError> {
        let row = encode(key);
        let entry: Option<RegistryEntry> = self.get(Family::Registry, &row)?;
        let sound = entry.as_ref().is_none_or(|entry| entry.key() == *key);
        self.expect(sound, Family::Registry, &row)?;
        Ok(entry)
    }

    /// The newest record of a DID.
    ///
    /// # Errors
    /// When the disk fails or the row is damaged.
    pub fn record(&self, did: &DidId) -> Result<Option<Record>, StoreError> {
        let record: Option<Record> = self.get(Family::Records, did.as_bytes())?;
        let sound = record.as_ref().is_none_or(|record| record.header.did == *did);
        self.expect(sound, Family::Records, did.as_bytes())?;
        Ok(record)
    }

    /// [`Store::record`] of each of `dids`, which are in ascending order.
    pub(super) fn newest_of(&self, dids: &[DidId]) -> Result<Vec<Option<Record>>, StoreError> {
        let keys: Vec<_> = dids.iter().map(DidId::as_bytes).collect();
        self.get_many(Family::Records, &keys, &|key, row| {
            let decode = |row| self.decode::<Record>(Family::Records, *key, row);
            let record = row.map(decode).transpose()?;
            let sound = record.as_ref().is_none_or(|record| record.header.did.as_bytes() == *key);
            self.expect(sound, Family::Records, *key)?;
            Ok(record)
        })
    }

    /// The record of a DID at a version.
    ///
    /// # Errors
    /// When the disk fails or the row is damaged.
    pub fn version(&self, did: &DidId, version: Version) -> Result<Option<Record>, StoreError> {
        let Some(newest) = self.record(did)?.filter(|_| version >= Version::FIRST) else { return Ok(None) };
        match version.cmp(&newest.header.version) {
            Ordering::Greater => Ok(None),
            Ordering::Equal => Ok(Some(newest)),
            Ordering::Less => {
                let key = rows::history_key(did, version);
                let record: Record = self.require(Family::History, &key)?;
                let Header { did: found, version: at, .. } = &record.header;
                self.expect(found == did && *at == version, Family::History, &key)?;
                Ok(Some(record))
            }
        }
    }

    /// The records of a DID from version `from` on, oldest first, at most `max_records`.
    ///
    /// # Errors
    /// When the disk fails or a row is damaged.
    pub fn history(&self, did: &DidId, from: Version, max_records: usize) -> Result<Vec<Record>, StoreError> {
        let mut records = Vec::new();
        let mut version = from.max(Version::FIRST);
        while records.len() < max_records {
            let Some(record) = self.version(did, version)? else { break };
            records.push(record);
            version = version.next();
        }
        Ok(records)
    }
}

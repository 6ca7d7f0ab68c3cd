//! Column families, keys, and reading rows without trusting them.

use genesis::encoding::{decode, encode};
use genesis::{Digest, Epoch, Height};
use rocksdb::{ColumnFamily, DBPinnableSlice, WriteBatch};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Store, StoreError};
use crate::{DidId, Version};

/// The most bytes that a decoded row may have; batches are not decoded here.
const MAX_ROW_BYTES: usize = 64 << 20;

/// What a block has beside its batches' digests and its proof, in bytes.
pub(super) const BLOCK_OVERHEAD_BYTES: usize = 8 + 32 + 32 + 8 + 8 + 8;

/// A row as it lies on the disk: key and value.
pub(super) type Row = (Box<[u8]>, Box<[u8]>);

/// A column family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Meta,
    Batches,
    Unordered,
    Ordered,
    Blocks,
    Receipts,
    Records,
    Registry,
    History,
    Outcomes,
    Configurations,
    Epochs,
    Checkpoints,
    Tree,
    Evidence,
    Remembered,
}

impl Family {
    pub(super) const ALL: [Self; 16] = [
        Self::Meta,
        Self::Batches,
        Self::Unordered,
        Self::Ordered,
        Self::Blocks,
        Self::Receipts,
        Self::Records,
        Self::Registry,
        Self::History,
        Self::Outcomes,
        Self::Configurations,
        Self::Epochs,
        Self::Checkpoints,
        Self::Tree,
        Self::Evidence,
        Self::Remembered,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Batches => "batches",
            Self::Unordered => "unordered",
            Self::Ordered => "ordered",
            Self::Blocks => "blocks",
            Self::Receipts => "receipts",
            Self::Records => "records",
            Self::Registry => "registry",
            Self::History => "history",
            Self::Outcomes => "outcomes",
            Self::Configurations => "configurations",
            Self::Epochs => "epochs",
            Self::Checkpoints => "checkpoints",
            Self::Tree => "tree",
            Self::Evidence => "evidence",
            Self::Remembered => "remembered",
        }
    }

    /// Whether a filter pays that tells which files have a row: where rows are looked up that mostly do not exist (new transactions, new
    /// DIDs, new batches), or that lie deep below newer ones of others (the tree's buckets).
    pub(super) const fn is_looked_up(self) -> bool {
        matches!(
            self,
            Self::Unordered | Self::Ordered | Self::Receipts | Self::Records | Self::History | Self::Tree
        )
    }
}

pub(super) const fn height_key(height: Height) -> [u8; 8] {
    height.0.to_be_bytes()
}

pub(super) const fn epoch_key(epoch: Epoch) -> [u8; 8] {
    epoch.0.to_be_bytes()
}

pub(super) fn history_key(did: &DidId, version: Version) -> [u8; 40] {
    let mut key = [0; 40];
    key[..32].copy_from_slice(did.as_bytes());
    key[32..].copy_from_slice(&version.0.to_be_bytes());
    key
}

impl Store {
    pub(super) fn family(&self, family: Family) -> &ColumnFamily {
        match self.db.cf_handle(family.name()) {
            Some(handle) => handle,
            None => unreachable!("opening a store opens every column family"),
        }
    }

    pub(super) fn put<T: Serialize>(&self, batch: &mut WriteBatch, family: Family, key: &[u8], value: &T) {
        batch.put_cf(self.family(family), key, encode(value));
    }

    pub(super) fn get_bytes(
        &self,
        family: Family,
        key: &[u8],
    ) -> Result<Option<DBPinnableSlice<'_>>, StoreError> {
        let bytes = self.db.get_pinned_cf(self.family(family), key);
        bytes.map_err(|source| self.read_error(family, key, &source))
    }

    pub(super) fn get<T: Serialize + DeserializeOwned>(
        &self,
        family: Family,
        key: &[u8],
    ) -> Result<Option<T>, StoreError> {
        let bytes = self.get_bytes(family, key)?;
        bytes.map(|bytes| self.decode(family, key, &bytes)).transpose()
    }

    /// What `read` makes of the rows under `keys`, which are in ascending order: read together, many of them on two threads.
    pub(super) fn get_many<K: AsRef<[u8]> + Sync, T: Send>(
        &self,
        family: Family,
        keys: &[K],
        read: &(impl Fn(&K, Option<&[u8]>) -> Result<T, StoreError> + Sync),
    ) -> Result<Vec<T>, StoreError> {
        /// Fewer than this cost more to hand over than they take.
        const WORTH_A_THREAD: usize = 512;
        if keys.len() >= WORTH_A_THREAD {
            let (left, right) = keys.split_at(keys.len() / 2);
            let get = |keys| self.get_in_order(family, keys, read);
            let (left, right) = rayon::join(|| get(left), || get(right));
            let mut read = left?;
            read.append(&mut right?);
            return Ok(read);
        }
        self.get_in_order(family, keys, read)
    }

    fn get_in_order<K: AsRef<[u8]>, T>(
        &self,
        family: Family,
        keys: &[K],
        read: impl Fn(&K, Option<&[u8]>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let rows = self.db.batched_multi_get_cf(self.family(family), keys, true);
        let read = |(key, row): (&K, Result<Option<DBPinnableSlice<'_>>, rocksdb::Error>)| {
            let row = row.map_err(|source| self.read_error(family, key.as_ref(), &source))?;
            read(key, row.as_deref())
        };
        keys.iter().zip(rows).map(read).collect()
    }

    /// A row that must be there.
    pub(super) fn require<T: Serialize + DeserializeOwned>(
        &self,
        family: Family,
        key: &[u8],
    ) -> Result<T, StoreError> {
        self.get(family, key)?.ok_or_else(|| self.damaged(family, key, "it is missing".into()))
    }

    /// Calls `visit` with every row of `family`, in the order of the keys.
    pub(super) fn scan(
        &self,
        family: Family,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        for row in self.rows(family, rocksdb::IteratorMode::Start) {
            let (key, value) = row?;
            visit(&key, &value)?;
        }
        Ok(())
    }

    pub(super) fn decode<T: Serialize + DeserializeOwned>(
        &self,
        family: Family,
        key: &[u8],
        bytes: &[u8],
    ) -> Result<T, StoreError> {
        decode(bytes, MAX_ROW_BYTES).map_err(|error| self.damaged(family, key, error.to_string()))
    }

    /// The first row of `family` that `mode` finds, if any.
    pub(super) fn seek(
        &self,
        family: Family,
        mode: rocksdb::IteratorMode<'_>,
    ) -> Result<Option<Row>, StoreError> {
        let row = self.db.iterator_cf(self.family(family), mode).next();
        row.transpose().map_err(|source| self.read_error(family, &[], &source))
    }

    /// A key that is a height.
    pub(super) fn height_of_key(&self, family: Family, key: &[u8]) -> Result<Height, StoreError> {
        let bytes = key.try_into().map(u64::from_be_bytes);
        bytes.map(Height).map_err(|_| self.damaged(family, key, "its key is not a height".into()))
    }

    /// A key that is a digest.
    pub(super) fn digest_key(&self, family: Family, key: &[u8]) -> Result<Digest, StoreError> {
        let bytes = key.try_into();
        bytes.map(Digest::from_bytes).map_err(|_| self.damaged(family, key, "its key is not a digest".into()))
    }

    /// Refuses a row that decodes, but is not the one that its key names.
    pub(super) fn expect(&self, sound: bool, family: Family, key: &[u8]) -> Result<(), StoreError> {
        if sound { Ok(()) } else { Err(self.damaged(family, key, "it holds another row's value".into())) }
    }

    pub(super) fn damaged(&self, family: Family, key: &[u8], problem: String) -> StoreError {
        StoreError::DamagedRow { family: family.name(), key: shown(key), path: self.path.clone(), problem }
    }

    pub(super) fn read_error(&self, family: Family, key: &[u8], source: &rocksdb::Error) -> StoreError {
        let (key, problem) = (shown(key), source.to_string());
        StoreError::Read { family: family.name(), key, path: self.path.clone(), problem }
    }
}

/// A key as people see it: a word as it is, anything else in hex.
fn shown(key: &[u8]) -> String {
    match std::str::from_utf8(key) {
        Ok(word) if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase()) => word.to_owned(),
        _ => key.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

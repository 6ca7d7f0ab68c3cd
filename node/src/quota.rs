//! How much each author may have waiting: batches that it pushed and no final block names yet.
//!
//! A member that pushes batches faster than blocks take them up would fill every disk. Beyond its quota its pushes are
//! dropped; it pushes them again, or they are fetched when a block names them (fetches ignore quotas).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use genesis::{Digest, ValidatorIndex};

/// The most bytes that wait by one author.
const MAX_BYTES: usize = 64 << 20;
/// The most batches that wait by one author.
const MAX_BATCHES: usize = 1_024;

/// What waits, by author.
#[derive(Debug, Default)]
pub struct Quotas(Mutex<Content>);

#[derive(Debug, Default)]
struct Content {
    batches: BTreeMap<Digest, (ValidatorIndex, usize)>,
    authors: BTreeMap<ValidatorIndex, (usize, usize)>,
}

impl Quotas {
    /// Whether `author` may have `bytes` more waiting.
    pub fn has_room(&self, author: ValidatorIndex, bytes: usize) -> bool {
        let (count, held) = self.lock().authors.get(&author).copied().unwrap_or_default();
        count < MAX_BATCHES && held + bytes <= MAX_BYTES
    }

    /// A batch waits.
    pub fn charge(&self, batch: Digest, author: ValidatorIndex, bytes: usize) {
        let mut content = self.lock();
        if content.batches.insert(batch, (author, bytes)).is_none() {
            let (count, held) = content.authors.entry(author).or_default();
            (*count, *held) = (*count + 1, *held + bytes);
        }
    }

    /// These wait no longer: they are ordered, or expired.
    pub fn release(&self, batches: &[Digest]) {
        let mut content = self.lock();
        for batch in batches {
            let Some((author, bytes)) = content.batches.remove(batch) else { continue };
            if let Some((count, held)) = content.authors.get_mut(&author) {
                (*count, *held) = (*count - 1, *held - bytes);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_author_is_bounded_in_batches_and_bytes_and_gets_room_back() {
        let (quotas, author) = (Quotas::default(), ValidatorIndex(1));
        let digest = |number: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&(number as u64).to_le_bytes());
            Digest::from_bytes(bytes)
        };
        (0..MAX_BATCHES).for_each(|number| quotas.charge(digest(number), author, 10));
        assert!(!quotas.has_room(author, 10), "batches");
        assert!(quotas.has_room(ValidatorIndex(2), 10), "another author is not hurt");
        quotas.release(&[digest(0), digest(0), digest(9_999_999)]);
        assert!(quotas.has_room(author, 10));
        quotas.charge(digest(0), author, MAX_BYTES - MAX_BATCHES * 10);
        quotas.release(&[digest(1)]);
        assert!(!quotas.has_room(author, 100), "bytes");
    }
}

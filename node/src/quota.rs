//! How much may wait by whose doing: batches that are here and no final block names yet.
//!
//! A member that pushes batches faster than blocks take them up, or names batches of its own making in proposals, would
//! fill every disk. Beyond its quota its pushes are dropped (it pushes them again) and its proposals are not prepared.
//! What a final block names is not counted: it must be here.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use genesis::{Digest, PublicKey};

/// The most bytes that wait on one account: more than an honest author ever has under way.
const MAX_BYTES: usize = 128 << 20;
/// The most batches that wait on one account.
const MAX_BATCHES: usize = 1_024;

/// Who answers for a batch that waits, by its network key. The author that a batch names is not signed, so only a push, which comes by its
/// author's own connection, counts against an author.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Account {
    /// Who pushed it.
    Pusher(PublicKey),
    /// The leader whose proposal named it.
    Leader(PublicKey),
    /// Nobody in particular: a quorum acknowledged it.
    Acknowledged,
}

/// What waits, by account.
#[derive(Debug, Default)]
pub struct Quotas(Mutex<Content>);

#[derive(Debug, Default)]
struct Content {
    batches: BTreeMap<Digest, (Account, usize)>,
    accounts: BTreeMap<Account, (usize, usize)>,
}

impl Quotas {
    /// Whether `account` may have `bytes` more waiting.
    pub fn has_room(&self, account: Account, bytes: usize) -> bool {
        let (count, held) = self.lock().accounts.get(&account).copied().unwrap_or_default();
        count < MAX_BATCHES && held + bytes <= MAX_BYTES
    }

    /// How many more batches may wait on `account`.
    pub fn places(&self, account: Account) -> usize {
        let (count, held) = self.lock().accounts.get(&account).copied().unwrap_or_default();
        if held < MAX_BYTES { MAX_BATCHES.saturating_sub(count) } else { 0 }
    }

    /// A batch waits. One that was charged already, such as one that was fetched while it was pushed, stays on the account
    /// that it was charged to first: what is released is what was charged.
    pub fn charge(&self, batch: Digest, account: Account, bytes: usize) {
        let content = &mut *self.lock();
        if let Entry::Vacant(vacant) = content.batches.entry(batch) {
            vacant.insert((account, bytes));
            let (count, held) = content.accounts.entry(account).or_default();
            (*count, *held) = (*count + 1, *held + bytes);
        }
    }

    /// These wait no longer: they are ordered, or expired.
    pub fn release(&self, batches: &[Digest]) {
        let mut content = self.lock();
        for batch in batches {
            let Some((account, bytes)) = content.batches.remove(batch) else { continue };
            if let Some((count, held)) = content.accounts.get_mut(&account) {
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
    fn an_account_is_bounded_in_batches_and_bytes_and_gets_room_back() {
        let (quotas, author) = (Quotas::default(), Account::Pusher(PublicKey::Ed25519([1; 32])));
        let digest = |number: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&(number as u64).to_le_bytes());
            Digest::from_bytes(bytes)
        };
        (0..MAX_BATCHES).for_each(|number| quotas.charge(digest(number), author, 10));
        assert!(!quotas.has_room(author, 10), "batches");
        assert!(
            quotas.has_room(Account::Leader(PublicKey::Ed25519([1; 32])), 10),
            "another account is not hurt"
        );
        quotas.release(&[digest(0), digest(0), digest(9_999_999)]);
        assert!(quotas.has_room(author, 10));
        quotas.charge(digest(0), author, MAX_BYTES - MAX_BATCHES * 10);
        quotas.release(&[digest(1)]);
        assert!(!quotas.has_room(author, 100), "bytes");
    }

    #[test]
    fn a_batch_that_is_pushed_and_fetched_at_once_is_charged_and_released_once() {
        let (quotas, batch) = (Quotas::default(), Digest::from_bytes([1; 32]));
        let (pusher, leader) =
            (Account::Pusher(PublicKey::Ed25519([1; 32])), Account::Leader(PublicKey::Ed25519([2; 32])));
        // The leader's account is known, and empty.
        quotas.charge(Digest::ZERO, leader, 1);
        quotas.release(&[Digest::ZERO]);
        quotas.charge(batch, pusher, MAX_BYTES);
        quotas.charge(batch, leader, MAX_BYTES);
        assert!(!quotas.has_room(pusher, 1) && quotas.has_room(leader, MAX_BYTES));
        quotas.release(&[batch]);
        assert!(quotas.has_room(pusher, MAX_BYTES) && quotas.has_room(leader, MAX_BYTES));
    }
}

//! What the state tree holds: which things, under which keys, by which digests.
//!
//! | what | key | value |
//! | --- | --- | --- |
//! | a DID | its id | the digest of its newest record's header |
//! | governance | – | the digest of [`Governance`] |
//! | an entry of the trust registry | its [`RegistryKey`] | the digest of its [`RegistryEntry`] |
//! | a block | its height | the digest of its [`BlockSummary`] |
//!
//! A key is hashed in the domain `StateKey` over the encoding of [`StateKey`]. A block's receipts are a tree of their own, by
//! the ids of the transactions; its root stands in the block's summary, so that every receipt there ever was can be proved
//! against the newest root, and so can that a block has none of an id.
//!
//! Invariant: nothing leaves the tree. The governance of a chain's first epoch is there from its first block on.

use std::collections::BTreeMap;

use genesis::encoding::encode;
use genesis::{Digest, Domain, Height, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::tree::{self, Change, Leaf};
use crate::{DidId, Governance, Moment, Receipt, Record, RegistryEntry, RegistryKey};

/// What the state tree keeps something under. The order of the variants is part of the encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StateKey {
    /// A DID's newest record.
    Did(DidId),
    /// The validators, the parameters and what is voted on.
    Governance,
    /// A block that was executed.
    Block(Height),
    /// An entry of the trust registry.
    Registry(RegistryKey),
}

/// What the state remembers of a block for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockSummary {
    /// Its place.
    pub height: Height,
    /// Its time.
    pub time: UnixMillis,
    /// The root of its receipts ([`receipts_root`]).
    pub receipts_root: Digest,
}

impl StateKey {
    /// The key in the tree.
    pub fn digest(&self) -> Digest {
        Digest::of(Domain::StateKey, &encode(self))
    }
}

impl BlockSummary {
    /// The value in the tree.
    pub fn digest(&self) -> Digest {
        Digest::of(Domain::StateValue, &encode(self))
    }
}

impl Governance {
    /// The value in the tree.
    pub fn digest(&self) -> Digest {
        Digest::of(Domain::StateValue, &encode(self))
    }
}

impl RegistryEntry {
    /// The value in the tree.
    pub fn digest(&self) -> Digest {
        Digest::of(Domain::StateValue, &encode(self))
    }
}

/// A block's receipts as the leaves of their tree, in order.
pub fn receipt_leaves<'a>(receipts: impl IntoIterator<Item = &'a Receipt>) -> Vec<Leaf> {
    let leaf = |receipt: &Receipt| Leaf { key: receipt.id, value: receipt.digest() };
    let mut leaves: Vec<Leaf> = receipts.into_iter().map(leaf).collect();
    leaves.sort_unstable_by_key(|leaf| leaf.key);
    leaves
}

/// The root over a block's receipts: a tree like the state's, by the ids of the transactions.
pub fn receipts_root(receipts: &[Receipt]) -> Digest {
    tree::root(&receipt_leaves(receipts))
}

/// What a block changes in the tree, in order.
pub(crate) fn changes(
    now: Moment,
    records: &[Record],
    governance: Option<&Governance>,
    registry: &BTreeMap<RegistryKey, RegistryEntry>,
    receipts_root: Digest,
) -> Vec<Change> {
    let mut changes = BTreeMap::new();
    // Of several versions of one DID the newest stays.
    for record in records {
        changes.insert(StateKey::Did(record.header.did).digest(), Some(record.header.digest()));
    }
    if let Some(governance) = governance {
        changes.insert(StateKey::Governance.digest(), Some(governance.digest()));
    }
    for (key, entry) in registry {
        changes.insert(StateKey::Registry(*key).digest(), Some(entry.digest()));
    }
    let block = BlockSummary { height: now.height, time: now.time, receipts_root };
    changes.insert(StateKey::Block(now.height).digest(), Some(block.digest()));
    changes.into_iter().collect()
}

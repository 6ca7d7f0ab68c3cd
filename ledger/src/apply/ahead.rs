//! What a block's transactions name, read in one go before the first of them is executed.
//!
//! Invariant: this is the state before the block. What is not here is read from the view when it is needed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use genesis::Digest;

use super::StateView;
use crate::{CheckedBatch, DidId, Record};

/// Records and receipts that were read ahead.
pub(super) struct Ahead {
    /// Of every DID that a transaction is about.
    records: BTreeMap<DidId, Option<Record>>,
    /// The transactions of the block that were ordered before.
    ordered: BTreeSet<Digest>,
}

impl Ahead {
    pub(super) fn read<V: StateView>(view: &V, batches: &[Arc<CheckedBatch>]) -> Result<Self, V::Error> {
        let transactions = || batches.iter().flat_map(|batch| batch.transactions());
        let mut ids: Vec<Digest> = transactions().map(|transaction| transaction.id()).collect();
        ids.sort_unstable();
        ids.dedup();
        let have = view.have_receipts(&ids)?;
        let ordered = ids.into_iter().zip(have).filter_map(|(id, has)| has.then_some(id)).collect();
        let mut dids = Vec::new();
        for transaction in transactions() {
            dids.extend(transaction.transaction().operation.did());
            dids.extend(transaction.item_ids());
        }
        dids.sort_unstable();
        dids.dedup();
        let records = view.records(&dids)?;
        Ok(Self { records: dids.into_iter().zip(records).collect(), ordered })
    }

    pub(super) fn has_receipt(&self, id: &Digest) -> bool {
        self.ordered.contains(id)
    }

    /// The outer option is none where it was not read.
    pub(super) fn record(&self, did: &DidId) -> Option<Option<&Record>> {
        self.records.get(did).map(Option::as_ref)
    }
}

//! The ledger as [`ledger::apply()`] reads it, with a clock on its state tree: the ledger itself may not look at one.

use std::sync::Arc;

use genesis::{Configuration, Digest};
use ledger::{
    DidId, Governance, Outcome, Record, RegistryEntry, RegistryKey, StateView, Store, StoreError, tree,
};
use prometheus::Histogram;

/// A store, and where it is noted how long its tree took.
pub(super) struct Timed<'a> {
    pub(super) store: &'a Store,
    pub(super) tree: &'a Histogram,
}

impl StateView for Timed<'_> {
    type Error = StoreError;

    fn record(&self, did: &DidId) -> Result<Option<Record>, StoreError> {
        StateView::record(self.store, did)
    }

    fn has_receipt(&self, id: &Digest) -> Result<bool, StoreError> {
        self.store.has_receipt(id)
    }

    fn records(&self, dids: &[DidId]) -> Result<Vec<Option<Record>>, StoreError> {
        self.store.records(dids)
    }

    fn have_receipts(&self, ids: &[Digest]) -> Result<Vec<bool>, StoreError> {
        self.store.have_receipts(ids)
    }

    fn governance(&self) -> Result<Arc<Governance>, StoreError> {
        StateView::governance(self.store)
    }

    fn configuration(&self, digest: &Digest) -> Result<Option<Configuration>, StoreError> {
        StateView::configuration(self.store, digest)
    }

    fn registry(&self, key: &RegistryKey) -> Result<Option<RegistryEntry>, StoreError> {
        StateView::registry(self.store, key)
    }

    fn outcome(&self) -> Result<Outcome, StoreError> {
        StateView::outcome(self.store)
    }

    fn update_tree(&self, changes: &[tree::Change]) -> Result<tree::Update, StoreError> {
        let _timer = self.tree.start_timer();
        self.store.update_tree(changes)
    }
}

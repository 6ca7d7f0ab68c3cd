//! The fold that gives the agreed order its meaning: `(state, block) -> (records, receipts)`.
//!
//! Every transaction of a block gets a receipt, in order, and sees the changes of those before it. The rules:
//!
//! - The first receipt of an id stands: a transaction that has one is skipped and leaves no second one.
//! - A transaction past its expiry changes nothing and its receipt says `expired`; so whoever sees the chain past
//!   that height without the receipt `applied` knows that it never took effect and never will.
//! - A transaction that breaks a rule changes nothing, and its receipt says which.
//!
//! Invariant: the result depends on the arguments alone. No clock, no randomness, no hash-map order; transactions
//! were checked before ([`CheckedBatch`]), so no rule depends on who checked them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use genesis::{Digest, Parameters};

use crate::{CheckedBatch, CheckedTransaction, Code, DidId, Moment, Receipt, Record};

/// The state after the block before, as far as the rules read it.
pub trait StateView {
    /// Why the state cannot be read.
    type Error;

    /// The newest record of `did`.
    ///
    /// # Errors
    /// When the state cannot be read.
    fn record(&self, did: &DidId) -> Result<Option<Record>, Self::Error>;

    /// Whether the transaction `id` was ordered before.
    ///
    /// # Errors
    /// When the state cannot be read.
    fn has_receipt(&self, id: &Digest) -> Result<bool, Self::Error>;
}

/// What a block changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The new versions, in the order in which they were made; a DID may have several.
    pub records: Vec<Record>,
    /// The receipts, in the order of the block.
    pub receipts: Vec<Receipt>,
}

/// Executes the `batches` of the block at `now`, in order, on the state that `view` shows.
///
/// # Errors
/// When `view` cannot be read; then the block is to be executed again, from the start.
pub fn apply<V: StateView>(
    view: &V,
    parameters: &Parameters,
    now: Moment,
    batches: &[Arc<CheckedBatch>],
) -> Result<Changes, V::Error> {
    let mut fold = Fold {
        view,
        parameters,
        now,
        changes: Changes::default(),
        newest: BTreeMap::new(),
        seen: BTreeSet::new(),
    };
    let transactions = batches.iter().flat_map(|batch| batch.transactions());
    for (index, transaction) in (0..).zip(transactions) {
        fold.step(index, transaction)?;
    }
    Ok(fold.changes)
}

struct Fold<'a, V> {
    view: &'a V,
    parameters: &'a Parameters,
    now: Moment,
    changes: Changes,
    /// Where the newest record of each DID that this block changed stands in `changes`.
    newest: BTreeMap<DidId, usize>,
    /// The ids that got their receipt in this block.
    seen: BTreeSet<Digest>,
}

impl<V: StateView> Fold<'_, V> {
    fn step(&mut self, index: u32, checked: &CheckedTransaction) -> Result<(), V::Error> {
        let id = checked.id();
        if self.seen.contains(&id) || self.view.has_receipt(&id)? {
            return Ok(());
        }
        self.seen.insert(id);
        let did = checked.transaction().operation.did();
        let (code, version) = match self.execute(did, checked)? {
            Ok(record) => {
                let version = record.header.version;
                self.newest.insert(did, self.changes.records.len());
                self.changes.records.push(record);
                (Code::Applied, Some(version))
            }
            Err(code) => (code, None),
        };
        let receipt = Receipt { id, height: self.now.height, index, code, did: Some(did), version };
        self.changes.receipts.push(receipt);
        Ok(())
    }

    fn execute(&self, did: DidId, checked: &CheckedTransaction) -> Result<Result<Record, Code>, V::Error> {
        let transaction = checked.transaction();
        if let Err(code) = transaction.check_expiry(self.now.height, self.parameters) {
            return Ok(Err(code));
        }
        let (operation, signers) = (&transaction.operation, &transaction.signers);
        Ok(match self.newest.get(&did) {
            Some(place) => operation.execute(did, signers, Some(&self.changes.records[*place]), self.now),
            None => operation.execute(did, signers, self.view.record(&did)?.as_ref(), self.now),
        })
    }
}

#[cfg(test)]
mod tests;

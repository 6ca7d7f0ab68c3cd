//! The fold that gives the agreed order its meaning: `(state, block) -> changes`.
//!
//! Every transaction of a block sees the changes of those before it, and gets a receipt, in order, with two exceptions:
//!
//! - The first receipt of an id stands: a transaction that has one is skipped and leaves no second one.
//! - A transaction past its expiry, or with one too far ahead, is skipped and leaves none. So whoever sees the chain past that
//!   height without a receipt knows that it never took effect and never will; and an id need not be remembered longer, so
//!   that nodes which forgot old receipts agree with those which did not.
//!
//! The other rules:
//!
//! - A transaction that breaks a rule changes nothing, and its receipt says which.
//! - The parameters are those of the current configuration, which stays the same within a block. Where the block closes
//!   its epoch, the next one takes its place after the last transaction.
//!
//! Invariant: the result depends on the arguments alone. No clock, no randomness, no hash-map order; transactions
//! were checked before ([`CheckedBatch`]), so no rule depends on who checked them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use genesis::{Configuration, Digest, Epoch, Height, PublicKey};

use crate::HOW_TO_REPLACE;
use crate::operation::Scene;
use crate::{
    CheckedBatch, CheckedTransaction, Code, DidId, Document, Governance, GovernanceVote, Moment, Operation,
    Outcome, Propose, Receipt, Record, Version,
};

/// The state after the block before, as far as the rules read it.
pub trait StateView {
    /// Why the state cannot be read.
    type Error: std::error::Error + 'static;

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

    /// The validators, the parameters and what is voted on.
    ///
    /// # Errors
    /// When the state cannot be read.
    fn governance(&self) -> Result<Arc<Governance>, Self::Error>;

    /// The configuration with this digest, at least where [`Governance::announced`] lists it.
    ///
    /// # Errors
    /// When the state cannot be read.
    fn configuration(&self, digest: &Digest) -> Result<Option<Configuration>, Self::Error>;

    /// What the block before led to.
    ///
    /// # Errors
    /// When the state cannot be read.
    fn outcome(&self) -> Result<Outcome, Self::Error>;
}

/// What a block changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The new versions, in the order in which they were made; a DID may have several.
    pub records: Vec<Record>,
    /// The receipts, in the order of the block.
    pub receipts: Vec<Receipt>,
    /// The validators, the parameters and what is voted on, where the block changed any of it.
    pub governance: Option<Arc<Governance>>,
    /// What it all led to.
    pub outcome: Outcome,
}

/// Why a block cannot be executed.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError<E: std::error::Error + 'static> {
    /// The state cannot be read; then the block is to be executed again, from the start.
    #[error(transparent)]
    View(#[from] E),
    /// The block closes its epoch with a configuration that the state does not know: it is not the state that the
    /// checkpoint's signers had.
    #[error(
        "block {height} ends epoch {epoch} with configuration {digest}, which no block of that epoch announced: this \
         ledger is not the one that a quorum signed. {HOW_TO_REPLACE}. Where that does not help, report it"
    )]
    UnknownConfiguration {
        /// The block.
        height: Height,
        /// Its epoch.
        epoch: Epoch,
        /// The configuration that its certificate names.
        digest: Digest,
    },
}

/// Executes the `batches` of the block at `now`, in order, on the state that `view` shows. Where the block closes its
/// epoch, `closing` is the pending configuration that the checkpoint certificate in it names.
///
/// # Errors
/// When `view` cannot be read, or does not know the configuration.
pub fn apply<V: StateView>(
    view: &V,
    now: Moment,
    closing: Option<Digest>,
    batches: &[Arc<CheckedBatch>],
) -> Result<Changes, ApplyError<V::Error>> {
    let before = view.governance()?;
    let mut fold = Fold {
        view,
        now,
        governance: Arc::clone(&before),
        records: Vec::new(),
        receipts: Vec::new(),
        newest: BTreeMap::new(),
        seen: BTreeSet::new(),
    };
    if before.has_expired(now.height) {
        Arc::make_mut(&mut fold.governance).expire(now.height);
    }
    let transactions = batches.iter().flat_map(|batch| batch.transactions());
    for (index, transaction) in (0..).zip(transactions) {
        fold.step(index, transaction)?;
    }
    if let Some(digest) = closing {
        fold.close_epoch(digest)?;
    }
    fold.announce();
    let Fold { governance, records, receipts, .. } = fold;
    let governance = (governance != before).then_some(governance);
    let outcome = view.outcome()?.after(now, &records, &receipts, governance.as_deref());
    Ok(Changes { records, receipts, governance, outcome })
}

struct Fold<'a, V> {
    view: &'a V,
    now: Moment,
    /// Shared with the view until something changes.
    governance: Arc<Governance>,
    records: Vec<Record>,
    receipts: Vec<Receipt>,
    /// Where the newest record of each DID that this block changed stands in `records`.
    newest: BTreeMap<DidId, usize>,
    /// The ids that got their receipt in this block.
    seen: BTreeSet<Digest>,
}

/// What an operation did: the DID that it is about, and the version that it made or why it did nothing.
type Effect = (Option<DidId>, Result<Option<Version>, Code>);

impl<V: StateView> Fold<'_, V> {
    fn step(&mut self, index: u32, checked: &CheckedTransaction) -> Result<(), V::Error> {
        let transaction = checked.transaction();
        let parameters = &self.governance.configuration.parameters;
        if transaction.check_expiry(self.now.height, parameters).is_err() {
            return Ok(());
        }
        let id = checked.id();
        if self.seen.contains(&id) || self.view.has_receipt(&id)? {
            return Ok(());
        }
        self.seen.insert(id);
        let (did, effect) = self.execute(id, &transaction.operation, &transaction.signers)?;
        let (code, version) = match effect {
            Ok(version) => (Code::Applied, version),
            Err(code) => (code, None),
        };
        let (height, expires_at) = (self.now.height, transaction.expires_at);
        self.receipts.push(Receipt { id, height, expires_at, index, code, did, version });
        Ok(())
    }

    fn execute(
        &mut self,
        id: Digest,
        operation: &Operation,
        signers: &[PublicKey],
    ) -> Result<Effect, V::Error> {
        let brings = operation.document();
        match operation {
            Operation::Create(create) => {
                let did = create.did();
                self.change(did, signers, brings, |scene, current| create.execute(did, scene, current))
            }
            Operation::Update(update) => {
                self.change(update.did, signers, brings, |scene, current| update.execute(scene, current))
            }
            Operation::Recover(recover) => {
                self.change(recover.did, signers, brings, |scene, current| recover.execute(scene, current))
            }
            Operation::Deactivate(deactivate) => {
                self.change(deactivate.did, signers, brings, |scene, current| {
                    deactivate.execute(scene, current)
                })
            }
            Operation::Propose(propose) => Ok((None, self.propose(id, propose, signers).map(|()| None))),
            Operation::Vote(vote) => Ok((None, self.vote(vote, signers).map(|()| None))),
        }
    }

    /// Changes `did` by `rule`, to the document `brings` where there is one.
    fn change(
        &mut self,
        did: DidId,
        signers: &[PublicKey],
        brings: Option<&Document>,
        rule: impl FnOnce(&Scene<'_>, Option<&Record>) -> Result<Record, Code>,
    ) -> Result<Effect, V::Error> {
        let made = {
            let current = self.record(&did)?;
            let present = current.as_deref().and_then(|record| record.document.as_ref());
            let mut others = BTreeMap::new();
            for controller in present.into_iter().chain(brings).flat_map(|document| &document.controllers) {
                if let Some(record) = self.record(controller)? {
                    others.insert(*controller, record.into_owned());
                }
            }
            let parameters = &self.governance.configuration.parameters;
            let scene = Scene { now: self.now, signers, parameters, others };
            rule(&scene, current.as_deref())
        };
        let made = made.map(|record| {
            let version = record.header.version;
            self.newest.insert(did, self.records.len());
            self.records.push(record);
            Some(version)
        });
        Ok((Some(did), made))
    }

    /// The newest record of `did`, with the changes of this block.
    fn record(&self, did: &DidId) -> Result<Option<Cow<'_, Record>>, V::Error> {
        match self.newest.get(did) {
            Some(place) => Ok(Some(Cow::Borrowed(&self.records[*place]))),
            None => Ok(self.view.record(did)?.map(Cow::Owned)),
        }
    }

    // What may not be done is found out before the governance is copied to be changed.
    fn propose(&mut self, id: Digest, propose: &Propose, signers: &[PublicKey]) -> Result<(), Code> {
        let proposer = self.governance.may_propose(propose, signers)?;
        Arc::make_mut(&mut self.governance).propose(id, propose, proposer, self.now)
    }

    fn vote(&mut self, vote: &GovernanceVote, signers: &[PublicKey]) -> Result<(), Code> {
        let voter = self.governance.may_vote(vote, signers)?;
        Arc::make_mut(&mut self.governance).vote(vote, voter)
    }

    fn close_epoch(&mut self, digest: Digest) -> Result<(), ApplyError<V::Error>> {
        let height = self.now.height;
        // The announcements of the blocks before: what this block made pending stands in no certificate yet.
        let announced = self.governance.announced.contains(&digest);
        let next = if announced { self.view.configuration(&digest)? } else { None };
        let epoch = self.governance.epoch;
        let next = next.ok_or(ApplyError::UnknownConfiguration { height, epoch, digest })?;
        Arc::make_mut(&mut self.governance).close_epoch(height, next);
        Ok(())
    }

    /// Remembers what this block leaves pending.
    fn announce(&mut self) {
        let Some(digest) = self.governance.pending.as_ref().map(Configuration::digest) else { return };
        if !self.governance.announced.contains(&digest) {
            Arc::make_mut(&mut self.governance).announced.insert(digest);
        }
    }
}

#[cfg(test)]
mod tests;

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

mod ahead;
mod registry;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use genesis::{Configuration, Digest, Epoch, Height, PublicKey, Registration};

use self::ahead::Ahead;
use crate::HOW_TO_REPLACE;
use crate::governance::RULES;
use crate::operation::Scene;
use crate::{
    Change, CheckedBatch, CheckedTransaction, Code, Create, DidId, Document, Governance, GovernanceVote,
    ItemReceipt, Moment, Operation, Outcome, Propose, Receipt, Record, RegistryEntry, RegistryKey,
    Transaction, Version,
};
use crate::{state, tree};

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

    /// [`StateView::record`] of each of `dids`, which are in ascending order: a disk is read faster at many places at once.
    ///
    /// # Errors
    /// When the state cannot be read.
    fn records(&self, dids: &[DidId]) -> Result<Vec<Option<Record>>, Self::Error> {
        dids.iter().map(|did| self.record(did)).collect()
    }

    /// [`StateView::has_receipt`] of each of `ids`, which are in ascending order.
    ///
    /// # Errors
    /// When the state cannot be read.
    fn have_receipts(&self, ids: &[Digest]) -> Result<Vec<bool>, Self::Error> {
        ids.iter().map(|id| self.has_receipt(id)).collect()
    }

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

    /// The entry of the trust registry under `key`.
    ///
    /// # Errors
    /// When the state cannot be read.
    fn registry(&self, key: &RegistryKey) -> Result<Option<RegistryEntry>, Self::Error>;

    /// What the block before led to.
    ///
    /// # Errors
    /// When the state cannot be read.
    fn outcome(&self) -> Result<Outcome, Self::Error>;

    /// Works out what `changes`, in ascending order of their keys and each key once, make of the state tree.
    ///
    /// # Errors
    /// When the state cannot be read.
    fn update_tree(&self, changes: &[tree::Change]) -> Result<tree::Update, Self::Error>;
}

/// What a block changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The new versions, in the order in which they were made; a DID may have several. Also records whose header an
    /// endorsement changed, which keep their version.
    pub records: Vec<Record>,
    /// The receipts, in the order of the block.
    pub receipts: Vec<Receipt>,
    /// The validators, the parameters and what is voted on, where the block changed any of it.
    pub governance: Option<Arc<Governance>>,
    /// What becomes of the state tree.
    pub tree: tree::Update,
    /// The entries of the trust registry that the block changed.
    pub registry: BTreeMap<RegistryKey, RegistryEntry>,
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
    /// The validators decided that other rules hold from here on.
    #[error(
        "block {height} is executed by version {needed} of the rules, as the validators decided, but this build has version \
         {built}: install one that has version {needed}. The store is sound and ends at the block before"
    )]
    UnknownRules {
        /// The block.
        height: Height,
        /// The rules' version that it needs.
        needed: u32,
        /// The build's.
        built: u32,
    },
}

/// Executes the `batches` of the block at `now`, in order, on the state that `view` shows. Where the block closes its
/// epoch, `closing` is the pending configuration that the checkpoint certificate in it names.
///
/// # Errors
/// When `view` cannot be read, or does not know the configuration, or the block needs rules that this build lacks.
pub fn apply<V: StateView>(
    view: &V,
    now: Moment,
    closing: Option<Digest>,
    batches: &[Arc<CheckedBatch>],
) -> Result<Changes, ApplyError<V::Error>> {
    let before = view.governance()?;
    let needed = before.rules_at(now.height);
    if needed > RULES {
        return Err(ApplyError::UnknownRules { height: now.height, needed, built: RULES });
    }
    let mut fold = Fold {
        view,
        ahead: Ahead::read(view, batches)?,
        now,
        governance: Arc::clone(&before),
        records: Vec::new(),
        receipts: Vec::new(),
        registry: BTreeMap::new(),
        author: None,
        by_author: BTreeMap::new(),
        newest: BTreeMap::new(),
        seen: BTreeSet::new(),
    };
    if before.has_expired(now.height) {
        Arc::make_mut(&mut fold.governance).expire(now.height);
    }
    if before.has_due_rules(now.height) {
        Arc::make_mut(&mut fold.governance).begin_rules(now.height);
    }
    let transactions = batches.iter().flat_map(|batch| {
        batch.transactions().iter().map(|transaction| (batch.author(), transaction.as_ref()))
    });
    for (index, (author, transaction)) in (0..).zip(transactions) {
        fold.author = Some(author);
        fold.step(index, transaction)?;
    }
    if let Some(digest) = closing {
        fold.close_epoch(digest)?;
    }
    fold.announce();
    let Fold { governance, records, receipts, registry, .. } = fold;
    let governance = (governance != before).then_some(governance);
    // What the chain was founded with enters the tree with its first block.
    let is_first = before.epoch == Epoch::ZERO && now.height == before.began.next();
    let founding = is_first.then_some(before.as_ref());
    let receipts_root = state::receipts_root(&receipts);
    let changes = state::changes(now, &records, governance.as_deref().or(founding), &registry, receipts_root);
    let tree = view.update_tree(&changes)?;
    let outcome = view.outcome()?.after(tree.root(), receipts_root, governance.as_deref());
    Ok(Changes { records, receipts, governance, registry, tree, outcome })
}

struct Fold<'a, V> {
    view: &'a V,
    ahead: Ahead,
    now: Moment,
    /// Shared with the view until something changes.
    governance: Arc<Governance>,
    records: Vec<Record>,
    receipts: Vec<Receipt>,
    registry: BTreeMap<RegistryKey, RegistryEntry>,
    /// Whose batch is executed.
    author: Option<PublicKey>,
    /// How many DIDs each author's batches registered in this block.
    by_author: BTreeMap<PublicKey, u64>,
    /// Where the newest record of each DID that this block changed stands in `records`.
    newest: BTreeMap<DidId, usize>,
    /// The ids that got their receipt in this block.
    seen: BTreeSet<Digest>,
}

/// What an operation did.
struct Effect {
    /// The DID that it is about.
    did: Option<DidId>,
    /// The version that it made, or why it did nothing.
    made: Result<Option<Version>, Code>,
    /// What became of each item, where it has several.
    items: Vec<ItemReceipt>,
}

impl Effect {
    const fn of(did: DidId, made: Result<Option<Version>, Code>) -> Self {
        Self { did: Some(did), made, items: Vec::new() }
    }

    const fn none(made: Result<Option<Version>, Code>) -> Self {
        Self { did: None, made, items: Vec::new() }
    }
}

impl<V: StateView> Fold<'_, V> {
    fn step(&mut self, index: u32, checked: &CheckedTransaction) -> Result<(), V::Error> {
        let transaction = checked.transaction();
        let parameters = &self.governance.configuration.parameters;
        if transaction.check_expiry(self.now.height, parameters).is_err() {
            return Ok(());
        }
        let id = checked.id();
        if self.seen.contains(&id) || self.ahead.has_receipt(&id) {
            return Ok(());
        }
        self.seen.insert(id);
        let Effect { did, made, items } = self.execute(checked)?;
        let (code, version) = match made {
            Ok(version) => (Code::Applied, version),
            Err(code) => (code, None),
        };
        let (height, expires_at) = (self.now.height, transaction.expires_at);
        self.receipts.push(Receipt { id, height, expires_at, index, code, did, version, items });
        Ok(())
    }

    fn execute(&mut self, checked: &CheckedTransaction) -> Result<Effect, V::Error> {
        let Transaction { operation, signers, .. } = checked.transaction();
        let brings = operation.document();
        match operation {
            Operation::Create(create) => self.create(create, signers),
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
            Operation::Propose(propose) => {
                Ok(Effect::none(self.propose(checked.id(), propose, signers)?.map(|()| None)))
            }
            Operation::Vote(vote) => Ok(Effect::none(self.vote(vote, signers)?.map(|()| None))),
            Operation::CreateMany(create) => self.create_many(create, checked.item_ids(), signers),
            Operation::Endorse(endorse) => self.endorse(endorse, signers),
            Operation::WithdrawEndorsement(withdraw) => self.withdraw_endorsement(withdraw, signers),
            Operation::PublishSchema(publish) => self.publish_schema(publish, signers),
            Operation::PublishStatusList(publish) => self.publish_status_list(publish, signers),
        }
    }

    fn create(&mut self, create: &Create, signers: &[PublicKey]) -> Result<Effect, V::Error> {
        let did = create.did();
        let registering =
            match create.registrar.map(|registrar| self.registering(registrar, signers)).transpose()? {
                Some(Err(code)) => return Ok(Effect::of(did, Err(code))),
                Some(Ok(registering)) => Some(registering),
                None => None,
            };
        let (accreditation, endorsement) = registering.unzip();
        let is_alone = endorsement.is_none();
        let effect = self.counted(did, signers, &create.document, is_alone, |scene, current| {
            create.execute(did, endorsement, scene, current)
        })?;
        if let (Ok(_), Some(accreditation)) = (&effect.made, accreditation) {
            self.registered(accreditation);
        }
        Ok(effect)
    }

    /// Registers an item of several: its owner's proof was checked before.
    fn register(
        &mut self,
        did: DidId,
        signers: &[PublicKey],
        document: &Document,
        first: impl FnOnce(Moment) -> Record,
    ) -> Result<Result<(), Code>, V::Error> {
        let effect = self.counted(did, signers, document, false, |scene, current| {
            if current.is_some() {
                return Err(Code::DidExists);
            }
            scene.check_document(did, document)?;
            Ok(first(scene.now))
        })?;
        Ok(effect.made.map(drop))
    }

    /// A registration, counted by the batch's author; alone, where no registrar endorses it.
    fn counted(
        &mut self,
        did: DidId,
        signers: &[PublicKey],
        document: &Document,
        is_alone: bool,
        rule: impl FnOnce(&Scene<'_>, Option<&Record>) -> Result<Record, Code>,
    ) -> Result<Effect, V::Error> {
        let Some(author) = self.author else {
            unreachable!("a transaction is in a batch, which has an author")
        };
        let most = self.governance.configuration.parameters.max_author_registrations;
        if self.by_author.get(&author).is_some_and(|count| *count >= most) {
            return Ok(Effect::of(did, Err(Code::TooManyRegistrations)));
        }
        let effect = self.change_or_register(did, signers, Some(document), is_alone, rule)?;
        if effect.made.is_ok() {
            *self.by_author.entry(author).or_default() += 1;
        }
        Ok(effect)
    }

    /// Changes `did` by `rule`, to the document `brings` where there is one.
    fn change(
        &mut self,
        did: DidId,
        signers: &[PublicKey],
        brings: Option<&Document>,
        rule: impl FnOnce(&Scene<'_>, Option<&Record>) -> Result<Record, Code>,
    ) -> Result<Effect, V::Error> {
        self.change_or_register(did, signers, brings, false, rule)
    }

    fn change_or_register(
        &mut self,
        did: DidId,
        signers: &[PublicKey],
        brings: Option<&Document>,
        is_alone: bool,
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
            // Of each that comes with an endorsement this would be two look-ups for nothing.
            let lacks_endorsement = is_alone && parameters.registration == Registration::Endorsed;
            let asks = lacks_endorsement || brings.is_some_and(|document| !document.services.is_empty());
            let is_accredited = asks && self.is_accredited(did)?;
            let scene = Scene { now: self.now, signers, parameters, others, is_accredited };
            rule(&scene, current.as_deref())
        };
        let made = made.map(|record| {
            let version = record.header.version;
            self.newest.insert(did, self.records.len());
            self.records.push(record);
            Some(version)
        });
        Ok(Effect::of(did, made))
    }

    /// The newest record of `did`, with the changes of this block.
    fn record(&self, did: &DidId) -> Result<Option<Cow<'_, Record>>, V::Error> {
        match (self.newest.get(did), self.ahead.record(did)) {
            (Some(place), _) => Ok(Some(Cow::Borrowed(&self.records[*place]))),
            (None, Some(record)) => Ok(record.map(Cow::Borrowed)),
            (None, None) => Ok(self.view.record(did)?.map(Cow::Owned)),
        }
    }

    // What may not be done is found out before the governance is copied to be changed.
    fn propose(
        &mut self,
        id: Digest,
        propose: &Propose,
        signers: &[PublicKey],
    ) -> Result<Result<(), Code>, V::Error> {
        let proposer = match self.governance.may_propose(propose, signers, self.now) {
            Ok(proposer) => proposer,
            Err(code) => return Ok(Err(code)),
        };
        if let Some(Err(_)) = self.granted(&propose.change)? {
            return Ok(Err(Code::InvalidChange));
        }
        let decided = Arc::make_mut(&mut self.governance).propose(id, propose, proposer, self.now);
        self.decided(decided)
    }

    fn vote(&mut self, vote: &GovernanceVote, signers: &[PublicKey]) -> Result<Result<(), Code>, V::Error> {
        let voter = match self.governance.may_vote(vote, signers) {
            Ok(voter) => voter,
            Err(code) => return Ok(Err(code)),
        };
        let decided = Arc::make_mut(&mut self.governance).vote(vote, voter, self.now);
        self.decided(decided)
    }

    /// Does what was decided about the registry.
    fn decided(&mut self, decided: Result<Option<Change>, Code>) -> Result<Result<(), Code>, V::Error> {
        let change = match decided {
            Ok(Some(change)) => change,
            Ok(None) => return Ok(Ok(())),
            Err(code) => return Ok(Err(code)),
        };
        Ok(match self.granted(&change)? {
            Some(Ok(entry)) => {
                self.grant(entry);
                Ok(())
            }
            Some(Err(code)) => Err(code),
            None => Ok(()),
        })
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
mod reference;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod tests;

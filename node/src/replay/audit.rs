//! What a store holds, held against itself: blocks against one another and their certificates, all that they led to against the
//! state tree, whose root the validators signed.
//!
//! What is looked at:
//! - each block: its parent, its row against the agreed candidate, its batches against their digests, its receipts against their
//!   root, its summary in the tree
//! - every certificate, by the validators of its epoch; every checkpoint against what its block led to; what closed each epoch
//! - each DID: the newest record against the tree, the history header by header, the documents against their digests
//! - the trust registry and the governance against the tree; and that the tree has nothing beside all this
//! - the first epoch against the genesis document, and what closed each by the validators of that epoch: so none is believed who is
//!   said by the ledger alone to be in charge
//! - that no receipt is there but those of blocks: a transaction that has one is not applied again. Receipts of the chains before
//!   this one are left out, as their blocks are not shown
//!
//! Left to [`super::Replay`]: whether the blocks really lead to this state, and the transactions' signatures.

use std::fmt::Display;

use consensus::{CheckpointCertificate, Context};
use genesis::{Configuration, Digest, Epoch, Genesis, Height};
use ledger::state::{BlockSummary, StateKey, receipts_root};
use ledger::store::EpochStart;
use ledger::{
    CheckedBatch, Did, DidId, HOW_TO_REPLACE, Moment, Outcome, Record, RegistryKey, Store, StoreError,
    Version,
};

use super::from_store::{FromStore, first_height};
use super::{ReplayError, Source};
use crate::executor;
use crate::membership::Members;
use crate::sync::check::check_range;
use crate::sync::serve::AnswerError;
use crate::wire::{Proof, decode_checkpoint};

/// Why a ledger is not sound.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The disk failed, or a row is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Blocks that can not be read, or do not prove themselves.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// Something about a block.
    #[error("block {height} is not sound: {problem}. {HOW_TO_REPLACE}")]
    Block {
        /// Which.
        height: Height,
        /// What is wrong.
        problem: String,
    },
    /// Something about a DID.
    #[error("the record of {did} at version {version} is not sound: {problem}. {HOW_TO_REPLACE}")]
    Record {
        /// Which DID.
        did: Did,
        /// Which version.
        version: Version,
        /// What is wrong.
        problem: String,
    },
    /// Something about the rest of the state.
    #[error("{what} of the ledger, at height {height}, is not sound: {problem}. {HOW_TO_REPLACE}")]
    State {
        /// The tip.
        height: Height,
        /// Of what.
        what: String,
        /// What is wrong.
        problem: String,
    },
    /// Somebody wants no more.
    #[error("stopped")]
    Stopped,
}

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audited {
    /// Blocks.
    pub blocks: u64,
    /// Batches.
    pub batches: u64,
    /// Checkpoint certificates.
    pub checkpoints: u64,
    /// DIDs.
    pub dids: u64,
    /// Their versions.
    pub versions: u64,
    /// Entries of the trust registry.
    pub registry: u64,
    /// The highest block that a certificate covers.
    pub proven: Height,
}

/// A step of an audit, for whoever waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A range of blocks was proven final.
    Range,
    /// A block was looked at.
    Block,
    /// A receipt was counted.
    Receipt,
    /// A version of a DID was.
    Version,
}

/// Looks at all that a store holds. Says each step to `watch`; ends where that fails.
///
/// # Errors
/// Names the first thing that is not sound.
pub fn audit(
    store: &Store,
    genesis: &Genesis,
    watch: &mut impl FnMut(Step) -> Result<(), AuditError>,
) -> Result<Audited, AuditError> {
    let mut audit = Audit { store, genesis, tip: store.tip().height, receipts: 0, found: Audited::default() };
    audit.epochs()?;
    audit.finality(watch)?;
    audit.blocks(watch)?;
    audit.receipts(watch)?;
    audit.dids(watch)?;
    audit.rest()?;
    Ok(audit.found)
}

struct Audit<'a> {
    store: &'a Store,
    genesis: &'a Genesis,
    tip: Height,
    /// How many receipts blocks of this chain were found to have.
    receipts: u64,
    found: Audited,
}

fn unsound(height: Height, problem: impl Display) -> AuditError {
    AuditError::Block { height, problem: problem.to_string() }
}

impl Audit<'_> {
    fn context(&self, epoch: Epoch) -> Result<Members, AuditError> {
        let state = |problem: &str| self.state(format!("the configuration of epoch {epoch}"), problem);
        let configuration = self.store.configuration_of(epoch)?.ok_or_else(|| state("it is missing"))?;
        let start = self.store.epoch_start(epoch).ok_or_else(|| state("its beginning is missing"))?;
        let context = Context { chain: self.genesis.chain(), epoch, validators: configuration.validators };
        Ok(Members { context, began: start.began, me: None })
    }

    /// That the first epoch is the genesis document's, and that its validators said who is in charge next, and so on.
    fn epochs(&self) -> Result<(), AuditError> {
        let configuration = Configuration::of(self.genesis).digest();
        let founded = EpochStart { began: self.genesis.height(), configuration };
        if self.store.epoch_start(Epoch::ZERO) != Some(founded) {
            return Err(self.state("the first epoch", "it is not the genesis document's"));
        }
        let mut epoch = Epoch::ZERO;
        while let Some(start) = self.store.epoch_start(epoch.next()) {
            let height = start.began;
            let closing = self.checkpoint(height)?;
            if closing.is_none() && height != self.tip {
                return Err(unsound(height, format!("the checkpoint that closed epoch {epoch} is missing")));
            }
            if let Some(closing) = closing.clone() {
                if closing.checkpoint.height != height {
                    return Err(unsound(height, "its checkpoint's certificate is of another block"));
                }
                let verified = closing.verify(&self.context(epoch)?.context);
                verified
                    .map_err(|problem| unsound(height, format!("its checkpoint's certificate: {problem}")))?;
            }
            let signed = closing.map(|closing| closing.checkpoint.configuration);
            let led_to = self.store.outcome_of(height)?.map(|outcome| outcome.configuration);
            for configuration in [signed, led_to].into_iter().flatten() {
                if configuration != start.configuration {
                    return Err(unsound(
                        height,
                        format!("it closed epoch {epoch} with another configuration"),
                    ));
                }
            }
            epoch = epoch.next();
        }
        Ok(())
    }

    fn checkpoint(&self, height: Height) -> Result<Option<CheckpointCertificate>, AuditError> {
        let bytes = self.store.checkpoint(height)?;
        let read = bytes.map(|bytes| decode_checkpoint(&bytes)).transpose();
        read.map_err(|problem| unsound(height, format!("its checkpoint's certificate: {problem}")))
    }

    /// That all blocks are final, as peers would be shown it.
    fn finality(&mut self, watch: &mut impl FnMut(Step) -> Result<(), AuditError>) -> Result<(), AuditError> {
        let mut source = FromStore::new(self.store, first_height(self.store), self.tip)?;
        self.found.proven = source.next().previous();
        loop {
            let from = source.next();
            let Some(range) = source.range()? else { return Ok(()) };
            let members = self.context(self.store.epoch_of_height(from))?;
            let checked = check_range(range, 0, from, &members);
            let checked =
                checked.map_err(|problem| unsound(from, format!("{problem}, in the blocks from it on")))?;
            if checked.blocks.is_none() {
                return Err(unsound(from, "the blocks from it on are of another epoch"));
            }
            self.found.proven = source.next().previous();
            watch(Step::Range)?;
        }
    }

    fn blocks(&mut self, watch: &mut impl FnMut(Step) -> Result<(), AuditError>) -> Result<(), AuditError> {
        let mut height = first_height(self.store);
        let mut members = self.context(self.store.epoch_of_height(height))?;
        let mut parent = (height.previous() == self.store.origin()).then(|| self.genesis.chain());
        while let Some(block) = self.store.block(height)? {
            let epoch = self.store.epoch_of_height(height);
            if epoch != members.context.epoch {
                members = self.context(epoch)?;
            }
            if parent.is_some_and(|parent| parent != block.parent) {
                return Err(unsound(height, "its parent is not the block before it"));
            }
            parent = Some(block.digest);
            self.block(&block, &members)?;
            watch(Step::Block)?;
            height = height.next();
        }
        Ok(())
    }

    fn block(&mut self, block: &ledger::Block, members: &Members) -> Result<(), AuditError> {
        let height = block.height;
        let proof = Proof::decode(&block.proof).map_err(AnswerError::Encoding).map_err(ReplayError::Kept)?;
        let agreed = consensus::Block::new(proof.candidate);
        if executor::row(&agreed, proof.commit.clone()) != *block {
            return Err(unsound(height, "its row says something else than the block that was agreed on"));
        }
        if agreed.epoch != members.context.epoch {
            return Err(unsound(height, format!("it is of epoch {}", agreed.epoch)));
        }
        if let Some(commit) = proof.commit {
            if commit.digest != block.digest {
                return Err(unsound(height, "its certificate is about another block"));
            }
            let verified = consensus::Finality::Commit(commit).verify(&members.context);
            verified.map_err(|problem| unsound(height, format!("its certificate: {problem}")))?;
        }
        let outcome = self.store.outcome_of(height)?.ok_or_else(|| unsound(height, "it has no outcome"))?;
        if let Some(signed) = self.checkpoint(height)? {
            if signed.checkpoint != executor::checkpoint(&agreed, &outcome) {
                return Err(unsound(height, "the validators signed another outcome of it"));
            }
            let verified = signed.verify(&members.context);
            verified
                .map_err(|problem| unsound(height, format!("its checkpoint's certificate: {problem}")))?;
            self.found.checkpoints += 1;
        }
        self.contents(block, &outcome)?;
        self.found.blocks += 1;
        Ok(())
    }

    /// Batches and receipts.
    fn contents(&mut self, block: &ledger::Block, outcome: &Outcome) -> Result<(), AuditError> {
        let height = block.height;
        let mut receipts = Vec::new();
        for digest in &block.batches {
            let (named, bytes) = (self.store.height_of_batch(digest)?, self.store.batch(digest)?);
            let missing = || unsound(height, format!("its batch {digest} is missing"));
            let bytes = bytes.filter(|_| named == Some(height)).ok_or_else(missing)?;
            let batch = CheckedBatch::decode_already_verified(&bytes, self.genesis);
            let batch = batch.map_err(|problem| unsound(height, format!("its batch {digest}: {problem}")))?;
            for transaction in batch.transactions() {
                let receipt = self.store.receipt(&transaction.id())?;
                receipts.extend(receipt.filter(|receipt| receipt.height == height));
            }
            self.found.batches += 1;
        }
        // Of a transaction that came twice in a block there is one.
        receipts.sort_unstable_by_key(|receipt| receipt.id);
        receipts.dedup_by_key(|receipt| receipt.id);
        if receipts_root(&receipts) != outcome.receipts_root {
            return Err(unsound(height, "its receipts are not the ones that its outcome names"));
        }
        self.receipts += receipts.len() as u64;
        self.summary(BlockSummary { height, time: block.time, receipts_root: outcome.receipts_root })
    }

    fn summary(&self, summary: BlockSummary) -> Result<(), AuditError> {
        let height = summary.height;
        self.in_tree(StateKey::Block(height), summary.digest()).map_err(|problem| match problem {
            Some(problem) => unsound(height, format!("its summary: {problem}")),
            None => unsound(height, "its summary is not the one in the state tree"),
        })
    }

    /// The receipts that came with a snapshot, and that there are none beside these and those of blocks.
    fn receipts(&mut self, watch: &mut impl FnMut(Step) -> Result<(), AuditError>) -> Result<(), AuditError> {
        for at in self.store.remembered_blocks() {
            let Moment { height, time } = at?;
            let receipts = self.store.receipts_of(self.genesis, height)?;
            self.summary(BlockSummary { height, time, receipts_root: receipts_root(&receipts) })?;
            // Those of a chain before this one are not counted below.
            if height > self.store.origin() {
                self.receipts += receipts.len() as u64;
            }
        }
        let origin = self.store.origin();
        let mut count = 0;
        for receipt in self.store.receipts() {
            let height = receipt?.height;
            count += u64::from(height > origin || height == Height::ZERO);
            watch(Step::Receipt)?;
        }
        if count != self.receipts {
            let problem = format!("there are {count}, but blocks have {}", self.receipts);
            return Err(self.state("the list of receipts", problem));
        }
        Ok(())
    }

    /// Whether the tree has this value. None where it has another.
    fn in_tree(&self, key: StateKey, value: Digest) -> Result<(), Option<String>> {
        let some = |error: &dyn Display| Some(error.to_string());
        let proofs = self.store.prove(self.tip, &[key]).map_err(|error| some(&error))?;
        let proof = proofs.and_then(|mut proofs| proofs.pop());
        let proof = proof.ok_or_else(|| Some("the state tree of the tip can not be read".to_owned()))?;
        let root = self.store.outcome().state_root;
        let found = proof.value(&root, &key.digest()).map_err(|error| some(&error))?;
        if found == Some(value) { Ok(()) } else { Err(None) }
    }

    fn dids(&mut self, watch: &mut impl FnMut(Step) -> Result<(), AuditError>) -> Result<(), AuditError> {
        let mut last: Option<Record> = None;
        for record in self.store.versions() {
            let record = record?;
            self.follows(last.as_ref(), &record)?;
            if let Some(newest) = last.filter(|last| last.header.did != record.header.did) {
                self.newest(&newest)?;
            }
            last = Some(record);
            self.found.versions += 1;
            watch(Step::Version)?;
        }
        if let Some(newest) = last {
            self.newest(&newest)?;
        }
        let mut records = 0;
        for record in self.store.newest_records() {
            records += record.map(|_| 1)?;
        }
        if records != self.found.dids {
            let problem = format!("there are {records}, but histories of {}", self.found.dids);
            return Err(self.state("the list of DIDs", problem));
        }
        Ok(())
    }

    fn record(&self, record: &Record, problem: impl Into<String>) -> AuditError {
        let did = Did::new(self.genesis.network(), record.header.did);
        AuditError::Record { did, version: record.header.version, problem: problem.into() }
    }

    /// Whether a version follows the row before it, and its document is the one that it names.
    fn follows(&self, before: Option<&Record>, record: &Record) -> Result<(), AuditError> {
        let header = &record.header;
        let before = before.filter(|before| before.header.did == header.did);
        let (version, previous) = match before {
            Some(before) => (before.header.version.next(), before.header.digest()),
            None => (Version::FIRST, Digest::ZERO),
        };
        if header.version != version {
            return Err(self.record(record, format!("version {version} should come there")));
        }
        if header.previous != previous {
            return Err(self.record(record, "it does not name the header of the version before it"));
        }
        if header.document != record.document.as_ref().map(ledger::Document::digest) {
            return Err(self.record(record, "its document is not the one that its header names"));
        }
        Ok(())
    }

    fn newest(&mut self, record: &Record) -> Result<(), AuditError> {
        let did: DidId = record.header.did;
        if self.store.record(&did)?.as_ref() != Some(record) {
            return Err(self.record(record, "the newest record is not the last one of the history"));
        }
        let inside = self.in_tree(StateKey::Did(did), record.header.digest());
        inside.map_err(|problem| {
            self.record(record, problem.unwrap_or_else(|| "it is not the one in the state tree".to_owned()))
        })?;
        self.found.dids += 1;
        Ok(())
    }

    fn state(&self, what: impl Into<String>, problem: impl Into<String>) -> AuditError {
        AuditError::State { height: self.tip, what: what.into(), problem: problem.into() }
    }

    /// The trust registry, the governance, and that the tree has nothing else.
    fn rest(&mut self) -> Result<(), AuditError> {
        let not_there = |problem: Option<String>| {
            problem.unwrap_or_else(|| "it is not the one in the state tree".to_owned())
        };
        for entry in self.store.registry_entries() {
            let entry = entry?;
            let key: RegistryKey = entry.key();
            self.in_tree(StateKey::Registry(key), entry.digest())
                .map_err(|problem| self.state(format!("the registry's entry {key:?}"), not_there(problem)))?;
            self.found.registry += 1;
        }
        // That of a chain without blocks of its own is not in the tree yet.
        if self.tip > self.store.origin() {
            self.in_tree(StateKey::Governance, self.store.governance().digest())
                .map_err(|problem| self.state("the governance", not_there(problem)))?;
        }
        // A leaf a DID, an entry and a block; the blocks of chains before this one too.
        let governance = u64::from(self.tip > Height::ZERO);
        let expected = self.found.dids + self.found.registry + self.tip.0 + governance;
        let leaves = self.store.count_leaves()?;
        if leaves != expected {
            let problem = format!("it has {leaves} leaves, but {expected} things are here that it must hold");
            return Err(self.state("the state tree", problem));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

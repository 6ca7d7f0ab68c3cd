//! A machine's ledger: the executed blocks, what they led to, and the checkpoints of the chain. It executes by the real
//! rules, and serves and restarts from what it holds as the node does.
//!
//! Invariant: writes become durable in their order, by [`Store::sync`] at the latest. A crash keeps all blocks that were executed since,
//! and of the checkpoints put in after them the first few; or it keeps none of both.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;

use consensus::{
    Block, Candidate, Certificate, Checkpoint, CheckpointCertificate, Executed, Finality, Start, Tip,
};
use genesis::{Configuration, Digest, Epoch, Genesis, Height};
use ledger::tree::{Change, MemoryTree, Update};
use ledger::{
    ApplyError, Changes, CheckedBatch, DidId, Governance, Moment, Outcome, Record, RegistryEntry,
    RegistryKey, StateView, apply,
};

use super::chance::Chance;

/// The most blocks in one answer about what is final, unless the next proof is further away.
const BLOCKS_AN_ANSWER: usize = 16;

/// An executed block.
#[derive(Clone, Debug)]
pub struct Stored {
    /// What was agreed.
    pub block: Block,
    /// Its own certificate, where it has one.
    pub commit: Option<Certificate>,
    /// What it led to.
    pub outcome: Outcome,
}

/// Final blocks of one epoch, and what proves them. As the node sends them.
#[derive(Clone, Debug, Default)]
pub struct Range {
    /// In order of height.
    pub candidates: Vec<Candidate>,
    /// That the last of them is final.
    pub finality: Option<Finality>,
    /// The checkpoint that the last of them cites.
    pub cited: Option<CheckpointCertificate>,
    /// The newest checkpoint of the epoch of the block before the first.
    pub checkpoint: Option<CheckpointCertificate>,
}

/// Where in the chain a ledger stands, as consensus takes it up.
#[derive(Debug)]
pub struct Position {
    /// The epoch.
    pub epoch: Epoch,
    /// Its validators and parameters.
    pub configuration: Configuration,
    /// What opened it.
    pub opening: Option<CheckpointCertificate>,
    /// The newest executed block.
    pub start: Start,
}

/// What the rules of the ledger read.
#[derive(Clone, Debug)]
struct State {
    records: BTreeMap<DidId, Record>,
    receipts: BTreeSet<Digest>,
    governance: Arc<Governance>,
    configurations: BTreeMap<Digest, Configuration>,
    registry: BTreeMap<RegistryKey, RegistryEntry>,
    outcome: Outcome,
    tree: MemoryTree,
}

/// One machine's ledger.
#[derive(Clone, Debug)]
pub struct Store {
    /// In order of height, from 1.
    pub blocks: Vec<Stored>,
    /// All that they name.
    pub ordered: BTreeSet<Digest>,
    state: State,
    genesis: Tip,
    /// For each epoch the height of the block that closed the one before, and its configuration.
    starts: Vec<(Height, Configuration)>,
    checkpoints: BTreeMap<Height, CheckpointCertificate>,
    unsynced: Vec<Height>,
    /// What the disk has for sure, where blocks were executed since.
    synced: Option<Box<Self>>,
}

/// What the validators sign of an executed block (P6).
pub fn checkpoint(block: &Candidate, outcome: &Outcome) -> Checkpoint {
    Checkpoint {
        epoch: block.epoch,
        height: block.height,
        block: block.digest(),
        time: block.time,
        state_root: outcome.state_root,
        receipts_root: outcome.receipts_root,
        configuration: outcome.configuration,
        pending: outcome.pending,
    }
}

impl StateView for State {
    type Error = Infallible;

    fn record(&self, did: &DidId) -> Result<Option<Record>, Infallible> {
        Ok(self.records.get(did).cloned())
    }

    fn has_receipt(&self, id: &Digest) -> Result<bool, Infallible> {
        Ok(self.receipts.contains(id))
    }

    fn governance(&self) -> Result<Arc<Governance>, Infallible> {
        Ok(Arc::clone(&self.governance))
    }

    fn configuration(&self, digest: &Digest) -> Result<Option<Configuration>, Infallible> {
        Ok(self.configurations.get(digest).cloned())
    }

    fn registry(&self, key: &RegistryKey) -> Result<Option<RegistryEntry>, Infallible> {
        Ok(self.registry.get(key).cloned())
    }

    fn outcome(&self) -> Result<Outcome, Infallible> {
        Ok(self.outcome)
    }

    fn update_tree(&self, changes: &[Change]) -> Result<Update, Infallible> {
        Ok(self.tree.update(changes))
    }
}

impl State {
    fn take(&mut self, changes: Changes) {
        for record in changes.records {
            self.records.insert(record.header.did, record);
        }
        self.receipts.extend(changes.receipts.iter().map(|receipt| receipt.id));
        self.registry.extend(changes.registry);
        if let Some(governance) = changes.governance {
            self.configurations.extend(governance.pending.clone().map(|pending| (pending.digest(), pending)));
            self.governance = governance;
        }
        self.tree.adopt(&changes.tree);
        self.outcome = changes.outcome;
    }
}

impl Store {
    /// A store with nothing but genesis.
    pub fn new(genesis: &Genesis) -> Self {
        let state = State {
            records: BTreeMap::new(),
            receipts: BTreeSet::new(),
            governance: Arc::new(Governance::of(genesis)),
            configurations: BTreeMap::new(),
            registry: BTreeMap::new(),
            outcome: Outcome::genesis(genesis),
            tree: MemoryTree::default(),
        };
        Self {
            blocks: Vec::new(),
            ordered: BTreeSet::new(),
            state,
            genesis: Tip::genesis(genesis),
            starts: vec![(Height::ZERO, Configuration::of(genesis))],
            checkpoints: BTreeMap::new(),
            unsynced: Vec::new(),
            synced: None,
        }
    }

    /// The height of the newest block.
    pub fn height(&self) -> Height {
        Height(self.blocks.len() as u64)
    }

    /// The validators, the parameters and what is voted on.
    pub fn governance(&self) -> &Governance {
        &self.state.governance
    }

    /// Executes the next block.
    ///
    /// # Errors
    /// When it closes its epoch with a configuration that this ledger does not know.
    pub fn execute(
        &mut self,
        block: Block,
        commit: Option<Certificate>,
        closes: Option<Digest>,
        batches: &[Arc<CheckedBatch>],
    ) -> Result<Executed, ApplyError<Infallible>> {
        if self.synced.is_none() {
            self.synced = Some(Box::new(self.clone()));
        }
        let moment = Moment { height: block.height, time: block.time };
        let changes = apply(&self.state, moment, closes, batches)?;
        let outcome = changes.outcome;
        self.state.take(changes);
        self.ordered.extend(&block.payload);
        let next = closes.map(|_| self.state.governance.configuration.clone());
        if let Some(next) = &next {
            self.starts.push((block.height, next.clone()));
        }
        let checkpoint = checkpoint(&block, &outcome);
        self.blocks.push(Stored { block, commit, outcome });
        self.unsynced.clear();
        if closes.is_some() {
            self.sync();
        }
        Ok(Executed { checkpoint, next })
    }

    /// Makes all of it durable.
    pub fn sync(&mut self) {
        self.synced = None;
        self.unsynced.clear();
    }

    /// Keeps a checkpoint's certificate; a crash before the next block may lose it.
    pub fn put_checkpoint(&mut self, certificate: CheckpointCertificate) {
        let height = certificate.checkpoint.height;
        if self.checkpoints.insert(height, certificate).is_none() {
            self.unsynced.push(height);
        }
    }

    /// Loses what was not synced: the blocks, or the checkpoints after them, from some one on.
    pub fn crash(&mut self, chance: &mut Chance) {
        if let Some(synced) = self.synced.take()
            && chance.percent(50)
        {
            *self = *synced;
        }
        let kept = chance.below(self.unsynced.len() as u64 + 1) as usize;
        for height in self.unsynced.drain(..).skip(kept) {
            self.checkpoints.remove(&height);
        }
    }

    /// The certificate of the checkpoint at `height`.
    pub fn checkpoint_at(&self, height: Height) -> Option<&CheckpointCertificate> {
        self.checkpoints.get(&height)
    }

    /// What closed `epoch`, where it is over and its certificate is here.
    pub fn closing_of(&self, epoch: Epoch) -> Option<&CheckpointCertificate> {
        let (began, _) = self.starts.get(usize::try_from(epoch.next().0).ok()?)?;
        self.checkpoint_at(*began)
    }

    fn epoch_of_height(&self, height: Height) -> Epoch {
        let begun = self.starts.partition_point(|(began, _)| *began < height);
        Epoch(begun.saturating_sub(1) as u64)
    }

    fn block(&self, height: Height) -> Option<&Stored> {
        self.blocks.get(usize::try_from(height.0.checked_sub(1)?).ok()?)
    }

    /// Where a replica begins. A block that closes an epoch belongs to it until its checkpoint has a certificate.
    ///
    /// # Errors
    /// When the certificate that opened the epoch is missing.
    pub fn position(&self) -> Result<Position, String> {
        let (governance, tip) = (self.governance(), self.height());
        let certificate = |height: Height| self.checkpoint_at(height).cloned();
        let has_closed = governance.epoch > Epoch::ZERO && governance.began == tip;
        let is_closing = has_closed && certificate(tip).is_none();
        let epoch = if is_closing { governance.epoch.previous() } else { governance.epoch };
        let (began, configuration) = self.starts[epoch.0 as usize].clone();
        let opening = if epoch == Epoch::ZERO { None } else { certificate(began) };
        if epoch > Epoch::ZERO && opening.is_none() {
            return Err(format!(
                "the ledger lacks the checkpoint of block {began}, which opened epoch {epoch}"
            ));
        }
        let Some(newest) = self.block(tip) else {
            let start = Start { tip: self.genesis, certificate: None, executed: None, certified: Vec::new() };
            return Ok(Position { epoch, configuration, opening, start });
        };
        if let Some(opening) = opening.as_ref().filter(|_| has_closed && !is_closing) {
            let tip = Tip::opening(opening);
            let start = Start { tip, certificate: None, executed: None, certified: Vec::new() };
            return Ok(Position { epoch, configuration, opening: Some(opening.clone()), start });
        }
        let block = &newest.block;
        let checkpoint = checkpoint(block, &newest.outcome);
        let next = is_closing.then(|| governance.configuration.clone());
        let cited = block.cites.height.max(began.next());
        let certified = self.checkpoints.range(cited..).filter(|(height, _)| **height <= tip);
        let certified = certified.map(|(_, certificate)| certificate.clone());
        let certified = certified.filter(|certificate| certificate.checkpoint.epoch == epoch).collect();
        let executed = Some(Executed { checkpoint, next });
        let start = Start { tip: Tip::of(block), certificate: newest.commit.clone(), executed, certified };
        Ok(Position { epoch, configuration, opening, start })
    }

    /// Final blocks after `after` and of one epoch, up to the last within bounds that has a proof of its own, and the
    /// newest checkpoint of the epoch of the block at `after`.
    pub fn after(&self, after: Height) -> Range {
        let epoch = self.epoch_of_height(after);
        let checkpoint = match self.starts.get(epoch.next().0 as usize) {
            Some((began, _)) => self.checkpoint_at(*began).cloned(),
            None => self.checkpoints.last_key_value().map(|(_, newest)| newest.clone()),
        };
        let mut range = self.blocks_from(after.next());
        range.checkpoint = checkpoint;
        range
    }

    fn blocks_from(&self, from: Height) -> Range {
        // The epoch's last block is proven by what closed the epoch.
        let epoch = self.epoch_of_height(from);
        let end = self.starts.get(epoch.next().0 as usize).map_or(Height(u64::MAX), |(began, _)| *began);
        let later = self.blocks.get(from.previous().0 as usize..).unwrap_or_default();
        let (mut candidates, mut proven) = (Vec::new(), None);
        for Stored { block, commit, .. } in later.iter().take_while(|stored| stored.block.height <= end) {
            if candidates.len() >= BLOCKS_AN_ANSWER && proven.is_some() {
                break;
            }
            let finality = match commit {
                None if block.height == end => self.checkpoint_at(end).cloned().map(Finality::Checkpoint),
                commit => commit.clone().map(Finality::Commit),
            };
            candidates.push(block.candidate().clone());
            if let Some(finality) = finality {
                proven = Some((candidates.len(), finality, block.cites.height));
            }
        }
        let Some((count, finality, cites)) = proven else { return Range::default() };
        candidates.truncate(count);
        let cited = self.checkpoint_at(cites).cloned();
        Range { candidates, finality: Some(finality), cited, checkpoint: None }
    }
}

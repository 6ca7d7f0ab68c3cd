//! The network of the vectors: a ledger in memory, and the validators' certificates of its blocks.
//!
//! Everything is drawn from names and numbers, so that each run makes the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;

use client::light::{Link, ResolutionProof};
use consensus::{Checkpoint, CheckpointCertificate};
use genesis::encoding::encode;
use genesis::{
    Configuration, Digest, Domain, Epoch, Genesis, Height, Parameters, SecretKey, UnixMillis, Validator,
    ValidatorIndex, ValidatorSet,
};
use ledger::proof::{DidProof, Recorder};
use ledger::resolution::{History, Options, resolve};
use ledger::state::StateKey;
use ledger::tree::{self, MemoryTree};
use ledger::{
    Batch, CheckedBatch, Did, DidId, Governance, Moment, Outcome, Receipt, Record, RegistryEntry,
    RegistryKey, StateView, Transaction, Version, apply,
};

pub const NETWORK: &str = "test";

/// The seed of the key with this name.
pub fn seed(name: &str) -> [u8; 32] {
    blake3::derive_key("realdid test vectors", name.as_bytes())
}

/// The key with this name.
pub fn secret(name: &str) -> SecretKey {
    SecretKey::from_seed(seed(name))
}

pub fn consensus_key(index: u16) -> String {
    format!("node{index} consensus")
}

pub fn governance_key(index: u16) -> String {
    format!("node{index} governance")
}

pub fn validator(index: u16) -> Validator {
    Validator {
        name: format!("node{index}"),
        consensus_key: secret(&consensus_key(index)).public(),
        network_key: secret(&format!("node{index} network")).public(),
        governance_key: secret(&governance_key(index)).public(),
        address: format!("node{index}.example:26600"),
    }
}

/// Four validators, and the default parameters.
pub fn founded() -> Genesis {
    let validators = (0..4).map(validator).collect();
    Genesis::new(NETWORK.into(), UnixMillis(1_790_000_000_000), Parameters::default(), validators).unwrap()
}

/// The time of a block: ten seconds after the one before.
pub fn time(height: u64) -> UnixMillis {
    UnixMillis(founded().time().0 + 10_000 * height)
}

/// A block as it was executed.
#[derive(Clone)]
pub struct Block {
    pub height: u64,
    pub closes: Option<Digest>,
    pub transactions: Vec<Transaction>,
    pub receipts: Vec<Receipt>,
    pub records: Vec<Record>,
    pub outcome: Outcome,
    pub epoch: Epoch,
    /// The state after it.
    pub tree: MemoryTree,
}

/// The ledger, and how it came to be.
pub struct Ledger {
    records: BTreeMap<(DidId, Version), Record>,
    receipts: BTreeSet<Digest>,
    governance: Arc<Governance>,
    configurations: BTreeMap<Digest, Configuration>,
    registry: BTreeMap<RegistryKey, RegistryEntry>,
    outcome: Outcome,
    tree: MemoryTree,
    pub links: Vec<Link>,
    pub blocks: Vec<Block>,
}

impl Ledger {
    pub fn new() -> Self {
        Self {
            records: BTreeMap::new(),
            receipts: BTreeSet::new(),
            governance: Arc::new(Governance::of(&founded())),
            configurations: BTreeMap::new(),
            registry: BTreeMap::new(),
            outcome: Outcome::genesis(&founded()),
            tree: MemoryTree::default(),
            links: Vec::new(),
            blocks: Vec::new(),
        }
    }

    /// Executes the next block. Where it `closes` its epoch, the pending configuration takes over.
    pub fn block(&mut self, transactions: Vec<Transaction>, closes: bool) -> &Block {
        let height = self.blocks.len() as u64 + 1;
        let epoch = self.governance.epoch;
        let closes = if closes { self.outcome.pending } else { None };
        let batches: Vec<Arc<CheckedBatch>> = if transactions.is_empty() {
            Vec::new()
        } else {
            let author = validator(0).network_key;
            let batch = Batch {
                author,
                sequence: height,
                expires_at: Height(1_000),
                transactions: transactions.clone(),
            };
            vec![Arc::new(CheckedBatch::decode_and_check(&batch.encode(), &founded()).unwrap())]
        };
        let now = Moment { height: Height(height), time: time(height) };
        let changes = apply(self, now, closes, &batches).unwrap();
        for record in &changes.records {
            self.records.insert((record.header.did, record.header.version), record.clone());
        }
        self.receipts.extend(changes.receipts.iter().map(|receipt| receipt.id));
        self.registry.extend(changes.registry);
        if let Some(governance) = changes.governance {
            self.configurations.extend(governance.pending.clone().map(|pending| (pending.digest(), pending)));
            self.governance = governance;
        }
        self.outcome = changes.outcome;
        self.tree.adopt(&changes.tree);
        let (receipts, records, outcome) = (changes.receipts, changes.records, self.outcome);
        let tree = self.tree.clone();
        self.blocks.push(Block { height, closes, transactions, receipts, records, outcome, epoch, tree });
        if let Some(configuration) = closes {
            let certificate = self.certificate(height);
            let configuration = self.configurations[&configuration].clone();
            self.links.push(Link { certificate, configuration });
        }
        &self.blocks[self.blocks.len() - 1]
    }

    pub fn at(&self, height: u64) -> &Block {
        &self.blocks[height as usize - 1]
    }

    pub fn checkpoint(&self, height: u64) -> Checkpoint {
        let block = self.at(height);
        let Outcome { state_root, receipts_root, configuration, pending } = block.outcome;
        Checkpoint {
            epoch: block.epoch,
            height: Height(height),
            block: Digest::of(Domain::Candidate, format!("block {height}").as_bytes()),
            time: time(height),
            state_root,
            receipts_root,
            configuration,
            pending,
        }
    }

    /// Who signs checkpoints of the block at `height`: all but one, in an order of their places.
    pub fn signers(&self, height: u64) -> Vec<u16> {
        let count = if self.at(height).epoch == Epoch::ZERO { 4 } else { 5 };
        (0..count).filter(|index| u64::from(*index) != height % u64::from(count)).collect()
    }

    pub fn certificate(&self, height: u64) -> CheckpointCertificate {
        certified(&self.checkpoint(height), &self.signers(height))
    }

    /// What a node gives of `did` after the block at `height` to a client that knows the first epoch.
    pub fn proof(&self, did: &Did, options: &Options, height: u64) -> ResolutionProof {
        let past = Past { ledger: self, height };
        let recorder = Recorder::new(&past);
        let Ok(resolution) = resolve(&recorder, NETWORK, &did.to_string(), options);
        let Ok((headers, documents)) = recorder.into_parts(&did.id(), resolution.version());
        let path = self.at(height).tree.prove(&StateKey::Did(did.id()).digest()).unwrap();
        let certificate = self.certificate(height);
        let before = |link: &&Link| link.certificate.checkpoint.height.0 < height;
        let links = self.links.iter().filter(before).cloned().collect();
        ResolutionProof { links, certificate, did: DidProof { path, headers, documents } }
    }
}

/// What a checkpoint's signature is over, as `docs/formats.md` says.
pub fn statement(checkpoint: &Checkpoint) -> Vec<u8> {
    [
        b"realdid consensus v1".as_slice(),
        founded().chain().as_bytes(),
        &checkpoint.epoch.0.to_le_bytes(),
        &[4],
        &checkpoint.height.0.to_le_bytes(),
        Digest::of(Domain::Checkpoint, &encode(checkpoint)).as_bytes(),
    ]
    .concat()
}

pub fn certified(checkpoint: &Checkpoint, signers: &[u16]) -> CheckpointCertificate {
    let bytes = statement(checkpoint);
    let sign = |index: &u16| (ValidatorIndex(*index), secret(&consensus_key(*index)).sign(&bytes));
    CheckpointCertificate { checkpoint: checkpoint.clone(), signatures: signers.iter().map(sign).collect() }
}

/// Validators that this network never had.
pub fn strangers() -> Configuration {
    let validators = ValidatorSet::new((20..24).map(validator).collect()).unwrap();
    Configuration { validators, parameters: Parameters::default() }
}

/// The ledger as it was after a block.
struct Past<'a> {
    ledger: &'a Ledger,
    height: u64,
}

impl History for Past<'_> {
    type Error = Infallible;

    fn newest(&self, did: &DidId) -> Result<Option<Record>, Infallible> {
        // The newest that was made by then, as the last block up to then left it.
        let blocks = self.ledger.blocks.iter().take(self.height as usize).rev();
        Ok(blocks
            .flat_map(|block| block.records.iter().rev())
            .find(|record| record.header.did == *did)
            .cloned())
    }

    fn at_version(&self, did: &DidId, version: Version) -> Result<Option<Record>, Infallible> {
        let is_it = |record: &&Record| record.header.did == *did && record.header.version == version;
        let blocks = self.ledger.blocks.iter().take(self.height as usize).rev();
        Ok(blocks.flat_map(|block| block.records.iter().rev()).find(is_it).cloned())
    }
}

impl StateView for Ledger {
    type Error = Infallible;

    fn record(&self, did: &DidId) -> Result<Option<Record>, Infallible> {
        let versions = self.records.range((*did, Version(0))..=(*did, Version(u64::MAX)));
        Ok(versions.last().map(|(_, record)| record.clone()))
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

    fn update_tree(&self, changes: &[tree::Change]) -> Result<tree::Update, Infallible> {
        Ok(self.tree.update(changes))
    }
}

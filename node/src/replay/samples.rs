//! Chains for tests: real blocks with real certificates in a real store, without a network.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use client::wallet::{self, Terms};
use consensus::message::{Kind, VoteKind};
use consensus::{Block, Candidate, Certificate, CheckpointCertificate, Cited, Context, Parent, Tip};
use genesis::encoding::encode;
use genesis::{
    Digest, Epoch, Genesis, Height, Parameters, SecretKey, Signature, UnixMillis, Validator, ValidatorIndex,
    View,
};
use ledger::{
    Batch, Change, Changes, CheckedBatch, Code, Deactivate, Did, GovernanceVote, Operation, Propose, Store,
    Transaction, Update, Version, apply,
};
use tempfile::TempDir;

use super::from_store::FromStore;
use super::stream::{Header, Writer};
use super::{Replay, ReplayError, Source};
use crate::executor;
use crate::wire::encode_checkpoint;

/// A chain as it is made.
pub(crate) struct Chain {
    pub(crate) folder: TempDir,
    pub(crate) genesis: Genesis,
    pub(crate) store: Store,
    pub(crate) context: Context,
    pub(crate) dids: Vec<(Did, SecretKey)>,
    tip: Tip,
    cites: Cited,
    /// What the cited checkpoint says that the validators aim at.
    pending: Option<Digest>,
    /// What the disk makes of the next block.
    pub(crate) damage: Option<Damage>,
    /// Whether a quorum signs a state that no execution leads to.
    pub(crate) lies: bool,
}

/// Changes the rows of a block on their way to the disk.
pub(crate) type Damage = Box<dyn FnOnce(&mut ledger::Block, &mut Changes)>;

fn key(role: u8, index: u8) -> SecretKey {
    SecretKey::from_seed([16 * role + index; 32])
}

/// The genesis document of network `name`.
pub(crate) fn genesis(name: &str) -> Genesis {
    let list = (0..4).map(|index| Validator {
        name: format!("node{index}"),
        consensus_key: key(1, index).public(),
        network_key: key(2, index).public(),
        governance_key: key(3, index).public(),
        address: format!("127.0.0.1:{}", 1_000 + u16::from(index)),
    });
    let time = UnixMillis(1_000_000);
    Genesis::new(name.into(), time, Parameters::default(), list.collect()).unwrap()
}

/// A quorum's signatures over a statement of this kind, as it is laid out in docs/formats.md.
fn signed(context: &Context, kind: Kind, number: u64, digest: Digest) -> Vec<(ValidatorIndex, Signature)> {
    let mut bytes = b"realdid consensus v1".to_vec();
    bytes.extend(context.chain.as_bytes());
    bytes.extend(context.epoch.0.to_le_bytes());
    bytes.push(kind as u8);
    bytes.extend(number.to_le_bytes());
    bytes.extend(digest.as_bytes());
    let secret = |validator: &Validator| {
        let mut secrets = (0..4).map(|index| key(1, index));
        secrets.find(|secret| secret.public() == validator.consensus_key).unwrap()
    };
    let members = context.validators.iter().take(context.validators.quorum());
    members.map(|(index, member)| (index, secret(member).sign(&bytes))).collect()
}

impl Chain {
    pub(crate) fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let genesis = genesis(name);
        let store = Store::open(folder.path(), &genesis).unwrap();
        let context =
            Context { chain: genesis.chain(), epoch: Epoch::ZERO, validators: genesis.validators().clone() };
        let (tip, cites) = (Tip::genesis(&genesis), Cited::genesis(&genesis));
        Self {
            folder,
            genesis,
            store,
            context,
            dids: Vec::new(),
            tip,
            cites,
            pending: None,
            damage: None,
            lies: false,
        }
    }

    /// DIDs that are made, changed and ended, in blocks with and without certificates, and one validator less from the middle on.
    pub(crate) fn full() -> Self {
        Self::closing(false)
    }

    /// The same, where the block that closes the epoch has a commit certificate or, as often, its checkpoint's alone.
    pub(crate) fn closing(committed: bool) -> Self {
        let mut chain = Self::new("test");
        for number in 0..4 {
            let transaction = chain.registered(number);
            // Every other one is covered by the next block's certificate.
            chain.block(&[transaction], number % 2 == 0, true);
        }
        let updates: Vec<_> = (0..3).map(|number| chain.updated(number)).collect();
        chain.block(&updates, true, true);
        let propose = Propose { change: Change::RemoveValidator { name: "node3".into() } };
        let proposal = chain.governed(0, Operation::Propose(Box::new(propose)));
        let vote = GovernanceVote { proposal: proposal.id(), approve: true };
        let votes = [1, 2].map(|index| chain.governed(index, Operation::Vote(vote.clone())));
        chain.block(&[vec![proposal], votes.to_vec()].concat(), true, true);
        assert!(chain.pending.is_some());
        // It cites the checkpoint that says so, and closes the epoch.
        let transaction = chain.registered(4);
        chain.block(&[transaction], committed, true);
        assert_eq!((chain.context.epoch, chain.context.validators.len()), (Epoch(1), 3));
        for number in 5..8 {
            let transactions = [chain.registered(number), chain.updated(usize::from(number) - 4)];
            chain.block(&transactions, true, number != 6);
        }
        let ended = chain.ended(0);
        chain.block(&[ended], true, true);
        chain.block(&[], true, true);
        chain
    }

    fn terms(&self) -> Terms {
        let network = self.genesis.network().to_owned();
        Terms { network, chain: self.genesis.chain(), expires_at: Height(500) }
    }

    pub(crate) fn registered(&mut self, number: u8) -> Transaction {
        let secret = key(8, number);
        let (did, transaction) = wallet::registration(&self.terms(), &secret);
        self.dids.push((did, secret));
        transaction
    }

    fn signed_by_did(&self, place: usize, operation: impl FnOnce(&Did, Version) -> Operation) -> Transaction {
        let (did, secret) = &self.dids[place];
        let version =
            self.store.record(&did.id()).unwrap().map_or(Version(0), |record| record.header.version);
        Transaction::sign(self.genesis.chain(), operation(did, version), Height(500), &[secret])
    }

    pub(crate) fn updated(&self, place: usize) -> Transaction {
        self.signed_by_did(place, |did, replaces| {
            let document = self.store.record(&did.id()).unwrap().unwrap().document.unwrap();
            Operation::Update(Update { did: did.id(), replaces, document, revealed: None, next_keys: None })
        })
    }

    fn ended(&self, place: usize) -> Transaction {
        self.signed_by_did(place, |did, version| {
            Operation::Deactivate(Deactivate { did: did.id(), replaces: Some(version), revealed: None })
        })
    }

    fn governed(&self, index: u8, operation: Operation) -> Transaction {
        Transaction::sign(self.genesis.chain(), operation, Height(500), &[&key(3, index)])
    }

    /// Makes the next block final, and executes it; with a commit certificate, and one of its checkpoint, or without.
    pub(crate) fn block(&mut self, transactions: &[Transaction], committed: bool, certified: bool) {
        let batch = (!transactions.is_empty()).then(|| {
            let (author, sequence) = (key(2, 0).public(), self.tip.height.0);
            Batch { author, sequence, expires_at: Height(400), transactions: transactions.to_vec() }.encode()
        });
        let batch = batch.map(|bytes| (CheckedBatch::digest_of(&bytes), bytes));
        let candidate = Candidate {
            epoch: self.context.epoch,
            view: self.tip.view.next(),
            height: self.tip.height.next(),
            parent: Parent { view: self.tip.view, digest: self.tip.digest },
            time: UnixMillis(self.tip.time.0 + 10),
            cites: self.cites,
            nonces: Vec::new(),
            payload: batch.iter().map(|(digest, _)| *digest).collect(),
        };
        let block = Block::new(candidate);
        let (kind, view, digest) = (VoteKind::Commit, block.view, block.digest());
        let commit = committed.then(|| {
            let signatures = signed(&self.context, Kind::Commit, view.0, digest);
            Certificate { kind, view, digest, signatures }
        });
        let mut row = executor::row(&block, commit);
        let mut batches = Vec::new();
        if let Some((digest, bytes)) = &batch {
            self.store.put_batches(&[(*digest, Height(400), bytes)]).unwrap();
            batches.push(Arc::new(CheckedBatch::decode_and_check(bytes, &self.genesis).unwrap()));
        }
        let closes = self.pending;
        let mut changes = apply(&self.store, row.moment(), closes, &batches).unwrap();
        assert!(
            changes.receipts.iter().all(|receipt| receipt.code == Code::Applied),
            "{:?}",
            changes.receipts
        );
        let outcome = changes.outcome;
        if let Some(damage) = self.damage.take() {
            damage(&mut row, &mut changes);
        }
        self.store.commit(&row, &changes).unwrap();
        self.tip = Tip::of(&block);
        if !certified {
            return;
        }
        let mut checkpoint = executor::checkpoint(&block, &outcome);
        if self.lies {
            checkpoint.state_root = Digest::ZERO;
        }
        let signatures = signed(&self.context, Kind::Checkpoint, checkpoint.height.0, checkpoint.digest());
        let certificate = CheckpointCertificate { checkpoint, signatures };
        self.store.put_checkpoint(block.height, &encode_checkpoint(&certificate)).unwrap();
        self.cites = certificate.checkpoint.cited();
        self.pending = certificate.checkpoint.pending;
        if closes.is_some() {
            self.tip = Tip::opening(&certificate);
            assert_eq!(self.tip.view, View::ZERO);
            let governance = self.store.governance();
            let validators = governance.configuration.validators.clone();
            self.context = Context { chain: self.context.chain, epoch: governance.epoch, validators };
        }
    }

    /// The chain as a stream.
    pub(crate) fn exported(&self, from: u64) -> Vec<u8> {
        export(&self.store, self.genesis.chain(), from)
    }
}

/// The blocks of a store from a height on as a stream.
pub(crate) fn export(store: &Store, chain: Digest, from: u64) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &Header { chain, first: Height(from) }).unwrap();
    let mut source = FromStore::new(store, Height(from), store.tip().height).unwrap();
    while let Some(range) = source.range().unwrap() {
        let candidates = range.candidates.clone();
        writer.blocks(range).unwrap();
        for candidate in candidates {
            for digest in &candidate.payload {
                writer.batch(source.batch(candidate.height, digest).unwrap()).unwrap();
            }
        }
    }
    writer.finish().unwrap().0
}

/// Takes a stream into the ledger in a folder; what is there then, and what went wrong.
pub(crate) fn import(folder: &Path, genesis: &Genesis, bytes: &[u8]) -> (Store, Result<(), ReplayError>) {
    let store = Store::open(folder, genesis).unwrap();
    let imported = super::stream::Reader::new(bytes).map_err(ReplayError::from).and_then(|mut reader| {
        assert_eq!(reader.header().chain, genesis.chain());
        Replay::new(&store, genesis, reader.header().first)?.run(&mut reader, &mut |_, _| Ok(()))
    });
    (store, imported)
}

/// A file with these bytes.
pub(crate) fn file(folder: &Path, name: &str, bytes: &[u8]) -> std::path::PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// The encoding's length, for places in a stream.
pub(crate) fn header_bytes() -> usize {
    20 + encode(&Header { chain: Digest::ZERO, first: Height::ZERO }).len()
}

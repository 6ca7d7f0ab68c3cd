//! A chain with short memory, for tests of what is forgotten, handed on and taken up again.

use std::path::Path;
use std::sync::Arc;

use genesis::{Configuration, Digest, Genesis, Height, Parameters};
use tempfile::TempDir;

use super::{Store, StoreError};
use crate::operation::sign_ready;
use crate::samples::{
    commitments, consensus_key, create, genesis_with, governance_key, key, moment, recovery_key, validator,
};
use crate::{
    Block, Change, Changes, CheckedBatch, CheckedTransaction, Commitments, Deactivate, Document,
    GovernanceVote, KeySet, Operation, Outcome, Propose, Recover, Tip, Transaction, Update, Version, apply,
};

/// How long batches and transactions are remembered, in blocks.
pub const MEMORY: u64 = 10;
/// The block that closes the first epoch.
pub const CLOSES: u64 = 15;

/// A chain whose rules forget soon.
pub fn forgetful() -> Genesis {
    genesis_with(Parameters {
        max_transaction_lifetime: MEMORY,
        max_batch_lifetime: MEMORY,
        max_checkpoint_lag: 8,
        ..Parameters::default()
    })
}

/// A ledger of [`forgetful`] in a directory of its own.
pub struct Chain {
    pub genesis: Genesis,
    pub folder: TempDir,
    pub store: Store,
}

impl Chain {
    pub fn new() -> Self {
        Self::at(tempfile::tempdir().unwrap()).unwrap()
    }

    /// The ledger in `folder`, whatever it is.
    pub fn at(folder: TempDir) -> Result<Self, StoreError> {
        let genesis = forgetful();
        let store = Store::open(folder.path(), &genesis)?;
        Ok(Self { genesis, folder, store })
    }

    /// The same after closing and opening it.
    pub fn reopened(self) -> Self {
        let Self { folder, store, .. } = self;
        drop(store);
        Self::at(folder).unwrap()
    }

    /// A chain up to `height`, as every call makes it.
    pub fn up_to(height: u64) -> Self {
        let chain = Self::new();
        chain.extend_to(height);
        chain
    }

    /// Goes on to `height`.
    pub fn extend_to(&self, height: u64) {
        while self.store.tip().height.0 < height {
            self.step();
        }
    }

    /// Commits the next block.
    pub fn step(&self) -> Outcome {
        let tip = self.store.tip();
        let height = tip.height.next();
        let transactions = transactions(&self.genesis, height.0);
        let digests: Vec<Digest> =
            transactions.into_iter().map(|list| self.put_batch(height, list)).collect();
        let block = block(&tip, &digests);
        let changes = self.execute(&block);
        self.store.commit(&block, &changes).unwrap();
        changes.outcome
    }

    /// What a block makes of the ledger.
    pub fn execute(&self, block: &Block) -> Changes {
        let batch = |digest: &Digest| {
            let bytes = self.store.batch(digest).unwrap().unwrap();
            Arc::new(CheckedBatch::decode_and_check(&bytes, &self.genesis).unwrap())
        };
        let batches: Vec<_> = block.batches.iter().map(batch).collect();
        let closing = (block.height == Height(CLOSES)).then(|| next_configuration(&self.genesis).digest());
        apply(&self.store, block.moment(), closing, &batches).unwrap()
    }

    fn put_batch(&self, height: Height, transactions: Vec<Transaction>) -> Digest {
        let checked = |transaction| Arc::new(CheckedTransaction::check(transaction, &self.genesis).unwrap());
        let transactions = transactions.into_iter().map(checked).collect();
        let (author, expires_at) = (validator(0).network_key, Height(height.0 + MEMORY));
        let (batch, bytes) =
            CheckedBatch::assemble(author, height.0, expires_at, transactions, &self.genesis).unwrap();
        self.store.put_batches(&[(batch.digest(), expires_at, &bytes)]).unwrap();
        batch.digest()
    }
}

/// The configuration of the second epoch: a fifth validator.
pub fn next_configuration(genesis: &Genesis) -> Configuration {
    let mut validators: Vec<_> = genesis.validators().iter().map(|(_, member)| member.clone()).collect();
    validators.push(validator(4));
    Configuration {
        validators: genesis::ValidatorSet::new(validators).unwrap(),
        ..Configuration::of(genesis)
    }
}

/// The block after `tip` with these batches.
pub fn block(tip: &Tip, batches: &[Digest]) -> Block {
    Block { time: moment(tip.height.0 + 1).time, ..crate::samples::block_after(tip, batches) }
}

/// The batches of block `height`: each block makes a DID; some change older ones, and what can be repeated is.
fn transactions(genesis: &Genesis, height: u64) -> Vec<Vec<Transaction>> {
    let subject = |height: u64| u8::try_from(height % 100 + 1).unwrap();
    let made = sign(genesis, height, Operation::Create(create(&[subject(height)])), subject(height));
    let mut list = vec![made];
    if height > 3 {
        // Ordered again, as long as it may be, it changes nothing and leaves no receipt.
        let older = height - 3;
        list.push(sign(genesis, older, Operation::Create(create(&[subject(older)])), subject(older)));
    }
    if height > 5 && height.is_multiple_of(3) {
        let older = height - 5;
        let (did, replaces) = (create(&[subject(older)]).did(), Version(1));
        let document = Document { threshold: 1, ..crate::samples::document(&[subject(older), 120]) };
        let update = Update { did, replaces, document, revealed: None, next_keys: None };
        list.push(sign(genesis, height, Operation::Update(update), subject(older)));
    }
    if height > 8 && height % 3 == 2 {
        let older = height - 7;
        let did = create(&[subject(older)]).did();
        let Commitments { recovery, next_keys } = commitments(2);
        let revealed = KeySet::of(recovery_key(1).public());
        let recover =
            Recover { did, revealed, document: crate::samples::document(&[121]), recovery, next_keys };
        let expires_at = Height(height + MEMORY);
        list.push(Transaction::sign(
            genesis.chain(),
            Operation::Recover(recover),
            expires_at,
            &[&recovery_key(1)],
        ));
    }
    if height > 20 && height.is_multiple_of(7) {
        let older = height - 12;
        let did = create(&[subject(older)]).did();
        let version = if older % 3 == 1 { 2 } else { 1 };
        let deactivate = Deactivate { did, replaces: Some(Version(version)), revealed: None };
        list.push(sign(genesis, height, Operation::Deactivate(deactivate), subject(older)));
    }
    if height == 5 || height == CLOSES + 4 {
        list.extend(decision(genesis, height));
    }
    if height.is_multiple_of(11) { Vec::new() } else { vec![list] }
}

fn sign(genesis: &Genesis, height: u64, operation: Operation, signer: u8) -> Transaction {
    Transaction::sign(genesis.chain(), operation, Height(height + MEMORY), &[&key(signer)])
}

/// Three validators decide that a fifth one joins; later, that a sixth does.
fn decision(genesis: &Genesis, height: u64) -> Vec<Transaction> {
    let (new, expires_at) = (if height < CLOSES { 4 } else { 5 }, Height(height + MEMORY));
    let ready = sign_ready(&genesis.chain(), &validator(new), &consensus_key(new));
    let change = Change::AddValidator { validator: validator(new), ready };
    let operation = Operation::Propose(Box::new(Propose { change }));
    let proposed = Transaction::sign(genesis.chain(), operation, expires_at, &[&governance_key(0)]);
    let proposal = proposed.id();
    let vote = |member: u8| {
        let operation = Operation::Vote(GovernanceVote { proposal, approve: true });
        Transaction::sign(genesis.chain(), operation, expires_at, &[&governance_key(member)])
    };
    let votes: Vec<Transaction> = [1, 2, 3].map(vote).into();
    std::iter::once(proposed).chain(votes).collect()
}

/// A copy of a directory without folders in it.
pub fn copied(folder: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

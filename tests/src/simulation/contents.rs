//! What the digests that blocks name stand for: batches of signed transactions.
//!
//! A batch is looked up by its item, a name that a scenario can make up; it is made when it is first asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use genesis::{Digest, Genesis, Height, SecretKey};
use ledger::{
    CheckedBatch, CheckedTransaction, Create, Document, Key, KeyNumber, KeySet, Operation, Purposes, Salt,
    Transaction,
};

/// Past the end of every run.
const EXPIRY: Height = Height(90_000);

/// The batches of a run.
#[derive(Debug)]
pub struct Contents {
    genesis: Genesis,
    /// Makes and owns all DIDs of the run.
    wallet: SecretKey,
    batches: BTreeMap<Digest, Arc<CheckedBatch>>,
}

impl Contents {
    /// No batches yet.
    pub fn new(genesis: Genesis) -> Self {
        Self { genesis, wallet: SecretKey::from_seed([9; 32]), batches: BTreeMap::new() }
    }

    /// What `item` stands for: the creation of a DID, unless [`Contents::put`] said otherwise.
    pub fn of(&mut self, item: Digest) -> Arc<CheckedBatch> {
        if let Some(batch) = self.batches.get(&item) {
            return Arc::clone(batch);
        }
        let mut salt = [0; 16];
        salt.copy_from_slice(&item.as_bytes()[..16]);
        let number = KeyNumber::new(1).expect("1 is a key's number");
        let keys = vec![Key { number, public: self.wallet.public().into(), purposes: Purposes::SIGNING }];
        let document = Document { threshold: 1, keys, controllers: Vec::new(), services: Vec::new() };
        let recovery = KeySet::of(self.wallet.public()).commitment();
        let create = Create { document, recovery, next_keys: None, salt: Salt(salt), registrar: None };
        let transaction = self.sign(Operation::Create(create), &self.wallet);
        self.put(item, vec![transaction])
    }

    /// `operation` signed by `secret`.
    pub fn sign(&self, operation: Operation, secret: &SecretKey) -> Transaction {
        Transaction::sign(self.genesis.chain(), operation, EXPIRY, &[secret])
    }

    /// Has `item` stand for `transactions`.
    pub fn put(&mut self, item: Digest, transactions: Vec<Transaction>) -> Arc<CheckedBatch> {
        let check = |transaction| {
            let checked = CheckedTransaction::check(transaction, &self.genesis);
            Arc::new(checked.expect("the simulated clients sign what is valid on its own"))
        };
        let transactions = transactions.into_iter().map(check).collect();
        let sequence = self.batches.len() as u64;
        let author = self.wallet.public();
        let made = CheckedBatch::assemble(author, sequence, EXPIRY, transactions, &self.genesis);
        let (batch, _) = made.expect("the simulated batches are within the limits");
        let batch = Arc::new(batch);
        self.batches.insert(item, Arc::clone(&batch));
        batch
    }
}

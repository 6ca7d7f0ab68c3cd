//! The load, signed before the clock starts: what each client of a real network would have done on its own machine.
//!
//! Invariant: whatever becomes of the other transactions, each of these has the effect that it asks for. Every create has a key of
//! its own; every update is of a DID that was registered before the load, which no other updates.

use genesis::{Digest, SecretKey};
use ledger::document::Purposes;
use ledger::operation::{CreateMany, Item, possession_bytes};
use ledger::{
    Create, DidId, Document, Key, KeyNumber, KeySet, Operation, Salt, Transaction, Update, Version,
};

use client::wallet::Terms;

use super::send::{Packed, pack};
use super::setup::{ITEMS, Kind, Policy};

/// On how many threads it is signed.
const THREADS: usize = 2;

/// A signed transaction, ready to be sent.
#[derive(Debug)]
pub struct Signed {
    /// Its id.
    pub id: Digest,
    /// What is sent.
    pub packed: Packed,
    /// How many DIDs it registers.
    pub dids: u32,
}

/// Who registers for others.
#[derive(Clone, Debug)]
pub struct Registrar {
    /// Its DID.
    pub did: DidId,
    /// Its key, which speaks for it.
    pub key: SecretKey,
}

/// A DID of this run.
#[derive(Debug)]
pub struct Owned {
    did: DidId,
    key: SecretKey,
}

/// Signs for one network.
#[derive(Clone, Debug)]
pub struct Author {
    /// What signatures are bound to.
    pub terms: Terms,
    /// Who may register.
    pub policy: Policy,
    /// Who registers for others, where anybody does.
    pub registrar: Option<Registrar>,
}

/// What has to be signed.
enum Job {
    Create,
    Update(Box<Owned>),
    CreateMany,
}

impl Author {
    /// A registration, and what it registers.
    pub fn create(&self) -> (Owned, Signed) {
        let key = SecretKey::generate();
        let create = inception(&key);
        let did = create.did();
        let signed = match (self.policy, &self.registrar) {
            (Policy::Endorsed, Some(registrar)) => {
                let create = Create { registrar: Some(registrar.did), ..create };
                self.sign(Operation::Create(create), &[&key, &registrar.key], 1)
            }
            _ => self.sign(Operation::Create(create), &[&key], 1),
        };
        (Owned { did, key }, signed)
    }

    /// `count` DIDs, each with its registration.
    pub fn creates(&self, count: usize) -> (Vec<Owned>, Vec<Signed>) {
        let jobs: Vec<()> = vec![(); count];
        on_threads(jobs, |()| self.create()).into_iter().unzip()
    }

    /// Transactions of these kinds, in their order. `registered` has a DID for each update.
    ///
    /// # Panics
    /// When there are fewer DIDs than updates, or a `create-many` but no registrar.
    pub fn load(&self, kinds: &[Kind], registered: Vec<Owned>) -> Vec<Signed> {
        let mut registered = registered.into_iter();
        let job = |kind: &Kind| match kind {
            Kind::Create => Job::Create,
            Kind::Update => Job::Update(Box::new(registered.next().expect("a DID for each update"))),
            Kind::CreateMany => Job::CreateMany,
        };
        on_threads(kinds.iter().map(job).collect(), |job| match job {
            Job::Create => self.create().1,
            Job::Update(owned) => self.update(&owned),
            Job::CreateMany => self.create_many(),
        })
    }

    fn update(&self, owned: &Owned) -> Signed {
        let new = SecretKey::generate();
        let number = KeyNumber::FIRST.next().expect("a number after the first");
        let update = Update {
            did: owned.did,
            replaces: Version(1),
            document: document(number, &new),
            revealed: None,
            next_keys: None,
        };
        self.sign(Operation::Update(update), &[&owned.key], 0)
    }

    fn create_many(&self) -> Signed {
        let registrar = self.registrar.as_ref().expect("a registrar, where the mix has create-many");
        let item = || {
            let key = SecretKey::generate();
            let create = inception(&key);
            let bytes =
                possession_bytes(&self.terms.chain, &registrar.did, &create.did(), self.terms.expires_at);
            let Create { document, recovery, next_keys, salt, registrar: _ } = create;
            Item { document, recovery, next_keys, salt, key: 0, proof: key.sign(&bytes) }
        };
        let items = std::iter::repeat_with(item).take(ITEMS).collect();
        let operation = Operation::CreateMany(CreateMany { registrar: registrar.did, items });
        self.sign(operation, &[&registrar.key], ITEMS as u32)
    }

    fn sign(&self, operation: Operation, signers: &[&SecretKey], dids: u32) -> Signed {
        let transaction = Transaction::sign(self.terms.chain, operation, self.terms.expires_at, signers);
        Signed { id: transaction.id(), packed: pack(&genesis::encoding::encode(&transaction)), dids }
    }
}

/// A DID whose only key recovers it too, as [`client::wallet::registration`] makes it.
fn inception(key: &SecretKey) -> Create {
    let genesis::PublicKey::Ed25519(bytes) = key.public();
    let mut salt = [0; 16];
    // No two keys are alike, and nothing here has to be unpredictable.
    salt.copy_from_slice(&bytes[..16]);
    let recovery = KeySet::of(key.public()).commitment();
    let document = document(KeyNumber::FIRST, key);
    Create { document, recovery, next_keys: None, salt: Salt(salt), registrar: None }
}

fn document(number: KeyNumber, key: &SecretKey) -> Document {
    let key = Key { number, public: key.public().into(), purposes: Purposes::SIGNING };
    Document { threshold: 1, keys: vec![key], controllers: Vec::new(), services: Vec::new() }
}

/// Does all jobs, in their order, on [`THREADS`] threads.
fn on_threads<J: Send, R: Send>(mut jobs: Vec<J>, work: impl Fn(J) -> R + Sync) -> Vec<R> {
    let share = jobs.len().div_ceil(THREADS).max(1);
    let mut parts = Vec::new();
    while !jobs.is_empty() {
        let rest = jobs.split_off(share.min(jobs.len()));
        parts.push(std::mem::replace(&mut jobs, rest));
    }
    let work = &work;
    std::thread::scope(|scope| {
        let threads: Vec<_> = parts
            .into_iter()
            .map(|part| scope.spawn(move || part.into_iter().map(work).collect::<Vec<_>>()))
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("signing does not fail")).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::founding::Founding;
    use genesis::{Height, Parameters};
    use ledger::CheckedTransaction;

    #[test]
    fn every_transaction_of_every_kind_is_one_that_a_node_takes() {
        let founding = Founding::new(4, Parameters::default());
        let chain = founding.genesis.chain();
        let terms = Terms { network: "small".to_owned(), chain, expires_at: Height(9) };
        let (key, policy) = (SecretKey::generate(), Policy::Endorsed);
        let registrar = Some(Registrar { did: inception(&key).did(), key });
        let author = Author { terms, policy, registrar };
        let (owned, creates) = author.creates(3);
        let kinds = [Kind::Update, Kind::Create, Kind::CreateMany, Kind::Update];
        let load = author.load(&kinds, owned);
        assert_eq!(load.iter().map(|signed| signed.dids).collect::<Vec<_>>(), [0, 1, ITEMS as u32, 0]);
        for signed in creates.iter().chain(&load) {
            let transaction = genesis::encoding::decode(&signed.packed, 16 << 10).unwrap();
            let checked = CheckedTransaction::check(transaction, &founding.genesis).unwrap();
            assert_eq!(checked.id(), signed.id);
        }
    }

    #[test]
    fn work_on_threads_keeps_its_order_and_leaves_nothing_out() {
        for count in [0, 1, 2, 5, 1_000] {
            let jobs: Vec<usize> = (0..count).collect();
            assert_eq!(on_threads(jobs.clone(), |job| job), jobs);
        }
    }
}

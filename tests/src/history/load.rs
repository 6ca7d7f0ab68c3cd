//! Clients that register, update, deactivate and resolve a few DIDs that they share, through all nodes, while things go
//! wrong; each call is written down.
//!
//! All clients hold all keys, and race: of two that replace one version, one loses. Where a client gets no answer it asks
//! another node for the same transaction's receipt, submitting it again; after some tries it gives up, and the outcome is
//! unknown.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use client::api::{Fate, Receipt, ResolveOptions, code};
use client::wallet::{Current, LIFETIME};
use client::{Client, RpcError};
use genesis::encoding::encode;
use genesis::{Digest, Height, SecretKey};
use ledger::{
    Create, Deactivate, Did, DidId, Document, Key, KeyNumber, KeySet, Operation, Purposes, Salt, Transaction,
    Update, Version,
};
use tokio::task::JoinHandle;

use super::{Answer, Change, History, Read, State, Told, Write};
use crate::harness::{Cluster, eventually};
use crate::simulation::chance::Chance;

/// How many clients there are.
const CLIENTS: u64 = 6;
/// How many DIDs are in use at a time: few, so that clients meet.
const DIDS: usize = 6;
/// How long a call may take: a frozen node never answers.
const CALL: Duration = Duration::from_secs(3);
/// To how many nodes a transaction is given before its client gives up.
const TRIES: usize = 3;
/// The pause after a call that failed.
const PAUSE: Duration = Duration::from_millis(50);

/// A DID that the clients share.
#[derive(Clone)]
struct Subject {
    did: Did,
    secret: Arc<SecretKey>,
}

/// What the clients share.
struct Shared {
    start: Instant,
    network: String,
    chain: Digest,
    subjects: Mutex<Vec<Subject>>,
    /// All transactions so far: two clients that ask for the very same make one.
    ids: Mutex<BTreeSet<Digest>>,
    /// By node, how often it lost its whole chain.
    lives: Vec<AtomicUsize>,
    stop: AtomicBool,
    confirmed: AtomicUsize,
}

/// Clients at work.
pub struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<History>>,
}

/// One of them.
struct Caller {
    shared: Arc<Shared>,
    nodes: Vec<Client>,
    chance: Chance,
    /// The newest height that it has heard of.
    height: Height,
    /// The newest versions.
    versions: BTreeMap<DidId, Version>,
    history: History,
}

impl Load {
    /// Starts clients of all nodes of a network that is ready.
    pub async fn start(cluster: &Cluster, seed: u64) -> Self {
        let status = cluster.client(0).status().await.expect("a node that is ready");
        let shared = Arc::new(Shared {
            start: Instant::now(),
            network: status.network,
            chain: status.chain,
            subjects: Mutex::default(),
            ids: Mutex::default(),
            lives: (0..cluster.len()).map(|_| AtomicUsize::new(0)).collect(),
            stop: AtomicBool::new(false),
            confirmed: AtomicUsize::new(0),
        });
        let callers = (0..CLIENTS).map(|number| Caller {
            shared: Arc::clone(&shared),
            nodes: (0..cluster.len()).map(|node| cluster.client(node)).collect(),
            chance: Chance::new(seed.wrapping_mul(1_000) + number),
            height: status.height,
            versions: BTreeMap::new(),
            history: History::default(),
        });
        let clients = callers.map(|caller| tokio::spawn(caller.run())).collect();
        Self { shared, clients }
    }

    /// How many writes were confirmed so far.
    pub fn confirmed(&self) -> usize {
        self.shared.confirmed.load(Ordering::Relaxed)
    }

    /// A node, which does not run now, has lost its whole chain: what it showed before, it need not show again at once.
    pub fn forgets(&self, node: usize) {
        self.shared.lives[node].fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until `count` more writes are confirmed.
    pub async fn confirms(&self, count: usize) {
        let wanted = self.confirmed() + count;
        eventually(&format!("{count} more writes are confirmed"), async || self.confirmed() >= wanted).await;
    }

    /// Ends the load on a network that is whole again, asks every node what became of each transaction, and gives all that
    /// was written down.
    ///
    /// # Panics
    /// When a client panicked, or a node does not catch up or answer.
    pub async fn finish(self, cluster: &Cluster) -> History {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut history = History::default();
        for client in self.clients {
            let one = client.await.expect("a client");
            history.writes.extend(one.writes);
            history.reads.extend(one.reads);
            history.failed += one.failed;
        }
        history.ask_all(cluster).await;
        history
    }
}

impl History {
    /// Asks every node for the receipt of every write, once it is as high as anything that was seen.
    async fn ask_all(&mut self, cluster: &Cluster) {
        let told = self.writes.iter().filter_map(|write| write.told.as_ref()).map(|told| told.receipt.height);
        let mut highest = told.chain(self.reads.iter().map(|read| read.to)).max().unwrap_or(Height::ZERO);
        for node in 0..cluster.len() {
            let status = cluster.client(node).status().await.expect("a node that is ready");
            highest = highest.max(status.height);
        }
        let ids = self.ids();
        let mut found: BTreeMap<Digest, Vec<Answer>> = BTreeMap::new();
        for node in 0..cluster.len() {
            cluster.reaches(node, highest).await;
            let client = cluster.client(node);
            for id in &ids {
                let receipt = match client.fate(id).await.expect("a node that is ready") {
                    // What landed since the first node was asked is not there for all: no anomaly.
                    Fate::Final { receipt } => Some(receipt).filter(|receipt| receipt.height <= highest),
                    Fate::Pending { .. } | Fate::Expired { .. } | Fate::Unknown { .. } => None,
                };
                found.entry(*id).or_default().push(Answer { node, receipt });
            }
        }
        for write in &mut self.writes {
            write.answers = found.remove(&write.id).unwrap_or_default();
        }
    }
}

impl Caller {
    async fn run(mut self) -> History {
        while !self.shared.stop.load(Ordering::Relaxed) {
            let node = self.chance.below(self.nodes.len() as u64) as usize;
            let subject = self.choose();
            match (self.chance.below(100), subject) {
                (..45, Some(subject)) => self.read(node, &subject.did).await,
                (..92, Some(subject)) => self.update(node, &subject).await,
                (..95, Some(subject)) => self.deactivate(node, &subject).await,
                _ => self.create(node).await,
            }
        }
        self.history
    }

    /// One of the DIDs; none where there are still too few.
    fn choose(&mut self) -> Option<Subject> {
        let subjects = self.shared.subjects.lock().unwrap_or_else(PoisonError::into_inner);
        let place = self.chance.below(DIDS as u64) as usize;
        subjects.get(place).cloned()
    }

    async fn create(&mut self, node: usize) {
        let secret = Arc::new(SecretKey::generate());
        let document = document(&[(KeyNumber::FIRST, &secret)]);
        let mut salt = [0; 16];
        salt.copy_from_slice(&SecretKey::generate().seed()[..16]);
        let recovery = KeySet::of(secret.public()).commitment();
        let create = Create {
            document: document.clone(),
            recovery,
            next_keys: None,
            salt: Salt(salt),
            registrar: None,
        };
        let did = Did::new(&self.shared.network, create.did());
        let subject = Subject { did: did.clone(), secret };
        {
            // Known to all before it is registered: the others' changes may come too early.
            let mut subjects = self.shared.subjects.lock().unwrap_or_else(PoisonError::into_inner);
            if subjects.len() < DIDS {
                subjects.push(subject.clone());
            } else {
                subjects[self.chance.below(DIDS as u64) as usize] = subject.clone();
            }
        }
        let change = Change::Create { document: document.digest() };
        self.write(node, &subject, Operation::Create(create), change).await;
    }

    async fn update(&mut self, node: usize, subject: &Subject) {
        let Some(number) = KeyNumber::FIRST.next() else { return };
        // The shared key stays, and another makes the document unlike all others.
        let document = document(&[(KeyNumber::FIRST, &subject.secret), (number, &SecretKey::generate())]);
        let replaces = self.version(&subject.did);
        let change = Change::Update { replaces, document: document.digest() };
        let update = Update { did: subject.did.id(), replaces, document, revealed: None, next_keys: None };
        self.write(node, subject, Operation::Update(update), change).await;
    }

    async fn deactivate(&mut self, node: usize, subject: &Subject) {
        let replaces = self.version(&subject.did);
        let deactivate = Deactivate { did: subject.did.id(), replaces: Some(replaces), revealed: None };
        self.write(node, subject, Operation::Deactivate(deactivate), Change::Deactivate { replaces }).await;
    }

    /// The version that this client believes in.
    fn version(&self, did: &Did) -> Version {
        self.versions.get(&did.id()).copied().unwrap_or(Version::FIRST)
    }

    async fn write(&mut self, node: usize, subject: &Subject, operation: Operation, change: Change) {
        let expires_at = self.height.plus(LIFETIME);
        let transaction =
            Transaction::sign(self.shared.chain, operation, expires_at, &[subject.secret.as_ref()]);
        let (id, bytes) = (transaction.id(), encode(&transaction));
        if !self.shared.ids.lock().unwrap_or_else(PoisonError::into_inner).insert(id) {
            return;
        }
        let invoked = self.shared.start.elapsed();
        let mut receipt = None;
        for turn in 0..TRIES {
            let client = self.nodes[(node + turn) % self.nodes.len()].clone();
            match tokio::time::timeout(CALL, submit_and_wait(&client, &id, &bytes)).await {
                Ok(Ok(found)) => {
                    receipt = Some(found);
                    break;
                }
                // Refused for good by a rule that needs no state: this load sends nothing of the kind.
                Ok(Err(RpcError::Call { error, .. })) if error.code == code::REFUSED => {
                    panic!("{} refused: {error}", client.url());
                }
                Ok(Err(_)) | Err(_) => {
                    self.history.failed += 1;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        let told = receipt.map(|receipt| Told { at: self.shared.start.elapsed(), receipt });
        let did = subject.did.id();
        if let Some(Told { receipt, .. }) = &told {
            self.height = self.height.max(receipt.height);
            self.shared.confirmed.fetch_add(1, Ordering::Relaxed);
            if let Some(version) = receipt.version {
                self.versions.insert(did, version);
            } else {
                // The belief was wrong: look before the next change.
                self.read(node, &subject.did).await;
            }
        }
        self.history.writes.push(Write { did, id, change, invoked, told, answers: Vec::new() });
    }

    async fn read(&mut self, node: usize, did: &Did) {
        let invoked = self.shared.start.elapsed();
        let shared = Arc::clone(&self.shared);
        let life = || shared.lives[node].load(Ordering::Relaxed);
        let before = life();
        let client = self.nodes[node].clone();
        let Ok(Ok((from, seen, to))) = tokio::time::timeout(CALL, look(&client, did)).await else {
            self.history.failed += 1;
            return tokio::time::sleep(PAUSE).await;
        };
        let returned = self.shared.start.elapsed();
        if life() != before {
            return; // Nobody can tell which chain it was.
        }
        self.height = self.height.max(to);
        if seen.version() >= Version::FIRST {
            self.versions.insert(did.id(), seen.version());
        }
        self.history.reads.push(Read {
            did: did.id(),
            node,
            life: before,
            invoked,
            returned,
            from,
            to,
            seen,
        });
    }
}

fn document(keys: &[(KeyNumber, &SecretKey)]) -> Document {
    let keys = keys.iter().map(|(number, secret)| Key {
        number: *number,
        public: secret.public().into(),
        purposes: Purposes::SIGNING,
    });
    Document { threshold: 1, keys: keys.collect(), controllers: Vec::new(), services: Vec::new() }
}

async fn submit_and_wait(client: &Client, id: &Digest, bytes: &[u8]) -> Result<Receipt, RpcError> {
    client.submit(bytes).await?;
    client.wait(id, CALL).await
}

/// Resolves, between two looks at the node's height.
async fn look(client: &Client, did: &Did) -> Result<(Height, State, Height), RpcError> {
    let from = client.status().await?.height;
    let resolution = client.resolve(&did.to_string(), &ResolveOptions::default()).await?;
    let to = client.status().await?.height;
    if resolution["didResolutionMetadata"]["error"]["status"] == 404 {
        return Ok((from, State::Absent, to));
    }
    let current = Current::from_resolution(did, &resolution).expect("a resolution result");
    let version = current.version;
    let seen = if current.deactivated {
        State::Ended { version }
    } else {
        let keys = current.keys.iter();
        let keys = keys.map(|key| Key { number: key.number, public: key.public, purposes: key.purposes });
        State::Active {
            version,
            document: Document {
                threshold: 1,
                keys: keys.collect(),
                controllers: Vec::new(),
                services: Vec::new(),
            }
            .digest(),
        }
    };
    Ok((from, seen, to))
}

//! Values that the tests share.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, LazyLock};

use genesis::{
    Configuration, Digest, Domain, Genesis, Height, Parameters, PublicKey, SecretKey, UnixMillis, Validator,
};

use crate::document::{Service, ServiceKind};
use crate::operation::{Item, Scene, possession_bytes, sign_ready};
use crate::registry::{Grant, Role};
use crate::tree::{Change as TreeChange, MemoryTree, Update as TreeUpdate};
use crate::{
    Block, Change, Changes, CheckedBatch, CheckedTransaction, Commitments, Create, Deactivate, DidId,
    Document, Governance, GovernanceVote, Header, Key, KeyNumber, KeySet, Moment, Operation, Outcome,
    Propose, Purposes, Receipt, Record, Recover, RegistryEntry, RegistryKey, Salt, StateView, Tip,
    Transaction, Update, VerificationKey, Version,
};

/// A network of four with the default parameters.
pub fn genesis() -> Genesis {
    genesis_with(Parameters::default())
}

/// A validator; those from 4 on are not founders.
pub fn validator(index: u8) -> Validator {
    Validator {
        name: format!("node{index}"),
        consensus_key: consensus_key(index).public(),
        network_key: key(201 + 3 * index).public(),
        governance_key: governance_key(index).public(),
        address: format!("127.0.0.1:2660{index}"),
    }
}

pub fn consensus_key(index: u8) -> SecretKey {
    key(200 + 3 * index)
}

pub fn governance_key(index: u8) -> SecretKey {
    key(202 + 3 * index)
}

/// That validator `index` joins, with its word.
pub fn added(index: u8) -> Change {
    let validator = validator(index);
    let ready = sign_ready(&genesis().chain(), &validator, &consensus_key(index));
    Change::AddValidator { validator, ready }
}

/// A proposal by validator `member`; `number` tells equal ones apart.
pub fn proposed(member: u8, number: u64, change: Change) -> Transaction {
    let operation = Operation::Propose(Box::new(Propose { change }));
    Transaction::sign(genesis().chain(), operation, Height(2_000 + number), &[&governance_key(member)])
}

/// A vote by validator `member`; `number` tells equal ones apart.
pub fn voted(member: u8, number: u64, proposal: Digest, approve: bool) -> Transaction {
    let operation = Operation::Vote(GovernanceVote { proposal, approve });
    Transaction::sign(genesis().chain(), operation, Height(2_000 + number), &[&governance_key(member)])
}

pub fn genesis_with(parameters: Parameters) -> Genesis {
    Genesis::new("test".into(), UnixMillis(1_700_000_000_000), parameters, (0..4).map(validator).collect())
        .unwrap()
}

pub fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32])
}

/// A compressed point, as far as its form goes.
pub fn point(seed: u8) -> [u8; 33] {
    std::array::from_fn(|index| if index == 0 { 2 } else { seed })
}

/// A service at an address of its own.
pub fn service(number: u16) -> Service {
    let endpoint = format!("https://example.org/{number}").try_into().unwrap();
    Service { number: number.try_into().unwrap(), kind: ServiceKind::LinkedDomains, endpoint }
}

/// That the DID of key `subject` is accredited, for ten registrations.
pub fn accredited(subject: u8, role: Role) -> RegistryEntry {
    let grant = grant(subject, role);
    RegistryEntry::Accreditation(grant.accreditation(None, moment(0)))
}

/// The terms of [`accredited`].
pub fn grant(subject: u8, role: Role) -> Grant {
    let (valid_from, valid_until) = (moment(0).time, moment(1_000_000).time);
    Grant {
        did: create(&[subject]).did(),
        role,
        scope: vec!["id".into()],
        valid_from,
        valid_until,
        quota: 10,
    }
}

/// The inception of the DID of key `subject`, for the registrar of that key, until height 1,000.
pub fn item(subject: u8, registrar: u8) -> Item {
    let Create { document, recovery, next_keys, salt, .. } = create(&[subject]);
    let (registrar, did) = (create(&[registrar]).did(), create(&[subject]).did());
    let bytes = possession_bytes(&genesis().chain(), &registrar, &did, Height(1_000));
    Item { document, recovery, next_keys, salt, key: 0, proof: key(subject).sign(&bytes) }
}

/// A key for key agreement.
pub fn agreement_key(seed: u8) -> VerificationKey {
    VerificationKey::X25519([seed; 32])
}

/// What the rules see of `signers` in the block at `height`, where no other DID matters.
pub fn scene(signers: &[PublicKey], height: u64) -> Scene<'_> {
    static PARAMETERS: LazyLock<Parameters> = LazyLock::new(Parameters::default);
    Scene {
        now: moment(height),
        signers,
        parameters: &PARAMETERS,
        others: BTreeMap::new(),
        is_accredited: false,
    }
}

/// A document with the keys of these seeds, each numbered by its seed and for everything.
pub fn document(seeds: &[u8]) -> Document {
    let key = |seed: &u8| Key {
        number: KeyNumber::new(u16::from(*seed)).unwrap(),
        public: key(*seed).public().into(),
        purposes: Purposes::SIGNING,
    };
    Document {
        threshold: 1,
        keys: seeds.iter().map(key).collect(),
        controllers: Vec::new(),
        services: Vec::new(),
    }
}

pub fn create(seeds: &[u8]) -> Create {
    let Commitments { recovery, next_keys } = commitments(1);
    Create { document: document(seeds), recovery, next_keys, salt: Salt([0; 16]), registrar: None }
}

/// The `number`th key that recovers a DID of the samples.
pub fn recovery_key(number: u8) -> SecretKey {
    key(150 + number)
}

/// The commitment to [`recovery_key`], without pre-rotation.
pub fn commitments(number: u8) -> Commitments {
    Commitments { recovery: KeySet::of(recovery_key(number).public()).commitment(), next_keys: None }
}

/// The moment of the block at `height`, one second after the one before.
pub fn moment(height: u64) -> Moment {
    Moment { height: Height(height), time: UnixMillis(1_700_000_000_000 + height * 1_000) }
}

/// An operation on the DID that `create(&[subject])` makes, signed by `signer`, expiring at height 1,000.
pub fn signed(operation: Operation, signer: u8) -> Transaction {
    Transaction::sign(genesis().chain(), operation, Height(1_000), &[&key(signer)])
}

pub fn created(subject: u8) -> Transaction {
    signed(Operation::Create(create(&[subject])), subject)
}

pub fn updated(subject: u8, replaces: u64, seeds: &[u8], signer: u8) -> Transaction {
    let (did, replaces) = (create(&[subject]).did(), Version(replaces));
    let update = Update { did, replaces, document: document(seeds), revealed: None, next_keys: None };
    signed(Operation::Update(update), signer)
}

pub fn deactivated(subject: u8, replaces: u64, signer: u8) -> Transaction {
    let (did, replaces) = (create(&[subject]).did(), Some(Version(replaces)));
    signed(Operation::Deactivate(Deactivate { did, replaces, revealed: None }), signer)
}

/// The recovery of a DID that [`recovery_key`] `number` recovers; the next number recovers it from then on.
pub fn recovered(subject: u8, seeds: &[u8], number: u8) -> Transaction {
    let secret = recovery_key(number);
    let Commitments { recovery, next_keys } = commitments(number + 1);
    let (did, revealed) = (create(&[subject]).did(), KeySet::of(secret.public()));
    let recover = Recover { did, revealed, document: document(seeds), recovery, next_keys };
    Transaction::sign(genesis().chain(), Operation::Recover(recover), Height(1_000), &[&secret])
}

pub fn checked(transaction: Transaction) -> Arc<CheckedTransaction> {
    Arc::new(CheckedTransaction::check(transaction, &genesis()).unwrap())
}

/// A batch by validator 0, expiring at height 100, and its bytes.
pub fn batch(sequence: u64, transactions: &[Transaction]) -> (Arc<CheckedBatch>, Vec<u8>) {
    let transactions = transactions.iter().cloned().map(checked).collect();
    let (batch, bytes) =
        CheckedBatch::assemble(validator(0).network_key, sequence, Height(100), transactions, &genesis())
            .unwrap();
    (Arc::new(batch), bytes)
}

/// The block that comes after `tip` and names `batches`.
pub fn block_after(tip: &Tip, batches: &[Digest]) -> Block {
    let height = tip.height.next();
    Block {
        height,
        parent: tip.digest,
        digest: Digest::of(Domain::Candidate, &height.0.to_le_bytes()),
        time: moment(height.0).time,
        batches: batches.to_vec(),
        proof: vec![1, 2, 3],
    }
}

/// A state in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    pub records: BTreeMap<(DidId, Version), Record>,
    pub receipts: BTreeMap<Digest, Receipt>,
    pub governance: Arc<Governance>,
    pub configurations: BTreeMap<Digest, Configuration>,
    pub registry: BTreeMap<RegistryKey, RegistryEntry>,
    pub outcome: Outcome,
    pub tree: MemoryTree,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            records: BTreeMap::new(),
            receipts: BTreeMap::new(),
            governance: Arc::new(Governance::of(&genesis())),
            configurations: BTreeMap::new(),
            registry: BTreeMap::new(),
            outcome: Outcome::genesis(&genesis()),
            tree: MemoryTree::default(),
        }
    }
}

impl Memory {
    pub fn take(&mut self, changes: Changes) {
        for record in changes.records {
            let (key, header) = ((record.header.did, record.header.version), record.header.clone());
            if let Some(before) = self.records.insert(key, record) {
                let Header { endorsement, .. } = header;
                assert_eq!(Header { endorsement, ..before.header }, header, "a version is made once");
            }
        }
        for receipt in changes.receipts {
            let taken = self.receipts.insert(receipt.id, receipt);
            assert_eq!(taken, None, "an id gets one receipt");
        }
        self.registry.extend(changes.registry);
        if let Some(governance) = changes.governance {
            assert_ne!(governance, self.governance, "only a change is told");
            self.configurations.extend(governance.pending.clone().map(|pending| (pending.digest(), pending)));
            self.governance = governance;
        }
        self.outcome = changes.outcome;
        self.tree.adopt(&changes.tree);
    }
}

impl StateView for Memory {
    type Error = Infallible;

    fn record(&self, did: &DidId) -> Result<Option<Record>, Infallible> {
        let versions = self.records.range((*did, Version(0))..=(*did, Version(u64::MAX)));
        Ok(versions.last().map(|(_, record)| record.clone()))
    }

    fn has_receipt(&self, id: &Digest) -> Result<bool, Infallible> {
        Ok(self.receipts.contains_key(id))
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

    fn update_tree(&self, changes: &[TreeChange]) -> Result<TreeUpdate, Infallible> {
        Ok(self.tree.update(changes))
    }
}

//! Makes the vectors from the story.

use std::collections::BTreeMap;

use genesis::encoding::encode;
use genesis::{Digest, Domain, Height, PublicKey};
use ledger::operation::{Item, possession_bytes};
use ledger::registry::Role;
use ledger::state::{StateKey, receipt_leaves};
use ledger::{Change, Create, Did, DidId, Operation, RegistryKey, Transaction, tree};

use crate::format::*;
use crate::network::{NETWORK, consensus_key, founded, governance_key, secret, seed, statement, time};
use crate::story::{Story, key_set, next_set, recovery_set};
use crate::verify;

const ABOUT: &str = "Test vectors of did:realdid. docs/vectors.md says what each part is and how to use it.";

/// Every context that something is hashed in.
const DOMAINS: [(Domain, &str); 16] = [
    (Domain::Genesis, "genesis"),
    (Domain::Candidate, "candidate"),
    (Domain::Batch, "batch"),
    (Domain::Transaction, "transaction"),
    (Domain::Inception, "inception"),
    (Domain::Document, "document"),
    (Domain::KeySet, "key set"),
    (Domain::Record, "record"),
    (Domain::Configuration, "configuration"),
    (Domain::Checkpoint, "checkpoint"),
    (Domain::Leaf, "leaf"),
    (Domain::Inner, "inner"),
    (Domain::StateKey, "state key"),
    (Domain::StateValue, "state value"),
    (Domain::Receipt, "receipt"),
    (Domain::Evidence, "evidence"),
];

pub fn vectors() -> Vectors {
    let story = Story::told();
    let transactions: Vec<TransactionVector> = story
        .ledger
        .blocks
        .iter()
        .flat_map(|block| &block.transactions)
        .map(|transaction| story.transaction(transaction))
        .collect();
    let resolutions = story.resolutions();
    let refusals = story.refusals(&resolutions);
    Vectors {
        about: ABOUT.into(),
        network: NETWORK.into(),
        digests: DOMAINS.iter().map(|(domain, name)| digest(*domain, name)).collect(),
        keys: keys(),
        key_sets: [recovery_set(1), next_set(1), recovery_set(2), next_set(2)].iter().map(set).collect(),
        genesis: genesis(),
        transactions,
        blocks: (1..=story.ledger.blocks.len() as u64).map(|height| story.block(height)).collect(),
        checkpoints: [1, 8, 9].map(|height| story.checkpoint(height)).into(),
        state_proofs: story.state_proofs(),
        receipt_proofs: story.receipt_proofs(),
        resolutions,
        refusals,
    }
}

fn digest(domain: Domain, name: &str) -> DigestVector {
    let input = b"RealDID".to_vec();
    let digest = Digest::of(domain, &input);
    DigestVector { context: format!("realdid 2026-11 {name} v1"), input: Hex(input), digest }
}

/// The names of all keys that sign.
fn names() -> Vec<String> {
    let mut names: Vec<String> =
        ["registrar", "issuer 1", "issuer 2", "child 1", "child 2", "citizen 1", "citizen 4"]
            .map(str::to_owned)
            .into();
    for set in [recovery_set(1), next_set(1), recovery_set(2), next_set(2)] {
        names.extend(set.1);
    }
    names.extend((0..5).flat_map(|index| [consensus_key(index), governance_key(index)]));
    names
}

fn keys() -> BTreeMap<String, KeyVector> {
    let key = |name: String| {
        let public = secret(&name).public();
        let PublicKey::Ed25519(bytes) = public;
        let seed = Hex(seed(&name).to_vec());
        (name, KeyVector { seed, public: Hex(bytes.to_vec()), multikey: public.to_string() })
    };
    names().into_iter().map(key).collect()
}

fn name_of(key: &PublicKey) -> String {
    names().into_iter().find(|name| secret(name).public() == *key).unwrap()
}

fn set(named: &(u16, Vec<String>)) -> KeySetVector {
    let set = key_set(named);
    let keys = set.keys().iter().map(name_of).collect();
    KeySetVector { threshold: named.0, keys, canonical: Hex(encode(&set)), commitment: set.commitment() }
}

fn genesis() -> GenesisVector {
    let genesis = founded();
    GenesisVector {
        toml: genesis.to_toml(),
        canonical: Hex(verify::genesis_bytes(&genesis)),
        chain: genesis.chain(),
    }
}

fn did(id: DidId) -> String {
    Did::new(NETWORK, id).to_string()
}

fn possession(item: &Item, registrar: &DidId, expires_at: Height) -> SignedVector {
    let speaker = item.document.keys[usize::from(item.key)].public.signer().unwrap();
    let bytes = possession_bytes(&founded().chain(), registrar, &item.did(), expires_at);
    SignedVector { key: name_of(&speaker), bytes: Hex(bytes.to_vec()), signature: item.proof }
}

impl Story {
    fn name(&self, id: &Digest) -> String {
        self.names.iter().find(|(known, _)| known == id).unwrap().1.clone()
    }

    fn transaction(&self, transaction: &Transaction) -> TransactionVector {
        let id = transaction.id();
        let chain = founded().chain();
        let signing_bytes = [b"realdid transaction v1".as_slice(), chain.as_bytes(), id.as_bytes()].concat();
        let signers = transaction.signers.iter().zip(&transaction.signatures);
        let inceptions = match &transaction.operation {
            Operation::Create(create) => {
                let Create { document, recovery, next_keys, salt, registrar: _ } = create;
                let canonical = Hex(encode(&(document, recovery, next_keys, salt)));
                vec![InceptionVector { did: did(create.did()), canonical, possession: None }]
            }
            Operation::CreateMany(create) => create
                .items
                .iter()
                .map(|item| InceptionVector {
                    did: did(item.did()),
                    canonical: Hex(encode(&(&item.document, &item.recovery, &item.next_keys, &item.salt))),
                    possession: Some(possession(item, &create.registrar, transaction.expires_at)),
                })
                .collect(),
            _ => Vec::new(),
        };
        let readiness = match &transaction.operation {
            Operation::Propose(propose) => match &propose.change {
                Change::AddValidator { validator, ready } => Some(SignedVector {
                    key: name_of(&validator.consensus_key),
                    bytes: Hex(
                        [b"realdid ready v1".as_slice(), chain.as_bytes(), &encode(validator)].concat()
                    ),
                    signature: *ready,
                }),
                _ => None,
            },
            _ => None,
        };
        TransactionVector {
            name: self.name(&id),
            transaction: serde_json::to_value(transaction).unwrap(),
            canonical: Hex(encode(transaction)),
            id,
            signing_bytes: Hex(signing_bytes),
            signers: signers
                .map(|(key, signature)| SignedBy { key: name_of(key), signature: *signature })
                .collect(),
            inceptions,
            readiness,
        }
    }

    fn block(&self, height: u64) -> BlockVector {
        let block = self.ledger.at(height);
        let receipts = block.receipts.iter().map(|receipt| ReceiptVector {
            transaction: self.name(&receipt.id),
            code: receipt.code.name().to_owned(),
            items: receipt.items.iter().map(|item| item.code.name().to_owned()).collect(),
            canonical: Hex(encode(receipt)),
            digest: receipt.digest(),
        });
        let records = block.records.iter().map(|record| RecordVector {
            did: did(record.header.did),
            version: record.header.version.0,
            header: Hex(encode(&record.header)),
            header_digest: record.header.digest(),
            document: record.document.as_ref().map(|document| Hex(encode(document))),
            document_digest: record.header.document,
        });
        BlockVector {
            height,
            time: time(height).0,
            closes: block.closes,
            transactions: block.transactions.iter().map(|transaction| self.name(&transaction.id())).collect(),
            receipts: receipts.collect(),
            records: records.collect(),
            state_root: block.outcome.state_root,
            receipts_root: block.outcome.receipts_root,
            configuration: block.outcome.configuration,
            pending: block.outcome.pending,
        }
    }

    fn checkpoint(&self, height: u64) -> CheckpointVector {
        let checkpoint = self.ledger.checkpoint(height);
        CheckpointVector {
            height,
            epoch: checkpoint.epoch.0,
            canonical: Hex(encode(&checkpoint)),
            digest: checkpoint.digest(),
            signing_bytes: Hex(statement(&checkpoint)),
            signers: self.ledger.signers(height).into_iter().map(consensus_key).collect(),
            certificate: Hex(encode(&self.ledger.certificate(height))),
        }
    }

    fn state_proofs(&self) -> Vec<StateProofVector> {
        let newest = self.ledger.blocks.len() as u64;
        let proof = |about: &str, height: u64, state_key: StateKey| {
            let (tree, key) = (&self.ledger.at(height).tree, state_key.digest());
            let proof = tree.prove(&key).unwrap();
            let value = proof.value(&tree.root(), &key).unwrap();
            let (about, state_key) = (about.to_owned(), Hex(encode(&state_key)));
            StateProofVector { about, height, state_key, key, value, proof: Hex(encode(&proof)) }
        };
        // Of ids that nobody registered: one whose way ends at nothing, and one whose way ends at another's leaf.
        let absent = |height: u64, at_leaf: bool| {
            let tree = &self.ledger.at(height).tree;
            let ids = (1_u8..=255).map(|byte| DidId(Digest::from_bytes([byte; 32])));
            let ends =
                |id: &DidId| tree.prove(&StateKey::Did(*id).digest()).unwrap().end.is_some() == at_leaf;
            StateKey::Did(ids.into_iter().find(ends).unwrap())
        };
        vec![
            proof("the citizen's DID", newest, StateKey::Did(self.citizen)),
            proof("the citizen's DID, before its recovery", 5, StateKey::Did(self.citizen)),
            proof("a DID that is not there; the way ends at nothing", newest, absent(newest, false)),
            proof("a DID that is not there; the way ends at another leaf", newest, absent(newest, true)),
            proof("who governs", newest, StateKey::Governance),
            proof("block 3", newest, StateKey::Block(Height(3))),
            proof("a block that is to come", newest, StateKey::Block(Height(newest + 1))),
            proof(
                "the registrar's accreditation",
                newest,
                StateKey::Registry(RegistryKey::Accreditation(self.registrar, Role::Registrar)),
            ),
            proof("a status list", newest, StateKey::Registry(RegistryKey::StatusList(self.issuer, 1))),
        ]
    }

    fn receipt_proofs(&self) -> Vec<ReceiptProofVector> {
        let proof = |about: &str, height: u64, key: Digest| {
            let leaves = receipt_leaves(&self.ledger.at(height).receipts);
            let proof = tree::proof::prove(&leaves, &key);
            let value = proof.value(&tree::root(&leaves), &key).unwrap();
            ReceiptProofVector { about: about.to_owned(), height, key, value, proof: Hex(encode(&proof)) }
        };
        let id = |name: &str| self.names.iter().find(|(_, known)| known == name).unwrap().0;
        vec![
            proof("applied", 3, id("create many")),
            proof("refused, with the reason in the receipt", 5, id("update citizen by a thief")),
            proof("of the only transaction of its block", 6, id("recover citizen")),
            proof("no receipt: it is in another block", 3, id("recover citizen")),
            proof("no receipt in a block without transactions", 8, id("recover citizen")),
        ]
    }
}

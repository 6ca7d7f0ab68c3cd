//! `docs/vectors.json`: that the code makes it byte for byte, and that each vector in it holds.
//!
//! Made from fixed seeds. To write it anew after a change of the protocol that is meant:
//!
//! ```sh
//! WRITE_VECTORS=1 cargo nextest run --release -p client --features wallet --test vectors
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod format;
mod make;
mod network;
mod questions;
mod story;
mod verify;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use client::light::ResolutionProof;
use consensus::{Checkpoint, CheckpointCertificate, Context};
use format::{Hex, SignedVector, TransactionVector, Vectors};
use genesis::encoding::{decode, encode};
use genesis::{Configuration, Digest, Domain, Epoch, Genesis, Height, PublicKey, SecretKey, UnixMillis};
use ledger::state::StateKey;
use ledger::{
    Batch, CheckedBatch, CheckedTransaction, Did, DidId, Document, Header, KeySet, Receipt, Transaction, tree,
};

/// The most bytes of the file: people should be able to read it.
const MOST: usize = 200_000;

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/vectors.json")
}

fn made() -> String {
    serde_json::to_string_pretty(&make::vectors()).unwrap() + "\n"
}

/// The vectors, read back.
struct Read {
    vectors: Vectors,
    genesis: Genesis,
}

impl Read {
    fn new() -> Self {
        let vectors: Vectors = serde_json::from_str(&std::fs::read_to_string(path()).unwrap()).unwrap();
        let genesis = Genesis::parse(&vectors.genesis.toml).unwrap();
        Self { vectors, genesis }
    }

    fn secret(&self, name: &str) -> SecretKey {
        SecretKey::from_seed(self.vectors.keys[name].seed.0.as_slice().try_into().unwrap())
    }

    fn assert_signed(&self, signed: &SignedVector) {
        let SignedVector { key, bytes, signature } = signed;
        assert_eq!(self.secret(key).sign(&bytes.0), *signature, "{key}");
        assert!(self.secret(key).public().verify(&bytes.0, signature), "{key}");
    }

    fn transaction(&self, name: &str) -> &TransactionVector {
        self.vectors.transactions.iter().find(|transaction| transaction.name == name).unwrap()
    }
}

#[test]
fn the_file_is_what_the_code_makes_byte_for_byte() {
    let made = made();
    if std::env::var_os("WRITE_VECTORS").is_some() {
        std::fs::write(path(), &made).unwrap();
    }
    assert_eq!(made, self::made(), "each run makes the same");
    assert!(made.len() <= MOST, "{} bytes", made.len());
    let file = std::fs::read_to_string(path()).unwrap();
    let differs = file.lines().zip(made.lines()).position(|(file, made)| file != made);
    let problem = "where that is meant, write the file anew: client/tests/vectors/main.rs says how";
    assert!(
        file == made,
        "docs/vectors.json differs from line {:?} on: {problem}",
        differs.map(|line| line + 1)
    );
}

#[test]
fn digests_and_keys_follow_from_their_inputs() {
    let Read { vectors, genesis } = Read::new();
    for vector in &vectors.digests {
        assert_eq!(*vector.digest.as_bytes(), blake3::derive_key(&vector.context, &vector.input.0));
    }
    for (name, vector) in &vectors.keys {
        let public = SecretKey::from_seed(vector.seed.0.as_slice().try_into().unwrap()).public();
        let PublicKey::Ed25519(bytes) = public;
        assert_eq!(
            (bytes.as_slice(), public.to_string()),
            (&*vector.public.0, vector.multikey.clone()),
            "{name}"
        );
    }
    for vector in &vectors.key_sets {
        let keys = vector.keys.iter().map(|name| vectors.keys[name].multikey.parse().unwrap()).collect();
        let set = KeySet::new(vector.threshold, keys).unwrap();
        assert_eq!((encode(&set), set.commitment()), (vector.canonical.0.clone(), vector.commitment));
        assert_eq!(Digest::of(Domain::KeySet, &vector.canonical.0), vector.commitment);
    }
    assert_eq!(verify::genesis_bytes(&genesis), vectors.genesis.canonical.0);
    assert_eq!(Digest::of(Domain::Genesis, &vectors.genesis.canonical.0), vectors.genesis.chain);
    assert_eq!(genesis.chain(), vectors.genesis.chain);
}

#[test]
fn each_transaction_has_the_bytes_the_id_and_the_signatures_that_stand_there() {
    let read = Read::new();
    let mut kinds = BTreeMap::new();
    for vector in &read.vectors.transactions {
        let transaction: Transaction = decode(&vector.canonical.0, 1 << 20).unwrap();
        assert_eq!(serde_json::from_value::<Transaction>(vector.transaction.clone()).unwrap(), transaction);
        let operation = vector.transaction["operation"].as_object().unwrap().keys().next().unwrap().clone();
        *kinds.entry(operation).or_insert(0) += 1;
        // The signatures stand at the end: their count, and 4 + 64 bytes each.
        let unsigned = vector.canonical.0.len() - 8 - 68 * vector.signers.len();
        assert_eq!(Digest::of(Domain::Transaction, &vector.canonical.0[..unsigned]), vector.id);
        let chain = read.vectors.genesis.chain;
        let signing_bytes =
            [b"realdid transaction v1".as_slice(), chain.as_bytes(), vector.id.as_bytes()].concat();
        assert!(vector.signing_bytes.0 == signing_bytes);
        assert_eq!(vector.signers.len(), transaction.signers.len());
        for (place, signer) in vector.signers.iter().enumerate() {
            let public = read.secret(&signer.key).public();
            let there = (transaction.signers[place], transaction.signatures[place]);
            assert_eq!(there, (public, signer.signature));
            let (key, signature, bytes) = (signer.key.clone(), signer.signature, Hex(signing_bytes.clone()));
            read.assert_signed(&SignedVector { key, bytes, signature });
        }
        for inception in &vector.inceptions {
            let id = DidId(Digest::of(Domain::Inception, &inception.canonical.0));
            assert_eq!(Did::new(&read.vectors.network, id).to_string(), inception.did);
            inception.possession.iter().for_each(|signed| read.assert_signed(signed));
        }
        vector.readiness.iter().for_each(|signed| read.assert_signed(signed));
        CheckedTransaction::check(transaction, &read.genesis).unwrap();
    }
    let kinds: Vec<&str> = kinds.keys().map(String::as_str).collect();
    assert_eq!(
        kinds,
        [
            "create",
            "create_many",
            "deactivate",
            "endorse",
            "propose",
            "publish_schema",
            "publish_status_list",
            "recover",
            "update",
            "vote",
            "withdraw_endorsement"
        ],
        "each kind of operation is there"
    );
}

#[test]
fn executing_the_blocks_leads_to_the_records_receipts_and_roots_that_stand_there() {
    let read = Read::new();
    let mut ledger = network::Ledger::new();
    for vector in &read.vectors.blocks {
        let transactions: Vec<Transaction> = vector
            .transactions
            .iter()
            .map(|name| decode(&read.transaction(name).canonical.0, 1 << 20).unwrap())
            .collect();
        let block = ledger.block(transactions, vector.closes.is_some()).clone();
        assert_eq!((block.height, network::time(block.height)), (vector.height, UnixMillis(vector.time)));
        assert_eq!(block.closes, vector.closes);
        let outcome = (block.outcome.state_root, block.outcome.receipts_root);
        assert_eq!(outcome, (vector.state_root, vector.receipts_root), "block {}", vector.height);
        let outcome = (block.outcome.configuration, block.outcome.pending);
        assert_eq!(outcome, (vector.configuration, vector.pending));
        assert_eq!(block.receipts.len(), vector.receipts.len());
        for (receipt, vector) in block.receipts.iter().zip(&vector.receipts) {
            assert_eq!(decode::<Receipt>(&vector.canonical.0, 4_096).unwrap(), *receipt);
            assert_eq!(Digest::of(Domain::Receipt, &vector.canonical.0), vector.digest);
            assert_eq!(
                (receipt.id, receipt.code.name()),
                (read.transaction(&vector.transaction).id, &*vector.code)
            );
            let items: Vec<&str> = receipt.items.iter().map(|item| item.code.name()).collect();
            assert_eq!(items, vector.items);
        }
        let root = tree::root(&sorted(vector.receipts.iter().map(|receipt| tree::Leaf {
            key: read.transaction(&receipt.transaction).id,
            value: receipt.digest,
        })));
        assert_eq!(root, vector.receipts_root);
        assert_eq!(block.records.len(), vector.records.len());
        for (record, vector) in block.records.iter().zip(&vector.records) {
            let header: Header = decode(&vector.header.0, 4_096).unwrap();
            assert_eq!(header, record.header);
            assert_eq!(Digest::of(Domain::Record, &vector.header.0), vector.header_digest);
            assert_eq!(Did::new(&read.vectors.network, header.did).to_string(), vector.did);
            assert_eq!((header.version.0, header.document), (vector.version, vector.document_digest));
            let document = vector.document.as_ref();
            assert_eq!(document.map(|bytes| Digest::of(Domain::Document, &bytes.0)), vector.document_digest);
            let document: Option<Document> = document.map(|bytes| decode(&bytes.0, 8_192).unwrap());
            assert_eq!(document, record.document);
        }
    }
    let refused: Vec<&str> =
        read.vectors.blocks.iter().flat_map(|block| &block.receipts).map(|it| &*it.code).collect();
    assert!(refused.contains(&"not_revealed") && refused.contains(&"version_mismatch"), "{refused:?}");
}

fn sorted(leaves: impl Iterator<Item = tree::Leaf>) -> Vec<tree::Leaf> {
    let mut leaves: Vec<_> = leaves.collect();
    leaves.sort_by_key(|leaf| leaf.key);
    leaves
}

#[test]
fn each_checkpoint_is_certified_by_a_quorum_of_its_epoch() {
    let read = Read::new();
    let epochs: Vec<Configuration> = {
        let later = read.vectors.resolutions.iter().find(|resolution| resolution.epoch == 1).unwrap();
        let proof = client::api::from_base64(&later.question.proof).unwrap();
        let links = ResolutionProof::decode(&proof).unwrap().links;
        vec![Configuration::of(&read.genesis), links[0].configuration.clone()]
    };
    for vector in &read.vectors.checkpoints {
        let checkpoint: Checkpoint = decode(&vector.canonical.0, 4_096).unwrap();
        let certificate: CheckpointCertificate = decode(&vector.certificate.0, 65_536).unwrap();
        assert_eq!(certificate.checkpoint, checkpoint);
        assert_eq!((checkpoint.height, checkpoint.epoch), (Height(vector.height), Epoch(vector.epoch)));
        assert_eq!(Digest::of(Domain::Checkpoint, &vector.canonical.0), vector.digest);
        assert_eq!(network::statement(&checkpoint), vector.signing_bytes.0);
        let block = &read.vectors.blocks[vector.height as usize - 1];
        assert_eq!(
            (checkpoint.state_root, checkpoint.receipts_root),
            (block.state_root, block.receipts_root)
        );
        assert_eq!((checkpoint.configuration, checkpoint.pending), (block.configuration, block.pending));
        let validators = epochs[vector.epoch as usize].validators.clone();
        for (name, (index, signature)) in vector.signers.iter().zip(&certificate.signatures) {
            assert_eq!(validators.get(*index).unwrap().consensus_key, read.secret(name).public());
            let (key, bytes, signature) = (name.clone(), Hex(vector.signing_bytes.0.clone()), *signature);
            read.assert_signed(&SignedVector { key, bytes, signature });
        }
        let (chain, epoch) = (read.genesis.chain(), checkpoint.epoch);
        certificate.verify(&Context { chain, epoch, validators }).unwrap();
    }
    let handover = &read.vectors.blocks[7];
    assert_eq!(handover.closes, Some(epochs[1].digest()), "block 8 hands over");
}

#[test]
fn each_path_leads_from_its_root_to_the_value_or_to_nothing() {
    let read = Read::new();
    let mut found = [0, 0];
    for vector in &read.vectors.state_proofs {
        let root = read.vectors.blocks[vector.height as usize - 1].state_root;
        let state_key: StateKey = decode(&vector.state_key.0, 1_024).unwrap();
        assert_eq!(Digest::of(Domain::StateKey, &vector.state_key.0), vector.key);
        let proof: tree::Proof = decode(&vector.proof.0, 65_536).unwrap();
        assert_eq!(proof.value(&root, &vector.key).unwrap(), vector.value, "{}", vector.about);
        found[usize::from(vector.value.is_some())] += 1;
        if let (StateKey::Did(id), Some(value)) = (state_key, vector.value) {
            let did = Did::new(&read.vectors.network, id).to_string();
            let blocks = read.vectors.blocks.iter().take(vector.height as usize);
            let newest = blocks.flat_map(|block| &block.records).rfind(|record| record.did == did).unwrap();
            assert_eq!(newest.header_digest, value);
        }
        if let (StateKey::Block(height), Some(value)) = (state_key, vector.value) {
            let block = &read.vectors.blocks[height.0 as usize - 1];
            let bytes = encode(&(height, UnixMillis(block.time), block.receipts_root));
            assert_eq!(Digest::of(Domain::StateValue, &bytes), value);
        }
    }
    for vector in &read.vectors.receipt_proofs {
        let block = &read.vectors.blocks[vector.height as usize - 1];
        let proof: tree::Proof = decode(&vector.proof.0, 65_536).unwrap();
        assert_eq!(proof.value(&block.receipts_root, &vector.key).unwrap(), vector.value, "{}", vector.about);
        let receipt = |it: &&format::ReceiptVector| read.transaction(&it.transaction).id == vector.key;
        assert_eq!(block.receipts.iter().find(receipt).map(|receipt| receipt.digest), vector.value);
        found[usize::from(vector.value.is_some())] += 1;
    }
    assert!(found[0] >= 4 && found[1] >= 6, "presence and absence: {found:?}");
}

#[test]
fn a_light_client_believes_the_resolutions_and_none_of_the_refusals() {
    let Read { vectors, genesis } = Read::new();
    for vector in &vectors.resolutions {
        let mut client = verify::client_after(&vector.after, &vectors.resolutions, &genesis);
        let answer = verify::ask(&mut client, &vector.question).unwrap();
        assert_eq!(answer.resolution.to_json(), vector.result, "{}", vector.name);
        assert_eq!((answer.checkpoint.height.0, client.pin().epoch().0), (vector.height, vector.epoch));
    }
    let mut reasons: Vec<&str> = Vec::new();
    for vector in &vectors.refusals {
        let mut client = verify::client_after(&vector.after, &vectors.resolutions, &genesis);
        let before = client.pin().clone();
        let refused = verify::ask(&mut client, &vector.question).unwrap_err();
        assert_eq!(
            (refused.reason, refused.text),
            (&*vector.reason, vector.error.clone()),
            "{}",
            vector.name
        );
        assert_eq!(*client.pin(), before, "what is refused leaves no trace");
        reasons.push(refused.reason);
    }
    reasons.sort_unstable();
    reasons.dedup();
    assert_eq!(
        reasons,
        [
            "behind",
            "certificate-count",
            "certificate-order",
            "certificate-signature",
            "document",
            "encoding",
            "fork",
            "header-chain",
            "missing",
            "newest-header",
            "no-handover",
            "not-settled",
            "other-epoch",
            "path-astray",
            "path-root",
            "stale"
        ]
    );
}

/// A batch of the first block's transactions, so that the bytes of each are in one too.
#[test]
fn the_transactions_of_a_block_go_into_a_batch_as_they_are() {
    let read = Read::new();
    let bytes = |name: &String| read.transaction(name).canonical.0.clone();
    let transactions = &read.vectors.blocks[0].transactions;
    let parts: Vec<Vec<u8>> = transactions.iter().map(bytes).collect();
    let whole: Vec<Transaction> = parts.iter().map(|bytes| decode(bytes, 1 << 20).unwrap()).collect();
    let author = network::validator(0).network_key;
    let batch = Batch { author, sequence: 1, expires_at: Height(9), transactions: whole }.encode();
    assert!(batch.ends_with(&parts.concat()));
    Arc::new(CheckedBatch::decode_and_check(&batch, &read.genesis).unwrap());
}

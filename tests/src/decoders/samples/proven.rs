//! Proofs of a little state that the vectors' validators certify here: a transaction's fate, entries of the trust registry, the
//! changes of the validators, and a snapshot's manifest.
//!
//! Invariant: a light client that knows the vectors' genesis document believes each, but [`Samples::wide`].

use std::collections::BTreeMap;

use client::light::{Links, RegistryProof, TransactionProof};
use client::wallet::Terms;
use client::wallet::organisation::Request;
use consensus::Checkpoint;
use ledger::proof::{EntryProof, FateProof, InBlock, Window};
use ledger::registry::{Accreditation, Role, Status};
use ledger::state::{BlockSummary, StateKey, receipt_leaves, receipts_root};
use ledger::tree::{self, MemoryTree};
use ledger::{Operation, RegistryEntry, RegistryKey};

use super::*;

/// Where the chain of the little state ends.
const LAST: Height = Height(9);
/// How many blocks [`Samples::wide`] is of.
const WIDE: usize = 200;

fn time(height: Height) -> UnixMillis {
    UnixMillis(1_790_000_000_000 + 10_000 * height.0)
}

/// A state with the vectors' receipts, and an issuer.
struct State {
    receipts: Vec<Receipt>,
    entry: RegistryEntry,
    leaves: BTreeMap<Digest, Digest>,
    tree: MemoryTree,
}

impl State {
    fn new(samples: &Samples) -> Self {
        let receipts: Vec<Receipt> =
            samples.receipts().iter().map(|bytes| decode(bytes, bytes.len()).unwrap()).collect();
        let entry = RegistryEntry::Accreditation(Accreditation {
            did: samples.questions[0].did.id(),
            role: Role::Issuer,
            scope: vec!["diploma".into()],
            valid_from: UnixMillis(0),
            valid_until: UnixMillis(9_000_000),
            quota: 0,
            registrations: 0,
            status: Status::Active,
            at: Moment { height: Height(4), time: time(Height(4)) },
        });
        let mut leaves = BTreeMap::from([(StateKey::Registry(entry.key()).digest(), entry.digest())]);
        for height in (1..=LAST.0).map(Height) {
            let receipts_root = receipts_root(&of_block(&receipts, height));
            let summary = BlockSummary { height, time: time(height), receipts_root };
            leaves.insert(StateKey::Block(height).digest(), summary.digest());
        }
        let mut tree = MemoryTree::default();
        let changes: Vec<_> = leaves.iter().map(|(key, value)| (*key, Some(*value))).collect();
        let update = tree.update(&changes);
        tree.adopt(&update);
        Self { receipts, entry, leaves, tree }
    }

    fn in_block(&self, id: &Digest, height: Height) -> InBlock {
        let receipts = of_block(&self.receipts, height);
        InBlock {
            time: time(height),
            receipts_root: receipts_root(&receipts),
            block: self.tree.prove(&StateKey::Block(height).digest()).unwrap(),
            receipt: tree::proof::prove(&receipt_leaves(&receipts), id),
        }
    }

    fn entry(&self, key: &RegistryKey) -> EntryProof {
        let entry = (self.entry.key() == *key).then(|| self.entry.clone());
        EntryProof { path: self.tree.prove(&StateKey::Registry(*key).digest()).unwrap(), entry }
    }
}

fn of_block(receipts: &[Receipt], height: Height) -> Vec<Receipt> {
    receipts.iter().filter(|receipt| receipt.height == height).cloned().collect()
}

/// A transaction that was never ordered.
fn never() -> Digest {
    digest(0xee)
}

impl Samples {
    /// By three of the first epoch's four, byte by byte as `docs/formats.md` says.
    fn certified(&self, state: &State) -> CheckpointCertificate {
        let checkpoint = Checkpoint {
            epoch: Epoch::ZERO,
            height: LAST,
            block: digest(0xbb),
            time: time(LAST),
            state_root: state.tree.root(),
            receipts_root: receipts_root(&of_block(&state.receipts, LAST)),
            configuration: Configuration::of(genesis()).digest(),
            pending: None,
        };
        let bytes = [
            b"realdid consensus v1".as_slice(),
            genesis().chain().as_bytes(),
            &checkpoint.epoch.0.to_le_bytes(),
            &[Kind::Checkpoint as u8],
            &checkpoint.height.0.to_le_bytes(),
            checkpoint.digest().as_bytes(),
        ]
        .concat();
        let sign = |(index, validator): (ValidatorIndex, &Validator)| {
            let seed = hex(&self.vectors["keys"][format!("{} consensus", validator.name)]["seed"]);
            (index, SecretKey::from_seed(seed.try_into().unwrap()).sign(&bytes))
        };
        let signatures = genesis().validators().iter().take(3).map(sign).collect();
        CheckpointCertificate { checkpoint, signatures }
    }

    /// A light client's clock when it is shown these.
    pub(in super::super) fn now(&self) -> UnixMillis {
        time(LAST)
    }

    /// What a light client is asked about transactions.
    pub(in super::super) fn fates(&self) -> Vec<(Digest, Option<Window>)> {
        let receipts = State::new(self).receipts;
        let window = Window { after: Height(2), expires_at: LAST };
        vec![(receipts[0].id, None), (never(), Some(window))]
    }

    /// No proof, but one of as many blocks as can be in so few bytes: the most memory for each.
    fn wide(&self, certificate: CheckpointCertificate) -> TransactionProof {
        let empty = || tree::proof::prove(&[], &digest(1));
        let block =
            || InBlock { time: UnixMillis(0), receipts_root: Digest::ZERO, block: empty(), receipt: empty() };
        let blocks = (0..WIDE).map(|_| block()).collect();
        TransactionProof { links: Vec::new(), certificate, fate: FateProof::Expired { blocks } }
    }

    pub(in super::super) fn transaction_proofs(&self) -> Vec<Vec<u8>> {
        let state = State::new(self);
        let certificate = self.certified(&state);
        let mut proofs = Vec::new();
        for (id, window) in self.fates() {
            let receipt = state.receipts.iter().find(|receipt| receipt.id == id);
            let fate = match receipt {
                Some(receipt) => {
                    let shown = Box::new(state.in_block(&id, receipt.height));
                    FateProof::Final { receipt: receipt.clone(), shown }
                }
                None => {
                    let heights = window.unwrap().heights(Height::ZERO).unwrap();
                    let blocks = heights.map(|height| state.in_block(&id, Height(height)));
                    FateProof::Expired { blocks: blocks.collect() }
                }
            };
            let proof = TransactionProof { links: Vec::new(), certificate: certificate.clone(), fate };
            let mut client = LightClient::new(genesis());
            client.receipt(&id, window, proof.clone(), self.now()).unwrap();
            proofs.push(proof.encode());
        }
        proofs.push(self.wide(certificate).encode());
        proofs
    }

    /// What a light client is asked about the trust registry: one entry is there, the other is not.
    pub(in super::super) fn keys(&self) -> [RegistryKey; 2] {
        let did = self.questions[0].did.id();
        [Role::Issuer, Role::Registrar].map(|role| RegistryKey::Accreditation(did, role))
    }

    pub(in super::super) fn registry_proofs(&self) -> Vec<Vec<u8>> {
        let state = State::new(self);
        let certificate = self.certified(&state);
        let proof = |key: &RegistryKey| {
            let (certificate, entry) = (certificate.clone(), state.entry(key));
            let proof = RegistryProof { links: Vec::new(), certificate, entry };
            let answer = LightClient::new(genesis()).registry(key, proof.clone(), self.now()).unwrap();
            assert_eq!(answer.entry.is_some(), *key == state.entry.key());
            proof.encode()
        };
        self.keys().iter().map(proof).collect()
    }

    /// Those that lead to the vectors' second epoch.
    pub(in super::super) fn links(&self) -> Vec<Vec<u8>> {
        let proofs = self.questions.iter().map(|question| ResolutionProof::decode(&question.proof).unwrap());
        let links = proofs.map(|proof| proof.links).find(|links| !links.is_empty()).unwrap();
        LightClient::new(genesis()).advance(Links(links.clone())).unwrap();
        vec![Links(links).encode()]
    }

    /// A snapshot's list of one piece, the whole tree, which the validators certified.
    pub(super) fn sound_manifest(&self) -> Manifest {
        let state = State::new(self);
        let leaves = state.leaves.iter().map(|(key, value)| Leaf { key: *key, value: *value });
        let bytes = Piece::Tree(leaves.collect()).encode();
        let piece = PieceInfo {
            kind: PieceKind::Tree(BucketId::ROOT, Summary::Inner(state.tree.root())),
            bytes: bytes.len() as u64,
            digest: ledger::snapshot::digest(&bytes),
        };
        let manifest = Manifest {
            format: 1,
            chain: genesis().chain(),
            links: Vec::new(),
            recent: vec![self.certified(&state)],
            pieces: vec![piece],
        };
        manifest.verify(genesis()).unwrap();
        manifest
    }

    /// The certificates of the vectors, and that of the little state.
    pub(in super::super) fn sound_certificates(&self) -> Vec<Vec<u8>> {
        let mut sound = self.checkpoints();
        sound.push(encode(&self.certified(&State::new(self))));
        sound
    }

    /// Those that the vectors' registrar put into one transaction.
    pub(in super::super) fn registrations(&self) -> Vec<Vec<u8>> {
        let requested = self.decoded().into_iter().filter_map(|transaction| match transaction.operation {
            Operation::CreateMany(many) => Some((many, transaction.chain, transaction.expires_at)),
            _ => None,
        });
        let requests = requested.flat_map(|(many, chain, expires_at)| {
            let registrar = Did::new(NETWORK, many.registrar);
            many.items.into_iter().map(move |item| Request {
                chain,
                registrar: registrar.clone(),
                expires_at,
                item,
            })
        });
        let terms = Terms { network: NETWORK.into(), chain: genesis().chain(), expires_at: Height(100) };
        let written = |request: Request| {
            request.check(&terms, &request.registrar, genesis().parameters()).unwrap();
            serde_json::to_vec(&request).unwrap()
        };
        requests.map(written).collect()
    }

    pub(in super::super) fn registry_questions(&self) -> Vec<Vec<u8>> {
        let did = &self.questions[0].did;
        [
            json!([{ "kind": "accreditation", "did": did, "role": "issuer" }, 1]),
            json!([{ "kind": "schema", "issuer": did, "number": 7 }, null]),
            json!([{ "kind": "statusList", "issuer": did, "number": 65_535 }, 0]),
        ]
        .map(|question| question.to_string().into_bytes())
        .into()
    }
}

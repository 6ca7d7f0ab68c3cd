//! Sound inputs of each decoder: from `docs/vectors.json`, and made here where it has none.

mod proven;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::LazyLock;

use client::api::from_base64;
use client::governance::Readiness;
use client::key_file::KeyFile;
use client::keyring::{Entry, HeldKey, Pending};
use client::light::{LightClient, Link, ResolutionProof};
use consensus::candidate::{Candidate, Parent};
use consensus::certificate::Certificate;
use consensus::checkpoint::CheckpointVote;
use consensus::evidence::Statement;
use consensus::message::{Attestation, Fetch, Kind, PrePrepare, Vote, VoteKind};
use consensus::{CheckpointCertificate, Cited, Evidence, Finality, Message};
use genesis::encoding::{decode, encode};
use genesis::{
    Configuration, Digest, Epoch, Genesis, Height, Predecessor, SecretKey, Signature, UnixMillis, Validator,
    ValidatorIndex, View,
};
use ledger::resolution::{History, Options};
use ledger::snapshot::{BlockReceipts, Piece, PieceInfo, PieceKind};
use ledger::tree::{BucketId, Leaf, Summary};
use ledger::{
    Batch, Block, Did, DidId, Document, Governance, Header, KeyNumber, Moment, Receipt, Record, Transaction,
    Version,
};
use node::config::Config;
use node::journal::{Journal, Owner};
use node::replay::stream::Writer;
use node::snapshot::{Manifest, Part};
use node::wire::{Answer, Ask, Gossip, Offer, Proof, Range, Span};
use serde_json::{Value, json};

/// The network of the vectors.
pub const NETWORK: &str = "test";

/// What the vectors tell, read once.
pub struct Samples {
    vectors: Value,
    records: BTreeMap<(DidId, Version), Record>,
    questions: Vec<Question>,
}

/// What a light client is asked.
pub(super) struct Question {
    pub(super) did: Did,
    /// Its clock, in ms since 1970.
    pub(super) now: u64,
    proof: Vec<u8>,
}

static SAMPLES: LazyLock<Samples> = LazyLock::new(Samples::new);
static GENESIS: LazyLock<Genesis> = LazyLock::new(|| {
    let toml = SAMPLES.vectors["genesis"]["toml"].as_str().unwrap();
    Genesis::parse(toml).unwrap()
});

/// The vectors' genesis document.
pub(super) fn genesis() -> &'static Genesis {
    &GENESIS
}

/// Whose journal the samples are.
pub(super) fn owner() -> Owner {
    Owner { chain: genesis().chain(), voter: secret(1).public() }
}

fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32])
}

fn hex(value: &Value) -> Vec<u8> {
    let digits = value.as_str().unwrap().as_bytes();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn digest(byte: u8) -> Digest {
    Digest::from_bytes([byte; 32])
}

impl Samples {
    /// Those of this process.
    pub fn get() -> &'static Self {
        &SAMPLES
    }

    fn new() -> Self {
        let vectors: Value = serde_json::from_str(include_str!("../../../docs/vectors.json")).unwrap();
        let mut records = BTreeMap::new();
        for record in
            vectors["blocks"].as_array().unwrap().iter().flat_map(|it| it["records"].as_array().unwrap())
        {
            let header: Header = decode(&hex(&record["header"]), 4_096).unwrap();
            let document = record["document"].is_string().then(|| hex(&record["document"]));
            let document: Option<Document> = document.map(|bytes| decode(&bytes, 8_192).unwrap());
            records.insert((header.did, header.version), Record { header, document });
        }
        let question = |question: &Value| Question {
            did: question["did"].as_str().unwrap().parse().unwrap(),
            now: question["now"].as_u64().unwrap(),
            proof: from_base64(question["proof"].as_str().unwrap()).unwrap(),
        };
        let questions = vectors["resolutions"].as_array().unwrap().iter().map(question).collect();
        Self { vectors, records, questions }
    }

    fn list(&self, part: &str) -> &[Value] {
        self.vectors[part].as_array().unwrap()
    }

    pub(super) fn questions(&self) -> &[Question] {
        &self.questions
    }

    fn decoded(&self) -> Vec<Transaction> {
        self.transactions().iter().map(|bytes| decode(bytes, bytes.len()).unwrap()).collect()
    }

    pub(super) fn transactions(&self) -> Vec<Vec<u8>> {
        self.list("transactions").iter().map(|it| hex(&it["canonical"])).collect()
    }

    pub(super) fn submitted(&self) -> Vec<Vec<u8>> {
        self.transactions().iter().map(|bytes| client::api::to_base64(bytes).into_bytes()).collect()
    }

    pub(super) fn submitted_batches(&self) -> Vec<Vec<u8>> {
        let all = self.transactions();
        [&all[..0], &all[..1], &all[..]].iter().map(|list| client::api::encode_batch(list)).collect()
    }

    pub(super) fn batches(&self) -> Vec<Vec<u8>> {
        let batch = |transactions: Vec<Transaction>| {
            Batch { author: secret(1).public(), sequence: 7, expires_at: Height(100), transactions }.encode()
        };
        let mut batches: Vec<_> =
            self.decoded().into_iter().map(|transaction| batch(vec![transaction])).collect();
        batches.push(batch(self.decoded()));
        batches
    }

    pub(super) fn blocks(&self) -> Vec<Vec<u8>> {
        let block = |batches: u8, proof: Vec<u8>| Block {
            height: Height(7),
            parent: digest(1),
            digest: digest(2),
            time: UnixMillis(9),
            batches: (0..batches).map(digest).collect(),
            proof,
        };
        vec![encode(&block(0, Vec::new())), encode(&block(3, self.finals().remove(0)))]
    }

    pub(super) fn checkpoints(&self) -> Vec<Vec<u8>> {
        self.list("checkpoints").iter().map(|it| hex(&it["certificate"])).collect()
    }

    fn checkpoint(&self) -> CheckpointCertificate {
        decode(&self.checkpoints()[0], 1 << 16).unwrap()
    }

    fn signatures() -> Vec<(ValidatorIndex, Signature)> {
        (0..3).map(|index| (ValidatorIndex(index), secret(1).sign(b"a vote"))).collect()
    }

    fn certificate(kind: VoteKind) -> Certificate {
        let digest = if kind == VoteKind::ViewChange { Digest::ZERO } else { digest(3) };
        Certificate { kind, view: View(5), digest, signatures: Self::signatures() }
    }

    pub(super) fn certificates(&self) -> Vec<Vec<u8>> {
        [VoteKind::Prepare, VoteKind::Commit, VoteKind::ViewChange]
            .map(|kind| encode(&Self::certificate(kind)))
            .into()
    }

    fn candidate() -> Candidate {
        Candidate {
            epoch: Epoch::ZERO,
            view: View(5),
            height: Height(4),
            parent: Parent { view: View(4), digest: digest(4) },
            time: UnixMillis(1_790_000_040_000),
            cites: Cited { height: Height(2), digest: digest(5) },
            nonces: vec![digest(6)],
            payload: vec![digest(7), digest(8)],
        }
    }

    fn vote(kind: VoteKind) -> Vote {
        let signature = secret(1).sign(b"a vote");
        Vote { kind, view: View(5), digest: digest(3), voter: ValidatorIndex(1), signature }
    }

    fn said(&self) -> Vec<Message> {
        let signature = secret(1).sign(b"a vote");
        let certificate = self.checkpoint();
        let checkpoint = certificate.checkpoint.clone();
        let (view, voter) = (View(5), ValidatorIndex(1));
        let entry = Some(Self::certificate(VoteKind::ViewChange));
        vec![
            Message::PrePrepare(PrePrepare { candidate: Self::candidate(), signature }),
            Message::Vote(Self::vote(VoteKind::Prepare)),
            Message::Certificate(Self::certificate(VoteKind::Commit)),
            Message::Fetch(Fetch::Newest { view, finalized: View(3) }),
            Message::Fetch(Fetch::Candidate(digest(3))),
            Message::Fetch(Fetch::Certificates { from: View(1), to: view }),
            Message::Fetch(Fetch::Checkpoint(Height(2))),
            Message::Fetch(Fetch::OwnVotes),
            Message::Fetch(Fetch::Attestation(digest(6))),
            Message::Checkpoint(CheckpointVote { checkpoint, voter, signature }),
            Message::CheckpointCertificate(certificate),
            Message::OwnVotes(vec![Self::vote(VoteKind::Prepare), Self::vote(VoteKind::Commit)]),
            Message::Attestation(Attestation { nonce: digest(6), view, voter, signature, entry }),
        ]
    }

    pub(super) fn messages(&self) -> Vec<Vec<u8>> {
        self.said().iter().map(Message::encode).collect()
    }

    pub(super) fn gossip(&self) -> Vec<Vec<u8>> {
        let said = self.said().into_iter().map(|message| Gossip::Consensus(Epoch(1), message));
        said.chain([Gossip::Held(vec![digest(1), digest(2)])]).map(|gossip| encode(&gossip)).collect()
    }

    pub(super) fn asks(&self) -> Vec<Vec<u8>> {
        let span = Span { from: Height(2), to: Height(9) };
        let slice = Ask::Slice { height: Height(5), part: Part::Piece(3), offset: 9 };
        let batches = Ask::Batches(vec![digest(1), digest(2)]);
        [Ask::Blocks(span), batches, Ask::Snapshot, slice].map(|ask| encode(&ask)).into()
    }

    pub(super) fn answers(&self) -> Vec<Vec<u8>> {
        let range = |finality| Range {
            candidates: vec![Self::candidate(), Self::candidate()],
            finality: Some(finality),
            cited: Some(self.checkpoint()),
            checkpoint: None,
            first: Height(1),
        };
        let commit = Finality::Commit(Self::certificate(VoteKind::Commit));
        [
            Answer::Blocks(Range::default()),
            Answer::Blocks(range(commit)),
            Answer::Blocks(range(Finality::Checkpoint(self.checkpoint()))),
            Answer::Batches(self.batches()),
            Answer::Batches(vec![Vec::new(); 500]),
            Answer::Snapshot(Some(Offer { height: Height(7) })),
            Answer::Slice(vec![3; 999]),
            Answer::NoSlice,
        ]
        .map(|answer| encode(&answer))
        .into()
    }

    pub(super) fn finals(&self) -> Vec<Vec<u8>> {
        let candidate = Self::candidate();
        let commit = Some(Self::certificate(VoteKind::Commit));
        vec![
            Proof { candidate: candidate.clone(), commit }.encode(),
            Proof { candidate, commit: None }.encode(),
        ]
    }

    pub(super) fn evidence(&self) -> Vec<Vec<u8>> {
        let statement = |byte| {
            let signature = secret(1).sign(b"a vote");
            Statement { kind: Kind::Commit, view: View(5), digest: digest(byte), signature }
        };
        let validator = secret(1).public();
        vec![encode(&Evidence { epoch: Epoch::ZERO, validator, first: statement(1), second: statement(2) })]
    }

    pub(super) fn proofs(&self) -> Vec<Vec<u8>> {
        self.questions.iter().map(|question| question.proof.clone()).collect()
    }

    pub(super) fn pins(&self) -> Vec<Vec<u8>> {
        let mut client = LightClient::new(genesis());
        let mut pins = vec![encode(client.pin())];
        // Proofs of an old version need not resolve the newest one.
        for Question { did, now, proof } in &self.questions {
            let proof = ResolutionProof::decode(proof).unwrap();
            if client.resolve(did, &Options::default(), proof, UnixMillis(*now)).is_ok() {
                pins.push(encode(client.pin()));
            }
        }
        pins
    }

    pub(super) fn records(&self) -> Vec<Vec<u8>> {
        self.records.values().map(encode).collect()
    }

    pub(super) fn receipts(&self) -> Vec<Vec<u8>> {
        let receipts = self.list("blocks").iter().flat_map(|block| block["receipts"].as_array().unwrap());
        receipts.map(|receipt| hex(&receipt["canonical"])).collect()
    }

    pub(super) fn configurations(&self) -> Vec<Vec<u8>> {
        vec![encode(&Configuration::of(genesis()))]
    }

    pub(super) fn manifests(&self) -> Vec<Vec<u8>> {
        let link = Link { certificate: self.checkpoint(), configuration: Configuration::of(genesis()) };
        let pieces = self.pieces();
        let info = |(kind, bytes): (PieceKind, &Vec<u8>)| PieceInfo {
            kind,
            bytes: bytes.len() as u64,
            digest: ledger::snapshot::digest(bytes),
        };
        let kinds = [
            PieceKind::Tree(BucketId::ROOT.right(), Summary::Inner(digest(1))),
            PieceKind::Governance,
            PieceKind::Records,
        ];
        let manifest = Manifest {
            format: 1,
            chain: genesis().chain(),
            links: vec![link],
            recent: vec![self.checkpoint()],
            pieces: kinds.into_iter().zip(&pieces).map(info).collect(),
        };
        let empty =
            Manifest { links: Vec::new(), recent: Vec::new(), pieces: Vec::new(), ..manifest.clone() };
        [manifest, empty, self.sound_manifest()].map(|manifest| manifest.encode()).into()
    }

    pub(super) fn pieces(&self) -> Vec<Vec<u8>> {
        let read = |bytes: &Vec<u8>| decode(bytes, bytes.len()).unwrap();
        let receipts: Vec<Receipt> =
            self.receipts().iter().map(|bytes| decode(bytes, bytes.len()).unwrap()).collect();
        let records: Vec<Record> = self.records.values().cloned().collect();
        let leaf = |byte| Leaf { key: digest(byte), value: digest(byte) };
        let at = Moment { height: Height(7), time: UnixMillis(9) };
        let pieces = [
            Piece::Tree((0..40).map(leaf).collect()),
            Piece::Governance(Governance::of(genesis()), vec![Configuration::of(genesis())]),
            Piece::Registry(Vec::new()),
            Piece::Records(records.clone()),
            Piece::History(records),
            Piece::Blocks(self.blocks().iter().map(read).collect()),
            Piece::Receipts(vec![
                BlockReceipts { at, receipts: Vec::new(), goes_on: false },
                BlockReceipts { at, receipts, goes_on: true },
            ]),
        ];
        pieces.iter().map(Piece::encode).collect()
    }

    pub(super) fn chains(&self) -> Vec<Vec<u8>> {
        let header = node::replay::stream::Header { chain: genesis().chain(), first: Height(1) };
        let mut writer = Writer::new(Vec::new(), &header).unwrap();
        let candidate = Self::candidate();
        let batches = candidate.payload.len();
        let range = Range {
            candidates: vec![candidate],
            finality: Some(Finality::Commit(Self::certificate(VoteKind::Commit))),
            cited: None,
            checkpoint: Some(self.checkpoint()),
            first: Height(1),
        };
        writer.blocks(range).unwrap();
        for _ in 0..batches {
            writer.batch(self.batches().remove(0)).unwrap();
        }
        vec![writer.finish().unwrap().0]
    }

    fn journalled(&self) -> Vec<consensus::Record> {
        use consensus::Record;
        let signature = secret(1).sign(b"a vote");
        vec![
            Record::Wiped,
            Record::Epoch(Epoch::ZERO, None),
            Record::Recovered { epoch: Epoch::ZERO, bar: View(3) },
            Record::Floor(View(3)),
            Record::PrePrepare(PrePrepare { candidate: Self::candidate(), signature }),
            Record::Vote(Self::vote(VoteKind::Commit)),
            Record::Certificate(Self::certificate(VoteKind::Prepare)),
            Record::Checkpoint(self.checkpoint()),
            Record::Epoch(Epoch(1), Some(self.checkpoint())),
        ]
    }

    pub(super) fn entries(&self) -> Vec<Vec<u8>> {
        let records = self.journalled();
        let mut entries: Vec<_> = records.iter().map(|record| encode(&vec![record])).collect();
        entries.push(encode(&records));
        entries
    }

    pub(super) fn segments(&self) -> Vec<Vec<u8>> {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(folder.path(), owner()).unwrap();
        let mut segments = Vec::new();
        let records = self.journalled();
        for records in [&records[..4], &records[4..], &records] {
            segments.push(std::fs::read(folder.path().join("00000001.journal")).unwrap());
            journal.append(records).unwrap();
        }
        segments
    }

    pub(super) fn geneses(&self) -> Vec<Vec<u8>> {
        let founded = genesis();
        let validators: Vec<Validator> = founded.validators().iter().map(|(_, it)| it.clone()).collect();
        let predecessor =
            Predecessor { chain: digest(1), height: Height(9), block: digest(2), state_root: digest(3) };
        let (network, time) = (founded.network().to_owned(), founded.time());
        let successor =
            Genesis::succeeding(predecessor, network, time, founded.parameters().clone(), validators.clone())
                .unwrap();
        let json = json!({
            "version": 4,
            "network": NETWORK,
            "time_ms": time,
            "parameters": founded.parameters(),
            "validators": validators,
        });
        [founded.to_toml(), successor.to_toml(), json.to_string()].map(String::into_bytes).into()
    }

    pub(super) fn configs(&self) -> Vec<Vec<u8>> {
        let [p2p, rpc, metrics] =
            [26_600, 26_601, 26_602].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let mut config = Config::at(p2p, rpc, metrics);
        let first = config.to_toml();
        config.observers = vec![secret(3).public(), secret(4).public()];
        config.rpc.cors_origins = vec!["https://app.example".into()];
        vec![first.into_bytes(), config.to_toml().into_bytes()]
    }

    pub(super) fn options(&self) -> Vec<Vec<u8>> {
        [
            json!({}),
            json!({ "versionId": "1" }),
            json!({ "versionTime": "2026-09-21T14:14:10Z", "accept": "application/did+ld+json" }),
            json!({ "service": "service-1", "relativeRef": "/a?b#c", "serviceType": "LinkedDomains" }),
            json!({ "verificationRelationship": "authentication", "expandRelativeUrls": true, "versionId": null }),
        ]
        .map(|options| options.to_string().into_bytes())
        .into()
    }

    pub(super) fn parameters(&self) -> Vec<Vec<u8>> {
        let did = &self.questions[0].did;
        [
            json!([did, "issuer", "id", 1_790_000_000_000_u64]),
            json!([did, "registrar", null, null]),
            json!([digest(1), 5_000]),
            json!([digest(1)]),
            json!([digest(1), { "after": 3, "expiresAt": 90 }, 1]),
            json!([digest(1), null, null]),
            json!([did]),
            json!([did, 2]),
            json!([7]),
            json!([secret(1).public()]),
        ]
        .map(|parameters| parameters.to_string().into_bytes())
        .into()
    }

    pub(super) fn requests(&self) -> Vec<Vec<u8>> {
        let did = |place: usize| self.questions[place].did.to_string();
        let (citizen, registrar, issuer) = (did(0), did(6), did(7));
        [
            format!("{citizen}\n\n\n"),
            format!("{issuer}\n\napplication/did\n"),
            format!("{issuer}\n\napplication/ld+json\n"),
            format!("{citizen}\nversionId=1\napplication/did-resolution\n"),
            format!("{citizen}\nversionTime=2026-09-21T14:14:10Z\n*/*;q=0.5\n"),
            format!("{issuer}%23key-1\n\napplication/did-url-dereferencing\n"),
            format!("{registrar}\nservice=service-1&relativeRef=%2Fa\ntext/uri-list\n"),
            format!("{registrar}?serviceType=LinkedDomains\n\n\n"),
            format!("{issuer}\n\n\n{{\"versionId\": \"1\", \"accept\": \"application/did\"}}"),
        ]
        .map(String::into_bytes)
        .into()
    }

    pub(super) fn dids(&self) -> Vec<Vec<u8>> {
        self.questions.iter().map(|question| question.did.to_string().into_bytes()).collect()
    }

    pub(super) fn key_files(&self) -> Vec<Vec<u8>> {
        let folder = tempfile::tempdir().unwrap();
        let written = |(place, role)| {
            let path = folder.path().join(format!("{place}.json"));
            KeyFile { role, secret: secret(9) }.write_new(&path).unwrap();
            std::fs::read(path).unwrap()
        };
        let mut files: Vec<_> = client::key_file::Role::ALL.into_iter().enumerate().map(written).collect();
        let path = folder.path().join("encrypted.json");
        let passphrase = client::Passphrase::new("a passphrase".to_owned().into(), "of a sample").unwrap();
        let key = KeyFile { role: client::Role::Network, secret: secret(9) };
        key.write_encrypted(&path, &passphrase, client::private_file::Existing::Keep).unwrap();
        files.push(std::fs::read(path).unwrap());
        files
    }

    pub(super) fn keyrings(&self) -> Vec<Vec<u8>> {
        let entry = |pending| Entry {
            did: self.questions[0].did.clone(),
            chain: genesis().chain(),
            keys: vec![HeldKey { number: KeyNumber::FIRST, secret: secret(1) }],
            recovery: vec![secret(2)],
            next: vec![secret(3), secret(4)],
            pending,
        };
        let pending = Pending::new(self.decoded().remove(0));
        [entry(None), entry(Some(pending))].map(|entry| entry.to_text().as_bytes().to_vec()).into()
    }

    pub(super) fn readiness(&self) -> Vec<Vec<u8>> {
        let (_, validator) = genesis().validators().iter().next().unwrap();
        let readiness = Readiness::sign(genesis().chain(), validator.clone(), &secret(1));
        vec![serde_json::to_vec(&readiness).unwrap()]
    }
}

/// What HTTP's answers are looked up in.
impl History for Samples {
    type Error = Infallible;

    fn newest(&self, did: &DidId) -> Result<Option<Record>, Infallible> {
        let versions = self.records.range((*did, Version(0))..=(*did, Version(u64::MAX)));
        Ok(versions.last().map(|(_, record)| record.clone()))
    }

    fn at_version(&self, did: &DidId, version: Version) -> Result<Option<Record>, Infallible> {
        Ok(self.records.get(&(*did, version)).cloned())
    }
}

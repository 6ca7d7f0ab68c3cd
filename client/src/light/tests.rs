use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use genesis::{Parameters, SecretKey, Signature, Validator, ValidatorIndex, ValidatorSet};
use ledger::proof::{DidProofError, Recorder};
use ledger::resolution::History;
use ledger::state::StateKey;
use ledger::tree::{Change, MemoryTree, Update as TreeUpdate};
use ledger::{
    Batch, CheckedBatch, Governance, Moment, Operation, Outcome, Receipt, Record, RegistryEntry, RegistryKey,
    StateView, Transaction, Update, Version, apply,
};

mod answers;
mod behind;

use super::*;
use crate::wallet::{Terms, registration};

/// How many epochs have keys of their own; after that the sets come again.
const SETS: u64 = 15;

fn secret(epoch: u8, index: u8) -> SecretKey {
    SecretKey::from_seed([100 + 10 * epoch + index; 32])
}

fn validator(epoch: u8, index: u8) -> Validator {
    let other =
        |kind: u8| SecretKey::from_seed([kind, epoch, index].repeat(11)[..32].try_into().unwrap()).public();
    Validator {
        name: format!("node{index}"),
        consensus_key: secret(epoch, index).public(),
        network_key: other(1),
        governance_key: other(2),
        address: format!("127.0.0.1:2660{index}"),
    }
}

fn founded() -> Genesis {
    let validators = (0..4).map(|index| validator(0, index)).collect();
    Genesis::new("test".into(), UnixMillis(1_000_000), Parameters::default(), validators).unwrap()
}

/// Who is in charge of an epoch: four with keys of their own.
fn configuration(epoch: u64) -> Configuration {
    let epoch = (epoch % SETS) as u8;
    let validators = ValidatorSet::new((0..4).map(|index| validator(epoch, index)).collect()).unwrap();
    Configuration { validators, parameters: Parameters::default() }
}

/// A ledger in memory, and the validators' certificates of it.
struct Chain {
    records: BTreeMap<(DidId, Version), Record>,
    receipts: BTreeMap<Digest, Receipt>,
    registry: BTreeMap<RegistryKey, RegistryEntry>,
    tree: MemoryTree,
    outcome: Outcome,
    height: u64,
    /// The second block's handover, once there was one.
    links: Vec<Link>,
}

impl StateView for Chain {
    type Error = Infallible;

    fn record(&self, did: &DidId) -> Result<Option<Record>, Infallible> {
        self.newest(did)
    }

    fn has_receipt(&self, id: &Digest) -> Result<bool, Infallible> {
        Ok(self.receipts.contains_key(id))
    }

    fn governance(&self) -> Result<Arc<Governance>, Infallible> {
        Ok(Arc::new(Governance::of(&founded())))
    }

    fn configuration(&self, _: &Digest) -> Result<Option<Configuration>, Infallible> {
        Ok(None)
    }

    fn registry(&self, key: &RegistryKey) -> Result<Option<RegistryEntry>, Infallible> {
        Ok(self.registry.get(key).cloned())
    }

    fn outcome(&self) -> Result<Outcome, Infallible> {
        Ok(self.outcome)
    }

    fn update_tree(&self, changes: &[Change]) -> Result<TreeUpdate, Infallible> {
        Ok(self.tree.update(changes))
    }
}

impl History for Chain {
    type Error = Infallible;

    fn newest(&self, did: &DidId) -> Result<Option<Record>, Infallible> {
        let versions = self.records.range((*did, Version(0))..=(*did, Version(u64::MAX)));
        Ok(versions.last().map(|(_, record)| record.clone()))
    }

    fn at_version(&self, did: &DidId, version: Version) -> Result<Option<Record>, Infallible> {
        Ok(self.records.get(&(*did, version)).cloned())
    }
}

impl Chain {
    fn new() -> Self {
        Self {
            records: BTreeMap::new(),
            receipts: BTreeMap::new(),
            registry: BTreeMap::new(),
            tree: MemoryTree::default(),
            outcome: Outcome::genesis(&founded()),
            height: 0,
            links: Vec::new(),
        }
    }

    fn block(&mut self, transaction: Transaction) {
        self.block_of(vec![transaction]);
    }

    fn block_of(&mut self, transactions: Vec<Transaction>) {
        self.height += 1;
        let author = secret(0, 0).public();
        let (sequence, expires_at) = (self.height, Height(self.height + 100));
        let batch = Batch { author, sequence, expires_at, transactions };
        let batch = (!batch.transactions.is_empty())
            .then(|| Arc::new(CheckedBatch::decode_and_check(&batch.encode(), &founded()).unwrap()));
        let now = Moment { height: Height(self.height), time: time(self.height) };
        let changes = apply(self, now, None, batch.as_slice()).unwrap();
        assert!(changes.receipts.iter().all(|receipt| receipt.code == ledger::Code::Applied));
        self.receipts.extend(changes.receipts.into_iter().map(|receipt| (receipt.id, receipt)));
        self.registry.extend(changes.registry);
        for record in changes.records {
            self.records.insert((record.header.did, record.header.version), record);
        }
        self.tree.adopt(&changes.tree);
        self.outcome = changes.outcome;
    }

    fn checkpoint(&self) -> Checkpoint {
        let epoch = self.links.len() as u64;
        Checkpoint {
            epoch: Epoch(epoch),
            height: Height(self.height),
            block: Digest::from_bytes([(self.height % 251) as u8; 32]),
            time: time(self.height),
            state_root: self.outcome.state_root,
            receipts_root: self.outcome.receipts_root,
            configuration: match epoch {
                0 => Configuration::of(&founded()).digest(),
                epoch => configuration(epoch).digest(),
            },
            pending: None,
        }
    }

    /// The newest block hands over to the next epoch's validators.
    fn hand_over(&mut self) {
        let configuration = configuration(self.links.len() as u64 + 1);
        let checkpoint = Checkpoint { configuration: configuration.digest(), ..self.checkpoint() };
        self.links.push(Link { certificate: certified(&checkpoint), configuration });
    }

    /// As a node makes it.
    fn proof(&self, did: &Did, options: &Options) -> ResolutionProof {
        let recorder = Recorder::new(self);
        let Ok(resolution) = resolve(&recorder, "test", &did.to_string(), options);
        let Ok((headers, documents)) = recorder.into_parts(&did.id(), resolution.version());
        let path = self.tree.prove(&StateKey::Did(did.id()).digest()).unwrap();
        let did = DidProof { path, headers, documents };
        ResolutionProof { links: self.links.clone(), certificate: certified(&self.checkpoint()), did }
    }
}

fn time(height: u64) -> UnixMillis {
    UnixMillis(2_000_000 + 10_000 * height)
}

/// Signed by three of the epoch's four, byte by byte as `docs/formats.md` says.
fn certified(checkpoint: &Checkpoint) -> CheckpointCertificate {
    let bytes = [
        b"realdid consensus v1".as_slice(),
        founded().chain().as_bytes(),
        &checkpoint.epoch.0.to_le_bytes(),
        &[4],
        &checkpoint.height.0.to_le_bytes(),
        checkpoint.digest().as_bytes(),
    ]
    .concat();
    let sign = |index: u8| {
        (ValidatorIndex(index.into()), secret((checkpoint.epoch.0 % SETS) as u8, index).sign(&bytes))
    };
    CheckpointCertificate { checkpoint: checkpoint.clone(), signatures: [0, 2, 3].map(sign).into() }
}

/// Three versions of one DID in three blocks, the last two in an epoch of their own each.
fn lived() -> (Chain, Did) {
    lived_for(3)
}

fn lived_for(versions: u64) -> (Chain, Did) {
    let mut chain = Chain::new();
    let terms = Terms { network: "test".into(), chain: founded().chain(), expires_at: Height(50) };
    let key = SecretKey::from_seed([7; 32]);
    let (did, create) = registration(&terms, &key);
    let document = match &create.operation {
        Operation::Create(create) => create.document.clone(),
        _ => unreachable!(),
    };
    chain.block(create);
    for version in 1..versions {
        chain.hand_over();
        let update = Update {
            did: did.id(),
            replaces: Version(version),
            document: document.clone(),
            revealed: None,
            next_keys: None,
        };
        chain.block(Transaction::sign(terms.chain, Operation::Update(update), Height(50 + version), &[&key]));
    }
    (chain, did)
}

fn other_did() -> Did {
    Did::new("test", DidId(Digest::from_bytes([5; 32])))
}

fn version(version: u64) -> Options {
    Options { version_id: Some(version.to_string()), ..Options::default() }
}

fn now() -> UnixMillis {
    time(4)
}

#[test]
fn from_the_genesis_document_alone_it_learns_what_the_newest_validators_vouch_for() {
    let (chain, did) = lived();
    let mut client = LightClient::new(&founded());
    for (did, options) in [
        (&did, Options::default()),
        (&did, version(1)),
        (&did, version(2)),
        (&other_did(), Options::default()),
    ] {
        let proof = ResolutionProof::decode(&chain.proof(did, &options).encode()).unwrap();
        let mut client = LightClient::new(&founded());
        let answer = client.resolve(did, &options, proof, now()).unwrap();
        let Ok(expected) = resolve(&chain, "test", &did.to_string(), &options);
        assert_eq!(answer.resolution.to_json(), expected.to_json());
        assert_eq!((answer.checkpoint.height, client.pin().epoch()), (Height(3), Epoch(2)));
    }
    // One that was there before needs no links.
    client.resolve(&did, &version(1), chain.proof(&did, &version(1)), now()).unwrap();
    let pin: Pin = decode(&encode(client.pin()), MAX_PROOF_BYTES).unwrap();
    let mut client = LightClient::resume(&founded(), pin).unwrap();
    let proof = ResolutionProof { links: Vec::new(), ..chain.proof(&did, &Options::default()) };
    assert!(client.resolve(&did, &Options::default(), proof, now()).unwrap().resolution.document().is_some());
}

/// Flips every bit of `bytes`, which `believes` reads and checks: none may pass, and none leave a trace.
fn assert_every_bit_counts(
    bytes: &[u8],
    believes: impl Fn(&mut LightClient, &[u8]) -> Result<(), LightError> + Sync,
) {
    let new = LightClient::new(&founded());
    believes(&mut new.clone(), bytes).unwrap();
    let bits = bytes.len() * 8;
    let refused = |place: usize| {
        let mut flipped = bytes.to_vec();
        flipped[place / 8] ^= 1 << (place % 8);
        let mut client = new.clone();
        let error = believes(&mut client, &flipped).expect_err(&format!("bit {place} of {bits}"));
        assert_eq!(client.pin(), new.pin(), "what is refused leaves no trace");
        !matches!(error, LightError::Encoding(_))
    };
    let halves = [0..bits / 2, bits / 2..bits];
    let read: usize = std::thread::scope(|scope| {
        let refused = &refused;
        let count = |places: std::ops::Range<usize>| {
            scope.spawn(move || places.filter(|place| refused(*place)).count())
        };
        halves.map(count).into_iter().map(|half| half.join().unwrap()).sum()
    });
    assert!(read > bits / 2, "most of them are read, and refused for what they say");
}

#[test]
fn a_bit_flipped_anywhere_in_a_proof_is_found() {
    // An old version, so that headers follow from one another, after one change of the validators.
    let (chain, did) = lived_for(2);
    let options = version(1);
    let bytes = chain.proof(&did, &options).encode();
    assert_every_bit_counts(&bytes, |client, bytes| {
        let answer = client.resolve(&did, &options, ResolutionProof::decode(bytes)?, now())?;
        assert!(answer.resolution.document().is_some());
        Ok(())
    });
}

#[test]
fn a_client_hundreds_of_epochs_behind_is_led_on_by_links_alone() {
    let (chain, did) = lived_for(303);
    let now = time(303);
    let proof = chain.proof(&did, &Options::default());
    // As many as a node sends with an answer do not lead to it.
    let mut client = LightClient::new(&founded());
    let short = ResolutionProof { links: chain.links[..256].to_vec(), ..proof.clone() };
    let error = client.resolve(&did, &Options::default(), short, now).unwrap_err();
    assert!(matches!(error, LightError::OtherEpoch { found: Epoch(302), expected: Epoch(256) }), "{error}");
    assert_eq!(client.pin().epoch(), Epoch::ZERO);
    for links in chain.links.chunks(100) {
        client.advance(Links::decode(&Links(links.to_vec()).encode()).unwrap()).unwrap();
    }
    assert_eq!(client.pin().epoch(), Epoch(302));
    assert_eq!(client.pin().newest().map(|newest| newest.height), Some(Height(302)));
    let proof = ResolutionProof { links: Vec::new(), ..proof };
    let answer = client.resolve(&did, &Options::default(), proof, now).unwrap();
    assert_eq!(answer.resolution.version(), Some(Version(303)));
    // And never back: what led there before leads nowhere now.
    let error = client.advance(Links(chain.links[..1].to_vec())).unwrap_err();
    assert!(matches!(error, LightError::OtherEpoch { found: Epoch(0), expected: Epoch(302) }), "{error}");
}

#[test]
fn of_links_with_one_that_is_false_none_is_followed() {
    let (chain, _) = lived_for(6);
    let mut client = LightClient::new(&founded());
    let mut links = chain.links.clone();
    links[3].configuration = configuration(9);
    let error = client.advance(Links(links)).unwrap_err();
    assert!(matches!(error, LightError::NoHandover { height: Height(4) }), "{error}");
    assert_eq!(client.pin(), LightClient::new(&founded()).pin());
    assert_every_bit_counts(&Links(chain.links[..1].to_vec()).encode(), |client, bytes| {
        client.advance(Links::decode(bytes)?)
    });
}

#[test]
fn what_is_withheld_is_missed() {
    let (chain, did) = lived();
    let asked = |options: &Options, change: &dyn Fn(&mut DidProof)| {
        let mut proof = chain.proof(&did, options);
        change(&mut proof.did);
        LightClient::new(&founded()).resolve(&did, options, proof, now()).unwrap_err()
    };
    let newest = Options::default();
    let error = asked(&newest, &|proof| proof.documents.clear());
    assert!(matches!(error, LightError::Did(DidProofError::Missing { version: Version(3) })), "{error}");
    let error = asked(&newest, &|proof| proof.headers.clear());
    assert!(matches!(error, LightError::Did(DidProofError::Newest { .. })), "{error}");
    let error = asked(&version(1), &|proof| proof.headers.truncate(2));
    assert!(error.to_string().contains("document 0") || error.to_string().contains("version 1"), "{error}");
    let error = asked(&version(1), &|proof| {
        proof.headers.remove(1);
    });
    assert!(
        matches!(error, LightError::Did(DidProofError::Chain { place: 1, version: Version(3) })),
        "{error}"
    );
}

#[test]
fn it_goes_neither_back_nor_along_with_a_fork() {
    let (chain, did) = lived();
    let mut before = Chain::new();
    let terms = Terms { network: "test".into(), chain: founded().chain(), expires_at: Height(50) };
    before.block(registration(&terms, &SecretKey::from_seed([8; 32])).1);
    let options = Options::default();
    let mut client = LightClient::new(&founded());
    // Another first block than `chain` has, certified by the same validators: they forked.
    client.resolve(&did, &options, before.proof(&did, &options), now()).unwrap();
    let error = client.resolve(&did, &options, chain.proof(&did, &options), now()).unwrap_err();
    assert!(matches!(error, LightError::Fork { height: Height(1), .. }), "{error}");

    let mut old = chain.proof(&did, &options);
    let mut client = LightClient::new(&founded());
    client.resolve(&did, &options, old.clone(), now()).unwrap();
    let behind = Checkpoint { height: Height(2), ..chain.checkpoint() };
    (old.certificate, old.links) = (certified(&behind), Vec::new());
    let error = client.resolve(&did, &options, old, now()).unwrap_err();
    assert!(matches!(error, LightError::Behind { height: Height(2), newest: Height(3) }), "{error}");
}

#[test]
fn an_answer_older_than_the_heartbeat_and_the_skew_is_stale() {
    let (chain, did) = lived();
    let options = Options::default();
    let late = |ms: u64| UnixMillis(time(3).0 + Parameters::default().heartbeat_ms + ms);
    let ask = |now| {
        LightClient::new(&founded()).with_skew_ms(500).resolve(
            &did,
            &options,
            chain.proof(&did, &options),
            now,
        )
    };
    ask(late(500)).unwrap();
    let error = ask(late(501)).unwrap_err();
    assert!(matches!(error, LightError::Stale { allowed_ms: 60_500, .. }), "{error}");
}

#[test]
fn what_held_at_a_time_is_settled_only_by_a_block_after_that_second() {
    let (chain, did) = lived();
    let ask = |second: u64| {
        let text = ledger::resolution::time::rfc3339(UnixMillis(second * 1_000));
        let options = Options { version_time: Some(text), ..Options::default() };
        LightClient::new(&founded()).resolve(&did, &options, chain.proof(&did, &options), now())
    };
    // Blocks at 2,010, 2,020 and 2,030 seconds.
    for (second, version) in [(2_010, 1), (2_019, 1), (2_020, 2), (2_029, 2)] {
        assert_eq!(ask(second).unwrap().resolution.version(), Some(Version(version)), "{second}");
    }
    for second in [2_030, 2_031, 9_999] {
        assert!(matches!(ask(second), Err(LightError::NotSettled { height: Height(3), .. })), "{second}");
    }
}

#[test]
fn a_handover_counts_only_where_the_certificate_names_it() {
    let (chain, did) = lived();
    let options = Options::default();
    let asked = |change: &dyn Fn(&mut ResolutionProof)| {
        let mut proof = chain.proof(&did, &options);
        change(&mut proof);
        LightClient::new(&founded()).resolve(&did, &options, proof, now()).unwrap_err()
    };
    let error = asked(&|proof| proof.links[0].configuration = configuration(9));
    assert!(matches!(error, LightError::NoHandover { height: Height(1) }), "{error}");
    let error = asked(&|proof| {
        proof.links.remove(0);
    });
    assert!(matches!(error, LightError::OtherEpoch { .. }), "{error}");
    let error = asked(&|proof| {
        proof.links.pop();
    });
    assert!(matches!(error, LightError::OtherEpoch { .. }), "{error}");
    // Two signatures of four are no quorum, and three of a stranger's are none at all.
    let error = asked(&|proof| {
        proof.certificate.signatures.pop();
    });
    assert!(matches!(error, LightError::Certificate { height: Height(3), epoch: Epoch(2), .. }), "{error}");
    let error = asked(&|proof| proof.certificate.signatures[1].1 = Signature::Ed25519([1; 64]));
    assert!(matches!(error, LightError::Certificate { .. }), "{error}");
}

#[test]
fn a_pin_of_another_chain_is_refused() {
    let validators = (0..4).map(|index| validator(1, index)).collect();
    let other = Genesis::new("test".into(), UnixMillis(1), Parameters::default(), validators).unwrap();
    let pin = LightClient::new(&other).pin().clone();
    assert!(matches!(LightClient::resume(&founded(), pin), Err(LightError::OtherChain { .. })));
}

//! What a ledger of many DIDs costs on this machine: `scripts/bench-ledger`.
//!
//! One store is filled with blocks of 1,000 new DIDs each. Whenever it holds as many as a step asks for, this is measured on it:
//! a block's execution and commit, the part of that which is the state tree, bytes written and on disk, memory, resolving and
//! proving DIDs picked at random, and opening the store anew. The check of one signature is measured beside it, as what
//! the tree's cost is compared with. Transactions are signed by one key, and not checked again: that is the batches' affair.

// A program of the tests: what does not hold ends it.
#![allow(clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use client::wallet::{Terms, registration};
use genesis::{Configuration, Digest, Genesis, Height, Parameters, SecretKey, UnixMillis, Validator};
use ledger::resolution::{Options as ResolveOptions, resolve};
use ledger::snapshot::{Anchor, PieceInfo};
use ledger::state::StateKey;
use ledger::tree::{Change, Update};
use ledger::{
    Batch, Block, CheckedBatch, Did, DidId, Governance, Outcome, Record, RegistryEntry, RegistryKey,
    Restoration, StateView, Store, StoreError, apply,
};
use serde_json::json;
use tests::simulation::chance::Chance;

/// As a node's.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How many new DIDs a block has.
const BLOCK: usize = 1_000;
/// Over how many blocks a figure is taken.
const BLOCKS: usize = 50;
/// Over how many DIDs a figure is taken.
const PICKS: usize = 2_000;

/// Fills a ledger with DIDs, and measures what it costs at each size.
#[derive(Parser)]
#[command(name = "bench-ledger")]
struct Options {
    /// At how many DIDs it is measured, ascending
    #[arg(long, value_delimiter = ',', default_values_t = [100_000, 1_000_000], value_name = "N,…")]
    dids: Vec<usize>,
    /// Where the ledger is made; it is removed at the end
    #[arg(long, value_name = "DIR")]
    dir: Option<std::path::PathBuf>,
    /// The ledger itself, which stays; one that is there is measured again and goes on
    #[arg(long, value_name = "DIR", conflicts_with = "dir")]
    keep: Option<std::path::PathBuf>,
    /// At the largest size, also make a snapshot and begin a second ledger from it
    #[arg(long)]
    snapshot: bool,
    /// A line of JSON for each size
    #[arg(long)]
    json: bool,
}

/// A store that tells how long its tree took.
struct Timed<'a> {
    store: &'a Store,
    tree_ns: AtomicU64,
}

impl StateView for Timed<'_> {
    type Error = StoreError;

    fn record(&self, did: &DidId) -> Result<Option<Record>, StoreError> {
        self.store.record(did)
    }

    fn has_receipt(&self, id: &Digest) -> Result<bool, StoreError> {
        self.store.has_receipt(id)
    }

    fn records(&self, dids: &[DidId]) -> Result<Vec<Option<Record>>, StoreError> {
        StateView::records(self.store, dids)
    }

    fn have_receipts(&self, ids: &[Digest]) -> Result<Vec<bool>, StoreError> {
        self.store.have_receipts(ids)
    }

    fn governance(&self) -> Result<Arc<Governance>, StoreError> {
        Ok(self.store.governance())
    }

    fn configuration(&self, digest: &Digest) -> Result<Option<Configuration>, StoreError> {
        self.store.configuration(digest)
    }

    fn registry(&self, key: &RegistryKey) -> Result<Option<RegistryEntry>, StoreError> {
        self.store.registry(key)
    }

    fn outcome(&self) -> Result<Outcome, StoreError> {
        Ok(self.store.outcome())
    }

    fn update_tree(&self, changes: &[Change]) -> Result<Update, StoreError> {
        let start = Instant::now();
        let update = self.store.update_tree(changes);
        self.tree_ns.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        update
    }
}

/// What a run of blocks cost, in all.
#[derive(Default)]
struct Cost {
    apply: Duration,
    tree: Duration,
    commit: Duration,
    /// What the process handed to the disk, compaction included.
    written_bytes: u64,
}

/// A ledger while it grows.
struct Bench {
    genesis: Genesis,
    key: SecretKey,
    dids: usize,
}

fn main() {
    let options = Options::parse();
    let folder = match &options.dir {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir(),
    };
    let folder = folder.expect("a folder for the ledger can be made");
    let path = options.keep.as_deref().unwrap_or(folder.path());
    let mut bench = Bench::new();
    let mut store = bench.open(path);
    bench.dids = store.statistics().expect("the disk works").counts.dids as usize;
    let largest = options.dids.last().copied();
    for wanted in &options.dids {
        let (begin, mut told) = (Instant::now(), Instant::now());
        while bench.dids + BLOCKS * BLOCK < *wanted {
            bench.run(&store, 1);
            if told.elapsed() > Duration::from_secs(2) {
                told = Instant::now();
                eprint!("\r{} of {wanted} DIDs after {} s  ", bench.dids, begin.elapsed().as_secs());
            }
        }
        eprintln!();
        settle();
        bench.run(&store, BLOCKS);
        let cost = bench.run(&store, BLOCKS);
        let mut report = bench.report(&store, &cost);
        drop(store);
        let start = Instant::now();
        store = bench.open(path);
        report["open_s"] = json!(start.elapsed().as_secs_f64());
        report["disk_bytes_a_did"] = json!(disk_bytes(path) / bench.dids as u64);
        if options.snapshot && Some(*wanted) == largest {
            report["snapshot"] = bench.snapshot(&store, options.dir.as_deref());
        }
        if options.json {
            println!("{report}");
        } else {
            println!("{report:#}");
        }
    }
}

impl Bench {
    fn new() -> Self {
        let key = |seed: u8| SecretKey::from_seed([seed; 32]).public();
        let validator = Validator {
            name: "node0".into(),
            consensus_key: key(1),
            network_key: key(2),
            governance_key: key(3),
            address: "127.0.0.1:26600".into(),
        };
        let genesis = Genesis::new("bench".into(), UnixMillis(1), Parameters::default(), vec![validator]);
        let genesis = genesis.expect("a sound genesis document");
        Self { genesis, key: SecretKey::from_seed([4; 32]), dids: 0 }
    }

    fn open(&self, path: &Path) -> Store {
        Store::open(path, &self.genesis).expect("the ledger can be opened")
    }

    /// The next block's registrations, signed on two cores.
    fn batch(&mut self, height: Height) -> (CheckedBatch, Vec<u8>) {
        let network = self.genesis.network().to_owned();
        let terms = Terms { network, chain: self.genesis.chain(), expires_at: height.plus(1_000) };
        let sign = |count: usize| -> Vec<_> { (0..count).map(|_| registration(&terms, &self.key)).collect() };
        let signed = std::thread::scope(|scope| {
            let half = scope.spawn(|| sign(BLOCK / 2));
            let mut signed = sign(BLOCK - BLOCK / 2);
            signed.extend(half.join().expect("signing does not fail"));
            signed
        });
        self.dids += signed.len();
        let transactions = signed.into_iter().map(|(_, transaction)| transaction).collect();
        let batch = Batch { author: self.key.public(), sequence: height.0, expires_at: height, transactions };
        let bytes = batch.encode();
        let checked = CheckedBatch::decode_already_verified(&bytes, &self.genesis);
        (checked.expect("the batch is sound"), bytes)
    }

    fn run(&mut self, store: &Store, blocks: usize) -> Cost {
        let mut cost = Cost::default();
        for _ in 0..blocks {
            let tip = store.tip();
            let height = tip.height.next();
            let (batch, bytes) = self.batch(height);
            let written = written_bytes();
            let digest = batch.digest();
            store.put_batches(&[(digest, height, &bytes)]).expect("the disk works");
            let block = Block {
                height,
                parent: tip.digest,
                digest: Digest::from_bytes(
                    [height.0.to_be_bytes(); 4].concat().try_into().expect("32 bytes"),
                ),
                time: UnixMillis(1_000 * height.0),
                batches: vec![digest],
                // As large as the certificate of four validators.
                proof: vec![7; 600],
            };
            let timed = Timed { store, tree_ns: AtomicU64::new(0) };
            let start = Instant::now();
            let changes = apply(&timed, block.moment(), None, &[Arc::new(batch)]).expect("the block applies");
            cost.apply += start.elapsed();
            cost.tree += Duration::from_nanos(timed.tree_ns.into_inner());
            let start = Instant::now();
            store.commit(&block, &changes).expect("the block is committed");
            cost.commit += start.elapsed();
            cost.written_bytes += written_bytes() - written;
            assert_eq!(changes.records.len(), BLOCK, "every registration is applied");
        }
        cost
    }

    /// What it takes to cut the ledger into pieces, and to make another one of them.
    fn snapshot(&self, store: &Store, dir: Option<&Path>) -> serde_json::Value {
        let folder = dir.map_or_else(tempfile::tempdir, tempfile::tempdir_in).expect("a folder");
        let piece = |number: usize| folder.path().join(number.to_string());
        let mut infos: Vec<PieceInfo> = Vec::new();
        let start = Instant::now();
        let emit = |info: PieceInfo, bytes: &[u8]| {
            fs::write(piece(infos.len()), bytes).expect("the disk works");
            infos.push(info);
            Ok::<(), StoreError>(())
        };
        store.cut(&self.genesis, Ok, emit).expect("the disk works");
        let make = start.elapsed();
        let anchor = Anchor {
            tip: store.tip(),
            outcome: store.outcome(),
            epochs: vec![(Height::ZERO, Configuration::of(&self.genesis))],
            certificates: Vec::new(),
        };
        let (pieces, bytes) = (infos.len(), infos.iter().map(|info| info.bytes).sum::<u64>());
        let start = Instant::now();
        let path = folder.path().join("store");
        let restoration = Restoration::open(&path, &self.genesis, anchor, infos);
        let mut restoration = restoration.expect("the pieces lead to the root");
        for number in 0..pieces {
            restoration.put(&fs::read(piece(number)).expect("a piece")).expect("it is sound");
        }
        restoration.finish().expect("nothing is missing");
        let take = start.elapsed();
        assert_eq!(self.open(&path).outcome(), store.outcome(), "the same state");
        json!({ "make_s": make.as_secs_f64(), "take_s": take.as_secs_f64(), "pieces": pieces, "bytes": bytes })
    }

    /// The first DID of some block.
    fn pick(&self, store: &Store, chance: &mut Chance) -> DidId {
        let height = Height(1 + chance.below(store.tip().height.0));
        let block = store.block(height).expect("the disk works").expect("the block is there");
        let bytes = store.batch(&block.batches[0]).expect("the disk works").expect("the batch is there");
        let batch = CheckedBatch::decode_already_verified(&bytes, &self.genesis).expect("it is sound");
        batch.transactions()[0].transaction().operation.did().expect("it registers one")
    }

    fn report(&self, store: &Store, cost: &Cost) -> serde_json::Value {
        let mut chance = Chance::new(1);
        let mut resolve_us = Vec::with_capacity(PICKS);
        let mut prove_us = Vec::with_capacity(PICKS);
        let (height, root) = (store.tip().height, store.outcome().state_root);
        let mut proof_bytes = 0;
        let sample: Vec<DidId> = (0..PICKS).map(|_| self.pick(store, &mut chance)).collect();
        for id in sample {
            let did = Did::new(self.genesis.network(), id).to_string();
            let start = Instant::now();
            let result = resolve(store, self.genesis.network(), &did, &ResolveOptions::default());
            let result = result.expect("the disk works").to_json();
            resolve_us.push(micros(start.elapsed()));
            assert!(result["didDocument"].is_object(), "{did} resolves");
            let key = StateKey::Did(id);
            let start = Instant::now();
            let proof =
                store.prove(height, &[key]).expect("the disk works").expect("the tip is provable").remove(0);
            prove_us.push(micros(start.elapsed()));
            assert!(proof.value(&root, &key.digest()).expect("the proof holds").is_some(), "{did} is there");
            proof_bytes += genesis::encoding::encode(&proof).len();
        }
        let check_us = signature_check_us(&self.key);
        let memory_mib = tests::harness::memory_kib(std::process::id(), "VmRSS").map(|kib| kib >> 10);
        let (apply, tree, commit) = (micros(cost.apply), micros(cost.tree), micros(cost.commit));
        let (blocks, keys) = (BLOCKS as f64, (BLOCKS * BLOCK) as f64);
        json!({
            "dids": self.dids,
            "block_apply_ms": apply / blocks / 1_000.0,
            "block_commit_ms": commit / blocks / 1_000.0,
            "tree_us_a_did": tree / keys,
            "signature_check_us": check_us,
            "tree_to_check": tree / keys / check_us,
            "written_bytes_a_did": cost.written_bytes as f64 / keys,
            "resolve_us": percentiles(resolve_us),
            "prove_us": percentiles(prove_us),
            "proof_bytes": proof_bytes / PICKS,
            "tree_memory_mib": store.tree_memory_bytes() >> 20,
            "process_memory_mib": memory_mib,
        })
    }
}

/// Waits until RocksDB has tidied up what was filled in: a node gets a block now and then, not as fast as it takes them. What that
/// costs shows in the bytes written while the ledger grows.
fn settle() {
    /// It is done where nothing was written for so long.
    const QUIET: Duration = Duration::from_secs(3);
    /// Longer is not waited.
    const AT_MOST: Duration = Duration::from_secs(300);
    let begin = Instant::now();
    let mut written = written_bytes();
    while begin.elapsed() < AT_MOST {
        std::thread::sleep(QUIET);
        let now = written_bytes();
        if now == written {
            return;
        }
        written = now;
    }
}

/// The check of one signature on its own, in µs.
fn signature_check_us(key: &SecretKey) -> f64 {
    let (message, public) = ([5; 86], key.public());
    let signature = key.sign(&message);
    let start = Instant::now();
    assert!((0..2_000).all(|_| public.verify(&message, &signature)), "the signature holds");
    micros(start.elapsed()) / 2_000.0
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn percentiles(mut values: Vec<f64>) -> serde_json::Value {
    values.sort_by(f64::total_cmp);
    let at = |percent: usize| values[(values.len() - 1) * percent / 100];
    json!({ "p50": at(50), "p99": at(99), "max": at(100) })
}

/// What this process handed to the disk so far.
fn written_bytes() -> u64 {
    tests::harness::written_bytes(std::process::id()).expect("Linux tells a process what it wrote")
}

fn disk_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).expect("the folder is there");
    entries.map(|entry| entry.and_then(|entry| entry.metadata()).map_or(0, |file| file.len())).sum()
}

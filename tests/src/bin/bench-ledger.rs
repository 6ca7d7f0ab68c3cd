//! What a ledger of many DIDs costs on this machine: `scripts/bench-ledger`.
//!
//! One store is filled with blocks of 1,000 new DIDs each. Whenever it holds as many as a step asks for, this is measured on it:
//! a block's execution and commit, the part of that which is the state tree, bytes written and on disk, memory, resolving and
//! proving DIDs picked at random, and opening the store anew. The check of one signature is measured beside it, as what
//! the tree's cost is compared with. How it is filled: [`tests::filling`].

// A program of the tests: what does not hold ends it.
#![allow(clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Parser;
use genesis::{Configuration, Genesis, Height, Parameters, SecretKey, ValidatorIndex};
use ledger::resolution::{Options as ResolveOptions, resolve};
use ledger::snapshot::{Anchor, PieceInfo};
use ledger::state::StateKey;
use ledger::{CheckedBatch, Did, DidId, Restoration, Store, StoreError};
use serde_json::json;
use tests::filling::{BLOCK, Cost, Filler};
use tests::founding::{Founding, secret};
use tests::harness;
use tests::simulation::chance::Chance;

/// As a node's.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

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

/// A ledger while it grows.
struct Bench {
    filler: Filler,
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
        let founding = Founding::new(4, Parameters::default());
        let secrets = (0..4).map(|index| secret(ValidatorIndex(index))).collect();
        Self { filler: Filler::new(founding.genesis, secrets), dids: 0 }
    }

    fn genesis(&self) -> &Genesis {
        self.filler.genesis()
    }

    fn open(&self, path: &Path) -> Store {
        self.filler.open(path).expect("the ledger can be opened")
    }

    fn run(&mut self, store: &Store, blocks: usize) -> Cost {
        let mut cost = Cost::default();
        for _ in 0..blocks {
            cost += self.filler.block(store);
            self.dids += BLOCK;
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
        store.cut(self.genesis(), Ok, emit).expect("the disk works");
        let make = start.elapsed();
        let anchor = Anchor {
            tip: store.tip(),
            outcome: store.outcome(),
            epochs: vec![(Height::ZERO, Configuration::of(self.genesis()))],
            certificates: Vec::new(),
        };
        let (pieces, bytes) = (infos.len(), infos.iter().map(|info| info.bytes).sum::<u64>());
        let start = Instant::now();
        let path = folder.path().join("store");
        let restoration = Restoration::open(&path, self.genesis(), anchor, infos);
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
        let batch = CheckedBatch::decode_already_verified(&bytes, self.genesis()).expect("it is sound");
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
            let did = Did::new(self.genesis().network(), id).to_string();
            let start = Instant::now();
            let result = resolve(store, self.genesis().network(), &did, &ResolveOptions::default());
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
        let check_us = signature_check_us();
        let memory_mib = harness::memory_kib(std::process::id(), "VmRSS").map(|kib| kib >> 10);
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
    let written_bytes = || harness::written_bytes(std::process::id());
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
fn signature_check_us() -> f64 {
    let key = SecretKey::generate();
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

fn disk_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).expect("the folder is there");
    entries.map(|entry| entry.and_then(|entry| entry.metadata()).map_or(0, |file| file.len())).sum()
}

//! What this machine does at best, one thing at a time and without a network: what a network's figures are held against.
//!
//! Measured while nothing else of ours runs. The store's own ceiling, a synced batch of RocksDB, is not among them: only the
//! ledger's store names RocksDB.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use genesis::key::{Claim, verify_all};
use genesis::{Digest, Domain, SecretKey};
use serde::{Deserialize, Serialize};

use super::figures::{median, percentile};

/// How long each thing is done for.
const TIME: Duration = Duration::from_millis(700);
/// As long as what a transaction's signature covers.
const MESSAGE_BYTES: usize = 86;
const BATCHES: [usize; 2] = [64, 1_024];
const BLOCK: usize = 4 << 10;
const PIECE: usize = 1 << 20;
/// How much is allocated beforehand, to be written over.
const ALLOCATED: usize = 4 << 20;

/// What the machine does at best.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ceilings {
    /// How many threads run at the same time.
    pub cores: usize,
    /// One signature checked alone, in µs.
    pub single_check_us: f64,
    /// One signature of 64 by different keys checked together, in µs.
    pub check_of_64_us: f64,
    /// One signature of 1,024 by different keys checked together, in µs.
    pub check_of_1024_us: f64,
    /// The same while every core does so: cores that share caches, power and memory are slower together.
    #[serde(default)]
    pub check_of_1024_on_all_cores_us: f64,
    /// How many signatures a second all validators check, each all of them in batches of 64, on the cores that they share: what
    /// one core does, times their number.
    pub signatures_of_64: f64,
    /// The same in batches of 1,024.
    pub signatures_of_1024: f64,
    /// The same as all cores do at once: no network can do more.
    #[serde(default)]
    pub signatures_of_1024_on_all_cores: f64,
    /// 4 KiB appended to a file and synced (`fdatasync`).
    pub append: Sync,
    /// 4 KiB written over what was allocated before, and synced.
    pub overwrite: Sync,
    /// Bytes a second that are appended in pieces of 1 MiB, each synced, to as many files at once as there are validators.
    #[serde(default)]
    pub appended_bytes: f64,
    /// Blake3 over 1 KiB, in µs.
    pub blake3_us: f64,
}

/// How long a write and its sync take.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sync {
    /// The median, in µs.
    pub p50_us: f64,
    /// In µs.
    pub p99_us: f64,
    /// How many a second, one after another.
    pub per_second: f64,
}

/// Measures it for `validators` that share the machine, and whose files are in `folder`. Takes some seven seconds.
///
/// # Panics
/// When `folder` cannot be written to.
pub fn measure(validators: usize, folder: &Path) -> Ceilings {
    let cores = crate::processors();
    let single_check_us = single_check();
    let [check_of_64_us, check_of_1024_us] = BATCHES.map(batch_check);
    let check_of_1024_on_all_cores_us = on_all_cores(cores, || batch_check(BATCHES[1]));
    let signatures = |check_us: f64| 1e6 / check_us * cores as f64 / validators as f64;
    let content = [7; 1_024];
    let blake3_us = timed(|| {
        black_box(Digest::of(Domain::Batch, black_box(&content)));
    });
    Ceilings {
        cores,
        single_check_us,
        check_of_64_us,
        check_of_1024_us,
        check_of_1024_on_all_cores_us,
        signatures_of_64: signatures(check_of_64_us),
        signatures_of_1024: signatures(check_of_1024_us),
        signatures_of_1024_on_all_cores: signatures(check_of_1024_on_all_cores_us),
        append: synced(folder, BLOCK, 0),
        overwrite: synced(folder, BLOCK, ALLOCATED),
        appended_bytes: appended_by_all(validators, folder),
        blake3_us,
    }
}

/// How long `work` takes, in µs: the median of five parts of [`TIME`].
fn timed(mut work: impl FnMut()) -> f64 {
    work();
    let part = || {
        let (start, mut turns) = (Instant::now(), 0_u32);
        while start.elapsed() < TIME / 5 {
            work();
            turns += 1;
        }
        start.elapsed().as_secs_f64() * 1e6 / f64::from(turns)
    };
    median(&std::iter::repeat_with(part).take(5).collect::<Vec<_>>())
}

/// The time for which as much is done a second as all cores do together, while all are at it: the harmonic mean of what `measured`
/// comes to on each.
fn on_all_cores(cores: usize, measured: impl Fn() -> f64 + std::marker::Sync) -> f64 {
    let a_second: f64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(&measured)).collect();
        threads.into_iter().map(|thread| 1.0 / thread.join().expect("a measurement ends")).sum()
    });
    cores as f64 / a_second
}

fn single_check() -> f64 {
    let (key, message) = (SecretKey::generate(), [5; MESSAGE_BYTES]);
    let (public, signature) = (key.public(), key.sign(&message));
    timed(|| assert!(public.verify(black_box(&message), &signature), "a signature of its own"))
}

fn batch_check(count: usize) -> f64 {
    let message = |place: usize| {
        let mut message = [5; MESSAGE_BYTES];
        message[..8].copy_from_slice(&place.to_le_bytes());
        message
    };
    let signed = (0..count).map(message).map(|message| {
        let key = SecretKey::generate();
        (key.public(), message, key.sign(&message))
    });
    let signed: Vec<_> = signed.collect();
    let claims = signed.iter();
    let claims: Vec<_> = claims
        .map(|(signer, message, signature)| Claim { signer: *signer, message, signature: *signature })
        .collect();
    timed(|| assert!(verify_all(black_box(&claims)), "signatures of its own")) / count as f64
}

fn appended_by_all(validators: usize, folder: &Path) -> f64 {
    let folders: Vec<_> = (0..validators).map(|validator| folder.join(validator.to_string())).collect();
    let append = |folder: &Path| {
        fs::create_dir(folder).expect("a folder in the folder of the measurement");
        synced(folder, PIECE, 0).per_second * PIECE as f64
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = folders.iter().map(|folder| scope.spawn(|| append(folder))).collect();
        threads.into_iter().map(|thread| thread.join().expect("measured")).sum()
    })
}

/// Writes of `block` bytes one after another to a file that was given `allocated` bytes before, each synced.
fn synced(folder: &Path, block: usize, allocated: usize) -> Sync {
    let path = folder.join("synced");
    let mut file = File::create(&path).expect("a file in the folder of the measurement");
    file.write_all(&vec![1; allocated]).expect("written");
    file.sync_all().expect("synced");
    file.seek(SeekFrom::Start(0)).expect("a file can be rewound");
    let content = vec![2; block];
    let (start, mut times) = (Instant::now(), Vec::new());
    while start.elapsed() < TIME {
        if allocated > 0 && times.len() % (allocated / block) == 0 {
            file.seek(SeekFrom::Start(0)).expect("a file can be rewound");
        }
        let began = Instant::now();
        file.write_all(&content).expect("written");
        file.sync_data().expect("synced");
        times.push(began.elapsed().as_secs_f64() * 1e6);
    }
    let per_second = times.len() as f64 / start.elapsed().as_secs_f64();
    fs::remove_file(&path).expect("removed");
    times.sort_by(f64::total_cmp);
    Sync { p50_us: percentile(&times, 50), p99_us: percentile(&times, 99), per_second }
}

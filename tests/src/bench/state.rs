//! Ledgers that are full already when a run begins: filled once, kept, and shared by the validators of every run.
//!
//! ```text
//! DIR/
//!   state.json   what it is: DIDs, validators, ports
//!   net/         the validators' folders as `realdid testnet` makes them, never started
//!   filling/     the ledger while it grows: filling that was cut short goes on there
//!   store/       the ledger, done
//!   .tmp…/       the network of a run
//! ```
//!
//! Invariant: nobody writes to `store`. A validator gets links to its files that never change (RocksDB's tables and blobs) and
//! copies of the few others, so four ledgers take the disk, and the memory that the system reads files into, of one.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use genesis::{Genesis, SecretKey};
use ledger::{Store, StoreError};
use node::home::{Home, HomeError, KeyRole};
use serde::{Deserialize, Serialize};

use crate::filling::{BLOCK, Filler};
use crate::harness::Cluster;
use crate::harness::folders::copy_folder;
use crate::say::tell;

/// How often it is told how far filling is.
const TELL: Duration = Duration::from_secs(5);
/// Filling leaves work behind, which every run would do again: for how long no file may change until it counts as done, and how
/// long that is waited for at most.
const QUIET: Duration = Duration::from_secs(4);
const SETTLE: Duration = Duration::from_secs(300);
/// How often a filled store is opened for that at most.
const MOST_OPENINGS: usize = 6;

/// A full ledger and the network that it belongs to.
#[derive(Clone, Debug)]
pub struct Kept {
    folder: PathBuf,
    stamp: Stamp,
}

/// What was filled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Stamp {
    dids: u64,
    validators: usize,
    /// The genesis document names addresses, so each run has these.
    base_port: u16,
}

/// Why there is no full ledger.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A file cannot be read or written.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The folder holds something else.
    #[error("{0} is not empty, and has no state.json: name another --state-dir, or remove it")]
    NotKept(PathBuf),
    /// `state.json` is none.
    #[error("{path} cannot be read: {problem}. Remove {}, and it is filled anew", folder.display())]
    Stamp {
        /// The file.
        path: PathBuf,
        /// Where it is.
        folder: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Of another size.
    #[error(
        "{folder} keeps a ledger of {} DIDs for {} validators, but {} for {} are asked for: name another --state-dir, or remove it",
        kept.0, kept.1, wanted.0, wanted.1
    )]
    Other {
        /// Where.
        folder: PathBuf,
        /// DIDs and validators of what is there.
        kept: (u64, usize),
        /// Those asked for.
        wanted: (u64, usize),
    },
    /// What is there is not what `state.json` says.
    #[error("{folder} says {stamped} DIDs, but its ledger has {found}: remove it, and it is filled anew")]
    Count {
        /// Where.
        folder: PathBuf,
        /// What it says.
        stamped: u64,
        /// What it has.
        found: u64,
    },
    /// The ledger cannot be used.
    #[error("the ledger kept in {folder} does not fit: {source}. Remove {folder}, and it is filled anew")]
    Store {
        /// Where.
        folder: PathBuf,
        /// What is wrong.
        source: StoreError,
    },
    /// A validator's folder cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateError {
    move |source| StateError::Io { doing, path: path.to_owned(), source }
}

impl Kept {
    /// The ledger of `dids` DIDs that `folder` keeps for so many validators; it is filled where there is none, or where that was cut
    /// short. `dids` is a multiple of [`BLOCK`]. Tells how far it is; ten million take about a quarter of an hour.
    ///
    /// # Errors
    /// When the folder keeps something else, or the disk fails.
    pub fn prepare(folder: &Path, dids: u64, validators: usize) -> Result<Self, StateError> {
        fs::create_dir_all(folder).map_err(failed("make", folder))?;
        let folder = folder.canonicalize().map_err(failed("find", folder))?;
        let stamp = match read_stamp(&folder)? {
            Some(stamp) if (stamp.dids, stamp.validators) == (dids, validators) => stamp,
            Some(Stamp { dids: kept, validators: of, .. }) => {
                return Err(StateError::Other { folder, kept: (kept, of), wanted: (dids, validators) });
            }
            None => found(&folder, dids, validators)?,
        };
        let kept = Self { folder, stamp };
        if !kept.store().exists() {
            kept.fill()?;
        }
        kept.check()?;
        Ok(kept)
    }

    /// How many DIDs it has.
    pub const fn dids(&self) -> u64 {
        self.stamp.dids
    }

    /// The folders of a network that begins with it. Nothing is started.
    ///
    /// # Panics
    /// When its ports are taken, or the disk fails.
    pub fn cluster(&self) -> Cluster {
        let (net, base) = (self.folder.join("net"), self.stamp.base_port);
        let cluster = Cluster::prepare_from(&net, &self.folder, base, self.stamp.validators);
        for node in 0..self.stamp.validators {
            let linked = share(&self.store(), &cluster.data(node).join("store"));
            linked.unwrap_or_else(|error| panic!("{error}"));
        }
        cluster
    }

    fn store(&self) -> PathBuf {
        self.folder.join("store")
    }

    fn home(&self, node: usize) -> Result<Home, HomeError> {
        Home::open(self.folder.join("net").join(format!("node{node}")))
    }

    fn genesis(&self) -> Result<Genesis, HomeError> {
        self.home(0)?.genesis()
    }

    fn fill(&self) -> Result<(), StateError> {
        let secret = |node| self.home(node)?.key(KeyRole::Consensus);
        let secrets: Vec<SecretKey> = (0..self.stamp.validators).map(secret).collect::<Result<_, _>>()?;
        let filler = Filler::new(self.genesis()?, secrets);
        let (filling, new) = (self.folder.join("filling"), self.folder.join("store.new"));
        let store = self.opened(&filler, &filling)?;
        let wanted = self.stamp.dids / BLOCK as u64;
        let (begin, from, mut told) = (Instant::now(), store.tip().height.0, Instant::now());
        for done in from..wanted {
            if told.elapsed() > TELL {
                told = Instant::now();
                let left = begin.elapsed().mul_f64((wanted - done) as f64 / (done - from).max(1) as f64);
                let (dids, of) = (done * BLOCK as u64, self.stamp.dids);
                tell(format!("      {dids} of {of} DIDs filled in, {} s left", left.as_secs()));
            }
            filler.block(&store);
        }
        drop(store);
        let store = self.settled(&filler, &filling)?;
        if new.exists() {
            fs::remove_dir_all(&new).map_err(failed("remove", &new))?;
        }
        let copied = store.backup(&new);
        copied.map_err(|source| StateError::Store { folder: self.folder.clone(), source })?;
        drop(store);
        fs::rename(&new, self.store()).map_err(failed("rename", &new))?;
        fs::remove_dir_all(&filling).map_err(failed("remove", &filling))
    }

    /// The ledger at `path`, opened, once RocksDB has nothing left to bring into order. It looks for that whenever it opens a store,
    /// so that every validator of every run would begin with it.
    fn settled(&self, filler: &Filler, path: &Path) -> Result<Store, StateError> {
        for _ in 1..MOST_OPENINGS {
            let before = tables(path)?;
            let store = self.opened(filler, path)?;
            settle(path)?;
            if tables(path)? == before {
                return Ok(store);
            }
        }
        self.opened(filler, path)
    }

    fn opened(&self, filler: &Filler, path: &Path) -> Result<Store, StateError> {
        filler.open(path).map_err(|source| StateError::Store { folder: self.folder.clone(), source })
    }

    /// Whether it can be opened, by this version, and is of the size that it should be of.
    fn check(&self) -> Result<(), StateError> {
        let folder = tempfile::tempdir_in(&self.folder).map_err(failed("make a folder in", &self.folder))?;
        let path = folder.path().join("store");
        share(&self.store(), &path)?;
        let genesis = self.genesis()?;
        let counted = Store::open(&path, &genesis).and_then(|store| store.statistics());
        let damaged = |source| StateError::Store { folder: self.folder.clone(), source };
        let (stamped, found) = (self.stamp.dids, counted.map_err(damaged)?.counts.dids);
        if stamped == found {
            return Ok(());
        }
        Err(StateError::Count { folder: self.folder.clone(), stamped, found })
    }
}

fn read_stamp(folder: &Path) -> Result<Option<Stamp>, StateError> {
    let path = folder.join("state.json");
    if !path.exists() {
        let mut entries = fs::read_dir(folder).map_err(failed("read", folder))?;
        return if entries.next().is_none() { Ok(None) } else { Err(StateError::NotKept(folder.to_owned())) };
    }
    let text = fs::read_to_string(&path).map_err(failed("read", &path))?;
    let stamp = serde_json::from_str(&text);
    stamp.map(Some).map_err(|error| StateError::Stamp {
        path,
        folder: folder.to_owned(),
        problem: error.to_string(),
    })
}

/// Makes the network.
fn found(folder: &Path, dids: u64, validators: usize) -> Result<Stamp, StateError> {
    let cluster = Cluster::prepare(validators);
    copy_folder(&cluster.folders(), &folder.join("net"));
    let stamp = Stamp { dids, validators, base_port: cluster.ports(0)[0] };
    let path = folder.join("state.json");
    let text = serde_json::to_string(&stamp).expect("a stamp is JSON");
    fs::write(&path, text + "\n").map_err(failed("write", &path))?;
    Ok(stamp)
}

/// Waits until RocksDB writes no more tables.
fn settle(folder: &Path) -> Result<(), StateError> {
    let end = Instant::now() + SETTLE;
    let mut before = tables(folder)?;
    loop {
        std::thread::sleep(QUIET);
        let now = tables(folder)?;
        if now == before || Instant::now() > end {
            return Ok(());
        }
        before = now;
    }
}

/// The names of a store's tables, in their order.
fn tables(folder: &Path) -> Result<Vec<OsString>, StateError> {
    let entries = fs::read_dir(folder).and_then(|entries| {
        entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<OsString>>>()
    });
    let mut names = entries.map_err(failed("read", folder))?;
    names.retain(|name| Path::new(name).extension().is_some_and(|kind| kind == "sst"));
    names.sort();
    Ok(names)
}

/// A ledger like `from`, which is not open, in the new folder `to` on the same disk.
fn share(from: &Path, to: &Path) -> Result<(), StateError> {
    fs::create_dir_all(to).map_err(failed("make", to))?;
    for entry in fs::read_dir(from).map_err(failed("read", from))? {
        let path = entry.map_err(failed("read", from))?.path();
        let Some(name) = path.file_name() else { continue };
        let never_changes = path.extension().is_some_and(|kind| kind == "sst" || kind == "blob");
        let target = to.join(name);
        if never_changes {
            fs::hard_link(&path, &target).map_err(failed("link", &path))?;
        } else {
            fs::copy(&path, &target).map_err(failed("copy", &path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_ledger_that_does_not_fit_is_refused_with_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let prepare = || Kept::prepare(folder.path(), 2_000, 4).map(|_| ()).unwrap_err().to_string();
        fs::write(folder.path().join("something"), "").unwrap();
        assert!(prepare().contains("is not empty"), "{}", prepare());
        let stamp = |text: &str| fs::write(folder.path().join("state.json"), text).unwrap();
        stamp(r#"{"dids":1000,"validators":4,"basePort":12000}"#);
        assert!(prepare().contains("1000 DIDs for 4 validators, but 2000 for 4"), "{}", prepare());
        stamp("{}");
        assert!(prepare().contains("missing field"), "{}", prepare());
    }

    #[test]
    fn copies_share_what_never_changes_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir(&from).unwrap();
        for name in ["1.sst", "2.blob", "CURRENT", "MANIFEST-3"] {
            fs::write(from.join(name), name).unwrap();
        }
        share(&from, &to).unwrap();
        for name in ["1.sst", "2.blob", "CURRENT", "MANIFEST-3"] {
            assert_eq!(fs::read_to_string(to.join(name)).unwrap(), name);
            let same = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
            let is_shared = same(&from.join(name)) == same(&to.join(name));
            assert_eq!(is_shared, name.ends_with("sst") || name.ends_with("blob"), "{name}");
        }
    }
}

//! `realdid chain`: the whole chain out of a ledger, into one, checked, and shortened.

mod export;
mod import;
mod prune;
mod verify;

use std::env;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ::genesis::Genesis;
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use ledger::Store;

use super::Ending;
use crate::home::{Home, HomeLock};
use crate::replay::ReplayError;
use crate::replay::audit::AuditError;
use crate::replay::stream::Reader;

/// Export, import, verify and shorten the chain of a node that does not run.
///
/// An export holds all blocks, the batches of transactions that they name, and the certificates that prove them. Whoever has the
/// network's genesis document can check it, whoever gave it: nothing else of it is believed. The chain alone is exported:
/// no key, no voting record, no setting.
#[derive(Debug, Subcommand)]
pub(super) enum Chain {
    Export(export::Export),
    Import(import::Import),
    Verify(verify::Verify),
    Prune(prune::Prune),
}

impl Chain {
    pub(super) fn run(self, output: &super::output::Output) -> anyhow::Result<()> {
        match self {
            Self::Export(export) => export.run(output),
            Self::Import(import) => import.run(output),
            Self::Verify(verify) => verify.run(output),
            Self::Prune(prune) => prune.run(output),
        }
    }
}

/// What names a node's folder where the command line does not.
const HOME: &str = "REALDID_HOME";

/// Where a ledger is.
#[derive(Debug, Args)]
struct Place {
    /// The node's folder; the node must not run [env: REALDID_HOME, where no other place is named].
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    /// The folder of a ledger alone, as data/store of a stopped node, or a copy of it.
    #[arg(long, value_name = "DIR", conflicts_with = "home", requires = "genesis")]
    store: Option<PathBuf>,
}

/// A ledger, and what keeps its node from starting.
struct Opened {
    genesis: Genesis,
    store: Store,
    /// Where it was found, for messages.
    folder: PathBuf,
    _lock: Option<HomeLock>,
}

impl Place {
    fn open(&self, genesis: Option<&Path>) -> anyhow::Result<Opened> {
        self.open_or(env::var_os(HOME).map(PathBuf::from), genesis)
    }

    /// The same, with the folder that the environment names. The parser would take that for a second place beside --store.
    fn open_or(&self, named: Option<PathBuf>, genesis: Option<&Path>) -> anyhow::Result<Opened> {
        let nothing_else = self.store.is_none() && genesis.is_none();
        let named = named.filter(|folder| nothing_else && !folder.as_os_str().is_empty());
        let (lock, genesis, folder) = match (self.home.as_ref().or(named.as_ref()), &self.store, genesis) {
            (Some(home), ..) => {
                let home = Home::open(home)?;
                (Some(home.lock()?), home.genesis()?, home.store())
            }
            (None, Some(store), Some(genesis)) => (None, super::genesis::read(genesis)?, store.clone()),
            _ => {
                return Err(Ending::CommandLine(
                    "name a ledger: --home DIR, or --store DIR --genesis FILE".into(),
                )
                .into());
            }
        };
        // Opening would found a new one. The file is RocksDB's own mark of a folder of its.
        if !folder.join("CURRENT").is_file() {
            bail!("there is no ledger in {}: check the folder; or the node never ran", folder.display());
        }
        let store = Store::open(&folder, &genesis)?;
        Ok(Opened { genesis, store, folder, _lock: lock })
    }
}

/// Opens an exported chain, `-` for standard input, and checks that it is of this chain.
fn open_stream(path: &Path, genesis: &Genesis) -> anyhow::Result<Reader<Box<dyn Read>>> {
    let cannot = || format!("cannot read {}", path.display());
    let input: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::with_capacity(1 << 20, File::open(path).with_context(cannot)?))
    };
    let reader = Reader::new(input).with_context(cannot)?;
    let (found, expected) = (reader.header().chain, genesis.chain());
    if found != expected {
        bail!(
            "{} is of chain {found}, but the genesis document is of chain {expected}: use the genesis document of that chain, \
             or an export of this one",
            path.display()
        );
    }
    Ok(reader)
}

/// Whether Ctrl-C was pressed. Work that is told so ends between two steps.
#[derive(Clone)]
struct Interruption {
    pressed: Arc<AtomicBool>,
    _runtime: Arc<tokio::runtime::Runtime>,
}

impl Interruption {
    fn watch() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let pressed = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&pressed);
        runtime.spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                told.store(true, Ordering::Relaxed);
            }
        });
        Ok(Self { pressed, _runtime: Arc::new(runtime) })
    }

    fn is_pressed(&self) -> bool {
        self.pressed.load(Ordering::Relaxed)
    }
}

/// What a piece of work came to. One that was told to stop was interrupted; what it found wrong before is told as it is.
fn ended<T>(result: anyhow::Result<T>, left: &'static str) -> anyhow::Result<T> {
    let stopped = |cause: &(dyn std::error::Error + 'static)| {
        let replay = matches!(cause.downcast_ref(), Some(ReplayError::Stopped));
        let audit = cause.downcast_ref();
        replay || matches!(audit, Some(AuditError::Stopped | AuditError::Replay(ReplayError::Stopped)))
    };
    result.map_err(|error| if error.chain().any(stopped) { Ending::Interrupted(left).into() } else { error })
}

#[cfg(test)]
mod tests;

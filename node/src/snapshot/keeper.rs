//! What the running node does beside executing blocks: snapshots of them, and forgetting old ones.
//!
//! Invariant: nothing here holds up execution but the copy that a snapshot is made of, which shares its files with the ledger.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use genesis::{Genesis, Height};
use ledger::Store;
use tokio_util::sync::CancellationToken;

use super::{Folder, Shelf, make};
use crate::config::{HistoryConfig, SnapshotConfig};

/// How often old blocks are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How many of them are removed at a time, so that the disk has room for execution in between.
const BLOCKS_AT_ONCE: u64 = 64;
/// How long a block's certificate may take: it is signed right after the block was executed.
const CERTIFIED_WITHIN: Duration = Duration::from_secs(20);

/// A copy of the ledger, to be made a snapshot of.
pub struct Copy {
    /// Where it is.
    pub folder: PathBuf,
    /// The block that it stands at.
    pub height: Height,
}

/// For the executor: makes a copy where a snapshot is due.
pub struct Due {
    config: SnapshotConfig,
    shelf: Shelf,
    copies: SyncSender<Copy>,
}

/// The thread.
pub struct Keeper {
    /// The ledger.
    pub store: Arc<Store>,
    /// The network's genesis document.
    pub genesis: Arc<Genesis>,
    /// Where snapshots go.
    pub shelf: Shelf,
    /// How many are kept.
    pub snapshots: SnapshotConfig,
    /// How many blocks are kept.
    pub history: HistoryConfig,
    copies: Receiver<Copy>,
}

impl Keeper {
    /// The thread, and what tells it that a snapshot is due.
    pub fn new(
        store: Arc<Store>,
        genesis: Arc<Genesis>,
        shelf: Shelf,
        snapshots: SnapshotConfig,
        history: HistoryConfig,
    ) -> (Self, Due) {
        remove_unfinished(&shelf);
        let (sender, copies) = sync_channel(1);
        let due = Due { config: snapshots, shelf: shelf.clone(), copies: sender };
        (Self { store, genesis, shelf, snapshots, history, copies }, due)
    }

    /// Works until `stop`. What fails here is logged: a node without a new snapshot is a node all the same.
    pub fn run(self, stop: &CancellationToken) {
        let mut forgets = self.history.keep_blocks > 0;
        while !stop.is_cancelled() {
            match self.copies.recv_timeout(LOOK_EVERY) {
                Ok(copy) => self.snapshot(&copy, stop),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            forgets = forgets && self.forget();
        }
    }

    fn snapshot(&self, copy: &Copy, stop: &CancellationToken) {
        let started = Instant::now();
        let _claim = self.shelf.claim();
        let made = snapshot_of_copy(&self.store, &self.genesis, &self.shelf, copy, stop);
        match made {
            Ok(Some((folder, bytes))) => {
                let (path, seconds) = (folder.path().display().to_string(), started.elapsed().as_secs());
                tracing::info!(height = %copy.height, bytes, seconds, path, "made a snapshot");
                if let Err(error) = self.shelf.tidy(self.snapshots.keep) {
                    tracing::warn!(%error, "an old snapshot cannot be removed: remove it by hand");
                }
            }
            Ok(None) => {
                tracing::warn!(height = %copy.height, "made no snapshot: the block was not certified in time");
            }
            Err(error) => {
                tracing::warn!(height = %copy.height, error = format!("{error:#}"), "made no snapshot");
            }
        }
    }

    /// Removes some old blocks; false where that fails: it would fail again, and what fails for good stops the node elsewhere.
    fn forget(&self) -> bool {
        match self.store.prune(&self.genesis, self.history.keep_blocks, BLOCKS_AT_ONCE) {
            Ok(pruned) if pruned.removed > 0 => {
                tracing::debug!(removed = pruned.removed, first = %pruned.first, "removed old blocks");
                true
            }
            Ok(_) => true,
            Err(error) => {
                tracing::error!(%error, "old blocks cannot be removed, and are kept until the node starts again");
                false
            }
        }
    }
}

impl Due {
    /// After the block at `height` was committed, and before the next one is.
    pub fn executed(&self, store: &Store, height: Height) {
        if self.config.every_blocks == 0 || !height.0.is_multiple_of(self.config.every_blocks) {
            return;
        }
        match copy(store, &self.shelf, "due") {
            Ok(copy) => {
                if let Err(error) = self.copies.try_send(copy) {
                    let (std::sync::mpsc::TrySendError::Full(copy)
                    | std::sync::mpsc::TrySendError::Disconnected(copy)) = error;
                    tracing::warn!(%height, "made no snapshot: the one before is still being made");
                    remove(&copy.folder);
                }
            }
            Err(error) => tracing::warn!(%height, error = format!("{error:#}"), "made no snapshot"),
        }
    }
}

/// Copies the ledger as it stands, beside the snapshots.
fn copy(store: &Store, shelf: &Shelf, name: &str) -> anyhow::Result<Copy> {
    fs::create_dir_all(shelf.path())?;
    let folder = shelf.path().join(format!("{}.{name}", store.tip().height));
    remove(&folder);
    let tip = store.backup(&folder)?;
    Ok(Copy { folder, height: tip.height })
}

/// Makes a snapshot of a copy, once its block is certified in `store`; removes the copy. None where that takes too long.
fn snapshot_of_copy(
    store: &Store,
    genesis: &Genesis,
    shelf: &Shelf,
    copy: &Copy,
    stop: &CancellationToken,
) -> anyhow::Result<Option<(Folder, u64)>> {
    let made = certificate(store, copy.height, CERTIFIED_WITHIN, stop).map_err(anyhow::Error::from).and_then(
        |bytes| {
            let Some(bytes) = bytes else { return Ok(None) };
            let copied = Store::open(&copy.folder, genesis)?;
            copied.put_checkpoint(copy.height, &bytes)?;
            let (folder, manifest) = make::make(&copied, genesis, shelf, |_| !stop.is_cancelled())?;
            Ok(Some((folder, manifest.bytes())))
        },
    );
    remove(&copy.folder);
    made
}

/// The certificate of a block, waited for.
fn certificate(
    store: &Store,
    height: Height,
    within: Duration,
    stop: &CancellationToken,
) -> Result<Option<Vec<u8>>, ledger::StoreError> {
    let until = Instant::now() + within;
    loop {
        let found = store.checkpoint(height)?;
        if found.is_some() || stop.is_cancelled() || Instant::now() > until {
            return Ok(found);
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Makes a snapshot now, of the newest block that is certified in time.
///
/// # Errors
/// When no block is certified in time, or a disk fails.
pub fn now(
    store: &Store,
    genesis: &Genesis,
    shelf: &Shelf,
    stop: &CancellationToken,
) -> anyhow::Result<(Folder, Height, u64)> {
    /// A block of a busy chain may be overtaken before a quorum signed what came of it.
    const TRIES: u32 = 5;
    let _claim = shelf.claim();
    for _ in 0..TRIES {
        anyhow::ensure!(!stop.is_cancelled(), "the node stops");
        let copy = copy(store, shelf, "now")?;
        if certificate(store, copy.height, CERTIFIED_WITHIN / TRIES, stop)?.is_none() {
            remove(&copy.folder);
            continue;
        }
        if let Some((folder, bytes)) = snapshot_of_copy(store, genesis, shelf, &copy, stop)? {
            return Ok((folder, copy.height, bytes));
        }
    }
    anyhow::bail!(
        "block {} and those after it were not certified within {} s: is a quorum of the validators up? (`realdid status`)",
        store.tip().height,
        CERTIFIED_WITHIN.as_secs()
    )
}

/// What a crash left.
fn remove_unfinished(shelf: &Shelf) {
    let Ok(entries) = fs::read_dir(shelf.path()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let unfinished = name.to_str().and_then(|name| name.split_once('.'));
        // RocksDB copies into a folder with another ending first.
        if unfinished.is_some_and(|(height, rest)| {
            height.parse::<u64>().is_ok() && matches!(rest, "part" | "due" | "now" | "due.tmp" | "now.tmp")
        }) {
            remove(&entry.path());
        }
    }
}

fn remove(folder: &std::path::Path) {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(path = %folder.display(), %error, "cannot be removed: remove it by hand");
        }
        _ => {}
    }
}

//! `realdid backup`: copies of a node's ledger, and back.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use ::genesis::{Digest, Genesis, Height};
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use ledger::{Store, Tip};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::output::Output;
use super::snapshot::open_existing;
use crate::admin::{self, Request};
use crate::home::Home;

/// Back up a node's ledger while it runs, and restore it.
///
/// A backup holds the chain and its state, and the genesis document. It holds no keys: keep copies of the folder `keys` where keys
/// belong. And it holds no voting record: an old one is dangerous, and a validator without one is told by the others where it may
/// vote again.
#[derive(Debug, Subcommand)]
pub(super) enum Backup {
    Create(Create),
    Verify(Verify),
    Restore(Restore),
}

/// Copy the ledger of a node, which may run, into a new folder.
///
/// On the same file system this takes moments, as unchanging files are shared with the ledger: copy the folder to another machine
/// then.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  realdid backup create --home ./localnet/node0 --to ./backup-monday")]
pub(super) struct Create {
    /// The node's folder.
    #[arg(long, value_name = "DIR", env = "REALDID_HOME")]
    home: PathBuf,
    /// The folder to make.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
}

/// Read a whole backup: every checksum, and the state's root.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  realdid backup verify ./backup-monday")]
pub(super) struct Verify {
    /// The backup's folder.
    #[arg(value_name = "DIR")]
    backup: PathBuf,
}

/// Make the ledger of a node of a backup.
///
/// For a node without a ledger; it gets from the others what has happened since.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  realdid backup restore ./backup-monday --home ./localnet/node0")]
pub(super) struct Restore {
    /// The backup's folder.
    #[arg(value_name = "DIR")]
    backup: PathBuf,
    /// The node's folder; the node must not run.
    #[arg(long, value_name = "DIR", env = "REALDID_HOME")]
    home: PathBuf,
}

/// What a backup says of itself, in backup.json.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Label {
    /// The build that made it.
    version: String,
    chain: Digest,
    height: Height,
}

impl Backup {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<()> {
        match self {
            Self::Create(create) => create.run(output),
            Self::Verify(verify) => verify.run(output),
            Self::Restore(restore) => restore.run(output),
        }
    }
}

impl Create {
    fn run(self, output: &Output) -> anyhow::Result<()> {
        let home = Home::open(self.home)?;
        let genesis = home.genesis()?;
        let cannot = || {
            format!("cannot make {}: name a folder that does not exist, in one that does", self.to.display())
        };
        fs::create_dir(&self.to).with_context(cannot)?;
        let to = std::path::absolute(&self.to).with_context(cannot)?;
        let spinner = output.spinner("Copying the ledger");
        let copied = copy(&home, &to.join("store"));
        // Nothing is left that looks like a backup and is none.
        let height = copied.inspect_err(|_| drop(fs::remove_dir_all(&to)))?;
        let label = Label { version: env!("CARGO_PKG_VERSION").into(), chain: genesis.chain(), height };
        write(&to.join("genesis.toml"), genesis.to_toml().as_bytes())?;
        write(&to.join("backup.json"), &serde_json::to_vec_pretty(&label)?)?;
        sync(&to)?;
        spinner.finish_and_clear();
        output.answer(&json!({ "path": to, "height": height, "chain": genesis.chain() }), || {
            format!("Backed up the ledger at block {height} to {}. Keys are not in it.", to.display())
        })
    }
}

fn copy(home: &Home, to: &Path) -> anyhow::Result<Height> {
    let request = Request::Backup { to: to.to_owned() };
    if let Some((height, ..)) = admin::ask(home, &request)? {
        return Ok(height);
    }
    let _lock = home.lock()?;
    Ok(open_existing(home)?.backup(to)?.height)
}

impl Verify {
    fn run(self, output: &Output) -> anyhow::Result<()> {
        let spinner = output.spinner("Reading the backup");
        let (genesis, tip) = verified(&self.backup)?;
        spinner.finish_and_clear();
        let (chain, height) = (genesis.chain(), tip.height);
        output.answer(&json!({ "chain": chain, "height": height }), || {
            format!("{} is sound: chain {chain} at block {height}", self.backup.display())
        })
    }
}

/// Reads all of a backup.
fn verified(backup: &Path) -> anyhow::Result<(Genesis, Tip)> {
    let path = backup.join("backup.json");
    let label = fs::read(&path)
        .with_context(|| format!("{} is no backup: cannot read {}", backup.display(), path.display()))?;
    let label: Label =
        serde_json::from_slice(&label).with_context(|| format!("cannot read {}", path.display()))?;
    let genesis = super::genesis::read(&backup.join("genesis.toml"))?;
    if genesis.chain() != label.chain {
        bail!(
            "{} holds the genesis document of chain {}, but a ledger of chain {}",
            backup.display(),
            genesis.chain(),
            label.chain
        );
    }
    let folder = backup.join("store");
    if !folder.is_dir() {
        bail!("{} is no backup: there is no {}", backup.display(), folder.display());
    }
    // Opening compares the state's root with the newest block's.
    let store = Store::open(&folder, &genesis)?;
    store.verify_checksums()?;
    let tip = store.tip();
    if tip.height != label.height {
        bail!(
            "{} should stand at block {}, but stands at {}: the copy is incomplete; take another",
            folder.display(),
            label.height,
            tip.height
        );
    }
    Ok((genesis, tip))
}

impl Restore {
    fn run(self, output: &Output) -> anyhow::Result<()> {
        let home = Home::open(self.home)?;
        let _lock = home.lock()?;
        let store = home.store();
        if store.exists() {
            bail!("there is a ledger in {}: move it away first", store.display());
        }
        let bar = output.spinner("Reading the backup");
        let (genesis, tip) = verified(&self.backup)?;
        let expected = home.genesis()?.chain();
        if genesis.chain() != expected {
            bail!(
                "{} is of chain {}, but the node is of chain {expected}: use a backup of this chain, or the --home of that one",
                self.backup.display(),
                genesis.chain()
            );
        }
        bar.set_message("Copying the ledger");
        fs::create_dir_all(home.data()).with_context(|| format!("cannot make {}", home.data().display()))?;
        let unfinished = home.data().join("store.restoring");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished)
                .with_context(|| format!("cannot remove {}", unfinished.display()))?;
        }
        copy_folder(&self.backup.join("store"), &unfinished)?;
        fs::rename(&unfinished, &store).with_context(|| format!("cannot make {}", store.display()))?;
        sync(&home.data())?;
        drop(Store::open(&store, &genesis)?);
        bar.finish_and_clear();
        let height = tip.height;
        output.answer(&json!({ "height": height, "chain": genesis.chain() }), || {
            format!(
                "The ledger stands at block {height}. Next: realdid start --home {}",
                home.path().display()
            )
        })
    }
}

/// Copies the files of a folder, which has no others in it, durably.
fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir(to).with_context(|| format!("cannot make {}", to.display()))?;
    let entries = fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))?;
    for entry in entries {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        fs::copy(&from, &to)
            .and_then(|_| File::open(&to)?.sync_all())
            .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    }
    sync(to)
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let written: io::Result<()> = fs::write(path, bytes).and_then(|()| File::open(path)?.sync_all());
    written.with_context(|| format!("cannot write {}", path.display()))
}

fn sync(folder: &Path) -> anyhow::Result<()> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .with_context(|| format!("cannot sync {}", folder.display()))
}

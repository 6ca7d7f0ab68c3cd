//! `realdid snapshot`: a ledger at one block, for nodes that begin there.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use ledger::Store;
use serde_json::json;

use super::block_on;
use super::output::Output;
use super::passphrase::Opening;
use crate::admin::{self, Request};
use crate::home::Home;
use crate::snapshot::fetch::{self, Step};
use crate::snapshot::take::Taking;
use crate::snapshot::{Folder, MAX_MANIFEST_BYTES, Manifest, Part, make};

/// What an interrupted restoration leaves.
const LEFT: &str = ". Do it again: it goes on where it ended";

/// Make snapshots, and begin from one.
///
/// A snapshot is the ledger after one block, in pieces, with the certificates that prove it from the genesis document on. A new node
/// begins from it instead of executing the whole chain; it believes nothing of it but what validators certified, from the genesis
/// document on, so whoever passes it on is not trusted. It executes none of the blocks before: it trusts the quorum that signed.
/// Compare the block with somebody you know. The settings `[snapshots]` in config.toml make a node make them by itself.
#[derive(Debug, Subcommand)]
pub(super) enum Snapshot {
    Create(Create),
    List(List),
    Fetch(Fetch),
    Restore(Restore),
}

/// Make a snapshot now, of the newest certified block.
///
/// Works while the node runs (that is the usual case) and while it does not. It goes to data/snapshots in the node's folder, from
/// where peers get it with `realdid snapshot fetch`; it can as well be copied by any means and restored. It stays until you delete
/// it, or until the node makes one by itself and has more than `[snapshots] keep` then.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  realdid snapshot create --home ./localnet/node0")]
pub(super) struct Create {
    /// The node's folder.
    #[arg(long, value_name = "DIR", env = "REALDID_HOME")]
    home: PathBuf,
}

/// List the snapshots of a node.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  realdid snapshot list --home ./localnet/node0")]
pub(super) struct List {
    /// The node's folder.
    #[arg(long, value_name = "DIR", env = "REALDID_HOME")]
    home: PathBuf,
}

/// Get the newest snapshot from peers, check it, and make the node's ledger of it.
///
/// For a node without a ledger, before its first start. Peers are the validators in its genesis.toml; they must admit it, as for
/// `realdid start`. Where all of them are gone, copy a snapshot's folder and use `realdid snapshot restore`. What was interrupted
/// goes on where it ended.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  realdid snapshot fetch --home ./newnode\n  realdid start --home ./newnode"
)]
pub(super) struct Fetch {
    /// The node's folder; the node must not run.
    #[arg(long, value_name = "DIR", env = "REALDID_HOME")]
    home: PathBuf,
    #[command(flatten)]
    opening: Opening,
}

/// Check a snapshot in a folder, and make the node's ledger of it.
///
/// For a node without a ledger. What was interrupted goes on where it ended.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  realdid snapshot restore --home ./newnode --from ./localnet/node0/data/snapshots/1000"
)]
pub(super) struct Restore {
    /// The node's folder; the node must not run.
    #[arg(long, value_name = "DIR", env = "REALDID_HOME")]
    home: PathBuf,
    /// The snapshot's folder, with `manifest` and `pieces`.
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
}

impl Snapshot {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<()> {
        match self {
            Self::Create(create) => create.run(output),
            Self::List(list) => list.run(output),
            Self::Fetch(fetch) => fetch.run(output),
            Self::Restore(restore) => restore.run(output),
        }
    }
}

impl Create {
    fn run(self, output: &Output) -> anyhow::Result<()> {
        let home = Home::open(self.home)?;
        let spinner = output.spinner("Making a snapshot");
        let (height, path, bytes) = match admin::ask(&home, &Request::Snapshot)? {
            Some((height, path, bytes)) => (height, path, bytes.unwrap_or_default()),
            None => {
                let _lock = home.lock()?;
                let store = open_existing(&home)?;
                let genesis = home.genesis()?;
                let (folder, manifest) = make::make(&store, &genesis, &home.snapshots(), |info| {
                    spinner.set_message(format!("Making a snapshot: {}", info.kind.name()));
                    true
                })?;
                (store.tip().height, folder.path().to_owned(), manifest.bytes())
            }
        };
        spinner.finish_and_clear();
        output.answer(&json!({ "height": height, "path": path, "bytes": bytes }), || {
            format!("Made a snapshot of block {height}: {bytes} bytes in {}", path.display())
        })
    }
}

/// The ledger of a node that does not run. Opening one that is not there would found it.
pub(super) fn open_existing(home: &Home) -> anyhow::Result<Store> {
    let folder = home.store();
    if !folder.is_dir() {
        bail!("there is no ledger in {}: the node never ran", folder.display());
    }
    Ok(Store::open(&folder, &home.genesis()?)?)
}

impl List {
    fn run(self, output: &Output) -> anyhow::Result<()> {
        let home = Home::open(self.home)?;
        let shelf = home.snapshots();
        let heights = shelf.heights().with_context(|| format!("cannot read {}", shelf.path().display()))?;
        let mut rows = Vec::new();
        for height in heights {
            let folder = shelf.folder(height);
            let manifest = manifest(&folder)?;
            rows.push((height, manifest.pieces.len(), manifest.bytes(), folder));
        }
        let value: Vec<_> = rows
            .iter()
            .map(|(height, pieces, bytes, folder)| {
                json!({ "height": height, "pieces": pieces, "bytes": bytes, "path": folder.path() })
            })
            .collect();
        output.answer(&value, || {
            if rows.is_empty() {
                return format!(
                    "No snapshots in {}. Make one with `realdid snapshot create`, or set [snapshots] every_blocks in {}",
                    shelf.path().display(),
                    home.config_path().display()
                );
            }
            let line = |(height, pieces, bytes, folder): &(_, usize, u64, Folder)| {
                format!("block {height}: {bytes} bytes in {pieces} pieces, {}\n", folder.path().display())
            };
            rows.iter().map(line).collect()
        })
    }
}

fn manifest(folder: &Folder) -> anyhow::Result<Manifest> {
    let path = folder.file(Part::Manifest);
    let cannot = || format!("cannot read {}", path.display());
    let bytes = folder.read(Part::Manifest, MAX_MANIFEST_BYTES as u64).with_context(cannot)?;
    Manifest::decode(&bytes).with_context(cannot)
}

impl Fetch {
    fn run(self, output: &Output) -> anyhow::Result<()> {
        let home = Home::open(self.home)?.with_passphrase_file(self.opening.passphrase_file);
        let _lock = home.lock()?;
        let bar = output.progress(0, "Looking for a snapshot");
        let mut progress = |step| match step {
            Step::Found(height, bytes) => {
                bar.set_length(bytes);
                bar.set_message(format!("Snapshot of block {height}"));
            }
            Step::Taken(bytes) => bar.set_position(bytes),
            Step::GivenUp(why) => bar.suspend(|| output.note(&why)),
        };
        let fetched = block_on(fetch::join(&home, &mut progress), LEFT)?;
        bar.finish_and_clear();
        let fetch::Fetched { height, pieces, bytes } = fetched;
        output.answer(&json!({ "height": height, "pieces": pieces, "bytes": bytes }), || {
            format!("The ledger stands at block {height}, certified from the genesis document on. Next: realdid start --home {}", home.path().display())
        })
    }
}

impl Restore {
    fn run(self, output: &Output) -> anyhow::Result<()> {
        let home = Home::open(self.home)?;
        let _lock = home.lock()?;
        let genesis = home.genesis()?;
        let folder = Folder::new(self.from);
        let manifest = manifest(&folder)?;
        let mut taking = Taking::begin(&home.store(), &genesis, &manifest)?;
        let bar = output.progress(taking.count() as u64, "Taking in the snapshot");
        while let Some((number, info)) = taking.next() {
            let part = Part::Piece(u32::try_from(number)?);
            let path = folder.file(part);
            let bytes =
                folder.read(part, info.bytes).with_context(|| format!("cannot read {}", path.display()))?;
            taking.put(&bytes).with_context(|| {
                format!("{} is damaged, or no part of this snapshot: copy it again", path.display())
            })?;
            bar.set_position(number as u64 + 1);
        }
        let count = taking.count();
        taking.finish()?;
        bar.finish_and_clear();
        let height = manifest.height();
        output.answer(&json!({ "height": height, "pieces": count, "bytes": manifest.bytes() }), || {
            let height = height.unwrap_or_default();
            format!("The ledger stands at block {height}, certified from the genesis document on. Next: realdid start --home {}", home.path().display())
        })
    }
}

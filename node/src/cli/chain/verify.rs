//! `realdid chain verify`.

use std::fs;
use std::path::{Path, PathBuf};

use ::genesis::{Genesis, Height};
use anyhow::{Context, bail};
use clap::Args;
use indicatif::ProgressBar;
use ledger::{Outcome, Store};
use serde_json::{Value, json};

use super::{Interruption, Opened, Place, ended, open_stream};
use crate::cli::Ending;
use crate::cli::output::Output;
use crate::replay::audit::{AuditError, Step, audit};
use crate::replay::from_store::FromStore;
use crate::replay::{Replay, ReplayError, Source};

/// Check an exported chain, or the ledger of a stopped node.
///
/// An export is executed from the genesis document on, in a temporary folder: every certificate, every signature, every result
/// is checked. It must begin with the chain's first block.
///
/// Of a ledger, everything is held against everything: blocks, batches, receipts and certificates; every DID's history, and its newest
/// record against the state tree; the trust registry and the governance. With --replay all blocks are executed again, too.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  realdid chain verify --in ./chain.realdid --genesis ./genesis.toml\n  \
                        realdid chain verify --home ./localnet/node0 --replay")]
pub(in crate::cli) struct Verify {
    /// The file that `realdid chain export` made. `-` is standard input.
    #[arg(long = "in", value_name = "FILE", conflicts_with_all = ["home", "store"], requires = "genesis")]
    file: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
    /// The network's genesis document, from somebody whom you trust; with --in and --store.
    #[arg(long, value_name = "FILE", conflicts_with = "home")]
    genesis: Option<PathBuf>,
    /// Of a ledger: execute all blocks again, and compare every result. Needs a ledger with all blocks, from the chain's first on.
    #[arg(long, conflicts_with = "file")]
    replay: bool,
    /// Where to make the temporary folder, which becomes about as large as the ledger [default: beside the file or the ledger].
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
}

impl Verify {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<()> {
        let interruption = Interruption::watch()?;
        let checked = match &self.file {
            Some(file) => self.verify_file(output, file, &interruption),
            None => self.verify_ledger(output, &interruption),
        };
        let (json, text) = ended(checked, "; nothing wrong was found until then")?;
        output.answer(&json, || text)
    }

    fn verify_file(
        &self,
        output: &Output,
        file: &Path,
        interruption: &Interruption,
    ) -> anyhow::Result<(Value, String)> {
        let Some(genesis) = &self.genesis else {
            return Err(Ending::CommandLine("--genesis FILE is needed with --in".into()).into());
        };
        let genesis = crate::cli::genesis::read(genesis)?;
        let mut reader = open_stream(file, &genesis)?;
        let first = reader.header().first;
        if first != genesis.height().next() {
            bail!(
                "{} begins at height {first}: only an export from the chain's first block, {}, can be checked alone. Take it into \
                 a ledger that ends below: `realdid chain import` checks as much",
                file.display(),
                genesis.height().next()
            );
        }
        let beside = file.parent().filter(|_| file != Path::new("-")).unwrap_or(Path::new("."));
        let replayed = Scratch::make(self.work.as_deref().unwrap_or(beside))?.replay(
            &genesis,
            first,
            &mut reader,
            &output.spinner("executing blocks"),
            &mut |_, _| if interruption.is_pressed() { Err(ReplayError::Stopped) } else { Ok(()) },
        );
        let Replayed { json, text, height } = replayed.with_context(|| file.display().to_string())?;
        if height < first {
            bail!("{} holds no block", file.display());
        }
        Ok((json, format!("{} is sound.\n{text}", file.display())))
    }

    fn verify_ledger(&self, output: &Output, interruption: &Interruption) -> anyhow::Result<(Value, String)> {
        let opened = self.place.open(self.genesis.as_deref())?;
        let Opened { genesis, store, folder, .. } = &opened;
        if self.replay {
            has_all_blocks(store, folder)?;
        }
        let tip = store.tip();
        let bar = output.progress(tip.height.since(store.origin()), "checking blocks");
        let spinner = output.spinner("");
        let (mut count, mut receipts) = (0_u64, 0_u64);
        let audited = audit(store, genesis, &mut |step| {
            match step {
                Step::Range => {}
                Step::Block => bar.inc(1),
                Step::Receipt => {
                    receipts += 1;
                    bar.finish_and_clear();
                    spinner.set_message(format!("counting receipts: {receipts}"));
                }
                Step::Version => {
                    count += 1;
                    bar.finish_and_clear();
                    spinner.set_message(format!("checking versions of DIDs: {count}"));
                }
            }
            if interruption.is_pressed() { Err(AuditError::Stopped) } else { Ok(()) }
        });
        bar.finish_and_clear();
        spinner.finish_and_clear();
        let found = audited?;
        let mut json = json!({
            "chain": genesis.chain(), "height": tip.height, "block": tip.digest,
            "stateRoot": store.outcome().state_root, "epoch": store.governance().epoch, "blocks": found.blocks,
            "batches": found.batches, "checkpoints": found.checkpoints, "dids": found.dids, "versions": found.versions,
            "registryEntries": found.registry, "provenHeight": found.proven, "replayedHeight": null,
        });
        let mut text = format!(
            "{} is sound: {} blocks, {} batches, {} checkpoints, {} DIDs with {} versions, {} entries of the registry.\n\
             chain   {}\nheight  {}\nblock   {}\nstate   {}\nepoch   {}\n",
            folder.display(),
            found.blocks,
            found.batches,
            found.checkpoints,
            found.dids,
            found.versions,
            found.registry,
            genesis.chain(),
            tip.height,
            tip.digest,
            store.outcome().state_root,
            store.governance().epoch,
        );
        if tip.height == store.origin() {
            text += "It holds no block: it stands where the chain begins, and there was nothing to check.\n";
        }
        if found.proven < tip.height {
            text += &format!(
                "No certificate here proves the blocks above {}: the others have them, too, or they were never final.\n",
                found.proven
            );
        }
        if self.replay {
            let height = self.replay(output, &opened, interruption)?;
            json["replayedHeight"] = json!(height);
            text += &format!("All blocks up to {height} were executed again, with the same results.\n");
        }
        Ok((json, text))
    }

    fn replay(
        &self,
        output: &Output,
        opened: &Opened,
        interruption: &Interruption,
    ) -> anyhow::Result<Height> {
        let Opened { genesis, store, folder, .. } = opened;
        let first = store.origin().next();
        let mut source = FromStore::new(store, first, store.tip().height)?;
        let beside = folder.parent().unwrap_or(Path::new("."));
        let bar = output.progress(store.tip().height.since(store.origin()), "executing blocks again");
        let replayed = Scratch::make(self.work.as_deref().unwrap_or(beside))?.replay(
            genesis,
            first,
            &mut source,
            &bar,
            &mut |height, executed| {
                if interruption.is_pressed() {
                    return Err(ReplayError::Stopped);
                }
                let stored = store.outcome_of(height)?;
                if stored.as_ref() == Some(executed) {
                    return Ok(());
                }
                let stored = stored.map(|stored| stored.state_root).unwrap_or_default();
                Err(ReplayError::OtherStoredOutcome { height, executed: executed.state_root, stored })
            },
        )?;
        Ok(replayed.height)
    }
}

/// Refuses a ledger that has forgotten blocks, or never had them.
fn has_all_blocks(store: &Store, folder: &Path) -> anyhow::Result<()> {
    let (first, kept) = (store.origin().next(), store.first_block());
    if kept > first {
        bail!(
            "--replay executes from block {first}, but {} has blocks from {kept} on: leave --replay out, or check an export of a \
             node that keeps all",
            folder.display()
        );
    }
    Ok(())
}

/// A temporary folder, which goes when this is dropped.
struct Scratch(PathBuf);

/// What became of a chain that was executed in a temporary folder.
struct Replayed {
    json: Value,
    text: String,
    height: Height,
}

impl Scratch {
    fn make(beside: &Path) -> anyhow::Result<Self> {
        let beside = if beside.as_os_str().is_empty() { Path::new(".") } else { beside };
        let path = beside.join(format!("realdid-verify-{}.tmp", std::process::id()));
        fs::create_dir(&path)
            .with_context(|| format!("cannot make {}: name a folder with --work DIR", path.display()))?;
        Ok(Self(path))
    }

    fn replay(
        self,
        genesis: &Genesis,
        first: Height,
        source: &mut impl Source,
        bar: &ProgressBar,
        watch: &mut impl FnMut(Height, &Outcome) -> Result<(), ReplayError>,
    ) -> anyhow::Result<Replayed> {
        let store = Store::open(&self.0, genesis)?;
        let mut replay = Replay::new(&store, genesis, first)?;
        let run = replay.run(source, &mut |height, outcome| {
            bar.inc(1);
            watch(height, outcome)
        });
        bar.finish_and_clear();
        run?;
        let (tip, outcome, epoch) = (store.tip(), store.outcome(), store.governance().epoch);
        let (chain, certified) = (genesis.chain(), replay.certified());
        let json = json!({
            "chain": chain, "height": tip.height, "block": tip.digest, "stateRoot": outcome.state_root, "epoch": epoch,
            "blocks": tip.height.since(store.origin()), "certifiedHeight": certified,
        });
        let signed = certified.map_or_else(
            || "no checkpoint came along".to_owned(),
            |height| format!("as the validators signed it up to height {height}"),
        );
        let text = format!(
            "chain   {chain}\nheight  {}\nblock   {}\nstate   {}, {signed}\nepoch   {epoch}\n",
            tip.height, tip.digest, outcome.state_root
        );
        drop(store);
        fs::remove_dir_all(&self.0).with_context(|| format!("cannot remove {} again", self.0.display()))?;
        Ok(Replayed { json, text, height: tip.height })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Gone already, unless something failed: that is what is told.
        let _ = fs::remove_dir_all(&self.0);
    }
}

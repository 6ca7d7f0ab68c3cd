//! `realdid chain export`.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use ::genesis::Height;
use anyhow::{Context, bail};
use clap::Args;
use serde_json::json;

use super::{Interruption, Opened, Place, ended};
use crate::cli::output::Output;
use crate::replay::from_store::FromStore;
use crate::replay::stream::{Header, Writer, Written};
use crate::replay::{ReplayError, Source};

/// Write the blocks of a stopped node, with what proves them, into one file.
///
/// The file is complete when it has its name: until then it is FILE with a number and `.tmp` at its end. It ends at the newest block
/// that a certificate proves here.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  realdid chain export --home ./localnet/node0 --out ./chain.realdid\n  \
                        realdid chain export --home ./localnet/node0 --out - --from 5001 | gzip > ./newer.gz")]
pub(in crate::cli) struct Export {
    #[command(flatten)]
    place: Place,
    /// The network's genesis document, with --store.
    #[arg(long, value_name = "FILE", requires = "store")]
    genesis: Option<PathBuf>,
    /// The file to make; it must not exist. `-` is standard output.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The first block [default: the chain's first]. Only an export from the first on can be verified alone.
    #[arg(long, value_name = "HEIGHT", value_parser = clap::value_parser!(u64).range(1..))]
    from: Option<u64>,
    /// The last block [default: the newest]. The file ends there, or at the next block that has a proof of its own.
    #[arg(long, value_name = "HEIGHT", value_parser = clap::value_parser!(u64).range(1..))]
    to: Option<u64>,
}

impl Export {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<()> {
        let opened = self.place.open(self.genesis.as_deref())?;
        let (store, tip) = (&opened.store, opened.store.tip().height);
        let from = self.from.map_or(store.origin().next(), Height);
        let to = self.to.map_or(tip, Height);
        if from > to || to > tip {
            bail!(
                "there are no blocks from {from} to {to}: the ledger in {} ends at height {tip}",
                opened.folder.display()
            );
        }
        let interruption = Interruption::watch()?;
        let bar = output.progress(to.since(from) + 1, "exporting blocks");
        let mut source = FromStore::new(store, from, to)?;
        let made = if self.out == Path::new("-") {
            write(io::stdout().lock(), &opened, from, &mut source, &interruption, &bar)
                .map(|(_, written)| written)
        } else {
            write_file(&self.out, &opened, from, &mut source, &interruption, &bar)
        };
        bar.finish_and_clear();
        let written = ended(made, "; no file was made")?;
        let last = source.next().previous();
        if last < tip && self.to.is_none() {
            output.note(&format!(
                "The export ends at height {last}: no certificate here proves the blocks from there to {tip} yet."
            ));
        }
        if self.out == Path::new("-") {
            output.note(&format!("{} blocks, {from} to {last}, {} bytes", written.blocks, written.bytes));
            return Ok(());
        }
        let state_root = store.outcome_of(last)?.map(|outcome| outcome.state_root);
        let chain = opened.genesis.chain();
        let json = json!({
            "file": self.out, "chain": chain, "from": from, "to": last, "blocks": written.blocks,
            "batches": written.batches, "bytes": written.bytes, "stateRoot": state_root,
        });
        output.answer(&json, || {
            let state = state_root.map(|root| root.to_string()).unwrap_or_default();
            format!(
                "{} holds blocks {from} to {last} of chain {chain}: {} batches, {} bytes.\nState at height {last}: {state}\n\
                 Check it: realdid chain verify --in {} --genesis FILE",
                self.out.display(),
                written.batches,
                written.bytes,
                self.out.display()
            )
        })
    }
}

/// Writes under another name, and gives the file its own when it is whole and durable.
fn write_file(
    out: &Path,
    opened: &Opened,
    from: Height,
    source: &mut FromStore<'_>,
    interruption: &Interruption,
    bar: &indicatif::ProgressBar,
) -> anyhow::Result<Written> {
    if out.exists() {
        bail!("{} exists already: choose another name, or move it away", out.display());
    }
    let Some(name) = out.file_name() else { bail!("{} is no name of a file", out.display()) };
    let mut temporary = name.to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = out.with_file_name(temporary);
    let file =
        File::create_new(&temporary).with_context(|| format!("cannot make {}", temporary.display()))?;
    let made = write(BufWriter::with_capacity(1 << 20, file), opened, from, source, interruption, bar);
    let made = made.and_then(|(buffer, written)| {
        let cannot = || format!("cannot write {}", out.display());
        buffer
            .into_inner()
            .map_err(io::IntoInnerError::into_error)
            .and_then(|file| file.sync_all())
            .with_context(cannot)?;
        fs::rename(&temporary, out).with_context(cannot)?;
        let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).with_context(cannot)?;
        Ok(written)
    });
    if made.is_err() && temporary.exists() {
        fs::remove_file(&temporary)
            .with_context(|| format!("cannot remove {} again", temporary.display()))?;
    }
    made
}

fn write<W: Write>(
    output: W,
    opened: &Opened,
    from: Height,
    source: &mut FromStore<'_>,
    interruption: &Interruption,
    bar: &indicatif::ProgressBar,
) -> anyhow::Result<(W, Written)> {
    let header = Header { chain: opened.genesis.chain(), first: from };
    let cannot = "the export cannot be written";
    let mut writer = Writer::new(output, &header).context(cannot)?;
    while let Some(range) = source.range()? {
        let blocks = range.candidates.iter().map(|block| (block.height, block.payload.clone()));
        let blocks: Vec<_> = blocks.collect();
        writer.blocks(range).context(cannot)?;
        for (height, payload) in blocks {
            if interruption.is_pressed() {
                return Err(ReplayError::Stopped.into());
            }
            for digest in payload {
                writer.batch(source.batch(height, &digest)?).context(cannot)?;
            }
            bar.inc(1);
        }
    }
    if source.next() == from {
        bail!(
            "no certificate here proves block {from}: let the node run until there are more blocks, and export again"
        );
    }
    writer.finish().context(cannot)
}

//! `realdid chain import`.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use ledger::Store;
use serde_json::json;

use super::{Interruption, ended, open_stream};
use crate::cli::output::Output;
use crate::home::Home;
use crate::replay::{Replay, ReplayError};

/// Take an exported chain into a node's ledger, every block checked and executed.
///
/// The node must not run. An empty ledger begins at the first block, an older one of the same chain goes on from where it is.
/// Certificates, signatures and results are all checked, from the genesis document in the folder on. Whatever is wrong with
/// the file, the ledger ends at the last block that was sound; if it is interrupted, run it again.
/// The node goes on from there: it gets from the others what is newer. A validator that ran before asks the others where it may vote
/// again, as its voting record is older than its ledger then.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  realdid chain import --home ./localnet/node3 --in ./chain.realdid\n  \
                        gunzip < ./newer.gz | realdid chain import --home ./localnet/node3 --in -")]
pub(in crate::cli) struct Import {
    /// The node's folder; the node must not run.
    #[arg(long, value_name = "DIR", env = "REALDID_HOME")]
    home: PathBuf,
    /// The file that `realdid chain export` made. `-` is standard input.
    #[arg(long = "in", value_name = "FILE")]
    file: PathBuf,
}

impl Import {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<()> {
        let home = Home::open(&self.home)?;
        let _lock = home.lock()?;
        let genesis = home.genesis()?;
        let interruption = Interruption::watch()?;
        // Looked at first: a file of another chain makes no ledger.
        let mut reader = open_stream(&self.file, &genesis)?;
        let store = Store::open(&home.store(), &genesis)?;
        let before = store.tip().height;
        let bar = output.spinner("importing blocks");
        let mut watch = |height, _: &ledger::Outcome| {
            bar.set_message(format!("importing blocks: {height}"));
            if interruption.is_pressed() { Err(ReplayError::Stopped) } else { Ok(()) }
        };
        let imported = Replay::new(&store, &genesis, reader.header().first).and_then(|mut replay| {
            replay.run(&mut reader, &mut watch)?;
            Ok(replay.certified())
        });
        bar.finish_and_clear();
        let (tip, state_root) = (store.tip(), store.outcome().state_root);
        let imported = imported
            .with_context(|| format!("{} was taken up to height {} only", self.file.display(), tip.height));
        let certified =
            ended(imported, "; the ledger is sound, and importing again goes on from where it is")?;
        let (chain, epoch, blocks) = (genesis.chain(), store.governance().epoch, tip.height.since(before));
        let json = json!({
            "home": home.path(), "chain": chain, "from": before.next(), "height": tip.height, "block": tip.digest,
            "blocks": blocks, "epoch": epoch, "stateRoot": state_root, "certifiedHeight": certified,
        });
        output.answer(&json, || {
            let folder = home.path().display();
            let news = match blocks {
                0 => format!("{folder} had all of these blocks already."),
                _ => format!("{blocks} blocks were checked, executed and taken into {folder}."),
            };
            format!(
                "{news}\nchain   {chain}\nheight  {}\nblock   {}\nstate   {state_root}\nepoch   {epoch}\n\
                 Start it: realdid start --home {folder}",
                tip.height, tip.digest
            )
        })
    }
}

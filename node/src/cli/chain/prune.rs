//! `realdid chain prune`: forgets old blocks.

use std::path::PathBuf;

use clap::Args;
use ledger::Pruned;
use serde_json::json;

use super::super::output::Output;
use super::{Interruption, Place};

/// How many blocks are removed between two looks at Ctrl-C.
const AT_ONCE: u64 = 1_024;
/// What an interrupted run leaves.
const LEFT: &str = ": what was removed is gone, the rest is as it was";

/// Forget old blocks of a node that does not run.
///
/// DIDs keep all their versions; what goes are blocks, their transactions and receipts. Blocks that the rules may still ask for stay,
/// whatever is asked for. The node cannot give the others what it has forgotten: keep two archives in a network, or an export. A
/// running node does the same by itself with `[history] keep_blocks` in its config.toml.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  realdid chain prune --home ./localnet/node0 --keep 200000")]
pub(in crate::cli) struct Prune {
    /// The node's folder; the node must not run.
    #[arg(long, value_name = "DIR", env = "REALDID_HOME")]
    home: PathBuf,
    /// How many of the newest blocks are kept at least.
    #[arg(long, value_name = "BLOCKS")]
    keep: u64,
}

impl Prune {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<()> {
        let place = Place { home: Some(self.home), store: None };
        let opened = place.open(None)?;
        let (store, genesis) = (&opened.store, &opened.genesis);
        let interruption = Interruption::watch()?;
        let before = store.first_block();
        let most = store.tip().height.0.saturating_sub(self.keep).saturating_sub(before.0.saturating_sub(1));
        let bar = output.progress(most, "Removing old blocks");
        let mut removed = 0;
        let first = loop {
            let Pruned { first, removed: now } = store.prune(genesis, self.keep, AT_ONCE)?;
            removed += now;
            bar.set_position(removed);
            if now == 0 {
                break first;
            }
            if interruption.is_pressed() {
                return Err(super::super::Ending::Interrupted(LEFT).into());
            }
        };
        bar.finish_and_clear();
        let spinner = output.spinner("Giving the disk back");
        store.compact();
        spinner.finish_and_clear();
        let tip = store.tip().height;
        output.answer(&json!({ "removed": removed, "first": first, "tip": tip }), || {
            let kept = tip.since(first.previous());
            let more = if kept > self.keep && removed < most {
                format!(" That is more than {}: the rules may still ask for them", self.keep)
            } else {
                String::new()
            };
            format!("Removed {removed} blocks; {kept} are here, from {first} to {tip}.{more}")
        })
    }
}

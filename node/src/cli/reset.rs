//! `realdid reset`: deletes what a node has written.

use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::json;

use super::output::Output;
use crate::home::Home;

/// Delete a node's chain and voting record; its keys, settings and genesis document stay.
///
/// For test networks only: stop all nodes and reset every one of them. The network then begins again at block 1,
/// without any DID. Do not reset one validator alone: it gets the chain from the others again where they keep all of it
/// (else see `realdid snapshot fetch`), but nobody else has its voting record, and a validator that votes again without
/// it can contradict what it signed before, which is taken for an attack.
///
/// Refused where the genesis document names a predecessor: such a chain cannot begin again at block 1.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  realdid reset --home ./localnet/node0 --yes")]
pub(super) struct Reset {
    /// The node's folder; the node must not run.
    #[arg(long, value_name = "DIR", env = "REALDID_HOME")]
    home: PathBuf,
    /// Do not ask whether you mean it. Scripts need this.
    #[arg(long)]
    yes: bool,
}

impl Reset {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<()> {
        let home = Home::open(self.home)?;
        let _lock = home.lock()?;
        let data = home.data();
        let existed = data.exists();
        if existed {
            refuse_successor(&home)?;
            if !self.yes && !confirmed(&data.display().to_string())? {
                bail!("nothing was deleted");
            }
            fs::remove_dir_all(&data).with_context(|| format!("cannot remove {}", data.display()))?;
            home.mark_first_start()?;
        }
        output.answer(&json!({ "home": home.path(), "deleted": existed }), || {
            if existed {
                format!(
                    "Deleted {}. The node begins again at block 1, and gets from the others what they have.",
                    data.display()
                )
            } else {
                format!("There was nothing to delete: {} does not exist.", data.display())
            }
        })
    }
}

/// A chain that goes on from another has that one's DIDs in no block of its own, but in the nodes' stores alone.
fn refuse_successor(home: &Home) -> anyhow::Result<()> {
    if !home.genesis_path().exists() {
        return Ok(());
    }
    let genesis = home.genesis()?;
    let Some(predecessor) = genesis.predecessor() else { return Ok(()) };
    bail!(
        "nothing was deleted: {} goes on from chain {}, whose DIDs are in no block of this chain, but in the nodes' \
         data/store alone. To replace a damaged ledger, put a copy of a stopped node's data/store in the place of {} \
         (never its data/journal). To give up the DIDs as well, delete {} by hand",
        home.genesis_path().display(),
        predecessor.chain,
        home.store().display(),
        home.data().display()
    );
}

fn confirmed(data: &str) -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        bail!("this deletes {data}, the node's voting record with it: say --yes if you mean it");
    }
    eprint!(
        "This deletes {data}.\nIts voting record goes with it: a validator that votes again without one can sign two \
         blocks for one height,\nwhich breaks the network's safety. Go on only on a test network. Type `yes`: "
    );
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}

#[cfg(test)]
mod tests;

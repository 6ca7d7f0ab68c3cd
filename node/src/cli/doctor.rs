//! `realdid doctor`: what is wrong with a node or around it, and what to do.
//!
//! Invariant: it changes nothing of the node but for a file in its data folder that it writes to time the disk, and deletes. One
//! check never hides another: what cannot be looked at because something else is broken is told as not checked.
//!
//! - [`report`]: findings, and how they are shown
//! - [`local`], [`disk`]: what the folder and the disk say
//! - [`network`], [`reach`]: ports, peers, and what nodes at work say

mod disk;
mod local;
mod network;
mod reach;
mod report;

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use client::Client;

use self::report::{Report, State};
use super::output::Output;
use super::{block_on, node_at};
use crate::home::Home;

/// More would be asked one after the other for a long time, and tell nothing new.
const MAX_WITNESSES: usize = 8;

/// Check a node's folder, machine and surroundings, and say what to do about what is wrong.
///
/// The node may run or not. Looks at: settings, genesis document, keys and who may read them, room on the disk and how fast it makes
/// data durable, ports, whether the peers are reached, the clock, whether another host uses this node's key, and versions. For the
/// last three it asks the node itself, if it runs, and the nodes given by --rpc, which should be other members'.
///
/// Exit code 0 where nothing failed, warnings or not; 1 otherwise.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  realdid doctor --home ./localnet/node0\n  \
                        realdid doctor --home /var/lib/realdid --rpc http://node1.example:26601 --json")]
pub(super) struct Doctor {
    /// The node's folder.
    #[arg(long, value_name = "DIR", env = "REALDID_HOME")]
    home: PathBuf,
    /// Another node's JSON-RPC, to compare with; may be given several times.
    #[arg(long = "rpc", value_name = "URL", value_parser = node_at)]
    witnesses: Vec<Client>,
}

impl Doctor {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<()> {
        if self.witnesses.len() > MAX_WITNESSES {
            let given = self.witnesses.len();
            let text = format!("--rpc is given {given} times: at most {MAX_WITNESSES} nodes are asked");
            return Err(super::Ending::CommandLine(text).into());
        }
        let home = Home::open(self.home)?;
        let mut report = Report::default();
        let spinner = output.spinner("looking");
        let folder = local::look(&home, &mut report);
        let asked = block_on(network::look(&folder, &self.witnesses, &mut report), "");
        spinner.finish_and_clear();
        asked?;
        output.answer(&report, || report.for_people(output))?;
        match report.count(State::Fail) {
            0 => Ok(()),
            1 => bail!("1 check failed: what to do stands with it"),
            failed => bail!("{failed} checks failed: what to do stands with each"),
        }
    }
}

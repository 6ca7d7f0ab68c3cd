//! `realdid genesis`: how members found a network ([`ceremony`]), and what the survivors do when a quorum is lost for good
//! (`docs/lost-quorum.md`).

mod ceremony;

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use ::genesis::document::MAX_FILE_BYTES;
use anyhow::Context;
use clap::{Args, Subcommand};
use consensus::remains::{Missing, Place};
use serde_json::{Value, json};

use super::output::Output;
use crate::home::Home;
use crate::succession::{self, Adopted, Prepared, Survivor};

/// Found a network together with others; or found it anew, when a quorum is lost for good.
///
/// To found one: `new`, `contribute`, `collect`, `verify` and `hash`. Each member makes its keys by itself (`realdid init`), and
/// all arrive at one document and one hash. docs/validators.md tells it step by step.
///
/// `tip`, `succeed` and `adopt` are for the day on which so many validators are gone, with their disks, that the rest can never decide anything again. The
/// survivors found a new chain that goes on from the old one's DIDs, histories and heights. Nobody can prove that they may:
/// the old chain's guarantee ends here, and everyone who relied on it opts in by taking the new genesis document.
/// docs/lost-quorum.md tells all of it, step by step.
#[derive(Debug, Subcommand)]
pub(super) enum Genesis {
    #[command(flatten)]
    Ceremony(ceremony::Ceremony),
    /// Show the newest block that a survivor holds, and what may be final above it.
    ///
    /// Run it on every survivor. The one with the highest block, prepared ones counted, makes the new document.
    #[command(after_help = "Example:\n  realdid genesis tip --home ./localnet/node0")]
    Tip {
        #[command(flatten)]
        survivor: Held,
    },
    /// Make the genesis document of the chain that the survivors go on with.
    ///
    /// Run it once, on the survivor that holds the highest block. The network's name and parameters stay. The document
    /// names the old chain, its last block and the state after it. All survivors take this one document.
    #[command(
        after_help = "Example:\n  realdid genesis succeed --home ./localnet/node0 --validators node0,node1 \
                            --out ./successor.toml"
    )]
    Succeed {
        #[command(flatten)]
        survivor: Held,
        /// The surviving validators, by their names. Others can be taken in later: `realdid gov`.
        #[arg(long, value_name = "NAME,NAME,…", value_delimiter = ',', required = true)]
        validators: Vec<String>,
        /// Go on from blocks that a quorum prepared, too: a lost validator may have told clients that they are final. The
        /// node's ledger then belongs to the new chain alone.
        #[arg(long, conflicts_with = "without_prepared")]
        include_prepared: bool,
        /// Give those blocks up, and with them what they may have made final.
        #[arg(long)]
        without_prepared: bool,
        /// The file to make; it must not exist.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Make a stopped node one of the new chain.
    ///
    /// Its ledger must stand exactly where the new chain begins, and becomes the new chain's; the old voting record and the
    /// old genesis document are put aside. Batches that no block named are dropped: their transactions were signed for
    /// the old chain. If it is interrupted, run it again.
    #[command(after_help = "Example:\n  realdid genesis adopt --home ./localnet/node0 ./successor.toml")]
    Adopt {
        #[command(flatten)]
        stopped: Stopped,
        /// The new genesis document, as `realdid genesis succeed` made it.
        file: PathBuf,
        /// This folder is a backup, made before, of a node that ran on the new chain since: its key may have signed there,
        /// and the node asks the others where it may vote.
        #[arg(long)]
        restored: bool,
    },
}

/// Which node, and what others know of its blocks.
#[derive(Debug, Args)]
pub(super) struct Held {
    #[command(flatten)]
    stopped: Stopped,
    /// A copy of another survivor's data/journal: its certificates and blocks count too. Can be given several times.
    #[arg(long = "journal", value_name = "DIR")]
    journals: Vec<PathBuf>,
}

/// Which node.
#[derive(Debug, Args)]
pub(super) struct Stopped {
    /// The node's folder; the node must not run.
    #[arg(long, value_name = "DIR", env = "REALDID_HOME")]
    home: PathBuf,
}

impl Genesis {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<()> {
        match self {
            Self::Ceremony(ceremony) => ceremony.run(output),
            Self::Tip { survivor } => tip(output, &survivor),
            Self::Succeed { survivor, validators, include_prepared, without_prepared, out } => {
                let prepared = match (include_prepared, without_prepared) {
                    (true, _) => Prepared::Include,
                    (false, true) => Prepared::LeaveOut,
                    (false, false) => Prepared::Refuse,
                };
                succeed(output, &survivor, &validators, prepared, &out)
            }
            Self::Adopt { stopped, file, restored } => adopt(output, &stopped.home, &file, restored),
        }
    }
}

fn tip(output: &Output, held: &Held) -> anyhow::Result<()> {
    let home = Home::open(&held.stopped.home)?;
    let _lock = home.lock()?;
    let survivor = Survivor::open(&home, &held.journals)?;
    let (store, remains) = (survivor.store(), &survivor.remains);
    let (tip, governance, chain) = (store.tip(), store.governance(), survivor.genesis().chain());
    let (state_root, has_ended) = (store.outcome().state_root, store.has_ended()?);
    let names: Vec<_> =
        governance.configuration.validators.iter().map(|(_, member)| member.name.clone()).collect();
    let signers = survivor.signers();
    let prepared = remains.prepared.last().map(|last| {
        json!({
            "view": last.view, "height": last.height, "digest": last.digest(), "blocks": remains.prepared.len(),
            "signers": signers,
        })
    });
    let json = json!({
        "chain": chain, "height": tip.height, "digest": tip.digest, "time": tip.time, "stateRoot": state_root,
        "epoch": governance.epoch, "validators": names, "prepared": prepared,
        "missing": remains.missing.as_ref().map(missing), "ended": has_ended,
    });
    output.answer(&json, || {
        let mut text = format!(
            "chain       {chain}\nheight      {}\nblock       {}\ntime        {}\nstate       {state_root}\nepoch       \
             {}\nvalidators  {}\n",
            tip.height,
            tip.digest,
            tip.time,
            governance.epoch,
            names.join(", ")
        );
        match remains.prepared.last() {
            Some(last) => {
                text += &format!(
                    "prepared    up to height {}, view {}, block {}, by {}: it may be final\n",
                    last.height,
                    last.view,
                    last.digest(),
                    signers.join(", ")
                );
            }
            None => text += "prepared    nothing above\n",
        }
        if let Some(missing) = &remains.missing {
            let kind = if missing.is_final { "final" } else { "prepared" };
            text += &format!("missing     block {} is {kind}, and not here\n", missing.digest);
        }
        if has_ended {
            text += "ended       `genesis succeed --include-prepared` was run: the ledger is for the new chain alone\n";
        }
        text
    })
}

fn missing(missing: &Missing) -> Value {
    let (view, height) = match missing.certified {
        Place::View(view) => (Some(view), None),
        Place::Height(height) => (None, Some(height)),
    };
    json!({ "view": view, "height": height, "digest": missing.digest, "final": missing.is_final })
}

fn succeed(
    output: &Output,
    held: &Held,
    names: &[String],
    prepared: Prepared,
    out: &Path,
) -> anyhow::Result<()> {
    let home = Home::open(&held.stopped.home)?;
    let _lock = home.lock()?;
    let survivor = Survivor::open(&home, &held.journals)?;
    // Claimed first: what follows may end the old chain here.
    let mut file = File::create_new(out).with_context(|| format!("cannot make {}", out.display()))?;
    let made = survivor.succeed(names, prepared).and_then(|next| {
        let written = file.write_all(next.to_toml().as_bytes()).and_then(|()| file.sync_all());
        written.with_context(|| format!("cannot write {}", out.display()))?;
        Ok(next)
    });
    let next = match made {
        Ok(next) => next,
        Err(error) => {
            std::fs::remove_file(out).with_context(|| format!("cannot remove {} again", out.display()))?;
            return Err(error);
        }
    };
    let (old, height) = (survivor.genesis().chain(), next.height());
    let has_ended = survivor.store().has_ended()?;
    let json = json!({
        "file": out, "chain": next.chain(), "predecessor": next.predecessor(), "validators": names, "ended": has_ended,
    });
    output.answer(&json, || {
        format!(
            "{} is the genesis document of chain {},\nwhich goes on after height {height} of chain {old}.\n\n\
             What this means: the guarantee of the old chain ends at that height. That these validators may go on with it\n\
             is your decision, which no signature of the old chain proves. A block that only lost validators knew of is gone.\n\
             Make one such document, on the survivor with the highest block (`realdid genesis tip`); all take the same.\n\n\
             Next, on each survivor, its node stopped:\n  realdid genesis adopt --home DIR {}\n  realdid start --home DIR\n\
             Where that says that the ledger stands elsewhere, copy data/store from this node first.\n\
             Then give the document to everyone who relies on the network: they opt in by taking it.",
            out.display(),
            next.chain(),
            out.display()
        )
    })
}

fn adopt(output: &Output, home: &Path, file: &Path, restored: bool) -> anyhow::Result<()> {
    let home = Home::open(home)?;
    let _lock = home.lock()?;
    let next = read(file)?;
    let Adopted { ledger_was_adopted, old_journal, old_genesis } = succession::adopt(&home, &next, restored)?;
    let changed = !ledger_was_adopted || old_journal.is_some() || old_genesis.is_some();
    let json = json!({
        "home": home.path(), "chain": next.chain(), "height": next.height(), "changed": changed,
        "oldJournal": old_journal, "oldGenesis": old_genesis,
    });
    output.answer(&json, || {
        let (folder, chain) = (home.path().display(), next.chain());
        if !changed {
            return format!("{folder} is of chain {chain} already: there was nothing to do.");
        }
        let mut text = format!("{folder} is of chain {chain} now, at height {}.\n", next.height());
        for (what, old) in [("voting record", &old_journal), ("genesis document", &old_genesis)] {
            if let Some(old) = old {
                text += &format!("The old {what} is in {}.\n", old.display());
            }
        }
        text + &format!("Start it: realdid start --home {folder}")
    })
}

/// The genesis document in `file`.
pub(super) fn read(file: &Path) -> anyhow::Result<::genesis::Genesis> {
    let cannot = || format!("cannot read {}", file.display());
    let length = std::fs::metadata(file).with_context(cannot)?.len();
    if length > MAX_FILE_BYTES as u64 {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge)).with_context(cannot);
    }
    let text = std::fs::read_to_string(file).with_context(cannot)?;
    ::genesis::Genesis::parse(&text).with_context(|| format!("{} is not a genesis document", file.display()))
}

//! The commands of `realdid`, a verb a file.
//!
//! Every error says what failed, with which value, and what to do; it goes to stderr, answers go to stdout. With
//! `--json` both are JSON. This is the one place where errors lose their type ([`anyhow`]).

mod backup;
mod bench;
mod chain;
mod completions;
mod config;
mod did;
mod doctor;
mod genesis;
mod gov;
mod init;
mod keys;
mod man;
mod output;
mod passphrase;
mod prove;
mod registry;
mod report;
mod reset;
mod snapshot;
mod start;
mod status;
mod testnet;
mod top;
mod tx;
mod watched;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use client::api::{ChainStatus, TimedOut, code};
use client::keyring::KeyringError;
use client::wallet::WalletError;
use client::{Client, Keyring, RpcError};
use output::Output;

use crate::disk::DiskFull;

/// What the exit codes mean; part of the interface.
const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    failed; the message says why and what to do
  2    the command line is wrong
  3    no answer in time: what became of a transaction is not known yet (`realdid tx wait ID`)
  4    there is no such thing, or it is deactivated
  5    the transaction is final, but changed nothing; or the node refuses it
  6    the disk has less room than its floor: the node stopped cleanly, or did not start
  130  interrupted

The first network in two commands:
  realdid testnet --dir ./localnet
  realdid start --home ./localnet/node0        (and node1, node2, node3, each in a terminal)
Then:
  realdid did create --rpc http://127.0.0.1:26601";

/// RealDID: a permissioned ledger for decentralized identifiers (DIDs).
///
/// Run a node, make DIDs and look at the network. `realdid help COMMAND` tells more about each command.
#[derive(Debug, Parser)]
#[command(name = "realdid", version, after_help = EXIT_CODES, max_term_width = 100)]
struct Cli {
    /// Print answers and errors as JSON, for programs; errors go to stderr, one a line.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Testnet(testnet::Testnet),
    Init(init::Init),
    Start(start::Start),
    Status(status::Status),
    Top(top::Top),
    Report(report::Report),
    #[command(subcommand)]
    Did(did::Did),
    #[command(subcommand)]
    Tx(tx::Tx),
    #[command(subcommand)]
    Registry(registry::Registry),
    #[command(subcommand)]
    Gov(gov::Gov),
    #[command(subcommand)]
    Config(config::Config),
    #[command(subcommand)]
    Keys(keys::Keys),
    #[command(subcommand)]
    Genesis(genesis::Genesis),
    #[command(subcommand)]
    Chain(chain::Chain),
    #[command(subcommand)]
    Snapshot(snapshot::Snapshot),
    #[command(subcommand)]
    Backup(backup::Backup),
    Bench(bench::Bench),
    Doctor(doctor::Doctor),
    Reset(reset::Reset),
    Completions(completions::Completions),
    Man(man::Man),
}

/// An end of a command that has an exit code of its own.
#[derive(Debug, thiserror::Error)]
enum Ending {
    /// The command line is wrong, which shows only when all of it is looked at.
    #[error("{0}")]
    CommandLine(String),
    /// What became of a transaction is not known yet.
    #[error("{0}")]
    FateUnknown(String),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// A transaction is final, but changed nothing.
    #[error("{0}")]
    NotApplied(String),
    /// Ctrl-C, and what is to be said of what it left.
    #[error("interrupted{0}")]
    Interrupted(&'static str),
    /// The node failed, and its log says why: it is for programs, so nothing else comes after its last line.
    #[error("the log says why")]
    Logged {
        /// What it ends with.
        code: u8,
    },
}

/// Which node to ask.
#[derive(Debug, Args)]
struct Rpc {
    /// The node to talk to: the address of its JSON-RPC.
    #[arg(
        long = "rpc",
        value_name = "URL",
        env = "REALDID_RPC",
        default_value = "http://127.0.0.1:26601",
        value_parser = node_at
    )]
    client: Client,
}

/// Where the keys of DIDs are.
#[derive(Debug, Args)]
struct KeyringFolder {
    /// The folder with the keys of your DIDs [default: ~/.realdid/keyring].
    #[arg(long, value_name = "DIR", env = "REALDID_KEYRING")]
    keyring: Option<PathBuf>,
}

impl KeyringFolder {
    fn open(&self) -> anyhow::Result<Keyring> {
        let folder = match &self.keyring {
            Some(folder) => folder.clone(),
            None => std::env::home_dir()
                .filter(|home| !home.as_os_str().is_empty())
                .context("there is no home folder to keep keys in: name a folder with --keyring DIR")?
                .join(".realdid/keyring"),
        };
        Ok(Keyring::open(folder)?)
    }
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return not_parsed(&error),
    };
    let output = Output::new(cli.json);
    match cli.command.run(&output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = exit_code(&error);
            if !matches!(error.downcast_ref(), Some(Ending::Logged { .. })) {
                output.error(&error, code);
            }
            ExitCode::from(code)
        }
    }
}

/// Help and version are texts; what is wrong with the command line is JSON where programs asked for it.
fn not_parsed(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
        let text = error.to_string();
        let text = text.trim_start_matches("error: ").trim_end().to_owned();
        Output::new(true).error(&anyhow::Error::msg(text), 2);
    } else {
        // Nobody may be there to read it.
        let _ = error.print();
    }
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}

impl Command {
    fn run(self, output: &Output) -> anyhow::Result<()> {
        match self {
            Self::Testnet(testnet) => testnet.run(output),
            Self::Init(init) => init.run(output),
            Self::Start(start) => start.run(),
            Self::Status(status) => block_on(status.run(output), ""),
            Self::Top(top) => top.run(output),
            Self::Report(report) => block_on(report.run(output), ""),
            Self::Did(did) => {
                let left = did.left_by_interruption();
                block_on(did.run(output), left)
            }
            Self::Tx(tx) => block_on(tx.run(output), ""),
            Self::Registry(registry) => {
                let left = registry.left_by_interruption();
                block_on(registry.run(output), left)
            }
            Self::Gov(gov) => block_on(gov.run(output), ""),
            Self::Config(config) => config.run(output),
            Self::Keys(keys) => keys.run(output),
            Self::Genesis(genesis) => genesis.run(output),
            Self::Chain(chain) => chain.run(output),
            Self::Snapshot(snapshot) => snapshot.run(output),
            Self::Backup(backup) => backup.run(output),
            Self::Bench(bench) => bench.run(output),
            Self::Doctor(doctor) => doctor.run(output),
            Self::Reset(reset) => reset.run(output),
            Self::Completions(completions) => completions.run(output),
            Self::Man(man) => man.run(output),
        }
    }
}

/// Runs a command that talks to a node, until it ends or Ctrl-C, which leaves what `left` says.
fn block_on<T>(command: impl Future<Output = anyhow::Result<T>>, left: &'static str) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            result = command => result,
            _ = tokio::signal::ctrl_c() => Err(Ending::Interrupted(left).into()),
        }
    })
}

fn exit_code(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        if let Some(ending) = cause.downcast_ref::<Ending>() {
            return match ending {
                Ending::Logged { code } => *code,
                Ending::CommandLine(_) => 2,
                Ending::FateUnknown(_) => 3,
                Ending::NotFound(_) => 4,
                Ending::NotApplied(_) => 5,
                Ending::Interrupted(_) => 130,
            };
        }
        if cause.is::<DiskFull>() {
            return 6;
        }
        if matches!(cause.downcast_ref(), Some(KeyringError::NoSuchDid { .. }))
            || matches!(
                cause.downcast_ref(),
                Some(WalletError::Deactivated { .. } | WalletError::Unresolved { .. })
            )
        {
            return 4;
        }
        if let Some(error) = cause.downcast_ref::<RpcError>() {
            return match error.call().map(|error| error.code) {
                Some(code::TIMED_OUT) => 3,
                Some(code::NOT_FOUND) => 4,
                Some(code::REFUSED | code::MALFORMED | code::EXPIRED) => 5,
                _ => 1,
            };
        }
    }
    1
}

/// A client of the node at a URL.
fn node_at(url: &str) -> Result<Client, RpcError> {
    Client::new(url.trim())
}

/// What to say where `error` is that no receipt came within `timeout`. The node knows only the last stretch of the
/// wait, and callers know better what to do next.
async fn no_receipt(client: &Client, timeout: Duration, error: &RpcError) -> Option<String> {
    let TimedOut { state, can_land_until, height, .. } = error.call()?.timed_out()?;
    let trouble = match client.status().await {
        Ok(ChainStatus { not_ready_because: Some(why), .. }) => format!(" The node is not ready: {why}."),
        _ => String::new(),
    };
    Some(format!(
        "no receipt within {timeout:?}: the transaction is {state} and can still be applied until height \
         {can_land_until}; the chain is at {height}.{trouble}"
    ))
}

/// A time such as `30s`, `500ms`, `2m`, or a number of seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, millis) = [("ms", 1), ("s", 1_000), ("m", 60_000), ("", 1_000)]
        .into_iter()
        .find_map(|(unit, millis)| Some((text.strip_suffix(unit)?, millis)))
        .unwrap_or((text, 1_000));
    let number: u64 = number.parse().map_err(|_| "expected a time such as 30s, 500ms or 2m".to_owned())?;
    let millis = number.checked_mul(millis).filter(|millis| *millis <= 86_400_000);
    millis.map(Duration::from_millis).ok_or_else(|| "expected at most a day".to_owned())
}

#[cfg(test)]
mod tests;

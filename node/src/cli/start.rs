//! `realdid start`: runs a node.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;
use tracing_subscriber::EnvFilter;

use super::output::full_text;
use super::passphrase::Opening;
use super::{Ending, exit_code};
use crate::config::{LogFormat, parse_log_level};
use crate::home::Home;

/// Run a node from its folder, until Ctrl-C or SIGTERM.
///
/// It connects to the present validators and to those that the genesis document in the folder lists, gets the blocks
/// that it lacks, and then takes part: as a validator if it is one now, else as an observer. On a chain that goes on from
/// another it needs that one's ledger to begin with (`realdid genesis adopt`, a snapshot made on this chain, or a copy of a
/// stopped node's data/store).
/// New blocks need a quorum of the validators: of four, start three at least. The ports are in the
/// folder's config.toml. Logs go to stderr.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  realdid start --home ./localnet/node0\n  \
                        realdid start --home ./localnet/node0 --log-format json --log-level info,p2p=debug")]
pub(super) struct Start {
    /// The node's folder, as `realdid init` or `realdid testnet` makes it.
    #[arg(long, value_name = "DIR", env = "REALDID_HOME")]
    home: PathBuf,
    /// How log lines look [default: as config.toml says].
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// How much is logged: error, warn, info, debug, trace, or a list with parts of their own such as info,p2p=debug
    /// [default: as config.toml says].
    #[arg(long, value_name = "LEVEL", value_parser = |text: &str| parse_log_level(text).map(|_| text.to_owned()))]
    log_level: Option<String>,
    #[command(flatten)]
    opening: Opening,
}

impl Start {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let home = Home::open(self.home)?.with_passphrase_file(self.opening.passphrase_file);
        let log = home.config()?.log;
        let level = self.log_level.unwrap_or(log.level);
        let filter = parse_log_level(&level).map_err(anyhow::Error::msg)?;
        let format = self.log_format.unwrap_or(log.format);
        install_log(format, filter);
        match run(home) {
            Err(error) if format == LogFormat::Json && tracing::enabled!(tracing::Level::ERROR) => {
                tracing::error!(error = full_text(&error), "the node failed");
                Err(Ending::Logged { code: exit_code(&error) }.into())
            }
            ended => ended,
        }
    }
}

fn run(home: Home) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("realdid").build()?;
    runtime.block_on(crate::node::run(home))
}

fn install_log(format: LogFormat, filter: EnvFilter) {
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Pretty => {
            let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            lines.with_ansi(colour).with_target(false).init();
        }
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).init(),
    }
}

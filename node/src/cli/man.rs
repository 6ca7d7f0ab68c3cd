//! `realdid man`: the manual pages.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, CommandFactory};
use serde_json::json;

use super::Cli;
use super::output::Output;

/// Write the manual pages: one for each command, with what its --help tells.
///
/// The Debian package brings them.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  realdid man --out ~/.local/share/man/man1")]
pub(super) struct Man {
    /// The folder to write to; made where it is missing. Pages of the same names are replaced.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl Man {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<()> {
        let cannot = || format!("cannot write manual pages to {}", self.out.display());
        fs::create_dir_all(&self.out).with_context(cannot)?;
        clap_mangen::generate_to(Cli::command(), &self.out).with_context(cannot)?;
        output.answer(&json!({ "folder": self.out }), || {
            format!("The manual pages are in {}: man -l {}/realdid.1", self.out.display(), self.out.display())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("man1");
        Man { out: out.clone() }.run(&Output::new(true)).unwrap();
        let page = |name: &str| fs::read_to_string(out.join(name)).unwrap();
        assert!(page("realdid.1").contains("Exit codes"));
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            assert!(page(&format!("realdid-{name}.1")).contains(name));
        }
        assert!(page("realdid-did-create.1").contains("keyring"));
    }
}

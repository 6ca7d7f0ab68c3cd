//! `realdid completions`: what a shell completes the commands by.

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use serde_json::json;

use super::Cli;
use super::output::Output;

/// Print the script by which a shell completes commands and options.
///
/// The Debian package brings those of bash, zsh and fish.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  realdid completions bash > ~/.local/share/bash-completion/completions/realdid"
)]
pub(super) struct Completions {
    /// Which shell.
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<()> {
        let script = script(self.shell);
        output.answer(&json!({ "shell": self.shell.to_string(), "script": script }), || script.clone())
    }
}

fn script(shell: Shell) -> String {
    let mut bytes = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "realdid", &mut bytes);
    // Names and help are text, so the script is.
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_shell_completes_every_command() {
        for shell in Shell::value_variants() {
            let script = script(*shell);
            for command in Cli::command().get_subcommands() {
                assert!(script.contains(command.get_name()), "{shell}: {}", command.get_name());
            }
        }
    }
}

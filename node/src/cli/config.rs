//! `realdid config`: a node's settings, checked and explained.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use client::Passphrase;
use serde_json::json;

use super::output::Output;
use crate::config::{Origin, Setting};
use crate::home::Home;

/// Check a node's settings, and show which are in force.
///
/// Settings are read when a node starts: restart it after a change.
#[derive(Debug, Subcommand)]
pub(super) enum Config {
    /// Check config.toml: every field, and that the passphrase file is usable if it names one.
    ///
    /// A wrong field is named with its line, its value and what is allowed; `realdid start` says the same.
    #[command(after_help = "Example:\n  realdid config check --home ./node")]
    Check {
        #[command(flatten)]
        folder: Folder,
    },
    /// Show the settings that config.toml makes; with --effective all of them, and where each comes from.
    #[command(after_help = "Example:\n  realdid config show --effective --home ./node")]
    Show {
        #[command(flatten)]
        folder: Folder,
        /// Those that have their default, too.
        #[arg(long)]
        effective: bool,
    },
}

/// Which node.
#[derive(Debug, Args)]
pub(super) struct Folder {
    /// The node's folder.
    #[arg(long, value_name = "DIR", env = "REALDID_HOME")]
    home: PathBuf,
}

impl Config {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<()> {
        match self {
            Self::Check { folder } => {
                let home = Home::open(folder.home)?;
                if let Some(file) = home.passphrase_file(&home.config()?) {
                    Passphrase::read(&file)?;
                }
                let file = home.config_path();
                output.answer(&json!({ "file": file, "sound": true }), || {
                    format!("{} is sound.", file.display())
                })
            }
            Self::Show { folder, effective } => {
                let home = Home::open(folder.home)?;
                let mut settings = home.settings()?;
                settings.retain(|setting| effective || setting.origin != Origin::Default);
                let json: Vec<_> = settings
                    .iter()
                    .map(|setting| {
                        let (from, line) = match setting.origin {
                            Origin::File { line } => ("config.toml", Some(line)),
                            Origin::Default => ("default", None),
                        };
                        json!({ "field": setting.field, "value": setting.value, "from": from, "line": line })
                    })
                    .collect();
                output.answer(&json, || {
                    let line = |setting: &Setting| {
                        let value = setting.value.as_ref().map_or("(none)".to_owned(), ToString::to_string);
                        let from = match setting.origin {
                            Origin::File { line } => format!("config.toml, line {line}"),
                            Origin::Default => "default".to_owned(),
                        };
                        format!("{:<26} = {value:<26}  # {from}\n", setting.field)
                    };
                    settings.iter().map(line).collect()
                })
            }
        }
    }
}

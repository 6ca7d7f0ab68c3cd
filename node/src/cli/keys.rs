//! `realdid keys`: key files.

use std::path::PathBuf;

use clap::Subcommand;
use client::{KeyFile, Role};
use serde_json::json;

use super::output::Output;
use crate::home::Home;

/// Make and look at key files.
#[derive(Debug, Subcommand)]
pub(super) enum Keys {
    /// Make a fresh key and write it to a file that only you can read.
    #[command(after_help = "Example:\n  realdid keys new --role network --out ./network.json")]
    New {
        /// What it is for: consensus, network, governance or did.
        #[arg(long)]
        role: Role,
        /// The file to make; it must not exist.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Check key files and print what may be known of them: role and public key.
    #[command(after_help = "Example:\n  realdid keys show ./localnet/node0/keys/*.json")]
    Show {
        /// The key files.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

impl Keys {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<()> {
        match self {
            Self::New { role, out } => {
                let key = KeyFile::generate(role);
                key.write_new(&out)?;
                if role == Role::Consensus {
                    // It has signed nothing yet: the node that gets it may vote without a journal, once.
                    Home::mark_beside(&out)?;
                }
                let public = key.secret.public();
                output.answer(&json!({ "role": role.name(), "publicKey": public, "file": out }), || {
                    format!("{} ({role} key) is in {}. Keep a copy in a safe place.", public, out.display())
                })
            }
            Self::Show { files } => {
                let mut shown = Vec::new();
                for file in files {
                    let key = KeyFile::read(&file)?;
                    shown.push((key.role, key.secret.public(), file));
                }
                let json: Vec<_> = shown
                    .iter()
                    .map(|(role, public, file)| json!({ "role": role.name(), "publicKey": public, "file": file }))
                    .collect();
                output.answer(&json, || {
                    let line = |(role, public, file): &(Role, _, PathBuf)| {
                        format!("{:<11} {public}  {}\n", role.name(), file.display())
                    };
                    shown.iter().map(line).collect()
                })
            }
        }
    }
}

//! `realdid keys`: key files.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use anyhow::Context;
use clap::Subcommand;
use client::private_file::Existing;
use client::{KeyFile, Passphrase, Role, StoredKey};
use serde_json::json;

use super::output::Output;
use super::passphrase::{Opening, Sealing, write_new};
use crate::home::Home;
use crate::unlock;

/// Make, encrypt and look at key files.
#[derive(Debug, Subcommand)]
pub(super) enum Keys {
    /// Make a fresh key and write it, encrypted, to a file that only you can read.
    #[command(
        after_help = "Example:\n  realdid keys new --role network --out ./network.json --passphrase-file ./passphrase"
    )]
    New {
        /// What it is for: consensus, network, governance or did.
        #[arg(long)]
        role: Role,
        /// The file to make; it must not exist.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        #[command(flatten)]
        sealing: Sealing,
    },
    /// Check key files and print what may be known of them: role, public key, and whether they are encrypted.
    ///
    /// No passphrase is needed. That the public key of an encrypted file is the secret one's shows when it is opened.
    #[command(after_help = "Example:\n  realdid keys show ./localnet/node0/keys/*.json")]
    Show {
        /// The key files.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Encrypt key files that are in the clear.
    ///
    /// Each file is replaced whole. Copies of the old ones, in backups or in what the disk keeps of deleted files, stay as they
    /// were. Where others may have them, make new keys instead.
    #[command(
        after_help = "Example:\n  realdid keys encrypt ./node0/keys/*.json --passphrase-file ./passphrase"
    )]
    Encrypt {
        /// The key files.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// The file (mode 0600) with the passphrase [default: the systemd credential realdid-passphrase, or the terminal,
        /// which asks twice].
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// Encrypt key files with another passphrase.
    ///
    /// All are opened before the first is replaced. Copies that were made before still open with the old passphrase.
    #[command(
        after_help = "Example:\n  realdid keys change-passphrase ./node0/keys/*.json --passphrase-file ./old \
                            --new-passphrase-file ./new"
    )]
    ChangePassphrase {
        /// The key files, encrypted with one passphrase.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        #[command(flatten)]
        opening: Opening,
        /// The file (mode 0600) with the new passphrase [default: the terminal, which asks twice].
        #[arg(long, value_name = "FILE")]
        new_passphrase_file: Option<PathBuf>,
    },
}

impl Keys {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<()> {
        match self {
            Self::New { role, out, sealing } => {
                let passphrase = sealing.passphrase()?;
                let key = KeyFile::generate(role);
                write_new(&key, &out, passphrase.as_ref())?;
                if role == Role::Consensus {
                    // It has signed nothing yet: the node that gets it may vote without a journal, once.
                    Home::mark_beside(&out)?;
                }
                let (public, encrypted) = (key.secret.public(), passphrase.is_some());
                let json = json!({
                    "role": role.name(), "publicKey": public, "file": out, "encrypted": encrypted,
                });
                output.answer(&json, || {
                    let keep = if encrypted { ", and one of the passphrase elsewhere" } else { "" };
                    format!(
                        "{public} ({role} key) is in {}. Keep a copy in a safe place{keep}.",
                        out.display()
                    )
                })
            }
            Self::Show { files } => {
                let read = files.iter().map(|file| StoredKey::read(file)).collect::<Result<Vec<_>, _>>()?;
                show(output, &read)
            }
            Self::Encrypt { files, passphrase_file } => {
                let read = files.iter().map(|file| StoredKey::read(file)).collect::<Result<Vec<_>, _>>()?;
                if let Some(encrypted) = read.iter().find(|file| file.is_encrypted()) {
                    anyhow::bail!(
                        "{} is encrypted already, and nothing was changed: leave it out, or give it another passphrase \
                         with `realdid keys change-passphrase`",
                        encrypted.path().display()
                    );
                }
                let keys = Opening::default().open(&read)?;
                let passphrase = unlock::fresh(passphrase_file.as_deref(), "")?;
                replace(output, &read, &keys, &passphrase)
            }
            Self::ChangePassphrase { files, opening, new_passphrase_file } => {
                let read = files.iter().map(|file| StoredKey::read(file)).collect::<Result<Vec<_>, _>>()?;
                if let Some(plain) = read.iter().find(|file| !file.is_encrypted()) {
                    anyhow::bail!(
                        "{} is in the clear, and nothing was changed: `realdid keys encrypt` encrypts it",
                        plain.path().display()
                    );
                }
                let keys = opening.open(&read)?;
                let passphrase = unlock::changed(new_passphrase_file.as_deref())?;
                replace(output, &read, &keys, &passphrase)
            }
        }
    }
}

/// Writes each key in the place of the file that it came from.
fn replace(
    output: &Output,
    files: &[StoredKey],
    keys: &[KeyFile],
    passphrase: &Passphrase,
) -> anyhow::Result<()> {
    for (place, (file, key)) in files.iter().zip(keys).enumerate() {
        replace_one(file, key, passphrase).with_context(|| match place {
            0 => "nothing was changed".to_owned(),
            _ => {
                let done: Vec<_> =
                    files[..place].iter().map(|file| file.path().display().to_string()).collect();
                format!(
                    "these have the new passphrase already: {}; the others are as they were",
                    done.join(", ")
                )
            }
        })?;
    }
    let written = files.iter().map(|file| StoredKey::read(file.path())).collect::<Result<Vec<_>, _>>()?;
    show(output, &written)
}

/// Writes a key in the place of its file, where that can be done without leaving the old content elsewhere.
fn replace_one(file: &StoredKey, key: &KeyFile, passphrase: &Passphrase) -> anyhow::Result<()> {
    // A rename would take the place of a link, and leave what it leads to.
    let path = fs::canonicalize(file.path()).with_context(|| file.path().display().to_string())?;
    let found = fs::metadata(&path).with_context(|| path.display().to_string())?;
    if found.nlink() > 1 {
        anyhow::bail!(
            "{} has {} names (hard links), and the others would keep the old content: remove them first",
            path.display(),
            found.nlink()
        );
    }
    // Written while this command waited for a passphrase.
    if StoredKey::read(&path)?.public() != key.secret.public() {
        anyhow::bail!(
            "{} holds another key than a moment ago: look what changes it, and run this again",
            path.display()
        );
    }
    Ok(key.write_encrypted(&path, passphrase, Existing::Replace)?)
}

fn show(output: &Output, files: &[StoredKey]) -> anyhow::Result<()> {
    let one = |key: &StoredKey| {
        json!({
            "role": key.role().name(), "publicKey": key.public(), "file": key.path(), "encrypted": key.is_encrypted(),
        })
    };
    output.answer(&files.iter().map(one).collect::<Vec<_>>(), || {
        let line = |key: &StoredKey| {
            let held = if key.is_encrypted() { "encrypted" } else { "plain" };
            format!("{:<11} {}  {held:<9}  {}\n", key.role().name(), key.public(), key.path().display())
        };
        files.iter().map(line).collect()
    })
}

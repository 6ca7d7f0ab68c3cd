//! What commands take to open keys, and to write them.

use std::path::PathBuf;

use clap::Args;
use client::key_file::KeyFileError;
use client::private_file::Existing;
use client::{KeyFile, Passphrase, StoredKey};

use crate::unlock;

/// What opens encrypted keys.
#[derive(Debug, Default, Args)]
pub(super) struct Opening {
    /// The file (mode 0600) with the passphrase of encrypted keys [default: as config.toml says, the systemd credential
    /// realdid-passphrase, or the terminal].
    #[arg(long, value_name = "FILE")]
    pub(super) passphrase_file: Option<PathBuf>,
}

impl Opening {
    /// The keys in `files`, opened. One passphrase is asked for, and only where a file needs it.
    pub(super) fn open(&self, files: &[StoredKey]) -> anyhow::Result<Vec<KeyFile>> {
        let passphrase = match files.iter().find(|file| file.is_encrypted()) {
            Some(file) => Some(unlock::present(self.passphrase_file.as_deref(), || {
                format!("{} is encrypted", file.path().display())
            })?),
            None => None,
        };
        let opened = files.iter().map(|file| file.open(passphrase.as_ref()));
        Ok(opened.collect::<Result<_, KeyFileError>>()?)
    }
}

/// How new keys are written.
#[derive(Debug, Args)]
pub(super) struct Sealing {
    /// The file (mode 0600) with the passphrase to encrypt with [default: the systemd credential realdid-passphrase, or the
    /// terminal, which asks twice].
    #[arg(long, value_name = "FILE")]
    pub(super) passphrase_file: Option<PathBuf>,
    /// Write keys in the clear: for tests, or where the disk is encrypted. `realdid keys encrypt` can follow.
    #[arg(long, conflicts_with = "passphrase_file")]
    plain: bool,
}

impl Sealing {
    /// What to encrypt with, if anything.
    pub(super) fn passphrase(&self) -> anyhow::Result<Option<Passphrase>> {
        if self.plain {
            return Ok(None);
        }
        Ok(Some(unlock::fresh(self.passphrase_file.as_deref(), "; or, for keys in the clear, give --plain")?))
    }
}

/// Writes a new key.
pub(super) fn write_new(
    key: &KeyFile,
    path: &std::path::Path,
    passphrase: Option<&Passphrase>,
) -> Result<(), KeyFileError> {
    match passphrase {
        Some(passphrase) => key.write_encrypted(path, passphrase, Existing::Keep),
        None => key.write_new(path),
    }
}

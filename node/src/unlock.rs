//! Where the passphrase of encrypted keys comes from. The first of these that there is:
//!
//! 1. the file that the command line names, then the one that `[keys] passphrase_file` in config.toml names
//! 2. the systemd credential `realdid-passphrase` (`LoadCredential=` or `LoadCredentialEncrypted=` in the unit)
//! 3. a terminal, where nothing that is typed shows
//!
//! A source that is there but cannot be used is an error: the next one is not tried in its place, since it would be
//! another passphrase. Nothing here is kept: each call asks anew.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use client::Passphrase;
use client::passphrase::PassphraseError;

/// What the credential is called.
pub const CREDENTIAL: &str = "realdid-passphrase";

/// Why there is no passphrase.
#[derive(Debug, thiserror::Error)]
pub enum UnlockError {
    /// None of the sources is there.
    #[error(
        "{what}, and there is no passphrase: name a file that holds it with --passphrase-file FILE, or for a node with \
         `[keys] passphrase_file` in config.toml; or have systemd hand it over as the credential `{CREDENTIAL}`; or run \
         this on a terminal{or}"
    )]
    NoSource {
        /// What needs it.
        what: String,
        /// Another way out, for commands that have one.
        or: &'static str,
    },
    /// There is none for the new passphrase.
    #[error(
        "there is no new passphrase: name a file that holds it with --new-passphrase-file FILE, or run this on a terminal"
    )]
    NoNewSource,
    /// The source holds none.
    #[error(transparent)]
    Unfit(#[from] PassphraseError),
    /// The terminal fails.
    #[error("cannot ask for a passphrase on this terminal: {0}")]
    Terminal(#[source] io::Error),
    /// What was typed the second time is something else.
    #[error("the two passphrases differ: nothing was changed; try again")]
    Differ,
}

/// Where to look before the terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    File(PathBuf),
    Credential(PathBuf),
    Terminal,
}

/// The source to use, if there is one.
fn source(file: Option<&Path>, credentials: Option<&Path>, has_terminal: bool) -> Option<Source> {
    if let Some(file) = file {
        return Some(Source::File(file.to_owned()));
    }
    // A unit may have credentials and this one not among them.
    let credential = credentials.map(|folder| folder.join(CREDENTIAL)).filter(|path| path.exists());
    credential.map(Source::Credential).or(has_terminal.then_some(Source::Terminal))
}

fn here(file: Option<&Path>) -> Option<Source> {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    source(file, credentials.as_deref(), io::stdin().is_terminal())
}

/// The passphrase that opens what there is; `what` says what needs it: "… is encrypted".
///
/// # Errors
/// When there is no source, or it holds no passphrase.
pub fn present(file: Option<&Path>, what: impl FnOnce() -> String) -> Result<Passphrase, UnlockError> {
    match here(file) {
        Some(Source::File(path)) => Ok(Passphrase::read(&path)?),
        Some(Source::Credential(path)) => Ok(Passphrase::read_credential(&path)?),
        Some(Source::Terminal) => ask("Passphrase of the keys: "),
        None => Err(UnlockError::NoSource { what: what(), or: "" }),
    }
}

/// A passphrase for what is to be encrypted: on a terminal it is asked for twice. `or` is another way out.
///
/// # Errors
/// When there is no source, it holds no passphrase, or two different ones were typed.
pub fn fresh(file: Option<&Path>, or: &'static str) -> Result<Passphrase, UnlockError> {
    match here(file) {
        Some(source) => fresh_from(source),
        None => Err(UnlockError::NoSource { what: "keys are written encrypted".to_owned(), or }),
    }
}

/// A passphrase in the place of another one: from `file`, or from a terminal, twice. The credential is the old one.
///
/// # Errors
/// As [`fresh`].
pub fn changed(file: Option<&Path>) -> Result<Passphrase, UnlockError> {
    match source(file, None, io::stdin().is_terminal()) {
        Some(source) => fresh_from(source),
        None => Err(UnlockError::NoNewSource),
    }
}

fn fresh_from(source: Source) -> Result<Passphrase, UnlockError> {
    match source {
        Source::Terminal => {
            let passphrase = ask("New passphrase for the keys: ")?;
            if !passphrase.is(&ask("The same again: ")?) {
                return Err(UnlockError::Differ);
            }
            Ok(passphrase)
        }
        Source::File(path) => Ok(Passphrase::read(&path)?),
        Source::Credential(path) => Ok(Passphrase::read_credential(&path)?),
    }
}

fn ask(prompt: &str) -> Result<Passphrase, UnlockError> {
    let typed = rpassword::prompt_password(prompt).map_err(UnlockError::Terminal)?;
    Ok(Passphrase::new(typed.into(), "that was typed")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_file_comes_before_the_credential_and_that_before_the_terminal() {
        let folder = tempfile::tempdir().unwrap();
        let file = Path::new("/a/phrase");
        let credentials = Some(folder.path());
        assert_eq!(source(None, credentials, false), None, "other credentials are not ours");
        assert_eq!(source(None, credentials, true), Some(Source::Terminal));
        let credential = folder.path().join(CREDENTIAL);
        std::fs::write(&credential, "x").unwrap();
        assert_eq!(source(None, credentials, true), Some(Source::Credential(credential)));
        assert_eq!(source(Some(file), credentials, true), Some(Source::File(file.to_owned())));
    }

    #[test]
    fn without_any_source_all_ways_are_named() {
        let error = UnlockError::NoSource { what: "a.json is encrypted".into(), or: "; or give --plain" };
        let text = error.to_string();
        for part in [
            "a.json is encrypted",
            "--passphrase-file",
            "[keys] passphrase_file",
            CREDENTIAL,
            "terminal",
            "--plain",
        ] {
            assert!(text.contains(part), "{part} is missing in: {text}");
        }
    }
}

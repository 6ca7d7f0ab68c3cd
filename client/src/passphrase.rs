//! What encrypts key files: a passphrase that never shows.
//!
//! Invariant: a passphrase is one line of 1 to [`MAX_CHARS`] bytes, is wiped when dropped, and stands in no error, log or
//! `Debug` text. Where it comes from (a file, a credential, a terminal) is for whoever wires; this reads files.

use std::fmt;
use std::path::Path;

use zeroize::Zeroizing;

use crate::private_file::{self, PrivateFileError};

/// The most bytes that a passphrase may have.
pub const MAX_CHARS: usize = 1_024;

/// Bits of a mode that a file with a secret must not have: it is its owner's alone.
const NOT_THE_OWNER: u32 = 0o077;

/// The same for a credential of systemd. It lets the service's user in by an access list, which shows as the group's
/// permission to read; its folder is closed to all others.
const NOT_THE_SERVICE: u32 = 0o037;

/// A passphrase.
pub struct Passphrase(Zeroizing<String>);

/// Why there is no passphrase.
#[derive(Debug, thiserror::Error)]
pub enum PassphraseError {
    /// Its file cannot be read, or others may read it.
    #[error("no passphrase: {0}")]
    File(#[from] PrivateFileError),
    /// It cannot be one.
    #[error("the passphrase {origin} {problem}")]
    Unfit {
        /// Where it came from.
        origin: String,
        /// What is wrong, without the passphrase.
        problem: &'static str,
    },
}

impl Passphrase {
    /// Takes `text`, which came from `origin`: `in /a/file`, `that was typed`.
    ///
    /// # Errors
    /// When it is empty, too long, or more than one line.
    pub fn new(text: Zeroizing<String>, origin: &str) -> Result<Self, PassphraseError> {
        let problem = match text.len() {
            0 => "is empty: give at least one character",
            length if length > MAX_CHARS => "is longer than 1024 bytes: is this the right file?",
            _ if text.contains(['\n', '\r', '\0']) => "is more than one line: put it alone into its file",
            _ => return Ok(Self(text)),
        };
        Err(PassphraseError::Unfit { origin: origin.to_owned(), problem })
    }

    /// Reads the file `path`, which must be its owner's alone. One line break at its end does not count.
    ///
    /// # Errors
    /// When it cannot be read, others may read or change it, or what it holds cannot be a passphrase.
    pub fn read(path: &Path) -> Result<Self, PassphraseError> {
        Self::read_unless(path, NOT_THE_OWNER)
    }

    /// Reads a credential that systemd put at `path`.
    ///
    /// # Errors
    /// As [`Passphrase::read`].
    pub fn read_credential(path: &Path) -> Result<Self, PassphraseError> {
        Self::read_unless(path, NOT_THE_SERVICE)
    }

    fn read_unless(path: &Path, forbidden: u32) -> Result<Self, PassphraseError> {
        let mut text = private_file::read_unless(path, forbidden)?;
        let line = text.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
        if let Some(length) = line.map(str::len) {
            text.truncate(length);
        }
        Self::new(text, &format!("in {}", path.display()))
    }

    /// Whether both are the same.
    pub fn is(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file(content: &str, mode: u32) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("phrase");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    fn read(content: &str) -> Result<Passphrase, PassphraseError> {
        let (_folder, path) = file(content, 0o600);
        Passphrase::read(&path)
    }

    #[test]
    fn one_line_break_at_the_end_does_not_count_and_spaces_do() {
        for (content, expected) in
            [("a b", "a b"), ("a b\n", "a b"), ("a b\r\n", "a b"), (" a ", " a "), ("ä\n", "ä")]
        {
            assert_eq!(read(content).unwrap().as_bytes(), expected.as_bytes(), "{content:?}");
        }
    }

    #[test]
    fn what_cannot_be_a_passphrase_is_refused_with_its_file_and_without_its_text() {
        let long = "secret".repeat(200);
        for (content, problem) in [
            ("", "is empty"),
            ("\n", "is empty"),
            ("secret\n\n", "more than one line"),
            ("secret\nsecret", "more than one line"),
            (&long, "longer than 1024"),
        ] {
            let error = read(content).unwrap_err().to_string();
            assert!(error.contains(problem) && error.contains("/phrase"), "{content:?}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_missing_or_that_others_can_read_is_named() {
        let (_folder, path) = file("secret", 0o600);
        let error = Passphrase::read(&path.with_file_name("gone")).unwrap_err().to_string();
        assert!(error.contains("/gone") && error.contains("No such file"), "{error}");
        for mode in [0o640, 0o604, 0o620, 0o602] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let error = Passphrase::read(&path).unwrap_err().to_string();
            assert!(error.contains("chmod 0600") && error.contains("/phrase"), "{error}");
        }
    }

    #[test]
    fn a_credential_may_be_read_by_its_group_and_by_nobody_else() {
        for (mode, may) in [(0o400, true), (0o440, true), (0o404, false), (0o460, false)] {
            let (_folder, path) = file("secret", mode);
            assert_eq!(Passphrase::read_credential(&path).is_ok(), may, "{mode:o}");
        }
    }

    #[test]
    fn debug_shows_no_passphrase() {
        assert_eq!(format!("{:?}", read("secret").unwrap()), "Passphrase(…)");
    }
}

//! Files that only their owner may read, written whole or not at all.
//!
//! Invariant: at no moment does a secret stand in a file that others can read, and a crash leaves either the old
//! content or the new one. A file that others can read is refused: its secret may be known already.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use zeroize::Zeroizing;

/// The most bytes that a private file may have. Far more than any of ours.
const MAX_BYTES: u64 = 1 << 20;

/// What a temporary file's name ends in. A crash can leave one behind; readers of a folder skip them.
pub(crate) const TEMPORARY: &str = ".tmp";

/// Why a private file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PrivateFileError {
    /// The system refuses.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others than the owner may read or write it.
    #[error(
        "{} may be read or changed by others (mode {mode:04o}): its secrets may be known. If you are sure that they \
         are not, run: chmod 0600 '{}'",
        path.display(),
        path.display()
    )]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Others than the owner may enter the folder.
    #[error(
        "others may enter {} (mode {mode:04o}): choose a folder that is for keys alone, or, if this one is, run: \
         chmod 0700 '{}'",
        path.display(),
        path.display()
    )]
    OpenFolder {
        /// Which folder.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Not a plain file.
    #[error("{} is not a file", path.display())]
    NotAFile {
        /// What it is named.
        path: PathBuf,
    },
    /// Too large to be one of ours.
    #[error("{} has {length} bytes, more than such a file can have: is this the right file?", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// Its size in bytes.
        length: u64,
    },
    /// Not text.
    #[error("{} is not UTF-8 text: it is damaged, or not the right file; restore it from a backup", path.display())]
    NotText {
        /// Which file.
        path: PathBuf,
    },
    /// It exists, and was not to be replaced.
    #[error("{} exists already: choose another name, or move it away", path.display())]
    Exists {
        /// Which file.
        path: PathBuf,
    },
}

impl PrivateFileError {
    /// Whether the file is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// What to do where the file exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Leave it, and fail.
    Keep,
    /// Put the new content in its place.
    Replace,
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PrivateFileError {
    move |source| PrivateFileError::Io { doing, path: path.to_owned(), source }
}

/// Makes the folder `path` and those above it, for the owner alone. One that exists must be so already.
///
/// # Errors
/// When the system refuses or others may enter it.
pub fn create_folder(path: &Path) -> Result<(), PrivateFileError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("create the folder", path))?;
    check_folder(path)
}

/// Checks that only the owner may enter the folder `path`.
///
/// # Errors
/// When it is not there or others may enter it.
pub fn check_folder(path: &Path) -> Result<(), PrivateFileError> {
    let mode = fs::metadata(path).map_err(failed("read the folder", path))?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(PrivateFileError::OpenFolder { path: path.to_owned(), mode });
    }
    Ok(())
}

/// The text of a file that only its owner can read; wiped when dropped.
///
/// # Errors
/// When it is not there, not a small text file, or others may read or change it.
pub fn read(path: &Path) -> Result<Zeroizing<String>, PrivateFileError> {
    read_unless(path, 0o077)
}

/// The same, of a file whose mode has none of the bits `forbidden`.
pub(crate) fn read_unless(path: &Path, forbidden: u32) -> Result<Zeroizing<String>, PrivateFileError> {
    // Opening a FIFO would wait for its other end: look before.
    if !fs::metadata(path).map_err(failed("read", path))?.is_file() {
        return Err(PrivateFileError::NotAFile { path: path.to_owned() });
    }
    let file = File::open(path).map_err(failed("read", path))?;
    let metadata = file.metadata().map_err(failed("read", path))?;
    let (mode, length) = (metadata.mode() & 0o7777, metadata.len());
    if mode & forbidden != 0 {
        return Err(PrivateFileError::Exposed { path: path.to_owned(), mode });
    }
    if length > MAX_BYTES {
        return Err(PrivateFileError::TooLarge { path: path.to_owned(), length });
    }
    // Room for all of it at once, so that no half-filled buffer with a secret is left behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(length as usize + 1));
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(failed("read", path))?;
    match String::from_utf8(std::mem::take(&mut *bytes)) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            Err(PrivateFileError::NotText { path: path.to_owned() })
        }
    }
}

/// Writes `text` to `path`, readable for the owner alone, and returns once it is on the disk.
///
/// # Errors
/// When the system refuses, or the file exists and is to be kept. Then nothing at `path` has changed.
pub fn write(path: &Path, text: &str, existing: Existing) -> Result<(), PrivateFileError> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let Some(name) = path.file_name() else {
        return Err(PrivateFileError::NotAFile { path: path.to_owned() });
    };
    let mut temporary = name.to_owned();
    temporary.push(format!(".{}-{}{TEMPORARY}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    let temporary = folder.join(temporary);
    let result = write_and_move(path, &temporary, text, existing);
    if result.is_err() {
        // What failed says more than why the leftover stays.
        let _ = fs::remove_file(&temporary);
    }
    result?;
    // The name is durable only once the folder is.
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("sync the folder", folder))
}

fn write_and_move(
    path: &Path,
    temporary: &Path,
    text: &str,
    existing: Existing,
) -> Result<(), PrivateFileError> {
    // Errors name the file that was asked for: nobody knows the temporary one.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(temporary)
        .map_err(failed("create", path))?;
    file.write_all(text.as_bytes()).map_err(failed("write", path))?;
    file.sync_all().map_err(failed("sync", path))?;
    match existing {
        Existing::Replace => fs::rename(temporary, path).map_err(failed("replace", path)),
        // A link fails where the name is taken; a rename would replace.
        Existing::Keep => {
            fs::hard_link(temporary, path).map_err(|source| match source.kind() {
                io::ErrorKind::AlreadyExists => PrivateFileError::Exists { path: path.to_owned() },
                _ => failed("create", path)(source),
            })?;
            fs::remove_file(temporary).map_err(failed("remove", temporary))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_private_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");
        write(&path, "one", Existing::Keep).unwrap();
        write(&path, "two", Existing::Replace).unwrap();
        assert_eq!((read(&path).unwrap().as_str(), mode(&path)), ("two", 0o600));
        assert_eq!(names(folder.path()), ["a.key"]);
    }

    #[test]
    fn an_existing_file_is_kept_when_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");
        write(&path, "one", Existing::Keep).unwrap();
        let error = write(&path, "two", Existing::Keep).unwrap_err();
        assert!(matches!(error, PrivateFileError::Exists { .. }), "{error}");
        assert_eq!(read(&path).unwrap().as_str(), "one");
        assert_eq!(names(folder.path()), ["a.key"]);
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_with_the_command_that_mends_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");
        write(&path, "one", Existing::Keep).unwrap();
        for wrong in [0o640, 0o604, 0o620, 0o666] {
            fs::set_permissions(&path, fs::Permissions::from_mode(wrong)).unwrap();
            let error = read(&path).unwrap_err().to_string();
            let command = format!("chmod 0600 '{}'", path.display());
            assert!(error.contains(&command) && error.contains(&format!("{wrong:04o}")), "{error}");
        }
    }

    #[test]
    fn a_folder_is_private_and_an_open_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/ring");
        create_folder(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let error = create_folder(&path).unwrap_err().to_string();
        assert!(error.contains("chmod 0700"), "{error}");
    }

    #[test]
    fn what_is_no_small_text_file_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");
        let error = read(&path).unwrap_err();
        assert!(error.is_not_found() && error.to_string().contains("a.key"), "{error}");
        assert!(matches!(read(folder.path()), Err(PrivateFileError::NotAFile { .. })));
        write(&path, &"x".repeat(MAX_BYTES as usize + 1), Existing::Keep).unwrap();
        assert!(matches!(read(&path), Err(PrivateFileError::TooLarge { .. })));
        fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(matches!(read(&path), Err(PrivateFileError::NotText { .. })));
    }

    #[test]
    fn a_failed_write_leaves_the_old_content_and_no_rest() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("taken");
        fs::create_dir(&taken).unwrap();
        assert!(write(&taken, "x", Existing::Replace).is_err());
        assert_eq!(names(folder.path()), ["taken"]);
        let error = write(&folder.path().join("no/such.key"), "x", Existing::Keep).unwrap_err().to_string();
        assert!(error.contains("no/such.key: "), "{error}");
    }
}

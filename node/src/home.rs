//! A node's folder: settings, genesis document, keys and data.
//!
//! ```text
//! home/
//!   config.toml            this node's settings
//!   genesis.toml           what all nodes agree on
//!   keys/consensus.json    secrets, mode 0600, folder 0700; plain, or encrypted with a passphrase
//!   keys/network.json
//!   keys/governance.json
//!   keys/first-start       made with the keys, gone with the first start: without it and without a journal, the
//!                          journal was lost
//!   data/store/            the chain and its state: the other nodes have it too, but see `ledger::HOW_TO_REPLACE`
//!   data/store.restoring/  a backup on its way in
//!   data/store.manifest    the list of the snapshot that is on its way in
//!   data/journal/          what this validator voted: nobody else has it
//!   data/snapshots/        ledgers at one height, for nodes that begin there
//!   run/admin.sock         for administration, by this user alone, while the node runs
//!   lock                   held while the node runs
//! ```
//!
//! Every error names the file and the way out.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use client::Passphrase;
use client::key_file::{KeyFile, KeyFileError, StoredKey};
use client::private_file::{self, Existing, PrivateFileError};
use genesis::document::{GenesisError, MAX_FILE_BYTES};
use genesis::{Genesis, PublicKey, SecretKey};

use crate::config::{Config, ConfigError, Setting};
use crate::snapshot::Shelf;
use crate::unlock::{self, UnlockError};

pub use client::key_file::Role as KeyRole;

/// The roles whose keys a node's folder holds.
pub const NODE_ROLES: [KeyRole; 3] = [KeyRole::Consensus, KeyRole::Network, KeyRole::Governance];

/// A node's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    path: PathBuf,
    /// The file with the passphrase of the keys, where it was named beside the settings.
    passphrase_file: Option<PathBuf>,
}

/// Held while the node runs: no second one starts in the same folder, and `reset` keeps away.
#[derive(Debug)]
pub struct HomeLock {
    _file: File,
}

/// Why a node's folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// There is no such folder.
    #[error("{} is not the folder of a node: {problem}. Make one with `realdid init --home DIR`, or a network for tests with `realdid testnet --dir DIR`; or check --home", path.display())]
    NotAHome {
        /// What was given.
        path: PathBuf,
        /// What is missing.
        problem: &'static str,
    },
    /// A file cannot be read or written.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file that belongs here is not there.
    #[error("there is no {}: {way_out}", path.display())]
    Missing {
        /// Which file.
        path: PathBuf,
        /// Where it comes from.
        way_out: &'static str,
    },
    /// The settings are refused.
    #[error("{}: {source}", path.display())]
    Config {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: ConfigError,
    },
    /// The genesis document is refused.
    #[error("{}: {source}. All nodes of a network hold the same document: copy it from another", path.display())]
    Genesis {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: GenesisError,
    },
    /// A key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// A folder for keys cannot be made.
    #[error(transparent)]
    PrivateFile(#[from] PrivateFileError),
    /// The keys are encrypted, and there is no passphrase.
    #[error(transparent)]
    Unlock(#[from] UnlockError),
    /// The folder is to be made, and holds something.
    #[error("{} is not empty: name a folder that is to be made, or remove what an interrupted `realdid init` left", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// The node runs already.
    #[error("a node is running in {}: stop it first", path.display())]
    Running {
        /// The folder.
        path: PathBuf,
    },
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> HomeError {
    move |source| HomeError::Io { doing, path: path.to_owned(), source }
}

impl Home {
    /// The node's folder at `path`.
    ///
    /// # Errors
    /// When it is none.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, HomeError> {
        let home = Self::new(path);
        let not_a_home = |problem| HomeError::NotAHome { path: home.path.clone(), problem };
        if !home.path.is_dir() {
            return Err(not_a_home("there is no such folder"));
        }
        if !home.config_path().exists() {
            return Err(not_a_home("it has no config.toml"));
        }
        Ok(home)
    }

    /// A folder that is yet to be filled.
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), passphrase_file: None }
    }

    /// Makes the folder of a new node: keys, the mark of a first start, the genesis document if there is one yet, and the
    /// settings last, so that a folder with settings is a whole one. The keys are encrypted if there is a passphrase.
    ///
    /// # Errors
    /// When there is such a folder and it holds something, or something cannot be written.
    pub(crate) fn found(
        path: &Path,
        keys: &[KeyFile],
        passphrase: Option<&Passphrase>,
        genesis: Option<&str>,
        config: &Config,
    ) -> Result<Self, HomeError> {
        let home = Self::new(path);
        if path.exists() && fs::read_dir(path).map_err(failed("read", path))?.next().is_some() {
            return Err(HomeError::NotEmpty { path: path.to_owned() });
        }
        fs::create_dir_all(path).map_err(failed("make", path))?;
        private_file::create_folder(&home.keys())?;
        for key in keys {
            match passphrase {
                Some(passphrase) => {
                    key.write_encrypted(&home.key_path(key.role), passphrase, Existing::Keep)?
                }
                None => key.write_new(&home.key_path(key.role))?,
            }
        }
        home.mark_first_start()?;
        let write = |path: PathBuf, text: &str| fs::write(&path, text).map_err(failed("write", &path));
        if let Some(genesis) = genesis {
            write(home.genesis_path(), genesis)?;
        }
        write(home.config_path(), &config.to_toml())?;
        Ok(home)
    }

    /// The same folder, whose keys open with the passphrase in `file`, whatever the settings name.
    #[must_use]
    pub fn with_passphrase_file(self, file: Option<PathBuf>) -> Self {
        Self { passphrase_file: file, ..self }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The settings' file.
    pub fn config_path(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    /// The genesis document's file.
    pub fn genesis_path(&self) -> PathBuf {
        self.path.join("genesis.toml")
    }

    /// The folder of the keys.
    pub fn keys(&self) -> PathBuf {
        self.path.join("keys")
    }

    /// The file of a key.
    pub fn key_path(&self, role: KeyRole) -> PathBuf {
        self.keys().join(format!("{role}.json"))
    }

    /// The mark that says that the consensus key has signed nothing yet.
    pub fn first_start(&self) -> PathBuf {
        self.keys().join("first-start")
    }

    /// Makes that mark, durably: the key is a new one, or its whole chain is given up.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn mark_first_start(&self) -> Result<(), HomeError> {
        Self::write_mark(self.first_start())
    }

    /// The same, beside a new consensus key that is not in a node's folder yet.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn mark_beside(key: &Path) -> Result<(), HomeError> {
        Self::write_mark(key.with_file_name("first-start"))
    }

    fn write_mark(path: PathBuf) -> Result<(), HomeError> {
        let text = "The consensus key beside this file has signed nothing yet. The node removes this file at its first start.\n";
        fs::write(&path, text).and_then(|()| File::open(&path)?.sync_all()).map_err(failed("write", &path))
    }

    /// The folder of what the node writes.
    pub fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// The chain and its state.
    pub fn store(&self) -> PathBuf {
        self.data().join("store")
    }

    /// Ledgers at one height, for nodes that begin there.
    pub fn snapshots(&self) -> Shelf {
        Shelf::new(self.data().join("snapshots"))
    }

    /// The folder of the socket for administration.
    pub fn run_folder(&self) -> PathBuf {
        self.path.join("run")
    }

    /// The socket for administration.
    pub fn admin_socket(&self) -> PathBuf {
        self.run_folder().join("admin.sock")
    }

    /// What this validator voted.
    pub fn journal(&self) -> PathBuf {
        self.data().join("journal")
    }

    /// The settings.
    ///
    /// # Errors
    /// When the file cannot be read or is refused.
    pub fn config(&self) -> Result<Config, HomeError> {
        self.read_config(Config::parse)
    }

    /// The settings one by one, each with where it comes from.
    ///
    /// # Errors
    /// As [`Home::config`].
    pub fn settings(&self) -> Result<Vec<Setting>, HomeError> {
        self.read_config(Config::settings)
    }

    fn read_config<T>(&self, parse: impl FnOnce(&str) -> Result<T, ConfigError>) -> Result<T, HomeError> {
        let path = self.config_path();
        let text = read(&path)?;
        parse(&text).map_err(|source| HomeError::Config { path, source })
    }

    /// The file with the keys' passphrase that the settings name, if any.
    pub fn passphrase_file(&self, config: &Config) -> Option<PathBuf> {
        // From wherever the command is run, a relative name is the same file.
        config.keys.passphrase_file.as_ref().map(|file| self.path.join(file))
    }

    /// The genesis document.
    ///
    /// # Errors
    /// When the file cannot be read or is refused.
    pub fn genesis(&self) -> Result<Genesis, HomeError> {
        let path = self.genesis_path();
        if !path.exists() {
            let way_out = "all nodes of a network hold the same document: copy it from another";
            return Err(HomeError::Missing { path, way_out });
        }
        let text = read(&path)?;
        Genesis::parse(&text).map_err(|source| HomeError::Genesis { path, source })
    }

    /// The node's key for `role`, read anew each time.
    ///
    /// # Errors
    /// As [`Home::secrets`].
    pub fn key(&self, role: KeyRole) -> Result<SecretKey, HomeError> {
        self.secrets([role]).map(|[secret]| secret)
    }

    /// The node's keys for `roles`, read anew each time. The passphrase of encrypted ones is asked for once.
    ///
    /// # Errors
    /// When a file cannot be read, others may read it, or it does not hold such a key; when it is encrypted and there is no
    /// passphrase, or another one.
    pub fn secrets<const N: usize>(&self, roles: [KeyRole; N]) -> Result<[SecretKey; N], HomeError> {
        let stored = roles.iter().map(|role| self.stored(*role)).collect::<Result<Vec<_>, _>>()?;
        let passphrase = match stored.iter().find(|key| key.is_encrypted()) {
            Some(key) => Some(self.passphrase(key)?),
            None => None,
        };
        let opened = stored.iter().map(|key| Ok(key.open(passphrase.as_ref())?.secret));
        let secrets: Vec<SecretKey> = opened.collect::<Result<_, HomeError>>()?;
        match secrets.try_into() {
            Ok(secrets) => Ok(secrets),
            Err(_) => unreachable!("each role gave one key"),
        }
    }

    /// The public half of the node's key for `role`. No passphrase is needed, and where the file is encrypted nothing
    /// proves that it is the secret's.
    ///
    /// # Errors
    /// When the file cannot be read, others may read it, or it does not hold such a key.
    pub fn public_key(&self, role: KeyRole) -> Result<PublicKey, HomeError> {
        Ok(self.stored(role)?.public())
    }

    fn stored(&self, role: KeyRole) -> Result<StoredKey, HomeError> {
        let path = self.key_path(role);
        match StoredKey::read(&path) {
            Err(KeyFileError::File(error)) if error.is_not_found() => {
                let way_out = "only this node has this key, and the genesis document names it: restore it from a \
                               backup. A network for tests can be made anew with `realdid testnet --force`";
                Err(HomeError::Missing { path, way_out })
            }
            key => Ok(key?.expect(role)?),
        }
    }

    /// What opens `key`.
    fn passphrase(&self, key: &StoredKey) -> Result<Passphrase, HomeError> {
        let file = match &self.passphrase_file {
            Some(file) => Some(file.clone()),
            None => self.passphrase_file(&self.config()?),
        };
        let what = || format!("{} is encrypted", key.path().display());
        Ok(unlock::present(file.as_deref(), what)?)
    }

    /// Claims the folder until the result is dropped, or the process ends, however it ends.
    ///
    /// # Errors
    /// When another process has it.
    pub fn lock(&self) -> Result<HomeLock, HomeError> {
        let path = self.path.join("lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(failed("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(HomeLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(HomeError::Running { path: self.path.clone() }),
            Err(TryLockError::Error(source)) => Err(failed("lock", &path)(source)),
        }
    }
}

/// A small text file.
fn read(path: &Path) -> Result<String, HomeError> {
    let length = fs::metadata(path).map_err(failed("read", path))?.len();
    if length > MAX_FILE_BYTES as u64 {
        let problem = format!("it has {length} bytes, far more than such a file can have");
        return Err(failed("read", path)(io::Error::new(io::ErrorKind::FileTooLarge, problem)));
    }
    fs::read_to_string(path).map_err(failed("read", path))
}

#[cfg(test)]
mod tests;

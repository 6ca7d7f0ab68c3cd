//! One secret key in a file, for a node's roles: `{"role", "publicKeyMultibase", "secretKeyMultibase"}`, as in
//! W3C Multikey; or, encrypted with a passphrase, `{"role", "publicKeyMultibase", "encryptedSecretKey"}` ([`sealed`]).
//! Role and public key stand in the clear, so that they can be looked up without the passphrase.
//!
//! Invariant: the public key in the file belongs to the secret one, so a mix-up or a damaged file is noticed before
//! anything is signed; with an encrypted one when it is opened. No error shows any part of a file's content but role and
//! public key.

mod sealed;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use genesis::{PublicKey, SecretKey};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::passphrase::Passphrase;
use crate::private_file::{self, Existing, PrivateFileError};
use sealed::{Envelope, Sealed};

/// The multicodec prefix of an Ed25519 secret key (`0x1300` as an unsigned varint), as in Multikey.
const SECRET_MULTICODEC: [u8; 2] = [0x80, 0x26];

/// More characters than the text of a secret key has (`z` and the base58 of 34 bytes).
const MAX_SECRET_CHARS: usize = 64;

/// What a key is for. One key, one role: a signature for one purpose never counts for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Signs a validator's consensus messages.
    Consensus,
    /// Authenticates a node's connections.
    Network,
    /// Signs an operator's governance transactions.
    Governance,
    /// Controls a DID.
    Did,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Consensus, Self::Network, Self::Governance, Self::Did];

    /// Its name in files and commands.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Consensus => "consensus",
            Self::Network => "network",
            Self::Governance => "governance",
            Self::Did => "did",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a text is not a role.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not a role: expected consensus, network, governance or did")]
pub struct RoleError {
    text: String,
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        let found = Self::ALL.into_iter().find(|role| role.name() == text);
        found.ok_or_else(|| RoleError { text: text.chars().take(40).collect() })
    }
}

/// A secret key and what it is for.
#[derive(Debug)]
pub struct KeyFile {
    /// What it is for.
    pub role: Role,
    /// The key.
    pub secret: SecretKey,
}

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read or written, or others may read it.
    #[error(transparent)]
    File(#[from] PrivateFileError),
    /// Its content is not that of a key file.
    #[error("{} is not a sound key file: {problem}. Restore it from a backup", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong, without the secret.
        problem: String,
    },
    /// It holds a key for something else.
    #[error("{} holds a {found} key, but a {wanted} key is needed here: are two files mixed up?", path.display())]
    OtherRole {
        /// Which file.
        path: PathBuf,
        /// What it holds.
        found: Role,
        /// What is needed.
        wanted: Role,
    },
    /// It is encrypted, and no passphrase was given.
    #[error("{} is encrypted, and no passphrase was given", path.display())]
    Encrypted {
        /// Which file.
        path: PathBuf,
    },
    /// It is encrypted with another passphrase.
    #[error(
        "this passphrase does not open {}, the {role} key {public}: it is another one, or the file was altered",
        path.display()
    )]
    WrongPassphrase {
        /// Which file.
        path: PathBuf,
        /// What it says that the key is for.
        role: Role,
        /// What it says that the public half is.
        public: PublicKey,
    },
}

/// A key file as it was read: role and public key are known, the secret may be encrypted.
#[derive(Debug)]
pub struct StoredKey {
    path: PathBuf,
    role: Role,
    public: PublicKey,
    secret: Held,
}

#[derive(Debug)]
enum Held {
    Plain(SecretKey),
    Encrypted(Sealed),
}

/// The file's content. It borrows, so that no copy of the secret is left in memory.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Content<'a> {
    role: &'a str,
    #[serde(borrow)]
    public_key_multibase: &'a str,
    #[serde(default, borrow)]
    secret_key_multibase: Option<&'a str>,
    #[serde(default, borrow)]
    encrypted_secret_key: Option<Envelope<'a>>,
}

impl StoredKey {
    /// Reads the file `path`.
    ///
    /// # Errors
    /// When it cannot be read, others may read it, or it is damaged.
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        let text = private_file::read(path)?;
        Self::parse(path, &text)
    }

    /// Reads `text`, the content of the file `path`.
    ///
    /// # Errors
    /// Says what is wrong, without the secret.
    pub fn parse(path: &Path, text: &str) -> Result<Self, KeyFileError> {
        Self::parts(text)
            .map(|(role, public, secret)| Self { path: path.to_owned(), role, public, secret })
            .map_err(|problem| KeyFileError::Damaged { path: path.to_owned(), problem })
    }

    fn parts(text: &str) -> Result<(Role, PublicKey, Held), String> {
        let content: Content<'_> = serde_json::from_str(text).map_err(|error| json_problem(&error))?;
        let role: Role = content.role.parse().map_err(|_| "its role is not one of ours".to_owned())?;
        let public = parse_public(content.public_key_multibase)?;
        let secret = match (content.secret_key_multibase, content.encrypted_secret_key) {
            (Some(plain), None) => Held::Plain(parse_secret_of(&public, plain)?),
            (None, Some(envelope)) => Held::Encrypted(envelope.check()?),
            (None, None) => {
                return Err("missing field `secretKeyMultibase` or `encryptedSecretKey`".to_owned());
            }
            (Some(_), Some(_)) => return Err("its secret key is both plain and encrypted".to_owned()),
        };
        Ok((role, public, secret))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the key is for.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The public half. Where the file is encrypted, nothing proves it until it is opened.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// Whether a passphrase is needed to open it.
    pub fn is_encrypted(&self) -> bool {
        matches!(self.secret, Held::Encrypted(_))
    }

    /// Fails unless the key is for `role`.
    ///
    /// # Errors
    /// When it is for something else.
    pub fn expect(self, role: Role) -> Result<Self, KeyFileError> {
        if self.role == role {
            return Ok(self);
        }
        Err(KeyFileError::OtherRole { path: self.path, found: self.role, wanted: role })
    }

    /// The key; `passphrase` where the file is encrypted. That takes about half a second and 128 MiB.
    ///
    /// # Errors
    /// When it is encrypted and there is no passphrase, or another one.
    pub fn open(&self, passphrase: Option<&Passphrase>) -> Result<KeyFile, KeyFileError> {
        let path = || self.path.clone();
        let sealed = match (&self.secret, passphrase) {
            (Held::Plain(secret), _) => return Ok(KeyFile { role: self.role, secret: secret.clone() }),
            (Held::Encrypted(_), None) => return Err(KeyFileError::Encrypted { path: path() }),
            (Held::Encrypted(sealed), Some(passphrase)) => sealed.open(self.role, &self.public, passphrase),
        };
        let (role, public) = (self.role, self.public);
        let secret = sealed.ok_or_else(|| KeyFileError::WrongPassphrase { path: path(), role, public })?;
        if secret.public() != public {
            let problem = format!("its secret key is that of {}, not of {public}", secret.public());
            return Err(KeyFileError::Damaged { path: path(), problem });
        }
        Ok(KeyFile { role, secret })
    }
}

impl KeyFile {
    /// A fresh key.
    pub fn generate(role: Role) -> Self {
        Self { role, secret: SecretKey::generate() }
    }

    /// Reads the key in `path`, which must be plain and for `role`.
    ///
    /// # Errors
    /// When it cannot be read, others may read it, it is damaged, encrypted, or for something else.
    pub fn read_for(path: &Path, role: Role) -> Result<SecretKey, KeyFileError> {
        Ok(StoredKey::read(path)?.expect(role)?.open(None)?.secret)
    }

    /// Writes the key to `path`, which must not exist, in the clear.
    ///
    /// # Errors
    /// When the file exists or the system refuses.
    pub fn write_new(&self, path: &Path) -> Result<(), KeyFileError> {
        // Nothing here needs escaping.
        let secret = secret_text(&self.secret);
        self.write(path, &["\"secretKeyMultibase\": \"", &secret, "\""], Existing::Keep)
    }

    /// Writes the key to `path`, encrypted with `passphrase`. That takes about a second and 128 MiB.
    ///
    /// # Errors
    /// When the file exists and is to be kept, or the system refuses.
    pub fn write_encrypted(
        &self,
        path: &Path,
        passphrase: &Passphrase,
        existing: Existing,
    ) -> Result<(), KeyFileError> {
        let sealed = Sealed::seal(self.role, &self.secret, passphrase);
        let public = self.secret.public();
        // Before it takes the place of the only copy: memory that failed would cost the key.
        assert!(
            sealed.open(self.role, &public, passphrase).is_some_and(|secret| secret.public() == public),
            "what was just encrypted opens with its passphrase, or this machine's memory is damaged"
        );
        self.write(path, &["\"encryptedSecretKey\": ", &sealed.to_json()], existing)
    }

    fn write(&self, path: &Path, secret: &[&str], existing: Existing) -> Result<(), KeyFileError> {
        let public = self.secret.public().to_string();
        // Written by hand: a serializer's buffer grows and leaves copies behind.
        let mut text = Zeroizing::new(String::with_capacity(1_024));
        for part in
            ["{\n  \"role\": \"", self.role.name(), "\",\n  \"publicKeyMultibase\": \"", &public, "\",\n  "]
        {
            text.push_str(part);
        }
        secret.iter().for_each(|part| text.push_str(part));
        text.push_str("\n}\n");
        Ok(private_file::write(path, &text, existing)?)
    }
}

/// What serde says of a damaged file, without the values that it may quote.
pub(crate) fn json_problem(error: &serde_json::Error) -> String {
    let (line, column, text) = (error.line(), error.column(), error.to_string());
    match error.classify() {
        serde_json::error::Category::Eof => format!("it ends at line {line}, column {column}, in the middle"),
        _ if text.starts_with("missing field") => text,
        _ => format!("unexpected content at line {line}, column {column}"),
    }
}

/// The Multikey text of a secret key.
pub(crate) fn secret_text(secret: &SecretKey) -> Zeroizing<String> {
    let mut bytes = Zeroizing::new([0; 34]);
    bytes[..2].copy_from_slice(&SECRET_MULTICODEC);
    bytes[2..].copy_from_slice(secret.seed().as_ref());
    let mut encoded = Zeroizing::new([0_u8; MAX_SECRET_CHARS]);
    let mut text = Zeroizing::new(String::with_capacity(MAX_SECRET_CHARS));
    text.push('z');
    // 34 bytes have at most 47 base58 digits, so they fit.
    let length = bs58::encode(bytes.as_ref()).onto(encoded.as_mut_slice()).unwrap_or(0);
    encoded[..length].iter().for_each(|digit| text.push(char::from(*digit)));
    text
}

/// The secret key with the text `secret`, whose public half is `public`.
pub(crate) fn parse_secret(public: &str, secret: &str) -> Result<SecretKey, String> {
    parse_secret_of(&parse_public(public)?, secret)
}

fn parse_public(text: &str) -> Result<PublicKey, String> {
    text.parse().map_err(|_| "its public key is not a Multikey".to_owned())
}

fn parse_secret_of(public: &PublicKey, secret: &str) -> Result<SecretKey, String> {
    let unsound = || format!("the secret key of {public} is damaged");
    let encoded =
        secret.strip_prefix('z').filter(|text| text.len() < MAX_SECRET_CHARS).ok_or_else(unsound)?;
    let mut bytes = Zeroizing::new([0_u8; MAX_SECRET_CHARS]);
    let length = bs58::decode(encoded).onto(bytes.as_mut_slice()).map_err(|_| unsound())?;
    let seed = bytes[..length].strip_prefix(&SECRET_MULTICODEC).ok_or_else(unsound)?;
    let mut array = Zeroizing::new([0_u8; 32]);
    if seed.len() != array.len() {
        return Err(unsound());
    }
    array.copy_from_slice(seed);
    let secret = SecretKey::from_seed(*array);
    if secret.public() != *public {
        return Err(format!("its secret key is that of {}, not of {public}", secret.public()));
    }
    Ok(secret)
}

#[cfg(test)]
mod tests;

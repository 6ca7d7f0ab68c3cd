//! The keys of DIDs, a file each, in a folder of their own.
//!
//! The order of a change is: write the new key and the signed transaction here, submit, see the receipt, mark it
//! settled. So a crash at any moment leaves a key for whatever the ledger holds, and the same transaction can be
//! submitted again.
//!
//! Invariant: a key that was written is never removed by this crate. A node may lie about a receipt; the key that
//! really is in the document must still be there then. Two processes never lose each other's keys: a change reads
//! the file anew under a lock.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use genesis::{Digest, Genesis, Height, PublicKey, SecretKey};
use ledger::{Did, KeyNumber, Operation, Transaction};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::api::{from_base64, to_base64};
use crate::key_file::{json_problem, parse_secret, secret_text};
use crate::private_file::{self, Existing, PrivateFileError};
use crate::wallet::{self, WalletError};

/// The most bytes that a pending transaction may have: more than any network allows.
const MAX_TRANSACTION_BYTES: usize = 4 << 20;

/// A folder with the keys of DIDs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyring {
    folder: PathBuf,
}

/// What the keyring knows of a DID.
#[derive(Debug)]
pub struct Entry {
    /// The DID.
    pub did: Did,
    /// The chain that it was made for.
    pub chain: Digest,
    /// Every key that was ever made for it, oldest first. Which of them count is in its document.
    pub keys: Vec<HeldKey>,
    /// Every key that was ever made to recover it, oldest first. Which of them counts, the ledger commits to.
    pub recovery: Vec<SecretKey>,
    /// Every key that was ever made for its next change, oldest first. Which of them counts, the ledger commits to.
    pub next: Vec<SecretKey>,
    /// The change whose receipt was not seen yet.
    pub pending: Option<Pending>,
}

/// A secret key with its number in the document.
#[derive(Debug)]
pub struct HeldKey {
    /// Its number (the fragment of its DID URL).
    pub number: KeyNumber,
    /// The key.
    pub secret: SecretKey,
}

/// The keys that a change brings.
#[derive(Debug, Default)]
pub struct NewKeys {
    /// For the document.
    pub key: Option<HeldKey>,
    /// To recover the DID from then on.
    pub recovery: Option<SecretKey>,
    /// For the change after this one.
    pub next: Option<SecretKey>,
}

/// A signed change whose receipt was not seen yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The transaction's id.
    pub id: Digest,
    /// The transaction.
    pub transaction: Transaction,
}

/// Why a keyring cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// A file cannot be read or written, or others may read it.
    #[error(transparent)]
    File(#[from] PrivateFileError),
    /// It holds no keys of this DID.
    #[error(
        "the keyring {} has no keys of {did}: it was made elsewhere; name its keyring with --keyring DIR",
        folder.display()
    )]
    NoSuchDid {
        /// The keyring.
        folder: PathBuf,
        /// Which DID.
        did: Did,
    },
    /// An entry's content is not sound.
    #[error("{} is not a sound keyring entry: {problem}. Restore it from a backup", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong, without secrets.
        problem: String,
    },
    /// The change that waits cannot be signed for another chain.
    #[error(transparent)]
    Wallet(#[from] Box<WalletError>),
    /// Another change of the same DID is under way.
    #[error("transaction {id} for {did} has no receipt yet: finish it with `realdid did resume {did}`")]
    Unsettled {
        /// Which DID.
        did: Did,
        /// The transaction.
        id: Digest,
    },
}

/// An entry's file. It borrows, so that no copy of a secret is left in memory.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Content<'a> {
    did: Did,
    chain: Digest,
    #[serde(borrow)]
    keys: Vec<KeyContent<'a>>,
    #[serde(borrow)]
    recovery: Vec<ReserveContent<'a>>,
    #[serde(borrow)]
    next: Vec<ReserveContent<'a>>,
    pending: Option<PendingContent<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct KeyContent<'a> {
    number: KeyNumber,
    public_key_multibase: &'a str,
    secret_key_multibase: &'a str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ReserveContent<'a> {
    public_key_multibase: &'a str,
    secret_key_multibase: &'a str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PendingContent<'a> {
    id: Digest,
    transaction: &'a str,
}

impl Pending {
    /// The change that `transaction` asks for.
    pub fn new(transaction: Transaction) -> Self {
        Self { id: transaction.id(), transaction }
    }

    /// The transaction's canonical bytes.
    pub fn bytes(&self) -> Vec<u8> {
        genesis::encoding::encode(&self.transaction)
    }

    /// The last height at which it can be applied.
    pub const fn expires_at(&self) -> Height {
        self.transaction.expires_at
    }
}

impl Keyring {
    /// The keyring in `folder`, which need not be there until the first DID is taken in.
    ///
    /// # Errors
    /// When others may enter it.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, KeyringError> {
        let folder = folder.into();
        match private_file::check_folder(&folder) {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(Self { folder }),
        }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The DIDs that it holds keys of, sorted; none where there is no folder.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn dids(&self) -> Result<Vec<Did>, KeyringError> {
        let failed =
            |source| PrivateFileError::Io { doing: "read the folder", path: self.folder.clone(), source };
        let mut dids = Vec::new();
        let files = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(dids),
            files => files.map_err(failed)?,
        };
        for file in files {
            let name = file.map_err(failed)?.file_name();
            let parts = name.to_str().and_then(|name| name.strip_suffix(".json")?.split_once('-'));
            if let Some((network, id)) = parts
                && let Ok(did) = format!("did:realdid:{network}:{id}").parse()
            {
                dids.push(did);
            }
        }
        dids.sort();
        Ok(dids)
    }

    /// What it knows of `did`.
    ///
    /// # Errors
    /// When it knows nothing, or the file cannot be read or is damaged.
    pub fn read(&self, did: &Did) -> Result<Entry, KeyringError> {
        let path = self.path(did);
        let text = match private_file::read(&path) {
            Err(error) if error.is_not_found() => {
                return Err(KeyringError::NoSuchDid { folder: self.folder.clone(), did: did.clone() });
            }
            text => text?,
        };
        let damaged = |problem| KeyringError::Damaged { path: path.clone(), problem };
        let entry = Entry::parse(&text).map_err(damaged)?;
        if entry.did != *did {
            return Err(damaged(format!("it is about {}, not about {did}", entry.did)));
        }
        Ok(entry)
    }

    /// Takes a new DID in, and makes the folder where it is missing; on the disk when this returns.
    ///
    /// # Errors
    /// When there is one already, the file cannot be written, or others may enter the folder.
    pub fn insert(&self, entry: &Entry) -> Result<(), KeyringError> {
        private_file::create_folder(&self.folder)?;
        Ok(private_file::write(&self.path(&entry.did), &entry.to_text(), Existing::Keep)?)
    }

    /// Notes a change before it is submitted, with the keys that it brings; on the disk when this returns.
    ///
    /// # Errors
    /// When another change is unsettled, or the file cannot be read or written.
    pub fn begin(&self, did: &Did, keys: NewKeys, pending: Pending) -> Result<(), KeyringError> {
        self.change(did, |entry| {
            if let Some(other) = entry.pending.as_ref().filter(|other| other.id != pending.id) {
                return Err(KeyringError::Unsettled { did: did.clone(), id: other.id });
            }
            let NewKeys { key, recovery, next } = keys;
            entry.keys.extend(key);
            entry.recovery.extend(recovery);
            entry.next.extend(next);
            entry.pending = Some(pending);
            Ok(())
        })
    }

    /// Puts a change that can no longer land aside for one that asks for the same anew.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn renew(&self, did: &Did, old: &Digest, pending: Pending) -> Result<(), KeyringError> {
        self.change(did, |entry| match &entry.pending {
            Some(other) if other.id != *old => {
                Err(KeyringError::Unsettled { did: did.clone(), id: other.id })
            }
            _ => {
                entry.pending = Some(pending);
                Ok(())
            }
        })
    }

    /// Notes that the change `id` has its receipt. Its keys stay, whatever the receipt says.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn settle(&self, did: &Did, id: &Digest) -> Result<(), KeyringError> {
        self.change(did, |entry| {
            entry.pending = entry.pending.take().filter(|pending| pending.id != *id);
            Ok(())
        })
    }

    /// Makes the DID one of the chain that `successor` founds, where its chain is the one that this goes on from. Says
    /// whether it was.
    ///
    /// # Errors
    /// When the file cannot be read or written, or lacks a key that signed the change that waits.
    pub fn follow(&self, did: &Did, successor: &Genesis) -> Result<bool, KeyringError> {
        let mut follows = false;
        let registrar = self.read(did)?.co_signer().map(|registrar| self.read(&registrar)).transpose()?;
        self.change(did, |entry| {
            let followed = wallet::follow(successor, entry, registrar.as_ref()).map_err(Box::new)?;
            if let Some(pending) = followed {
                follows = true;
                entry.chain = successor.chain();
                entry.pending = pending;
            }
            Ok(())
        })?;
        Ok(follows)
    }

    fn change(
        &self,
        did: &Did,
        change: impl FnOnce(&mut Entry) -> Result<(), KeyringError>,
    ) -> Result<(), KeyringError> {
        let path = self.folder.join("lock");
        let failed = |source| PrivateFileError::Io { doing: "lock", path: path.clone(), source };
        let lock = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        lock.lock().map_err(failed)?;
        let mut entry = self.read(did)?;
        change(&mut entry)?;
        private_file::write(&self.path(did), &entry.to_text(), Existing::Replace)?;
        drop(lock);
        Ok(())
    }

    fn path(&self, did: &Did) -> PathBuf {
        self.folder.join(format!("{}-{}.json", did.network(), did.id()))
    }
}

impl Entry {
    /// The registrar that signed the change that waits too, if one did: its keys are needed to sign that anew.
    pub fn co_signer(&self) -> Option<Did> {
        match &self.pending.as_ref()?.transaction.operation {
            Operation::Create(create) => Some(Did::new(self.did.network(), create.registrar?)),
            _ => None,
        }
    }

    /// The key that it holds with this public half.
    pub fn key(&self, public: &PublicKey) -> Option<&HeldKey> {
        self.keys.iter().find(|key| key.secret.public() == *public)
    }

    /// The secret key with this public half, whatever it was made for.
    pub fn secret(&self, public: &PublicKey) -> Option<&SecretKey> {
        let reserves = self.recovery.iter().chain(&self.next);
        self.keys.iter().map(|key| &key.secret).chain(reserves).find(|secret| secret.public() == *public)
    }

    /// Reads the content of a keyring's file.
    ///
    /// # Errors
    /// Says what is wrong, without a secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        let content: Content<'_> = serde_json::from_str(text).map_err(|error| json_problem(&error))?;
        if content.keys.is_empty() {
            return Err("it has no keys".to_owned());
        }
        let held = |key: KeyContent<'_>| {
            let secret = parse_secret(key.public_key_multibase, key.secret_key_multibase)?;
            Ok(HeldKey { number: key.number, secret })
        };
        let keys = content.keys.into_iter().map(held).collect::<Result<_, String>>()?;
        let (recovery, next) = (reserves(content.recovery)?, reserves(content.next)?);
        let pending = content.pending.map(|pending| {
            let bytes = from_base64(pending.transaction)
                .map_err(|error| format!("its pending transaction is not base64: {error}"))?;
            let transaction = genesis::encoding::decode(&bytes, MAX_TRANSACTION_BYTES)
                .map_err(|error| format!("its pending transaction cannot be read: {error}"))?;
            let found = Pending::new(transaction);
            let is_it = found.id == pending.id;
            is_it.then_some(found).ok_or_else(|| format!("its pending transaction is not {}", pending.id))
        });
        let (did, chain) = (content.did, content.chain);
        Ok(Self { did, chain, keys, recovery, next, pending: pending.transpose()? })
    }

    /// The file's text. Written by hand: a serializer's buffer grows and leaves copies of secrets behind. Nothing
    /// here needs escaping.
    pub fn to_text(&self) -> Zeroizing<String> {
        let pending = self.pending.as_ref().map(|pending| (pending.id, to_base64(&pending.bytes())));
        let secrets = self.keys.len() + self.recovery.len() + self.next.len();
        let length = 1_024 + 512 * secrets + pending.as_ref().map_or(0, |(_, text)| text.len());
        let mut text = Zeroizing::new(String::with_capacity(length));
        text.push_str(&format!("{{\n  \"did\": \"{}\",\n  \"chain\": \"{}\",\n", self.did, self.chain));
        text.push_str("  \"keys\": [");
        for (index, key) in self.keys.iter().enumerate() {
            text.push_str(if index == 0 { "\n" } else { ",\n" });
            let public = key.secret.public();
            text.push_str(&format!(
                "    {{ \"number\": {}, \"publicKeyMultibase\": \"{public}\",\n",
                key.number.get()
            ));
            text.push_str("      \"secretKeyMultibase\": \"");
            text.push_str(&secret_text(&key.secret));
            text.push_str("\" }");
        }
        text.push_str("\n  ]");
        for (name, secrets) in [("recovery", &self.recovery), ("next", &self.next)] {
            text.push_str(&format!(",\n  \"{name}\": ["));
            for (index, secret) in secrets.iter().enumerate() {
                text.push_str(if index == 0 { "\n" } else { ",\n" });
                let public = secret.public();
                text.push_str(&format!("    {{ \"publicKeyMultibase\": \"{public}\",\n"));
                text.push_str("      \"secretKeyMultibase\": \"");
                text.push_str(&secret_text(secret));
                text.push_str("\" }");
            }
            text.push_str("\n  ]");
        }
        if let Some((id, transaction)) = pending {
            text.push_str(&format!(
                ",\n  \"pending\": {{ \"id\": \"{id}\",\n    \"transaction\": \"{transaction}\" }}"
            ));
        }
        text.push_str("\n}\n");
        text
    }
}

fn reserves(list: Vec<ReserveContent<'_>>) -> Result<Vec<SecretKey>, String> {
    list.into_iter().map(|key| parse_secret(key.public_key_multibase, key.secret_key_multibase)).collect()
}

#[cfg(test)]
mod tests;

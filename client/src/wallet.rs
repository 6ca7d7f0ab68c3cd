//! Signs transactions with a keyring's keys.
//!
//! A node's word is taken for where a DID stands, but never for what goes into its document: a new document holds
//! only keys that this keyring made. Compare-and-set does the rest: a change built on a stale or false answer is
//! ordered and has no effect.
//!
//! Nothing here is submitted or written: see [`crate::keyring`] for the order of the two. What registrars and issuers sign is in
//! [`organisation`].

pub mod organisation;

use std::collections::BTreeSet;
use std::iter;

use genesis::{Digest, Genesis, Height, SecretKey};
use ledger::operation::ItemError;
use ledger::{
    Create, Deactivate, Did, Document, Key, KeyNumber, KeySet, Operation, Purposes, Recover, Salt,
    Transaction, Update, VerificationKey, Version,
};
use serde_json::Value;

use crate::api::ChainStatus;
use crate::keyring::{Entry, HeldKey, NewKeys, Pending};
pub use organisation::{Request, Word, endorse};

/// How many heights a transaction may wait: long enough for a stalled network to recover, short enough that its
/// fate is certain soon after.
pub const LIFETIME: u64 = 1_000;

/// What a signature commits to beside the operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The network's name.
    pub network: String,
    /// The chain's id.
    pub chain: Digest,
    /// The last height at which the transaction can be applied.
    pub expires_at: Height,
}

/// A DID as a node shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Current {
    /// Its newest version.
    pub version: Version,
    /// Whether it is over.
    pub deactivated: bool,
    /// The keys in its document, in their order.
    pub keys: Vec<ShownKey>,
    /// The commitment to the keys that recover it.
    pub recovery: Digest,
    /// The commitment to the keys that make its next change; none where those in the document do.
    pub next_keys: Option<Digest>,
    /// What its document has beside keys, which this wallet cannot keep: controllers or services.
    pub beside_keys: Option<&'static str>,
}

/// A key in a DID document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownKey {
    /// Its number (the fragment of its DID URL).
    pub number: KeyNumber,
    /// The key.
    pub public: VerificationKey,
    /// What it may be used for.
    pub purposes: Purposes,
}

/// Why a change cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// The DID was made on another chain.
    #[error(
        "{did} was made on chain {made}, but the node serves chain {served}: give --rpc a node of the DID's network. Where the \
         network lost its quorum and goes on as another chain, opt in with `realdid did follow GENESIS_FILE`"
    )]
    OtherChain {
        /// Which DID.
        did: Did,
        /// The DID's chain.
        made: Digest,
        /// The node's.
        served: Digest,
    },
    /// The node says that it does not resolve.
    #[error("{did} does not resolve: {problem}")]
    Unresolved {
        /// Which DID.
        did: Did,
        /// What the node says.
        problem: String,
    },
    /// The node's answer is no resolution result.
    #[error("the node's resolution of {did} cannot be read: {problem}")]
    Malformed {
        /// Which DID.
        did: Did,
        /// What is wrong with it.
        problem: String,
    },
    /// Nothing can be changed any more.
    #[error("{did} is deactivated, for good: make a new one with `realdid did create`")]
    Deactivated {
        /// Which DID.
        did: Did,
    },
    /// No key of the keyring may change it.
    #[error(
        "none of the {held} keys that the keyring holds for {did} may change it: its document has others now"
    )]
    NoControl {
        /// Which DID.
        did: Did,
        /// How many keys the keyring has.
        held: usize,
    },
    /// No key of the keyring speaks for the registrar or issuer.
    #[error(
        "none of the keys that the keyring holds for {did} is an assertionMethod key of its document: it cannot speak for it"
    )]
    NoAssertion {
        /// Which DID.
        did: Did,
    },
    /// Requests that cannot stand in one transaction.
    #[error(
        "request {place} is for {found}, but the first one for {expected}: one transaction has one registrar, chain and expiry"
    )]
    OtherRequest {
        /// Its place, from 1.
        place: usize,
        /// What it is for.
        found: String,
        /// What the first one is for.
        expected: String,
    },
    /// A request for another registrar, or another chain.
    #[error("it is for {found}, not for {expected}")]
    RequestForAnother {
        /// Whom it is for.
        found: String,
        /// Who would register it.
        expected: String,
    },
    /// A request that no node would take.
    #[error(transparent)]
    Item(Box<ItemError>),
    /// Nothing to register.
    #[error("there are no requests to register")]
    NoRequest,
    /// The key that has to be revealed was made elsewhere.
    #[error(
        "the keyring does not hold the {purpose} key that {did} is committed to ({commitment}): use the keyring where its \
         last change was made, or a backup of it{}", if *purpose == "next" { ", or `realdid did recover`" } else { "" }
    )]
    NotHeld {
        /// Which DID.
        did: Did,
        /// What the key is for: `next` or `recovery`.
        purpose: &'static str,
        /// What the ledger commits to.
        commitment: Digest,
    },
    /// An update would drop what this wallet does not write.
    #[error(
        "the document of {did} has {what}, which an update by this wallet would drop: make the change with what wrote them, by \
         `tx_submit`"
    )]
    BesideKeys {
        /// Which DID.
        did: Did,
        /// What its document has.
        what: &'static str,
    },
    /// A key would be kept that this keyring did not make.
    #[error(
        "the document of {did} has a key that this keyring did not make, `{number}` {public}: leave --add-key out to \
         replace all keys by a new one, or make the change where that key was made"
    )]
    ForeignKey {
        /// Which DID.
        did: Did,
        /// The key's number.
        number: KeyNumber,
        /// The key.
        public: Box<VerificationKey>,
    },
    /// No room for one more.
    #[error("the document of {did} has {count} keys already, as many as the network allows")]
    TooManyKeys {
        /// Which DID.
        did: Did,
        /// How many it has.
        count: usize,
    },
    /// Every number was given to a key already.
    #[error("all {} key numbers of {did} are used: make a new DID with `realdid did create`", KeyNumber::LAST.get())]
    NoNumberLeft {
        /// Which DID.
        did: Did,
    },
}

/// By which keys a DID is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// Those that make its next change.
    Next,
    /// Those that recover it.
    Recovery,
}

/// What becomes of the present keys when a new one is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Present {
    /// The new key replaces them.
    Drop,
    /// They stay beside it.
    Keep,
}

impl Terms {
    /// The terms of the network that a node serves, from where it stands.
    pub fn of(status: &ChainStatus) -> Self {
        let lifetime = LIFETIME.min(status.parameters.max_transaction_lifetime);
        Self {
            network: status.network.clone(),
            chain: status.chain,
            expires_at: status.height.plus(lifetime),
        }
    }

    /// Checks that the entry's DID was made on this chain.
    ///
    /// # Errors
    /// When it was made on another.
    pub fn check(&self, entry: &Entry) -> Result<(), WalletError> {
        if entry.chain != self.chain {
            let (did, made) = (entry.did.clone(), entry.chain);
            return Err(WalletError::OtherChain { did, made, served: self.chain });
        }
        Ok(())
    }
}

/// A new DID with one key for everything, one that recovers it, and one for its next change; its registration pending.
pub fn create(terms: &Terms) -> Entry {
    let (mut entry, operation) = inception(terms);
    let operation = Operation::Create(operation);
    let signers: Vec<&SecretKey> = entry.keys.iter().map(|key| &key.secret).collect();
    let transaction = Transaction::sign(terms.chain, operation, terms.expires_at, &signers);
    entry.pending = Some(Pending::new(transaction));
    entry
}

/// A new DID's keys, and what would register it.
fn inception(terms: &Terms) -> (Entry, Create) {
    let (secret, recovery, next) = (SecretKey::generate(), SecretKey::generate(), SecretKey::generate());
    let document = document_of(vec![document_key(KeyNumber::FIRST, &secret)]);
    let (commitment, next_keys) = (committed(&recovery), Some(committed(&next)));
    let operation = Create { document, recovery: commitment, next_keys, salt: fresh_salt(), registrar: None };
    let did = Did::new(&terms.network, operation.did());
    let keys = vec![HeldKey { number: KeyNumber::FIRST, secret }];
    let (recovery, next) = (vec![recovery], vec![next]);
    (Entry { did, chain: terms.chain, keys, recovery, next, pending: None }, operation)
}

/// The registration of a new DID whose only key is `secret`, which recovers it too, with a fresh salt: for load. People's
/// come from [`create`].
pub fn registration(terms: &Terms, secret: &SecretKey) -> (Did, Transaction) {
    let document = document_of(vec![document_key(KeyNumber::FIRST, secret)]);
    let recovery = committed(secret);
    register(
        terms,
        Create { document, recovery, next_keys: None, salt: fresh_salt(), registrar: None },
        secret,
    )
}

fn register(terms: &Terms, operation: Create, secret: &SecretKey) -> (Did, Transaction) {
    let did = Did::new(&terms.network, operation.did());
    (did, Transaction::sign(terms.chain, Operation::Create(operation), terms.expires_at, &[secret]))
}

/// A new key in the DID's document, and the update that brings it: the key that the ledger commits to for this, where it
/// commits to one, else a fresh one. A fresh one is committed to for the change after.
///
/// # Errors
/// When the DID is over, on another chain, or no held key may change it.
pub fn update(
    terms: &Terms,
    entry: &Entry,
    current: &Current,
    present: Present,
    max_keys: u64,
) -> Result<(NewKeys, Pending), WalletError> {
    terms.check(entry)?;
    if let Some(what) = current.beside_keys {
        return Err(WalletError::BesideKeys { did: entry.did.clone(), what });
    }
    let (signer, revealed) = changing_key(entry, current)?;
    let mut keys = Vec::new();
    if present == Present::Keep {
        if current.keys.len() as u64 >= max_keys {
            return Err(WalletError::TooManyKeys { did: entry.did.clone(), count: current.keys.len() });
        }
        for ShownKey { number, public, purposes } in &current.keys {
            if held(entry, public).is_none() {
                let did = entry.did.clone();
                return Err(WalletError::ForeignKey { did, number: *number, public: Box::new(*public) });
            }
            keys.push(Key { number: *number, public: *public, purposes: *purposes });
        }
    }
    let secret = if revealed.is_some() { signer.clone() } else { SecretKey::generate() };
    let held = HeldKey { number: unused_number(entry, current)?, secret };
    keys.push(document_key(held.number, &held.secret));
    let next = SecretKey::generate();
    let operation = Operation::Update(Update {
        did: entry.did.id(),
        replaces: current.version,
        document: document_of(keys),
        revealed,
        next_keys: Some(committed(&next)),
    });
    let transaction = Transaction::sign(terms.chain, operation, terms.expires_at, &[signer]);
    let brought = NewKeys { key: Some(held), recovery: None, next: Some(next) };
    Ok((brought, Pending::new(transaction)))
}

/// New keys of every kind for the DID, and the recovery that brings them, whatever became of those in its document.
///
/// # Errors
/// When the DID is over, on another chain, or its recovery key is not held.
pub fn recover(terms: &Terms, entry: &Entry, current: &Current) -> Result<(NewKeys, Pending), WalletError> {
    terms.check(entry)?;
    check_active(entry, current)?;
    let signer = recovery_key(entry, current)?;
    let held = HeldKey { number: unused_number(entry, current)?, secret: SecretKey::generate() };
    let (recovery, next) = (SecretKey::generate(), SecretKey::generate());
    let operation = Operation::Recover(Recover {
        did: entry.did.id(),
        revealed: KeySet::of(signer.public()),
        document: document_of(vec![document_key(held.number, &held.secret)]),
        recovery: committed(&recovery),
        next_keys: Some(committed(&next)),
    });
    let transaction = Transaction::sign(terms.chain, operation, terms.expires_at, &[signer]);
    let brought = NewKeys { key: Some(held), recovery: Some(recovery), next: Some(next) };
    Ok((brought, Pending::new(transaction)))
}

/// The end of the DID.
///
/// # Errors
/// When the DID is over already, on another chain, or no held key may end it.
pub fn deactivate(
    terms: &Terms,
    entry: &Entry,
    current: &Current,
    authority: Authority,
) -> Result<Pending, WalletError> {
    terms.check(entry)?;
    let did = entry.did.id();
    let (signer, operation) = match authority {
        Authority::Next => {
            let (signer, revealed) = changing_key(entry, current)?;
            (signer, Deactivate { did, replaces: Some(current.version), revealed })
        }
        Authority::Recovery => {
            check_active(entry, current)?;
            let signer = recovery_key(entry, current)?;
            let revealed = Some(KeySet::of(signer.public()));
            (signer, Deactivate { did, replaces: None, revealed })
        }
    };
    let operation = Operation::Deactivate(operation);
    Ok(Pending::new(Transaction::sign(terms.chain, operation, terms.expires_at, &[signer])))
}

/// The pending change once more, signed for a later expiry. For one that can no longer land. `registrar` is the entry of the
/// registrar that signed it too, where one did.
///
/// # Errors
/// When the DID is on another chain or the keyring lacks a key that signed.
pub fn renew(
    terms: &Terms,
    entry: &Entry,
    registrar: Option<&Entry>,
    pending: &Pending,
) -> Result<Pending, WalletError> {
    terms.check(entry)?;
    signed_again(terms.chain, terms.expires_at, entry, registrar, pending)
}

/// What makes `entry` one of the chain that `successor` founds: the change that waits, if any, signed for that chain. None
/// where the entry's chain is not the one that `successor` goes on from.
///
/// The change gets another id, which covers the chain, and keeps its expiry. It names the version that it replaces, so that
/// it is made once at most, whatever the old chain did with it. `registrar` is as for [`renew`].
///
/// # Errors
/// When the keyring lacks a key that signed the change that waits.
pub fn follow(
    successor: &Genesis,
    entry: &Entry,
    registrar: Option<&Entry>,
) -> Result<Option<Option<Pending>>, WalletError> {
    let from = successor.predecessor().map(|predecessor| predecessor.chain);
    if from != Some(entry.chain) || entry.did.network() != successor.network() {
        return Ok(None);
    }
    let sign =
        |pending: &Pending| signed_again(successor.chain(), pending.expires_at(), entry, registrar, pending);
    entry.pending.as_ref().map(sign).transpose().map(Some)
}

/// The pending change, signed by the same keys for `chain` and until `expires_at`.
fn signed_again(
    chain: Digest,
    expires_at: Height,
    entry: &Entry,
    registrar: Option<&Entry>,
    pending: &Pending,
) -> Result<Pending, WalletError> {
    let no_control = || WalletError::NoControl { did: entry.did.clone(), held: entry.keys.len() };
    let signers: Vec<&SecretKey> = pending
        .transaction
        .signers
        .iter()
        .map(|signer| {
            let theirs = || registrar.and_then(|registrar| registrar.secret(signer));
            entry.secret(signer).or_else(theirs).ok_or_else(no_control)
        })
        .collect::<Result<_, _>>()?;
    let operation = pending.transaction.operation.clone();
    Ok(Pending::new(Transaction::sign(chain, operation, expires_at, &signers)))
}

fn check_active(entry: &Entry, current: &Current) -> Result<(), WalletError> {
    if current.deactivated { Err(WalletError::Deactivated { did: entry.did.clone() }) } else { Ok(()) }
}

/// The key that signs the DID's next change, and what it reveals.
fn changing_key<'a>(
    entry: &'a Entry,
    current: &Current,
) -> Result<(&'a SecretKey, Option<KeySet>), WalletError> {
    check_active(entry, current)?;
    if let Some(commitment) = current.next_keys {
        let did = || entry.did.clone();
        let held = entry.next.iter().find(|secret| committed(secret) == commitment);
        let secret = held.ok_or_else(|| WalletError::NotHeld { did: did(), purpose: "next", commitment })?;
        return Ok((secret, Some(KeySet::of(secret.public()))));
    }
    let held = current
        .keys
        .iter()
        .filter(|key| key.purposes.contains(Purposes::CAPABILITY_INVOCATION))
        .find_map(|key| held(entry, &key.public));
    let no_control = || WalletError::NoControl { did: entry.did.clone(), held: entry.keys.len() };
    held.map(|key| (&key.secret, None)).ok_or_else(no_control)
}

fn held<'a>(entry: &'a Entry, public: &VerificationKey) -> Option<&'a HeldKey> {
    entry.key(&public.signer()?)
}

fn recovery_key<'a>(entry: &'a Entry, current: &Current) -> Result<&'a SecretKey, WalletError> {
    let commitment = current.recovery;
    let held = entry.recovery.iter().find(|secret| committed(secret) == commitment);
    let not_held = || WalletError::NotHeld { did: entry.did.clone(), purpose: "recovery", commitment };
    held.ok_or_else(not_held)
}

/// What the ledger keeps of a key that signs alone.
fn committed(secret: &SecretKey) -> Digest {
    KeySet::of(secret.public()).commitment()
}

fn document_of(keys: Vec<Key>) -> Document {
    Document { threshold: 1, keys, controllers: Vec::new(), services: Vec::new() }
}

fn document_key(number: KeyNumber, secret: &SecretKey) -> Key {
    Key { number, public: secret.public().into(), purposes: Purposes::SIGNING }
}

/// The number above all that the keyring ever gave and the document shows, so that a number never stands for two
/// keys. Where there is none above, the lowest that is in neither: a node that claims a high number must not be able
/// to end the DID's updates.
fn unused_number(entry: &Entry, current: &Current) -> Result<KeyNumber, WalletError> {
    let held = entry.keys.iter().map(|key| key.number);
    let used: BTreeSet<KeyNumber> = held.chain(current.keys.iter().map(|key| key.number)).collect();
    let above = used.last().map_or(Some(KeyNumber::FIRST), |highest| highest.next());
    let numbers = || iter::successors(Some(KeyNumber::FIRST), |number| number.next());
    let number = above.or_else(|| numbers().find(|number| !used.contains(number)));
    number.ok_or_else(|| WalletError::NoNumberLeft { did: entry.did.clone() })
}

/// 16 fresh random bytes from where secret keys come from.
fn fresh_salt() -> Salt {
    let seed = SecretKey::generate().seed();
    let mut salt = [0; 16];
    salt.copy_from_slice(&seed[..16]);
    Salt(salt)
}

impl Current {
    /// Reads a DID Resolution result of `did`.
    ///
    /// # Errors
    /// When the DID does not resolve, or the answer is not such a result.
    pub fn from_resolution(did: &Did, resolution: &Value) -> Result<Self, WalletError> {
        let malformed =
            |problem: &str| WalletError::Malformed { did: did.clone(), problem: problem.to_owned() };
        let error = &resolution["didResolutionMetadata"]["error"];
        if !error.is_null() {
            let problem = error["detail"].as_str().unwrap_or("the node does not say why").to_owned();
            return Err(WalletError::Unresolved { did: did.clone(), problem });
        }
        let metadata = &resolution["didDocumentMetadata"];
        let version = metadata["versionId"].as_str().and_then(|text| text.parse().ok());
        let version = Version(version.ok_or_else(|| malformed("it has no versionId"))?);
        let deactivated = metadata["deactivated"].as_bool().unwrap_or(false);
        let digest = |name: &str| metadata[name].as_str().and_then(|text| text.parse().ok());
        let recovery =
            digest("recoveryCommitment").ok_or_else(|| malformed("it has no recoveryCommitment"))?;
        let next_keys = digest("nextKeysCommitment");
        let document = &resolution["didDocument"];
        if document.is_null() && deactivated {
            let (keys, beside_keys) = (Vec::new(), None);
            return Ok(Self { version, deactivated, keys, recovery, next_keys, beside_keys });
        }
        let subject = did.to_string();
        if document["id"].as_str() != Some(&subject) {
            return Err(malformed("its document is not the DID's"));
        }
        let methods = document["verificationMethod"]
            .as_array()
            .ok_or_else(|| malformed("it has no verificationMethod"))?;
        let keys = methods.iter().map(|method| {
            let url = method["id"].as_str().ok_or_else(|| malformed("a verification method has no id"))?;
            let fragment = url.strip_prefix(&subject).and_then(|rest| rest.strip_prefix('#'));
            let number = fragment
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| malformed("a verification method's id is not the DID and #key-<n>"))?;
            let public = method["publicKeyMultibase"].as_str().and_then(|text| text.parse().ok());
            let public =
                public.ok_or_else(|| malformed("a verification method has no sound publicKeyMultibase"))?;
            let has = |name: &str| {
                document[name]
                    .as_array()
                    .is_some_and(|urls| urls.iter().any(|other| other.as_str() == Some(url)))
            };
            let purposes = Purposes::NAMED
                .into_iter()
                .filter(|(_, name)| has(name))
                .fold(Purposes::NONE, |set, (purpose, _)| set.and(purpose));
            Ok(ShownKey { number, public, purposes })
        });
        let keys = keys.collect::<Result<_, _>>()?;
        let names = [("controller", "controllers"), ("service", "services")];
        let beside_keys =
            names.into_iter().find(|(name, _)| !document[*name].is_null()).map(|(_, what)| what);
        Ok(Self { version, deactivated, keys, recovery, next_keys, beside_keys })
    }
}

#[cfg(test)]
mod tests;

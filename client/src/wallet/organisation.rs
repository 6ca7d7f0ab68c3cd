//! What accredited organisations sign: registrars register and endorse DIDs of others, issuers publish what verifiers look
//! up. Both speak by an assertionMethod key of their current document.
//!
//! Where registrar and owner are two, the owner's wallet makes a [`Request`], which holds no secret, and the registrar puts many
//! of them into one transaction.

use genesis::{Digest, Height, Parameters, SecretKey};
use ledger::operation::{
    CreateMany, Endorse, Item, PublishSchema, PublishStatusList, Reason, WithdrawEndorsement,
    possession_bytes,
};
use ledger::{Create, Did, Operation, Purposes, Transaction};
use serde::{Deserialize, Serialize};

use super::{Current, Terms, WalletError, check_active, held, inception};
use crate::keyring::{Entry, Pending};

/// What an owner hands to a registrar: a DID's inception, with the owner's word that this registrar may register it until then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// The chain's id.
    pub chain: Digest,
    /// Who registers it.
    pub registrar: Did,
    /// The last height at which that can be.
    pub expires_at: Height,
    /// The DID.
    pub item: Item,
}

impl Request {
    /// Checks it alone, as a node will within a transaction: of several, one that is not sound would keep all others out.
    ///
    /// # Errors
    /// When it is for another chain or registrar, or a node would refuse it.
    pub fn check(&self, terms: &Terms, registrar: &Did, parameters: &Parameters) -> Result<(), WalletError> {
        let shown = |chain: &Digest, registrar: &Did| format!("{registrar} on chain {chain}");
        let (found, expected) = (shown(&self.chain, &self.registrar), shown(&terms.chain, registrar));
        if found != expected {
            return Err(WalletError::RequestForAnother { found, expected });
        }
        let checked = self.item.check(&terms.chain, &registrar.id(), self.expires_at, parameters);
        checked.map_err(|error| WalletError::Item(Box::new(error)))
    }
}

/// A new DID, whose keys stay with the owner, and the request to have it registered.
pub fn request(terms: &Terms, registrar: &Did) -> (Entry, Request) {
    let (entry, Create { document, recovery, next_keys, salt, registrar: _ }) = inception(terms);
    let bytes = possession_bytes(&terms.chain, &registrar.id(), &entry.did.id(), terms.expires_at);
    let [key] = entry.keys.as_slice() else { unreachable!("an inception has one key") };
    let item = Item { document, recovery, next_keys, salt, key: 0, proof: key.secret.sign(&bytes) };
    let request =
        Request { chain: terms.chain, registrar: registrar.clone(), expires_at: terms.expires_at, item };
    (entry, request)
}

/// A new DID like [`super::create`]'s, endorsed from the start by the registrar `by`, which stands as `current` and signs too.
///
/// # Errors
/// When the registrar's DID is over, on another chain, or none of its keys that make statements is held.
pub fn create_endorsed(terms: &Terms, by: &Entry, current: &Current) -> Result<Entry, WalletError> {
    let registrars = speaker(terms, by, current)?;
    let (mut entry, create) = inception(terms);
    let operation = Operation::Create(Create { registrar: Some(by.did.id()), ..create });
    let signers: Vec<&SecretKey> = entry.keys.iter().map(|key| &key.secret).chain([registrars]).collect();
    entry.pending = Some(Pending::new(Transaction::sign(terms.chain, operation, terms.expires_at, &signers)));
    Ok(entry)
}

/// The registration of what owners requested, by the registrar `entry`, which stands as `current`. Its expiry is theirs.
///
/// # Errors
/// When the requests differ in what they are for, the registrar's DID is over or on another chain, or none of its keys that make
/// statements is held.
pub fn create_many(
    terms: &Terms,
    entry: &Entry,
    current: &Current,
    requests: Vec<Request>,
) -> Result<Pending, WalletError> {
    let expires_at = requests.first().ok_or(WalletError::NoRequest)?.expires_at;
    let shown = |chain: &Digest, registrar: &Did, until: Height| {
        format!("{registrar} on chain {chain} until height {until}")
    };
    let expected = shown(&terms.chain, &entry.did, expires_at);
    for (place, request) in (1..).zip(&requests) {
        let found = shown(&request.chain, &request.registrar, request.expires_at);
        if found != expected {
            return Err(WalletError::OtherRequest { place, found, expected });
        }
    }
    let signer = speaker(terms, entry, current)?;
    let items = requests.into_iter().map(|request| request.item).collect();
    let operation = Operation::CreateMany(CreateMany { registrar: entry.did.id(), items });
    Ok(Pending::new(Transaction::sign(terms.chain, operation, expires_at, &[signer])))
}

/// A version of a schema or status list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Publication {
    /// Of a schema.
    Schema(PublishSchema),
    /// Of a status list.
    StatusList(PublishStatusList),
}

/// The publication by the issuer `entry`, which stands as `current`.
///
/// # Errors
/// When the issuer's DID is over, on another chain, or none of its keys that make statements is held.
pub fn publish(
    terms: &Terms,
    entry: &Entry,
    current: &Current,
    publication: Publication,
) -> Result<Pending, WalletError> {
    let signer = speaker(terms, entry, current)?;
    let operation = match publication {
        Publication::Schema(publish) => Operation::PublishSchema(publish),
        Publication::StatusList(publish) => Operation::PublishStatusList(publish),
    };
    Ok(Pending::new(Transaction::sign(terms.chain, operation, terms.expires_at, &[signer])))
}

/// What a registrar says of a DID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// It vouches for it.
    Endorse,
    /// It does so no more.
    Withdraw(Reason),
}

/// The word of the registrar `entry`, which stands as `current`, on `subject`.
///
/// # Errors
/// When the registrar's DID is over, on another chain, or none of its keys that make statements is held.
pub fn endorse(
    terms: &Terms,
    entry: &Entry,
    current: &Current,
    subject: &Did,
    word: Word,
) -> Result<Pending, WalletError> {
    let signer = speaker(terms, entry, current)?;
    let (did, registrar) = (subject.id(), entry.did.id());
    let operation = match word {
        Word::Endorse => Operation::Endorse(Endorse { did, registrar }),
        Word::Withdraw(reason) => {
            Operation::WithdrawEndorsement(WithdrawEndorsement { did, registrar, reason })
        }
    };
    Ok(Pending::new(Transaction::sign(terms.chain, operation, terms.expires_at, &[signer])))
}

/// A key by which the organisation `entry` speaks.
fn speaker<'a>(terms: &Terms, entry: &'a Entry, current: &Current) -> Result<&'a SecretKey, WalletError> {
    terms.check(entry)?;
    check_active(entry, current)?;
    let mut keys = current.keys.iter().filter(|key| key.purposes.contains(Purposes::ASSERTION_METHOD));
    let signer = keys.find_map(|key| held(entry, &key.public));
    signer.map(|key| &key.secret).ok_or_else(|| WalletError::NoAssertion { did: entry.did.clone() })
}

//! An operation with its chain, expiry, signers and signatures.
//!
//! The id covers everything but the signatures, so nobody who carries a transaction can give it a second id. Each
//! signer signs `"realdid transaction v1" ‖ chain ‖ id`, so a signature counts on one chain and for one purpose.
//!
//! Invariant: a [`CheckedTransaction`] is valid on its own: of this chain, within the limits, with a valid
//! signature by each of its signers. Only a check builds one, and only checked transactions reach
//! [`mod@crate::apply`]. What depends on the state (versions, authority, expiry) is left to `apply`.
//!
//! - [`unchecked`]: many transactions of different people, whose signatures are checked in one go

pub mod unchecked;

use std::cell::RefCell;

use genesis::encoding::{encode, list};
use genesis::key::{Claim, are_registrable, verify_all};
use genesis::{Digest, Domain, Genesis, Height, Parameters, PublicKey, SecretKey, Signature};
use serde::{Deserialize, Serialize, Serializer};

use crate::document::DocumentError;
use crate::key_set::KeySetError;
use crate::operation::create_many::PossessionBytes;
use crate::operation::{ChangeError, CreateMany, Item, ItemError, possession_bytes};
use crate::{Code, DidId, Operation};

/// The most signers that a transaction may have.
pub const MAX_SIGNERS: usize = 16;

/// What every signed byte string starts with.
const SIGNING_DOMAIN: &[u8; 22] = b"realdid transaction v1";

/// The bytes that a signer signs: domain, chain and id.
type SigningBytes = [u8; 22 + 32 + 32];

/// A request to change the state, as it travels. Nothing in it is checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transaction {
    /// The chain that it is for.
    pub chain: Digest,
    /// What it asks for.
    pub operation: Operation,
    /// The last height at which it may be ordered.
    pub expires_at: Height,
    /// Who signs: 1 to [`MAX_SIGNERS`], in ascending order, none twice.
    #[serde(deserialize_with = "list::<_, _, 36>")]
    pub signers: Vec<PublicKey>,
    /// A signature by each signer, in their order.
    #[serde(deserialize_with = "list::<_, _, 68>")]
    pub signatures: Vec<Signature>,
}

/// What the id covers: the fields of [`Transaction`] before the signatures, in their order, so that these bytes
/// are a prefix of the transaction's.
#[derive(Serialize)]
struct Unsigned<'a> {
    chain: &'a Digest,
    operation: &'a Operation,
    expires_at: Height,
    signers: &'a [PublicKey],
}

/// A transaction that is valid on its own, with its id. Encodes as the transaction alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedTransaction {
    id: Digest,
    length: usize,
    /// The ids of the items of a `create-many`: signed for, looked up and registered, and hashed once.
    item_ids: Vec<DidId>,
    transaction: Transaction,
}

/// Why a transaction is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TransactionError {
    /// Made for another network.
    #[error("the transaction is for chain {found}, but this is chain {expected}: sign it for this network")]
    OtherChain {
        /// The chain that it names.
        found: Digest,
        /// This one.
        expected: Digest,
    },
    /// Larger than the network allows.
    #[error("the transaction has {length} bytes, but at most {most} are allowed (max_transaction_bytes)")]
    TooLarge {
        /// Its size in bytes.
        length: usize,
        /// The network's limit in bytes.
        most: u64,
    },
    /// No signer, or too many.
    #[error("the transaction has {count} signers, but must have 1 to {MAX_SIGNERS}")]
    SignerCount {
        /// How many it has.
        count: usize,
    },
    /// A list of signers that is not in its one order.
    #[error("signer {index}, `{signer}`, is out of order or listed twice: sort the signers by their bytes")]
    SignerOrder {
        /// Its place in the list, from 0.
        index: usize,
        /// The signer.
        signer: PublicKey,
    },
    /// A signature too few or too many.
    #[error("the transaction has {signatures} signatures for {signers} signers: each signs once")]
    SignatureCount {
        /// How many signatures it has.
        signatures: usize,
        /// How many signers.
        signers: usize,
    },
    /// The operation's document is refused.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// No item, or too many.
    #[error("the transaction has {count} items, but must have 1 to {most} (max_create_many_items)")]
    ItemCount {
        /// How many it has.
        count: usize,
        /// The network's limit.
        most: u64,
    },
    /// One of several DIDs is refused.
    #[error("items[{index}]: {error}")]
    Item {
        /// Its place in the list, from 0.
        index: usize,
        /// What is wrong with it.
        error: Box<ItemError>,
    },
    /// A key that it reveals is refused.
    #[error("revealed: {0}")]
    Revealed(#[from] KeySetError),
    /// A recovery that commits to the keys which it makes known.
    #[error("`recovery` {commitment} commits to the keys that this recovery reveals: commit to others")]
    SameRecovery {
        /// The commitment.
        commitment: Digest,
    },
    /// The operation's change of the validators or parameters is refused.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// A signature that its signer did not make over this transaction.
    #[error(
        "the signature by `{signer}` is not valid for transaction {id}: did something change after signing?"
    )]
    Signature {
        /// Who is said to have signed.
        signer: PublicKey,
        /// The transaction's id.
        id: Digest,
    },
}

impl Transaction {
    /// The transaction signed by `signers`, sorted, each once.
    pub fn sign(chain: Digest, operation: Operation, expires_at: Height, signers: &[&SecretKey]) -> Self {
        let mut keys: Vec<(PublicKey, &SecretKey)> = signers.iter().map(|key| (key.public(), *key)).collect();
        keys.sort_by_key(|(public, _)| *public);
        keys.dedup_by_key(|(public, _)| *public);
        let signers = keys.iter().map(|(public, _)| *public).collect();
        let mut transaction = Self { chain, operation, expires_at, signers, signatures: Vec::new() };
        let bytes = signing_bytes(&chain, &transaction.id());
        transaction.signatures = keys.iter().map(|(_, secret)| secret.sign(&bytes)).collect();
        transaction
    }

    /// The hash of everything but the signatures. Encodes the transaction: keep what it returns.
    pub fn id(&self) -> Digest {
        Digest::of(Domain::Transaction, &self.unsigned_bytes())
    }

    /// Whether a block at `height` may apply it, by its expiry alone.
    ///
    /// # Errors
    /// [`Code::Expired`] where `height` is past the expiry; [`Code::LifetimeTooLong`] where the expiry is further
    /// ahead than the parameters allow.
    pub fn check_expiry(&self, height: Height, parameters: &Parameters) -> Result<(), Code> {
        if height > self.expires_at {
            Err(Code::Expired)
        } else if self.expires_at.since(height) > parameters.max_transaction_lifetime {
            Err(Code::LifetimeTooLong)
        } else {
            Ok(())
        }
    }

    fn unsigned_bytes(&self) -> Vec<u8> {
        let Self { chain, operation, expires_at, signers, signatures: _ } = self;
        encode(&Unsigned { chain, operation, expires_at: *expires_at, signers })
    }
}

impl CheckedTransaction {
    /// Checks one transaction, signatures included.
    ///
    /// # Errors
    /// Names what is wrong with which value.
    pub fn check(transaction: Transaction, genesis: &Genesis) -> Result<Self, TransactionError> {
        let checked = Self::check_form(transaction, genesis)?;
        checked.check_signatures()?;
        checked.check_keys(&PublicKey::is_registrable)?;
        Ok(checked)
    }

    /// Everything but signatures and the soundness of the operation's keys: whoever calls this owes both.
    pub(crate) fn check_form(transaction: Transaction, genesis: &Genesis) -> Result<Self, TransactionError> {
        let (parameters, expected) = (genesis.parameters(), genesis.chain());
        let Transaction { chain, signers, signatures, .. } = &transaction;
        if *chain != expected {
            return Err(TransactionError::OtherChain { found: *chain, expected });
        }
        if signers.is_empty() || signers.len() > MAX_SIGNERS {
            return Err(TransactionError::SignerCount { count: signers.len() });
        }
        if let Some(index) = signers.windows(2).position(|pair| pair[0] >= pair[1]) {
            let signer = signers[index + 1];
            return Err(TransactionError::SignerOrder { index: index + 1, signer });
        }
        if signatures.len() != signers.len() {
            let (signatures, signers) = (signatures.len(), signers.len());
            return Err(TransactionError::SignatureCount { signatures, signers });
        }
        let unsigned = transaction.unsigned_bytes();
        let length = unsigned.len() + encode(signatures).len();
        if length as u64 > parameters.max_transaction_bytes {
            return Err(TransactionError::TooLarge { length, most: parameters.max_transaction_bytes });
        }
        if let Some(document) = transaction.operation.document() {
            document.check_form(parameters)?;
        }
        match &transaction.operation {
            Operation::Propose(propose) => propose.change.check_form(genesis)?,
            Operation::CreateMany(create) => check_items(create, parameters)?,
            Operation::Recover(recover) if !recover.brings_other_keys() => {
                return Err(TransactionError::SameRecovery { commitment: recover.recovery });
            }
            _ => {}
        }
        let item_ids = items(&transaction.operation).iter().map(Item::did).collect();
        Ok(Self { id: Digest::of(Domain::Transaction, &unsigned), length, item_ids, transaction })
    }

    /// The transaction's id.
    pub const fn id(&self) -> Digest {
        self.id
    }

    /// The size of its encoding, in bytes.
    pub const fn length(&self) -> usize {
        self.length
    }

    /// The ids of the items of a `create-many`, in their order; none of another operation.
    pub(crate) fn item_ids(&self) -> &[DidId] {
        &self.item_ids
    }

    /// The transaction.
    pub const fn transaction(&self) -> &Transaction {
        &self.transaction
    }

    fn signing_bytes(&self) -> SigningBytes {
        signing_bytes(&self.transaction.chain, &self.id)
    }

    /// What its signers and the owners of its items signed.
    fn messages(&self) -> Messages {
        let Transaction { chain, operation, expires_at, .. } = &self.transaction;
        let mut possessions = Vec::new();
        if let Operation::CreateMany(create) = operation {
            let bytes = |did: &DidId| possession_bytes(chain, &create.registrar, did, *expires_at);
            possessions.extend(self.item_ids.iter().map(bytes));
        }
        Messages { own: self.signing_bytes(), possessions }
    }

    fn claims<'a>(&'a self, messages: &'a Messages) -> impl Iterator<Item = Claim<'a>> {
        let pairs = self.transaction.signers.iter().zip(&self.transaction.signatures);
        let own = pairs.map(|(signer, signature)| Claim {
            signer: *signer,
            message: &messages.own,
            signature: *signature,
        });
        own.chain(self.items().iter().zip(&messages.possessions).filter_map(|(item, message)| {
            // A checked form has a speaker for each item.
            Some(Claim { signer: item.speaker().ok()?, message, signature: item.proof })
        }))
    }

    fn items(&self) -> &[Item] {
        items(&self.transaction.operation)
    }

    /// Whether the keys that the operation brings are sound, and a joining validator's is ready.
    /// Of those that sign, `is_sound` says it.
    pub(crate) fn check_keys(&self, is_sound: &dyn Fn(&PublicKey) -> bool) -> Result<(), TransactionError> {
        let Transaction { chain, operation, .. } = &self.transaction;
        if let Some(document) = operation.document() {
            document.check_keys(is_sound)?;
        }
        if let Operation::CreateMany(create) = operation {
            for (index, item) in create.items.iter().enumerate() {
                item.document.check_keys(is_sound).map_err(|error| item_error(index, error))?;
            }
        }
        if let Some(revealed) = operation.revealed() {
            revealed.check_keys(is_sound)?;
        }
        if let Operation::Propose(propose) = operation {
            propose.change.check_keys(chain)?;
        }
        Ok(())
    }

    fn check_signatures(&self) -> Result<(), TransactionError> {
        let messages = self.messages();
        let forged = |claim: &Claim<'_>| !claim.signer.verify(claim.message, &claim.signature);
        let Some((place, claim)) = self.claims(&messages).enumerate().find(|(_, claim)| forged(claim)) else {
            return Ok(());
        };
        let key = claim.signer;
        // The signers' claims come first, then one an item.
        Err(match place.checked_sub(self.transaction.signers.len()) {
            None => TransactionError::Signature { signer: key, id: self.id },
            Some(index) => item_error(index, ItemError::Proof { key, did: self.item_ids[index] }),
        })
    }
}

/// All that is signed in one transaction.
struct Messages {
    own: SigningBytes,
    possessions: Vec<PossessionBytes>,
}

fn items(operation: &Operation) -> &[Item] {
    match operation {
        Operation::CreateMany(create) => &create.items,
        _ => &[],
    }
}

fn item_error(index: usize, error: impl Into<ItemError>) -> TransactionError {
    TransactionError::Item { index, error: Box::new(error.into()) }
}

fn check_items(create: &CreateMany, parameters: &Parameters) -> Result<(), TransactionError> {
    let (count, most) = (create.items.len(), parameters.max_create_many_items);
    if count == 0 || count as u64 > most {
        return Err(TransactionError::ItemCount { count, most });
    }
    let mut items = create.items.iter().enumerate();
    items.try_for_each(|(index, item)| item.check_form(parameters).map_err(|error| item_error(index, error)))
}

/// Whether all signatures of all `transactions` are valid, in one batch verification.
pub(crate) fn are_signed<'a>(transactions: impl Iterator<Item = &'a CheckedTransaction> + Clone) -> bool {
    let messages: Vec<Messages> = transactions.clone().map(CheckedTransaction::messages).collect();
    let pairs = transactions.zip(&messages);
    let claims: Vec<Claim<'_>> =
        pairs.flat_map(|(transaction, message)| transaction.claims(message)).collect();
    verify_all(&claims)
}

/// The place and error of the first transaction with a bad signature. One batch verification where there is none.
pub(crate) fn find_forgery<'a>(
    transactions: impl Iterator<Item = &'a CheckedTransaction> + Clone,
) -> Option<(usize, TransactionError)> {
    if are_signed(transactions.clone()) {
        return None;
    }
    // Batch and single verification agree on every input, so one of these fails.
    transactions
        .enumerate()
        .find_map(|(index, transaction)| transaction.check_signatures().err().map(|error| (index, error)))
}

/// The place and error of the first transaction that brings an unsound key. Those that sign are checked in one go.
pub(crate) fn find_unsound<'a>(
    transactions: impl Iterator<Item = &'a CheckedTransaction> + Clone,
) -> Option<(usize, TransactionError)> {
    let find = |is_sound: &dyn Fn(&PublicKey) -> bool| {
        let unsound =
            |(index, it): (usize, &CheckedTransaction)| Some((index, it.check_keys(is_sound).err()?));
        transactions.clone().enumerate().find_map(unsound)
    };
    let keys = RefCell::new(Vec::new());
    let of_others = find(&|key| {
        keys.borrow_mut().push(*key);
        true
    });
    if of_others.is_none() && are_registrable(&keys.into_inner()) {
        return None;
    }
    find(&PublicKey::is_registrable)
}

fn signing_bytes(chain: &Digest, id: &Digest) -> SigningBytes {
    let mut bytes = [0; 22 + 32 + 32];
    bytes[..22].copy_from_slice(SIGNING_DOMAIN);
    bytes[22..54].copy_from_slice(chain.as_bytes());
    bytes[54..].copy_from_slice(id.as_bytes());
    bytes
}

impl Serialize for CheckedTransaction {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.transaction.serialize(serializer)
    }
}

#[cfg(test)]
mod tests;

//! What validators exchange: many transactions by one author, checked in one go.
//!
//! Invariant: a [`CheckedBatch`] holds only transactions that are valid on their own, none twice, within the
//! network's limits. Only a check builds one. A batch is known by the digest of its canonical bytes.
//!
//! Left to the node: who its author is and that it came from there, that its expiry lies ahead by at most
//! `max_batch_lifetime`, that it is durable before a vote names it, and that no block names it twice.

use std::collections::BTreeMap;
use std::sync::Arc;

use genesis::encoding::{DecodeError, decode, encode, list};
use genesis::{Digest, Domain, Genesis, Height, PublicKey};
use serde::{Deserialize, Serialize};

use crate::transaction::{
    CheckedTransaction, Transaction, TransactionError, are_signed, find_forgery, find_unsound,
};

/// What a batch's encoding has beside its transactions, in bytes: author, sequence, expiry and count.
pub const OVERHEAD_BYTES: usize = 36 + 8 + 8 + 8;

/// Transactions by one author, as they travel. Nothing in it is checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// The network key of the node that made it. In no set as far as the check goes: sets change, and a batch that was
    /// valid stays so.
    pub author: PublicKey,
    /// The author's count of batches, so that equal contents differ.
    pub sequence: u64,
    /// The last height of a block that may name it.
    pub expires_at: Height,
    /// The transactions, in the order of execution.
    #[serde(deserialize_with = "list::<_, _, 93>")]
    pub transactions: Vec<Transaction>,
}

/// What [`Batch`] encodes to, from transactions that are shared.
#[derive(Serialize)]
struct BatchRef<'a> {
    author: PublicKey,
    sequence: u64,
    expires_at: Height,
    transactions: Vec<&'a CheckedTransaction>,
}

/// A batch whose transactions are valid on their own, with its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedBatch {
    digest: Digest,
    author: PublicKey,
    sequence: u64,
    expires_at: Height,
    transactions: Vec<Arc<CheckedTransaction>>,
}

/// A batch that is well-formed, and whose signatures are not checked yet.
#[derive(Debug)]
pub struct UncheckedBatch(CheckedBatch);

/// Why a batch is refused.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// Not the canonical bytes of a batch, or more than `max_batch_bytes`.
    #[error("the batch cannot be read: {0}")]
    Encoding(#[from] DecodeError),
    /// Its encoding would be larger than the network allows.
    #[error("the batch has {length} bytes, but at most {most} are allowed (max_batch_bytes)")]
    TooLarge {
        /// Its size in bytes.
        length: usize,
        /// The network's limit in bytes.
        most: u64,
    },
    /// No transaction, or too many.
    #[error("the batch has {count} transactions, but must have 1 to {most} (max_batch_transactions)")]
    TransactionCount {
        /// How many it has.
        count: usize,
        /// The network's limit.
        most: u64,
    },
    /// A transaction that is not valid on its own.
    #[error("transaction {index}: {error}")]
    Transaction {
        /// Its place in the batch, from 0.
        index: usize,
        /// What is wrong with it.
        error: TransactionError,
    },
    /// A transaction that is in the batch already.
    #[error("transaction {index}: {id} is in the batch already, at {first}")]
    Twice {
        /// The second one's place in the batch, from 0.
        index: usize,
        /// The first one's.
        first: usize,
        /// Their id.
        id: Digest,
    },
}

impl Batch {
    /// Its canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }
}

impl CheckedBatch {
    /// The digest that a batch with these bytes has.
    pub fn digest_of(bytes: &[u8]) -> Digest {
        Digest::of(Domain::Batch, bytes)
    }

    /// Makes a batch of transactions that were checked before, and its bytes. Checks no signature again.
    ///
    /// # Errors
    /// When a limit is passed or a transaction is there twice.
    pub fn assemble(
        author: PublicKey,
        sequence: u64,
        expires_at: Height,
        transactions: Vec<Arc<CheckedTransaction>>,
        genesis: &Genesis,
    ) -> Result<(Self, Vec<u8>), BatchError> {
        let most = genesis.parameters().max_batch_bytes;
        let length =
            OVERHEAD_BYTES + transactions.iter().map(|transaction| transaction.length()).sum::<usize>();
        if length as u64 > most {
            return Err(BatchError::TooLarge { length, most });
        }
        check_count(transactions.len(), genesis)?;
        let bytes = encode(&BatchRef {
            author,
            sequence,
            expires_at,
            transactions: transactions.iter().map(Arc::as_ref).collect(),
        });
        let digest = Self::digest_of(&bytes);
        let batch = Self { digest, author, sequence, expires_at, transactions };
        batch.check_distinct()?;
        Ok((batch, bytes))
    }

    /// Reads and checks a batch from anywhere: limits, chain, every transaction, and all signatures in one go.
    ///
    /// # Errors
    /// Names the first transaction at fault and what is wrong with which value.
    pub fn decode_and_check(bytes: &[u8], genesis: &Genesis) -> Result<Self, BatchError> {
        Self::read(bytes, genesis)?.check()
    }

    /// Reads a batch from anywhere, and checks what costs little: who looks at it may refuse it before its signatures
    /// are checked.
    ///
    /// # Errors
    /// As [`CheckedBatch::decode_and_check`], except for signatures and unsound keys.
    pub fn read(bytes: &[u8], genesis: &Genesis) -> Result<UncheckedBatch, BatchError> {
        Self::decode_already_verified(bytes, genesis).map(UncheckedBatch)
    }

    /// Reads a batch **whose bytes this node verified before** and kept, as in its own store: checks no signature
    /// and no key again. With any other bytes a forged transaction passes.
    ///
    /// # Errors
    /// As [`CheckedBatch::decode_and_check`], except for signatures and unsound keys.
    pub fn decode_already_verified(bytes: &[u8], genesis: &Genesis) -> Result<Self, BatchError> {
        let limit = usize::try_from(genesis.parameters().max_batch_bytes).unwrap_or(usize::MAX);
        let Batch { author, sequence, expires_at, transactions } = decode(bytes, limit)?;
        check_count(transactions.len(), genesis)?;
        let check = |(index, transaction)| match CheckedTransaction::check_form(transaction, genesis) {
            Ok(checked) => Ok(Arc::new(checked)),
            Err(error) => Err(BatchError::Transaction { index, error }),
        };
        let transactions = transactions.into_iter().enumerate().map(check).collect::<Result<_, _>>()?;
        let batch = Self { digest: Self::digest_of(bytes), author, sequence, expires_at, transactions };
        batch.check_distinct()?;
        Ok(batch)
    }

    /// The digest of its bytes.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The network key of the node that made it.
    pub const fn author(&self) -> PublicKey {
        self.author
    }

    /// The author's count of batches.
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The last height of a block that may name it.
    pub const fn expires_at(&self) -> Height {
        self.expires_at
    }

    /// The transactions, in the order of execution. Never empty.
    pub fn transactions(&self) -> &[Arc<CheckedTransaction>] {
        &self.transactions
    }

    fn check_distinct(&self) -> Result<(), BatchError> {
        let mut places = BTreeMap::new();
        for (index, transaction) in self.transactions.iter().enumerate() {
            if let Some(first) = places.insert(transaction.id(), index) {
                return Err(BatchError::Twice { index, first, id: transaction.id() });
            }
        }
        Ok(())
    }
}

impl UncheckedBatch {
    /// The network key of the node that is said to have made it.
    pub const fn author(&self) -> PublicKey {
        self.0.author
    }

    /// The last height of a block that may name it.
    pub const fn expires_at(&self) -> Height {
        self.0.expires_at
    }

    /// [`UncheckedBatch::check`] of each of `batches`, in their order. Their signatures are checked together, so that many small
    /// batches cost as little as a large one.
    pub fn check_all(batches: Vec<Self>) -> Vec<Result<CheckedBatch, BatchError>> {
        /// More transactions at once gain nothing, and one forgery among them costs more.
        const TOGETHER: usize = 1_024;
        let mut checked = Vec::with_capacity(batches.len());
        let mut rest = batches.into_iter().peekable();
        while rest.peek().is_some() {
            let (mut together, mut count) = (Vec::new(), 0);
            while let Some(batch) = rest.next_if(|_| count < TOGETHER) {
                count += batch.0.transactions.len();
                together.push(batch);
            }
            let transactions = together.iter().flat_map(|batch| &batch.0.transactions).map(Arc::as_ref);
            let are_sound = are_signed(transactions.clone()) && find_unsound(transactions).is_none();
            let check = |batch: Self| if are_sound { Ok(batch.0) } else { batch.check() };
            checked.extend(together.into_iter().map(check));
        }
        checked
    }

    /// Checks all signatures in one go, and the keys.
    ///
    /// # Errors
    /// Names the first transaction at fault and what is wrong with which value.
    pub fn check(self) -> Result<CheckedBatch, BatchError> {
        let transactions = self.0.transactions.iter().map(Arc::as_ref);
        match find_forgery(transactions.clone()).or_else(|| find_unsound(transactions)) {
            Some((index, error)) => Err(BatchError::Transaction { index, error }),
            None => Ok(self.0),
        }
    }
}

fn check_count(count: usize, genesis: &Genesis) -> Result<(), BatchError> {
    let most = genesis.parameters().max_batch_transactions;
    if count == 0 || count as u64 > most {
        return Err(BatchError::TransactionCount { count, most });
    }
    Ok(())
}

#[cfg(test)]
mod tests;

//! `tx_submit`, `tx_submitBatch` and `POST /tx/batch`: clients' transactions on their way into the mempool.
//!
//! In the order of what it costs: room ([`crate::mempool::Room`]), form and expiry, signatures and keys, the receipt of who
//! was here before. So a node that is full refuses without looking, and one bad transaction among many refuses itself alone.
//!
//! One transaction is checked where its call is; many, with those of other calls ([`Checker`](super::Checker)). They are read on
//! threads that may be kept busy, a few at once. What waits for that is bounded by the mempool's room.

use std::borrow::Cow;
use std::sync::Arc;

use client::api::{self, Outcome, Refused, Submitted, code};
use genesis::encoding::decode;
use genesis::{Height, Parameters};
use jsonrpsee::types::ErrorObjectOwned;
use ledger::{Transaction, TransactionError, UncheckedTransaction};
use tokio::sync::Semaphore;

use super::checker::Checked;
use super::{Api, Refusal, internal, refusal};
use crate::mempool::{Busy, Room};

/// How many calls have their transactions read at once: votes and batches need the machine too.
static READERS: Semaphore = Semaphore::const_new(2);

/// A transaction's bytes as they came, unless they cannot even be told.
pub(super) type Item = Result<Vec<u8>, Refusal>;
/// What a call says of one of its transactions.
pub(super) type Answer = Outcome<Submitted, Refusal>;

/// The transaction in a JSON-RPC parameter.
pub(super) fn item(text: &str) -> Item {
    api::from_base64(text).map_err(|error| malformed(&format_args!("bad base64: {error}")))
}

pub(super) fn submit(api: &Api, text: &str) -> Result<Submitted, Refusal> {
    let bytes = item(text)?;
    let (room, busy) = api.mempool.reserve([bytes.len().min(limit(api))]);
    if let Some(busy) = busy {
        return Err(told_busy(&busy));
    }
    let (read, unchecked) = read(api, vec![Ok(bytes)]);
    let answer = finish(api, read, UncheckedTransaction::check_all(unchecked), room).pop();
    answer.map_or_else(|| Err(internal(&"no answer to a transaction")), Result::from)
}

/// Answers each of `items`, in their order.
pub(super) async fn submit_batch(api: Arc<Api>, mut items: Vec<Item>) -> Result<Vec<Answer>, Refusal> {
    check_count(&api, items.len(), "transactions")?;
    let limit = limit(&api);
    let lengths = items.iter().map(|item| item.as_ref().map_or(0, |bytes| bytes.len().min(limit)));
    let (room, busy) = api.mempool.reserve(lengths);
    let refused = items.split_off(room.count());
    let mut answers = Vec::new();
    if !items.is_empty() {
        let permit = READERS.acquire().await.map_err(|error| internal(&error))?;
        let reader = Arc::clone(&api);
        let reading = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            (read(&reader, items), room)
        });
        let ((read, unchecked), room) = reading.await.map_err(|error| internal(&error))?;
        let checked = api.checker.check(unchecked, room).await;
        let (checked, room) =
            checked.ok_or_else(|| internal(&"the thread that checks signatures is gone"))?;
        answers = finish(&api, read, checked, room);
    }
    if let Some(busy) = busy {
        answers.extend(refused.iter().map(|_| Outcome::Error(told_busy(&busy))));
    }
    Ok(answers)
}

/// Refuses a call that brings more than is taken at once.
pub(super) fn check_count(api: &Api, count: usize, what: &str) -> Result<(), Refusal> {
    let most = api.config.max_batch;
    if count <= most as usize {
        return Ok(());
    }
    let message =
        format!("{count} {what} came, but at most {most} are taken at once (max_batch): make several calls");
    let data = Refused { field: None, limit: Some(most.into()) };
    Err(ErrorObjectOwned::owned(code::INVALID_PARAMS, message, Some(data)))
}

/// What is said of each transaction unless its signatures or keys are at fault, and those of which nothing else is.
type Read = (Vec<Result<Submitted, Refusal>>, Vec<UncheckedTransaction>);

fn read(api: &Api, items: Vec<Item>) -> Read {
    let present = Present::of(api);
    let mut unchecked = Vec::with_capacity(items.len());
    let answers = items.into_iter().map(|item| {
        let transaction = present.read(api, &item?)?;
        let submitted = Submitted { id: transaction.id(), expires_at: transaction.expires_at() };
        unchecked.push(transaction);
        Ok(submitted)
    });
    (answers.collect(), unchecked)
}

/// Takes in what passed its check, and answers each transaction that was read.
fn finish(api: &Api, read: Vec<Result<Submitted, Refusal>>, checked: Checked, room: Room) -> Vec<Answer> {
    let mut accepted = Vec::with_capacity(checked.len());
    let mut checked = checked.into_iter();
    let answers = read.into_iter().map(|read| {
        let (submitted, Some(checked)) = (read?, checked.next()) else {
            return Err(internal(&"a transaction was not checked"));
        };
        let checked = checked.map_err(|error| refused(&error))?;
        // One that has its receipt is not ordered again.
        if api.store.receipt(&submitted.id).map_err(|error| internal(&error))?.is_none() {
            accepted.push(checked);
        }
        Ok(submitted)
    });
    let answers = answers.map(Outcome::from).collect();
    room.admit(accepted);
    answers
}

/// What a node goes by when it takes transactions.
struct Present {
    parameters: Parameters,
    next: Height,
    orders: bool,
}

impl Present {
    fn of(api: &Api) -> Self {
        Self {
            parameters: api.store.governance().configuration.parameters.clone(),
            next: api.store.tip().height.next(),
            orders: api.membership.now().me.is_some(),
        }
    }

    /// All that costs less than a signature.
    fn read(&self, api: &Api, bytes: &[u8]) -> Result<UncheckedTransaction, Refusal> {
        let transaction: Transaction = decode(bytes, limit(api)).map_err(|error| malformed(&error))?;
        let transaction =
            UncheckedTransaction::read(transaction, &api.genesis).map_err(|error| refused(&error))?;
        if let Err(refusal) = self.takes(transaction.transaction()) {
            // Who hands in again what was ordered meanwhile does no harm, and learns its id.
            let receipt = api.store.receipt(&transaction.id()).map_err(|error| internal(&error))?;
            receipt.ok_or(refusal)?;
        }
        Ok(transaction)
    }

    fn takes(&self, transaction: &Transaction) -> Result<(), Refusal> {
        if !self.orders {
            return Err(refusal(
                code::UNAVAILABLE,
                "this node is an observer: it serves reads, and orders nothing. Submit to a validator",
            ));
        }
        transaction.check_expiry(self.next, &self.parameters).map_err(|fault| {
            let most = self.parameters.max_transaction_lifetime;
            let message = format!(
                "refused as {}: expires_at is {}, but the next block is {} and {most} heights are the longest lifetime",
                fault.name(),
                transaction.expires_at,
                self.next
            );
            let data = Refused { field: Some(Cow::Borrowed("expiresAt")), limit: Some(most) };
            ErrorObjectOwned::owned(code::REFUSED, message, Some(data))
        })
    }
}

/// The most bytes of a transaction.
fn limit(api: &Api) -> usize {
    usize::try_from(api.genesis.parameters().max_transaction_bytes).unwrap_or(usize::MAX)
}

fn malformed(problem: &dyn std::fmt::Display) -> Refusal {
    refusal(code::MALFORMED, format!("not a transaction: {problem}"))
}

fn told_busy(busy: &Busy) -> Refusal {
    let data = api::Busy { retry_after_ms: busy.retry_after().as_millis() as u64 };
    ErrorObjectOwned::owned(code::BUSY, busy.to_string(), Some(data))
}

fn refused(error: &TransactionError) -> Refusal {
    let (field, limit) = match error {
        TransactionError::OtherChain { .. } => ("chain", None),
        TransactionError::TooLarge { most, .. } => ("transaction", Some(*most)),
        TransactionError::SignerCount { .. } | TransactionError::SignerOrder { .. } => ("signers", None),
        TransactionError::SignatureCount { .. } | TransactionError::Signature { .. } => ("signatures", None),
        TransactionError::Document(_) => ("operation.document", None),
        TransactionError::ItemCount { most, .. } => ("operation.items", Some(*most)),
        TransactionError::Item { .. } => ("operation.items", None),
        TransactionError::Revealed(_) => ("operation.revealed", None),
        TransactionError::SameRecovery { .. } => ("operation.recovery", None),
        TransactionError::Change(_) => ("operation.change", None),
    };
    let data = Refused { field: Some(Cow::Borrowed(field)), limit };
    ErrorObjectOwned::owned(code::REFUSED, error.to_string(), Some(data))
}

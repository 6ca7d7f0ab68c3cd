//! `tx_…`: submitting transactions and learning what became of them.

use std::borrow::Cow;
use std::time::Duration;

use client::api::{self, Fate, Receipt, Refused, Submitted, TimedOut, code};
use genesis::encoding::decode;
use genesis::{Digest, Height};
use jsonrpsee::types::ErrorObjectOwned;
use ledger::{CheckedTransaction, Transaction, TransactionError};

use super::{Api, Refusal, internal, refusal};
use crate::mempool::Ended;

/// When to try again where the mempool is full: a block or a few later.
const RETRY_AFTER_MS: u64 = 250;

pub(super) fn submit(api: &Api, text: String) -> Result<Submitted, Refusal> {
    let limit = usize::try_from(api.genesis.parameters().max_transaction_bytes).unwrap_or(usize::MAX);
    let malformed = |problem: String| refusal(code::MALFORMED, format!("not a transaction: {problem}"));
    let bytes = api::from_base64(&text).map_err(|error| malformed(format!("bad base64: {error}")))?;
    drop(text);
    let transaction: Transaction = decode(&bytes, limit).map_err(|error| malformed(error.to_string()))?;
    let checked = CheckedTransaction::check(transaction, &api.genesis).map_err(|error| refused(&error))?;
    let submitted = Submitted { id: checked.id(), expires_at: checked.transaction().expires_at };
    if api.store.receipt(&submitted.id).map_err(|error| internal(&error))?.is_some() {
        return Ok(submitted);
    }
    if api.membership.now().me.is_none() {
        return Err(refusal(
            code::UNAVAILABLE,
            "this node is an observer: it serves reads, and orders nothing. Submit to a validator",
        ));
    }
    let tip = api.store.tip().height;
    let parameters = &api.store.governance().configuration.parameters;
    if let Err(fault) = checked.transaction().check_expiry(tip.next(), parameters) {
        let most = parameters.max_transaction_lifetime;
        let message = format!(
            "refused as {}: expires_at is {}, but the next block is {} and {most} heights are the longest lifetime",
            fault.name(),
            submitted.expires_at,
            tip.next()
        );
        let data = Refused { field: Some(Cow::Borrowed("expiresAt")), limit: Some(most) };
        return Err(ErrorObjectOwned::owned(code::REFUSED, message, Some(data)));
    }
    api.mempool.submit(checked).map_err(|busy| {
        let data = api::Busy { retry_after_ms: RETRY_AFTER_MS };
        ErrorObjectOwned::owned(code::BUSY, busy.to_string(), Some(data))
    })?;
    Ok(submitted)
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

pub(super) async fn wait(api: &Api, id: Digest, timeout_ms: u64) -> Result<Receipt, Refusal> {
    if let Some(receipt) = receipt(api, &id)? {
        return Ok(receipt);
    }
    let Some(waiting) = api.mempool.wait(id) else {
        return Err(refusal(
            code::BUSY,
            "too many calls wait for receipts at this node: ask another, or tx_status",
        ));
    };
    // It may have come, or expired, between the look and the wait.
    match status(api, id)? {
        Fate::Final { receipt } => return Ok(receipt),
        Fate::Expired { expires_at, height } => return Err(expired(id, expires_at, height)),
        Fate::Pending { .. } | Fate::Unknown { .. } => {}
    }
    let timeout = Duration::from_millis(timeout_ms.min(api.config.wait_timeout_max_ms));
    match tokio::time::timeout(timeout, waiting).await {
        Ok(Ok(Ended::Ordered(receipt))) => Ok(Receipt::new(&receipt, api.genesis.network())),
        Ok(Ok(Ended::Expired(expires_at))) => Err(expired(id, expires_at, api.store.tip().height)),
        Ok(Err(_)) => Err(refusal(code::UNAVAILABLE, "the node is stopping: ask another for this id")),
        Err(_) => timed_out(api, id, timeout),
    }
}

fn timed_out(api: &Api, id: Digest, timeout: Duration) -> Result<Receipt, Refusal> {
    let height = api.store.tip().height;
    let fate = status(api, id)?;
    let can_land_until = match &fate {
        Fate::Final { receipt } => return Ok(receipt.clone()),
        Fate::Expired { expires_at, height } => return Err(expired(id, *expires_at, *height)),
        Fate::Pending { expires_at } => *expires_at,
        Fate::Unknown { can_land_until, .. } => *can_land_until,
    };
    let health = api.health.look();
    let trouble =
        if health.ready { String::new() } else { format!(" This node is not ready: {}.", health.why) };
    let message = format!(
        "no receipt within {} ms: the transaction is {} and can still land until height {can_land_until}; the chain \
         is at {height}.{trouble} Wait again with the same id; submitting it again does no harm",
        timeout.as_millis(),
        fate.state(),
    );
    let data = TimedOut { id, state: Cow::Borrowed(fate.state()), can_land_until, height };
    Err(ErrorObjectOwned::owned(code::TIMED_OUT, message, Some(data)))
}

pub(super) fn status(api: &Api, id: Digest) -> Result<Fate, Refusal> {
    // The tip first: a receipt of a later block may then be seen, but none of an earlier one missed.
    let height = api.store.tip().height;
    if let Some(receipt) = receipt(api, &id)? {
        return Ok(Fate::Final { receipt });
    }
    Ok(match api.mempool.expiry(&id) {
        Some(expires_at) if expires_at <= height => Fate::Expired { expires_at, height },
        Some(expires_at) => Fate::Pending { expires_at },
        None => Fate::Unknown {
            height,
            can_land_until: height
                .plus(api.store.governance().configuration.parameters.max_transaction_lifetime),
        },
    })
}

fn expired(id: Digest, expires_at: Height, height: Height) -> Refusal {
    let message = format!(
        "the transaction is expired: it could be applied until height {expires_at}, and up to height {height} it was not \
         ordered. It never will be: sign it again with a later expiry"
    );
    let data = api::Expired { id, expires_at, height };
    ErrorObjectOwned::owned(code::EXPIRED, message, Some(data))
}

fn receipt(api: &Api, id: &Digest) -> Result<Option<Receipt>, Refusal> {
    let receipt = api.store.receipt(id).map_err(|error| internal(&error))?;
    Ok(receipt.map(|receipt| Receipt::new(&receipt, api.genesis.network())))
}

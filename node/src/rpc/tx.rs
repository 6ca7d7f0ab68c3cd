//! `tx_…`: learning what became of transactions. How they are handed in: [`super::submit`].

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use client::api::{self, Fate, Receipt, TimedOut, Waited, code};
use genesis::{Digest, Height};
use jsonrpsee::types::ErrorObjectOwned;

use super::submit::check_count;
use super::{Api, Refusal, internal, refusal};
use crate::mempool::{Ended, Waiting};

/// When to ask again where too many wait: a block or a few later.
const RETRY_AFTER_MS: u64 = 250;

pub(super) async fn wait(api: &Api, id: Digest, timeout_ms: u64) -> Result<Receipt, Refusal> {
    let waiting = api.mempool.wait(vec![id]);
    // It may have come, or expired, before the wait began.
    if waiting.as_ref().is_none_or(|waiting| !waiting.to_look_up().is_empty()) {
        match status(api, id)? {
            Fate::Final { receipt } => return Ok(receipt),
            Fate::Expired { expires_at, height } => return Err(expired(id, expires_at, height)),
            Fate::Pending { .. } | Fate::Unknown { .. } => {}
        }
    }
    let mut waiting = waiting.ok_or_else(too_many)?;
    let timeout = timeout(api, timeout_ms);
    let Ok(ended) = tokio::time::timeout(timeout, waiting.next()).await else {
        return timed_out(api, id, timeout);
    };
    match ended.ok_or_else(stopping)?.pop() {
        Some((_, Ended::Ordered(receipt))) => Ok(Receipt::new(&receipt, api.genesis.network())),
        Some((_, Ended::Expired(expires_at))) => Err(expired(id, expires_at, api.store.tip().height)),
        None => timed_out(api, id, timeout),
    }
}

/// Those of `ids` that have ended, as soon as there are any.
pub(super) async fn wait_batch(api: Arc<Api>, ids: Vec<Digest>, timeout_ms: u64) -> Result<Waited, Refusal> {
    check_count(&api, ids.len(), "ids")?;
    let mut waiting = api.mempool.wait(ids).ok_or_else(too_many)?;
    let mut waited = look_up(&api, &waiting).await?;
    let known: HashSet<Digest> = waited.receipts.iter().map(|receipt| receipt.id).collect();
    // Where some have ended already, only what was told meanwhile is added.
    let is_empty = waited.receipts.is_empty() && waited.expired.is_empty();
    let timeout =
        if is_empty && !waiting.is_for_nothing() { timeout(&api, timeout_ms) } else { Duration::ZERO };
    if let Ok(ended) = tokio::time::timeout(timeout, waiting.next()).await {
        waited.height = api.store.tip().height;
        for (id, ended) in ended.ok_or_else(stopping)? {
            match ended {
                Ended::Ordered(_) if known.contains(&id) => {}
                Ended::Ordered(receipt) => {
                    waited.receipts.push(Receipt::new(&receipt, api.genesis.network()));
                }
                Ended::Expired(expires_at) => {
                    waited.expired.push(api::Expired { id, expires_at, height: waited.height });
                }
            }
        }
    }
    Ok(waited)
}

/// Those that had ended before the wait began.
async fn look_up(api: &Arc<Api>, waiting: &Waiting) -> Result<Waited, Refusal> {
    let height = api.store.tip().height;
    let mut waited = Waited { receipts: Vec::new(), expired: Vec::new(), height };
    let (api, ids) = (Arc::clone(api), waiting.to_look_up().to_vec());
    if ids.is_empty() {
        return Ok(waited);
    }
    // Each is a read of the disk.
    let looked_up = tokio::task::spawn_blocking(move || {
        for id in ids {
            match status(&api, id)? {
                Fate::Final { receipt } => waited.receipts.push(receipt),
                Fate::Expired { expires_at, height } => {
                    waited.expired.push(api::Expired { id, expires_at, height });
                }
                Fate::Pending { .. } | Fate::Unknown { .. } => {}
            }
        }
        Ok(waited)
    });
    looked_up.await.map_err(|error| internal(&error))?
}

fn timeout(api: &Api, timeout_ms: u64) -> Duration {
    Duration::from_millis(timeout_ms.min(api.config.wait_timeout_max_ms))
}

fn too_many() -> Refusal {
    let data = api::Busy { retry_after_ms: RETRY_AFTER_MS };
    let message = "too many calls wait for receipts at this node: ask another, or tx_status";
    ErrorObjectOwned::owned(code::BUSY, message, Some(data))
}

fn stopping() -> Refusal {
    refusal(code::UNAVAILABLE, "the node is stopping: ask another for what is not there yet")
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

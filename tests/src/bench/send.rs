//! How transactions and the wait for receipts reach a node. Whoever changes the way in changes this file alone: what a
//! transaction is packed as, how many go into one call, and the two calls.

use std::collections::HashMap;
use std::time::Duration;

use client::api::{Busy, Receipt, Waited, code};
use client::rpc::CallError;
use client::{Client, RpcError};
use genesis::Digest;

use super::sign::Signed;

/// A transaction as it is sent.
pub type Packed = Vec<u8>;

/// The most transactions in one call.
pub const MOST_SUBMITTED: usize = 1_000;

/// The most receipts that one call waits for.
pub const MOST_AWAITED: usize = 1_000;

/// What a node says of a transaction that was handed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It holds it.
    Accepted,
    /// It is full, and says when to come back.
    Busy,
    /// It refuses it, or is full without a word on when to come back.
    Refused(String),
}

/// What a node says of a transaction that was waited for.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// It was ordered.
    Ordered(Receipt),
    /// It was not, and never will be.
    Expired,
    /// Nothing is known yet.
    Open,
}

/// A transaction's canonical bytes, packed.
pub fn pack(bytes: &[u8]) -> Packed {
    bytes.to_vec()
}

/// Hands in at most [`MOST_SUBMITTED`]; an answer for each.
///
/// # Errors
/// When the node gives no answer: it may have taken them all the same.
pub async fn submit(client: &Client, transactions: &[&Signed]) -> Result<Vec<Answer>, RpcError> {
    let packed: Vec<&Packed> = transactions.iter().map(|signed| &signed.packed).collect();
    let answers = client.submit_batch(&packed).await?;
    Ok(answers.into_iter().map(|answer| answer.map_or_else(refused, |_| Answer::Accepted)).collect())
}

/// Waits for any of at most [`MOST_AWAITED`] receipts, about as long as `at_most`; what is known of each then.
///
/// # Errors
/// When the node gives no answer.
pub async fn wait(client: &Client, ids: &[Digest], at_most: Duration) -> Result<Vec<Fate>, RpcError> {
    let Waited { receipts, expired, .. } = client.wait_batch(ids, at_most).await?;
    let ordered = receipts.into_iter().map(|receipt| (receipt.id, Fate::Ordered(receipt)));
    let expired = expired.into_iter().map(|expired| (expired.id, Fate::Expired));
    let mut fates: HashMap<Digest, Fate> = ordered.chain(expired).collect();
    Ok(ids.iter().map(|id| fates.remove(id).unwrap_or(Fate::Open)).collect())
}

fn refused(error: CallError) -> Answer {
    let told = error.data.and_then(|data| serde_json::from_value::<Busy>(data).ok());
    match (error.code, told) {
        (code::BUSY, Some(_)) => Answer::Busy,
        (code::BUSY, None) => Answer::Refused("full, without retryAfterMs".to_owned()),
        (code, _) => Answer::Refused(format!("code {code}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_node_that_says_when_to_come_back_refuses_politely() {
        let answer = |code, data| refused(CallError { code, message: String::new(), data });
        assert_eq!(answer(code::BUSY, Some(json!({ "retryAfterMs": 250 }))), Answer::Busy);
        assert!(matches!(answer(code::BUSY, None), Answer::Refused(_)));
        assert!(matches!(answer(code::INTERNAL, Some(json!({ "retryAfterMs": 1 }))), Answer::Refused(_)));
    }
}

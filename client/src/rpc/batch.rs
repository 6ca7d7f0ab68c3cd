//! Many transactions in one call: handed in as bytes, and waited for together.
//!
//! Who hands in thousands a second sends some hundreds in each call, and waits for the receipts of a call's transactions in
//! one call too, again and again until all are there ([`Client::wait_batch`]).

use std::time::Duration;

use genesis::Digest;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client as Connections, Error as ConnectionError};
use hyper_util::rt::TokioExecutor;
use jsonrpsee_core::client::ClientT;
use jsonrpsee_core::http_helpers::{Body, Request, read_body};
use jsonrpsee_core::params::ArrayParams;
use serde_json::Value;

use super::{
    CALL_TIMEOUT, CONNECT_TIMEOUT, CallError, Client, MAX_ANSWER_BYTES, RpcError, WAIT_SLICE, insert,
    is_of_the_connection, root_cause, shown,
};
use crate::api::{BATCH_PATH, BATCH_TYPE, Outcome, Submitted, Waited, encode_batch, method};

/// Connections to a node, for bytes.
pub(super) type Bytes = Connections<HttpConnector, Body>;

/// Connections that are made when they are needed.
pub(super) fn connections() -> Bytes {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    Connections::builder(TokioExecutor::new()).build(connector)
}

impl Client {
    /// Hands in many transactions' canonical bytes in one call. The answers are in their order.
    ///
    /// # Errors
    /// When the node cannot be asked, or takes fewer at once (its `max_batch` and `max_body_bytes`); a transaction that it
    /// refuses is an answer.
    pub async fn submit_batch(
        &self,
        transactions: &[impl AsRef<[u8]>],
    ) -> Result<Vec<Result<Submitted, CallError>>, RpcError> {
        let bytes = encode_batch(transactions);
        let answer = tokio::time::timeout(CALL_TIMEOUT, self.post(bytes)).await;
        let silent = |_| RpcError::Silent { url: self.url.clone(), seconds: CALL_TIMEOUT.as_secs() };
        let answers: Vec<Outcome<Submitted, CallError>> =
            serde_json::from_slice(&answer.map_err(silent)??)
                .map_err(|error| self.answer(shown(&error.to_string())))?;
        if answers.len() != transactions.len() {
            let problem = format!("{} answers to {} transactions", answers.len(), transactions.len());
            return Err(self.answer(problem));
        }
        Ok(answers.into_iter().map(Result::from).collect())
    }

    /// Waits until at least one of the transactions `ids` has ended, for `timeout` (at most 20 s): those that have. Ask again
    /// for the others; none of them has when the time is over.
    ///
    /// # Errors
    /// When the node cannot be asked, or takes fewer ids at once (its `max_batch`).
    pub async fn wait_batch(&self, ids: &[Digest], timeout: Duration) -> Result<Waited, RpcError> {
        let mut params = ArrayParams::new();
        insert(&mut params, ids)?;
        insert(&mut params, u64::try_from(timeout.min(WAIT_SLICE).as_millis()).unwrap_or(u64::MAX))?;
        let result = self.waits.request(method::TX_WAIT_BATCH, params).await;
        result.map_err(|error| self.failed(error, WAIT_SLICE + CALL_TIMEOUT))
    }

    async fn post(&self, bytes: Vec<u8>) -> Result<Vec<u8>, RpcError> {
        let uri = format!("{}{BATCH_PATH}", self.url.trim_end_matches('/'));
        let request = Request::post(uri).header("content-type", BATCH_TYPE).body(Body::from(bytes));
        let request = request.map_err(|error| self.answer(error.to_string()))?;
        let answer = self.bytes.request(request).await.map_err(|error| self.not_reached(&error))?;
        let (head, body) = answer.into_parts();
        let read = read_body(&head.headers, Body::new(body), MAX_ANSWER_BYTES).await;
        let (body, _) = read.map_err(|error| self.answer(shown(&error.to_string())))?;
        if head.status.is_success() {
            return Ok(body);
        }
        // An RFC 9457 object, if it is a node's.
        let problem: Option<Value> = serde_json::from_slice(&body).ok();
        let detail =
            problem.as_ref().and_then(|problem| problem["detail"].as_str()).unwrap_or("no reason given");
        Err(self.answer(shown(&format!("{}: {detail}", head.status))))
    }

    fn not_reached(&self, error: &ConnectionError) -> RpcError {
        if error.is_connect() || is_of_the_connection(error) {
            return RpcError::Unreachable { url: self.url.clone(), problem: root_cause(error).into_owned() };
        }
        self.answer(shown(&error.to_string()))
    }
}

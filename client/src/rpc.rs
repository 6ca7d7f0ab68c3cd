//! A typed client of a node's JSON-RPC over HTTP.
//!
//! Every failure names the node's URL and what to do. Submitting is idempotent: the same transaction has the same
//! id, so whoever lost the answer submits again or waits for the id.
//!
//! Left to callers: whether to believe the node. [`proved`] has the calls that need no belief.

mod batch;
pub mod proved;

use std::borrow::Cow;
use std::error::Error as StdError;
use std::io;
use std::time::{Duration, Instant};

use genesis::{Digest, Height};
use jsonrpsee_core::client::{ClientT, Error};
use jsonrpsee_core::params::ArrayParams;
use jsonrpsee_http_client::types::ErrorObject;
use jsonrpsee_http_client::{HttpClient, HttpClientBuilder};
use ledger::{Did, Version};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::{
    Block, ChainStatus, Fate, Governance, History, Issuer, Participation, Peer, Receipt, ResolveOptions,
    Submitted, TimedOut, code, method,
};

/// How long the node is given to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the node is given to answer a call that does not wait for a block.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// The longest that one call of `tx_wait` waits; a longer wait is several calls. Keeps below what proxies and the
/// node itself allow.
const WAIT_SLICE: Duration = Duration::from_secs(20);

/// The most bytes that an answer may have.
const MAX_ANSWER_BYTES: u32 = 64 << 20;

/// A node's JSON-RPC.
#[derive(Clone, Debug)]
pub struct Client {
    url: String,
    /// For calls that are answered at once.
    calls: HttpClient,
    /// For calls that wait for a block.
    waits: HttpClient,
    /// For many transactions as bytes.
    bytes: batch::Bytes,
}

/// A node's "no" to one call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message} (code {code})")]
pub struct CallError {
    /// One of [`code`], or JSON-RPC's own.
    pub code: i32,
    /// What the node says.
    pub message: String,
    /// Details, in the shape that the code has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// The URL cannot be used.
    #[error("`{url}` is not the URL of a node: {problem}; expected such as http://127.0.0.1:26601")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// There is no connection.
    #[error(
        "{problem} at {url}: is the node running there? Start it with `realdid start --home DIR`, or check --rpc"
    )]
    Unreachable {
        /// Where.
        url: String,
        /// What the system said.
        problem: String,
    },
    /// The node did not answer in time.
    #[error(
        "no answer from {url} within {seconds} s: it may be overloaded or stopped; try again, or ask another node"
    )]
    Silent {
        /// Where.
        url: String,
        /// How long it was given.
        seconds: u64,
    },
    /// The answer is not one of this API.
    #[error(
        "{url} gave an answer that is not a RealDID node's: {problem}. Is it the RPC port (the node's base port + 1)?"
    )]
    Answer {
        /// Where.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The node says no.
    #[error("{url}: {error}")]
    Call {
        /// Where.
        url: String,
        /// What it says.
        error: CallError,
    },
}

impl CallError {
    /// The details of a wait that ended without a receipt.
    pub fn timed_out(&self) -> Option<TimedOut> {
        self.data_of(code::TIMED_OUT)
    }

    fn data_of<T: DeserializeOwned>(&self, code: i32) -> Option<T> {
        let data = self.data.as_ref().filter(|_| self.code == code)?;
        serde_json::from_value(data.clone()).ok()
    }
}

impl From<ErrorObject<'_>> for CallError {
    fn from(error: ErrorObject<'_>) -> Self {
        let data = error.data().and_then(|data| serde_json::from_str(data.get()).ok());
        Self { code: error.code(), message: error.message().to_owned(), data }
    }
}

impl RpcError {
    /// The node's "no", where it is one.
    pub fn call(&self) -> Option<&CallError> {
        match self {
            Self::Call { error, .. } => Some(error),
            _ => None,
        }
    }

    /// Whether the node says that it cannot answer now, or does not answer, so that another might.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Silent { .. } => true,
            Self::Call { error, .. } => matches!(error.code, code::BUSY | code::UNAVAILABLE),
            Self::Url { .. } | Self::Answer { .. } => false,
        }
    }
}

impl Client {
    /// A client of the node at `url`. Connects with the first call.
    ///
    /// # Errors
    /// When `url` is not one of plain HTTP.
    pub fn new(url: &str) -> Result<Self, RpcError> {
        let refused = |problem: &str| RpcError::Url { url: shown(url), problem: problem.to_owned() };
        if url.starts_with("https://") {
            return Err(refused(
                "this build speaks plain HTTP; reach the node through a tunnel or a local proxy",
            ));
        }
        if !url.starts_with("http://") {
            return Err(refused("it does not start with http://"));
        }
        let build = |timeout: Duration| {
            HttpClientBuilder::default()
                .request_timeout(timeout)
                .connect_timeout(CONNECT_TIMEOUT)
                .max_response_size(MAX_ANSWER_BYTES)
                .build(url)
                .map_err(|error| refused(&error.to_string()))
        };
        let (calls, waits) = (build(CALL_TIMEOUT)?, build(WAIT_SLICE + CALL_TIMEOUT)?);
        Ok(Self { url: url.to_owned(), calls, waits, bytes: batch::connections() })
    }

    /// The node's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Hands in a transaction's canonical bytes.
    ///
    /// # Errors
    /// When the node refuses it or cannot be asked.
    pub async fn submit(&self, transaction: &[u8]) -> Result<Submitted, RpcError> {
        self.call(method::TX_SUBMIT, &[&crate::api::to_base64(transaction)]).await
    }

    /// Waits for the receipt of a transaction.
    ///
    /// # Errors
    /// When there is none within `timeout` ([`CallError::timed_out`] then says until when it may still come), or
    /// the node cannot be asked.
    pub async fn wait(&self, id: &Digest, timeout: Duration) -> Result<Receipt, RpcError> {
        let start = Instant::now();
        loop {
            let left = timeout.saturating_sub(start.elapsed());
            let slice = left.min(WAIT_SLICE);
            let receipt = self.wait_once(id, slice).await;
            match &receipt {
                Err(RpcError::Call { error, .. }) if error.code == code::TIMED_OUT && left > slice => {}
                _ => return receipt,
            }
        }
    }

    async fn wait_once(&self, id: &Digest, timeout: Duration) -> Result<Receipt, RpcError> {
        let result = self.waits.request(method::TX_WAIT, wait_params(id, timeout)?).await;
        result.map_err(|error| self.failed(error, WAIT_SLICE + CALL_TIMEOUT))
    }

    /// What is known of a transaction now.
    ///
    /// # Errors
    /// When the node cannot be asked.
    pub async fn fate(&self, id: &Digest) -> Result<Fate, RpcError> {
        self.call(method::TX_STATUS, &[id]).await
    }

    /// Resolves a DID. One that does not resolve is an answer, with the error in its `didResolutionMetadata`.
    ///
    /// # Errors
    /// When the node cannot be asked.
    pub async fn resolve(&self, did: &str, options: &ResolveOptions) -> Result<Value, RpcError> {
        let mut params = ArrayParams::new();
        insert(&mut params, did)?;
        insert(&mut params, options)?;
        self.request(method::DID_RESOLVE, params).await
    }

    /// The genesis document, as the node has it: check its hash.
    ///
    /// # Errors
    /// When the node cannot be asked.
    pub async fn genesis(&self) -> Result<String, RpcError> {
        self.request(method::CHAIN_GENESIS, ArrayParams::new()).await
    }

    /// The versions of a DID from version `from` on, oldest first.
    ///
    /// # Errors
    /// When there is no such DID, or the node cannot be asked.
    pub async fn history(&self, did: &Did, from: Version) -> Result<History, RpcError> {
        let mut params = ArrayParams::new();
        insert(&mut params, did)?;
        insert(&mut params, from)?;
        self.request(method::DID_HISTORY, params).await
    }

    /// Where the node stands.
    ///
    /// # Errors
    /// When the node cannot be asked.
    pub async fn status(&self) -> Result<ChainStatus, RpcError> {
        self.request(method::CHAIN_STATUS, ArrayParams::new()).await
    }

    /// A final block.
    ///
    /// # Errors
    /// When the node does not have it or cannot be asked.
    pub async fn block(&self, height: Height) -> Result<Block, RpcError> {
        self.call(method::CHAIN_BLOCK, &[height]).await
    }

    /// What each validator did in the blocks from one height to another, or in the first of them: then it says where to go on.
    ///
    /// # Errors
    /// When the node does not have them or cannot be asked.
    pub async fn participation(&self, from: Height, to: Height) -> Result<Participation, RpcError> {
        self.call(method::CHAIN_PARTICIPATION, &[from, to]).await
    }

    /// The node's peers.
    ///
    /// # Errors
    /// When the node cannot be asked.
    pub async fn peers(&self) -> Result<Vec<Peer>, RpcError> {
        self.request(method::NET_PEERS, ArrayParams::new()).await
    }

    /// Who is in charge, and what is voted on.
    ///
    /// # Errors
    /// When the node cannot be asked.
    pub async fn governance(&self) -> Result<Governance, RpcError> {
        self.request(method::GOV_PROPOSALS, ArrayParams::new()).await
    }

    /// What a DID is accredited as.
    ///
    /// # Errors
    /// When the node cannot be asked, or serves another network.
    pub async fn issuer(&self, did: &Did) -> Result<Issuer, RpcError> {
        self.call(method::REGISTRY_ISSUER, &[did]).await
    }

    async fn call<P: Serialize, T: DeserializeOwned>(
        &self,
        method: &str,
        params: &[P],
    ) -> Result<T, RpcError> {
        let mut array = ArrayParams::new();
        params.iter().try_for_each(|param| insert(&mut array, param))?;
        self.request(method, array).await
    }

    async fn request<T: DeserializeOwned>(&self, method: &str, params: ArrayParams) -> Result<T, RpcError> {
        self.calls.request(method, params).await.map_err(|error| self.failed(error, CALL_TIMEOUT))
    }

    fn answer(&self, problem: String) -> RpcError {
        RpcError::Answer { url: self.url.clone(), problem }
    }

    fn failed(&self, error: Error, timeout: Duration) -> RpcError {
        let url = self.url.clone();
        match error {
            Error::Call(error) => RpcError::Call { url, error: error.into() },
            Error::RequestTimeout => RpcError::Silent { url, seconds: timeout.as_secs() },
            Error::Transport(error) if is_of_the_connection(&*error) => {
                RpcError::Unreachable { url, problem: root_cause(&*error).into_owned() }
            }
            other => self.answer(shown(&other.to_string())),
        }
    }
}

fn wait_params(id: &Digest, timeout: Duration) -> Result<ArrayParams, RpcError> {
    let mut params = ArrayParams::new();
    insert(&mut params, id)?;
    insert(&mut params, u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX))?;
    Ok(params)
}

fn insert(params: &mut ArrayParams, value: impl Serialize) -> Result<(), RpcError> {
    // No value of ours fails to serialise; if one did, the message is better than a panic.
    params.insert(value).map_err(|error| RpcError::Answer { url: String::new(), problem: error.to_string() })
}

fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

/// Whether the failure is the network's, not the answer's.
fn is_of_the_connection(error: &(dyn StdError + 'static)) -> bool {
    causes(error).any(|cause| cause.is::<io::Error>() || cause.to_string().contains("connection closed"))
}

/// What the system said, without the layers that passed it on.
fn root_cause(error: &(dyn StdError + 'static)) -> Cow<'static, str> {
    let last = causes(error).last().unwrap_or(error);
    match last.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => "connection refused".into(),
        Some(io::ErrorKind::ConnectionReset) => "the connection was closed".into(),
        Some(io::ErrorKind::TimedOut) => "no connection in time".into(),
        _ => shown(&last.to_string()).into(),
    }
}

/// A text cut to what fits into a message.
fn shown(text: &str) -> String {
    text.chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_is_no_nodes_is_refused_with_an_example() {
        for url in ["", "127.0.0.1:26601", "https://example.org", "ws://127.0.0.1:1", "http://", "http://a b"]
        {
            let error = Client::new(url).unwrap_err().to_string();
            assert!(error.contains("http://127.0.0.1:26601"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_node_that_does_not_run_is_named_with_what_to_do() {
        // Bound and dropped: nobody listens there.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("http://127.0.0.1:{port}");
        let error = Client::new(&url).unwrap().status().await.unwrap_err();
        assert!(error.is_transient());
        let text = error.to_string();
        assert!(text.starts_with(&format!("connection refused at {url}: is the node running")), "{text}");
        assert!(text.contains("realdid start"), "{text}");
    }

    #[tokio::test]
    async fn an_answer_that_is_no_nodes_is_told_from_silence() {
        use std::io::{Read, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4_096];
            let _ = stream.read(&mut request).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").unwrap();
        });
        let error = Client::new(&url).unwrap().status().await.unwrap_err();
        server.join().unwrap();
        assert!(matches!(error, RpcError::Answer { .. }), "{error}");
        assert!(error.to_string().contains("base port + 1"), "{error}");
    }

    #[test]
    fn a_call_error_gives_its_details() {
        let data = serde_json::json!({
            "id": Digest::ZERO, "state": "pending", "canLandUntil": 9, "height": 4,
        });
        let error = CallError { code: code::TIMED_OUT, message: "late".into(), data: Some(data) };
        assert_eq!(error.timed_out().unwrap().can_land_until, Height(9));
        assert_eq!(CallError { code: code::BUSY, ..error }.timed_out(), None);
    }
}

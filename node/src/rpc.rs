//! JSON-RPC 2.0 over HTTP and WebSocket: a namespace a file. On the same port, [`http`] serves DID Resolution, and takes
//! transactions as bytes.
//!
//! Everything that comes from outside is bounded before it is looked at: connections, bodies, calls in a batch, the
//! time until the first request, the time that a call may wait. Faults of this node are told in fixed words; the log
//! says more.

mod chain;
mod checker;
mod did;
mod discover;
mod gov;
mod http;
mod net;
mod prove;
mod registry;
mod submit;
mod tx;

pub use self::checker::Checker;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use client::api::{code, method};
use genesis::{Digest, Genesis, UnixMillis};
use jsonrpsee::server::{BatchRequestConfig, PingConfig, Server, ServerConfig, ServerHandle};
use jsonrpsee::types::{ErrorObjectOwned, Params};
use jsonrpsee::{IntoResponse, RpcModule};
use ledger::registry::Role;
use ledger::{Did, Store};
use p2p::Network;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tower::ServiceBuilder;
use tower::layer::layer_fn;

use crate::clocks::Clocks;
use crate::config::RpcConfig;
use crate::driver::Snapshot;
use crate::health::Health;
use crate::membership::Membership;
use crate::mempool::Mempool;
use crate::metrics::Metrics;

/// How long a connection may take until its first request is complete; and a resolver's request with its body.
const FIRST_REQUEST: Duration = Duration::from_secs(10);
/// The most bytes in an answer.
const MAX_RESPONSE_BYTES: u32 = 16 << 20;

/// What the methods answer from.
pub struct Api {
    /// The network's genesis.
    pub genesis: Arc<Genesis>,
    /// Who is in charge, and whether this node is one of them.
    pub membership: Membership,
    /// The ledger.
    pub store: Arc<Store>,
    /// Where transactions go.
    pub mempool: Arc<Mempool>,
    /// The peers.
    pub network: Network,
    /// The replica's position.
    pub snapshot: watch::Receiver<Snapshot>,
    /// Whether the node is ready.
    pub health: Arc<Health>,
    /// Figures.
    pub metrics: Arc<Metrics>,
    /// What the others' clocks say.
    pub clocks: Clocks,
    /// Who checks transactions that come by the list.
    pub checker: Checker,
    /// Bounds.
    pub config: RpcConfig,
}

/// An error for the caller.
type Refusal = ErrorObjectOwned;

/// Starts the server. Calls are worked on in `runtime`, one of their own: whatever clients ask for, votes and batches
/// go on.
///
/// # Errors
/// When the address can not be listened on; names it.
pub async fn serve(
    address: SocketAddr,
    api: Api,
    runtime: tokio::runtime::Handle,
) -> anyhow::Result<(SocketAddr, ServerHandle)> {
    let limits = &api.config;
    let config = ServerConfig::builder()
        .max_connections(limits.max_connections)
        .max_request_body_size(limits.max_body_bytes)
        .max_response_body_size(MAX_RESPONSE_BYTES)
        .set_batch_request_config(BatchRequestConfig::Limit(limits.max_batch))
        .set_first_request_timeout(Some(FIRST_REQUEST))
        .enable_ws_ping(PingConfig::new())
        .set_tcp_no_delay(true)
        .custom_tokio_runtime(runtime)
        .build();
    let api = Arc::new(api);
    let door = Arc::new(http::Door::new(Arc::clone(&api)));
    let layer = layer_fn(move |rpc| http::Entrance::new(rpc, Arc::clone(&door)));
    let middleware = ServiceBuilder::new().layer(layer);
    let server = Server::builder().set_config(config).set_http_middleware(middleware);
    let server = server.build(address).await.map_err(|error| {
        anyhow::anyhow!(
            "cannot serve RPC and HTTP at {address}: {error}; stop what uses it, or change rpc_listen"
        )
    })?;
    let local = server.local_addr()?;
    Ok((local, server.start(module(api)?)))
}

fn module(api: Arc<Api>) -> anyhow::Result<RpcModule<Api>> {
    let mut module = RpcModule::from_arc(api);
    register(&mut module, method::TX_SUBMIT, |params, api| async move {
        submit::submit(&api, &one::<String>(&params)?)
    })?;
    register(&mut module, method::TX_SUBMIT_BATCH, |params, api| async move {
        let texts: Vec<String> = one(&params)?;
        submit::check_count(&api, texts.len(), "transactions")?;
        submit::submit_batch(api, texts.iter().map(|text| submit::item(text)).collect()).await
    })?;
    register(&mut module, method::TX_WAIT_BATCH, |params, api| async move {
        let (ids, timeout_ms): (Vec<Digest>, u64) = parse(&params, "[ids, timeout in milliseconds]")?;
        tx::wait_batch(api, ids, timeout_ms).await
    })?;
    register(&mut module, method::TX_WAIT, |params, api| async move {
        let (id, timeout_ms) = parse(&params, "[id, timeoutMs]")?;
        tx::wait(&api, id, timeout_ms).await
    })?;
    register(&mut module, method::TX_STATUS, |params, api| async move { tx::status(&api, one(&params)?) })?;
    register(&mut module, method::DID_RESOLVE, |params, api| did::resolve(api, params))?;
    register(&mut module, method::DID_HISTORY, |params, api| async move { did::history(&api, &params) })?;
    register(&mut module, method::DID_PROVE, |params, api| prove::prove(api, params))?;
    register(&mut module, method::TX_PROVE, |params, api| prove::transaction(api, params))?;
    register(&mut module, method::REGISTRY_PROVE, |params, api| prove::entry(api, params))?;
    register(&mut module, method::CHAIN_LINKS, |params, api| async move {
        prove::links(api, one(&params)?).await
    })?;
    register(&mut module, method::CHAIN_GENESIS, |_, api| async move { Ok(api.genesis.to_toml()) })?;
    register(&mut module, method::CHAIN_STATUS, |_, api| async move { Ok(chain::status(&api)) })?;
    register(
        &mut module,
        method::CHAIN_BLOCK,
        |params, api| async move { chain::block(&api, one(&params)?) },
    )?;
    register(&mut module, method::CHAIN_CHECKPOINT, |params, api| async move {
        chain::checkpoint(&api, one(&params)?)
    })?;
    register(&mut module, method::CHAIN_VALIDATORS, |params, api| async move {
        chain::validators(&api, one(&params)?)
    })?;
    register(&mut module, method::CHAIN_PARTICIPATION, |params, api| async move {
        let (from, to) = parse(&params, "[first height, last height]")?;
        chain::participation(api, from, to).await
    })?;
    register(&mut module, method::CHAIN_EVIDENCE, |_, api| async move { chain::evidence(&api) })?;
    register(&mut module, method::NET_PEERS, |_, api| async move { Ok(net::peers(&api)) })?;
    register(&mut module, method::GOV_PROPOSALS, |_, api| async move { Ok(gov::proposals(&api)) })?;
    register(&mut module, method::REGISTRY_ISSUER, |params, api| async move {
        registry::issuer(&api, one(&params)?)
    })?;
    register(&mut module, method::REGISTRY_IS_AUTHORISED, |params, api| async move {
        let expected = "[did, role, scope or null, time in milliseconds or null]";
        let (did, role, scope, time): (Did, Role, Option<String>, Option<UnixMillis>) =
            parse(&params, expected)?;
        registry::is_authorised(&api, did, role, scope.as_deref(), time)
    })?;
    module.register_method("rpc.discover", |_, _, _| discover::document())?;
    Ok(module)
}

/// Registers a method, and counts its calls.
fn register<F, R, T>(module: &mut RpcModule<Api>, name: &'static str, call: F) -> anyhow::Result<()>
where
    F: Fn(Params<'static>, Arc<Api>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<T, Refusal>> + Send + 'static,
    T: Serialize + Clone + Send + 'static,
    Result<T, Refusal>: IntoResponse,
{
    module.register_async_method(name, move |params, api, _| {
        let answer = call(params, Arc::clone(&api));
        async move {
            let timer = api.metrics.rpc_seconds.with_label_values(&[name]).start_timer();
            let answer = answer.await;
            timer.observe_duration();
            let outcome = if answer.is_ok() { "ok" } else { "error" };
            api.metrics.rpc_calls.with_label_values(&[name, outcome]).inc();
            answer
        }
    })?;
    Ok(())
}

/// The only parameter of a method.
fn one<T: DeserializeOwned>(params: &Params<'_>) -> Result<T, Refusal> {
    let (value,): (T,) = parse(params, "one parameter")?;
    Ok(value)
}

fn parse<T: DeserializeOwned>(params: &Params<'_>, expected: &str) -> Result<T, Refusal> {
    params.parse().map_err(|error| {
        let problem: String =
            error.data().map_or_else(String::new, |data| data.get().chars().take(300).collect());
        refusal(code::INVALID_PARAMS, format!("expected {expected}, as a list: {problem}"))
    })
}

fn refusal(code: i32, message: impl Into<String>) -> Refusal {
    ErrorObjectOwned::owned(code, message, None::<()>)
}

/// A fault of this node: the caller learns that it is one, the log learns which.
fn internal(error: &dyn std::fmt::Display) -> Refusal {
    tracing::error!(%error, "a call failed");
    refusal(code::INTERNAL, "the node failed; its log says why. Ask another node")
}

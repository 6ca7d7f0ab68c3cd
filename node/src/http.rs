//! Metrics and health over HTTP, on a port of their own.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio_util::sync::CancellationToken;

use crate::clocks::Clocks;
use crate::disk::Disk;
use crate::health::Health;
use crate::mempool::Mempool;
use crate::metrics::{Gathered, Metrics};

/// What the pages are made from.
pub struct Pages {
    /// Figures.
    pub metrics: Arc<Metrics>,
    /// Readiness.
    pub health: Arc<Health>,
    /// For figures.
    pub mempool: Arc<Mempool>,
    /// For figures.
    pub store: Arc<ledger::Store>,
    /// For figures.
    pub clocks: Clocks,
    /// The disk under the node's data.
    pub disk: Arc<Disk>,
}

/// Starts the server. It ends after `stop`.
///
/// # Errors
/// When the address can not be listened on; names it.
pub async fn serve(
    address: SocketAddr,
    pages: Pages,
    stop: CancellationToken,
) -> anyhow::Result<(SocketAddr, tokio::task::JoinHandle<()>)> {
    let listener = tokio::net::TcpListener::bind(address).await.map_err(|error| {
        anyhow::anyhow!(
            "cannot serve metrics at {address}: {error}; stop what uses it, or change metrics_listen"
        )
    })?;
    let local = listener.local_addr()?;
    let pages = Arc::new(pages);
    let figures = Arc::clone(&pages);
    let router = Router::new()
        .route("/metrics", get(move || async move { figures.figures() }))
        .route("/health/live", get(|| async { "alive\n" }))
        .route("/health/ready", get(move || async move { pages.ready() }));
    let server = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    let task = tokio::spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(%error, "the metrics server ended");
        }
    });
    Ok((local, task))
}

impl Pages {
    fn figures(&self) -> axum::response::Response {
        let store = match self.store.statistics() {
            Ok(store) => store,
            Err(error) => return failed(&error),
        };
        let network = &self.health.network;
        let gathered = Gathered {
            members: self.health.membership.now(),
            leader: self.health.snapshot.borrow().status.leader,
            health: self.health.look(),
            skews: self.clocks.now(),
            disk: self.disk.space(),
            load: self.mempool.load(),
            peers: network.peers(),
            refused: network.refused_connections(),
            store,
        };
        match self.metrics.render(&gathered) {
            Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
            Err(error) => failed(&error),
        }
    }

    fn ready(&self) -> axum::response::Response {
        let readiness = self.health.look();
        let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let body = serde_json::json!({
            "ready": readiness.ready, "why": readiness.why, "height": readiness.height,
        });
        (status, [(header::CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
    }
}

fn failed(error: &dyn std::fmt::Display) -> axum::response::Response {
    tracing::error!(%error, "the figures could not be gathered");
    (StatusCode::INTERNAL_SERVER_ERROR, "the node failed; its log says why\n").into_response()
}

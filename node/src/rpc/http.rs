//! What the RPC's port serves beside JSON-RPC: DID Resolution's HTTP binding at `/1.0/identifiers/`, lists of transactions
//! as bytes at `/tx/batch`, and to browsers what they may do here (CORS).
//!
//! [`Entrance`] stands before the JSON-RPC server, so that all share one port and the bounds of its connections. What a
//! request means is [`ledger::resolution::binding`]'s and [`super::submit`]'s. Invariant: a request's URL, body and time are
//! bounded before it is looked at, and whatever goes wrong is told as an RFC 9457 object.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use client::api::{BATCH_PATH, BATCH_TYPE, decode_batch};
use jsonrpsee::server::{HttpBody, HttpRequest, HttpResponse};
use ledger::resolution::Options;
use ledger::resolution::binding::{self, Answer, PROBLEM, Request};
use tokio::sync::Semaphore;
use tower::{BoxError, Service};

use super::{Api, FIRST_REQUEST, submit};

/// Where DIDs are resolved: what stands after it is a DID or a DID URL.
const IDENTIFIERS: &str = "/1.0/identifiers/";
/// The most bytes in a URL.
const MAX_URL_BYTES: usize = 8 << 10;
/// The most bytes of options in a body.
const MAX_OPTIONS_BYTES: usize = 16 << 10;
/// What may be done with an identifier.
const METHODS: &str = "GET, HEAD, POST, OPTIONS";
/// What is told of a fault of this node.
const FAILED: &str = "the node failed; its log says why. Ask another node";
/// How long a browser may go by one answer on what it may do.
const PREFLIGHT_AGE: Duration = Duration::from_secs(600);

/// What everything beside JSON-RPC is answered from.
pub(super) struct Door {
    api: Arc<Api>,
    /// For requests at work: as many as the JSON-RPC server takes.
    permits: Arc<Semaphore>,
}

/// The JSON-RPC server `rpc`, and what stands beside it.
#[derive(Clone)]
pub(super) struct Entrance<S> {
    rpc: S,
    door: Arc<Door>,
}

impl<S> Entrance<S> {
    pub(super) const fn new(rpc: S, door: Arc<Door>) -> Self {
        Self { rpc, door }
    }
}

impl<S> Service<HttpRequest> for Entrance<S>
where
    S: Service<HttpRequest, Response = HttpResponse, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = HttpResponse;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.rpc.poll_ready(context)
    }

    fn call(&mut self, request: HttpRequest) -> Self::Future {
        let allowed = self.door.allowed(request.headers());
        if let Some(allowed) = allowed.clone().filter(|_| is_preflight(&request)) {
            return Box::pin(async move { Ok(with_cors(preflight(), Some(allowed))) });
        }
        if request.uri().path() == "/" {
            let answer = self.rpc.call(request);
            return Box::pin(async move { Ok(with_cors(answer.await?, allowed)) });
        }
        let door = Arc::clone(&self.door);
        Box::pin(async move { Ok(with_cors(door.serve(request).await, allowed)) })
    }
}

impl Door {
    pub(super) fn new(api: Arc<Api>) -> Self {
        let permits = Arc::new(Semaphore::new(api.config.max_connections as usize));
        Self { api, permits }
    }

    async fn serve(self: Arc<Self>, request: HttpRequest) -> HttpResponse {
        let (head, body) = request.into_parts();
        let url = head.uri.path_and_query().map_or("", |url| url.as_str());
        if url.len() > MAX_URL_BYTES {
            return refused(
                StatusCode::URI_TOO_LONG,
                &format!("a URL here has at most {MAX_URL_BYTES} bytes"),
            );
        }
        let identifier = head.uri.path().strip_prefix(IDENTIFIERS);
        if identifier.is_none() && head.uri.path() != BATCH_PATH {
            return refused(
                StatusCode::NOT_FOUND,
                "JSON-RPC is at /, DIDs are resolved at /1.0/identifiers/<DID>, and lists of transactions are taken at /tx/batch",
            );
        }
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            return refused(StatusCode::TOO_MANY_REQUESTS, "the node is busy: ask again, or another node");
        };
        let Some(identifier) = identifier else {
            let answer = self.take(&head.method, &head.headers, body).await;
            let outcome = if answer.is_ok() { "ok" } else { "error" };
            self.api.metrics.rpc_calls.with_label_values(&["tx_batch", outcome]).inc();
            return answer.unwrap_or_else(|refused| refused);
        };
        let options = match head.method {
            Method::GET | Method::HEAD => Vec::new(),
            Method::POST => match read(body, MAX_OPTIONS_BYTES, "the options of a resolution have").await {
                Ok(options) => options,
                Err(refused) => return refused,
            },
            Method::OPTIONS => {
                let mut answer = HttpResponse::new(HttpBody::empty());
                *answer.status_mut() = StatusCode::NO_CONTENT;
                return with_header(answer, header::ALLOW, METHODS);
            }
            other => {
                let problem = format!("{other} does nothing here: DIDs are changed by transactions");
                return with_header(
                    refused(StatusCode::METHOD_NOT_ALLOWED, &problem),
                    header::ALLOW,
                    METHODS,
                );
            }
        };
        let accept = accept(&head.headers);
        let identifier = identifier.to_owned();
        let answer = tokio::task::spawn_blocking(move || {
            // Held also where the caller is gone before the disk has answered.
            let _permit = permit;
            let (query, accept) = (head.uri.query().unwrap_or(""), accept.as_deref());
            self.answer(&Request { identifier: &identifier, query, body: &options, accept })
        });
        answer.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a DID could not be resolved");
            refused(StatusCode::INTERNAL_SERVER_ERROR, FAILED)
        })
    }

    /// A list of transactions; what became of each is in the answer, or why the list cannot be read.
    async fn take(
        &self,
        method: &Method,
        headers: &HeaderMap,
        body: HttpBody,
    ) -> Result<HttpResponse, HttpResponse> {
        if *method != Method::POST {
            let problem = format!("{method} does nothing here: POST a list of transactions");
            let answer = refused(StatusCode::METHOD_NOT_ALLOWED, &problem);
            return Err(with_header(answer, header::ALLOW, "POST, OPTIONS"));
        }
        if headers.get(header::CONTENT_TYPE).is_none_or(|value| value.as_bytes() != BATCH_TYPE.as_bytes()) {
            let problem = format!("a list of transactions comes as `content-type: {BATCH_TYPE}`");
            return Err(refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, &problem));
        }
        let config = &self.api.config;
        let body = read(body, config.max_body_bytes as usize, "a list of transactions has").await?;
        let items = decode_batch(&body, config.max_batch as usize)
            .map_err(|error| refused(StatusCode::BAD_REQUEST, &error.to_string()))?;
        let items = items.into_iter().map(|item| Ok(item.to_vec())).collect();
        let answers = submit::submit_batch(Arc::clone(&self.api), items).await;
        let failed = || refused(StatusCode::INTERNAL_SERVER_ERROR, FAILED);
        let json = answers.ok().and_then(|answers| serde_json::to_vec(&answers).ok()).ok_or_else(failed)?;
        let answer = HttpResponse::new(HttpBody::from(json));
        Ok(with_bounds(with_header(answer, header::CONTENT_TYPE, "application/json")))
    }

    /// On a thread that may wait for the disk, and for a certificate.
    fn answer(&self, request: &Request<'_>) -> HttpResponse {
        let find = |did: &str, options: &Options| {
            crate::prove::find(&self.api.store, self.api.genesis.network(), did, options)
        };
        let answer = binding::answer_by(request, find);
        let outcome = if answer.is_ok() { "ok" } else { "error" };
        self.api.metrics.rpc_calls.with_label_values(&["identifiers", outcome]).inc();
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) if error.is_transient() => {
                return refused(StatusCode::SERVICE_UNAVAILABLE, &error.to_string());
            }
            Err(error) => {
                tracing::error!(%error, "a DID could not be resolved");
                binding::failure(request)
            }
        };
        written(answer).unwrap_or_else(|error| {
            tracing::error!(%error, "a service's URL cannot stand in a header");
            written(binding::failure(request)).unwrap_or_default()
        })
    }

    /// What a page is told that asks from another origin: whose pages may.
    fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        if self.api.config.cors_origins.iter().any(|allowed| allowed == "*") {
            return Some(HeaderValue::from_static("*"));
        }
        self.api
            .config
            .cors_origins
            .iter()
            .any(|allowed| allowed.as_bytes() == origin.as_bytes())
            .then(|| origin.clone())
    }
}

/// A POST's body, of at most `most` bytes: `what` names it, with its verb.
async fn read(body: HttpBody, most: usize, what: &str) -> Result<Vec<u8>, HttpResponse> {
    let read = axum::body::to_bytes(axum::body::Body::new(body), most);
    match tokio::time::timeout(FIRST_REQUEST, read).await {
        Ok(Ok(bytes)) => Ok(bytes.into()),
        // Or the body broke off, and then nobody reads this.
        Ok(Err(_)) => Err(refused(StatusCode::PAYLOAD_TOO_LARGE, &format!("{what} at most {most} bytes"))),
        Err(_) => {
            let problem = format!("the body did not come within {} s", FIRST_REQUEST.as_secs());
            Err(refused(StatusCode::REQUEST_TIMEOUT, &problem))
        }
    }
}

/// All headers `Accept` as one list. What is not UTF-8 in them is replaced, and then refused as not ASCII.
fn accept(headers: &HeaderMap) -> Option<String> {
    let texts = headers.get_all(header::ACCEPT).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    texts.map(String::from).reduce(|list, more| format!("{list},{more}"))
}

fn written(answer: Answer) -> Result<HttpResponse, header::InvalidHeaderValue> {
    let mut response = HttpResponse::new(HttpBody::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    if let Some(content_type) = answer.content_type {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    if let Some(location) = answer.location {
        headers.insert(header::LOCATION, HeaderValue::try_from(location)?);
    }
    headers.append(header::VARY, HeaderValue::from_static("Accept"));
    Ok(with_bounds(response))
}

/// An error that is not resolution's own.
fn refused(status: StatusCode, detail: &str) -> HttpResponse {
    let title = status.canonical_reason().unwrap_or("Error");
    let body = serde_json::json!({
        "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail,
    });
    let mut response = HttpResponse::new(HttpBody::from(body.to_string()));
    *response.status_mut() = status;
    with_bounds(with_header(response, header::CONTENT_TYPE, PROBLEM))
}

/// What holds for every answer: nobody between keeps a DID's state or who asked for it, and no browser takes it for a page.
fn with_bounds(response: HttpResponse) -> HttpResponse {
    let response = with_header(response, header::CACHE_CONTROL, "no-store");
    with_header(response, header::X_CONTENT_TYPE_OPTIONS, "nosniff")
}

fn with_header(mut response: HttpResponse, name: HeaderName, value: &'static str) -> HttpResponse {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    response
}

/// Whether a browser asks what a page of another origin may do.
fn is_preflight(request: &HttpRequest) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

fn preflight() -> HttpResponse {
    let mut response = HttpResponse::new(HttpBody::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, POST"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("Accept, Content-Type"));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from(PREFLIGHT_AGE.as_secs()));
    response
}

fn with_cors(mut response: HttpResponse, allowed: Option<HeaderValue>) -> HttpResponse {
    if let Some(allowed) = allowed {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Location"));
    }
    response
}

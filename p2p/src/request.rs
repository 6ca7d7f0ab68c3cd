//! The two-way kind of traffic: a request on a stream of its own, and its answer on the same.
//!
//! Invariants: requests in flight are bounded for each peer both ways; every request ends within the time limit, on
//! both sides; a slow answer holds up its own stream only (N3).
//!
//! Left to others: what a request means, and asking someone else when one peer refuses.

use std::fmt;
use std::time::Duration;

use futures::AsyncWriteExt;
use genesis::PublicKey;
use libp2p::Stream;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::channel::{Counters, ReadError, read_frame, write_frame};

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The request is larger than any peer reads.
    #[error("the request has {bytes} bytes, the most is {limit}")]
    TooLarge {
        /// Its size in bytes.
        bytes: usize,
        /// [`crate::Limits::request_bytes`].
        limit: u32,
    },
    /// There is no connection to the peer, or the key is not admitted.
    #[error("the peer is not connected")]
    NotConnected,
    /// As many requests as allowed are in flight to this peer; ask again later, or another.
    #[error("too many requests to the peer are in flight")]
    Busy,
    /// No whole answer came within [`crate::Limits::request_timeout`].
    #[error("the peer did not answer in time")]
    TimedOut,
    /// The peer gave no answer, or too large a one, or the connection broke.
    #[error("the peer refused the request or went away")]
    Refused,
    /// The network was shut down.
    #[error("the network is shut down")]
    Stopped,
}

/// A request from an admitted peer.
#[derive(Debug)]
pub struct IncomingRequest {
    /// Who asks: the key that the connection proved.
    pub from: PublicKey,
    /// The request.
    pub bytes: Vec<u8>,
    /// Answers it. Dropped unused, the peer is told at once that it was refused.
    pub reply: Reply,
}

/// The way back to who asked.
pub struct Reply {
    answer: oneshot::Sender<Vec<u8>>,
    limit: u32,
}

impl Reply {
    /// Answers. An answer that comes too late, or is above [`crate::Limits::response_bytes`], is a refusal.
    pub fn answer(self, bytes: Vec<u8>) {
        if bytes.len() > self.limit as usize {
            tracing::warn!(
                bytes = bytes.len(),
                limit = self.limit,
                "an answer is too large to send: refused instead"
            );
            return;
        }
        // An error means that who asked has left: nobody to tell.
        let _ = self.answer.send(bytes);
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply")
    }
}

/// A request on its way out.
#[derive(Debug)]
pub(crate) struct Ask {
    pub bytes: Vec<u8>,
    pub reply: oneshot::Sender<Result<Vec<u8>, RequestError>>,
    /// The request's place among those in flight, held until its stream is done.
    pub place: OwnedSemaphorePermit,
}

impl Ask {
    /// Ends the request without an answer.
    pub fn fail(self, error: RequestError) {
        // An error means that the caller waits no more.
        let _ = self.reply.send(Err(error));
    }
}

/// Asks on `stream`, until there is an answer or the caller has given up.
pub(crate) async fn ask(mut stream: Stream, ask: Ask, limit: u32, counters: &Counters) {
    let Ask { bytes, mut reply, place: _place } = ask;
    let exchange = async {
        write_frame(&mut stream, &bytes).await?;
        stream.flush().await?;
        counters.sent(bytes.len());
        read_frame(&mut stream, limit).await
    };
    let outcome = tokio::select! {
        () = reply.closed() => return,
        outcome = exchange => outcome,
    };
    let outcome = outcome.inspect(|answer| counters.received(answer.len())).map_err(|error| {
        tracing::debug!(%error, "a request has no answer");
        RequestError::Refused
    });
    let _ = reply.send(outcome);
}

/// The bounds that a served request is held to.
#[derive(Clone, Copy)]
pub(crate) struct ServeLimits {
    pub request_bytes: u32,
    pub response_bytes: u32,
    pub timeout: Duration,
}

/// Reads a request from `stream`, has it answered through `requests`, and writes the answer.
pub(crate) async fn serve(
    mut stream: Stream,
    from: PublicKey,
    requests: &mpsc::Sender<IncomingRequest>,
    limits: ServeLimits,
    counters: &Counters,
) -> Result<(), ReadError> {
    let exchange = async {
        let bytes = read_frame(&mut stream, limits.request_bytes).await?;
        counters.received(bytes.len());
        let (answer, answered) = oneshot::channel();
        let reply = Reply { answer, limit: limits.response_bytes };
        if requests.send(IncomingRequest { from, bytes, reply }).await.is_ok()
            && let Ok(bytes) = answered.await
        {
            write_frame(&mut stream, &bytes).await?;
            stream.close().await?;
            counters.sent(bytes.len());
        }
        Ok(())
    };
    // Who asked has given up by then: dropping the stream is all there is to do.
    tokio::time::timeout(limits.timeout, exchange).await.unwrap_or(Ok(()))
}

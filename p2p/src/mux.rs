//! Yamux, with two bounds that libp2p's own wrapper leaves out.
//!
//! - A connection's receive windows together have a cap. By default they grow to 1 GiB for each connection, which a
//!   hostile member can bring about by answering Yamux's round-trip probes late (N2).
//! - Closing ends. Yamux flushes before it closes, and a peer that lost its power takes nothing more; without a limit
//!   such a connection would count as established until TCP gives up, a quarter of an hour later.

use std::collections::VecDeque;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{io, iter};

use futures::{AsyncRead, AsyncWrite, FutureExt, ready};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};
use tokio::time::Sleep;

/// How long a connection may take to say goodbye.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What Yamux gives each stream to begin with.
const STREAM_WINDOW_BYTES: usize = 256 * 1024;

/// What the busy streams of a connection may have beyond that: at 100 ms of round trip, 160 MB/s.
const SHARED_WINDOW_BYTES: usize = 16 * 1024 * 1024;

/// Upgrades an authenticated connection to a multiplexed one.
#[derive(Clone)]
pub(crate) struct Config(yamux::Config);

impl Config {
    /// For connections of at most `streams` streams; one that opens more is closed.
    pub fn new(streams: usize) -> Self {
        let mut config = yamux::Config::default();
        config.set_max_num_streams(streams);
        config.set_max_connection_receive_window(Some(streams * STREAM_WINDOW_BYTES + SHARED_WINDOW_BYTES));
        Self(config)
    }
}

impl UpgradeInfo for Config {
    type Info = &'static str;
    type InfoIter = iter::Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once("/yamux/1.0.0")
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> InboundConnectionUpgrade<S> for Config {
    type Output = Muxer<S>;
    type Error = io::Error;
    type Future = Ready<io::Result<Muxer<S>>>;

    fn upgrade_inbound(self, socket: S, _: Self::Info) -> Self::Future {
        ready(Ok(Muxer::new(socket, self.0, yamux::Mode::Server)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> OutboundConnectionUpgrade<S> for Config {
    type Output = Muxer<S>;
    type Error = io::Error;
    type Future = Ready<io::Result<Muxer<S>>>;

    fn upgrade_outbound(self, socket: S, _: Self::Info) -> Self::Future {
        ready(Ok(Muxer::new(socket, self.0, yamux::Mode::Client)))
    }
}

/// A multiplexed connection.
pub(crate) struct Muxer<S> {
    connection: yamux::Connection<S>,
    /// Streams that came while the connection was driven for its other streams. Yamux bounds their number.
    arrived: VecDeque<yamux::Stream>,
    closing: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Muxer<S> {
    fn new(socket: S, config: yamux::Config, mode: yamux::Mode) -> Self {
        let connection = yamux::Connection::new(socket, config, mode);
        Self { connection, arrived: VecDeque::new(), closing: None }
    }

    fn poll_arrival(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<yamux::Stream>> {
        let arrival = ready!(self.connection.poll_next_inbound(cx));
        Poll::Ready(arrival.unwrap_or(Err(yamux::ConnectionError::Closed)).map_err(into_io))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<S> {
    type Substream = yamux::Stream;
    type Error = io::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<yamux::Stream>> {
        match self.arrived.pop_front() {
            Some(stream) => Poll::Ready(Ok(stream)),
            None => self.poll_arrival(cx),
        }
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<yamux::Stream>> {
        self.connection.poll_new_outbound(cx).map_err(into_io)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.connection.poll_close(cx).map_err(into_io)?.is_ready() {
            return Poll::Ready(Ok(()));
        }
        let deadline = self.closing.get_or_insert_with(|| Box::pin(tokio::time::sleep(CLOSE_TIMEOUT)));
        deadline.poll_unpin(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        let stream = ready!(self.poll_arrival(cx))?;
        self.arrived.push_back(stream);
        // Whoever polls for streams polls right after this; until then nothing else wakes it.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

fn into_io(error: yamux::ConnectionError) -> io::Error {
    match error {
        yamux::ConnectionError::Io(error) => error,
        error => io::Error::other(error),
    }
}

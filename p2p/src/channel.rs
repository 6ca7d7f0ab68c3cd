//! The one-way kinds of traffic: frames in order on a long-lived stream, one stream for each channel and direction.
//!
//! A frame is its length (four bytes, little-endian) and its bytes; a stream's first one says which process speaks
//! (`boot`). Invariants: what waits for a peer is bounded in frames and bytes ([`Lane::push`] refuses the rest, N2,
//! N3); memory for an incoming frame grows with what has arrived, not with what was claimed; a peer's unread frames are
//! bounded by that peer's own budget, so that a flood stops the flooder's stream and nobody else's.
//!
//! Left to others: opening the streams (`streams`), choosing the connection (`task`), sending lost frames again.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter};
use genesis::PublicKey;
use libp2p::swarm::ConnectionId;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};

use crate::boot::{BootId, write_greeting};
use crate::peer::{Drops, Traffic, lock};

/// Small frames are gathered up to this many bytes, one Yamux frame's worth; larger ones are written as they are.
const GATHER_BYTES: usize = 16 * 1024;

/// An incoming frame's memory starts at this many bytes, and then doubles as bytes arrive.
const FIRST_CHUNK_BYTES: usize = 64 * 1024;

/// A one-way kind of traffic. Each has streams, queues and tasks of its own, so that none waits for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// Small and urgent: consensus messages.
    Votes,
    /// Large and many: batches of transactions.
    Batches,
}

impl Channel {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Votes, Self::Batches];
}

/// The bounds of one channel. Those on queues hold for each peer.
#[derive(Clone, Copy, Debug)]
pub struct ChannelLimits {
    /// The largest frame, in bytes, either way.
    pub frame_bytes: u32,
    /// How many frames may wait to be sent to a peer.
    pub queue_frames: usize,
    /// How many bytes may wait to be sent to a peer. A broadcast frame counts for each, though it is held once.
    pub queue_bytes: usize,
    /// How many frames from one connection may be held by the receiving side (in the inbox, or not yet dropped).
    pub inbox_frames: u32,
    /// How many bytes from one connection may be held so. A single frame always fits.
    pub inbox_bytes: u32,
}

/// Why a frame was not accepted for sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// The peer's queue holds all the frames or bytes that it may.
    #[error("the peer's queue is full")]
    QueueFull,
    /// There is no connection to the peer, or the key is not admitted.
    #[error("the peer is not connected")]
    NotConnected,
    /// The frame is above the channel's [`ChannelLimits::frame_bytes`].
    #[error("the frame is larger than the channel allows")]
    TooLarge,
}

/// A frame from an admitted peer.
#[derive(Debug)]
pub struct Incoming {
    /// Who sent it: the key that the connection proved.
    pub from: PublicKey,
    /// The frame's bytes.
    pub frame: Vec<u8>,
    /// The sender's place in its budget, free again when this is dropped.
    pub(crate) _place: OwnedSemaphorePermit,
}

/// One channel of one peer: its outgoing queue and the figures of both directions.
#[derive(Debug)]
pub(crate) struct Lane {
    limits: ChannelLimits,
    queue: Mutex<Queue>,
    changed: Notify,
    pub counters: Counters,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Arc<[u8]>>,
    bytes: usize,
    /// The connection whose writer takes the frames; without one, none are accepted.
    route: Option<ConnectionId>,
}

impl Lane {
    pub fn new(limits: ChannelLimits) -> Self {
        Self { limits, queue: Mutex::default(), changed: Notify::new(), counters: Counters::default() }
    }

    /// Queues `frame`, or says at once why not.
    pub fn push(&self, frame: Arc<[u8]>) -> Result<(), NotSent> {
        let outcome = self.try_push(frame);
        match outcome {
            // Both connections' writers wait on this: wake both, the routed one takes the frame.
            Ok(()) => self.changed.notify_waiters(),
            Err(reason) => self.counters.refused(reason),
        }
        outcome
    }

    fn try_push(&self, frame: Arc<[u8]>) -> Result<(), NotSent> {
        if frame.len() > self.limits.frame_bytes as usize {
            return Err(NotSent::TooLarge);
        }
        let mut queue = lock(&self.queue);
        if queue.route.is_none() {
            return Err(NotSent::NotConnected);
        }
        let fits = queue.bytes + frame.len() <= self.limits.queue_bytes;
        if queue.frames.len() >= self.limits.queue_frames || !fits {
            return Err(NotSent::QueueFull);
        }
        queue.bytes += frame.len();
        queue.frames.push_back(frame);
        Ok(())
    }

    /// Lets the writer of connection `route` take the frames from now on. With none, what waits is dropped: by the
    /// time the peer is back it is stale, and its owner sends anew what still matters.
    pub fn route(&self, route: Option<ConnectionId>) {
        let mut queue = lock(&self.queue);
        queue.route = route;
        if route.is_none() {
            self.counters.lost.fetch_add(queue.frames.len() as u64, Relaxed);
            queue.frames = VecDeque::new();
            queue.bytes = 0;
        }
        drop(queue);
        self.changed.notify_waiters();
    }

    fn pop(&self, connection: ConnectionId) -> Option<Arc<[u8]>> {
        let mut queue = lock(&self.queue);
        let frame = (queue.route == Some(connection)).then(|| queue.frames.pop_front())??;
        queue.bytes -= frame.len();
        Some(frame)
    }

    async fn next(&self, connection: ConnectionId) -> Arc<[u8]> {
        loop {
            // Created before the look, so that a push after the look is not missed.
            let changed = self.changed.notified();
            if let Some(frame) = self.pop(connection) {
                return frame;
            }
            changed.await;
        }
    }

    pub fn traffic(&self) -> Traffic {
        let queue = lock(&self.queue);
        let (frames, bytes) = (queue.frames.len(), queue.bytes);
        drop(queue);
        Traffic { queued_frames: frames, queued_bytes: bytes, ..self.counters.traffic() }
    }
}

/// What has passed, and what has not, since the peer was admitted.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    sent_frames: AtomicU64,
    sent_bytes: AtomicU64,
    received_frames: AtomicU64,
    received_bytes: AtomicU64,
    queue_full: AtomicU64,
    not_connected: AtomicU64,
    too_large: AtomicU64,
    lost: AtomicU64,
}

impl Counters {
    pub fn sent(&self, bytes: usize) {
        self.sent_frames.fetch_add(1, Relaxed);
        self.sent_bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub fn received(&self, bytes: usize) {
        self.received_frames.fetch_add(1, Relaxed);
        self.received_bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub fn refused(&self, reason: NotSent) {
        let counter = match reason {
            NotSent::QueueFull => &self.queue_full,
            NotSent::NotConnected => &self.not_connected,
            NotSent::TooLarge => &self.too_large,
        };
        counter.fetch_add(1, Relaxed);
    }

    pub fn traffic(&self) -> Traffic {
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        Traffic {
            queued_frames: 0,
            queued_bytes: 0,
            sent_frames: get(&self.sent_frames),
            sent_bytes: get(&self.sent_bytes),
            received_frames: get(&self.received_frames),
            received_bytes: get(&self.received_bytes),
            drops: Drops {
                queue_full: get(&self.queue_full),
                not_connected: get(&self.not_connected),
                too_large: get(&self.too_large),
                lost: get(&self.lost),
            },
        }
    }
}

/// Why a stream is read no further.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("the stream ended: {0}")]
    Ended(#[from] io::Error),
    #[error("it claims a frame of {claimed} bytes, the most is {limit}")]
    TooLarge { claimed: u32, limit: u32 },
    #[error("its greeting has {length} bytes, not the 16 of a boot id")]
    Greeting { length: u32 },
    #[error("it says that it comes from process {claimed}, which is {reason}")]
    Impostor { claimed: BootId, reason: &'static str },
}

/// Says who speaks, and then writes what is queued for as long as the stream takes it.
pub(crate) async fn write_frames(
    stream: impl AsyncWrite + Unpin,
    connection: ConnectionId,
    lane: &Lane,
    boot: BootId,
) -> io::Error {
    let mut stream = BufWriter::with_capacity(GATHER_BYTES, stream);
    if let Err(error) = write_greeting(&mut stream, boot).await {
        return error;
    }
    loop {
        let frame = match lane.pop(connection) {
            Some(frame) => frame,
            // Nothing to gather with: what was written leaves now.
            None => match stream.flush().await {
                Ok(()) => lane.next(connection).await,
                Err(error) => return error,
            },
        };
        if let Err(error) = write_frame(&mut stream, &frame).await {
            return error;
        }
        lane.counters.sent(frame.len());
    }
}

/// Hands the stream's frames to `inbox`, no faster than they are dropped there.
pub(crate) async fn read_frames(
    mut stream: impl AsyncRead + Unpin,
    from: PublicKey,
    lane: &Lane,
    inbox: &mpsc::Sender<Incoming>,
) -> ReadError {
    let closed = || ReadError::Ended(io::ErrorKind::BrokenPipe.into());
    let limits = lane.limits;
    let budget = Arc::new(Semaphore::new(limits.inbox_bytes as usize));
    // Each frame takes at least its share, so that empty ones are bounded too.
    let share = (limits.inbox_bytes / limits.inbox_frames.max(1)).max(1);
    loop {
        let length = match read_length(&mut stream, limits.frame_bytes).await {
            Ok(length) => length,
            Err(error) => return error,
        };
        let cost = length.max(share).min(limits.inbox_bytes);
        let Ok(place) = Arc::clone(&budget).acquire_many_owned(cost).await else { return closed() };
        let frame = match read_body(&mut stream, length as usize).await {
            Ok(frame) => frame,
            Err(error) => return error.into(),
        };
        lane.counters.received(frame.len());
        // Waiting senders get their turns in order: each peer has at most one frame in line.
        if inbox.send(Incoming { from, frame, _place: place }).await.is_err() {
            return closed();
        }
    }
}

/// Writes one frame, without flushing. The caller has checked that the length fits.
pub(crate) async fn write_frame(stream: &mut (impl AsyncWrite + Unpin), frame: &[u8]) -> io::Result<()> {
    let length = u32::try_from(frame.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    stream.write_all(&length.to_le_bytes()).await?;
    stream.write_all(frame).await
}

/// Reads one frame of at most `limit` bytes.
pub(crate) async fn read_frame(
    stream: &mut (impl AsyncRead + Unpin),
    limit: u32,
) -> Result<Vec<u8>, ReadError> {
    let length = read_length(stream, limit).await?;
    Ok(read_body(stream, length as usize).await?)
}

pub(crate) async fn read_length(stream: &mut (impl AsyncRead + Unpin), limit: u32) -> Result<u32, ReadError> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let claimed = u32::from_le_bytes(length);
    if claimed > limit { Err(ReadError::TooLarge { claimed, limit }) } else { Ok(claimed) }
}

async fn read_body(stream: &mut (impl AsyncRead + Unpin), length: usize) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    while body.len() < length {
        let start = body.len();
        let end = length.min((2 * start).max(FIRST_CHUNK_BYTES));
        body.reserve_exact(end - start);
        body.resize(end, 0);
        stream.read_exact(&mut body[start..]).await?;
    }
    Ok(body)
}

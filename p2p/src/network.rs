//! The handle that callers hold, and how the network starts and stops.
//!
//! Invariant (N3): nothing here waits but [`Network::request`] and [`Network::shutdown`]; [`Network::send`] needs no
//! runtime and may be called from any thread. The task behind the handle ends when it is shut down or when the last
//! handle is dropped, and takes every connection with it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use futures::StreamExt;
use genesis::{Digest, PublicKey, SecretKey};
use libp2p::PeerId;
use libp2p::core::transport::TransportError;
use libp2p::swarm::{Swarm, SwarmEvent};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::behaviour::{self, Behaviour, multiaddress, socket_address};
use crate::boot::BootId;
use crate::channel::{Channel, ChannelLimits, Incoming, NotSent};
use crate::peer::{Member, MemberError, PeerEvent, PeerStatus, Role, Roster};
use crate::request::{Ask, IncomingRequest, RequestError};
use crate::task::Task;

/// Requests on their way to the task; each waiting one belongs to a caller that waits too.
const COMMANDS: usize = 64;

/// How many [`PeerEvent`]s the inbox holds. Beyond it, the newest for each peer wait in the task.
const PEER_EVENTS: usize = 64;

/// What a node's network is started with.
#[derive(Debug)]
pub struct Config {
    /// The node's network key.
    pub key: SecretKey,
    /// The chain's id: members of another chain are not talked to.
    pub chain: Digest,
    /// Where to listen. Port 0 takes a free one, see [`Network::local_address`].
    pub listen: SocketAddr,
    /// Who is admitted. The node's own key may be among them, and is passed over.
    pub members: Vec<Member>,
    /// Bounds and times.
    pub limits: Limits,
}

/// Bounds and times.
///
/// A hostile member can make us hold, for each of its two connections, Yamux's windows (24 MiB) and both channels'
/// `inbox_bytes`; and `2 * requests_in_flight` answers. With the defaults that is about 130 MiB.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bounds of [`Channel::Votes`].
    pub votes: ChannelLimits,
    /// Bounds of [`Channel::Batches`].
    pub batches: ChannelLimits,
    /// The largest request, in bytes.
    pub request_bytes: u32,
    /// The largest answer, in bytes.
    pub response_bytes: u32,
    /// How many requests may be in flight to a peer; up to twice as many are served to it at a time.
    pub requests_in_flight: usize,
    /// How long a request may take until its answer is here.
    pub request_timeout: Duration,
    /// How many frames, or requests, each receiver of the [`Inbox`] holds from all peers together.
    pub inbox: usize,
    /// How many incoming connections may be in their handshake.
    pub handshakes: u32,
    /// How many of them from one IP address.
    pub handshakes_per_address: u32,
    /// How long a connection may take until the other side's key is known.
    pub handshake_timeout: Duration,
    /// How often the round trip to each peer is measured.
    pub ping_interval: Duration,
    /// A connection without an answered ping for so long is dead.
    pub silence_timeout: Duration,
    /// The first pause before a peer is dialled again; it doubles with each failure.
    pub redial_min: Duration,
    /// The longest pause.
    pub redial_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: u32 = 1 << 20;
        Self {
            votes: ChannelLimits {
                frame_bytes: MIB,
                queue_frames: 4096,
                queue_bytes: 8 << 20,
                inbox_frames: 256,
                inbox_bytes: 2 * MIB,
            },
            batches: ChannelLimits {
                frame_bytes: 4 * MIB,
                queue_frames: 256,
                queue_bytes: 32 << 20,
                inbox_frames: 64,
                inbox_bytes: 8 * MIB,
            },
            request_bytes: 64 << 10,
            response_bytes: 8 * MIB,
            requests_in_flight: 4,
            request_timeout: Duration::from_secs(10),
            inbox: 1024,
            handshakes: 256,
            handshakes_per_address: 64,
            // TCP sends again at intervals that double: after a cut of c it may take as long as c again. A connection that
            // is silent for longer than this is given up, and a new one begins with short intervals.
            handshake_timeout: Duration::from_secs(3),
            ping_interval: Duration::from_secs(1),
            silence_timeout: Duration::from_secs(3),
            redial_min: Duration::from_millis(100),
            // Members are few and a dial is cheap, while a network that was cut stands still until they reach one another.
            redial_max: Duration::from_secs(1),
        }
    }
}

/// What arrives. Keep all four: a receiver that is dropped closes the connections of whoever sends to it.
#[derive(Debug)]
pub struct Inbox {
    /// Frames of [`Channel::Votes`].
    pub votes: mpsc::Receiver<Incoming>,
    /// Frames of [`Channel::Batches`].
    pub batches: mpsc::Receiver<Incoming>,
    /// Requests to be answered.
    pub requests: mpsc::Receiver<IncomingRequest>,
    /// Who came and went. If it is read late, a peer's changes are merged, and the newest one is kept.
    pub peers: mpsc::Receiver<PeerEvent>,
}

/// The sending side of [`Inbox`].
pub(crate) struct Deliver {
    pub votes: mpsc::Sender<Incoming>,
    pub batches: mpsc::Sender<Incoming>,
    pub requests: mpsc::Sender<IncomingRequest>,
}

/// Why the network did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The network key can not be used.
    #[error("the network key can not be used by the transport: make a new one")]
    Key,
    /// The list of members is wrong.
    #[error("a member can not be admitted: {0}")]
    Member(#[from] MemberError),
    /// The address can not be listened on.
    #[error(
        "can not listen on {address}: {source}; stop what uses it (a second node?), or configure another address"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// What the handle asks of the task.
pub(crate) enum Command {
    Ask(PeerId, Ask),
    Disconnect(PeerId),
    Shutdown,
}

/// The network of one node. Clones are the same network; see [`start`](Self::start).
#[derive(Clone, Debug)]
pub struct Network(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    own: PublicKey,
    boot: BootId,
    local: SocketAddr,
    limits: Limits,
    roster: Arc<Roster>,
    readmit: Arc<Notify>,
    refused: Arc<AtomicU64>,
    commands: mpsc::Sender<Command>,
    stopped: watch::Receiver<()>,
}

impl Network {
    /// Listens, and starts to dial the members. To be called within a tokio runtime with time and I/O.
    ///
    /// # Errors
    /// If a key or an address can not be used.
    pub async fn start(config: Config) -> Result<(Self, Inbox), StartError> {
        let (own, boot) = (config.key.public(), BootId::draw());
        let roster = Arc::new(Roster::default());
        roster.admit(config.members.clone(), own, &config.limits)?;
        let mut swarm = behaviour::swarm(&config)?;
        let local = listen(&mut swarm, config.listen)
            .await
            .map_err(|source| StartError::Listen { address: config.listen, source })?;
        let limits = config.limits;
        let (votes_in, votes) = mpsc::channel(limits.inbox);
        let (batches_in, batches) = mpsc::channel(limits.inbox);
        let (requests_in, requests) = mpsc::channel(limits.inbox);
        let (peers_in, peers) = mpsc::channel(PEER_EVENTS);
        let (commands, commanded) = mpsc::channel(COMMANDS);
        let (running, stopped) = watch::channel(());
        let readmit = Arc::new(Notify::new());
        let refused = Arc::new(AtomicU64::new(0));
        let deliver = Arc::new(Deliver { votes: votes_in, batches: batches_in, requests: requests_in });
        let task = Task::new(
            swarm,
            boot,
            Arc::clone(&roster),
            limits.clone(),
            deliver,
            peers_in,
            Arc::clone(&refused),
        );
        tokio::spawn({
            let readmit = Arc::clone(&readmit);
            async move {
                task.run(commanded, readmit).await;
                drop(running);
            }
        });
        let shared = Shared { own, boot, local, limits, roster, readmit, refused, commands, stopped };
        Ok((Self(Arc::new(shared)), Inbox { votes, batches, requests, peers }))
    }

    /// Queues `frame` for a peer. Never waits, and needs no runtime. What is accepted arrives in order while the
    /// connection lasts, and may be lost with it.
    ///
    /// # Errors
    /// At once, if the frame can not be queued; the caller's own timer tries again.
    pub fn send(&self, to: &PublicKey, channel: Channel, frame: impl Into<Arc<[u8]>>) -> Result<(), NotSent> {
        self.0.roster.get(to).ok_or(NotSent::NotConnected)?.lane(channel).push(frame.into())
    }

    /// Queues `frame` for every other validator, and says for how many it could be queued. Never waits.
    pub fn broadcast(&self, channel: Channel, frame: impl Into<Arc<[u8]>>) -> usize {
        self.broadcast_to(Role::Validator, channel, frame)
    }

    /// Queues `frame` for every other member of this role, as it is now, and says for how many it could be queued.
    /// Never waits.
    pub fn broadcast_to(&self, role: Role, channel: Channel, frame: impl Into<Arc<[u8]>>) -> usize {
        let frame = frame.into();
        let members = self.0.roster.all().into_iter().filter(|peer| peer.role() == role);
        members.filter(|peer| peer.lane(channel).push(Arc::clone(&frame)).is_ok()).count()
    }

    /// Asks a peer, and waits for its answer.
    ///
    /// # Errors
    /// If there is no answer, with the reason; the peer may have received the request all the same.
    pub async fn request(&self, to: &PublicKey, bytes: Vec<u8>) -> Result<Vec<u8>, RequestError> {
        let limits = &self.0.limits;
        let peer = self.0.roster.get(to).ok_or(RequestError::NotConnected)?;
        if bytes.len() > limits.request_bytes as usize {
            peer.sync.refused(NotSent::TooLarge);
            return Err(RequestError::TooLarge { bytes: bytes.len(), limit: limits.request_bytes });
        }
        if peer.link().is_none() {
            peer.sync.refused(NotSent::NotConnected);
            return Err(RequestError::NotConnected);
        }
        let Ok(place) = Arc::clone(&peer.requests).try_acquire_owned() else {
            peer.sync.refused(NotSent::QueueFull);
            return Err(RequestError::Busy);
        };
        let (reply, answer) = oneshot::channel();
        let asked = async {
            let command = Command::Ask(peer.id, Ask { bytes, reply, place });
            self.0.commands.send(command).await.map_err(|_| RequestError::Stopped)?;
            answer.await.unwrap_or(Err(RequestError::Refused))
        };
        tokio::time::timeout(limits.request_timeout, asked).await.unwrap_or(Err(RequestError::TimedOut))
    }

    /// Admits `members` and nobody else from now on. Who is no longer among them is disconnected, who is new among
    /// them is dialled at once. Who stays keeps its connection, whatever its role and its address are now: the role
    /// holds for the next broadcast, the address for the next dial, which is now if there is no connection.
    ///
    /// # Errors
    /// If a member's key or address can not be used; then nothing has changed.
    pub fn set_admitted(&self, members: Vec<Member>) -> Result<(), MemberError> {
        self.0.roster.admit(members, self.0.own, &self.0.limits)?;
        self.0.readmit.notify_one();
        Ok(())
    }

    /// Closes all connections to a peer, which may come back. Never waits: where too much waits for the task already,
    /// nothing happens, and false is returned.
    pub fn disconnect(&self, peer: &PublicKey) -> bool {
        let Some(peer) = self.0.roster.get(peer) else { return false };
        self.0.commands.try_send(Command::Disconnect(peer.id)).is_ok()
    }

    /// What is known of each admitted peer now, in the order of their keys.
    pub fn peers(&self) -> Vec<PeerStatus> {
        self.0.roster.status()
    }

    /// How many incoming connections were refused, or failed in their handshake.
    pub fn refused_connections(&self) -> u64 {
        self.0.refused.load(Relaxed)
    }

    /// What tells this process from others that run with the same key, before it, after it, or (P13) beside it.
    pub fn boot_id(&self) -> BootId {
        self.0.boot
    }

    /// Where the node listens, with the port that was taken if 0 was asked for.
    pub fn local_address(&self) -> SocketAddr {
        self.0.local
    }

    /// How many more requests may be sent to `to` now.
    #[cfg(test)]
    pub(crate) fn request_places(&self, to: &PublicKey) -> usize {
        self.0.roster.get(to).map_or(0, |peer| peer.requests.available_permits())
    }

    /// Closes all connections and waits until the port is free.
    pub async fn shutdown(self) {
        let mut stopped = self.0.stopped.clone();
        // An error of either means that the task has ended already.
        let _ = self.0.commands.send(Command::Shutdown).await;
        let _ = stopped.changed().await;
    }
}

/// Listens on `address`, and returns it with its actual port.
async fn listen(swarm: &mut Swarm<Behaviour>, address: SocketAddr) -> io::Result<SocketAddr> {
    if address.port() != 0 {
        // libp2p listens with SO_REUSEPORT, by which a second node would quietly take half of the first one's
        // connections. Without it, the system says that the port is in use.
        std::net::TcpListener::bind(address)?;
    }
    swarm.listen_on(multiaddress(address)).map_err(|error| match error {
        TransportError::Other(error) => error,
        TransportError::MultiaddrNotSupported(_) => io::ErrorKind::Unsupported.into(),
    })?;
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::NewListenAddr { address: actual, .. } => {
                return Ok(SocketAddr::new(address.ip(), socket_address(&actual).port()));
            }
            SwarmEvent::ListenerClosed { reason, .. } => {
                return Err(reason.err().unwrap_or_else(|| io::ErrorKind::NotConnected.into()));
            }
            // Nobody is admitted yet: whoever comes this early comes again.
            _ => {}
        }
    }
}

//! What the task knows of one peer: its connections, which of them carries the frames, and when to dial.
//!
//! Invariants: frames leave over one connection at a time, whose streams are all open; it stays the one until it is
//! closed, or a clearly newer one is ready (so that a peer that is back is reached although its old connection looks
//! alive), and each change is told (N4). A connection's tasks end with it. A peer is dialled only while it has no
//! connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use genesis::PublicKey;
use libp2p::swarm::ConnectionId;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::channel::Channel;
use crate::network::Limits;
use crate::peer::{Link, Peer, PeerEvent};

/// An admitted peer, as the task sees it.
pub(crate) struct Contact {
    pub peer: Arc<Peer>,
    /// Oldest first.
    pub connections: Vec<Connection>,
    /// The connection in use.
    route: Option<ConnectionId>,
    pub dial: Dial,
}

/// A connection to an admitted peer.
pub(crate) struct Connection {
    pub id: ConnectionId,
    address: SocketAddr,
    opened: Instant,
    /// The last sign of life.
    pub heard: Instant,
    round_trip: Option<Duration>,
    /// The channels whose outgoing streams are open.
    pub outgoing: Vec<Channel>,
    /// The channels whose incoming streams are open.
    pub incoming: Vec<Channel>,
    /// What reads and writes the streams; aborted when this is dropped.
    tasks: JoinSet<()>,
}

/// When a peer is dialled.
pub(crate) struct Dial {
    failures: i32,
    /// When the next attempt is due; none while one is in progress.
    pub due: Option<Instant>,
}

impl Dial {
    /// Ends an attempt, and puts the next one off: longer after each failure, and partly by chance, so that the two
    /// sides do not dial in step.
    pub fn put_off(&mut self, limits: &Limits) {
        let pause = limits.redial_min.as_secs_f64() * 2_f64.powi(self.failures);
        let pause = pause.min(limits.redial_max.as_secs_f64()) * rand::random_range(0.5..1.0);
        self.failures = (self.failures + 1).min(16);
        self.due = Some(Instant::now() + Duration::from_secs_f64(pause));
    }
}

impl Connection {
    pub fn new(id: ConnectionId, address: SocketAddr) -> Self {
        let now = Instant::now();
        Self {
            id,
            address,
            opened: now,
            heard: now,
            round_trip: None,
            outgoing: Vec::new(),
            incoming: Vec::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Runs `task` for as long as the connection lasts.
    pub fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        while self.tasks.try_join_next().is_some() {}
        self.tasks.spawn(task);
    }

    fn is_ready(&self) -> bool {
        self.outgoing.len() == Channel::ALL.len()
    }
}

impl Contact {
    /// A peer without connections, to be dialled at once.
    pub fn new(peer: Arc<Peer>) -> Self {
        let dial = Dial { failures: 0, due: Some(Instant::now()) };
        Self { peer, connections: Vec::new(), route: None, dial }
    }

    pub fn key(&self) -> PublicKey {
        self.peer.key
    }

    pub fn connection(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|connection| connection.id == id)
    }

    /// The connection in use.
    pub const fn in_use(&self) -> Option<ConnectionId> {
        self.route
    }

    /// Notes an answered ping.
    pub fn heard(&mut self, id: ConnectionId, round_trip: Duration) {
        let used = self.in_use() == Some(id);
        let Some(connection) = self.connection(id) else { return };
        connection.heard = Instant::now();
        connection.round_trip = Some(round_trip);
        if used && let Some(link) = self.peer.link().as_mut() {
            link.round_trip = Some(round_trip);
        }
    }

    /// Forgets a connection and ends its tasks.
    pub fn remove(&mut self, id: ConnectionId, limits: &Limits) -> Option<PeerEvent> {
        let before = self.connections.len();
        self.connections.retain(|connection| connection.id != id);
        if before > 0 && self.connections.is_empty() && self.dial.due.is_some() {
            self.dial.put_off(limits);
        }
        self.reroute(limits)
    }

    /// When something is to be done here unless something happens before: a dial, or a funeral.
    pub fn next_wake(&self, limits: &Limits) -> Option<Instant> {
        if self.connections.is_empty() {
            self.dial.due.filter(|_| self.peer.address().is_some())
        } else {
            self.connections.iter().map(|connection| connection.heard + limits.silence_timeout).min()
        }
    }

    /// A connection to be closed because there are more than `most`: the oldest, but for the one in use.
    pub fn surplus(&self, most: usize) -> Option<ConnectionId> {
        let mut idle =
            self.connections.iter().map(|connection| connection.id).filter(|id| Some(*id) != self.in_use());
        idle.next().filter(|_| self.connections.len() > most)
    }

    /// Directs the frames to the connection that is to carry them.
    pub fn reroute(&mut self, limits: &Limits) -> Option<PeerEvent> {
        let newest = self.connections.iter().rev().find(|connection| connection.is_ready());
        let in_use = self.connections.iter().find(|connection| Some(connection.id) == self.in_use());
        // Two connections that were opened together are both sides' dials that crossed: the frames stay where they
        // are, and in order. One that comes later replaces one that the peer has lost.
        let crossed = |newest: &Connection, in_use: &Connection| {
            newest.opened < in_use.opened + limits.handshake_timeout
        };
        let next = match (newest, in_use) {
            (Some(newest), Some(in_use)) if crossed(newest, in_use) => return None,
            (next, _) => next,
        };
        if next.map(|connection| connection.id) == self.route {
            return None;
        }
        self.route = next.map(|connection| connection.id);
        for channel in Channel::ALL {
            self.peer.lane(channel).route(self.route);
        }
        *self.peer.link() = next.map(|connection| Link {
            since: SystemTime::now(),
            address: connection.address,
            round_trip: connection.round_trip,
        });
        if self.route.is_none() {
            return Some(PeerEvent::Disconnected(self.key()));
        }
        self.dial.failures = 0;
        Some(PeerEvent::Connected(self.key()))
    }
}

//! What the task knows of one peer: its connections, which of them carries the frames, and when to dial.
//!
//! Invariants: frames leave over one connection at a time, whose streams are all open; it stays the one until it is
//! closed, or a clearly newer one or one with another process is ready (so that a peer that is back is reached although
//! its old connection looks alive), and each change is told (N4). A connection's tasks end with it. A peer is dialled
//! only while it has no connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use genesis::PublicKey;
use libp2p::swarm::ConnectionId;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::boot::{BootId, Boots, Host};
use crate::channel::{Channel, ReadError};
use crate::network::Limits;
use crate::peer::{Link, Peer, PeerEvent};

/// An admitted peer, as the task sees it.
pub(crate) struct Contact {
    pub peer: Arc<Peer>,
    /// Oldest first.
    pub connections: Vec<Connection>,
    /// The connection in use.
    route: Option<ConnectionId>,
    /// The processes that were met, whatever became of their connections.
    boots: Boots,
    /// Where the peer is dialled.
    address: Option<String>,
    pub dial: Dial,
}

/// A connection to an admitted peer.
pub(crate) struct Connection {
    pub id: ConnectionId,
    address: SocketAddr,
    opened: Instant,
    /// The process at the other end, once it has greeted.
    boot: Option<BootId>,
    /// The last sign of life.
    heard: Instant,
    round_trip: Option<Duration>,
    /// When the newest answered ping was sent.
    lived: Option<Instant>,
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
    /// Ends an attempt. The next one is put off, unless one is due already, to a newer address.
    pub fn ended(&mut self, limits: &Limits) {
        if self.due.is_none() {
            self.put_off(limits);
        }
    }

    /// Puts the next attempt off: longer after each failure, and partly by chance, so that the two sides do not dial in
    /// step.
    fn put_off(&mut self, limits: &Limits) {
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
            boot: None,
            heard: now,
            round_trip: None,
            lived: None,
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
        self.outgoing.len() == Channel::ALL.len() && self.boot.is_some()
    }

    /// When it counts as dead unless something is heard before. Without a greeting it is of no use, and pings do not
    /// keep it.
    pub fn deadline(&self, limits: &Limits) -> Instant {
        self.boot.map_or(self.opened, |_| self.heard) + limits.silence_timeout
    }
}

impl Contact {
    /// A peer without connections, to be dialled at once.
    pub fn new(peer: Arc<Peer>) -> Self {
        let dial = Dial { failures: 0, due: Some(Instant::now()) };
        let address = peer.address();
        Self { peer, connections: Vec::new(), route: None, boots: Boots::default(), address, dial }
    }

    /// Dials the peer at once if it is to be dialled elsewhere from now on. A connection that it has is kept: it has
    /// shown the peer's key, wherever it leads.
    pub fn readdress(&mut self) {
        let address = self.peer.address();
        if address != self.address {
            self.address = address;
            self.dial = Dial { failures: 0, due: Some(Instant::now()) };
        }
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
    pub fn heard(&mut self, id: ConnectionId, round_trip: Duration) -> Option<PeerEvent> {
        let used = self.in_use() == Some(id);
        let connection = self.connection(id)?;
        let now = Instant::now();
        connection.heard = now;
        connection.round_trip = Some(round_trip);
        connection.lived = now.checked_sub(round_trip);
        if used && let Some(link) = self.peer.link().as_mut() {
            link.round_trip = Some(round_trip);
        }
        self.look_for_double(id)
    }

    /// Notes which process is at the other end.
    pub fn greeted(&mut self, id: ConnectionId, boot: BootId) -> Result<Option<PeerEvent>, ReadError> {
        let Some(connection) = self.connection(id) else { return Ok(None) };
        if connection.boot.is_some_and(|other| other != boot) {
            let reason = "not the one that its other channel comes from";
            return Err(ReadError::Impostor { claimed: boot, reason });
        }
        connection.boot = Some(boot);
        let host = Host { boot, address: connection.address };
        self.boots.greeted(host, Instant::now());
        // A ping may have been answered before the greeting was read.
        Ok(self.look_for_double(id))
    }

    /// N6: whether the process at the other end of this connection is known to run beside another one.
    fn look_for_double(&mut self, id: ConnectionId) -> Option<PeerEvent> {
        let connection = self.connection(id)?;
        let (boot, lived) = (connection.boot?, connection.lived?);
        let hosts = self.boots.answered(boot, lived, Instant::now())?;
        Some(PeerEvent::Double { peer: self.key(), hosts })
    }

    /// Forgets a connection and ends its tasks.
    pub fn remove(&mut self, id: ConnectionId, limits: &Limits) -> Option<PeerEvent> {
        let gone = self.connections.iter().position(|connection| connection.id == id);
        let gone = gone.map(|at| self.connections.remove(at));
        // One that did not last is no success: what the peer closes time after time is not dialled in a hurry.
        if gone.as_ref().is_some_and(|gone| gone.opened.elapsed() >= limits.redial_max) {
            self.dial.failures = 0;
        }
        if gone.is_some() && self.connections.is_empty() && self.dial.due.is_some() {
            self.dial.put_off(limits);
        }
        self.reroute(limits)
    }

    /// When something is to be done here unless something happens before: a dial, or a funeral.
    pub fn next_wake(&self, limits: &Limits) -> Option<Instant> {
        if self.connections.is_empty() {
            self.dial.due.filter(|_| self.address.is_some())
        } else {
            self.connections.iter().map(|connection| connection.deadline(limits)).min()
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
        // Two connections with one process that were opened together are both sides' dials that crossed: the frames
        // stay where they are, and in order. One that comes later replaces one that the peer has lost, and one with
        // another process replaces one with a process that has ended.
        let crossed = |newest: &Connection, in_use: &Connection| {
            newest.boot == in_use.boot && newest.opened < in_use.opened + limits.handshake_timeout
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
        let link = next.and_then(|connection| {
            Some(Link {
                since: SystemTime::now(),
                address: connection.address,
                boot: connection.boot?,
                round_trip: connection.round_trip,
            })
        });
        *self.peer.link() = link;
        let event = if self.route.is_some() { PeerEvent::Connected } else { PeerEvent::Disconnected };
        Some(event(self.key()))
    }
}

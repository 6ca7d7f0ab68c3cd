//! The one task behind the handle: dials, watches connections, routes frames to them. It never touches a frame.
//!
//! Invariants: nothing here waits for a peer or for the node ([`Events`] holds what the node has not yet read); a
//! connection carries one stream of each channel each way, and if one of them ends, the connection ends (N4, N5);
//! what a connection started ends with it.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use futures::StreamExt;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError, ListenError, Stream, StreamUpgradeError, Swarm, SwarmEvent};
use libp2p::{PeerId, core::ConnectedPoint, ping};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::behaviour::{Behaviour, BehaviourEvent, multiaddress, socket_address};
use crate::boot::{BootId, read_greeting};
use crate::channel::{Channel, ReadError, read_frames, write_frames};
use crate::contact::{Connection, Contact};
use crate::network::{Command, Deliver, Limits};
use crate::peer::{Peer, PeerEvent, Roster};
use crate::request::{Ask, RequestError, ServeLimits, ask, serve};
use crate::streams::{self, Protocol, Purpose};

/// Connections that a peer keeps: one that each side dialled.
const CONNECTIONS_KEPT: usize = 2;

/// How long the task sleeps when it has nothing to wait for.
const IDLE: Duration = Duration::from_secs(3600);

/// Reports from connections' tasks that the main loop has not yet read.
const REPORTS: usize = 64;

/// What a connection's task has to say.
struct Report {
    peer: PeerId,
    connection: ConnectionId,
    news: News,
}

enum News {
    /// The other end has said which process it is.
    Greeted(BootId),
    /// The connection has lost one of its streams.
    Ended(ReadError),
}

/// Where a peer that is to be dialled was found.
struct Found {
    peer: PeerId,
    addresses: io::Result<Vec<SocketAddr>>,
}

pub(crate) struct Task {
    swarm: Swarm<Behaviour>,
    boot: BootId,
    roster: Arc<Roster>,
    limits: Limits,
    deliver: Arc<Deliver>,
    refused: Arc<AtomicU64>,
    contacts: HashMap<PeerId, Contact>,
    lookups: JoinSet<Found>,
    reports: mpsc::Receiver<Report>,
    report: mpsc::Sender<Report>,
    events: Events,
}

impl Task {
    pub fn new(
        swarm: Swarm<Behaviour>,
        boot: BootId,
        roster: Arc<Roster>,
        limits: Limits,
        deliver: Arc<Deliver>,
        events: mpsc::Sender<PeerEvent>,
        refused: Arc<AtomicU64>,
    ) -> Self {
        let (report, reports) = mpsc::channel(REPORTS);
        let events = Events { sender: events, waiting: VecDeque::new() };
        let (contacts, lookups) = (HashMap::new(), JoinSet::new());
        Self { swarm, boot, roster, limits, deliver, refused, contacts, lookups, reports, report, events }
    }

    /// Runs until it is told to stop or no handle is left.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>, readmit: Arc<Notify>) {
        self.readmit();
        loop {
            let wakes = self.contacts.values().filter_map(|contact| contact.next_wake(&self.limits));
            let wake = wakes.min().unwrap_or_else(|| Instant::now() + IDLE);
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_swarm_event(event),
                command = commands.recv() => match command {
                    Some(Command::Ask(peer, ask)) => self.on_ask(peer, ask),
                    Some(Command::Disconnect(peer)) => self.disconnect(peer),
                    Some(Command::Shutdown) | None => break,
                },
                Some(report) = self.reports.recv() => self.on_report(report),
                Some(Ok(found)) = self.lookups.join_next() => self.on_found(found),
                () = readmit.notified() => self.readmit(),
                () = self.events.deliver() => {}
                () = tokio::time::sleep_until(wake) => self.on_time(),
            }
        }
        // What holds a peer's queue sees that nothing leaves it any more.
        for peer in self.contacts.keys().copied().collect::<Vec<_>>() {
            self.expel(peer);
        }
    }

    /// Makes the contacts those of the roster.
    fn readmit(&mut self) {
        let peers = self.roster.all();
        // A key that left and came back between two looks has a new peer: the old one's connections go.
        let admitted = |contact: &Contact| peers.iter().any(|peer| Arc::ptr_eq(peer, &contact.peer));
        let gone = self.contacts.iter().filter(|(_, contact)| !admitted(contact));
        for id in gone.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.expel(id);
        }
        for peer in peers {
            self.swarm.behaviour_mut().admitted.allow_peer(peer.id);
            self.contacts.entry(peer.id).or_insert_with(|| Contact::new(peer)).readdress();
        }
    }

    /// Forgets a peer and closes its connections.
    fn expel(&mut self, peer: PeerId) {
        self.swarm.behaviour_mut().admitted.disallow_peer(peer);
        if let Some(mut contact) = self.contacts.remove(&peer) {
            contact.connections.clear();
            self.events.push(contact.reroute(&self.limits));
        }
    }

    fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_established(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                tracing::debug!(%peer_id, ?cause, "a connection closed");
                self.close(peer_id, connection_id);
            }
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), error, .. } => {
                self.on_undialled(peer, &error)
            }
            SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => {
                // Anyone can cause this at will: counted, and not in the log by default.
                self.refused.fetch_add(1, Relaxed);
                if let ListenError::LocalPeerId { .. } = error {
                    tracing::warn!(
                        from = %socket_address(&send_back_addr),
                        "a caller has this node's own key: another host runs with it, or a member's address is ours"
                    );
                }
                tracing::debug!(from = %socket_address(&send_back_addr), %error, "refused a connection");
            }
            SwarmEvent::Behaviour(BehaviourEvent::Streams((peer, connection, event))) => {
                self.on_stream_event(peer, connection, event);
            }
            SwarmEvent::Behaviour(BehaviourEvent::Ping(ping::Event {
                peer,
                connection,
                result: Ok(round_trip),
            })) => {
                if let Some(contact) = self.contacts.get_mut(&peer) {
                    self.events.push(contact.heard(connection, round_trip));
                }
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(%error, "accepting connections: trouble")
            }
            SwarmEvent::ListenerClosed { reason, .. } => {
                tracing::error!(?reason, "accepts no more connections")
            }
            _ => {}
        }
    }

    fn on_established(&mut self, peer: PeerId, id: ConnectionId, endpoint: &ConnectedPoint) {
        let Some(contact) = self.contacts.get_mut(&peer) else {
            self.swarm.close_connection(id);
            return;
        };
        if endpoint.is_dialer() {
            contact.dial.ended(&self.limits);
        }
        let address = socket_address(endpoint.get_remote_address());
        contact.connections.push(Connection::new(id, address));
        let surplus = contact.surplus(CONNECTIONS_KEPT);
        for channel in Channel::ALL {
            self.swarm.behaviour_mut().streams.open(peer, id, Purpose::Channel(channel));
        }
        if let Some(surplus) = surplus {
            self.close(peer, surplus);
        }
    }

    /// Closes all connections to a peer.
    fn disconnect(&mut self, peer: PeerId) {
        let connections = self.contacts.get(&peer).map(|contact| contact.connections.iter());
        let ids: Vec<_> = connections.into_iter().flatten().map(|connection| connection.id).collect();
        for id in ids {
            self.close(peer, id);
        }
    }

    /// Closes a connection. It counts as gone from here on, though the goodbye may take its time.
    fn close(&mut self, peer: PeerId, connection: ConnectionId) {
        self.swarm.close_connection(connection);
        if let Some(contact) = self.contacts.get_mut(&peer) {
            self.events.push(contact.remove(connection, &self.limits));
        }
    }

    fn on_stream_event(&mut self, peer: PeerId, connection: ConnectionId, event: streams::Event) {
        match event {
            streams::Event::Opened(Purpose::Channel(channel), stream) => {
                self.on_outgoing(peer, connection, channel, stream);
            }
            streams::Event::Opened(Purpose::Ask(question), stream) => {
                let limit = self.limits.response_bytes;
                if let Some((peer, connection)) = self.find(peer, connection) {
                    connection.spawn(async move { ask(stream, question, limit, &peer.sync).await });
                }
            }
            streams::Event::Refused(Purpose::Ask(ask), _) => ask.fail(RequestError::Refused),
            streams::Event::Refused(Purpose::Channel(channel), error) => {
                if let (StreamUpgradeError::NegotiationFailed, Some(contact)) =
                    (&error, self.contacts.get(&peer))
                {
                    tracing::warn!(peer = %contact.key(), ?channel, "the peer is of another chain or version");
                }
                self.close(peer, connection);
            }
            streams::Event::Accepted(Protocol::Channel(channel), stream) => {
                self.on_incoming(peer, connection, channel, stream);
            }
            streams::Event::Accepted(Protocol::Sync, stream) => self.on_request(peer, connection, stream),
        }
    }

    fn find(&mut self, peer: PeerId, connection: ConnectionId) -> Option<(Arc<Peer>, &mut Connection)> {
        let contact = self.contacts.get_mut(&peer)?;
        let peer = Arc::clone(&contact.peer);
        Some((peer, contact.connection(connection)?))
    }

    fn on_outgoing(&mut self, id: PeerId, connection_id: ConnectionId, channel: Channel, stream: Stream) {
        let (report, boot) = (self.report.clone(), self.boot);
        let Some((peer, connection)) = self.find(id, connection_id) else { return };
        connection.outgoing.push(channel);
        connection.spawn(async move {
            let error = write_frames(stream, connection_id, peer.lane(channel), boot).await;
            let news = News::Ended(error.into());
            // An error means that the network has stopped.
            let _ = report.send(Report { peer: id, connection: connection_id, news }).await;
        });
        if let Some(contact) = self.contacts.get_mut(&id) {
            self.events.push(contact.reroute(&self.limits));
        }
    }

    fn on_incoming(&mut self, id: PeerId, connection_id: ConnectionId, channel: Channel, mut stream: Stream) {
        let (report, deliver) = (self.report.clone(), Arc::clone(&self.deliver));
        let Some((peer, connection)) = self.find(id, connection_id) else { return };
        if connection.incoming.contains(&channel) {
            tracing::warn!(peer = %peer.key, ?channel, "closed a connection: it has a second stream for the channel");
            self.close(id, connection_id);
            return;
        }
        connection.incoming.push(channel);
        connection.spawn(async move {
            let inbox = match channel {
                Channel::Votes => &deliver.votes,
                Channel::Batches => &deliver.batches,
            };
            let say = async |news| {
                // As above.
                let _ = report.send(Report { peer: id, connection: connection_id, news }).await;
            };
            let cause = match read_greeting(&mut stream).await {
                Ok(boot) => {
                    say(News::Greeted(boot)).await;
                    read_frames(stream, peer.key, peer.lane(channel), inbox).await
                }
                Err(cause) => cause,
            };
            say(News::Ended(cause)).await;
        });
    }

    fn on_request(&mut self, id: PeerId, connection_id: ConnectionId, stream: Stream) {
        let limits = ServeLimits {
            request_bytes: self.limits.request_bytes,
            response_bytes: self.limits.response_bytes,
            timeout: self.limits.request_timeout,
        };
        let (report, deliver) = (self.report.clone(), Arc::clone(&self.deliver));
        let Some((peer, connection)) = self.find(id, connection_id) else { return };
        let Ok(place) = Arc::clone(&peer.served).try_acquire_owned() else {
            tracing::debug!(peer = %peer.key, "dropped a request: too many are being served to this peer");
            return;
        };
        connection.spawn(async move {
            let served = serve(stream, peer.key, &deliver.requests, limits, &peer.sync).await;
            drop(place);
            // A request that ends early is its sender's affair; one that is too large is a broken peer's.
            if let Err(cause @ ReadError::TooLarge { .. }) = served {
                let news = News::Ended(cause);
                let _ = report.send(Report { peer: id, connection: connection_id, news }).await;
            }
        });
    }

    /// Sends a request over the connection in use.
    fn on_ask(&mut self, id: PeerId, ask: Ask) {
        match self.contacts.get(&id).and_then(Contact::in_use) {
            Some(connection) => self.swarm.behaviour_mut().streams.open(id, connection, Purpose::Ask(ask)),
            None => ask.fail(RequestError::NotConnected),
        }
    }

    fn on_report(&mut self, Report { peer, connection, news }: Report) {
        match news {
            News::Greeted(boot) => {
                if let Err(cause) = self.on_greeted(peer, connection, boot) {
                    self.on_ended(peer, connection, &cause);
                }
            }
            News::Ended(cause) => self.on_ended(peer, connection, &cause),
        }
    }

    fn on_greeted(&mut self, peer: PeerId, connection: ConnectionId, boot: BootId) -> Result<(), ReadError> {
        if boot == self.boot {
            return Err(ReadError::Impostor { claimed: boot, reason: "this one" });
        }
        let Some(contact) = self.contacts.get_mut(&peer) else { return Ok(()) };
        self.events.push(contact.greeted(connection, boot)?);
        self.events.push(contact.reroute(&self.limits));
        Ok(())
    }

    fn on_ended(&mut self, peer: PeerId, connection: ConnectionId, cause: &ReadError) {
        let Some((known, _)) = self.find(peer, connection) else { return };
        match cause {
            ReadError::Ended(error) => tracing::debug!(peer = %known.key, %error, "closed a connection"),
            cause => tracing::warn!(peer = %known.key, "closed a connection: {cause}"),
        }
        self.close(peer, connection);
    }

    /// Buries silent connections and dials who is due.
    fn on_time(&mut self) {
        let now = Instant::now();
        let mut silent = Vec::new();
        for (id, contact) in &mut self.contacts {
            let dead = |connection: &&Connection| connection.deadline(&self.limits) <= now;
            silent.extend(contact.connections.iter().filter(dead).map(|connection| (*id, connection.id)));
            let idle = contact.connections.is_empty() && contact.dial.due.is_some_and(|due| due <= now);
            if idle && let Some(address) = contact.peer.address() {
                contact.dial.due = None;
                self.lookups.spawn(look_up(*id, address, self.limits.handshake_timeout));
            }
        }
        for (peer, connection) in silent {
            if let Some((peer, _)) = self.find(peer, connection) {
                tracing::info!(peer = %peer.key, "closed a connection: it is silent");
            }
            self.close(peer, connection);
        }
    }

    fn on_found(&mut self, Found { peer, addresses }: Found) {
        let dialled = addresses.map_err(|error| error.to_string()).and_then(|addresses| {
            let options = DialOpts::peer_id(peer)
                // Contacts decide when to dial. A connection that the swarm still holds may be a dead one.
                .condition(PeerCondition::Always)
                .addresses(addresses.into_iter().map(multiaddress).collect())
                // From the listening port, a quick redial would meet the remains of the connection before it.
                .allocate_new_port()
                .build();
            self.swarm.dial(options).map_err(|error| error.to_string())
        });
        if let (Err(error), Some(contact)) = (dialled, self.contacts.get_mut(&peer)) {
            tracing::debug!(peer = %contact.key(), error, "can not dial");
            contact.dial.ended(&self.limits);
        }
    }

    fn on_undialled(&mut self, peer: PeerId, error: &DialError) {
        let Some(contact) = self.contacts.get_mut(&peer) else { return };
        contact.dial.ended(&self.limits);
        match error {
            DialError::WrongPeerId { address, .. } => tracing::warn!(
                peer = %contact.key(), address = %socket_address(address), "another key answers at the peer's address",
            ),
            error => tracing::debug!(peer = %contact.key(), %error, "dialling failed"),
        }
    }
}

/// Resolves `host:port`.
async fn look_up(peer: PeerId, address: String, timeout: Duration) -> Found {
    let found = tokio::time::timeout(timeout, tokio::net::lookup_host(address)).await;
    let addresses = found.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    Found { peer, addresses: addresses.map(Iterator::collect) }
}

/// What the node has not yet been told. At most three events for each peer wait: that it went, that it is back, and
/// that its key is run twice.
struct Events {
    sender: mpsc::Sender<PeerEvent>,
    waiting: VecDeque<PeerEvent>,
}

impl Events {
    fn push(&mut self, event: Option<PeerEvent>) {
        let Some(event) = event else { return };
        self.waiting.retain(|other| other.peer() != event.peer() || !event.overtakes(other));
        if !self.waiting.contains(&event) {
            self.waiting.push_back(event);
        }
    }

    /// Hands over one event. Waits while there is none, or no room.
    async fn deliver(&mut self) {
        let Some(event) = self.waiting.front().copied() else { return std::future::pending().await };
        match self.sender.reserve().await {
            Ok(place) => {
                self.waiting.pop_front();
                place.send(event);
            }
            Err(_) => self.waiting.clear(),
        }
    }
}

//! Who is admitted, and what is known of each.
//!
//! Invariant: a key has one [`Peer`] from its admission to its removal, so its queues and figures outlive its
//! connections. Left to others: enforcing the list (`behaviour`) and keeping the links up (`task`).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use genesis::PublicKey;
use libp2p::{PeerId, identity};
use tokio::sync::Semaphore;

use crate::boot::{BootId, Host};
use crate::channel::{Channel, Counters, Lane};
use crate::network::Limits;

/// What a member is to the network. It decides who a broadcast reaches, not what may be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Takes part in consensus: broadcasts go here.
    Validator,
    /// Follows: served, and not reached by [`crate::Network::broadcast`].
    Observer,
}

/// A key that is admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its network key.
    pub key: PublicKey,
    /// What it is.
    pub role: Role,
    /// Where to dial it, as `host:port`, resolved anew at each attempt. A member without one has to dial us.
    pub address: Option<String>,
}

/// Why a list of members was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// The bytes are no point of the curve: nobody can hold this key.
    #[error("{key} is not a key that a peer can have")]
    Key {
        /// The key.
        key: PublicKey,
    },
    /// The address can not be dialled.
    #[error("`{address}` is not an address of {key}: expected host:port, for example 10.0.0.7:7000")]
    Address {
        /// Whose.
        key: PublicKey,
        /// The address.
        address: String,
    },
}

/// A change in who can be reached, or something amiss with a peer's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerEvent {
    /// Frames to this peer are accepted, over a connection that carried none before. It may come twice in a row: what
    /// was sent over the connection before may be lost (the peer restarted, perhaps, and knows nothing of it).
    Connected(PublicKey),
    /// No connection to this peer is left.
    Disconnected(PublicKey),
    /// Two processes run with this peer's key at the same time: its operator has started it twice, or its key is in
    /// other hands. Told once for two processes; frames of both are delivered, and those sent to the peer reach the
    /// one that connected last. A restart is never taken for this (N6).
    Double {
        /// Whose key it is.
        peer: PublicKey,
        /// The two, the one that was seen first being the first.
        hosts: [Host; 2],
    },
}

impl PeerEvent {
    /// Whom it is about.
    pub const fn peer(&self) -> PublicKey {
        let (Self::Connected(key) | Self::Disconnected(key) | Self::Double { peer: key, .. }) = self;
        *key
    }

    /// Whether `other`, about the same peer, need not be told any more once this is. A departure is, since frames were
    /// lost by it, and so is an alarm.
    pub(crate) const fn overtakes(&self, other: &Self) -> bool {
        match other {
            Self::Connected(_) => !matches!(self, Self::Double { .. }),
            Self::Disconnected(_) => false,
            Self::Double { .. } => matches!(self, Self::Double { .. }),
        }
    }
}

/// What is known of an admitted peer at one moment.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    /// Its key.
    pub key: PublicKey,
    /// What it is.
    pub role: Role,
    /// Where it is dialled.
    pub address: Option<String>,
    /// The connection in use, if there is one.
    pub link: Option<Link>,
    /// Figures of [`Channel::Votes`].
    pub votes: Traffic,
    /// Figures of [`Channel::Batches`].
    pub batches: Traffic,
    /// Figures of requests and answers, each counted as a frame; nothing is queued here.
    pub sync: Traffic,
}

/// A connection in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// When it was taken into use.
    pub since: SystemTime,
    /// The other end.
    pub address: SocketAddr,
    /// The process there.
    pub boot: BootId,
    /// The newest measured round trip.
    pub round_trip: Option<Duration>,
}

/// What has passed between us and a peer since its admission.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Frames that wait to be sent.
    pub queued_frames: usize,
    /// Bytes that wait to be sent.
    pub queued_bytes: usize,
    /// Frames handed to the connection.
    pub sent_frames: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Frames that arrived whole.
    pub received_frames: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Frames that were never handed to a connection.
    pub drops: Drops,
}

/// Frames not sent, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// Refused: [`crate::NotSent::QueueFull`] (or [`crate::RequestError::Busy`]).
    pub queue_full: u64,
    /// Refused: [`crate::NotSent::NotConnected`].
    pub not_connected: u64,
    /// Refused: [`crate::NotSent::TooLarge`].
    pub too_large: u64,
    /// Accepted, and still queued when the last connection went.
    pub lost: u64,
}

/// An admitted peer.
#[derive(Debug)]
pub(crate) struct Peer {
    pub key: PublicKey,
    pub id: PeerId,
    member: Mutex<Member>,
    votes: Lane,
    batches: Lane,
    pub sync: Counters,
    /// The requests that may still be sent.
    pub requests: Arc<Semaphore>,
    /// The requests that it may still have served.
    pub served: Arc<Semaphore>,
    link: Mutex<Option<Link>>,
}

impl Peer {
    fn new(member: Member, id: PeerId, limits: &Limits) -> Self {
        Self {
            key: member.key,
            id,
            member: Mutex::new(member),
            votes: Lane::new(limits.votes),
            batches: Lane::new(limits.batches),
            sync: Counters::default(),
            requests: Arc::new(Semaphore::new(limits.requests_in_flight)),
            // Twice what it may ask: it sees an answer, and asks again, before we see that stream's end.
            served: Arc::new(Semaphore::new(2 * limits.requests_in_flight)),
            link: Mutex::new(None),
        }
    }

    pub const fn lane(&self, channel: Channel) -> &Lane {
        match channel {
            Channel::Votes => &self.votes,
            Channel::Batches => &self.batches,
        }
    }

    pub fn role(&self) -> Role {
        lock(&self.member).role
    }

    pub fn address(&self) -> Option<String> {
        lock(&self.member).address.clone()
    }

    pub fn link(&self) -> MutexGuard<'_, Option<Link>> {
        lock(&self.link)
    }

    fn status(&self) -> PeerStatus {
        let Member { key, role, address } = lock(&self.member).clone();
        PeerStatus {
            key,
            role,
            address,
            link: *self.link(),
            votes: self.votes.traffic(),
            batches: self.batches.traffic(),
            sync: self.sync.traffic(),
        }
    }
}

/// The admitted peers, by key.
#[derive(Debug, Default)]
pub(crate) struct Roster(RwLock<BTreeMap<PublicKey, Arc<Peer>>>);

impl Roster {
    pub fn get(&self, key: &PublicKey) -> Option<Arc<Peer>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    pub fn all(&self) -> Vec<Arc<Peer>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub fn status(&self) -> Vec<PeerStatus> {
        self.all().iter().map(|peer| peer.status()).collect()
    }

    /// Makes `members` but for `own` the admitted ones. Who stays keeps its [`Peer`].
    pub fn admit(&self, members: Vec<Member>, own: PublicKey, limits: &Limits) -> Result<(), MemberError> {
        let others = members.into_iter().filter(|member| member.key != own);
        // All are checked before any is changed.
        let others = others.map(|member| Ok((peer_id(&member)?, member))).collect::<Result<Vec<_>, _>>()?;
        let mut admitted = BTreeMap::new();
        for (id, member) in others {
            let peer = match self.get(&member.key) {
                Some(peer) => {
                    *lock(&peer.member) = member;
                    peer
                }
                None => Arc::new(Peer::new(member, id, limits)),
            };
            admitted.insert(peer.key, peer);
        }
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = admitted;
        Ok(())
    }
}

/// What libp2p calls this member, if it can be one.
fn peer_id(member: &Member) -> Result<PeerId, MemberError> {
    let Member { key, address, .. } = member;
    if let Some(address) = address {
        let dialable =
            |(host, port): (&str, &str)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0);
        if !address.rsplit_once(':').is_some_and(dialable) {
            return Err(MemberError::Address { key: *key, address: address.clone() });
        }
    }
    let PublicKey::Ed25519(bytes) = key;
    let public =
        identity::ed25519::PublicKey::try_from_bytes(bytes).map_err(|_| MemberError::Key { key: *key })?;
    Ok(identity::PublicKey::from(public).to_peer_id())
}

/// Locks. A poisoned lock is taken as it is: what is guarded here is whole after every statement.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Strangers: connections that have not yet shown a key.
//!
//! Invariant (N2): no address holds more than its share of the places for handshakes, and addresses that no member
//! was seen at hold at most half of them all, so that a flood does not keep members out. A place is free again when
//! the handshake ends or its time is up. Against a flood from a member's own address there is the other direction:
//! we dial members too.
//!
//! Left to others: the total and the limit per key (libp2p's connection limits), the key itself (its allow list).

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::net::IpAddr;
use std::task::{Context, Poll};

use libp2p::core::transport::PortUse;
use libp2p::core::{ConnectedPoint, Endpoint};
use libp2p::swarm::behaviour::{ConnectionEstablished, ListenFailure};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

use crate::behaviour::socket_address;

/// Why a connection was refused before its handshake.
#[derive(Debug, thiserror::Error)]
#[error("too many handshakes in progress with {address}, or with strangers in all")]
struct Crowded {
    address: IpAddr,
}

pub(crate) struct Doorstep {
    waiting: HashMap<ConnectionId, IpAddr>,
    /// Where each member was last seen: one entry for each key that was ever admitted.
    seen: HashMap<PeerId, IpAddr>,
    limit_per_address: usize,
    limit_of_strangers: usize,
}

impl Doorstep {
    pub fn new(limit_per_address: usize, limit_in_all: usize) -> Self {
        let limit_of_strangers = limit_in_all / 2;
        Self { waiting: HashMap::new(), seen: HashMap::new(), limit_per_address, limit_of_strangers }
    }

    fn has_room_for(&self, address: IpAddr) -> bool {
        let known: HashSet<&IpAddr> = self.seen.values().collect();
        let from_there = self.waiting.values().filter(|other| **other == address).count();
        let strangers = self.waiting.values().filter(|other| !known.contains(other)).count();
        from_there < self.limit_per_address
            && (known.contains(&address) || strangers < self.limit_of_strangers)
    }
}

/// The address that connections are counted by: of IPv6, the /64 that one host commonly owns.
fn origin(remote: &Multiaddr) -> IpAddr {
    match socket_address(remote).ip().to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        address => address,
    }
}

impl NetworkBehaviour for Doorstep {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let address = origin(remote);
        if !self.has_room_for(address) {
            return Err(ConnectionDenied::new(Crowded { address }));
        }
        self.waiting.insert(connection, address);
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            }) => {
                self.waiting.remove(&connection_id);
                let (ConnectedPoint::Dialer { address: remote, .. }
                | ConnectedPoint::Listener { send_back_addr: remote, .. }) = endpoint;
                self.seen.insert(peer_id, origin(remote));
            }
            FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) => {
                self.waiting.remove(&connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

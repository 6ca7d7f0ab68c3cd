//! The only assembly of libp2p: TCP, Noise, Yamux, and the rules that each connection passes, in this order.
//!
//! Invariant (N1): the gates stand before the streams. A connection gets no handler, so no protocol, unless its key is
//! on the allow list; strangers never reach [`Streams`].

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use genesis::SecretKey;
use libp2p::allow_block_list::{self, AllowedPeers};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::{Transport, upgrade};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{self, NetworkBehaviour, Swarm};
use libp2p::{Multiaddr, identity, noise, ping, tcp};

use crate::doorstep::Doorstep;
use crate::mux;
use crate::network::{Config, StartError};
use crate::streams::Streams;

/// Connections that a key may have at once. Two are common (both sides dialled), a third comes when a member is back
/// before we saw its old ones die; `task` then closes an idle one, and the fourth covers the moment that takes.
const CONNECTIONS_PER_KEY: u32 = 4;

/// Streams of a connection besides requests: the channels and ping, both ways, and as many that are being closed.
const OTHER_STREAMS: usize = 16;

#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    pub admitted: allow_block_list::Behaviour<AllowedPeers>,
    limits: connection_limits::Behaviour,
    doorstep: Doorstep,
    ping: ping::Behaviour,
    pub streams: Streams,
}

/// A swarm that admits nobody yet.
pub(crate) fn swarm(config: &Config) -> Result<Swarm<Behaviour>, StartError> {
    let keypair = keypair(&config.key).ok_or(StartError::Key)?;
    let limits = &config.limits;
    // Twice, because a finished request's stream counts until both sides have seen its end.
    let streams = OTHER_STREAMS + 4 * limits.requests_in_flight;
    let transport = tcp::tokio::Transport::new(tcp::Config::default())
        .upgrade(upgrade::Version::V1Lazy)
        .authenticate(noise::Config::new(&keypair).map_err(|_| StartError::Key)?)
        .multiplex(mux::Config::new(streams))
        .timeout(limits.handshake_timeout)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .boxed();
    let connection_limits = ConnectionLimits::default()
        .with_max_pending_incoming(Some(limits.handshakes))
        .with_max_established_per_peer(Some(CONNECTIONS_PER_KEY));
    let behaviour = Behaviour {
        admitted: allow_block_list::Behaviour::default(),
        limits: connection_limits::Behaviour::new(connection_limits),
        doorstep: Doorstep::new(limits.handshakes_per_address as usize, limits.handshakes as usize),
        ping: ping::Behaviour::new(
            ping::Config::new().with_interval(limits.ping_interval).with_timeout(limits.silence_timeout),
        ),
        streams: Streams::new(config.chain),
    };
    let swarm_config = swarm::Config::with_tokio_executor().with_max_negotiating_inbound_streams(streams);
    Ok(Swarm::new(transport, behaviour, keypair.public().to_peer_id(), swarm_config))
}

/// The key as libp2p holds it.
pub(crate) fn keypair(key: &SecretKey) -> Option<identity::Keypair> {
    identity::Keypair::ed25519_from_bytes(key.seed().as_mut_slice()).ok()
}

/// `address` as libp2p writes it.
pub(crate) fn multiaddress(address: SocketAddr) -> Multiaddr {
    Multiaddr::from(address.ip()).with(Protocol::Tcp(address.port()))
}

/// What [`multiaddress`] wrote. The transport is TCP over IP, so both parts are there; a missing one reads as zero.
pub(crate) fn socket_address(address: &Multiaddr) -> SocketAddr {
    let mut socket = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
    for part in address {
        match part {
            Protocol::Ip4(ip) => socket.set_ip(ip.into()),
            Protocol::Ip6(ip) => socket.set_ip(ip.into()),
            Protocol::Tcp(port) => socket.set_port(port),
            _ => {}
        }
    }
    socket
}

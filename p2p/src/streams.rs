//! Which stream speaks what: opens streams on a given connection, and accepts those of our chain.
//!
//! Invariant: a protocol's name holds the chain's id, so that members of two chains never exchange a frame. What is
//! opened or accepted is reported with its connection, since a peer may have several and they fail one by one.
//!
//! `libp2p-stream` does nearly this, but picks a peer's connection at random, and a dead one may be among them.
//!
//! Left to others: reading and writing the streams, and counting them (`task`).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::task::AtomicWaker;
use genesis::Digest;
use libp2p::core::transport::PortUse;
use libp2p::core::{Endpoint, InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
    NotifyHandler, Stream, StreamUpgradeError, SubstreamProtocol, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

use crate::channel::Channel;
use crate::request::Ask;

/// What a stream that we open is for.
#[derive(Debug)]
pub(crate) enum Purpose {
    Channel(Channel),
    Ask(Ask),
}

/// What a stream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Channel(Channel),
    Sync,
}

#[derive(Debug)]
pub(crate) enum Event {
    /// A stream that we wanted is open.
    Opened(Purpose, Stream),
    /// A stream that we wanted can not be had.
    Refused(Purpose, StreamUpgradeError<Infallible>),
    /// The peer opened a stream.
    Accepted(Protocol, Stream),
}

/// The names under which one chain's protocols are spoken.
pub(crate) struct Names([Named; 3]);

impl Names {
    fn new(chain: Digest) -> Self {
        let protocols =
            [Protocol::Channel(Channel::Votes), Protocol::Channel(Channel::Batches), Protocol::Sync];
        Self(protocols.map(|protocol| {
            let kind = match protocol {
                Protocol::Channel(Channel::Votes) => "votes/2",
                Protocol::Channel(Channel::Batches) => "batches/2",
                Protocol::Sync => "sync/3",
            };
            Named(format!("/realdid/{chain}/{kind}").into(), protocol)
        }))
    }
}

pub(crate) struct Streams {
    names: Arc<Names>,
    queue: VecDeque<ToSwarm<(PeerId, ConnectionId, Event), Purpose>>,
    waker: AtomicWaker,
}

impl Streams {
    pub fn new(chain: Digest) -> Self {
        Self { names: Arc::new(Names::new(chain)), queue: VecDeque::new(), waker: AtomicWaker::new() }
    }

    /// Asks for a stream on one connection. The answer is an [`Event`], or nothing if the connection is gone.
    pub fn open(&mut self, peer_id: PeerId, connection: ConnectionId, purpose: Purpose) {
        self.queue.push_back(ToSwarm::NotifyHandler {
            peer_id,
            handler: NotifyHandler::One(connection),
            event: purpose,
        });
        self.waker.wake();
    }

    fn handler(&self) -> Handler {
        Handler { names: Arc::clone(&self.names), wanted: VecDeque::new(), events: VecDeque::new() }
    }
}

impl NetworkBehaviour for Streams {
    type ConnectionHandler = Handler;
    type ToSwarm = (PeerId, ConnectionId, Event);

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        self.queue.push_back(ToSwarm::GenerateEvent((peer, id, event)));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.waker.register(cx.waker());
        self.queue.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

/// The streams of one connection. Both queues are short: requests in flight are bounded where they are made, and the
/// peer's streams by the multiplexer.
pub(crate) struct Handler {
    names: Arc<Names>,
    wanted: VecDeque<Purpose>,
    events: VecDeque<Event>,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Purpose;
    type ToBehaviour = Event;
    type InboundProtocol = Speaks;
    type OutboundProtocol = Speaks;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Purpose;

    fn listen_protocol(&self) -> SubstreamProtocol<Speaks> {
        SubstreamProtocol::new(Speaks(self.names.0.to_vec()), ())
    }

    /// A member's connection is kept however quiet it is: `task` notices the dead ones.
    fn connection_keep_alive(&self) -> bool {
        true
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Speaks, Purpose, Event>> {
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(event));
        }
        // No waker: this is polled again after each call of the two functions below.
        let Some(purpose) = self.wanted.pop_front() else { return Poll::Pending };
        let wanted = match &purpose {
            Purpose::Channel(channel) => Protocol::Channel(*channel),
            Purpose::Ask(_) => Protocol::Sync,
        };
        let name = self.names.0.iter().filter(|Named(_, protocol)| *protocol == wanted).cloned().collect();
        Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
            protocol: SubstreamProtocol::new(Speaks(name), purpose),
        })
    }

    fn on_behaviour_event(&mut self, purpose: Purpose) {
        self.wanted.push_back(purpose);
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Speaks, Speaks, (), Purpose>) {
        self.events.push_back(match event {
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: (_, stream),
                info,
            }) => Event::Opened(info, stream),
            ConnectionEvent::DialUpgradeError(DialUpgradeError { error, info }) => {
                Event::Refused(info, error)
            }
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (protocol, stream),
                ..
            }) => Event::Accepted(protocol, stream),
            _ => return,
        });
    }
}

/// Agrees on one of some protocols, and leaves the stream as it is.
pub(crate) struct Speaks(Vec<Named>);

/// A protocol with its name, as the negotiation sees it.
#[derive(Clone)]
pub(crate) struct Named(Arc<str>, Protocol);

impl AsRef<str> for Named {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl UpgradeInfo for Speaks {
    type Info = Named;
    type InfoIter = std::vec::IntoIter<Named>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.clone().into_iter()
    }
}

impl InboundUpgrade<Stream> for Speaks {
    type Output = (Protocol, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, Named(_, protocol): Named) -> Self::Future {
        ready(Ok((protocol, stream)))
    }
}

impl OutboundUpgrade<Stream> for Speaks {
    type Output = (Protocol, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, Named(_, protocol): Named) -> Self::Future {
        ready(Ok((protocol, stream)))
    }
}

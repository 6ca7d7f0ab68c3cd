//! Moves bytes between exactly the admitted peers, over TCP, Noise and Yamux (libp2p).
//!
//! - [`network`]: the handle that callers hold ([`Network`], [`Inbox`]) and how it starts and stops
//! - `task`: the one task behind the handle: dials, watches, routes; the only place that decides
//! - `contact`: one peer's connections, as the task sees them
//! - [`peer`]: who is admitted, and what is known of each
//! - `boot`: which process speaks, and whether one key is run by two
//! - [`channel`]: the one-way kinds of traffic, their frames, bounds and fairness
//! - [`request`]: the two-way kind: a question, an answer, a time limit
//! - `behaviour`: the only assembly of libp2p, from `streams` (which stream speaks what), `doorstep` (strangers
//!   without a key yet) and `mux` (Yamux with bounded buffers and a close that ends)
//!
//! Invariants:
//! - **N1** No byte of an unlisted key is read beyond the handshake: the key is checked before any protocol is spoken.
//! - **N2** Whatever is held for a peer is bounded, in count and in bytes, both ways; so is what strangers can hold.
//! - **N3** No caller of [`Network::send`] waits, and no channel of a peer waits for another channel or another peer.
//! - **N4** A frame is delivered whole, once, and in the order sent, as long as the connection lasts; a frame that
//!   was accepted may be lost with its connection. Whoever needs it to arrive sends it again.
//! - **N5** A member that breaks the framing loses its connection, nothing else; the other peers notice nothing.
//! - **N6** A key is reported as run by two processes only if two ran at the same time: a restart, however abrupt, is
//!   never taken for two. Two that both keep in touch are reported after a ping to each.
//!
//! This crate knows nothing of consensus or ledger: what a frame means, who may send what, and when to send it again
//! are its callers' business.

mod behaviour;
mod boot;
pub mod channel;
mod contact;
mod doorstep;
mod mux;
pub mod network;
pub mod peer;
pub mod request;
mod streams;
mod task;

pub use boot::{BootId, Host};
pub use channel::{Channel, ChannelLimits, Incoming, NotSent};
pub use network::{Config, Inbox, Limits, Network, StartError};
pub use peer::{Drops, Link, Member, MemberError, PeerEvent, PeerStatus, Role, Traffic};
pub use request::{IncomingRequest, Reply, RequestError};

#[cfg(test)]
mod tests;

//! Strangers with anything, and members that break the framing.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use futures::{AsyncWriteExt, StreamExt};
use libp2p::swarm::SwarmEvent;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::{PeerId, Stream};

use super::*;
use crate::Channel;
use crate::behaviour::{BehaviourEvent, keypair, multiaddress, swarm};
use crate::boot::BootId;
use crate::channel::{ReadError, read_frame};
use crate::streams::{Event, Purpose};

#[tokio::test]
async fn a_stranger_is_refused_by_its_key_and_none_of_its_bytes_arrive() {
    let (mut left, mut right) = pair(limits()).await;
    let mut stranger = Node::of(66, vec![left.as_member()], limits()).await;
    until(|| left.network.refused_connections() >= 3).await;
    assert!(stranger.inbox.peers.try_recv().is_err(), "the stranger was never connected");
    assert_well(&mut left, &mut right).await;
    assert!(left.inbox.votes.try_recv().is_err() && left.inbox.batches.try_recv().is_err());
    assert!(left.inbox.requests.try_recv().is_err() && left.inbox.peers.try_recv().is_err());
}

#[tokio::test]
async fn who_says_nothing_or_nonsense_is_dropped() {
    let (mut left, mut right) = pair(limits()).await;
    let multistream = b"\x13/multistream/1.0.0\n\x07/noise\n";
    let noise: Vec<u8> = (0..4096).map(|_| rand::random()).collect();
    let nonsense: [&[u8]; 5] = [b"", &noise, multistream, b"GET / HTTP/1.1\r\n\r\n", &[0xff; 100_000]];
    for bytes in nonsense {
        let bytes = bytes.to_vec();
        assert_dropped(left.address(), move |socket| socket.write_all(&bytes)).await;
        assert_well(&mut left, &mut right).await;
    }
}

/// The connection on which these bytes are said is closed by the other side, whatever it answered before.
async fn assert_dropped(
    address: SocketAddr,
    say: impl FnOnce(&mut TcpStream) -> std::io::Result<()> + Send + 'static,
) {
    let talk = move || {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        // It may be closed before all is said.
        let _ = say(&mut socket);
        socket.read_to_end(&mut Vec::new()).map_err(|error| error.kind())
    };
    let end = tokio::task::spawn_blocking(talk).await.unwrap();
    assert!(matches!(end, Ok(_) | Err(ErrorKind::ConnectionReset)), "{end:?}");
}

#[tokio::test]
async fn a_handshake_that_is_cut_short_at_any_byte_is_dropped() {
    let (mut left, mut right) = pair(limits()).await;
    let handshake = [b"\x13/multistream/1.0.0\n\x07/noise\n\x00\x20".as_slice(), &[5; 32]].concat();
    for length in (1..handshake.len()).step_by(7) {
        let start = handshake[..length].to_vec();
        let say = move |socket: &mut TcpStream| {
            socket.write_all(&start)?;
            socket.shutdown(Shutdown::Write)
        };
        assert_dropped(left.address(), say).await;
    }
    assert_well(&mut left, &mut right).await;
}

#[tokio::test]
async fn a_flood_of_silent_strangers_is_bounded_and_a_member_gets_in_after_it() {
    let limits = Limits { handshakes: 16, handshakes_per_address: 8, ..limits() };
    let mut left = Node::of(1, vec![member(2, None)], limits.clone()).await;
    let mut flood = Vec::new();
    for _ in 0..200 {
        flood.push(TcpStream::connect(left.address()).unwrap());
    }
    until(|| left.network.refused_connections() >= 192).await;
    let mut right = Node::of(2, vec![left.as_member()], limits).await;
    left.meets(key(2)).await;
    right.meets(key(1)).await;
    assert_well(&mut left, &mut right).await;
    drop(flood);
}

#[tokio::test]
async fn a_flooded_node_reaches_its_members_by_dialling_them() {
    let limits = Limits { handshakes: 0, ..limits() };
    let mut right = Node::of(2, vec![member(1, None)], limits.clone()).await;
    right.network.set_admitted(vec![member(1, None)]).unwrap();
    let mut left = Node::of(1, vec![], Limits { handshakes: 8, ..limits }).await;
    // `right` lets nobody in at all, and still gets out.
    right.network.set_admitted(vec![left.as_member()]).unwrap();
    left.network.set_admitted(vec![right.as_member()]).unwrap();
    left.meets(key(2)).await;
    right.meets(key(1)).await;
    assert_well(&mut left, &mut right).await;
}

#[tokio::test]
async fn a_member_that_breaks_the_framing_loses_its_connection_and_nobody_else_notices() {
    let claims = [u32::MAX, limits().votes.frame_bytes + 1, limits().batches.frame_bytes + 1];
    for claim in claims {
        for channel in Channel::ALL {
            let mut frame = greeting(1);
            frame.extend(claim.to_le_bytes());
            frame.extend([1; 1000]);
            assert_thrown_out(vec![(Purpose::Channel(channel), frame)]).await;
            if channel == Channel::Votes && claim == claims[1] {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_member_that_ends_a_frame_in_the_middle_loses_its_connection() {
    let mut frame = greeting(1);
    frame.extend(1000_u32.to_le_bytes());
    frame.extend([1; 999]);
    assert_thrown_out_for_ending(vec![(Purpose::Channel(Channel::Votes), frame)]).await;
}

#[tokio::test]
async fn a_member_that_opens_a_channel_twice_loses_its_connection() {
    let votes = Purpose::Channel;
    assert_thrown_out(vec![(votes(Channel::Votes), vec![]), (votes(Channel::Votes), vec![])]).await;
}

#[tokio::test]
async fn a_member_whose_greeting_is_none_loses_its_connection() {
    let long = [[17, 0, 0, 0].as_slice(), &[1; 17]].concat();
    let huge = [[0xff; 4].as_slice(), &[1; 100_000]].concat();
    let short = [[15, 0, 0, 0].as_slice(), &[1; 15]].concat();
    for bytes in [long, huge, short, vec![0; 4]] {
        let good = (Purpose::Channel(Channel::Batches), greeting(1));
        assert_thrown_out(vec![good, (Purpose::Channel(Channel::Votes), bytes)]).await;
    }
    let cut = greeting(1)[..19].to_vec();
    assert_thrown_out_for_ending(vec![(Purpose::Channel(Channel::Votes), cut)]).await;
}

#[tokio::test]
async fn a_member_that_greets_as_two_processes_at_once_loses_its_connection() {
    let channels = [Channel::Votes, Channel::Batches].map(Purpose::Channel);
    assert_thrown_out(channels.into_iter().zip([greeting(1), greeting(2)]).collect()).await;
}

#[tokio::test]
async fn a_member_that_greets_with_the_nodes_own_id_loses_its_connection() {
    let (left, right) = pair(patient()).await;
    let echo = frame(left.network.boot_id());
    assert_thrown_out_of(left, right, vec![(Purpose::Channel(Channel::Votes), echo)], false).await;
}

#[tokio::test]
async fn a_member_that_never_greets_is_taken_for_a_silent_one() {
    let limits = Limits { silence_timeout: Duration::from_secs(1), ..limits() };
    let (left, right) = pair(limits).await;
    assert_thrown_out_of(left, right, vec![], false).await;
}

/// The greeting of some process.
fn greeting(boot: u8) -> Vec<u8> {
    frame(BootId::from_bytes([boot; 16]))
}

fn frame(boot: BootId) -> Vec<u8> {
    [16_u32.to_le_bytes().as_slice(), boot.as_bytes()].concat()
}

/// So that nobody is thrown out for being silent.
fn patient() -> Limits {
    Limits { silence_timeout: Duration::from_secs(3600), ..limits() }
}

/// A member opens streams and writes these bytes: its connection is closed by the other side, which hears nothing from
/// it, and gets on with its other peers.
async fn assert_thrown_out(streams: Vec<(Purpose, Vec<u8>)>) {
    let (left, right) = pair(patient()).await;
    assert_thrown_out_of(left, right, streams, false).await;
}

/// The same for a member that then ends the last of the streams.
async fn assert_thrown_out_for_ending(streams: Vec<(Purpose, Vec<u8>)>) {
    let (left, right) = pair(patient()).await;
    assert_thrown_out_of(left, right, streams, true).await;
}

async fn assert_thrown_out_of(mut left: Node, mut right: Node, streams: Vec<(Purpose, Vec<u8>)>, ends: bool) {
    left.network.set_admitted(vec![right.as_member(), member(13, None)]).unwrap();
    let (purposes, mut bytes): (Vec<_>, Vec<_>) = streams.into_iter().unzip();
    let config = Config {
        key: secret(13),
        chain: CHAIN,
        listen: left.address(),
        members: vec![],
        limits: Limits::default(),
    };
    let mut swarm = swarm(&config).unwrap();
    let target: PeerId = keypair(&secret(1)).unwrap().public().to_peer_id();
    swarm.behaviour_mut().admitted.allow_peer(target);
    let dial = DialOpts::peer_id(target).addresses(vec![multiaddress(left.address())]).allocate_new_port();
    swarm.dial(dial.build()).unwrap();
    let mut purposes = Some(purposes);
    let mut held: Vec<Stream> = Vec::new();
    soon(async {
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::ConnectionEstablished { connection_id, .. } => {
                    for purpose in purposes.take().into_iter().flatten() {
                        swarm.behaviour_mut().streams.open(target, connection_id, purpose);
                    }
                }
                SwarmEvent::Behaviour(BehaviourEvent::Streams((_, _, Event::Opened(_, mut stream)))) => {
                    // It may be thrown out before all is said.
                    let _ = stream.write_all(&bytes.remove(0)).await;
                    let _ = stream.flush().await;
                    if bytes.is_empty() && ends {
                        let _ = stream.close().await;
                    }
                    held.push(stream);
                }
                SwarmEvent::Behaviour(BehaviourEvent::Streams((_, _, Event::Accepted(_, stream)))) => {
                    held.push(stream);
                }
                SwarmEvent::ConnectionClosed { .. } => return,
                _ => {}
            }
        }
    })
    .await;
    assert!(left.inbox.votes.try_recv().is_err() && left.inbox.batches.try_recv().is_err());
    assert_well(&mut left, &mut right).await;
    assert!(right.status(key(1)).link.is_some() && left.inbox.votes.try_recv().is_err());
}

#[tokio::test]
async fn memory_for_a_frame_grows_with_what_arrives_not_with_what_is_claimed() {
    /// Claims 64 MiB, sends a little, and notes how much room it was offered.
    struct Miser {
        sent: usize,
        largest_offer: usize,
    }
    impl futures::AsyncRead for Miser {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            buffer: &mut [u8],
        ) -> std::task::Poll<std::io::Result<usize>> {
            let claim = (64_u32 << 20).to_le_bytes();
            self.largest_offer = self.largest_offer.max(buffer.len());
            let length = match self.sent {
                0 => 4,
                1..300_000 => buffer.len().min(1000),
                _ => 0,
            };
            buffer[..length].fill(1);
            if self.sent == 0 {
                buffer.copy_from_slice(&claim);
            }
            self.sent += length;
            std::task::Poll::Ready(Ok(length))
        }
    }
    let mut miser = Miser { sent: 0, largest_offer: 0 };
    assert!(matches!(read_frame(&mut miser, u32::MAX).await, Err(ReadError::Ended(_))));
    assert!(miser.largest_offer <= miser.sent, "offered {} for {}", miser.largest_offer, miser.sent);
}

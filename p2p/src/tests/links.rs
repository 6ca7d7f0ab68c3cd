//! Connections that come, go, and die without a word.

use std::time::Instant;

use super::*;
use crate::{Channel, MemberError, NotSent, StartError};

#[tokio::test]
async fn a_member_that_restarts_is_back_within_a_second_and_a_half() {
    let (mut left, mut right) = pair(limits()).await;
    for _ in 0..3 {
        let address = right.address();
        right.network.shutdown().await;
        left.told(PeerEvent::Disconnected(key(2))).await;
        assert_eq!(left.network.send(&key(2), Channel::Votes, []), Err(NotSent::NotConnected));

        let start = Instant::now();
        right = Node::start(2, address, vec![left.as_member()], limits()).await;
        left.meets(key(2)).await;
        right.meets(key(1)).await;
        assert!(start.elapsed() < Duration::from_millis(1500), "took {:?}", start.elapsed());
        assert_well(&mut left, &mut right).await;
    }
}

/// Waits until the connection to node 2 is past the time in which a second one is taken for the other side's dial.
async fn settled(left: &Node) {
    let is_old = |link: crate::Link| link.since.elapsed().is_ok_and(|age| age > limits().handshake_timeout);
    until(|| left.status(key(2)).link.is_some_and(is_old)).await;
}

#[tokio::test]
async fn a_member_that_is_back_is_reached_though_its_old_connections_look_alive() {
    let (mut left, old) = pair(limits()).await;
    settled(&left).await;
    let mut others = vec![old];
    for _ in 0..3 {
        let mut new = Node::of(2, vec![left.as_member()], limits()).await;
        left.meets(key(2)).await;
        new.meets(key(1)).await;
        assert_well(&mut left, &mut new).await;
        settled(&left).await;
        // Still running, as a machine without power seems to be.
        others.push(new);
    }
}

#[tokio::test]
async fn a_peer_that_falls_silent_is_dropped_and_found_again() {
    let limits = Limits { silence_timeout: Duration::from_secs(1), ..limits() };
    let mut right = Node::of(2, vec![member(1, None)], limits.clone()).await;
    let relay = Relay::to(right.address()).await;
    let mut left = Node::of(1, vec![member(2, Some(relay.address))], limits).await;
    left.meets(key(2)).await;
    right.meets(key(1)).await;
    until(|| left.status(key(2)).link.is_some_and(|link| link.round_trip.is_some())).await;

    relay.switch(false);
    // The goodbye has to end although these can not leave.
    while left.network.send(&key(2), Channel::Batches, vec![0; 1 << 20]).is_ok() {}
    left.told(PeerEvent::Disconnected(key(2))).await;
    right.told(PeerEvent::Disconnected(key(1))).await;
    assert_eq!(left.status(key(2)).link, None);

    relay.switch(true);
    left.meets(key(2)).await;
    right.meets(key(1)).await;
    while right.inbox.batches.try_recv().is_ok() {}
    assert_well(&mut left, &mut right).await;
}

#[tokio::test]
async fn who_is_no_longer_admitted_is_disconnected_and_may_come_back_later() {
    let (mut left, mut right) = pair(limits()).await;
    left.network.set_admitted(vec![]).unwrap();
    left.told(PeerEvent::Disconnected(key(2))).await;
    right.told(PeerEvent::Disconnected(key(1))).await;
    assert_eq!(left.network.send(&key(2), Channel::Votes, []), Err(NotSent::NotConnected));
    assert!(left.network.peers().is_empty());

    left.network.set_admitted(vec![right.as_member()]).unwrap();
    left.meets(key(2)).await;
    right.meets(key(1)).await;
    assert_well(&mut left, &mut right).await;
}

#[tokio::test]
async fn who_is_disconnected_loses_its_connections_and_comes_back() {
    let (mut left, mut right) = pair(limits()).await;
    assert!(left.network.disconnect(&key(2)));
    left.told(PeerEvent::Disconnected(key(2))).await;
    left.meets(key(2)).await;
    right.told(PeerEvent::Disconnected(key(1))).await;
    right.meets(key(1)).await;
    assert_well(&mut left, &mut right).await;
    assert!(!left.network.disconnect(&key(9)), "nobody is admitted with this key");
}

#[tokio::test]
async fn members_of_two_chains_exchange_no_frame() {
    let mut left = Node::of(1, vec![member(2, None)], limits()).await;
    let config = Config {
        key: secret(2),
        chain: Digest::from_bytes([8; 32]),
        listen: "127.0.0.1:0".parse().unwrap(),
        members: vec![left.as_member()],
        limits: limits(),
    };
    let (other, mut inbox) = Network::start(config).await.unwrap();
    let mut friend = Node::of(3, vec![left.as_member()], limits()).await;
    left.network.set_admitted(vec![member(2, Some(other.local_address())), member(3, None)]).unwrap();
    // A member of the same chain comes and goes meanwhile; nobody else does.
    left.meets(key(3)).await;
    friend.meets(key(1)).await;
    for _ in 0..50 {
        assert_eq!(left.network.send(&key(2), Channel::Votes, *b"x"), Err(NotSent::NotConnected));
        assert_eq!(other.send(&key(1), Channel::Votes, *b"x"), Err(NotSent::NotConnected));
        assert_well(&mut left, &mut friend).await;
        let met = tokio::time::timeout(Duration::from_millis(10), inbox.peers.recv()).await;
        assert!(met.is_err(), "{met:?}");
    }
    assert!(inbox.votes.try_recv().is_err());
}

#[tokio::test]
async fn dropping_the_last_handle_ends_the_network_and_frees_the_port() {
    let (mut left, right) = pair(limits()).await;
    let address = right.address();
    drop(right);
    left.told(PeerEvent::Disconnected(key(2))).await;
    until(|| std::net::TcpListener::bind(address).is_ok()).await;
}

#[tokio::test]
async fn a_port_in_use_is_named_with_what_to_do() {
    let node = Node::of(1, vec![], limits()).await;
    let config =
        Config { key: secret(2), chain: CHAIN, listen: node.address(), members: vec![], limits: limits() };
    let error = Network::start(config).await.unwrap_err();
    assert!(matches!(error, StartError::Listen { address, .. } if address == node.address()));
    let text = error.to_string();
    assert!(text.contains(&node.address().to_string()) && text.contains("configure another"), "{text}");
}

#[tokio::test]
async fn a_member_that_can_not_be_dialled_is_named_and_nothing_changes() {
    let (left, _right) = pair(limits()).await;
    for address in ["", "7000", ":7000", "host:", "host:0", "host:70000"] {
        let wrong = Member { address: Some(address.into()), ..member(3, None) };
        let error = left.network.set_admitted(vec![member(4, None), wrong]).unwrap_err();
        assert_eq!(error, MemberError::Address { key: key(3), address: address.into() });
    }
    assert_eq!(left.network.peers().len(), 1);
}

//! The list of members changes while the node runs.

use tokio::net::TcpListener;

use super::*;
use crate::{Channel, NotSent};

/// Whoever waits for the second attempt to dial waits longer than any test.
fn one_attempt() -> Limits {
    Limits { redial_min: Duration::from_secs(600), redial_max: Duration::from_secs(600), ..limits() }
}

#[tokio::test]
async fn a_change_of_role_holds_for_the_next_broadcast_and_the_connection_stays() {
    let (mut left, mut right) = pair(limits()).await;
    let since = left.status(key(2)).link.unwrap().since;
    for turn in 0..10_u8 {
        let (role, other) =
            [(Role::Observer, Role::Validator), (Role::Validator, Role::Observer)][usize::from(turn % 2)];
        left.network.set_admitted(vec![Member { role, ..right.as_member() }]).unwrap();
        assert_eq!(left.status(key(2)).role, role);
        assert_eq!(left.network.broadcast_to(other, Channel::Votes, *b"not for you"), 0);
        assert_eq!(left.network.broadcast_to(role, Channel::Votes, vec![turn]), 1);
        let to_validators = usize::from(role == Role::Validator);
        assert_eq!(left.network.broadcast(Channel::Batches, vec![turn]), to_validators);
        // In order: a frame that was not for it would have come before.
        assert_eq!(receive(&mut right.inbox.votes).await.1, vec![turn]);
        if to_validators == 1 {
            assert_eq!(receive(&mut right.inbox.batches).await.1, vec![turn]);
        }
        assert_well(&mut left, &mut right).await;
    }
    assert_eq!(left.status(key(2)).link.unwrap().since, since);
    assert!(left.inbox.peers.try_recv().is_err() && right.inbox.peers.try_recv().is_err());
}

#[tokio::test]
async fn who_is_added_is_dialled_at_once_and_who_stays_notices_nothing() {
    let (mut left, mut right) = pair(limits()).await;
    let mut third = Node::of(3, vec![member(1, None)], one_attempt()).await;
    left.network.set_admitted(vec![right.as_member(), third.as_member()]).unwrap();
    left.meets(key(3)).await;
    third.meets(key(1)).await;
    assert_well(&mut left, &mut third).await;

    left.network.set_admitted(vec![right.as_member()]).unwrap();
    third.told(PeerEvent::Disconnected(key(1))).await;
    left.told(PeerEvent::Disconnected(key(3))).await;
    assert_eq!(left.network.send(&key(3), Channel::Votes, []), Err(NotSent::NotConnected));
    assert_well(&mut left, &mut right).await;
    assert!(right.inbox.peers.try_recv().is_err());
}

#[tokio::test]
async fn a_member_that_is_not_connected_is_dialled_at_its_new_address_at_once() {
    // Whoever answers at the old one hangs up.
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let wrong = member(2, Some(nobody.local_addr().unwrap()));
    let mut left = Node::of(1, vec![wrong.clone()], one_attempt()).await;
    drop(soon(nobody.accept()).await.unwrap());
    let mut right = Node::of(2, vec![member(1, None)], limits()).await;
    // No change of address: no reason to dial.
    left.network.set_admitted(vec![Member { role: Role::Observer, ..wrong }]).unwrap();
    left.network.set_admitted(vec![right.as_member()]).unwrap();
    left.meets(key(2)).await;
    right.meets(key(1)).await;
    assert_well(&mut left, &mut right).await;
}

#[tokio::test]
async fn a_connected_member_keeps_its_connection_and_is_dialled_at_its_new_address_after_it() {
    let mut old = Node::of(2, vec![member(1, None)], limits()).await;
    let mut left = Node::of(1, vec![old.as_member()], limits()).await;
    left.meets(key(2)).await;
    old.meets(key(1)).await;
    // It waits at the new address and calls nobody.
    let mut new = Node::of(2, vec![member(1, None)], limits()).await;
    left.network.set_admitted(vec![new.as_member()]).unwrap();
    for _ in 0..20 {
        assert_well(&mut left, &mut old).await;
    }
    old.network.shutdown().await;
    left.meets(key(2)).await;
    new.meets(key(1)).await;
    assert_well(&mut left, &mut new).await;
}

#[tokio::test]
async fn an_observer_reaches_the_validators_and_is_pushed_what_is_for_observers() {
    let as_observer = Member { role: Role::Observer, ..member(9, None) };
    let mut validators = Vec::new();
    for seed in [1, 2] {
        validators.push(Node::of(seed, vec![as_observer.clone()], limits()).await);
    }
    let members: Vec<_> = validators.iter().map(Node::as_member).collect();
    for validator in &validators {
        let members = members.iter().cloned().chain([as_observer.clone()]).collect();
        validator.network.set_admitted(members).unwrap();
    }
    // The observer's key is on no list of its own.
    let mut observer = Node::of(9, members, limits()).await;
    until(|| observer.network.peers().iter().all(|peer| peer.link.is_some())).await;
    for validator in &mut validators {
        validator.meets(key(9)).await;
    }
    until(|| validators.iter().all(|node| node.network.peers().iter().all(|peer| peer.link.is_some()))).await;
    assert_eq!(observer.network.broadcast(Channel::Votes, *b"hello"), 2);
    for validator in &mut validators {
        assert_eq!(receive(&mut validator.inbox.votes).await, (key(9), b"hello".to_vec()));
        assert_eq!(validator.network.broadcast(Channel::Votes, *b"vote"), 1);
        assert_eq!(validator.network.broadcast_to(Role::Observer, Channel::Votes, *b"final"), 1);
        assert_eq!(receive(&mut observer.inbox.votes).await, (validator.key(), b"final".to_vec()));
    }
    assert!(observer.inbox.votes.try_recv().is_err());
}

//! One key on two hosts is told, a restart is not (N6).

use std::time::Instant;

use super::relay::Flow;
use super::*;
use crate::{BootId, Channel, Host};

/// How soon an operator is to know.
const SOON_ENOUGH: Duration = Duration::from_secs(5);

/// Above what it takes to report two processes with the short times of [`limits`].
const LONG_ENOUGH: Duration = Duration::from_millis(1500);

impl Node {
    fn boot(&self) -> BootId {
        self.network.boot_id()
    }

    /// The next alarm, passing over other events.
    async fn alarmed(&mut self) -> (PublicKey, [Host; 2]) {
        soon(async {
            loop {
                if let PeerEvent::Double { peer, hosts } =
                    self.inbox.peers.recv().await.expect("the network runs")
                {
                    return (peer, hosts);
                }
            }
        })
        .await
    }

    /// How many events come, or came, within `time`. Fails at once if they are more than `most`.
    async fn events(&mut self, time: Duration, most: usize) -> usize {
        let (end, mut count) = (tokio::time::Instant::now() + time, 0);
        while let Ok(event) = tokio::time::timeout_at(end, self.inbox.peers.recv()).await {
            count += 1;
            assert!(count <= most, "{event:?}, after {} others", count - 1);
        }
        count
    }

    /// Fails if an alarm comes, or came, within `time`.
    async fn stays_calm(&mut self, time: Duration) {
        let alarm = async {
            while let Some(event) = self.inbox.peers.recv().await {
                assert!(!matches!(event, PeerEvent::Double { .. }), "{event:?}");
            }
        };
        assert!(tokio::time::timeout(time, alarm).await.is_err(), "the network runs");
    }
}

fn boots(hosts: [Host; 2]) -> [BootId; 2] {
    hosts.map(|host| host.boot)
}

#[tokio::test]
async fn two_hosts_with_one_key_are_told_within_five_seconds_and_frames_of_both_arrive() {
    let limits = Limits::default();
    let (mut left, one) = pair(limits.clone()).await;
    let start = Instant::now();
    let two = Node::of(2, vec![left.as_member()], limits).await;
    let (peer, hosts) = left.alarmed().await;
    assert!(start.elapsed() < SOON_ENOUGH, "took {:?}", start.elapsed());
    assert_eq!((peer, boots(hosts)), (key(2), [one.boot(), two.boot()]));
    assert!(hosts.iter().all(|host| host.address.ip().is_loopback()));
    assert_eq!(left.status(key(2)).link.map(|link| link.boot), Some(two.boot()), "the newest is reached");
    for host in [&one, &two] {
        host.network.send(&key(1), Channel::Votes, host.boot().to_string().into_bytes()).unwrap();
        assert_eq!(receive(&mut left.inbox.votes).await, (key(2), host.boot().to_string().into_bytes()));
    }
}

#[tokio::test]
async fn two_hosts_that_start_together_are_told_within_five_seconds() {
    let limits = Limits::default();
    let mut left = Node::of(1, vec![member(2, None)], limits.clone()).await;
    let one = Node::of(2, vec![left.as_member()], limits.clone()).await;
    left.network.set_admitted(vec![one.as_member()]).unwrap();
    let start = Instant::now();
    let two = Node::of(2, vec![left.as_member()], limits).await;
    let (_, hosts) = left.alarmed().await;
    assert!(start.elapsed() < SOON_ENOUGH, "took {:?}", start.elapsed());
    assert!(boots(hosts).contains(&one.boot()) && boots(hosts).contains(&two.boot()));
}

#[tokio::test]
async fn two_hosts_with_one_key_are_told_once_and_keep_their_connections() {
    let (mut left, mut one) = pair(limits()).await;
    let mut two = Node::of(2, vec![left.as_member()], limits()).await;
    two.meets(key(1)).await;
    left.alarmed().await;
    // What crossed when the first two met has been closed by now.
    let links = [one.status(key(1)).link, two.status(key(1)).link].map(|link| link.map(|link| link.since));
    while left.inbox.peers.try_recv().is_ok() || one.inbox.peers.try_recv().is_ok() {}
    let [left_hears, one_hears, two_hears] =
        [&mut left, &mut one, &mut two].map(|node| node.events(LONG_ENOUGH, 0));
    tokio::join!(left_hears, one_hears, two_hears);
    let after = [one.status(key(1)).link, two.status(key(1)).link].map(|link| link.map(|link| link.since));
    assert!(links == after && links.iter().all(Option::is_some), "{links:?} became {after:?}");
}

#[tokio::test]
async fn three_hosts_with_one_key_do_not_storm_the_member_that_they_share() {
    let mut left = Node::of(1, vec![member(2, None)], limits()).await;
    let mut hosts = Vec::new();
    for _ in 0..3 {
        hosts.push(Node::of(2, vec![left.as_member()], limits()).await);
    }
    left.alarmed().await;
    let [one, two, three] = &mut hosts[..] else { unreachable!("three") };
    let [one, two, three] = [one, two, three].map(|host| host.events(4 * LONG_ENOUGH, 59));
    let (one, two, three) = tokio::join!(one, two, three);
    let events = one + two + three;
    // One of them is shut out at a time, and each comes back later and later.
    assert!(events < 60, "{events} comings and goings");
}

#[tokio::test]
async fn two_hosts_that_take_turns_are_told() {
    let mut left = Node::of(1, vec![member(2, None)], limits()).await;
    let mut hosts = [Node::of(2, vec![], limits()).await, Node::of(2, vec![], limits()).await];
    for turn in 0..4 {
        let host = &mut hosts[turn % 2];
        host.network.set_admitted(vec![left.as_member()]).unwrap();
        if turn == 2 {
            break;
        }
        host.meets(key(1)).await;
        left.meets(key(2)).await;
        // It shows life before it goes.
        until(|| left.status(key(2)).link.is_some_and(|link| link.round_trip.is_some())).await;
        left.stays_calm(LONG_ENOUGH).await;
        host.network.set_admitted(vec![]).unwrap();
        left.told(PeerEvent::Disconnected(key(2))).await;
    }
    assert_eq!(boots(left.alarmed().await.1), [hosts[0].boot(), hosts[1].boot()]);
}

#[tokio::test]
async fn a_member_that_restarts_in_order_again_and_again_is_never_told() {
    let (mut left, mut right) = pair(limits()).await;
    let mut seen = vec![right.boot()];
    for turn in 0..8 {
        let address = right.address();
        right.network.shutdown().await;
        right = Node::start(2, address, vec![left.as_member()], limits()).await;
        left.meets(key(2)).await;
        right.meets(key(1)).await;
        assert!(!seen.contains(&right.boot()));
        seen.push(right.boot());
        // Some turns are long, some are over before a ping is answered.
        left.stays_calm(LONG_ENOUGH * u32::from(turn % 3 == 0)).await;
    }
    left.stays_calm(LONG_ENOUGH).await;
    assert_well(&mut left, &mut right).await;
}

#[tokio::test]
async fn a_killed_member_whose_last_words_come_late_is_reached_at_once_and_never_told() {
    let mut left = Node::of(1, vec![member(2, None)], limits()).await;
    let mut relays = Vec::new();
    for turn in 0..6 {
        let relay = Relay::to(left.address()).await;
        let at_relay = vec![member(1, Some(relay.address))];
        let mut right = Node::of(2, at_relay, limits()).await;
        right.meets(key(1)).await;
        // However alive the connections of those before it look.
        until(|| left.status(key(2)).link.is_some_and(|link| link.boot == right.boot())).await;
        assert_well(&mut left, &mut right).await;
        if turn % 2 == 0 {
            left.stays_calm(Duration::from_millis(700)).await;
        }
        // Pings get to it, its answers stay on the way. Then it is gone without a goodbye.
        relay.there.send_replace(Flow::Held);
        for _ in 0..10 {
            right.network.send(&key(1), Channel::Votes, *b"late").unwrap();
        }
        for _ in 0..2 {
            let before = relay.came_back();
            // On a busy machine it may have been given up for its silence before.
            let is_gone = || left.status(key(2)).link.is_none_or(|link| link.boot != right.boot());
            until(|| relay.came_back() > before || is_gone()).await;
        }
        relay.there.send_replace(Flow::Cut);
        right.network.shutdown().await;
        relays.push(relay);
    }
    let mut right = Node::of(2, vec![left.as_member()], limits()).await;
    right.meets(key(1)).await;
    left.stays_calm(LONG_ENOUGH).await;
    for relay in relays.iter().rev() {
        relay.there.send_replace(Flow::LastWords);
        left.stays_calm(Duration::from_millis(300)).await;
    }
    left.stays_calm(LONG_ENOUGH).await;
    while left.inbox.votes.try_recv().is_ok() {}
    assert_well(&mut left, &mut right).await;
}

#[tokio::test]
async fn a_caller_with_the_nodes_own_key_is_refused() {
    let (mut left, mut right) = pair(limits()).await;
    // It takes the node's address for that of member 3.
    let copy = Node::of(1, vec![member(3, Some(left.address()))], limits()).await;
    until(|| left.network.refused_connections() >= 2).await;
    assert_eq!(copy.status(key(3)).link, None);
    assert_well(&mut left, &mut right).await;
}

//! Real sockets on 127.0.0.1. No test sleeps for a result: each waits for a condition, for at most [`PATIENCE`].

mod admission;
mod delivery;
mod doubles;
mod hostile;
mod links;
mod relay;
mod requests;

use std::net::SocketAddr;
use std::time::Duration;

use genesis::{Digest, PublicKey, SecretKey};
use tokio::sync::mpsc;

use self::relay::Relay;
use crate::{Config, Inbox, Incoming, Limits, Member, Network, PeerEvent, PeerStatus, Role};

/// Far above what any test needs on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

const CHAIN: Digest = Digest::from_bytes([7; 32]);

/// Waits for `future`, but not for ever.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it should have happened by now")
}

/// Waits until `condition` holds.
async fn until(condition: impl Fn() -> bool) {
    soon(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32])
}

fn key(seed: u8) -> PublicKey {
    secret(seed).public()
}

fn member(seed: u8, address: Option<SocketAddr>) -> Member {
    Member { key: key(seed), role: Role::Validator, address: address.map(|address| address.to_string()) }
}

/// Short times, so that what is to time out does.
fn limits() -> Limits {
    Limits {
        handshake_timeout: Duration::from_millis(500),
        ping_interval: Duration::from_millis(100),
        request_timeout: Duration::from_millis(500),
        ..Limits::default()
    }
}

struct Node {
    seed: u8,
    network: Network,
    inbox: Inbox,
}

impl Node {
    async fn start(seed: u8, listen: SocketAddr, members: Vec<Member>, limits: Limits) -> Self {
        let config = Config { key: secret(seed), chain: CHAIN, listen, members, limits };
        let (network, inbox) = Network::start(config).await.expect("the node starts");
        Self { seed, network, inbox }
    }

    /// A node on a free port that admits `members`.
    async fn of(seed: u8, members: Vec<Member>, limits: Limits) -> Self {
        Self::start(seed, "127.0.0.1:0".parse().unwrap(), members, limits).await
    }

    fn key(&self) -> PublicKey {
        key(self.seed)
    }

    fn address(&self) -> SocketAddr {
        self.network.local_address()
    }

    fn as_member(&self) -> Member {
        member(self.seed, Some(self.address()))
    }

    /// Waits until `peer` is connected, passing over other events.
    async fn meets(&mut self, peer: PublicKey) {
        self.told(PeerEvent::Connected(peer)).await;
    }

    async fn told(&mut self, event: PeerEvent) {
        soon(async { while self.inbox.peers.recv().await.expect("the network runs") != event {} }).await;
    }

    fn status(&self, peer: PublicKey) -> PeerStatus {
        self.network.peers().into_iter().find(|status| status.key == peer).expect("the peer is admitted")
    }
}

/// Two nodes that dial each other, connected.
async fn pair(limits: Limits) -> (Node, Node) {
    let mut left = Node::of(1, vec![], limits.clone()).await;
    let mut right = Node::of(2, vec![left.as_member()], limits).await;
    left.network.set_admitted(vec![right.as_member()]).unwrap();
    left.meets(right.key()).await;
    right.meets(left.key()).await;
    (left, right)
}

async fn receive(inbox: &mut mpsc::Receiver<Incoming>) -> (PublicKey, Vec<u8>) {
    let Incoming { from, frame, .. } = soon(inbox.recv()).await.expect("the network runs");
    (from, frame)
}

/// Frames pass both ways between `left` and `right`: nothing that happened elsewhere has hurt them.
async fn assert_well(left: &mut Node, right: &mut Node) {
    left.network.send(&right.key(), crate::Channel::Votes, *b"ping").unwrap();
    assert_eq!(receive(&mut right.inbox.votes).await, (left.key(), b"ping".to_vec()));
    right.network.send(&left.key(), crate::Channel::Votes, *b"pong").unwrap();
    assert_eq!(receive(&mut left.inbox.votes).await, (right.key(), b"pong".to_vec()));
}

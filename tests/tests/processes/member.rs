//! A hostile member: it holds a validator's network key, is let in, and says what it likes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use client::api;
use client::wallet::{self, Terms};
use client::{KeyFile, Role};
use consensus::Message;
use consensus::evidence::{Evidence, Statement};
use consensus::message::{Context, Kind, VoteKind};
use genesis::encoding::encode;
use genesis::{Digest, Epoch, Genesis, Height, PublicKey, SecretKey, ValidatorIndex, View};
use ledger::Batch;
use p2p::{Channel, Inbox, Limits, Member, Network};
use tests::harness::{Cluster, PATIENCE, eventually, get, memory_kib};
use tests::simulation::forge;

/// How much a node may grow while it is abused.
const MAX_GROWTH_KIB: u64 = 128 << 10;

/// Validator 3, played by the test.
struct Hostile {
    genesis: Genesis,
    key: PublicKey,
    network: Network,
    others: Vec<PublicKey>,
    _inbox: Inbox,
}

impl Hostile {
    /// Takes the place of node 3, which is stopped, and waits until the others let it in.
    async fn join(cluster: &mut Cluster) -> Self {
        cluster.stop(3);
        let home = cluster.home(3);
        let text = std::fs::read_to_string(home.join("genesis.toml")).expect("a genesis document");
        let genesis = Genesis::parse(&text).expect("a genesis document");
        let path: PathBuf = home.join("keys/network.json");
        let key = KeyFile::read_for(&path, Role::Network).expect("a key");
        let public = key.public();
        let validators = genesis.validators().iter().filter(|(index, _)| index.0 != 3);
        let members: Vec<Member> = validators
            .map(|(_, validator)| Member {
                key: validator.network_key,
                role: p2p::Role::Validator,
                address: Some(validator.address.clone()),
            })
            .collect();
        let others = members.iter().map(|member| member.key).collect();
        let listen: SocketAddr = ([127, 0, 0, 1], cluster.ports(3)[0]).into();
        let config = p2p::Config { key, chain: genesis.chain(), listen, members, limits: Limits::default() };
        let (network, inbox) = Network::start(config).await.expect("a network");
        eventually("the others let the member in", async || {
            network.peers().iter().all(|peer| peer.link.is_some())
        })
        .await;
        Self { genesis, key: public, network, others, _inbox: inbox }
    }

    fn say(&self, channel: Channel, frame: &[u8]) {
        for other in &self.others {
            // A queue that is full is as good: the member says all it can.
            let _ = self.network.send(other, channel, frame.to_vec());
        }
    }

    /// A batch by validator 3 with one good registration.
    fn batch(&self, sequence: u64, expires_at: Height) -> Vec<u8> {
        let terms = Terms {
            network: self.genesis.network().to_owned(),
            chain: self.genesis.chain(),
            expires_at: Height(1_000),
        };
        let (_, transaction) = wallet::registration(&terms, &SecretKey::generate());
        Batch { author: self.key, sequence, expires_at, transactions: vec![transaction] }.encode()
    }
}

#[tokio::test]
async fn batches_that_no_block_may_name_do_not_stop_the_chain() {
    let mut cluster = Cluster::start(4).await;
    cluster.register(0).await;
    let hostile = Hostile::join(&mut cluster).await;
    let tip = cluster.client(0).status().await.expect("status").height;
    let most = hostile.genesis.parameters().max_batch_lifetime;
    let edges = [tip, tip.next(), tip.plus(2), tip.plus(most - 1), tip.plus(most), tip.plus(most + 2)];
    let far = [tip.plus(most * 3 / 2), tip.plus(2 * most), Height(u64::MAX), Height::ZERO];
    for (sequence, expires_at) in (0..).zip(edges.into_iter().chain(far)) {
        hostile.say(Channel::Batches, &hostile.batch(sequence, expires_at));
    }
    for turn in 0..20 {
        cluster.register(turn % 3).await;
    }
    // Views fail only for validator 3, which leads one in four and does not.
    let status = cluster.client(0).status().await.expect("status");
    assert!(status.view.0 <= 2 * status.height.0 + 10, "view {} at height {}", status.view, status.height);
}

#[tokio::test]
async fn a_member_that_speaks_garbage_is_refused_and_the_others_go_on() {
    let mut cluster = Cluster::start(4).await;
    cluster.register(0).await;
    let before = memory_kib(cluster.pid(0), "VmRSS").expect("a process");
    let hostile = Hostile::join(&mut cluster).await;
    let noise: Vec<u8> =
        (0..60_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    let mut sequence = 0;
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        for frame in noise.chunks(997) {
            hostile.say(Channel::Votes, frame);
            hostile.say(Channel::Batches, frame);
        }
        // A good batch, cut, with a byte changed, and with bytes behind it.
        let good = hostile.batch(sequence, Height(500));
        hostile.say(Channel::Batches, &good[..good.len() / 2]);
        let mut bad = good.clone();
        let last = bad.len() - 1;
        bad[last] ^= 1;
        hostile.say(Channel::Batches, &bad);
        bad[last] ^= 1;
        bad.push(0);
        hostile.say(Channel::Batches, &bad);
        // Talk of batches that do not exist: `Gossip::Held`.
        let unseen: Vec<[u8; 32]> = (0..1_024_u64)
            .map(|number| {
                let mut digest = [7; 32];
                digest[..8].copy_from_slice(&(sequence * 1_024 + number).to_le_bytes());
                digest
            })
            .collect();
        hostile.say(Channel::Votes, &encode(&(1_u32, unseen)));
        sequence += 1;
        // A 4 GiB answer is asked for, and nothing: requests that are none.
        let _ = hostile.network.request(&hostile.others[0], noise[..500].to_vec()).await;
    }
    for turn in 0..6 {
        cluster.register(turn % 3).await;
    }
    for node in 0..3 {
        assert!(cluster.is_alive(node));
    }
    let page = get(cluster.ports(0)[2], "/metrics").expect("metrics");
    let refused = page.lines().find(|line| line.starts_with("realdid_consensus_messages_refused_total"));
    assert!(refused.is_some_and(|line| !line.ends_with(" 0")), "{refused:?}");
    let after = memory_kib(cluster.pid(0), "VmRSS").expect("a process");
    assert!(after < before + MAX_GROWTH_KIB, "the node grew from {before} to {after} KiB");
    let log = std::fs::metadata(cluster.log(0)).expect("a log").len();
    assert!(log < 4 << 20, "a log of {log} bytes");

    // The true validator returns and is welcome.
    hostile.network.shutdown().await;
    cluster.start_node(3);
    cluster.ready(3).await;
    let (_, id) = cluster.submit(3).await.expect("submitted");
    cluster.client(3).wait(&id, PATIENCE).await.expect("a receipt");
}

/// Validator 3, which is stopped, prepares two blocks in one view. What its signatures are bound to, the view, and when it did.
pub(crate) async fn contradict(cluster: &mut Cluster) -> (Context, View, Instant) {
    let hostile = Hostile::join(cluster).await;
    let path = cluster.home(3).join("keys/consensus.json");
    let secret = KeyFile::read_for(&path, Role::Consensus).expect("a key");
    let context = Context {
        chain: hostile.genesis.chain(),
        epoch: Epoch::ZERO,
        validators: hostile.genesis.validators().clone(),
    };
    let view = cluster.client(0).status().await.expect("status").view.next();
    let begun = Instant::now();
    for digest in [Digest::from_bytes([1; 32]), Digest::from_bytes([2; 32])] {
        let vote = forge::vote(&context, (ValidatorIndex(3), &secret), VoteKind::Prepare, view, digest);
        // `Gossip::Consensus`.
        hostile.say(Channel::Votes, &encode(&(0_u32, context.epoch, Message::Vote(vote))));
    }
    for node in 0..3 {
        eventually(&format!("node {node} has evidence"), async || !cluster.evidence(node).is_empty()).await;
    }
    (context, view, begun)
}

#[tokio::test]
async fn a_member_that_prepares_two_blocks_in_one_view_is_shown_with_both_signatures_within_seconds() {
    let mut cluster = Cluster::start(4).await;
    cluster.register(0).await;
    cluster.assert_no_evidence(0..3);
    let (context, view, begun) = contradict(&mut cluster).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "after {:?}", begun.elapsed());
    for node in 0..3 {
        let [shown] = <[_; 1]>::try_from(cluster.evidence(node)).expect("one piece of evidence");
        let shown: api::Evidence = serde_json::from_value(shown).expect("evidence");
        assert_eq!(shown.name.as_deref(), Some("node3"));
        let said = |statement: api::Statement| {
            assert_eq!((statement.kind.as_ref(), statement.view), ("prepare", view));
            let api::Statement { view, digest, signature, .. } = statement;
            Statement { kind: Kind::Prepare, view, digest, signature }
        };
        let (epoch, validator) = (shown.epoch, shown.validator);
        let evidence = Evidence { epoch, validator, first: said(shown.first), second: said(shown.second) };
        evidence.verify(&context).expect("both signatures are the validator's");
    }
    cluster.register(1).await;
}

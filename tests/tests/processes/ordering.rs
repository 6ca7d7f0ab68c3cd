//! Nodes that only order: what `scripts/bench --ordering` measures is one chain of all that was sent.

use std::collections::BTreeSet;

use client::RpcError;
use client::api::code;
use genesis::{Genesis, Height};
use ledger::Store;
use node::opaque::{Fate, HEADER_BYTES};
use tests::bench::feed;
use tests::harness::{Cluster, eventually};

const ITEM_BYTES: usize = 512;
const EACH: u64 = 1_500;
const CHUNK: u64 = 50;

/// The item that is the `number`th of those sent to `node`.
fn item(node: u64, number: u64) -> [u8; ITEM_BYTES] {
    let mut item = [number as u8; ITEM_BYTES];
    item[..8].copy_from_slice(&node.to_le_bytes());
    item[8..16].copy_from_slice(&number.to_le_bytes());
    item
}

/// Sends a node all of its items, and waits until each is final.
async fn feed(port: u16, node: u64) {
    let (mut sender, mut answers) =
        feed::connect(port, ITEM_BYTES as u32).await.expect("a node takes clients");
    for first in (0..EACH).step_by(CHUNK as usize) {
        let items: Vec<u8> = (first..first + CHUNK).flat_map(|number| item(node, number)).collect();
        sender.send(CHUNK as u32, &items).await.expect("sent");
    }
    let mut open: BTreeSet<u64> = (0..EACH).collect();
    while !open.is_empty() {
        let answer = answers.next().await.expect("an answer for each chunk");
        assert_eq!(answer.fate, Fate::Final, "{answer:?}");
        for number in answer.first..answer.first + u64::from(answer.count) {
            assert!(open.remove(&number), "item {number} is final twice");
        }
    }
}

/// The blocks of a node that does not run: each its digest and its items, in order.
fn chain(cluster: &Cluster, node: usize) -> Vec<(genesis::Digest, Vec<Vec<u8>>)> {
    let document =
        std::fs::read_to_string(cluster.home(node).join("genesis.toml")).expect("a genesis document");
    let genesis = Genesis::parse(&document).expect("a genesis");
    let store = Store::open(&cluster.data(node).join("store"), &genesis).expect("a ledger");
    let mut chain = Vec::new();
    let mut height = Height(1);
    while let Some(block) = store.block(height).expect("a block can be read") {
        assert!(!block.proof.is_empty(), "block {height} proves nothing");
        let batches = block.batches.iter().map(|batch| {
            // Its bytes are checked against its digest here.
            store.batch(batch).expect("a batch can be read").expect("a final block's batch is kept")
        });
        let items = batches.flat_map(|batch| {
            let (items, rest) = batch[HEADER_BYTES..].as_chunks::<ITEM_BYTES>();
            assert!(rest.is_empty(), "a batch of block {height} holds a part of an item");
            items.iter().map(|item| item.to_vec()).collect::<Vec<_>>()
        });
        chain.push((block.digest, items.collect()));
        height = height.next();
    }
    chain
}

#[tokio::test(flavor = "multi_thread")]
async fn opaque_items_of_four_validators_are_in_one_chain_that_all_have_each_once() {
    let mut cluster = Cluster::prepare(4);
    cluster.order_only();
    cluster.start_all_ready().await;
    let mut clients = tokio::task::JoinSet::new();
    for node in 0..4 {
        clients.spawn(feed(cluster.items_port(node), node as u64));
    }
    while let Some(fed) = clients.join_next().await {
        fed.expect("each item is final");
    }
    let nodes: Vec<_> = (0..4).map(|node| cluster.client(node)).collect();
    eventually("all validators are at one block", async || {
        let mut digests = BTreeSet::new();
        for node in &nodes {
            digests.extend(node.status().await.ok().map(|status| status.digest));
        }
        digests.len() == 1
    })
    .await;
    let error = cluster.submit(0).await.expect_err("a node that only orders takes no transactions");
    assert!(matches!(&error, RpcError::Call { error, .. } if error.code == code::BUSY), "{error}");
    for node in 0..4 {
        assert!(cluster.stop(node).success(), "node {node}");
    }
    let chains: Vec<_> = (0..4).map(|node| chain(&cluster, node)).collect();
    for (node, other) in chains.iter().enumerate() {
        assert!(*other == chains[0], "node {node} has another chain than node 0");
    }
    let mut ordered: Vec<_> = chains[0].iter().flat_map(|(_, items)| items.clone()).collect();
    let mut sent: Vec<_> =
        (0..4).flat_map(|node| (0..EACH).map(move |number| item(node, number).to_vec())).collect();
    assert_eq!(ordered.len(), sent.len());
    ordered.sort_unstable();
    sent.sort_unstable();
    assert!(ordered == sent, "what was ordered is not what was sent");
}

//! Frames between members that behave.

use std::sync::Arc;

use super::*;
use crate::channel::Lane;
use crate::{Channel, NotSent};
use libp2p::swarm::ConnectionId;

#[tokio::test]
async fn frames_arrive_in_order_on_both_channels() {
    let (left, mut right) = pair(limits()).await;
    let sizes = [0, 1, 100, 20_000, 300_000];
    for number in 0..500_u32 {
        for channel in Channel::ALL {
            let mut frame = vec![0; sizes[number as usize % sizes.len()]];
            frame.extend(number.to_le_bytes());
            while left.network.send(&right.key(), channel, frame.clone()) == Err(NotSent::QueueFull) {
                tokio::task::yield_now().await;
            }
        }
        if number % 100 == 99 {
            for number in number - 99..=number {
                for inbox in [&mut right.inbox.votes, &mut right.inbox.batches] {
                    let (from, frame) = receive(inbox).await;
                    assert_eq!(from, left.key());
                    assert_eq!(frame.len(), sizes[number as usize % sizes.len()] + 4);
                    assert_eq!(frame[frame.len() - 4..], number.to_le_bytes());
                }
            }
        }
    }
    let (sent, received) = (left.status(right.key()).batches, right.status(left.key()).batches);
    assert_eq!((sent.sent_frames, sent.sent_bytes), (500, received.received_bytes));
}

#[tokio::test]
async fn a_frame_of_the_largest_size_passes_and_a_larger_one_is_refused() {
    let (left, mut right) = pair(limits()).await;
    let limit = limits().batches.frame_bytes as usize;
    left.network.send(&right.key(), Channel::Batches, vec![3; limit]).unwrap();
    assert_eq!(receive(&mut right.inbox.batches).await.1, vec![3; limit]);
    let larger = left.network.send(&right.key(), Channel::Batches, vec![3; limit + 1]);
    assert_eq!(larger, Err(NotSent::TooLarge));
    assert_eq!(left.status(right.key()).batches.drops.too_large, 1);
}

#[tokio::test]
async fn a_flood_of_batches_that_nobody_reads_fills_its_queue_and_holds_up_no_vote() {
    let (mut left, mut right) = pair(limits()).await;
    let frame: Arc<[u8]> = vec![1; 1 << 20].into();
    // Accepted until all of the queue, the sockets and the receiver's budget are full, and then refused.
    soon(async {
        let mut refusals = 0;
        while refusals < 200 {
            match left.network.send(&right.key(), Channel::Batches, Arc::clone(&frame)) {
                Ok(()) => refusals = 0,
                Err(error) => {
                    assert_eq!(error, NotSent::QueueFull);
                    refusals += 1;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
    })
    .await;
    for _ in 0..100 {
        assert_well(&mut left, &mut right).await;
    }
    let (sender, receiver) = (left.status(right.key()).batches, right.status(left.key()).batches);
    assert!(sender.queued_bytes <= limits().batches.queue_bytes && sender.drops.queue_full >= 200);
    // The budget, and the one frame that waits to be handed over once there is room.
    assert!(receiver.received_bytes <= u64::from(limits().batches.inbox_bytes) + (1 << 20));
    assert_eq!(receive(&mut right.inbox.batches).await.1.len(), 1 << 20);
}

#[tokio::test]
async fn a_flooding_peer_holds_no_more_than_its_share_of_the_inbox() {
    let mut limits = limits();
    limits.votes.inbox_frames = 16;
    let mut quiet = Node::of(1, vec![member(2, None), member(3, None)], limits.clone()).await;
    let mut loud = Node::of(2, vec![quiet.as_member()], limits.clone()).await;
    let mut calm = Node::of(3, vec![quiet.as_member()], limits).await;
    for node in [&mut loud, &mut calm] {
        node.meets(quiet.key()).await;
        quiet.meets(node.key()).await;
    }
    for _ in 0..1000 {
        loud.network.send(&quiet.key(), Channel::Votes, []).unwrap();
    }
    until(|| quiet.inbox.votes.len() == 16).await;
    calm.network.send(&quiet.key(), Channel::Votes, *b"calm").unwrap();
    until(|| quiet.inbox.votes.len() == 17).await;
    for _ in 0..17 {
        if receive(&mut quiet.inbox.votes).await.0 == calm.key() {
            return;
        }
    }
    panic!("the calm peer's frame is behind more than the loud one's share");
}

#[tokio::test]
async fn a_broadcast_reaches_each_connected_validator_and_no_observer() {
    let observer = Member { role: Role::Observer, ..member(3, None) };
    let mut sender = Node::of(1, vec![member(2, None), observer, member(4, None)], limits()).await;
    let mut validator = Node::of(2, vec![sender.as_member()], limits()).await;
    let observer = Node::of(3, vec![sender.as_member()], limits()).await;
    sender.meets(validator.key()).await;
    until(|| sender.status(observer.key()).link.is_some()).await;
    assert_eq!(sender.network.broadcast(Channel::Votes, *b"all"), 1);
    assert_eq!(receive(&mut validator.inbox.votes).await, (sender.key(), b"all".to_vec()));
    assert_eq!(sender.status(observer.key()).votes.sent_frames, 0);
    assert_eq!(sender.status(key(4)).votes.drops.not_connected, 1);
}

#[tokio::test]
async fn a_thread_without_a_runtime_can_send() {
    let (left, mut right) = pair(limits()).await;
    let (network, to) = (left.network.clone(), right.key());
    let sent = std::thread::spawn(move || network.send(&to, Channel::Votes, *b"from a thread"));
    assert_eq!(sent.join().unwrap(), Ok(()));
    assert_eq!(receive(&mut right.inbox.votes).await.1, b"from a thread");
}

#[test]
fn a_queue_is_bounded_in_frames_and_in_bytes_and_empty_without_a_route() {
    let limits = crate::ChannelLimits { queue_frames: 3, queue_bytes: 10, ..Limits::default().votes };
    let lane = Lane::new(limits);
    assert_eq!(lane.push([0; 1].into()), Err(NotSent::NotConnected));
    lane.route(Some(ConnectionId::new_unchecked(1)));
    for _ in 0..3 {
        assert_eq!(lane.push([0; 2].into()), Ok(()));
    }
    assert_eq!(lane.push([0; 2].into()), Err(NotSent::QueueFull));
    lane.route(None);
    assert_eq!(lane.traffic().queued_bytes, 0);
    assert_eq!(lane.traffic().drops.lost, 3);
    lane.route(Some(ConnectionId::new_unchecked(2)));
    assert_eq!(lane.push([0; 10].into()), Ok(()));
    assert_eq!(lane.push([0; 1].into()), Err(NotSent::QueueFull));
}

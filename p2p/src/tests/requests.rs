//! Requests and their answers.

use super::*;
use crate::RequestError;

#[tokio::test]
async fn a_request_gets_its_answer() {
    let (left, mut right) = pair(limits()).await;
    let to = key(2);
    let answer = vec![9; limits().response_bytes as usize];
    let serve = async {
        let request = soon(right.inbox.requests.recv()).await.unwrap();
        assert_eq!((request.from, request.bytes), (left.key(), b"question".to_vec()));
        request.reply.answer(answer.clone());
    };
    let (answered, ()) = tokio::join!(left.network.request(&to, b"question".to_vec()), serve);
    assert_eq!(answered, Ok(answer));
}

#[tokio::test]
async fn as_many_requests_as_allowed_are_served_at_a_time_both_ways() {
    let (left, right) = pair(limits()).await;
    let (left_key, right_key) = (left.key(), right.key());
    let mut askers = tokio::task::JoinSet::new();
    // Neither may end while the other still asks.
    let _running = [left.network.clone(), right.network.clone()];
    for (node, to) in [(left, right_key), (right, left_key)] {
        let Node { network, inbox: Inbox { mut requests, .. }, .. } = node;
        for asker in 0..limits().requests_in_flight {
            let network = network.clone();
            askers.spawn(async move {
                for number in 0..300_usize {
                    let bytes = vec![asker as u8; number];
                    assert_eq!(network.request(&to, bytes.clone()).await, Ok(bytes));
                }
            });
        }
        tokio::spawn(async move {
            while let Some(request) = requests.recv().await {
                request.reply.answer(request.bytes);
            }
        });
    }
    while let Some(asked) = soon(askers.join_next()).await {
        asked.unwrap();
    }
}

#[tokio::test]
async fn a_request_without_an_answer_times_out_and_frees_its_place() {
    let mut limits = limits();
    limits.requests_in_flight = 1;
    let (left, mut right) = pair(limits).await;
    let to = key(2);
    let first = left.network.request(&to, vec![1]);
    let second = async {
        let held = soon(right.inbox.requests.recv()).await.unwrap();
        assert_eq!(left.network.request(&to, vec![2]).await, Err(RequestError::Busy));
        held
    };
    let (first, held) = tokio::join!(first, second);
    assert_eq!(first, Err(RequestError::TimedOut));
    held.reply.answer(vec![1]);
    let serve = async { soon(right.inbox.requests.recv()).await.unwrap().reply.answer(vec![3]) };
    let third = async {
        // The place is free when the stream's task has seen that nobody waits.
        until(|| left.network.request_places(&to) == 1).await;
        left.network.request(&to, vec![3]).await
    };
    let (third, ()) = tokio::join!(third, serve);
    assert_eq!(third, Ok(vec![3]));
}

#[tokio::test]
async fn a_request_or_an_answer_that_is_too_large_is_refused() {
    let (left, mut right) = pair(limits()).await;
    let to = key(2);
    let limit = limits().request_bytes;
    let bytes = limit as usize + 1;
    let large = left.network.request(&to, vec![0; bytes]).await;
    assert_eq!(large, Err(RequestError::TooLarge { bytes, limit }));

    let too_much = vec![0; limits().response_bytes as usize + 1];
    let serve = async { soon(right.inbox.requests.recv()).await.unwrap().reply.answer(too_much) };
    let (answered, ()) = tokio::join!(left.network.request(&to, vec![1]), serve);
    assert_eq!(answered, Err(RequestError::Refused));
}

#[tokio::test]
async fn a_request_to_who_is_away_or_unknown_fails_at_once() {
    let node = Node::of(1, vec![member(2, None)], limits()).await;
    for seed in [2, 3] {
        assert_eq!(node.network.request(&key(seed), vec![]).await, Err(RequestError::NotConnected));
    }
}

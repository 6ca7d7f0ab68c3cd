use std::future::Future as _;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use client::wallet::{Terms, registration};
use genesis::{Genesis, Parameters, SecretKey, UnixMillis, Validator};
use ledger::Code;

use super::*;

fn network() -> Genesis {
    let key = |seed: u8| SecretKey::from_seed([seed; 32]).public();
    let validator = Validator {
        name: "node0".into(),
        consensus_key: key(1),
        network_key: key(2),
        governance_key: key(3),
        address: "127.0.0.1:26600".into(),
    };
    Genesis::new("test".into(), UnixMillis(1), Parameters::default(), vec![validator]).unwrap()
}

fn expiring(at: u64) -> CheckedTransaction {
    let terms = Terms { network: "test".into(), chain: network().chain(), expires_at: Height(at) };
    let (_, transaction) = registration(&terms, &SecretKey::from_seed([9; 32]));
    CheckedTransaction::check(transaction, &network()).unwrap()
}

fn receipt(transaction: &CheckedTransaction, height: u64) -> Receipt {
    let (id, expires_at) = (transaction.id(), transaction.transaction().expires_at);
    let (did, version) = (transaction.transaction().operation.did(), Some(ledger::Version::FIRST));
    Receipt {
        id,
        height: Height(height),
        expires_at,
        index: 0,
        code: Code::Applied,
        did,
        version,
        items: Vec::new(),
    }
}

fn mempool(max_bytes: usize) -> Arc<Mempool> {
    Arc::new(Mempool::new(max_bytes))
}

fn submit(mempool: &Arc<Mempool>, transaction: &CheckedTransaction) {
    let (room, busy) = mempool.reserve([transaction.length()]);
    assert_eq!(busy, None);
    room.admit(vec![transaction.clone()]);
}

fn batch(number: u8) -> Digest {
    Digest::from_bytes([number; 32])
}

/// What a call was told up to now.
fn told(waiting: &mut Waiting) -> Vec<(Digest, Ended)> {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(waiting.next()).poll(&mut context) {
        Poll::Ready(told) => told.expect("not closed"),
        Poll::Pending => Vec::new(),
    }
}

#[test]
fn who_waits_is_told_of_the_expiry_by_the_block_that_makes_it_certain() {
    let mempool = mempool(1 << 20);
    let (queued, sealed) = (expiring(5), expiring(5));
    submit(&mempool, &queued);
    mempool.adopt(batch(1), &[Arc::new(sealed.clone())]);
    let mut ends =
        [&queued, &sealed].map(|transaction| mempool.wait(vec![transaction.id()]).expect("room to wait"));
    mempool.executed(Height(4), &[], &[]);
    assert!(ends.iter_mut().all(|end| end.to_look_up().is_empty() && told(end).is_empty()));
    // The block that expires it holds its batch, too late for a receipt.
    mempool.executed(Height(5), &[batch(1)], &[]);
    for (mut end, transaction) in ends.into_iter().zip([&queued, &sealed]) {
        assert_eq!(told(&mut end), [(transaction.id(), Ended::Expired(Height(5)))]);
    }
    assert_eq!((mempool.expiry(&queued.id()), mempool.expiry(&sealed.id())), (Some(Height(5)), None));
}

#[test]
fn a_receipt_in_the_last_block_counts_and_not_the_expiry() {
    let mempool = mempool(1 << 20);
    let transaction = expiring(5);
    let mut end = mempool.wait(vec![transaction.id()]).expect("room to wait");
    submit(&mempool, &transaction);
    let receipt = receipt(&transaction, 5);
    mempool.executed(Height(5), &[], std::slice::from_ref(&receipt));
    assert_eq!(told(&mut end), [(transaction.id(), Ended::Ordered(receipt))]);
}

#[test]
fn a_call_that_waits_for_many_is_told_of_each_once_and_looks_up_what_may_have_ended_before() {
    let mempool = mempool(1 << 20);
    let [first, second, ended, unknown] = [50, 51, 52, 53].map(expiring);
    for transaction in [&first, &second, &ended] {
        submit(&mempool, transaction);
    }
    // It was ordered by another node's batch, and still stands in the queue here.
    mempool.executed(Height(1), &[], &[receipt(&ended, 1)]);
    let ids: Vec<_> = [&first, &second, &ended, &unknown].map(CheckedTransaction::id).into();
    let mut waiting = mempool.wait(ids).expect("room to wait");
    assert_eq!(waiting.to_look_up(), [ended.id(), unknown.id()]);
    mempool.executed(Height(2), &[], &[receipt(&second, 2)]);
    mempool.executed(Height(3), &[], &[receipt(&first, 3), receipt(&unknown, 3)]);
    let ids: Vec<_> = told(&mut waiting).into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, [second.id(), first.id(), unknown.id()]);
    assert_eq!(told(&mut waiting), []);
    // In a batch of this node's it would be refused as a repeat.
    assert_eq!((mempool.take(1 << 20, 9), mempool.load().transactions), (Vec::new(), 0));
}

#[test]
fn who_no_longer_waits_is_forgotten_at_once_and_as_many_may_wait_again() {
    let mempool = mempool(1 << 20);
    let id = |number: u32| Digest::of(genesis::Domain::Batch, &number.to_le_bytes());
    let ids: Vec<_> = (0..100_000).map(id).collect();
    let waiting = mempool.wait(ids.clone()).expect("room to wait");
    assert!(mempool.wait(vec![batch(1)]).is_none());
    drop(waiting);
    let mut waiting = mempool.wait(ids).expect("room again");
    mempool.close();
    let mut context = Context::from_waker(Waker::noop());
    assert_eq!(pin!(waiting.next()).poll(&mut context), Poll::Ready(None));
}

#[test]
fn what_a_batch_gives_back_is_queued_once_unless_another_holds_it_or_it_is_over() {
    let mempool = mempool(1 << 20);
    let [twice, over, late] = [90, 91, 10].map(|at| Arc::new(expiring(at)));
    mempool.adopt(batch(1), &[Arc::clone(&twice), Arc::clone(&over), Arc::clone(&late)]);
    mempool.adopt(batch(2), &[Arc::clone(&twice)]);
    mempool.executed(Height(2), &[], &[receipt(&over, 2)]);
    mempool.unsealed(&[batch(1)], Height(10));
    assert_eq!((mempool.take(1 << 20, 9), mempool.load().transactions), (Vec::new(), 1));
    mempool.unsealed(&[batch(2)], Height(10));
    assert_eq!(mempool.take(1 << 20, 9), std::slice::from_ref(&twice));
    mempool.sealed(batch(3), vec![twice]);
    mempool.executed(Height(11), &[batch(3)], &[]);
    assert_eq!((mempool.load().transactions, mempool.load().bytes), (0, 0));
}

#[test]
fn room_is_held_before_a_look_and_given_back_and_beyond_it_the_node_is_busy() {
    let transaction = expiring(50);
    let length = transaction.length();
    let mempool = mempool(3 * length);
    let (room, busy) = mempool.reserve([length; 5]);
    assert_eq!(busy, Some(Busy::Full { held: 3 * length, most: 3 * length }));
    assert_eq!(room.count(), 3);
    assert_eq!(mempool.reserve([length]).0.count(), 0);
    // Of the three one was good.
    room.admit(vec![transaction.clone()]);
    let (room, busy) = mempool.reserve([length, length]);
    assert_eq!((room.count(), busy), (2, None));
    drop(room);
    let (room, busy) = mempool.reserve([length, length]);
    assert_eq!((room.count(), busy), (2, None));
    // Submitting it again does no harm.
    room.admit(vec![transaction.clone(), transaction]);
    assert_eq!((mempool.load().transactions, mempool.load().bytes), (1, length));
}

#[test]
fn what_would_wait_too_long_is_refused_however_many_bytes_are_free_and_calm_lets_more_in() {
    let (mempool, start) = (mempool(1 << 30), Instant::now());
    mempool.lock().flow = Flow::new(start);
    let kib = |count: usize| mempool.reserve(vec![1 << 10; count]);
    let freed =
        |bytes, seconds| mempool.lock().flow.freed(bytes, start + std::time::Duration::from_secs(seconds));
    let (room, busy) = kib(4_096);
    assert!(matches!(busy, Some(Busy::Behind { most, .. }) if most == 1 << 20), "{busy:?}");
    assert_eq!(room.count(), 1_024);
    drop(room);
    // Somebody was refused: what was ordered in that second is what can be.
    freed(600 << 10, 1);
    assert_eq!(kib(2_000).0.count(), 1_200);
    freed(3 << 20, 2);
    assert_eq!(kib(4_096).1, None, "three a second, for two seconds");
    // A quiet second says nothing.
    freed(0, 3);
    assert_eq!(kib(4_096).1, None);
    let (room, busy) = kib(4_097);
    assert_eq!((room.count(), busy), (4_096, Some(Busy::Unchecked { count: 4_096 })));
    drop(room);
    // However slow it is, something may wait.
    freed(1, 100);
    assert_eq!(kib(4_096).0.count(), 512);
}

#[test]
fn what_is_here_waits_since_it_came_or_since_the_newest_block_and_nothing_waits_for_nothing() {
    let (mempool, transaction) = (mempool(1 << 20), expiring(9));
    let waits_since = || mempool.load().waits_since;
    mempool.executed(Height(1), &[], &[]);
    assert_eq!(waits_since(), None);
    submit(&mempool, &transaction);
    let came = waits_since().unwrap();
    // In a batch that nobody acknowledges it waits all the same.
    let taken = mempool.take(1 << 20, 9);
    mempool.sealed(batch(1), taken);
    assert_eq!(waits_since(), Some(came));
    mempool.executed(Height(2), &[], &[]);
    assert!(waits_since().unwrap() > came);
    mempool.executed(Height(3), &[batch(1)], &[receipt(&transaction, 3)]);
    assert_eq!(waits_since(), None);
}

//! P6 to P8 around checkpoints: who says what of results, to whom, and what of it survives.

use super::*;
use crate::checkpoint::Checkpoint;
use crate::replica::Executed;
use crate::replica::standing::Report;

use VoteKind::{Commit, Prepare};

fn checkpoint(block: &Block) -> Checkpoint {
    Checkpoint {
        epoch: Epoch::ZERO,
        height: block.height,
        block: block.digest(),
        time: block.time,
        state_root: item(100),
        receipts_root: item(101),
        configuration: item(102),
        pending: None,
    }
}

/// By the other three.
fn certified(checkpoint: &Checkpoint) -> CheckpointCertificate {
    let signatures = (1..4).map(|voter| {
        let voter = (ValidatorIndex(voter), &key(1, voter));
        let vote = context().checkpoint_vote(voter, checkpoint.clone());
        (vote.voter, vote.signature)
    });
    CheckpointCertificate { checkpoint: checkpoint.clone(), signatures: signatures.collect() }
}

/// A replica whose first block is final and not executed yet.
fn with_a_final_block() -> (Driven, Block) {
    let mut me = Driven::new();
    me.step(0, Input::Available(vec![item(1).into()]));
    let first = block(1, 1, genesis_parent(), &[item(1)]);
    me.hear_valid(1, &first);
    me.hear_two(2, Prepare, 1, first.digest());
    me.hear_two(3, Commit, 1, first.digest());
    assert_eq!(me.finalized.len(), 1);
    (me, first)
}

fn own_checkpoints(me: &Driven) -> usize {
    me.sent.iter().filter(|message| matches!(message, Message::Checkpoint(_))).count()
}

#[test]
fn p8_who_executes_after_the_result_was_certified_signs_it_once_all_the_same() {
    let (mut me, first) = with_a_final_block();
    let result = checkpoint(&first);
    me.hear(4, 1, Message::CheckpointCertificate(certified(&result)));
    assert_eq!(own_checkpoints(&me), 0, "nothing is signed before it is executed");
    me.step(5, Input::Executed(Executed { checkpoint: result, next: None }));
    assert_eq!(own_checkpoints(&me), 1, "that is what shows the others that it knows the block final");
    for tick in 1..20 {
        me.step(5 + tick * DELTA, Input::Tick);
    }
    assert_eq!(own_checkpoints(&me), 1, "it is certified, so it is not sent again");
}

#[test]
fn p8_a_late_checkpoint_is_answered_only_where_its_sender_says_it_again() {
    let (mut me, first) = with_a_final_block();
    let result = checkpoint(&first);
    me.step(4, Input::Executed(Executed { checkpoint: result.clone(), next: None }));
    let vote = |voter: u16| {
        Message::Checkpoint(
            context().checkpoint_vote((ValidatorIndex(voter), &key(1, voter)), result.clone()),
        )
    };
    me.hear(5, 1, vote(1));
    me.hear(6, 2, vote(2));
    assert_eq!(me.certified.len(), 1);
    let before = me.sent.len();
    me.hear(7, 3, vote(3));
    assert_eq!(me.sent.len(), before, "it was merely late");
    me.hear(8 + DELTA, 3, vote(3));
    let certificates = me.sent[before..].iter().filter(|it| matches!(it, Message::CheckpointCertificate(_)));
    assert_eq!(certificates.count(), 1, "it lacks the certificate");
}

/// The ledger keeps them without a sync. Without those that its blocks cite it could serve nobody who is behind.
#[test]
fn p7_certificates_from_the_records_are_given_back_to_the_ledger() {
    let first = block(1, 1, genesis_parent(), &[item(1)]);
    let certificate = certified(&checkpoint(&first));
    let records = vec![Record::Checkpoint(certificate.clone())];
    let again = Driven::start(Driven::config(), records, Tip::genesis(&founded(4)));
    assert_eq!(again.certified, [certificate]);
}

/// The ledger was deleted in the second epoch, and the records kept.
#[test]
fn p10_an_observer_whom_nobody_tells_anything_tells_nobody_anything() {
    let config = Config { secret: key(9, 9), ..Driven::config() };
    let mut observer = Driven::start(config, Vec::new(), Tip::genesis(&founded(4)));
    let first = block(1, 1, genesis_parent(), &[]);
    let finality = crate::checkpoint::Finality::Commit(certificate(Commit, 1, first.digest()));
    let finality = finality.verify(&context()).unwrap();
    let candidates = vec![first.candidate().clone()];
    observer.step(1, Input::Synced { candidates, finality, cited: None });
    assert_eq!(observer.finalized.len(), 1);
    observer.step(2, Input::Executed(Executed { checkpoint: checkpoint(&first), next: None }));
    observer.step(3, Input::Certified(certified(&checkpoint(&first)).verify(&context()).unwrap()));
    observer.sent.clear();
    for tick in 1..20 {
        observer.step(3 + tick * DELTA, Input::Tick);
    }
    assert!(observer.sent.is_empty(), "{:?}", observer.sent);
}

#[test]
fn p7_a_nonce_that_is_not_asked_any_more_keeps_no_timers_running() {
    let mut me = Driven::new();
    assert_eq!(me.replica.status().standing, Report::Voting);
    me.hear(10, 3, Message::Fetch(Fetch::Attestation(item(55))));
    assert!(me.replica.status().armed.is_some(), "the asker waits for the next views");
    let answers = me.sent.iter().filter(|message| matches!(message, Message::Attestation(_)));
    assert_eq!(answers.count(), 1);
    // It asks again, and so it waits still.
    me.hear(10 + 3 * DELTA, 3, Message::Fetch(Fetch::Attestation(item(55))));
    me.step(10 + 6 * DELTA, Input::Tick);
    assert!(me.replica.status().armed.is_some());
    me.step(10 + 8 * DELTA, Input::Tick);
    assert_eq!(me.replica.status().armed, None, "it was told by others");
}

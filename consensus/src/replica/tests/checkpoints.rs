//! P6: what is signed after execution, what it proves, and what a block may cite.

use super::*;
use crate::certificate::CertificateError;
use crate::checkpoint::Finality;
use crate::output::Halt;

use VoteKind::{Commit, Prepare, ViewChange};

/// A replica for which a first block is final, and what that block led to.
fn after_first() -> (Driven, Block, Checkpoint) {
    let mut me = Driven::new();
    let first = block(1, 1, genesis_parent(), &[item(1)]);
    me.hear_final(1, &first);
    let result = result_of(&first, None);
    (me, first, result)
}

/// A tip at `height`, whose block cites genesis.
fn tip_at(height: u64) -> Tip {
    let time = UnixMillis(1_000_000 + height);
    Tip {
        height: Height(height),
        view: View(height),
        digest: item(height),
        time,
        ..Tip::genesis(&founded(4))
    }
}

fn other_state(result: &Checkpoint) -> Checkpoint {
    Checkpoint { state_root: item(66), ..result.clone() }
}

#[test]
fn p6_a_checkpoint_is_signed_after_its_block_was_executed_and_never_before() {
    let (mut me, _, result) = after_first();
    me.hear(2, 1, signed_result(1, &result));
    me.step(2 + DELTA, Input::Tick);
    assert!(me.results().is_empty());
    me.execute(1_000, &result);
    assert_eq!(me.results(), [result]);
}

#[test]
fn p6_a_quorum_of_distinct_signers_certifies_a_checkpoint_and_repeats_do_not() {
    let (mut me, _, result) = after_first();
    me.execute(2, &result);
    for _ in 0..5 {
        me.hear(3, 1, signed_result(1, &result));
    }
    assert!(me.certified.is_empty());
    me.hear(4, 2, signed_result(2, &result));
    let signers: Vec<_> = me.certified[0].signatures.iter().map(|(signer, _)| signer.0).collect();
    assert_eq!(signers, [0, 1, 2]);
    assert!(me.certified[0].clone().verify(&context()).is_ok());
    assert_eq!(me.replica.status().certified, Height(1));
}

#[test]
fn p6_a_certificate_counts_distinct_signers_of_one_statement_of_its_epoch() {
    let (_, _, result) = after_first();
    let good = certified(&result);
    assert!(good.clone().verify(&context()).is_ok());
    let error = |change: &dyn Fn(&mut CheckpointCertificate)| {
        let mut bad = good.clone();
        change(&mut bad);
        bad.verify(&context()).unwrap_err()
    };
    assert!(matches!(error(&|bad| bad.signatures.truncate(2)), CertificateError::Count { .. }));
    assert_eq!(error(&|bad| bad.signatures[1] = bad.signatures[0]), CertificateError::Order);
    assert_eq!(error(&|bad| bad.checkpoint.state_root = item(5)), CertificateError::Signature);
    assert_eq!(error(&|bad| bad.checkpoint.pending = Some(item(5))), CertificateError::Signature);
    assert_eq!(error(&|bad| bad.checkpoint.epoch = Epoch(1)), CertificateError::Impossible);
    assert_eq!(error(&|bad| bad.checkpoint.height = Height::ZERO), CertificateError::Impossible);
    assert!(good.verify(&context_of(1)).is_err());
}

#[test]
fn p6_a_leader_cites_the_newest_certified_checkpoint() {
    let (mut me, _, result) = after_first();
    me.hear_certified(2, &result);
    me.step(3, Input::Available(vec![item(2).into()]));
    me.hear(4, 1, failed(2));
    me.hear(4, 1, failed(3));
    assert_eq!(me.proposed()[0].cites, result.cited());
    let recorded = Record::Checkpoint(certified(&result));
    assert!(me.records.contains(&recorded), "what the proposal rests on is durable before it is sent");
}

#[test]
fn p6_a_block_that_cites_an_older_checkpoint_than_its_parent_is_rejected_at_once() {
    let (mut me, first, result) = after_first();
    me.hear_certified(2, &result);
    let second = citing(&block(2, 2, parent(&first), &[]), &result);
    me.hear_final(3, &second);
    let second_result = result_of(&second, None);
    me.hear_certified(3, &second_result);
    let third = citing(&block(3, 3, parent(&second), &[]), &second_result);
    me.hear_final(4, &third);
    // The first checkpoint's certificate is forgotten.
    assert!(me.replica.results.certificate(Height(1)).is_none());
    me.hear(5, 1, failed(4));
    me.hear_valid(5, &citing(&block(5, 4, parent(&third), &[]), &result));
    assert!(me.voted(Prepare, 5).is_empty());
    assert_eq!(me.voted(ViewChange, 5).len(), 1);
    assert_eq!(me.fetched(&Fetch::Checkpoint(Height(1))), 0, "it is not waited for");
}

#[test]
fn p6_a_block_that_cites_what_is_not_here_waits_while_it_is_asked_for() {
    let (mut me, first, result) = after_first();
    let second = citing(&block(2, 2, parent(&first), &[]), &result);
    let asked = Fetch::Checkpoint(Height(1));
    me.hear(2, 2, proposal(&second));
    assert!(me.voted(Prepare, 2).is_empty() && me.voted(ViewChange, 2).is_empty());
    assert_eq!(me.fetched(&asked), 1);
    me.step(2 + DELTA, Input::Tick);
    assert_eq!(me.fetched(&asked), 2, "again, in case that the question was lost");
    me.hear_certified(3 + DELTA, &result);
    assert_eq!(me.voted(Prepare, 2), [second.digest()]);
    assert!(me.records.contains(&Record::Checkpoint(certified(&result))));
    (2..9).for_each(|round| me.step(round * DELTA, Input::Tick));
    assert_eq!(me.fetched(&asked), 2, "and no more once it came");
}

#[test]
fn p6_a_block_that_cites_another_checkpoint_than_the_certified_one_or_its_own_height_is_rejected() {
    let (_, first, result) = after_first();
    let plain = block(2, 2, parent(&first), &[]);
    let own_height = result_of(&plain, None);
    for cited in [other_state(&result), own_height] {
        let (mut me, ..) = after_first();
        me.hear_certified(2, &result);
        me.hear_valid(3, &citing(&plain, &cited));
        assert!(me.voted(Prepare, 2).is_empty());
        assert_eq!(me.voted(ViewChange, 2).len(), 1, "{cited:?}");
    }
}

#[test]
fn p6_every_checkpoint_that_a_prepared_block_rests_on_is_recorded() {
    let (mut me, first, result) = after_first();
    let second = block(2, 2, parent(&first), &[]);
    me.hear_final(2, &second);
    let second_result = result_of(&second, None);
    me.hear_certified(3, &result);
    me.hear_certified(3, &second_result);
    // A view that fails rested on the newer one.
    me.hear_valid(4, &citing(&block(3, 3, parent(&second), &[]), &second_result));
    me.hear(5, 1, failed(3));
    me.hear(5, 1, failed(4));
    me.hear_valid(5, &citing(&block(5, 3, parent(&second), &[]), &result));
    assert_eq!(me.voted(Prepare, 5).len(), 1);
    for held in [&result, &second_result] {
        assert!(me.records.contains(&Record::Checkpoint(certified(held))), "{held:?}");
    }
}

#[test]
fn p6_a_block_more_than_k_heights_past_what_it_cites_is_empty_or_rejected() {
    let prepared = |height: u64, payload: &[Digest]| {
        let mut me = Driven::from(Vec::new(), tip_at(height - 1));
        let on_tip = Parent { view: View(height - 1), digest: item(height - 1) };
        me.hear_valid(1, &block(height, height, on_tip, payload));
        (me.voted(Prepare, height).len(), me.voted(ViewChange, height).len())
    };
    // K is 64.
    assert_eq!(prepared(62, &[item(1)]), (1, 0));
    assert_eq!(prepared(65, &[item(1)]), (0, 1));
    assert_eq!(prepared(65, &[]), (1, 0));
}

#[test]
fn p6_what_no_block_may_carry_is_not_proposed_and_arms_no_timer() {
    let mut me = Driven::from(Vec::new(), tip_at(67));
    me.step(1, Input::Available(vec![item(1).into()]));
    assert_eq!(me.replica.status().leader, ValidatorIndex(ME));
    assert!(me.proposed().is_empty() && me.replica.status().armed.is_none());
    // A newer checkpoint lets the next block carry it.
    let old = block(10, 10, genesis_parent(), &[]);
    me.hear_certified(2, &result_of(&old, None));
    assert_eq!(me.proposed()[0].payload, [item(1)]);
    assert!(me.replica.status().armed.is_some());
}

#[test]
fn p6_f_plus_one_other_results_of_the_same_block_stop_a_replica_and_f_do_not() {
    let (mut me, _, result) = after_first();
    let other = other_state(&result);
    let elsewhere = Checkpoint { block: item(3), ..result.clone() };
    me.execute(2, &result);
    me.hear(3, 1, signed_result(1, &other));
    me.hear(3, 2, signed_result(2, &elsewhere));
    assert!(me.halted.is_none(), "one of them is about another block");
    me.hear(4, 3, signed_result(3, &other));
    let Some(why @ Halt::Diverged { signers: 2, .. }) = &me.halted else { panic!("{:?}", me.halted) };
    let why = why.to_string();
    assert!(
        why.contains(&result.state_root.to_string()) && why.contains(&other.state_root.to_string()),
        "{why}"
    );
    let before = me.sent.len();
    me.hear_valid(5, &block(2, 2, genesis_parent(), &[]));
    me.step(60_000, Input::Tick);
    assert_eq!(me.sent.len(), before, "it signs nothing more");
    assert_eq!(me.replica.deadline(at(60_000)), None);
}

#[test]
fn p6_a_replica_that_stops_tells_how_many_signed_the_value_that_it_shows() {
    let (mut me, _, result) = after_first();
    me.execute(2, &result);
    me.hear(3, 1, signed_result(1, &other_state(&result)));
    me.hear(3, 2, signed_result(2, &Checkpoint { receipts_root: item(4), ..result.clone() }));
    assert!(matches!(me.halted, Some(Halt::Diverged { signers: 1, .. })), "{:?}", me.halted);
}

#[test]
fn p6_a_result_that_others_contradict_is_never_signed() {
    let (mut me, _, result) = after_first();
    for voter in [1, 2] {
        me.hear(2, voter, signed_result(voter, &other_state(&result)));
    }
    assert!(me.halted.is_none());
    me.execute(3, &result);
    assert!(matches!(me.halted, Some(Halt::Diverged { .. })));
    assert!(me.results().is_empty());
}

#[test]
fn p6_a_certificate_other_than_the_own_result_stops_a_replica() {
    for certificate_first in [false, true] {
        let (mut me, _, result) = after_first();
        let other = other_state(&result);
        if certificate_first {
            me.hear_certified(2, &other);
            me.execute(3, &result);
        } else {
            me.execute(2, &result);
            me.hear_certified(3, &other);
        }
        assert!(matches!(me.halted, Some(Halt::Diverged { signers: 3, .. })), "{:?}", me.halted);
    }
    let (mut me, _, result) = after_first();
    me.execute(2, &result);
    me.hear_certified(3, &Checkpoint { block: item(3), ..result });
    assert!(matches!(me.halted, Some(Halt::OtherBlock { .. })), "{:?}", me.halted);
}

#[test]
fn p6_a_checkpoints_certificate_makes_a_block_final_that_is_here() {
    let mut me = Driven::new();
    let first = block(1, 1, genesis_parent(), &[item(1)]);
    me.hear_valid(1, &first);
    me.hear_two(2, Prepare, 1, first.digest());
    me.hear_certified(3, &result_of(&first, None));
    assert_eq!(me.finalized.iter().map(Block::digest).collect::<Vec<_>>(), [first.digest()]);
    // After a crash before it was executed too.
    let again = Driven::from(me.records, Tip::genesis(&founded(4)));
    assert_eq!(again.finalized.len(), 1);
}

#[test]
fn p6_a_checkpoint_is_sent_again_until_it_is_certified() {
    let (mut me, _, result) = after_first();
    me.execute(2, &result);
    let sent = |me: &Driven| me.sent.iter().filter(|sent| matches!(sent, Message::Checkpoint(_))).count();
    for round in 1..=3 {
        me.step(2 + round * 2 * DELTA, Input::Tick);
        assert_eq!(sent(&me), 1 + round as usize);
    }
    me.hear_certified(3_000, &result);
    (0..5).for_each(|round| me.step(4_000 + round * DELTA, Input::Tick));
    assert_eq!(sent(&me), 4);
}

#[test]
fn p6_who_sends_a_settled_checkpoint_again_is_answered_with_its_certificate() {
    let (mut me, _, result) = after_first();
    me.execute(2, &result);
    for voter in [1, 2] {
        me.hear(3, voter, signed_result(voter, &result));
    }
    let before = me.sent.len();
    me.hear(4, 3, signed_result(3, &result));
    assert_eq!(me.sent.len(), before, "it came late, which is usual");
    me.hear(4 + DELTA, 3, signed_result(3, &result));
    let certificate = Message::CheckpointCertificate(me.certified[0].clone());
    assert!(me.sent[before..].contains(&certificate));
}

#[test]
fn p6_checkpoints_far_above_the_tip_are_not_kept() {
    let (mut me, first, _) = after_first();
    for height in (100..400).chain([u64::MAX]) {
        let far = Checkpoint { height: Height(height), ..result_of(&first, None) };
        me.hear(2, 1, signed_result(1, &far));
    }
    assert!(me.replica.results.kept() <= 1, "the window is 96 heights");
    // A far certificate is news once, however often it is shown.
    let far = certified(&Checkpoint { height: Height(5_000), ..result_of(&first, None) });
    (0..5).for_each(|_| me.hear(3, 1, Message::CheckpointCertificate(far.clone())));
    assert_eq!(me.certified.len(), 1);
}

#[test]
fn p6_results_that_get_no_certificate_do_not_pile_up() {
    let mut me = Driven::new();
    let (mut blocks, mut last) = (Vec::new(), genesis_parent());
    for number in 1..=600 {
        let next = block(number, number, last, &[]);
        last = parent(&next);
        blocks.push(next);
    }
    for part in blocks.chunks(20) {
        let newest = &part[part.len() - 1];
        let finality = Finality::Commit(certificate(Commit, newest.view.0, newest.digest()));
        let finality = finality.verify(&context()).unwrap();
        let candidates = part.iter().map(|block| block.candidate().clone()).collect();
        me.step(1, Input::Synced { candidates, finality, cited: None });
        for block in part {
            me.execute(1, &result_of(block, None));
            me.hear(1, 1, signed_result(1, &result_of(block, None)));
        }
    }
    assert_eq!(me.results().len(), 600);
    assert!(me.replica.results.kept() <= 2 * 2 * 96 + 2, "{}", me.replica.results.kept());
}

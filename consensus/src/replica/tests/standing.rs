//! P7: what a replica signs when it is not sure what it signed before.

use super::*;
use crate::checkpoint::Finality;
use crate::message::Vote;
use crate::replica::standing::Report;

use VoteKind::{Commit, Prepare, ViewChange};

fn tip() -> Tip {
    Tip::genesis(&founded(4))
}

fn started(memory: Memory, records: Vec<Record>) -> Driven {
    Driven::start(Config { memory, ..Driven::config() }, records, tip())
}

fn own_vote(kind: VoteKind, view: u64, digest: Digest) -> Vote {
    context().vote((ValidatorIndex(ME), &key(1, ME)), kind, View(view), digest)
}

/// The answer of `voter`, who is in `view`, to the one who asks with `nonce`.
fn told(voter: u16, nonce: Digest, view: u64) -> Message {
    let entry = (view > 1).then(|| certificate(ViewChange, view - 1, Digest::ZERO));
    Message::Attestation(context().attest((ValidatorIndex(voter), &key(1, voter)), nonce, View(view), entry))
}

fn signed(me: &Driven) -> usize {
    let is = |message: &&Message| match message {
        Message::Vote(_) | Message::PrePrepare(_) | Message::Checkpoint(_) | Message::Attestation(_) => true,
        Message::Certificate(_)
        | Message::Fetch(_)
        | Message::CheckpointCertificate(_)
        | Message::OwnVotes(_) => false,
    };
    me.sent.iter().filter(is).count()
}

fn standing(me: &Driven) -> Report {
    me.replica.status().standing
}

/// A replica that lost its records and was told that the others are in view 2: its bar is 3.
fn barred() -> Driven {
    let mut me = started(Memory::Lost, Vec::new());
    for (voter, view) in [(1, 1), (2, 2), (3, 1)] {
        me.hear(1, voter, told(voter, item(999), view));
    }
    assert_eq!(standing(&me), Report::Barred(View(3)));
    me
}

#[test]
fn p7_nothing_is_signed_before_a_quorum_less_one_has_answered() {
    let mut me = started(Memory::Whole, Vec::new());
    let first = block(1, 1, genesis_parent(), &[]);
    assert_eq!(me.fetched(&Fetch::OwnVotes), 1);
    me.hear(1, 1, proposal(&first));
    me.execute(1, &result_of(&first, None));
    for _ in 0..3 {
        me.hear(2, 1, Message::OwnVotes(Vec::new()));
    }
    me.step(60_000, Input::Available(vec![item(1).into()]));
    me.step(70_000, Input::Tick);
    assert_eq!(signed(&me), 0);
    assert_eq!(standing(&me), Report::Inquiring { answers: 1, needed: 2 });
    assert!(me.fetched(&Fetch::OwnVotes) > 1, "it asks again");
    me.hear(70_001, 2, Message::OwnVotes(Vec::new()));
    assert_eq!(standing(&me), Report::Voting);
    assert!(signed(&me) > 0);
}

#[test]
fn p7_replicas_that_were_all_restarted_answer_each_other() {
    let mut me = started(Memory::Whole, Vec::new());
    me.hear(1, 2, vote(2, Prepare, 3, item(3)));
    for peer in [1, 2] {
        me.hear(1, peer, Message::Fetch(Fetch::OwnVotes));
    }
    assert!(me.sent.contains(&Message::OwnVotes(Vec::new())));
    let Message::Vote(highest) = vote(2, Prepare, 3, item(3)) else { unreachable!() };
    assert!(me.sent.contains(&Message::OwnVotes(vec![highest])));
    assert_eq!(signed(&me), 0);
}

#[test]
fn p7_a_vote_above_the_records_means_that_they_are_lost_and_a_known_one_does_not() {
    let known = own_vote(Prepare, 1, item(1));
    let mut me = started(Memory::Whole, vec![Record::Vote(known.clone())]);
    me.hear(1, 1, Message::OwnVotes(vec![known]));
    assert_eq!(standing(&me), Report::Inquiring { answers: 1, needed: 2 });
    // Somebody else's vote is no answer.
    let Message::Vote(of_another) = vote(1, Prepare, 3, item(3)) else { unreachable!() };
    me.hear(1, 2, Message::OwnVotes(vec![of_another]));
    assert_eq!(standing(&me), Report::Inquiring { answers: 1, needed: 2 });
    me.hear(2, 2, Message::OwnVotes(vec![own_vote(Commit, 1, item(1))]));
    assert_eq!(standing(&me), Report::Wiped { answers: 0, needed: 3 });
    assert!(me.records.contains(&Record::Wiped));
    assert_eq!(me.fetched(&Fetch::Attestation(item(999))), 1);
}

#[test]
fn p7_a_wiped_replica_signs_nothing_up_to_one_above_the_highest_view_told_and_does_above() {
    let mut me = barred();
    assert!(matches!(me.records[..], [Record::Epoch(..) | Record::Wiped, ..]));
    me.step(2, Input::Available(vec![item(1).into()]));
    let mut now = 10;
    for view in [2, 3] {
        me.hear_valid(now, &block(view, 1, genesis_parent(), &[item(2)]));
        me.step(now + 5_000, Input::Tick);
        assert_eq!(signed(&me), 0, "view {view}");
        now += 6_000;
        me.hear(now, 1, failed(view - 1));
        me.hear(now, 1, failed(view));
    }
    assert_eq!(me.view(), 4);
    assert_eq!((standing(&me), me.proposed().len()), (Report::Voting, 1));
}

#[test]
fn p7_a_wiped_replica_needs_a_quorum_of_others_that_answer_its_present_nonce() {
    let mut me = started(Memory::Lost, Vec::new());
    for _ in 0..4 {
        me.hear(1, 1, told(1, item(999), 1));
    }
    me.hear(1, 2, told(2, item(998), 1)); // To an earlier start.
    me.hear(1, 2, told(3, item(999), 1)); // Not by its sender.
    me.hear(1, 3, told(ME, item(999), 1));
    assert_eq!(standing(&me), Report::Wiped { answers: 1, needed: 3 });
    me.hear(2, 2, told(2, item(999), 1));
    assert_eq!(standing(&me), Report::Wiped { answers: 2, needed: 3 });
    assert_eq!(me.replica.waits_for(), [ValidatorIndex(3)]);
    me.hear(2, 3, told(3, item(999), 1));
    assert_eq!(standing(&me), Report::Barred(View(2)));
}

#[test]
fn p7_a_view_that_is_told_is_proved_by_its_certificate() {
    let good = told(1, item(999), 3);
    assert!(good.clone().verify(&context()).is_ok());
    let Message::Attestation(answer) = good else { unreachable!() };
    let none = crate::message::Attestation { entry: None, ..answer.clone() };
    assert!(Message::Attestation(none).verify(&context()).is_err());
    let entry = Some(certificate(ViewChange, 5, Digest::ZERO));
    assert!(
        Message::Attestation(crate::message::Attestation { entry, ..answer }).verify(&context()).is_err()
    );
}

#[test]
fn p7_a_quorum_that_prepares_a_block_with_its_nonce_has_answered() {
    let mut me = started(Memory::Lost, Vec::new());
    let plain = block(1, 1, genesis_parent(), &[]);
    let named = Block::new(Candidate { nonces: vec![item(999)], ..plain.candidate().clone() });
    me.hear(1, 1, proposal(&named));
    for voter in [1, 2] {
        me.hear(2, voter, vote(voter, Prepare, 1, named.digest()));
    }
    assert_eq!(standing(&me), Report::Wiped { answers: 0, needed: 3 });
    me.hear(3, 3, vote(3, Prepare, 1, named.digest()));
    assert_eq!(standing(&me), Report::Barred(View(2)));
    // A block without it says nothing of the time after the loss.
    let mut other = started(Memory::Lost, Vec::new());
    other.hear(1, 1, proposal(&plain));
    other.hear(2, 1, Message::Certificate(certificate(Prepare, 1, plain.digest())));
    assert_eq!(standing(&other), Report::Wiped { answers: 0, needed: 3 });
}

#[test]
fn p7_a_nonce_is_answered_above_the_own_bar_and_with_the_certificate_of_entry() {
    let mut me = barred();
    me.hear(2, 1, failed(2));
    me.hear(3, 1, Message::Fetch(Fetch::Attestation(item(5))));
    assert_eq!(signed(&me), 0, "in view 3, which is its bar");
    me.hear(4, 1, failed(3));
    me.hear(5, 2, Message::Fetch(Fetch::Attestation(item(6))));
    let answer = me.sent.iter().find_map(|message| match message {
        Message::Attestation(answer) => Some(answer.clone()),
        _ => None,
    });
    let answer = answer.unwrap();
    assert_eq!((answer.nonce, answer.view), (item(6), View(4)));
    assert_eq!(answer.entry, Some(certificate(ViewChange, 3, Digest::ZERO)));
}

#[test]
fn p7_a_nonce_is_not_answered_below_the_own_votes() {
    // It voted in view 5, and after the restart has yet to find its way back there.
    let mut me = Driven::from(vec![Record::Vote(own_vote(Prepare, 5, item(5)))], tip());
    me.hear(1, 1, Message::Fetch(Fetch::Attestation(item(5))));
    assert_eq!((me.view(), signed(&me)), (1, 0));
    me.hear(2, 1, failed(4));
    me.hear(2 + DELTA, 1, Message::Fetch(Fetch::Attestation(item(5))));
    assert!(
        me.sent.iter().any(|sent| matches!(sent, Message::Attestation(answer) if answer.view == View(5)))
    );
}

#[test]
fn p7_a_loss_and_its_end_survive_a_restart() {
    let mut lost = started(Memory::Lost, Vec::new());
    lost.hear(1, 1, told(1, item(999), 1));
    for records in [lost.records.clone(), lost.replica.records()] {
        let again = started(Memory::Whole, records);
        assert_eq!(standing(&again), Report::Wiped { answers: 0, needed: 3 });
    }
    let me = barred();
    for records in [me.records.clone(), me.replica.records()] {
        let mut again = started(Memory::Whole, records);
        assert_eq!(standing(&again), Report::Inquiring { answers: 0, needed: 2 });
        for peer in [1, 2] {
            again.hear(1, peer, Message::OwnVotes(Vec::new()));
        }
        assert_eq!(standing(&again), Report::Barred(View(3)));
    }
    // A journal from a backup says nothing of what was signed since.
    let again = started(Memory::Lost, me.replica.records());
    assert_eq!(standing(&again), Report::Wiped { answers: 0, needed: 3 });
}

#[test]
fn p7_one_peer_cannot_keep_a_wiped_replica_silent_by_showing_its_old_votes() {
    let mut me = started(Memory::Lost, Vec::new());
    let old = |view| Message::OwnVotes(vec![own_vote(Prepare, view, item(1))]);
    me.hear(1, 1, told(1, item(999), 1));
    me.hear(1, 2, told(2, item(999), 2));
    let records = me.records.len();
    me.hear(2, 3, old(2));
    assert_eq!(standing(&me), Report::Wiped { answers: 2, needed: 3 });
    me.hear(3, 3, told(3, item(999), 1));
    me.hear(4, 3, old(3));
    assert_eq!(standing(&me), Report::Barred(View(3)), "it may have voted up to there, and knows it");
    let wiped = me.records[records..].iter().filter(|record| matches!(record, Record::Wiped)).count();
    assert_eq!(wiped, 0);
    // What it shows above the bar was signed by somebody else with this key.
    me.hear(5, 3, old(4));
    assert_eq!(standing(&me), Report::Wiped { answers: 0, needed: 3 });
}

#[test]
fn p7_a_rewritten_journal_gives_the_same_replica_whatever_it_stands_in() {
    let first = block(1, 1, genesis_parent(), &[item(1)]);
    let result = result_of(&first, None);
    let mut busy = Driven::new();
    busy.hear_final(1, &first);
    busy.hear_certified(2, &result);
    busy.hear_valid(3, &citing(&block(2, 2, parent(&first), &[item(2)]), &result));
    let records = busy.replica.records();
    assert!(records.contains(&Record::Checkpoint(certified(&result))));
    let again = Driven::start(Driven::config(), records.clone(), Tip::of(&first));
    assert_eq!(again.replica.records(), records);
    assert_eq!(again.replica.status().certified, Height(1));
    for me in [barred(), started(Memory::Lost, Vec::new())] {
        let records = me.replica.records();
        assert_eq!(started(Memory::Whole, records.clone()).replica.records(), records);
    }
}

#[test]
fn p7_what_was_signed_in_a_view_is_known_when_the_view_is_found_again_by_syncing() {
    let (first, second) = (block(1, 1, genesis_parent(), &[]), |number| item(number));
    let on_first = |number| block(2, 2, parent(&first), &[second(number)]);
    let records = vec![Record::Vote(own_vote(Prepare, 2, on_first(1).digest()))];
    let mut me = Driven::from(records, tip());
    let finality = Finality::Checkpoint(certified(&result_of(&first, None))).verify(&context()).unwrap();
    me.step(1, Input::Synced { candidates: vec![first.candidate().clone()], finality, cited: None });
    assert_eq!(me.view(), 2);
    me.hear_valid(2, &on_first(2));
    assert!(!me.voted(Prepare, 2).contains(&on_first(2).digest()));
}

#[test]
fn p7_a_nonce_wakes_an_idle_chain_is_named_at_once_and_not_too_often() {
    let mut me = Driven::new();
    for view in 1..=3 {
        me.hear(1, 1, failed(view));
    }
    me.hear(2, 3, Message::Fetch(Fetch::Attestation(item(5))));
    let own = me.proposed().remove(0);
    assert_eq!((own.nonces.clone(), own.payload.len()), (vec![item(5)], 0));
    assert!(me.replica.status().armed.is_some());
    for view in 4..=6 {
        me.hear(3, 1, failed(view));
    }
    assert!(me.replica.status().armed.is_none(), "view 7 is entered, two above what the asker may sign in");
    me.hear(4, 3, Message::Fetch(Fetch::Attestation(item(6))));
    assert!(me.replica.status().armed.is_none(), "a member cannot keep the chain awake with ever new nonces");
}

#[test]
fn p7_a_replica_wiped_twice_in_a_row_is_answered_only_when_its_nonce_wakes_the_chain() {
    let mut me = Driven::new();
    me.hear(1, 1, failed(1));
    let answers = |me: &Driven, nonce: Digest| {
        let answers = me
            .sent
            .iter()
            .filter(|sent| matches!(sent, Message::Attestation(answer) if answer.nonce == nonce));
        answers.count()
    };
    me.hear(2, 3, Message::Fetch(Fetch::Attestation(item(5))));
    me.hear(3, 3, Message::Fetch(Fetch::Attestation(item(5))));
    assert_eq!(answers(&me, item(5)), 2, "an answer may be lost");
    for view in 2..=4 {
        me.hear(4, 1, failed(view));
    }
    // Told now, it would wait above a view that nobody enters.
    me.hear(5, 3, Message::Fetch(Fetch::Attestation(item(6))));
    assert_eq!(answers(&me, item(6)), 0);
    // Δ has grown with the views that failed.
    me.hear(2 + 50 * DELTA, 3, Message::Fetch(Fetch::Attestation(item(6))));
    assert_eq!(answers(&me, item(6)), 1);
    assert!(me.replica.status().armed.is_some());
}

#[test]
fn p7_all_votes_of_the_highest_view_are_shown_and_one_of_them_that_the_records_lack_is_noticed() {
    // PREPARE may come after VIEW-CHANGE (P2): a backup made between the two has one of them.
    let (gave_up, prepared) = (own_vote(ViewChange, 3, Digest::ZERO), own_vote(Prepare, 3, item(3)));
    let mut other = started(Memory::Whole, Vec::new());
    for vote in
        [vote(1, Commit, 2, item(2)), vote(1, ViewChange, 3, Digest::ZERO), vote(1, Prepare, 3, item(3))]
    {
        other.hear(1, 1, vote);
    }
    other.hear(2, 1, Message::Fetch(Fetch::OwnVotes));
    let shown = other.sent.iter().find_map(|message| match message {
        Message::OwnVotes(votes) => Some(votes.iter().map(|vote| vote.kind).collect::<Vec<_>>()),
        _ => None,
    });
    assert_eq!(shown, Some(vec![Prepare, ViewChange]));
    let mut me = started(Memory::Whole, vec![Record::Vote(gave_up.clone())]);
    me.hear(1, 1, Message::OwnVotes(vec![prepared.clone(), gave_up.clone()]));
    assert!(matches!(standing(&me), Report::Wiped { .. }));
    // Of each kind one, in order, of one view and voter: everything else is no answer.
    for votes in [vec![gave_up.clone(), prepared], vec![gave_up.clone(), gave_up]] {
        assert!(Message::OwnVotes(votes).verify(&context()).is_err());
    }
}

#[test]
fn p7_who_knows_of_final_blocks_that_it_lacks_tells_no_view_because_the_epoch_may_be_over() {
    let answers = |records: Vec<Record>| {
        let mut me = started(Memory::Whole, records);
        for peer in [1, 2] {
            me.hear(1, peer, Message::OwnVotes(Vec::new()));
        }
        assert_eq!(standing(&me), Report::Voting);
        me.hear(2, 3, Message::Fetch(Fetch::Attestation(item(7))));
        me.sent.iter().filter(|message| matches!(message, Message::Attestation(_))).count()
    };
    assert_eq!(answers(Vec::new()), 1);
    assert_eq!(answers(vec![Record::Certificate(certificate(Commit, 9, item(9)))]), 0);
}

#[test]
fn p7_a_replica_that_was_told_asks_on_until_it_is_above_its_bar() {
    let mut me = barred();
    let asks = |me: &Driven| me.fetched(&Fetch::Attestation(item(999)));
    let mut now = 1;
    for _ in 0..10 {
        let (before, delta) = (asks(&me), me.replica.status().delta.as_millis() as u64);
        now += 2 * delta;
        me.step(now, Input::Tick);
        assert!(asks(&me) > before);
    }
    for view in 1..=3 {
        me.hear(now, 1, failed(view));
    }
    assert_eq!((me.view(), standing(&me)), (4, Report::Voting));
    let before = asks(&me);
    for _ in 0..10 {
        now += 2_000;
        me.step(now, Input::Tick);
    }
    assert_eq!(asks(&me), before);
}

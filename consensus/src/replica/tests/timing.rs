//! P8 to P11: what is sent again, when views are given up, and when nothing is said.

use super::*;
use crate::message::Fetch;

use VoteKind::{Commit, Prepare, ViewChange};

fn due(me: &Driven, now: u64) -> Option<u64> {
    me.replica.deadline(at(now)).map(|due| due.as_millis() as u64)
}

#[test]
fn p8_what_is_signed_is_sent_again_until_it_is_settled() {
    let mut me = Driven::new();
    let first = block(1, 1, genesis_parent(), &[item(1)]);
    me.hear_valid(1, &first);
    let count = |me: &Driven, kind| {
        let is = |message: &&Message| matches!(message, Message::Vote(vote) if vote.kind == kind);
        me.sent.iter().filter(is).count()
    };
    assert_eq!(count(&me, Prepare), 1);
    me.step(1 + DELTA, Input::Tick);
    assert_eq!(count(&me, Prepare), 2);
    me.hear_two(500, Prepare, 1, first.digest());
    me.step(500 + 2 * DELTA, Input::Tick);
    assert_eq!(count(&me, Prepare), 2, "the certificate settled it");
    assert!(count(&me, Commit) >= 2);
    me.hear_two(2_000, Commit, 1, first.digest());
    let before = me.sent.len();
    me.step(3_000, Input::Tick);
    me.step(5_000, Input::Tick);
    let votes = me.sent[before..].iter().filter(|message| matches!(message, Message::Vote(_))).count();
    assert_eq!(votes, 0, "what is final is settled");
}

#[test]
fn p8_who_enters_a_view_tells_those_who_do_not_show_that_they_did() {
    let mut me = Driven::new();
    me.hear(1, 1, failed(1));
    me.hear(2, 2, vote(2, ViewChange, 2, Digest::ZERO));
    let before = me.sent.len();
    // A quarter of Δ, which the failed view has raised to 600 ms.
    me.step(151, Input::Tick);
    let certificates = me.sent[before..].iter().filter(|message| matches!(message, Message::Certificate(_)));
    assert_eq!(certificates.count(), 1, "validators 1 (who sent it) and 2 are there; 3 is told");
}

#[test]
fn p8_a_question_for_what_is_newest_is_answered_with_the_entry_certificate() {
    let mut me = Driven::new();
    me.hear(1, 1, failed(1));
    let before = me.sent.len();
    me.hear(2, 3, Message::Fetch(Fetch::Newest { view: View(1), finalized: View::ZERO }));
    assert_eq!(me.sent[before..], [failed(1)]);
}

#[test]
fn p8_a_question_for_many_certificates_is_answered_with_a_bounded_number_of_single_ones() {
    let mut me = Driven::new();
    for view in 1..=200 {
        me.hear(1, 1, failed(view));
    }
    let before = me.sent.len();
    me.hear(2, 3, Message::Fetch(Fetch::Certificates { from: View(1), to: View(u64::MAX) }));
    assert_eq!(me.sent.len() - before, 64);
    assert_eq!(me.sent[before], failed(200), "the newest first");
}

#[test]
fn p9_a_view_is_given_up_2_delta_after_something_waits_and_3_delta_when_the_proposal_came() {
    let mut me = Driven::new();
    me.step(5_000, Input::Tick);
    me.step(5_000, Input::Available(vec![item(1).into()]));
    assert_eq!(due(&me, 5_000), Some(5_000 + 2 * DELTA));
    me.hear(5_010, 1, proposal(&block(1, 1, genesis_parent(), &[item(1)])));
    me.step(5_000 + 2 * DELTA, Input::Tick);
    assert!(me.voted(ViewChange, 1).is_empty());
    me.step(5_000 + 3 * DELTA, Input::Tick);
    assert_eq!(me.voted(ViewChange, 1).len(), 1);
}

#[test]
fn p9_a_failed_view_raises_delta_by_half_and_a_final_one_lowers_it() {
    let mut me = Driven::new();
    me.hear(1, 1, failed(1));
    assert_eq!(me.replica.status().delta, Duration::from_millis(600));
    let second = block(2, 1, genesis_parent(), &[item(1)]);
    me.hear_valid(2, &second);
    me.hear_two(3, Prepare, 2, second.digest());
    me.hear_two(4, Commit, 2, second.digest());
    assert_eq!(me.replica.status().delta, Duration::from_millis(400));
}

#[test]
fn p9_a_leader_not_heard_from_while_a_quorum_was_is_skipped_at_once() {
    let mut me = Driven::new();
    me.step(0, Input::Available(vec![item(1).into()]));
    for view in 1..=6 {
        for voter in [1, 2] {
            me.hear(view * 1_000, voter, vote(voter, ViewChange, view, Digest::ZERO));
        }
    }
    // View 7 is led by validator 3, who has said nothing.
    assert_eq!(me.replica.status().leader, ValidatorIndex(3));
    me.hear(6_001, 1, vote(1, Prepare, 7, item(9)));
    assert_eq!(me.voted(ViewChange, 7).len(), 1);
}

#[test]
fn p10_an_idle_replica_says_nothing_until_a_heartbeat_is_due() {
    let mut me = Driven::new();
    assert_eq!(due(&me, 0), Some(60_000));
    me.step(59_999, Input::Tick);
    assert!(me.sent.is_empty() && me.replica.status().armed.is_none());
    me.step(60_000, Input::Tick);
    assert!(me.replica.status().armed.is_some());
    me.step(60_000 + 2 * DELTA, Input::Tick);
    assert_eq!(me.voted(ViewChange, 1).len(), 1, "the leader made no heartbeat");
}

#[test]
fn p10_who_gave_up_alone_falls_silent_when_nothing_waits_any_more() {
    let mut me = Driven::new();
    me.step(0, Input::Available(vec![item(1).into()]));
    me.step(2 * DELTA, Input::Tick);
    assert_eq!(me.voted(ViewChange, 1).len(), 1);
    me.step(1_000, Input::Withdrawn(vec![item(1)]));
    let before = me.sent.len();
    for now in 2..50 {
        me.step(now * 1_000, Input::Tick);
    }
    assert_eq!(me.sent.len(), before);
    // But not when others want the view to end too.
    for voter in [1, 2] {
        me.hear(50_000, voter, vote(voter, ViewChange, 1, Digest::ZERO));
    }
    assert_eq!(me.view(), 2);
}

#[test]
fn p11_a_time_ahead_of_the_clock_waits_and_one_unit_above_the_parent_never_does() {
    let early =
        Candidate { time: UnixMillis(1_005_000), ..block(1, 1, genesis_parent(), &[]).candidate().clone() };
    let early = Block::new(early);
    let mut me = Driven::new();
    me.hear(1_000, 1, proposal(&early));
    assert!(me.voted(Prepare, 1).is_empty());
    assert_eq!(due(&me, 1_000), Some(3_000), "the bound is two seconds");
    me.step(3_000, Input::Tick);
    assert_eq!(me.voted(Prepare, 1), [early.digest()]);
    // The next is one unit later, however far that is above this clock.
    me.hear_two(3_000, Prepare, 1, early.digest());
    let next =
        Candidate { time: UnixMillis(1_005_001), ..block(2, 2, parent(&early), &[]).candidate().clone() };
    me.hear(3_000, 2, proposal(&Block::new(next)));
    assert_eq!(me.voted(Prepare, 2).len(), 1);
}

#[test]
fn p11_no_time_is_too_old() {
    let mut me = Driven::new();
    let old = block(1, 1, genesis_parent(), &[]);
    me.hear(50_000, 1, proposal(&old));
    assert_eq!(me.voted(Prepare, 1), [old.digest()]);
}

#[test]
fn p10_a_vote_for_a_far_view_does_not_end_the_silence_for_good() {
    let mut me = Driven::new();
    me.hear(1, 1, vote(1, ViewChange, 1_000_000, Digest::ZERO));
    let mut now = 1;
    while let Some(next) = due(&me, now).filter(|next| *next <= 50_000) {
        now = next;
        me.step(now, Input::Tick);
    }
    assert!((1..=10).contains(&me.sent.len()), "{} messages in 50 s", me.sent.len());
}

#[test]
fn p2_a_leader_cannot_make_a_replica_keep_blocks_that_no_quorum_vouched_for() {
    let mut me = Driven::new();
    (1..401).for_each(|view| me.hear(1, 1, failed(view)));
    let junk: Vec<_> = (0..200).map(item).collect();
    let (mut chain, mut last) = (Vec::new(), genesis_parent());
    for (height, view) in (1..).zip((1..=401).step_by(4)) {
        chain.push(block(view, height, last, &junk));
        last = parent(&chain[chain.len() - 1]);
    }
    for proposed in chain.iter().rev() {
        me.hear(2, 1, proposal(proposed));
    }
    assert_eq!(me.replica.blocks.len(), 1, "the one that is looked at");
}

#[test]
fn p9_a_leader_that_gives_its_own_turn_up_is_not_waited_for() {
    let mut me = Driven::new();
    me.hear(1, 1, vote(1, ViewChange, 1, Digest::ZERO));
    assert!(me.voted(ViewChange, 1).is_empty(), "nothing waits");
    me.step(2, Input::Available(vec![item(1).into()]));
    assert_eq!(me.voted(ViewChange, 1).len(), 1, "nobody else gave it up, and no time-out was due");
    // Once the proposal is here, its leader's word ends nothing.
    let mut me = Driven::new();
    me.step(0, Input::Available(vec![item(1).into()]));
    me.hear_valid(1, &block(1, 1, genesis_parent(), &[item(1)]));
    me.hear(2, 1, vote(1, ViewChange, 1, Digest::ZERO));
    assert!(me.voted(ViewChange, 1).is_empty());
}

#[test]
fn p9_a_leader_that_lacks_what_a_quorum_executed_gives_its_turn_up_at_once() {
    let mut me = Driven::new();
    me.step(0, Input::Available(vec![item(1).into()]));
    // It leads views 4 and 24. A block or two may only be late.
    me.hear(1, 1, Message::Certificate(certificate(Commit, 2, item(2))));
    me.hear(1, 1, Message::Certificate(certificate(Prepare, 3, item(3))));
    assert_eq!((me.view(), me.voted(ViewChange, 4).len()), (4, 0));
    me.hear_certified(2, &result_of(&block(20, 18, genesis_parent(), &[]), None));
    me.hear(2, 1, Message::Certificate(certificate(Commit, 22, item(22))));
    me.hear(2, 1, Message::Certificate(certificate(Prepare, 23, item(23))));
    assert_eq!((me.view(), me.proposed().len(), me.voted(ViewChange, 24).len()), (24, 0, 1));
}

/// Blocks of views 1 to `last`, each on the one before.
fn chain_to(last: u64) -> Vec<Block> {
    let (mut chain, mut on) = (Vec::new(), genesis_parent());
    for view in 1..=last {
        let next = block(view, view, on, &[]);
        on = parent(&next);
        chain.push(next);
    }
    chain
}

/// The records of one that was there all the time and lacks the block of view `hole`: nobody has executed any of them.
fn records_without(chain: &[Block], hole: u64) -> Vec<Record> {
    let mut records = Vec::new();
    for known in chain {
        let (view, digest) = (known.view.0, known.digest());
        if view != hole {
            let Message::PrePrepare(proposal) = proposal(known) else { unreachable!() };
            records.push(Record::PrePrepare(proposal));
            let Message::Vote(prepared) = vote(ME, Prepare, view, digest) else { unreachable!() };
            records.push(Record::Vote(prepared));
        }
        records.push(Record::Certificate(certificate(Prepare, view, digest)));
    }
    let last = &chain[chain.len() - 1];
    records.push(Record::Certificate(certificate(Commit, last.view.0, last.digest())));
    records
}

#[test]
fn p8_a_final_block_that_no_ledger_has_is_asked_for_however_fast_the_views_fail() {
    let chain = chain_to(40);
    let mut me = Driven::from(records_without(&chain, 20), Tip::genesis(&founded(4)));
    for view in 41..80 {
        let now = (view - 40) * 10;
        let leader = context().validators.leader(View(view)).0;
        if leader != ME {
            me.hear(now, leader, vote(leader, ViewChange, view, Digest::ZERO));
        }
        me.hear(now, 1, failed(view));
    }
    assert!(me.fetched(&Fetch::Candidate(chain[19].digest())) > 0);
    assert!(me.voted(ViewChange, 44).is_empty(), "nobody can be caught up with: its turn is worth its time");
    me.hear(1_000, 2, proposal(&chain[19]));
    assert_eq!(me.finalized.len(), 40);
}

#[test]
fn p7_blocks_that_no_quorum_executed_are_kept_and_served_whatever_is_missing_among_them() {
    let chain = chain_to(200);
    let mut me = Driven::from(records_without(&chain, 100), Tip::genesis(&founded(4)));
    let rewritten = me.replica.records();
    for known in [&chain[9], &chain[150]] {
        let Message::PrePrepare(proposal) = proposal(known) else { unreachable!() };
        assert!(rewritten.contains(&Record::PrePrepare(proposal.clone())), "view {}", known.view);
        me.hear(1, 3, Message::Fetch(Fetch::Candidate(known.digest())));
        assert!(me.sent.contains(&Message::PrePrepare(proposal)));
    }
    // Of what a quorum executed, the ledgers have it all; what was prepared here stays on record.
    me.hear_certified(2, &result_of(&chain[199], None));
    me.step(3, Input::Tick);
    assert!(me.replica.blocks.contains_key(&chain[9].digest()));
}

#[test]
fn p10_a_proposal_that_can_only_wait_is_given_up_and_not_asked_about_for_ever() {
    let nowhere = Cited { height: Height(1), digest: item(1) };
    let on_nothing = Candidate {
        cites: nowhere,
        height: Height(2),
        ..block(1, 1, genesis_parent(), &[]).candidate().clone()
    };
    let orphan = Parent { view: View(1), digest: item(9) };
    let withheld = block(1, 1, genesis_parent(), &[item(1)]).candidate().clone();
    for (view, candidate) in
        [(1, on_nothing), (2, block(2, 2, orphan, &[]).candidate().clone()), (1, withheld)]
    {
        let mut me = Driven::new();
        if view == 2 {
            me.hear(1, 1, Message::Certificate(certificate(ViewChange, 1, Digest::ZERO)));
        }
        me.hear(2, view as u16, proposal(&Block::new(candidate)));
        let delta = me.replica.status().delta.as_millis() as u64;
        me.step(3 + delta, Input::Tick);
        me.step(3 + 4 * delta, Input::Tick);
        assert_eq!(me.voted(ViewChange, view).len(), 1, "view {view}");
        me.hear_two(4 + 4 * delta, ViewChange, view, Digest::ZERO);
        let mut now = 4 + 4 * delta;
        let before = me.sent.len();
        while let Some(next) = due(&me, now).filter(|next| *next <= 55_000) {
            now = next;
            me.step(now, Input::Tick);
        }
        assert!(me.sent.len() - before <= 3, "{:?}", &me.sent[before..]);
    }
}

#[test]
fn p5_no_view_change_after_commit_however_late_the_time_out() {
    let mut me = Driven::new();
    let first = block(1, 1, genesis_parent(), &[item(1)]);
    me.hear_valid(1, &first);
    me.hear_two(2, Prepare, 1, first.digest());
    assert_eq!((me.view(), me.voted(Commit, 1).len()), (2, 1));
    for now in 1..40 {
        me.step(now * DELTA, Input::Tick);
    }
    assert_eq!((me.voted(ViewChange, 1).len(), me.voted(ViewChange, 2).len()), (0, 1));
}

#[test]
fn p8_a_replica_that_cannot_follow_keeps_only_what_is_near_the_newest_final_view() {
    let mut me = Driven::new();
    let mut last = Parent { view: View(1), digest: item(1) };
    me.hear(1, 1, Message::Certificate(certificate(Prepare, 1, item(1))));
    for view in 2..500 {
        let next = block(view, view, last, &[]);
        let leader = context().validators.leader(next.view).0;
        me.hear(view, if leader == ME { 1 } else { leader }, proposal(&next));
        me.hear(view, 1, Message::Certificate(certificate(Prepare, view, next.digest())));
        me.hear(view, 1, Message::Certificate(certificate(Commit, view, next.digest())));
        // Executed by a quorum, a little later.
        if view > 12 {
            me.hear_certified(view, &result_of(&block(view - 10, view - 10, last, &[]), None));
        }
        last = parent(&next);
    }
    assert_eq!((me.view(), me.finalized.len()), (500, 0), "the block of view 1 is missing");
    let kept = (me.replica.blocks.len(), me.replica.prepared.len());
    assert!(kept.0 <= 70 && kept.1 <= 70, "{kept:?}");
}

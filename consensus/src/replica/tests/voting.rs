//! P1 to P5: proposing, the votes, and what they make.

use super::*;
use crate::Offer;
use crate::checkpoint::Finality;

use VoteKind::{Commit, Prepare, ViewChange};

#[test]
fn p1_a_leader_proposes_once_on_the_highest_certified_parent_with_what_waits() {
    let mut me = Driven::new();
    let first = block(1, 1, genesis_parent(), &[item(1)]);
    me.hear_valid(1, &first);
    me.hear_two(2, Prepare, 1, first.digest());
    me.hear(3, 1, failed(2));
    me.step(3, Input::Available(vec![item(1).into(), item(2).into()]));
    me.hear(4, 1, failed(3));
    let proposed = me.proposed();
    assert_eq!(proposed.len(), 1);
    let own = &proposed[0];
    assert_eq!((own.view, own.height, own.parent), (View(4), Height(2), parent(&first)));
    assert_eq!(own.payload, [item(2)], "what an ancestor names is not proposed again");
    assert!(own.time > first.time);
    me.step(5, Input::Available(vec![item(3).into()]));
    assert_eq!(me.proposed().len(), 1, "never twice in a view");
}

#[test]
fn p2_a_replica_never_signs_two_prepares_in_one_view() {
    let mut me = Driven::new();
    let (left, right) =
        (block(1, 1, genesis_parent(), &[item(1)]), block(1, 1, genesis_parent(), &[item(2)]));
    me.hear_valid(1, &left);
    me.hear_valid(2, &right);
    assert_eq!(me.voted(Prepare, 1), [left.digest()]);
    // Not after a restart either.
    let mut again = Driven::from(me.records, Tip::genesis(&founded(4)));
    again.hear_valid(3, &right);
    assert!(!again.voted(Prepare, 1).contains(&right.digest()));
}

#[test]
fn p2_a_proposal_waits_for_its_verdict_and_is_given_up_when_that_is_bad() {
    let mut me = Driven::new();
    let first = block(1, 1, genesis_parent(), &[item(1)]);
    me.hear(1, 1, proposal(&first));
    assert_eq!(me.judged, [first.digest()]);
    assert!(me.voted(Prepare, 1).is_empty());
    me.step(2, Input::Judged { digest: first.digest(), verdict: Verdict::Invalid });
    assert!(me.voted(Prepare, 1).is_empty());
    assert_eq!(me.voted(ViewChange, 1).len(), 1);
}

#[test]
fn p2_a_proposal_waits_for_its_parents_certificate() {
    let mut me = Driven::new();
    let first = block(1, 1, genesis_parent(), &[]);
    let second = block(2, 2, parent(&first), &[]);
    me.hear(1, 2, failed(1));
    me.hear(2, 2, proposal(&second));
    assert_eq!(me.fetched(&Fetch::Certificates { from: View(1), to: View(1) }), 1, "it is asked for");
    me.hear(3, 2, proposal(&first));
    assert!(me.voted(Prepare, 2).is_empty(), "the parent was shown, but is not certified");
    me.hear(4, 2, Message::Certificate(certificate(Prepare, 1, first.digest())));
    assert!(me.voted(Prepare, 2).is_empty(), "it is certified, and asked for");
    me.hear(5, 2, proposal(&first));
    assert_eq!(me.voted(Prepare, 2), [second.digest()]);
}

#[test]
fn p2_a_proposal_waits_for_the_view_change_certificate_of_every_view_between() {
    let mut me = Driven::new();
    let third = block(3, 1, genesis_parent(), &[]);
    me.hear(1, 3, failed(2));
    assert_eq!(me.view(), 3);
    me.hear(2, 3, proposal(&third));
    assert!(me.voted(Prepare, 3).is_empty(), "view 1 may have a certified block");
    me.hear(3, 3, failed(1));
    assert_eq!(me.voted(Prepare, 3), [third.digest()]);
}

#[test]
fn p2_what_an_ancestor_names_is_invalid_whether_it_is_final_or_not() {
    for is_final in [false, true] {
        let mut me = Driven::new();
        let first = block(1, 1, genesis_parent(), &[item(1)]);
        me.hear_valid(1, &first);
        me.hear_two(2, Prepare, 1, first.digest());
        if is_final {
            me.hear_two(3, Commit, 1, first.digest());
            assert_eq!(me.finalized.len(), 1);
        }
        let second = block(2, 2, parent(&first), &[item(1)]);
        // The node may not have heard yet that the first is final.
        me.hear_valid(4, &second);
        assert!(me.voted(Prepare, 2).is_empty(), "final: {is_final}");
        assert_eq!(me.voted(ViewChange, 2).len(), 1);
    }
}

#[test]
fn p2_a_wrong_height_a_time_that_stands_still_or_a_repeated_item_is_invalid() {
    let good = block(1, 1, genesis_parent(), &[]);
    let wrong = |change: fn(&mut Candidate)| {
        let mut candidate = good.candidate().clone();
        change(&mut candidate);
        let mut me = Driven::new();
        me.hear_valid(1, &Block::new(candidate));
        (me.voted(Prepare, 1).len(), me.voted(ViewChange, 1).len())
    };
    assert_eq!(wrong(|_| {}), (1, 0));
    assert_eq!(wrong(|candidate| candidate.height = Height(2)), (0, 1));
    assert_eq!(wrong(|candidate| candidate.time = UnixMillis(1_000_000)), (0, 1));
    assert_eq!(wrong(|candidate| candidate.payload = vec![item(1), item(1)]), (0, 1));
    assert_eq!(wrong(|candidate| candidate.payload = (0..257).map(item).collect()), (0, 1));
}

#[test]
fn p3_a_prepare_certificate_opens_the_next_view_and_is_answered_with_commit() {
    let mut me = Driven::new();
    let first = block(1, 1, genesis_parent(), &[item(1)]);
    me.hear_valid(1, &first);
    assert_eq!(me.view(), 1);
    me.hear_two(2, Prepare, 1, first.digest());
    assert_eq!(me.view(), 2);
    assert_eq!(me.voted(Commit, 1), [first.digest()]);
}

#[test]
fn p3_no_commit_after_view_change() {
    let mut me = Driven::new();
    let first = block(1, 1, genesis_parent(), &[item(1)]);
    me.hear_valid(1, &first);
    me.step(2, Input::Available(vec![item(1).into()]));
    me.step(2 + 3 * DELTA, Input::Tick);
    assert_eq!(me.voted(ViewChange, 1).len(), 1);
    me.hear_two(2_000, Prepare, 1, first.digest());
    assert_eq!(me.view(), 2, "the certificate still opens the next view");
    assert!(me.voted(Commit, 1).is_empty());
    // Nor after a restart.
    let again = Driven::from(me.records, Tip::genesis(&founded(4)));
    assert!(again.voted(Commit, 1).is_empty());
}

#[test]
fn p4_a_quorum_of_commits_makes_the_block_and_all_its_ancestors_final() {
    let mut me = Driven::new();
    let first = block(1, 1, genesis_parent(), &[item(1)]);
    let second = block(2, 2, parent(&first), &[item(2)]);
    for block in [&first, &second] {
        me.hear_valid(1, block);
        me.hear_two(1, Prepare, block.view.0, block.digest());
    }
    me.hear(2, 1, vote(1, Commit, 2, second.digest()));
    assert!(me.finalized.is_empty(), "two of three");
    me.hear(3, 2, vote(2, Commit, 2, second.digest()));
    let digests: Vec<_> = me.finalized.iter().map(Block::digest).collect();
    assert_eq!(digests, [first.digest(), second.digest()]);
}

#[test]
fn p4_votes_for_different_blocks_or_by_one_voter_make_no_quorum() {
    let mut me = Driven::new();
    let first = block(1, 1, genesis_parent(), &[item(1)]);
    me.hear_valid(1, &first);
    for _ in 0..3 {
        me.hear(2, 1, vote(1, Prepare, 1, first.digest()));
    }
    me.hear(2, 2, vote(2, Prepare, 1, item(9)));
    me.hear(2, 3, vote(3, Prepare, 1, item(8)));
    // A voter's second vote does not replace its first.
    me.hear(3, 2, vote(2, Prepare, 1, first.digest()));
    assert_eq!(me.view(), 1);
    assert!(me.voted(Commit, 1).is_empty());
}

#[test]
fn p5_one_view_change_moves_nobody_and_f_plus_one_move_all() {
    let mut me = Driven::new();
    me.hear(1, 1, vote(1, ViewChange, 1, Digest::ZERO));
    assert!(me.voted(ViewChange, 1).is_empty());
    me.hear(2, 2, vote(2, ViewChange, 1, Digest::ZERO));
    assert_eq!(me.voted(ViewChange, 1).len(), 1);
    assert_eq!(me.view(), 2, "with this replica's they are a quorum");
}

#[test]
fn p5_votes_of_far_views_move_nothing() {
    let mut me = Driven::new();
    for view in [7, 1_000, u64::MAX - 1] {
        for voter in [1, 2, 3] {
            me.hear(1, voter, vote(voter, ViewChange, view, Digest::ZERO));
        }
    }
    assert_eq!(me.view(), 1);
    assert!(me.sent.iter().all(|message| !matches!(message, Message::Vote(_))));
}

#[test]
fn p5_a_proposal_that_overtakes_the_votes_of_its_view_is_kept() {
    let mut me = Driven::new();
    let second = block(2, 1, genesis_parent(), &[]);
    me.hear(1, 2, proposal(&second));
    assert!(me.voted(Prepare, 2).is_empty());
    me.hear(2, 1, failed(1));
    assert_eq!(me.voted(Prepare, 2), [second.digest()]);
}

#[test]
fn p1_a_leader_names_nothing_that_its_block_may_not_name() {
    let mut me = Driven::new();
    let offer = |number: u64, first: u64, last: u64| Offer {
        digest: item(number),
        first: Height(first),
        last: Height(last),
    };
    // What nobody may name yet, or any more, arms no timer and is not proposed.
    me.step(1, Input::Available(vec![offer(1, 2, 9), offer(2, 0, 0)]));
    assert!(me.replica.status().armed.is_none());
    me.step(2, Input::Available(vec![offer(3, 1, 1)]));
    assert!(me.replica.status().armed.is_some());
    let first = block(1, 1, genesis_parent(), &[item(3)]);
    me.hear_valid(3, &first);
    me.hear_two(4, Prepare, 1, first.digest());
    me.hear(5, 1, failed(2));
    me.hear(6, 1, failed(3));
    assert_eq!(me.proposed()[0].payload, [item(1)], "at height 2");
}

/// What the leader of view 4 proposes, to whom these were offered before.
fn proposes(inputs: impl IntoIterator<Item = Input>) -> Vec<genesis::Digest> {
    let mut me = Driven::new();
    for input in inputs {
        let waits = matches!(input, Input::Available(_));
        me.step(1, input);
        assert_eq!(me.replica.status().armed.is_some(), waits, "what one node holds alone arms no timer");
    }
    for view in 1..=3 {
        me.hear(1 + view, 1, failed(view));
    }
    me.proposed().first().map(|block| block.payload.clone()).unwrap_or_default()
}

#[test]
fn p1_a_leader_with_nothing_else_to_propose_proposes_what_it_holds_alone() {
    let held = |number| Input::Held(vec![item(number).into()]);
    let waits = |number| Input::Available(vec![item(number).into()]);
    assert_eq!(proposes([held(1)]), [item(1)]);
    assert_eq!(proposes([held(1), Input::Withdrawn(vec![item(1)])]), []);
    assert_eq!(proposes([held(1), waits(2)]), [item(2)], "what a quorum has comes first, and alone");
    assert_eq!(proposes([held(1), waits(1)]), [item(1)]);
}

#[test]
fn p4_what_a_long_sync_ordered_and_was_offered_again_is_withdrawn_by_the_node() {
    let mut me = Driven::new();
    let (mut blocks, mut last) = (Vec::new(), genesis_parent());
    for number in 1..=300 {
        let next = block(number, number, last, &[item(number)]);
        last = parent(&next);
        blocks.push(next);
    }
    let finality = Finality::Commit(certificate(Commit, 300, last.digest)).verify(&context()).unwrap();
    let candidates = blocks.iter().map(|block| block.candidate().clone()).collect();
    me.step(1, Input::Synced { candidates, finality, cited: None });
    // The node takes note of finality after the step; an offer that it made before must not outlive that.
    me.step(1, Input::Available(vec![item(1).into()]));
    me.step(1, Input::Withdrawn(vec![item(1)]));
    let status = me.replica.status();
    assert_eq!((status.waiting, status.armed), (0, None));
}

#[test]
fn p7_nothing_is_signed_at_or_below_the_final_view_whatever_is_certified_there() {
    let mut me = Driven::new();
    let first = block(1, 1, genesis_parent(), &[]);
    let third = block(3, 2, parent(&first), &[]);
    let finality = Finality::Commit(certificate(Commit, 3, third.digest())).verify(&context()).unwrap();
    let candidates = vec![first.candidate().clone(), third.candidate().clone()];
    me.step(1, Input::Synced { candidates, finality, cited: None });
    me.hear(2, 1, proposal(&first));
    for (view, digest) in [(1, first.digest()), (3, third.digest())] {
        me.hear(3, 1, Message::Certificate(certificate(Prepare, view, digest)));
    }
    me.hear(4, 1, failed(2));
    me.step(100 * DELTA, Input::Tick);
    assert!(me.replica.status().view == View(4) && me.halted.is_none());
    let signed = (1..=3).flat_map(|view| [Prepare, Commit, ViewChange].map(|kind| me.voted(kind, view)));
    assert!(signed.flatten().next().is_none(), "{:?}", me.sent);
}

#[test]
fn p4_nothing_is_signed_once_two_commit_certificates_contradict_each_other() {
    let mut me = Driven::new();
    let first = block(1, 1, genesis_parent(), &[item(1)]);
    me.hear_valid(1, &first);
    me.hear_two(2, Prepare, 1, first.digest());
    me.hear_two(3, Commit, 1, first.digest());
    me.hear(3, 1, failed(2));
    me.hear(3, 1, failed(3));
    let beside = block(4, 1, genesis_parent(), &[item(2)]);
    me.hear(5, 1, Message::Certificate(certificate(Commit, 4, beside.digest())));
    me.hear(6, 1, failed(5));
    me.step(6, Input::Available(vec![item(5).into()]));
    // The block that shows the contradiction.
    let message = proposal(&beside).verify(&context()).unwrap();
    let shown = me.replica.step(at(7), Input::Received { from: ValidatorIndex(1), message });
    let later = me.replica.step(at(60_000), Input::Tick);
    let actions = [shown, later].map(|output| output.persist(|_| Ok::<_, ()>(())).unwrap()).concat();
    assert!(matches!(actions[..], [Action::Halt(_)]), "{actions:?}");
}

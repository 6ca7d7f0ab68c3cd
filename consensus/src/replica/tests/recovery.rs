//! P7: what was said is known after a crash, whatever else is lost.

use super::*;
use crate::replica::recover::RecoverError;

use VoteKind::{Commit, Prepare, ViewChange};

fn tip() -> Tip {
    Tip::genesis(&founded(4))
}

fn signed(replica: &Driven) -> Vec<String> {
    replica
        .sent
        .iter()
        .filter(|message| matches!(message, Message::Vote(_)))
        .map(|m| format!("{m:?}"))
        .collect()
}

/// A replica in the middle of much: a failed view, a certified block, votes of all kinds.
fn busy() -> Driven {
    let mut me = Driven::new();
    me.step(0, Input::Available(vec![item(1).into(), item(2).into()]));
    me.step(2 * DELTA, Input::Tick);
    me.hear_two(1_000, ViewChange, 1, Digest::ZERO);
    let second = block(2, 1, genesis_parent(), &[item(1)]);
    me.hear_valid(1_001, &second);
    me.hear_two(1_002, Prepare, 2, second.digest());
    let third = block(3, 2, parent(&second), &[item(2)]);
    me.hear_valid(1_003, &third);
    me
}

#[test]
fn p7_every_vote_that_is_sent_was_recorded_in_the_same_step() {
    let me = busy();
    for message in &me.sent {
        if let Message::Vote(vote) = message {
            assert!(me.records.contains(&Record::Vote(vote.clone())), "{vote:?}");
        }
    }
    let prepared = me.voted(Prepare, 3);
    let is_recorded =
        |record: &Record| matches!(record, Record::PrePrepare(p) if p.candidate.digest() == prepared[0]);
    assert!(me.records.iter().any(is_recorded), "the block behind a PREPARE is recorded with it");
}

#[test]
fn p7_recovery_from_the_journal_or_from_a_rewritten_one_gives_the_same_replica() {
    let me = busy();
    let from_journal = Driven::from(me.records.clone(), tip());
    let from_rewritten = Driven::from(me.replica.records(), tip());
    for again in [&from_journal, &from_rewritten] {
        let (before, after) = (me.replica.status(), again.replica.status());
        assert_eq!((before.view, before.tip), (after.view, after.tip));
        assert_eq!(me.replica.records(), again.replica.records());
    }
    assert_eq!(signed(&from_journal), signed(&from_rewritten));
}

#[test]
fn p7_recovery_from_any_torn_journal_neither_fails_nor_contradicts_what_was_kept() {
    let me = busy();
    for kept in 0..=me.records.len() {
        let mut again = Driven::from(me.records[..kept].to_vec(), tip());
        // The same and other proposals in every view: a vote that was kept is not cast again for another block.
        for view in 1..=3 {
            let other = block(view, 1, genesis_parent(), &[item(77)]);
            again.hear_valid(5_000, &other);
            for kind in [Prepare, Commit, ViewChange] {
                let mut voted = again.voted(kind, view);
                for record in &me.records[..kept] {
                    if let Record::Vote(vote) = record
                        && (vote.kind, vote.view) == (kind, View(view))
                    {
                        voted.push(vote.digest);
                    }
                }
                voted.dedup();
                assert!(voted.len() <= 1, "{kind:?} in view {view} after {kept} records: {voted:?}");
            }
        }
    }
}

#[test]
fn p7_a_certificate_without_its_commit_is_committed_after_the_restart() {
    let me = busy();
    let is_commit = |record: &Record| matches!(record, Record::Vote(vote) if vote.kind == Commit);
    let place = me.records.iter().position(is_commit).unwrap();
    let again = Driven::from(me.records[..place].to_vec(), tip());
    assert_eq!(again.voted(Commit, 2).len(), 1);
}

#[test]
fn p7_what_is_final_in_the_journal_is_finalised_again() {
    let mut me = busy();
    let second = block(2, 1, genesis_parent(), &[item(1)]);
    me.hear_two(1_010, Commit, 2, second.digest());
    assert_eq!(me.finalized.len(), 1);
    let again = Driven::from(me.records.clone(), tip());
    assert_eq!(again.finalized.len(), 1);
    // Once it is executed, it is not.
    let executed = Driven::from(me.records, Tip::of(&second));
    assert!(executed.finalized.is_empty());
    assert_eq!(executed.replica.status().tip, Tip::of(&second));
}

#[test]
fn p7_a_journal_of_another_validator_or_with_contradictions_is_refused() {
    let recover = |messages: &[Message]| {
        let record = |message: &Message| match message {
            Message::Vote(vote) => Record::Vote(vote.clone()),
            _ => unreachable!(),
        };
        let records: Vec<_> = messages.iter().map(record).collect();
        {
            let start = Start { tip: tip(), certificate: None, executed: None, certified: Vec::new() };
            Replica::recover(Driven::config(), at(0), start, records)
        }
        .map(|_| ())
        .unwrap_err()
    };
    assert_eq!(
        recover(&[vote(1, Prepare, 1, item(1))]),
        RecoverError::AnotherVoter { found: 1, expected: 0 }
    );
    let two_prepares = [vote(ME, Prepare, 3, item(1)), vote(ME, Prepare, 3, item(2))];
    assert_eq!(recover(&two_prepares), RecoverError::Contradiction(View(3)));
    let both = [vote(ME, Commit, 3, item(1)), vote(ME, ViewChange, 3, Digest::ZERO)];
    assert_eq!(recover(&both), RecoverError::Contradiction(View(3)));
}

#[test]
fn p4_a_replica_that_was_told_of_a_fork_stops() {
    let mut me = Driven::new();
    let first = block(1, 1, genesis_parent(), &[item(1)]);
    me.hear_valid(1, &first);
    me.hear_two(2, Prepare, 1, first.digest());
    me.hear_two(3, Commit, 1, first.digest());
    // A block beside it, certified as final by a quorum that cannot exist while at most f are faulty.
    let beside = block(2, 1, genesis_parent(), &[item(2)]);
    me.hear_valid(4, &beside);
    let message = Message::Certificate(certificate(Commit, 2, beside.digest()));
    let input = Input::Received { from: ValidatorIndex(1), message: message.verify(&context()).unwrap() };
    let actions = me.replica.step(at(5), input).persist(|_| Ok::<(), ()>(())).unwrap();
    // Without the block it is only asked for; with it, the fork is plain.
    let input =
        Input::Received { from: ValidatorIndex(2), message: proposal(&beside).verify(&context()).unwrap() };
    let more = me.replica.step(at(6), input).persist(|_| Ok::<(), ()>(())).unwrap();
    assert!(actions.iter().chain(&more).any(|action| matches!(action, Action::Halt(_))));
    assert!(me.replica.step(at(7), Input::Tick).is_empty());
    assert_eq!(me.replica.deadline(at(7)), None);
}

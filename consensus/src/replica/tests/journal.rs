//! P7 over the ends of epochs: the journal says which epoch its records belong to, also where the ledger was older.

use super::*;
use crate::checkpoint::Finality;
use crate::message::Vote;
use crate::replica::standing::Report;

use VoteKind::{Commit, Prepare};

/// The result of block 1, which closed epoch 0.
fn closing() -> CheckpointCertificate {
    certified(&result_of(&block(1, 1, genesis_parent(), &[]), None))
}

fn own_vote(epoch: u64, kind: VoteKind, view: u64, digest: Digest) -> Vote {
    context_of(epoch).vote((ValidatorIndex(ME), &key(1, ME)), kind, View(view), digest)
}

fn in_epoch_1(records: Vec<Record>) -> Driven {
    let config = Config { epoch: Epoch(1), opening: Some(closing()), ..Driven::config() };
    Driven::start(config, records, Tip::opening(&closing()))
}

/// Brings a replica that was started at genesis into epoch 1.
fn follow_into_epoch_1(me: &mut Driven) {
    let first = block(1, 1, genesis_parent(), &[]);
    let result = result_of(&first, None);
    let finality = Finality::Checkpoint(certified(&result)).verify(&context()).unwrap();
    me.step(10, Input::Synced { candidates: vec![first.candidate().clone()], finality, cited: None });
    assert_eq!(me.replica.status().tip.height, Height(1));
    // That it closes its epoch, only the ledger can say here: the test's block cites genesis.
    me.replica.closed = Some(crate::replica::epoch::Closed { height: Height(1), next: None });
    let next = Some(Configuration::of(&founded(4)));
    me.step(11, Input::Executed(Executed { checkpoint: result, next }));
    assert_eq!(me.replica.status().epoch, Epoch(1));
}

#[test]
fn p7_a_journal_that_begins_in_a_later_epoch_says_so() {
    let mut me = in_epoch_1(Vec::new());
    for peer in [1, 2] {
        me.hear_in(1, 1, peer, Message::OwnVotes(Vec::new()));
    }
    let second = Block::new(Candidate {
        epoch: Epoch(1),
        cites: closing().checkpoint.cited(),
        ..block(1, 2, Parent { view: View::ZERO, digest: closing().checkpoint.block }, &[])
            .candidate()
            .clone()
    });
    let message = Message::PrePrepare(context_of(1).propose(&key(1, 1), &second));
    me.hear_in(1, 2, 1, message);
    assert_eq!(me.voted(Prepare, 1), [second.digest()]);
    // Started again from the same ledger, it knows what it signed.
    let again = in_epoch_1(me.records);
    assert!(again.replica.own_in(View(1)).is_some_and(|own| own.prepare.is_some()));
}

#[test]
fn p7_records_that_are_made_in_an_older_epoch_than_the_journals_last_are_not_taken_for_its_own() {
    let later =
        vec![Record::Epoch(Epoch(1), Some(closing())), Record::Vote(own_vote(1, Prepare, 7, item(7)))];
    for rewritten in [false, true] {
        let mut me = Driven::from(later.clone(), Tip::genesis(&founded(4)));
        if rewritten {
            me.records = me.replica.records();
        }
        // In epoch 0 again, for want of a newer ledger: it follows, and signs nothing, since that epoch is over.
        let first = block(1, 1, genesis_parent(), &[item(1)]);
        me.hear_valid(1, &first);
        me.hear(2, 1, Message::Certificate(certificate(Prepare, 1, first.digest())));
        assert!(me.voted(Prepare, 1).is_empty() && me.voted(Commit, 1).is_empty());
        let in_0 = Driven::from(me.records.clone(), Tip::genesis(&founded(4)));
        assert!(in_0.view() == 2 && in_0.replica.own_in(View(7)).is_none(), "rewritten: {rewritten}");
        let in_1 = in_epoch_1(me.records);
        assert!(in_1.view() == 1 && in_1.replica.own_in(View(7)).is_some(), "rewritten: {rewritten}");
    }
}

#[test]
fn p7_records_of_a_later_epoch_are_put_aside_and_taken_up_when_it_begins() {
    let later = vec![
        Record::Epoch(Epoch(1), Some(closing())),
        Record::Vote(own_vote(1, Prepare, 1, item(7))),
        Record::Certificate(certificate_of(1, Prepare, 1, item(7))),
        // The ledger was lost, and the epoch entered again.
        Record::Epoch(Epoch::ZERO, None),
        Record::Epoch(Epoch(1), Some(closing())),
        Record::Vote(own_vote(1, Commit, 1, item(7))),
    ];
    let mut me = Driven::from(later, Tip::genesis(&founded(4)));
    assert!(me.replica.own_in(View(1)).is_none());
    let me_again = Driven::from(me.replica.records(), Tip::genesis(&founded(4)));
    assert_eq!(me.replica.later, me_again.replica.later, "a rewritten journal holds them, each once");
    follow_into_epoch_1(&mut me);
    let own = me.replica.own_in(View(1)).unwrap();
    assert!(own.prepare.is_some() && own.commit.is_some());
    assert_eq!(me.view(), 2, "the certificate that is known opens the next view");
}

fn certificate_of(epoch: u64, kind: VoteKind, view: u64, digest: Digest) -> Certificate {
    let context = context_of(epoch);
    let signatures = (1..4).map(|voter| {
        let vote = context.vote((ValidatorIndex(voter), &key(1, voter)), kind, View(view), digest);
        (vote.voter, vote.signature)
    });
    Certificate { kind, view: View(view), digest, signatures: signatures.collect() }
}

#[test]
fn p7_what_was_told_in_a_later_epoch_holds_there_and_not_before() {
    let records = vec![
        Record::Wiped,
        Record::Epoch(Epoch(1), Some(closing())),
        Record::Recovered { epoch: Epoch(1), bar: View(17) },
    ];
    for rewritten in [false, true] {
        let mut me = Driven::start(Driven::config(), records.clone(), Tip::genesis(&founded(4)));
        assert!(matches!(me.replica.report(), Report::Wiped { answers: 0, .. }), "nobody told in epoch 0");
        if rewritten {
            me = Driven::start(Driven::config(), me.replica.records(), Tip::genesis(&founded(4)));
        }
        follow_into_epoch_1(&mut me);
        assert!(matches!(me.replica.report(), Report::Inquiring { .. }));
        for peer in [1, 2] {
            me.hear_in(1, 20, peer, Message::OwnVotes(Vec::new()));
        }
        assert_eq!(me.replica.report(), Report::Barred(View(17)), "rewritten: {rewritten}");
    }
    // Unless the journal was lost again since.
    let lost = Config { memory: Memory::Lost, ..Driven::config() };
    let mut me = Driven::start(lost, records, Tip::genesis(&founded(4)));
    follow_into_epoch_1(&mut me);
    assert!(matches!(me.replica.report(), Report::Wiped { .. }));
}

#[test]
fn p7_nothing_is_signed_again_where_the_records_were_pruned_though_the_ledger_is_lost() {
    let mut me = Driven::new();
    let first = block(1, 1, genesis_parent(), &[item(1)]);
    me.hear_valid(1, &first);
    me.hear_two(2, Prepare, 1, first.digest());
    me.hear_two(3, Commit, 1, first.digest());
    // Of a block that became final by its checkpoint alone, no certificate keeps the view up.
    let without_votes = |records: Vec<Record>| {
        let kept = |record: &Record| matches!(record, Record::Epoch(..) | Record::Floor(_));
        records.into_iter().filter(kept).collect::<Vec<_>>()
    };
    let pruned = without_votes(me.replica.records());
    for (records, signs) in [(pruned, false), (Vec::new(), true)] {
        let mut again = Driven::from(records, Tip::genesis(&founded(4)));
        again.hear_valid(4, &block(1, 1, genesis_parent(), &[item(2)]));
        assert_eq!(!again.voted(Prepare, 1).is_empty(), signs);
    }
}

#[test]
fn p7_a_vote_of_an_epoch_that_the_records_know_to_be_over_does_not_mean_that_they_are_lost() {
    let records =
        vec![Record::Epoch(Epoch(1), Some(closing())), Record::Vote(own_vote(1, Prepare, 1, item(1)))];
    let mut me = Driven::start(Driven::config(), records, Tip::genesis(&founded(4)));
    me.hear(1, 1, Message::OwnVotes(vec![own_vote(0, Prepare, 5, item(5))]));
    assert_eq!(me.replica.report(), Report::Inquiring { answers: 1, needed: 2 });
    assert!(!me.records.contains(&Record::Wiped));
}

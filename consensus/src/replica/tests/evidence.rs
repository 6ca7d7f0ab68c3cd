//! P13: who contradicts itself is accused, with a proof that anybody can check; who repeats itself is not.

use super::*;
use crate::evidence::{EvidenceError, Statement};

use VoteKind::{Commit, Prepare, ViewChange};

fn accused_by(messages: &[Message]) -> Vec<Evidence> {
    let mut me = Driven::new();
    for message in messages {
        me.hear(1, 1, message.clone());
    }
    for evidence in &me.accused {
        assert_eq!(evidence.validator, key(1, 1).public());
        assert!(evidence.clone().verify(&context()).is_ok(), "{evidence:?}");
    }
    me.accused
}

/// Each kind of contradiction, by validator 1, who leads view 1.
fn contradictions() -> Vec<[Message; 2]> {
    let of = |kind, digest| vote(1, kind, 1, digest);
    let block_of = |number| block(1, 1, genesis_parent(), &[item(number)]);
    let result = result_of(&block_of(1), None);
    vec![
        [of(Prepare, item(1)), of(Prepare, item(2))],
        [of(Commit, item(1)), of(Commit, item(2))],
        [of(Commit, item(1)), of(ViewChange, Digest::ZERO)],
        [proposal(&block_of(1)), proposal(&block_of(2))],
        [signed_result(1, &result), signed_result(1, &Checkpoint { state_root: item(9), ..result.clone() })],
    ]
}

#[test]
fn p13_each_kind_of_contradiction_is_brought_up_once_in_either_order() {
    for [first, second] in contradictions() {
        let both = [first.clone(), second.clone(), first.clone(), second.clone()];
        let accused = accused_by(&both);
        assert_eq!(accused.len(), 1, "{first:?} {second:?}");
        let reversed = accused_by(&[second, first]);
        assert_eq!(reversed.len(), 1);
        assert_eq!(accused[0].case(), reversed[0].case(), "it is one case, whatever was seen first");
    }
}

#[test]
fn p13_nobody_is_accused_for_what_an_honest_replica_says() {
    let first = block(1, 1, genesis_parent(), &[item(1)]);
    let result = result_of(&first, None);
    let honest = [
        proposal(&first),
        vote(1, Prepare, 1, first.digest()),
        vote(1, Commit, 1, first.digest()),
        signed_result(1, &result),
        signed_result(1, &Checkpoint { height: Height(2), ..result }),
        vote(1, Prepare, 2, item(2)),
        vote(1, ViewChange, 2, Digest::ZERO),
        vote(1, ViewChange, 3, Digest::ZERO),
        vote(1, Prepare, 3, item(3)),
    ];
    assert!(accused_by(&[honest.clone(), honest].concat()).is_empty());
}

#[test]
fn p13_a_checkpoint_that_contradicts_a_signature_in_a_certificate_is_brought_up() {
    let first = block(1, 1, genesis_parent(), &[]);
    let result = result_of(&first, None);
    let certificate = Message::CheckpointCertificate(certified(&result));
    let other = signed_result(1, &Checkpoint { state_root: item(9), ..result });
    assert_eq!(accused_by(&[certificate.clone(), other.clone()]).len(), 1);
    assert_eq!(accused_by(&[other, certificate]).len(), 1);
}

#[test]
fn p13_one_validator_is_accused_a_bounded_number_of_times() {
    let mut messages = Vec::new();
    for view in 1..=5 {
        for digest in [item(1), item(2)] {
            messages.extend([Prepare, Commit].map(|kind| vote(1, kind, view, digest)));
        }
    }
    assert_eq!(accused_by(&messages).len(), 4);
}

#[test]
fn p13_what_proves_nothing_is_refused() {
    let [first, second] = &contradictions()[0];
    let good = accused_by(&[first.clone(), second.clone()]).remove(0);
    let refused = |change: &dyn Fn(&mut Evidence)| {
        let mut bad = good.clone();
        change(&mut bad);
        bad.verify(&context()).unwrap_err()
    };
    assert_eq!(refused(&|bad| bad.epoch = Epoch(1)), EvidenceError::OtherEpoch(Epoch(1), Epoch::ZERO));
    let stranger = key(1, 9).public();
    assert_eq!(refused(&|bad| bad.validator = stranger), EvidenceError::NotAValidator(stranger));
    assert_eq!(refused(&|bad| bad.validator = key(1, 2).public()), EvidenceError::Signature);
    assert_eq!(refused(&|bad| bad.second = bad.first), EvidenceError::NoContradiction);
    assert_eq!(refused(&|bad| bad.second.view = View(2)), EvidenceError::NoContradiction);
    assert_eq!(refused(&|bad| bad.second.digest = item(3)), EvidenceError::Signature);
    assert_eq!(refused(&|bad| bad.second.signature = bad.first.signature), EvidenceError::Signature);
    // Two answers to one nonce from two views are no contradiction.
    let answer = |digest| Statement { kind: crate::message::Kind::Attestation, digest, ..good.first };
    assert!(!answer(item(1)).contradicts(&answer(item(2))));
}

use genesis::encoding::decode;
use genesis::{Height, PublicKey};

use super::*;
use crate::samples::{added, consensus_key, genesis, governance_key, proposed, validator, voted};
use crate::{CheckedTransaction, Operation, Transaction, TransactionError};

fn check(change: Change) -> Result<(), TransactionError> {
    CheckedTransaction::check(proposed(0, 0, change), &genesis()).map(drop)
}

fn fault(change: Change) -> String {
    check(change).unwrap_err().to_string()
}

#[test]
fn who_joins_must_have_signed_that_it_is_ready_as_just_this_validator_on_this_chain() {
    check(added(4)).unwrap();
    let (chain, joining) = (genesis().chain(), validator(4));
    let elsewhere = Validator { address: "10.0.0.1:1".into(), ..joining.clone() };
    let other_governor = Validator { governance_key: validator(5).governance_key, ..joining.clone() };
    for ready in [
        sign_ready(&chain, &joining, &consensus_key(5)),
        sign_ready(&chain, &joining, &governance_key(4)),
        sign_ready(&chain, &elsewhere, &consensus_key(4)),
        sign_ready(&chain, &other_governor, &consensus_key(4)),
        sign_ready(&Digest::ZERO, &joining, &consensus_key(4)),
        // What it signs for another purpose is no such word.
        consensus_key(4).sign(&encode(&joining)),
    ] {
        let validator = joining.clone();
        for change in [
            Change::AddValidator { validator: validator.clone(), ready },
            Change::ReplaceValidator { name: "node1".into(), validator, ready },
        ] {
            let error = fault(change);
            assert!(error.contains("`ready` is not") && error.contains("`node4`"), "{error}");
        }
    }
}

/// The rule is one: also where the consensus key stays, it signs the new entry.
#[test]
fn a_new_address_needs_the_consensus_keys_word_too() {
    let moved = Validator { address: "10.0.0.1:1".into(), ..validator(1) };
    let replace = |ready| Change::ReplaceValidator { name: "node1".into(), validator: moved.clone(), ready };
    check(replace(sign_ready(&genesis().chain(), &moved, &consensus_key(1)))).unwrap();
    assert!(
        fault(replace(sign_ready(&genesis().chain(), &validator(1), &consensus_key(1)))).contains("`ready`")
    );
}

#[test]
fn an_unsound_validator_is_refused_by_field_though_it_is_ready() {
    let sound = validator(4);
    let weak = PublicKey::Ed25519(std::array::from_fn(|index| u8::from(index == 0)));
    for (unsound, field) in [
        (Validator { name: "Ä".into(), ..sound.clone() }, "validator.name: "),
        (Validator { address: "nowhere".into(), ..sound.clone() }, "validator.address: "),
        (Validator { network_key: weak, ..sound.clone() }, "validator.network_key: "),
        (Validator { network_key: sound.governance_key, ..sound.clone() }, "validator.governance_key: "),
    ] {
        let ready = sign_ready(&genesis().chain(), &unsound, &consensus_key(4));
        let error = fault(Change::AddValidator { validator: unsound, ready });
        assert!(error.starts_with(field), "{error}");
    }
}

#[test]
fn parameters_out_of_range_or_founded_for_good_are_refused_by_name() {
    let set = |change: fn(&mut Parameters)| {
        let mut parameters = genesis().parameters().clone();
        change(&mut parameters);
        Change::SetParameters(parameters)
    };
    check(set(|it| it.delta_ms = 500)).unwrap();
    assert!(fault(set(|it| it.delta_ms = 1)).starts_with("delta_ms is 1, but must be 10 to "));
    let error = fault(set(|it| it.max_batch_bytes = 2 << 20));
    assert!(error.starts_with("max_batch_bytes stays as the network was founded, 1048576"), "{error}");
}

#[test]
fn proposals_and_votes_survive_their_bytes_and_their_json() {
    let (moved, name) = (Validator { address: "10.0.0.1:1".into(), ..validator(1) }, "node1".to_owned());
    let ready = sign_ready(&genesis().chain(), &moved, &consensus_key(1));
    let proposals = [
        added(4),
        Change::RemoveValidator { name: name.clone() },
        Change::ReplaceValidator { name, validator: moved, ready },
        Change::SetParameters(genesis().parameters().clone()),
    ];
    let vote = voted(0, 0, Digest::ZERO, false);
    for transaction in proposals.map(|change| proposed(0, 0, change)).into_iter().chain([vote]) {
        let bytes = encode(&transaction);
        assert_eq!(decode::<Transaction>(&bytes, bytes.len()).unwrap(), transaction);
        let json = serde_json::to_string(&transaction).unwrap();
        assert_eq!(serde_json::from_str::<Transaction>(&json).unwrap(), transaction);
        assert_eq!(transaction.operation.did(), None);
    }
}

#[test]
fn the_bytes_and_ids_of_proposals_and_votes_are_frozen() {
    let chain = Digest::from_bytes([9; 32]);
    let sign = |operation| Transaction::sign(chain, operation, Height(1_000), &[&governance_key(0)]);
    let joining = Validator { address: "10.0.0.1:26600".into(), ..validator(4) };
    let ready = sign_ready(&chain, &joining, &consensus_key(4));
    let add = Change::AddValidator { validator: joining, ready };
    let remove = Change::RemoveValidator { name: "node1".into() };
    let found = [add, remove, Change::SetParameters(Parameters::default())]
        .map(|change| Operation::Propose(Box::new(Propose { change })))
        .into_iter()
        .chain([Operation::Vote(crate::GovernanceVote { proposal: Digest::ZERO, approve: true })])
        .map(|operation| sign(operation).id().to_string());
    assert_eq!(found.collect::<Vec<_>>(), FROZEN);
}

/// The ids of an addition, a removal, parameters and a vote.
const FROZEN: [&str; 4] = [
    "7baab50bc99cf966236cd2c8620c5f02ba92e14200ffb08bc5c3357582db83e9",
    "ca90f41c99cec00c7eb64eb5f996f32bee6e33f0da979f6b6b8c6d3ab1b21c1e",
    "41668ab37cc5ba6123d58ee1e00f74c10c772d1b4f6be0077b1967464f8b55ac",
    "f85d84553a04d17019d5b900820599c670c0d3c8070a15aaa93c268414f21dc3",
];

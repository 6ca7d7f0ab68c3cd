use std::sync::Arc;

use genesis::{Digest, Height, Registration};

use super::*;
use crate::operation::{Item, Reason};
use crate::registry::Grant;
use crate::samples::{
    Memory, accredited, batch, create, created, document, genesis, grant, item, key, moment, proposed,
    service, signed, updated, voted,
};
use crate::{
    ApplyError, Changes, CheckedTransaction, Create, ItemReceipt, Operation, Transaction, TransactionError,
    Update, apply,
};

fn run(state: &mut Memory, height: u64, transactions: &[Transaction]) -> Changes {
    let changes = apply(state, moment(height), None, &[batch(height, transactions).0]).unwrap();
    state.take(changes.clone());
    changes
}

fn codes(changes: &Changes) -> Vec<Code> {
    changes.receipts.iter().map(|receipt| receipt.code).collect()
}

fn did(subject: u8) -> DidId {
    create(&[subject]).did()
}

/// DID 3 is a registrar, 5 an issuer.
fn world() -> Memory {
    let mut state = Memory::default();
    let entries = [accredited(3, Role::Registrar), accredited(5, Role::Issuer)];
    state.registry.extend(entries.map(|entry| (entry.key(), entry)));
    run(&mut state, 1, &[created(1), created(3), created(5)]);
    state
}

fn accreditation(state: &Memory, subject: u8, role: Role) -> Accreditation {
    match &state.registry[&RegistryKey::Accreditation(did(subject), role)] {
        RegistryEntry::Accreditation(accreditation) => accreditation.clone(),
        other => panic!("{other:?} is not an accreditation"),
    }
}

fn many(items: Vec<Item>) -> Transaction {
    signed(Operation::CreateMany(CreateMany { registrar: did(3), items }), 3)
}

fn endorsed(subject: u8, number: u64) -> Transaction {
    let operation = Operation::Endorse(Endorse { did: did(subject), registrar: did(3) });
    Transaction::sign(genesis().chain(), operation, Height(900 + number), &[&key(3)])
}

fn withdrawn(subject: u8, reason: Reason) -> Transaction {
    let registrar = did(3);
    signed(Operation::WithdrawEndorsement(WithdrawEndorsement { did: did(subject), registrar, reason }), 3)
}

/// What validators 0, 1 and 2 decide in one block.
fn decide(state: &mut Memory, height: u64, change: Change) -> Vec<Code> {
    let proposal = proposed(0, height, change);
    let votes = [1, 2].map(|member| voted(member, height, proposal.id(), true));
    codes(&run(state, height, &[&[proposal][..], &votes].concat()))
}

#[test]
fn the_validators_accredit_suspend_reinstate_and_withdraw_at_once() {
    let mut state = Memory::default();
    run(&mut state, 1, &[created(1), created(2), created(3)]);
    let (subject, role) = (did(3), Role::Registrar);
    let changes = [
        Change::Suspend { did: subject, role },
        Change::Reinstate { did: subject, role },
        Change::WithdrawAccreditation { did: subject, role },
    ];
    for change in changes.clone() {
        let code = codes(&run(&mut state.clone(), 2, &[proposed(0, 1, change)]));
        assert_eq!(code, [Code::InvalidChange], "it is not accredited yet");
    }
    assert_eq!(decide(&mut state, 2, Change::Accredit(Box::new(grant(3, role)))), [Code::Applied; 3]);
    let made = accreditation(&state, 3, role);
    assert_eq!((made.status, made.at, made.quota), (Status::Active, moment(2), 10));
    assert!(state.governance.pending.is_none(), "no epoch's end is waited for");
    for (height, change, subject, code) in [
        (3, changes[0].clone(), 1, Code::AccreditationSuspended),
        (4, changes[1].clone(), 1, Code::Applied),
        (5, changes[2].clone(), 2, Code::NotAccredited),
    ] {
        assert_eq!(decide(&mut state, height, change), [Code::Applied; 3]);
        assert_eq!(codes(&run(&mut state.clone(), height + 1, &[endorsed(subject, height)])), [code]);
    }
    // On new terms it holds again; what it did is not forgotten.
    assert_eq!(decide(&mut state, 6, Change::Accredit(Box::new(grant(3, role)))), [Code::Applied; 3]);
    assert_eq!(accreditation(&state, 3, role).status, Status::Active);
}

#[test]
fn an_accreditation_that_another_vote_changed_first_closes_the_proposal_without_effect() {
    let mut state = world();
    let (subject, role) = (did(3), Role::Registrar);
    let late = proposed(3, 9, Change::Suspend { did: subject, role });
    run(&mut state, 2, std::slice::from_ref(&late));
    assert_eq!(
        decide(&mut state, 3, Change::WithdrawAccreditation { did: subject, role }),
        [Code::Applied; 3]
    );
    let votes = [0, 1].map(|member| voted(member, 9, late.id(), true));
    assert_eq!(codes(&run(&mut state, 4, &votes)), [Code::Applied, Code::ChangeNoLongerFits]);
    assert!(!state.governance.proposals.contains_key(&late.id()));
    assert_eq!(accreditation(&state, 3, role).status, Status::Withdrawn);
}

#[test]
fn terms_that_mean_nothing_are_refused_on_entry() {
    let fault = |change: &dyn Fn(&mut Grant)| {
        let mut grant = grant(3, Role::Issuer);
        change(&mut grant);
        let transaction = proposed(0, 0, Change::Accredit(Box::new(grant)));
        CheckedTransaction::check(transaction, &genesis()).unwrap_err().to_string()
    };
    assert!(fault(&|it| it.scope = vec!["id".into(); 17]).starts_with("the scope has 17 words"));
    for word in ["", "Id", "a b", &"x".repeat(65)] {
        assert!(fault(&|it| it.scope = vec!["id".into(), word.into()]).starts_with("scope[1]: `"));
    }
    assert!(fault(&|it| it.valid_until = it.valid_from).starts_with("valid_until"));
}

#[test]
fn of_a_registrars_list_the_item_that_exists_fails_and_the_rest_lands() {
    let mut state = world();
    let changes = run(&mut state, 2, &[many(vec![item(30, 3), item(1, 3), item(31, 3), item(30, 3)])]);
    assert_eq!(codes(&changes), [Code::Applied]);
    let results = [(30, Code::Applied), (1, Code::DidExists), (31, Code::Applied), (30, Code::DidExists)];
    let expected = results.map(|(subject, code)| ItemReceipt { did: did(subject), code });
    assert_eq!(changes.receipts[0].items, expected);
    assert_eq!(changes.records.len(), 2);
    for record in &changes.records {
        let endorsement = record.header.endorsement.unwrap();
        assert_eq!((endorsement.registrar, endorsement.at, endorsement.withdrawn), (did(3), moment(2), None));
    }
    assert_eq!(accreditation(&state, 3, Role::Registrar).registrations, 2);
    // What was registered this way belongs to its owner.
    assert_eq!(
        codes(&run(&mut state, 3, &[updated(30, 1, &[40], 3), updated(30, 1, &[40], 30)])),
        [Code::Unauthorised, Code::Applied]
    );
}

#[test]
fn an_item_without_its_owners_proof_for_this_registrar_and_expiry_is_refused_by_its_place() {
    let error = |items: Vec<Item>| {
        let transaction = many(items);
        let single = CheckedTransaction::check(transaction.clone(), &genesis()).unwrap_err();
        let wire = crate::Batch {
            author: key(1).public(),
            sequence: 1,
            expires_at: Height(9),
            transactions: vec![created(9), transaction],
        };
        let batch = crate::CheckedBatch::decode_and_check(&wire.encode(), &genesis()).unwrap_err();
        assert_eq!(batch.to_string(), format!("transaction 1: {single}"));
        single
    };
    let forged = Item { proof: item(31, 3).proof, ..item(30, 3) };
    for bad in [forged, item(30, 4)] {
        let found = error(vec![item(31, 3), bad]).to_string();
        assert!(found.starts_with("items[1]: the proof by `z6Mk"), "{found}");
    }
    let later = many(vec![item(30, 3)]);
    let later = Transaction::sign(later.chain, later.operation, Height(999), &[&key(3)]);
    let found = CheckedTransaction::check(later, &genesis()).unwrap_err().to_string();
    assert!(found.starts_with("items[0]: the proof by"), "{found}");
    assert_eq!(
        error(vec![Item { key: 1, ..item(30, 3) }]).to_string(),
        "items[0]: key 1 is not the place of a capabilityInvocation key in the document"
    );
    let mut joint = item(30, 3);
    joint.document.threshold = 2;
    assert!(matches!(error(vec![joint]), TransactionError::Item { index: 0, .. }));
    assert_eq!(error(Vec::new()), TransactionError::ItemCount { count: 0, most: 64 });
}

#[test]
fn quotas_end_a_registrars_registrations_and_an_authors_in_a_block() {
    let mut state = world();
    let key = RegistryKey::Accreditation(did(3), Role::Registrar);
    let Some(RegistryEntry::Accreditation(entry)) = state.registry.get_mut(&key) else {
        panic!("accredited")
    };
    entry.quota = 1;
    let changes = run(&mut state, 2, &[many(vec![item(30, 3), item(31, 3)])]);
    let items: Vec<Code> = changes.receipts[0].items.iter().map(|item| item.code).collect();
    assert_eq!(items, [Code::Applied, Code::QuotaExceeded]);
    let create = Operation::Create(Create { registrar: Some(did(3)), ..create(&[32]) });
    let keys = [&crate::samples::key(3), &crate::samples::key(32)];
    let create = Transaction::sign(genesis().chain(), create, Height(900), &keys);
    assert_eq!(codes(&run(&mut state, 3, &[create])), [Code::QuotaExceeded]);

    Arc::make_mut(&mut state.governance).configuration.parameters.max_author_registrations = 2;
    let block = [created(40), created(41), created(42)];
    assert_eq!(
        codes(&run(&mut state, 4, &block)),
        [Code::Applied, Code::Applied, Code::TooManyRegistrations]
    );
    assert_eq!(codes(&run(&mut state, 5, &[created(43)])), [Code::Applied], "each block anew");
}

#[test]
fn where_endorsement_is_the_policy_only_the_accredited_register_alone() {
    let mut state = Memory::default();
    Arc::make_mut(&mut state.governance).configuration.parameters.registration = Registration::Endorsed;
    // The validators accredit the first registrar before its DID exists.
    assert_eq!(
        decide(&mut state, 1, Change::Accredit(Box::new(grant(3, Role::Registrar)))),
        [Code::Applied; 3]
    );
    assert_eq!(
        codes(&run(&mut state, 2, &[created(1), created(3)])),
        [Code::EndorsementRequired, Code::Applied]
    );
    let citizen = Operation::Create(Create { registrar: Some(did(3)), ..create(&[2]) });
    let both = Transaction::sign(genesis().chain(), citizen, Height(900), &[&key(2), &key(3)]);
    assert_eq!(both.operation.did(), Some(did(2)), "the registrar is no part of the inception");
    let changes = run(&mut state, 3, &[both, many(vec![item(30, 3)])]);
    assert_eq!(codes(&changes), [Code::Applied; 2]);
    assert!(changes.records.iter().all(|record| record.header.endorsement.is_some()));
    assert_eq!(accreditation(&state, 3, Role::Registrar).registrations, 2);
}

#[test]
fn an_endorsement_changes_the_header_in_place_and_makes_no_pending_update_fail() {
    let mut state = world();
    let changes = run(&mut state, 2, &[endorsed(1, 0), updated(1, 1, &[40], 1)]);
    assert_eq!(codes(&changes), [Code::Applied; 2]);
    assert_eq!((changes.receipts[0].did, changes.receipts[0].version), (Some(did(1)), None));
    let [first, second] = &changes.records[..] else { panic!("two records") };
    assert_eq!((first.header.version, second.header.version), (Version(1), Version(2)));
    assert!(first.header.endorsement.is_some() && second.header.endorsement == first.header.endorsement);
    assert_eq!(second.header.previous, first.header.digest(), "as it stood when version 2 was made");
    // Within one block the version just made is changed in place.
    let changes = run(&mut state, 3, &[updated(1, 2, &[41], 40), withdrawn(1, Reason::Death)]);
    assert_eq!(codes(&changes), [Code::Applied; 2]);
    let [record] = &changes.records[..] else { panic!("one record") };
    let withdrawal = record.header.endorsement.unwrap().withdrawn;
    assert_eq!(
        (record.header.version, withdrawal),
        (Version(3), Some(Withdrawal { reason: Reason::Death, at: moment(3) }))
    );
    assert_eq!(codes(&run(&mut state, 4, &[endorsed(1, 1)])), [Code::Applied], "it may be given again");
    assert_eq!(
        codes(&run(&mut state, 5, &[endorsed(77, 1), withdrawn(3, Reason::Other)])),
        [Code::NoSuchDid, Code::NotEndorsed]
    );
}

#[test]
fn services_are_for_those_whom_the_registry_accredits() {
    let mut state = world();
    let serving = |subject: u8| {
        let mut document = document(&[subject]);
        document.services = vec![service(1)];
        let update =
            Update { did: did(subject), replaces: Version(1), document, revealed: None, next_keys: None };
        signed(Operation::Update(update), subject)
    };
    let changes = run(&mut state, 2, &[serving(1), serving(3), serving(5)]);
    assert_eq!(codes(&changes), [Code::ServicesNotAllowed, Code::Applied, Code::Applied]);
}

#[test]
fn an_issuer_publishes_version_after_version_and_while_suspended_takes_back_only() {
    let mut state = world();
    let publish = |number, version, purpose, expiry| {
        let uri = "https://example.org/l".to_owned().try_into().unwrap();
        let (issuer, version, digest) = (did(5), Version(version), Digest::ZERO);
        let list = PublishStatusList { issuer, number, version, purpose, digest, uri };
        Transaction::sign(genesis().chain(), Operation::PublishStatusList(list), Height(expiry), &[&key(5)])
    };
    let block = [
        publish(1, 1, StatusPurpose::Revocation, 900),
        publish(1, 2, StatusPurpose::Message, 900),
        publish(1, 2, StatusPurpose::Revocation, 900),
        publish(1, 2, StatusPurpose::Revocation, 901),
        publish(2, 1, StatusPurpose::Refresh, 900),
    ];
    let results = [Code::Applied, Code::OtherPurpose, Code::Applied, Code::VersionMismatch, Code::Applied];
    assert_eq!(codes(&run(&mut state, 2, &block)), results);
    let RegistryEntry::StatusList(list) = &state.registry[&RegistryKey::StatusList(did(5), 1)] else {
        panic!("a status list")
    };
    assert_eq!((list.version, list.at, list.purpose), (Version(2), moment(2), StatusPurpose::Revocation));

    let suspend = Change::Suspend { did: did(5), role: Role::Issuer };
    assert_eq!(decide(&mut state, 3, suspend), [Code::Applied; 3]);
    let block = [
        publish(1, 3, StatusPurpose::Revocation, 902),
        publish(3, 1, StatusPurpose::Suspension, 902),
        publish(2, 2, StatusPurpose::Refresh, 902),
        publish(4, 1, StatusPurpose::Message, 902),
    ];
    let (yes, no) = (Code::Applied, Code::AccreditationSuspended);
    assert_eq!(codes(&run(&mut state, 4, &block)), [yes, yes, no, no]);
    let end = Change::WithdrawAccreditation { did: did(5), role: Role::Issuer };
    assert_eq!(decide(&mut state, 5, end), [Code::Applied; 3]);
    let last = publish(1, 4, StatusPurpose::Revocation, 903);
    assert_eq!(codes(&run(&mut state, 6, &[last])), [Code::NotAccredited]);
}

#[test]
fn a_build_stops_before_the_height_from_which_it_lacks_the_rules() {
    let mut state = Memory::default();
    let activate = |version, height| Change::ActivateRules { version, height: Height(height) };
    for bad in [activate(crate::governance::RULES, 9), activate(2, 2)] {
        assert_eq!(codes(&run(&mut state.clone(), 2, &[proposed(0, 1, bad)])), [Code::InvalidChange]);
    }
    assert_eq!(decide(&mut state, 2, activate(7, 5)), [Code::Applied; 3]);
    run(&mut state, 4, &[created(1)]);
    for height in [5, 6] {
        let error = apply(&state, moment(height), None, &[]).unwrap_err();
        assert!(matches!(error, ApplyError::UnknownRules { needed: 7, built: 1, .. }), "{error}");
        assert!(error.to_string().contains("install one that has version 7"), "{error}");
    }
    // Until then the validators may think again.
    let mut other = state.clone();
    assert_eq!(decide(&mut other, 4, activate(8, 6)), [Code::Applied; 3]);
    apply(&other, moment(5), None, &[]).unwrap();
}

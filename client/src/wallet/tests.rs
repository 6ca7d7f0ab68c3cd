use genesis::{Genesis, Parameters, UnixMillis, Validator};
use ledger::operation::{ItemError, Reason};
use ledger::resolution::did_document;
use ledger::{CheckedTransaction, Code};
use serde_json::json;

use super::*;

fn network() -> Genesis {
    let key = |seed: u8| SecretKey::from_seed([seed; 32]).public();
    let validator = Validator {
        name: "node0".into(),
        consensus_key: key(1),
        network_key: key(2),
        governance_key: key(3),
        address: "127.0.0.1:26600".into(),
    };
    Genesis::new("test".into(), UnixMillis(1), Parameters::default(), vec![validator]).unwrap()
}

fn terms() -> Terms {
    Terms { network: "test".into(), chain: network().chain(), expires_at: Height(100) }
}

/// What a node answers for the document that `transaction` brings.
fn resolution(did: &Did, transaction: &Transaction, version: u64) -> Value {
    let document = match &transaction.operation {
        Operation::Create(create) => Some(&create.document),
        Operation::Update(update) => Some(&update.document),
        Operation::Recover(recover) => Some(&recover.document),
        _ => None,
    };
    let (recovery, next_keys) = match &transaction.operation {
        Operation::Create(create) => (create.recovery, create.next_keys),
        Operation::Update(update) => (Digest::ZERO, update.next_keys),
        Operation::Recover(recover) => (recover.recovery, recover.next_keys),
        _ => (Digest::ZERO, None),
    };
    json!({
        "didDocument": document.map(|document| did_document(did, document)),
        "didResolutionMetadata": {},
        "didDocumentMetadata": {
            "versionId": version.to_string(),
            "deactivated": document.is_none(),
            "recoveryCommitment": recovery.to_string(),
            "nextKeysCommitment": next_keys.map(|commitment| commitment.to_string()),
        },
    })
}

fn created() -> (Entry, Current) {
    let entry = create(&terms());
    let transaction = &entry.pending.as_ref().unwrap().transaction;
    let current = Current::from_resolution(&entry.did, &resolution(&entry.did, transaction, 1)).unwrap();
    (entry, current)
}

fn number(number: u16) -> KeyNumber {
    KeyNumber::new(number).unwrap()
}

fn sound(pending: &Pending) {
    CheckedTransaction::check(pending.transaction.clone(), &network()).unwrap();
}

#[test]
fn a_registration_is_valid_and_names_the_did() {
    let (entry, current) = created();
    let pending = entry.pending.as_ref().unwrap();
    sound(pending);
    assert_eq!(pending.transaction.operation.did(), Some(entry.did.id()));
    assert_eq!((current.version, current.keys[0].purposes), (Version(1), Purposes::SIGNING));
    assert_ne!(create(&terms()).did, entry.did);
}

#[test]
fn a_rotation_holds_the_key_that_was_committed_to_and_is_signed_by_it_and_commits_to_the_next() {
    let (mut entry, current) = created();
    let first = entry.next[0].public();
    let (brought, pending) = update(&terms(), &entry, &current, Present::Drop, 20).unwrap();
    sound(&pending);
    let Operation::Update(operation) = &pending.transaction.operation else { panic!("an update") };
    let numbers: Vec<u16> = operation.document.keys.iter().map(|key| key.number.get()).collect();
    assert_eq!((numbers, operation.replaces), (vec![2], Version(1)));
    assert_eq!(operation.document.keys[0].public, first.into());
    assert_eq!((&operation.revealed, &pending.transaction.signers), (&Some(KeySet::of(first)), &vec![first]));
    assert_eq!(operation.next_keys, brought.next.as_ref().map(committed));
    // The next one is signed by the key that this one commits to, also where this one never lands.
    let answer = resolution(&entry.did, &pending.transaction, 2);
    entry.keys.extend(brought.key);
    entry.next.extend(brought.next);
    let later = Current::from_resolution(&entry.did, &answer).unwrap();
    let signers = |current: &Current| {
        let (_, pending) = update(&terms(), &entry, current, Present::Drop, 20).unwrap();
        sound(&pending);
        pending.transaction.signers
    };
    assert_eq!(signers(&later), [entry.next[1].public()]);
    assert_eq!(signers(&current), [first]);
}

#[test]
fn without_a_commitment_a_current_key_signs_and_a_fresh_one_comes() {
    let (entry, mut current) = created();
    current.next_keys = None;
    let (brought, pending) = update(&terms(), &entry, &current, Present::Drop, 20).unwrap();
    sound(&pending);
    assert_eq!(pending.transaction.signers, [entry.keys[0].secret.public()]);
    let Operation::Update(operation) = &pending.transaction.operation else { panic!("an update") };
    assert_eq!(operation.document.keys[0].public, brought.key.unwrap().secret.public().into());
    assert!(operation.revealed.is_none() && operation.next_keys.is_some());
}

#[test]
fn a_recovery_brings_keys_of_every_kind_and_is_signed_by_the_recovery_key_alone() {
    let (entry, current) = created();
    let (brought, pending) = recover(&terms(), &entry, &current).unwrap();
    sound(&pending);
    assert_eq!(pending.transaction.signers, [entry.recovery[0].public()]);
    let Operation::Recover(operation) = &pending.transaction.operation else { panic!("a recovery") };
    assert_eq!(operation.document.keys[0].public, brought.key.unwrap().secret.public().into());
    assert_eq!(Some(operation.recovery), brought.recovery.as_ref().map(committed));
    assert_eq!(operation.next_keys, brought.next.as_ref().map(committed));
}

#[test]
fn a_key_that_is_committed_to_but_not_held_is_named_with_the_way_out() {
    let (entry, mut current) = created();
    (current.recovery, current.next_keys) = (Digest::ZERO, Some(Digest::ZERO));
    let error = update(&terms(), &entry, &current, Present::Drop, 20).unwrap_err().to_string();
    assert!(error.contains("next key") && error.contains("realdid did recover"), "{error}");
    let error = recover(&terms(), &entry, &current).unwrap_err().to_string();
    assert!(error.contains("recovery key") && error.contains(&Digest::ZERO.to_string()), "{error}");
}

#[test]
fn an_added_key_stands_beside_the_present_ones() {
    let (mut entry, current) = created();
    let (brought, pending) = update(&terms(), &entry, &current, Present::Keep, 20).unwrap();
    let Operation::Update(operation) = &pending.transaction.operation else { panic!("an update") };
    assert_eq!(operation.document.keys.len(), 2);
    entry.keys.extend(brought.key);
    entry.next.extend(brought.next);
    let current =
        Current::from_resolution(&entry.did, &resolution(&entry.did, &pending.transaction, 2)).unwrap();
    assert_eq!((current.keys.len(), current.version), (2, Version(2)));
    let error = update(&terms(), &entry, &current, Present::Keep, 2).unwrap_err();
    assert!(matches!(error, WalletError::TooManyKeys { count: 2, .. }), "{error}");
}

#[test]
fn a_key_that_a_node_slips_in_is_never_signed_for() {
    let (entry, mut current) = created();
    let foreign = SecretKey::from_seed([9; 32]).public();
    current.keys.push(ShownKey { number: number(9), public: foreign.into(), purposes: Purposes::SIGNING });
    let error = update(&terms(), &entry, &current, Present::Keep, 20).unwrap_err().to_string();
    assert!(error.contains(&foreign.to_string()) && error.contains("--add-key"), "{error}");
    let (_, pending) = update(&terms(), &entry, &current, Present::Drop, 20).unwrap();
    let Operation::Update(operation) = &pending.transaction.operation else { panic!("an update") };
    assert!(operation.document.keys.iter().all(|key| key.public != foreign.into()));
}

#[test]
fn a_number_is_never_given_to_a_second_key() {
    let (mut entry, mut current) = created();
    let next = |entry: &Entry, current: &Current| {
        update(&terms(), entry, current, Present::Drop, 20).unwrap().0.key.unwrap().number.get()
    };
    // Held, though it never reached the document.
    entry.keys.push(HeldKey { number: number(7), secret: SecretKey::generate() });
    assert_eq!(next(&entry, &current), 8);
    // Shown, though this keyring did not give it.
    let foreign = SecretKey::from_seed([9; 32]).public();
    current.keys.push(ShownKey { number: number(40), public: foreign.into(), purposes: Purposes::SIGNING });
    assert_eq!(next(&entry, &current), 41);
}

#[test]
fn a_node_that_claims_the_last_number_does_not_end_the_updates() {
    let (mut entry, mut current) = created();
    entry.keys.push(HeldKey { number: number(2), secret: SecretKey::generate() });
    let foreign = SecretKey::from_seed([9; 32]).public();
    current.keys.push(ShownKey {
        number: KeyNumber::LAST,
        public: foreign.into(),
        purposes: Purposes::SIGNING,
    });
    let (brought, pending) = update(&terms(), &entry, &current, Present::Drop, 20).unwrap();
    sound(&pending);
    assert_eq!(brought.key.unwrap().number, number(3));
    current.keys.extend((1..u16::MAX).map(|given| ShownKey {
        number: number(given),
        public: foreign.into(),
        purposes: Purposes::NONE,
    }));
    let error = update(&terms(), &entry, &current, Present::Drop, 20).unwrap_err().to_string();
    assert!(error.contains("65535") && error.contains("realdid did create"), "{error}");
}

#[test]
fn without_a_controlling_key_nothing_is_signed() {
    let (entry, mut current) = created();
    current.keys[0].purposes = Purposes::AUTHENTICATION;
    current.next_keys = None;
    let error = deactivate(&terms(), &entry, &current, Authority::Next).unwrap_err();
    assert!(matches!(error, WalletError::NoControl { held: 1, .. }), "{error}");
}

#[test]
fn a_deactivated_did_is_not_changed() {
    let (entry, current) = created();
    let by_recovery = deactivate(&terms(), &entry, &current, Authority::Recovery).unwrap();
    sound(&by_recovery);
    assert_eq!(by_recovery.transaction.signers, [entry.recovery[0].public()]);
    let pending = deactivate(&terms(), &entry, &current, Authority::Next).unwrap();
    sound(&pending);
    assert_eq!(pending.transaction.signers, [entry.next[0].public()]);
    let current =
        Current::from_resolution(&entry.did, &resolution(&entry.did, &pending.transaction, 2)).unwrap();
    assert!(current.deactivated);
    let error = update(&terms(), &entry, &current, Present::Drop, 20).unwrap_err();
    assert!(matches!(error, WalletError::Deactivated { .. }), "{error}");
    let error = recover(&terms(), &entry, &current).unwrap_err();
    assert!(matches!(error, WalletError::Deactivated { .. }), "{error}");
}

#[test]
fn a_change_for_another_chain_is_refused() {
    let (entry, current) = created();
    let other = Terms { chain: Digest::ZERO, ..terms() };
    let error = deactivate(&other, &entry, &current, Authority::Next).unwrap_err().to_string();
    assert!(error.contains(&Digest::ZERO.to_string()) && error.contains("--rpc"), "{error}");
}

#[test]
fn a_renewed_change_asks_for_the_same_with_a_later_expiry() {
    let (entry, _) = created();
    let old = entry.pending.as_ref().unwrap();
    let new = renew(&Terms { expires_at: Height(900), ..terms() }, &entry, None, old).unwrap();
    sound(&new);
    assert_eq!(new.transaction.operation, old.transaction.operation);
    assert_eq!((new.expires_at(), new.transaction.operation.did()), (Height(900), Some(entry.did.id())));
    assert_ne!(new.id, old.id);
    assert_eq!(new.transaction.check_expiry(Height(901), &Parameters::default()), Err(Code::Expired));
}

#[test]
fn an_answer_that_is_no_resolution_is_refused() {
    let (entry, _) = created();
    let transaction = &entry.pending.as_ref().unwrap().transaction;
    let sound = resolution(&entry.did, transaction, 1);
    let with = |change: &dyn Fn(&mut Value)| {
        let mut answer = sound.clone();
        change(&mut answer);
        Current::from_resolution(&entry.did, &answer).unwrap_err().to_string()
    };
    assert!(with(&|answer| *answer = json!(null)).contains("versionId"));
    assert!(with(&|answer| answer["didDocument"] = json!(null)).contains("not the DID's"));
    assert!(with(&|answer| answer["didDocument"]["id"] = json!("did:web:x")).contains("not the DID's"));
    assert!(
        with(&|answer| answer["didDocument"]["verificationMethod"] = json!(3)).contains("verificationMethod")
    );
    let (did, other) = (entry.did.to_string(), create(&terms()).did.to_string());
    for id in [format!("{did}#zhang-san"), format!("{did}#key-01"), did, format!("{other}#key-1")] {
        let error = with(&|answer| answer["didDocument"]["verificationMethod"][0]["id"] = json!(id));
        assert!(error.contains("#key-<n>"), "{error}");
    }
    assert!(with(&|answer| answer["didDocumentMetadata"]["versionId"] = json!("x")).contains("versionId"));
    let unsaid = with(&|answer| answer["didDocumentMetadata"]["recoveryCommitment"] = json!(null));
    assert!(unsaid.contains("recoveryCommitment"), "{unsaid}");
    let error = json!({ "detail": "did:x is not registered" });
    assert!(
        with(&|answer| answer["didResolutionMetadata"]["error"] = error.clone()).contains("not registered")
    );
}

#[test]
fn a_registrar_speaks_by_a_key_that_makes_statements() {
    let (entry, mut current) = created();
    let subject = create(&terms()).did;
    for word in [Word::Endorse, Word::Withdraw(Reason::Fraud)] {
        let pending = endorse(&terms(), &entry, &current, &subject, word).unwrap();
        sound(&pending);
        assert_eq!(pending.transaction.operation.did(), Some(subject.id()));
        assert_eq!(pending.transaction.signers, [entry.keys[0].secret.public()]);
    }
    current.keys[0].purposes = Purposes::CAPABILITY_INVOCATION;
    let error = endorse(&terms(), &entry, &current, &subject, Word::Endorse).unwrap_err();
    assert!(matches!(error, WalletError::NoAssertion { .. }), "{error}");
}

#[test]
fn what_owners_request_is_registered_by_the_registrar_that_they_named_until_then() {
    let (registrar, mut current) = created();
    let made = |count: usize| -> Vec<(Entry, Request)> {
        (0..count).map(|_| organisation::request(&terms(), &registrar.did)).collect()
    };
    let owners = made(3);
    let requests: Vec<Request> = owners.iter().map(|(_, request)| request.clone()).collect();
    // As it goes through a file.
    let text = serde_json::to_string(&requests).unwrap();
    assert_eq!(serde_json::from_str::<Vec<Request>>(&text).unwrap(), requests);
    // At a later height than the owners': theirs is the expiry.
    let later = Terms { expires_at: Height(900), ..terms() };
    let pending = organisation::create_many(&later, &registrar, &current, requests.clone()).unwrap();
    sound(&pending);
    assert_eq!(pending.expires_at(), Height(100));
    let Operation::CreateMany(create) = &pending.transaction.operation else { panic!("it creates many") };
    let dids: Vec<Did> = create.items.iter().map(|item| Did::new("test", item.did())).collect();
    assert_eq!(dids, owners.iter().map(|(entry, _)| entry.did.clone()).collect::<Vec<_>>());

    let refused = |change: &dyn Fn(&mut Request)| {
        let mut requests = requests.clone();
        change(&mut requests[1]);
        organisation::create_many(&terms(), &registrar, &current, requests).unwrap_err()
    };
    for error in [
        refused(&|request| request.expires_at = Height(101)),
        refused(&|request| request.chain = Digest::ZERO),
        refused(&|request| request.registrar = owners[0].0.did.clone()),
    ] {
        assert!(matches!(error, WalletError::OtherRequest { place: 2, .. }), "{error}");
    }
    let none = organisation::create_many(&terms(), &registrar, &current, Vec::new()).unwrap_err();
    assert!(matches!(none, WalletError::NoRequest), "{none}");
    current.keys[0].purposes = Purposes::CAPABILITY_INVOCATION;
    let error = organisation::create_many(&terms(), &registrar, &current, requests).unwrap_err();
    assert!(matches!(error, WalletError::NoAssertion { .. }), "{error}");
}

#[test]
fn a_registration_that_a_registrar_signed_too_is_renewed_with_its_key_and_not_without() {
    let (registrar, current) = created();
    let entry = organisation::create_endorsed(&terms(), &registrar, &current).unwrap();
    let pending = entry.pending.as_ref().unwrap();
    sound(pending);
    assert_eq!((pending.transaction.signers.len(), entry.co_signer()), (2, Some(registrar.did.clone())));
    let later = Terms { expires_at: Height(900), ..terms() };
    let renewed = renew(&later, &entry, Some(&registrar), pending).unwrap();
    sound(&renewed);
    assert_eq!(renewed.transaction.operation, pending.transaction.operation);
    let error = renew(&later, &entry, None, pending).unwrap_err();
    assert!(matches!(error, WalletError::NoControl { .. }), "{error}");
}

#[test]
fn an_update_drops_no_controllers_and_no_services_unasked() {
    let (entry, _) = created();
    let transaction = &entry.pending.as_ref().unwrap().transaction;
    for (name, what) in [("controller", "controllers"), ("service", "services")] {
        let mut resolution = resolution(&entry.did, transaction, 1);
        resolution["didDocument"][name] = json!(["did:realdid:test:z"]);
        let current = Current::from_resolution(&entry.did, &resolution).unwrap();
        for present in [Present::Drop, Present::Keep] {
            let error = update(&terms(), &entry, &current, present, 20).unwrap_err().to_string();
            assert!(error.contains(what) && error.contains("tx_submit"), "{error}");
        }
        // Whoever recovers a DID from a thief wants none of what the thief wrote.
        recover(&terms(), &entry, &current).unwrap();
    }
}

#[test]
fn a_request_that_a_node_would_refuse_is_found_alone() {
    let (registrar, _) = created();
    let (_, sound) = organisation::request(&terms(), &registrar.did);
    let (owner, other) = organisation::request(&terms(), &registrar.did);
    let checked = |change: &dyn Fn(&mut Request)| {
        let mut request = sound.clone();
        change(&mut request);
        request.check(&terms(), &registrar.did, &Parameters::default())
    };
    checked(&|_| {}).unwrap();
    // Its owner signed for that expiry, and no other key did.
    for change in
        [(|request, _| request.expires_at = Height(101)) as fn(&mut Request, &Request), |request, other| {
            request.item.proof = other.item.proof;
        }]
    {
        let error = checked(&|request| change(request, &other)).unwrap_err();
        assert!(
            matches!(&error, WalletError::Item(error) if matches!(**error, ItemError::Proof { .. })),
            "{error}"
        );
    }
    let error = checked(&|request| request.item.document.threshold = 2).unwrap_err();
    assert!(matches!(error, WalletError::Item(_)), "{error}");
    let error = checked(&|request| request.item.key = 3).unwrap_err();
    assert!(matches!(&error, WalletError::Item(error) if **error == ItemError::Key { key: 3 }), "{error}");
    for error in [
        checked(&|request| request.chain = Digest::ZERO).unwrap_err(),
        checked(&|request| request.registrar = owner.did.clone()).unwrap_err(),
    ] {
        assert!(matches!(error, WalletError::RequestForAnother { .. }), "{error}");
    }
}

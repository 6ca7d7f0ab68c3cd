use genesis::Height;
use proptest::prelude::*;

use super::*;
use crate::samples::{
    Memory, added, batch, commitments, create, created, deactivated, document, genesis, genesis_with, key,
    moment, proposed, recovered, recovery_key, signed, updated,
};
use crate::{Create, Deactivate, KeySet, Operation, Transaction, Update, Version};

/// Executes `transactions` as one batch of the block at `height`.
fn run(state: &mut Memory, height: u64, transactions: &[Transaction]) -> Changes {
    run_batches(state, height, &[batch(height, transactions).0])
}

fn run_batches(state: &mut Memory, height: u64, batches: &[Arc<CheckedBatch>]) -> Changes {
    let changes = apply(state, moment(height), None, batches).unwrap();
    state.take(changes.clone());
    changes
}

fn codes(changes: &Changes) -> Vec<Code> {
    changes.receipts.iter().map(|receipt| receipt.code).collect()
}

#[test]
fn a_did_lives_through_create_update_and_deactivate() {
    let mut state = Memory::default();
    let transactions = [created(1), updated(1, 1, &[2], 1), deactivated(1, 2, 2)];
    for (height, transaction) in (1..).zip(transactions) {
        let id = transaction.id();
        let changes = run(&mut state, height, &[transaction]);
        let version = Some(Version(height));
        let did = Some(create(&[1]).did());
        let expires_at = Height(1_000);
        let receipt = Receipt {
            id,
            height: Height(height),
            expires_at,
            index: 0,
            code: Code::Applied,
            did,
            version,
            items: Vec::new(),
        };
        assert_eq!(changes.receipts, [receipt]);
        assert_eq!((changes.records.len(), changes.records[0].header.version), (1, Version(height)));
        assert_eq!(changes.records[0].header.updated, moment(height));
    }
    let Ok(Some(record)) = state.record(&create(&[1]).did()) else { panic!("the DID is known") };
    assert!(record.is_deactivated());
}

#[test]
fn a_transaction_sees_the_changes_before_it_in_its_block() {
    let block = [created(1), updated(1, 1, &[2], 1), updated(1, 2, &[3], 2), deactivated(1, 3, 3)];
    let mut together = Memory::default();
    assert_eq!(codes(&run(&mut together, 1, &block)), [Code::Applied; 4]);
    let versions: Vec<Version> = together.records.keys().map(|(_, version)| *version).collect();
    assert_eq!(versions, [Version(1), Version(2), Version(3), Version(4)]);
    // A key that an update removed counts no more from there on.
    let block = [created(4), updated(4, 1, &[5], 4), updated(4, 2, &[6], 4)];
    assert_eq!(codes(&run(&mut together, 2, &block)), [Code::Applied, Code::Applied, Code::Unauthorised]);
}

#[test]
fn of_two_changes_to_one_version_the_first_is_applied() {
    let mut state = Memory::default();
    run(&mut state, 1, &[created(1)]);
    let changes =
        run(&mut state, 2, &[updated(1, 1, &[1, 2], 1), updated(1, 1, &[1, 3], 1), deactivated(1, 1, 1)]);
    assert_eq!(codes(&changes), [Code::Applied, Code::VersionMismatch, Code::VersionMismatch]);
    assert_eq!(changes.records.len(), 1);
}

#[test]
fn no_operation_passes_without_a_key_in_control() {
    let mut state = Memory::default();
    run(&mut state, 1, &[created(1)]);
    let stranger = [
        signed(Operation::Create(create(&[2])), 1),
        updated(1, 1, &[2], 9),
        updated(1, 1, &[2], 2),
        deactivated(1, 1, 9),
    ];
    let before = state.records.clone();
    assert_eq!(codes(&run(&mut state, 2, &stranger)), [Code::Unauthorised; 4]);
    assert_eq!(state.records, before);
}

/// Signs for DID 1, which commits to key 7 for its next change where it rotates.
fn rotating(next: Option<u8>) -> Transaction {
    let create = Create { next_keys: next.map(|next| key_set(next).commitment()), ..create(&[1]) };
    signed(Operation::Create(create), 1)
}

fn key_set(seed: u8) -> KeySet {
    KeySet::of(key(seed).public())
}

#[test]
fn a_stolen_key_cannot_stop_the_owner_from_recovering() {
    let mut state = Memory::default();
    let registration = rotating(None);
    let Some(did) = registration.operation.did() else { panic!("a create") };
    run(&mut state, 1, &[registration]);
    // The thief has the key in use, and races: each block holds its next version before the owner's word.
    let recovery = recovered(1, &[4], 1);
    let block = [updated(1, 1, &[9], 1), updated(1, 2, &[8], 9), recovery.clone(), updated(1, 3, &[9], 8)];
    let changes = run(&mut state, 2, &block);
    assert_eq!(codes(&changes), [Code::Applied, Code::Applied, Code::Applied, Code::VersionMismatch]);
    // What the thief signed ahead for the versions to come, and what it could repeat, is void.
    let late = [updated(1, 4, &[9], 8), deactivated(1, 4, 8), deactivated(1, 4, 1), recovery];
    assert_eq!(codes(&run(&mut state, 3, &late)), [Code::Unauthorised; 3]);
    let Ok(Some(record)) = state.record(&did) else { panic!("the DID is known") };
    assert_eq!((record.header.version, record.document), (Version(4), Some(document(&[4]))));
    assert_eq!(record.header.recovery, commitments(2).recovery);
    // The owner goes on with the new key, and with the new recovery key.
    let owner = [updated(1, 4, &[5], 4), recovered(1, &[6], 2)];
    assert_eq!(codes(&run(&mut state, 4, &owner)), [Code::Applied; 2]);
}

#[test]
fn with_pre_rotation_a_stolen_key_changes_nothing_and_ends_nothing() {
    let mut state = Memory::default();
    let registration = rotating(Some(7));
    let Some(did) = registration.operation.did() else { panic!("a create") };
    run(&mut state, 1, &[registration]);
    let update = |replaces, revealed, next_keys, signer| {
        let document = document(&[7]);
        let update = Update { did, replaces: Version(replaces), document, revealed, next_keys };
        signed(Operation::Update(update), signer)
    };
    let end = |replaces, revealed, signer| {
        signed(Operation::Deactivate(Deactivate { did, replaces, revealed }), signer)
    };
    let recovery = KeySet::of(recovery_key(1).public());
    let thief = [
        update(1, None, None, 1),
        update(1, Some(key_set(1)), None, 1),
        update(1, Some(key_set(7)), None, 1),
        end(Some(Version(1)), None, 1),
        end(Some(Version(1)), Some(key_set(7)), 1),
        end(None, Some(recovery), 1),
    ];
    let refusals = [
        Code::NotRevealed,
        Code::NotRevealed,
        Code::Unauthorised,
        Code::NotRevealed,
        Code::Unauthorised,
        Code::Unauthorised,
    ];
    assert_eq!(codes(&run(&mut state, 2, &thief)), refusals);
    let rotation = update(1, Some(key_set(7)), Some(key_set(8).commitment()), 7);
    assert_eq!(codes(&run(&mut state, 3, &[rotation])), [Code::Applied]);
    // A set that was revealed is not the next one.
    let again = update(2, Some(key_set(7)), None, 7);
    let ended = end(Some(Version(2)), Some(key_set(8)), 8);
    assert_eq!(codes(&run(&mut state, 4, &[again, ended])), [Code::NotRevealed, Code::Applied]);
}

/// The registration of the DID of key `subject` with these controllers.
fn controlled(subject: u8, controllers: &[DidId]) -> (DidId, Transaction) {
    let mut create = create(&[subject]);
    create.document.controllers = controllers.to_vec();
    (create.did(), signed(Operation::Create(create), subject))
}

fn controlled_update(did: DidId, replaces: u64, controllers: &[DidId], signer: u8) -> Transaction {
    let mut document = document(&[50]);
    document.controllers = controllers.to_vec();
    let update = Update { did, replaces: Version(replaces), document, revealed: None, next_keys: None };
    signed(Operation::Update(update), signer)
}

#[test]
fn a_controller_changes_and_ends_the_did_and_its_own_controllers_do_not() {
    let mut state = Memory::default();
    let guardian = create(&[1]).did();
    let (ward, registration) = controlled(2, &[guardian]);
    assert_eq!(codes(&run(&mut state, 1, &[created(1), created(3), registration])), [Code::Applied; 3]);
    // From now on the guardian is controlled itself: that gives its controller no say over the ward.
    let above = create(&[3]).did();
    let mut document = document(&[1]);
    document.controllers = vec![above];
    let update = Update { did: guardian, replaces: Version(1), document, revealed: None, next_keys: None };
    assert_eq!(codes(&run(&mut state, 2, &[signed(Operation::Update(update), 1)])), [Code::Applied]);
    let block = [
        controlled_update(ward, 1, &[], 3),
        controlled_update(ward, 1, &[], 9),
        // Nor can it be named any more, as it is controlled itself.
        controlled_update(ward, 1, &[guardian], 1),
        controlled_update(ward, 1, &[above], 1),
        controlled_update(ward, 2, &[], 3),
    ];
    let results =
        [Code::Unauthorised, Code::Unauthorised, Code::InvalidController, Code::Applied, Code::Applied];
    assert_eq!(codes(&run(&mut state, 3, &block)), results);
    // The guardian was dropped, and so was its successor.
    let end = |signer| {
        let deactivate = Deactivate { did: ward, replaces: Some(Version(3)), revealed: None };
        signed(Operation::Deactivate(deactivate), signer)
    };
    let late = [end(1), end(3), end(50)];
    let results = [Code::Unauthorised, Code::Unauthorised, Code::Applied];
    assert_eq!(codes(&run(&mut state, 4, &late)), results);
}

#[test]
fn a_controller_must_exist_be_active_be_another_and_have_none_itself() {
    let mut state = Memory::default();
    let (single, ended, unknown) = (create(&[1]).did(), create(&[2]).did(), create(&[9]).did());
    let (ward, registration) = controlled(3, &[single]);
    let block = [created(1), created(2), deactivated(2, 1, 2), registration];
    assert_eq!(codes(&run(&mut state, 1, &block)), [Code::Applied; 4]);
    for bad in [unknown, ended, ward] {
        let changes = run(&mut state.clone(), 2, &[controlled(4, &[single, bad]).1]);
        assert_eq!(codes(&changes), [Code::InvalidController], "{bad}");
    }
    // Nobody can name itself at its creation: its id covers its controllers. Later it can try.
    let changes = run(&mut state, 2, &[controlled_update(ward, 1, &[ward], 3)]);
    assert_eq!(codes(&changes), [Code::InvalidController]);
    // A controller that was ended has no say.
    let block =
        [deactivated(1, 1, 1), controlled_update(ward, 1, &[], 1), controlled_update(ward, 1, &[], 3)];
    assert_eq!(codes(&run(&mut state, 3, &block)), [Code::Applied, Code::Unauthorised, Code::Applied]);
}

#[test]
fn a_controller_reaches_its_own_threshold_with_its_own_keys() {
    let mut state = Memory::default();
    let mut joint = create(&[1, 2]);
    joint.document.threshold = 2;
    let (ward, registration) = controlled(3, &[joint.did()]);
    let both = Transaction::sign(genesis().chain(), Operation::Create(joint), Height(9), &[&key(1), &key(2)]);
    run(&mut state, 1, &[both, registration]);
    let alone = controlled_update(ward, 1, &[], 1);
    let mixed = Transaction::sign(alone.chain, alone.operation.clone(), Height(9), &[&key(1), &key(4)]);
    let both = Transaction::sign(alone.chain, alone.operation.clone(), Height(9), &[&key(1), &key(2)]);
    let changes = run(&mut state, 2, &[alone, mixed, both]);
    assert_eq!(codes(&changes), [Code::Unauthorised, Code::Unauthorised, Code::Applied]);
}

#[test]
fn updates_end_at_the_highest_version_and_recovery_and_the_end_stay_possible() {
    let mut state = Memory::default();
    Arc::make_mut(&mut state.governance).configuration.parameters.max_versions = 2;
    let block = [
        created(1),
        updated(1, 1, &[2], 1),
        updated(1, 2, &[3], 2),
        recovered(1, &[4], 1),
        updated(1, 3, &[5], 4),
        deactivated(1, 3, 4),
    ];
    let [applied, refused] = [Code::Applied, Code::TooManyVersions];
    assert_eq!(codes(&run(&mut state, 1, &block)), [applied, applied, refused, applied, refused, applied]);
}

#[test]
fn the_first_receipt_stands_and_repeats_leave_none() {
    let mut state = Memory::default();
    // Refused at first, as there is no such DID yet.
    let early = updated(1, 1, &[2], 1);
    assert_eq!(codes(&run(&mut state, 1, std::slice::from_ref(&early))), [Code::NoSuchDid]);
    run(&mut state, 2, &[created(1)]);
    let (first, second) =
        (batch(1, &[early, created(1), created(3)]).0, batch(2, &[created(3), created(4)]).0);
    let changes = run_batches(&mut state, 3, &[first, second]);
    assert_eq!(codes(&changes), [Code::Applied, Code::Applied]);
    let places: Vec<u32> = changes.receipts.iter().map(|receipt| receipt.index).collect();
    assert_eq!(places, [2, 4], "repeats count in the index");
    let Ok(Some(record)) = state.record(&create(&[1]).did()) else { panic!("the DID is known") };
    assert_eq!(record.header.version, Version(1), "a repeat is never executed, even where it would pass now");
}

#[test]
fn a_transaction_outside_its_window_changes_nothing_leaves_no_receipt_and_may_come_again() {
    let mut state = Memory::default();
    let sign = |subject: u8, expires_at: u64| {
        let operation = Operation::Create(create(&[subject]));
        Transaction::sign(genesis().chain(), operation, Height(expires_at), &[&key(subject)])
    };
    let most = genesis().parameters().max_transaction_lifetime;
    let block = [sign(1, 9), sign(2, 10), sign(3, 10 + most), sign(4, 11 + most)];
    let changes = run(&mut state, 10, &block);
    assert_eq!(codes(&changes), [Code::Applied; 2]);
    let kept: Vec<_> = changes.receipts.iter().map(|receipt| (receipt.index, receipt.expires_at)).collect();
    assert_eq!(kept, [(1, Height(10)), (2, Height(10 + most))]);
    assert_eq!(changes.records.len(), 2);
    // The one that came too early is in its window now; the one that came too late never is again.
    let changes = run(&mut state, 11, &block);
    let receipts: Vec<_> = changes.receipts.iter().map(|receipt| (receipt.id, receipt.code)).collect();
    assert_eq!(receipts, [(block[3].id(), Code::Applied)]);
}

#[test]
fn the_roots_tell_the_order_the_contents_and_the_moment_of_blocks_apart() {
    let after =
        |height: u64, transactions: &[Transaction]| run(&mut Memory::default(), height, transactions).outcome;
    let (one, other) = (created(1), created(2));
    let base = after(1, &[one.clone(), other.clone()]);
    assert_eq!(base, after(1, &[one.clone(), other.clone()]));
    for different in [
        after(1, &[other.clone(), one.clone()]),
        after(1, std::slice::from_ref(&one)),
        after(2, &[one, other]),
    ] {
        assert_ne!(different.state_root, base.state_root);
        assert_ne!(different.receipts_root, base.receipts_root);
        assert_eq!((different.configuration, different.pending), (base.configuration, base.pending));
    }
}

#[test]
fn the_order_of_two_blocks_shows_in_the_state_of_the_second() {
    let chain = |first: u8, second: u8| {
        let mut state = Memory::default();
        run(&mut state, 1, &[created(first)]);
        run(&mut state, 2, &[created(second)]).outcome.state_root
    };
    assert_ne!(chain(1, 2), chain(2, 1));
}

#[test]
fn an_empty_block_and_a_vote_alone_move_the_state() {
    let mut state = Memory::default();
    let founded = state.outcome;
    let empty = run_batches(&mut state, 1, &[]).outcome;
    assert_ne!(empty.state_root, founded.state_root);
    assert_eq!(empty, Outcome { state_root: empty.state_root, ..founded });
    let proposal = proposed(0, 0, added(4));
    let open = run(&mut state.clone(), 2, std::slice::from_ref(&proposal));
    // The same receipts, but for what they stand for: only governance differs.
    let receipts_root = state::receipts_root(&open.receipts);
    assert_eq!(receipts_root, open.outcome.receipts_root);
    let without =
        state.tree.update(&state::changes(moment(2), &open.records, None, &open.registry, receipts_root));
    assert_ne!(without.root(), open.outcome.state_root);
}

#[test]
fn networks_begin_with_states_of_their_own() {
    let other = genesis_with(genesis::Parameters { delta_ms: 401, ..Default::default() });
    let first_block = |genesis: &genesis::Genesis| {
        let governance = Arc::new(Governance::of(genesis));
        let mut state = Memory { governance, outcome: Outcome::genesis(genesis), ..Memory::default() };
        (Outcome::genesis(genesis), run_batches(&mut state, 1, &[]).outcome)
    };
    let ((founded, one), (_, other)) = (first_block(&genesis()), first_block(&other));
    assert!(one.state_root != other.state_root && one.configuration != other.configuration);
    assert_eq!(one.configuration, Configuration::of(&genesis()).digest());
    assert_eq!(founded.state_root, Digest::ZERO);
}

/// Few subjects and versions, so that operations meet.
fn transactions() -> impl Strategy<Value = Vec<Transaction>> {
    let one =
        (0..5u8, 1..4u8, 1..4u64, 1..4u8, 1..5u8).prop_map(
            |(kind, subject, version, new, signer)| match kind {
                0 => created(subject),
                3 => proposed(signer, version, added(subject + 3)),
                1 => updated(subject, version, &[subject, new + 3], signer),
                4 => recovered(subject, &[subject, new + 3], signer),
                _ => deactivated(subject, version, signer),
            },
        );
    prop::collection::vec(one, 1..24).prop_map(|mut list| {
        let mut seen = BTreeSet::new();
        list.retain(|transaction| seen.insert(transaction.id()));
        list
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_same_block_on_the_same_state_gives_the_same_changes(
        (first, second) in (transactions(), transactions()),
    ) {
        let (mut one, mut other) = (Memory::default(), Memory::default());
        for (height, block) in [(1, &first), (2, &second)] {
            prop_assert_eq!(run(&mut one, height, block), run(&mut other, height, block));
        }
        prop_assert_eq!(one, other);
    }

    #[test]
    fn how_a_block_is_cut_into_batches_does_not_matter(list in transactions(), cut: prop::sample::Index) {
        let (mut whole, mut parts) = (Memory::default(), Memory::default());
        let (left, right) = list.split_at(cut.index(list.len()));
        let batches: Vec<_> = [left, right]
            .into_iter()
            .filter(|part| !part.is_empty())
            .map(|part| batch(1, part).0)
            .collect();
        prop_assert_eq!(run(&mut whole, 1, &list), run_batches(&mut parts, 1, &batches));
    }

    #[test]
    fn every_transaction_gets_one_receipt_and_each_applied_one_makes_one_version(list in transactions()) {
        let mut state = Memory::default();
        let changes = run(&mut state, 1, &list);
        let ids: Vec<Digest> = changes.receipts.iter().map(|receipt| receipt.id).collect();
        prop_assert_eq!(ids, list.iter().map(Transaction::id).collect::<Vec<_>>());
        let made: Vec<_> = changes.receipts.iter().filter_map(|receipt| receipt.did.zip(receipt.version)).collect();
        let records = changes.records.iter().map(|record| (record.header.did, record.header.version));
        prop_assert_eq!(made, records.collect::<Vec<_>>());
        // Versions of a DID have no gaps, and each names the header before it.
        for ((did, version), record) in &state.records {
            let previous = state.records.get(&(*did, Version(version.0 - 1)));
            let expected = previous.map_or(Digest::ZERO, |record| record.header.digest());
            prop_assert_eq!(record.header.previous, expected);
            prop_assert_eq!(previous.is_some(), *version > Version::FIRST);
            prop_assert!(previous.is_none_or(|record| !record.is_deactivated()));
        }
    }
}

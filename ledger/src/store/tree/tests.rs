use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::registry::Role;
use crate::samples::{accredited, create, created, deactivated, grant, proposed, updated, voted};
use crate::state::BlockSummary;
use crate::store::tests::Fixture;
use crate::{Change, DidId, Receipt, tree};

fn did(seed: u8) -> DidId {
    create(&[seed]).did()
}

/// The value of `key` after block `height`, by a proof that was checked.
fn proved(store: &Store, height: u64, key: StateKey) -> Option<Digest> {
    let height = Height(height);
    let proof = store.prove(height, &[key]).unwrap().expect("the height is provable").remove(0);
    let root = store.outcome_of(height).unwrap().unwrap().state_root;
    proof.value(&root, &key.digest()).unwrap()
}

#[test]
fn a_did_is_proved_as_it_was_after_each_of_the_newest_blocks_and_its_absence_before() {
    let fixture = Fixture::new();
    fixture.commit(&[created(1), created(2)]);
    let first = fixture.store().record(&did(1)).unwrap().unwrap().header.digest();
    fixture.commit(&[updated(1, 1, &[3], 1), created(4)]);
    let second = fixture.store().record(&did(1)).unwrap().unwrap().header.digest();
    fixture.commit(&[deactivated(1, 2, 3)]);
    let last = fixture.store().record(&did(1)).unwrap().unwrap().header.digest();
    let store = fixture.store();
    for (height, expected) in [(0, None), (1, Some(first)), (2, Some(second)), (3, Some(last))] {
        assert_eq!(proved(store, height, StateKey::Did(did(1))), expected, "height {height}");
        assert_eq!(proved(store, height, StateKey::Did(did(4))).is_some(), height >= 2);
        assert_eq!(proved(store, height, StateKey::Did(did(9))), None);
    }
    assert_eq!(store.prove(Height(4), &[StateKey::Governance]).unwrap(), None);
}

#[test]
fn the_founding_enters_the_tree_with_the_first_block_and_every_block_with_its_receipts() {
    let fixture = Fixture::new();
    assert_eq!(proved(fixture.store(), 0, StateKey::Governance), None);
    let (block, changes) = fixture.commit(&[created(1), created(2), updated(1, 1, &[3], 1)]);
    fixture.commit(&[]);
    let store = fixture.store();
    assert_eq!(proved(store, 1, StateKey::Governance), Some(store.governance().digest()));
    let receipts_root = changes.outcome.receipts_root;
    let summary = BlockSummary { height: Height(1), time: block.time, receipts_root };
    assert_eq!(proved(store, 2, StateKey::Block(Height(1))), Some(summary.digest()));
    // And against that root, each receipt, and that there is none of another transaction.
    let leaves = crate::state::receipt_leaves(&changes.receipts);
    for Receipt { id, .. } in &changes.receipts {
        let value = tree::proof::prove(&leaves, id).value(&receipts_root, id).unwrap();
        assert_eq!(value, store.receipt(id).unwrap().map(|receipt| receipt.digest()));
    }
    let other = Digest::from_bytes([9; 32]);
    assert_eq!(tree::proof::prove(&leaves, &other).value(&receipts_root, &other), Ok(None));
}

#[test]
fn an_entry_of_the_registry_is_read_as_it_was_after_each_of_the_newest_blocks() {
    let mut fixture = Fixture::new();
    let key = RegistryKey::Accreditation(did(1), Role::Issuer);
    let decide = |fixture: &Fixture, number: u64, change: Change| {
        let proposal = proposed(0, number, change);
        let votes = [1, 2].map(|member| voted(member, number, proposal.id(), true));
        fixture.commit(&[&[proposal], &votes[..]].concat());
    };
    fixture.commit(&[created(2)]);
    decide(&fixture, 1, Change::Accredit(Box::new(grant(1, Role::Issuer))));
    fixture.commit(&[created(3)]);
    decide(&fixture, 2, Change::Suspend { did: did(1), role: Role::Issuer });
    decide(&fixture, 3, Change::Reinstate { did: did(1), role: Role::Issuer });
    let after = |fixture: &Fixture, height: u64| {
        let entry = fixture.store().registry_after(&key, Height(height)).unwrap();
        let digest = entry.as_ref().map(RegistryEntry::digest);
        assert_eq!(digest, proved(fixture.store(), height, StateKey::Registry(key)), "height {height}");
        digest
    };
    let seen = [1, 2, 3, 4, 5].map(|height| after(&fixture, height));
    assert!(seen[0].is_none() && seen[1].is_some());
    assert_eq!(seen[1], seen[2]);
    assert!(seen[3] != seen[2] && seen[4] != seen[3]);
    fixture.reopen();
    assert_eq!(after(&fixture, 5), seen[4]);
}

#[test]
fn the_tree_goes_on_after_reopening_and_after_a_crash() {
    let mut fixture = Fixture::new();
    for seed in 1..40 {
        fixture.commit(&[created(seed), created(seed + 100)]);
    }
    let root = fixture.store().outcome().state_root;
    let crashed = fixture.files_as_they_are();
    let reopened = Store::open(crashed.path(), &crate::samples::genesis()).unwrap();
    assert_eq!(reopened.memory().trie.root(), root);
    fixture.reopen();
    assert_eq!(fixture.store().outcome().state_root, root);
    assert!(proved(fixture.store(), 39, StateKey::Did(did(101))).is_some());
    assert_eq!(
        fixture.store().prove(Height(38), &[StateKey::Governance]).unwrap(),
        None,
        "it was opened after"
    );
    fixture.commit(&[created(90)]);
    assert!(proved(fixture.store(), 40, StateKey::Did(did(90))).is_some());
    assert!(proved(fixture.store(), 39, StateKey::Did(did(90))).is_none());
}

#[test]
fn only_the_newest_blocks_are_provable() {
    let fixture = Fixture::new();
    let blocks = PROVABLE_BLOCKS as u64 + 3;
    for _ in 0..blocks {
        fixture.commit(&[]);
    }
    let provable = |height| fixture.store().prove(Height(height), &[StateKey::Governance]).unwrap().is_some();
    let first = blocks - PROVABLE_BLOCKS as u64;
    assert!(provable(blocks) && provable(first) && !provable(first - 1) && !provable(blocks + 1));
}

#[test]
fn a_changed_or_missing_bucket_is_found_when_the_store_is_opened() {
    for (value, problem) in
        [(vec![1; 64], "its root is"), (vec![1; 65], "no bucket of its place"), (vec![], "its root is")]
    {
        let mut fixture = Fixture::new();
        fixture.commit(&[created(1), created(2)]);
        let error =
            fixture.reopen_damaged("tree", &BucketId::ROOT.to_bytes(), &value).unwrap_err().to_string();
        assert!(error.contains(problem) && error.contains("tree["), "{error}");
    }
    let mut fixture = Fixture::new();
    let error = fixture.reopen_damaged("tree", b"bucket", &[]).unwrap_err().to_string();
    assert!(error.contains("its key is no bucket's"), "{error}");
}

#[test]
fn proofs_hold_while_blocks_are_committed() {
    let fixture = Fixture::new();
    fixture.commit(&[created(1)]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let store = fixture.store();
        let prover = scope.spawn(|| {
            let mut count = 0;
            while !done.load(Ordering::Acquire) {
                let height = store.tip().height;
                // Rows and memory change under it.
                assert!(proved(store, height.0, StateKey::Did(did(1))).is_some());
                count += 1;
            }
            count
        });
        for seed in 2..100 {
            fixture.commit(&[created(seed)]);
        }
        done.store(true, Ordering::Release);
        assert!(prover.join().unwrap() > 0);
    });
}

#[test]
fn what_is_kept_of_a_block_counts_the_registrys_entries() {
    let fixture = Fixture::new();
    let update = fixture.store().work_out(&[(Digest::ZERO, Some(Digest::ZERO))]).unwrap();
    let bytes = |scopes: usize| {
        let RegistryEntry::Accreditation(mut accreditation) = accredited(1, Role::Issuer) else {
            panic!("it is an accreditation")
        };
        accreditation.scope = vec!["diploma".to_owned(); scopes];
        let entry = RegistryEntry::Accreditation(accreditation);
        let nodes = Trie::default().adopt(&update);
        Recent::new(Height(1), nodes, vec![(entry.key(), Some(entry))]).bytes
    };
    assert!(bytes(0) > size_of::<RegistryEntry>());
    assert_eq!(bytes(1_000) - bytes(0), 1_000 * (8 + "diploma".len()));
}

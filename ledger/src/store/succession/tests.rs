use genesis::{Configuration, Digest, Epoch, Parameters, Validator};

use super::*;
use crate::samples::{batch, block_after, create, created, genesis, updated, validator};
use crate::store::tests::Fixture;
use crate::{Version, apply};

/// The chain of the founders 0 and 1 that goes on from where `store` stands.
fn successor(store: &Store) -> Genesis {
    let (tip, state_root) = (store.tip(), store.outcome().state_root);
    let predecessor =
        Predecessor { chain: genesis().chain(), height: tip.height, block: tip.digest, state_root };
    found(predecessor, tip.time)
}

fn found(predecessor: Predecessor, time: genesis::UnixMillis) -> Genesis {
    let survivors: Vec<Validator> = (0..2).map(validator).collect();
    Genesis::succeeding(predecessor, "test".into(), time, Parameters::default(), survivors).unwrap()
}

/// Two blocks with a DID of two versions, a checkpoint, evidence, and a batch that no block names.
fn lived() -> (Fixture, Digest, Digest) {
    let fixture = Fixture::new();
    let (_, changes) = fixture.commit(&[created(1)]);
    let receipt = changes.receipts[0].id;
    fixture.commit(&[updated(1, 1, &[2], 1)]);
    let store = fixture.store();
    store.put_checkpoint(Height(2), b"checkpoint").unwrap();
    store.put_evidence(&[7; 32], b"evidence").unwrap();
    let (unordered, bytes) = batch(9, &[created(5)]);
    store.put_batches(&[(unordered.digest(), Height(100), &bytes)]).unwrap();
    (fixture, receipt, unordered.digest())
}

#[test]
fn the_state_goes_on_under_the_new_chain_and_what_only_the_old_one_vouched_for_is_gone() {
    let (mut fixture, receipt, unordered) = lived();
    let next = successor(fixture.store());
    let ordered = fixture.store().block(Height(1)).unwrap().unwrap().batches[0];
    let path = fixture.close().to_owned();
    assert_eq!(Store::adopt(&path, &next).unwrap(), Adoption::Done);

    let store = Store::open(&path, &next).unwrap();
    assert_eq!(store.tip(), Tip { height: Height(2), digest: next.chain(), time: next.time() });
    assert_eq!(*store.governance(), Governance::of(&next));
    assert_eq!(store.governance().began, Height(2));
    assert_eq!(store.outcome(), Outcome::genesis(&next));
    assert_eq!(store.configuration_of(Epoch(0)).unwrap(), Some(Configuration::of(&next)));
    assert_eq!(store.configuration(&Configuration::of(&genesis()).digest()).unwrap(), None);
    assert_eq!(store.epoch_of_height(Height(3)), Epoch(0));

    let did = create(&[1]).did();
    let versions = store.history(&did, Version::FIRST, 9).unwrap();
    assert_eq!(versions.len(), 2);
    assert_eq!(store.receipt(&receipt).unwrap().unwrap().height, Height(1));
    assert!(store.has_batch(&ordered).unwrap(), "a block of the old chain names it");

    for height in [0, 1, 2, 3].map(Height) {
        assert_eq!(store.block(height).unwrap(), None);
    }
    assert_eq!(store.blocks(Height(0), 9, 1_000).unwrap(), []);
    assert_eq!(store.batches_named_after(Height(0)).unwrap(), []);
    assert_eq!(store.outcome_of(Height(1)).unwrap(), None);
    assert_eq!(store.newest_checkpoint().unwrap(), None);
    assert_eq!(store.evidence().unwrap(), []);
    assert_eq!(store.unordered_batches().unwrap(), []);
    assert!(!store.has_batch(&unordered).unwrap());
    assert_eq!(store.batch(&unordered).unwrap(), None);
}

#[test]
fn the_new_chains_blocks_have_the_next_heights_and_change_what_was_there() {
    let (mut fixture, ..) = lived();
    let next = successor(fixture.store());
    let path = fixture.close().to_owned();
    Store::adopt(&path, &next).unwrap();
    let store = Store::open(&path, &next).unwrap();
    let (batch, bytes) = batch(10, &[updated(1, 2, &[3], 2)]);
    store.put_batches(&[(batch.digest(), Height(100), &bytes)]).unwrap();
    let block = block_after(&store.tip(), &[batch.digest()]);
    assert_eq!((block.height, block.parent), (Height(3), next.chain()));
    let changes = apply(&store, block.moment(), None, &[batch]).unwrap();
    store.commit(&block, &changes).unwrap();
    drop(store);

    let store = Store::open(&path, &next).unwrap();
    assert_eq!(store.tip(), block.tip());
    assert_eq!(store.record(&create(&[1]).did()).unwrap().unwrap().header.version, Version(3));
    assert_eq!(store.blocks(Height(0), 9, 1_000).unwrap(), std::slice::from_ref(&block));
    assert_eq!(store.batches_named_after(Height(0)).unwrap(), [(block.batches[0], Height(3))]);
    assert_eq!(store.outcome_of(Height(3)).unwrap(), Some(changes.outcome));
}

#[test]
fn adopting_again_changes_nothing() {
    let (mut fixture, ..) = lived();
    let next = successor(fixture.store());
    let path = fixture.close().to_owned();
    Store::adopt(&path, &next).unwrap();
    let store = Store::open(&path, &next).unwrap();
    let block = block_after(&store.tip(), &[]);
    let changes = apply(&store, block.moment(), None, &[]).unwrap();
    store.commit(&block, &changes).unwrap();
    drop(store);
    assert_eq!(Store::adopt(&path, &next).unwrap(), Adoption::Before);
    assert_eq!(Store::open(&path, &next).unwrap().tip(), block.tip());
}

#[test]
fn a_ledger_that_does_not_stand_where_the_new_chain_begins_is_refused_and_stays_as_it_was() {
    let (mut fixture, ..) = lived();
    let next = successor(fixture.store());
    let right = *next.predecessor().unwrap();
    let other = Digest::from_bytes([9; 32]);
    let tip = fixture.store().tip();
    let path = fixture.close().to_owned();
    let wrong = [
        (found(Predecessor { height: Height(1), ..right }, next.time()), "at height 2"),
        (found(Predecessor { height: Height(3), ..right }, next.time()), "goes on from height 3"),
        (found(Predecessor { block: other, ..right }, next.time()), "goes on from height 2"),
        (found(Predecessor { state_root: other, ..right }, next.time()), "goes on from height 2"),
        (found(right, next.time().plus(1)), "goes on from height 2"),
        (found(Predecessor { chain: other, ..right }, next.time()), "goes on from chain 0909"),
        (genesis(), "names no chain that it goes on from"),
    ];
    for (document, why) in wrong {
        let error = Store::adopt(&path, &document).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        assert_eq!(Store::open(&path, &genesis()).unwrap().tip(), tip);
    }
}

#[test]
fn a_chain_that_goes_on_from_another_is_not_founded_on_nothing_nor_on_a_ledger_that_has_not_adopted_it() {
    let (mut fixture, ..) = lived();
    let next = successor(fixture.store());
    let path = fixture.close().to_owned();
    assert!(matches!(Store::open(&path, &next), Err(StoreError::NotAdopted { .. })));
    let empty = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        assert!(matches!(Store::open(empty.path(), &next), Err(StoreError::NothingToGoOnFrom { .. })));
        assert!(matches!(Store::adopt(empty.path(), &next), Err(StoreError::NothingToGoOnFrom { .. })));
    }
}

#[test]
fn an_ended_ledger_is_opened_by_no_node_until_it_is_another_chains() {
    let (mut fixture, ..) = lived();
    let next = successor(fixture.store());
    fixture.store().end().unwrap();
    let path = fixture.close().to_owned();
    assert!(matches!(Store::open(&path, &genesis()), Err(StoreError::Ended { .. })));
    let ended = Store::open_ended(&path, &genesis()).unwrap();
    assert!(ended.has_ended().unwrap());
    drop(ended);
    Store::adopt(&path, &next).unwrap();
    assert!(!Store::open(&path, &next).unwrap().has_ended().unwrap());
}

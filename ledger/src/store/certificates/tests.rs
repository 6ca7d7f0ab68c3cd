use super::super::tests::Fixture;
use super::*;

#[test]
fn checkpoints_are_found_by_height_and_survive_reopening() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.store().newest_checkpoint().unwrap(), None);
    assert_eq!(fixture.store().checkpoint_at_or_after(Height(0)).unwrap(), None);
    // 256 sorts after 3 only where keys are big-endian.
    for (height, bytes) in [(3, &b"three"[..]), (256, b"late"), (7, b"seven")] {
        fixture.store().put_checkpoint(Height(height), bytes).unwrap();
    }
    for _ in 0..2 {
        let store = fixture.store();
        assert_eq!(store.checkpoint(Height(7)).unwrap().as_deref(), Some(&b"seven"[..]));
        assert_eq!(store.checkpoint(Height(8)).unwrap(), None);
        assert_eq!(store.newest_checkpoint().unwrap(), Some((Height(256), b"late".to_vec())));
        let after = |height| store.checkpoint_at_or_after(Height(height)).unwrap().map(|(found, _)| found.0);
        assert_eq!(
            [0, 3, 4, 7, 8, 256, 257].map(after),
            [3, 3, 7, 7, 256, 256, 0].map(|it| (it > 0).then_some(it))
        );
        fixture.reopen();
    }
}

#[test]
fn a_checkpoint_is_durable_with_the_next_block() {
    let fixture = Fixture::new();
    fixture.store().put_checkpoint(Height(0), b"genesis").unwrap();
    let (block, _) = fixture.commit(&[crate::samples::created(1)]);
    let copy = fixture.files_as_they_are();
    let store = Store::open(copy.path(), &crate::samples::genesis()).unwrap();
    assert_eq!(store.tip(), block.tip());
    assert_eq!(store.checkpoint(Height(0)).unwrap().as_deref(), Some(&b"genesis"[..]));
}

#[test]
fn the_first_evidence_under_a_key_stays_and_survives_reopening() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.store().evidence().unwrap(), []);
    assert!(fixture.store().put_evidence(b"b", b"two votes").unwrap());
    assert!(fixture.store().put_evidence(b"a", b"").unwrap());
    assert!(!fixture.store().put_evidence(b"b", b"others").unwrap());
    fixture.reopen();
    let expected = [(b"a".to_vec(), vec![]), (b"b".to_vec(), b"two votes".to_vec())];
    assert_eq!(fixture.store().evidence().unwrap(), expected);
}

#[test]
fn no_more_evidence_is_kept_than_there_is_room_for() {
    let fixture = Fixture::new();
    let mut batch = WriteBatch::default();
    for number in 1..MAX_EVIDENCE as u64 {
        batch.put_cf(fixture.store().family(Family::Evidence), number.to_be_bytes(), b"x");
    }
    fixture.store().write("testing", batch, Durability::Now).unwrap();
    assert!(fixture.store().put_evidence(b"last", b"x").unwrap());
    assert!(!fixture.store().put_evidence(b"too many", b"x").unwrap());
    assert_eq!(fixture.store().evidence().unwrap().len(), MAX_EVIDENCE);
}

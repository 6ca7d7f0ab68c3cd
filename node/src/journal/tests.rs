use consensus::certificate::Certificate;
use consensus::message::VoteKind;
use genesis::View;

use super::*;

const OWNER: Owner = Owner { chain: Digest::ZERO, voter: PublicKey::Ed25519([3; 32]) };

fn record(view: u64) -> Record {
    let kind = VoteKind::ViewChange;
    Record::Certificate(Certificate { kind, view: View(view), digest: Digest::ZERO, signatures: Vec::new() })
}

fn reopen(folder: &Path) -> Vec<Record> {
    Journal::open(folder, OWNER).unwrap().1
}

fn last_segment(folder: &Path) -> PathBuf {
    segment_path(folder, *segments(folder).unwrap().last().unwrap())
}

#[test]
fn what_was_appended_is_read_again_in_order_over_many_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for restart in 0..5 {
        let (mut journal, records) = Journal::open(folder.path(), OWNER).unwrap();
        assert_eq!(records, expected);
        for entry in 0..3 {
            let records = [record(restart * 10 + entry), record(1_000)];
            journal.append(&records).unwrap();
            expected.extend(records);
        }
    }
}

#[test]
fn a_torn_tail_of_any_length_is_dropped_and_all_before_it_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(folder.path(), OWNER).unwrap();
    journal.append(&[record(1)]).unwrap();
    let synced = journal.length as usize;
    journal.append(&[record(2), record(3)]).unwrap();
    drop(journal);
    let path = last_segment(folder.path());
    let whole = fs::read(&path).unwrap();
    for length in synced..whole.len() {
        let copy = tempfile::tempdir().unwrap();
        fs::write(segment_path(copy.path(), 1), &whole[..length]).unwrap();
        assert_eq!(reopen(copy.path()), [record(1)], "cut at {length}");
        // The next start finds the tail behind a younger segment: it is no damage then either.
        assert_eq!(reopen(copy.path()), [record(1)], "cut at {length}, second start");
    }
}

#[test]
fn reading_tells_records_and_owner_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(Journal::owner(folder.path()).unwrap(), None);
    let (mut journal, _) = Journal::open(folder.path(), OWNER).unwrap();
    journal.append(&[record(1)]).unwrap();
    journal.append(&[record(2)]).unwrap();
    drop(journal);
    let path = last_segment(folder.path());
    let whole = fs::read(&path).unwrap();
    let torn = &whole[..whole.len() - 1];
    fs::write(&path, torn).unwrap();
    assert_eq!(Journal::read(folder.path(), OWNER).unwrap(), [record(1)]);
    assert_eq!(Journal::owner(folder.path()).unwrap(), Some(OWNER));
    assert_eq!(fs::read(&path).unwrap(), torn);
    assert_eq!(segments(folder.path()).unwrap(), [1]);
    let other = Owner { voter: PublicKey::Ed25519([1; 32]), ..OWNER };
    assert!(matches!(Journal::read(folder.path(), other), Err(JournalError::Foreign { .. })));
}

#[test]
fn damage_before_the_last_entry_is_named_and_not_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(folder.path(), OWNER).unwrap();
    (1..4).for_each(|view| journal.append(&[record(view)]).unwrap());
    drop(journal);
    let path = last_segment(folder.path());
    let whole = fs::read(&path).unwrap();
    let first_body = HEADER_BYTES + ENTRY_HEAD_BYTES;
    for offset in [HEADER_BYTES, HEADER_BYTES + 5, HEADER_BYTES + 9, first_body, first_body + 8] {
        let mut bytes = whole.clone();
        bytes[offset] ^= 0x40;
        fs::write(&path, &bytes).unwrap();
        let error = Journal::open(folder.path(), OWNER).unwrap_err();
        assert!(matches!(error, JournalError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("00000001.journal"), "{error}");
    }
}

#[test]
fn another_nodes_journal_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    drop(Journal::open(folder.path(), OWNER).unwrap());
    let other = Owner { voter: PublicKey::Ed25519([1; 32]), ..OWNER };
    let error = Journal::open(folder.path(), other).unwrap_err().to_string();
    assert!(
        error.contains(&format!("of key {}", OWNER.voter))
            && error.contains(&format!("has key {}", other.voter)),
        "{error}"
    );
}

#[test]
fn a_new_segment_replaces_the_old_ones_once_its_tip_is_executed() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(folder.path(), OWNER).unwrap();
    journal.append(&[record(1)]).unwrap();
    journal.begin(&[record(2)], Height(10)).unwrap();
    journal.forget_before(Height(9)).unwrap();
    assert_eq!(reopen(folder.path()), [record(1), record(2)]);
    let (mut journal, _) = Journal::open(folder.path(), OWNER).unwrap();
    journal.begin(&[record(3)], Height(11)).unwrap();
    journal.forget_before(Height(11)).unwrap();
    drop(journal);
    assert_eq!(reopen(folder.path()), [record(3)]);
}

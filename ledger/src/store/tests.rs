use std::fs;

use tempfile::TempDir;

use super::*;
use crate::samples::{
    batch, block_after, commitments, create, created, deactivated, document, genesis, genesis_with, moment,
    updated,
};
use crate::{Code, Transaction, apply};

pub(super) struct Fixture {
    directory: TempDir,
    store: Option<Store>,
}

impl Fixture {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), &genesis()).unwrap();
        Self { directory, store: Some(store) }
    }

    pub(super) fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    pub(super) fn close(&mut self) -> &Path {
        self.store = None;
        self.directory.path()
    }

    pub(super) fn reopen(&mut self) {
        let path = self.close().to_owned();
        self.store = Some(Store::open(&path, &genesis()).unwrap());
    }

    /// Stores, executes and commits the next block, with one batch.
    pub(super) fn commit(&self, transactions: &[Transaction]) -> (Block, Changes) {
        self.commit_closing(None, transactions)
    }

    /// The same for a block that closes its epoch with the configuration `next`.
    pub(super) fn close_epoch(&self, next: Digest, transactions: &[Transaction]) -> (Block, Changes) {
        self.commit_closing(Some(next), transactions)
    }

    fn commit_closing(&self, closing: Option<Digest>, transactions: &[Transaction]) -> (Block, Changes) {
        let (block, changes, batch) = self.execute(closing, transactions);
        if let Some((digest, bytes)) = batch {
            self.store().put_batches(&[(digest, Height(100), &bytes)]).unwrap();
        }
        self.store().commit(&block, &changes).unwrap();
        (block, changes)
    }

    fn execute(
        &self,
        closing: Option<Digest>,
        transactions: &[Transaction],
    ) -> (Block, Changes, Option<(Digest, Vec<u8>)>) {
        let tip = self.store().tip();
        if transactions.is_empty() {
            let block = block_after(&tip, &[]);
            let changes = apply(self.store(), block.moment(), closing, &[]).unwrap();
            return (block, changes, None);
        }
        let (batch, bytes) = batch(tip.height.0, transactions);
        let digest = batch.digest();
        let block = block_after(&tip, &[digest]);
        let changes = apply(self.store(), block.moment(), closing, &[batch]).unwrap();
        (block, changes, Some((digest, bytes)))
    }

    fn next(&self, transactions: &[Transaction]) -> (Block, Changes, Digest, Vec<u8>) {
        let (block, changes, batch) = self.execute(None, transactions);
        let (digest, bytes) = batch.unwrap();
        (block, changes, digest, bytes)
    }

    /// What a crash at this moment leaves.
    pub(super) fn files_as_they_are(&self) -> TempDir {
        let copy = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(self.directory.path()).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        copy
    }

    /// Overwrites a row behind the store's back.
    pub(super) fn damage(&mut self, family: &str, key: &[u8], value: &[u8]) {
        self.reopen_damaged(family, key, value).unwrap();
    }

    /// The same where it may be found out at once.
    pub(super) fn reopen_damaged(
        &mut self,
        family: &str,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), StoreError> {
        let db =
            DB::open_cf_descriptors(&options::database(), self.close(), options::column_families()).unwrap();
        db.put_cf(db.cf_handle(family).unwrap(), key, value).unwrap();
        drop(db);
        self.store = Some(Store::open(self.directory.path(), &genesis())?);
        Ok(())
    }
}

#[test]
fn a_new_ledger_stands_at_genesis() {
    let fixture = Fixture::new();
    let tip = fixture.store().tip();
    assert_eq!((tip.height, tip.digest, tip.time), (Height(0), genesis().chain(), genesis().time()));
    assert_eq!(fixture.store().block(Height(0)).unwrap(), None);
    assert_eq!(fixture.store().block(Height(1)).unwrap(), None);
    assert_eq!(fixture.store().blocks(Height(0), 10, 1_000).unwrap(), []);
}

#[test]
fn everything_committed_is_there_after_reopening() {
    let mut fixture = Fixture::new();
    let did = create(&[1]).did();
    let (first, changes) = fixture.commit(&[created(1), created(2)]);
    let (second, later) = fixture.commit(&[updated(1, 1, &[3], 1), updated(2, 1, &[3], 9)]);
    for _ in 0..2 {
        let store = fixture.store();
        assert_eq!(store.tip(), second.tip());
        assert_eq!(store.block(Height(1)).unwrap().as_ref(), Some(&first));
        assert_eq!(store.blocks(Height(0), 10, 10_000).unwrap(), [first.clone(), second.clone()]);
        for receipt in changes.receipts.iter().chain(&later.receipts) {
            assert_eq!(store.receipt(&receipt.id).unwrap().as_ref(), Some(receipt));
        }
        assert_eq!(later.receipts[1].code, Code::Unauthorised);
        assert_eq!(store.record(&did).unwrap().as_ref(), Some(&later.records[0]));
        assert_eq!(store.version(&did, Version(1)).unwrap().as_ref(), Some(&changes.records[0]));
        assert_eq!(
            store.history(&did, Version(0), 9).unwrap(),
            [&changes.records[0], &later.records[0]].map(Clone::clone)
        );
        assert_eq!(store.history(&did, Version(2), 9).unwrap(), later.records);
        assert_eq!(store.history(&did, Version(1), 1).unwrap(), changes.records[..1]);
        assert_eq!(store.version(&did, Version(3)).unwrap(), None);
        let counts = Counts { dids: 2, receipts: 4, versions: 3 };
        assert_eq!(store.statistics().unwrap().counts, counts);
        fixture.reopen();
    }
}

#[test]
fn a_process_that_dies_without_closing_keeps_all_that_was_acknowledged() {
    let mut fixture = Fixture::new();
    let (block, _) = fixture.commit(&[created(1)]);
    let (_, bytes) = batch(9, &[created(2)]);
    let digest = CheckedBatch::digest_of(&bytes);
    fixture.store().put_batches(&[(digest, Height(9), &bytes)]).unwrap();
    let copy = fixture.files_as_they_are();
    fixture.close();
    let store = Store::open(copy.path(), &genesis()).unwrap();
    assert_eq!(store.tip(), block.tip());
    assert_eq!(store.batch(&digest).unwrap(), Some(bytes));
}

/// Cuts the write-ahead log at every length: the store must come back at the block before or after, whole.
#[test]
fn a_torn_write_leaves_the_block_before_or_the_block_after_never_between() {
    let fixture = Fixture::new();
    let (before, _) = fixture.commit(&[created(1)]);
    let (block, changes, digest, bytes) = fixture.next(&[updated(1, 1, &[2], 1), created(3)]);
    fixture.store().put_batches(&[(digest, Height(100), &bytes)]).unwrap();
    let log = newest_log(fixture.directory.path());
    let start = fs::metadata(&log).unwrap().len();
    fixture.store().commit(&block, &changes).unwrap();
    let end = fs::metadata(&log).unwrap().len();
    assert!(end > start + 100, "the commit is in the log: {start}..{end}");
    let did = create(&[1]).did();
    for cut in (start..=end).step_by(37).chain([end - 1, end]) {
        let copy = fixture.files_as_they_are();
        fs::OpenOptions::new().write(true).open(newest_log(copy.path())).unwrap().set_len(cut).unwrap();
        let store = Store::open(copy.path(), &genesis()).unwrap();
        let whole = cut == end;
        assert_eq!(store.tip(), if whole { block.tip() } else { before.tip() }, "cut at {cut} of {end}");
        assert_eq!(store.record(&did).unwrap().unwrap().header.version, Version(1 + u64::from(whole)));
        assert_eq!(store.has_receipt(&changes.receipts[1].id).unwrap(), whole);
        assert_eq!(store.height_of_batch(&digest).unwrap(), whole.then_some(Height(2)));
        assert!(store.has_batch(&digest).unwrap());
    }
}

fn newest_log(directory: &Path) -> PathBuf {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "log")).max().unwrap()
}

#[test]
fn a_block_that_does_not_extend_the_tip_is_refused_and_changes_nothing() {
    let fixture = Fixture::new();
    let (first, _) = fixture.commit(&[created(1)]);
    let (next, changes, digest, bytes) = fixture.next(&[created(2)]);
    fixture.store().put_batches(&[(digest, Height(100), &bytes)]).unwrap();
    for block in [
        first,
        Block { height: Height(3), ..next.clone() },
        Block { height: Height(u64::MAX), ..next.clone() },
        Block { parent: genesis().chain(), ..next.clone() },
    ] {
        let error = fixture.store().commit(&block, &changes).unwrap_err();
        assert!(matches!(error, StoreError::NotNext { .. }), "{error}");
        assert!(
            error.to_string().contains(&format!("block {} with parent {}", block.height, block.parent)),
            "{error}"
        );
    }
    assert_eq!(fixture.store().tip().height, Height(1));
    assert_eq!(fixture.store().record(&create(&[2]).did()).unwrap(), None);
    fixture.store().commit(&next, &changes).unwrap();
}

#[test]
fn a_block_whose_batch_was_not_stored_is_refused() {
    let fixture = Fixture::new();
    let (block, changes, digest, _) = fixture.next(&[created(1)]);
    let error = fixture.store().commit(&block, &changes).unwrap_err().to_string();
    assert!(error.contains(&format!("block 1 names batch {digest}, which is not in the ledger")), "{error}");
    assert_eq!(fixture.store().tip().height, Height(0));
}

#[test]
fn another_chains_ledger_is_refused_with_both_ids_and_the_way_out() {
    let mut fixture = Fixture::new();
    let other = genesis_with(genesis::Parameters { delta_ms: 401, ..Default::default() });
    let error = Store::open(fixture.close(), &other).err().unwrap().to_string();
    for part in [genesis().chain().to_string(), other.chain().to_string(), "realdid reset".into()] {
        assert!(error.contains(&part), "{error}");
    }
    fixture.reopen();
}

#[test]
fn a_directory_in_use_is_refused_as_such() {
    let fixture = Fixture::new();
    let error = Store::open(fixture.directory.path(), &genesis()).err().unwrap();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    assert!(error.to_string().contains("in use by another process"));
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Store::open(&file.path().join("ledger"), &genesis()).err().unwrap();
    assert!(matches!(error, StoreError::Open { .. }), "{error}");
    assert!(error.to_string().contains(&file.path().display().to_string()), "{error}");
}

#[test]
fn another_format_is_refused_by_number() {
    let mut fixture = Fixture::new();
    let db =
        DB::open_cf_descriptors(&options::database(), fixture.close(), options::column_families()).unwrap();
    db.put_cf(db.cf_handle("meta").unwrap(), b"format", 9u32.to_le_bytes()).unwrap();
    drop(db);
    let error = Store::open(fixture.close(), &genesis()).err().unwrap().to_string();
    assert!(error.contains("format 9") && error.contains("format 4"), "{error}");
}

pub(super) fn assert_names_row(error: StoreError, row: &str) {
    let text = error.to_string();
    assert!(matches!(error, StoreError::DamagedRow { .. }), "{text}");
    assert!(text.contains(row) && text.contains(crate::HOW_TO_REPLACE), "{text}");
}

#[test]
fn a_damaged_row_is_named_and_never_an_answer() {
    let mut fixture = Fixture::new();
    let (block, changes) = fixture.commit(&[created(1)]);
    fixture.commit(&[updated(1, 1, &[1, 2], 1)]);
    let did = create(&[1]).did();
    let id = changes.receipts[0].id;
    let other = encode(&Record::first(create(&[2]).did(), document(&[2]), commitments(1), None, moment(1)));
    let history_key = rows::history_key(&did, Version(1));

    fixture.damage("history", &history_key, &[]);
    assert_names_row(fixture.store().version(&did, Version(1)).unwrap_err(), "0000000000000001]");
    assert_names_row(fixture.store().history(&did, Version(1), 9).unwrap_err(), "history[");
    fixture.damage("records", did.as_bytes(), b"garbage");
    assert_names_row(fixture.store().record(&did).unwrap_err(), &format!("records[{}]", did.0));
    fixture.damage("records", did.as_bytes(), &other);
    assert_names_row(fixture.store().record(&did).unwrap_err(), "another row's value");
    fixture.damage("receipts", id.as_bytes(), b"\0");
    assert_names_row(fixture.store().receipt(&id).unwrap_err(), &format!("receipts[{id}]"));
    fixture.damage("batches", block.batches[0].as_bytes(), b"another batch");
    let error = fixture.store().batch(&block.batches[0]).unwrap_err();
    assert_names_row(error, &format!("batches[{}]", block.batches[0]));
    fixture.damage("blocks", &rows::height_key(Height(1)), b"garbage");
    assert_names_row(fixture.store().block(Height(1)).unwrap_err(), "blocks[0000000000000001]");
    assert_names_row(fixture.store().batches_named_after(Height(0)).unwrap_err(), "blocks[0000000000000001]");
}

#[test]
fn a_missing_row_is_damage_and_not_an_absence() {
    let mut fixture = Fixture::new();
    let (block, _) = fixture.commit(&[created(1)]);
    fixture.commit(&[updated(1, 1, &[1, 2], 1)]);
    let did = create(&[1]).did();
    let db =
        DB::open_cf_descriptors(&options::database(), fixture.close(), options::column_families()).unwrap();
    db.delete_cf(db.cf_handle("history").unwrap(), rows::history_key(&did, Version(1))).unwrap();
    db.delete_cf(db.cf_handle("batches").unwrap(), block.batches[0].as_bytes()).unwrap();
    db.delete_cf(db.cf_handle("blocks").unwrap(), rows::height_key(Height(1))).unwrap();
    drop(db);
    fixture.reopen();
    let store = fixture.store();
    assert_names_row(store.version(&did, Version(1)).unwrap_err(), "is damaged: it is missing");
    assert_names_row(store.batch(&block.batches[0]).unwrap_err(), "is damaged: it is missing");
    assert_names_row(store.block(Height(1)).unwrap_err(), "is damaged: it is missing");
    assert_eq!(store.version(&did, Version(0)).unwrap(), None);
    assert_eq!(store.version(&did, Version(3)).unwrap(), None);
}

#[test]
fn threads_may_share_a_store() {
    fn shared<T: Send + Sync>() {}
    shared::<Store>();
}

#[test]
fn a_damaged_tip_is_named_when_the_store_is_opened() {
    let mut fixture = Fixture::new();
    let db =
        DB::open_cf_descriptors(&options::database(), fixture.close(), options::column_families()).unwrap();
    db.delete_cf(db.cf_handle("meta").unwrap(), b"tip").unwrap();
    drop(db);
    assert_names_row(Store::open(fixture.close(), &genesis()).err().unwrap(), "meta[tip]");
}

#[test]
fn damage_inside_the_log_is_refused_and_drops_nothing_silently() {
    let fixture = Fixture::new();
    fixture.commit(&[created(1)]);
    fixture.commit(&[created(2)]);
    let copy = fixture.files_as_they_are();
    let log = newest_log(copy.path());
    let mut bytes = fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&log, bytes).unwrap();
    let error = Store::open(copy.path(), &genesis()).err().unwrap();
    assert!(matches!(error, StoreError::DamagedFiles { .. }), "{error}");
}

#[test]
fn only_expired_batches_that_no_block_names_are_removed() {
    let fixture = Fixture::new();
    let stored = |sequence: u64, expires_at: u64| {
        let (batch, bytes) = batch(sequence, &[created(sequence as u8)]);
        fixture.store().put_batches(&[(batch.digest(), Height(expires_at), &bytes)]).unwrap();
        batch.digest()
    };
    let (expired, alive) = (stored(50, 1), stored(52, 2));
    let (block, _) = fixture.commit(&[created(1)]);
    let named = block.batches[0];
    // It comes again, late, as if it had never been seen: both index rows exist.
    let mut again = WriteBatch::default();
    fixture.store().put(&mut again, Family::Unordered, named.as_bytes(), &Height(1));
    fixture.store().write("testing", again, Durability::Now).unwrap();

    assert_eq!(fixture.store().remove_expired_batches().unwrap(), 1);
    let there = [expired, alive, named].map(|digest| fixture.store().batch(&digest).unwrap().is_some());
    assert_eq!(there, [false, true, true]);
    let there = [expired, alive, named].map(|digest| fixture.store().has_batch(&digest).unwrap());
    assert_eq!(there, [false, true, true]);
    assert_eq!(fixture.store().remove_expired_batches().unwrap(), 0);
}

#[test]
fn a_batch_that_comes_again_after_its_block_stays_ordered() {
    let fixture = Fixture::new();
    let (block, _) = fixture.commit(&[created(1)]);
    let digest = block.batches[0];
    let bytes = fixture.store().batch(&digest).unwrap().unwrap();
    fixture.store().put_batches(&[(digest, Height(0), &bytes)]).unwrap();
    assert_eq!(fixture.store().remove_expired_batches().unwrap(), 0);
    assert_eq!(fixture.store().batch(&digest).unwrap(), Some(bytes));
}

#[test]
fn the_batches_of_recent_blocks_are_listed_with_their_heights() {
    let fixture = Fixture::new();
    let named: Vec<(Digest, Height)> = (1..=3)
        .map(|subject| {
            let (block, _) = fixture.commit(&[created(subject)]);
            (block.batches[0], block.height)
        })
        .collect();
    assert_eq!(fixture.store().batches_named_after(Height(0)).unwrap(), named);
    assert_eq!(fixture.store().batches_named_after(Height(2)).unwrap(), named[2..]);
    assert_eq!(fixture.store().batches_named_after(Height(3)).unwrap(), []);
}

#[test]
fn a_range_of_blocks_stops_at_either_limit_but_has_at_least_one() {
    let fixture = Fixture::new();
    let blocks: Vec<Block> = (1..=4).map(|subject| fixture.commit(&[created(subject)]).0).collect();
    let range = |from, count, bytes| fixture.store().blocks(Height(from), count, bytes).unwrap();
    assert_eq!(range(2, 2, 10_000), blocks[1..3]);
    assert_eq!(range(1, 10, 1), blocks[..1]);
    assert_eq!(range(3, 10, 10_000), blocks[2..]);
    assert_eq!(range(5, 10, 10_000), []);
    let overhead = encode(&blocks[0]).len() - 32 - blocks[0].proof.len();
    assert_eq!(overhead, rows::BLOCK_OVERHEAD_BYTES);
}

#[test]
fn the_store_and_memory_give_the_same_changes() {
    let fixture = Fixture::new();
    let mut memory = crate::samples::Memory::default();
    for block in
        [vec![created(1), created(2)], vec![updated(1, 1, &[3], 1), created(1)], vec![deactivated(1, 2, 3)]]
    {
        let tip = fixture.store().tip();
        let batches = [batch(tip.height.0, &block).0];
        let moment = moment(tip.height.0 + 1);
        let expected = apply(&memory, moment, None, &batches).unwrap();
        let (_, changes) = fixture.commit(&block);
        assert_eq!(changes, expected);
        memory.take(changes);
    }
}

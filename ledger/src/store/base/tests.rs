use std::fs;
use std::path::PathBuf;

use super::*;
use crate::samples::create;
use crate::store::chain_tests::{CLOSES, Chain, MEMORY, copied, forgetful};
use crate::{DidId, Version};

fn did(height: u8) -> DidId {
    create(&[height + 1]).did()
}

#[test]
fn pruning_keeps_what_the_rules_may_ask_for_and_every_did_with_its_versions() {
    let chain = Chain::up_to(180);
    let before: Vec<_> =
        (1..99).map(|height| chain.store.history(&did(height), Version(1), 9).unwrap()).collect();
    let pruned = chain.store.prune(&chain.genesis, 0, u64::MAX).unwrap();
    // Proofs of the newest blocks want more than the rules do here.
    let first = 180 - (PROVABLE_BLOCKS as u64 + 8) + 1;
    assert_eq!(pruned, Pruned { first: Height(first), removed: first - 1 });
    let chain = chain.reopened();
    let store = &chain.store;
    assert_eq!(store.first_block(), Height(first));
    assert_eq!(store.block(Height(first - 1)).unwrap(), None);
    assert_eq!(store.blocks(Height(1), 9, 9_999).unwrap(), []);
    assert_eq!(store.outcome_of(Height(first - 2)).unwrap(), None);
    assert!(store.outcome_of(Height(first - 1)).unwrap().is_some());
    assert_eq!(store.blocks(Height(first), 2, 9_999).unwrap().len(), 2);
    let after: Vec<_> = (1..99).map(|height| store.history(&did(height), Version(1), 9).unwrap()).collect();
    assert_eq!(after, before);
    let again = store.prune(&chain.genesis, 0, u64::MAX).unwrap();
    assert_eq!(again, Pruned { first: Height(first), removed: 0 });
}

#[test]
fn a_pruned_ledger_holds_no_batch_and_no_receipt_of_what_is_gone() {
    let chain = Chain::up_to(150);
    let block = chain.store.block(Height(20)).unwrap().unwrap();
    let receipts = chain.store.receipts_of(&chain.genesis, Height(20)).unwrap();
    assert!(receipts.len() > 1);
    let counted = chain.store.head().counts.receipts;
    chain.store.prune(&chain.genesis, 0, u64::MAX).unwrap();
    assert_eq!(chain.store.batch(&block.batches[0]).unwrap(), None);
    assert_eq!(chain.store.height_of_batch(&block.batches[0]).unwrap(), None);
    for receipt in receipts {
        assert_eq!(chain.store.receipt(&receipt.id).unwrap(), None);
    }
    let mut rows = 0;
    chain
        .store
        .scan(Family::Receipts, |_, _| {
            rows += 1;
            Ok(())
        })
        .unwrap();
    assert!(rows < counted);
    assert_eq!(chain.store.head().counts.receipts, rows);
}

#[test]
fn a_pruned_ledger_goes_on_like_one_that_is_not() {
    let (whole, pruned) = (Chain::up_to(150), Chain::up_to(150));
    for height in 151..190 {
        pruned.store.prune(&pruned.genesis, 0, 3).unwrap();
        assert_eq!(whole.step(), pruned.step(), "block {height}");
    }
    assert_eq!(pruned.store.governance(), whole.store.governance());
    assert!(pruned.store.first_block() > Height(MEMORY));
}

#[test]
fn the_checkpoint_that_closed_an_epoch_stays() {
    let chain = Chain::up_to(150);
    for height in 1..150 {
        chain.store.put_checkpoint(Height(height), &[1]).unwrap();
    }
    chain.store.prune(&chain.genesis, 0, u64::MAX).unwrap();
    let kept: Vec<u64> = (1..chain.store.first_block().0)
        .filter(|height| chain.store.checkpoint(Height(*height)).unwrap().is_some())
        .collect();
    assert_eq!(kept, [CLOSES]);
}

/// The write-ahead log of a ledger that is open, and its length.
fn log(chain: &Chain) -> (PathBuf, u64) {
    let paths = fs::read_dir(chain.folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let log = paths.filter(|path| path.extension().is_some_and(|end| end == "log")).max().unwrap();
    let length = fs::metadata(&log).unwrap().len();
    (log, length)
}

/// Every write of a stretch of blocks, with batches, commits, checkpoints and pruning, is cut short in turn.
#[test]
fn after_a_crash_at_any_write_the_same_blocks_lead_to_the_same_root() {
    const END: u64 = 127;
    let chain = Chain::up_to(120).reopened();
    let go_on = |chain: &Chain, mut written: Box<dyn FnMut()>| {
        while chain.store.tip().height.0 < END {
            chain.store.put_checkpoint(chain.store.tip().height, &[7]).unwrap();
            written();
            chain.step();
            written();
            chain.store.prune(&forgetful(), 0, 2).unwrap();
            written();
        }
        chain.store.outcome()
    };
    let lengths = std::rc::Rc::new(std::cell::RefCell::new(vec![log(&chain).1]));
    let (path, _) = log(&chain);
    let seen = std::rc::Rc::clone(&lengths);
    let watched = path.clone();
    let expected = go_on(
        &chain,
        Box::new(move || {
            let length = fs::metadata(&watched).unwrap().len();
            if seen.borrow().last() != Some(&length) {
                seen.borrow_mut().push(length);
            }
        }),
    );
    assert_eq!(log(&chain).0, path, "all of it is in one log");
    let lengths = lengths.borrow().clone();
    assert!(lengths.len() > 20, "{lengths:?}");
    let mut heights = std::collections::BTreeSet::new();
    for write in lengths.windows(2) {
        // Nothing of it, its beginning, and all but its last byte.
        for cut in [write[0], (write[0] + write[1]) / 2, write[1] - 1] {
            let copy = copied(chain.folder.path());
            let file = copy.path().join(path.file_name().unwrap());
            fs::OpenOptions::new().write(true).open(file).unwrap().set_len(cut).unwrap();
            let crashed = Chain::at(copy).unwrap();
            heights.insert(crashed.store.tip().height.0);
            assert_eq!(go_on(&crashed, Box::new(|| {})), expected, "cut at {cut}");
        }
    }
    assert!(heights.len() as u64 >= END - 120, "{heights:?}");
}

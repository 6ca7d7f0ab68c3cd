use super::from_store::FromStore;
use super::samples::{Chain, export, genesis, header_bytes, import};
use super::*;
use crate::node::startup::position;

fn imported(chain: &Chain, bytes: &[u8]) -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let (store, imported) = import(folder.path(), &chain.genesis, bytes);
    imported.unwrap();
    (folder, store)
}

/// What an import of `bytes` into an empty ledger leaves and says.
fn refused(genesis: &Genesis, bytes: &[u8]) -> (tempfile::TempDir, Store, String) {
    let folder = tempfile::tempdir().unwrap();
    let (store, imported) = import(folder.path(), genesis, bytes);
    (folder, store, imported.unwrap_err().to_string())
}

fn same(one: &Store, other: &Store) {
    assert_eq!((one.tip(), one.outcome()), (other.tip(), other.outcome()));
    assert_eq!(one.governance(), other.governance());
    let mut height = Height(1);
    while let Some(block) = one.block(height).unwrap() {
        assert_eq!(other.block(height).unwrap().map(|block| block.digest), Some(block.digest));
        assert_eq!(one.outcome_of(height).unwrap(), other.outcome_of(height).unwrap());
        height = height.next();
    }
    assert!(one.versions().map(Result::unwrap).eq(other.versions().map(Result::unwrap)));
}

#[test]
fn a_chain_that_is_exported_and_imported_is_the_same_and_can_be_gone_on_from() {
    let (_folder, store) = {
        let committed = Chain::closing(true);
        imported(&committed, &committed.exported(1))
    };
    assert!(store.governance().began > Height(0));
    let chain = Chain::full();
    let (_folder, store) = imported(&chain, &chain.exported(1));
    same(&chain.store, &store);
    let (here, there) = [&store, &chain.store].map(|store| position(store, &chain.genesis).unwrap()).into();
    assert_eq!((here.epoch, here.began), (there.epoch, there.began));
    assert_eq!(here.start.tip, there.start.tip);
    assert!(here.opening.is_some() && here.opening == there.opening);
    // And out of the new ledger the chain comes again.
    let (_folder, third) = imported(&chain, &export(&store, chain.genesis.chain(), 1));
    same(&chain.store, &third);
}

#[test]
fn a_chain_imported_at_every_height_goes_on_with_the_rest() {
    let chain = Chain::full();
    let tip = chain.store.tip().height;
    for middle in 1..=tip.0 {
        let folder = tempfile::tempdir().unwrap();
        {
            let store = Store::open(folder.path(), &chain.genesis).unwrap();
            let mut source = FromStore::new(&chain.store, Height(1), Height(middle)).unwrap();
            let mut replay = Replay::new(&store, &chain.genesis, Height(1)).unwrap();
            replay.run(&mut source, &mut |_, _| Ok(())).unwrap();
            assert!(store.tip().height >= Height(middle));
        }
        // From the first block on, from the next one, and from one that is there already.
        for from in [1, middle, middle + 1].into_iter().filter(|from| *from <= tip.0) {
            let copy = tempfile::tempdir().unwrap();
            for entry in std::fs::read_dir(folder.path()).unwrap() {
                let entry = entry.unwrap();
                std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
            }
            let (store, imported) = import(copy.path(), &chain.genesis, &chain.exported(from));
            imported.unwrap();
            same(&chain.store, &store);
        }
    }
}

#[test]
fn a_chain_whose_import_stops_at_any_block_goes_on_when_it_is_imported_again() {
    let chain = Chain::full();
    let bytes = chain.exported(1);
    let folder = tempfile::tempdir().unwrap();
    let mut turns = 0;
    loop {
        let store = Store::open(folder.path(), &chain.genesis).unwrap();
        let before = store.tip().height;
        let mut reader = stream::Reader::new(&bytes[..]).unwrap();
        let mut replay = Replay::new(&store, &chain.genesis, Height(1)).unwrap();
        let stop = |height: Height, _: &Outcome| {
            if height > before.next() { Err(ReplayError::Stopped) } else { Ok(()) }
        };
        let run = replay.run(&mut reader, &mut { stop });
        if run.is_ok() {
            same(&chain.store, &store);
            break;
        }
        assert!(matches!(run, Err(ReplayError::Stopped)), "{run:?}");
        assert_eq!(store.tip().height, before.next());
        turns += 1;
    }
    assert_eq!(turns, chain.store.tip().height.0 - 1);
}

#[test]
fn any_changed_byte_is_found_and_the_ledger_ends_at_what_was_sound() {
    let chain = Chain::full();
    let bytes = chain.exported(1);
    // Of the header and the end each byte, some between; not the chain's id, which the command compares.
    let chain_id = 20..52;
    let step = bytes.len() / 60;
    let places = (0..bytes.len())
        .filter(|place| *place < header_bytes() + 8 || *place + 16 >= bytes.len() || place % step == 0)
        .filter(|place| !chain_id.contains(place));
    let folder = tempfile::tempdir().unwrap();
    let mut found = 0;
    for (turn, place) in places.enumerate() {
        let mut damaged = bytes.clone();
        damaged[place] ^= 1 << (turn % 8);
        let folder = folder.path().join(turn.to_string());
        let (store, imported) = import(&folder, &chain.genesis, &damaged);
        let Err(error) = imported else {
            panic!("byte {place} of {} was changed, and nobody noticed", bytes.len());
        };
        let tip = store.tip();
        let expected = chain.store.block(tip.height).unwrap().map(|block| block.digest);
        assert_eq!(expected.unwrap_or(chain.genesis.chain()), tip.digest, "byte {place}: {error}");
        assert_eq!(store.outcome_of(tip.height).unwrap(), chain.store.outcome_of(tip.height).unwrap());
        position(&store, &chain.genesis).unwrap();
        found += 1;
        drop(store);
        std::fs::remove_dir_all(&folder).unwrap();
    }
    assert!(found > 100, "{found} of {}", bytes.len());
}

#[test]
fn a_stream_that_is_cut_anywhere_says_so() {
    let chain = Chain::full();
    let bytes = chain.exported(1);
    let mut heights = Vec::new();
    for length in (header_bytes()..bytes.len()).step_by(199).chain([bytes.len() - 16, bytes.len() - 1]) {
        let (_folder, store, error) = refused(&chain.genesis, &bytes[..length]);
        assert!(error.contains("cut off"), "{length}: {error}");
        heights.push(store.tip().height);
    }
    // Whatever came whole before the cut was taken.
    assert!(heights.is_sorted() && heights.last() == Some(&chain.store.tip().height), "{heights:?}");
    heights.dedup();
    assert!(heights.len() as u64 > chain.store.tip().height.0 / 2, "{heights:?}");
}

#[test]
fn blocks_that_do_not_connect_to_the_ledger_are_refused_with_what_is_needed() {
    let chain = Chain::full();
    let (_folder, store, error) = refused(&chain.genesis, &chain.exported(3));
    assert_eq!(store.tip().height, Height(0));
    assert!(error.contains("begin at height 3") && error.contains("from height 1 on are needed"), "{error}");
}

#[test]
fn another_history_of_the_same_chain_is_refused_at_the_block_where_it_differs() {
    // Two quorums that signed two histories: more validators are broken than the network bears.
    let (chain, other) = (Chain::full(), Chain::full());
    assert_eq!(chain.genesis.chain(), other.genesis.chain());
    let folder = tempfile::tempdir().unwrap();
    import(folder.path(), &chain.genesis, &chain.exported(1)).1.unwrap();
    let (store, imported) = import(folder.path(), &chain.genesis, &other.exported(1));
    let error = imported.unwrap_err();
    assert!(error.to_string().starts_with("block 1 is "), "{error}");
    assert_eq!(store.tip(), chain.store.tip());
}

#[test]
fn what_a_quorum_of_others_signed_proves_nothing() {
    let other = Chain::full();
    // The same keys, another chain's id: no signature holds.
    let genesis = genesis("elsewhere");
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &genesis).unwrap();
    let mut source = FromStore::new(&other.store, Height(1), other.store.tip().height).unwrap();
    let mut replay = Replay::new(&store, &genesis, Height(1)).unwrap();
    let error = replay.run(&mut source, &mut |_, _| Ok(())).unwrap_err().to_string();
    assert!(error.contains("a signature is not valid"), "{error}");
    assert_eq!(store.tip().height, Height(0));
}

/// The ranges of a chain, each changed by a test.
struct Changed<'a, F>(FromStore<'a>, F);

impl<F: FnMut(&mut Range)> Source for Changed<'_, F> {
    fn range(&mut self) -> Result<Option<Range>, ReplayError> {
        let mut range = self.0.range()?;
        if let Some(range) = &mut range {
            (self.1)(range);
        }
        Ok(range)
    }

    fn batch(&mut self, height: Height, digest: &Digest) -> Result<Vec<u8>, ReplayError> {
        self.0.batch(height, digest)
    }
}

fn changed(chain: &Chain, change: impl FnMut(&mut Range)) -> (Height, String) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &chain.genesis).unwrap();
    let source = FromStore::new(&chain.store, Height(1), chain.store.tip().height).unwrap();
    let mut replay = Replay::new(&store, &chain.genesis, Height(1)).unwrap();
    let run = replay.run(&mut Changed(source, change), &mut |_, _| Ok(()));
    (store.tip().height, run.unwrap_err().to_string())
}

#[test]
fn a_certificate_that_is_of_no_use_is_damage_and_not_passed_over() {
    let chain = Chain::full();
    let (height, error) = changed(&chain, |range| {
        if let Some(checkpoint) = &mut range.checkpoint {
            checkpoint.checkpoint.epoch = Epoch(9);
        }
    });
    assert!(height == Height(0) && error.contains("what was read is damaged"), "{error}");
    let (height, error) = changed(&chain, |range| range.candidates.clear());
    assert!(height == Height(0) && error.contains("none comes"), "{error}");
}

#[test]
fn the_next_epoch_begins_only_with_what_closed_the_one_before() {
    let chain = Chain::closing(true);
    let began = chain.store.governance().began;
    let closes = |range: &Range| range.candidates.last().is_some_and(|last| last.height == began);
    let (height, error) = changed(&chain, |range| {
        if closes(range) {
            range.checkpoint = None;
        }
    });
    // The closing block is final by itself, but says nothing of who is in charge next.
    assert_eq!(height, began);
    assert!(error.contains("are of epoch 1, but the ledger is in epoch 0"), "{error}");
    assert!(error.contains("the checkpoint that closed epoch 0 is missing"), "{error}");
    // Without the checkpoint that it cites, nothing says that it closes the epoch: it is not taken.
    let (height, error) = changed(&chain, |range| {
        if closes(range) {
            range.cited = None;
        }
    });
    assert!(height < began && error.contains("does not come with the blocks"), "{error}");
}

#[test]
fn a_result_that_the_validators_did_not_sign_is_not_committed() {
    let mut chain = Chain::new("test");
    let transaction = chain.registered(1);
    chain.block(&[transaction], true, true);
    chain.lies = true;
    let transaction = chain.registered(2);
    chain.block(&[transaction], true, true);
    let (_folder, store, error) = refused(&chain.genesis, &chain.exported(1));
    assert_eq!(store.tip().height, Height(1));
    assert!(error.contains("block 2 leads to another result here than 3 validators signed"), "{error}");
    // Also where its block is in the ledger already.
    let mut replay = Replay::new(&chain.store, &chain.genesis, Height(1)).unwrap();
    let bytes = chain.exported(1);
    let mut reader = stream::Reader::new(&bytes[..]).unwrap();
    let error = replay.run(&mut reader, &mut |_, _| Ok(())).unwrap_err().to_string();
    assert!(error.contains("block 2 leads to another result"), "{error}");
}

/// A source of one range, whose batches nobody comes to.
struct One(Option<Range>);

impl Source for One {
    fn range(&mut self) -> Result<Option<Range>, ReplayError> {
        Ok(self.0.take())
    }

    fn batch(&mut self, height: Height, digest: &Digest) -> Result<Vec<u8>, ReplayError> {
        Err(ReplayError::NoBatch { height, digest: *digest })
    }
}

#[test]
fn blocks_that_say_they_begin_elsewhere_are_refused_whether_the_ledger_has_them_or_not() {
    let chain = Chain::full();
    let mut source = FromStore::new(&chain.store, Height(1), chain.store.tip().height).unwrap();
    let range = source.range().unwrap().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let empty = Store::open(folder.path(), &chain.genesis).unwrap();
    for store in [&chain.store, &empty] {
        let mut replay = Replay::new(store, &chain.genesis, Height(1)).unwrap();
        let mut source = One(Some(Range { first: Height(2), ..range.clone() }));
        let error = replay.run(&mut source, &mut |_, _| Ok(())).unwrap_err();
        assert!(matches!(error, ReplayError::OtherFirst { from: Height(1), found: Height(2) }), "{error}");
    }
    assert_eq!(empty.tip().height, Height(0));
}

use super::*;
use crate::Version;
use crate::samples::create;
use crate::snapshot::{Anchor, Piece, PieceInfo, PieceKind, digest};
use crate::state::StateKey;
use crate::store::StoreError;
use crate::store::chain_tests::{CLOSES, Chain, MEMORY, forgetful, next_configuration};
use genesis::{Configuration, Height};

type Pieces = Vec<(PieceInfo, Vec<u8>)>;

fn cut(chain: &Chain) -> Pieces {
    let mut pieces = Vec::new();
    let emit = |info: PieceInfo, bytes: &[u8]| {
        pieces.push((info, bytes.to_vec()));
        Ok::<_, StoreError>(())
    };
    chain.store.cut(&chain.genesis, Ok, emit).unwrap();
    pieces
}

/// What certificates would say of the chain's tip.
fn anchor(chain: &Chain) -> Anchor {
    let tip = chain.store.tip();
    let mut epochs = vec![(Height(0), Configuration::of(&chain.genesis))];
    if tip.height.0 >= CLOSES {
        epochs.push((Height(CLOSES), next_configuration(&chain.genesis)));
    }
    Anchor { tip, outcome: chain.store.outcome(), epochs, certificates: vec![(tip.height, vec![5])] }
}

fn infos(pieces: &Pieces) -> Vec<PieceInfo> {
    pieces.iter().map(|(info, _)| *info).collect()
}

fn restore(anchor: Anchor, pieces: &Pieces) -> Result<Chain, RestoreError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut restoration = Restoration::open(&path, &forgetful(), anchor, infos(pieces))?;
    for (_, bytes) in pieces {
        restoration.put(bytes)?;
    }
    restoration.finish()?;
    let inner = crate::store::chain_tests::copied(&path);
    Ok(Chain::at(inner)?)
}

#[test]
fn a_ledger_from_a_snapshot_goes_on_like_the_one_that_it_was_made_of() {
    // Before and after the change of validators, and on blocks that nothing was named in.
    for height in [1, 5, 11, CLOSES, CLOSES + 1, 40, 77] {
        let original = Chain::up_to(height);
        let copy = restore(anchor(&original), &cut(&original)).unwrap();
        assert_eq!(copy.store.tip(), original.store.tip());
        assert_eq!(copy.store.outcome(), original.store.outcome());
        assert_eq!(copy.store.governance(), original.store.governance());
        let counts = |chain: &Chain| (chain.store.head().counts.dids, chain.store.head().counts.versions);
        assert_eq!(counts(&copy), counts(&original));
        assert_eq!(copy.store.first_block(), Height(height + 1));
        for subject in 1..100_u8 {
            let did = create(&[subject]).did();
            let history = |chain: &Chain| chain.store.history(&did, Version(1), 9).unwrap();
            assert_eq!(history(&copy), history(&original));
            assert_eq!(copy.store.record(&did).unwrap(), original.store.record(&did).unwrap());
        }
        let recent = |chain: &Chain| chain.store.batches_named_after(Height(height.saturating_sub(MEMORY)));
        assert_eq!(recent(&copy).unwrap(), recent(&original).unwrap());
        for next in height + 1..height + 2 * MEMORY {
            if next == CLOSES {
                break;
            }
            assert_eq!(copy.step(), original.step(), "block {next}, from {height} on");
        }
        let copy = copy.reopened();
        assert_eq!(copy.store.tip(), original.store.tip());
        let key = [StateKey::Did(create(&[2]).did())];
        assert!(copy.store.prove(copy.store.tip().height, &key).unwrap().is_some());
    }
}

#[test]
fn a_snapshot_of_a_snapshot_and_one_of_a_pruned_ledger_are_the_same_piece_for_piece() {
    let original = Chain::up_to(150);
    let pieces = cut(&original);
    let copy = restore(anchor(&original), &pieces).unwrap();
    assert!(cut(&copy) == pieces);
    original.store.prune(&original.genesis, 0, u64::MAX).unwrap();
    assert!(original.store.first_block() > Height(MEMORY));
    assert!(cut(&original) == pieces);
    // What the snapshot brought of old blocks is let go of in time.
    copy.extend_to(300);
    original.extend_to(300);
    copy.store.prune(&copy.genesis, 0, u64::MAX).unwrap();
    original.store.prune(&original.genesis, 0, u64::MAX).unwrap();
    assert!(cut(&copy) == cut(&original));
    assert_eq!(copy.store.head().counts, original.store.head().counts);
}

#[test]
fn a_restoration_goes_on_after_every_piece_and_is_no_ledger_before_its_end() {
    let original = Chain::up_to(60);
    let pieces = cut(&original);
    let folder = tempfile::tempdir().unwrap();
    let open = || Restoration::open(folder.path(), &forgetful(), anchor(&original), infos(&pieces)).unwrap();
    for (number, (info, bytes)) in pieces.iter().enumerate() {
        let mut restoration = open();
        assert_eq!(restoration.next(), Some((number, *info)));
        restoration.put(bytes).unwrap();
        drop(restoration);
        let refused = crate::Store::open(folder.path(), &forgetful()).err().unwrap();
        assert!(matches!(refused, StoreError::Restoring { .. }), "{refused}");
    }
    open().finish().unwrap();
    let store = crate::Store::open(folder.path(), &forgetful()).unwrap();
    assert_eq!(store.outcome(), original.store.outcome());
    drop(store);
    let again = Restoration::open(folder.path(), &forgetful(), anchor(&original), infos(&pieces));
    assert!(matches!(again.err().unwrap(), RestoreError::Store(StoreError::NotEmpty { .. })));
}

#[test]
fn a_restoration_of_another_snapshot_begins_anew() {
    let (first, second) = (Chain::up_to(30), Chain::up_to(40));
    let folder = tempfile::tempdir().unwrap();
    let open = |chain: &Chain| {
        Restoration::open(folder.path(), &forgetful(), anchor(chain), infos(&cut(chain))).unwrap()
    };
    let mut restoration = open(&first);
    for (_, bytes) in &cut(&first)[..3] {
        restoration.put(bytes).unwrap();
    }
    drop(restoration);
    let mut restoration = open(&second);
    assert_eq!(restoration.next().unwrap().0, 0);
    for (_, bytes) in &cut(&second) {
        restoration.put(bytes).unwrap();
    }
    restoration.finish().unwrap();
    let store = crate::Store::open(folder.path(), &forgetful()).unwrap();
    assert_eq!((store.tip(), store.outcome()), (second.store.tip(), second.store.outcome()));
}

/// The pieces with one that holds something else, and a list that says so: what a liar would send.
fn with(pieces: &Pieces, number: usize, piece: &Piece) -> Pieces {
    let mut pieces = pieces.clone();
    let bytes = piece.encode();
    let kind = match (pieces[number].0.kind, piece) {
        (PieceKind::Tree(id, _), Piece::Tree(leaves)) => {
            PieceKind::Tree(id, crate::tree::summary(id, leaves))
        }
        (kind, _) => kind,
    };
    pieces[number] = (PieceInfo { kind, bytes: bytes.len() as u64, digest: digest(&bytes) }, bytes);
    pieces
}

/// Every way to leave out one of the items.
fn without_one<T: Clone>(items: &[T], piece: impl Fn(Vec<T>) -> Piece) -> Vec<Piece> {
    let without = |place| [&items[..place], &items[place + 1..]].concat();
    (0..items.len()).map(|place| piece(without(place))).collect()
}

#[test]
fn whatever_is_left_out_is_missed() {
    let original = Chain::up_to(60);
    let pieces = cut(&original);
    let mut tried = std::collections::BTreeSet::new();
    for (number, (info, bytes)) in pieces.iter().enumerate() {
        let lies = match Piece::read(bytes).unwrap() {
            Piece::Tree(leaves) => without_one(&leaves[..5], Piece::Tree),
            Piece::Governance(mut governance, _) => {
                governance.rules += 1;
                vec![Piece::Governance(governance, Vec::new())]
            }
            Piece::Registry(entries) => without_one(&entries, Piece::Registry),
            Piece::Records(records) => without_one(&records, Piece::Records),
            Piece::History(records) => without_one(&records, Piece::History),
            Piece::Blocks(blocks) => without_one(&blocks, Piece::Blocks),
            Piece::Receipts(blocks) => {
                let mut lies = without_one(&blocks, Piece::Receipts);
                for place in 0..blocks.len() {
                    let mut blocks = blocks.clone();
                    if blocks[place].receipts.pop().is_some() {
                        lies.push(Piece::Receipts(blocks));
                    }
                }
                lies
            }
        };
        for lie in lies {
            tried.insert(info.kind.name());
            let refused = restore(anchor(&original), &with(&pieces, number, &lie));
            assert!(refused.is_err(), "{}", info.kind.name());
        }
        if info.kind != PieceKind::Registry {
            let mut fewer = pieces.clone();
            fewer.remove(number);
            assert!(restore(anchor(&original), &fewer).is_err(), "without piece {number}");
        }
    }
    let all = ["blocks", "governance", "history", "receipts", "records", "tree"];
    assert_eq!(tried.into_iter().collect::<Vec<_>>(), all);
}

#[test]
fn whatever_is_changed_is_refused_and_the_true_piece_is_taken_after_it() {
    let original = Chain::up_to(60);
    let pieces = cut(&original);
    let folder = tempfile::tempdir().unwrap();
    let mut restoration =
        Restoration::open(folder.path(), &forgetful(), anchor(&original), infos(&pieces)).unwrap();
    for (number, (info, bytes)) in pieces.iter().enumerate() {
        let mut flipped = bytes.clone();
        flipped[bytes.len() / 2] ^= 1;
        assert!(restoration.put(&flipped).is_err());
        // Under a list that names it. What a block's digest is over is not the ledger's to know.
        if let Ok(piece) = Piece::read(&flipped)
            && info.kind != PieceKind::Blocks
        {
            let lie = with(&pieces, number, &piece);
            let refused = restore(anchor(&original), &lie);
            assert!(refused.is_err(), "piece {number}: {}", info.kind.name());
        }
        restoration.put(bytes).unwrap();
    }
    restoration.finish().unwrap();
}

#[test]
fn a_list_of_pieces_that_leads_to_another_root_is_refused_at_once() {
    let (original, other) = (Chain::up_to(20), Chain::up_to(21));
    let refused = restore(anchor(&original), &cut(&other)).err().unwrap();
    assert!(matches!(refused, RestoreError::Whole(_)), "{refused}");
}

#[test]
fn a_block_of_which_receipts_fill_several_pieces_comes_whole() {
    let original = Chain::up_to(60);
    let mut pieces = cut(&original);
    let number = pieces.iter().position(|(info, _)| info.kind == PieceKind::Receipts).unwrap();
    let Piece::Receipts(blocks) = Piece::read(&pieces[number].1).unwrap() else { unreachable!() };
    let place = blocks.iter().position(|block| block.receipts.len() > 2).unwrap();
    let (mut first, mut second) = (blocks[..=place].to_vec(), blocks[place..].to_vec());
    first[place].receipts.truncate(1);
    first[place].goes_on = true;
    second[0].receipts.remove(0);
    let last = Piece::Receipts(second);
    pieces = with(&pieces, number, &Piece::Receipts(first));
    let bytes = last.encode();
    let info = PieceInfo { kind: PieceKind::Receipts, bytes: bytes.len() as u64, digest: digest(&bytes) };
    pieces.insert(number + 1, (info, bytes));
    let folder = tempfile::tempdir().unwrap();
    let open = || Restoration::open(folder.path(), &forgetful(), anchor(&original), infos(&pieces)).unwrap();
    let mut restoration = open();
    for (_, bytes) in &pieces[..=number] {
        restoration.put(bytes).unwrap();
    }
    // A crash between the two.
    drop(restoration);
    let mut restoration = open();
    assert_eq!(restoration.next().unwrap().0, number);
    for (_, bytes) in &pieces[number..] {
        restoration.put(bytes).unwrap();
    }
    restoration.finish().unwrap();
    let store = crate::Store::open(folder.path(), &forgetful()).unwrap();
    let receipts = |store: &crate::Store| {
        (51..=60).map(|height| store.receipts_of(&forgetful(), Height(height)).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(receipts(&store), receipts(&original.store));
}

/// Pieces that name the same items again, each sound by itself.
#[test]
fn what_came_before_is_not_taken_again() {
    let original = Chain::up_to(60);
    let pieces = cut(&original);
    let mut tried = 0;
    for (number, (info, _)) in pieces.iter().enumerate() {
        if matches!(info.kind, PieceKind::Records | PieceKind::History) {
            let mut twice = pieces.clone();
            twice.insert(number, pieces[number].clone());
            let refused = restore(anchor(&original), &twice).err().unwrap().to_string();
            assert!(refused.contains("the order of"), "{refused}");
            tried += 1;
        }
    }
    assert!(tried >= 2);
}

#[test]
fn a_receipt_that_a_block_has_twice_is_refused_and_one_that_goes_on_for_ever_too() {
    let original = Chain::up_to(60);
    let pieces = cut(&original);
    let number = pieces.iter().position(|(info, _)| info.kind == PieceKind::Receipts).unwrap();
    let Piece::Receipts(blocks) = Piece::read(&pieces[number].1).unwrap() else { unreachable!() };
    let place = blocks.iter().position(|block| !block.receipts.is_empty()).unwrap();
    let mut twice = blocks.clone();
    let receipt = twice[place].receipts[0].clone();
    twice[place].receipts.push(receipt);
    let refused = restore(anchor(&original), &with(&pieces, number, &Piece::Receipts(twice))).err().unwrap();
    assert!(refused.to_string().contains("twice"), "{refused}");
    let mut endless = blocks[..=place].to_vec();
    endless[place].receipts.clear();
    endless[place].goes_on = true;
    let refused = restore(anchor(&original), &with(&pieces, number, &Piece::Receipts(endless)));
    assert!(refused.is_err());
}

#[test]
fn a_list_that_cuts_the_tree_finer_than_need_be_is_refused() {
    let original = Chain::up_to(40);
    let pieces = cut(&original);
    let Piece::Tree(leaves) = Piece::read(&pieces[0].1).unwrap() else { unreachable!() };
    let Some((PieceInfo { kind: PieceKind::Tree(id, _), .. }, _)) = pieces.first() else { unreachable!() };
    let mut halves = Vec::new();
    for half in [id.left(), id.right()] {
        let leaves: Vec<_> = leaves.iter().filter(|leaf| half.contains(&leaf.key)).copied().collect();
        let kind = PieceKind::Tree(half, crate::tree::summary(half, &leaves));
        let bytes = Piece::Tree(leaves).encode();
        halves.push((PieceInfo { kind, bytes: bytes.len() as u64, digest: digest(&bytes) }, bytes));
    }
    let finer = [halves, pieces[1..].to_vec()].concat();
    let refused = restore(anchor(&original), &finer).err().unwrap().to_string();
    assert!(refused.contains("more subtrees than there are leaves for"), "{refused}");
}

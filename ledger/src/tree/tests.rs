use std::collections::BTreeMap;
use std::convert::Infallible;

use genesis::{Digest, Domain};
use proptest::prelude::*;

use super::bucket::{MAX_LEAVES, from_row, to_row};
use super::proof::{ProofError, prove};
use super::*;

type Map = BTreeMap<Digest, Digest>;

/// The rules, as the module's documentation says them, and nothing else.
fn by_the_rules(leaves: &[(Digest, Digest)], depth: usize) -> Digest {
    let both = |left: Digest, right: Digest| [*left.as_bytes(), *right.as_bytes()].concat();
    match leaves {
        [] => Digest::ZERO,
        [(key, value)] => Digest::of(Domain::Leaf, &both(*key, *value)),
        _ => {
            let (right, left): (Vec<_>, Vec<_>) = leaves.iter().partition(|(key, _)| bit(key, depth));
            let (left, right) = (by_the_rules(&left, depth + 1), by_the_rules(&right, depth + 1));
            Digest::of(Domain::Inner, &both(left, right))
        }
    }
}

fn expected(map: &Map) -> Digest {
    by_the_rules(&map.iter().map(|(key, value)| (*key, *value)).collect::<Vec<_>>(), 0)
}

fn number(number: u64) -> Digest {
    Digest::of(Domain::Batch, &number.to_le_bytes())
}

/// A key that begins with the `bits` bits of 0xff…, and goes on like `number`.
fn ground(bits: usize, seed: u64) -> Digest {
    let mut bytes = *number(seed).as_bytes();
    for place in 0..bits {
        bytes[place / 8] |= 0x80 >> (place % 8);
    }
    Digest::from_bytes(bytes)
}

fn apply(tree: &mut MemoryTree, map: &mut Map, changes: impl IntoIterator<Item = Change>) {
    let changes: BTreeMap<Digest, Option<Digest>> = changes.into_iter().collect();
    for (key, value) in &changes {
        match value {
            Some(value) => map.insert(*key, *value),
            None => map.remove(key),
        };
    }
    let update = tree.update(&changes.into_iter().collect::<Vec<_>>());
    let root = update.root();
    tree.adopt(&update);
    assert_eq!((tree.root(), root), (expected(map), expected(map)));
}

fn reloaded(tree: &MemoryTree) -> Trie {
    let rows = tree.rows().map(|(id, leaves)| Ok::<_, Infallible>((id, leaves.to_vec())));
    let Ok(trie) = Trie::load(rows);
    trie
}

#[test]
fn the_root_of_thousands_of_leaves_is_that_of_the_rules_after_every_change() {
    let (mut tree, mut map) = (MemoryTree::default(), Map::new());
    assert_eq!(tree.root(), Digest::ZERO);
    for block in 0..20 {
        let new = (0..200).map(|place| (number(block * 200 + place), Some(number(place))));
        let changed = (0..block * 10).map(|place| (number(place * 7), Some(number(block))));
        apply(&mut tree, &mut map, new.chain(changed));
    }
    assert_eq!(map.len(), 4_000);
    assert!(tree.rows().all(|(_, leaves)| (1..=MAX_LEAVES).contains(&leaves.len())));
    assert_eq!(reloaded(&tree).root(), tree.root());
}

#[test]
fn keys_that_were_ground_to_share_bits_split_their_own_bucket() {
    let (mut tree, mut map) = (MemoryTree::default(), Map::new());
    apply(&mut tree, &mut map, (0..1_000).map(|seed| (number(seed), Some(number(seed)))));
    let before = tree.rows().count();
    apply(&mut tree, &mut map, (0..1_000).map(|seed| (ground(40, seed), Some(number(seed)))));
    assert!(tree.rows().count() < before + 400);
    // Deeper than buckets go: they share one, however many they are.
    apply(&mut tree, &mut map, (0..100).map(|seed| (ground(80, seed), Some(number(seed)))));
    assert_eq!(tree.rows().map(|(_, leaves)| leaves.len()).max(), Some(100));
    assert_eq!(reloaded(&tree).root(), tree.root());
    for seed in 0..100 {
        let key = ground(80, seed);
        assert_eq!(tree.prove(&key).unwrap().value(&tree.root(), &key), Ok(Some(number(seed))));
    }
}

#[test]
fn an_update_that_is_not_adopted_changes_nothing() {
    let (mut tree, mut map) = (MemoryTree::default(), Map::new());
    apply(&mut tree, &mut map, (0..100).map(|seed| (number(seed), Some(number(seed)))));
    let root = tree.root();
    assert_ne!(tree.update(&[(number(1_000), Some(number(1)))]).root(), root);
    assert_eq!(tree.root(), root);
    assert_eq!(tree.update(&[]).root(), root);
}

#[test]
fn the_tree_before_the_last_few_updates_can_still_be_proved() {
    let (mut tree, mut map) = (MemoryTree::default(), Map::new());
    apply(&mut tree, &mut map, (0..300).map(|seed| (number(seed), Some(number(0)))));
    let (mut trie, mut states, mut replaced) = (tree.trie().clone(), Vec::new(), Vec::new());
    for block in 1..6 {
        states.push((tree.root(), map.clone()));
        let keys =
            (0..60).map(|place| number(place * 5)).chain((0..100).map(|place| number(block * 1_000 + place)));
        let changes: BTreeMap<_, _> = keys.map(|key| (key, (block != 3).then_some(number(block)))).collect();
        let changes: Vec<Change> = changes.into_iter().collect();
        replaced.push(trie.adopt(&tree.update(&changes)));
        apply(&mut tree, &mut map, changes);
    }
    for (height, (root, map)) in states.iter().enumerate() {
        for key in (0..300).chain(1_000..1_100).chain(5_000..5_100).map(number) {
            let path = trie.path(replaced[height..].iter(), &key);
            let read = path.missing().and_then(|id| tree.row(id));
            let proof = path.finish(read.unwrap_or_default()).unwrap();
            assert_eq!(proof.value(root, &key), Ok(map.get(&key).copied()));
        }
    }
}

#[test]
fn a_bucket_that_changed_while_it_was_read_gives_no_proof() {
    let (mut tree, mut map) = (MemoryTree::default(), Map::new());
    apply(&mut tree, &mut map, (0..10).map(|seed| (number(seed), Some(number(seed)))));
    let path = tree.trie().path(std::iter::empty(), &number(1));
    let mut leaves = tree.row(path.missing().unwrap()).unwrap();
    leaves[3].value = number(99);
    assert_eq!(path.finish(leaves), None);
}

#[test]
fn a_bit_flipped_anywhere_in_a_proof_is_found() {
    let leaves: Map = (0..40).map(|seed| (number(seed), number(seed + 1_000))).collect();
    let list: Vec<Leaf> = leaves.iter().map(|(key, value)| Leaf { key: *key, value: *value }).collect();
    let root = root(&list);
    for key in [number(3), number(77)] {
        let proof = prove(&list, &key);
        let value = leaves.get(&key).copied();
        assert_eq!(proof.value(&root, &key), Ok(value));
        let bytes = genesis::encoding::encode(&proof);
        for place in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[place / 8] ^= 1 << (place % 8);
            if let Ok(flipped) = genesis::encoding::decode::<Proof>(&flipped, 1 << 16) {
                assert!(flipped.value(&root, &key).is_err(), "bit {place}");
            }
        }
        assert!(proof.value(&root, &number(4)).is_err());
    }
    let long = Proof { siblings: vec![Digest::ZERO; 257], end: None };
    assert_eq!(long.value(&root, &number(3)), Err(ProofError::TooLong { count: 257 }));
}

#[test]
fn a_row_that_is_not_a_bucket_at_its_place_is_refused() {
    let leaves: Vec<Leaf> =
        [1, 2, 3].map(|byte| Leaf { key: Digest::from_bytes([byte; 32]), value: number(0) }).into();
    let row = to_row(&leaves);
    assert_eq!(from_row(BucketId::ROOT, &row), Some(leaves.clone()));
    assert_eq!(from_row(BucketId::ROOT.left(), &row), Some(leaves.clone()));
    assert_eq!(from_row(BucketId::ROOT.right(), &row), None);
    assert_eq!(from_row(BucketId::ROOT, &row[1..]), None);
    assert_eq!(from_row(BucketId::ROOT, &row[32..]), None);
    let swapped = to_row(&[leaves[1], leaves[0]]);
    assert_eq!(from_row(BucketId::ROOT, &swapped), None);
    let twice = to_row(&[leaves[1], leaves[1]]);
    assert_eq!(from_row(BucketId::ROOT, &twice), None);
}

#[test]
fn a_place_survives_its_bytes_and_others_are_refused() {
    let deep = (0..64).fold(BucketId::ROOT, |id, depth| if depth % 3 == 0 { id.right() } else { id.left() });
    for id in [BucketId::ROOT, BucketId::ROOT.right(), BucketId::ROOT.left().right(), deep] {
        assert_eq!(BucketId::from_bytes(&id.to_bytes()), Some(id));
    }
    for bytes in [
        vec![],
        vec![0; 8],
        vec![0; 10],
        [[0; 8].as_slice(), &[65]].concat(),
        [[255; 8].as_slice(), &[3]].concat(),
    ] {
        assert_eq!(BucketId::from_bytes(&bytes), None, "{bytes:?}");
    }
}

fn keys() -> impl Strategy<Value = Digest> {
    // Few keys, many of them alike in their first bits, so that leaves meet, split, go and come back.
    (0_u64..40, prop_oneof![Just(0_usize), Just(9), Just(66), Just(250)])
        .prop_map(|(seed, bits)| ground(bits, seed))
}

proptest! {
    #[test]
    fn the_tree_agrees_with_a_map_whatever_comes_and_goes(
        blocks in prop::collection::vec(prop::collection::btree_map(keys(), prop::option::weighted(0.7, 0_u64..9), 0..40), 0..12),
        asked in prop::collection::vec(keys(), 8),
    ) {
        let (mut tree, mut map) = (MemoryTree::default(), Map::new());
        for block in blocks {
            apply(&mut tree, &mut map, block.into_iter().map(|(key, value)| (key, value.map(number))));
            prop_assert_eq!(reloaded(&tree).root(), tree.root());
        }
        let leaves: Vec<Leaf> = map.iter().map(|(key, value)| Leaf { key: *key, value: *value }).collect();
        prop_assert_eq!(root(&leaves), tree.root());
        for key in asked.iter().chain(map.keys()) {
            let proof = tree.prove(key).unwrap();
            prop_assert_eq!(&proof, &prove(&leaves, key));
            prop_assert_eq!(proof.value(&tree.root(), key), Ok(map.get(key).copied()));
        }
    }
}

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use wincode::{SchemaRead, SchemaWrite};

use super::*;
use crate::key::{SecretKey, Signature};
use crate::{Digest, Domain, Height};

/// One of each shape that the protocol uses, known to both codecs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
enum Shape {
    Unit,
    Numbers { byte: u8, short: u16, word: u32, long: u64, negative: i64, truth: bool },
    Text(String),
    Bytes(Vec<u8>),
    ByteList(#[serde(with = "byte_list")] Vec<u8>),
    Nested(Vec<Option<Inner>>),
    Digest([u8; 32]),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, SchemaWrite, SchemaRead)]
struct Inner {
    id: [u8; 32],
    tags: Vec<String>,
    pair: (u16, u64),
}

fn inner() -> impl Strategy<Value = Inner> {
    (any::<[u8; 32]>(), prop::collection::vec(".{0,8}", 0..4), any::<(u16, u64)>())
        .prop_map(|(id, tags, pair)| Inner { id, tags, pair })
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![
        Just(Shape::Unit),
        any::<(u8, u16, u32, u64, i64, bool)>().prop_map(|(byte, short, word, long, negative, truth)| {
            Shape::Numbers { byte, short, word, long, negative, truth }
        }),
        ".{0,40}".prop_map(Shape::Text),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(Shape::Bytes),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(Shape::ByteList),
        prop::collection::vec(prop::option::of(inner()), 0..6).prop_map(Shape::Nested),
        any::<[u8; 32]>().prop_map(Shape::Digest),
    ]
}

proptest! {
    #[test]
    fn both_codecs_write_and_read_the_same_bytes(value in shape()) {
        let bytes = encode(&value);
        prop_assert_eq!(&bytes, &wincode::serialize(&value).unwrap());
        prop_assert_eq!(&decode::<Shape>(&bytes, 1 << 20).unwrap(), &value);
        prop_assert_eq!(wincode::deserialize::<Shape>(&bytes).unwrap(), value);
    }

    #[test]
    fn whatever_decodes_encodes_to_the_bytes_it_came_from(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(value) = decode::<Shape>(&bytes, 1 << 20) {
            prop_assert_eq!(encode(&value), bytes);
        }
    }

    #[test]
    fn a_truncated_or_extended_value_is_refused(value in shape(), cut in 1_usize..20) {
        let mut bytes = encode(&value);
        let whole = bytes.len();
        bytes.push(0);
        let trailing = matches!(decode::<Shape>(&bytes, 1 << 20), Err(DecodeError::Trailing { count: 1 }));
        prop_assert!(trailing);
        bytes.truncate(whole.saturating_sub(cut));
        prop_assert!(decode::<Shape>(&bytes, 1 << 20).is_err());
    }
}

/// The types with hand-written serde forms, mirrored in plain ones.
#[test]
fn keys_digests_and_signatures_are_tag_and_bytes_in_both_codecs() {
    #[derive(SchemaWrite)]
    enum Tagged {
        Ed25519([u8; 32]),
    }
    #[derive(SchemaWrite)]
    enum Tagged64 {
        Ed25519([u8; 64]),
    }
    let secret = SecretKey::from_seed([7; 32]);
    let signature = secret.sign(b"message");
    let Signature::Ed25519(raw) = signature;
    assert_eq!(encode(&signature), wincode::serialize(&Tagged64::Ed25519(raw)).unwrap());
    let crate::PublicKey::Ed25519(raw) = secret.public();
    assert_eq!(encode(&secret.public()), wincode::serialize(&Tagged::Ed25519(raw)).unwrap());
    let digest = Digest::of(Domain::Batch, b"bytes");
    assert_eq!(encode(&digest), wincode::serialize(digest.as_bytes()).unwrap());
    assert_eq!(encode(&Height(7)), wincode::serialize(&7_u64).unwrap());
}

#[test]
fn a_truth_value_that_is_neither_0_nor_1_is_refused() {
    assert!(decode::<bool>(&[2], 10).is_err());
    assert!(decode::<Option<u8>>(&[2, 0], 10).is_err());
}

#[test]
fn a_claimed_length_of_2_to_the_60_is_an_error_and_not_an_allocation() {
    let mut bytes = (1_u64 << 60).to_le_bytes().to_vec();
    bytes.extend([0; 16]);
    assert!(decode::<Vec<u64>>(&bytes, 1 << 20).is_err());
    assert!(decode::<String>(&bytes, 1 << 20).is_err());
    assert!(decode::<Vec<Vec<u8>>>(&bytes, 1 << 20).is_err());
}

#[test]
fn what_is_malformed_is_told_in_words() {
    let problem = |error: DecodeError| error.to_string();
    let unknown_variant = decode::<Shape>(&[99, 0, 0, 0], 10).unwrap_err();
    for (said, expected) in [
        (problem(decode::<u64>(&[1], 10).unwrap_err()), "it ends too early"),
        (problem(decode::<bool>(&[2], 10).unwrap_err()), "2 is neither true nor false"),
        (problem(decode::<Option<u8>>(&[2, 0], 10).unwrap_err()), "not a value of this type"),
        (problem(decode::<String>(&encode(&vec![0xff_u8]), 20).unwrap_err()), "a text is not UTF-8"),
        (problem(decode::<String>(&[0xff; 8], 20).unwrap_err()), "longer than anything may be"),
        (problem(unknown_variant), "99"),
    ] {
        assert!(said.contains(expected), "{said}");
        assert!(!said.contains(['{', '(', '"']), "the codec's own text: {said}");
    }
}

#[test]
fn more_bytes_than_the_limit_are_refused_unread() {
    let error = decode::<Vec<u8>>(&encode(&vec![0_u8; 100]), 100).unwrap_err();
    assert!(matches!(error, DecodeError::TooLong { length: 108, limit: 100 }));
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Listed {
    #[serde(deserialize_with = "list::<_, _, 4>")]
    items: Vec<u32>,
}

#[test]
fn a_list_is_read_only_where_the_bytes_left_suffice_for_its_items() {
    let listed = Listed { items: vec![1, 2, 3] };
    let bytes = encode(&listed);
    assert_eq!(decode::<Listed>(&bytes, 100).unwrap(), listed);
    assert_eq!(decode::<Listed>(&bytes, 100).unwrap().items.capacity(), 3, "room for what is there, at once");
    for (claimed, said) in
        [(4, "it ends too early"), (1 << 40, "longer than anything may be"), (u64::MAX, "longer")]
    {
        let mut bytes = bytes.clone();
        bytes[..8].copy_from_slice(&u64::to_le_bytes(claimed));
        let error = decode::<Listed>(&bytes, 100).unwrap_err().to_string();
        assert!(error.contains(said), "{claimed}: {error}");
    }
    let json = serde_json::to_string(&listed).unwrap();
    assert_eq!(serde_json::from_str::<Listed>(&json).unwrap(), listed);
}

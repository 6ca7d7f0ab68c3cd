use genesis::{Parameters, PublicKey};
use proptest::prelude::*;

use super::*;
use crate::samples::{batch, checked, create, created, genesis, genesis_with, key, signed, validator};
use crate::{Operation, VerificationKey};

fn wire(transactions: Vec<Transaction>) -> Batch {
    Batch { author: author(), sequence: 7, expires_at: Height(50), transactions }
}

fn author() -> PublicKey {
    validator(1).network_key
}

fn fault(batch: &Batch) -> String {
    CheckedBatch::decode_and_check(&batch.encode(), &genesis()).unwrap_err().to_string()
}

#[test]
fn a_sound_batch_passes_with_its_digest_and_each_id() {
    let transactions: Vec<Transaction> = (1..=3).map(created).collect();
    let bytes = wire(transactions.clone()).encode();
    let batch = CheckedBatch::decode_and_check(&bytes, &genesis()).unwrap();
    assert_eq!(batch.digest(), Digest::of(Domain::Batch, &bytes));
    assert_eq!((batch.author(), batch.sequence(), batch.expires_at()), (author(), 7, Height(50)));
    let ids: Vec<Digest> = batch.transactions().iter().map(|transaction| transaction.id()).collect();
    assert_eq!(ids, transactions.iter().map(Transaction::id).collect::<Vec<_>>());
}

#[test]
fn an_assembled_batch_has_the_bytes_that_the_others_check() {
    let (assembled, bytes) = batch(3, &[created(1), created(2)]);
    assert_eq!(CheckedBatch::decode_and_check(&bytes, &genesis()).unwrap(), *assembled);
    assert_eq!(CheckedBatch::decode_already_verified(&bytes, &genesis()).unwrap(), *assembled);
    let lengths: usize = assembled.transactions().iter().map(|transaction| transaction.length()).sum();
    assert_eq!(bytes.len(), OVERHEAD_BYTES + lengths);
}

/// Sets change: whether a batch is valid must not depend on the set that is asked.
#[test]
fn a_batch_by_anybody_is_valid_on_its_own() {
    let outsider = Batch { author: key(99).public(), ..wire(vec![created(1)]) };
    let batch = CheckedBatch::decode_and_check(&outsider.encode(), &genesis()).unwrap();
    assert_eq!(batch.author(), key(99).public());
}

#[test]
fn equal_contents_differ_by_their_sequence() {
    assert_ne!(batch(1, &[created(1)]).0.digest(), batch(2, &[created(1)]).0.digest());
}

#[test]
fn a_single_bad_signature_among_many_is_found_and_named() {
    for bad in [0, 4, 9] {
        let mut transactions: Vec<Transaction> = (1..=10).map(created).collect();
        transactions[bad].signatures = created(99).signatures;
        let signer = key(bad as u8 + 1).public();
        let id = transactions[bad].id();
        let expected =
            format!("transaction {bad}: the signature by `{signer}` is not valid for transaction {id}");
        let error = fault(&wire(transactions));
        assert!(error.starts_with(&expected), "{error}");
    }
}

#[test]
fn an_unsound_key_among_many_is_found_and_named() {
    let mut create = create(&[1, 2]);
    create.document.keys[1].public =
        VerificationKey::Ed25519(std::array::from_fn(|index| u8::from(index == 0)));
    let unsound = signed(Operation::Create(create), 1);
    let error = fault(&wire(vec![created(3), unsound, created(4)]));
    assert!(error.starts_with("transaction 1: keys[1]: `z6Mk"), "{error}");
}

#[test]
fn each_fault_names_the_place_the_value_and_the_limit() {
    assert_eq!(
        fault(&wire(vec![])),
        "the batch has 0 transactions, but must have 1 to 4000 (max_batch_transactions)"
    );
    let id = created(1).id();
    let twice = fault(&wire(vec![created(1), created(2), created(1)]));
    assert_eq!(twice, format!("transaction 2: {id} is in the batch already, at 0"));
    let elsewhere = Transaction { chain: Digest::ZERO, ..created(2) };
    assert!(
        fault(&wire(vec![created(1), elsewhere]))
            .starts_with("transaction 1: the transaction is for chain 00")
    );
}

#[test]
fn the_limits_of_the_network_hold_for_reading_and_for_making() {
    let parameters =
        Parameters { max_batch_transactions: 2, max_batch_bytes: 4_096, ..Parameters::default() };
    let parameters = Parameters { max_transaction_bytes: 2_048, max_document_bytes: 1_024, ..parameters };
    let small = genesis_with(parameters);
    let make = |transactions: Vec<Arc<CheckedTransaction>>| {
        CheckedBatch::assemble(author(), 1, Height(9), transactions, &small).unwrap_err().to_string()
    };
    let three: Vec<_> = (1..=3).map(|subject| checked(created(subject))).collect();
    assert!(make(three).contains("3 transactions, but must have 1 to 2"));
    let many: Vec<_> = (1..=40).map(|subject| checked(created(subject))).collect();
    assert!(make(many).contains("at most 4096 are allowed (max_batch_bytes)"));
    let one = checked(created(1));
    assert!(make(vec![one.clone(), one]).contains("is in the batch already, at 0"));
    let bytes = wire((1..=40).map(created).collect()).encode();
    let error = CheckedBatch::decode_and_check(&bytes, &small).unwrap_err().to_string();
    assert!(error.contains(&format!("{} bytes, but at most 4096", bytes.len())), "{error}");
}

#[test]
fn a_count_that_the_bytes_cannot_hold_is_refused_at_once() {
    let mut bytes = wire(vec![created(1)]).encode();
    for count in [2, 1 << 20, 1 << 40, u64::MAX] {
        bytes[52..60].copy_from_slice(&u64::to_le_bytes(count));
        assert!(
            matches!(CheckedBatch::decode_and_check(&bytes, &genesis()), Err(BatchError::Encoding(_))),
            "{count}"
        );
    }
}

#[test]
fn every_truncation_and_every_extension_is_refused() {
    let bytes = wire(vec![created(1)]).encode();
    for length in 0..bytes.len() {
        assert!(CheckedBatch::decode_and_check(&bytes[..length], &genesis()).is_err(), "{length} bytes");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(CheckedBatch::decode_and_check(&longer, &genesis()).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn random_bytes_are_refused_without_panic(bytes: Vec<u8>) {
        prop_assert!(CheckedBatch::decode_and_check(&bytes, &genesis()).is_err());
    }

    /// Any change shows: in the author, sequence and expiry as another digest, elsewhere as an error.
    #[test]
    fn no_byte_changes_unnoticed(place: prop::sample::Index, change in 1..=255u8) {
        let mut bytes = wire(vec![created(1), created(2)]).encode();
        let digest = CheckedBatch::digest_of(&bytes);
        let place = place.index(bytes.len());
        bytes[place] ^= change;
        match CheckedBatch::decode_and_check(&bytes, &genesis()) {
            Ok(batch) => prop_assert!((4..52).contains(&place) && batch.digest() != digest, "byte {place}"),
            Err(error) => prop_assert!(!(4..52).contains(&place), "byte {place}: {error}"),
        }
    }
}

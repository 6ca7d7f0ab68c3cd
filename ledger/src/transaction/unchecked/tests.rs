use super::*;
use crate::Operation;
use crate::samples::{create, created, genesis, key, signed};

/// Each spoils a transaction in its own way, or not.
fn spoilt(way: usize, seed: u8) -> Transaction {
    let mut transaction = created(seed);
    match way {
        0 => {}
        1 => transaction.signatures = created(seed.wrapping_add(1)).signatures,
        2 => transaction.signatures = vec![key(9).sign(transaction.id().as_bytes())],
        // An expiry that nobody signed.
        3 => transaction.expires_at = Height(7),
        // A key of small order in the document, well signed.
        _ => {
            let mut operation = create(&[1]);
            operation.document.keys[0].public = genesis::PublicKey::Ed25519([0; 32]).into();
            transaction = signed(Operation::Create(operation), 1);
        }
    }
    transaction
}

#[test]
fn many_at_once_are_judged_as_one_by_one_wherever_the_forgeries_are() {
    // Around the bounds of what is checked together.
    let lengths = [0, 1, 2, FEW + 1, TOGETHER + FEW + 1];
    for (turn, length) in lengths.into_iter().enumerate() {
        for every in [1, 7, TOGETHER, usize::MAX] {
            let many: Vec<_> = (0..length)
                .map(|place| {
                    let way = if place % every == every.min(length) - 1 { 1 + (place + turn) % 4 } else { 0 };
                    spoilt(way, (place % 5) as u8 + 1)
                })
                .collect();
            let single = many.iter().map(|it| CheckedTransaction::check(it.clone(), &genesis()));
            let single: Vec<_> = single.collect();
            let read = many.into_iter().map(|it| UncheckedTransaction::read(it, &genesis()).unwrap());
            assert_eq!(UncheckedTransaction::check_all(read.collect()), single, "{length} by {every}");
        }
    }
}

#[test]
fn what_is_not_well_formed_is_refused_before_its_signatures() {
    let elsewhere = Transaction { chain: Digest::ZERO, ..created(1) };
    let error = UncheckedTransaction::read(elsewhere, &genesis()).unwrap_err();
    assert!(matches!(error, TransactionError::OtherChain { .. }), "{error}");
}

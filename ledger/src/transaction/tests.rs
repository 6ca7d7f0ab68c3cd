use genesis::encoding::decode;

use super::*;
use crate::samples::{
    commitments, create, created, deactivated, document, genesis, genesis_with, key, recovered, recovery_key,
    signed, updated,
};
use crate::{
    Create, Deactivate, Document, Key, KeyNumber, KeySet, Purposes, Recover, Salt, Update, VerificationKey,
    Version,
};

fn fault(change: impl FnOnce(&mut Transaction)) -> String {
    let mut transaction = signed(Operation::Create(create(&[1, 2])), 1);
    change(&mut transaction);
    CheckedTransaction::check(transaction, &genesis()).unwrap_err().to_string()
}

/// The DID, the id of its create, the digest of the whole create, the ids of an update, a deactivate and a recover.
const FROZEN: [&str; 6] = [
    "z47NR6Axijjm8Xnxe5zkYb1u569vi5r5JAbGRKz7FspV6",
    "cadf28e7da200c4fe088004ec3900075bad7e4ffa20404f2dd681da7b535f138",
    "aff34ca76663ce85bac4ae912f64c8cbb2d33ec97363bd741f2bd274d3617424",
    "4d2e08048accc25f74f07ad7cf91a83f359497e2c044d1db7820e2539ebc8119",
    "e4b89d5a1fe02c6263855e94395cf7ebd66dbe72b2e67d6973a8beeea9d02cd1",
    "0b7759f08d66993c931366f34b7839f3ea99f70b019c442b062d0b6ebef74a8f",
];

/// A transaction made of bytes that stand here, not of the samples: its id must never change.
fn frozen() -> Transaction {
    let public = key(1).public().into();
    let keys = vec![Key { number: KeyNumber::FIRST, public, purposes: Purposes::SIGNING }];
    let document = Document { threshold: 1, keys, controllers: Vec::new(), services: Vec::new() };
    let recovery = Digest::from_bytes([5; 32]);
    let create = Create { document, recovery, next_keys: None, salt: Salt([7; 16]), registrar: None };
    let chain = Digest::from_bytes([9; 32]);
    Transaction::sign(chain, Operation::Create(create), Height(1_000), &[&key(1)])
}

/// These stand in every wallet and every store: they change only with a new protocol version.
#[test]
fn the_did_the_ids_and_the_encoding_are_frozen() {
    let create = frozen();
    let did = create.operation.did().unwrap();
    let id_of = |operation| Transaction { operation, ..frozen() }.id();
    let (revealed, next_keys) = (None, Some(Digest::from_bytes([6; 32])));
    let update = Update { did, replaces: Version(1), document: document(&[2]), revealed, next_keys };
    let revealed = KeySet::of(key(3).public());
    let deactivate = Deactivate { did, replaces: Some(Version(1)), revealed: Some(revealed.clone()) };
    let recovery = Digest::from_bytes([5; 32]);
    let recover = Recover { did, revealed, document: document(&[2]), recovery, next_keys };
    let found = [
        did.to_string(),
        create.id().to_string(),
        Digest::of(Domain::Transaction, &encode(&create)).to_string(),
        id_of(Operation::Update(update)).to_string(),
        id_of(Operation::Deactivate(deactivate)).to_string(),
        id_of(Operation::Recover(recover)).to_string(),
    ];
    assert_eq!(found, FROZEN);
}

#[test]
fn a_signed_transaction_passes_and_survives_its_bytes_and_its_json() {
    for transaction in [created(1), updated(1, 1, &[2], 1), deactivated(1, 1, 1), recovered(1, &[2], 1)] {
        let bytes = encode(&transaction);
        assert_eq!(decode::<Transaction>(&bytes, bytes.len()).unwrap(), transaction);
        let json = serde_json::to_string(&transaction).unwrap();
        assert_eq!(serde_json::from_str::<Transaction>(&json).unwrap(), transaction);
        let checked = CheckedTransaction::check(transaction.clone(), &genesis()).unwrap();
        assert_eq!((checked.id(), checked.length()), (transaction.id(), bytes.len()));
        assert_eq!(encode(&checked), bytes);
    }
}

#[test]
fn the_id_covers_everything_but_the_signatures() {
    let base = created(1);
    let unsigned = Transaction { signatures: Vec::new(), ..base.clone() };
    assert_eq!(unsigned.id(), base.id());
    let expiring = Transaction { expires_at: Height(1_001), ..base.clone() };
    let elsewhere = Transaction { chain: Digest::ZERO, ..base.clone() };
    let others = Transaction { signers: vec![key(2).public()], ..base.clone() };
    for changed in [created(2), expiring, elsewhere, others] {
        assert_ne!(changed.id(), base.id());
    }
}

#[test]
fn several_signers_are_sorted_and_repeats_dropped() {
    let operation = Operation::Create(create(&[1, 2]));
    let (one, two) = (key(1), key(2));
    let sign = |keys: &[&SecretKey]| Transaction::sign(genesis().chain(), operation.clone(), Height(9), keys);
    assert_eq!(sign(&[&one, &two, &one]), sign(&[&two, &one]));
    assert_eq!(sign(&[&one, &two]).signers.len(), 2);
    CheckedTransaction::check(sign(&[&one, &two]), &genesis()).unwrap();
}

#[test]
fn each_fault_names_the_value_and_the_limit() {
    let chain = genesis().chain();
    assert!(
        fault(|it| it.chain = Digest::ZERO).contains(&format!("{}, but this is chain {chain}", Digest::ZERO))
    );
    assert!(fault(|it| it.signers.clear()).contains("has 0 signers, but must have 1 to 16"));
    assert!(
        fault(|it| it.signers = vec![it.signers[0]; 17]).contains("has 17 signers, but must have 1 to 16")
    );
    assert!(fault(|it| it.signers = vec![it.signers[0]; 2]).contains("signer 1, `z6Mk"));
    assert!(fault(|it| it.signatures.clear()).contains("0 signatures for 1 signers"));
    let unnamed = fault(|it| it.operation = Operation::Create(create(&[])));
    assert_eq!(unnamed, "the document has 0 keys, but must have 1 to 20 (max_document_keys)");
    let genesis = genesis_with(Parameters {
        max_transaction_bytes: 1_024,
        max_document_bytes: 1_024,
        ..Parameters::default()
    });
    let large = Operation::Create(create(&(1..=20).collect::<Vec<u8>>()));
    let large = Transaction::sign(genesis.chain(), large, Height(9), &[&key(1), &key(2)]);
    let length = encode(&large).len();
    let error = CheckedTransaction::check(large, &genesis).unwrap_err().to_string();
    let expected = format!("{length} bytes, but at most 1024 are allowed (max_transaction_bytes)");
    assert!(error.contains(&expected), "{error}");
}

#[test]
fn a_signature_by_another_key_or_over_another_transaction_or_chain_is_refused_by_name() {
    let signer = key(1).public().to_string();
    let forged = [
        fault(|it| it.expires_at = Height(999)),
        fault(|it| it.signatures = signed(it.operation.clone(), 2).signatures),
        fault(|it| it.signatures = created(3).signatures),
        fault(|it| {
            let elsewhere = Transaction::sign(Digest::ZERO, it.operation.clone(), it.expires_at, &[&key(1)]);
            it.signatures = elsewhere.signatures;
        }),
        fault(|it| it.signatures = vec![key(1).sign(it.id().as_bytes())]),
    ];
    for error in forged {
        assert!(error.contains(&signer) && error.contains("is not valid"), "{error}");
    }
}

#[test]
fn the_expiry_counts_to_its_height_and_the_lifetime_to_its_limit() {
    let genesis = genesis_with(Parameters { max_transaction_lifetime: 10, ..Parameters::default() });
    let transaction = Transaction { expires_at: Height(100), ..created(1) };
    let at = |height| transaction.check_expiry(Height(height), genesis.parameters());
    assert_eq!(at(101), Err(Code::Expired));
    assert_eq!((at(100), at(90)), (Ok(()), Ok(())));
    assert_eq!((at(89), at(0)), (Err(Code::LifetimeTooLong), Err(Code::LifetimeTooLong)));
}

#[test]
fn a_document_with_an_unsound_key_is_refused_by_its_place() {
    let mut unsound = create(&[1, 2]);
    unsound.document.keys[1].public =
        VerificationKey::Ed25519(std::array::from_fn(|index| u8::from(index == 0)));
    let error = CheckedTransaction::check(signed(Operation::Create(unsound), 1), &genesis()).unwrap_err();
    assert!(error.to_string().starts_with("keys[1]: `z6Mk"), "{error}");
}

#[test]
fn an_unsound_key_that_is_revealed_is_refused_by_its_place() {
    let unsound = PublicKey::Ed25519(std::array::from_fn(|index| u8::from(index == 0)));
    let revealed = Some(KeySet::of(unsound));
    let operation = Operation::Deactivate(Deactivate { did: create(&[1]).did(), replaces: None, revealed });
    let error = CheckedTransaction::check(signed(operation, 1), &genesis()).unwrap_err();
    assert!(error.to_string().starts_with("revealed: keys[0]: `z6Mk"), "{error}");
}

#[test]
fn a_recovery_that_commits_to_the_keys_it_shows_is_refused() {
    let mut transaction = recovered(1, &[2], 1);
    let Operation::Recover(recover) = &mut transaction.operation else { panic!("a recovery") };
    recover.recovery = commitments(1).recovery;
    let again = Transaction::sign(transaction.chain, transaction.operation, Height(9), &[&recovery_key(1)]);
    let error = CheckedTransaction::check(again, &genesis()).unwrap_err();
    assert_eq!(error, TransactionError::SameRecovery { commitment: commitments(1).recovery });
}

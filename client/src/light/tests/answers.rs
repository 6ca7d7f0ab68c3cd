//! Proofs of transactions' fates and of the trust registry.

use ledger::proof::{EntryProof, EntryProofError, Fate, FateProof, FateProofError, InBlock, Window};
use ledger::registry::{Accreditation, Role, Status};
use ledger::state::receipt_leaves;
use ledger::tree::proof::prove as path_to;

use super::*;

impl Chain {
    fn in_block(&self, id: &Digest, height: u64) -> InBlock {
        let receipts = self.receipts.values().filter(|receipt| receipt.height.0 == height);
        let leaves = receipt_leaves(receipts);
        InBlock {
            time: time(height),
            receipts_root: ledger::tree::root(&leaves),
            block: self.tree.prove(&StateKey::Block(Height(height)).digest()).unwrap(),
            receipt: path_to(&leaves, id),
        }
    }

    /// As a node makes it.
    fn fate(&self, id: &Digest, heights: std::ops::RangeInclusive<u64>) -> TransactionProof {
        let fate = match self.receipts.get(id) {
            Some(receipt) => {
                let shown = self.in_block(id, receipt.height.0);
                FateProof::Final { receipt: receipt.clone(), shown: Box::new(shown) }
            }
            None => FateProof::Expired { blocks: heights.map(|height| self.in_block(id, height)).collect() },
        };
        TransactionProof { links: self.links.clone(), certificate: certified(&self.checkpoint()), fate }
    }

    fn entry(&self, key: &RegistryKey) -> RegistryProof {
        let path = self.tree.prove(&StateKey::Registry(*key).digest()).unwrap();
        let entry = EntryProof { path, entry: self.registry.get(key).cloned() };
        RegistryProof { links: self.links.clone(), certificate: certified(&self.checkpoint()), entry }
    }

    /// Puts an entry into the registry, as the next block's execution would.
    fn accredit(&mut self, entry: RegistryEntry) {
        let change = (StateKey::Registry(entry.key()).digest(), Some(entry.digest()));
        let update = self.tree.update(&[change]);
        self.tree.adopt(&update);
        self.outcome.state_root = self.tree.root();
        self.registry.insert(entry.key(), entry);
    }
}

/// Two transactions in block 1, none in block 2, one each in blocks 3 and 4; one change of the validators. And one that was
/// never ordered.
fn busy() -> (Chain, Vec<Digest>, Digest) {
    busy_with(true)
}

/// The same with or without the change.
fn busy_with(changes: bool) -> (Chain, Vec<Digest>, Digest) {
    let mut chain = Chain::new();
    let terms = Terms { network: "test".into(), chain: founded().chain(), expires_at: Height(50) };
    let made = |seed| registration(&terms, &SecretKey::from_seed([seed; 32])).1;
    let ordered: Vec<Transaction> = (1..=4).map(made).collect();
    chain.block_of(ordered[..2].to_vec());
    if changes {
        chain.hand_over();
    }
    chain.block_of(Vec::new());
    chain.block(ordered[2].clone());
    chain.block(ordered[3].clone());
    let ids = ordered.iter().map(Transaction::id).collect();
    (chain, ids, made(9).id())
}

fn window(after: u64, expires_at: u64) -> Option<Window> {
    Some(Window { after: Height(after), expires_at: Height(expires_at) })
}

fn asked(id: &Digest, window: Option<Window>, proof: TransactionProof) -> Result<Fate, FateProofError> {
    let mut client = LightClient::new(&founded());
    match client.receipt(id, window, proof, time(4)) {
        Ok(answer) => {
            assert_eq!((answer.checkpoint.height, client.pin().epoch()), (Height(4), Epoch(1)));
            Ok(answer.fate)
        }
        Err(LightError::Fate(error)) => {
            assert_eq!(client.pin(), LightClient::new(&founded()).pin());
            Err(error)
        }
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn every_receipt_is_shown_against_the_newest_root_whichever_block_it_is_of() {
    let (chain, ids, _) = busy();
    for (id, height) in ids.iter().zip([1, 1, 3, 4]) {
        let proof = TransactionProof::decode(&chain.fate(id, 1..=1).encode()).unwrap();
        let Fate::Final(receipt) = asked(id, None, proof).unwrap() else { panic!("it has a receipt") };
        assert_eq!((receipt.id, receipt.height), (*id, Height(height)));
    }
}

#[test]
fn a_transaction_that_no_block_of_its_window_has_is_shown_to_have_expired() {
    let (chain, _, never) = busy();
    for (after, expires_at) in [(0, 4), (1, 3), (1, 2), (0, 1)] {
        let fate = asked(&never, window(after, expires_at), chain.fate(&never, after + 1..=expires_at));
        assert_eq!(fate, Ok(Fate::Expired), "after {after} until {expires_at}");
    }
}

#[test]
fn an_expiry_is_not_believed_where_a_block_is_withheld_or_the_receipt_is() {
    let (chain, ids, never) = busy();
    // Fewer blocks, others, or none that was asked for.
    let error = asked(&never, window(0, 4), chain.fate(&never, 1..=3)).unwrap_err();
    assert_eq!(error, FateProofError::Count { expected: 4, found: 3 });
    let error = asked(&never, window(1, 3), chain.fate(&never, 1..=2)).unwrap_err();
    assert!(matches!(error, FateProofError::Path { height: Height(2), .. }), "{error}");
    assert_eq!(asked(&never, None, chain.fate(&never, 1..=4)), Err(FateProofError::NoWindow));
    let error = asked(&never, window(4, 4), chain.fate(&never, 1..=4)).unwrap_err();
    assert_eq!(error, FateProofError::EmptyWindow { after: Height(4), expires_at: Height(4) });
    // A block that is still to come has no place in the state.
    let mut proof = chain.fate(&never, 1..=4);
    let FateProof::Expired { blocks } = &mut proof.fate else { panic!("it has no receipt") };
    blocks.push(InBlock { block: chain.in_block(&never, 5).block, ..blocks[3].clone() });
    let error = asked(&never, window(0, 5), proof).unwrap_err();
    assert_eq!(error, FateProofError::Block { height: Height(5) });
    // One that was ordered passes for none: its own path says so, another's does not lead there, and no other block has
    // the height.
    let blocks = (1..=4).map(|height| chain.in_block(&ids[2], height)).collect();
    let proof = TransactionProof { fate: FateProof::Expired { blocks }, ..chain.fate(&never, 1..=4) };
    let error = asked(&ids[2], window(0, 4), proof).unwrap_err();
    assert!(
        matches!(error, FateProofError::Receipt { height: Height(3), expected: Some(_), found: None }),
        "{error}"
    );
    let other = InBlock { receipt: chain.in_block(&ids[3], 4).receipt, ..chain.in_block(&ids[2], 3) };
    let proof =
        TransactionProof { fate: FateProof::Expired { blocks: vec![other] }, ..chain.fate(&never, 1..=4) };
    let error = asked(&ids[2], window(2, 3), proof).unwrap_err();
    assert!(matches!(error, FateProofError::Path { height: Height(3), .. }), "{error}");
}

#[test]
fn a_receipt_is_believed_only_of_its_own_transaction_as_it_was_written() {
    let (chain, ids, _) = busy();
    let proof = || chain.fate(&ids[0], 1..=1);
    let error = asked(&ids[1], None, proof()).unwrap_err();
    assert_eq!(error, FateProofError::OtherTransaction { expected: ids[1], found: ids[0] });
    let changed = |change: &dyn Fn(&mut Receipt)| {
        let mut proof = proof();
        let FateProof::Final { receipt, .. } = &mut proof.fate else { panic!("it has a receipt") };
        change(receipt);
        asked(&ids[0], None, proof).unwrap_err()
    };
    let error = changed(&|receipt| receipt.code = ledger::Code::Unauthorised);
    assert!(matches!(error, FateProofError::Receipt { height: Height(1), .. }), "{error}");
    let error = changed(&|receipt| receipt.height = Height(3));
    assert!(matches!(error, FateProofError::Path { height: Height(3), .. }), "{error}");
}

#[test]
fn every_bit_of_a_proof_about_a_transaction_counts() {
    let (chain, ids, never) = busy_with(false);
    assert_every_bit_counts(&chain.fate(&ids[0], 1..=1).encode(), |client, bytes| {
        client.receipt(&ids[0], None, TransactionProof::decode(bytes)?, now()).map(drop)
    });
    assert_every_bit_counts(&chain.fate(&never, 1..=3).encode(), |client, bytes| {
        client.receipt(&never, window(0, 3), TransactionProof::decode(bytes)?, now()).map(drop)
    });
}

fn accreditation(role: Role) -> Accreditation {
    Accreditation {
        did: other_did().id(),
        role,
        scope: vec!["diploma".into()],
        valid_from: UnixMillis(0),
        valid_until: UnixMillis(9_000_000),
        quota: 0,
        registrations: 0,
        status: Status::Active,
        at: Moment { height: Height(4), time: time(4) },
    }
}

#[test]
fn an_entry_of_the_registry_is_shown_and_that_there_is_none() {
    let (mut chain, _, _) = busy_with(false);
    let entry = RegistryEntry::Accreditation(accreditation(Role::Issuer));
    chain.accredit(entry.clone());
    let (there, absent) = (entry.key(), RegistryKey::Accreditation(other_did().id(), Role::Registrar));
    let asked = |key: &RegistryKey, change: &dyn Fn(&mut EntryProof)| {
        let mut proof = RegistryProof::decode(&chain.entry(key).encode()).unwrap();
        change(&mut proof.entry);
        match LightClient::new(&founded()).registry(key, proof, now()) {
            Ok(answer) => Ok(answer.entry),
            Err(LightError::Entry(error)) => Err(error),
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(asked(&there, &|_| {}), Ok(Some(entry.clone())));
    assert_eq!(asked(&absent, &|_| {}), Ok(None));
    // Neither withheld, nor changed, nor passed off under another key.
    for change in [(|proof: &mut EntryProof| proof.entry = None) as fn(&mut EntryProof), |proof| {
        let suspended = Accreditation { status: Status::Suspended, ..accreditation(Role::Issuer) };
        proof.entry = Some(RegistryEntry::Accreditation(suspended));
    }] {
        assert!(matches!(asked(&there, &change), Err(EntryProofError::Entry { expected: Some(_), .. })));
    }
    let moved = asked(&absent, &|proof| proof.entry = Some(entry.clone()));
    assert!(matches!(moved, Err(EntryProofError::Entry { expected: None, .. })));
    let moved = asked(&absent, &|proof| *proof = chain.entry(&there).entry);
    assert!(matches!(moved, Err(EntryProofError::Path(_))), "{moved:?}");
    for key in [there, absent] {
        assert_every_bit_counts(&chain.entry(&key).encode(), |client, bytes| {
            client.registry(&key, RegistryProof::decode(bytes)?, now()).map(drop)
        });
    }
}

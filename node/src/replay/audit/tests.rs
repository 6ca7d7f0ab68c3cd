use std::sync::Arc;

use ledger::{Changes, Governance, Record};

use super::*;
use crate::replay::samples::{Chain, import};
use crate::wire::encode_checkpoint;

fn audited(chain: &Chain) -> Result<Audited, String> {
    audit(&chain.store, &chain.genesis, &mut |_| Ok(())).map_err(|error| error.to_string())
}

#[test]
fn a_sound_ledger_passes_as_it_was_made_and_as_it_was_imported() {
    let chain = Chain::full();
    let made = audited(&chain).unwrap();
    let tip = chain.store.tip().height;
    assert_eq!((made.blocks, made.proven, made.dids), (tip.0, tip, 8));
    assert!(
        made.versions > made.dids && made.batches == tip.0 - 1 && made.checkpoints == tip.0 - 1,
        "{made:?}"
    );
    let folder = tempfile::tempdir().unwrap();
    let (store, imported) = import(folder.path(), &chain.genesis, &chain.exported(1));
    imported.unwrap();
    let imported = audit(&store, &chain.genesis, &mut |_| Ok(())).unwrap();
    assert_eq!(Audited { checkpoints: made.checkpoints, ..imported }, made);
    let empty = Chain::new("test");
    assert_eq!(audited(&empty).unwrap(), Audited::default());
}

#[test]
fn whoever_waits_can_end_it_at_any_step() {
    let chain = Chain::full();
    let mut steps = 0;
    let made = audit(&chain.store, &chain.genesis, &mut |step| {
        steps += u64::from(matches!(step, Step::Block | Step::Version));
        Ok(())
    });
    let made = made.unwrap();
    assert_eq!(steps, made.blocks + made.versions);
    let stopped = audit(&chain.store, &chain.genesis, &mut |_| Err(AuditError::Stopped));
    assert!(matches!(stopped, Err(AuditError::Stopped)));
}

/// What is found where the disk makes this of block 12.
fn damaged(damage: impl FnOnce(&mut ledger::Block, &mut Changes) + 'static) -> String {
    let mut chain = Chain::full();
    chain.damage = Some(Box::new(damage));
    let height = chain.store.tip().height.next();
    assert_eq!(height, Height(13));
    let transactions = [chain.registered(9), chain.updated(2)];
    chain.block(&transactions, true, true);
    let error = audited(&chain).unwrap_err();
    assert!(error.ends_with(HOW_TO_REPLACE), "{error}");
    error
}

fn records(change: impl Fn(&mut Record) + 'static) -> String {
    damaged(move |_, changes| changes.records.iter_mut().for_each(&change))
}

#[test]
fn a_damaged_record_is_found_with_its_did_and_version() {
    let error = records(|record| record.header.recovery = Digest::ZERO);
    assert!(
        error.contains("did:realdid:test:") && error.contains("not the one in the state tree"),
        "{error}"
    );
    let error = records(|record| {
        if let Some(document) = &mut record.document {
            document.threshold += 1;
        }
    });
    assert!(error.contains("its document is not the one that its header names"), "{error}");
    let error = records(|record| record.header.previous = Digest::from_bytes([7; 32]));
    assert!(error.contains("does not name the header of the version before it"), "{error}");
    let error = records(|record| record.header.version = Version(9));
    assert!(error.contains("at version 9 is not sound"), "{error}");
}

#[test]
fn lost_records_and_receipts_are_found() {
    let error = damaged(|_, changes| changes.records.clear());
    assert!(error.contains("not the one in the state tree") || error.contains("leaves"), "{error}");
    let error = damaged(|_, changes| changes.receipts.clear());
    assert!(error.contains("block 13 is not sound: its receipts"), "{error}");
    let error = damaged(|_, changes| {
        changes.records.retain(|record| record.header.version != Version::FIRST);
    });
    assert!(error.contains("the state tree of the ledger") && error.contains("leaves"), "{error}");
}

#[test]
fn damaged_governance_is_found() {
    let error = damaged(|_, changes| {
        let mut governance = Governance::clone(changes.governance.get_or_insert_with(governance));
        governance.rules += 1;
        changes.governance = Some(Arc::new(governance));
    });
    assert!(error.contains("the governance of the ledger, at height 13"), "{error}");
}

/// That of [`Chain::full`]'s tip.
fn governance() -> Arc<Governance> {
    Chain::full().store.governance()
}

#[test]
fn a_block_whose_row_or_outcome_differs_from_what_was_agreed_is_found() {
    let error = damaged(|row, _| row.time.0 += 1);
    assert!(error.contains("block 13 is not sound: its row says something else"), "{error}");
    let error = damaged(|_, changes| changes.outcome.receipts_root = Digest::ZERO);
    assert!(error.contains("block 13 is not sound: the validators signed another outcome"), "{error}");
    let error = damaged(|row, _| {
        let mut proof = Proof::decode(&row.proof).unwrap();
        if let Some(commit) = &mut proof.commit {
            commit.signatures[1].1 = commit.signatures[0].1;
        }
        row.proof = proof.encode();
    });
    assert!(error.contains("a signature is not valid"), "{error}");
}

#[test]
fn a_forged_checkpoint_and_a_missing_closing_one_are_found() {
    let chain = Chain::full();
    let read = |height: Height| decode_checkpoint(&chain.store.checkpoint(height).unwrap().unwrap()).unwrap();
    let mut forged = read(Height(3));
    forged.signatures[0].1 = forged.signatures[1].1;
    chain.store.put_checkpoint(Height(3), &encode_checkpoint(&forged)).unwrap();
    let error = audited(&chain).unwrap_err();
    assert!(error.contains("block") && error.contains("a signature is not valid"), "{error}");

    let chain = Chain::full();
    let began = chain.store.governance().began;
    chain.store.put_checkpoint(began, b"no certificate").unwrap();
    let error = audited(&chain).unwrap_err();
    assert!(error.contains(&format!("block {began} is not sound: its checkpoint's certificate")), "{error}");
}

#[test]
fn validators_that_only_the_ledger_names_are_not_believed() {
    let chain = Chain::full();
    let audit = |genesis| {
        let (store, tip) = (&chain.store, chain.store.tip().height);
        let audit = Audit { store, genesis, tip, receipts: 0, found: Audited::default() };
        audit.epochs().map_err(|error| error.to_string())
    };
    assert_eq!(audit(&chain.genesis), Ok(()));
    // One that names a validator more, or began elsewhere.
    let validators = chain.genesis.validators().iter().skip(1).map(|(_, member)| member.clone()).collect();
    let (time, parameters) = (chain.genesis.time(), chain.genesis.parameters().clone());
    let other = Genesis::new("test".into(), time, parameters, validators).unwrap();
    let error = audit(&other).unwrap_err();
    assert!(error.contains("the first epoch of the ledger") && error.contains("genesis document"), "{error}");

    let began = chain.store.governance().began;
    let closing = decode_checkpoint(&chain.store.checkpoint(began).unwrap().unwrap()).unwrap();
    let mut forged = closing.clone();
    forged.signatures[0].1 = forged.signatures[1].1;
    chain.store.put_checkpoint(began, &encode_checkpoint(&forged)).unwrap();
    let error = audit(&chain.genesis).unwrap_err();
    assert!(error.contains(&format!("block {began} is not sound")), "{error}");
    assert!(error.contains("a signature is not valid"), "{error}");

    let other = chain.store.checkpoint(Height(3)).unwrap().unwrap();
    chain.store.put_checkpoint(began, &other).unwrap();
    let error = audit(&chain.genesis).unwrap_err();
    assert!(error.contains("its checkpoint's certificate is of another block"), "{error}");
}

#[test]
fn a_receipt_of_no_block_is_found() {
    for height in [Height(0), Height(5), Height(13)] {
        let error = damaged(move |_, changes| {
            let id = Digest::from_bytes([9; 32]);
            let planted = ledger::Receipt { id, height, ..changes.receipts[0].clone() };
            changes.receipts.push(planted);
        });
        assert!(error.contains("the list of receipts of the ledger, at height 13"), "{error}");
        assert!(error.contains("there are 21, but blocks have 20"), "{error}");
    }
}

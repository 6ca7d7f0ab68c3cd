use std::fs;

use genesis::{Parameters, UnixMillis, Validator};

use super::*;

fn founded(consensus: &SecretKey, network: &SecretKey) -> Genesis {
    let validator = Validator {
        name: "node0".into(),
        consensus_key: consensus.public(),
        network_key: network.public(),
        governance_key: SecretKey::from_seed([3; 32]).public(),
        address: "127.0.0.1:26600".into(),
    };
    Genesis::new("test".into(), UnixMillis(1_000), Parameters::default(), vec![validator]).unwrap()
}

/// What a validator remembers that is started with an empty ledger after a first start that was cut short: its journal
/// was made, and nothing written there.
fn memory_after_a_first_start_cut_short(is_marked: bool) -> Memory {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::new(folder.path());
    fs::create_dir_all(home.keys()).unwrap();
    fs::create_dir_all(home.data()).unwrap();
    let (consensus, network) = (SecretKey::from_seed([1; 32]), SecretKey::from_seed([2; 32]));
    let genesis = Arc::new(founded(&consensus, &network));
    let owner = Owner { chain: genesis.chain(), voter: consensus.public() };
    if is_marked {
        home.mark_first_start().unwrap();
    }
    drop(Journal::open(&home.journal(), owner).unwrap());
    assert!(Journal::exists(&home.journal()));
    let store = Store::open(&home.store(), &genesis).unwrap();
    let position = position(&store, &genesis).unwrap();
    let identity = Identity { genesis, consensus, network };
    let (_, records, memory) = open_journal(&home, &identity, &position).unwrap();
    assert!(records.is_empty());
    memory
}

#[test]
fn a_wiped_validator_whose_first_start_was_cut_short_has_still_lost_its_record() {
    assert_eq!(memory_after_a_first_start_cut_short(false), Memory::Lost);
}

#[test]
fn a_new_validator_whose_first_start_was_cut_short_has_signed_nothing() {
    assert_eq!(memory_after_a_first_start_cut_short(true), Memory::Whole);
}

use genesis::{Height, Parameters, PublicKey, SecretKey, UnixMillis};

use super::*;

fn key(seed: u8) -> PublicKey {
    SecretKey::from_seed([seed; 32]).public()
}

fn validator(index: u8) -> Validator {
    Validator {
        name: format!("node{index}"),
        consensus_key: key(10 * index + 1),
        network_key: key(10 * index + 2),
        governance_key: key(10 * index + 3),
        address: format!("127.0.0.1:2660{index}"),
    }
}

fn founded() -> Genesis {
    let validators = (0..4).map(validator).collect();
    Genesis::new("test".into(), UnixMillis(1_000), Parameters::default(), validators).unwrap()
}

fn owner_of(genesis: &Genesis) -> Owner {
    Owner { chain: genesis.chain(), voter: key(1) }
}

/// The folder of validator 0 after one block, and the chain that goes on from there.
fn lived() -> (tempfile::TempDir, Home, Genesis) {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::new(folder.path());
    fs::create_dir_all(home.keys()).unwrap();
    fs::create_dir_all(home.data()).unwrap();
    let genesis = founded();
    fs::write(home.genesis_path(), genesis.to_toml()).unwrap();
    let store = Store::open(&home.store(), &genesis).unwrap();
    let block = ledger::Block {
        height: Height(1),
        parent: genesis.chain(),
        digest: Digest::from_bytes([1; 32]),
        time: UnixMillis(2_000),
        batches: Vec::new(),
        proof: Vec::new(),
    };
    let changes = apply(&store, block.moment(), None, &[]).unwrap();
    store.commit(&block, &changes).unwrap();
    let predecessor = Predecessor {
        chain: genesis.chain(),
        height: block.height,
        block: block.digest,
        state_root: changes.outcome.state_root,
    };
    let survivors = (0..2).map(validator).collect();
    let parameters = Parameters::default();
    let next = Genesis::succeeding(predecessor, "test".into(), block.time, parameters, survivors).unwrap();
    Journal::open(&home.journal(), owner_of(&genesis)).unwrap();
    (folder, home, next)
}

/// Everything of the new chain, and nothing signed there.
fn is_whole(home: &Home, next: &Genesis) {
    assert_eq!(home.genesis().unwrap(), *next);
    assert_eq!(Store::open(&home.store(), next).unwrap().tip().digest, next.chain());
    assert!(home.first_start().exists());
    assert!(!home.journal().exists());
    let short = short(&founded().chain());
    assert_eq!(
        Journal::owner(&home.data().join(format!("journal-{short}"))).unwrap(),
        Some(owner_of(&founded()))
    );
    let old = fs::read_to_string(home.path().join(format!("genesis-{short}.toml"))).unwrap();
    assert_eq!(Genesis::parse(&old).unwrap(), founded());
}

#[test]
fn a_folder_becomes_one_of_the_new_chain_and_keeps_what_is_old_aside() {
    let (_folder, home, next) = lived();
    let adopted = adopt(&home, &next, false).unwrap();
    assert!(!adopted.ledger_was_adopted && adopted.old_journal.is_some() && adopted.old_genesis.is_some());
    is_whole(&home, &next);
}

#[test]
fn a_step_that_a_crash_cut_short_anywhere_is_finished_by_taking_it_again() {
    for done in 1..=4 {
        let (_folder, home, next) = lived();
        Store::adopt(&home.store(), &next).unwrap();
        if done >= 2 {
            home.mark_first_start().unwrap();
        }
        if done >= 3 {
            put_journal_aside(&home, &next, false, false).unwrap();
        }
        if done >= 4 {
            let old = home.path().join(format!("genesis-{}.toml", short(&founded().chain())));
            write_whole(&old, &founded().to_toml()).unwrap();
        }
        // In between no node starts: genesis document and ledger are of two chains.
        assert!(Store::open(&home.store(), &home.genesis().unwrap()).is_err());
        assert!(adopt(&home, &next, false).unwrap().ledger_was_adopted);
        is_whole(&home, &next);
    }
}

#[test]
fn what_the_key_signed_on_the_new_chain_is_never_forgotten() {
    let (_folder, home, next) = lived();
    adopt(&home, &next, false).unwrap();
    // The node has started: its journal exists, and the mark is gone.
    Journal::open(&home.journal(), owner_of(&next)).unwrap();
    fs::remove_file(home.first_start()).unwrap();
    let again = adopt(&home, &next, false).unwrap();
    assert_eq!(again, Adopted { ledger_was_adopted: true, old_journal: None, old_genesis: None });
    assert!(!home.first_start().exists());
    assert_eq!(Journal::owner(&home.journal()).unwrap(), Some(owner_of(&next)));
    // Nor where that journal was lost since.
    fs::remove_dir_all(home.journal()).unwrap();
    adopt(&home, &next, false).unwrap();
    assert!(!home.first_start().exists());
    // Nor where the folder is a backup from before.
    let (_folder, home, next) = lived();
    adopt(&home, &next, true).unwrap();
    assert!(!home.first_start().exists() && !home.journal().exists());
}

#[test]
fn a_folder_that_the_document_is_not_about_stays_as_it_was() {
    let (_folder, home, next) = lived();
    let refused = |document: &Genesis, why: &str| {
        let error = adopt(&home, document, false).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        assert_eq!(home.genesis().unwrap(), founded());
        assert_eq!(Journal::owner(&home.journal()).unwrap(), Some(owner_of(&founded())));
        assert!(!home.first_start().exists());
        Store::open(&home.store(), &founded()).unwrap();
    };
    let of = |predecessor: Predecessor, network: &str| {
        let validators = (0..2).map(validator).collect();
        Genesis::succeeding(predecessor, network.into(), next.time(), Parameters::default(), validators)
            .unwrap()
    };
    let right = *next.predecessor().unwrap();
    refused(&founded(), "names no chain that it goes on from");
    refused(
        &of(Predecessor { chain: Digest::from_bytes([9; 32]), ..right }, "test"),
        "check which document it is",
    );
    refused(&of(right, "other"), "check which document it is");
    refused(&of(Predecessor { height: Height(2), ..right }, "test"), "copy data/store");
}

#[test]
fn only_known_validators_each_once_and_fewer_than_a_quorum_go_on() {
    let configuration = Configuration::of(&founded());
    let named = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        super::named(&configuration, &names).map_err(|error| error.to_string())
    };
    assert_eq!(named(&["node2", "node0"]).unwrap(), [validator(2), validator(0)]);
    assert!(named(&["node0", "node4"]).unwrap_err().contains("node0, node1, node2, node3"));
    assert!(named(&["node0", "node0"]).unwrap_err().contains("named twice"));
    assert!(named(&["node0", "node1", "node2"]).unwrap_err().contains("3 of 4 validators are a quorum"));
}

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use clap::Parser;

use super::*;
use crate::home::KeyRole;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    testnet: Testnet,
}

fn run(dir: &Path, more: &[&str]) -> anyhow::Result<()> {
    let start = ["testnet", "--dir", dir.to_str().unwrap()];
    let line = start.iter().chain(more);
    Line::try_parse_from(line).unwrap().testnet.run(&Output::new(true))
}

#[test]
fn every_node_has_its_keys_its_ports_and_the_same_genesis() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("net");
    run(&dir, &["--validators", "4", "--base-port", "30000", "--network", "demo"]).unwrap();
    let mut keys = BTreeSet::new();
    let first = Home::open(dir.join("node0")).unwrap().genesis().unwrap();
    assert_eq!((first.network(), first.validators().len()), ("demo", 4));
    for index in 0..4_u16 {
        let home = Home::open(dir.join(format!("node{index}"))).unwrap();
        let (config, genesis) = (home.config().unwrap(), home.genesis().unwrap());
        assert_eq!(genesis, first);
        let ports =
            [config.p2p_listen, config.rpc_listen, config.metrics_listen].map(|address| address.port());
        assert_eq!(ports, [0, 1, 2].map(|offset| 30_000 + 10 * index + offset));
        let public = |role| home.key(role).unwrap().public();
        let place = genesis.validators().by_consensus_key(&public(KeyRole::Consensus)).unwrap();
        let validator = genesis.validators().get(place).unwrap();
        assert_eq!(validator.name, format!("node{index}"));
        assert_eq!(validator.network_key, public(KeyRole::Network));
        assert_eq!(validator.governance_key, public(KeyRole::Governance));
        assert_eq!(validator.address, config.p2p_listen.to_string());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&home.keys()), 0o700);
        for role in NODE_ROLES {
            assert_eq!(mode(&home.key_path(role)), 0o600);
            assert!(keys.insert(public(role)), "a key is used twice");
        }
    }
    assert!(!dir.join("node4").exists() && !dir.join("observer0").exists());
}

#[test]
fn observers_stand_after_the_validators_who_admit_them_and_are_in_no_set() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), &["--validators", "4", "--observers", "2", "--base-port", "30000"]).unwrap();
    let home = |name: &str| Home::open(folder.path().join(name)).unwrap();
    let genesis = home("node0").genesis().unwrap();
    assert_eq!(genesis.validators().len(), 4);
    let observers = ["observer0", "observer1"].map(|name| home(name).key(KeyRole::Network).unwrap().public());
    for index in 0..4 {
        assert_eq!(home(&format!("node{index}")).config().unwrap().observers, observers);
    }
    for (place, name) in [(4, "observer0"), (5, "observer1")] {
        let (home, config) = (home(name), home(name).config().unwrap());
        assert_eq!(home.genesis().unwrap(), genesis);
        assert!(config.observers.is_empty(), "an observer serves no other");
        let ports =
            [config.p2p_listen, config.rpc_listen, config.metrics_listen].map(|address| address.port());
        assert_eq!(ports, [0, 1, 2].map(|offset| 30_000 + 10 * place + offset));
        let key = home.key(KeyRole::Consensus).unwrap().public();
        assert_eq!(genesis.validators().by_consensus_key(&key), None);
        // With a vote it is a validator that starts for the first time.
        assert!(home.first_start().exists() && home.key(KeyRole::Governance).is_ok());
    }
    assert!(!folder.path().join("node4").exists() && !folder.path().join("observer2").exists());
    run(folder.path(), &["--force"]).unwrap();
    assert!(!folder.path().join("observer0").exists(), "a testnet is replaced with its observers");
}

#[test]
fn a_folder_with_anything_in_it_is_refused_without_force() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.txt"), "years of work").unwrap();
    let error = run(folder.path(), &[]).unwrap_err().to_string();
    assert!(error.contains("is not empty") && error.contains("--force"), "{error}");
    run(folder.path(), &["--force"]).unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("thesis.txt")).unwrap(), "years of work");
}

#[test]
fn force_replaces_all_nodes_but_not_a_running_one() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), &["--validators", "7"]).unwrap();
    let home = Home::open(folder.path().join("node2")).unwrap();
    let old = home.genesis().unwrap().chain();
    let lock = home.lock().unwrap();
    let error = run(folder.path(), &["--force"]).unwrap_err().to_string();
    assert!(error.contains("a node is running in") && error.contains("node2"), "{error}");
    assert_eq!(home.genesis().unwrap().chain(), old);
    drop(lock);
    run(folder.path(), &["--force", "--validators", "1"]).unwrap();
    assert!(folder.path().join("node0/config.toml").exists() && !folder.path().join("node1").exists());
}

#[test]
fn ports_past_the_last_and_bad_names_are_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("net");
    for (line, words) in
        [(["--base-port", "65504"], ["65536", "--base-port"]), (["--network", "Test"], ["`Test`", "a-z"])]
    {
        let error = run(&dir, &line).unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(Ending::CommandLine(_))), "{error}");
        assert!(words.iter().all(|word| error.to_string().contains(word)), "{error}");
    }
    assert!(!dir.exists());
}

#[test]
fn the_largest_network_fits_above_the_default_port() {
    let line = Line::try_parse_from(["testnet", "--validators", "512"]).unwrap();
    assert_eq!(line.testnet.addresses(511)[2].port(), 26_600 + 5_112);
}

use genesis::{Digest, Genesis, Height, Parameters, Predecessor, SecretKey, UnixMillis, Validator};

use super::*;
use crate::config::Config;

fn home() -> (tempfile::TempDir, Home) {
    let folder = tempfile::tempdir().unwrap();
    let address = |port: u16| ([127, 0, 0, 1], port).into();
    let config = Config::at(address(1), address(2), address(3));
    fs::write(folder.path().join("config.toml"), config.to_toml()).unwrap();
    let home = Home::open(folder.path()).unwrap();
    fs::create_dir_all(home.store()).unwrap();
    fs::create_dir_all(home.keys()).unwrap();
    (folder, home)
}

fn reset(home: &Home, yes: bool) -> anyhow::Result<()> {
    Reset { home: home.path().to_owned(), yes }.run(&Output::new(true))
}

/// A chain of one validator that goes on from another.
fn successor() -> Genesis {
    let [consensus_key, network_key, governance_key] =
        [1, 2, 3].map(|seed| SecretKey::from_seed([seed; 32]).public());
    let (name, address) = ("node0".into(), "127.0.0.1:26600".into());
    let survivor = Validator { name, consensus_key, network_key, governance_key, address };
    let digest = Digest::from_bytes([7; 32]);
    let predecessor = Predecessor { chain: digest, height: Height(9), block: digest, state_root: digest };
    let parameters = Parameters::default();
    Genesis::succeeding(predecessor, "test".into(), UnixMillis(1_000), parameters, vec![survivor]).unwrap()
}

#[test]
fn only_the_data_goes() {
    let (_folder, home) = home();
    reset(&home, true).unwrap();
    assert!(!home.data().exists() && home.keys().exists() && home.config_path().exists());
    reset(&home, true).unwrap();
}

#[test]
fn a_running_node_keeps_its_data() {
    let (_folder, home) = home();
    let lock = home.lock().unwrap();
    let error = reset(&home, true).unwrap_err().to_string();
    assert!(error.contains("a node is running in"), "{error}");
    assert!(home.store().exists());
    drop(lock);
}

#[test]
fn a_chain_that_goes_on_from_another_keeps_its_data() {
    let (_folder, home) = home();
    fs::write(home.genesis_path(), successor().to_toml()).unwrap();
    let error = reset(&home, true).unwrap_err().to_string();
    assert!(error.contains("nothing was deleted") && error.contains("data/store"), "{error}");
    assert!(home.store().exists());
}

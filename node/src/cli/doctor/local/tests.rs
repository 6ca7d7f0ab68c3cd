use std::os::unix::fs::PermissionsExt;

use client::KeyFile;

use super::super::report::State;
use super::*;
use crate::home::NODE_ROLES;

/// A node's folder with keys and settings, and without a genesis document.
fn home() -> (tempfile::TempDir, Home) {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::new(folder.path());
    private_file::create_folder(&home.keys()).unwrap();
    for role in NODE_ROLES {
        KeyFile::generate(role).write_new(&home.key_path(role)).unwrap();
    }
    let address = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
    fs::write(home.config_path(), Config::at(address(1), address(2), address(3)).to_toml()).unwrap();
    (folder, home)
}

fn change(home: &Home, old: &str, new: &str) {
    let text = fs::read_to_string(home.config_path()).unwrap();
    assert!(text.contains(old));
    fs::write(home.config_path(), text.replace(old, new)).unwrap();
}

#[test]
fn a_broken_part_is_told_with_a_way_out_and_hides_no_other() {
    let (_folder, home) = home();
    change(&home, "floor_bytes = 1073741824", "floor_bytes = 0");
    let mut report = Report::default();
    let folder = look(&home, &mut report);
    assert!(folder.config.is_some() && folder.network_key.is_some() && !folder.runs);
    for check in ["config", "keys", "disk room", "process"] {
        assert_eq!(report.of(check).state, State::Ok, "{:?}", report.of(check));
    }
    let genesis = report.of("genesis");
    assert!(genesis.state == State::Fail && genesis.found.contains("genesis.toml"), "{genesis:?}");

    change(&home, "max_batch = 2000", "max_batch = 0");
    fs::set_permissions(home.key_path(KeyRole::Network), fs::Permissions::from_mode(0o640)).unwrap();
    let mut report = Report::default();
    let folder = look(&home, &mut report);
    assert!(folder.config.is_none() && folder.network_key.is_none());
    for (check, word) in [("config", "max_batch = 0"), ("keys", "chmod 0600"), ("genesis", "genesis.toml")] {
        let finding = report.of(check);
        assert!(finding.state == State::Fail && finding.found.contains(word), "{finding:?}");
        assert!(finding.way_out.is_some());
    }
    assert!(!home.path().join("lock").exists(), "nothing is left behind");
}

#[test]
fn a_full_disk_and_a_process_that_has_the_folder_are_seen() {
    let (_folder, home) = home();
    change(&home, "floor_bytes = 1073741824", "floor_bytes = 1000000000000000");
    let _lock = home.lock().unwrap();
    let mut report = Report::default();
    assert!(look(&home, &mut report).runs);
    assert!(report.of("disk room").state == State::Fail && report.of("process").found == "running");
}

use std::os::unix::fs::PermissionsExt;

use super::*;

fn home() -> (tempfile::TempDir, Home) {
    let folder = tempfile::tempdir().unwrap();
    let config =
        "p2p_listen = \"127.0.0.1:1\"\nrpc_listen = \"127.0.0.1:2\"\nmetrics_listen = \"127.0.0.1:3\"\n";
    fs::write(folder.path().join("config.toml"), config).unwrap();
    let home = Home::open(folder.path()).unwrap();
    (folder, home)
}

#[test]
fn a_folder_that_is_no_home_is_named_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    for (path, problem) in
        [(folder.path().join("none"), "no such folder"), (folder.path().to_owned(), "config.toml")]
    {
        let error = Home::open(&path).unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()) && error.contains(problem), "{error}");
        assert!(error.contains("realdid testnet"), "{error}");
    }
}

#[test]
fn each_broken_file_is_named() {
    let (_folder, home) = home();
    assert!(home.config().is_ok());
    fs::write(home.config_path(), "p2p_listen = 3").unwrap();
    let error = home.config().unwrap_err().to_string();
    assert!(error.contains("config.toml") && error.contains("line 1"), "{error}");

    let error = home.genesis().unwrap_err().to_string();
    assert!(error.contains("genesis.toml") && error.contains("copy it from another"), "{error}");
    fs::write(home.genesis_path(), "network = 3").unwrap();
    let error = home.genesis().unwrap_err().to_string();
    assert!(error.contains("genesis.toml") && error.contains("copy it from another"), "{error}");
    fs::write(home.genesis_path(), [0xff; 10]).unwrap();
    assert!(home.genesis().unwrap_err().to_string().contains("genesis.toml"));
    fs::write(home.genesis_path(), " ".repeat(MAX_FILE_BYTES + 1)).unwrap();
    assert!(home.genesis().unwrap_err().to_string().contains("far more"));

    let error = home.key(KeyRole::Consensus).unwrap_err().to_string();
    assert!(error.contains("consensus.json") && error.contains("from a backup"), "{error}");
}

#[test]
fn keys_are_read_by_role_and_refused_when_exposed_or_mixed_up() {
    let (_folder, home) = home();
    fs::create_dir(home.keys()).unwrap();
    let key = KeyFile::generate(KeyRole::Network);
    key.write_new(&home.key_path(KeyRole::Network)).unwrap();
    key.write_new(&home.key_path(KeyRole::Consensus)).unwrap();
    assert_eq!(home.key(KeyRole::Network).unwrap().public(), key.secret.public());
    let error = home.key(KeyRole::Consensus).unwrap_err().to_string();
    assert!(error.contains("consensus.json") && error.contains("holds a network key"), "{error}");
    let path = home.key_path(KeyRole::Network);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(home.key(KeyRole::Network).unwrap_err().to_string().contains("chmod 0600"));
}

#[test]
fn one_process_at_a_time_has_the_folder() {
    let (_folder, home) = home();
    let lock = home.lock().unwrap();
    let error = home.lock().unwrap_err().to_string();
    assert!(error.contains("a node is running in"), "{error}");
    drop(lock);
    assert!(home.lock().is_ok());
}

#[test]
fn encrypted_keys_open_with_the_file_that_the_command_line_or_else_the_settings_name() {
    let (folder, home) = home();
    let phrase = |name: &str, text: &str| {
        private_file::write(&folder.path().join(name), text, Existing::Keep).unwrap();
        folder.path().join(name)
    };
    fs::create_dir(home.keys()).unwrap();
    let key = KeyFile::generate(KeyRole::Network);
    let passphrase = Passphrase::new("right".to_owned().into(), "of a test").unwrap();
    key.write_encrypted(&home.key_path(KeyRole::Network), &passphrase, Existing::Keep).unwrap();
    // To look needs no passphrase.
    assert_eq!(home.public_key(KeyRole::Network).unwrap(), key.secret.public());

    let (right, wrong) = (phrase("right", "right\n"), phrase("wrong", "wrong\n"));
    let settings = fs::read_to_string(home.config_path()).unwrap();
    // A name that starts at the folder, whatever the process's own is.
    fs::write(home.config_path(), format!("{settings}[keys]\npassphrase_file = \"right\"\n")).unwrap();
    assert_eq!(home.key(KeyRole::Network).unwrap().public(), key.secret.public());
    let error = home.clone().with_passphrase_file(Some(wrong)).key(KeyRole::Network).unwrap_err().to_string();
    assert!(error.contains("does not open") && error.contains("network.json"), "{error}");

    fs::write(home.config_path(), format!("{settings}[keys]\npassphrase_file = \"gone\"\n")).unwrap();
    let error = home.key(KeyRole::Network).unwrap_err().to_string();
    assert!(error.contains("/gone") && error.contains("No such file"), "{error}");
    let opened = home.with_passphrase_file(Some(right)).key(KeyRole::Network).unwrap();
    assert_eq!(opened.public(), key.secret.public());
}

#[test]
fn a_folder_is_founded_once_and_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node");
    let address = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let config = Config::at(address(1), address(2), address(3));
    let keys = NODE_ROLES.map(KeyFile::generate);
    let home = Home::found(&path, &keys, None, None, &config).unwrap();
    assert_eq!(home.config().unwrap(), config);
    assert!(home.first_start().exists() && !home.genesis_path().exists());
    for key in &keys {
        assert_eq!(home.key(key.role).unwrap().public(), key.secret.public());
    }
    let error = Home::found(&path, &keys, None, None, &config).unwrap_err().to_string();
    assert!(error.contains("is not empty") && error.contains(path.to_str().unwrap()), "{error}");
}

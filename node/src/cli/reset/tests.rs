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

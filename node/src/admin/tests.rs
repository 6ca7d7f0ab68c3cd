use std::os::unix::fs::MetadataExt;

use super::*;
use crate::config::{Config, DiskConfig};

fn home(folder: &tempfile::TempDir) -> Home {
    let address = |port: u16| ([127, 0, 0, 1], port).into();
    let config = Config::at(address(1), address(2), address(3));
    fs::write(folder.path().join("config.toml"), config.to_toml()).unwrap();
    Home::open(folder.path()).unwrap()
}

fn office(folder: &Path) -> Office {
    let validator = |seed: u8| {
        let key = |role| genesis::SecretKey::from_seed([seed * 3 + role; 32]).public();
        genesis::Validator {
            name: format!("node{seed}"),
            consensus_key: key(1),
            network_key: key(2),
            governance_key: key(3),
            address: format!("127.0.0.1:2660{seed}"),
        }
    };
    let parameters = genesis::Parameters::default();
    let validators = (0..4).map(validator).collect();
    let genesis = Genesis::new("test".into(), genesis::UnixMillis(1), parameters, validators).unwrap();
    Office {
        store: Arc::new(Store::open(&folder.join("store"), &genesis).unwrap()),
        genesis: Arc::new(genesis),
        shelf: Shelf::new(folder.join("snapshots")),
        disk: Arc::new(Disk::look_at(&Home::open(folder).unwrap(), DiskConfig { floor_bytes: 7 }).unwrap()),
        stop: CancellationToken::new(),
    }
}

async fn asked(home: &Home, request: Request) -> anyhow::Result<Option<(Height, PathBuf, Option<u64>)>> {
    let home = home.clone();
    tokio::task::spawn_blocking(move || ask(&home, &request)).await.unwrap()
}

#[tokio::test]
async fn a_node_at_work_copies_its_ledger_and_says_why_it_cannot() {
    let folder = tempfile::tempdir().unwrap();
    let home = home(&folder);
    let to = folder.path().join("copy");
    assert_eq!(asked(&home, Request::Backup { to: to.clone() }).await.unwrap(), None);
    let office = office(folder.path());
    let task = tokio::spawn(Admin::open(&home).unwrap().run(office.clone()));
    let done = asked(&home, Request::Backup { to: to.clone() }).await.unwrap();
    assert_eq!(done, Some((Height(0), to.clone(), None)));
    assert_eq!(Store::open(&to, &office.genesis).unwrap().tip(), office.store.tip());
    let again = asked(&home, Request::Backup { to: to.clone() }).await.unwrap_err().to_string();
    assert!(again.contains(&*to.to_string_lossy()), "{again}");
    let relative = asked(&home, Request::Backup { to: "copy".into() }).await.unwrap_err().to_string();
    assert!(relative.contains("copy is no absolute path"), "{relative}");
    let asking = home.clone();
    let room = tokio::task::spawn_blocking(move || crate::admin::room(&asking)).await.unwrap().unwrap();
    assert!(room.is_some_and(|room| room.floor_bytes == 7 && room.free_bytes > 0), "{room:?}");
    task.abort();
}

#[tokio::test]
async fn the_socket_is_this_users_alone_and_no_request_is_too_odd_for_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let home = home(&folder);
    fs::create_dir(home.run_folder()).unwrap();
    fs::set_permissions(home.run_folder(), fs::Permissions::from_mode(0o777)).unwrap();
    fs::write(home.admin_socket(), "left by a node that was killed").unwrap();
    let task = tokio::spawn(Admin::open(&home).unwrap().run(office(folder.path())));
    assert_eq!(fs::metadata(home.run_folder()).unwrap().mode() & 0o777, 0o700);
    for line in ["\n".to_owned(), "{}\n".into(), "{\"backup\":{}}\n".into(), "x".repeat(70_000)] {
        let path = home.admin_socket();
        let reply = tokio::task::spawn_blocking(move || {
            let mut stream = std::os::unix::net::UnixStream::connect(path).unwrap();
            // What is beyond the bound is not read: the node may have closed by then.
            drop(stream.write_all(line.as_bytes()));
            let mut reply = String::new();
            drop(stream.read_to_string(&mut reply));
            reply
        });
        let reply = reply.await.unwrap();
        assert!(reply.is_empty() || reply.contains("this is no request"), "{reply}");
    }
    task.abort();
}

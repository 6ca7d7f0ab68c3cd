//! The whole chain out of one node and into another, by the commands that operators use.

use std::fs;
use std::path::{Path, PathBuf};

use genesis::Height;
use serde_json::Value;
use tests::harness::folders::copy_folder;
use tests::harness::{Cluster, printed, realdid};
use tests::history::Load;

use crate::crashes::assert_sound;

/// The observer that has not run yet.
const NEW: usize = 4;

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// Runs `realdid chain …`; its answer.
fn chain(arguments: &[&str]) -> Value {
    let output = realdid(&[&["--json", "chain"], arguments].concat());
    assert!(output.status.success(), "{arguments:?}: {}", printed(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The same where it must fail; what it says.
fn refused(arguments: &[&str]) -> String {
    let output = realdid(&[&["chain"], arguments].concat());
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
    assert!(!text.contains("panicked"), "{text}");
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_node_that_begins_with_an_exported_chain_has_the_same_state_and_goes_on_with_the_others() {
    let mut cluster = Cluster::prepare_with(4, 1);
    (0..4).for_each(|node| cluster.start_node(node));
    for node in 0..4 {
        cluster.ready(node).await;
    }
    let load = Load::start(&cluster, 51).await;
    load.confirms(15).await;
    cluster.decide(&[0, 1, 2], &["remove-validator", "node3"]);
    cluster.begins(&[0, 1, 2], 1).await;
    load.confirms(10).await;
    cluster.decide(&[0, 1], &["set-parameter", "heartbeat_ms=45000"]);
    cluster.begins(&[0, 1, 2], 2).await;
    load.confirms(10).await;

    let (home, new) = (cluster.home(2), cluster.home(NEW));
    let (file, genesis) = (cluster.scratch().join("chain.realdid"), home.join("genesis.toml"));
    let export = ["export", "--home", text(&home), "--out", text(&file)];
    assert!(refused(&export).contains("a node is running in"));
    cluster.stop(2);
    let exported = chain(&export);
    let (to, root) = (exported["to"].as_u64().expect("a height"), &exported["stateRoot"]);
    assert!(to > 20 && exported["blocks"] == to, "{exported}");

    let verified = chain(&["verify", "--in", text(&file), "--genesis", text(&genesis)]);
    assert_eq!((&verified["height"], &verified["stateRoot"]), (&exported["to"], root), "{verified}");
    assert_eq!((&verified["chain"], verified["epoch"].as_u64()), (&exported["chain"], Some(2)), "{verified}");
    let imported = chain(&["import", "--home", text(&new), "--in", text(&file)]);
    assert_eq!((&imported["height"], &imported["stateRoot"]), (&exported["to"], root), "{imported}");
    let again = chain(&["import", "--home", text(&new), "--in", text(&file)]);
    assert_eq!((&again["blocks"], &again["block"]), (&Value::from(0), &imported["block"]), "{again}");
    for folder in [&home, &new] {
        let checked = chain(&["verify", "--home", text(folder), "--replay"]);
        assert_eq!(checked["replayedHeight"], checked["height"], "{checked}");
        assert!(
            checked["dids"].as_u64() > Some(0) && checked["versions"].as_u64() > checked["dids"].as_u64()
        );
    }

    cluster.start_node(2);
    cluster.start_node(NEW);
    cluster.ready(2).await;
    cluster.ready(NEW).await;
    let (_, receipt) = cluster.register(0).await;
    cluster.reaches(NEW, receipt.height).await;
    load.confirms(6).await;
    // It took part long enough to have a voting record; the chain is longer now, and is taken from a pipe.
    cluster.stop(NEW);
    cluster.stop(1);
    let more = cluster.scratch().join("more.realdid");
    let from = (receipt.height.0 - 3).to_string();
    chain(&["export", "--home", text(&cluster.home(1)), "--out", text(&more), "--from", &from]);
    let command =
        format!("'{}' chain import --home '{}' --in - < '{}'", binary(), new.display(), more.display());
    let piped = std::process::Command::new("sh").args(["-c", &command]).output().expect("sh");
    assert!(piped.status.success(), "{}", printed(&piped));
    cluster.start_node(1);
    cluster.start_node(NEW);
    for node in 0..=NEW {
        cluster.ready(node).await;
    }
    cluster.assert_no_evidence(0..=NEW);
    assert_sound(load, &cluster).await;
}

fn binary() -> String {
    tests::harness::binary().to_str().expect("a path in UTF-8").to_owned()
}

#[tokio::test]
async fn damaged_cut_and_foreign_files_are_refused_and_a_ledger_holds_only_what_was_sound() {
    let mut cluster = Cluster::prepare_with(1, 1);
    cluster.start_node(0);
    cluster.ready(0).await;
    for _ in 0..8 {
        cluster.register(0).await;
    }
    cluster.stop(0);
    let (home, new) = (cluster.home(0), cluster.home(1));
    let (file, genesis) = (cluster.scratch().join("chain.realdid"), home.join("genesis.toml"));
    let exported = chain(&["export", "--home", text(&home), "--out", text(&file)]);
    let to = exported["to"].as_u64().expect("a height");
    let bytes = fs::read(&file).expect("the export");
    let write = |name: &str, bytes: &[u8]| -> PathBuf {
        let path = cluster.scratch().join(name);
        fs::write(&path, bytes).expect("written");
        path
    };
    let verify = |path: &Path| refused(&["verify", "--in", text(path), "--genesis", text(&genesis)]);

    for turn in 0..24 {
        let mut damaged = bytes.clone();
        let place = bytes.len() * turn / 24;
        damaged[place] ^= 1 << (turn % 8);
        let says = verify(&write("damaged", &damaged));
        assert!(says.contains("damaged: ") || says.contains("damaged is of chain"), "byte {place}: {says}");
    }
    for length in [0, 10, 100, bytes.len() / 2, bytes.len() - 1] {
        let says = verify(&write("cut", &bytes[..length]));
        assert!(says.contains("cut off") || says.contains("no exported chain"), "{length}: {says}");
    }
    let other = Cluster::prepare(1);
    let says =
        refused(&["verify", "--in", text(&file), "--genesis", text(&other.home(0).join("genesis.toml"))]);
    assert!(says.contains("is of chain"), "{says}");
    let says = refused(&["import", "--home", text(&other.home(0)), "--in", text(&file)]);
    assert!(says.contains("is of chain") && !other.data(0).exists(), "{says}");

    // Into a ledger goes what comes before the damage; the whole file goes on from there.
    let cut = write("cut", &bytes[..bytes.len() * 3 / 4]);
    let says = refused(&["import", "--home", text(&new), "--in", text(&cut)]);
    let taken: u64 = says
        .split("up to height ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .and_then(|height| height.parse().ok())
        .expect("a height");
    assert!(taken > 0 && taken < to, "{says}");
    let checked = chain(&["verify", "--home", text(&new), "--replay"]);
    assert_eq!(checked["height"], taken, "{checked}");
    let imported = chain(&["import", "--home", text(&new), "--in", text(&file)]);
    assert_eq!(
        (&imported["height"], imported["from"].as_u64()),
        (&exported["to"], Some(taken + 1)),
        "{imported}"
    );

    // A store one of whose files is damaged is found, too.
    let copy = cluster.scratch().join("store");
    copy_folder(&cluster.data(1).join("store"), &copy);
    let check = ["verify", "--store", text(&copy), "--genesis", text(&genesis)];
    assert_eq!(chain(&check)["height"], exported["to"]);
    let size = |path: &PathBuf| fs::metadata(path).expect("a file").len();
    let tables = fs::read_dir(&copy).expect("a folder").map(|entry| entry.expect("an entry").path());
    let tables = tables.filter(|path| path.extension().is_some_and(|end| end == "log" || end == "sst"));
    let table = tables.max_by_key(size).expect("a table");
    let mut bytes = fs::read(&table).expect("a table");
    let place = bytes.len() / 3;
    bytes[place] ^= 1;
    fs::write(&table, bytes).expect("written");
    assert!(refused(&check).contains("damaged"), "{}", table.display());

    let (height, before) = (Height(to), cluster.log(1));
    assert!(!before.exists(), "it has not run yet");
    cluster.start_node(0);
    cluster.start_node(1);
    cluster.reaches(1, height).await;
    let (_, receipt) = cluster.register(0).await;
    cluster.reaches(1, receipt.height).await;
}

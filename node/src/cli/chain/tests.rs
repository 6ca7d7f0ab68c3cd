use std::fs;

use clap::Parser as _;

use super::*;
use crate::cli::Cli;
use crate::replay::samples::{Chain as Made, file};

/// What a command line says, by its error.
fn run(arguments: &[&str]) -> Result<(), String> {
    let line = [&["realdid", "--json", "chain"], arguments].concat();
    let cli = Cli::try_parse_from(line).map_err(|error| error.to_string())?;
    let output = crate::cli::output::Output::new(true);
    cli.command.run(&output).map_err(|error| crate::cli::output::full_text(&error))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn an_export_is_verified_from_the_genesis_document_and_leaves_nothing_behind() {
    let chain = Made::full();
    let (folder, genesis) = (tempfile::tempdir().unwrap(), chain.genesis.to_toml());
    let genesis = file(folder.path(), "genesis.toml", genesis.as_bytes());
    let (store, out) = (chain.folder.path().to_owned(), folder.path().join("chain.realdid"));
    let bytes = chain.exported(1);
    let Made { folder: _kept, store: open, .. } = chain;
    let export = ["export", "--store", text(&store), "--genesis", text(&genesis), "--out", text(&out)];
    let error = run(&export).unwrap_err();
    assert!(error.contains("in use by another process"), "{error}");
    drop(open);
    run(&export).unwrap();
    assert_eq!(fs::read(&out).unwrap(), bytes);
    assert!(run(&export).unwrap_err().contains("exists already"));
    run(&["verify", "--in", text(&out), "--genesis", text(&genesis)]).unwrap();
    run(&[
        "verify",
        "--store",
        text(&store),
        "--genesis",
        text(&genesis),
        "--replay",
        "--work",
        text(folder.path()),
    ])
    .unwrap();
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");

    let part = folder.path().join("part.realdid");
    run(&[&export[..6], &[text(&part), "--from", "4", "--to", "6"]].concat()).unwrap();
    let error = run(&["verify", "--in", text(&part), "--genesis", text(&genesis)]).unwrap_err();
    assert!(error.contains("begins at height 4"), "{error}");
    let error = run(&[&export[..6], &["-", "--to", "99"]].concat()).unwrap_err();
    assert!(error.contains("no blocks from 1 to 99") && error.contains("ends at height 12"), "{error}");

    let mut damaged = bytes.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 4;
    let damaged = file(folder.path(), "damaged", &damaged);
    let error = run(&["verify", "--in", text(&damaged), "--genesis", text(&genesis)]).unwrap_err();
    assert!(error.contains("damaged"), "{error}");
    let other = file(folder.path(), "other", crate::replay::samples::genesis("other").to_toml().as_bytes());
    let error = run(&["verify", "--in", text(&out), "--genesis", text(&other)]).unwrap_err();
    assert!(error.contains("is of chain") && error.contains("the genesis document is of chain"), "{error}");
    let error = run(&["verify", "--in", text(&genesis), "--genesis", text(&genesis)]).unwrap_err();
    assert!(error.contains("no exported chain"), "{error}");
}

#[test]
fn a_folder_without_a_ledger_is_refused_and_none_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let genesis = file(folder.path(), "genesis.toml", Made::new("test").genesis.to_toml().as_bytes());
    let store = folder.path().join("store");
    for exists in [false, true] {
        if exists {
            fs::create_dir(&store).unwrap();
        }
        let error = run(&["verify", "--store", text(&store), "--genesis", text(&genesis)]).unwrap_err();
        assert!(error.contains("there is no ledger in"), "{error}");
        assert_eq!(fs::read_dir(&store).map_or(0, Iterator::count), 0);
    }
    // Nor in a folder of something else.
    let other = file(&store, "notes.txt", b"no ledger");
    let error = run(&["verify", "--store", text(&store), "--genesis", text(&genesis)]).unwrap_err();
    assert!(error.contains("there is no ledger in"), "{error}");
    let left: Vec<_> = fs::read_dir(&store).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left, [other]);
}

#[test]
fn a_command_line_that_names_no_ledger_or_two_is_refused() {
    for line in [
        &["verify"][..],
        &["export", "--out", "x"],
        &["export", "--store", "s", "--out", "x"],
        &["export", "--store", "s", "--home", "h", "--genesis", "g", "--out", "x"],
        &["verify", "--in", "f"],
        &["verify", "--in", "f", "--home", "h"],
        &["verify", "--in", "f", "--genesis", "g", "--replay"],
    ] {
        assert!(run(line).is_err(), "{line:?}");
    }
}

#[test]
fn the_environments_folder_counts_only_where_no_other_place_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let named = || Some(folder.path().join("nowhere"));
    let genesis = file(folder.path(), "genesis.toml", Made::new("test").genesis.to_toml().as_bytes());
    let opened = |home: Option<&str>, store: Option<&str>, named: Option<PathBuf>, genesis: Option<&Path>| {
        let place = Place { home: home.map(PathBuf::from), store: store.map(PathBuf::from) };
        place.open_or(named, genesis).map(drop).unwrap_err().to_string()
    };
    let error = opened(None, None, named(), None);
    assert!(error.contains("nowhere"), "{error}");
    let error = opened(Some("mine"), None, named(), None);
    assert!(error.contains("mine") && !error.contains("nowhere"), "{error}");
    let error = opened(None, Some("copy"), named(), Some(&genesis));
    assert!(error.contains("there is no ledger in copy"), "{error}");
    for (named, genesis) in [(named(), Some(genesis.as_path())), (Some(PathBuf::new()), None), (None, None)] {
        let error = opened(None, None, named, genesis);
        assert!(error.contains("name a ledger"), "{error}");
    }
}

#[test]
fn only_what_was_stopped_is_told_as_interrupted() {
    let told = |error: anyhow::Error| ended::<()>(Err(error), "; left").unwrap_err().to_string();
    assert_eq!(told(ReplayError::Stopped.into()), "interrupted; left");
    assert_eq!(told(AuditError::Stopped.into()), "interrupted; left");
    assert_eq!(told(AuditError::Replay(ReplayError::Stopped).into()), "interrupted; left");
    assert_eq!(told(anyhow::Error::from(ReplayError::Stopped).context("a file")), "interrupted; left");
    let fault = ReplayError::Empty { from: ::genesis::Height(7) };
    let text = fault.to_string();
    assert_eq!(told(fault.into()), text);
    assert_eq!(told(AuditError::Replay(ReplayError::Empty { from: ::genesis::Height(7) }).into()), text);
    ended(Ok(()), "; left").unwrap();
}

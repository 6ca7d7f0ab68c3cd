use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::wallet::{self, Terms};

fn terms() -> Terms {
    Terms { network: "test".into(), chain: Digest::from_bytes([1; 32]), expires_at: Height(100) }
}

fn ring() -> (tempfile::TempDir, Keyring) {
    let folder = tempfile::tempdir().unwrap();
    let ring = Keyring::open(folder.path().join("ring")).unwrap();
    (folder, ring)
}

fn publics(entry: &Entry) -> Vec<PublicKey> {
    let reserves = entry.recovery.iter().chain(&entry.next);
    entry.keys.iter().map(|key| &key.secret).chain(reserves).map(SecretKey::public).collect()
}

#[test]
fn an_entry_survives_its_file() {
    let (_folder, ring) = ring();
    let entry = wallet::create(&terms());
    ring.insert(&entry).unwrap();
    let read = ring.read(&entry.did).unwrap();
    assert_eq!((publics(&read), &read.pending), (publics(&entry), &entry.pending));
    assert_eq!((read.did, read.chain), (entry.did.clone(), entry.chain));
    assert_eq!(ring.dids().unwrap(), [entry.did]);
}

#[test]
fn folder_and_files_are_for_their_owner_alone() {
    let (_folder, ring) = ring();
    let entry = wallet::create(&terms());
    ring.insert(&entry).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(ring.folder()), mode(&ring.path(&entry.did))), (0o700, 0o600));
    ring.settle(&entry.did, &entry.pending.unwrap().id).unwrap();
    assert_eq!(mode(&ring.path(&entry.did)), 0o600);
    fs::set_permissions(ring.path(&entry.did), fs::Permissions::from_mode(0o644)).unwrap();
    let error = ring.read(&entry.did).unwrap_err().to_string();
    assert!(error.contains("chmod 0600"), "{error}");
    fs::set_permissions(ring.folder(), fs::Permissions::from_mode(0o750)).unwrap();
    let error = Keyring::open(ring.folder()).unwrap_err().to_string();
    assert!(error.contains("chmod 0700"), "{error}");
}

#[test]
fn the_folder_is_made_with_the_first_did_and_not_by_looking() {
    let (_folder, ring) = ring();
    let entry = wallet::create(&terms());
    assert_eq!(ring.dids().unwrap(), []);
    assert!(matches!(ring.read(&entry.did), Err(KeyringError::NoSuchDid { .. })));
    assert!(!ring.folder().exists());
    ring.insert(&entry).unwrap();
    assert!(ring.folder().exists());
}

#[test]
fn a_change_is_pending_until_settled_and_its_key_stays() {
    let (_folder, ring) = ring();
    let entry = wallet::create(&terms());
    ring.insert(&entry).unwrap();
    let first = entry.pending.clone().unwrap();
    let (did, other) = (&entry.did, Pending::new(wallet::registration(&terms(), &SecretKey::generate()).1));
    let secret = |seed| SecretKey::from_seed([seed; 32]);
    let keys = || NewKeys {
        key: Some(HeldKey { number: KeyNumber::LAST, secret: secret(2) }),
        recovery: Some(secret(3)),
        next: Some(secret(4)),
    };

    let error = ring.begin(did, keys(), other.clone()).unwrap_err().to_string();
    assert!(error.contains("realdid did resume") && error.contains(&first.id.to_string()), "{error}");
    assert_eq!(ring.read(did).unwrap().keys.len(), 1);

    ring.settle(did, &other.id).unwrap();
    assert_eq!(ring.read(did).unwrap().pending, Some(first.clone()), "another id settles nothing");
    ring.settle(did, &first.id).unwrap();
    ring.begin(did, keys(), other.clone()).unwrap();
    ring.settle(did, &other.id).unwrap();
    let read = ring.read(did).unwrap();
    let numbers: Vec<KeyNumber> = read.keys.iter().map(|key| key.number).collect();
    assert_eq!((numbers, &read.pending), (vec![KeyNumber::FIRST, KeyNumber::LAST], &None));
    assert_eq!((read.recovery.len(), read.next.len()), (2, 2), "what may still be committed to stays");
    assert!([2, 3, 4].iter().all(|seed| read.secret(&secret(*seed).public()).is_some()));
}

#[test]
fn a_change_is_renewed_only_for_the_one_that_it_replaces() {
    let (_folder, ring) = ring();
    let entry = wallet::create(&terms());
    ring.insert(&entry).unwrap();
    let old = entry.pending.clone().unwrap();
    let later = Terms { expires_at: Height(500), ..terms() };
    let new = wallet::renew(&later, &entry, None, &old).unwrap();
    assert!(ring.renew(&entry.did, &new.id, new.clone()).is_err());
    ring.renew(&entry.did, &old.id, new.clone()).unwrap();
    assert_eq!(ring.read(&entry.did).unwrap().pending, Some(new));
}

#[test]
fn an_unknown_did_is_named_with_the_way_out() {
    let (_folder, ring) = ring();
    let did = wallet::create(&terms()).did;
    let error = ring.read(&did).unwrap_err().to_string();
    assert!(error.contains(&did.to_string()) && error.contains("--keyring"), "{error}");
}

#[test]
fn a_did_is_never_overwritten() {
    let (_folder, ring) = ring();
    let entry = wallet::create(&terms());
    ring.insert(&entry).unwrap();
    assert!(ring.insert(&entry).unwrap_err().to_string().contains("exists already"));
}

#[test]
fn a_damaged_entry_is_named_without_its_secrets() {
    let (_folder, ring) = ring();
    let entry = wallet::create(&terms());
    ring.insert(&entry).unwrap();
    let path = ring.path(&entry.did);
    let text = fs::read_to_string(&path).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let secret = json["keys"][0]["secretKeyMultibase"].as_str().unwrap();
    let reserve = json["next"][0]["secretKeyMultibase"].as_str().unwrap();
    let public = json["keys"][0]["publicKeyMultibase"].as_str().unwrap();
    let id = json["pending"]["id"].as_str().unwrap();
    let other = wallet::create(&terms()).did.to_string();
    for damaged in [
        String::new(),
        text[..text.len() / 2].to_owned(),
        text.replace(secret, &secret[..20]),
        text.replace(reserve, secret),
        text.replace("\"recovery\"", "\"recoveries\""),
        text.replace(public, &SecretKey::generate().public().to_string()),
        text.replace(id, &Digest::ZERO.to_string()),
        text.replace(&entry.did.to_string(), &other),
        text.replace("\"chain\"", "\"link\""),
        text.replace("\"number\": 1", "\"number\": 0"),
        text.replace("\"number\": 1", "\"number\": \"key-1\""),
        text.replace("\"number\": 1", "\"name\": \"zhang-san\""),
        text.replace("\"transaction\": \"", "\"transaction\": \"AAAA"),
        format!("{text}{secret}"),
    ] {
        fs::write(&path, &damaged).unwrap();
        let error = ring.read(&entry.did).unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()) && !error.contains(&secret[..20]), "{error}");
    }
    for length in 0..text.len() - 2 {
        assert!(Entry::parse(&text[..length]).is_err(), "cut at {length}");
    }
}

#[test]
fn leftovers_of_a_crash_and_other_files_are_no_dids() {
    let (_folder, ring) = ring();
    let entry = wallet::create(&terms());
    ring.insert(&entry).unwrap();
    let name = ring.path(&entry.did).file_name().unwrap().to_str().unwrap().to_owned();
    for name in [&format!("{name}.7-0.tmp"), "lock", "notes.json", "test-z.json"] {
        fs::write(ring.folder().join(name), "x").unwrap();
    }
    assert_eq!(ring.dids().unwrap(), [entry.did]);
}

#[test]
fn changes_at_the_same_time_lose_no_key() {
    let (_folder, ring) = ring();
    let entry = wallet::create(&terms());
    ring.insert(&entry).unwrap();
    let pending = entry.pending.clone().unwrap();
    std::thread::scope(|scope| {
        for seed in 0..8 {
            let (ring, did, pending) = (&ring, &entry.did, &pending);
            scope.spawn(move || {
                let number = KeyNumber::new(2 + u16::from(seed)).unwrap();
                let key = HeldKey { number, secret: SecretKey::from_seed([seed; 32]) };
                ring.begin(did, NewKeys { key: Some(key), ..NewKeys::default() }, pending.clone()).unwrap();
            });
        }
    });
    assert_eq!(ring.read(&entry.did).unwrap().keys.len(), 9);
}

#[test]
fn debug_shows_no_secret() {
    let entry = wallet::create(&terms());
    let secret = secret_text(&entry.keys[0].secret);
    assert!(!format!("{entry:?}").contains(&secret[5..]));
}

/// A chain that goes on from the one of [`terms`], or from another.
fn successor_of(chain: Digest) -> Genesis {
    let key = |seed: u8| SecretKey::from_seed([seed; 32]).public();
    let validator = genesis::Validator {
        name: "node0".into(),
        consensus_key: key(1),
        network_key: key(2),
        governance_key: key(3),
        address: "127.0.0.1:26600".into(),
    };
    let predecessor = genesis::Predecessor {
        chain,
        height: Height(7),
        block: Digest::from_bytes([2; 32]),
        state_root: Digest::from_bytes([3; 32]),
    };
    let (time, parameters) = (genesis::UnixMillis(1), genesis::Parameters::default());
    Genesis::succeeding(predecessor, "test".into(), time, parameters, vec![validator]).unwrap()
}

#[test]
fn a_did_follows_only_the_chain_that_goes_on_from_its_own_with_the_change_that_waits() {
    let (_folder, ring) = ring();
    let entry = wallet::create(&terms());
    let old = entry.pending.clone().unwrap();
    ring.insert(&entry).unwrap();
    let next = successor_of(entry.chain);

    assert!(!ring.follow(&entry.did, &successor_of(Digest::from_bytes([9; 32]))).unwrap());
    assert_eq!(ring.read(&entry.did).unwrap().chain, entry.chain);
    assert!(ring.follow(&entry.did, &next).unwrap());
    assert!(!ring.follow(&entry.did, &next).unwrap(), "it has followed already");

    let read = ring.read(&entry.did).unwrap();
    assert_eq!((read.chain, publics(&read)), (next.chain(), publics(&entry)));
    let pending = read.pending.unwrap();
    assert_eq!(pending.transaction.operation, old.transaction.operation);
    assert_eq!(pending.expires_at(), old.expires_at());
    assert_ne!(pending.id, old.id, "an id is of one chain");
    ledger::CheckedTransaction::check(pending.transaction, &next).unwrap();
    ledger::CheckedTransaction::check(old.transaction, &next).unwrap_err();
}

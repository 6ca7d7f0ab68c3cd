use std::fs;

use super::*;

fn written(role: Role) -> (tempfile::TempDir, PathBuf, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.json");
    KeyFile { role, secret: SecretKey::from_seed([7; 32]) }.write_new(&path).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    (folder, path, text)
}

/// The error of a file with this content, which must name the file and not show the secret.
fn problem(path: &Path, text: &str, secret: &str) -> String {
    fs::write(path, text).unwrap();
    let error = KeyFile::read(path).unwrap_err().to_string();
    assert!(error.contains("a.json") && error.contains("backup"), "{error}");
    assert!(!error.contains(&secret[..20]) && !error.contains(&secret[secret.len() - 20..]), "{error}");
    error
}

#[test]
fn a_key_survives_its_file() {
    for role in Role::ALL {
        let (_folder, path, _) = written(role);
        let file = KeyFile::read(&path).unwrap();
        assert_eq!((file.role, file.secret.public()), (role, SecretKey::from_seed([7; 32]).public()));
    }
}

#[test]
fn the_secret_has_the_text_of_multikey() {
    // Ed25519 secret keys in Multikey start with z3u2.
    let (_folder, _, text) = written(Role::Did);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(json["secretKeyMultibase"].as_str().unwrap().starts_with("z3u2"), "{json}");
    assert_eq!(json["role"], "did");
}

#[test]
fn every_seed_survives_its_text() {
    for byte in 0..=255 {
        let secret = SecretKey::from_seed([byte; 32]);
        let text = secret_text(&secret);
        let read = parse_secret(&secret.public().to_string(), &text).unwrap();
        assert_eq!(*read.seed(), [byte; 32]);
    }
}

#[test]
fn a_damaged_file_is_named_with_its_fault_and_without_the_secret() {
    let (_folder, path, text) = written(Role::Consensus);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let secret = json["secretKeyMultibase"].as_str().unwrap().to_owned();
    let public = json["publicKeyMultibase"].as_str().unwrap().to_owned();
    let other = SecretKey::from_seed([8; 32]).public().to_string();
    for (text, fault) in [
        (String::new(), "it ends at line 1"),
        (text[..text.len() / 2].to_owned(), "in the middle"),
        (text.replace(&secret, &secret[..30]), "damaged"),
        (text.replace(&secret, &secret.replace("z3u2", "z3u3")), "secret key"),
        (text.replace(&secret, &"z".repeat(10_000)), "damaged"),
        (text.replace(&public, &other), "secret key is that of"),
        (text.replace(&public, "z6Mk"), "not a Multikey"),
        (text.replace("consensus", "emperor"), "role"),
        (text.replace("secretKeyMultibase", "secret"), "unexpected content"),
        (text.replace("\"role\": \"consensus\",", ""), "missing field `role`"),
        (text.replace(&format!("\"{secret}\""), "12"), "unexpected content at line 4"),
        (format!("{text}{secret}"), "unexpected content"),
    ] {
        let error = problem(&path, &text, &secret);
        assert!(error.contains(fault), "expected `{fault}`: {error}");
    }
}

#[test]
fn every_truncation_and_every_flipped_byte_is_an_error_or_the_same_key() {
    let (_folder, _, text) = written(Role::Network);
    for length in 0..text.len() - 2 {
        assert!(KeyFile::parse(&text[..length]).is_err(), "cut at {length}");
    }
    for place in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[place] ^= 1;
        if let Ok(file) = KeyFile::parse(&String::from_utf8(bytes).unwrap()) {
            assert_eq!(file.secret.public(), SecretKey::from_seed([7; 32]).public(), "at {place}");
        }
    }
}

#[test]
fn a_key_for_another_role_is_refused() {
    let (_folder, path, _) = written(Role::Network);
    let error = KeyFile::read_for(&path, Role::Consensus).unwrap_err().to_string();
    assert!(error.contains("holds a network key, but a consensus key is needed"), "{error}");
    assert!(KeyFile::read_for(&path, Role::Network).is_ok());
}

#[test]
fn an_existing_key_is_never_overwritten() {
    let (_folder, path, text) = written(Role::Network);
    let error = KeyFile::generate(Role::Network).write_new(&path).unwrap_err().to_string();
    assert!(error.contains("exists already"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn debug_shows_no_secret() {
    let (_folder, path, text) = written(Role::Did);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let shown = format!("{:?}", KeyFile::read(&path).unwrap());
    assert!(!shown.contains(json["secretKeyMultibase"].as_str().unwrap()), "{shown}");
}

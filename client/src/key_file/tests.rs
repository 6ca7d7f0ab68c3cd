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
    let error = StoredKey::read(path).unwrap_err().to_string();
    assert!(error.contains("a.json") && error.contains("backup"), "{error}");
    assert!(!error.contains(&secret[..20]) && !error.contains(&secret[secret.len() - 20..]), "{error}");
    error
}

#[test]
fn a_key_survives_its_file() {
    for role in Role::ALL {
        let (_folder, path, _) = written(role);
        let file = StoredKey::read(&path).unwrap().open(None).unwrap();
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
        (
            text.replace(&format!(",\n  \"secretKeyMultibase\": \"{secret}\""), ""),
            "missing field `secretKeyMultibase` or `encryptedSecretKey`",
        ),
        (text.replace(&format!("\"{secret}\""), "12"), "unexpected content at line 4"),
        (format!("{text}{secret}"), "unexpected content"),
    ] {
        let error = problem(&path, &text, &secret);
        assert!(error.contains(fault), "expected `{fault}`: {error}");
    }
}

#[test]
fn every_truncation_and_every_flipped_byte_is_an_error_or_the_same_key() {
    let (_folder, path, text) = written(Role::Network);
    for length in 0..text.len() - 2 {
        assert!(StoredKey::parse(&path, &text[..length]).is_err(), "cut at {length}");
    }
    for place in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[place] ^= 1;
        if let Ok(file) = StoredKey::parse(&path, &String::from_utf8(bytes).unwrap()) {
            assert_eq!(file.public(), SecretKey::from_seed([7; 32]).public(), "at {place}");
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
    let shown = format!("{:?}", StoredKey::read(&path).unwrap());
    assert!(!shown.contains(json["secretKeyMultibase"].as_str().unwrap()), "{shown}");
}

mod encrypted {
    use super::*;

    fn phrase(text: &str) -> Passphrase {
        Passphrase::new(Zeroizing::new(text.to_owned()), "of a test").unwrap()
    }

    fn secret() -> SecretKey {
        SecretKey::from_seed([7; 32])
    }

    /// The content of a cheap encrypted file, and the file.
    fn written(role: Role) -> (tempfile::TempDir, PathBuf, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        let sealed = Sealed::seal_at(14, role, &secret(), &phrase("right"));
        let file = KeyFile { role, secret: secret() };
        file.write(&path, &["\"encryptedSecretKey\": ", &sealed.to_json()], Existing::Keep).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        (folder, path, text)
    }

    #[test]
    fn an_encrypted_key_survives_its_file_and_shows_role_and_public_key_without_the_passphrase() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        let file = KeyFile { role: Role::Consensus, secret: secret() };
        file.write_encrypted(&path, &phrase("right"), Existing::Keep).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains(&*secret_text(&secret())) && !text.contains("secretKeyMultibase"), "{text}");
        let stored = StoredKey::read(&path).unwrap();
        assert_eq!(
            (stored.role(), stored.public(), stored.is_encrypted()),
            (Role::Consensus, secret().public(), true)
        );
        assert_eq!(*stored.open(Some(&phrase("right"))).unwrap().secret.seed(), [7; 32]);
        assert!(matches!(
            file.write_encrypted(&path, &phrase("x"), Existing::Keep),
            Err(KeyFileError::File(_))
        ));
    }

    #[test]
    fn another_passphrase_and_none_are_errors_of_their_own() {
        let (_folder, path, _) = written(Role::Network);
        let stored = StoredKey::read(&path).unwrap();
        let error = stored.open(Some(&phrase("wrong"))).unwrap_err();
        assert!(matches!(error, KeyFileError::WrongPassphrase { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("a.json") && text.contains("network key") && !text.contains("wrong"), "{text}");
        let error = KeyFile::read_for(&path, Role::Network).unwrap_err();
        assert!(matches!(error, KeyFileError::Encrypted { .. }), "{error}");
        let error = stored.expect(Role::Consensus).unwrap_err();
        assert!(matches!(error, KeyFileError::OtherRole { .. }), "{error}");
    }

    #[test]
    fn under_another_role_or_public_key_it_does_not_open() {
        let (_folder, path, text) = written(Role::Network);
        let other = SecretKey::from_seed([8; 32]).public().to_string();
        for changed in
            [text.replace("network", "governance"), text.replace(&secret().public().to_string(), &other)]
        {
            assert_ne!(changed, text);
            let stored = StoredKey::parse(&path, &changed).unwrap();
            let error = stored.open(Some(&phrase("right"))).unwrap_err();
            assert!(matches!(error, KeyFileError::WrongPassphrase { .. }), "{error}");
        }
    }

    #[test]
    fn two_encryptions_of_one_key_share_neither_salt_nor_ciphertext() {
        let sealed = || Sealed::seal_at(14, Role::Did, &secret(), &phrase("right")).to_json();
        let parts = |text: String| -> Vec<String> {
            let json: serde_json::Value = serde_json::from_str(&text).unwrap();
            ["salt", "ciphertext"].map(|field| json[field].as_str().unwrap().to_owned()).to_vec()
        };
        let (one, two) = (parts(sealed()), parts(sealed()));
        assert!(one.iter().zip(&two).all(|(one, two)| one != two), "{one:?} {two:?}");
    }

    #[test]
    fn what_opening_would_cost_is_bounded_and_each_wrong_field_is_named() {
        let (_folder, path, text) = written(Role::Consensus);
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let value = |field: &str| json["encryptedSecretKey"][field].as_str().unwrap().to_owned();
        for (changed, fault) in [
            (text.replace("\"logN\": 14", "\"logN\": 19"), "logN is 19, but must be 14 to 18"),
            (text.replace("\"logN\": 14", "\"logN\": 63"), "logN is 63"),
            (text.replace("\"logN\": 14", "\"logN\": 1"), "logN is 1,"),
            (text.replace("\"logN\": 14", "\"logN\": 300"), "unexpected content"),
            (text.replace("scrypt-chacha20poly1305", "rot13"), "`rot13`"),
            (text.replace(&value("salt"), "AAAA"), "salt is not 32 bytes"),
            (text.replace(&value("salt"), &"A".repeat(100_000)), "salt is not 32 bytes"),
            (text.replace(&value("ciphertext"), "!"), "ciphertext is not 48 bytes"),
            (text.replace("\"scheme\"", "\"way\""), "unexpected content"),
            (
                text.replace(
                    "\"encryptedSecretKey\"",
                    "\"secretKeyMultibase\": \"z\", \"encryptedSecretKey\"",
                ),
                "both plain and encrypted",
            ),
        ] {
            assert_ne!(changed, text, "{fault}");
            let error =
                StoredKey::parse(&path, &changed).and_then(|key| key.open(None)).unwrap_err().to_string();
            assert!(error.contains(fault), "expected `{fault}`: {error}");
        }
    }

    #[test]
    fn every_truncation_is_an_error_and_no_flipped_bit_gives_another_key() {
        let (_folder, path, text) = written(Role::Network);
        for length in 0..text.len() - 2 {
            assert!(StoredKey::parse(&path, &text[..length]).is_err(), "cut at {length}");
        }
        // Opening costs time: a place in seven is tried.
        for place in (0..text.len()).step_by(7) {
            let mut bytes = text.clone().into_bytes();
            bytes[place] ^= 1;
            let stored = StoredKey::parse(&path, &String::from_utf8(bytes).unwrap());
            if let Ok(key) = stored.and_then(|stored| stored.open(Some(&phrase("right")))) {
                assert_eq!(*key.secret.seed(), [7; 32], "at {place}");
            }
        }
    }

    #[test]
    fn debug_shows_neither_secret_nor_ciphertext() {
        let (_folder, path, text) = written(Role::Did);
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let shown = format!("{:?}", StoredKey::read(&path).unwrap());
        assert!(!shown.contains(json["encryptedSecretKey"]["ciphertext"].as_str().unwrap()), "{shown}");
    }
}

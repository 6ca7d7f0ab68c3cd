//! A secret key under a passphrase: scrypt makes a key of it, ChaCha20-Poly1305 encrypts the seed with that, and binds
//! it to its role and public key.
//!
//! Invariant: each encryption has a fresh random salt, hence a key of its own, which is why the nonce can be zero (as in
//! the format of age). What opening costs is bounded, whatever a file asks for: r is 8, p is 1, and N at most
//! 2^[`MAX_LOG_N`].

use std::fmt;

use chacha20poly1305::ChaCha20Poly1305;
use chacha20poly1305::aead::{AeadInOut, KeyInit, Nonce};
use genesis::{PublicKey, SecretKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Role;
use crate::api::{from_base64, to_base64};
use crate::passphrase::Passphrase;

/// What a file says it is encrypted with. Another way will have another name.
const SCHEME: &str = "scrypt-chacha20poly1305";

/// log2 of scrypt's N for new files: 128 MiB and about half a second.
const LOG_N: u8 = 17;

/// The least that is accepted: 16 MiB. A file that asks for less was not made by us.
const MIN_LOG_N: u8 = 14;

/// The most that is accepted: 256 MiB and about a second.
const MAX_LOG_N: u8 = 18;

const SALT_BYTES: usize = 32;
/// A seed and the cipher's tag.
const SEALED_BYTES: usize = 32 + 16;

/// An encrypted secret key.
pub(super) struct Sealed {
    log_n: u8,
    salt: [u8; SALT_BYTES],
    ciphertext: [u8; SEALED_BYTES],
}

/// The same, as it is written down.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Envelope<'a> {
    scheme: &'a str,
    log_n: u8,
    salt: &'a str,
    ciphertext: &'a str,
}

impl Envelope<'_> {
    /// Checks every field.
    pub(super) fn check(&self) -> Result<Sealed, String> {
        if self.scheme != SCHEME {
            let scheme: String = self.scheme.chars().take(40).collect();
            return Err(format!("it is encrypted by `{scheme}`, but this build knows {SCHEME} alone"));
        }
        if !(MIN_LOG_N..=MAX_LOG_N).contains(&self.log_n) {
            return Err(format!("its logN is {}, but must be {MIN_LOG_N} to {MAX_LOG_N}", self.log_n));
        }
        Ok(Sealed {
            log_n: self.log_n,
            salt: bytes("salt", self.salt)?,
            ciphertext: bytes("ciphertext", self.ciphertext)?,
        })
    }
}

fn bytes<const N: usize>(field: &str, text: &str) -> Result<[u8; N], String> {
    let unsound = || format!("its {field} is not {N} bytes in base64");
    // What is too long is not decoded.
    if text.len() > 4 * N {
        return Err(unsound());
    }
    from_base64(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or_else(unsound)
}

impl Sealed {
    /// Encrypts `secret`.
    pub(super) fn seal(role: Role, secret: &SecretKey, passphrase: &Passphrase) -> Self {
        Self::seal_at(LOG_N, role, secret, passphrase)
    }

    pub(super) fn seal_at(log_n: u8, role: Role, secret: &SecretKey, passphrase: &Passphrase) -> Self {
        let mut salt = [0; SALT_BYTES];
        rand::Rng::fill_bytes(&mut rand::rng(), &mut salt);
        let mut buffer = Zeroizing::new(Vec::with_capacity(SEALED_BYTES));
        buffer.extend_from_slice(secret.seed().as_ref());
        let sealed = cipher(log_n, &salt, passphrase).and_then(|cipher| {
            let bound = bound_to(role, &secret.public());
            cipher.encrypt_in_place(&Nonce::<ChaCha20Poly1305>::default(), &bound, &mut *buffer).ok()
        });
        match (sealed, buffer.as_slice().try_into()) {
            (Some(()), Ok(ciphertext)) => Self { log_n, salt, ciphertext },
            _ => unreachable!("32 bytes are encrypted to 48, with parameters within scrypt's bounds"),
        }
    }

    /// The secret key, unless the passphrase is another one, or anything of the file was altered.
    pub(super) fn open(&self, role: Role, public: &PublicKey, passphrase: &Passphrase) -> Option<SecretKey> {
        let mut buffer = Zeroizing::new(self.ciphertext.to_vec());
        let cipher = cipher(self.log_n, &self.salt, passphrase)?;
        let bound = bound_to(role, public);
        cipher.decrypt_in_place(&Nonce::<ChaCha20Poly1305>::default(), &bound, &mut *buffer).ok()?;
        let mut seed = Zeroizing::new([0; 32]);
        if buffer.len() != seed.len() {
            return None;
        }
        seed.copy_from_slice(&buffer);
        Some(SecretKey::from_seed(*seed))
    }

    /// As it stands in a key file.
    pub(super) fn to_json(&self) -> String {
        let (salt, ciphertext) = (to_base64(&self.salt), to_base64(&self.ciphertext));
        // Nothing here needs escaping.
        format!(
            "{{\n    \"scheme\": \"{SCHEME}\",\n    \"logN\": {},\n    \"salt\": \"{salt}\",\n    \"ciphertext\": \
             \"{ciphertext}\"\n  }}",
            self.log_n
        )
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed(logN {})", self.log_n)
    }
}

fn cipher(log_n: u8, salt: &[u8; SALT_BYTES], passphrase: &Passphrase) -> Option<ChaCha20Poly1305> {
    let parameters = scrypt::Params::new(log_n, 8, 1).ok()?;
    let mut key = Zeroizing::new([0; 32]);
    scrypt::scrypt(passphrase.as_bytes(), salt, &parameters, key.as_mut()).ok()?;
    ChaCha20Poly1305::new_from_slice(key.as_ref()).ok()
}

/// What the ciphertext belongs to: under another role or public key it does not open.
fn bound_to(role: Role, public: &PublicKey) -> Vec<u8> {
    format!("realdid key file v1\n{role}\n{public}").into_bytes()
}

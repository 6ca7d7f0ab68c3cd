//! The signatures that a thread made itself, so that it need not check them: for simulations, where one thread is
//! all validators at once and spends most of its time on checking what it has just signed.
//!
//! Invariant: nothing gets in here but by [`super::SecretKey::sign`], so every answer is the one that the check
//! would give. A thread that does not ask for it by [`remember`] remembers nothing; a node never does.

use std::cell::RefCell;
use std::collections::HashSet;

use super::{PublicKey, Signature};

struct Known {
    limit: usize,
    names: HashSet<[u8; 32]>,
}

thread_local! {
    static KNOWN: RefCell<Option<Known>> = const { RefCell::new(None) };
}

/// From now on this thread remembers what it signs: at most `limit` signatures, then it starts anew. Forgets what
/// it remembered before.
pub fn remember(limit: usize) {
    KNOWN.with_borrow_mut(|known| *known = Some(Known { limit, names: HashSet::new() }));
}

/// Takes note of a signature that has just been made.
pub(super) fn add(signer: impl FnOnce() -> PublicKey, message: &[u8], signature: &Signature) {
    KNOWN.with_borrow_mut(|known| {
        if let Some(known) = known {
            if known.names.len() >= known.limit {
                known.names.clear();
            }
            known.names.insert(name(&signer(), message, signature));
        }
    });
}

/// Whether this thread made this signature itself; false says nothing.
pub(super) fn contains(signer: &PublicKey, message: &[u8], signature: &Signature) -> bool {
    KNOWN.with_borrow(|known| {
        known.as_ref().is_some_and(|known| known.names.contains(&name(signer, message, signature)))
    })
}

/// Key and signature have a fixed length, so no two triples are written alike.
fn name(signer: &PublicKey, message: &[u8], signature: &Signature) -> [u8; 32] {
    let (PublicKey::Ed25519(key), Signature::Ed25519(signature)) = (signer, signature);
    let mut hasher = blake3::Hasher::new();
    hasher.update(key).update(signature).update(message);
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Claim, SecretKey, verify_all};

    #[test]
    fn only_what_this_thread_signed_is_known_and_nothing_else_becomes_valid() {
        remember(2);
        let key = SecretKey::from_seed([1; 32]);
        let (signer, signature) = (key.public(), key.sign(b"one"));
        assert!(contains(&signer, b"one", &signature));
        assert!(!contains(&signer, b"two", &signature));
        assert!(!contains(&SecretKey::from_seed([2; 32]).public(), b"one", &signature));
        let Signature::Ed25519(mut forged) = signature;
        forged[40] ^= 1;
        let forged = Signature::Ed25519(forged);
        assert!(!contains(&signer, b"one", &forged) && !signer.verify(b"one", &forged));
        let claims = |signature| [(b"one".as_slice(), signature), (b"two".as_slice(), key.sign(b"two"))];
        for (signature, valid) in [(signature, true), (forged, false)] {
            let claims = claims(signature).map(|(message, signature)| Claim { signer, message, signature });
            assert_eq!(verify_all(&claims), valid);
        }
        std::thread::spawn(move || assert!(!contains(&signer, b"one", &signature))).join().unwrap();
    }

    #[test]
    fn what_is_known_stays_within_its_limit() {
        remember(2);
        let key = SecretKey::from_seed([1; 32]);
        let first = key.sign(b"one");
        key.sign(b"two");
        assert!(contains(&key.public(), b"one", &first));
        key.sign(b"three");
        assert!(!contains(&key.public(), b"one", &first) && key.public().verify(b"one", &first));
    }
}

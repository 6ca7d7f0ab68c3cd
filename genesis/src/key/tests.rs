use proptest::prelude::*;

use super::*;
use crate::Digest;

/// The edge cases of "Taming the many EdDSAs" (Chalkias, Garillot, Nikolaenko 2020), table 5: what ZIP-215 says,
/// message, public key, signature. 0 to 5 are small-order and mixed-order points, 6 and 7 have S ≥ L, 8 and 9 a
/// non-canonical R, hashed as its canonical form and as it stands.
#[rustfmt::skip]
const EDGE_CASES: [(bool, &str, &str, &str); 10] = [
    (
        true,
        "8c93255d71dcab10e8f379c26200f3c7bd5f09d9bc3068d3ef4edeb4853022b6",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a0000000000000000000000000000000000000000000000000000000000000000",
    ),
    (
        true,
        "9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43a5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04",
    ),
    (
        true,
        "aebf3f2601a0c8c5d39cc7d8911642f740b78168218da8471772b35f9d35b9ab",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa8c4bd45aecaca5b24fb97bc10ac27ac8751a7dfe1baff8b953ec9f5833ca260e",
    ),
    (
        true,
        "9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79",
        "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
        "9046a64750444938de19f227bb80485e92b83fdb4b6506c160484c016cc1852f87909e14428a7a1d62e9f22f3d3ad7802db02eb2e688b6c52fcd6648a98bd009",
    ),
    (
        true,
        "e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c",
        "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
        "160a1cb0dc9c0258cd0a7d23e94d8fa878bcb1925f2c64246b2dee1796bed5125ec6bc982a269b723e0668e540911a9a6a58921d6925e434ab10aa7940551a09",
    ),
    (
        true,
        "e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c",
        "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
        "21122a84e0b5fca4052f5b1235c80a537878b38f3142356b2c2384ebad4668b7e40bc836dac0f71076f9abe3a53f9c03c1ceeeddb658d0030494ace586687405",
    ),
    (
        false,
        "85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40",
        "442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623",
        "e96f66be976d82e60150baecff9906684aebb1ef181f67a7189ac78ea23b6c0e547f7690a0e2ddcd04d87dbc3490dc19b3b3052f7ff0538cb68afb369ba3a514",
    ),
    (
        false,
        "85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40",
        "442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623",
        "8ce5b96c8f26d0ab6c47958c9e68b937104cd36e13c33566acd2fe8d38aa19427e71f98a473474f2f13f06f97c20d58cc3f54b8bd0d272f42b695dd7e89a8c22",
    ),
    (
        false,
        "fdaebc429f4a735932a160da1301080c13280eea8bc280d1b392c6b9e6ba3a5a",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f454d370c8d9fc323a41450f8d513eafeb5b0697390c1e505a0d4ddc71f566607",
    ),
    (
        true,
        "84b698d39be126ff55fe45079e6c8bf64a0d7db6994560b4e96b7021eb39c1a1",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f084d5b99c2a9463d9c8bd5026916996984eeec87ddf1d3be329006ace1b37b09",
    ),
];

fn bytes<const N: usize>(hex: &str) -> [u8; N] {
    let digits: Vec<u8> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    digits.try_into().unwrap()
}

#[test]
fn the_edge_cases_are_judged_by_zip_215_and_alike_alone_and_in_a_batch() {
    let honest = SecretKey::from_seed([1; 32]);
    let signature = honest.sign(b"honest");
    let honest = Claim { signer: honest.public(), message: b"honest", signature };
    for (number, (valid, message, key, signature)) in EDGE_CASES.into_iter().enumerate() {
        let message: [u8; 32] = bytes(message);
        let claim = Claim {
            signer: PublicKey::Ed25519(bytes(key)),
            message: &message,
            signature: Signature::Ed25519(bytes(signature)),
        };
        assert_eq!(claim.signer.verify(claim.message, &claim.signature), valid, "case {number} alone");
        for batch in [vec![claim, honest], vec![honest, claim, honest], vec![claim, claim]] {
            assert_eq!(verify_all(&batch), valid, "case {number} in a batch of {}", batch.len());
        }
        // 6 and 7 are about S; their key is sound. All others have a torsion component.
        let sound = number == 6 || number == 7;
        assert_eq!(claim.signer.is_registrable(), sound, "case {number}: registrable");
    }
}

proptest! {
    #[test]
    fn single_and_batch_verification_agree(
        seeds in prop::collection::vec(any::<[u8; 32]>(), 0..6),
        spoiled in any::<prop::sample::Index>(),
        bit in 0_usize..512,
        spoil in any::<bool>(),
    ) {
        let messages: Vec<[u8; 32]> = seeds.clone();
        let mut claims: Vec<Claim<'_>> = seeds
            .iter()
            .zip(&messages)
            .map(|(seed, message)| {
                let secret = SecretKey::from_seed(*seed);
                Claim { signer: secret.public(), message, signature: secret.sign(message) }
            })
            .collect();
        if spoil && !claims.is_empty() {
            let claim = spoiled.index(claims.len());
            let Signature::Ed25519(raw) = &mut claims[claim].signature;
            raw[bit / 8] ^= 1 << (bit % 8);
        }
        let singly = claims.iter().all(|claim| claim.signer.verify(claim.message, &claim.signature));
        prop_assert_eq!(verify_all(&claims), singly);
        prop_assert_eq!(singly, !spoil || claims.is_empty());
    }

    #[test]
    fn keys_survive_their_text_form(seed: [u8; 32]) {
        let key = SecretKey::from_seed(seed).public();
        prop_assert_eq!(key.to_string().parse(), Ok(key));
        prop_assert!(key.is_registrable());
        prop_assert!(key.to_string().starts_with("z6Mk"));
    }
}

#[test]
fn a_secret_key_is_never_printed() {
    let secret = SecretKey::from_seed([0xab; 32]);
    let shown = format!("{secret:?}");
    assert!(!shown.contains("abab") && !shown.contains("171"), "{shown}");
    assert_ne!(*SecretKey::generate().seed(), *SecretKey::generate().seed());
}

#[test]
fn texts_that_are_no_keys_are_refused() {
    let key = SecretKey::from_seed([1; 32]).public().to_string();
    for text in ["", "z", &key[1..], &key[..40], &format!("{key}x"), &"z".repeat(10_000), "z0OIl"] {
        assert!(text.parse::<PublicKey>().is_err(), "{text}");
    }
}

#[test]
fn keys_and_signatures_survive_json() {
    let secret = SecretKey::from_seed([1; 32]);
    let signature = secret.sign(b"x");
    let json = serde_json::to_string(&(secret.public(), signature, Digest::ZERO)).unwrap();
    let back: (PublicKey, Signature, Digest) = serde_json::from_str(&json).unwrap();
    assert_eq!(back, (secret.public(), signature, Digest::ZERO));
    for text in ["\"\"", "\"zz\"", "1", &format!("\"{}é\"", "0".repeat(63))] {
        assert!(serde_json::from_str::<Signature>(text).is_err());
    }
}

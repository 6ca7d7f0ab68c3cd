//! Hashing many pairs of digests at once, as trees need it: as many at a time as the processor has lanes for.
//!
//! Invariant: [`PairHasher::hash`] gives bit for bit what [`Digest::of`] gives for the same 64 bytes; a test holds it to that.
//!
//! BLAKE3's own tree hashing calls this entrance of its crate (`Platform::hash_many`), but does not promise to keep it:
//! the workspace pins the crate's exact version for that reason (`docs/decisions/008-the-state-tree.md`).

use blake3::IncrementCounter;
use blake3::platform::Platform;

use super::{Digest, Domain};

/// The flags of the BLAKE3 paper, table 3: a lone block of key material is start, end and root at once.
const CHUNK_START: u8 = 1 << 0;
const CHUNK_END: u8 = 1 << 1;
const ROOT: u8 = 1 << 3;
const DERIVE_KEY_MATERIAL: u8 = 1 << 6;

/// A left and a right digest, side by side: one block of BLAKE3.
pub type Pair = [u8; 64];

/// Hashes pairs under one domain. Making one costs about as much as three hashes; keep it.
#[derive(Clone, Copy, Debug)]
pub struct PairHasher {
    key: [u32; 8],
    platform: Platform,
}

impl PairHasher {
    /// For pairs under `domain`.
    pub fn new(domain: Domain) -> Self {
        let (words, _) = domain.context_key().as_chunks::<4>();
        let mut key = [0; 8];
        for (word, bytes) in key.iter_mut().zip(words) {
            *word = u32::from_le_bytes(*bytes);
        }
        Self { key, platform: Platform::detect() }
    }

    /// The digest of each of `pairs`, in their order, at the end of `digests`.
    pub fn hash(&self, pairs: &[Pair], digests: &mut Vec<Digest>) {
        let mut out = [0; 32 * LANES];
        for pairs in pairs.chunks(LANES) {
            let mut inputs = [&[0; 64]; LANES];
            for (input, pair) in inputs.iter_mut().zip(pairs) {
                *input = pair;
            }
            let out = &mut out[..32 * pairs.len()];
            self.platform.hash_many(
                &inputs[..pairs.len()],
                &self.key,
                0,
                IncrementCounter::No,
                DERIVE_KEY_MATERIAL,
                CHUNK_START,
                CHUNK_END | ROOT,
                out,
            );
            digests.extend(out.as_chunks::<32>().0.iter().map(|digest| Digest(*digest)));
        }
    }
}

/// How many pairs are handed over at a time: more than any processor hashes at once.
const LANES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_at_once_are_hashed_like_one_by_one() {
        let pairs: Vec<Pair> =
            (0..200_u8).map(|seed| std::array::from_fn(|i| seed.wrapping_mul(i as u8))).collect();
        for domain in [Domain::Leaf, Domain::Inner, Domain::Batch] {
            for count in [0, 1, 2, 3, 7, 8, 15, 16, 17, 63, 64, 65, 200] {
                let mut digests = vec![Digest::ZERO];
                PairHasher::new(domain).hash(&pairs[..count], &mut digests);
                let singly = pairs[..count].iter().map(|pair| Digest::of(domain, pair));
                assert!(digests.into_iter().skip(1).eq(singly), "{count} of {domain:?}");
            }
        }
    }
}

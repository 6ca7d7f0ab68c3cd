//! Makes unsound inputs of sound ones: a seed, always the same input.

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

/// Numbers that lengths, counts and places go wrong at.
const NUMBERS: [u64; 12] =
    [0, 1, 2, 127, 255, 1 << 16, 1 << 20, (1 << 31) - 1, 1 << 32, 1 << 60, u64::MAX - 1, u64::MAX];

/// One of `samples`, changed in one to four places; at most `most` bytes.
pub fn mutated(samples: &[Vec<u8>], seed: u64, most: usize) -> Vec<u8> {
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    let mut bytes = samples[chance.random_range(0..samples.len())].clone();
    for _ in 0..chance.random_range(1..5) {
        change(&mut bytes, samples, &mut chance);
        bytes.truncate(most);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, samples: &[Vec<u8>], chance: &mut ChaCha8Rng) {
    let at = chance.random_range(0..bytes.len() + 1);
    let rest = bytes.len() - at;
    let some = chance.random_range(0..rest.min(64) + 1);
    match chance.random_range(0..9) {
        0 if rest > 0 => bytes[at] ^= 1 << chance.random_range(0..8),
        1 if rest > 0 => bytes[at] = chance.random(),
        2 => bytes.insert(at, chance.random()),
        3 => bytes.truncate(at),
        4 => drop(bytes.drain(at..at + some)),
        // A part again, up to many times: deep nesting, long lists.
        5 => {
            let part = bytes[at..at + some].repeat(1 << chance.random_range(0..8));
            bytes.splice(at..at, part);
        }
        6 => {
            let number = NUMBERS[chance.random_range(0..NUMBERS.len())].to_le_bytes();
            let width = [1, 2, 4, 8][chance.random_range(0..4)].min(rest);
            bytes[at..at + width].copy_from_slice(&number[..width]);
        }
        7 => {
            let other = &samples[chance.random_range(0..samples.len())];
            let from = chance.random_range(0..other.len() + 1);
            let to = chance.random_range(from..other.len() + 1);
            bytes.splice(at..at + some, other[from..to].iter().copied());
        }
        _ => {
            let number = NUMBERS[chance.random_range(0..NUMBERS.len())];
            bytes.splice(at..at + some, number.to_string().into_bytes());
        }
    }
}

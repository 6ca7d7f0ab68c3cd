//! What must hold of every decoder, for sound inputs and for what is made of them.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::time::{Duration, Instant};

use tests::decoders::samples::Samples;
use tests::decoders::{Decoder, Verdict, all, mutate};

/// How many inputs are made for each decoder, and for how long at most.
const MUTATIONS: u64 = 2_000;
const TIME: Duration = Duration::from_millis(400);
/// The most bytes of one.
const MOST: usize = 64 << 10;

fn measure(work: &mut dyn FnMut()) -> u64 {
    allocation_counter::measure(work).bytes_max
}

fn check(decoder: &Decoder, bytes: &[u8], what: &str) -> Verdict {
    decoder.check(bytes, measure).unwrap_or_else(|problem| {
        let hex: String = bytes.iter().take(4_096).map(|byte| format!("{byte:02x}")).collect();
        panic!("{}, {what}: {problem}; the input: {hex}", decoder.name)
    })
}

#[test]
fn every_decoder_reads_its_samples_within_its_bound() {
    for decoder in all() {
        let samples = decoder.samples(Samples::get());
        assert!(!samples.is_empty(), "{}", decoder.name);
        for (place, sample) in samples.iter().enumerate() {
            // Once beforehand: what is made once in a process is not the input's.
            check(decoder, sample, "once");
            let verdict = check(decoder, sample, &format!("sample {place}"));
            assert_eq!(verdict, Verdict::Read, "{}, sample {place}", decoder.name);
        }
    }
}

#[test]
fn no_mutation_of_a_sample_breaks_a_decoder_or_makes_it_hold_more_than_its_bound() {
    for decoder in all() {
        let samples = decoder.samples(Samples::get());
        for sample in &samples {
            check(decoder, sample, "once");
        }
        let started = Instant::now();
        let (mut read, mut refused) = (0_u64, 0_u64);
        for seed in 0..MUTATIONS {
            let bytes = mutate::mutated(&samples, seed, MOST);
            match check(decoder, &bytes, &format!("seed {seed}")) {
                Verdict::Read => read += 1,
                Verdict::Refused => refused += 1,
            }
            if started.elapsed() > TIME {
                break;
            }
        }
        println!("{}: {read} read, {refused} refused", decoder.name);
        assert!(refused > 0, "{} takes whatever comes", decoder.name);
    }
}

#[test]
fn a_length_that_is_not_there_is_not_allocated() {
    // A proposal to remove a validator whose name claims to have 60 MiB, as `tx_submit` gets it.
    let mut bytes = vec![7; 32];
    bytes.extend(3_u32.to_le_bytes());
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend((60_u64 << 20).to_le_bytes());
    let decoder = tests::decoders::named("transaction").unwrap();
    assert_eq!(check(decoder, &bytes, "a long name"), Verdict::Refused);
}

//! libFuzzer on one of the decoders: run it by `scripts/fuzz`, which builds it with counters of what was executed.
//!
//! `FUZZ_DECODER` names the decoder. With `FUZZ_SAMPLES` set to a folder it writes the sound inputs of every decoder there, a
//! folder each, and ends.

#![no_main]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::path::PathBuf;
use std::process::exit;
use std::sync::OnceLock;

use libfuzzer_sys::{Corpus, fuzz_target};
use tests::decoders::samples::Samples;
use tests::decoders::{Decoder, Verdict, all, named};

static DECODER: OnceLock<&Decoder> = OnceLock::new();

fn measure(work: &mut dyn FnMut()) -> u64 {
    allocation_counter::measure(work).bytes_max
}

fn prepare() {
    if let Some(folder) = std::env::var_os("FUZZ_SAMPLES") {
        write_samples(&PathBuf::from(folder));
        exit(0);
    }
    let name = std::env::var("FUZZ_DECODER").unwrap_or_default();
    let Some(decoder) = named(&name) else {
        let names: Vec<&str> = all().map(|decoder| decoder.name).collect();
        eprintln!("`{name}` is not a decoder: expected one of {}", names.join(", "));
        exit(2);
    };
    // What is made once in a process is not an input's.
    for sample in decoder.samples(Samples::get()) {
        drop(decoder.check(&sample, |work| {
            work();
            0
        }));
    }
    DECODER.get_or_init(|| decoder);
}

fn write_samples(folder: &std::path::Path) {
    for decoder in all() {
        let folder = folder.join(decoder.name);
        std::fs::create_dir_all(&folder).unwrap();
        for (place, sample) in decoder.samples(Samples::get()).iter().enumerate() {
            std::fs::write(folder.join(format!("sample-{place}")), sample).unwrap();
        }
        println!("{}", decoder.name);
    }
}

fuzz_target!(init: prepare(), |bytes: &[u8]| -> Corpus {
    let decoder = DECODER.get().expect("prepared before");
    match decoder.check(bytes, measure) {
        Ok(Verdict::Read | Verdict::Refused) => Corpus::Keep,
        Err(problem) => panic!("{}: {problem}", decoder.name),
    }
});

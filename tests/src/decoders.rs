//! Whatever reads bytes or text that came from elsewhere, and what must hold of each.
//!
//! - [`binary`]: the canonical encoding: wire, proofs, store and journal
//! - [`text`]: TOML, JSON, DIDs and HTTP
//! - [`samples`]: sound inputs of each kind; [`mutate`]: what is made of them, by a seed
//!
//! Of each decoder holds, for all bytes:
//!
//! - it does not panic, and its complaint is short;
//! - it never holds more than [`Decoder::times`] times the input's bytes at a time, and [`Decoder::beside`]: four times for all that
//!   strangers send;
//! - what it reads is written again as the same bytes, where there is one form, or else as something that is read as
//!   the same.
//!
//! `tests/tests/decoders.rs` holds this for samples and a few thousand mutations of each in every run of the tests;
//! `scripts/fuzz` lets libFuzzer look for more. A decoder that is new belongs into [`all`].

mod binary;
pub mod mutate;
pub mod samples;
mod text;

use samples::Samples;

/// What a decoder may hold whatever the input's length, in bytes: the value itself, and the words of a complaint.
const BESIDE: usize = 4 << 10;

/// The longest complaint, in bytes.
const MAX_COMPLAINT: usize = 4 << 10;

/// Something that reads bytes from elsewhere.
pub struct Decoder {
    /// What it is called in commands.
    pub name: &'static str,
    /// How many times the input's bytes it may hold at a time, beside [`Decoder::beside`].
    pub times: usize,
    /// What it may hold beside, in bytes.
    pub beside: usize,
    read: fn(&[u8]) -> Outcome,
    samples: fn(&Samples) -> Vec<Vec<u8>>,
}

/// What a decoder makes of some bytes.
enum Outcome {
    /// Refused, with this complaint.
    Refused(String),
    /// Read; what must hold of it is told by the call.
    Read(Box<dyn FnOnce() -> Result<(), String>>),
}

/// Whether a decoder took an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It did not.
    Refused,
    /// It did.
    Read,
}

impl Outcome {
    fn read(claim: impl FnOnce() -> Result<(), String> + 'static) -> Self {
        Self::Read(Box::new(claim))
    }

    fn refused(error: impl std::fmt::Display) -> Self {
        Self::Refused(error.to_string())
    }
}

impl Decoder {
    const fn new(
        name: &'static str,
        read: fn(&[u8]) -> Outcome,
        samples: fn(&Samples) -> Vec<Vec<u8>>,
    ) -> Self {
        Self { name, times: 4, beside: BESIDE, read, samples }
    }

    /// With other bounds than four times the input. Each use says why.
    const fn holding(self, times: usize, beside: usize) -> Self {
        Self { times, beside, ..self }
    }

    /// Sound inputs.
    pub fn samples(&self, samples: &Samples) -> Vec<Vec<u8>> {
        (self.samples)(samples)
    }

    /// Checks all that must hold for `bytes`. `measure` runs what it is given and says how many bytes were held at most
    /// meanwhile.
    ///
    /// # Errors
    /// Says what does not hold.
    pub fn check(
        &self,
        bytes: &[u8],
        measure: impl FnOnce(&mut dyn FnMut()) -> u64,
    ) -> Result<Verdict, String> {
        let mut outcome = None;
        let held = measure(&mut || outcome = Some((self.read)(bytes)));
        let allowed = (self.times * bytes.len() + self.beside) as u64;
        if held > allowed {
            return Err(format!("{} bytes made it hold {held}, but {allowed} are allowed", bytes.len()));
        }
        match outcome.ok_or("it was not called")? {
            Outcome::Read(claim) => claim().map(|()| Verdict::Read),
            Outcome::Refused(complaint) if complaint.len() > MAX_COMPLAINT => {
                Err(format!("a complaint of {} bytes", complaint.len()))
            }
            Outcome::Refused(complaint) if complaint.is_empty() => Err("an empty complaint".into()),
            Outcome::Refused(_) => Ok(Verdict::Refused),
        }
    }
}

/// All of them.
pub fn all() -> impl Iterator<Item = &'static Decoder> {
    binary::DECODERS.iter().chain(text::DECODERS)
}

/// The decoder with this name.
pub fn named(name: &str) -> Option<&'static Decoder> {
    all().find(|decoder| decoder.name == name)
}

//! Does the whole hold?
//!
//! - [`mod@bench`]: what a network of real processes commits a second, at what cost
//! - [`decoders`]: whatever reads bytes or text from elsewhere, and what must hold of it, for tests and for the fuzzer
//! - [`filling`]: ledgers of many DIDs, made without a network
//! - [`founding`]: a network's genesis and its replicas, for checks that need no more
//! - [`harness`]: networks of real processes
//! - [`relay`]: what stands between them: delay, loss, cuts
//! - [`history`]: what clients saw of a network, and whether one order explains it
//! - [`model`]: every run of a small network, up to a number of views
//! - [`say`]: printing for the command-line tools
//! - [`scale`]: unmodified replicas on links and cores that cost time: what many validators commit
//! - [`simulation`]: unmodified replicas in a world where one seed decides everything that goes wrong
//! - [`twins`]: unmodified replicas, two of them with one key

// All of this crate is test code: what does not hold ends the test.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

pub mod bench;
pub mod decoders;
pub mod filling;
pub mod founding;
pub mod harness;
pub mod history;
pub mod model;
pub mod relay;
pub mod say;
pub mod scale;
pub mod simulation;
pub mod twins;

/// How many threads a tool uses unless told.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

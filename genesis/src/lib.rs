//! What every node agrees on before block one: keys, signatures, bytes, hashes, the validators and the parameters.
//!
//! - [`digest`]: BLAKE3, one domain for each kind of thing that is hashed
//! - [`key`]: Ed25519 keys and signatures, and the one rule (ZIP-215) that says which signatures are valid
//! - [`encoding`]: the one canonical byte form; nothing else names the codec
//! - [`position`]: height, view, epoch and time, each a type of its own
//! - [`validators`]: the validator set, its quorum and its leaders
//! - [`parameters`]: the numbers that a network is founded with, and their bounds
//! - [`document`]: the genesis file, checked field by field; its hash is the chain's id
//! - [`ceremony`]: how the members found a network together, each with keys that nobody else sees
//!
//! This crate is the leaf: it depends on none of the others, does no I/O, and reads no clock.

pub mod ceremony;
pub mod configuration;
pub mod digest;
pub mod document;
pub mod encoding;
pub mod key;
pub mod parameters;
pub mod position;
pub mod validators;

pub use configuration::Configuration;
pub use digest::{Digest, Domain};
pub use document::{Genesis, Predecessor};
pub use key::{PublicKey, SecretKey, Signature};
pub use parameters::{Parameters, Registration};
pub use position::{Epoch, Height, UnixMillis, View};
pub use validators::{Validator, ValidatorIndex, ValidatorSet};

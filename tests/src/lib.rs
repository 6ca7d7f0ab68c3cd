//! Does the whole hold?
//!
//! - [`harness`]: networks of real processes
//! - [`simulation`]: unmodified replicas in a world where one seed decides everything that goes wrong

pub mod harness;
pub mod simulation;

//! Does the whole hold?
//!
//! - [`simulation`]: unmodified replicas in a world where one seed decides everything that goes wrong

pub mod simulation;

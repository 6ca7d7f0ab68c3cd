//! The ledger in pieces ([`crate::snapshot`]), and out of them.
//!
//! - [`mod@write`]: cuts a ledger into pieces
//! - [`restore`]: makes a ledger of pieces, each checked when it comes
//!
//! A ledger that pieces are written into is none yet: no node opens it before [`Restoration::finish`] has counted that nothing is
//! missing. `meta/restoring` says how far it is, in the write of each piece, so that it goes on after a crash.

mod restore;
mod write;

pub use self::restore::{Restoration, RestoreError};

#[cfg(test)]
mod tests;

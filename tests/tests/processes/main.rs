//! Real processes, real sockets, real disks: what the network does when nodes die, clients misbehave and files rot.
//! Runs the `realdid` binary that was built beside these tests.

// Tests through and through: what does not hold ends them.
#![allow(clippy::expect_used)]

mod chain;
mod crashes;
mod doctor;
mod epochs;
mod faults;
mod files;
mod filled;
mod hostile;
mod joining;
mod lost_quorum;
mod machines;
mod member;
mod observers;
mod ordering;
mod packaging;
mod partitions;
mod proving;
mod quiet;
mod recovery;
mod registrars;
mod reports;
mod resolving;
mod snapshots;
mod submission;
mod surface;
mod sync;
mod watching;

//! Real processes, real sockets, real disks: what the network does when nodes die, clients misbehave and files rot.
//! Runs the `realdid` binary that was built beside these tests.

mod faults;
mod files;
mod hostile;
mod quiet;

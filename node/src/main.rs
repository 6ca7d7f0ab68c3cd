//! The `realdid` command.

use std::process::ExitCode;

/// For all of the process, RocksDB included: docs/performance.md says what it brings.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    node::cli::main()
}

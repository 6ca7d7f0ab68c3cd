//! The `realdid` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    node::cli::main()
}

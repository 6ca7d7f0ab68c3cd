//! Printing for the command-line tools.
//!
//! Invariant: a reader that has gone away (`| head`) ends nothing: the exit code still says what was found.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// A line on standard output.
pub fn say(line: impl Display) {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            panic!("cannot write to standard output: {error}")
        }
        _ => {}
    }
}

/// A line on standard error.
pub fn tell(line: impl Display) {
    match writeln!(io::stderr(), "{line}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            panic!("cannot write to standard error: {error}")
        }
        _ => {}
    }
}

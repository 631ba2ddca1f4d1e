//! Progress for the person who watches, on standard error; results go to standard output.

use std::io::{self, Write};

/// Writes one line. A closed terminal does not end a run.
pub fn say(line: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

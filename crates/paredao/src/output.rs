//! What commands print for people and programs.

use std::io::{self, ErrorKind, Write as _};

/// Prints to standard output. A reader that went away has read enough: that is no error.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// Says one line on standard error. There is nowhere to report that nobody reads it.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(io::stderr().lock(), "paredao: {line}");
}

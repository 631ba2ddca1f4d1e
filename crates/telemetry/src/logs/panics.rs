//! A panic is an error event like any other, not a stack trace on stderr.

use std::panic::{self, PanicHookInfo};
use std::time::Duration;

use super::LogControl;

/// A panic may be the process's last word: it waits this long for it to be written.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);

/// Logs every panic of the process, on whatever thread.
pub(super) fn log_them(control: LogControl) {
    panic::set_hook(Box::new(move |panic| {
        log(panic);
        let _ = control.flush(FLUSH_TIMEOUT);
    }));
}

fn log(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    tracing::error!(
        event = "panic",
        reason = panic.payload_as_str().unwrap_or("not a text"),
        location = panic.location().map(ToString::to_string),
        thread = thread.name().unwrap_or("unnamed"),
    );
}

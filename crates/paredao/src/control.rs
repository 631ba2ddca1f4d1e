//! The control socket: how commands reach a running process.
//!
//! A Unix socket (mode 0600) that speaks one JSON object a line. A connection carries one request;
//! long work answers with lines of progress before the last one. Both sides are bounded: in the
//! length of lines, in the number of connections, and in time: progress is told only when there is
//! some, and work that makes none is given up.
//!
//! - `protocol`: what is asked and answered.
//! - `server`: the side of the running process.
//! - `client`: the side of the command.

use std::time::Duration;

pub(crate) mod client;
pub(crate) mod protocol;
pub(crate) mod server;

/// Longest request: a poll file of twenty candidates is a tenth of that.
const REQUEST_BYTES_MAX: u64 = 64 * 1024;
/// How long a task may show no progress before the process gives it up and says so: the store or
/// the log it waits for is stuck.
const STALL_MAX: Duration = Duration::from_secs(10);
/// How long a command waits for a word. Longer, so that it hears what a living process has to say.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// Longest answer: a list of thousands of dead letters, or one with its bytes.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

//! The control socket: how commands reach a running process.
//!
//! A Unix socket (mode 0600) that speaks one JSON object a line. A connection carries one request;
//! long work answers with lines of progress before the last one. Both sides are bounded: in the
//! length of lines, in the number of connections, and in time.
//!
//! - `protocol`: what is asked and answered.
//! - `server`: the side of the running process.
//! - `client`: the side of the command.

pub(crate) mod client;
pub(crate) mod protocol;
pub(crate) mod server;

/// Longest request: a poll file of twenty candidates is a tenth of that.
const REQUEST_BYTES_MAX: u64 = 64 * 1024;
/// Longest answer: a list of thousands of dead letters, or one with its bytes.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

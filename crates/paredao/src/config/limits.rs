//! Which values contradict each other.

use std::time::Duration;

use paredao_telemetry::logs::Levels;

use super::Config;
use crate::failure::Misuse;

/// What a batch costs in the log besides its votes, generously.
const BATCH_OVERHEAD_BYTES: u64 = 16_384;
const VOTE_BYTES: u64 = 16;
/// `sun_path` of unix(7) without its closing zero.
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// What a stop needs beyond the deadline of the last votes: to answer them, to flush, to close.
pub(crate) const ANSWER_MARGIN: Duration = Duration::from_secs(1);

/// Lets a configuration pass whose limits fit together.
pub(super) fn check(config: &Config) -> Result<(), Misuse> {
    let levels: Result<Levels, _> = config.log_level.parse();
    levels.map_err(|error| Misuse::of("log_level", error))?;
    let batch_bytes = config.batch_votes_max as u64 * VOTE_BYTES + BATCH_OVERHEAD_BYTES;
    let rules = [
        (
            config.batch_votes_max <= config.votes_waiting_max,
            "batch_votes_max",
            "must not be larger than votes_waiting_max",
        ),
        (
            config.linger_max < config.append_deadline,
            "linger_us_max",
            "must be shorter than append_deadline_ms",
        ),
        (
            config.append_delay < config.append_deadline,
            "append_delay_us",
            "must be shorter than append_deadline_ms, or no vote is ever answered with success",
        ),
        (
            config.drain + config.append_deadline + ANSWER_MARGIN <= config.stop_timeout,
            "stop_timeout_ms",
            "must be at least drain_ms + append_deadline_ms + 1000, or votes under way at the end \
             get no answer",
        ),
        (
            config.refresh < config.close_lead,
            "close_lead_ms",
            "must be longer than refresh_ms, or votes are taken after the end",
        ),
        (
            config.streams_max < config.connections_max,
            "streams_max",
            "must be less than connections_max, or viewers take every place from voters",
        ),
        (
            batch_bytes <= config.segment_bytes,
            "segment_bytes",
            "must hold at least one batch of batch_votes_max votes of 16 bytes, and 16 KiB",
        ),
        (
            config.listen != config.metrics_listen || config.listen.port() == 0,
            "metrics_listen",
            "must not be the address of listen",
        ),
        (
            config.control_socket.as_os_str().len() <= SOCKET_PATH_BYTES_MAX,
            "control_socket",
            "must be a path of at most 107 bytes (unix(7)): set one nearer to the root",
        ),
    ];
    match rules.iter().find(|(holds, ..)| !holds) {
        None => Ok(()),
        Some((_, key, what)) => Err(Misuse::of(key, what)),
    }
}

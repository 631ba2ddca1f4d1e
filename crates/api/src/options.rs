//! How the HTTP side works, as configuration sets it.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::pages::Occasion;

/// Who may read exact totals while no sign-in exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TotalAccess {
    /// Everybody: demonstrations, or a deployment that wants it so.
    Public,
    /// Nobody: 403.
    Refused,
}

/// How the HTTP side works.
#[derive(Clone, Debug)]
pub struct ApiOptions {
    /// Who may read `/total`.
    pub total_access: TotalAccess,
    /// What the pages say the voting is for.
    pub occasion: Occasion,
    /// How often the snapshot is refreshed. Shorter than the lead of a close.
    pub refresh: Duration,
    /// Receipts looked up per second, by the whole process.
    pub receipts_per_second: NonZeroU32,
    /// Threads that serve requests.
    pub workers: usize,
    /// Connections held at once, over all workers; beyond them new ones wait in the backlog.
    pub connections_max: usize,
    /// Event streams open at once: fewer than connections, so that viewers never shut voters out.
    pub streams_max: usize,
    /// How long a client may take for the head of a request, and again for its body.
    pub request_timeout: Duration,
    /// When the intake answers a vote at the latest: a connection is waited for that much longer.
    pub append_deadline: Duration,
    /// How long a connection may idle between requests.
    pub keep_alive: Duration,
    /// How long written data may stay unacknowledged before the kernel drops the connection: what
    /// ends half-open connections and streams that nobody reads.
    pub unread_timeout: Duration,
    /// How long a graceful stop waits for connections.
    pub stop_timeout: Duration,
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self {
            total_access: TotalAccess::Refused,
            occasion: Occasion::OnAir,
            refresh: Duration::from_secs(1),
            receipts_per_second: RECEIPTS_PER_SECOND,
            workers: std::thread::available_parallelism().map_or(2, usize::from),
            connections_max: 25_000,
            streams_max: 12_500,
            request_timeout: Duration::from_secs(5),
            append_deadline: Duration::from_secs(5),
            keep_alive: Duration::from_secs(75),
            unread_timeout: Duration::from_secs(20),
            stop_timeout: Duration::from_secs(15),
        }
    }
}

const RECEIPTS_PER_SECOND: NonZeroU32 = NonZeroU32::new(2_000).unwrap();

//! The limit of open files, raised to what connections need.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files, sockets and pipes that are not connections of voters, generously.
const BESIDES: u64 = 512;

/// Raises the soft limit as far as the hard one lets it, and warns if that is not enough.
pub(super) fn raise(connections_max: usize) {
    let needed = connections_max as u64 + BESIDES;
    let limit = getrlimit(Resource::Nofile);
    let allows = |limit: Option<u64>| limit.is_none_or(|limit| limit >= needed);
    if allows(limit.current) {
        return;
    }
    let raised = Rlimit {
        current: Some(limit.maximum.map_or(needed, |maximum| maximum.min(needed))),
        maximum: limit.maximum,
    };
    let result = setrlimit(Resource::Nofile, raised);
    if result.is_err() || !allows(limit.maximum) {
        tracing::warn!(
            event = "open_files_limited",
            needed,
            limit = getrlimit(Resource::Nofile).current,
            "fewer connections than connections_max can be served: raise the hard limit \
             (ulimit -Hn, LimitNOFILE= of systemd) or lower connections_max",
        );
    }
}

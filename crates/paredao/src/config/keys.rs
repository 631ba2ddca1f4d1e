//! Every key of the configuration, once.

use std::path::Path;
use std::thread;

use toml::{Table, Value};

use super::kind::Kind;

/// One key.
#[derive(Debug)]
pub(crate) struct Key {
    /// As it stands in the file; `PAREDAO_` and capitals in the environment, hyphens as a flag.
    pub(crate) name: &'static str,
    /// Which values it takes.
    pub(crate) kind: Kind,
    /// Its value when nobody sets it.
    pub(crate) default: Default,
    /// Which commands take it as a flag.
    pub(crate) reach: Reach,
    /// What it does.
    pub(crate) help: &'static str,
}

/// The value of a key that nobody sets.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Default {
    /// This one, written as in the environment.
    Fixed(&'static str),
    /// One that depends on the machine or on other keys.
    Derived {
        /// What it is, for people.
        words: &'static str,
        /// One that could be set, for the sample file.
        example: &'static str,
        /// Works it out from the other keys.
        value: fn(&Table) -> Value,
    },
}

/// Which commands take a key as a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Every command: it says where the process or its files are.
    Everywhere,
    /// Those that serve or show the configuration.
    Serving,
}

impl Key {
    /// Its environment variable.
    pub(crate) fn variable(&self) -> String {
        format!("PAREDAO_{}", self.name.to_uppercase())
    }

    /// Its flag, without the leading hyphens.
    pub(crate) fn flag(&self) -> String {
        self.name.replace('_', "-")
    }
}

/// Whether the value of a key must not be shown. The name says it, so that nobody can forget to.
pub(super) fn is_secret(name: &str) -> bool {
    ["_secret", "_password", "_token"]
        .iter()
        .any(|end| name.ends_with(end))
}

const fn number(unit: &'static str, min: i64, max: i64) -> Kind {
    Kind::Number {
        unit,
        range: min..=max,
    }
}

const HOUR_MS: i64 = 3_600_000;
/// The page takes a vote for lost in transit after 10 s (`ATTEMPT_MS` of `frontend/static/retry.js`):
/// an answer that comes later is read by nobody.
const APPEND_DEADLINE_MS_MAX: i64 = 9_999;

/// Every key, in the order of the sample file.
pub(crate) static KEYS: &[Key] = &[
    Key {
        name: "listen",
        kind: Kind::Address,
        default: Default::Fixed("127.0.0.1:8080"),
        reach: Reach::Serving,
        help: "Where voters and production are served; port 0 takes a free one.",
    },
    Key {
        name: "metrics_listen",
        kind: Kind::Address,
        default: Default::Fixed("127.0.0.1:9090"),
        reach: Reach::Serving,
        help: "Where /metrics is served; keep it away from voters.",
    },
    Key {
        name: "data_dir",
        kind: Kind::Path,
        default: Default::Fixed("./paredao-data"),
        reach: Reach::Everywhere,
        help: "The folder of votes, polls and ledger; made if it does not exist, used by one process.",
    },
    Key {
        name: "control_socket",
        kind: Kind::Path,
        default: Default::Derived {
            words: "`control.sock` in the data folder",
            example: "./paredao-data/control.sock",
            value: control_socket,
        },
        reach: Reach::Everywhere,
        help: "The socket through which commands reach a running process.",
    },
    Key {
        name: "workers",
        kind: number("threads", 1, 256),
        default: Default::Derived {
            words: "one for each core",
            example: "8",
            value: workers,
        },
        reach: Reach::Serving,
        help: "Threads that answer requests.",
    },
    Key {
        name: "demo",
        kind: Kind::Switch,
        default: Default::Fixed("false"),
        reach: Reach::Serving,
        help: "Open a demonstration poll at a start that finds none open, and /total to everyone; refused beside real polls.",
    },
    Key {
        name: "public_total",
        kind: Kind::Switch,
        default: Default::Fixed("false"),
        reach: Reach::Serving,
        help: "Open /total, which shows exact numbers, to everyone.",
    },
    Key {
        name: "log_format",
        kind: Kind::Word(&["auto", "json", "human"]),
        default: Default::Fixed("auto"),
        reach: Reach::Serving,
        help: "How log lines look; auto is human on a terminal and json elsewhere.",
    },
    Key {
        name: "log_level",
        kind: Kind::Text,
        default: Default::Fixed("info"),
        reach: Reach::Serving,
        help: "off, error, warn, info, debug or trace, or directives such as info,paredao_intake=debug.",
    },
    Key {
        name: "votes_waiting_max",
        kind: number("votes", 1, 16_777_216),
        default: Default::Fixed("65536"),
        reach: Reach::Serving,
        help: "Votes that may wait to be made durable; further ones are refused with 503.",
    },
    Key {
        name: "batch_votes_max",
        kind: number("votes", 1, 32_768),
        default: Default::Fixed("8192"),
        reach: Reach::Serving,
        help: "Votes that are made durable together.",
    },
    Key {
        name: "linger_us_max",
        kind: number("microseconds", 0, 1_000_000),
        default: Default::Fixed("2000"),
        reach: Reach::Serving,
        help: "The longest a batch waits for company; on an idle system it does not wait.",
    },
    Key {
        name: "append_deadline_ms",
        kind: number("milliseconds", 100, APPEND_DEADLINE_MS_MAX),
        default: Default::Fixed("5000"),
        reach: Reach::Serving,
        help: "A vote that is not durable by then is answered 503; the page waits 10 s.",
    },
    Key {
        name: "append_delay_us",
        kind: number("microseconds", 0, 10_000_000),
        default: Default::Fixed("0"),
        reach: Reach::Serving,
        help: "Rehearsal of a slow disk: every append takes so much longer. Never set it on air.",
    },
    Key {
        name: "drain_ms",
        kind: number("milliseconds", 0, HOUR_MS),
        default: Default::Fixed("3000"),
        reach: Reach::Serving,
        help: "How long it serves on after SIGTERM, not ready, so that proxies notice. Ctrl-C skips this.",
    },
    Key {
        name: "stop_timeout_ms",
        kind: number("milliseconds", 100, HOUR_MS),
        default: Default::Fixed("15000"),
        reach: Reach::Serving,
        help: "The longest a stop may take, from the signal to the exit.",
    },
    Key {
        name: "refresh_ms",
        kind: number("milliseconds", 10, 60_000),
        default: Default::Fixed("1000"),
        reach: Reach::Serving,
        help: "How often what readers see is read from the store.",
    },
    Key {
        name: "segment_bytes",
        kind: number("bytes", 65_536, 1_073_741_824),
        default: Default::Fixed("67108864"),
        reach: Reach::Serving,
        help: "Size at which the vote log begins a new file.",
    },
    Key {
        name: "close_lead_ms",
        kind: number("milliseconds", 20, HOUR_MS),
        default: Default::Fixed("3000"),
        reach: Reach::Serving,
        help: "How long after `paredao poll close` the end comes.",
    },
    Key {
        name: "connections_max",
        kind: number("connections", 1, 1_000_000),
        default: Default::Fixed("25000"),
        reach: Reach::Serving,
        help: "Connections served at once.",
    },
    Key {
        name: "streams_max",
        kind: number("streams", 0, 1_000_000),
        default: Default::Derived {
            words: "half of `connections_max`",
            example: "12500",
            value: streams_max,
        },
        reach: Reach::Serving,
        help: "Live result streams (/eventos) open at once; further ones get 503, and pages poll instead.",
    },
    Key {
        name: "request_timeout_ms",
        kind: number("milliseconds", 100, HOUR_MS),
        default: Default::Fixed("5000"),
        reach: Reach::Serving,
        help: "How long a client may take to send a request.",
    },
    Key {
        name: "receipts_per_second",
        kind: number("receipts", 1, 1_000_000),
        default: Default::Fixed("2000"),
        reach: Reach::Serving,
        help: "Receipts looked up a second, for all voters together; further ones get 503.",
    },
];

/// The key of that name.
pub(crate) fn key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

fn control_socket(settings: &Table) -> Value {
    let folder = settings
        .get("data_dir")
        .and_then(Value::as_str)
        .unwrap_or(".");
    Value::String(
        Path::new(folder)
            .join("control.sock")
            .to_string_lossy()
            .into_owned(),
    )
}

fn streams_max(settings: &Table) -> Value {
    let connections = settings.get("connections_max").and_then(Value::as_integer);
    Value::Integer(connections.unwrap_or(0) / 2)
}

fn workers(_: &Table) -> Value {
    let cores = thread::available_parallelism()
        .map_or(1, usize::from)
        .min(256);
    Value::Integer(i64::try_from(cores).unwrap_or(1))
}

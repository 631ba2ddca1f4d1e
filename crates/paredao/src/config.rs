//! Configuration: what can be set, where from, and what is in force.
//!
//! A setting comes from the default, the TOML file, the environment or a flag, the later one
//! winning. What is unknown, impossible or contradicts another limit is refused with one line
//! that names the key.
//!
//! - `keys`: every key once: name, kind, default, help.
//! - `kind`: which values a key takes.
//! - `layers`: file, environment and flags, one over the other.
//! - `limits`: which values contradict each other.
//! - `show`: what is in force, and a sample file.

mod flags;
mod keys;
mod kind;
mod layers;
mod limits;
mod show;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

pub(crate) use flags::{PLACE_HEADING, PlaceFlags, ServeFlags};
pub(crate) use layers::{Environment, Flag, InForce, read};
pub(crate) use limits::ANSWER_MARGIN;
pub(crate) use show::{as_json, as_toml, sample};

/// The environment variable that names the configuration file.
pub(crate) const FILE_VARIABLE: &str = "PAREDAO_CONFIG";

/// Everything that can be set, checked. Each field is described in `keys`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) listen: SocketAddr,
    pub(crate) metrics_listen: SocketAddr,
    pub(crate) data_dir: PathBuf,
    pub(crate) control_socket: PathBuf,
    pub(crate) workers: usize,
    pub(crate) demo: bool,
    pub(crate) public_total: bool,
    pub(crate) log_format: LogFormat,
    pub(crate) log_level: String,
    pub(crate) votes_waiting_max: usize,
    pub(crate) batch_votes_max: usize,
    #[serde(rename = "linger_us_max", deserialize_with = "micros")]
    pub(crate) linger_max: Duration,
    #[serde(rename = "append_deadline_ms", deserialize_with = "millis")]
    pub(crate) append_deadline: Duration,
    #[serde(rename = "append_delay_us", deserialize_with = "micros")]
    pub(crate) append_delay: Duration,
    #[serde(rename = "drain_ms", deserialize_with = "millis")]
    pub(crate) drain: Duration,
    #[serde(rename = "stop_timeout_ms", deserialize_with = "millis")]
    pub(crate) stop_timeout: Duration,
    #[serde(rename = "refresh_ms", deserialize_with = "millis")]
    pub(crate) refresh: Duration,
    pub(crate) segment_bytes: u64,
    #[serde(rename = "close_lead_ms", deserialize_with = "millis")]
    pub(crate) close_lead: Duration,
    pub(crate) connections_max: usize,
    pub(crate) streams_max: usize,
    #[serde(rename = "request_timeout_ms", deserialize_with = "millis")]
    pub(crate) request_timeout: Duration,
    pub(crate) receipts_per_second: u32,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Human,
}

fn millis<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_millis)
}

fn micros<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_micros)
}

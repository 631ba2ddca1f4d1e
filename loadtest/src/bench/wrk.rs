//! wrk: the client of every comparison, the same for all servers.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use serde::Deserialize;
use tokio::process::Command;

use crate::process;

const VOTE_SCRIPT: &str = include_str!("../../wrk/vote.lua");
const GET_SCRIPT: &str = include_str!("../../wrk/get.lua");

/// wrk's threads: one for each core of the machine the targets were set on.
const THREADS: u32 = 2;
/// What wrk may take beyond the measurement itself.
const GRACE: Duration = Duration::from_secs(30);

/// Whether votes carry a key of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keys {
    /// An `Idempotency-Key` each.
    Unique,
    /// None: the server draws one.
    None,
}

/// Whether connections are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connections {
    /// Each carries request after request.
    Kept,
    /// A new one for every request.
    PerVote,
}

/// What wrk measured.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Measured {
    requests: u64,
    duration_us: u64,
    errors: Errors,
}

/// Requests that brought no success.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Errors {
    connect: u64,
    read: u64,
    write: u64,
    status: u64,
    timeout: u64,
}

impl Measured {
    /// Requests answered with success in a second.
    #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 requests")]
    pub(super) fn per_second(&self) -> f64 {
        let good = self.requests.saturating_sub(self.errors.status);
        good as f64 * 1e6 / (self.duration_us.max(1) as f64)
    }

    /// Requests without success, of whatever kind.
    pub(super) fn failures(&self) -> u64 {
        let e = self.errors;
        e.connect + e.read + e.write + e.status + e.timeout
    }
}

/// wrk with its scripts in a folder.
#[derive(Debug)]
pub(super) struct Wrk {
    folder: PathBuf,
}

impl Wrk {
    /// Writes the scripts to `folder`.
    pub(super) fn new(folder: &Path) -> anyhow::Result<Self> {
        std::fs::write(folder.join("vote.lua"), VOTE_SCRIPT)?;
        std::fs::write(folder.join("get.lua"), GET_SCRIPT)?;
        Ok(Self {
            folder: folder.into(),
        })
    }

    /// Casts votes at `address` for `length` over so many connections.
    pub(super) async fn vote(
        &self,
        address: SocketAddr,
        connections: u32,
        length: Duration,
        keys: Keys,
        kept: Connections,
    ) -> anyhow::Result<Measured> {
        let key = match keys {
            Keys::Unique => "key",
            Keys::None => "no-key",
        };
        let kept = match kept {
            Connections::Kept => "keep-alive",
            Connections::PerVote => "close",
        };
        let run = format!("bench-{:08x}", rand::random::<u32>());
        let url = format!("http://{address}/votar");
        self.run(
            "vote.lua",
            &url,
            connections,
            length,
            &["--", &run, key, kept],
        )
        .await
    }

    /// Reads `path` at `address` likewise.
    pub(super) async fn get(
        &self,
        address: SocketAddr,
        path: &str,
        connections: u32,
        length: Duration,
    ) -> anyhow::Result<Measured> {
        let url = format!("http://{address}{path}");
        self.run("get.lua", &url, connections, length, &[]).await
    }

    async fn run(
        &self,
        script: &str,
        url: &str,
        connections: u32,
        length: Duration,
        arguments: &[&str],
    ) -> anyhow::Result<Measured> {
        let mut command = Command::new("wrk");
        command
            .arg(format!("-t{THREADS}"))
            .arg(format!("-c{connections}"))
            .arg(format!("-d{}s", length.as_secs().max(1)))
            .args(["--timeout", "10s", "-s"])
            .arg(self.folder.join(script))
            .arg(url)
            .args(arguments);
        let ended = process::run("wrk", command, length + GRACE).await?;
        let output = String::from_utf8_lossy(&ended.stdout);
        parse(&output).with_context(|| {
            format!(
                "wrk {url}: {output}{}",
                String::from_utf8_lossy(&ended.stderr)
            )
        })
    }
}

fn parse(output: &str) -> anyhow::Result<Measured> {
    let line = output.lines().find_map(|line| line.strip_prefix("RESULT "));
    Ok(serde_json::from_str(line.context("no result")?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_requests_are_not_throughput() {
        let output = r#"Running 1s test @ http://127.0.0.1:1/votar
RESULT {"requests":1000,"duration_us":2000000,"errors":{"connect":0,"read":1,"write":0,"status":100,"timeout":2}}"#;
        let measured = parse(output).unwrap();
        assert!((measured.per_second() - 450.0).abs() < 1e-9);
        assert_eq!(measured.failures(), 103);
        assert!(parse("unable to connect").is_err());
    }
}

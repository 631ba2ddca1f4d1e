//! The servers that are compared, each started on a free port with as many workers.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::process::Command;

use crate::http::{Connection, Door, Reuse, VoteRequest};
use crate::ports;
use crate::process::Spawned;

const NGINX_204: &str = include_str!("../../servers/nginx-204.conf");
const NGINX_REDIS: &str = include_str!("../../servers/nginx-redis.conf");
const REDIS: &str = include_str!("../../servers/redis.conf");

const START_LIMIT: Duration = Duration::from_secs(20);

/// When Redis syncs its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fsync {
    /// Before it answers: durable as the real vote.
    Always,
    /// Once a second: may lose a second of answered votes.
    EverySecond,
}

impl Fsync {
    fn setting(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::EverySecond => "everysec",
        }
    }
}

/// A server that runs; gone when dropped.
#[derive(Debug)]
pub(super) struct Contestant {
    /// Where it takes votes.
    pub address: SocketAddr,
    processes: Vec<Spawned>,
}

/// Starts contestants in folders below one.
#[derive(Debug)]
pub(super) struct Ring {
    folder: PathBuf,
    workers: u16,
    noop: PathBuf,
}

impl Ring {
    /// A ring below `folder`; `noop` is the no-op's binary.
    pub(super) fn new(folder: &Path, workers: u16, noop: &Path) -> Self {
        Self {
            folder: folder.into(),
            workers,
            noop: noop.into(),
        }
    }

    /// nginx that answers 204.
    pub(super) async fn nginx(&self) -> anyhow::Result<Contestant> {
        let (folder, address) = self.place("nginx-204")?;
        let nginx = self.start_nginx(&folder, address, NGINX_204)?;
        Contestant {
            address,
            processes: vec![nginx],
        }
        .ready()
        .await
    }

    /// nginx with Lua in front of Redis.
    pub(super) async fn redis(&self, fsync: Fsync) -> anyhow::Result<Contestant> {
        let (folder, address) = self.place(&format!("redis-{}", fsync.setting()))?;
        // A socket's path has 107 bytes at most (unix(7)), and this folder may be deep.
        let socket = folder.join("s").to_string_lossy().into_owned();
        let fill = |text: &str| {
            text.replace("@SOCKET@", &socket)
                .replace("@FOLDER@", &folder.to_string_lossy())
                .replace("@FSYNC@", fsync.setting())
        };
        let configuration = folder.join("redis.conf");
        std::fs::write(&configuration, fill(REDIS))?;
        let mut command = Command::new("redis-server");
        command.arg(&configuration);
        let redis = Spawned::start("redis-server", command, &folder.join("redis.log"))?;
        let nginx = self.start_nginx(&folder, address, &fill(NGINX_REDIS))?;
        Contestant {
            address,
            processes: vec![redis, nginx],
        }
        .ready()
        .await
    }

    /// The no-op, answering bodies of so many bytes.
    pub(super) async fn noop(&self, answer_bytes: usize) -> anyhow::Result<Contestant> {
        let (folder, address) = self.place(&format!("noop-{answer_bytes}"))?;
        let mut command = Command::new(&self.noop);
        command
            .args(["--listen", &address.to_string()])
            .args(["--workers", &self.workers.to_string()])
            .args(["--answer-bytes", &answer_bytes.to_string()]);
        let noop = Spawned::start("paredao-noop", command, &folder.join("noop.log"))?;
        Contestant {
            address,
            processes: vec![noop],
        }
        .ready()
        .await
    }

    /// The no-op whose answer has as many bytes on the wire as the answer of `model`.
    pub(super) async fn noop_like(&self, model: SocketAddr) -> anyhow::Result<Contestant> {
        let wanted = answer_bytes(model).await?;
        let trial = self.noop(100).await?;
        let headers = answer_bytes(trial.address).await?.saturating_sub(100);
        drop(trial);
        self.noop(wanted.saturating_sub(headers)).await
    }

    fn place(&self, name: &str) -> anyhow::Result<(PathBuf, SocketAddr)> {
        let folder = self.folder.join(name);
        std::fs::create_dir_all(&folder)?;
        Ok((folder, ports::free()?))
    }

    fn start_nginx(
        &self,
        folder: &Path,
        address: SocketAddr,
        configuration: &str,
    ) -> anyhow::Result<Spawned> {
        let file = folder.join("nginx.conf");
        let filled = configuration
            .replace("@WORKERS@", &self.workers.to_string())
            .replace("@LISTEN@", &address.to_string());
        std::fs::write(&file, filled)?;
        let mut command = Command::new(nginx_binary());
        command.arg("-p").arg(folder).arg("-c").arg(&file);
        if rustix::process::geteuid().is_root() {
            // Else nginx's workers become `nobody`, who may not enter this folder.
            command.args(["-g", "user root;"]);
        }
        Ok(Spawned::start("nginx", command, &folder.join("nginx.log"))?)
    }
}

/// Debian keeps nginx where an ordinary user's path does not lead.
fn nginx_binary() -> &'static str {
    let debian = "/usr/sbin/nginx";
    if Path::new(debian).exists() {
        debian
    } else {
        "nginx"
    }
}

impl Contestant {
    /// Waits until a vote is answered with success.
    async fn ready(mut self) -> anyhow::Result<Self> {
        let began = Instant::now();
        loop {
            for process in &mut self.processes {
                if let Some(status) = process.ended()? {
                    return Err(process.failed(status).into());
                }
            }
            match answer(self.address).await {
                Ok(answer) if answer.status < 300 => return Ok(self),
                last if began.elapsed() > START_LIMIT => bail!("{}: {last:?}", self.address),
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

/// Bytes on the wire that a vote is answered with.
pub(super) async fn answer_bytes(address: SocketAddr) -> anyhow::Result<usize> {
    let answer = answer(address).await.context("a single vote")?;
    anyhow::ensure!(
        answer.status < 300,
        "a single vote was answered {}",
        answer.status
    );
    Ok(answer.wire_bytes)
}

async fn answer(address: SocketAddr) -> anyhow::Result<crate::http::Answer> {
    let limit = Duration::from_secs(5);
    let mut request = VoteRequest::new(&Door::principal(address), Reuse::PerVote);
    let mut connection = Connection::open(address, limit).await?;
    let key = format!("single-{:016x}", rand::random::<u64>());
    Ok(connection.exchange(request.write(&key, 1), limit).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Needs nginx, redis-server and wrk: `make test` installs them.
    #[tokio::test]
    async fn every_contestant_from_debian_answers_votes_as_wrk_sends_them() {
        use crate::bench::wrk::{Connections, Keys, Wrk};

        let folder = tempfile::tempdir().unwrap();
        let ring = Ring::new(folder.path(), 2, Path::new("paredao-noop"));
        let wrk = Wrk::new(folder.path()).unwrap();
        for contestant in [
            ring.nginx().await.unwrap(),
            ring.redis(Fsync::Always).await.unwrap(),
            ring.redis(Fsync::EverySecond).await.unwrap(),
        ] {
            for keys in [Keys::Unique, Keys::None] {
                let length = Duration::from_secs(1);
                let kept = Connections::Kept;
                let voted = wrk
                    .vote(contestant.address, 64, length, keys, kept)
                    .await
                    .unwrap();
                assert_eq!(voted.failures(), 0, "{voted:?}");
                assert!(voted.per_second() > 1000.0, "{voted:?}");
            }
        }
    }
}

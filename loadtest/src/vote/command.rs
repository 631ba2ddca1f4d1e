//! `paredao-loadtest vote`: one run against a server that already listens.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio_util::sync::CancellationToken;

use super::journal::{Journal, NoRecord, Recorder};
use super::load::{Load, drive};
use super::plan::{Candidate, Fraction, VotePlan};
use super::retry::RetryPolicy;
use crate::http::{Door, Reuse};
use crate::schedule::Pace;
use crate::total::Reader;
use crate::verdict::{Expectation, Report, Verified};

/// How long a server may take to apply what it accepted.
const SETTLE_LIMIT: Duration = Duration::from_mins(1);

/// Casts votes and says what became of them.
#[derive(Args, Debug)]
pub struct VoteOptions {
    /// The server; loopback only
    #[arg(long, default_value = "127.0.0.1:8080", value_parser = loopback)]
    address: SocketAddr,
    /// Slug of the poll; the principal poll if absent
    #[arg(long)]
    poll: Option<String>,
    /// Votes per second, due at fixed instants whatever the server does (open loop)
    #[arg(long, default_value_t = 1000.0, value_parser = positive, conflicts_with = "closed")]
    rate: f64,
    /// Each connection votes again as soon as its last vote ended (closed loop)
    #[arg(long)]
    closed: bool,
    /// For how long new votes begin, in seconds
    #[arg(long, default_value_t = 10.0, value_parser = positive)]
    seconds: f64,
    /// Connections, each with one vote under way at most
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    connections: u32,
    /// Connect anew for every vote
    #[arg(long)]
    connect_per_vote: bool,
    /// Candidates voted for, evenly
    #[arg(long, value_delimiter = ',', default_value = "1,2",
          value_parser = clap::value_parser!(u8).range(1..=99))]
    candidates: Vec<Candidate>,
    /// Makes the keys and the choices; drawn at random and printed if absent. The same seed
    /// within the poll's key life is the same votes again
    #[arg(long)]
    seed: Option<u64>,
    /// Fraction of accepted votes sent again with the same key
    #[arg(long, default_value = "0")]
    resend: Fraction,
    /// Fraction of accepted votes sent again with the same key for another candidate
    #[arg(long, default_value = "0")]
    conflict: Fraction,
    /// Requests for one vote at most, the first included; 1 means no retries
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    attempts: u32,
    /// Seconds from a vote's first request after which it is not sent again; keep it below the
    /// key life (180 s by default)
    #[arg(long, default_value_t = 60.0, value_parser = positive)]
    give_up: f64,
    /// Seconds that one request may take
    #[arg(long, default_value_t = 10.0, value_parser = positive)]
    timeout: f64,
    /// Write every vote with its key, outcome and receipt here, one JSON object per line
    #[arg(long, value_name = "FILE")]
    receipts: Option<PathBuf>,
    /// Afterwards wait until nothing is in flight and compare the server's totals with ours;
    /// needs a server started with --public-total, and no other voters
    #[arg(long)]
    verify: bool,
}

/// Accepts addresses on this machine: a load test must not reach anybody else.
pub fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text
        .parse()
        .map_err(|_| format!("{text:?} is not address:port"))?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err("loopback addresses only".to_owned())
    }
}

/// Accepts numbers above zero, up to a billion.
pub fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if number > 0.0 && number <= 1e9 => Ok(number),
        _ => Err(format!(
            "{text:?} is not a number above 0 (and at most 1e9)"
        )),
    }
}

impl VoteOptions {
    fn load(&self) -> Load {
        let seed = self.seed.unwrap_or_else(|| rand::random::<u32>().into());
        Load {
            door: match &self.poll {
                Some(slug) => Door::of_poll(self.address, slug),
                None => Door::principal(self.address),
            },
            connections: self.connections,
            reuse: if self.connect_per_vote {
                Reuse::PerVote
            } else {
                Reuse::KeepAlive
            },
            pace: if self.closed {
                Pace::Closed
            } else {
                Pace::Open(self.rate)
            },
            length: Duration::from_secs_f64(self.seconds),
            first_index: 0,
            plan: VotePlan {
                resend: self.resend,
                conflict: self.conflict,
                ..VotePlan::plain(seed, self.candidates.clone())
            },
            retry: RetryPolicy {
                attempts_max: self.attempts,
                give_up_after: Duration::from_secs_f64(self.give_up),
                answer_limit: Duration::from_secs_f64(self.timeout),
                ..RetryPolicy::patient()
            },
        }
    }

    /// Runs and reports. Fails only when there is nothing to report.
    pub async fn run(&self, stop: CancellationToken) -> anyhow::Result<Report> {
        let load = self.load();
        let (seed, door) = (load.plan.seed, load.door.clone());
        let mut reader = Reader::new(door);
        let before = if self.verify {
            Some(reader.settled(SETTLE_LIMIT).await?)
        } else {
            None
        };

        let journal = self.journal()?;
        let recorder: Arc<dyn Recorder> = match &journal {
            Some(journal) => Arc::<Journal>::clone(journal),
            None => Arc::new(NoRecord),
        };
        let driven = drive(load, recorder, stop).await.context("casting votes")?;
        if let Some(journal) = journal {
            journal.finish().context("writing the receipts")?;
        }

        let report = Report::of(seed, &driven);
        let Some(before) = before else {
            return Ok(report);
        };
        let after = reader.settled(SETTLE_LIMIT).await?;
        let violations = Expectation::of(&driven.tally).check(&before, &after);
        Ok(report.verified(Verified::between(&before, &after), &violations))
    }

    fn journal(&self) -> anyhow::Result<Option<Arc<Journal>>> {
        let Some(path) = &self.receipts else {
            return Ok(None);
        };
        let journal = Journal::create(path).with_context(|| path.display().to_string())?;
        Ok(Some(Arc::new(journal)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_loopback_is_loaded() {
        assert!(loopback("127.0.0.1:80").is_ok() && loopback("[::1]:80").is_ok());
        for other in ["192.0.2.1:80", "0.0.0.0:80", "localhost:80", "127.0.0.1"] {
            assert!(loopback(other).is_err(), "{other}");
        }
    }

    #[test]
    fn rates_and_times_are_positive_and_bounded() {
        assert_eq!(positive("0.5"), Ok(0.5));
        for bad in ["0", "-1", "NaN", "inf", "1e10"] {
            assert!(positive(bad).is_err(), "{bad}");
        }
    }
}

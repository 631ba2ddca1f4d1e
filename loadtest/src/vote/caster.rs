//! Casting one copy of a vote: sends it, with the same key, until it is answered.

use std::time::{Duration, Instant};

use rand::rngs::SmallRng;

use super::outcome::{Outcome, Reason, Stored, Verdict};
use super::plan::Candidate;
use super::retry::RetryPolicy;
use crate::http::{Answer, Connection, Door, ExchangeError, Reuse, VoteRequest};

/// One connection, and the patience to use it.
#[derive(Debug)]
pub struct Caster {
    door: Door,
    reuse: Reuse,
    retry: RetryPolicy,
    connection: Option<Connection>,
    request: VoteRequest,
    dice: SmallRng,
}

/// The end of one copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How it ended.
    pub outcome: Outcome,
    /// Requests it took.
    pub attempts: u32,
    /// Requests among them that may have stored a copy without saying so.
    pub unsure: u32,
}

/// One request that was not answered with success.
#[derive(Clone, Debug)]
pub struct Setback {
    /// Status and problem type, or what broke.
    pub reason: Reason,
    /// How long the server asks to wait, if it does.
    pub asked: Option<Duration>,
    /// From the attempt's start.
    pub took: Duration,
}

impl Caster {
    /// A caster at `door`.
    pub fn new(door: Door, reuse: Reuse, retry: RetryPolicy, dice: SmallRng) -> Self {
        let request = VoteRequest::new(&door, reuse);
        Self {
            door,
            reuse,
            retry,
            connection: None,
            request,
            dice,
        }
    }

    /// Uses a connection opened beforehand.
    #[must_use]
    pub fn with_connection(mut self, connection: Option<Connection>) -> Self {
        self.connection = connection;
        self
    }

    /// Sends one copy until it is answered or patience ends. The first attempt is timed from
    /// `since`, each other from its sending.
    pub async fn cast(
        &mut self,
        key: &str,
        candidate: Candidate,
        since: Instant,
        on_setback: impl Fn(&Setback),
    ) -> Ended {
        let first_sent = Instant::now();
        let (mut attempts, mut unsure) = (0, 0);
        let mut began = since;
        let outcome = loop {
            attempts += 1;
            let verdict = self.attempt(key, candidate).await;
            let setback = |reason, asked| Setback {
                reason,
                asked,
                took: began.elapsed(),
            };
            match verdict {
                Verdict::Accepted(receipt) => break Outcome::Accepted(receipt),
                Verdict::Never(reason) => {
                    on_setback(&setback(reason.clone(), None));
                    break given_up(reason, unsure);
                }
                Verdict::Later {
                    reason,
                    wait: asked,
                    stored,
                } => {
                    unsure += u32::from(stored == Stored::Perhaps);
                    on_setback(&setback(reason.clone(), asked));
                    let elapsed = first_sent.elapsed();
                    match self.retry.wait(attempts, elapsed, asked, &mut self.dice) {
                        Some(wait) => tokio::time::sleep(wait).await,
                        None => break given_up(reason, unsure),
                    }
                }
            }
            began = Instant::now();
        };
        Ended {
            outcome,
            attempts,
            unsure,
        }
    }

    async fn attempt(&mut self, key: &str, candidate: Candidate) -> Verdict {
        match self.exchange(key, candidate).await {
            Ok(answer) => {
                if answer.closes || self.reuse == Reuse::PerVote {
                    self.connection = None;
                }
                Verdict::of(&answer)
            }
            Err(error) => {
                self.connection = None;
                let stored = if error.never_sent() {
                    Stored::No
                } else {
                    Stored::Perhaps
                };
                Verdict::Later {
                    reason: Reason(error.reason().into()),
                    wait: None,
                    stored,
                }
            }
        }
    }

    async fn exchange(&mut self, key: &str, candidate: Candidate) -> Result<Answer, ExchangeError> {
        let limit = self.retry.answer_limit;
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(Connection::open(self.door.address, limit).await?),
        };
        connection
            .exchange(self.request.write(key, candidate), limit)
            .await
    }
}

/// What a copy is that was not accepted, after so many requests that may have stored it.
fn given_up(reason: Reason, unsure: u32) -> Outcome {
    match unsure {
        0 => Outcome::Refused(reason),
        _ => Outcome::Unknown(reason),
    }
}

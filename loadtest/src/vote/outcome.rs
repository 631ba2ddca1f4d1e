//! What became of a vote, as the one who cast it knows.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::plan::{Candidate, PlannedVote};
use crate::http::Answer;

/// What the server gave for an accepted vote.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Receipt(pub String);

/// Why a vote was not accepted: status and problem type, or what broke.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Reason(pub Cow<'static, str>);

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The end of one copy of a vote, after all its retries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered 200: from now on the server must account for it.
    Accepted(Receipt),
    /// Refused, and certainly not stored by any attempt.
    Refused(Reason),
    /// Given up while some attempt may have been stored.
    Unknown(Reason),
}

/// What one answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// 200 with a receipt.
    Accepted(Receipt),
    /// Come back later with the same key.
    Later {
        /// Status and problem type.
        reason: Reason,
        /// How long the server asks to wait.
        wait: Option<Duration>,
        /// Whether this attempt may have been stored.
        stored: Stored,
    },
    /// Never with this request.
    Never(Reason),
}

/// Whether an attempt that was not accepted may have left a vote behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Certainly not.
    No,
    /// Perhaps: sending the same key again is the only way to know.
    Perhaps,
}

#[derive(Deserialize)]
struct AcceptedBody {
    recibo: String,
}

#[derive(Deserialize)]
struct ProblemBody {
    #[serde(rename = "type")]
    kind: String,
    retry_after_ms: Option<u64>,
}

impl Verdict {
    /// Reads an answer to `POST /votar`.
    pub fn of(answer: &Answer) -> Self {
        match answer.status {
            200 => Self::of_success(&answer.body),
            429 | 502..=504 => Self::of_refusal(answer),
            _ => Self::Never(reason(answer.status, problem(&answer.body).as_ref())),
        }
    }

    fn of_success(body: &[u8]) -> Self {
        match serde_json::from_slice::<AcceptedBody>(body) {
            Ok(accepted) => Self::Accepted(Receipt(accepted.recibo)),
            // A success that cannot be shown to anybody is worse than none: it must stand out.
            Err(_) => Self::Never(Reason(Cow::Borrowed("200 without receipt"))),
        }
    }

    fn of_refusal(answer: &Answer) -> Self {
        let problem = problem(&answer.body);
        let wait_ms = problem.as_ref().and_then(|p| p.retry_after_ms);
        let wait = wait_ms
            .map(Duration::from_millis)
            .or(answer.retry_after_s.map(|s| Duration::from_secs(s.into())));
        let turned_away = matches!(slug(problem.as_ref()), "overloaded" | "not-ready");
        let stored = if turned_away || answer.status == 429 {
            Stored::No
        } else {
            Stored::Perhaps
        };
        Self::Later {
            reason: reason(answer.status, problem.as_ref()),
            wait,
            stored,
        }
    }
}

fn problem(body: &[u8]) -> Option<ProblemBody> {
    serde_json::from_slice(body).ok()
}

fn slug(problem: Option<&ProblemBody>) -> &str {
    problem.map_or("", |p| p.kind.rsplit('/').next().unwrap_or_default())
}

fn reason(status: u16, problem: Option<&ProblemBody>) -> Reason {
    let slug = slug(problem);
    Reason(Cow::Owned(format!("{status} {slug}").trim_end().to_owned()))
}

/// One more copy of an accepted vote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResentCopy {
    /// For whom this copy was.
    pub candidate: Candidate,
    /// What became of it.
    pub outcome: Outcome,
    /// Requests that may have stored a further copy without saying so.
    pub unsure: u32,
}

/// A vote whose story is over, as far as this run tells it.
#[derive(Clone, Debug)]
pub struct SettledVote {
    /// What was planned.
    pub planned: PlannedVote,
    /// What became of the first copy.
    pub outcome: Outcome,
    /// Requests it took, the resent copies not included.
    pub attempts: u32,
    /// Copies sent after acceptance.
    pub copies: Vec<ResentCopy>,
    /// When it was due.
    pub intended: Instant,
    /// From then to the first copy's outcome.
    pub took: Duration,
}

impl SettledVote {
    /// The first copy's receipt and those of all resent copies that were accepted.
    pub fn receipts(&self) -> impl Iterator<Item = &Receipt> {
        let outcomes = std::iter::once(&self.outcome).chain(self.copies.iter().map(|c| &c.outcome));
        outcomes.filter_map(|outcome| match outcome {
            Outcome::Accepted(receipt) => Some(receipt),
            Outcome::Refused(_) | Outcome::Unknown(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, retry_after_s: Option<u32>, body: &str) -> Answer {
        Answer {
            status,
            retry_after_s,
            closes: false,
            wire_bytes: 0,
            body: body.as_bytes().to_vec().into(),
        }
    }

    #[test]
    fn success_needs_a_receipt() {
        let good = answer(200, None, r#"{"recibo":"abc","numero":1,"parciais":null}"#);
        assert_eq!(Verdict::of(&good), Verdict::Accepted(Receipt("abc".into())));
        assert!(matches!(
            Verdict::of(&answer(200, None, "{}")),
            Verdict::Never(_)
        ));
    }

    #[test]
    fn only_an_overload_promises_that_nothing_was_stored() {
        let problem =
            |slug: &str| format!(r#"{{"type":"/problemas/{slug}","retry_after_ms":1500}}"#);
        for (slug, expected) in [
            ("overloaded", Stored::No),
            ("log-unavailable", Stored::Perhaps),
            ("outcome-unknown", Stored::Perhaps),
            ("shutting-down", Stored::Perhaps),
        ] {
            let Verdict::Later {
                reason,
                wait,
                stored,
            } = Verdict::of(&answer(503, Some(2), &problem(slug)))
            else {
                panic!("{slug} can be retried");
            };
            assert_eq!(stored, expected, "{slug}");
            assert_eq!(reason.0, format!("503 {slug}"));
            assert_eq!(wait, Some(Duration::from_millis(1500)));
        }
    }

    #[test]
    fn a_proxy_that_knows_no_problem_documents_is_retried_after_its_header() {
        let later = Verdict::of(&answer(502, Some(3), "<html>"));
        let expected = Verdict::Later {
            reason: Reason("502".into()),
            wait: Some(Duration::from_secs(3)),
            stored: Stored::Perhaps,
        };
        assert_eq!(later, expected);
    }

    #[test]
    fn what_the_client_did_wrong_is_not_retried() {
        let closed = answer(409, None, r#"{"type":"/problemas/poll-not-open"}"#);
        assert_eq!(
            Verdict::of(&closed),
            Verdict::Never(Reason("409 poll-not-open".into()))
        );
    }
}

//! Every value that a label can have. A label takes its values from an enum and from nothing
//! else, so the number of series is known when the program is compiled.

/// A closed set of label values.
pub trait Label: Copy + 'static {
    /// The label's name.
    const NAME: &'static str;
    /// All values, in the order of [`Label::position`].
    const ALL: &'static [Self];

    /// What stands in the exposition.
    fn value(self) -> &'static str;

    /// Its place in [`Label::ALL`].
    fn position(self) -> usize;
}

/// Writes the enum and its [`Label`] from one list, so that they cannot disagree.
macro_rules! labels {
    ($(#[$about:meta])* $name:ident as $label:literal {
        $($(#[$doc:meta])* $variant:ident = $value:literal,)+
    }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum $name {
            $($(#[$doc])* #[doc = concat!("(`", $value, "`)")] $variant,)+
        }

        impl Label for $name {
            const NAME: &'static str = $label;
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            fn value(self) -> &'static str {
                match self { $(Self::$variant => $value),+ }
            }

            fn position(self) -> usize {
                self as usize
            }
        }
    };
}

labels! {
    /// A route: the pattern under which it is registered, never the path that was asked for.
    Route as "route" {
        Vote = "/votar",
        VoteNumber = "/votar/{n}",
        Home = "/",
        Partials = "/parcial",
        Events = "/eventos",
        Results = "/resultado",
        Receipt = "/recibo/{receipt}",
        Total = "/total",
        Panel = "/painel",
        Admin = "/admin",
        Static = "/static/{file}",
        PollHome = "/p/{poll}/",
        PollVote = "/p/{poll}/votar",
        PollVoteNumber = "/p/{poll}/votar/{n}",
        PollPartials = "/p/{poll}/parcial",
        PollEvents = "/p/{poll}/eventos",
        PollResults = "/p/{poll}/resultado",
        PollReceipt = "/p/{poll}/recibo/{receipt}",
        PollTotal = "/p/{poll}/total",
        Live = "/live",
        Ready = "/ready",
        Version = "/version",
        OpenApi = "/openapi.json",
        Swagger = "/swagger/{file}",
        OldHome = "/index.html",
        OldResults = "/resultado.html",
        OldPanel = "/painel.html",
        /// Whatever no pattern matches.
        Unmatched = "unmatched",
    }
}

impl Route {
    /// The route of a registered pattern; [`Route::Unmatched`] for everything else.
    pub fn of_pattern(pattern: &str) -> Self {
        let known = Self::ALL.iter().find(|route| route.value() == pattern);
        known.copied().unwrap_or(Self::Unmatched)
    }
}

labels! {
    /// The first digit of a status code.
    StatusClass as "status" {
        Informational = "1xx",
        Success = "2xx",
        Redirection = "3xx",
        ClientError = "4xx",
        ServerError = "5xx",
    }
}

impl StatusClass {
    /// The class of a status code (RFC 9110, section 15); an unknown first digit counts as ours.
    pub fn of(status: u16) -> Self {
        match status {
            100..=199 => Self::Informational,
            200..=299 => Self::Success,
            300..=399 => Self::Redirection,
            400..=499 => Self::ClientError,
            _ => Self::ServerError,
        }
    }
}

labels! {
    /// Why a connection ended.
    ConnectionFailure as "reason" {
        /// What came was no HTTP, or a head beyond all limits.
        NotHttp = "not_http",
        /// The client stopped halfway, or no longer read.
        Stalled = "stalled",
        /// It was broken off.
        Broken = "broken",
    }
}

labels! {
    /// How a request to vote ended.
    VoteOutcome as "outcome" {
        /// Durable, answered with a receipt.
        Accepted = "accepted",
        /// The body or the path is no vote.
        Malformed = "malformed",
        /// The poll has no candidate of that number.
        UnknownCandidate = "unknown_candidate",
        /// There is no such poll.
        UnknownPoll = "unknown_poll",
        /// The poll takes no votes now.
        NotOpen = "not_open",
        /// The `Idempotency-Key` breaks its rules.
        InvalidKey = "invalid_key",
        /// The body is over the limit.
        TooLarge = "too_large",
        /// The body is of another content type.
        UnsupportedMediaType = "unsupported_media_type",
        /// As many votes wait as may.
        Overloaded = "overloaded",
        /// The log takes nothing at present.
        LogUnavailable = "log_unavailable",
        /// The log did not confirm in time; the vote may be stored.
        OutcomeUnknown = "outcome_unknown",
        /// The process is stopping.
        ShuttingDown = "shutting_down",
    }
}

labels! {
    /// A part of a vote's way through the API.
    Stage as "stage" {
        /// From acceptance until its batch was cut.
        QueueWait = "queue_wait",
        /// From cut until the batch was durable or had failed.
        Append = "append",
        /// From durable until everybody who waited was woken.
        Answer = "answer",
    }
}

labels! {
    /// Why an append failed.
    AppendFailure as "kind" {
        /// The log took nothing: disk full, broken or away.
        Unavailable = "unavailable",
        /// The log was being closed.
        Closed = "closed",
    }
}

labels! {
    /// Where a vote of an applied batch ended.
    Account as "account" {
        /// In the totals.
        Counted = "counted",
        /// A copy of one that stands.
        Duplicate = "duplicate",
        /// A copy of one that stands, for another candidate.
        KeyConflict = "key_conflict",
        /// Accepted after the end by an API that had not heard of it.
        AfterClose = "after_close",
        /// Came when the result was final.
        Late = "late",
    }
}

labels! {
    /// A term of the conservation law.
    Term as "term" {
        /// Cut into batches, less `unanswered`.
        Accepted = "accepted",
        /// In the totals.
        Counted = "counted",
        /// Copies of one that stands.
        Duplicate = "duplicate",
        /// Copies of one that stands, for another candidate.
        KeyConflict = "key_conflict",
        /// Quarantined: accepted after the end.
        AfterClose = "after_close",
        /// Came when the result was final.
        Late = "late",
        /// In dead letters that were not requeued.
        DeadLettered = "dead_lettered",
        /// Confirmed and never come.
        Missing = "missing",
        /// Cut by an incarnation that died, answered to nobody; not in the sum.
        Unanswered = "unanswered",
        /// In the log, not applied yet.
        InFlight = "in_flight",
    }
}

labels! {
    /// Where a poll stands.
    PollState as "state" {
        /// Not yet open.
        Scheduled = "scheduled",
        /// Taking votes.
        Open = "open",
        /// Past its end, not yet final.
        Closed = "closed",
        /// Its result no longer changes.
        Final = "final",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn check<L: Label>() {
        let values: HashSet<_> = L::ALL.iter().map(|label| label.value()).collect();
        assert_eq!(values.len(), L::ALL.len(), "{} repeats a value", L::NAME);
        for (place, label) in L::ALL.iter().enumerate() {
            assert_eq!(label.position(), place);
        }
    }

    #[test]
    fn no_label_repeats_a_value_and_positions_follow_the_list() {
        check::<Route>();
        check::<StatusClass>();
        check::<ConnectionFailure>();
        check::<VoteOutcome>();
        check::<Stage>();
        check::<AppendFailure>();
        check::<Account>();
        check::<Term>();
        check::<PollState>();
    }

    #[test]
    fn every_status_has_the_class_of_its_first_digit() {
        let expected = [
            (100, "1xx"),
            (204, "2xx"),
            (308, "3xx"),
            (429, "4xx"),
            (503, "5xx"),
        ];
        for (status, class) in expected {
            assert_eq!(StatusClass::of(status).value(), class);
        }
        assert_eq!(StatusClass::of(0), StatusClass::ServerError);
        assert_eq!(StatusClass::of(999), StatusClass::ServerError);
    }
}

//! The pages voters see, as HTML text. They are filled from plain values and know no HTTP.
//!
//! | route | call |
//! |---|---|
//! | `GET /`, `GET /p/{poll}/` | [`vote`] with the poll, whatever its state; [`no_poll`] when none exists |
//! | `GET /resultado`, `GET /p/{poll}/resultado` | [`results`]; [`no_poll`] when none exists |
//! | any other page route | [`not_found`] |
//!
//! Answer them with [`CONTENT_TYPE`], [`CONTENT_SECURITY_POLICY`] and [`CACHE_CONTROL`].
//! Nothing in them is inline, so the policy needs neither a nonce nor `unsafe-inline`. Their
//! styles and modules are in [`assets`]; the templates are in `frontend/templates`.
//!
//! A page never shows exact numbers before the result is final.

use askama::Template;
use paredao_domain::{Percentage, PollState, Slug, UnixMillis, UtcOffset};

use crate::assets;

mod context;

use context::PollContext;

/// Media type of every page.
pub const CONTENT_TYPE: &str = "text/html; charset=utf-8";

/// What the pages may load: their own host's files and nothing else.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; \
    style-src 'self'; font-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A page carries the state of its poll and the server's time, so no copy of it may be shown.
pub const CACHE_CONTROL: &str = "no-store";

/// What the voting is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// A real voting.
    OnAir,
    /// `--demo`: the pages carry a ribbon that says so.
    Demonstration,
}

/// One candidate, in the poll's order.
#[derive(Clone, Copy, Debug)]
pub struct CandidateView<'a> {
    /// The number voters tap, 1 to 99.
    pub number: u8,
    /// As production spells it.
    pub name: &'a str,
    /// Share of the votes so far (0.00 without votes).
    pub percentage: Percentage,
    /// Votes so far. Written to a page only when the poll is [`PollState::Final`].
    pub votes: u64,
}

/// A poll that a page leads to.
#[derive(Clone, Copy, Debug)]
pub struct OtherPoll<'a> {
    /// Its name in addresses.
    pub slug: &'a Slug,
    /// Its question.
    pub title: &'a str,
}

/// A poll as its pages show it, filled from one snapshot.
#[derive(Clone, Debug)]
pub struct PollView<'a> {
    /// Its name in addresses. Everything a page links to, asks for and sends names the poll it
    /// shows, whatever address served it: what the bare addresses mean may change while it is open.
    pub slug: &'a Slug,
    /// The question, as production wrote it.
    pub title: &'a str,
    /// Where the poll stands at `now`.
    pub state: PollState,
    /// Candidates in the poll's order.
    pub candidates: Vec<CandidateView<'a>>,
    /// When it opens, if that is known.
    pub opens_at: Option<UnixMillis>,
    /// When it closes (or closed), if that is known.
    pub closes_at: Option<UnixMillis>,
    /// The instant the numbers are of (`dados_de`).
    pub data_as_of: UnixMillis,
    /// The server's clock while rendering; the page measures ages and countdowns against it.
    pub now: UnixMillis,
    /// The offset in which times are shown.
    pub offset: UtcOffset,
    /// What the voting is for.
    pub occasion: Occasion,
    /// A poll that takes votes now. Offered while this one takes none.
    pub elsewhere: Option<OtherPoll<'a>>,
}

/// The vote page: the wall of candidates while the poll is open, else a notice of what it waits
/// for or where the result is.
pub fn vote(poll: &PollView<'_>) -> askama::Result<String> {
    VotePage {
        files: assets::prefix(),
        poll: PollContext::new(poll),
    }
    .render()
}

/// The results page. It works without JavaScript: its numbers are those of the snapshot, exact
/// ones when the poll is final.
pub fn results(poll: &PollView<'_>) -> askama::Result<String> {
    ResultsPage {
        files: assets::prefix(),
        poll: PollContext::new(poll),
    }
    .render()
}

/// For poll routes while no poll exists: says so to voters, and to the operator how to make one.
/// Status 404.
pub fn no_poll() -> askama::Result<String> {
    NoPollPage {
        files: assets::prefix(),
    }
    .render()
}

/// For page addresses that lead nowhere, also those of unknown polls. Status 404.
pub fn not_found() -> askama::Result<String> {
    NotFoundPage {
        files: assets::prefix(),
    }
    .render()
}

/// Modules that `vote.js` imports, announced so that the browser need not discover them one
/// after the other.
const VOTE_MODULES: [&str; 10] = [
    "ballot.js",
    "clock.js",
    "countdown.js",
    "elsewhere.js",
    "format.js",
    "partials.js",
    "poll.js",
    "receipt.js",
    "retry.js",
    "wording.js",
];

/// Modules that `results.js` imports.
const RESULTS_MODULES: [&str; 8] = [
    "clock.js",
    "elsewhere.js",
    "format.js",
    "freshness.js",
    "live.js",
    "partials.js",
    "poll.js",
    "retry.js",
];

#[derive(Template)]
#[template(path = "vote.html")]
struct VotePage<'a> {
    files: &'static str,
    poll: PollContext<'a>,
}

#[derive(Template)]
#[template(path = "results.html")]
struct ResultsPage<'a> {
    files: &'static str,
    poll: PollContext<'a>,
}

#[derive(Template)]
#[template(path = "no-poll.html")]
struct NoPollPage {
    files: &'static str,
}

#[derive(Template)]
#[template(path = "not-found.html")]
struct NotFoundPage {
    files: &'static str,
}

#[cfg(test)]
mod tests;

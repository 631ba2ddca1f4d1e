//! Answers as people and programs read them.

mod table;

use std::fmt::Write as _;

use serde::Serialize;

use crate::control::protocol::{
    DeadLetterReport, HealthReport, LossReport, PollReport, PollWord, RecountReport, Reply, Task,
    VoteLogReport,
};
use table::Table;

/// How an answer looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// What is worth saying of a poll besides what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Emphasis {
    Created,
    Opened,
    Closed,
    Extended,
    Shown,
}

/// Prints the answer to a task.
pub(super) struct Print {
    emphasis: Emphasis,
    shape: Shape,
}

impl Print {
    /// For the answer to `task`.
    pub(super) fn new(task: &Task, shape: Shape) -> Self {
        let emphasis = match task {
            Task::CreatePoll(_) => Emphasis::Created,
            Task::OpenPoll(_) => Emphasis::Opened,
            Task::ClosePoll(_) => Emphasis::Closed,
            Task::ExtendPoll { .. } => Emphasis::Extended,
            _ => Emphasis::Shown,
        };
        Self { emphasis, shape }
    }

    /// The answer as text that ends with a line's end.
    pub(super) fn text(&self, reply: &Reply) -> String {
        match self.shape {
            Shape::Json => json(reply),
            Shape::Table => match reply {
                Reply::Poll(poll) => self.poll(poll),
                Reply::Polls(polls) => list_of_polls(polls),
                Reply::VoteLog(log) => vote_log(log),
                Reply::Losses(losses) => list_of_losses(losses),
                Reply::DeadLetters(letters) => list_of_dead_letters(letters),
                Reply::DeadLetter(letter) => dead_letter(letter),
                Reply::Recount(report) => recount(report),
                Reply::Health(report) => health(report),
                Reply::Said(sentence) => format!("{sentence}\n"),
            },
        }
    }

    fn poll(&self, poll: &PollReport) -> String {
        let slug = &poll.slug;
        match self.emphasis {
            Emphasis::Shown => show_poll(poll),
            Emphasis::Created => format!(
                "poll {slug} is created ({})\n  vote     {}\n  results  {}\n{}",
                poll.state.as_str(),
                poll.vote_page,
                poll.results_page,
                what_next(poll),
            ),
            Emphasis::Opened => format!("poll {slug} is open: {}\n", poll.vote_page),
            Emphasis::Closed => closed(poll),
            Emphasis::Extended => format!(
                "poll {slug} now closes at {}\n",
                or_dash(poll.closes_at.as_deref())
            ),
        }
    }
}

/// The JSON of an answer, without the name of its kind: whoever asked knows it.
fn json(reply: &Reply) -> String {
    fn pretty(value: &impl Serialize) -> String {
        // Reports hold only what JSON can.
        serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
    }
    match reply {
        Reply::Poll(poll) => pretty(poll),
        Reply::Polls(polls) => pretty(polls),
        Reply::VoteLog(log) => pretty(log),
        Reply::Losses(losses) => pretty(losses),
        Reply::DeadLetters(letters) => pretty(letters),
        Reply::DeadLetter(letter) => pretty(letter),
        Reply::Recount(report) => pretty(report),
        Reply::Health(report) => pretty(report),
        Reply::Said(sentence) => pretty(sentence),
    }
}

fn what_next(poll: &PollReport) -> String {
    match (poll.state, &poll.opens_at) {
        (PollWord::Scheduled, Some(opens_at)) => format!("it opens by itself at {opens_at}\n"),
        (PollWord::Scheduled, None) => format!("open it with: paredao poll open {}\n", poll.slug),
        _ => String::new(),
    }
}

fn closed(poll: &PollReport) -> String {
    let seconds = poll.closes_in_ms.map_or(0, |ms| (ms + 999) / 1_000);
    format!(
        "poll {slug} closes at {at}, in about {seconds} s\n\
         until everything accepted by then is counted, its result is partial: see `paredao poll show {slug}`\n",
        slug = poll.slug,
        at = or_dash(poll.closes_at.as_deref()),
    )
}

fn or_dash(text: Option<&str>) -> &str {
    text.unwrap_or("-")
}

fn list_of_polls(polls: &[PollReport]) -> String {
    if polls.is_empty() {
        return "no polls: `paredao poll create FILE` makes one\n".to_owned();
    }
    let mut table = Table::new(["slug", "state", "votes", "opens", "closes", "title"]);
    for poll in polls {
        table.row([
            poll.slug.as_str(),
            poll.state.as_str(),
            &poll.total.to_string(),
            or_dash(poll.opens_at.as_deref()),
            or_dash(poll.closes_at.as_deref()),
            &poll.title,
        ]);
    }
    table.text()
}

fn show_poll(poll: &PollReport) -> String {
    let mut out = format!("{} ({}): {}\n", poll.slug, poll.state.as_str(), poll.title);
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(out, "  {name:9}{value}");
    };
    line("opens", or_dash(poll.opens_at.as_deref()));
    line("closes", or_dash(poll.closes_at.as_deref()));
    line("vote", &poll.vote_page);
    line("results", &poll.results_page);
    let mut table = Table::new(["candidate", "name", "votes", "%"]);
    for candidate in &poll.candidates {
        let (number, votes) = (candidate.number.to_string(), candidate.votes.to_string());
        table.row([number.as_str(), &candidate.name, &votes, &candidate.percent]);
    }
    table.row(["", "total", &poll.total.to_string(), ""]);
    let _ = write!(
        out,
        "\n{}\n{}\n{}",
        table.text(),
        accounts(poll),
        finality(poll)
    );
    out
}

fn accounts(poll: &PollReport) -> String {
    let accounts = &poll.accounts;
    format!(
        "counted {}, duplicates {}, key conflicts {}, after the end {}, late {}, in dead letters {}",
        accounts.counted,
        accounts.duplicate,
        accounts.key_conflict,
        accounts.after_close,
        accounts.late,
        poll.dead_lettered,
    )
}

fn finality(poll: &PollReport) -> String {
    if let Some(at) = &poll.final_at {
        return format!("the result is final since {at}\n");
    }
    let mut out = "the result is partial:\n".to_owned();
    poll.not_final_because.iter().for_each(|reason| {
        let _ = writeln!(out, "  {reason}");
    });
    out
}

fn vote_log(log: &VoteLogReport) -> String {
    format!(
        "waiting   {} votes in {} batches\noldest    {}\nkept      {} bytes, applied batches included\ndamaged   {} regions found since it was opened\nmissing   {}\nconsumer  {}\n",
        log.votes,
        log.batches,
        or_dash(log.oldest.as_deref()),
        log.bytes,
        log.damaged,
        missing(log.losses_undecided),
        if log.consumed { "at work" } else { "none" },
    )
}

fn missing(losses: u64) -> String {
    if losses == 0 {
        return "nothing that was not written off".to_owned();
    }
    format!("{losses} losses wait for a decision: see `paredao vote-log missing`")
}

fn list_of_losses(losses: &[LossReport]) -> String {
    if losses.is_empty() {
        return "nothing is missing\n".to_owned();
    }
    let mut table = Table::new([
        "incarnation",
        "numbers",
        "votes",
        "accepted until",
        "written off because",
    ]);
    for loss in losses {
        table.row([
            loss.incarnation.as_deref().unwrap_or("(files of the log)"),
            &format!("{} to {}", loss.first, loss.last),
            &loss.votes.map_or("?".to_owned(), |votes| votes.to_string()),
            &loss.accepted_until,
            or_dash(loss.written_off_because.as_deref()),
        ]);
    }
    table.text()
}

fn list_of_dead_letters(letters: &[DeadLetterReport]) -> String {
    if letters.is_empty() {
        return "no dead letters\n".to_owned();
    }
    let mut table = Table::new(["number", "state", "votes", "poll", "since", "reason"]);
    for letter in letters {
        table.row([
            letter.number.to_string().as_str(),
            letter.state.as_str(),
            &letter.votes.to_string(),
            or_dash(letter.poll.as_deref()),
            &letter.at,
            &letter.reason,
        ]);
    }
    table.text()
}

fn dead_letter(letter: &DeadLetterReport) -> String {
    let mut out = format!(
        "dead letter {} ({})\n",
        letter.number,
        letter.state.as_str()
    );
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(out, "  {name:9}{value}");
    };
    line("since", &letter.at);
    line("reason", &letter.reason);
    if let Some(reason) = &letter.written_off_because {
        line("given up", reason);
    }
    line("poll", or_dash(letter.poll.as_deref()));
    line("batch", or_dash(letter.batch.as_deref()));
    line("votes", &letter.votes.to_string());
    line("bytes", &letter.bytes.to_string());
    if let Some(body) = &letter.body_hex {
        let _ = writeln!(out, "{body}");
    }
    out
}

fn recount(report: &RecountReport) -> String {
    let read = format!(
        "{} votes in {} ledger entries of {} polls read in {} ms",
        report.votes, report.entries, report.polls, report.took_ms,
    );
    let differences = report.differences.len() as u64 + report.further_differences;
    if differences == 0 {
        return format!(
            "{read}\nledger and totals agree to the vote: {} counted\n",
            report.counted
        );
    }
    let mut out = format!("{read}\nledger and totals differ in {differences} places:\n");
    report.differences.iter().for_each(|difference| {
        let _ = writeln!(out, "  {difference}");
    });
    if report.further_differences > 0 {
        let _ = writeln!(out, "  … and {} more", report.further_differences);
    }
    out
}

fn health(report: &HealthReport) -> String {
    if report.ready {
        return "ready\n".to_owned();
    }
    let stopping = if report.stopping {
        "stopping"
    } else {
        "not ready"
    };
    report
        .unready
        .iter()
        .fold(format!("{stopping}\n"), |text, reason| {
            format!("{text}  {reason}\n")
        })
}

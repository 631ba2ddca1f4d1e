//! The command line.

#![expect(
    clippy::doc_markdown,
    reason = "doc comments here are help texts, read on a terminal"
)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use jiff::SignedDuration;
use paredao_domain::{Incarnation, Slug, UnixMillis};

use crate::config::{PLACE_HEADING, PlaceFlags, ServeFlags};
use crate::output;

const EXIT_STATUS: &str = "\
Exit status: 0 done; 1 an operation or a check failed; 2 wrong usage or configuration;
130 a second Ctrl-C.

Settings come from a TOML file, then from the environment (PAREDAO_…), then from flags; the later
one wins. `paredao config` shows what is in force and where each value comes from.";

/// Votes for prime-time television, counted exactly once.
#[derive(Debug, Parser)]
#[command(name = "paredao", version, after_help = EXIT_STATUS, disable_help_subcommand = true)]
#[command(max_term_width = 100)]
pub(crate) struct Cli {
    /// The configuration file [default: ./paredao.toml, if it exists] [env: PAREDAO_CONFIG]
    #[arg(long, global = true, value_name = "FILE", help_heading = PLACE_HEADING)]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) place: PlaceFlags,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve voters: everything in one process, nothing else installed
    ///
    /// Data live in one folder. Ctrl-C drains and exits 0; so does SIGTERM, after serving on for
    /// drain_ms. A second start goes on where the first ended.
    Serve(ServeFlags),
    /// Show the configuration in force, and where each value comes from
    Config(ConfigArgs),
    /// Create, open, close, extend and look at polls
    #[command(subcommand)]
    Poll(PollCommand),
    /// Look at the durable queue between the API and the ledger, and give up what it lost
    #[command(subcommand)]
    VoteLog(VoteLogCommand),
    /// Decide about batches that could not be applied
    ///
    /// They keep the result of their poll from becoming final.
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
    /// Compute the totals again from the ledger, and compare
    ///
    /// Exit status 0 if they agree to the vote, 1 with the differences if they do not.
    Recount(RecountArgs),
    /// Ask the running process whether it is ready
    ///
    /// For the health check of a container: exit status 0 if it is, 1 with the reason if not.
    Health(JsonArg),
    /// Change what the running process logs
    #[command(subcommand)]
    Logging(LoggingCommand),
}

/// Output for programs.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct JsonArg {
    /// Print JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,
}

/// What `config` shows.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    #[command(flatten)]
    pub(crate) flags: ServeFlags,
    /// Print a complete sample file instead: every key, its default and what it does
    #[arg(long, conflicts_with = "json")]
    pub(crate) example: bool,
    #[command(flatten)]
    pub(crate) json: JsonArg,
}

/// What to do with polls.
#[derive(Debug, Subcommand)]
pub(crate) enum PollCommand {
    /// Create a poll from a TOML file, and print its addresses
    Create {
        /// The poll file; `-` reads standard input
        #[arg(value_name = "FILE", required_unless_present = "example")]
        file: Option<PathBuf>,
        /// Print a sample poll file instead
        #[arg(long, conflicts_with_all = ["file", "json"])]
        example: bool,
        #[command(flatten)]
        json: JsonArg,
    },
    /// Open a poll now
    Open {
        #[command(flatten)]
        which: WhichPoll,
    },
    /// Close a poll, close_lead_ms from now
    ///
    /// The end is exact by the time at which a vote was accepted. The result is partial until
    /// everything accepted is counted; `paredao poll show` says when it is final.
    Close {
        #[command(flatten)]
        which: WhichPoll,
    },
    /// Move the end of a poll to a later time
    Extend {
        #[command(flatten)]
        which: WhichPoll,
        #[command(flatten)]
        end: NewEnd,
    },
    /// List all polls
    List(JsonArg),
    /// Show a poll: its state, its totals, and whether they are final or why not
    Show {
        #[command(flatten)]
        which: WhichPoll,
    },
}

/// A poll, and how to print it.
#[derive(Debug, Args)]
pub(crate) struct WhichPoll {
    /// The poll's name in addresses
    #[arg(value_name = "SLUG")]
    pub(crate) slug: Slug,
    #[command(flatten)]
    pub(crate) json: JsonArg,
}

/// When a poll is to end.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct NewEnd {
    /// The new end, such as 2026-03-31T22:45:00-03:00 (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<UnixMillis>,
    /// How much later than the present end, such as 90s, 10m or 1h30m
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) by: Option<Duration>,
}

/// What to do with the vote log.
#[derive(Debug, Subcommand)]
pub(crate) enum VoteLogCommand {
    /// Show what waits to be applied
    Status(JsonArg),
    /// List what was confirmed to voters and is lost
    ///
    /// Batches that never came out of the log, and files of the log that are gone. They keep
    /// results from becoming final until somebody writes them off.
    Missing(JsonArg),
    /// Give missing batches up: results can become final without them
    ///
    /// They stay in the books as missing. What of them comes after all is applied, and counted if
    /// the result is not final yet: nothing else in the way, that takes less than a second.
    WriteOff {
        /// Who cut them, as `paredao vote-log missing` shows it
        #[arg(value_parser = incarnation)]
        incarnation: Incarnation,
        /// The number of one of them: all that are listed with it are given up
        number: u64,
        /// Why, for those who read the books later
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Give lost files of the log up: results can become final without them
    WriteOffSegments {
        /// The number of one of them: all that are listed with it are given up
        number: u64,
        /// Why, for those who read the books later
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersCommand {
    /// List all dead letters, resolved ones included
    List(JsonArg),
    /// Show one dead letter, with its bytes
    Show {
        /// Its number
        number: i64,
        #[command(flatten)]
        json: JsonArg,
    },
    /// Send a dead letter through the log again, after what made it one was put right
    Requeue {
        /// Its number
        number: i64,
    },
    /// Give a dead letter up: its votes will never be counted
    WriteOff {
        /// Its number
        number: i64,
        /// Why, for those who read the books later
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

/// What to recount.
#[derive(Debug, Args)]
pub(crate) struct RecountArgs {
    /// Only this poll [default: all]
    #[arg(long, value_name = "SLUG")]
    pub(crate) poll: Option<Slug>,
    /// Also ignore the marks, find the duplicates again by their keys, and report every key that
    /// is counted twice or never
    #[arg(long)]
    pub(crate) keys: bool,
    #[command(flatten)]
    pub(crate) json: JsonArg,
}

/// What to do with logs.
#[derive(Debug, Subcommand)]
pub(crate) enum LoggingCommand {
    /// Set the level of log lines until the process ends, or for a while
    Level {
        /// off, error, warn, info, debug or trace, or directives such as info,paredao_intake=debug
        #[arg(value_name = "LEVEL|DIRECTIVES")]
        directives: String,
        /// Go back to the configured level after so long, such as 30s or 10m
        #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
        duration: Option<Duration>,
    },
}

/// Says why there is no command line to obey: help is shown whole, wrong usage is refused in one
/// line, as a wrong configuration is.
pub(crate) fn explain(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            // A reader that went away has read enough.
            let _ = error.print();
        }
        _ => output::complain(&refusal(&error.to_string())),
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// The parser's paragraphs in one line, with the command whose help tells more.
fn refusal(text: &str) -> String {
    let (said, rest) = text.split_once("\nUsage: ").unwrap_or((text, "paredao"));
    let said = said.strip_prefix("error: ").unwrap_or(said);
    let (said, _) = said
        .split_once("\nFor more information")
        .unwrap_or((said, ""));
    let in_one_line = |paragraph: &str| paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    let paragraphs: Vec<String> = said
        .split("\n\n")
        .map(in_one_line)
        .filter(|paragraph| !paragraph.is_empty())
        .collect();
    let is_name = |word: &&str| word.starts_with(|first: char| first.is_ascii_lowercase());
    let command: Vec<&str> = rest.split_whitespace().take_while(is_name).collect();
    format!(
        "{}; see `{} --help`",
        paragraphs.join("; "),
        command.join(" ")
    )
}

fn incarnation(text: &str) -> Result<Incarnation, String> {
    let number = u64::from_str_radix(text, 16).map(Incarnation);
    number
        .ok()
        .filter(|incarnation| incarnation.to_string() == text)
        .ok_or_else(|| "write the 16 digits that `paredao vote-log missing` shows".to_owned())
}

/// A year: longer than anything this program does is asked for.
const DURATION_MAX: Duration = Duration::from_hours(365 * 24);

fn duration(text: &str) -> Result<Duration, String> {
    let wrong =
        || "not a duration such as 90s, 10m or 1h30m, longer than 0 and at most a year".to_owned();
    let signed: SignedDuration = text.parse().map_err(|_| wrong())?;
    let duration = Duration::try_from(signed).map_err(|_| wrong())?;
    if duration.is_zero() || duration > DURATION_MAX {
        Err(wrong())
    } else {
        Ok(duration)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    fn refused(arguments: &[&str]) -> String {
        let command_line = ["paredao"].iter().chain(arguments);
        refusal(&Cli::try_parse_from(command_line).unwrap_err().to_string())
    }

    #[test]
    fn wrong_usage_is_one_line_that_names_the_help() {
        assert_eq!(
            refused(&["serve", "--lisen", "x"]),
            "unexpected argument '--lisen' found; tip: a similar argument exists: '--listen'; \
             see `paredao serve --help`"
        );
        assert_eq!(
            refused(&["poll", "open"]),
            "the following required arguments were not provided: <SLUG>; \
             see `paredao poll open --help`"
        );
        for arguments in [
            &["frobnicate"][..],
            &["poll", "frobnicate"],
            &["poll", "extend", "x"],
            &["poll", "extend", "x", "--by", "soon"],
            &["serve", "--listen"],
            &["recount", "--keys=1"],
        ] {
            let line = refused(arguments);
            assert_eq!(line.lines().count(), 1, "{line}");
            assert!(
                line.contains("; see `paredao") && !line.contains("Usage"),
                "{line}"
            );
        }
    }

    #[test]
    fn an_incarnation_is_read_as_it_is_shown() {
        let shown = Incarnation(0x0abc).to_string();
        assert_eq!(incarnation(&shown), Ok(Incarnation(0x0abc)));
        for other in ["abc", "0x00000000000abc", "+000000000000abc", "ana", ""] {
            assert!(incarnation(other).is_err(), "{other}");
        }
    }

    #[test]
    fn durations_carry_their_unit() {
        assert_eq!(duration("10m"), Ok(Duration::from_mins(10)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_mins(90)));
        for wrong in ["", "10", "-5s", "0s", "2y", "soon"] {
            assert!(duration(wrong).is_err(), "{wrong:?}");
        }
    }
}

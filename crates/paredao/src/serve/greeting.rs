//! What is said when everything serves.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};

use super::listeners::reachable;
use super::start::{Polls, Program};
use crate::config::LogFormat;
use crate::output;

const LOUD: &str = "\
This is a demonstration: everyone who reaches this address reads the exact numbers of /total.
Serve real polls without --demo.
";
const EMPTY: &str = "\
There is no poll yet. In another terminal:
  paredao poll create --example > poll.toml   a sample, to be edited
  paredao poll create poll.toml
  paredao poll open SLUG
";

/// Who reads what is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    /// Somebody at a terminal.
    People,
    /// Whatever collects log lines.
    Machines,
}

/// Says where everything is: to people as a short text, to machines as one event.
pub(super) fn greet(program: &Program, audience: Audience) -> io::Result<()> {
    let places = Places::of(program);
    match audience {
        Audience::People => output::print(&places.banner(program)),
        Audience::Machines => {
            places.announce(program);
            Ok(())
        }
    }
}

impl Audience {
    /// Who reads standard output.
    pub(super) fn of(format: LogFormat) -> Self {
        let is_people = match format {
            LogFormat::Human => true,
            LogFormat::Json => false,
            LogFormat::Auto => io::stdout().is_terminal(),
        };
        if is_people {
            Self::People
        } else {
            Self::Machines
        }
    }
}

struct Places {
    vote: String,
    results: String,
    total: String,
    docs: String,
    metrics: String,
}

impl Places {
    fn of(program: &Program) -> Self {
        let public = reachable(program.addresses.listen);
        let metrics = reachable(program.addresses.metrics);
        Self {
            vote: format!("http://{public}/"),
            results: format!("http://{public}/resultado"),
            total: format!("http://{public}/total"),
            docs: format!("http://{public}/swagger/"),
            metrics: format!("http://{metrics}/metrics"),
        }
    }

    fn announce(&self, program: &Program) {
        tracing::info!(
            event = "started",
            listen = %program.addresses.listen,
            metrics_listen = %program.addresses.metrics,
            vote_page = self.vote,
            results_page = self.results,
            total = self.total,
            api_docs = self.docs,
            metrics = self.metrics,
            control_socket = %program.control_socket.display(),
            demo = program.is_demo,
        );
        if program.polls == Polls::None {
            tracing::info!(
                event = "no_poll",
                "`paredao poll create --example` prints a sample poll file"
            );
        }
        if program.is_demo {
            tracing::warn!(
                event = "demonstration",
                "everyone reads the exact numbers of /total"
            );
        }
    }

    fn banner(&self, program: &Program) -> String {
        let mut out = format!("paredao {} is serving\n\n", env!("CARGO_PKG_VERSION"));
        let lines = [
            ("vote", &self.vote),
            ("results", &self.results),
            ("total", &self.total),
            ("API", &self.docs),
            ("metrics", &self.metrics),
        ];
        for (what, place) in lines {
            let _ = writeln!(out, "  {what:9}{place}");
        }
        let _ = writeln!(out, "  {:9}{}\n", "data", program.data_dir.display());
        if program.is_demo {
            out.push_str(LOUD);
        }
        if program.polls == Polls::None {
            out.push_str(EMPTY);
        }
        out.push_str("Ctrl-C ends it.\n");
        out
    }
}

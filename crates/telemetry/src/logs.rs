//! Logs: one line for each event, JSON on stdout, or short text on stderr where somebody sits at a
//! terminal. The schema stands in `docs/logging.md`.
//!
//! An event names itself and has fields rather than sentences:
//!
//! ```
//! # let (accepted, refused) = (1, 2);
//! tracing::info!(event = "votes_summary", accepted, refused);
//! ```

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::IntCounter;
use thiserror::Error;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::{Layer, Registry, reload};

use crate::metrics::metrics;

mod form;
mod level;
mod panics;
mod record;
mod types;
mod writer;

use form::{Colour, Form, Speaker};
use record::Record;
use types::FieldTypes;
use writer::LineQueue;

pub use level::{Levels, LevelsError};
pub use writer::Flush;

/// Which form lines have.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LogFormat {
    /// [`LogFormat::Human`] where stdout is a terminal, else [`LogFormat::Json`].
    #[default]
    Auto,
    /// One JSON object a line, on stdout.
    Json,
    /// Short text, on stderr: stdout stays free for what a command prints.
    Human,
}

/// How a process logs.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The form of lines.
    pub format: LogFormat,
    /// Which events are written.
    pub levels: Levels,
    /// The role that runs: `paredao`, `paredao-api`, …
    pub service: String,
    /// Which of several processes of the role.
    pub instance: String,
    /// The version of the program.
    pub version: String,
}

/// Why logging could not be set up; the program says so on stderr and ends.
#[derive(Debug, Error)]
pub enum LogInitError {
    /// Something in the process logs already.
    #[error("logging is set up already")]
    AlreadySet,
    /// The system gave no thread for writing.
    #[error("no thread for writing logs: {0}")]
    Thread(#[from] io::Error),
}

/// Sets up the logs of this process, and that panics are logged.
pub fn init(options: LogOptions) -> Result<LogControl, LogInitError> {
    let is_human = match options.format {
        LogFormat::Auto => io::stdout().is_terminal(),
        LogFormat::Json => false,
        LogFormat::Human => true,
    };
    let dropped = metrics().log_lines_dropped.clone();
    let (form, queue) = if is_human {
        (human_on_stderr(), LineQueue::start(io::stderr(), dropped)?)
    } else {
        (json(&options), LineQueue::start(io::stdout(), dropped)?)
    };
    let (subscriber, control) = assemble(form, queue, options.levels);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogInitError::AlreadySet)?;
    panics::log_them(control.clone());
    Ok(control)
}

/// A subscriber that writes JSON lines to `sink` and counts what it drops in `dropped`: for tests,
/// and for programs that log elsewhere.
pub fn json_subscriber(
    options: LogOptions,
    sink: impl Write + Send + 'static,
    dropped: IntCounter,
) -> Result<(impl Subscriber + Send + Sync, LogControl), LogInitError> {
    let queue = LineQueue::start(sink, dropped)?;
    Ok(assemble(json(&options), queue, options.levels))
}

fn human_on_stderr() -> Form {
    Form::Human(if io::stderr().is_terminal() {
        Colour::Ansi
    } else {
        Colour::Plain
    })
}

fn json(options: &LogOptions) -> Form {
    Form::Json(Speaker {
        service: options.service.clone(),
        instance: options.instance.clone(),
        version: options.version.clone(),
    })
}

fn assemble(
    form: Form,
    queue: LineQueue,
    levels: Levels,
) -> (impl Subscriber + Send + Sync, LogControl) {
    let (filter, handle) = reload::Layer::new(levels.to_targets());
    let lines = Lines {
        form,
        queue: queue.clone(),
        types: FieldTypes::default(),
    };
    let control = LogControl {
        filter: handle,
        levels: Arc::new(Mutex::new(InForce { levels, changes: 0 })),
        queue,
    };
    (Registry::default().with(filter).with(lines), control)
}

/// Writes each event that passes the levels as one line.
struct Lines {
    form: Form,
    queue: LineQueue,
    types: FieldTypes,
}

impl Lines {
    fn write(&self, record: &Record) {
        self.queue.put(self.form.line(record, form::now()));
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let record = Record::of(event);
        self.write(&record);
        if cfg!(debug_assertions) {
            let conflicts = self.types.conflicts(&record);
            conflicts.iter().for_each(|conflict| self.write(conflict));
        }
    }
}

/// Changes levels while the process runs, and flushes at its end.
#[derive(Clone, Debug)]
pub struct LogControl {
    filter: reload::Handle<Targets, Registry>,
    levels: Arc<Mutex<InForce>>,
    queue: LineQueue,
}

#[derive(Debug)]
struct InForce {
    levels: Levels,
    changes: u64,
}

/// A change of levels that can be taken back, as long as no other came after it.
#[derive(Debug)]
#[must_use = "keep it to return to the levels before the change"]
pub struct LevelChange {
    before: Levels,
    change: u64,
}

impl LogControl {
    /// The levels in force.
    pub fn levels(&self) -> Levels {
        self.in_force().levels.clone()
    }

    /// Puts other levels in force. For a change that ends by itself the caller runs a timer and
    /// then calls [`LogControl::take_back`].
    pub fn set_levels(&self, levels: Levels) -> LevelChange {
        let mut in_force = self.in_force();
        self.put_in_force(&mut in_force, levels)
    }

    /// Returns to the levels before `change`, unless they were changed again since.
    pub fn take_back(&self, change: LevelChange) {
        let mut in_force = self.in_force();
        if in_force.changes == change.change {
            let _ = self.put_in_force(&mut in_force, change.before);
        }
    }

    /// Waits until everything logged so far is written, at most `timeout`. For the end of `main`.
    pub fn flush(&self, timeout: Duration) -> Flush {
        self.queue.flush(timeout)
    }

    fn put_in_force(&self, in_force: &mut InForce, levels: Levels) -> LevelChange {
        // The subscriber is gone only when nothing logs any more.
        let _ = self.filter.reload(levels.to_targets());
        in_force.changes += 1;
        LevelChange {
            before: std::mem::replace(&mut in_force.levels, levels),
            change: in_force.changes,
        }
    }

    fn in_force(&self) -> std::sync::MutexGuard<'_, InForce> {
        // Nothing panics under the lock.
        self.levels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Commands that ask something: of the running process, or of the files when none runs.

mod bar;
mod poll_file;
mod print;

use std::sync::Arc;

use paredao_domain::Clock;
use paredao_vote_log::FirstSegment;
use tokio::sync::{Semaphore, watch};

use crate::cli::{
    DeadLettersCommand, JsonArg, LoggingCommand, NewEnd, PollCommand, RecountArgs, VoteLogCommand,
};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::control::client::{self, Found};
use crate::control::protocol::{Depth, End, Fault, Refusal, Reply, Task};
use crate::data_folder::Absent;
use crate::failure::{Misuse, Verdict};
use crate::files::Files;
use crate::office::Office;
use bar::Bar;
use print::{Print, Shape};

pub(crate) use poll_file::EXAMPLE as POLL_EXAMPLE;

/// A command that asks something.
pub(crate) enum Question {
    /// About polls.
    Poll(PollCommand),
    /// About the vote log.
    VoteLog(VoteLogCommand),
    /// About dead letters.
    DeadLetters(DeadLettersCommand),
    /// For a recount.
    Recount(RecountArgs),
    /// Whether the process is ready.
    Health(JsonArg),
    /// About logs.
    Logging(LoggingCommand),
}

/// Asks, prints the answer, and says whether what was asked holds.
pub(crate) async fn ask(question: Question, config: &Config) -> anyhow::Result<Verdict> {
    if let Question::Poll(PollCommand::Create { example: true, .. }) = question {
        crate::output::print(POLL_EXAMPLE)?;
        return Ok(Verdict::Good);
    }
    let (task, shape) = task(question)?;
    let print = Print::new(&task, shape);
    let reply = answer(task, config).await.map_err(failure)?;
    crate::output::print(&print.text(&reply))?;
    Ok(verdict(&reply))
}

/// What a reply means for the exit status.
fn verdict(reply: &Reply) -> Verdict {
    match reply {
        Reply::Recount(report)
            if !report.differences.is_empty() || report.further_differences > 0 =>
        {
            Verdict::Bad
        }
        Reply::Health(report) if !report.ready => Verdict::Bad,
        _ => Verdict::Good,
    }
}

fn failure(refusal: Refusal) -> anyhow::Error {
    match refusal.fault {
        Fault::Misuse => Misuse(refusal.message).into(),
        Fault::Failed => refusal.into(),
    }
}

fn task(question: Question) -> Result<(Task, Shape), Misuse> {
    Ok(match question {
        Question::Poll(command) => return poll_task(command),
        Question::VoteLog(command) => vote_log_task(command),
        Question::DeadLetters(command) => dead_letter_task(command),
        Question::Recount(RecountArgs { poll, keys, json }) => {
            let depth = if keys { Depth::Keys } else { Depth::Marks };
            (Task::Recount { poll, depth }, shape(json))
        }
        Question::Health(json) => (Task::Health, shape(json)),
        Question::Logging(LoggingCommand::Level {
            directives,
            duration,
        }) => {
            let for_ms = duration.map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX));
            (Task::LogLevel { directives, for_ms }, Shape::Table)
        }
    })
}

fn poll_task(command: PollCommand) -> Result<(Task, Shape), Misuse> {
    Ok(match command {
        PollCommand::Create { file, json, .. } => {
            let file = file.unwrap_or_else(|| "-".into());
            (Task::CreatePoll(poll_file::read(&file)?), shape(json))
        }
        PollCommand::Open { which } => (Task::OpenPoll(which.slug), shape(which.json)),
        PollCommand::Close { which } => (Task::ClosePoll(which.slug), shape(which.json)),
        PollCommand::Extend { which, end } => (
            Task::ExtendPoll {
                slug: which.slug,
                end: new_end(&end)?,
            },
            shape(which.json),
        ),
        PollCommand::List(json) => (Task::Polls, shape(json)),
        PollCommand::Show { which } => (Task::Poll(which.slug), shape(which.json)),
    })
}

fn new_end(end: &NewEnd) -> Result<End, Misuse> {
    match (end.until, end.by) {
        (Some(until), _) => Ok(End::Until(until)),
        (None, Some(by)) => Ok(End::ByMillis(
            i64::try_from(by.as_millis()).unwrap_or(i64::MAX),
        )),
        (None, None) => Err(Misuse("say --until or --by".to_owned())),
    }
}

fn vote_log_task(command: VoteLogCommand) -> (Task, Shape) {
    match command {
        VoteLogCommand::Status(json) => (Task::VoteLogStatus, shape(json)),
        VoteLogCommand::Missing(json) => (Task::Losses, shape(json)),
        VoteLogCommand::WriteOff {
            incarnation,
            number,
            reason,
        } => (
            Task::WriteOffBatches {
                incarnation,
                number,
                reason,
            },
            Shape::Table,
        ),
        VoteLogCommand::WriteOffSegments { number, reason } => {
            (Task::WriteOffSegments { number, reason }, Shape::Table)
        }
    }
}

fn dead_letter_task(command: DeadLettersCommand) -> (Task, Shape) {
    match command {
        DeadLettersCommand::List(json) => (Task::DeadLetters, shape(json)),
        DeadLettersCommand::Show { number, json } => (Task::DeadLetter(number), shape(json)),
        DeadLettersCommand::Requeue { number } => (Task::RequeueDeadLetter(number), Shape::Table),
        DeadLettersCommand::WriteOff { number, reason } => {
            (Task::WriteOffDeadLetter { number, reason }, Shape::Table)
        }
    }
}

fn shape(json: JsonArg) -> Shape {
    if json.json { Shape::Json } else { Shape::Table }
}

async fn answer(task: Task, config: &Config) -> Result<Reply, Refusal> {
    let mut bar = Bar::for_task(&task);
    match client::find(&config.control_socket).await? {
        Found::Process(process) => process.ask(task, |now| bar.show(now)).await,
        Found::Nobody => from_files(task, config, bar).await,
    }
}

/// Whether a task may begin a data folder.
fn absent(task: &Task) -> Absent {
    match task {
        Task::CreatePoll(_) => Absent::Make,
        _ => Absent::Refuse,
    }
}

/// Whether a task tells or decides what is lost, so that the store must know first what the log
/// misses. For the others that is left to the next start: somebody may only have forgotten to mount
/// the log's folder.
fn looks_for_losses(task: &Task) -> bool {
    matches!(
        task,
        Task::Losses | Task::VoteLogStatus | Task::WriteOffSegments { .. }
    )
}

fn needs_process(task: &Task) -> bool {
    matches!(task, Task::Health | Task::LogLevel { .. })
}

fn refused(error: &anyhow::Error) -> Refusal {
    let fault = if error.is::<Misuse>() {
        Fault::Misuse
    } else {
        Fault::Failed
    };
    Refusal {
        fault,
        message: crate::failure::one_line(error),
    }
}

async fn from_files(task: Task, config: &Config, mut bar: Bar) -> Result<Reply, Refusal> {
    if needs_process(&task) {
        let folder = config.data_dir.display();
        return Err(Refusal::failed(format!(
            "no process is running on the data folder {folder}"
        )));
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let files = Files::open(
        config,
        absent(&task),
        FirstSegment::WhenAppended,
        Arc::clone(&clock),
    );
    let files = files.map_err(|error| refused(&error))?;
    if looks_for_losses(&task) {
        let noted = files.note_lost_segments(clock.now()).await;
        noted.map_err(|error| refused(&error))?;
    }
    let office = Office {
        store: Arc::<paredao_store::EmbeddedStore>::clone(&files.store),
        log: Arc::<paredao_vote_log::EmbeddedLog>::clone(&files.log),
        clock,
        close_lead: config.close_lead,
        listen: config.listen,
        store_file: files.store_file(),
        scratch: files.scratch(),
        recounts: Arc::new(Semaphore::new(1)),
        live: None,
    };
    let (progress, mut seen) = watch::channel(crate::control::protocol::Progress::default());
    let mut work = std::pin::pin!(office.perform(task, progress));
    let result = loop {
        tokio::select! {
            result = &mut work => break result,
            Ok(()) = seen.changed() => bar.show(*seen.borrow_and_update()),
        }
    };
    files.close();
    result
}

//! Threads that own a connection each and do one piece of work after another.

use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::fault::Fault;
use super::file::{Access, File};
use crate::StoreError;

/// Pieces of work that wait for a thread; whoever comes next waits for a place.
const WAITING_MAX: usize = 64;

type Job = Box<dyn FnOnce(&mut Seat) + Send>;

/// The connection of one thread, opened again whenever it is not to be believed.
pub(super) struct Seat {
    file: File,
    access: Access,
    connection: Option<Connection>,
    /// Bytes of the journal at which it is emptied without being asked.
    journal_limit: u64,
}

impl Seat {
    /// Takes a seat at a file that can be opened.
    pub(super) fn take(file: File, access: Access) -> Result<Self, StoreError> {
        let connection = file.open(access)?;
        Ok(Self {
            journal_limit: file.options().journal_bytes_max,
            file,
            access,
            connection: Some(connection),
        })
    }

    /// Does a piece of work and keeps the connection only if it is still to be believed.
    pub(super) fn work<T, E: From<StoreError>>(
        &mut self,
        work: impl FnOnce(&mut Connection) -> Result<T, Fault<E>>,
    ) -> Result<T, E> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.file.open(self.access)?,
        };
        let result = work(&mut connection);
        if matches!(result, Ok(_) | Err(Fault::Answer(_))) {
            self.connection = Some(connection);
        }
        result.map_err(|fault| fault.into_answer(self.file.path()))
    }

    /// Whether it is time to empty the journal without being asked.
    pub(super) fn journal_is_long(&self) -> bool {
        self.file.journal_bytes() > self.journal_limit
    }

    /// The file the seat is at.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Notes whether the journal was emptied. If not, it is tried again when the journal is twice
    /// as long, so that a reader who stays does not hold up every transaction.
    pub(super) fn note_checkpoint(&mut self, outcome: &Result<(), StoreError>) {
        self.journal_limit = match outcome {
            Ok(()) => self.file.options().journal_bytes_max,
            Err(_) => self.file.journal_bytes().saturating_mul(2),
        };
    }
}

/// A thread with its seat. Dropping it finishes what was asked and closes the connection.
pub(super) struct Worker {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts the thread.
    pub(super) fn start(name: &str, seat: Seat) -> Result<Self, StoreError> {
        let (jobs, queue) = mpsc::channel(WAITING_MAX);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || serve(seat, queue))
            .map_err(|error| StoreError::Unavailable(format!("no thread for {name}: {error}")))?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Has a piece of work done and waits for its result. Work once queued is done even if nobody
    /// waits for it any more.
    pub(super) async fn run<T, E>(
        &self,
        work: impl FnOnce(&mut Seat) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (answer, result) = oneshot::channel();
        let job: Job = Box::new(move |seat| {
            // Nobody waits any more: the work is done all the same.
            let _ = answer.send(work(seat));
        });
        let jobs = self.jobs.as_ref().ok_or_else(dead)?;
        jobs.send(job).await.map_err(|_| dead())?;
        result.await.map_err(|_| dead())?
    }

    /// Resolves when the thread has died: a piece of work panicked.
    pub(super) async fn died(&self) {
        if let Some(jobs) = &self.jobs {
            jobs.closed().await;
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(event = "store_thread_panicked");
        }
    }
}

fn serve(mut seat: Seat, mut queue: mpsc::Receiver<Job>) {
    while let Some(job) = queue.blocking_recv() {
        job(&mut seat);
    }
}

fn dead() -> StoreError {
    StoreError::Dead("one of its threads has died".to_owned())
}

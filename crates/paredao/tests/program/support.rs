//! Starts the program, waits for conditions, and ends what it started.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::http::{self, Answer, Connection};

const PATIENCE: Duration = Duration::from_secs(30);
const GLANCE: Duration = Duration::from_millis(10);

/// Waits until something holds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        thread::park_timeout(GLANCE);
    }
}

/// A place of its own for one test: working folder, data folder, poll files.
pub(crate) struct Home(TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path().join("paredao-data")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.data().join("control.sock")
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// The program, not started yet, with an environment without settings.
    pub(crate) fn command(&self) -> Command {
        self.prepared(Command::new(env!("CARGO_BIN_EXE_paredao")))
    }

    pub(crate) fn prepared(&self, mut command: Command) -> Command {
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PAREDAO_") {
                command.env_remove(name);
            }
        }
        // The width of help texts.
        command.env_remove("COLUMNS");
        command.current_dir(self.path()).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        Done::from(self.command().args(arguments).output().unwrap())
    }

    /// Runs a command that must succeed, and reads the JSON it prints.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let done = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(done.code, Some(0), "{arguments:?}: {done:?}");
        serde_json::from_str(&done.stdout).unwrap()
    }

    /// Creates and opens a poll of two candidates.
    pub(crate) fn open_poll(&self, slug: &str) {
        let file = self.write("poll.toml", &poll_file(slug));
        self.good(&["poll", "create", file.to_str().unwrap()]);
        self.good(&["poll", "open", slug]);
    }

    /// Runs a command that must succeed.
    pub(crate) fn good(&self, arguments: &[&str]) -> String {
        let done = self.run(arguments);
        assert_eq!(done.code, Some(0), "{arguments:?}: {done:?}");
        done.stdout
    }

    pub(crate) fn serve(&self, arguments: &[&str]) -> Program {
        Program::start(self, self.command(), arguments)
    }
}

/// A poll file of two candidates.
pub(crate) fn poll_file(slug: &str) -> String {
    format!(
        "slug = \"{slug}\"\ntitle = \"Quem sai?\"\n\
         candidates = [{{ number = 1, name = \"Ana\" }}, {{ number = 2, name = \"Bia\" }}]\n"
    )
}

/// A command that ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Done {
    /// The one line in which wrong usage is refused.
    pub(crate) fn refusal(&self) -> &str {
        assert_eq!(self.code, Some(2), "{self:?}");
        let line = self.stderr.trim_end();
        assert_eq!(line.lines().count(), 1, "one line: {self:?}");
        line
    }
}

/// The program, serving.
pub(crate) struct Program {
    child: Child,
    pub(crate) listen: SocketAddr,
    pub(crate) metrics: SocketAddr,
    log: Arc<Mutex<Vec<Value>>>,
    reader: Option<JoinHandle<()>>,
}

impl Program {
    /// Starts `command`, with free ports unless told others, and waits until it is ready.
    pub(crate) fn start(home: &Home, mut command: Command, arguments: &[&str]) -> Self {
        let mut errors = fs::File::options();
        let errors = errors
            .create(true)
            .append(true)
            .open(home.path().join("stderr"))
            .unwrap();
        command.args(["serve", "--log-format", "json"]);
        for flag in ["--listen", "--metrics-listen"] {
            if !arguments.contains(&flag) {
                command.args([flag, "127.0.0.1:0"]);
            }
        }
        command.args(arguments);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let reader = read_log(child.stdout.take().unwrap(), Arc::clone(&log));
        let unspecified = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut this = Self {
            child,
            listen: unspecified,
            metrics: unspecified,
            log,
            reader: Some(reader),
        };
        let started = this.event("started");
        let address = |field: &str| started[field].as_str().unwrap().parse().unwrap();
        (this.listen, this.metrics) = (address("listen"), address("metrics_listen"));
        eventually("the program is ready", || this.get("/ready").status == 200);
        this
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All events of that name so far.
    pub(crate) fn events(&self, name: &str) -> Vec<Value> {
        let log = self.log.lock().unwrap();
        log.iter()
            .filter(|line| line["event"] == name)
            .cloned()
            .collect()
    }

    /// Waits for an event; panics if the program ends before it.
    pub(crate) fn event(&mut self, name: &str) -> Value {
        let mut found = None;
        eventually(
            &format!("event {name}; log: {:#?}", self.log.lock().unwrap().last()),
            || {
                found = self.events(name).pop();
                let ended = self.child.try_wait().unwrap();
                assert!(
                    found.is_some() || ended.is_none(),
                    "ended with {ended:?} before {name}"
                );
                found.is_some()
            },
        );
        found.unwrap()
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        http::get(self.listen, path).unwrap()
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::open(self.listen).unwrap()
    }

    /// Votes once on a connection of its own.
    pub(crate) fn vote(&self, candidate: u8, key: Option<&str>) -> Answer {
        self.connect().vote(candidate, key).unwrap()
    }

    /// Waits until everything accepted is booked, and returns `/total`.
    pub(crate) fn settled(&self, accepted: u64) -> Value {
        let mut total = Value::Null;
        eventually(&format!("{accepted} votes are booked"), || {
            total = self.get("/total").body;
            let books = &total["contas"];
            books["aceitos"] == accepted && books["em_voo"] == 0
        });
        total
    }

    /// One series of `/metrics`, by its full name.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        let text = http::get(self.metrics, "/metrics").unwrap().text;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.unwrap().parse().unwrap()
    }

    /// Waits until a reading that is younger than this call shows every accepted vote in an
    /// account, and nothing on its way to one.
    fn assert_books_close(&self) {
        let called = Instant::now();
        eventually("the books close with nothing in flight", || {
            let age = self.metric("paredao_snapshot_age_seconds");
            age < called.elapsed().as_secs_f64()
                && self.metric("paredao_conservation_difference_votes") == 0.0
                && self.metric("paredao_conservation_votes{term=\"in_flight\"}") == 0.0
        });
        for event in ["conservation_broken", "panic"] {
            assert_eq!(self.events(event), Vec::<Value>::new());
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the program ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        status.unwrap()
    }

    /// Stops it by Ctrl-C, after its books were seen to close.
    pub(crate) fn stop(self) {
        self.assert_books_close();
        self.stop_whatever_its_books_say();
    }

    /// Stops it by Ctrl-C: for programs whose store was tampered with.
    pub(crate) fn stop_whatever_its_books_say(mut self) {
        self.signal(Signal::INT);
        let status = self.wait();
        assert_eq!(status.code(), Some(0), "{:#?}", self.log.lock().unwrap());
    }

    /// Ends it as a power cut of its process would.
    pub(crate) fn kill(mut self) {
        self.signal(Signal::KILL);
        self.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads JSON lines until the program closes its output.
fn read_log(output: ChildStdout, log: Arc<Mutex<Vec<Value>>>) -> JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
            log.lock().unwrap().push(line);
        }
    })
}

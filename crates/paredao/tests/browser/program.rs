//! The program under test, with a data folder of its own.

use std::fmt::Write;
use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use paredao_domain::UnixMillis;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::chromium::{eventually, free_address};
use crate::http;

const BOOKS_CLOSE_WITHIN: Duration = Duration::from_secs(20);

/// The name of the poll that programs are started with.
pub(crate) const TESTE: &str = "teste";

/// A poll as its file says it; candidates are numbered from 1.
pub(crate) struct Draft<'a> {
    pub(crate) slug: &'a str,
    pub(crate) title: &'a str,
    pub(crate) candidates: &'a [&'a str],
}

pub(crate) struct Program {
    process: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Program {
    /// Starts it in an empty folder, without a poll.
    pub(crate) async fn empty() -> Self {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let address = free_address();
        let process = command(folder.path())
            .args(["serve", "--public-total"])
            .args(["--listen", &address.to_string()])
            .args(["--metrics-listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(File::create(folder.path().join("stdout")).unwrap())
            .stderr(File::create(folder.path().join("stderr")).unwrap())
            .spawn()
            .unwrap();
        let program = Self {
            process,
            address,
            folder,
        };
        program.ready().await;
        program
    }

    /// Starts it and opens a poll with these candidates, numbered from 1.
    pub(crate) async fn with_poll(candidates: &[&str]) -> Self {
        let program = Self::with_scheduled_poll(candidates).await;
        program.open();
        program.until_state("aberto").await;
        program
    }

    /// Starts it with a poll that nobody has opened.
    pub(crate) async fn with_scheduled_poll(candidates: &[&str]) -> Self {
        let program = Self::empty().await;
        let draft = Draft {
            slug: TESTE,
            title: "Quem deve sair da casa?",
            candidates,
        };
        program.create(&draft).await;
        program
    }

    /// Opens another poll, which the bare addresses mean from then on.
    pub(crate) async fn open_another(&self, draft: &Draft<'_>) {
        self.create(draft).await;
        self.run(&["poll", "open", draft.slug]);
        let means_it = || {
            let poll = self.get("/parcial").body;
            poll["poll"] == draft.slug && poll["estado"] == "aberto"
        };
        eventually("the bare addresses mean the other poll", means_it).await;
    }

    async fn create(&self, draft: &Draft<'_>) {
        let file = self.folder.path().join(format!("{}.toml", draft.slug));
        std::fs::write(&file, poll_file(draft)).unwrap();
        self.run(&["poll", "create", &file.display().to_string()]);
        let partial = format!("/p/{}/parcial", draft.slug);
        eventually("the poll is known", || self.get(&partial).status == 200).await;
    }

    async fn ready(&self) {
        let log = || std::fs::read_to_string(self.folder.path().join("stderr")).unwrap();
        let is_ready = || http::get(self.address, "/ready").is_ok_and(|a| a.status == 200);
        eventually(&format!("the program is ready: {}", log()), is_ready).await;
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn open(&self) {
        self.run(&["poll", "open", TESTE]);
    }

    pub(crate) fn close(&self) {
        self.run(&["poll", "close", TESTE]);
    }

    /// Waits until its state is as named.
    pub(crate) async fn until_state(&self, state: &str) {
        let reached = || self.get("/p/teste/parcial").body["estado"] == state;
        eventually(&format!("the poll is {state}"), reached).await;
    }

    /// Waits until voters are told when it ends.
    pub(crate) async fn until_end_is_known(&self) {
        let known = || self.get("/p/teste/parcial").body["encerra_em"].is_string();
        eventually("the end of the poll is known", known).await;
    }

    fn run(&self, arguments: &[&str]) {
        let output = command(self.folder.path())
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }

    pub(crate) fn get(&self, path: &str) -> http::Answer {
        http::get(self.address, path).unwrap()
    }

    /// Votes from outside any browser.
    pub(crate) fn vote(&self, number: u8) {
        self.vote_in(TESTE, number);
    }

    /// The same, in the poll of this name.
    pub(crate) fn vote_in(&self, poll: &str, number: u8) {
        let path = format!("/p/{poll}/votar");
        let answer = http::post(self.address, &path, &json!({"voto": number})).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    /// Waits until every vote answered before the call has its outcome, and says how many are
    /// counted, in the poll's order.
    pub(crate) async fn settled_votes(&self) -> Vec<u64> {
        self.settled_votes_of(TESTE).await
    }

    /// The same, in the poll of this name.
    pub(crate) async fn settled_votes_of(&self, poll: &str) -> Vec<u64> {
        let path = format!("/p/{poll}/total");
        // The first reading after the call may have begun before it; the second has not.
        let first = self.reading_after(&path, UnixMillis(now_ms())).await;
        let mut total = self.reading_after(&path, read_at(&first)).await;
        while total["contas"]["em_voo"] != 0 {
            total = self.reading_after(&path, read_at(&total)).await;
        }
        let candidates = total["candidatos"].as_array().unwrap();
        candidates
            .iter()
            .map(|candidate| candidate["votos"].as_u64().unwrap())
            .collect()
    }

    /// The first totals whose numbers are younger than `instant`.
    async fn reading_after(&self, path: &str, instant: UnixMillis) -> Value {
        let mut total = Value::Null;
        let is_younger = || {
            total = self.get(path).body;
            read_at(&total) > instant
        };
        eventually("the numbers are read again", is_younger).await;
        total
    }

    /// One account of the conservation law.
    pub(crate) fn account(&self, name: &str) -> Value {
        self.get("/p/teste/total").body["contas"][name].clone()
    }
}

impl Program {
    /// Waits until every vote that was accepted has its place in the books; what they say if that
    /// does not happen.
    fn books_that_stay_open(&self) -> Option<Value> {
        let started = Instant::now();
        loop {
            let answer = http::get(self.address, "/total").ok();
            if answer.as_ref().is_some_and(|answer| answer.status == 404) {
                return None; // Without a poll nothing was accepted.
            }
            let books = answer.map(|answer| answer.body["contas"].clone());
            match books {
                Some(books) if close(&books) => return None,
                books if started.elapsed() > BOOKS_CLOSE_WITHIN => {
                    return books.or(Some(Value::Null));
                }
                _ => std::thread::park_timeout(Duration::from_millis(50)),
            }
        }
    }
}

/// Whether the conservation law closes with nothing in flight.
fn close(books: &Value) -> bool {
    const PLACES: [&str; 8] = [
        "contados",
        "duplicados",
        "conflitos_de_chave",
        "quarentena",
        "depois_do_fechamento",
        "atrasados",
        "mortos",
        "perdidos",
    ];
    let votes = |place: &str| books[place].as_u64();
    let placed: Option<u64> = PLACES.into_iter().map(votes).sum();
    placed.is_some() && placed == votes("aceitos") && votes("em_voo") == Some(0)
}

/// Every test that ends well ends with books that close.
impl Drop for Program {
    fn drop(&mut self) {
        let open = if std::thread::panicking() {
            None
        } else {
            self.books_that_stay_open()
        };
        let _ = self.process.kill();
        let _ = self.process.wait();
        assert_eq!(open, None, "the books do not close");
    }
}

/// When the numbers of a `/total` were read.
fn read_at(total: &Value) -> UnixMillis {
    total["dados_de"].as_str().unwrap().parse().unwrap()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the program reads this machine's clock, too"
)]
fn now_ms() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since_1970.as_millis()).unwrap()
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paredao"));
    command.env("PAREDAO_DATA_DIR", folder.join("data"));
    command
}

fn poll_file(draft: &Draft<'_>) -> String {
    let mut text = format!("slug = \"{}\"\ntitle = \"{}\"\n", draft.slug, draft.title);
    for (number, name) in (1..).zip(draft.candidates) {
        let _ = writeln!(
            text,
            "\n[[candidates]]\nnumber = {number}\nname = \"{name}\""
        );
    }
    text
}

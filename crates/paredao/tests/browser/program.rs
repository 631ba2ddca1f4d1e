//! The program under test, with a data folder of its own.

use std::fmt::Write;
use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use paredao_domain::UnixMillis;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::chromium::{eventually, free_address};
use crate::http;

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
        program.run(&["poll", "open", "teste"]);
        let open = || program.get("/parcial").body["estado"] == "aberto";
        eventually("the poll is open", open).await;
        program
    }

    /// Starts it with a poll that nobody has opened.
    pub(crate) async fn with_scheduled_poll(candidates: &[&str]) -> Self {
        let program = Self::empty().await;
        let file = program.folder.path().join("poll.toml");
        std::fs::write(&file, poll_file(candidates)).unwrap();
        program.run(&["poll", "create", &file.display().to_string()]);
        eventually("the poll is known", || {
            program.get("/parcial").status == 200
        })
        .await;
        program
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
        self.run(&["poll", "open", "teste"]);
    }

    pub(crate) fn close(&self) {
        self.run(&["poll", "close", "teste"]);
    }

    /// Waits until its state is as named.
    pub(crate) async fn until_state(&self, state: &str) {
        let reached = || self.get("/parcial").body["estado"] == state;
        eventually(&format!("the poll is {state}"), reached).await;
    }

    /// Waits until voters are told when it ends.
    pub(crate) async fn until_end_is_known(&self) {
        let known = || self.get("/parcial").body["encerra_em"].is_string();
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
        let answer = http::post(self.address, "/votar", &json!({"voto": number})).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    /// Waits until every vote answered before the call has its outcome, and says how many are
    /// counted, in the poll's order.
    pub(crate) async fn settled_votes(&self) -> Vec<u64> {
        // The first reading after the call may have begun before it; the second has not.
        let first = self.reading_after(UnixMillis(now_ms())).await;
        let mut total = self.reading_after(read_at(&first)).await;
        while total["contas"]["em_voo"] != 0 {
            total = self.reading_after(read_at(&total)).await;
        }
        let candidates = total["candidatos"].as_array().unwrap();
        candidates
            .iter()
            .map(|candidate| candidate["votos"].as_u64().unwrap())
            .collect()
    }

    /// The first `/total` whose numbers are younger than `instant`.
    async fn reading_after(&self, instant: UnixMillis) -> Value {
        let mut total = Value::Null;
        let is_younger = || {
            total = self.get("/total").body;
            read_at(&total) > instant
        };
        eventually("the numbers are read again", is_younger).await;
        total
    }

    /// One account of the conservation law.
    pub(crate) fn account(&self, name: &str) -> Value {
        self.get("/total").body["contas"][name].clone()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
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

fn poll_file(candidates: &[&str]) -> String {
    let mut text = "slug = \"teste\"\ntitle = \"Quem deve sair da casa?\"\n".to_owned();
    for (number, name) in (1..).zip(candidates) {
        let _ = writeln!(
            text,
            "\n[[candidates]]\nnumber = {number}\nname = \"{name}\""
        );
    }
    text
}

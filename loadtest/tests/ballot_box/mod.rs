//! A ballot box for tests: speaks the program's HTTP, counts in memory, and can be told to
//! misbehave on the wire (which the client must survive) or in its books (which the verdict
//! must find).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// How it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Books {
    /// Every key once.
    Honest,
    /// A key sent again counts again: a window that forgets.
    CountsCopies,
    /// Answers every hundredth vote with success and forgets it.
    LosesSome,
    /// A conflicting copy replaces the vote that stands.
    LastCopyWins,
}

/// How it treats connections: what happens at each `POST`, in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manners {
    Answers,
    RefusesOverloaded,
    StoresThenSaysUnknown,
    StoresThenHangsUp,
    HangsUpAtOnce,
    StoresAndSaysNothing,
}

#[derive(Default)]
struct Ballots {
    standing: HashMap<String, u8>,
    counted: HashMap<u8, u64>,
    accepted: u64,
    duplicates: u64,
    conflicts: u64,
    requests: u64,
}

pub(crate) struct BallotBox {
    pub(crate) address: SocketAddr,
    ballots: Arc<Mutex<Ballots>>,
    server: JoinHandle<()>,
}

impl Drop for BallotBox {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl BallotBox {
    pub(crate) async fn start(books: Books, manners: &'static [Manners]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ballots = Arc::new(Mutex::new(Ballots::default()));
        let shared = Arc::clone(&ballots);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let desk = Desk {
                    books,
                    manners,
                    ballots: Arc::clone(&shared),
                };
                tokio::spawn(desk.serve(stream));
            }
        });
        Self {
            address,
            ballots,
            server,
        }
    }

    pub(crate) fn votes_requested(&self) -> u64 {
        self.ballots.lock().requests
    }

    pub(crate) fn keys(&self) -> usize {
        self.ballots.lock().standing.len()
    }
}

struct Desk {
    books: Books,
    manners: &'static [Manners],
    ballots: Arc<Mutex<Ballots>>,
}

impl Desk {
    async fn serve(self, mut stream: TcpStream) {
        let mut inbox = Vec::new();
        loop {
            while let Some((request, length)) = parse(&inbox) {
                inbox.drain(..length);
                match self.answer(&request) {
                    Some(answer) => stream.write_all(answer.as_bytes()).await.unwrap_or(()),
                    None if self.manners.contains(&Manners::StoresAndSaysNothing) => {}
                    None => return,
                }
            }
            match stream.read_buf(&mut inbox).await {
                Ok(1..) => {}
                _ => return,
            }
        }
    }

    fn answer(&self, request: &Request) -> Option<String> {
        let mut ballots = self.ballots.lock();
        if request.path == "/total" {
            return Some(respond("200 OK", &ballots.total()));
        }
        let turn = usize::try_from(ballots.requests).unwrap();
        ballots.requests += 1;
        match self.manners[turn % self.manners.len()] {
            Manners::RefusesOverloaded => Some(refuse("overloaded")),
            Manners::HangsUpAtOnce => None,
            Manners::Answers => Some(self.store(&mut ballots, request)),
            Manners::StoresThenSaysUnknown => {
                self.store(&mut ballots, request);
                Some(refuse("outcome-unknown"))
            }
            Manners::StoresThenHangsUp | Manners::StoresAndSaysNothing => {
                self.store(&mut ballots, request);
                None
            }
        }
    }

    fn store(&self, ballots: &mut Ballots, request: &Request) -> String {
        ballots.accepted += 1;
        let number = ballots.accepted;
        let candidate = request.candidate;
        match ballots.standing.get(&request.key).copied() {
            None if self.books == Books::LosesSome && number.is_multiple_of(100) => {
                ballots.duplicates += 1;
            }
            None => {
                ballots.standing.insert(request.key.clone(), candidate);
                *ballots.counted.entry(candidate).or_default() += 1;
            }
            Some(_) if self.books == Books::CountsCopies => {
                *ballots.counted.entry(candidate).or_default() += 1;
            }
            Some(first) if first == candidate => ballots.duplicates += 1,
            Some(first) => {
                ballots.conflicts += 1;
                if self.books == Books::LastCopyWins {
                    *ballots.counted.entry(first).or_default() -= 1;
                    *ballots.counted.entry(candidate).or_default() += 1;
                }
            }
        }
        respond(
            "200 OK",
            &format!(r#"{{"recibo":"receipt-{number}","numero":{candidate}}}"#),
        )
    }
}

impl Ballots {
    fn total(&self) -> String {
        let sum: u64 = self.counted.values().sum();
        let candidates: Vec<String> = (1..=3)
            .map(|c| {
                let votes = self.counted.get(&c).copied().unwrap_or(0);
                format!(r#"{{"numero":{c},"nome":"C{c}","votos":{votes}}}"#)
            })
            .collect();
        let (accepted, duplicates, conflicts) = (self.accepted, self.duplicates, self.conflicts);
        format!(
            r#"{{"poll":"test","estado":"aberto","total":{sum},"candidatos":[{}],"contas":{{
            "aceitos":{accepted},"contados":{sum},"duplicados":{duplicates},
            "conflitos_de_chave":{conflicts},"quarentena":0,"depois_do_fechamento":0,
            "atrasados":0,"mortos":0,"perdidos":0,"sem_resposta":0,"em_voo":0}},
            "fora_do_total":{{"duplicados":{duplicates},"conflitos_de_chave":{conflicts},
            "depois_do_fechamento":0,"atrasados":0,"mortos":0}},"dados_de":"{}"}}"#,
            candidates.join(","),
            jiff::Timestamp::now(),
        )
    }
}

struct Request {
    path: String,
    key: String,
    candidate: u8,
}

/// One request and its length, when all of it has arrived.
fn parse(inbox: &[u8]) -> Option<(Request, usize)> {
    let mut lines = [httparse::EMPTY_HEADER; 16];
    let mut request = httparse::Request::new(&mut lines);
    let httparse::Status::Complete(head) = request.parse(inbox).unwrap() else {
        return None;
    };
    let header = |name: &str| {
        let line = request
            .headers
            .iter()
            .find(|h| h.name.eq_ignore_ascii_case(name));
        line.map_or("", |h| str::from_utf8(h.value).unwrap())
            .to_owned()
    };
    let length = head + header("content-length").parse::<usize>().unwrap_or(0);
    let body = inbox.get(head..length)?;
    let vote: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let candidate = vote["voto"].as_u64().unwrap_or(0).try_into().unwrap();
    let path = request.path.unwrap().to_owned();
    Some((
        Request {
            path,
            key: header("idempotency-key"),
            candidate,
        },
        length,
    ))
}

fn refuse(slug: &str) -> String {
    let body = format!(r#"{{"type":"/problemas/{slug}","status":503,"retry_after_ms":1}}"#);
    respond("503 Service Unavailable\r\nRetry-After: 1", &body)
}

fn respond(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

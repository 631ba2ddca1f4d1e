//! Reading the program's own books: `GET /total` and `GET /recibo`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};

use crate::http::{Answer, Connection, Door, ExchangeError, get};
use crate::vote::{Candidate, Receipt};

const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Why the books cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No answer.
    #[error("{path}: {error}")]
    Exchange {
        /// What was asked for.
        path: String,
        /// What went wrong.
        error: ExchangeError,
    },
    /// An answer other than 200; `/total` needs `--public-total`.
    #[error("{path} answered {status}: {body}")]
    Status {
        /// What was asked for.
        path: String,
        /// What came back.
        status: u16,
        /// The beginning of the body.
        body: String,
    },
    /// A 200 whose body is not what it should be.
    #[error("{path} answered something else: {error}")]
    Body {
        /// What was asked for.
        path: String,
        /// What the parser said.
        error: serde_json::Error,
    },
    /// The condition waited for did not come.
    #[error("waited {0:?} for everything in flight to be applied: {1:?}")]
    NotSettled(Duration, Option<Box<Books>>),
}

/// `GET /total`, as far as checking needs it. The default is an empty poll's.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Total {
    /// All votes counted.
    #[serde(rename = "total")]
    pub votes: u64,
    /// Per candidate.
    pub candidatos: Vec<CandidateTotal>,
    /// The conservation law of the whole deployment; absent until it could be read once.
    pub contas: Option<Books>,
    /// This poll's votes that are not in its total.
    #[serde(rename = "fora_do_total")]
    pub outside: Outside,
    /// When the snapshot was taken.
    #[serde(deserialize_with = "rfc3339")]
    pub dados_de: Timestamp,
    /// State of the poll.
    pub estado: String,
}

/// One candidate's votes.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct CandidateTotal {
    /// The number voters type.
    pub numero: Candidate,
    /// Votes counted.
    pub votos: u64,
}

/// One poll's votes that are not in its total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Outside {
    /// Copies of one that stands.
    pub duplicados: u64,
    /// Copies for another candidate.
    pub conflitos_de_chave: u64,
    /// Accepted after the end by an API that had not heard of it.
    pub depois_do_fechamento: u64,
    /// Came after the result was final.
    pub atrasados: u64,
    /// Dead-lettered.
    pub mortos: u64,
}

/// The terms of the conservation law, none computed from the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Books {
    /// Accepted.
    pub aceitos: u64,
    /// Counted.
    pub contados: u64,
    /// Copies of one that stands.
    pub duplicados: u64,
    /// Copies for another candidate.
    pub conflitos_de_chave: u64,
    /// Set aside as suspect.
    pub quarentena: u64,
    /// Accepted after the end by an API that had not heard of it.
    pub depois_do_fechamento: u64,
    /// Came after the result was final.
    pub atrasados: u64,
    /// Dead-lettered.
    pub mortos: u64,
    /// Confirmed and gone.
    pub perdidos: u64,
    /// Cut by an incarnation that died, answered to nobody; outside the law.
    pub sem_resposta: u64,
    /// In the log, not applied yet.
    pub em_voo: u64,
}

impl Books {
    /// The law's right-hand side.
    pub fn accounted(&self) -> u64 {
        self.contados
            + self.duplicados
            + self.conflitos_de_chave
            + self.quarentena
            + self.depois_do_fechamento
            + self.atrasados
            + self.mortos
            + self.perdidos
            + self.em_voo
    }

    /// Whether the law holds.
    pub fn close(&self) -> bool {
        self.aceitos == self.accounted()
    }
}

impl Total {
    /// Votes per candidate, those without votes included.
    pub fn by_candidate(&self) -> BTreeMap<Candidate, u64> {
        self.candidatos
            .iter()
            .map(|c| (c.numero, c.votos))
            .collect()
    }
}

/// What became of a vote, as `GET /recibo` tells.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ReceiptState {
    /// `registrado`, `a-caminho`, `perdido` or `desconhecido`.
    pub estado: String,
    /// Only when the poll is final: `contado`, `duplicado`, `conflito-de-chave`, `separado`.
    pub resultado: Option<String>,
}

/// Reads a program's books over one connection, opened anew when it broke.
#[derive(Debug)]
pub struct Reader {
    door: Door,
    connection: Option<Connection>,
}

impl Reader {
    /// A reader at this door.
    pub fn new(door: Door) -> Self {
        Self {
            door,
            connection: None,
        }
    }

    /// The poll's totals.
    pub async fn total(&mut self) -> Result<Total, ReadError> {
        self.read(&self.door.path("/total")).await
    }

    /// What became of the vote with this receipt.
    pub async fn receipt(&mut self, receipt: &Receipt) -> Result<ReceiptState, ReadError> {
        self.read(&format!("/recibo/{}", receipt.0)).await
    }

    /// Waits until nothing is in flight and the snapshot was taken after this call began, at
    /// most `limit`.
    pub async fn settled(&mut self, limit: Duration) -> Result<Total, ReadError> {
        let (began, called_at) = (Instant::now(), Timestamp::now());
        loop {
            let total = self.total().await?;
            let at_rest = total.contas.is_some_and(|books| books.em_voo == 0);
            if at_rest && total.dados_de > called_at {
                return Ok(total);
            }
            if began.elapsed() > limit {
                return Err(ReadError::NotSettled(limit, total.contas.map(Box::new)));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Asks for `path` and parses its JSON.
    pub async fn read<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, ReadError> {
        let answer = self.fetch(path).await?;
        if answer.status != 200 {
            let body = String::from_utf8_lossy(&answer.body)
                .chars()
                .take(300)
                .collect();
            return Err(ReadError::Status {
                path: path.into(),
                status: answer.status,
                body,
            });
        }
        serde_json::from_slice(&answer.body).map_err(|error| ReadError::Body {
            path: path.into(),
            error,
        })
    }

    /// Asks for `path`, whatever the status. A kept connection that the server has closed in
    /// the meantime is replaced once.
    pub async fn fetch(&mut self, path: &str) -> Result<Answer, ReadError> {
        let request = get(self.door.address, path);
        if let Some(mut kept) = self.connection.take()
            && let Ok(answer) = kept.exchange(&request, ANSWER_LIMIT).await
        {
            self.keep(kept, &answer);
            return Ok(answer);
        }
        let failed = |error| ReadError::Exchange {
            path: path.into(),
            error,
        };
        let opened = Connection::open(self.door.address, ANSWER_LIMIT).await;
        let mut fresh = opened.map_err(failed)?;
        let answer = fresh
            .exchange(&request, ANSWER_LIMIT)
            .await
            .map_err(failed)?;
        self.keep(fresh, &answer);
        Ok(answer)
    }

    fn keep(&mut self, connection: Connection, answer: &Answer) {
        self.connection = (!answer.closes).then_some(connection);
    }
}

fn rfc3339<'de, D: Deserializer<'de>>(text: D) -> Result<Timestamp, D::Error> {
    String::deserialize(text)?.parse().map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_books_close_only_when_every_vote_is_somewhere() {
        let mut books = Books {
            aceitos: 10,
            contados: 6,
            duplicados: 2,
            mortos: 1,
            ..Books::default()
        };
        assert!(!books.close());
        books.em_voo = 1;
        assert!(books.close());
        books.sem_resposta = 5;
        assert!(
            books.close(),
            "what was answered to nobody is outside the law"
        );
    }

    #[test]
    fn a_real_answer_is_read_and_what_it_has_more_is_ignored() {
        let text = r#"{"poll":"final","estado":"aberto","total":3,"por_hora":[],
            "candidatos":[{"numero":1,"nome":"Ana","votos":3}],"voto_1":3,
            "contas":{"aceitos":4,"contados":3,"duplicados":1,"conflitos_de_chave":0,"quarentena":0,
            "depois_do_fechamento":0,"atrasados":0,"mortos":0,"perdidos":0,"sem_resposta":9,
            "em_voo":0},"fora_do_total":{"duplicados":1,"conflitos_de_chave":0,
            "depois_do_fechamento":0,"atrasados":0,"mortos":0},"dados_de":"2026-11-20T21:14:03.120-03:00"}"#;
        let total: Total = serde_json::from_str(text).unwrap();
        assert_eq!(total.by_candidate(), BTreeMap::from([(1, 3)]));
        assert_eq!(total.dados_de.to_string(), "2026-11-21T00:14:03.12Z");
        assert!(total.contas.unwrap().close());
        assert_eq!(total.outside.duplicados, 1);
    }
}

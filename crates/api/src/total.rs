//! `GET /total`: exact numbers for the production.

use std::ops::RangeInclusive;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use paredao_domain::{Accounts, Conservation, Minute, Poll, PollState, UnixMillis};
use paredao_store::{Bucket, PollView};
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer;
use crate::board::PollBoard;
use crate::options::TotalAccess;
use crate::problem::{Problem, ProblemDocument, ProblemType};
use crate::results::Estado;
use crate::room::Room;

/// Minutes of the series: the current one and the 59 before it.
const MINUTES: u32 = 60;
const MINUTES_PER_HOUR: u32 = 60;

/// Everything counted for one poll.
#[derive(Serialize, ToSchema)]
pub(crate) struct TotalAnswer<'a> {
    /// The poll's name in addresses.
    #[schema(example = "paredao-1")]
    poll: &'a str,
    estado: Estado,
    /// All counted votes.
    total: u64,
    candidatos: Vec<CandidateTotal<'a>>,
    /// Every hour of the poll so far, on its own clock, hours without votes included.
    por_hora: Vec<HourTotal>,
    /// The current minute and the 59 before it, oldest first, minutes without votes included.
    por_minuto: Vec<MinuteTotal>,
    /// Votes of the poll's first candidate, as the first version of this system had it.
    voto_1: u64,
    /// Votes of the poll's second candidate.
    voto_2: u64,
    /// The sum of `por_minuto`.
    votos_ultima_hora: u64,
    /// The instant the numbers are of.
    #[schema(example = "2026-11-20T21:14:03.120-03:00")]
    dados_de: String,
    /// The conservation law of the whole deployment, of the same instant; null while the vote log
    /// cannot be read.
    contas: Option<Books>,
    /// Votes of this poll that are not in its total.
    fora_do_total: Outside,
}

/// One candidate's votes.
#[derive(Serialize, ToSchema)]
pub(crate) struct CandidateTotal<'a> {
    numero: u8,
    nome: &'a str,
    votos: u64,
}

/// One hour.
#[derive(Serialize, ToSchema)]
pub(crate) struct HourTotal {
    /// Its beginning (RFC 3339).
    #[schema(example = "2026-11-20T21:00:00.000-03:00")]
    hora: String,
    total: u64,
    /// Per candidate, in the order of `candidatos`.
    votos: Vec<u64>,
}

/// One minute.
#[derive(Serialize, ToSchema)]
pub(crate) struct MinuteTotal {
    /// Its beginning (RFC 3339).
    #[schema(example = "2026-11-20T21:14:00.000-03:00")]
    minuto: String,
    total: u64,
    /// Per candidate, in the order of `candidatos`.
    votos: Vec<u64>,
}

/// The conservation law: `aceitos` is the sum of everything else except `sem_resposta`.
#[derive(Serialize, ToSchema)]
pub(crate) struct Books {
    /// Accepted.
    aceitos: u64,
    /// Counted.
    contados: u64,
    /// Copies of a vote that stands.
    duplicados: u64,
    /// Copies of a vote that stands, for another candidate.
    conflitos_de_chave: u64,
    /// Set aside as suspect.
    quarentena: u64,
    /// Set aside as accepted after the end.
    depois_do_fechamento: u64,
    /// Came when the result was final.
    atrasados: u64,
    /// In dead letters.
    mortos: u64,
    /// Confirmed and never come.
    perdidos: u64,
    /// Cut by an API that died and answered to nobody; outside the law.
    sem_resposta: u64,
    /// In the log, not applied yet.
    em_voo: u64,
}

impl From<&Conservation> for Books {
    fn from(law: &Conservation) -> Self {
        Self {
            aceitos: law.accepted,
            contados: law.booked.counted,
            duplicados: law.booked.duplicate,
            conflitos_de_chave: law.booked.key_conflict,
            // Suspects come with the guard; until then nobody is one.
            quarentena: 0,
            depois_do_fechamento: law.booked.after_close,
            atrasados: law.booked.late,
            mortos: law.dead_lettered,
            perdidos: law.missing,
            sem_resposta: law.unanswered,
            em_voo: law.in_flight,
        }
    }
}

/// Votes of one poll that are not in its total.
#[derive(Serialize, ToSchema)]
pub(crate) struct Outside {
    duplicados: u64,
    conflitos_de_chave: u64,
    depois_do_fechamento: u64,
    atrasados: u64,
    mortos: u64,
}

impl Outside {
    fn new(accounts: &Accounts, dead_lettered: u64) -> Self {
        Self {
            duplicados: accounts.duplicate,
            conflitos_de_chave: accounts.key_conflict,
            depois_do_fechamento: accounts.after_close,
            atrasados: accounts.late,
            mortos: dead_lettered,
        }
    }
}

/// The body of a poll's `/total`.
pub(crate) fn body(board: &PollBoard, view: &PollView, law: Option<&Conservation>) -> Bytes {
    let poll = &board.poll;
    let por_minuto = minutes(poll, &view.minutes, board.as_of);
    let vote_of = |place: usize| view.votes.get(place).copied().unwrap_or(0);
    answer::json(&TotalAnswer {
        poll: poll.slug.as_str(),
        estado: board.state.into(),
        total: view.votes.iter().sum(),
        candidatos: candidates(poll, &view.votes),
        por_hora: hours(poll, &view.hours, board.as_of),
        votos_ultima_hora: por_minuto.iter().map(|minute| minute.total).sum(),
        por_minuto,
        voto_1: vote_of(0),
        voto_2: vote_of(1),
        dados_de: board.as_of.rfc3339(poll.utc_offset),
        contas: law.map(Books::from),
        fora_do_total: Outside::new(&view.accounts, view.dead_lettered),
    })
}

fn candidates<'a>(poll: &'a Poll, votes: &[u64]) -> Vec<CandidateTotal<'a>> {
    let numbered = poll.candidates.iter().zip(votes);
    numbered
        .map(|(candidate, &votos)| CandidateTotal {
            numero: candidate.number.get(),
            nome: &candidate.name,
            votos,
        })
        .collect()
}

fn minutes(poll: &Poll, buckets: &[Bucket], as_of: UnixMillis) -> Vec<MinuteTotal> {
    let last = as_of.minute().0;
    let starts = (last.saturating_sub(MINUTES - 1)..=last).map(Minute);
    series(starts, buckets, poll)
        .map(|(start, votos)| MinuteTotal {
            minuto: start.start().rfc3339(poll.utc_offset),
            total: votos.iter().sum(),
            votos,
        })
        .collect()
}

fn hours(poll: &Poll, buckets: &[Bucket], as_of: UnixMillis) -> Vec<HourTotal> {
    let Some(span) = hours_of(poll, buckets, as_of) else {
        return Vec::new();
    };
    let step = usize::try_from(MINUTES_PER_HOUR).unwrap_or(1);
    let starts = (span.start().0..=span.end().0).step_by(step).map(Minute);
    series(starts, buckets, poll)
        .map(|(start, votos)| HourTotal {
            hora: start.start().rfc3339(poll.utc_offset),
            total: votos.iter().sum(),
            votos,
        })
        .collect()
}

/// From the first to the last hour in which votes could be counted, or were. None could before the
/// poll was created, whatever its beginning says.
fn hours_of(poll: &Poll, buckets: &[Bucket], as_of: UnixMillis) -> Option<RangeInclusive<Minute>> {
    let hour = |at: UnixMillis| at.minute().hour_start(poll.utc_offset);
    let has_begun = poll.state(as_of) != PollState::Scheduled;
    let opened = poll.opens_at.filter(|_| has_begun);
    let opened = opened.map(|opens| hour(opens.max(poll.created_at)));
    let over = poll
        .closes_at
        .map_or(as_of, |closes| as_of.min(closes.plus(-1)));
    let first = buckets.first().map(|bucket| bucket.start);
    let last = buckets.last().map(|bucket| bucket.start);
    let start = opened.into_iter().chain(first).min()?;
    let end = opened.map(|_| hour(over)).into_iter().chain(last).max()?;
    Some(start..=end)
}

/// The votes at each start: those of its bucket, or zeros. Both are in order of time.
fn series<'a>(
    starts: impl Iterator<Item = Minute> + 'a,
    buckets: &'a [Bucket],
    poll: &Poll,
) -> impl Iterator<Item = (Minute, Vec<u64>)> + 'a {
    let none = vec![0; poll.candidates.len()];
    starts.map(move |start| {
        let found = buckets
            .binary_search_by_key(&start, |bucket| bucket.start)
            .ok();
        let votes = found
            .and_then(|place| buckets.get(place))
            .map(|bucket| &bucket.votes);
        (start, votes.unwrap_or(&none).clone())
    })
}

/// Exact numbers: grand total, per candidate, per hour and per minute.
#[utoipa::path(
    get,
    path = "/total",
    tag = "production",
    responses(
        (status = 200, description = "The totals; also before the first vote", body = TotalAnswer),
        (status = 403, description = "`forbidden`: this deployment keeps them to the production", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "`unknown-poll`", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn total(
    room: web::Data<Room>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    match room.options.total_access {
        TotalAccess::Public => {}
        TotalAccess::Refused => return Err(ProblemType::Forbidden.into()),
    }
    let board = room.board();
    let poll = board.meant_by(&request).ok_or(ProblemType::UnknownPoll)?;
    Ok(answer::with_json(StatusCode::OK, board.total(poll)))
}

#[cfg(test)]
mod tests {
    use paredao_domain::{
        Candidate, CandidateNumber, PartialsPolicy, PollId, PollSecret, UtcOffset,
    };

    use super::*;

    const TEN_O_CLOCK: &str = "2026-01-01T10:00:00Z";

    fn at(text: &str) -> UnixMillis {
        text.parse().unwrap()
    }

    /// A poll on the clock of UTC.
    fn poll(opens: Option<&str>, closes: Option<&str>) -> Poll {
        let candidate = |number: u64| Candidate {
            number: CandidateNumber::try_from(number).unwrap(),
            name: format!("Nome {number}"),
        };
        Poll {
            id: PollId(1),
            slug: "teste".parse().unwrap(),
            title: "Quem sai?".to_owned(),
            candidates: vec![candidate(1), candidate(2)],
            utc_offset: "+00:00".parse().unwrap(),
            opens_at: opens.map(at),
            closes_at: closes.map(at),
            final_at: None,
            key_life_s: 180,
            partials_policy: PartialsPolicy::Always,
            principal: false,
            created_at: UnixMillis(0),
            secret: PollSecret::new([0; 32]),
        }
    }

    fn bucket(start: &str, votes: [u64; 2]) -> Bucket {
        Bucket {
            start: at(start).minute(),
            votes: votes.into(),
        }
    }

    /// Hours of the series, as clocks show them, with their totals.
    fn shown(poll: &Poll, buckets: &[Bucket], as_of: &str) -> Vec<(String, u64)> {
        let hours = hours(poll, buckets, at(as_of));
        let clock = |hour: &HourTotal| hour.hora.get(11..16).unwrap().to_owned();
        hours.iter().map(|hour| (clock(hour), hour.total)).collect()
    }

    fn hour(clock: &str, total: u64) -> (String, u64) {
        (clock.to_owned(), total)
    }

    #[test]
    fn hours_go_from_the_opening_to_now_and_those_without_votes_are_there() {
        let poll = poll(Some("2026-01-01T10:40:00Z"), None);
        let buckets = [
            bucket(TEN_O_CLOCK, [1, 2]),
            bucket("2026-01-01T12:00:00Z", [4, 0]),
        ];
        assert_eq!(
            shown(&poll, &buckets, "2026-01-01T13:00:00Z"),
            [
                hour("10:00", 3),
                hour("11:00", 0),
                hour("12:00", 4),
                hour("13:00", 0)
            ]
        );
    }

    #[test]
    fn hours_end_with_the_poll() {
        let poll = poll(Some(TEN_O_CLOCK), Some("2026-01-01T12:00:00Z"));
        assert_eq!(
            shown(&poll, &[], "2026-01-02T00:00:00Z"),
            [hour("10:00", 0), hour("11:00", 0)],
            "the hour that begins with the end is not of the poll"
        );
    }

    #[test]
    fn hours_begin_with_the_poll_itself_whatever_its_beginning_says() {
        let poll = Poll {
            created_at: at(TEN_O_CLOCK),
            ..poll(Some("2006-01-01T10:00:00Z"), None)
        };
        assert_eq!(
            shown(&poll, &[], "2026-01-01T11:59:00Z"),
            [hour("10:00", 0), hour("11:00", 0)]
        );
        let over = Poll {
            closes_at: Some(at("2006-01-01T11:00:00Z")),
            ..poll
        };
        assert_eq!(shown(&over, &[], "2026-01-01T11:59:00Z"), []);
    }

    #[test]
    fn a_poll_that_has_not_begun_has_no_hours() {
        let never = poll(None, None);
        let later = poll(Some("2026-01-01T11:00:00Z"), None);
        for poll in [never, later] {
            assert_eq!(shown(&poll, &[], TEN_O_CLOCK), []);
        }
    }

    #[test]
    fn hours_begin_where_the_poll_s_own_clock_says() {
        let mut poll = poll(Some("2026-01-01T10:40:00Z"), None);
        poll.utc_offset = "+05:30".parse().unwrap();
        let buckets = [bucket("2026-01-01T10:30:00Z", [1, 0])];
        let hours = shown(&poll, &buckets, "2026-01-01T11:31:00Z");
        assert_eq!(hours, [hour("16:00", 1), hour("17:00", 0)]);
    }

    #[test]
    fn there_are_sixty_minutes_and_each_has_the_votes_of_its_bucket() {
        let poll = Poll {
            utc_offset: UtcOffset::BRASILIA,
            ..poll(Some(TEN_O_CLOCK), None)
        };
        let buckets = [
            bucket("2026-01-01T09:01:00Z", [1, 0]),
            bucket(TEN_O_CLOCK, [2, 3]),
        ];
        let minutes = minutes(&poll, &buckets, at("2026-01-01T10:00:59Z"));
        let votes: Vec<_> = minutes.iter().map(|minute| minute.total).collect();
        assert_eq!(
            (votes.len(), votes.first(), votes.last()),
            (60, Some(&1), Some(&5))
        );
        assert_eq!(votes.iter().sum::<u64>(), 6);
        let last = minutes.last().unwrap();
        assert_eq!(
            (last.minuto.as_str(), &last.votos[..]),
            ("2026-01-01T07:00:00.000-03:00", &[2, 3][..])
        );
    }
}

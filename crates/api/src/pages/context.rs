//! What the templates read: a poll's values as texts, so that the templates decide nothing.

use paredao_domain::{Percentage, PollState, Slug, UnixMillis, UtcOffset};

use super::{CandidateView, Occasion, OtherPoll, PollView};

/// Colours of the wall; candidates take them in turn.
const SEATS: usize = 8;

/// A poll's values as its templates write them.
pub(super) struct PollContext<'a> {
    /// Where all addresses of the poll begin.
    pub(super) base: String,
    pub(super) title: &'a str,
    pub(super) state: PollState,
    pub(super) state_name: &'static str,
    pub(super) candidates: Vec<CandidateContext<'a>>,
    pub(super) total_text: String,
    pub(super) opens_at: Option<InstantContext>,
    pub(super) closes_at: Option<InstantContext>,
    pub(super) data_as_of: InstantContext,
    pub(super) now: InstantContext,
    pub(super) zone: String,
    pub(super) elsewhere: Option<OtherContext<'a>>,
    occasion: Occasion,
}

impl<'a> PollContext<'a> {
    pub(super) fn new(poll: &PollView<'a>) -> Self {
        let instant = |at| InstantContext::new(at, poll.offset);
        let total = poll.candidates.iter().map(|c| c.votes).sum();
        let most = poll.candidates.iter().map(|c| c.percentage).max();
        Self {
            base: base(poll.slug),
            title: poll.title,
            state: poll.state,
            state_name: state_name(poll.state),
            candidates: (0..SEATS)
                .cycle()
                .zip(&poll.candidates)
                .map(|(seat, candidate)| CandidateContext::new(seat, candidate, most))
                .collect(),
            total_text: votes_text(total),
            opens_at: poll.opens_at.map(instant),
            closes_at: poll.closes_at.map(instant),
            data_as_of: instant(poll.data_as_of),
            now: instant(poll.now),
            zone: zone_text(poll.offset),
            elsewhere: poll
                .elsewhere
                .filter(|_| poll.state != PollState::Open)
                .map(OtherContext::new),
            occasion: poll.occasion,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.state == PollState::Open
    }

    pub(super) fn is_final(&self) -> bool {
        self.state == PollState::Final
    }

    pub(super) fn is_demonstration(&self) -> bool {
        self.occasion == Occasion::Demonstration
    }
}

fn base(slug: &Slug) -> String {
    format!("/p/{slug}")
}

/// Another poll's values as the templates write them.
pub(super) struct OtherContext<'a> {
    pub(super) base: String,
    pub(super) title: &'a str,
}

impl<'a> OtherContext<'a> {
    fn new(poll: OtherPoll<'a>) -> Self {
        Self {
            base: base(poll.slug),
            title: poll.title,
        }
    }
}

/// The state as `data-estado` names it, and as `/parcial` does.
fn state_name(state: PollState) -> &'static str {
    match state {
        PollState::Scheduled => "agendado",
        PollState::Open => "aberto",
        PollState::Closed => "encerrado",
        PollState::Final => "final",
    }
}

/// A candidate's values as the templates write them.
pub(super) struct CandidateContext<'a> {
    pub(super) number: u8,
    pub(super) name: &'a str,
    /// What stands in for a photo.
    pub(super) initial: String,
    /// Which colour of the wall, from 1.
    pub(super) seat: usize,
    /// Which size of type lets the name's longest word fit on one line.
    pub(super) fit: u8,
    pub(super) percentage: Percentage,
    pub(super) percent_text: String,
    pub(super) votes_text: String,
    /// Whether nobody has more votes and somebody has any.
    pub(super) leads: bool,
}

impl<'a> CandidateContext<'a> {
    fn new(seat: usize, candidate: &CandidateView<'a>, most: Option<Percentage>) -> Self {
        let share = candidate.percentage;
        Self {
            number: candidate.number,
            name: candidate.name,
            initial: initial(candidate.name),
            seat: seat + 1,
            fit: fit(candidate.name),
            percentage: share,
            percent_text: format!("{}%", share.to_string().replace('.', ",")),
            votes_text: votes_text(candidate.votes),
            leads: share > Percentage::default() && Some(share) == most,
        }
    }
}

fn initial(name: &str) -> String {
    name.trim()
        .chars()
        .next()
        .map(|c| c.to_uppercase().collect())
        .unwrap_or_default()
}

/// Classes `fit-1` to `fit-4` of the style sheet, by the longest word.
fn fit(name: &str) -> u8 {
    let longest = name.split_whitespace().map(|word| word.chars().count());
    match longest.max().unwrap_or(0) {
        0..=5 => 1,
        6..=8 => 2,
        9..=12 => 3,
        _ => 4,
    }
}

/// "1 voto", "1.532.944.337 votos".
fn votes_text(votes: u64) -> String {
    let noun = if votes == 1 { "voto" } else { "votos" };
    format!("{} {noun}", grouped(votes))
}

/// Digits in groups of three, with points between them.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push('.');
        }
        text.push(digit);
    }
    text
}

fn zone_text(offset: UtcOffset) -> String {
    if offset == UtcOffset::BRASILIA {
        "horário de Brasília".to_owned()
    } else {
        format!("UTC{offset}")
    }
}

/// An instant as RFC 3339, and as people read it at the poll's offset.
pub(super) struct InstantContext {
    pub(super) iso: String,
    /// `20/11/2026`.
    pub(super) day: String,
    /// `21:14:03`.
    pub(super) clock: String,
}

impl InstantContext {
    fn new(at: UnixMillis, offset: UtcOffset) -> Self {
        let iso = at.rfc3339(offset);
        let part = |range| iso.get(range).unwrap_or_default();
        let day = format!("{}/{}/{}", part(8..10), part(5..7), part(0..4));
        let clock = part(11..19).to_owned();
        Self { iso, day, clock }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_as_brazilians_read_them() {
        let texts = [0, 7, 999, 1000, 12_345, 1_532_944_337].map(grouped);
        assert_eq!(texts, ["0", "7", "999", "1.000", "12.345", "1.532.944.337"]);
        assert_eq!(votes_text(1), "1 voto");
        assert_eq!(votes_text(2), "2 votos");
    }

    #[test]
    fn the_longest_word_decides_the_size_of_the_type() {
        let fits = [
            "Ana",
            "Ana Clara",
            "Fernanda",
            "Gustavo Henrique",
            "Bartholomeusz Neto",
        ];
        assert_eq!(fits.map(fit), [1, 1, 2, 2, 4]);
    }

    #[test]
    fn initials_are_capitals_also_of_accented_names() {
        assert_eq!(["ágata", " bruno", ""].map(initial), ["Á", "B", ""]);
    }

    #[test]
    fn instants_are_shown_at_the_poll_s_offset() {
        let at = "2026-11-21T00:14:03.120Z".parse().unwrap();
        let shown = InstantContext::new(at, UtcOffset::BRASILIA);
        assert_eq!(shown.iso, "2026-11-20T21:14:03.120-03:00");
        assert_eq!(
            (shown.day.as_str(), shown.clock.as_str()),
            ("20/11/2026", "21:14:03")
        );
        assert_eq!(zone_text("-05:00".parse().unwrap()), "UTC-05:00");
    }
}

//! Filling a ledger quickly, for benchmarks and trials, with votes that nobody cast.
//!
//! What makes it fast is what makes the consumer fast: large batches, many of them in one
//! transaction, so that a vote costs its sixteen bytes in the journal and a table increment.

use paredao_domain::{
    BatchHeader, BatchId, BatchKind, Candidate, EncodedBatch, Incarnation, IncarnationBook,
    KeyHash, KeySource, Lane, LedgerEntry, LedgerPosition, Mark, MarkKind, Minute, Mode, Poll,
    Position, Standing, UnixMillis, VOTES_MAX, Vote,
};

use crate::dice::Dice;
use crate::{Application, ApplyError, OwnerId, Store};

/// Batches applied in one transaction.
const BATCHES_TOGETHER: usize = 64;

/// What is to be generated.
#[derive(Clone, Copy, Debug)]
pub struct GeneratePlan {
    /// How many votes.
    pub votes: u64,
    /// Votes of a batch, at most [`VOTES_MAX`]; 8,192 is what a busy API cuts.
    pub batch_votes: u32,
    /// Votes of a minute, after which the next one begins.
    pub minute_votes: u64,
    /// The first minute. All of them must lie within the poll's hours.
    pub first_minute: Minute,
    /// Every so many votes one is a copy of another; 0: none is.
    pub duplicate_every: u64,
    /// Names the incarnation and draws the votes: one seed, one ledger.
    pub seed: u64,
}

/// Claims lane 0 (whoever owns it is fenced out) and applies batches that add up to the plan,
/// with correct marks and books. `progress` hears how many votes are applied after each
/// transaction.
pub async fn generate(
    store: &dyn Store,
    poll: &Poll,
    plan: &GeneratePlan,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<(), ApplyError> {
    let claim = store.claim_lane(Lane(0), OwnerId(plan.seed)).await?;
    let Some(mut generator) = Generator::new(poll, plan, claim.next_position) else {
        return Ok(());
    };
    while generator.cut < plan.votes {
        let application = generator.application();
        store.apply(&claim.fence, &application).await?;
        progress(generator.cut);
    }
    Ok(())
}

struct Generator<'a> {
    poll: &'a Poll,
    plan: &'a GeneratePlan,
    first: &'a Candidate,
    dice: Dice,
    book: IncarnationBook,
    number: u64,
    /// Votes cut so far.
    cut: u64,
    next: LedgerPosition,
}

impl<'a> Generator<'a> {
    /// `None` for a poll without candidates, which no store makes.
    fn new(poll: &'a Poll, plan: &'a GeneratePlan, next: LedgerPosition) -> Option<Self> {
        let first = poll.candidates.first()?;
        Some(Self {
            poll,
            plan,
            first,
            dice: Dice(plan.seed),
            book: IncarnationBook::new(Incarnation(plan.seed), Lane(0)),
            number: 0,
            cut: 0,
            next,
        })
    }

    fn application(&mut self) -> Application {
        let mut entries = Vec::with_capacity(BATCHES_TOGETHER);
        while entries.len() < BATCHES_TOGETHER && self.cut < self.plan.votes {
            entries.push(self.entry());
        }
        let newest = entries.last().map(|entry| entry.batch.header().minute);
        Application {
            entries,
            incarnations: vec![self.book.clone()],
            now: newest.map_or(UnixMillis(0), Minute::start),
            ..Application::default()
        }
    }

    fn entry(&mut self) -> LedgerEntry {
        let minute_votes = self.plan.minute_votes.max(1);
        let left_in_minute = minute_votes - self.cut % minute_votes;
        let minute = u32::try_from(self.cut / minute_votes).unwrap_or(u32::MAX);
        let minute = Minute(self.plan.first_minute.0.saturating_add(minute));
        let size = u64::from(self.plan.batch_votes.max(1))
            .min(VOTES_MAX as u64)
            .min(left_in_minute)
            .min(self.plan.votes - self.cut);
        let (votes, marks) = self.votes(size);
        self.number += 1;
        self.cut += size;
        let batch = EncodedBatch::encode(self.header(minute), &[], &votes);
        self.book.record(&batch);
        let position = self.next;
        self.next = position.next();
        LedgerEntry {
            position,
            batch,
            marks,
        }
    }

    fn header(&self, minute: Minute) -> BatchHeader {
        BatchHeader {
            kind: BatchKind::Votes,
            mode: Mode::Torcida,
            poll: self.poll.id,
            id: BatchId {
                incarnation: self.book.incarnation(),
                lane: Lane(0),
                number: self.number,
            },
            minute,
            cumulative: self.cut,
            confirmed: self.number - 1,
        }
    }

    /// The votes of a batch; a copy is one of the vote before it.
    fn votes(&mut self, size: u64) -> (Vec<Vote>, Vec<Mark>) {
        let mut votes = Vec::with_capacity(usize::try_from(size).unwrap_or(VOTES_MAX));
        let mut marks = Vec::new();
        let mut standing: Option<(Position, Vote)> = None;
        for (position, number) in (0..).zip(self.cut..self.cut + size) {
            let every = self.plan.duplicate_every;
            let is_copy = every > 0 && number % every == every - 1;
            match standing {
                Some((original, vote)) if is_copy => {
                    votes.push(vote);
                    marks.push(self.duplicate(position, original));
                }
                _ => {
                    let vote = self.draw();
                    standing = Some((position, vote));
                    votes.push(vote);
                }
            }
        }
        (votes, marks)
    }

    fn duplicate(&self, position: Position, original: Position) -> Mark {
        Mark {
            position,
            kind: MarkKind::Duplicate,
            standing: Some(Standing {
                entry: self.next,
                position: original,
            }),
        }
    }

    fn draw(&mut self) -> Vote {
        let (first, second) = (self.dice.roll(), self.dice.roll());
        let mut key = [0; KeyHash::BYTES];
        let bytes = first.to_le_bytes().into_iter().chain(second.to_le_bytes());
        key.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        let index = usize::try_from(second >> 33).unwrap_or(0) % self.poll.candidates.len();
        Vote {
            candidate: self.poll.candidates.get(index).unwrap_or(self.first).number,
            source: KeySource::Client,
            offset: u16::try_from(first % 60_000).unwrap_or(0),
            key: KeyHash(key),
        }
    }
}

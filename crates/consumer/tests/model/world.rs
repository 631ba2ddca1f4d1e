//! What everything in a history shares: the true time, chance, what goes wrong, what was seen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use paredao_domain::{BootMillis, Clock, UnixMillis};
use parking_lot::Mutex;

use crate::defect::Defect;
use crate::dice::Dice;
use crate::violation::Violation;

/// Clocks of processes are at most this far from the true time, and jump within it.
pub(crate) const SKEW_MS_MAX: i64 = 1_000;
/// How long after acceptance a confirm is still a success.
pub(crate) const DEADLINE_MS: i64 = 5_000;
/// A poll closes so long after somebody asks for it.
pub(crate) const LEAD_MS: i64 = 3_000;
/// An API that can reach the store is at most so far behind.
pub(crate) const REFRESH_MS: i64 = 1_000;

/// How often, in a thousand times, something goes wrong. Half of it is switched off in any one
/// history, so that each kind of trouble is also met alone.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Trouble {
    pub(crate) store_away: u16,
    pub(crate) store_answer_lost: u16,
    pub(crate) commit_aborted: u16,
    pub(crate) commit_unknown: u16,
    pub(crate) append_lost: u16,
    pub(crate) append_answer_lost: u16,
    pub(crate) append_later: u16,
    pub(crate) append_hangs: u16,
    pub(crate) ack_lost: u16,
    pub(crate) delivered_again: u16,
    pub(crate) body_damaged: u16,
    pub(crate) batch_lost: u16,
    pub(crate) crash: u16,
}

impl Trouble {
    fn draw(dice: &mut Dice) -> Self {
        let mut rate = |max: i64| {
            if dice.hits(500) {
                u16::try_from(dice.between(1, max)).unwrap()
            } else {
                0
            }
        };
        Self {
            store_away: rate(60),
            store_answer_lost: rate(60),
            commit_aborted: rate(150),
            commit_unknown: rate(200),
            append_lost: rate(200),
            append_answer_lost: rate(200),
            append_later: rate(150),
            append_hangs: rate(100),
            ack_lost: rate(150),
            delivered_again: rate(300),
            body_damaged: rate(60),
            batch_lost: rate(40),
            crash: rate(60),
        }
    }
}

pub(crate) struct World {
    now: AtomicI64,
    dice: Mutex<Dice>,
    trouble: Mutex<Trouble>,
    defect: Option<Defect>,
    violations: Mutex<Vec<Violation>>,
    tally: Mutex<BTreeMap<&'static str, u64>>,
}

impl World {
    pub(crate) fn new(seed: u64, defect: Option<Defect>) -> Arc<Self> {
        let mut dice = Dice::new(seed);
        // Some minute of 2027, and any offset in it.
        let start = 1_800_000_000_000 + dice.between(0, 86_400_000);
        let trouble = Trouble::draw(&mut dice);
        Arc::new(Self {
            now: AtomicI64::new(start),
            dice: Mutex::new(dice),
            trouble: Mutex::new(trouble),
            defect,
            violations: Mutex::default(),
            tally: Mutex::default(),
        })
    }

    /// The true time.
    pub(crate) fn now(&self) -> UnixMillis {
        UnixMillis(self.now.load(Ordering::Relaxed))
    }

    pub(crate) fn advance(&self, millis: i64) {
        self.now.fetch_add(millis, Ordering::Relaxed);
    }

    pub(crate) fn hits(&self, per_mille: u16) -> bool {
        per_mille > 0 && self.dice.lock().hits(per_mille)
    }

    pub(crate) fn below(&self, end: usize) -> usize {
        self.dice.lock().below(end)
    }

    pub(crate) fn between(&self, low: i64, high: i64) -> i64 {
        self.dice.lock().between(low, high)
    }

    pub(crate) fn next(&self) -> u64 {
        self.dice.lock().next()
    }

    pub(crate) fn pick<T: Copy>(&self, from: &[T]) -> Option<T> {
        self.dice.lock().pick(from)
    }

    pub(crate) fn trouble(&self) -> Trouble {
        *self.trouble.lock()
    }

    /// From now on nothing goes wrong any more.
    pub(crate) fn heal(&self) {
        *self.trouble.lock() = Trouble::default();
    }

    pub(crate) fn has(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    pub(crate) fn report(&self, violation: Violation) {
        self.violations.lock().push(violation);
    }

    pub(crate) fn violations(&self) -> Vec<Violation> {
        self.violations.lock().clone()
    }

    /// Notes that something happened that a history must be able to show.
    pub(crate) fn saw(&self, what: &'static str) {
        self.saw_times(what, 1);
    }

    pub(crate) fn saw_times(&self, what: &'static str, times: u64) {
        *self.tally.lock().entry(what).or_insert(0) += times;
    }

    pub(crate) fn tally(&self) -> BTreeMap<&'static str, u64> {
        self.tally.lock().clone()
    }
}

/// The clock of one process.
pub(crate) struct ProcessClock {
    world: Arc<World>,
    skew_ms: AtomicI64,
    leap_ms: AtomicI64,
}

impl ProcessClock {
    pub(crate) fn new(world: &Arc<World>) -> Arc<Self> {
        let clock = Self {
            world: Arc::clone(world),
            skew_ms: AtomicI64::new(0),
            leap_ms: AtomicI64::new(0),
        };
        clock.jump();
        Arc::new(clock)
    }

    /// Goes wrong otherwise than before; often as wrong as a clock may be.
    pub(crate) fn jump(&self) {
        let anywhere = self.world.between(-SKEW_MS_MAX, SKEW_MS_MAX);
        let skews = [anywhere, anywhere, -SKEW_MS_MAX, SKEW_MS_MAX];
        let skew = self.world.pick(&skews).unwrap_or(0);
        self.skew_ms.store(skew, Ordering::Relaxed);
    }

    /// Is hours wrong, in one direction or the other, until it lands.
    pub(crate) fn leap(&self) {
        let hours = self.world.between(1, 6);
        let hours = if self.world.hits(500) { hours } else { -hours };
        self.leap_ms.store(hours * 3_600_000, Ordering::Relaxed);
        self.world.saw("clock leapt");
    }

    pub(crate) fn land(&self) {
        self.leap_ms.store(0, Ordering::Relaxed);
    }
}

impl Clock for ProcessClock {
    fn now(&self) -> UnixMillis {
        let wrong_ms = self.skew_ms.load(Ordering::Relaxed) + self.leap_ms.load(Ordering::Relaxed);
        self.world.now().plus(wrong_ms)
    }

    fn boot(&self) -> BootMillis {
        BootMillis(self.world.now().0.cast_unsigned())
    }
}

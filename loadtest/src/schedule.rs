//! When votes are due: at a fixed rate whatever the server does (open loop), or as soon as a
//! connection is free (closed loop).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::sync::Semaphore;

/// A vote's turn: its number and when it should start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Number of the vote, from the run's first index, without holes.
    pub index: u64,
    /// When it was due. Latency counts from here, so that a slow server cannot hide behind a
    /// client that waited for it (coordinated omission).
    pub intended: Instant,
}

/// How votes arrive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Fixed arrival rate in votes per second, never zero.
    Open(f64),
    /// Each connection casts its next vote when the last one ended.
    Closed,
}

/// Hands out turns to however many connections ask.
#[derive(Debug)]
pub struct Schedule {
    pace: Pace,
    start: Instant,
    end: Instant,
    first_index: u64,
    handed_out: AtomicU64,
    due: Semaphore,
    stopped: AtomicBool,
    askers: u32,
}

impl Schedule {
    /// A schedule from now for `length`, numbered from `first_index`, for `askers` connections.
    pub fn new(pace: Pace, length: Duration, first_index: u64, askers: u32) -> Arc<Self> {
        let start = Instant::now();
        Arc::new(Self {
            pace,
            start,
            end: start + length,
            first_index,
            handed_out: AtomicU64::new(0),
            due: Semaphore::new(0),
            stopped: AtomicBool::new(false),
            askers,
        })
    }

    /// The next turn; `None` when the run is over. Waits until the turn is due.
    pub async fn next(&self) -> Option<Turn> {
        match self.pace {
            Pace::Open(rate) => self.next_due(rate).await,
            Pace::Closed => self.next_at_once(),
        }
    }

    async fn next_due(&self, rate: f64) -> Option<Turn> {
        // The semaphore is never closed; were it, the run would be over.
        self.due.acquire().await.ok()?.forget();
        if self.is_stopped() {
            return None;
        }
        let nth = self.handed_out.fetch_add(1, Ordering::Relaxed);
        let intended = self.intended(nth, rate);
        (intended < self.end).then_some(Turn {
            index: self.first_index + nth,
            intended,
        })
    }

    fn next_at_once(&self) -> Option<Turn> {
        let intended = Instant::now();
        if self.is_stopped() || intended >= self.end {
            return None;
        }
        let nth = self.handed_out.fetch_add(1, Ordering::Relaxed);
        Some(Turn {
            index: self.first_index + nth,
            intended,
        })
    }

    /// When the `nth` vote of an open loop is due.
    #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 votes")]
    fn intended(&self, nth: u64, rate: f64) -> Instant {
        self.start + Duration::from_secs_f64(nth as f64 / rate)
    }

    /// Ends the run: turns handed out are finished, no more are given.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.due.add_permits(self.asker_count());
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    fn asker_count(&self) -> usize {
        usize::try_from(self.askers).unwrap_or(usize::MAX)
    }

    /// Makes turns due as time passes, until the end. Only an open loop needs it.
    ///
    /// The runtime's own timer counts whole milliseconds, as much as a whole vote takes here, so
    /// this uses a timer of the kernel (`timerfd_create(2)`).
    pub async fn pace(&self) -> io::Result<()> {
        let Pace::Open(rate) = self.pace else {
            return Ok(());
        };
        let timer = FineTimer::new()?;
        let mut released = 0;
        while !self.is_stopped() {
            released += self.release_due(released, rate);
            let next = self.intended(released, rate);
            if next >= self.end {
                break;
            }
            timer.until(next).await?;
        }
        // One more permit for each asker, so that all of them see the end.
        self.due.add_permits(self.asker_count());
        Ok(())
    }

    fn release_due(&self, released: u64, rate: f64) -> u64 {
        let now = Instant::now().min(self.end);
        let mut due = 0;
        while self.intended(released + due, rate) < now {
            due += 1;
        }
        self.due
            .add_permits(usize::try_from(due).unwrap_or(usize::MAX));
        due
    }
}

/// A timer with the kernel's own precision, some tens of microseconds.
struct FineTimer(AsyncFd<rustix::fd::OwnedFd>);

impl FineTimer {
    fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        #[expect(
            deprecated,
            reason = "its replacement is unsafe; an OwnedFd gives the I/O safety it asks for"
        )]
        let timer = AsyncFd::new(timer)?;
        Ok(Self(timer))
    }

    async fn until(&self, instant: Instant) -> io::Result<()> {
        let wait = instant.saturating_duration_since(Instant::now());
        if wait.is_zero() {
            return Ok(());
        }
        let once = Itimerspec {
            it_interval: Timespec::default(),
            it_value: timespec(wait),
        };
        timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once)?;
        let mut expirations = [0; 8];
        loop {
            let mut ready = self.0.readable().await?;
            let read =
                ready.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut expirations)?));
            if let Ok(result) = read {
                return result.map(|_| ());
            }
        }
    }
}

fn timespec(wait: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: wait.subsec_nanos().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn drain(schedule: &Schedule) -> Vec<Turn> {
        let mut turns = Vec::new();
        while let Some(turn) = schedule.next().await {
            turns.push(turn);
        }
        turns
    }

    #[tokio::test]
    async fn an_open_loop_gives_every_turn_once_and_not_before_it_is_due() {
        let schedule = Schedule::new(Pace::Open(1_000.0), Duration::from_millis(200), 50, 1);
        let asker = async {
            let mut turns = Vec::new();
            while let Some(turn) = schedule.next().await {
                assert!(Instant::now() >= turn.intended);
                turns.push(turn);
            }
            turns
        };
        let (paced, turns) = tokio::join!(schedule.pace(), asker);
        paced.unwrap();
        let indexes: Vec<u64> = turns.iter().map(|t| t.index).collect();
        assert_eq!(indexes, (50..250).collect::<Vec<u64>>());
        for pair in turns.windows(2) {
            let gap = pair[1].intended - pair[0].intended;
            assert!(
                gap.abs_diff(Duration::from_millis(1)) < Duration::from_micros(1),
                "{gap:?}"
            );
        }
    }

    #[tokio::test]
    async fn turns_that_nobody_took_in_time_keep_their_intended_start() {
        let schedule = Schedule::new(Pace::Open(1_000.0), Duration::from_millis(50), 0, 1);
        schedule.pace().await.unwrap();
        let turns = drain(&schedule).await;
        assert_eq!(turns.len(), 50);
        assert!(turns[0].intended.elapsed() >= Duration::from_millis(48));
    }

    #[tokio::test]
    async fn a_stopped_schedule_lets_every_asker_go() {
        let schedule = Schedule::new(Pace::Open(0.01), Duration::from_hours(1), 0, 3);
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let schedule = Arc::clone(&schedule);
                tokio::spawn(async move { schedule.next().await })
            })
            .collect();
        tokio::task::yield_now().await;
        schedule.stop();
        for asker in waiting {
            let turn = tokio::time::timeout(Duration::from_secs(5), asker)
                .await
                .unwrap()
                .unwrap();
            assert_eq!(turn, None);
        }
    }

    #[tokio::test]
    async fn a_closed_loop_gives_turns_as_fast_as_they_are_asked_for() {
        let schedule = Schedule::new(Pace::Closed, Duration::from_millis(20), 0, 1);
        let turns = drain(&schedule).await;
        assert!(turns.len() > 100, "{}", turns.len());
        assert!(schedule.next().await.is_none());
    }
}

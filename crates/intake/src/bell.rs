//! Answering many waiting votes with one wake-up per thread.
//!
//! Waking a task of another thread costs a system call, and a batch answers hundreds of tasks
//! of a few threads. So a thread that serves many voters keeps a *bell*: the intake leaves the
//! wakers of all its tasks at the bell and rings once, and the thread wakes its own tasks, which
//! costs next to nothing. Threads without a bell are woken task by task.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use futures_util::task::AtomicWaker;
use paredao_domain::Receipt;
use parking_lot::Mutex;

use crate::NotTaken;

/// What a vote is answered with.
pub(crate) type Answer = Result<Receipt, NotTaken>;

/// Place of a bell among those of its intake.
type BellNumber = usize;

thread_local! {
    static BELL_OF_THIS_THREAD: Cell<Option<BellNumber>> = const { Cell::new(None) };
}

/// Where an answer is left, and waited for.
#[derive(Debug, Default)]
struct Slot {
    answer: OnceLock<Answer>,
    waker: AtomicWaker,
}

/// The intake's end of a slot. Dropped unanswered, it answers "unknown".
#[derive(Debug)]
pub(crate) struct Waiter {
    slot: Arc<Slot>,
    bell: Option<BellNumber>,
}

/// The voter's end of a slot.
#[derive(Debug)]
pub(crate) struct Waited(Arc<Slot>);

/// A slot for a vote handed in on this thread.
pub(crate) fn slot() -> (Waiter, Waited) {
    let slot = Arc::new(Slot::default());
    let bell = BELL_OF_THIS_THREAD.get();
    (
        Waiter {
            slot: Arc::clone(&slot),
            bell,
        },
        Waited(slot),
    )
}

impl Future for Waited {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        if let Some(answer) = self.0.answer.get() {
            return Poll::Ready(*answer);
        }
        self.0.waker.register(context.waker());
        // The answer may have come between the look and the registration.
        self.0
            .answer
            .get()
            .map_or(Poll::Pending, |answer| Poll::Ready(*answer))
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if self.slot.answer.set(Err(NotTaken::OutcomeUnknown)).is_ok() {
            self.slot.waker.wake();
        }
    }
}

/// One thread's bell.
#[derive(Debug)]
struct Bell {
    /// Those to be woken; `None` when nobody answers the bell any more.
    wakers: Mutex<Option<Vec<Waker>>>,
    thread: AtomicWaker,
}

impl Bell {
    /// Wakes these through their thread, or one by one if it has gone.
    fn ring(&self, wakers: &mut Vec<Waker>) {
        match &mut *self.wakers.lock() {
            Some(waiting) => waiting.append(wakers),
            None => return wakers.drain(..).for_each(Waker::wake),
        }
        self.thread.wake();
    }
}

/// A thread's promise to answer its bell; kept until it is dropped.
#[derive(Debug)]
struct Ringer(Arc<Bell>);

impl Ringer {
    /// Puts those to be woken into `mine`, which is empty.
    fn take(&self, mine: &mut Vec<Waker>) {
        if let Some(waiting) = &mut *self.0.wakers.lock() {
            std::mem::swap(mine, waiting);
        }
    }
}

impl Drop for Ringer {
    fn drop(&mut self) {
        let left = self.0.wakers.lock().take();
        left.into_iter().flatten().for_each(Waker::wake);
    }
}

/// The bells of an intake.
#[derive(Debug, Default)]
pub(crate) struct Bells(Mutex<Vec<Arc<Bell>>>);

impl Bells {
    /// Hangs a bell for this thread and answers it for ever. To be run as a task of the thread,
    /// once. When the future is dropped, the thread's voters are woken one by one again.
    pub(crate) fn answer(&self) -> impl Future<Output = ()> + use<> {
        let bell = Arc::new(Bell {
            wakers: Mutex::new(Some(Vec::new())),
            thread: AtomicWaker::new(),
        });
        let mut bells = self.0.lock();
        BELL_OF_THIS_THREAD.set(Some(bells.len()));
        bells.push(Arc::clone(&bell));
        drop(bells);
        let ringer = Ringer(bell);
        let mut mine = Vec::new();
        poll_fn(move |context| {
            // Before the look: what is left at the bell after it rings this waker.
            ringer.0.thread.register(context.waker());
            ringer.take(&mut mine);
            mine.drain(..).for_each(Waker::wake);
            Poll::Pending
        })
    }

    /// Begins a round of answers.
    pub(crate) fn round(&self) -> Round {
        let bells = self.0.lock().clone();
        let wakers = bells.iter().map(|_| Vec::new()).collect();
        Round { bells, wakers }
    }
}

/// Answers that are given together; its end rings the bells.
#[derive(Debug)]
pub(crate) struct Round {
    bells: Vec<Arc<Bell>>,
    wakers: Vec<Vec<Waker>>,
}

impl Round {
    /// Answers one voter, who hears of it at the end of the round at the latest. One who has
    /// hung up is nobody's loss.
    pub(crate) fn answer(&mut self, waiter: &Waiter, answer: Answer) {
        if waiter.slot.answer.set(answer).is_err() {
            return;
        }
        let Some(waker) = waiter.slot.waker.take() else {
            return;
        };
        match waiter.bell.and_then(|number| self.wakers.get_mut(number)) {
            Some(wakers) => wakers.push(waker),
            None => waker.wake(),
        }
    }
}

impl Drop for Round {
    fn drop(&mut self) {
        for (bell, wakers) in self.bells.iter().zip(&mut self.wakers) {
            if !wakers.is_empty() {
                bell.ring(wakers);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::task::Wake;
    use std::time::{Duration, Instant};

    use super::*;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn counted() -> (Arc<Counted>, Waker) {
        let counted = Arc::new(Counted::default());
        (Arc::clone(&counted), Waker::from(counted))
    }

    fn poll<F: Future>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(waker))
    }

    const NO: Answer = Err(NotTaken::Overloaded);

    #[test]
    fn without_a_bell_every_voter_is_woken_at_once() {
        let (waiter, mut voter) = slot();
        let (count, waker) = counted();
        assert_eq!(poll(Pin::new(&mut voter), &waker), Poll::Pending);
        let mut round = Bells::default().round();
        round.answer(&waiter, NO);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert_eq!(poll(Pin::new(&mut voter), &waker), Poll::Ready(NO));
    }

    #[test]
    fn with_a_bell_a_round_wakes_the_thread_once_and_the_thread_its_voters() {
        std::thread::spawn(|| {
            let bells = Bells::default();
            let mut bell = Box::pin(bells.answer());
            let (thread, thread_waker) = counted();
            assert!(poll(bell.as_mut(), &thread_waker).is_pending());

            let (voters, voters_waker) = counted();
            let mut slots: Vec<_> = (0..100).map(|_| slot()).collect();
            for (_, voter) in &mut slots {
                assert!(poll(Pin::new(voter), &voters_waker).is_pending());
            }
            let mut round = bells.round();
            let mut waiting = Vec::new();
            for (waiter, voter) in slots {
                round.answer(&waiter, NO);
                waiting.push(voter);
            }
            assert_eq!(
                thread.0.load(Ordering::Relaxed),
                0,
                "not before the round ends"
            );
            drop(round);
            assert_eq!(thread.0.load(Ordering::Relaxed), 1, "once for all of them");
            assert_eq!(voters.0.load(Ordering::Relaxed), 0);
            assert!(poll(bell.as_mut(), &thread_waker).is_pending());
            assert_eq!(voters.0.load(Ordering::Relaxed), 100);
            for mut voter in waiting {
                assert_eq!(poll(Pin::new(&mut voter), &voters_waker), Poll::Ready(NO));
            }
        })
        .join()
        .unwrap();
    }

    #[test]
    fn an_answer_that_comes_before_the_first_look_is_found() {
        let (waiter, mut voter) = slot();
        Bells::default().round().answer(&waiter, NO);
        let (_, waker) = counted();
        assert_eq!(poll(Pin::new(&mut voter), &waker), Poll::Ready(NO));
    }

    #[test]
    fn a_waiter_that_is_dropped_answers_unknown() {
        let (waiter, mut voter) = slot();
        let (count, waker) = counted();
        assert!(poll(Pin::new(&mut voter), &waker).is_pending());
        drop(waiter);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        let unknown = Poll::Ready(Err(NotTaken::OutcomeUnknown));
        assert_eq!(poll(Pin::new(&mut voter), &waker), unknown);
    }

    #[test]
    fn a_thread_that_leaves_its_bell_leaves_nobody_asleep() {
        std::thread::spawn(|| {
            let bells = Bells::default();
            let bell = Box::pin(bells.answer());
            let (count, waker) = counted();
            let mut slots: Vec<_> = (0..2).map(|_| slot()).collect();
            for (_, voter) in &mut slots {
                assert!(poll(Pin::new(voter), &waker).is_pending());
            }
            bells.round().answer(&slots[0].0, NO);
            assert_eq!(count.0.load(Ordering::Relaxed), 0, "left at the bell");
            drop(bell);
            assert_eq!(count.0.load(Ordering::Relaxed), 1, "woken as it goes");
            bells.round().answer(&slots[1].0, NO);
            assert_eq!(count.0.load(Ordering::Relaxed), 2, "woken without it");
        })
        .join()
        .unwrap();
    }

    /// Remembers that it was woken.
    #[derive(Default)]
    struct Flag(AtomicBool);

    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Release);
        }
    }

    impl Flag {
        fn is_up(&self) -> bool {
            self.0.swap(false, Ordering::Acquire)
        }
    }

    /// A voter, polled when its flag is up and at no other time.
    struct Asleep {
        voter: Waited,
        flag: Arc<Flag>,
    }

    impl Asleep {
        fn is_answered(&mut self) -> bool {
            let waker = Waker::from(Arc::clone(&self.flag));
            self.flag.is_up() && poll(Pin::new(&mut self.voter), &waker) == Poll::Ready(NO)
        }
    }

    /// A moment that differs from turn to turn, so that two threads meet in every order.
    fn pause(turns: usize) {
        (0..turns).for_each(|_| std::hint::spin_loop());
    }

    #[test]
    fn no_wake_up_is_lost_between_two_threads() {
        const VOTES: usize = 300_000;
        /// Answered one by one, so that one is left at the bell while it is answered for another.
        const AT_ONCE: usize = 2;
        let bells = Arc::new(Bells::default());
        let (sender, receiver) = mpsc::sync_channel(AT_ONCE);
        let mut bell = Box::pin(bells.answer());
        let answering = std::thread::spawn({
            let bells = Arc::clone(&bells);
            move || {
                for (turn, waiter) in receiver.into_iter().enumerate() {
                    pause(turn % 17);
                    bells.round().answer(&waiter, NO);
                }
            }
        });
        let bell_flag = Arc::new(Flag::default());
        let bell_waker = Waker::from(Arc::clone(&bell_flag));
        assert!(poll(bell.as_mut(), &bell_waker).is_pending());
        for turn in 0..VOTES / AT_ONCE {
            let mut asleep = Vec::new();
            for _ in 0..AT_ONCE {
                let (waiter, voter) = slot();
                sender.send(waiter).unwrap();
                let flag = Arc::new(Flag(true.into()));
                asleep.push(Asleep { voter, flag });
                pause(turn % 19);
                asleep.retain_mut(|voter| !voter.is_answered());
            }
            let deadline = Instant::now() + Duration::from_secs(10);
            let mut looks = 0_u32;
            while !asleep.is_empty() {
                asleep.retain_mut(|voter| !voter.is_answered());
                if bell_flag.is_up() {
                    assert!(poll(bell.as_mut(), &bell_waker).is_pending());
                }
                looks += 1;
                if looks.is_multiple_of(4_096) {
                    assert!(Instant::now() < deadline, "a wake-up was lost");
                    std::thread::yield_now();
                }
            }
        }
        drop(sender);
        answering.join().unwrap();
    }
}

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

/// Where an answer is left and voter for.
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
#[derive(Debug, Default)]
struct Bell {
    wakers: Mutex<Vec<Waker>>,
    thread: AtomicWaker,
}

/// The bells of an intake.
#[derive(Debug, Default)]
pub(crate) struct Bells(Mutex<Vec<Arc<Bell>>>);

impl Bells {
    /// Hangs a bell for this thread and answers it for ever. To be run as a task of the thread,
    /// once.
    pub(crate) fn answer(&self) -> impl Future<Output = ()> + use<> {
        let bell = Arc::new(Bell::default());
        let mut bells = self.0.lock();
        BELL_OF_THIS_THREAD.set(Some(bells.len()));
        bells.push(Arc::clone(&bell));
        drop(bells);
        let mut mine = Vec::new();
        poll_fn(move |context| {
            bell.thread.register(context.waker());
            std::mem::swap(&mut mine, &mut *bell.wakers.lock());
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
                bell.wakers.lock().append(wakers);
                bell.thread.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

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
}

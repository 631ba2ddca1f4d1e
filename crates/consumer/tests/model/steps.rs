//! Futures driven by hand: a process is a future, one poll is one step of it, and a crash drops
//! it between two steps.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

/// Ends the present step; the process goes on when it is its turn again.
pub(crate) async fn step() {
    let mut stepped = false;
    std::future::poll_fn(|_| {
        if std::mem::replace(&mut stepped, true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

/// A process, or a part of one.
pub(crate) struct Process(Option<Pin<Box<dyn Future<Output = ()>>>>);

impl Process {
    pub(crate) fn new(future: impl Future<Output = ()> + 'static) -> Self {
        Self(Some(Box::pin(future)))
    }

    /// One step. Returns whether it has ended.
    pub(crate) fn step(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        let future = self.0.as_mut();
        if future.is_some_and(|future| future.as_mut().poll(&mut context).is_ready()) {
            self.0 = None;
        }
        self.0.is_none()
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for something that real threads do: all of it is one step.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(done) => return done,
            Poll::Pending => std::thread::park(),
        }
    }
}

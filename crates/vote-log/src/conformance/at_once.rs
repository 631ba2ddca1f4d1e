//! Asking a future once.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// What a future answers if it does not have to wait; if it has to, it is given up.
pub fn at_once<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_future_that_is_ready_answers() {
        assert_eq!(at_once(std::future::ready(7)), Some(7));
        assert_eq!(at_once(std::future::pending::<u8>()), None);
    }
}

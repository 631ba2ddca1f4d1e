//! The smallest HTTP/1.1 client that can drive a vote: plain TCP, keep-alive, sized bodies.
//!
//! It shares its two cores with the program it measures, so it does only what the measurement
//! needs: no chunked bodies, no redirects, no name look-up.

mod answer;
mod connection;
mod request;

pub use answer::{Answer, AnswerError};
pub use connection::{Connection, ExchangeError};
pub use request::{Door, Reuse, VoteRequest, get};

//! Load, chaos and benchmark: the room that does not believe the others.
//!
//! It drives the program from outside, through HTTP, the command line and signals, and keeps its
//! own books of what it sent and what it was told. It promises that a run ends within its limits
//! of count and time, that it talks to loopback only, that every process it starts is gone when
//! it returns, and that its verdict can fail: each checker is tested against a planted double
//! count and a planted loss.

pub mod bench;
pub mod chaos;
pub mod console;
pub mod http;
pub mod metrics;
pub mod ports;
pub mod process;
pub mod program;
pub mod schedule;
pub mod total;
pub mod verdict;
pub mod vote;

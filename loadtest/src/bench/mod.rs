//! `make bench`: the real program beside what it is compared with, in one table.

pub mod command;
mod contestants;
pub mod fdatasync;
pub mod generate;
mod latency;
mod ledger;
mod memory;
mod overload;
mod report;
mod site;
mod throughput;
mod visibility;
mod wrk;

pub use report::{BenchReport, Line, Section, Target, Unit};

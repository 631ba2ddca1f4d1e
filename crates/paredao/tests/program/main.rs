//! The program as its users meet it: the real binary, over HTTP, signals, files and its socket.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: a failed assumption is a failed test"
)]

mod control;
mod data_folder;
mod dead_letters;
mod disk_full;
mod durability;
mod health;
mod help;
mod http;
mod keys;
mod life;
mod polls;
mod recounts;
mod settings;
mod stopping;
mod store;
mod support;

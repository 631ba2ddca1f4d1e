//! What the embedded log promises beyond the suite: about its files, and about a disk that
//! fails, fills up or damages what it holds.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a failed assumption is a failed test"
)]

mod damage;
mod durability;
mod failing_disk;
mod foreign_files;
mod log_on_disk;
mod lost_segments;
mod retention;
mod side_by_side;

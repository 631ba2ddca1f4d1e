//! The durable queue between API and consumer.
//!
//! This room promises: once [`VoteLog::append`] answers success, the batch survives the death of
//! every process and of the machine, and is delivered at least once, in any order, until it is
//! acknowledged. It judges nothing: what is damaged is delivered as it was found.
//!
//! - [`VoteLog`] and [`Subscription`] are what every backend is, and [`conformance`] is the suite
//!   every backend passes.
//! - [`EmbeddedLog`] keeps the queue in files of its own, on a [`disk::Disk`]; [`disk::simulated`]
//!   has one that loses power.

pub mod conformance;
mod contract;
pub mod disk;
mod embedded;

pub use contract::{
    AppendError, Delivery, DeliveryTag, LogError, LogStatus, Release, Subscription, VoteLog,
};
pub use embedded::{
    EmbeddedLog, EmbeddedOptions, FirstSegment, FoundSegments, KnownSegments, SegmentBytes,
    SegmentRegister,
};

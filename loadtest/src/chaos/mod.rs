//! Breaking the real program under load, round after round, and checking its books each time.

mod book;
mod campaign;
pub mod command;
mod copies;
mod course;
mod evidence;
mod fault;
mod finding;
mod lateral;
mod round;
mod verdict;

pub use campaign::{Campaign, CampaignReport, Plant};
pub use course::Course;
pub use fault::{Deck, Fault};
pub use finding::Finding;

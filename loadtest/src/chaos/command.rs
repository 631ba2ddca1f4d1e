//! `paredao-loadtest chaos`: breaks the real program and checks its books.

use std::path::PathBuf;

use clap::Args;

use super::campaign::{Campaign, CampaignReport, Plant};
use super::course::Course;
use crate::program::binary;
use crate::vote::command::positive;

/// What to break, how often.
#[derive(Args, Debug)]
pub struct ChaosOptions {
    /// Kills at random instants; after every second one comes a round with another fault
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rounds: u32,
    /// Number of the first round, to begin a replay later
    #[arg(long, default_value_t = 0)]
    first_round: u32,
    /// Instead: one short round for each named failure point, in their order
    #[arg(long)]
    every_point: bool,
    /// Deals the faults and the votes; drawn at random and printed if absent
    #[arg(long)]
    seed: Option<u64>,
    /// Votes per second during a round
    #[arg(long, default_value_t = 2000.0, value_parser = positive)]
    rate: f64,
    /// The program; failure points exist only in a build with debug assertions
    #[arg(long, default_value = "target/debug/paredao")]
    program: PathBuf,
    /// Where the data folder is made; it is removed at the end unless something is wrong
    #[arg(long, default_value = "target/tmp")]
    scratch: PathBuf,
    /// Tell the checks a lie, and pass only if they find it
    #[arg(long)]
    plant: Option<Plant>,
}

impl ChaosOptions {
    /// Runs the campaign.
    pub async fn run(&self) -> anyhow::Result<CampaignReport> {
        let course = if self.every_point {
            Course::EveryPoint
        } else {
            Course::Dealt {
                first: self.first_round,
                kills: self.rounds,
            }
        };
        let campaign = Campaign {
            course,
            seed: self.seed.unwrap_or_else(|| rand::random::<u32>().into()),
            rate: self.rate,
            program: binary(&self.program)?,
            scratch: std::path::absolute(&self.scratch)?,
            plant: self.plant,
        };
        campaign.run().await
    }
}

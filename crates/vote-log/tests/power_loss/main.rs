//! Thousands of seeded histories on a disk that forgets: whatever was answered with success is
//! delivered after every power loss, and nothing else is. The same checker notices when syncs
//! are left out.

mod history;
mod lying_disk;

use history::{History, Tally};
use lying_disk::Lie;

const SEEDS: std::ops::Range<u64> = 0..5_000;

fn run_all(lie: Lie) -> Result<Tally, String> {
    let mut total = Tally::default();
    for seed in SEEDS {
        let tally = History::new(seed, lie)
            .run()
            .map_err(|loss| format!("seed {seed}: {loss}"))?;
        total.add(&tally);
    }
    Ok(total)
}

#[test]
fn what_was_answered_survives_every_power_loss() {
    let total = run_all(Lie::None).unwrap_or_else(|loss| panic!("{loss}"));
    println!("{total:?}");
    assert!(total.answered > 50_000, "{total:?}");
    assert!(total.refused > 5_000, "{total:?}");
    assert!(total.restarts > 10_000, "{total:?}");
    assert!(total.power_losses > 5_000, "{total:?}");
    assert!(total.segments_gone > 5_000, "{total:?}");
}

fn assert_that_a_loss_is_noticed(lie: Lie) {
    let noticed = SEEDS
        .filter_map(|seed| History::new(seed, lie).run().err())
        .any(|error| error.ends_with("answered with success and is lost"));
    assert!(noticed, "{lie:?}");
}

#[test]
fn the_checker_notices_that_files_are_not_synced() {
    assert_that_a_loss_is_noticed(Lie::FilesAreSynced);
}

#[test]
fn the_checker_notices_that_the_folder_is_not_synced() {
    assert_that_a_loss_is_noticed(Lie::FolderIsSynced);
}

#[test]
fn the_checker_notices_that_failed_syncs_are_ignored() {
    assert_that_a_loss_is_noticed(Lie::SyncsSucceed);
}

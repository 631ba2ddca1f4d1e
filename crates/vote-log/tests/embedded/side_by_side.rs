//! Appending, consuming and releasing at the same time, on a real disk.

use std::sync::Arc;
use std::time::Duration;

use paredao_vote_log::disk::RealDisk;
use paredao_vote_log::{DeliveryTag, EmbeddedLog, Subscription, VoteLog};

use crate::log_on_disk::{LANE, append, batch, open_on, sort, status};

const COUNT: u64 = 1_000;
const DEADLINE: Duration = Duration::from_mins(1);

async fn consume(mut subscription: Box<dyn Subscription>) -> Vec<u64> {
    let mut seen = Vec::new();
    while seen.len() < usize::try_from(COUNT).unwrap() {
        let taken = subscription.next(500).await.expect("the lane is held");
        let tags: Vec<DeliveryTag> = taken.iter().map(|delivery| delivery.tag).collect();
        let (whole, damaged) = sort(taken);
        assert!(damaged.is_empty());
        seen.extend(whole);
        subscription.ack(&tags).await.expect("the lane is held");
        subscription.release().await.expect("the lane is held");
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_beside_the_appender_gets_everything_once_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(RealDisk::open(folder.path()).unwrap());
    let log: Arc<EmbeddedLog> = Arc::new(open_on(disk).unwrap());
    let subscription = log.subscribe(LANE).await.unwrap();
    let consuming = tokio::spawn(consume(subscription));
    let appending = {
        let log = Arc::clone(&log);
        std::thread::spawn(move || (1..=COUNT).try_for_each(|n| append(&log, &batch(n))))
    };
    let seen = tokio::time::timeout(DEADLINE, consuming).await;
    appending.join().unwrap().unwrap();
    assert_eq!(seen.unwrap().unwrap(), (1..=COUNT).collect::<Vec<_>>());
    assert_eq!(status(&log).batches, 0);
    let files = std::fs::read_dir(folder.path()).unwrap().count();
    assert!(files <= 2, "{files} segments are left");
}

//! What the store keeps of the vote log's files, so that their loss is noticed.

use std::ops::RangeInclusive;
use std::sync::Arc;

use paredao_domain::{Poll, UnixMillis};
use paredao_store::conformance::fixture::{NOW, Scribe, close_poll, open_poll};
use paredao_store::{
    EmbeddedOptions, EmbeddedStore, FinalityHurdle, LogSegments, Loss, LossName, Lost, Store,
    StoreError,
};

use crate::ground::Ground;

fn open(ground: &Ground) -> Arc<EmbeddedStore> {
    let store = EmbeddedStore::open(&ground.path, EmbeddedOptions::default());
    Arc::new(store.unwrap())
}

#[tokio::test]
async fn what_was_noted_is_told_and_never_goes_back() {
    let ground = Ground::new();
    assert_eq!(open(&ground).log_segments(), LogSegments::default());
    let store = open(&ground);
    // (What is released has a newer one behind it.)
    for (newest, released, expected) in [
        (1, 0, (1, 0)),
        (7, 5, (7, 5)),
        (3, 2, (7, 5)),
        (1, 9, (10, 9)),
    ] {
        store.note_newest_segment(newest).await.unwrap();
        store.note_released_segments(released).await.unwrap();
        let expected = LogSegments {
            newest: expected.0,
            released: expected.1,
        };
        // Of the file alone: damage to the journal does not take it back.
        let copy = Ground::new();
        std::fs::copy(&ground.path, &copy.path).unwrap();
        assert_eq!(open(&copy).log_segments(), expected);
    }
}

async fn hurdles(store: &EmbeddedStore, scribe: &Scribe, poll: &Poll) -> Vec<FinalityHurdle> {
    let when = NOW.plus(5_000);
    store.finalize(&scribe.fence, poll.id, when).await.unwrap()
}

/// A store with a poll that is closed and whose barrier has passed.
struct Closed {
    _ground: Ground,
    store: Arc<EmbeddedStore>,
    scribe: Scribe,
    poll: Poll,
}

impl Closed {
    async fn new() -> Self {
        let ground = Ground::new();
        let embedded = open(&ground);
        let store: Arc<dyn Store> = Arc::clone(&embedded) as Arc<dyn Store>;
        let mut scribe = Scribe::claim(&store, 1).await;
        let poll = open_poll(&*store, "um").await;
        let poll = close_poll(&*store, &poll, 1_000).await;
        scribe.pass_barrier(&poll).await;
        Self {
            _ground: ground,
            store: embedded,
            scribe,
            poll,
        }
    }

    async fn lose(&self, lost: &[RangeInclusive<u64>], now: UnixMillis) {
        self.find(lost, &[], now).await;
    }

    /// A start that misses some and finds others.
    async fn find(
        &self,
        lost: &[RangeInclusive<u64>],
        there: &[RangeInclusive<u64>],
        now: UnixMillis,
    ) {
        let noted = self
            .store
            .note_lost_segments(lost.to_vec(), there.to_vec(), now);
        noted.await.unwrap();
    }

    async fn give_up(&self, number: u64, reason: &str) -> Result<Loss, StoreError> {
        let name = LossName::Segment(number);
        self.store.write_off_loss(name, reason, NOW).await
    }

    /// What is lost, and why it was given up.
    async fn losses(&self) -> Vec<(RangeInclusive<u64>, UnixMillis, Option<String>)> {
        let losses = self.store.losses().await.unwrap();
        let told = losses.into_iter().filter_map(|loss| match loss.what {
            Lost::Segments {
                numbers,
                noticed_at,
            } => Some((numbers, noticed_at, loss.written_off_because)),
            Lost::Batches { .. } => None,
        });
        told.collect()
    }

    async fn hurdles(&self) -> Vec<FinalityHurdle> {
        hurdles(&self.store, &self.scribe, &self.poll).await
    }

    async fn undecided(&self) -> u64 {
        self.store.snapshot(NOW).await.unwrap().books.segments_lost
    }
}

#[tokio::test]
async fn lost_segments_keep_a_result_from_being_final_until_they_are_given_up() {
    let closed = Closed::new().await;
    closed.lose(&[5..=7, 9..=9], NOW).await;
    assert_eq!(closed.hurdles().await, [FinalityHurdle::SegmentsLost(4)]);
    assert_eq!(closed.undecided().await, 4);
    for number in [4, 8] {
        let refused = closed.give_up(number, "lixo").await;
        assert!(matches!(refused, Err(StoreError::UnknownLoss(_))));
    }
    closed.give_up(6, "lixo").await.unwrap();
    assert_eq!(closed.hurdles().await, [FinalityHurdle::SegmentsLost(1)]);
    closed.give_up(9, "também").await.unwrap();
    let given_up = [
        (5..=7, NOW, Some("lixo".to_owned())),
        (9..=9, NOW, Some("também".to_owned())),
    ];
    assert_eq!(closed.losses().await, given_up);
    assert_eq!(closed.undecided().await, 0);
    assert_eq!(closed.hurdles().await, []);
}

#[tokio::test]
async fn what_is_noted_again_changes_nothing_and_what_is_there_again_is_not_missed() {
    let closed = Closed::new().await;
    closed.lose(&[5..=7, 9..=9], NOW).await;
    closed.lose(&[5..=7, 9..=9], NOW.plus(9)).await;
    let expected = [(5..=7, NOW, None), (9..=9, NOW, None)];
    assert_eq!(closed.losses().await, expected);
    // Also when the log says no more that they are gone, since later ones went in good order.
    closed.lose(&[], NOW.plus(10)).await;
    assert_eq!(closed.losses().await, expected);
    closed.find(&[], &[6..=6, 8..=10], NOW.plus(11)).await;
    let expected = [(5..=5, NOW, None), (7..=7, NOW, None)];
    assert_eq!(closed.losses().await, expected);
    closed.find(&[], &[5..=5, 7..=7], NOW.plus(12)).await;
    assert_eq!(closed.losses().await, []);
    assert_eq!(closed.hurdles().await, []);
}

#[tokio::test]
async fn a_loss_without_end_is_noted_as_quickly_as_any() {
    let closed = Closed::new().await;
    closed.lose(&[1..=u64::from(u32::MAX)], NOW).await;
    closed.give_up(7, "lixo").await.unwrap();
    let started = std::time::Instant::now();
    closed.lose(&[1..=u64::from(u32::MAX)], NOW).await;
    assert!(started.elapsed() < std::time::Duration::from_secs(5));
    assert_eq!(closed.hurdles().await, []);
}

#[tokio::test]
async fn a_second_loss_is_a_loss_of_its_own() {
    let closed = Closed::new().await;
    closed.lose(&[1..=3], NOW).await;
    closed.give_up(1, "disco de 20/11").await.unwrap();
    let later = NOW.plus(10);
    closed.lose(&[1..=4], later).await;
    let expected = [
        (1..=3, NOW, Some("disco de 20/11".to_owned())),
        (4..=4, later, None),
    ];
    assert_eq!(closed.losses().await, expected);
    assert_eq!(closed.hurdles().await, [FinalityHurdle::SegmentsLost(1)]);
}

#[tokio::test]
async fn a_clock_that_is_wrong_when_the_loss_is_noticed_exempts_no_poll() {
    let closed = Closed::new().await;
    closed.lose(&[1..=3], NOW.plus(-86_400_000)).await;
    assert_eq!(closed.hurdles().await, [FinalityHurdle::SegmentsLost(3)]);
}

/// An older copy of the store does not know what was opened since.
#[tokio::test]
async fn a_poll_opened_after_the_loss_was_noticed_may_have_lost_votes_all_the_same() {
    let ground = Ground::new();
    let embedded = open(&ground);
    let store: Arc<dyn Store> = Arc::clone(&embedded) as Arc<dyn Store>;
    let mut scribe = Scribe::claim(&store, 1).await;
    let noted = embedded.note_lost_segments(vec![5..=7], Vec::new(), NOW);
    noted.await.unwrap();
    let poll = open_poll(&*store, "um").await;
    let poll = close_poll(&*store, &poll, 1_000).await;
    scribe.pass_barrier(&poll).await;
    let expected = [FinalityHurdle::SegmentsLost(3)];
    assert_eq!(hurdles(&embedded, &scribe, &poll).await, expected);
}

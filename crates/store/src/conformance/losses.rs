//! What was confirmed and is lost, from being noticed to being given up.

use std::sync::Arc;

use paredao_domain::{BatchId, EncodedBatch, Incarnation, Lane, Poll};

use super::fixture::{NOW, Scribe, close_poll, open_poll, snapshot, vote};
use crate::{FinalityHurdle, Loss, LossName, Lost, Store, StoreError};

/// A closed poll whose barrier came through, and two batches of its votes that did not: numbers 2
/// and 3, with three votes.
struct Scene {
    store: Arc<dyn Store>,
    scribe: Scribe,
    poll: Poll,
    lost: [EncodedBatch; 2],
}

impl Scene {
    async fn new(store: Arc<dyn Store>) -> Self {
        let poll = open_poll(&*store, "um").await;
        let mut scribe = Scribe::claim(&store, 1).await;
        scribe.submit(&poll, NOW.minute(), &[vote(1, 1)]).await;
        let lost = [
            scribe.cut(poll.id, NOW.minute(), &[vote(1, 2), vote(1, 3)]),
            scribe.cut(poll.id, NOW.minute(), &[vote(1, 4)]),
        ];
        scribe.submit(&poll, NOW.minute(), &[vote(1, 5)]).await;
        let poll = close_poll(&*store, &poll, 3_000).await;
        scribe.pass_barrier(&poll).await;
        Self {
            store,
            scribe,
            poll,
            lost,
        }
    }

    async fn losses(&self) -> Vec<Loss> {
        self.store.losses().await.unwrap()
    }

    async fn give_up(&self, batch: &EncodedBatch) -> Loss {
        let name = LossName::Batch(batch.id());
        let given_up = self.store.write_off_loss(name, "lixo", NOW).await;
        given_up.unwrap()
    }

    async fn hurdles(&self) -> Vec<FinalityHurdle> {
        let (fence, when) = (&self.scribe.fence, NOW.plus(5_000));
        let hurdles = self.store.finalize(fence, self.poll.id, when).await;
        hurdles.unwrap()
    }
}

fn gap(numbers: std::ops::RangeInclusive<u64>, votes: u64) -> Lost {
    Lost::Batches {
        incarnation: Incarnation(1),
        lane: Lane(0),
        numbers,
        votes,
        minutes: NOW.minute()..=NOW.minute(),
    }
}

fn undecided(what: Lost) -> Loss {
    Loss {
        what,
        written_off_because: None,
    }
}

fn given_up(what: Lost) -> Loss {
    Loss {
        what,
        written_off_because: Some("lixo".to_owned()),
    }
}

pub(super) async fn what_was_confirmed_and_never_came_is_listed_gap_by_gap(store: Arc<dyn Store>) {
    let mut scene = Scene::new(store).await;
    assert_eq!(scene.losses().await, [undecided(gap(2..=3, 3))]);
    let poll = open_poll(&*scene.store, "dois").await;
    let scribe = &mut scene.scribe;
    scribe.cut(poll.id, NOW.minute(), &[vote(1, 6)]);
    scribe.submit(&poll, NOW.minute(), &[vote(1, 7)]).await;
    let mut other = Scribe::claim(&scene.store, 2).await;
    other.submit(&poll, NOW.minute(), &[vote(1, 8)]).await;
    let gaps = [undecided(gap(2..=3, 3)), undecided(gap(6..=6, 1))];
    assert_eq!(scene.losses().await, gaps);
}

pub(super) async fn a_loss_that_was_given_up_no_longer_stands_in_the_way(store: Arc<dyn Store>) {
    let scene = Scene::new(store).await;
    assert_eq!(scene.hurdles().await, [FinalityHurdle::Missing(3)]);
    let loss = scene.give_up(&scene.lost[1]).await;
    assert_eq!(loss, given_up(gap(2..=3, 3)));
    assert_eq!(scene.losses().await, [loss]);
    assert_eq!(scene.hurdles().await, []);
    assert_eq!(snapshot(&*scene.store).await.books.missing, 3, "still told");
}

pub(super) async fn what_is_left_of_a_loss_stays_given_up_when_the_rest_comes(
    store: Arc<dyn Store>,
) {
    let mut scene = Scene::new(store).await;
    scene.give_up(&scene.lost[0]).await;
    scene.scribe.apply_batch(&scene.poll, &scene.lost[0]).await;
    assert_eq!(scene.losses().await, [given_up(gap(3..=3, 1))]);
    assert_eq!(scene.hurdles().await, []);
    let snapshot = snapshot(&*scene.store).await;
    assert_eq!((snapshot.polls[0].votes[0], snapshot.books.missing), (4, 1));
}

pub(super) async fn what_is_not_lost_cannot_be_given_up(store: Arc<dyn Store>) {
    let scene = Scene::new(store).await;
    let id = scene.lost[0].id();
    scene.give_up(&scene.lost[0]).await;
    for name in [
        LossName::Batch(id),
        LossName::Batch(BatchId { number: 1, ..id }),
        LossName::Batch(BatchId { number: 5, ..id }),
        LossName::Batch(BatchId {
            lane: Lane(1),
            ..id
        }),
        LossName::Batch(BatchId {
            incarnation: Incarnation(2),
            ..id
        }),
        LossName::Segment(2),
    ] {
        let refused = scene.store.write_off_loss(name, "lixo", NOW).await;
        assert!(
            matches!(&refused, Err(StoreError::UnknownLoss(named)) if *named == name),
            "{refused:?}"
        );
    }
}

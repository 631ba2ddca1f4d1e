//! What the store keeps of the vote log's files, so that their loss is noticed.

use std::sync::Arc;

use paredao_domain::Poll;
use paredao_store::conformance::fixture::{NOW, Scribe, close_poll, open_poll};
use paredao_store::{
    EmbeddedOptions, EmbeddedStore, FinalityHurdle, Loss, LossName, Lost, Store, StoreError,
};

use crate::ground::Ground;

fn open(ground: &Ground) -> Arc<EmbeddedStore> {
    let store = EmbeddedStore::open(&ground.path, EmbeddedOptions::default());
    Arc::new(store.unwrap())
}

#[tokio::test]
async fn the_highest_number_ever_noted_is_told_and_never_goes_back() {
    let ground = Ground::new();
    assert_eq!(open(&ground).log_segment(), None);
    let store = open(&ground);
    for (newest, highest) in [(1, 1), (7, 7), (3, 7)] {
        store.note_log_segment(newest, None, NOW).await.unwrap();
        // Of the file alone: damage to the journal does not take it back.
        let copy = Ground::new();
        std::fs::copy(&ground.path, &copy.path).unwrap();
        assert_eq!(open(&copy).log_segment(), Some(highest));
    }
    drop(store);
    assert_eq!(open(&ground).log_segment(), Some(7));
}

async fn hurdles(store: &EmbeddedStore, scribe: &Scribe, poll: &Poll) -> Vec<FinalityHurdle> {
    let when = NOW.plus(5_000);
    store.finalize(&scribe.fence, poll.id, when).await.unwrap()
}

#[tokio::test]
async fn lost_segments_stand_in_the_way_of_polls_opened_before_until_they_are_given_up() {
    let ground = Ground::new();
    let embedded = open(&ground);
    let store: Arc<dyn Store> = Arc::clone(&embedded) as Arc<dyn Store>;
    let mut scribe = Scribe::claim(&store, 1).await;
    let poll = open_poll(&*store, "um").await;
    let poll = close_poll(&*store, &poll, 1_000).await;
    scribe.pass_barrier(&poll).await;
    let noticed_at = NOW.plus(10);
    let noted = embedded.note_log_segment(9, Some(5..=7), noticed_at).await;
    noted.unwrap();

    let expected = [FinalityHurdle::SegmentsLost(3)];
    assert_eq!(hurdles(&embedded, &scribe, &poll).await, expected);
    let mut loss = Loss {
        what: Lost::Segments {
            numbers: 5..=7,
            noticed_at,
        },
        written_off_because: None,
    };
    assert_eq!(store.losses().await.unwrap(), [loss.clone()]);
    for number in [4, 8] {
        let name = LossName::Segment(number);
        let refused = store.write_off_loss(name, "lixo", NOW).await;
        assert!(matches!(refused, Err(StoreError::UnknownLoss(_))));
    }
    loss.written_off_because = Some("lixo".to_owned());
    let name = LossName::Segment(6);
    let given_up = store.write_off_loss(name, "lixo", NOW).await.unwrap();
    assert_eq!(given_up, loss);
    assert_eq!(store.losses().await.unwrap(), [loss]);
    assert_eq!(hurdles(&embedded, &scribe, &poll).await, []);
}

#[tokio::test]
async fn segments_lost_before_a_poll_opened_held_none_of_its_votes() {
    let ground = Ground::new();
    let embedded = open(&ground);
    let store: Arc<dyn Store> = Arc::clone(&embedded) as Arc<dyn Store>;
    let mut scribe = Scribe::claim(&store, 1).await;
    let poll = open_poll(&*store, "um").await;
    let before = poll.opens_at.unwrap();
    let noted = embedded.note_log_segment(9, Some(5..=7), before).await;
    noted.unwrap();
    let poll = close_poll(&*store, &poll, 1_000).await;
    scribe.pass_barrier(&poll).await;
    assert_eq!(hurdles(&embedded, &scribe, &poll).await, []);
}

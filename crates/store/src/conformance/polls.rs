//! Polls and secrets.

use std::sync::Arc;

use paredao_domain::{PollError, PollId, UtcOffset};

use super::fixture::{NOW, draft, snapshot};
use crate::{PollChange, Store, StoreError};

pub(super) async fn a_poll_reads_back_as_it_was_created(store: Arc<dyn Store>) {
    let mut wish = draft("um", "+05:30".parse::<UtcOffset>().unwrap());
    "Quem sai? 'Ação' \"é\" 🗳".clone_into(&mut wish.title);
    wish.closes_at = Some("2030-01-01T00:00:00-03:00".to_owned());
    wish.principal = true;
    let first = store.create_poll(wish.clone(), NOW).await.unwrap();
    let second = draft("dois", UtcOffset::BRASILIA);
    let second = store.create_poll(second, NOW).await.unwrap();
    assert_eq!((first.id, second.id), (PollId(1), PollId(2)));
    assert_eq!(store.polls().await.unwrap(), [first.clone(), second]);
    assert_eq!(snapshot(&*store).await.polls[0].poll, first);
    let again = store.create_poll(wish, NOW).await;
    assert!(matches!(again, Err(StoreError::PollExists(slug)) if slug == first.slug));
}

pub(super) async fn polls_open_close_and_extend_by_the_rules_of_the_domain(store: Arc<dyn Store>) {
    let poll = draft("um", UtcOffset::BRASILIA);
    let poll = store.create_poll(poll, NOW).await.unwrap();
    let change = |change| store.change_poll(&poll.slug, change, NOW);
    let close = PollChange::Close { lead_ms: 3_000 };
    let refused = change(close).await;
    assert!(matches!(refused, Err(StoreError::Poll(PollError::NotOpen))));
    assert_eq!(change(PollChange::Open).await.unwrap().opens_at, Some(NOW));
    let extended = PollChange::Extend {
        closes_at: NOW.plus(60_000),
        lead_ms: 3_000,
    };
    let extended = change(extended).await.unwrap();
    assert_eq!(extended.closes_at, Some(NOW.plus(60_000)));
    let closed = change(close).await.unwrap();
    assert_eq!(closed.closes_at, Some(NOW.plus(3_000)));
    assert_eq!(store.polls().await.unwrap(), [closed]);

    let nobody = "ninguem".parse().unwrap();
    let refused = store.change_poll(&nobody, close, NOW).await;
    assert!(matches!(refused, Err(StoreError::UnknownPoll(slug)) if slug == nobody));
}

pub(super) async fn secrets_are_drawn_apart_and_stay(store: Arc<dyn Store>) {
    let create = |slug| store.create_poll(draft(slug, UtcOffset::BRASILIA), NOW);
    let (one, two) = (create("um").await.unwrap(), create("dois").await.unwrap());
    assert_ne!(one.secret, two.secret);
    let receipts = store.receipt_secret().await.unwrap();
    assert_ne!(receipts.expose(), &[0; 32]);
    assert_eq!(store.receipt_secret().await.unwrap(), receipts);
    assert_eq!(store.polls().await.unwrap()[0].secret, one.secret);
}

//! Ledgers with votes in them, and hands that tamper with them.

use std::sync::Arc;

use paredao_domain::{Poll, Vote};
use paredao_store::conformance::fixture::{NOW, Scribe, apply_random, close_poll, open_poll, vote};
use paredao_store::recount::{PlainReport, plain};
use paredao_store::{EmbeddedLedger, Store};

use crate::ground::Ground;

impl Ground {
    /// Runs SQL on the closed file, as somebody who tampers with it would.
    pub(crate) fn tamper(&self, sql: &str) {
        let connection = rusqlite::Connection::open(&self.path).unwrap();
        connection.execute_batch(sql).unwrap();
    }

    pub(crate) fn plain(&self) -> PlainReport {
        let mut door = EmbeddedLedger::open(&self.path).unwrap();
        plain(&mut door, None, &mut |_| ()).unwrap()
    }
}

/// SQL that lets a tamperer at the ledger.
pub(crate) const UNLOCK: &str = "DROP TRIGGER ledger_entries_never_change;
                          DROP TRIGGER ledger_entries_never_go;";

/// A ledger with every kind of mark: two polls of random votes, one closed, final, and voted for
/// afterwards.
pub(crate) async fn fill(store: &Arc<dyn Store>, seed: u64) -> Vec<Poll> {
    let mut polls = vec![
        open_poll(&**store, "um").await,
        open_poll(&**store, "dois").await,
    ];
    let mut scribe = Scribe::claim(store, 1_000 + seed).await;
    apply_random(&mut scribe, &polls, seed, 60).await;
    polls[1] = close_poll(&**store, &polls[1], 1).await;
    let after_close = [60_000, 61_000].map(|key| Vote {
        offset: 2_000,
        ..vote(1, key)
    });
    let copies = [vote(1, 70_000), vote(1, 70_000), vote(2, 70_000)];
    let votes = [&after_close[..], &copies].concat();
    scribe.submit(&polls[1], NOW.minute(), &votes).await;
    scribe.pass_barrier(&polls[1]).await;
    let hurdles = store
        .finalize(&scribe.fence, polls[1].id, NOW.plus(2_000))
        .await
        .unwrap();
    assert!(hurdles.is_empty(), "{hurdles:?}");
    polls = store.polls().await.unwrap();
    scribe
        .submit(&polls[1], NOW.minute(), &[vote(1, 80_000)])
        .await;
    scribe
        .submit(&polls[0], NOW.minute(), &[vote(1, 90_000)])
        .await;
    polls
}

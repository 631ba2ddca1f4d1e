//! What the tests of the embedded store stand on: files with a ledger in them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use paredao_domain::{Poll, Vote};
use paredao_store::conformance::fixture::{NOW, Scribe, apply_random, close_poll, open_poll, vote};
use paredao_store::recount::{KeysOptions, KeysReport, PlainReport, keys, plain};
use paredao_store::{EmbeddedLedger, EmbeddedOptions, EmbeddedStore, Store};
use tempfile::TempDir;

/// A folder with the file of a store.
pub(crate) struct Ground {
    pub(crate) folder: TempDir,
    pub(crate) path: PathBuf,
}

impl Ground {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        Self { folder, path }
    }

    pub(crate) fn open(&self) -> Arc<dyn Store> {
        open(&self.path)
    }

    /// Runs SQL on the closed file, as somebody who tampers with it would.
    pub(crate) fn tamper(&self, sql: &str) {
        let connection = rusqlite::Connection::open(&self.path).unwrap();
        connection.execute_batch(sql).unwrap();
    }

    pub(crate) fn plain(&self) -> PlainReport {
        let mut door = EmbeddedLedger::open(&self.path).unwrap();
        plain(&mut door, None, &mut |_| ()).unwrap()
    }

    /// By keys, with so little memory that most goes through the file.
    pub(crate) fn keys(&self) -> KeysReport {
        self.keys_within(20_000)
    }

    pub(crate) fn keys_within(&self, memory_bytes: usize) -> KeysReport {
        let mut door = EmbeddedLedger::open(&self.path).unwrap();
        let options = KeysOptions {
            folder: self.folder.path().to_owned(),
            memory_bytes,
        };
        keys(&mut door, None, &options, &mut |_| ()).unwrap()
    }
}

pub(crate) fn open(path: &Path) -> Arc<dyn Store> {
    Arc::new(EmbeddedStore::open(path, EmbeddedOptions::default()).unwrap())
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

//! The embedded store keeps every sentence of the suite.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use paredao_store::{EmbeddedOptions, EmbeddedStore, Store, conformance};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_store_keeps_every_sentence_of_the_suite() {
    let folder = tempfile::tempdir().unwrap();
    let made = AtomicU32::new(0);
    conformance::run(async || {
        let name = format!("{}.sqlite", made.fetch_add(1, Ordering::Relaxed));
        let path = folder.path().join(name);
        let store = EmbeddedStore::open(&path, EmbeddedOptions::default()).unwrap();
        Arc::new(store) as Arc<dyn Store>
    })
    .await;
}

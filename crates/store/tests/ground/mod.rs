//! What the tests of the embedded store stand on: the file of a store, in a folder of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use paredao_store::recount::{KeysOptions, KeysReport, keys};
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
        let path = folder.path().join("store.sqlite");
        Self { folder, path }
    }

    pub(crate) fn open(&self) -> Arc<dyn Store> {
        open(&self.path)
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

/// Where the journal of a store's file is.
pub(crate) fn journal(path: &Path) -> PathBuf {
    path.with_extension("sqlite-wal")
}

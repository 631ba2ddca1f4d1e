//! A disk between the log and the simulated one that leaves something out and says it was done.

use std::io;

use paredao_vote_log::disk::simulated::ForgettingDisk;
use paredao_vote_log::disk::{Disk, DiskFile};

/// What the disk says although it is not so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// It tells the truth.
    None,
    /// Files were synced.
    FilesAreSynced,
    /// The folder was synced.
    FolderIsSynced,
    /// The sync of a file succeeded.
    SyncsSucceed,
}

pub(crate) struct LyingDisk(pub(crate) ForgettingDisk, pub(crate) Lie);

struct LyingFile(Box<dyn DiskFile>, Lie);

impl Disk for LyingDisk {
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(LyingFile(self.0.create(name)?, self.1)))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(LyingFile(self.0.open(name)?, self.1)))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        match self.1 {
            Lie::FolderIsSynced => Ok(()),
            Lie::None | Lie::FilesAreSynced | Lie::SyncsSucceed => self.0.sync_dir(),
        }
    }

    fn path_of(&self, name: &str) -> String {
        self.0.path_of(name)
    }
}

impl DiskFile for LyingFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(bytes, offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.0.truncate(size)
    }

    fn sync_data(&self) -> io::Result<()> {
        match self.1 {
            Lie::FilesAreSynced => Ok(()),
            Lie::SyncsSucceed => {
                // The machine being off is no answer that could be made up.
                let done = self.0.sync_data();
                if self.0.size().is_err() { done } else { Ok(()) }
            }
            Lie::None | Lie::FolderIsSynced => self.0.sync_data(),
        }
    }
}

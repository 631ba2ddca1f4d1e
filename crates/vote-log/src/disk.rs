//! What the embedded log asks of a disk, so that a test can put one under it that loses power.
//!
//! A disk is one folder of files. Nothing is durable before it is synced: bytes and length of a
//! file by [`DiskFile::sync_data`], the existence of a name by [`Disk::sync_dir`].

mod real;
pub mod simulated;

use std::io;

pub use real::RealDisk;

/// What every drive writes wholly or not at all; most write more at once.
pub const SECTOR_BYTES: usize = 512;

/// A folder of files.
pub trait Disk: Send + Sync + 'static {
    /// Makes an empty file for reading and writing; fails if the name is taken.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// The names of all files, in any order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Removes a file. Whoever has it open can go on reading.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes creations and removals durable.
    fn sync_dir(&self) -> io::Result<()>;

    /// How a file is called in messages to the operator.
    fn path_of(&self, name: &str) -> String;
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Writes all of `bytes`, or fails having written any part of them.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Fills `buffer` as far as the file reaches; answers how many bytes those were.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Bytes in the file.
    fn size(&self) -> io::Result<u64>;

    /// Cuts the file off at `size`.
    fn truncate(&self, size: u64) -> io::Result<()>;

    /// Makes everything written and the file's length durable. After a failure nobody knows
    /// what is, and a later success says nothing about what was written before the failure.
    fn sync_data(&self) -> io::Result<()>;
}

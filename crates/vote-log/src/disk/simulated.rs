//! A disk in memory that forgets: for the tests of this room and of those that stand on it.
//!
//! [`ForgettingDisk`] keeps apart what a program sees (the page cache) and what is durable. A
//! power loss forgets any part of what was not synced: a write may be there, missing, or torn
//! between [sectors](super::SECTOR_BYTES), a later one may be there without an earlier one, a file may have its
//! length without its bytes, a name may be missing although its file was synced. A failed sync
//! behaves as on Linux: what was waiting is durable or not, and no later sync makes it so.
//!
//! Everything is drawn from one seed, so a history that fails can be run again.

mod inode;
mod machine;
mod random;

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Disk, DiskFile};
use machine::{Handle, Machine};

pub use random::Random;

/// What can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Making a file.
    Create,
    /// Writing to a file.
    Write,
    /// Syncing a file.
    Sync,
    /// Cutting a file off.
    Truncate,
    /// Removing a file.
    Remove,
    /// Syncing the folder.
    SyncDir,
}

/// A disk in memory that forgets. Clones are the same disk.
#[derive(Clone)]
pub struct ForgettingDisk(Arc<Mutex<Machine>>);

impl ForgettingDisk {
    /// An empty disk whose accidents follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Machine::new(seed))))
    }

    /// Loses power and comes back: forgets what was not synced, closes every file.
    pub fn lose_power(&self) {
        self.0.lock().lose_power();
    }

    /// Cuts the power in the middle of the operation after the next `operations` ones that
    /// change something. From then on everything fails until [`Self::lose_power`] brings it back.
    pub fn cut_power_after(&self, operations: u64) {
        self.0.lock().cut_power_after(operations);
    }

    /// How many operations that change something were begun since the disk was made.
    pub fn operations(&self) -> u64 {
        self.0.lock().operations()
    }

    /// Makes the next `times` operations of a kind fail with "input/output error".
    pub fn fail_next(&self, operation: Operation, times: u32) {
        self.0.lock().fail_next(operation, times);
    }

    /// Takes back what [`Self::fail_next`] has not made fail yet.
    pub fn fail_no_more(&self) {
        self.0.lock().fail_no_more();
    }

    /// Gives the disk room for so many bytes in all its files; `None` for all there may be.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.0.lock().set_capacity(bytes);
    }

    /// What a program would read from a file.
    pub fn contents(&self, name: &str) -> io::Result<Vec<u8>> {
        self.0.lock().contents(name)
    }

    /// Puts other bytes in the place of a file, durably: damage, or a file from elsewhere.
    pub fn replace(&self, name: &str, contents: &[u8]) {
        self.0.lock().replace(name, contents);
    }

    /// Makes reads that touch this byte of a file fail with "input/output error", until it is
    /// written again: a drive puts another sector in the place of a bad one then.
    pub fn spoil(&self, name: &str, offset: u64) -> io::Result<()> {
        self.0.lock().spoil(name, offset)
    }
}

impl Disk for ForgettingDisk {
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let handle = self.0.lock().create(name)?;
        Ok(Box::new(OpenFile(Arc::clone(&self.0), handle)))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let handle = self.0.lock().open(name)?;
        Ok(Box::new(OpenFile(Arc::clone(&self.0), handle)))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.0.lock().list()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.lock().remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.0.lock().sync_dir()
    }

    fn path_of(&self, name: &str) -> String {
        format!("simulated:{name}")
    }
}

struct OpenFile(Arc<Mutex<Machine>>, Handle);

impl DiskFile for OpenFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.lock().write(self.1, bytes, offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.lock().inode(self.1)?.read(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.lock().inode(self.1)?.size())
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.0.lock().truncate(self.1, size)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.lock().sync(self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(disk: &ForgettingDisk) -> Option<Vec<u8>> {
        disk.contents("f").ok()
    }

    #[test]
    fn what_was_synced_survives_every_power_loss() {
        for seed in 0..200 {
            let disk = ForgettingDisk::new(seed);
            let file = disk.create("f").unwrap();
            file.write_at(&[7; 2000], 100).unwrap();
            file.sync_data().unwrap();
            disk.sync_dir().unwrap();
            disk.lose_power();
            let mut expected = vec![0; 100];
            expected.resize(2100, 7);
            assert_eq!(read(&disk), Some(expected));
        }
    }

    #[test]
    fn what_was_not_synced_is_kept_lost_and_torn() {
        let mut seen = [false; 4];
        for seed in 0..200 {
            let disk = ForgettingDisk::new(seed);
            let file = disk.create("f").unwrap();
            disk.sync_dir().unwrap();
            file.write_at(&[7; 2000], 0).unwrap();
            disk.lose_power();
            let found = read(&disk).unwrap();
            let kind = match (found.contains(&7), found.contains(&0)) {
                (false, false) => 0,
                (false, true) => 1,
                (true, false) if found.len() == 2000 => 2,
                (true, _) => 3,
            };
            seen[kind] = true;
        }
        assert_eq!(seen, [true; 4], "nothing, only the length, all, torn");
    }

    #[test]
    fn a_later_write_survives_without_an_earlier_one() {
        let survives = |seed| {
            let disk = ForgettingDisk::new(seed);
            let file = disk.create("f").unwrap();
            disk.sync_dir().unwrap();
            file.write_at(&[1; 512], 0).unwrap();
            file.write_at(&[2; 512], 512).unwrap();
            disk.lose_power();
            let found = read(&disk).unwrap();
            found.get(512) == Some(&2) && found[0] == 0
        };
        assert!((0..200).any(survives));
    }

    #[test]
    fn a_name_may_be_lost_although_its_file_was_synced() {
        let lost = |seed| {
            let disk = ForgettingDisk::new(seed);
            disk.create("f").unwrap().sync_data().unwrap();
            disk.lose_power();
            read(&disk).is_none()
        };
        assert!((0..50).any(lost) && !(0..50).all(lost));
    }

    #[test]
    fn a_sync_after_a_failed_one_does_not_bring_back_what_was_waiting() {
        let lost = |seed| {
            let disk = ForgettingDisk::new(seed);
            let file = disk.create("f").unwrap();
            disk.sync_dir().unwrap();
            file.write_at(&[7; 10], 0).unwrap();
            disk.fail_next(Operation::Sync, 1);
            assert!(file.sync_data().is_err());
            file.sync_data().unwrap();
            assert_eq!(
                read(&disk),
                Some(vec![7; 10]),
                "the page cache still shows it"
            );
            disk.lose_power();
            read(&disk) != Some(vec![7; 10])
        };
        assert!((0..50).any(lost) && !(0..50).all(lost));
    }

    #[test]
    fn a_full_disk_refuses_until_there_is_room() {
        let disk = ForgettingDisk::new(1);
        let file = disk.create("f").unwrap();
        disk.set_capacity(Some(1000));
        let error = file.write_at(&[7; 1001], 0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        disk.set_capacity(None);
        file.write_at(&[7; 1001], 0).unwrap();
    }

    #[test]
    fn after_the_power_was_cut_everything_fails_until_it_is_back() {
        let disk = ForgettingDisk::new(1);
        let file = disk.create("f").unwrap();
        disk.sync_dir().unwrap();
        disk.cut_power_after(1);
        file.write_at(b"x", 0).unwrap();
        assert!(file.sync_data().is_err());
        assert!(disk.list().is_err() && file.size().is_err());
        disk.lose_power();
        assert!(file.size().is_err(), "an old handle stays closed");
        assert!(disk.open("f").is_ok());
    }

    #[test]
    fn a_spoiled_byte_fails_the_reads_that_touch_it() {
        let disk = ForgettingDisk::new(1);
        let file = disk.create("f").unwrap();
        file.write_at(&[7; 100], 0).unwrap();
        disk.spoil("f", 50).unwrap();
        assert!(file.read_at(&mut [0; 60], 0).is_err());
        assert!(file.read_at(&mut [0; 40], 60).is_ok());
        file.write_at(&[8; 10], 45).unwrap();
        assert!(file.read_at(&mut [0; 60], 0).is_ok());
    }
}

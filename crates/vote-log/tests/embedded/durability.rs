//! Nothing is shown before it is synced, and accidents that were found once.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use paredao_vote_log::conformance::at_once;
use paredao_vote_log::disk::simulated::{ForgettingDisk, Operation};
use paredao_vote_log::disk::{Disk, DiskFile};
use parking_lot::Mutex;

use crate::log_on_disk::{
    append, append_all, batch, batches, numbers, open, open_on, status, subscribe, take_all,
};

/// A disk that asks before it syncs a file.
struct AskingDisk {
    disk: ForgettingDisk,
    gate: Arc<Gate>,
}

struct Gate {
    asking: SyncSender<()>,
    allowed: Mutex<Receiver<()>>,
}

struct AskingFile(Box<dyn DiskFile>, Arc<Gate>);

impl AskingDisk {
    fn asking(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(AskingFile(file, Arc::clone(&self.gate)))
    }
}

impl Disk for AskingDisk {
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.disk.create(name).map(|file| self.asking(file))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.disk.open(name).map(|file| self.asking(file))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }

    fn path_of(&self, name: &str) -> String {
        self.disk.path_of(name)
    }
}

impl DiskFile for AskingFile {
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
        self.1.asking.send(()).map_err(io::Error::other)?;
        self.1.allowed.lock().recv().map_err(io::Error::other)?;
        self.0.sync_data()
    }
}

#[test]
fn a_consumer_sees_nothing_before_it_is_synced() {
    let (asking, asked) = sync_channel(1);
    let (allow, allowed) = sync_channel(1);
    let gate = Arc::new(Gate {
        asking,
        allowed: Mutex::new(allowed),
    });
    let disk = ForgettingDisk::new(0);
    let slow = AskingDisk {
        disk: disk.clone(),
        gate,
    };
    allow.send(()).unwrap();
    let log = open_on(Arc::new(slow)).unwrap();
    asked.recv().unwrap();
    let mut subscription = subscribe(&log);
    std::thread::scope(|scope| {
        let appending = scope.spawn(|| append(&log, &batch(1)));
        asked.recv().unwrap();
        let segment = disk.contents("0000000001.segment").unwrap();
        assert!(segment.len() > 64, "the record was written");
        assert!(take_all(&mut *subscription).is_empty());
        assert_eq!((status(&log).batches, status(&log).bytes), (0, 0));
        assert!(!appending.is_finished(), "and not answered");
        allow.send(()).unwrap();
        appending.join().unwrap().unwrap();
    });
    assert_eq!(take_all(&mut *subscription).len(), 1);
    assert_eq!(status(&log).batches, 1);
}

/// Found by the seeded histories: the sync of a record failed, the process died without cutting
/// it off, the next one found it in the page cache and took it for durable.
#[test]
fn a_record_whose_sync_failed_in_an_earlier_life_is_durable_once_it_was_shown() {
    for seed in 0..200 {
        let disk = ForgettingDisk::new(seed);
        let log = open(&disk);
        append_all(&log, &batches(1..=3));
        disk.fail_next(Operation::Sync, 1);
        disk.fail_next(Operation::Truncate, 1);
        append(&log, &batch(4)).unwrap_err();
        drop(log);
        assert_eq!(numbers(&open(&disk)), [1, 2, 3, 4]);
        disk.lose_power();
        assert_eq!(numbers(&open(&disk)), [1, 2, 3, 4], "seed {seed}");
    }
}

/// Found by the seeded histories: a removal that was not synced was forgotten after its number
/// had been given to a new file, of which the old one then told where it ended.
#[test]
fn a_file_that_comes_back_says_nothing_about_one_that_took_its_place() {
    for seed in 0..200 {
        let disk = ForgettingDisk::new(seed);
        append_all(&open(&disk), &batches(1..=3));
        let log = open(&disk);
        let mut subscription = subscribe(&log);
        let taken = take_all(&mut *subscription);
        let tags: Vec<_> = taken.iter().map(|delivery| delivery.tag).collect();
        at_once(subscription.ack(&tags)).unwrap().unwrap();
        at_once(subscription.release()).unwrap().unwrap();
        disk.fail_next(Operation::Sync, 1);
        append(&log, &batch(4)).unwrap_err();
        drop((subscription, log));
        disk.cut_power_after(1);
        let _half_open = open_on(Arc::new(disk.clone()));
        disk.lose_power();
        let found = numbers(&open(&disk));
        assert!(found.is_empty() || found == [4], "seed {seed}: {found:?}");
    }
}

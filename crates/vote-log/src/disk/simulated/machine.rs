//! The machine around the files: names, power, room, and what is made to fail.

use std::collections::BTreeMap;
use std::io;

use super::Operation;
use super::inode::Inode;
use super::random::Random;

type InodeId = u64;

pub(super) fn input_output_error() -> io::Error {
    rustix::io::Errno::IO.into()
}

enum NameChange {
    Made(String, InodeId),
    Removed(String),
}

/// An open file, until the power goes.
#[derive(Clone, Copy)]
pub(super) struct Handle {
    id: InodeId,
    boot: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Power {
    On,
    /// Goes in the middle of the operation after so many.
    CutAfter(u64),
    Off,
}

pub(super) struct Machine {
    random: Random,
    power: Power,
    boot: u64,
    operations: u64,
    capacity: Option<u64>,
    failing: Vec<Operation>,
    inodes: BTreeMap<InodeId, Inode>,
    next_inode: InodeId,
    names: BTreeMap<String, InodeId>,
    durable_names: BTreeMap<String, InodeId>,
    unsynced_names: Vec<NameChange>,
}

impl Machine {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            power: Power::On,
            boot: 0,
            operations: 0,
            capacity: None,
            failing: Vec::new(),
            inodes: BTreeMap::new(),
            next_inode: 0,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            unsynced_names: Vec::new(),
        }
    }

    pub(super) fn operations(&self) -> u64 {
        self.operations
    }

    pub(super) fn set_capacity(&mut self, bytes: Option<u64>) {
        self.capacity = bytes;
    }

    pub(super) fn fail_next(&mut self, operation: Operation, times: u32) {
        self.failing.extend((0..times).map(|_| operation));
    }

    pub(super) fn fail_no_more(&mut self) {
        self.failing.clear();
    }

    pub(super) fn cut_power_after(&mut self, operations: u64) {
        self.power = Power::CutAfter(operations);
    }

    pub(super) fn lose_power(&mut self) {
        for change in std::mem::take(&mut self.unsynced_names) {
            if self.random.percent(50) {
                apply(&mut self.durable_names, change);
            }
        }
        self.names.clone_from(&self.durable_names);
        self.inodes
            .retain(|id, _| self.names.values().any(|named| named == id));
        for inode in self.inodes.values_mut() {
            inode.settle(&mut self.random);
            inode.restart();
        }
        self.boot += 1;
        self.power = Power::On;
    }

    /// Begins an operation that changes something: fails if it is to fail before it does.
    fn begin(&mut self, operation: Operation) -> io::Result<()> {
        self.check_power()?;
        self.operations += 1;
        match self
            .failing
            .iter()
            .position(|failing| *failing == operation)
        {
            Some(at) => {
                self.failing.remove(at);
                Err(input_output_error())
            }
            None => Ok(()),
        }
    }

    /// Ends it: fails if the power went while it ran.
    fn end(&mut self) -> io::Result<()> {
        self.power = match self.power {
            Power::CutAfter(0) => Power::Off,
            Power::CutAfter(left) => Power::CutAfter(left - 1),
            same => same,
        };
        self.check_power()
    }

    fn check_power(&self) -> io::Result<()> {
        match self.power {
            Power::Off => Err(io::Error::other("the power is off")),
            Power::On | Power::CutAfter(_) => Ok(()),
        }
    }

    fn id_of(&self, name: &str) -> io::Result<InodeId> {
        self.check_power()?;
        self.names
            .get(name)
            .copied()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn handle(&self, id: InodeId) -> Handle {
        Handle {
            id,
            boot: self.boot,
        }
    }

    pub(super) fn create(&mut self, name: &str) -> io::Result<Handle> {
        self.begin(Operation::Create)?;
        if self.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let id = self.add(Inode::default());
        self.names.insert(name.to_owned(), id);
        self.unsynced_names
            .push(NameChange::Made(name.to_owned(), id));
        self.end()?;
        Ok(self.handle(id))
    }

    fn add(&mut self, inode: Inode) -> InodeId {
        self.next_inode += 1;
        self.inodes.insert(self.next_inode, inode);
        self.next_inode
    }

    pub(super) fn open(&mut self, name: &str) -> io::Result<Handle> {
        self.id_of(name).map(|id| self.handle(id))
    }

    pub(super) fn list(&self) -> io::Result<Vec<String>> {
        self.check_power()?;
        Ok(self.names.keys().cloned().collect())
    }

    pub(super) fn remove(&mut self, name: &str) -> io::Result<()> {
        self.begin(Operation::Remove)?;
        self.names
            .remove(name)
            .ok_or(io::Error::from(io::ErrorKind::NotFound))?;
        self.unsynced_names
            .push(NameChange::Removed(name.to_owned()));
        self.end()
    }

    pub(super) fn sync_dir(&mut self) -> io::Result<()> {
        self.begin(Operation::SyncDir)?;
        self.end()?;
        self.unsynced_names.clear();
        self.durable_names.clone_from(&self.names);
        Ok(())
    }

    pub(super) fn inode(&mut self, handle: Handle) -> io::Result<&mut Inode> {
        self.check_power()?;
        if handle.boot != self.boot {
            return Err(io::Error::other("opened before the power was lost"));
        }
        self.inodes
            .get_mut(&handle.id)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn write(&mut self, handle: Handle, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.begin(Operation::Write)?;
        let offset = to_usize(offset)?;
        let room = self.room_from(handle, offset)?;
        let fitting = bytes.len().min(room);
        let fits = bytes.get(..fitting).unwrap_or(bytes);
        self.inode(handle)?.write(fits, offset);
        self.end()?;
        if fitting < bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    /// How many bytes from `offset` on can be written before the disk is full.
    fn room_from(&mut self, handle: Handle, offset: usize) -> io::Result<usize> {
        let Some(capacity) = self.capacity else {
            return Ok(usize::MAX);
        };
        let used: u64 = self
            .names
            .values()
            .filter_map(|id| self.inodes.get(id))
            .map(Inode::size)
            .sum();
        let free = to_usize(capacity.saturating_sub(used))?;
        let size = to_usize(self.inode(handle)?.size())?;
        Ok((size + free).saturating_sub(offset))
    }

    pub(super) fn truncate(&mut self, handle: Handle, size: u64) -> io::Result<()> {
        self.begin(Operation::Truncate)?;
        let size = to_usize(size)?;
        self.inode(handle)?.truncate(size);
        self.end()
    }

    pub(super) fn sync(&mut self, handle: Handle) -> io::Result<()> {
        let begun = self.begin(Operation::Sync);
        if begun.is_err() && self.check_power().is_ok() {
            let mut random = Random::new(self.random.draw());
            self.inode(handle)?.settle(&mut random);
        }
        begun?;
        self.end()?;
        self.inode(handle)?.sync();
        Ok(())
    }

    pub(super) fn contents(&self, name: &str) -> io::Result<Vec<u8>> {
        let id = self.id_of(name)?;
        Ok(self
            .inodes
            .get(&id)
            .map(|inode| inode.visible().to_vec())
            .unwrap_or_default())
    }

    pub(super) fn replace(&mut self, name: &str, contents: &[u8]) {
        let id = self.add(Inode::holding(contents));
        self.names.insert(name.to_owned(), id);
        self.durable_names.insert(name.to_owned(), id);
    }

    pub(super) fn spoil(&mut self, name: &str, offset: u64) -> io::Result<()> {
        let id = self.id_of(name)?;
        if let Some(inode) = self.inodes.get_mut(&id) {
            inode.spoil(offset);
        }
        Ok(())
    }
}

fn apply(names: &mut BTreeMap<String, InodeId>, change: NameChange) {
    match change {
        NameChange::Made(name, id) => {
            names.insert(name, id);
        }
        NameChange::Removed(name) => {
            names.remove(&name);
        }
    }
}

fn to_usize(value: u64) -> io::Result<usize> {
    usize::try_from(value).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

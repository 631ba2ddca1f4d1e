//! Sorting more votes than fit into memory: sorted runs in one temporary file, then a merge.
//!
//! Written here because records of one fixed size need neither an encoding nor a file per run.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::record::{RECORD_BYTES, Record};

/// Bytes of a run read at once, at least: below that a disk would only seek.
const READ_BYTES_MIN: usize = 64 * 1024;

/// Takes records in any order and gives them back in theirs.
pub(super) struct Sorter {
    file: File,
    memory_bytes: usize,
    /// Records not written yet.
    chunk: Vec<Record>,
    chunk_max: usize,
    runs: Vec<Run>,
    bytes_written: u64,
}

/// A sorted stretch of the file.
struct Run {
    at: u64,
    end: u64,
}

impl Sorter {
    /// A sorter that holds about `memory_bytes` and keeps the rest in an unnamed file in `folder`,
    /// gone with the process however that ends.
    pub(super) fn new(folder: &Path, memory_bytes: usize) -> io::Result<Self> {
        Ok(Self {
            file: tempfile::tempfile_in(folder)?,
            memory_bytes,
            chunk: Vec::new(),
            chunk_max: (memory_bytes / size_of::<Record>()).max(1),
            runs: Vec::new(),
            bytes_written: 0,
        })
    }

    pub(super) fn push(&mut self, record: Record) -> io::Result<()> {
        self.chunk.push(record);
        if self.chunk.len() < self.chunk_max {
            return Ok(());
        }
        self.write_run()
    }

    fn write_run(&mut self) -> io::Result<()> {
        self.chunk.sort_unstable();
        let mut buffer = Vec::with_capacity(READ_BYTES_MIN + RECORD_BYTES);
        for record in self.chunk.drain(..) {
            record.write(&mut buffer);
            if buffer.len() >= READ_BYTES_MIN {
                self.file.write_all(&buffer)?;
                buffer.clear();
            }
        }
        self.file.write_all(&buffer)?;
        let at = self.bytes_written;
        self.bytes_written = self.file.metadata()?.len();
        self.runs.push(Run {
            at,
            end: self.bytes_written,
        });
        Ok(())
    }

    /// Shows every record in order. An error that `show` returns ends it.
    pub(super) fn finish<E: From<io::Error>>(
        mut self,
        mut show: impl FnMut(&Record) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.runs.is_empty() {
            self.chunk.sort_unstable();
            return self.chunk.iter().try_for_each(show);
        }
        self.write_run()?;
        self.chunk = Vec::new();
        for record in self.merge()? {
            show(&record?)?;
        }
        Ok(())
    }

    fn merge(self) -> io::Result<Merge> {
        let buffer_bytes = (self.memory_bytes / self.runs.len()).max(READ_BYTES_MIN);
        // One descriptor for all runs: a process may have a thousand, a large ledger more runs.
        let file = Arc::new(self.file);
        let mut merge = Merge {
            readers: Vec::new(),
            heads: BinaryHeap::new(),
        };
        for run in self.runs {
            let mut reader = RunReader {
                file: Arc::clone(&file),
                run,
                buffer: Vec::new(),
                used: 0,
                buffer_bytes: buffer_bytes / RECORD_BYTES * RECORD_BYTES,
            };
            if let Some(record) = reader.next()? {
                merge.heads.push(Reverse((record, merge.readers.len())));
            }
            merge.readers.push(reader);
        }
        Ok(merge)
    }
}

/// All runs as one.
struct Merge {
    readers: Vec<RunReader>,
    /// The next record of each run that has one.
    heads: BinaryHeap<Reverse<(Record, usize)>>,
}

impl Iterator for Merge {
    type Item = io::Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut head = self.heads.peek_mut()?;
        let Reverse((record, run)) = *head;
        match self.readers.get_mut(run).map_or(Ok(None), RunReader::next) {
            Ok(Some(next)) => *head = Reverse((next, run)),
            Ok(None) => {
                std::collections::binary_heap::PeekMut::pop(head);
            }
            Err(error) => return Some(Err(error)),
        }
        Some(Ok(record))
    }
}

/// Reads one run from its start to its end.
struct RunReader {
    file: Arc<File>,
    run: Run,
    buffer: Vec<u8>,
    used: usize,
    buffer_bytes: usize,
}

impl RunReader {
    fn next(&mut self) -> io::Result<Option<Record>> {
        if self.used == self.buffer.len() && !self.fill()? {
            return Ok(None);
        }
        let rest = self.buffer.get(self.used..).unwrap_or_default();
        let record = rest.first_chunk().and_then(Record::read);
        self.used += RECORD_BYTES;
        record
            .map(Some)
            .ok_or_else(|| io::Error::other("the temporary file is not as it was written"))
    }

    fn fill(&mut self) -> io::Result<bool> {
        let left = self.run.end - self.run.at;
        let bytes = usize::try_from(left).map_or(self.buffer_bytes, |l| l.min(self.buffer_bytes));
        self.buffer.resize(bytes, 0);
        self.file.read_exact_at(&mut self.buffer, self.run.at)?;
        self.run.at += bytes as u64;
        self.used = 0;
        Ok(bytes > 0)
    }
}

#[cfg(test)]
mod tests {
    use paredao_domain::{CandidateNumber, KeyHash, Lane, LedgerPosition, PollId, UnixMillis};

    use super::super::judge::{Case, VoteName};
    use super::*;

    fn record(n: u32) -> Record {
        // A multiplicative hash scatters the keys; the entry still tells which record it is.
        let scattered = n.wrapping_mul(2_654_435_761).to_le_bytes();
        let mut key = [0; KeyHash::BYTES];
        key[..4].copy_from_slice(&scattered);
        let case = Case {
            name: VoteName {
                lane: Lane(0),
                entry: LedgerPosition(u64::from(n) + 1),
                position: 0,
            },
            key: KeyHash(key),
            candidate: CandidateNumber::try_from(1).unwrap(),
            accepted: UnixMillis(0),
            mark: None,
        };
        Record::pack(PollId(1), &case)
    }

    fn sorted(records: u32, memory_bytes: usize) -> Vec<Record> {
        let folder = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::new(folder.path(), memory_bytes).unwrap();
        (0..records).for_each(|n| sorter.push(record(n)).unwrap());
        let mut out = Vec::new();
        sorter
            .finish(|record| {
                out.push(*record);
                Ok::<(), io::Error>(())
            })
            .unwrap();
        out
    }

    #[test]
    fn records_come_back_in_order_and_none_is_lost_however_little_memory_there_is() {
        for memory_bytes in [1, 1_000, 100_000, 100_000_000] {
            for records in [0, 1, 2, 5_000] {
                let out = sorted(records, memory_bytes);
                assert!(out.is_sorted());
                let mut entries: Vec<u64> = out
                    .iter()
                    .map(|r| r.unpack().unwrap().name.entry.0)
                    .collect();
                entries.sort_unstable();
                assert!(entries.into_iter().eq(1..=u64::from(records)));
            }
        }
    }

    fn open_files() -> usize {
        std::fs::read_dir("/proc/self/fd").unwrap().count()
    }

    #[test]
    fn thousands_of_runs_take_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::new(folder.path(), 1).unwrap();
        (0..2_500).for_each(|n| sorter.push(record(n)).unwrap());
        assert_eq!(sorter.runs.len(), 2_500);
        let mut seen = 0;
        sorter
            .finish(|_| {
                seen += 1;
                // Other tests have files open too, but not so many.
                assert!(open_files() < 500, "{} files", open_files());
                Ok::<(), io::Error>(())
            })
            .unwrap();
        assert_eq!(seen, 2_500);
    }
}

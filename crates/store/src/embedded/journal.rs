//! Reading a journal (WAL) that an earlier life left, to see whether SQLite can read all of it.
//!
//! SQLite stops without a word at the first frame whose checksum does not fit, and takes back what
//! was written from there on. The format is <https://www.sqlite.org/fileformat2.html#walformat>:
//! a header of 32 bytes, then frames of 24 bytes and a page; each checksum continues the one before.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
/// The magic number of a journal with little-endian checksums; one more: big-endian.
const MAGIC: u32 = 0x377f_0682;
const PAGE_BYTES_MAX: u32 = 65_536;

/// Bytes at the end of a journal that SQLite cannot read. None if there is no journal.
pub(super) fn unreadable_bytes(journal: &Path) -> io::Result<u64> {
    let file = match File::open(journal) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        opened => opened?,
    };
    let total = file.metadata()?.len();
    let mut reader = BufReader::with_capacity(1 << 20, file);
    Ok(total.saturating_sub(readable_bytes(&mut reader)?))
}

fn readable_bytes(reader: &mut impl Read) -> io::Result<u64> {
    let mut header = [0; HEADER_BYTES];
    if !fill(reader, &mut header)? {
        return Ok(0);
    }
    let Some(start) = Start::read(&header) else {
        return Ok(0);
    };
    let mut frame = vec![0; FRAME_HEADER_BYTES + start.page_bytes];
    let (mut bytes, mut sum) = (HEADER_BYTES as u64, start.sum);
    while fill(reader, &mut frame)? {
        let Some(next) = start.check(&frame, sum) else {
            break;
        };
        sum = next;
        bytes += frame.len() as u64;
    }
    Ok(bytes)
}

/// Fills the buffer; says no if the file ends before.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(buffer) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| true),
    }
}

/// A checksum: two numbers that run through all words.
type Sum = (u32, u32);

/// What the header of a journal says.
struct Start {
    word: fn([u8; 4]) -> u32,
    page_bytes: usize,
    salts: [u8; 8],
    sum: Sum,
}

impl Start {
    fn read(header: &[u8; HEADER_BYTES]) -> Option<Self> {
        let word: fn([u8; 4]) -> u32 = match number(header, 0)?.checked_sub(MAGIC)? {
            0 => u32::from_le_bytes,
            1 => u32::from_be_bytes,
            _ => return None,
        };
        let page_bytes = number(header, 8).filter(|bytes| *bytes <= PAGE_BYTES_MAX)?;
        let sum = add((0, 0), header.get(..24)?, word);
        (sum == sum_at(header, 24)?).then_some(Self {
            word,
            page_bytes: usize::try_from(page_bytes).ok()?,
            salts: header.get(16..24)?.try_into().ok()?,
            sum,
        })
    }

    /// The checksum after a frame, if the frame is one of this journal and fits.
    fn check(&self, frame: &[u8], before: Sum) -> Option<Sum> {
        let (header, page) = frame.split_at_checked(FRAME_HEADER_BYTES)?;
        let sum = add(add(before, header.get(..8)?, self.word), page, self.word);
        let fits = header.get(8..16)? == self.salts && sum_at(header, 16)? == sum;
        fits.then_some(sum)
    }
}

fn add(mut sum: Sum, bytes: &[u8], word: fn([u8; 4]) -> u32) -> Sum {
    for &[first, second] in bytes.as_chunks::<4>().0.as_chunks().0 {
        sum.0 = sum.0.wrapping_add(word(first)).wrapping_add(sum.1);
        sum.1 = sum.1.wrapping_add(word(second)).wrapping_add(sum.0);
    }
    sum
}

fn sum_at(bytes: &[u8], at: usize) -> Option<Sum> {
    Some((number(bytes, at)?, number(bytes, at + 4)?))
}

/// A number of a header; they are big-endian.
fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    /// A journal of some transactions, as a kill leaves it.
    fn journal() -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.sqlite");
        let connection = Connection::open(&path).unwrap();
        connection
            .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (x)")
            .unwrap();
        for number in 0..20 {
            connection
                .execute("INSERT INTO t VALUES (?1)", [number])
                .unwrap();
        }
        std::fs::read(folder.path().join("store.sqlite-wal")).unwrap()
    }

    fn unreadable(journal: &[u8]) -> u64 {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), journal).unwrap();
        unreadable_bytes(file.path()).unwrap()
    }

    #[test]
    fn everything_sqlite_wrote_is_readable() {
        let journal = journal();
        assert!(journal.len() > 20 * 4096);
        assert_eq!(unreadable(&journal), 0);
        assert_eq!(unreadable(&[]), 0);
        let nowhere = Path::new("/nowhere/store.sqlite-wal");
        assert_eq!(unreadable_bytes(nowhere).unwrap(), 0);
    }

    #[test]
    fn from_a_flipped_byte_on_nothing_is_readable() {
        let journal = journal();
        let frame = FRAME_HEADER_BYTES + 4096;
        for at in (0..journal.len()).step_by(1_021) {
            let mut damaged = journal.clone();
            damaged[at] ^= 1;
            let whole = at.saturating_sub(HEADER_BYTES) / frame * frame;
            let readable = if at < HEADER_BYTES {
                0
            } else {
                HEADER_BYTES + whole
            };
            let expected = journal.len() - readable;
            assert_eq!(unreadable(&damaged), expected as u64, "byte {at}");
        }
    }

    #[test]
    fn a_frame_that_is_cut_off_is_not_readable() {
        let journal = journal();
        let cut = &journal[..journal.len() - 1];
        assert_eq!(unreadable(cut), (FRAME_HEADER_BYTES + 4095) as u64);
    }
}

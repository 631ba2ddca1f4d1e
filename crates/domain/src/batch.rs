//! A batch: the votes of one poll and one minute that one API made durable together.
//!
//! # Encoding, version 1
//!
//! All integers are little-endian. `docs/ledger.md` tells the same to outsiders.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version: 1 |
//! | 1 | kind: 1 votes, 3 end marker, 4 barrier, 5 void marker (2 is reserved for suspects) |
//! | 1 | mode: 0 torcida |
//! | 1 | lane |
//! | 4 | poll |
//! | 8 | incarnation |
//! | 8 | number |
//! | 4 | UTC minute since 1970 |
//! | 4 | votes |
//! | 8 | votes of this incarnation and lane up to and including this batch |
//! | 8 | number up to which all batches were confirmed when this one was cut |
//! | 2 | void numbers (given up by the incarnation), then 8 bytes each |
//! | 16 a vote | candidate, flags (bits 0–1: key source), offset in ms (2), key hash (12) |
//! | 4 | CRC-32C of everything before |
//!
//! Every version ends with that checksum, so that a damaged version byte is not mistaken for a
//! newer release.

use bytes::Bytes;

use crate::{
    BatchId, BatchNumber, CandidateNumber, Incarnation, KeyHash, KeySource, Lane, Minute, PollId,
    Position, Vote,
};

/// The version this release writes, and the newest it reads.
pub const VERSION: u8 = 1;
/// Bytes before the void numbers.
pub const HEADER_BYTES: usize = 50;
/// Bytes of one vote.
pub const VOTE_BYTES: usize = 16;
/// Most votes of a batch; every position fits its 16 bits with room to spare.
pub const VOTES_MAX: usize = 32_768;

const CHECKSUM_BYTES: usize = 4;
const VOIDS_MAX: usize = 1_024;
const FLAG_BITS_KNOWN: u8 = 0b11;
const OFFSET_MS_END: u16 = 60_000;

/// Why bytes are not a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The checksum does not fit: damaged on the way. Poison.
    #[error("damaged: the checksum does not match")]
    Checksum,
    /// Fewer or more bytes than the header announces. Poison.
    #[error("damaged: {actual} bytes where {expected} were announced")]
    Length {
        /// What the header announces.
        expected: usize,
        /// What is there.
        actual: usize,
    },
    /// Written by a newer release. Not poison: the consumer stops and waits to be upgraded.
    #[error("version {0} is newer than this release reads ({VERSION}): upgrade consumers first")]
    NewerVersion(u8),
    /// A rule of the encoding is broken although the checksum fits. Poison.
    #[error("invalid: {0}")]
    Invalid(&'static str),
}

/// What a batch is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BatchKind {
    /// Votes.
    Votes,
    /// The last batch of an incarnation that stopped cleanly.
    End,
    /// Asks for the result of its poll to be declared final once everything before it is applied.
    Barrier,
    /// Only names numbers its incarnation gave up. Its arrival in the log shows that the log
    /// takes batches again.
    Void,
}

impl BatchKind {
    /// Whether batches of this kind belong to an incarnation and not to a poll.
    pub fn is_of_no_poll(self) -> bool {
        matches!(self, Self::End | Self::Void)
    }

    fn byte(self) -> u8 {
        match self {
            Self::Votes => 1,
            Self::End => 3,
            Self::Barrier => 4,
            Self::Void => 5,
        }
    }

    fn from_byte(byte: u8) -> Result<Self, BatchError> {
        match byte {
            1 => Ok(Self::Votes),
            3 => Ok(Self::End),
            4 => Ok(Self::Barrier),
            5 => Ok(Self::Void),
            _ => Err(BatchError::Invalid("unknown kind")),
        }
    }
}

/// How often a person may vote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// As often as they like ("voto da torcida").
    #[default]
    Torcida,
}

/// Everything a batch says besides its votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// What it is for.
    pub kind: BatchKind,
    /// How often a person may vote.
    pub mode: Mode,
    /// The poll of its votes.
    pub poll: PollId,
    /// Its name.
    pub id: BatchId,
    /// The UTC minute in which all its votes were accepted.
    pub minute: Minute,
    /// Votes of the incarnation on this lane, up to and including this batch.
    pub cumulative: u64,
    /// Number up to which all the incarnation's batches were confirmed when this one was cut.
    pub confirmed: BatchNumber,
}

/// A batch in its bytes, checked. Frozen: a retry sends the same bytes again.
#[derive(Clone, PartialEq, Eq)]
pub struct EncodedBatch {
    header: BatchHeader,
    votes: u32,
    voids: u16,
    bytes: Bytes,
}

impl EncodedBatch {
    /// Encodes a batch.
    ///
    /// # Panics
    ///
    /// If it has more than [`VOTES_MAX`] votes or 1,024 void numbers: whoever cuts batches cuts
    /// before that.
    pub fn encode(header: BatchHeader, voids: &[BatchNumber], votes: &[Vote]) -> Self {
        assert!(
            votes.len() <= VOTES_MAX && voids.len() <= VOIDS_MAX,
            "a batch is cut smaller"
        );
        let count = u32::try_from(votes.len()).unwrap_or(u32::MAX);
        let void_count = u16::try_from(voids.len()).unwrap_or(u16::MAX);
        let mut out = Vec::with_capacity(encoded_len(voids.len(), votes.len()));
        out.extend_from_slice(&[VERSION, header.kind.byte(), 0, header.id.lane.0]);
        out.extend_from_slice(&header.poll.0.to_le_bytes());
        out.extend_from_slice(&header.id.incarnation.0.to_le_bytes());
        out.extend_from_slice(&header.id.number.to_le_bytes());
        out.extend_from_slice(&header.minute.0.to_le_bytes());
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(&header.cumulative.to_le_bytes());
        out.extend_from_slice(&header.confirmed.to_le_bytes());
        out.extend_from_slice(&void_count.to_le_bytes());
        voids
            .iter()
            .for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
        votes
            .iter()
            .for_each(|vote| out.extend_from_slice(&encode_vote(vote)));
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        Self {
            header,
            votes: count,
            voids: void_count,
            bytes: out.into(),
        }
    }

    /// Reads a batch and checks every rule of the encoding, vote by vote.
    pub fn decode(bytes: Bytes) -> Result<Self, BatchError> {
        let (body, checksum) =
            bytes
                .split_last_chunk::<CHECKSUM_BYTES>()
                .ok_or(BatchError::Length {
                    expected: HEADER_BYTES + CHECKSUM_BYTES,
                    actual: bytes.len(),
                })?;
        if crc32c::crc32c(body) != u32::from_le_bytes(*checksum) {
            return Err(BatchError::Checksum);
        }
        let mut reader = Reader(body);
        let (header, votes, voids) = reader.header()?;
        check_length(bytes.len(), usize::from(voids), votes as usize)?;
        let batch = Self {
            header,
            votes,
            voids,
            bytes,
        };
        batch.check()?;
        Ok(batch)
    }

    fn check(&self) -> Result<(), BatchError> {
        let invalid = |what| Err(BatchError::Invalid(what));
        let header = &self.header;
        if !(1..=BatchId::NUMBER_MAX).contains(&header.id.number) {
            return invalid("number out of range");
        }
        if header.confirmed >= header.id.number {
            return invalid("confirms itself");
        }
        if u64::from(self.votes) > header.cumulative {
            return invalid("more votes than the incarnation ever cut");
        }
        if (header.kind == BatchKind::Votes) != (self.votes > 0) {
            return invalid("votes and only votes come in batches of votes");
        }
        if header.kind.is_of_no_poll() != (header.poll == PollId::NONE) {
            return invalid("end and void markers and only they belong to no poll");
        }
        if self
            .voids()
            .any(|number| number == 0 || number >= header.id.number)
        {
            return invalid("void number out of range");
        }
        self.raw_votes()
            .try_for_each(|raw| decode_vote(raw).map(drop))
    }

    /// What it says besides its votes.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// Its name.
    pub fn id(&self) -> BatchId {
        self.header.id
    }

    /// How many votes it holds.
    pub fn vote_count(&self) -> u32 {
        self.votes
    }

    /// Its bytes as they go to the log and the ledger.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The checksum at its end, by which two batches of one name are told apart.
    pub fn checksum(&self) -> u32 {
        self.bytes
            .last_chunk()
            .map_or(0, |c| u32::from_le_bytes(*c))
    }

    /// The numbers its incarnation gave up.
    pub fn voids(&self) -> impl Iterator<Item = BatchNumber> {
        let end = HEADER_BYTES + usize::from(self.voids) * 8;
        let (chunks, _) = self
            .bytes
            .get(HEADER_BYTES..end)
            .unwrap_or_default()
            .as_chunks::<8>();
        chunks.iter().map(|chunk| u64::from_le_bytes(*chunk))
    }

    /// Its votes, in order of acceptance, each with its position.
    pub fn votes(&self) -> impl Iterator<Item = (Position, Vote)> {
        // Decoding cannot fail: `decode` checked every vote and `encode` wrote them.
        self.raw_votes()
            .zip(0..)
            .filter_map(|(raw, at)| Some((at, decode_vote(raw).ok()?)))
    }

    /// The bytes of each vote: for counting at full speed. The first byte is the candidate.
    pub fn raw_votes(&self) -> std::slice::Iter<'_, [u8; VOTE_BYTES]> {
        let start = HEADER_BYTES + usize::from(self.voids) * 8;
        let end = start + self.votes as usize * VOTE_BYTES;
        self.bytes
            .get(start..end)
            .unwrap_or_default()
            .as_chunks::<VOTE_BYTES>()
            .0
            .iter()
    }
}

impl std::fmt::Debug for EncodedBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EncodedBatch")
            .field("header", &self.header)
            .field("votes", &self.votes)
            .finish_non_exhaustive()
    }
}

fn encoded_len(voids: usize, votes: usize) -> usize {
    HEADER_BYTES + voids * 8 + votes * VOTE_BYTES + CHECKSUM_BYTES
}

fn check_length(actual: usize, voids: usize, votes: usize) -> Result<(), BatchError> {
    if votes > VOTES_MAX || voids > VOIDS_MAX {
        return Err(BatchError::Invalid(
            "more votes or voids than a batch holds",
        ));
    }
    let expected = encoded_len(voids, votes);
    if actual == expected {
        Ok(())
    } else {
        Err(BatchError::Length { expected, actual })
    }
}

fn encode_vote(vote: &Vote) -> [u8; VOTE_BYTES] {
    let mut raw = [0; VOTE_BYTES];
    let [candidate, flags, offset @ ..] = &mut raw;
    *candidate = vote.candidate.get();
    *flags = vote.source.bits();
    let value = vote.offset.to_le_bytes().into_iter().chain(vote.key.0);
    offset
        .iter_mut()
        .zip(value)
        .for_each(|(to, from)| *to = from);
    raw
}

fn decode_vote(raw: &[u8; VOTE_BYTES]) -> Result<Vote, BatchError> {
    let [candidate, flags, low, high, key @ ..] = *raw;
    let offset = u16::from_le_bytes([low, high]);
    if offset >= OFFSET_MS_END {
        return Err(BatchError::Invalid("a vote beyond its minute"));
    }
    if flags & !FLAG_BITS_KNOWN != 0 {
        return Err(BatchError::Invalid("unknown flags"));
    }
    let candidate = CandidateNumber::try_from(u64::from(candidate))
        .map_err(|_| BatchError::Invalid("candidate number out of range"))?;
    Ok(Vote {
        candidate,
        source: KeySource::from_bits(flags),
        offset,
        key: KeyHash(key),
    })
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], BatchError> {
        let too_short = BatchError::Length {
            expected: HEADER_BYTES,
            actual: self.0.len(),
        };
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(too_short)?;
        self.0 = rest;
        Ok(*head)
    }

    fn u64(&mut self) -> Result<u64, BatchError> {
        self.take().map(u64::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, BatchError> {
        self.take().map(u32::from_le_bytes)
    }

    fn header(&mut self) -> Result<(BatchHeader, u32, u16), BatchError> {
        let [version] = self.take()?;
        if version > VERSION {
            return Err(BatchError::NewerVersion(version));
        }
        if version == 0 {
            return Err(BatchError::Invalid("unknown version"));
        }
        let [kind, mode, lane] = self.take()?;
        if mode != 0 {
            return Err(BatchError::Invalid("unknown mode"));
        }
        let poll = PollId(self.u32()?);
        let incarnation = Incarnation(self.u64()?);
        let number = self.u64()?;
        let minute = Minute(self.u32()?);
        let votes = self.u32()?;
        let header = BatchHeader {
            kind: BatchKind::from_byte(kind)?,
            mode: Mode::Torcida,
            poll,
            id: BatchId {
                incarnation,
                lane: Lane(lane),
                number,
            },
            minute,
            cumulative: self.u64()?,
            confirmed: self.u64()?,
        };
        let voids = self.take().map(u16::from_le_bytes)?;
        Ok((header, votes, voids))
    }
}

#[cfg(test)]
mod tests;

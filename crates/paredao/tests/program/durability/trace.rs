//! What a trace says: which batches were written, which writes a sync covered, and which answers
//! left.

use std::collections::{HashMap, HashSet};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Incarnation and number of a batch, as bytes.
type Batch = [u8; 13];

/// What was found in a trace.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Answers with a receipt.
    pub(crate) answers: usize,
    /// Those that left before their batch was synced.
    pub(crate) early: Vec<String>,
}

/// The number of a file descriptor: a sync covers what was written to the same one.
type Descriptor = String;

/// A system call as strace shows it: begun, ended, or both on one line.
struct Call<'a> {
    thread: &'a str,
    name: &'a str,
    /// Descriptor and data, where the line has them.
    begun: Option<&'a str>,
    /// Whether it ended, and well.
    ended: Option<Outcome>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    Failed,
}

#[derive(Default)]
struct Checker {
    /// Writes of batches that are under way, by thread.
    writing: HashMap<String, (Descriptor, Batch)>,
    written: HashSet<(Descriptor, Batch)>,
    /// What the syncs that are under way cover: what was written when they began. By thread.
    syncing: HashMap<String, HashSet<Batch>>,
    durable: HashSet<Batch>,
    findings: Findings,
}

impl Findings {
    /// Reads a trace from its beginning to its end.
    pub(crate) fn of(trace: &str) -> Self {
        let mut checker = Checker::default();
        for call in trace.lines().filter_map(parse) {
            checker.take(&call);
        }
        checker.findings
    }
}

impl Checker {
    fn take(&mut self, call: &Call<'_>) {
        match call.name {
            "pwrite64" | "pwritev" => self.write(call),
            "fdatasync" | "fsync" => self.sync(call),
            _ => self.send(call),
        }
    }

    fn write(&mut self, call: &Call<'_>) {
        if let Some(arguments) = call.begun
            && let Some(batch) = record_of(&bytes(arguments))
        {
            let write = (descriptor(arguments), batch);
            self.writing.insert(call.thread.to_owned(), write);
        }
        if call.ended == Some(Outcome::Done) {
            self.written.extend(self.writing.remove(call.thread));
        }
    }

    fn sync(&mut self, call: &Call<'_>) {
        if let Some(arguments) = call.begun {
            let synced = descriptor(arguments);
            let covered = self
                .written
                .iter()
                .filter(|(descriptor, _)| *descriptor == synced);
            let covered = covered.map(|(_, batch)| *batch).collect();
            self.syncing.insert(call.thread.to_owned(), covered);
        }
        if call.ended == Some(Outcome::Done) {
            self.durable
                .extend(self.syncing.remove(call.thread).unwrap_or_default());
        }
    }

    fn send(&mut self, call: &Call<'_>) {
        let Some(receipt) = call
            .begun
            .and_then(|arguments| receipt_in(&bytes(arguments)))
        else {
            return;
        };
        self.findings.answers += 1;
        let signed = URL_SAFE_NO_PAD.decode(&receipt).unwrap();
        let (incarnation, number) = (&signed[..8], &signed[9..14]);
        if !self.durable.contains(&batch(incarnation, number)) {
            self.findings.early.push(receipt);
        }
    }
}

/// The first argument of every call that is traced.
fn descriptor(arguments: &str) -> Descriptor {
    arguments.chars().take_while(char::is_ascii_digit).collect()
}

fn batch(incarnation: &[u8], number: &[u8]) -> Batch {
    let mut batch = [0; 13];
    batch[..8].copy_from_slice(incarnation);
    batch[8..].copy_from_slice(number);
    batch
}

/// The batch that a record of the log holds: its header has the incarnation at byte 16 and the
/// number after it.
fn record_of(bytes: &[u8]) -> Option<Batch> {
    let is_record = bytes.starts_with(b"vote") && bytes.len() > 64;
    is_record.then(|| batch(&bytes[16..24], &bytes[24..29]))
}

fn receipt_in(bytes: &[u8]) -> Option<String> {
    const BEFORE: &[u8] = b"{\"recibo\":\"";
    let at = bytes
        .windows(BEFORE.len())
        .position(|window| window == BEFORE)?
        + BEFORE.len();
    Some(String::from_utf8(bytes[at..at + 32].to_vec()).unwrap())
}

/// Everything that stands in a line as `\x12\x34…`.
fn bytes(arguments: &str) -> Vec<u8> {
    let pieces = arguments.split("\\x").skip(1);
    pieces
        .map(|piece| u8::from_str_radix(&piece[..2], 16).unwrap())
        .collect()
}

fn parse(line: &str) -> Option<Call<'_>> {
    let (thread, rest) = line.split_once(' ')?;
    let rest = rest.trim_start();
    if let Some(resumed) = rest.strip_prefix("<... ") {
        let (name, _) = resumed.split_once(" resumed>")?;
        return Some(Call {
            thread,
            name,
            begun: None,
            ended: outcome(line),
        });
    }
    let (name, arguments) = rest.split_once('(')?;
    let ended = if rest.ends_with("<unfinished ...>") {
        None
    } else {
        outcome(line)
    };
    Some(Call {
        thread,
        name,
        begun: Some(arguments),
        ended,
    })
}

fn outcome(line: &str) -> Option<Outcome> {
    let (_, result) = line.rsplit_once(" = ")?;
    Some(if result.starts_with('-') {
        Outcome::Failed
    } else {
        Outcome::Done
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_covers_what_was_written_before_it_began_and_nothing_later() {
        let hex = |bytes: &[u8]| {
            let pieces = bytes.iter().map(|byte| format!("\\x{byte:02x}"));
            pieces.collect::<Vec<_>>().concat()
        };
        let record = [
            b"vote".as_slice(),
            &[0; 12],
            &[7; 8],
            &[1, 0, 0, 0, 0, 0, 0, 0],
            &[0; 40],
        ]
        .concat();
        let name = [[7_u8; 8].as_slice(), &[0], &[1, 0, 0, 0, 0], &[0; 10]].concat();
        let answer = format!("{{\"recibo\":\"{}\"", URL_SAFE_NO_PAD.encode(name));
        let write = format!("1 pwrite64(5, \"{}\", 72, 64) = 72\n", hex(&record));
        let send = format!(
            "2 sendto(9, \"{}\", 44, 0, NULL, 0) = 44\n",
            hex(answer.as_bytes())
        );
        let early = |trace: &str| {
            let found = Findings::of(trace);
            assert_eq!(found.answers, 1);
            found.early.len()
        };
        let sync = "1 fdatasync(5) = 0\n";
        assert_eq!(early(&format!("{write}{sync}{send}")), 0);
        assert_eq!(early(&format!("{sync}{write}{send}")), 1);
        assert_eq!(early(&format!("{write}1 fdatasync(6) = 0\n{send}")), 1);
        assert_eq!(early(&format!("{write}{send}{sync}")), 1);
        let (begun, ended) = (
            "3 fdatasync(5 <unfinished ...>\n",
            "3 <... fdatasync resumed>) = 0\n",
        );
        assert_eq!(early(&format!("{begun}{write}{ended}{send}")), 1);
        assert_eq!(early(&format!("{write}{begun}{send}{ended}")), 1);
        assert_eq!(early(&format!("{write}{begun}{ended}{send}")), 0);
    }
}

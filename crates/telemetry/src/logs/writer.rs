//! The thread that writes lines. Whoever logs hands a line over and goes on: a reader who does not
//! keep up costs lines, which are counted, and never a vote's time.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::Duration;

use prometheus::IntCounter;

/// Lines that wait at most: about ten seconds of a process at `debug`.
pub(super) const LINES_MAX: usize = 8_192;
/// Bytes that wait at most, whatever the lines' length.
pub(super) const BYTES_MAX: usize = 4 * 1024 * 1024;
/// Lines are written together up to about this many bytes: the capacity of a pipe.
const WRITE_BYTES: usize = 64 * 1024;

enum Message {
    Line(Vec<u8>),
    /// Everything before it has been written, or dropped, when this is answered.
    Flush(SyncSender<()>),
}

/// The way to the writing thread.
#[derive(Clone, Debug)]
pub(super) struct LineQueue {
    sender: SyncSender<Message>,
    waiting_bytes: Arc<AtomicUsize>,
    dropped: IntCounter,
}

/// How a flush ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flush {
    /// Every line handed over before was written, or counted as dropped.
    Done,
    /// The reader does not keep up; what waits is lost if the process ends now.
    TimedOut,
}

impl LineQueue {
    /// Starts the thread. It ends when the last queue is dropped.
    pub(super) fn start(
        sink: impl Write + Send + 'static,
        dropped: IntCounter,
    ) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(LINES_MAX);
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let writer = LineWriter {
            receiver,
            sink,
            waiting_bytes: Arc::clone(&waiting_bytes),
            dropped: dropped.clone(),
        };
        thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || writer.run())?;
        Ok(Self {
            sender,
            waiting_bytes,
            dropped,
        })
    }

    /// Hands a line over, or drops and counts it if too much waits. Never waits.
    pub(super) fn put(&self, line: Vec<u8>) {
        let bytes = line.len();
        let waiting = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let has_room = waiting.saturating_add(bytes) <= BYTES_MAX;
        if !has_room || self.sender.try_send(Message::Line(line)).is_err() {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.dropped.inc();
        }
    }

    /// Waits until everything handed over before is written, at most `timeout`.
    pub(super) fn flush(&self, timeout: Duration) -> Flush {
        let (answer, done) = sync_channel(1);
        // The queue may be full of lines: on a thread of its own the attempt cannot outlast the
        // time-out, and it ends when the queue moves or the process does.
        let sender = self.sender.clone();
        let attempt = thread::Builder::new()
            .name("log-flush".to_owned())
            .spawn(move || sender.send(Message::Flush(answer)));
        if attempt.is_ok() && done.recv_timeout(timeout).is_ok() {
            Flush::Done
        } else {
            Flush::TimedOut
        }
    }
}

struct LineWriter<W> {
    receiver: Receiver<Message>,
    sink: W,
    waiting_bytes: Arc<AtomicUsize>,
    dropped: IntCounter,
}

/// Lines that are written together.
#[derive(Default)]
struct Bundle {
    bytes: Vec<u8>,
    lines: u64,
    flushes: Vec<SyncSender<()>>,
}

impl<W: Write> LineWriter<W> {
    fn run(mut self) {
        while let Ok(first) = self.receiver.recv() {
            let bundle = self.gather(first);
            self.write(bundle);
        }
    }

    /// Takes what waits already, up to about [`WRITE_BYTES`].
    fn gather(&self, first: Message) -> Bundle {
        let mut bundle = Bundle::default();
        let mut next = Ok(first);
        while let Ok(message) = next {
            bundle.put(message);
            next = if bundle.bytes.len() < WRITE_BYTES {
                self.receiver.try_recv()
            } else {
                Err(TryRecvError::Empty)
            };
        }
        bundle
    }

    fn write(&mut self, bundle: Bundle) {
        let written = self
            .sink
            .write_all(&bundle.bytes)
            .and_then(|()| self.sink.flush());
        if written.is_err() {
            self.dropped.inc_by(bundle.lines);
        }
        self.waiting_bytes
            .fetch_sub(bundle.bytes.len(), Ordering::Relaxed);
        for answer in bundle.flushes {
            // Nobody waits any more if the flush timed out.
            let _ = answer.send(());
        }
    }
}

impl Bundle {
    fn put(&mut self, message: Message) {
        match message {
            Message::Line(line) => {
                self.bytes.extend_from_slice(&line);
                self.lines += 1;
            }
            Message::Flush(answer) => self.flushes.push(answer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter() -> IntCounter {
        IntCounter::new("dropped", "Lines dropped by one test.").unwrap()
    }

    /// Hands every write to the test, and waits until the test has taken it.
    struct Slow(SyncSender<Vec<u8>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// As a pipe whose reader is gone.
    struct Broken;

    impl Write for Broken {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow_queue() -> (LineQueue, Receiver<Vec<u8>>, IntCounter) {
        let (writes, taken) = sync_channel(0);
        let dropped = counter();
        let queue = LineQueue::start(Slow(writes), dropped.clone()).unwrap();
        (queue, taken, dropped)
    }

    fn line(number: usize) -> Vec<u8> {
        format!("{number:06}\n").into_bytes()
    }

    #[test]
    fn a_reader_that_stands_still_costs_counted_lines_and_nobodys_time() {
        let (queue, taken, dropped) = slow_queue();
        let put = LINES_MAX * 4;
        (0..put).for_each(|number| queue.put(line(number)));
        let lost = usize::try_from(dropped.get()).unwrap();
        // The thread may have taken a bundle before it had to wait.
        assert!(
            lost >= put - LINES_MAX - WRITE_BYTES / 7 - 1,
            "{lost} of {put}"
        );
        drop(queue);
        let written: Vec<u8> = taken.iter().flatten().collect();
        assert_eq!(
            written.len() / 7 + lost,
            put,
            "each line is written or counted"
        );
        let lines: Vec<&[u8]> = written.split_inclusive(|byte| *byte == b'\n').collect();
        assert!(lines.is_sorted(), "what is written is in order and whole");
    }

    #[test]
    fn long_lines_are_bounded_by_their_bytes() {
        let (queue, taken, dropped) = slow_queue();
        let long = vec![b'x'; BYTES_MAX / 4];
        (0..8).for_each(|_| queue.put(long.clone()));
        assert_eq!(dropped.get(), 4);
        drop(queue);
        assert_eq!(
            taken.iter().map(|write| write.len()).sum::<usize>(),
            BYTES_MAX
        );
    }

    #[test]
    fn room_comes_back_when_lines_are_written() {
        let (queue, taken, dropped) = slow_queue();
        let reader = thread::spawn(move || taken.iter().flatten().count());
        for _ in 0..8 {
            queue.put(vec![b'x'; BYTES_MAX / 2]);
            assert_eq!(queue.flush(Duration::from_secs(10)), Flush::Done);
        }
        drop(queue);
        assert_eq!(reader.join().unwrap(), BYTES_MAX * 4);
        assert_eq!(dropped.get(), 0);
    }

    #[test]
    fn a_flush_before_a_reader_that_stands_still_times_out() {
        let (queue, taken, _) = slow_queue();
        (0..LINES_MAX * 2).for_each(|number| queue.put(line(number)));
        assert_eq!(queue.flush(Duration::from_millis(20)), Flush::TimedOut);
        drop(queue);
        assert!(taken.iter().count() > 0);
    }

    #[test]
    fn lines_for_a_reader_who_is_gone_are_counted_as_dropped() {
        let dropped = counter();
        let queue = LineQueue::start(Broken, dropped.clone()).unwrap();
        (0..10).for_each(|number| queue.put(line(number)));
        assert_eq!(queue.flush(Duration::from_secs(10)), Flush::Done);
        assert_eq!(dropped.get(), 10);
    }
}

//! Patience with clients, and its end: no connection is held for ever by one that stops halfway.
//!
//! The framework times the head of a connection's first request and the pause after an answer.
//! The first byte of a second request ends that pause, and nothing times what follows: a phone
//! that vanishes there would hold its place until the process ends. So every connection is watched
//! from below HTTP, where only two things are known: who had the last word, and since when. A
//! client that began something and got no word of an answer within what all limits of a request
//! add up to is given up, and so is a connection on which nobody says anything at all.
//!
//! A request costs two stores: the time is a count of looks, one a second, and one task of each
//! worker looks at all of its connections.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use actix_http::error::DispatchError;
use paredao_telemetry::metrics::{ConnectionFailure, metrics};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval};

use crate::events;
use crate::options::ApiOptions;

/// Between two looks at all connections.
const LOOK: Duration = Duration::from_secs(1);
/// Connections looked at before the worker's other tasks have their turn.
const LOOKED_AT_TOGETHER: usize = 4_096;

/// How long clients are waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// From the first byte of a request to the first of its answer.
    answer: Duration,
    /// Without a byte in either direction.
    silence: Duration,
}

impl Limits {
    /// What a request within every limit of its own may take together: its head, its body, and
    /// until it is durable. Between requests the framework is faster; the limit for silence only
    /// ends what it has no timer for, and lets event streams pass, which are never quiet for long.
    pub(crate) fn of(options: &ApiOptions) -> Self {
        let answer = options.request_timeout * 2 + options.append_deadline;
        Self {
            answer,
            silence: (options.keep_alive + answer).max((events::QUIET_MAX + options.refresh) * 2),
        }
    }
}

/// Watches the connections of one worker. Clones watch the same.
#[derive(Clone)]
pub(crate) struct Patience(Rc<Watch>);

impl Patience {
    /// For the worker on whose thread this is called: it looks at its connections from now on, as
    /// a task that ends with the last of them.
    pub(crate) fn begin(limits: Limits) -> Self {
        let watch = Rc::new(Watch::new(limits));
        actix_web::rt::spawn(look_again_and_again(Rc::downgrade(&watch)));
        Self(watch)
    }

    /// Watches a connection. Its client is expected to say something.
    pub(crate) fn watch(&self, stream: TcpStream) -> Watched {
        Watched {
            stream,
            pulse: self.0.begin(),
            watch: Rc::clone(&self.0),
        }
    }
}

async fn look_again_and_again(watch: Weak<Watch>) {
    let mut looks = interval(LOOK);
    // After a pause of the whole worker nobody is blamed for what it lasted.
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks.tick().await;
    loop {
        looks.tick().await;
        let Some(watch) = watch.upgrade() else { return };
        watch.look_at_all().await;
    }
}

/// What all connections of a worker share.
struct Watch {
    /// Looks so far: the time by which connections are judged.
    looks: Cell<u32>,
    answer_looks: u32,
    silence_looks: u32,
    pulses: RefCell<Vec<Rc<Pulse>>>,
}

impl Watch {
    fn new(limits: Limits) -> Self {
        Self {
            looks: Cell::new(0),
            answer_looks: in_looks(limits.answer),
            silence_looks: in_looks(limits.silence),
            pulses: RefCell::default(),
        }
    }

    fn begin(&self) -> Rc<Pulse> {
        let mut pulses = self.pulses.borrow_mut();
        let pulse = Rc::new(Pulse {
            standing: Cell::new(Standing::Asked),
            since: Cell::new(self.looks.get()),
            task: RefCell::new(Waker::noop().clone()),
            place: Cell::new(pulses.len()),
        });
        pulses.push(Rc::clone(&pulse));
        pulse
    }

    /// Puts the last pulse in the place of the one that goes.
    fn end(&self, pulse: &Pulse) {
        let mut pulses = self.pulses.borrow_mut();
        let place = pulse.place.get();
        pulses.swap_remove(place);
        if let Some(moved) = pulses.get(place) {
            moved.place.set(place);
        }
    }

    async fn look_at_all(&self) {
        self.looks.set(self.looks.get().wrapping_add(1));
        let mut first = 0;
        while self.look_at_some(first) == Left::More {
            first += LOOKED_AT_TOGETHER;
            tokio::task::yield_now().await;
        }
    }

    /// Looks at the connections from this place on, as many as are looked at together.
    fn look_at_some(&self, first: usize) -> Left {
        let pulses = self.pulses.borrow();
        let mut rest = pulses.iter().skip(first);
        let some = rest.by_ref().take(LOOKED_AT_TOGETHER);
        some.for_each(|pulse| self.look_at(pulse));
        if rest.next().is_some() {
            Left::More
        } else {
            Left::Nothing
        }
    }

    fn look_at(&self, pulse: &Pulse) {
        let limit = match pulse.standing.get() {
            Standing::Asked => self.answer_looks,
            Standing::Answered => self.silence_looks,
            Standing::GivenUp => return,
        };
        if self.looks.get().wrapping_sub(pulse.since.get()) > limit {
            pulse.standing.set(Standing::GivenUp);
            pulse.task.borrow().wake_by_ref();
        }
    }
}

/// So many looks that at least this time lies between the first and one after the last.
fn in_looks(limit: Duration) -> u32 {
    u32::try_from(limit.as_millis().div_ceil(LOOK.as_millis())).unwrap_or(u32::MAX)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Nothing,
    More,
}

/// Who had the last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// The client: it began something, or is expected to.
    Asked,
    /// We: since then the client said nothing.
    Answered,
    /// Nobody is waited for any more.
    GivenUp,
}

/// What is known of one connection.
struct Pulse {
    standing: Cell<Standing>,
    /// Of what looks: when the client began, or when we spoke last.
    since: Cell<u32>,
    /// The task that serves it.
    task: RefCell<Waker>,
    /// Where it stands among the pulses.
    place: Cell<usize>,
}

impl Pulse {
    /// Only the first byte after our last word counts: one that drips is not waited for longer.
    fn client_spoke(&self, looks: u32) {
        if self.standing.get() == Standing::Answered {
            self.standing.set(Standing::Asked);
            self.since.set(looks);
        }
    }

    fn we_spoke(&self, looks: u32) {
        self.standing.set(Standing::Answered);
        self.since.set(looks);
    }

    fn check(&self) -> io::Result<()> {
        match self.standing.get() {
            Standing::Asked | Standing::Answered => Ok(()),
            Standing::GivenUp => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// A connection that is watched. Reading and writing fail once it is given up.
pub(crate) struct Watched {
    stream: TcpStream,
    pulse: Rc<Pulse>,
    watch: Rc<Watch>,
}

impl Watched {
    fn note_written(&self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(1..)) = written {
            self.pulse.we_spoke(self.watch.looks.get());
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.watch.end(&self.pulse);
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.pulse.check()?;
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        if read.is_pending() {
            // Costs a comparison as long as the same task serves the connection.
            this.pulse.task.borrow_mut().clone_from(context.waker());
        } else if buffer.filled().len() > before {
            this.pulse.client_spoke(this.watch.looks.get());
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.pulse.check()?;
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.note_written(&written);
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.pulse.check()?;
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, pieces);
        this.note_written(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

/// Counts a connection that ended otherwise than in good order. Nothing is logged: clients can
/// bring this about as often as they like.
pub(crate) fn count(error: &DispatchError) {
    let failure = match error {
        DispatchError::Parse(_) => ConnectionFailure::NotHttp,
        DispatchError::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
            ConnectionFailure::Stalled
        }
        DispatchError::DisconnectTimeout => ConnectionFailure::Stalled,
        _ => ConnectionFailure::Broken,
    };
    metrics().connection_failures.of(failure).inc();
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::net::Ipv4Addr;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const LIMITS: Limits = Limits {
        answer: Duration::from_secs(2),
        silence: Duration::from_secs(4),
    };
    const IN_TIME: usize = 2;
    const QUIET_IN_TIME: usize = 4;

    /// Both ends of a connection, ours watched; nobody looks but the test.
    async fn connection(watch: &Rc<Watch>) -> (TcpStream, Watched) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, ours) = tokio::join!(client, listener.accept());
        let ours = Patience(Rc::clone(watch)).watch(ours.unwrap().0);
        (client.unwrap(), ours)
    }

    fn watch() -> Rc<Watch> {
        Rc::new(Watch::new(LIMITS))
    }

    async fn look(watch: &Watch, times: usize) {
        for _ in 0..times {
            watch.look_at_all().await;
        }
    }

    async fn hear(client: &mut TcpStream, ours: &mut Watched, bytes: &[u8]) {
        client.write_all(bytes).await.unwrap();
        ours.read_exact(&mut vec![0; bytes.len()]).await.unwrap();
    }

    fn is_given_up(ours: &Watched) -> bool {
        ours.pulse.standing.get() == Standing::GivenUp
    }

    #[derive(Default)]
    struct CountedWakes(AtomicUsize);

    impl Wake for CountedWakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn a_client_that_stops_halfway_is_given_up_and_its_task_is_woken() {
        let watch = watch();
        let (mut client, mut ours) = connection(&watch).await;
        ours.write_all(b"an answer").await.unwrap();
        hear(&mut client, &mut ours, b"G").await;
        let wakes = Arc::new(CountedWakes::default());
        let task = Waker::from(Arc::clone(&wakes));
        let mut room = [0; 8];
        let mut room = ReadBuf::new(&mut room);
        let mut read = |ours: &mut Watched| {
            Pin::new(ours).poll_read(&mut Context::from_waker(&task), &mut room)
        };
        assert!(read(&mut ours).is_pending());
        look(&watch, IN_TIME).await;
        assert_eq!(
            (is_given_up(&ours), wakes.0.load(Ordering::Relaxed)),
            (false, 0)
        );
        look(&watch, 1).await;
        assert_eq!(
            (is_given_up(&ours), wakes.0.load(Ordering::Relaxed)),
            (true, 1)
        );
        let Poll::Ready(Err(error)) = read(&mut ours) else {
            panic!("reading goes on");
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let written = ours.write_all(b"too late").await.unwrap_err();
        assert_eq!(written.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn dripping_bytes_do_not_lengthen_the_wait_and_an_answer_does() {
        let watch = watch();
        let (mut client, mut ours) = connection(&watch).await;
        for round in 0..3 {
            for _ in 0..IN_TIME {
                hear(&mut client, &mut ours, b"x").await;
                look(&watch, 1).await;
            }
            assert!(!is_given_up(&ours), "round {round}");
            ours.write_all(b"an answer").await.unwrap();
        }
        for _ in 0..=IN_TIME {
            hear(&mut client, &mut ours, b"x").await;
            look(&watch, 1).await;
        }
        assert!(is_given_up(&ours));
    }

    #[tokio::test]
    async fn a_connection_that_nobody_uses_is_given_up_and_one_on_which_we_speak_is_not() {
        let watch = watch();
        let (_listener, mut stream) = connection(&watch).await;
        let (_idler, mut idle) = connection(&watch).await;
        idle.write_all(b"an answer").await.unwrap();
        for _ in 0..3 {
            stream.write_all(b"news").await.unwrap();
            look(&watch, QUIET_IN_TIME).await;
        }
        assert_eq!((is_given_up(&stream), is_given_up(&idle)), (false, true));
    }

    #[tokio::test]
    async fn a_connection_that_ends_is_looked_at_no_more_and_the_others_still_are() {
        let watch = watch();
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(connection(&watch).await);
        }
        drop(held.remove(0));
        drop(held.remove(1));
        assert_eq!(watch.pulses.borrow().len(), 1);
        look(&watch, IN_TIME + 1).await;
        assert!(is_given_up(&held[0].1));
        held.clear();
        assert!(watch.pulses.borrow().is_empty());
    }

    #[tokio::test]
    async fn more_connections_than_are_looked_at_together_are_all_looked_at() {
        let watch = watch();
        let (_client, ours) = connection(&watch).await;
        let others: Vec<_> = (0..LOOKED_AT_TOGETHER * 2).map(|_| watch.begin()).collect();
        look(&watch, IN_TIME + 1).await;
        let is_given_up = |pulse: &&Rc<Pulse>| pulse.standing.get() == Standing::GivenUp;
        assert_eq!(others.iter().filter(is_given_up).count(), others.len());
        others.iter().for_each(|pulse| watch.end(pulse));
        assert_eq!(watch.pulses.borrow().len(), 1);
        drop(ours);
    }

    #[tokio::test]
    async fn writes_stay_vectored() {
        let watch = watch();
        let (mut client, mut ours) = connection(&watch).await;
        assert!(ours.is_write_vectored());
        let pieces = [io::IoSlice::new(b"in "), io::IoSlice::new(b"pieces")];
        let write = poll_fn(|context| Pin::new(&mut ours).poll_write_vectored(context, &pieces));
        assert_eq!(write.await.unwrap(), 9);
        let mut read = [0; 9];
        client.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"in pieces");
    }

    #[test]
    fn every_limit_of_a_request_fits_and_streams_may_be_quiet() {
        let options = ApiOptions {
            request_timeout: Duration::from_secs(5),
            append_deadline: Duration::from_secs(7),
            keep_alive: Duration::from_secs(75),
            ..ApiOptions::default()
        };
        let limits = Limits::of(&options);
        assert_eq!(limits.answer, Duration::from_secs(17));
        assert_eq!(limits.silence, Duration::from_secs(92));
        let hasty = ApiOptions {
            keep_alive: Duration::ZERO,
            request_timeout: Duration::ZERO,
            append_deadline: Duration::ZERO,
            ..options
        };
        assert!(Limits::of(&hasty).silence > events::QUIET_MAX);
        assert_eq!(in_looks(Duration::from_millis(1_001)), 2);
    }
}

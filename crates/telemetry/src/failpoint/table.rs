//! Which points are armed, and what happens when one is hit.

use std::cell::RefCell;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Signal, getpid, kill_process};

use super::spec::{self, Action, Failure, Point};
use super::{SpecError, VARIABLE};

/// A point that waits for its hits.
#[derive(Debug)]
struct Armed {
    point: Point,
    hits: AtomicU64,
}

type Points = Vec<Arc<Armed>>;

/// Points of the whole process; the environment's come first and stay.
static PROCESS: LazyLock<RwLock<Points>> =
    LazyLock::new(|| RwLock::new(arm_all(ENVIRONMENT.as_deref().unwrap_or_default())));

static ENVIRONMENT: LazyLock<Result<Vec<Point>, SpecError>> = LazyLock::new(read_environment);

/// How many guards with thread points live, so that a hit without any costs no look-up.
static THREAD_GUARDS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static THREAD: RefCell<Points> = const { RefCell::new(Vec::new()) };
}

/// Armed points; dropping it disarms them.
///
/// A guard from [`arm_on_this_thread`] is to be dropped on the thread that made it, and so it
/// cannot be sent to another.
#[derive(Debug)]
#[must_use = "the points are disarmed when this is dropped"]
pub struct Guard {
    points: Points,
    reach: Reach,
    /// Keeps the guard on its thread.
    _not_send: std::marker::PhantomData<*const ()>,
}

#[derive(Clone, Copy, Debug)]
enum Reach {
    Process,
    Thread,
}

/// Arms points for every thread of this process, in the notation of the environment variable.
///
/// Tests of one binary run side by side, so all of them see these points: give such a test a
/// file of its own under `tests/`, or use [`arm_on_this_thread`].
pub fn arm(specification: &str) -> Result<Guard, SpecError> {
    Guard::new(specification, Reach::Process)
}

/// Arms points for what the calling thread does itself.
pub fn arm_on_this_thread(specification: &str) -> Result<Guard, SpecError> {
    Guard::new(specification, Reach::Thread)
}

impl Guard {
    fn new(specification: &str, reach: Reach) -> Result<Self, SpecError> {
        let points = arm_all(&spec::parse(specification)?);
        match reach {
            Reach::Process => write_process().extend(points.iter().cloned()),
            Reach::Thread => {
                THREAD_GUARDS.fetch_add(1, Ordering::Relaxed);
                THREAD.with_borrow_mut(|armed| armed.extend(points.iter().cloned()));
            }
        }
        Ok(Self {
            points,
            reach,
            _not_send: std::marker::PhantomData,
        })
    }

    /// How often the armed point `name` was passed, whether it acted or not.
    pub fn hits(&self, name: &str) -> u64 {
        self.points
            .iter()
            .filter(|armed| armed.point.name == name)
            .map(|armed| armed.hits.load(Ordering::SeqCst))
            .max()
            .unwrap_or(0)
    }

    fn owns(&self, armed: &Arc<Armed>) -> bool {
        self.points.iter().any(|own| Arc::ptr_eq(own, armed))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        match self.reach {
            Reach::Process => write_process().retain(|armed| !self.owns(armed)),
            Reach::Thread => {
                THREAD_GUARDS.fetch_sub(1, Ordering::Relaxed);
                THREAD.with_borrow_mut(|points| points.retain(|armed| !self.owns(armed)));
            }
        }
    }
}

/// The points the environment sets.
pub(super) fn from_environment() -> Result<Vec<Point>, SpecError> {
    ENVIRONMENT.clone()
}

/// Passes `name`: every armed entry counts the hit, the first that means this hit acts. With a
/// wrong specification in the environment every point fails, so that nobody who forgets to check
/// it believes to have tested something.
pub(super) fn hit(name: &str) -> io::Result<()> {
    if let Err(error) = &*ENVIRONMENT {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, error.clone()));
    }
    // The choice is made before acting, so that no delay holds the lock.
    let own = match THREAD_GUARDS.load(Ordering::Relaxed) {
        0 => None,
        _ => THREAD.with_borrow(|points| choose(points, name)),
    };
    match own.or(choose(&read_process(), name)) {
        Some(action) => act(name, action),
        None => Ok(()),
    }
}

fn choose(points: &Points, name: &str) -> Option<Action> {
    let mut chosen = None;
    for armed in points.iter().filter(|armed| armed.point.name == name) {
        let hit = armed.hits.fetch_add(1, Ordering::SeqCst) + 1;
        if armed.point.hits.contains(hit) {
            chosen = chosen.or(Some(armed.point.action));
        }
    }
    chosen
}

fn act(name: &str, action: Action) -> io::Result<()> {
    match action {
        Action::Kill => kill_self(),
        Action::Panic => panic_here(name),
        Action::Error(failure) => Err(error(name, failure)),
        Action::Delay(delay) => {
            wait(delay);
            Ok(())
        }
    }
}

#[expect(clippy::panic, reason = "a panic is what a test asked for")]
fn panic_here(name: &str) -> ! {
    panic!("failure point {name}")
}

fn kill_self() -> io::Result<()> {
    kill_process(getpid(), Signal::KILL)?;
    // The signal is pending for every thread: nothing more of the program is to run here.
    loop {
        std::thread::park();
    }
}

fn error(name: &str, failure: Failure) -> io::Error {
    match failure {
        Failure::Named => io::Error::other(format!("failure point {name}")),
        Failure::DiskFull => Errno::NOSPC.into(),
        Failure::DiskBroken => Errno::IO.into(),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "stopping the thread is what a test asked for"
)]
fn wait(delay: Duration) {
    std::thread::sleep(delay);
}

fn arm_all(points: &[Point]) -> Points {
    let armed = |point: &Point| {
        Arc::new(Armed {
            point: point.clone(),
            hits: AtomicU64::new(0),
        })
    };
    points.iter().map(armed).collect()
}

fn read_environment() -> Result<Vec<Point>, SpecError> {
    let Some(text) = std::env::var_os(VARIABLE) else {
        return Ok(Vec::new());
    };
    spec::parse(text.to_str().ok_or(SpecError::NotUtf8)?)
}

// A panic under the lock leaves a list that is still whole, so poison is no reason to stop.
fn read_process() -> RwLockReadGuard<'static, Points> {
    PROCESS.read().unwrap_or_else(PoisonError::into_inner)
}

fn write_process() -> RwLockWriteGuard<'static, Points> {
    PROCESS.write().unwrap_or_else(PoisonError::into_inner)
}

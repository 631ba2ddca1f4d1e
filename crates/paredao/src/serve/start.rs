//! Opens everything, in the order in which one needs the other, then lets voters in.

use std::io;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use anyhow::{Context as _, anyhow};
use paredao_api::pages::Occasion;
use paredao_api::{Api, ApiOptions, Refresher, Rooms, TotalAccess};
use paredao_consumer::{ClosingOptions, Consumer, ConsumerOptions};
use paredao_domain::{Clock, Incarnation};
use paredao_intake::{Intake, IntakeOptions};
use paredao_store::{EmbeddedStore, OwnerId, Store, StoreError};
use paredao_telemetry::health::{Component, Health};
use paredao_vote_log::{EmbeddedLog, FirstSegment, VoteLog};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::demo;
use super::files_watch::FilesWatch;
use super::listeners::{self, Addresses, Listeners, reachable};
use super::upkeep::Upkeep;
use crate::clock::SystemClock;
use crate::config::{ANSWER_MARGIN, Config};
use crate::control::server::ControlSocket;
use crate::data_folder::Absent;
use crate::failure::Misuse;
use crate::files::Files;
use crate::log_levels::LogLevels;
use crate::office::{LANE, Live, Office};

/// Appends under way at which nothing more is cut: the embedded log does each on the thread that
/// asks for it.
const APPENDS_MAX: usize = 1;
/// How far the clocks of several processes may be apart.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(2);

/// Everything that runs.
pub(super) struct Program {
    pub(super) health: Health,
    pub(super) files: Files,
    pub(super) intake: Arc<Intake>,
    pub(super) consumer: Arc<Consumer>,
    pub(super) api: Api,
    pub(super) public_server: ServerHandle,
    pub(super) metrics_server: ServerHandle,
    /// What ends when `helpers_stop` says so, or with its server.
    pub(super) tasks: JoinSet<()>,
    /// Ends the refresher, the upkeep and the control socket.
    pub(super) helpers_stop: CancellationToken,
    pub(super) addresses: Addresses,
    pub(super) control_socket: PathBuf,
    pub(super) data_dir: PathBuf,
    pub(super) is_demo: bool,
    pub(super) polls: Polls,
}

/// Whether there is anything to vote in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Polls {
    /// There is no poll at all.
    None,
    /// There is one, open or not.
    Some,
}

/// The rooms behind HTTP.
struct Backend {
    files: Files,
    clock: Arc<dyn Clock>,
    intake: Arc<Intake>,
    consumer: Arc<Consumer>,
}

impl Backend {
    fn store(&self) -> Arc<dyn Store> {
        Arc::<EmbeddedStore>::clone(&self.files.store)
    }

    fn log(&self) -> Arc<dyn VoteLog> {
        Arc::<EmbeddedLog>::clone(&self.files.log)
    }
}

/// Everything open, and nobody let in yet.
pub(super) struct Opened {
    listeners: Listeners,
    backend: Backend,
    control: ControlSocket,
    health: Health,
    api: Api,
    polls: Polls,
}

impl Opened {
    /// Opens everything. When something cannot be opened, what was opened is dropped, which is as
    /// good as an end by `kill -9`: nothing was answered yet.
    pub(super) async fn open(config: &Config) -> anyhow::Result<Self> {
        let listeners = listeners::bind(config)?;
        let backend = open_backend(config).await?;
        let control = ControlSocket::bind(&config.control_socket).await?;
        if config.demo {
            demo::prepare(&*backend.store(), &*backend.clock).await?;
        }
        let polls = if backend.store().polls().await?.is_empty() {
            Polls::None
        } else {
            Polls::Some
        };
        let health = Health::new();
        let api = Api::open(rooms(&backend, &health), api_options(config))
            .await
            .map_err(|error| not_opened(error, &backend.files.store_file()))?;
        Ok(Self {
            listeners,
            backend,
            control,
            health,
            api,
            polls,
        })
    }

    /// Lets voters in. Every component is ready before anybody can ask, so that readiness, once
    /// seen, falls only for a reason.
    pub(super) fn serve(self, config: &Config, levels: Arc<LogLevels>) -> anyhow::Result<Program> {
        let Self {
            listeners,
            backend,
            control,
            health,
            api,
            polls,
        } = self;
        let addresses = listeners.addresses;
        let servers = Servers::listen(&api, listeners)?;
        let (public_server, metrics_server) = (servers.public.handle(), servers.metrics.handle());
        let office = office(config, &backend, &api, &health, &levels, addresses);
        let upkeep = Upkeep::new(
            Arc::clone(&backend.intake),
            Arc::clone(&backend.consumer),
            Arc::clone(&backend.clock),
            levels,
            &health,
        );
        let watch = FilesWatch::new(&backend.files, &health);
        let mut tasks = Tasks::default();
        tasks.running.spawn(watch.run(tasks.helpers_stop.clone()));
        tasks.begin(&health, servers, upkeep, api.refresher(), control, office);
        let Backend {
            files,
            intake,
            consumer,
            ..
        } = backend;
        Ok(Program {
            health,
            files,
            intake,
            consumer,
            api,
            public_server,
            metrics_server,
            tasks: tasks.running,
            helpers_stop: tasks.helpers_stop,
            addresses,
            control_socket: config.control_socket.clone(),
            data_dir: config.data_dir.clone(),
            is_demo: config.demo,
            polls,
        })
    }
}

/// A store that contradicts itself serves nobody wrong numbers; what to do about it is the
/// operator's decision.
fn not_opened(error: StoreError, store_file: &Path) -> anyhow::Error {
    let error = match error {
        StoreError::Damaged(_) => anyhow!(
            "{error}. Nothing is served. `paredao recount` names every figure that differs from the \
             ledger, which is what counts: put back a copy of {} (with its -wal and -shm moved \
             away), or set those figures right as docs/ledger.md says",
            store_file.display()
        ),
        other => other.into(),
    };
    error.context("opening the API")
}

async fn open_backend(config: &Config) -> anyhow::Result<Backend> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let files = open_files(config.clone(), Arc::clone(&clock)).await?;
    files.note_lost_segments(clock.now()).await?;
    let log: Arc<dyn VoteLog> = Arc::<EmbeddedLog>::clone(&files.log);
    let store: Arc<dyn Store> = Arc::<EmbeddedStore>::clone(&files.store);
    let intake = Intake::start(
        Arc::clone(&log),
        Arc::clone(&clock),
        Box::new(|| incarnation().map_err(io::Error::other)),
        intake_options(config),
    )?;
    let consumer = Consumer::start(
        log,
        store,
        Arc::clone(&clock),
        OwnerId(drawn()?),
        incarnation()?,
        consumer_options(config),
    )
    .context("starting the consumer's thread")?;
    Ok(Backend {
        files,
        clock,
        intake: Arc::new(intake),
        consumer: Arc::new(consumer),
    })
}

/// Reading a large log takes a while, which is done beside the runtime.
async fn open_files(config: Config, clock: Arc<dyn Clock>) -> anyhow::Result<Files> {
    tokio::task::spawn_blocking(move || {
        Files::open(&config, Absent::Make, FirstSegment::AtOnce, clock)
    })
    .await?
}

fn drawn() -> anyhow::Result<u64> {
    getrandom::u64().context("the system gives no random numbers")
}

fn incarnation() -> anyhow::Result<Incarnation> {
    drawn().map(Incarnation)
}

fn intake_options(config: &Config) -> IntakeOptions {
    IntakeOptions {
        lane: LANE,
        waiting_max: config.votes_waiting_max,
        batch_votes_max: config.batch_votes_max,
        linger_max: config.linger_max,
        append_deadline: config.append_deadline,
        appends_max: APPENDS_MAX,
    }
}

fn consumer_options(config: &Config) -> ConsumerOptions {
    let settle = config.append_deadline + CLOCK_TOLERANCE;
    ConsumerOptions {
        lane: LANE,
        closing: ClosingOptions {
            settle_ms: i64::try_from(settle.as_millis()).unwrap_or(i64::MAX),
        },
        ..ConsumerOptions::default()
    }
}

fn rooms(backend: &Backend, health: &Health) -> Rooms {
    Rooms {
        intake: Arc::clone(&backend.intake),
        store: backend.store(),
        log: backend.log(),
        clock: Arc::clone(&backend.clock),
        health: health.clone(),
    }
}

fn occasion(config: &Config) -> Occasion {
    if config.demo {
        Occasion::Demonstration
    } else {
        Occasion::OnAir
    }
}

fn api_options(config: &Config) -> ApiOptions {
    let left = config.stop_timeout.saturating_sub(config.drain);
    let is_public = config.demo || config.public_total;
    ApiOptions {
        total_access: if is_public {
            TotalAccess::Public
        } else {
            TotalAccess::Refused
        },
        occasion: occasion(config),
        refresh: config.refresh,
        receipts_per_second: NonZeroU32::new(config.receipts_per_second).unwrap_or(NonZeroU32::MIN),
        workers: config.workers,
        connections_max: config.connections_max,
        streams_max: config.streams_max,
        request_timeout: config.request_timeout,
        append_deadline: config.append_deadline,
        // Half of what is left after serving on; the other half is for flushing and applying. But
        // every vote under way gets its answer, which takes up to the deadline.
        stop_timeout: (left / 2).max(config.append_deadline + ANSWER_MARGIN),
        ..ApiOptions::default()
    }
}

/// The two servers, bound to their addresses and not accepting yet.
struct Servers {
    public: Server,
    metrics: Server,
}

impl Servers {
    fn listen(api: &Api, listeners: Listeners) -> Result<Self, Misuse> {
        let Listeners {
            public,
            metrics,
            addresses,
        } = listeners;
        let (public, _) = api
            .serve(public)
            .map_err(|error| listeners::refusal("listen", addresses.listen, &error))?;
        let (metrics, _) = api
            .serve_metrics(metrics)
            .map_err(|error| listeners::refusal("metrics_listen", addresses.metrics, &error))?;
        Ok(Self { public, metrics })
    }
}

fn office(
    config: &Config,
    backend: &Backend,
    api: &Api,
    health: &Health,
    levels: &Arc<LogLevels>,
    addresses: Addresses,
) -> Office {
    Office {
        store: backend.store(),
        log: backend.log(),
        clock: Arc::clone(&backend.clock),
        close_lead: config.close_lead,
        listen: reachable(addresses.listen),
        store_file: backend.files.store_file(),
        scratch: backend.files.scratch(),
        recounts: Arc::new(Semaphore::new(1)),
        live: Some(Live {
            health: health.clone(),
            consumer: Arc::clone(&backend.consumer),
            api: api.clone(),
            levels: Arc::clone(levels),
            occasion: occasion(config),
        }),
    }
}

/// What runs beside intake and consumer.
#[derive(Default)]
struct Tasks {
    running: JoinSet<()>,
    helpers_stop: CancellationToken,
}

impl Tasks {
    /// Begins with what serves nobody and ends with the doors, when all components are ready.
    fn begin(
        &mut self,
        health: &Health,
        servers: Servers,
        mut upkeep: Upkeep,
        refresher: Refresher,
        control: ControlSocket,
        office: Office,
    ) {
        let doors = ["control", "metrics", "http"].map(|name| health.register(name));
        upkeep.look();
        doors.iter().for_each(Component::ready);
        let [control_door, metrics_door, http_door] = doors;

        let stop = self.helpers_stop.clone();
        self.running
            .spawn(async move { refresher.run(stop.cancelled()).await });
        self.running.spawn(upkeep.run(self.helpers_stop.clone()));
        let stop = self.helpers_stop.clone();
        self.running.spawn(async move {
            control.serve(Arc::new(office), stop).await;
            drop(control_door);
        });
        self.running
            .spawn(run_server("metrics", servers.metrics, metrics_door));
        self.running
            .spawn(run_server("http", servers.public, http_door));
    }
}

/// A component for as long as its server runs.
async fn run_server(name: &'static str, server: Server, component: Component) {
    if let Err(error) = server.await {
        tracing::error!(event = "server_failed", server = name, %error);
    }
    drop(component);
}

//! A whole house: the real rooms on a temporary folder and loopback, taken down at the end.

pub(crate) mod client;
pub(crate) mod heard;
pub(crate) mod moody;
pub(crate) mod moody_log;

use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use actix_web::dev::{Server, ServerHandle};
use paredao_api::pages::Occasion;
use paredao_api::{Api, ApiOptions, Rooms, TotalAccess};
use paredao_consumer::{ClosingOptions, Consumer, ConsumerOptions};
use paredao_domain::{
    BootMillis, Candidate, CandidateNumber, Clock, Conservation, Incarnation, Lane, PartialsPolicy,
    PollDraft, UnixMillis, UtcOffset,
};
use paredao_intake::{Intake, IntakeOptions};
use paredao_store::{EmbeddedStore, OwnerId, PollChange, Store};
use paredao_telemetry::health::{Component, Health};
use paredao_vote_log::disk::simulated::ForgettingDisk;
use paredao_vote_log::{EmbeddedLog, EmbeddedOptions, VoteLog};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use client::{Answer, PATIENCE, ask};
use moody::MoodyStore;
use moody_log::MoodyLog;

/// Between two looks at a condition that is waited for.
const POLL_PAUSE: Duration = Duration::from_millis(5);

/// The system's clock, and how far a test has moved it.
#[derive(Default)]
pub(crate) struct TestClock {
    ahead_ms: AtomicI64,
}

impl TestClock {
    pub(crate) fn move_on(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap();
        self.ahead_ms.fetch_add(by, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the clock that the rooms are given"
    )]
    fn now(&self) -> UnixMillis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let millis = i64::try_from(since.as_millis()).unwrap();
        UnixMillis(millis + self.ahead_ms.load(Ordering::Relaxed))
    }

    fn boot(&self) -> BootMillis {
        BootMillis(u64::try_from(self.now().0).unwrap())
    }
}

/// How a house is built.
pub(crate) struct Plan {
    pub(crate) api: ApiOptions,
    pub(crate) intake: IntakeOptions,
    pub(crate) append_delay: Duration,
    /// What the log is kept on.
    pub(crate) disk: ForgettingDisk,
    /// Created in this order; the ones to open are opened.
    pub(crate) polls: Vec<(PollDraft, Opening)>,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Opening {
    Open,
    Leave,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            api: ApiOptions {
                total_access: TotalAccess::Public,
                occasion: Occasion::OnAir,
                refresh: Duration::from_millis(50),
                workers: 1,
                receipts_per_second: NonZeroU32::MAX,
                stop_timeout: Duration::from_secs(2),
                ..ApiOptions::default()
            },
            intake: IntakeOptions {
                lane: Lane(0),
                waiting_max: 65_536,
                batch_votes_max: 8_192,
                linger_max: Duration::from_millis(2),
                append_deadline: Duration::from_secs(5),
                appends_max: 1,
            },
            append_delay: Duration::ZERO,
            disk: ForgettingDisk::new(1),
            polls: vec![(draft("paredao-1", &["Ana", "Bia"]), Opening::Open)],
        }
    }
}

/// A poll as production would wish it.
pub(crate) fn draft(slug: &str, names: &[&str]) -> PollDraft {
    let candidate = |(number, name): (u64, &&str)| Candidate {
        number: CandidateNumber::try_from(number).unwrap(),
        name: (*name).to_owned(),
    };
    PollDraft {
        slug: slug.parse().unwrap(),
        title: "Quem sai?".to_owned(),
        candidates: (1..).zip(names).map(candidate).collect(),
        utc_offset: UtcOffset::BRASILIA,
        opens_at: None,
        closes_at: None,
        key_life_s: 180,
        partials_policy: PartialsPolicy::Always,
        principal: false,
    }
}

pub(crate) struct House {
    pub(crate) address: SocketAddr,
    pub(crate) metrics_address: SocketAddr,
    pub(crate) api: Api,
    pub(crate) store: Arc<EmbeddedStore>,
    /// The same, as the API sees it.
    pub(crate) seen_store: Arc<MoodyStore>,
    pub(crate) intake: Arc<Intake>,
    pub(crate) log: Arc<MoodyLog>,
    pub(crate) disk: ForgettingDisk,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) health: Health,
    consumer: Consumer,
    servers: Vec<(JoinHandle<std::io::Result<()>>, ServerHandle)>,
    refresher: JoinHandle<()>,
    stop_refreshing: CancellationToken,
    component: Component,
    _folder: TempDir,
}

impl House {
    /// Builds a house, lets `visit` happen, and takes it down again.
    pub(crate) async fn visit(plan: Plan, visit: impl AsyncFnOnce(&House)) {
        let house = Self::build(plan).await;
        visit(&house).await;
        house.take_down().await;
    }

    async fn build(plan: Plan) -> Self {
        let folder = TempDir::new().unwrap();
        let clock = Arc::new(TestClock::default());
        let path = folder.path().join("store.sqlite");
        let store = EmbeddedStore::open(&path, paredao_store::EmbeddedOptions::default());
        let store = Arc::new(store.unwrap());
        open_polls(&*store, plan.polls, clock.now()).await;
        let disk = plan.disk;
        let options = EmbeddedOptions {
            append_delay: plan.append_delay,
            ..EmbeddedOptions::default()
        };
        let log = EmbeddedLog::open(Arc::new(disk.clone()), clock.clone(), options).unwrap();
        let log = Arc::new(MoodyLog::new(log));
        // One is enough: the clock of these tests never goes back.
        let incarnations = Box::new(|| Ok(Incarnation(7)));
        let intake = Intake::start(log.clone(), clock.clone(), incarnations, plan.intake);
        let intake = Arc::new(intake.unwrap());
        let consumer = consume(log.clone(), store.clone(), clock.clone());
        let seen_store = Arc::new(MoodyStore::new(store.clone()));
        let health = Health::new();
        let component = health.register("intake");
        component.ready();
        let rooms = Rooms {
            intake: intake.clone(),
            store: seen_store.clone(),
            log: log.clone(),
            clock: clock.clone(),
            health: health.clone(),
        };
        let api = Api::open(rooms, plan.api).await.unwrap();
        let stop_refreshing = CancellationToken::new();
        let until = stop_refreshing.clone();
        let refresher = api.refresher();
        let refresher = tokio::spawn(async move { refresher.run(until.cancelled()).await });
        let (listener, address) = listen();
        let (metrics_listener, metrics_address) = listen();
        let servers = [api.serve(listener), api.serve_metrics(metrics_listener)];
        let run = |(server, handle): (Server, ServerHandle)| (tokio::spawn(server), handle);
        Self {
            address,
            metrics_address,
            servers: servers
                .into_iter()
                .map(|server| run(server.unwrap()))
                .collect(),
            api,
            store,
            seen_store,
            intake,
            log,
            disk,
            clock,
            health,
            consumer,
            refresher,
            stop_refreshing,
            component,
            _folder: folder,
        }
    }

    async fn take_down(self) {
        self.health.stop();
        self.api.end_streams();
        for (server, handle) in self.servers {
            handle.stop(true).await;
            server.await.unwrap().unwrap();
        }
        self.stop_refreshing.cancel();
        self.refresher.await.unwrap();
        drop(self.component);
        assert!(self.intake.stop(PATIENCE).await && self.consumer.stop(PATIENCE).await);
        let law = conservation(&self.log, &self.store, self.clock.now()).await;
        assert!(law.holds() && law.in_flight == 0, "{law:?}");
    }

    /// The value of a series on `/metrics`.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let answer = ask(self.metrics_address, "GET", "/metrics", &[], b"").await;
        let value = answer.text().lines().find_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            (name == series).then(|| value.parse().unwrap())
        });
        value.unwrap_or_else(|| panic!("{series} is not shown"))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        ask(self.address, "GET", path, &[], b"").await
    }

    /// Votes by body, on a connection of its own.
    pub(crate) async fn vote(&self, path: &str, number: u64, headers: &[(&str, &str)]) -> Answer {
        let body = json!({ "voto": number }).to_string();
        self.post(path, headers, body.as_bytes()).await
    }

    /// Posts a body as JSON.
    pub(crate) async fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let headers = [&[("content-type", "application/json")], headers].concat();
        ask(self.address, "POST", path, &headers, body).await
    }

    pub(crate) async fn change(&self, slug: &str, change: PollChange) {
        let slug = slug.parse().unwrap();
        self.store
            .change_poll(&slug, change, self.clock.now())
            .await
            .unwrap();
        self.api.refresh().await.unwrap();
    }

    /// Reads a JSON route until it is as it should be.
    pub(crate) async fn until(&self, path: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let body = self.get(path).await.json();
            if condition(&body) {
                return body;
            }
            assert!(Instant::now() < deadline, "{path} never became so: {body}");
            tokio::time::sleep(POLL_PAUSE).await;
        }
    }
}

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(POLL_PAUSE).await;
    }
}

/// Where every vote is that was accepted, from durable data alone. Nobody works on it any more.
async fn conservation(log: &MoodyLog, store: &EmbeddedStore, now: UnixMillis) -> Conservation {
    log.speak_again();
    let held = log.status(Lane(0)).await.unwrap();
    let books = store.snapshot(now).await.unwrap().books;
    let cut: u64 = books.cut.iter().map(|(_, votes)| votes).sum();
    Conservation {
        accepted: cut - books.unanswered,
        booked: books.accounts,
        dead_lettered: books.dead_lettered,
        missing: books.missing,
        in_flight: held.votes,
        unanswered: books.unanswered,
    }
}

async fn open_polls(store: &dyn Store, polls: Vec<(PollDraft, Opening)>, now: UnixMillis) {
    for (draft, opening) in polls {
        let slug = draft.slug.clone();
        store.create_poll(draft, now).await.unwrap();
        if opening == Opening::Open {
            store
                .change_poll(&slug, PollChange::Open, now)
                .await
                .unwrap();
        }
    }
}

fn consume(log: Arc<dyn VoteLog>, store: Arc<EmbeddedStore>, clock: Arc<TestClock>) -> Consumer {
    let options = ConsumerOptions {
        apply_interval: Duration::from_millis(5),
        closing: ClosingOptions { settle_ms: 0 },
        ..ConsumerOptions::default()
    };
    Consumer::start(log, store, clock, OwnerId(1), Incarnation(8), options).unwrap()
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

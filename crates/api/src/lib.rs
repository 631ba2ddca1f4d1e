//! HTTP: routes, pages, live events, problem answers, and the API's description.
//!
//! This room promises: a vote is answered with success only after the intake's receipt; every
//! answered request to vote ends in one outcome that is counted; a JSON route never answers HTML;
//! readers of numbers are answered from a snapshot that says how old it is, and never wait for a
//! database (a receipt is looked up, for a second at most); nothing a client sends or withholds
//! takes more than its share of memory or time.
//!
//! The way of a vote: `server` → `routes` → `vote` → `body`, `request` → `board` → the intake →
//! `vote`.
//!
//! - `server`: the two servers and their limits. `patience`: connections that stop halfway.
//!   `routes`: every route.
//! - `vote`, `request`, `body`, `outcome`: taking a vote.
//! - `refresher`, `board`, `law`: what readers see, and whether the books close.
//! - `results`, `events`, `total`, `receipts`, `operator`: the JSON that is read.
//! - `show`, `pages`, `assets`, `redirects`: what browsers show.
//! - `room`, `options`: what all of them share.
//! - `problem`, `answer`: what answers look like. `openapi`: their description.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use actix_web::dev::{Server, ServerHandle};
use actix_web::web::Data;
use arc_swap::ArcSwap;
use governor::{Quota, RateLimiter};
use paredao_domain::Clock;
use paredao_intake::Intake;
use paredao_store::{Store, StoreError};
use paredao_telemetry::health::Health;
use paredao_telemetry::sample::Sample;
use paredao_vote_log::VoteLog;
use tokio::sync::{Mutex, Semaphore, watch};

mod answer;
pub mod assets;
mod board;
mod body;
mod events;
mod law;
pub mod openapi;
mod operator;
mod options;
mod outcome;
pub mod pages;
mod patience;
mod problem;
mod receipts;
mod redirects;
mod refresher;
pub mod request;
mod results;
mod room;
pub mod routes;
mod server;
mod show;
mod total;
mod vote;

pub use options::{ApiOptions, TotalAccess};
pub use outcome::Refusal;
pub use problem::{Problem, ProblemType};
pub use refresher::Refresher;

use events::Airing;
use room::Room;

/// The rooms that HTTP is the door of.
pub struct Rooms {
    /// Where votes are handed in.
    pub intake: Arc<Intake>,
    /// Where polls, totals and receipts are read.
    pub store: Arc<dyn Store>,
    /// Where what is in flight is read.
    pub log: Arc<dyn VoteLog>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What `/ready` tells.
    pub health: Health,
}

/// The HTTP side of a process. Clones are handles to the same.
#[derive(Clone)]
pub struct Api {
    room: Data<Room>,
}

impl Api {
    /// Reads the first snapshot, so that the first request is answered like any other. Whoever
    /// starts the process tries again while the store is away.
    pub async fn open(rooms: Rooms, options: ApiOptions) -> Result<Self, StoreError> {
        let secret = rooms.store.receipt_secret().await?;
        let board = refresher::first_board(&*rooms.store, &*rooms.clock).await?;
        let board = Arc::new(board);
        let room = Room {
            intake: rooms.intake,
            store: rooms.store,
            log: rooms.log,
            clock: rooms.clock,
            health: rooms.health,
            secret,
            receipts: RateLimiter::direct(Quota::per_second(options.receipts_per_second)),
            streams: Arc::new(Semaphore::new(options.streams_max)),
            options,
            sample: Sample::default(),
            nobodys: Sample::default(),
            air: watch::Sender::new(Airing::On(Arc::clone(&board))),
            memory: Mutex::default(),
            board: ArcSwap::new(board),
        };
        let api = Self {
            room: Data::new(room),
        };
        // The first board has no books yet: they take a reading of the log as well.
        api.refresh().await?;
        Ok(api)
    }

    /// Binds the public server to a listener. It serves while it is awaited, and stops through
    /// its handle alone: it listens to no signal.
    pub fn serve(&self, listener: TcpListener) -> io::Result<(Server, ServerHandle)> {
        server::public(self.room.clone(), listener)
    }

    /// Binds the server of `/metrics`, `/live`, `/ready` and `/version` to a listener.
    pub fn serve_metrics(&self, listener: TcpListener) -> io::Result<(Server, ServerHandle)> {
        server::metrics(&self.room, listener)
    }

    /// What keeps readers' numbers fresh; to be run for as long as the process serves. It is a
    /// component of the process from now on.
    pub fn refresher(&self) -> Refresher {
        Refresher::new(Data::clone(&self.room).into_inner())
    }

    /// Refreshes at once: after a command that changed a poll, so that whoever gave it sees it.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        refresher::refresh(&self.room).await
    }

    /// Ends all event streams and takes no new ones; without this a graceful stop waits for them.
    pub fn end_streams(&self) {
        self.room.air.send_replace(Airing::Over);
    }
}

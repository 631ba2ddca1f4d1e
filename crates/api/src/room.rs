//! What all handlers share.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use governor::DefaultDirectRateLimiter;
use paredao_domain::{Clock, ReceiptSecret};
use paredao_intake::Intake;
use paredao_store::Store;
use paredao_telemetry::health::Health;
use paredao_telemetry::sample::Sample;
use paredao_vote_log::VoteLog;
use tokio::sync::{Mutex, Semaphore, watch};

use crate::board::Board;
use crate::events::Airing;
use crate::options::ApiOptions;
use crate::refresher::Memory;

/// What all handlers share.
pub(crate) struct Room {
    pub(crate) intake: Arc<Intake>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) log: Arc<dyn VoteLog>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) health: Health,
    pub(crate) secret: ReceiptSecret,
    pub(crate) options: ApiOptions,
    /// Look-ups of receipts that were issued here.
    pub(crate) receipts: DefaultDirectRateLimiter,
    /// Places for event streams.
    pub(crate) streams: Arc<Semaphore>,
    /// Which votes the debug log shows.
    pub(crate) sample: Sample,
    /// Of the receipts whose votes nobody has, which are worth a line.
    pub(crate) nobodys: Sample,
    /// Where event streams hear of new boards.
    pub(crate) air: watch::Sender<Airing>,
    /// Held while refreshing, so that no board is followed by an older one.
    pub(crate) memory: Mutex<Memory>,
    pub(crate) board: ArcSwap<Board>,
}

impl Room {
    /// What readers are shown now. Let it go before waiting for anything.
    pub(crate) fn board(&self) -> Guard<Arc<Board>> {
        self.board.load()
    }

    /// Shows a new board to everybody.
    pub(crate) fn publish(&self, board: Arc<Board>) {
        self.board.store(Arc::clone(&board));
        self.air.send_if_modified(|airing| match airing {
            Airing::On(shown) => {
                *shown = board;
                true
            }
            Airing::Over => false,
        });
    }
}

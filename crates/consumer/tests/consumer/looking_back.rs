//! How much of the ledger is read again to recognise duplicates.

use paredao_consumer::LaneOwner;
use paredao_domain::{
    BatchHeader, BatchId, BatchKind, Clock as _, EncodedBatch, Envelope, Incarnation,
    LedgerPosition, Mark, MarkKind, Minute, Mode, PollId, Standing,
};
use paredao_store::{PollChange, Store};
use paredao_vote_log::{Delivery, DeliveryTag};

use crate::rig::{LANE, NOW, POLL, Rig, vote};

const MINUTE_MS: i64 = 60_000;

/// An API's batches of one vote each, booked one after the other.
struct Desk {
    rig: Rig,
    owner: LaneOwner,
    number: u64,
    /// The last entry's marks.
    marks: Vec<Mark>,
}

impl Desk {
    async fn new() -> Self {
        let rig = Rig::new().await;
        let owner = rig.owner().await;
        Self {
            rig,
            owner,
            number: 0,
            marks: Vec::new(),
        }
    }

    /// Cuts the next batch.
    fn cut(&mut self, poll: PollId, minute: Minute, key: u64) -> Delivery {
        self.number += 1;
        let header = BatchHeader {
            kind: BatchKind::Votes,
            mode: Mode::Torcida,
            poll,
            id: BatchId {
                incarnation: Incarnation(0xde5c),
                lane: LANE,
                number: self.number,
            },
            minute,
            cumulative: self.number,
            confirmed: self.number - 1,
        };
        let batch = EncodedBatch::encode(header, &[], &[vote(key, 1)]);
        Delivery {
            tag: DeliveryTag(self.number),
            envelope: Some(Envelope::from(&batch)),
            body: batch.bytes().clone(),
        }
    }

    async fn book(&mut self, deliveries: &[Delivery]) {
        let prepared = self.owner.prepare(deliveries).await.unwrap();
        let applied = self
            .rig
            .real()
            .apply(self.owner.fence(), &prepared.application);
        applied.await.unwrap();
        let last = prepared.application.entries.last().unwrap();
        self.marks.clone_from(&last.marks);
        self.owner.commit(prepared);
    }

    /// Votes of a minute, after which another minute has come.
    async fn minute(&mut self, polls: &[PollId]) {
        let minute = self.now();
        for poll in polls {
            let delivery = self.cut(*poll, minute, self.number);
            self.book(&[delivery]).await;
        }
        self.rig.clock.advance(MINUTE_MS);
    }

    fn now(&self) -> Minute {
        self.rig.clock.now().minute()
    }
}

fn after(minutes: u32) -> Minute {
    Minute(NOW.minute().0 + minutes)
}

#[tokio::test]
async fn live_traffic_reads_nothing_whatever_other_polls_come_and_go() {
    let mut desk = Desk::new().await;
    for _ in 0..10 {
        desk.minute(&[POLL]).await;
    }
    let reads = desk.rig.store.ledger_reads();
    let slow = desk.rig.create_open_poll_with("longo", 900).await;
    for _ in 0..20 {
        desk.minute(&[POLL, slow.id]).await;
    }
    let close = PollChange::Close { lead_ms: 0 };
    let now = desk.rig.clock.now();
    let closed = desk.rig.real().change_poll(&slow.slug, close, now);
    closed.await.unwrap();
    for _ in 0..10 {
        desk.minute(&[POLL]).await;
    }
    assert_eq!(desk.rig.store.ledger_reads(), reads);
    assert!(
        desk.owner.window().len() <= 6,
        "the closed poll's keys are gone"
    );
}

#[tokio::test]
async fn stragglers_of_different_age_read_their_own_times_and_not_what_lies_between() {
    let mut desk = Desk::new().await;
    for _ in 0..60 {
        desk.minute(&[POLL]).await;
    }
    let (reads, entries) = (desk.rig.store.ledger_reads(), desk.rig.store.entries_read());
    let stragglers = [10, 40, 11].map(|minutes| desk.cut(POLL, after(minutes), 0));
    desk.book(&stragglers).await;
    let entries = desk.rig.store.entries_read() - entries;
    assert!((14..=16).contains(&entries), "{entries} entries read");
    // Each of the two times: a page that holds all of it, and one that says so.
    assert_eq!(desk.rig.store.ledger_reads() - reads, 4);
}

#[tokio::test]
async fn a_straggler_at_the_windows_edge_reads_only_what_the_window_does_not_hold() {
    let mut desk = Desk::new().await;
    for _ in 0..30 {
        desk.minute(&[POLL]).await;
    }
    let entries = desk.rig.store.entries_read();
    let straggler = desk.cut(POLL, after(26), 23);
    desk.book(&[straggler]).await;
    let entries = desk.rig.store.entries_read() - entries;
    assert!(entries <= 3, "{entries} entries read");
    let copy = Mark {
        position: 0,
        kind: MarkKind::Duplicate,
        standing: Some(Standing {
            entry: LedgerPosition(24),
            position: 0,
        }),
    };
    assert_eq!(desk.marks, [copy]);
}

#[tokio::test]
async fn a_clock_that_was_hours_ahead_for_a_moment_costs_one_look_at_the_ledger() {
    let mut desk = Desk::new().await;
    for _ in 0..10 {
        desk.minute(&[POLL]).await;
    }
    desk.rig.clock.advance(180 * MINUTE_MS);
    let ahead = desk.now();
    let delivery = desk.cut(POLL, ahead, 7_777);
    desk.book(&[delivery]).await;
    desk.rig.clock.advance(-180 * MINUTE_MS);
    let reads = desk.rig.store.ledger_reads();
    for _ in 0..20 {
        desk.minute(&[POLL]).await;
        assert!(desk.owner.window().len() <= 8, "nothing is held back");
    }
    // What lies ahead, a page of the present, and one that says that this was all of it.
    assert_eq!(desk.rig.store.ledger_reads() - reads, 3);

    let again = desk.cut(POLL, ahead, 7_777);
    desk.book(&[again]).await;
    assert_eq!(
        desk.marks.first().map(|mark| mark.kind),
        Some(MarkKind::Duplicate)
    );
}

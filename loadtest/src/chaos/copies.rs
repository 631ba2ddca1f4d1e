//! Votes sent again on purpose: after a restart, for another candidate, many at once.

use std::sync::Arc;
use std::time::Instant;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::task::JoinSet;

use super::book::{KeptVote, RoundNotes};
use super::campaign::{POLL, Site};
use super::finding::Finding;
use super::round::{CANDIDATES, patience};
use crate::http::Reuse;
use crate::vote::{Candidate, Caster, Ended, Outcome, PlannedVote};

/// Where a round's volley is numbered, beyond its ordinary votes.
pub(super) const VOLLEY_INDEX: u64 = 0xF000_0000;

/// Casters at work at the same time.
const CASTERS: usize = 8;

/// One vote sent many times at once.
pub(super) struct Volley {
    pub(super) vote: PlannedVote,
    pub(super) copies: u8,
}

/// A copy to be sent, or sent.
struct Copy {
    /// Place of its vote in the round's notes.
    place: usize,
    key: String,
    candidate: Candidate,
}

/// Sends the chosen votes again, every fifth of them for another candidate.
pub(super) async fn resend(
    site: &mut Site,
    notes: &mut RoundNotes,
    chosen: &[usize],
) -> anyhow::Result<Vec<Finding>> {
    let mut hands: Vec<Vec<Copy>> = (0..CASTERS).map(|_| Vec::new()).collect();
    for (nth, &place) in chosen.iter().enumerate() {
        let Some(vote) = notes.kept.get(place) else {
            continue;
        };
        let candidate = if nth % 5 == 0 {
            other(&vote.planned)
        } else {
            vote.planned.candidate
        };
        let copy = Copy {
            place,
            key: vote.planned.key.clone(),
            candidate,
        };
        if let Some(hand) = hands.get_mut(nth % CASTERS) {
            hand.push(copy);
        }
    }
    let mut senders = JoinSet::new();
    for hand in hands {
        senders.spawn(send_all(caster(site), hand));
    }
    let mut findings = Vec::new();
    while let Some(sent) = senders.join_next().await {
        for (copy, ended) in sent? {
            let Some(vote) = notes.kept.get_mut(copy.place) else {
                continue;
            };
            findings.extend(book_copy(site, vote, copy.candidate, ended));
        }
    }
    Ok(findings)
}

async fn send_all(mut caster: Caster, copies: Vec<Copy>) -> Vec<(Copy, Ended)> {
    let mut sent = Vec::with_capacity(copies.len());
    for copy in copies {
        let ended = caster
            .cast(&copy.key, copy.candidate, Instant::now(), |_| {})
            .await;
        sent.push((copy, ended));
    }
    sent
}

fn book_copy(
    site: &mut Site,
    vote: &mut KeptVote,
    candidate: Candidate,
    ended: Ended,
) -> Option<Finding> {
    match ended.outcome {
        Outcome::Accepted(receipt) => {
            site.ledger.add_copy(&vote.planned, candidate, ended.unsure);
            vote.receipts.push((candidate, receipt));
            None
        }
        Outcome::Refused(reason) | Outcome::Unknown(reason) => Some(Finding::NotAccepted {
            key: vote.planned.key.clone(),
            reason: format!("a copy: {reason}"),
        }),
    }
}

impl Volley {
    /// Sends all copies at once; together they are one vote.
    pub(super) async fn fire(
        self,
        site: &mut Site,
        notes: &mut RoundNotes,
    ) -> anyhow::Result<Vec<Finding>> {
        let vote = Arc::new(self.vote);
        let mut senders = JoinSet::new();
        for _ in 0..self.copies {
            let (mut caster, vote) = (caster(site), Arc::clone(&vote));
            senders.spawn(async move {
                caster
                    .cast(&vote.key, vote.candidate, Instant::now(), |_| {})
                    .await
            });
        }
        let mut findings = Vec::new();
        let planned = PlannedVote::clone(&vote);
        let mut kept = KeptVote {
            planned,
            first_copy_is_sure: false,
            receipts: Vec::new(),
        };
        while let Some(ended) = senders.join_next().await {
            let candidate = kept.planned.candidate;
            findings.extend(book_copy(site, &mut kept, candidate, ended?));
        }
        if !kept.receipts.is_empty() {
            site.ledger.first_of_copies(kept.planned.candidate);
            notes.kept.push(kept);
        }
        Ok(findings)
    }
}

fn caster(site: &Site) -> Caster {
    let dice = SmallRng::seed_from_u64(site.seed);
    Caster::new(site.program.door(POLL), Reuse::KeepAlive, patience(), dice)
}

fn other(planned: &PlannedVote) -> Candidate {
    let others = CANDIDATES.iter().find(|&&c| c != planned.candidate);
    others.copied().unwrap_or(planned.candidate)
}

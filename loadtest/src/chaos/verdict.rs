//! The checks at the end of a round, and those that only a final result allows.

use std::time::Duration;

use tokio::task::JoinSet;

use super::book::{KeptVote, RoundNotes};
use super::campaign::{POLL, Site};
use super::finding::Finding;
use crate::http::Door;
use crate::program::{Program, ProgramError};
use crate::total::{ReadError, Reader, ReceiptState, Total};
use crate::vote::Receipt;

/// How long the program may take to apply what it accepted.
const SETTLE_LIMIT: Duration = Duration::from_mins(1);
/// Readers that ask for receipts at the same time.
const READERS: usize = 8;

/// Waits until nothing is in flight and checks totals, conservation, receipts and the ledger.
pub(super) async fn check(site: &Site, notes: &RoundNotes) -> anyhow::Result<Vec<Finding>> {
    let mut reader = Reader::new(site.program.door(POLL));
    let total = reader.settled(SETTLE_LIMIT).await?;
    let violations = site.ledger.expectation.check(&Total::default(), &total);
    let mut findings: Vec<Finding> = violations.into_iter().map(Finding::from).collect();
    for (vote, states) in ask_receipts(&site.program, &notes.kept).await? {
        findings.extend(judge_recorded(&vote, &states));
    }
    findings.extend(recount(&site.program).await?);
    Ok(findings)
}

/// Recounts from the keys; finds every key counted twice or never.
pub(super) async fn recount(program: &Program) -> Result<Option<Finding>, ProgramError> {
    match program.ask(&["recount", "--keys"]).await {
        Ok(_) => Ok(None),
        Err(ProgramError::Command { status, output, .. }) => {
            Ok(Some(Finding::Recount(format!("{status}: {output}"))))
        }
        Err(error) => Err(error),
    }
}

/// Once the poll is final, every receipt tells its copy's own outcome.
pub(super) async fn check_outcomes(
    program: &Program,
    votes: &[KeptVote],
) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (vote, states) in ask_receipts(program, votes).await? {
        findings.extend(judge_recorded(&vote, &states));
        findings.extend(judge_outcomes(&vote, &states));
    }
    Ok(findings)
}

/// What the program says about each receipt of a vote, in their order.
type States = Vec<Result<ReceiptState, String>>;

async fn ask_receipts(
    program: &Program,
    votes: &[KeptVote],
) -> anyhow::Result<Vec<(KeptVote, States)>> {
    let share = votes.len().div_ceil(READERS).max(1);
    let mut readers = JoinSet::new();
    for hand in votes.chunks(share) {
        readers.spawn(ask_hand(Door::principal(program.listen), hand.to_vec()));
    }
    let mut answered = Vec::with_capacity(votes.len());
    while let Some(hand) = readers.join_next().await {
        answered.extend(hand??);
    }
    Ok(answered)
}

async fn ask_hand(door: Door, votes: Vec<KeptVote>) -> Result<Vec<(KeptVote, States)>, ReadError> {
    let mut reader = Reader::new(door);
    let mut answered = Vec::with_capacity(votes.len());
    for vote in votes {
        let mut states = Vec::with_capacity(vote.receipts.len());
        for (_, receipt) in &vote.receipts {
            states.push(ask(&mut reader, receipt).await?);
        }
        answered.push((vote, states));
    }
    Ok(answered)
}

/// An answer such as 404 is what the program says; no answer at all is an error of the campaign.
async fn ask(
    reader: &mut Reader,
    receipt: &Receipt,
) -> Result<Result<ReceiptState, String>, ReadError> {
    match reader.receipt(receipt).await {
        Ok(state) => Ok(Ok(state)),
        Err(ReadError::Status { status, body, .. }) => Ok(Err(format!("{status}: {body}"))),
        Err(error) => Err(error),
    }
}

fn judge_recorded(vote: &KeptVote, states: &States) -> Vec<Finding> {
    let said = states.iter().map(|state| match state {
        Ok(state) => state.estado.clone(),
        Err(refusal) => refusal.clone(),
    });
    let unlike = vote
        .receipts
        .iter()
        .zip(said)
        .filter(|(_, state)| state != "registrado");
    unlike
        .map(|((_, receipt), state)| Finding::Receipt {
            key: vote.planned.key.clone(),
            receipt: receipt.0.clone(),
            state,
        })
        .collect()
}

/// The first copy *applied* stands. Where the first copy took one request it was answered before
/// any other was sent, so it stands; else one of its unanswered attempts may.
fn judge_outcomes(vote: &KeptVote, states: &States) -> Option<Finding> {
    let found: Vec<String> = states
        .iter()
        .map(|state| {
            state
                .as_ref()
                .ok()
                .and_then(|s| s.resultado.clone())
                .unwrap_or_default()
        })
        .collect();
    let counted = found.iter().filter(|outcome| *outcome == "contado").count();
    let rest_fits = vote
        .receipts
        .iter()
        .zip(&found)
        .all(|((candidate, _), outcome)| {
            let copy = if *candidate == vote.planned.candidate {
                "duplicado"
            } else {
                "conflito-de-chave"
            };
            outcome == "contado" || outcome == copy
        });
    let first_stands = found.first().is_some_and(|outcome| outcome == "contado");
    let (fits, allowed) = if vote.first_copy_is_sure {
        (
            first_stands && counted == 1,
            "the first copy counted, no other",
        )
    } else {
        (counted <= 1, "one copy counted at most")
    };
    let key = vote.planned.key.clone();
    (!(fits && rest_fits)).then_some(Finding::Outcome {
        key,
        found,
        allowed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vote::VotePlan;

    fn vote(candidates: &[u8], attempts: u32) -> KeptVote {
        let planned = VotePlan::plain(1, vec![1]).vote(0);
        let receipts = candidates
            .iter()
            .map(|&c| (c, Receipt(format!("r{c}"))))
            .collect();
        KeptVote {
            planned,
            first_copy_is_sure: attempts == 1,
            receipts,
        }
    }

    fn states(outcomes: &[&str]) -> States {
        let state = |outcome: &&str| {
            Ok(ReceiptState {
                estado: "registrado".into(),
                resultado: Some((*outcome).into()),
            })
        };
        outcomes.iter().map(state).collect()
    }

    #[test]
    fn every_receipt_given_must_be_recorded() {
        let mut said = states(&["contado", "duplicado", "duplicado"]);
        assert_eq!(judge_recorded(&vote(&[1, 1, 1], 1), &said), []);
        said[1].as_mut().unwrap().estado = "desconhecido".into();
        said[2] = Err("404: unknown-receipt".into());
        assert_eq!(judge_recorded(&vote(&[1, 1, 1], 1), &said).len(), 2);
    }

    #[test]
    fn a_vote_whose_first_copy_is_sure_counts_by_that_copy_alone() {
        let sure = vote(&[1, 1, 2], 1);
        let fits = states(&["contado", "duplicado", "conflito-de-chave"]);
        assert_eq!(judge_outcomes(&sure, &fits), None);
        for wrong in [
            ["contado", "contado", "conflito-de-chave"],
            ["duplicado", "contado", "conflito-de-chave"],
            ["duplicado", "duplicado", "conflito-de-chave"],
            ["contado", "duplicado", "duplicado"],
            ["contado", "duplicado", "contado"],
            ["contado", "separado", "conflito-de-chave"],
        ] {
            assert!(
                judge_outcomes(&sure, &states(&wrong)).is_some(),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn a_vote_with_unanswered_attempts_counts_once_at_most_by_those_answered() {
        let unsure = vote(&[1, 1], 2);
        for fits in [
            ["contado", "duplicado"],
            ["duplicado", "duplicado"],
            ["duplicado", "contado"],
        ] {
            assert_eq!(judge_outcomes(&unsure, &states(&fits)), None, "{fits:?}");
        }
        assert!(judge_outcomes(&unsure, &states(&["contado", "contado"])).is_some());
    }
}

//! What every store must do, as sentences that can be run.
//!
//! A backend's test hands [`run`] a way to make empty stores; each sentence gets one of its own.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a suite of tests: a failed assumption is a failed test"
)]

use std::pin::Pin;
use std::sync::Arc;

use crate::Store;

mod applying;
mod dead_letters;
mod fates;
mod fencing;
mod finality;
pub mod fixture;
mod losses;
mod polls;
mod reading;

type Check = fn(Arc<dyn Store>) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// Lists sentences; one that is written and not listed is dead code, and the compiler says so.
macro_rules! sentences {
    ($($room:ident :: $sentence:ident),+ $(,)?) => {
        &[$((stringify!($sentence), |store| Box::pin($room::$sentence(store)))),+]
    };
}

const SENTENCES: &[(&str, Check)] = sentences![
    applying::a_counted_vote_is_in_ledger_totals_buckets_and_accounts,
    applying::copies_and_votes_out_of_time_are_booked_apart_and_not_counted,
    applying::an_application_that_is_refused_changes_nothing,
    applying::a_batch_applied_before_is_refused_and_named,
    applying::a_batch_twice_in_one_application_is_refused,
    applying::entries_that_do_not_follow_the_last_one_are_refused,
    applying::marks_that_cannot_be_are_refused,
    applying::votes_that_no_total_can_hold_are_refused,
    applying::markers_stand_in_the_ledger_and_change_no_total,
    applying::an_empty_application_is_applied,
    dead_letters::a_dead_letter_is_kept_until_somebody_decides,
    dead_letters::a_batch_that_comes_again_with_the_same_body_is_kept_once,
    dead_letters::equal_bodies_of_two_batches_or_of_none_are_letters_of_their_own,
    dead_letters::a_requeued_letter_weighs_until_its_batch_is_applied,
    dead_letters::a_letter_whose_batch_comes_whole_after_all_no_longer_weighs,
    dead_letters::a_requeued_letter_can_be_put_back_until_its_batch_is_applied,
    dead_letters::what_is_resolved_cannot_be_resolved_again,
    fates::every_account_of_a_vote_is_its_fate,
    fates::a_batch_that_did_not_come_is_missing_only_if_it_was_confirmed,
    fates::a_batch_in_the_dead_letters_waits_or_is_given_up,
    fencing::an_owner_who_lost_the_lane_changes_nothing_any_more,
    fencing::an_earlier_claim_of_the_same_owner_is_fenced_too,
    fencing::a_lane_nobody_claimed_takes_nothing,
    fencing::a_new_owner_finds_everything_the_last_one_left,
    fencing::lanes_are_owned_apart_and_summed_on_reading,
    finality::a_result_is_final_only_when_nothing_stands_in_the_way,
    finality::a_final_result_stays_as_it_is,
    finality::dead_letters_of_other_polls_do_not_stand_in_the_way,
    finality::a_requeued_letter_stands_in_the_way_until_its_batch_is_in_the_ledger,
    finality::a_requeued_letter_that_never_comes_through_can_be_given_up,
    finality::votes_missing_outside_the_hours_do_not_stand_in_the_way,
    finality::the_barrier_must_come_off_every_lane,
    finality::a_poll_that_is_open_again_needs_another_barrier,
    finality::a_new_owner_needs_a_barrier_of_its_own,
    losses::what_was_confirmed_and_never_came_is_listed_gap_by_gap,
    losses::a_loss_that_was_given_up_no_longer_stands_in_the_way,
    losses::what_is_left_of_a_loss_stays_given_up_when_the_rest_comes,
    losses::what_is_not_lost_cannot_be_given_up,
    polls::a_poll_reads_back_as_it_was_created,
    polls::polls_open_close_and_extend_by_the_rules_of_the_domain,
    polls::secrets_are_drawn_apart_and_stay,
    reading::pages_together_are_the_ledger_however_small_they_are,
    reading::a_page_of_some_minutes_or_of_one_poll_holds_nothing_else,
    reading::buckets_follow_the_clock_of_their_poll,
    reading::minutes_are_shown_for_an_hour_and_hours_for_ever,
    reading::a_snapshot_is_as_large_with_many_votes_as_with_few,
    reading::what_is_known_of_batches_is_told_and_the_rest_left_out,
    reading::books_of_incarnations_add_up,
    reading::every_snapshot_taken_while_applying_closes_its_books,
    reading::random_votes_add_up_to_what_the_ledger_says,
];

/// Runs every sentence on an empty store of its own.
///
/// # Panics
///
/// If a sentence does not hold; names all that do not.
pub async fn run(make: impl AsyncFn() -> Arc<dyn Store>) {
    let mut broken = Vec::new();
    for (sentence, check) in SENTENCES {
        let store = make().await;
        if let Err(error) = tokio::spawn(check(store)).await {
            broken.push(format!("{sentence}: {error}"));
        }
    }
    assert!(broken.is_empty(), "broken:\n{}", broken.join("\n"));
}

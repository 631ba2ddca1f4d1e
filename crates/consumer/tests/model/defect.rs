//! Defects planted on purpose: what the checkers must find.

/// A promise broken in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defect {
    /// The consumer applies copies as if nothing stood.
    CountsCopies,
    /// What is delivered is acknowledged before it is applied.
    AcknowledgesFirst,
    /// What is applied is never acknowledged.
    NeverAcknowledges,
    /// A new owner does not rebuild its window.
    SkipsTheRebuild,
    /// Old batches are judged by the window alone.
    SkipsTheLedger,
    /// The store lets anybody write to a lane.
    IgnoresTheFence,
    /// Marks give the wrong reason.
    MarksWrongly,
    /// Dead letters are thrown away.
    ThrowsLettersAway,
    /// The books forget what was confirmed.
    ForgetsWhatWasConfirmed,
    /// A result becomes final without its barrier.
    NeedsNoBarrier,
    /// Barriers are sent when the poll ends, not when it has settled.
    SettlesAtOnce,
    /// Nothing ever becomes final.
    NeverDeclaresFinal,
    /// Totals, buckets and the account of counted votes are one too high.
    TotalsDrift,
    /// An API answers success whatever the log said.
    AnswersWithoutTheLog,
}

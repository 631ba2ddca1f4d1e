//! The catalogue as the table that stands in `docs/metrics.md`.

use std::fmt::Write;

use super::label::{
    Account, AppendFailure, ConnectionFailure, Label, PollState, Route, Stage, StatusClass, Term,
    VoteOutcome,
};
use super::{Entry, catalogue};

const HEAD: &str = "\
# Metrics

Written by the test `the_document_says_what_the_code_says` from `crates/telemetry/src/metrics.rs`
and `metrics/label.rs`; to change it, change those files and run
`PAREDAO_BLESS=1 cargo test -p paredao-telemetry --test metrics_document`.

They are shown on `/metrics` of the metrics port (`--metrics-listen`), in the text format of
Prometheus. Every series is there from the first scrape, at zero. Label values come from closed
lists only: no series carries a candidate, a percentage, an address or a key. \"Series\" is the most
that one process ever shows; a histogram has 19 for each label value (16 buckets, the one without a
bound, sum and count).

";

/// The whole of `docs/metrics.md`.
pub fn document() -> String {
    let mut text = HEAD.to_owned();
    text.push_str(
        "| name | kind | unit | labels | series | what it says |\n|---|---|---|---|---|---|\n",
    );
    text.extend(catalogue().iter().map(metric_row));
    let series: usize = catalogue().iter().map(|entry| entry.series_max).sum();
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "\nAt most {series} series in all.\n\n## Label values\n\n"
    );
    text.push_str("| label | values |\n|---|---|\n");
    text.extend(label_rows());
    text
}

fn metric_row(entry: &Entry) -> String {
    format!(
        "| `{}` | {} | {} | {} | {} | {} |\n",
        entry.name,
        entry.kind.name(),
        entry.unit.name(),
        entry.labels.join(", "),
        entry.series_max,
        entry.help,
    )
}

fn label_rows() -> [String; 9] {
    [
        label_row::<Route>(),
        label_row::<StatusClass>(),
        label_row::<ConnectionFailure>(),
        label_row::<VoteOutcome>(),
        label_row::<Stage>(),
        label_row::<AppendFailure>(),
        label_row::<Account>(),
        label_row::<Term>(),
        label_row::<PollState>(),
    ]
}

fn label_row<L: Label>() -> String {
    let values: Vec<String> = L::ALL
        .iter()
        .map(|label| format!("`{}`", label.value()))
        .collect();
    format!("| `{}` | {} |\n", L::NAME, values.join(" "))
}

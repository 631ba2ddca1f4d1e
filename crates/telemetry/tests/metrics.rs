//! What a scrape shows, against the catalogue; and what counting costs.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed assumption in a test is a failed test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::time::{Duration, Instant};

use paredao_telemetry::metrics::{
    Kind, Label, Route, StatusClass, Term, VoteOutcome, catalogue, gather_text, metrics,
};

/// One family of a scrape.
#[derive(Debug)]
struct Family {
    kind: String,
    help: String,
    series: usize,
    labels: BTreeSet<String>,
}

fn scraped() -> BTreeMap<String, Family> {
    let text = gather_text();
    let families = text.split("# HELP ").skip(1).map(family);
    families.collect()
}

/// Reads the lines from one `# HELP` to the next.
fn family(text: &str) -> (String, Family) {
    let (head, series) = text.split_once("\n# TYPE ").unwrap();
    let (name, help) = head.split_once(' ').unwrap();
    let mut lines = series.lines();
    let (_, kind) = lines.next().unwrap().split_once(' ').unwrap();
    let series: Vec<&str> = lines.collect();
    let foreign = series.iter().find(|line| !line.starts_with(name));
    assert_eq!(foreign, None, "is outside its family");
    let family = Family {
        kind: kind.to_owned(),
        help: help.to_owned(),
        series: series.len(),
        labels: series.iter().flat_map(|line| labels_of(line)).collect(),
    };
    (name.to_owned(), family)
}

fn labels_of(line: &str) -> Vec<String> {
    let Some((_, rest)) = line.split_once('{') else {
        return Vec::new();
    };
    // Values of ours hold no comma and no equals sign.
    let (inside, _) = rest.rsplit_once('}').unwrap();
    let names = inside
        .split(',')
        .map(|pair| pair.split_once('=').unwrap().0.to_owned());
    names.filter(|name| name != "le").collect()
}

fn value_of(series: &str) -> String {
    let text = gather_text();
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    line.unwrap_or_else(|| panic!("{series} is not shown"))
        .trim()
        .to_owned()
}

#[test]
fn a_scrape_shows_exactly_what_the_catalogue_lists() {
    let scraped = scraped();
    let names: BTreeSet<&str> = catalogue()
        .iter()
        .map(|entry| entry.name.as_str())
        .collect();
    assert_eq!(names.len(), catalogue().len(), "a name is used twice");
    assert_eq!(
        scraped.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        names
    );
    for entry in catalogue() {
        let family = &scraped[&entry.name];
        assert_eq!(family.kind, entry.kind.name(), "{}", entry.name);
        assert_eq!(family.help, entry.help, "{}", entry.name);
        assert_eq!(family.series, entry.series_max, "{}", entry.name);
        let labels: BTreeSet<String> = entry.labels.iter().map(ToString::to_string).collect();
        assert_eq!(family.labels, labels, "{}", entry.name);
    }
}

#[test]
fn names_say_their_kind_and_unit() {
    for entry in catalogue() {
        let is_counter = entry.kind == Kind::Counter;
        assert_eq!(entry.name.ends_with("_total"), is_counter, "{}", entry.name);
        let base = entry.name.strip_suffix("_total").unwrap_or(&entry.name);
        let unit = entry.unit.name();
        assert!(
            unit == "count" || base.ends_with(unit),
            "{} is in {unit}",
            entry.name
        );
        let own = base.starts_with("paredao_") || base.starts_with("process_");
        assert!(own, "{} has no prefix", entry.name);
    }
}

#[test]
fn no_label_is_about_a_voter_or_a_choice() {
    let known = [
        "account", "kind", "outcome", "reason", "route", "stage", "state", "status", "term",
        "version",
    ];
    let used: BTreeSet<&str> = catalogue()
        .iter()
        .flat_map(|entry| entry.labels.clone())
        .collect();
    assert_eq!(used, BTreeSet::from(known));
}

#[test]
fn what_is_counted_is_shown_under_its_labels() {
    metrics()
        .http_requests
        .of(Route::Receipt)
        .of(StatusClass::Redirection)
        .inc_by(7);
    metrics().conservation.of(Term::Missing).set(1 << 40);
    metrics().conservation_difference.set(-3);
    metrics().votes.of(VoteOutcome::TooLarge).inc();
    let requests = r#"paredao_http_requests_total{route="/recibo/{receipt}",status="3xx"}"#;
    assert_eq!(value_of(requests), "7");
    assert_eq!(
        value_of(r#"paredao_conservation_votes{term="missing"}"#),
        "1099511627776"
    );
    assert_eq!(value_of("paredao_conservation_difference_votes "), "-3");
    assert_eq!(value_of(r#"paredao_votes_total{outcome="too_large"}"#), "1");
}

#[test]
fn the_age_of_the_snapshot_grows_by_itself_until_it_is_refreshed() {
    let age = || {
        value_of("paredao_snapshot_age_seconds ")
            .parse::<f64>()
            .unwrap()
    };
    let first = age();
    assert!(age() > first, "nobody refreshed it");
    metrics().snapshot_age.refresh();
    assert!(metrics().snapshot_age.age() < Duration::from_secs(5));
}

#[test]
fn this_process_is_described() {
    let resident: f64 = value_of("process_resident_memory_bytes ").parse().unwrap();
    assert!(resident > 1e6, "{resident} bytes");
    let started: f64 = value_of("process_start_time_seconds ").parse().unwrap();
    assert!(started > 1.7e9, "{started} s since 1970");
    let version = format!(
        r#"paredao_build_info{{version="{}"}}"#,
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(value_of(&version), "1");
}

#[test]
fn every_pattern_finds_its_route_and_others_none() {
    for route in Route::ALL {
        assert_eq!(Route::of_pattern(route.value()), *route);
    }
    assert_eq!(Route::of_pattern("/votar/7"), Route::Unmatched);
}

/// What a request to vote costs in metrics: two counters and a histogram.
fn count_one_vote(seconds: f64) {
    let metrics = metrics();
    metrics
        .http_requests
        .of(Route::Vote)
        .of(StatusClass::Success)
        .inc();
    metrics
        .http_request_seconds
        .of(Route::Vote)
        .observe(seconds);
    metrics.votes.of(VoteOutcome::Accepted).inc();
}

#[test]
fn counting_a_vote_costs_less_than_100_ns() {
    const VOTES: u32 = 10_000;
    count_one_vote(0.001);
    let rounds = (0..50).map(|_| {
        let started = Instant::now();
        (0..VOTES).for_each(|_| count_one_vote(black_box(0.001)));
        started.elapsed() / VOTES
    });
    // The best round is the code's own cost; the others also hold what else the machine did.
    let cost = rounds.min().unwrap();
    println!("{cost:?} a vote");
    assert!(cost < Duration::from_nanos(100), "{cost:?} a vote");
}

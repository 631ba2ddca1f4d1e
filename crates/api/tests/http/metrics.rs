//! What `/metrics` shows while people vote, read and are refused, against the catalogue.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use paredao_telemetry::metrics::{
    Account, AppendFailure, ConnectionFailure, Entry, Kind, Label, PollState, Route, Stage,
    StatusClass, Term, VoteOutcome, catalogue,
};

use crate::support::client::{Client, ask, request};
use crate::support::{House, Plan, eventually};

const CLIENTS: u32 = 6;
const ROUNDS: u32 = 15;
const SCRAPES: usize = 25;

/// One line of a scrape.
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Sample {
    /// Values of ours hold no comma and no quotation mark.
    fn parse(line: &str) -> Self {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let labels = labels.strip_suffix('}').unwrap_or(labels);
        let pairs = labels.split(',').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (label, value) = pair.split_once('=').unwrap();
            (label.to_owned(), value.trim_matches('"').to_owned())
        });
        Self {
            name: name.to_owned(),
            labels: pairs.collect(),
            value: value.parse().unwrap(),
        }
    }
}

/// A metric as a scrape shows it.
struct Shown {
    help: String,
    kind: String,
    samples: Vec<Sample>,
}

fn parse(text: &str) -> BTreeMap<String, Shown> {
    let families = text.split("# HELP ").skip(1).map(|family| {
        let (about, samples) = family.split_once("\n# TYPE ").unwrap();
        let (name, help) = about.split_once(' ').unwrap();
        let mut lines = samples.lines();
        let kind = lines.next().unwrap().rsplit(' ').next().unwrap();
        let shown = Shown {
            help: help.to_owned(),
            kind: kind.to_owned(),
            samples: lines.map(Sample::parse).collect(),
        };
        (name.to_owned(), shown)
    });
    families.collect()
}

/// Every value that a label may have.
fn allowed() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    fn of<L: Label>() -> (&'static str, BTreeSet<&'static str>) {
        (L::NAME, L::ALL.iter().map(|label| label.value()).collect())
    }
    BTreeMap::from([
        of::<Account>(),
        of::<AppendFailure>(),
        of::<ConnectionFailure>(),
        of::<PollState>(),
        of::<Route>(),
        of::<Stage>(),
        of::<StatusClass>(),
        of::<Term>(),
        of::<VoteOutcome>(),
        ("version", BTreeSet::from([env!("CARGO_PKG_VERSION")])),
    ])
}

fn check(scrape: &str) {
    let shown = parse(scrape);
    let names: BTreeSet<&str> = shown.keys().map(String::as_str).collect();
    let listed = catalogue().iter().map(|entry| entry.name.as_str());
    assert_eq!(names, listed.collect());
    let allowed = allowed();
    for entry in catalogue() {
        let shown = &shown[&entry.name];
        assert_eq!(shown.kind, entry.kind.name(), "{}", entry.name);
        assert_eq!(shown.help, entry.help, "{}", entry.name);
        assert!(shown.samples.len() <= entry.series_max, "{}", entry.name);
        for sample in &shown.samples {
            check_labels(entry, sample, &allowed);
        }
        if entry.kind == Kind::Histogram {
            check_buckets(entry, &shown.samples);
        }
    }
}

fn check_labels(
    entry: &Entry,
    sample: &Sample,
    allowed: &BTreeMap<&'static str, BTreeSet<&'static str>>,
) {
    let mut labels = sample.labels.clone();
    let is_bucket = labels.remove("le").is_some();
    assert_eq!(is_bucket, sample.name == format!("{}_bucket", entry.name));
    let names: Vec<&str> = labels.keys().map(String::as_str).collect();
    assert_eq!(names, entry.labels, "{}", sample.name);
    for (label, value) in &labels {
        assert!(
            allowed[label.as_str()].contains(value.as_str()),
            "{}: {label}={value}",
            sample.name
        );
    }
}

/// Buckets only grow, and the one without a bound holds everything that was observed.
fn check_buckets(entry: &Entry, samples: &[Sample]) {
    let mut last: BTreeMap<BTreeMap<String, String>, f64> = BTreeMap::new();
    for sample in samples {
        let mut child = sample.labels.clone();
        child.remove("le");
        if sample.name.ends_with("_bucket") {
            let before = last.insert(child, sample.value).unwrap_or(0.0);
            assert!(before <= sample.value, "{}", entry.name);
        } else if sample.name.ends_with("_count") {
            assert!((last[&child] - sample.value).abs() < 0.5, "{}", entry.name);
        }
    }
}

const JSON: (&str, &str) = ("content-type", "application/json");
const TEXT: (&str, &str) = ("content-type", "text/plain");
const SHORT_KEY: (&str, &str) = ("idempotency-key", "short");
/// Headers and body.
type Ballot = (&'static [(&'static str, &'static str)], &'static [u8]);
/// Only the last of them is good.
const BALLOTS: [Ballot; 6] = [
    (&[JSON], b"{\"voto\":"),
    (&[JSON], b"{\"voto\":\"um\"}"),
    (&[JSON], &[b' '; 2_000]),
    (&[TEXT], b"{\"voto\":1}"),
    (&[JSON, SHORT_KEY], b"{\"voto\":1}"),
    (&[JSON], b"{\"voto\":1}"),
];

/// Votes, reads, and does wrong what can be done wrong, on one connection and on others.
async fn visit(house: &House, name: u32) {
    let mut client = Client::connect(house.address).await;
    for round in 0..ROUNDS {
        let key = format!("visitor-{name}-round-{round:04}");
        let key = ("idempotency-key", key.as_str());
        for candidate in ["1", "1", "2", "9"] {
            let path = format!("/votar/{candidate}");
            client.send(request("POST", &path, &[key], b"")).await;
            client.answer().await;
        }
        for (headers, body) in BALLOTS {
            ask(house.address, "POST", "/votar", headers, body).await;
        }
        for path in [
            "/",
            "/parcial",
            "/resultado",
            "/total",
            "/p/nada/parcial",
            "/nada",
            "/ready",
        ] {
            client.send(request("GET", path, &[], b"")).await;
            client.answer().await;
        }
        house.get("/eventos").await;
        let mut stranger = Client::connect(house.address).await;
        stranger.send("no HTTP\r\n\r\n").await;
        stranger.answer().await;
    }
}

async fn scrape(house: &House) -> String {
    let answer = ask(house.metrics_address, "GET", "/metrics", &[], b"").await;
    answer.text().to_owned()
}

/// What the visits bring about at least, whatever other tests of this process do.
const BROUGHT_ABOUT: &[(&str, u32)] = &[
    ("paredao_votes_total{outcome=\"accepted\"}", 4),
    ("paredao_votes_total{outcome=\"malformed\"}", 2),
    ("paredao_votes_total{outcome=\"unknown_candidate\"}", 1),
    ("paredao_votes_total{outcome=\"unsupported_media_type\"}", 1),
    ("paredao_votes_total{outcome=\"invalid_key\"}", 1),
    ("paredao_votes_total{outcome=\"too_large\"}", 1),
    (
        "paredao_http_requests_total{route=\"/votar/{n}\",status=\"2xx\"}",
        3,
    ),
    (
        "paredao_http_requests_total{route=\"/votar/{n}\",status=\"4xx\"}",
        1,
    ),
    (
        "paredao_http_requests_total{route=\"/total\",status=\"2xx\"}",
        1,
    ),
    (
        "paredao_http_requests_total{route=\"unmatched\",status=\"4xx\"}",
        1,
    ),
    (
        "paredao_http_request_duration_seconds_count{route=\"/parcial\"}",
        1,
    ),
    (
        "paredao_http_connection_failures_total{reason=\"not_http\"}",
        1,
    ),
    ("paredao_consumer_votes_total{account=\"counted\"}", 2),
    ("paredao_consumer_votes_total{account=\"duplicate\"}", 1),
    ("paredao_consumer_votes_total{account=\"key_conflict\"}", 1),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_under_load_shows_what_the_catalogue_lists_and_nothing_else() {
    House::visit(Plan::default(), async |house| {
        let visits = join_all((0..CLIENTS).map(|name| visit(house, name)));
        let scrapes = async {
            for _ in 0..SCRAPES {
                check(&scrape(house).await);
            }
        };
        tokio::join!(visits, scrapes);
        for &(series, of_a_round) in BROUGHT_ABOUT {
            let least = of_a_round * ROUNDS * CLIENTS;
            eventually(&format!("{series} {least}"), async || {
                house.metric(series).await >= f64::from(least)
            })
            .await;
        }
        check(&scrape(house).await);
    })
    .await;
}

//! The event streams.

use std::time::Duration;

use crate::support::client::{Client, ask, request};
use crate::support::{House, Opening, Plan, draft, eventually};
use paredao_store::PollChange;
use serde_json::{Value, json};

/// Opens a stream and checks its head.
async fn listen(house: &House, path: &str) -> Client {
    let mut client = Client::connect(house.address).await;
    client.send(request("GET", path, &[], b"")).await;
    let head = client.head().await;
    assert_eq!(
        (head.status, head.header("content-type")),
        (200, Some("text/event-stream"))
    );
    assert_eq!(
        (
            head.header("cache-control"),
            head.header("x-accel-buffering")
        ),
        (Some("no-store"), Some("no"))
    );
    client
}

/// The event's name and data.
fn parse(event: &str) -> (String, Value) {
    let of = |field: &str| {
        event
            .lines()
            .find_map(|line| line.strip_prefix(field))
            .unwrap()
    };
    (
        of("event: ").to_owned(),
        serde_json::from_str(of("data: ")).unwrap(),
    )
}

async fn next(client: &mut Client) -> (String, Value) {
    parse(&client.event().await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_begins_with_the_present_and_follows_the_votes() {
    House::visit(Plan::default(), async |house| {
        let mut stream = listen(house, "/eventos").await;
        let first = stream.event().await;
        assert!(first.starts_with("retry: 3000\n\n"), "{first:?}");
        let (name, data) = parse(&first);
        assert_eq!(
            (name.as_str(), &data["parciais"][0]["percentual"]),
            ("parcial", &json!("0.00"))
        );
        house.vote("/votar", 1, &[]).await.json();
        let (name, data) = next(&mut stream).await;
        assert_eq!(
            (name.as_str(), &data["parciais"][0]["percentual"]),
            ("parcial", &json!("100.00"))
        );
        let mut partial = house.get("/parcial").await.json();
        partial["dados_de"] = data["dados_de"].clone();
        assert_eq!(data, partial, "the same JSON as /parcial");
        assert!(data.get("total").is_none() && data["parciais"][0].get("votos").is_none());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closing_poll_says_so_and_ends_with_exact_numbers() {
    House::visit(Plan::default(), async |house| {
        let mut stream = listen(house, "/p/paredao-1/eventos").await;
        stream.event().await;
        for number in [1, 1, 2] {
            house.vote("/votar", number, &[]).await.json();
        }
        house
            .change("paredao-1", PollChange::Close { lead_ms: 300 })
            .await;
        house.clock.move_on(Duration::from_millis(300));
        let mut states = Vec::new();
        let last = loop {
            let (name, data) = next(&mut stream).await;
            states.push(data["estado"].as_str().unwrap().to_owned());
            if name == "final" {
                break data;
            }
        };
        states.dedup();
        assert!(
            states.ends_with(&["encerrado".to_owned(), "final".to_owned()]),
            "{states:?}"
        );
        assert_eq!(
            (&last["total"], &last["parciais"][0]["votos"]),
            (&json!(3), &json!(2))
        );
        assert_eq!(
            last["parciais"][1],
            json!({"numero": 2, "nome": "Bia", "percentual": "33.33", "votos": 1})
        );
        assert!(house.get("/resultado").await.text().contains("2 votos"));
        assert!(house.get("/parcial").await.json().get("total").is_none());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bare_stream_moves_on_to_the_poll_that_is_opened_next() {
    let polls = vec![
        (draft("um", &["Ana", "Bia"]), Opening::Open),
        (draft("dois", &["Caio", "Davi"]), Opening::Leave),
    ];
    House::visit(
        Plan {
            polls,
            ..Plan::default()
        },
        async |house| {
            let mut bare = listen(house, "/eventos").await;
            assert!(bare.event().await.starts_with("retry"));
            let mut first = listen(house, "/p/um/eventos").await;
            first.event().await;
            house.clock.move_on(Duration::from_millis(10));
            house.change("dois", PollChange::Open).await;
            assert_eq!(next(&mut bare).await.1["poll"], "dois");
            house.vote("/p/um/votar", 1, &[]).await.json();
            let data = next(&mut first).await.1;
            assert_eq!(
                (&data["poll"], &data["parciais"][0]["percentual"]),
                (&json!("um"), &json!("100.00"))
            );
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_cleanly_when_the_process_stops_and_are_counted_while_open() {
    House::visit(Plan::default(), async |house| {
        let mut streams = Vec::new();
        for _ in 0..20 {
            let mut stream = listen(house, "/eventos").await;
            stream.event().await;
            streams.push(stream);
        }
        let metrics = ask(house.metrics_address, "GET", "/metrics", &[], b"").await;
        let line = metrics
            .text()
            .lines()
            .find(|l| l.starts_with("paredao_http_event_streams "))
            .unwrap();
        assert!(
            line.rsplit(' ').next().unwrap().parse::<u64>().unwrap() >= 20,
            "{line}"
        );
        house.api.end_streams();
        for stream in &mut streams {
            while stream.chunk().await.is_some() {}
        }
        house.get("/eventos").await.problem(503, "shutting-down");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_beyond_the_most_are_told_to_poll_and_votes_come_through() {
    let mut plan = Plan::default();
    plan.api.streams_max = 2;
    House::visit(plan, async |house| {
        let mut streams = Vec::new();
        for path in ["/eventos", "/p/paredao-1/eventos"] {
            let mut stream = listen(house, path).await;
            stream.event().await;
            streams.push(stream);
        }
        let refused = house.get("/eventos").await;
        let problem = refused.problem(503, "too-many-streams");
        assert!(problem["retry_after_ms"].as_u64().unwrap() >= 1000);
        assert!(refused.header("retry-after").is_some());
        assert!(
            house
                .metric("paredao_http_event_streams_refused_total")
                .await
                >= 1.0
        );
        house.vote("/votar", 1, &[]).await.json();
        house.get("/parcial").await.json();

        streams.pop();
        // Whoever left is noticed when there is something to tell.
        eventually("the place is free again", async || {
            house.vote("/votar", 1, &[]).await.json();
            house.get("/eventos").await.status == 200
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_outlives_the_patience_with_clients_that_stop_halfway() {
    let mut plan = Plan::default();
    plan.api.request_timeout = Duration::from_millis(300);
    plan.api.append_deadline = Duration::from_millis(200);
    House::visit(plan, async |house| {
        let mut stream = listen(house, "/eventos").await;
        stream.event().await;
        let mut stalled = Client::connect(house.address).await;
        stalled.send(request("GET", "/live", &[], b"")).await;
        stalled.answer().await.json();
        stalled.send("G").await;
        assert!(stalled.is_closed().await);
        house.vote("/votar", 1, &[]).await.json();
        assert_eq!(next(&mut stream).await.0, "parcial");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_poll_is_told_again_now_and_then() {
    House::visit(Plan::default(), async |house| {
        let mut stream = listen(house, "/eventos").await;
        let first = parse(&stream.event().await).1;
        house.clock.move_on(Duration::from_secs(10));
        let (name, data) = next(&mut stream).await;
        assert_eq!(
            (name.as_str(), &data["parciais"]),
            ("parcial", &first["parciais"])
        );
        assert_ne!(data["dados_de"], first["dados_de"]);
    })
    .await;
}

//! What a client may take of memory and time, and what it gets for more.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::support::client::{Client, PATIENCE, request};
use crate::support::{House, Plan};
use paredao_api::ApiOptions;

const JSON: (&str, &str) = ("content-type", "application/json");

fn plan(change: impl FnOnce(&mut ApiOptions)) -> Plan {
    let mut plan = Plan::default();
    change(&mut plan.api);
    plan
}

/// A vote of exactly so many bytes.
fn vote_of(bytes: usize) -> Vec<u8> {
    let padding = " ".repeat(bytes - b"{\"voto\":1}".len());
    format!("{{\"voto\":1{padding}}}").into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_a_kibibyte_is_read_and_one_byte_more_is_too_much() {
    House::visit(Plan::default(), async |house| {
        house.post("/votar", &[], &vote_of(1024)).await.json();
        house
            .post("/votar", &[], &vote_of(1025))
            .await
            .problem(413, "payload-too-large");
        house.post("/votar/1", &[], &vote_of(1024)).await.json();
        house
            .post("/votar/1", &[], &vote_of(1025))
            .await
            .problem(413, "payload-too-large");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_megabytes_are_refused_before_they_are_read() {
    House::visit(Plan::default(), async |house| {
        let body = vec![b'x'; 10 << 20];
        let mut announced = Client::connect(house.address).await;
        announced
            .send_until_refused(&request("POST", "/votar", &[JSON], &body))
            .await;
        announced.answer().await.problem(413, "payload-too-large");
        assert!(
            announced.is_closed().await,
            "what was not read does not become the next request"
        );

        let mut chunked = Client::connect(house.address).await;
        chunked
            .send(request(
                "POST",
                "/votar",
                &[JSON, ("transfer-encoding", "chunked")],
                b"",
            ))
            .await;
        chunked.send(b"a00000\r\n").await;
        chunked.send_until_refused(&body).await;
        chunked.answer().await.problem(413, "payload-too-large");
        house.vote("/votar", 1, &[]).await.json();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nesting_without_end_is_refused() {
    House::visit(Plan::default(), async |house| {
        house
            .post("/votar", &[], "[".repeat(1024).as_bytes())
            .await
            .problem(422, "invalid-vote");
        let object = "{\"voto\":".repeat(128);
        house
            .post("/votar", &[], object.as_bytes())
            .await
            .problem(422, "invalid-vote");
        house
            .post("/votar", &[], "[".repeat(100_000).as_bytes())
            .await
            .problem(413, "payload-too-large");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_may_come_in_pieces_and_in_chunks() {
    House::visit(Plan::default(), async |house| {
        let mut client = Client::connect(house.address).await;
        let bytes = request("POST", "/votar", &[JSON], b"{\"voto\":1}");
        for piece in bytes.chunks(7) {
            client.send(piece).await;
            tokio::task::yield_now().await;
        }
        client.answer().await.json();
        client
            .send(request(
                "POST",
                "/votar",
                &[JSON, ("transfer-encoding", "chunked")],
                b"",
            ))
            .await;
        for chunk in ["3\r\n{\"v\r\n", "7\r\noto\":2}\r\n", "0\r\n\r\n"] {
            client.send(chunk).await;
        }
        assert_eq!(client.answer().await.json()["numero"], 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_without_end_are_refused_without_html() {
    House::visit(Plan::default(), async |house| {
        let long = format!(
            "GET /parcial HTTP/1.1\r\nhost: x\r\nx-long: {}",
            "x".repeat(300_000)
        );
        let many = format!(
            "GET /parcial HTTP/1.1\r\n{}\r\n",
            "x-many: 1\r\n".repeat(500)
        );
        for head in [long, many] {
            let mut client = Client::connect(house.address).await;
            client.send_until_refused(head.as_bytes()).await;
            let answer = client.answer().await;
            assert!((400..500).contains(&answer.status), "{answer:?}");
            assert!(answer.body.is_empty(), "{answer:?}");
            assert!(client.is_closed().await);
        }
        house.get("/parcial").await.json();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_http_is_refused_and_the_connection_closed() {
    House::visit(Plan::default(), async |house| {
        for garbage in [
            "\0\x01\x02\r\n\r\n",
            "GET\r\n\r\n",
            "POST /votar HTTP/1.1\r\ncontent-length: nada\r\n\r\n",
            "POST /votar HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
            "POST /votar HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\ncontent-length: 11\r\n\r\n{\"voto\":1}x",
        ] {
            let mut client = Client::connect(house.address).await;
            client.send(garbage).await;
            let answer = client.answer().await;
            assert_eq!((answer.status, answer.body.len()), (400, 0), "{garbage:?}");
            assert!(client.is_closed().await);
        }
        let mut client = Client::connect(house.address).await;
        client.send(request("POST", "/votar", &[JSON, ("transfer-encoding", "chunked")], b"")).await;
        client.send("zz\r\n").await;
        client.answer().await.problem(400, "malformed");
        assert_eq!(house.get("/total").await.json()["contas"]["aceitos"], 0);
        let not_http = "paredao_http_connection_failures_total{reason=\"not_http\"}";
        assert!(house.metric(not_http).await >= 5.0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_slow_with_its_head_or_says_nothing_is_let_go() {
    let quick = plan(|api| api.request_timeout = Duration::from_millis(300));
    House::visit(quick, async |house| {
        for beginning in ["", "POST /votar HTTP/1.1\r\nhost: x\r\n"] {
            let mut client = Client::connect(house.address).await;
            client.send(beginning).await;
            assert!(client.is_closed().await);
        }
    })
    .await;
}

/// Limits that a test can see pass.
fn hasty() -> Plan {
    plan(|api| {
        api.request_timeout = Duration::from_millis(300);
        api.append_deadline = Duration::from_millis(200);
    })
}

/// A client whose connection has served it already.
async fn regular(house: &House) -> Client {
    let mut client = Client::connect(house.address).await;
    client.send(request("GET", "/live", &[], b"")).await;
    client.answer().await.json();
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_within_a_later_request_is_let_go() {
    House::visit(hasty(), async |house| {
        let stops_after = async |beginning: &str| {
            let mut client = regular(house).await;
            client.send(beginning).await;
            assert!(client.is_closed().await, "{beginning:?}");
        };
        tokio::join!(
            stops_after("G"),
            stops_after("\r\n"),
            stops_after("POST /votar HTTP/1.1\r\nhost: x\r\n"),
        );
        let stalled = "paredao_http_connection_failures_total{reason=\"stalled\"}";
        assert!(house.metric(stalled).await >= 3.0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_drips_a_later_request_is_let_go_as_well() {
    House::visit(hasty(), async |house| {
        let mut client = regular(house).await;
        let mut drops = tokio::time::interval(Duration::from_millis(100));
        let deadline = Instant::now() + PATIENCE;
        while client.still_takes(b"x").await {
            assert!(Instant::now() < deadline, "it may drip on for ever");
            drops.tick().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_only_keeps_its_connection_does_not_hold_up_a_stop() {
    let patient = plan(|api| api.stop_timeout = PATIENCE);
    let mut idle = None;
    let mut asked = Instant::now();
    House::visit(patient, async |house| {
        idle = Some(regular(house).await);
        asked = Instant::now();
    })
    .await;
    assert!(asked.elapsed() < PATIENCE / 2);
    assert!(idle.unwrap().is_closed().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_within_the_limits_of_head_and_body_is_served() {
    let limits = plan(|api| {
        api.request_timeout = Duration::from_secs(2);
        api.append_deadline = Duration::from_millis(200);
    });
    House::visit(limits, async |house| {
        let mut client = regular(house).await;
        let vote = request("POST", "/votar", &[JSON], b"{\"voto\":1}");
        let (head, body) = vote.split_at(vote.len() - b"{\"voto\":1}".len());
        let mut pace = tokio::time::interval(Duration::from_millis(180));
        for piece in head.chunks(head.len().div_ceil(9)).chain(body.chunks(2)) {
            pace.tick().await;
            client.send(piece).await;
        }
        client.answer().await.json();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_slow_with_its_body_is_told_so_and_let_go() {
    let quick = plan(|api| api.request_timeout = Duration::from_millis(300));
    House::visit(quick, async |house| {
        for path in ["/votar", "/votar/1"] {
            let mut client = Client::connect(house.address).await;
            let vote = request("POST", path, &[JSON], b"{\"voto\":1}");
            client.send(&vote[..vote.len() - 1]).await;
            client.answer().await.problem(408, "request-timeout");
            assert!(client.is_closed().await);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_in_the_middle_costs_nothing() {
    House::visit(Plan::default(), async |house| {
        let vote = request("POST", "/votar", &[JSON], b"{\"voto\":1}");
        for end in [5, 30, vote.len() - 3] {
            let mut client = Client::connect(house.address).await;
            client.send(&vote[..end]).await;
        }
        house.vote("/votar", 1, &[]).await.json();
        let total = house
            .until("/total", |total| {
                total["contas"]["em_voo"] == 0 && total["total"] == 1
            })
            .await;
        assert_eq!(total["contas"]["aceitos"], 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_closed_after_a_while() {
    let quick = plan(|api| api.keep_alive = Duration::from_secs(1));
    House::visit(quick, async |house| {
        let mut client = Client::connect(house.address).await;
        client.send(request("GET", "/live", &[], b"")).await;
        client.answer().await.json();
        assert!(client.is_closed().await);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_most_connections_new_ones_wait_until_one_goes() {
    let few = plan(|api| (api.connections_max, api.keep_alive) = (3, Duration::from_secs(2)));
    House::visit(few, async |house| {
        let mut held = Vec::new();
        for _ in 0..3 {
            let mut client = Client::connect(house.address).await;
            client.send(request("GET", "/live", &[], b"")).await;
            client.answer().await.json();
            held.push(client);
        }
        let mut late = Client::connect(house.address).await;
        late.send(request("GET", "/live", &[], b"")).await;
        drop(held.pop());
        late.answer().await.json();
    })
    .await;
}

/// Connections of the server's side of `port` that are established.
fn established(address: SocketAddr) -> usize {
    const ESTABLISHED: &str = "01";
    let port = format!(":{:04X}", address.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let is_ours = |line: &&str| {
        let mut columns = line.split_whitespace();
        let local = columns.nth(1).is_some_and(|local| local.ends_with(&port));
        local && columns.nth(1) == Some(ESTABLISHED)
    };
    table.lines().skip(1).filter(is_ours).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_reads_nothing_is_dropped() {
    let quick = plan(|api| api.unread_timeout = Duration::from_millis(500));
    House::visit(quick, async |house| {
        let mut client = Client::connect(house.address).await;
        // Several megabytes: more than any buffers between here and there hold.
        let file = request("GET", "/swagger/swagger-ui-bundle.js", &[], b"");
        client.send(file.repeat(8)).await;
        assert_eq!(client.head().await.status, 200);
        let deadline = Instant::now() + PATIENCE;
        while established(house.address) > 0 {
            assert!(Instant::now() < deadline, "it is still held");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

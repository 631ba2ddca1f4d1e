//! What is read: percentages, totals, pages, files, receipts, health.

#![expect(
    clippy::unwrap_used,
    reason = "a failed assumption in a test is a failed test"
)]

mod support;

use std::time::Duration;

use paredao_api::{ApiOptions, TotalAccess};
use paredao_store::PollChange;
use serde_json::{Value, json};
use support::client::ask;
use support::{House, Opening, Plan, draft};

fn plan(api: ApiOptions) -> Plan {
    Plan {
        api,
        ..Plan::default()
    }
}

fn keys(body: &Value) -> Vec<&str> {
    body.as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

fn sum(entries: &Value, member: &str) -> u64 {
    entries
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry[member].as_u64().unwrap())
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn percentages_add_up_and_totals_without_votes_are_valid() {
    let polls = vec![(draft("tres", &["Ana", "Bia", "Caio"]), Opening::Open)];
    House::visit(
        Plan {
            polls,
            ..Plan::default()
        },
        async |house| {
            let empty = house.get("/parcial").await.json();
            let shares = |body: &Value| {
                let list = body["parciais"].as_array().unwrap().clone();
                list.iter()
                    .map(|c| c["percentual"].as_str().unwrap().to_owned())
                    .collect::<Vec<_>>()
            };
            assert_eq!(shares(&empty), ["0.00"; 3]);
            assert_eq!(house.get("/total").await.json()["total"], 0);
            for number in [1, 2, 3] {
                house.vote("/votar", number, &[]).await.json();
            }
            let third = |body: &Value| shares(body) == ["33.34", "33.33", "33.33"];
            let partial = house.until("/parcial", third).await;
            assert_eq!(
                keys(&partial),
                [
                    "dados_de",
                    "encerra_em",
                    "estado",
                    "parciais",
                    "poll",
                    "titulo"
                ]
            );
            assert_eq!(
                partial["parciais"][0],
                json!({"nome": "Ana", "numero": 1, "percentual": "33.34"})
            );
            assert_eq!(
                (
                    &partial["poll"],
                    &partial["titulo"],
                    &partial["estado"],
                    &partial["encerra_em"]
                ),
                (
                    &json!("tres"),
                    &json!("Quem sai?"),
                    &json!("aberto"),
                    &Value::Null
                )
            );
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_total_has_every_series_and_the_books_of_the_deployment() {
    House::visit(Plan::default(), async |house| {
        house.clock.move_on(Duration::from_hours(3));
        for number in [1, 2, 2] {
            house.vote("/votar", number, &[]).await.json();
        }
        let total = house
            .until("/total", |t| t["total"] == 3 && t["contas"]["em_voo"] == 0)
            .await;
        let expected = [
            "candidatos",
            "contas",
            "dados_de",
            "estado",
            "fora_do_total",
            "poll",
            "por_hora",
            "por_minuto",
            "total",
            "voto_1",
            "voto_2",
            "votos_ultima_hora",
        ];
        assert_eq!(keys(&total), expected);
        let minutes = total["por_minuto"].as_array().unwrap();
        assert_eq!((minutes.len(), sum(&total["por_minuto"], "total")), (60, 3));
        assert_eq!(
            (&total["votos_ultima_hora"], &total["voto_2"]),
            (&json!(3), &json!(2))
        );
        assert!(
            minutes
                .iter()
                .all(|m| m["votos"].as_array().unwrap().len() == 2)
        );
        assert!(
            minutes
                .windows(2)
                .all(|m| m[0]["minuto"].as_str() < m[1]["minuto"].as_str())
        );
        let hours = total["por_hora"].as_array().unwrap();
        assert!(hours.len() >= 4, "hours without votes are there: {hours:?}");
        assert_eq!(
            (sum(&total["por_hora"], "total"), &hours[0]["total"]),
            (3, &json!(0))
        );
        assert!(
            hours[0]["hora"]
                .as_str()
                .unwrap()
                .ends_with(":00:00.000-03:00")
        );
        let books = &total["contas"];
        assert_eq!(keys(books).len(), 11);
        assert_eq!(
            (&books["aceitos"], &books["contados"], &books["perdidos"]),
            (&json!(3), &json!(3), &json!(0))
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_books_close_at_every_reading_under_load() {
    House::visit(Plan::default(), async |house| {
        let voting = async {
            for round in 0..400 {
                house.vote("/votar", 1 + round % 2, &[]).await.json();
            }
        };
        let reading = async {
            loop {
                let books = house.get("/total").await.json()["contas"].take();
                tokio::task::yield_now().await;
                if books.is_null() {
                    continue;
                }
                let of = |name: &str| books[name].as_u64().unwrap();
                let accounted = of("contados")
                    + of("duplicados")
                    + of("conflitos_de_chave")
                    + of("quarentena")
                    + of("depois_do_fechamento")
                    + of("atrasados")
                    + of("mortos")
                    + of("perdidos")
                    + of("em_voo");
                assert_eq!(of("aceitos"), accounted, "{books}");
                if of("aceitos") == 400 && of("em_voo") == 0 {
                    return;
                }
            }
        };
        tokio::join!(voting, reading);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_are_refused_where_they_are_not_public() {
    let options = ApiOptions {
        total_access: TotalAccess::Refused,
        ..Plan::default().api
    };
    House::visit(plan(options), async |house| {
        house.get("/total").await.problem(403, "forbidden");
        house
            .get("/p/paredao-1/total")
            .await
            .problem(403, "forbidden");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_tells_how_far_a_vote_has_come_and_its_result_only_when_final() {
    House::visit(Plan::default(), async |house| {
        let key = [("idempotency-key", "0123456789abcdef")];
        let first = house.vote("/votar", 1, &key).await.json()["recibo"]
            .as_str()
            .unwrap()
            .to_owned();
        let second = house.vote("/votar", 1, &key).await.json()["recibo"]
            .as_str()
            .unwrap()
            .to_owned();
        let conflict = house.vote("/votar", 2, &key).await.json()["recibo"]
            .as_str()
            .unwrap()
            .to_owned();
        let path = format!("/recibo/{first}");
        let known = house
            .until(&path, |receipt| receipt["estado"] == "registrado")
            .await;
        assert_eq!(known, json!({"recibo": first, "estado": "registrado"}));
        assert_eq!(
            house.get(&path).await.header("cache-control"),
            Some("no-store")
        );
        assert_eq!(
            house.get(&format!("/p/paredao-1{path}")).await.json(),
            known
        );

        house
            .change("paredao-1", PollChange::Close { lead_ms: 0 })
            .await;
        house.clock.move_on(Duration::from_secs(1));
        house
            .until(&path, |receipt| receipt["resultado"] == "contado")
            .await;
        let result = async |receipt: &str| {
            house.get(&format!("/recibo/{receipt}")).await.json()["resultado"].take()
        };
        assert_eq!(result(&second).await, "duplicado");
        assert_eq!(result(&conflict).await, "conflito-de-chave");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_that_were_not_issued_here_are_unknown() {
    House::visit(Plan::default(), async |house| {
        let receipt = house.vote("/votar", 1, &[]).await.json()["recibo"]
            .as_str()
            .unwrap()
            .to_owned();
        let flipped = if receipt.ends_with('A') { "B" } else { "A" };
        let forged = format!("/recibo/{}{flipped}", &receipt[..31]);
        for path in [
            forged.as_str(),
            "/recibo/x",
            "/recibo/%00",
            "/recibo/%C3%28",
            "/recibo/%zz",
        ] {
            house.get(path).await.problem(404, "unknown-receipt");
        }
        house
            .get(&format!("/p/nada/recibo/{receipt}"))
            .await
            .problem(404, "unknown-poll");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_are_looked_up_at_a_limited_rate() {
    let options = ApiOptions {
        receipts_per_second: 5.try_into().unwrap(),
        ..Plan::default().api
    };
    House::visit(plan(options), async |house| {
        let mut limited = None;
        for _ in 0..50 {
            let answer = house.get("/recibo/x").await;
            if answer.status == 429 {
                limited = Some(answer);
                break;
            }
        }
        let limited = limited.expect("fifty look-ups in a moment are more than five a second");
        assert!(
            limited.problem(429, "receipt-rate-limited")["retry_after_ms"]
                .as_u64()
                .unwrap()
                >= 1000
        );
        assert!(limited.header("retry-after").is_some());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_come_with_their_guards_and_only_page_routes_answer_html() {
    House::visit(Plan::default(), async |house| {
        for path in [
            "/",
            "/resultado",
            "/p/paredao-1/",
            "/p/paredao-1",
            "/p/paredao-1/resultado",
        ] {
            let page = house.get(path).await;
            assert_eq!(
                (page.status, page.header("content-type")),
                (200, Some("text/html; charset=utf-8")),
                "{path}"
            );
            let policy = page.header("content-security-policy").unwrap();
            assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"));
            assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
            assert_eq!(page.header("referrer-policy"), Some("same-origin"));
            assert_eq!(page.header("cache-control"), Some("no-store"));
            assert!(page.text().contains("Ana"), "{path}");
        }
        assert!(
            house
                .get("/p/paredao-1/")
                .await
                .text()
                .contains("/p/paredao-1")
        );
        let missing = house.get("/p/nada/").await;
        assert_eq!(
            (missing.status, missing.header("content-type")),
            (404, Some("text/html; charset=utf-8"))
        );
        let browser = [("accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")];
        let lost = ask(house.address, "GET", "/nada", &browser, b"").await;
        assert_eq!(
            (lost.status, lost.header("content-type")),
            (404, Some("text/html; charset=utf-8"))
        );
        for path in [
            "/p/nada/parcial",
            "/p/nada/total",
            "/p/nada/eventos",
            "/p/nada/votar/1",
        ] {
            let method = if path.contains("votar") {
                "POST"
            } else {
                "GET"
            };
            ask(house.address, method, path, &browser, b"")
                .await
                .problem(404, "unknown-poll");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_house_without_polls_says_so_everywhere() {
    House::visit(
        Plan {
            polls: vec![],
            ..Plan::default()
        },
        async |house| {
            let page = house.get("/").await;
            assert_eq!(
                (page.status, page.header("content-type")),
                (404, Some("text/html; charset=utf-8"))
            );
            for path in ["/parcial", "/total", "/eventos"] {
                house.get(path).await.problem(404, "unknown-poll");
            }
            house
                .vote("/votar", 1, &[])
                .await
                .problem(404, "unknown-poll");
            house
                .vote("/votar/1", 1, &[])
                .await
                .problem(404, "unknown-poll");
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_named_by_their_content_and_sent_once() {
    House::visit(Plan::default(), async |house| {
        let page = house.get("/").await;
        let start = page
            .text()
            .find("/static/v-")
            .expect("the page names its files");
        let path: String = page.text()[start..]
            .chars()
            .take_while(|c| *c != '"')
            .collect();
        let file = house.get(&path).await;
        assert_eq!(file.status, 200);
        assert_eq!(
            file.header("cache-control"),
            Some("public, max-age=31536000, immutable")
        );
        let etag = file.header("etag").unwrap();
        let again = ask(house.address, "GET", &path, &[("if-none-match", etag)], b"").await;
        assert_eq!(
            (again.status, again.body.len(), again.header("etag")),
            (304, 0, Some(etag))
        );
        let zipped = ask(
            house.address,
            "GET",
            "/static/vote.js",
            &[("accept-encoding", "gzip")],
            b"",
        )
        .await;
        assert_eq!(
            (zipped.header("content-encoding"), zipped.header("vary")),
            (Some("gzip"), Some("Accept-Encoding"))
        );
        for path in [
            "/static/nada.js",
            "/static/../Cargo.toml",
            "/static/%2e%2e/x",
            "/static/",
        ] {
            house.get(path).await.problem(404, "not-found");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_addresses_lead_to_the_new_ones() {
    House::visit(Plan::default(), async |house| {
        for (old, new) in [
            ("/index.html", "/"),
            ("/resultado.html", "/resultado"),
            ("/painel.html", "/painel"),
            ("/swagger", "/swagger/"),
        ] {
            let answer = house.get(old).await;
            assert_eq!((answer.status, answer.header("location")), (308, Some(new)));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_falls_when_a_stop_begins_while_votes_are_still_taken() {
    House::visit(Plan::default(), async |house| {
        for address in [house.address, house.metrics_address] {
            let get = async |path: &str| ask(address, "GET", path, &[], b"").await;
            assert_eq!(get("/live").await.json(), json!({"live": true}));
            assert_eq!(get("/version").await.json()["name"], "paredao");
            let ready = get("/ready").await.json();
            assert_eq!(
                (&ready["ready"], &ready["stopping"]),
                (&json!(true), &json!(false))
            );
            let names: Vec<_> = ready["components"]
                .as_array()
                .unwrap()
                .iter()
                .map(|c| &c["name"])
                .collect();
            assert_eq!(names, ["intake", "snapshot"]);
        }
        house.health.stop();
        for address in [house.address, house.metrics_address] {
            let problem = ask(address, "GET", "/ready", &[], b"")
                .await
                .problem(503, "not-ready");
            assert_eq!(
                (&problem["ready"], &problem["stopping"]),
                (&json!(false), &json!(true))
            );
            assert_eq!(problem["components"].as_array().unwrap().len(), 2);
            ask(address, "GET", "/live", &[], b"").await.json();
        }
        house.vote("/votar", 1, &[]).await.json();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_on_their_own_port_and_count_what_happened() {
    House::visit(Plan::default(), async |house| {
        house.vote("/votar", 1, &[]).await.json();
        house
            .vote("/votar", 9, &[])
            .await
            .problem(404, "unknown-candidate");
        house
            .until("/total", |total| total["contas"]["contados"] == 1)
            .await;
        house.get("/metrics").await.problem(404, "not-found");
        let metrics = ask(house.metrics_address, "GET", "/metrics", &[], b"").await;
        assert_eq!(
            metrics.header("content-type"),
            Some("text/plain; version=0.0.4; charset=utf-8")
        );
        let at_least_one = |series: &str| {
            let line = metrics.text().lines().find(|line| line.starts_with(series));
            let value = line
                .and_then(|line| line.rsplit(' ').next())
                .and_then(|v| v.parse::<f64>().ok());
            assert!(
                value.is_some_and(|value| value >= 1.0),
                "{series}: {line:?}"
            );
        };
        at_least_one("paredao_votes_total{outcome=\"accepted\"}");
        at_least_one("paredao_votes_total{outcome=\"unknown_candidate\"}");
        at_least_one("paredao_http_requests_total{route=\"/votar\",status=\"2xx\"}");
        at_least_one("paredao_http_requests_total{route=\"/votar\",status=\"4xx\"}");
        at_least_one("paredao_http_requests_total{route=\"/total\",status=\"2xx\"}");
        at_least_one("paredao_http_requests_total{route=\"unmatched\",status=\"4xx\"}");
        at_least_one("paredao_http_request_duration_seconds_count{route=\"/votar\"}");
        ask(house.metrics_address, "GET", "/votar", &[], b"")
            .await
            .problem(404, "not-found");
        ask(house.metrics_address, "POST", "/metrics", &[], b"")
            .await
            .problem(405, "method-not-allowed");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn head_says_what_get_would_without_the_body() {
    House::visit(Plan::default(), async |house| {
        for path in [
            "/",
            "/resultado",
            "/static/vote.js",
            "/openapi.json",
            "/live",
        ] {
            let get = house.get(path).await;
            let head = ask(house.address, "HEAD", path, &[], b"").await;
            assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
            assert_eq!(head.header("content-type"), get.header("content-type"));
        }
    })
    .await;
}

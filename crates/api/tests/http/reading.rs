//! What else is read: receipts, pages, files, health, metrics.

use std::time::Duration;

use crate::support::client::ask;
use crate::support::{House, Plan};
use paredao_api::ApiOptions;
use paredao_store::PollChange;
use serde_json::json;

fn plan(api: ApiOptions) -> Plan {
    Plan {
        api,
        ..Plan::default()
    }
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
async fn receipts_are_looked_up_at_a_limited_rate_in_which_forged_ones_have_no_share() {
    let options = ApiOptions {
        receipts_per_second: 5.try_into().unwrap(),
        ..Plan::default().api
    };
    House::visit(plan(options), async |house| {
        let receipt = house.vote("/votar", 1, &[]).await.json()["recibo"]
            .as_str()
            .unwrap()
            .to_owned();
        let path = format!("/recibo/{receipt}");
        let flipped = if receipt.ends_with('A') { "B" } else { "A" };
        let forged = format!("{}{flipped}", &path[..path.len() - 1]);
        for _ in 0..50 {
            house.get(&forged).await.problem(404, "unknown-receipt");
        }
        house.get(&path).await.json();
        let mut limited = None;
        for _ in 0..50 {
            let answer = house.get(&path).await;
            if answer.status == 503 {
                limited = Some(answer);
                break;
            }
        }
        let limited = limited.expect("fifty look-ups in a moment are more than five a second");
        assert!(
            limited.problem(503, "receipt-rate-limited")["retry_after_ms"]
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
            ("/swagger", "/swagger/"),
        ] {
            let answer = house.get(old).await;
            assert_eq!((answer.status, answer.header("location")), (308, Some(new)));
        }
        let panel = house.get("/painel.html").await;
        assert_eq!(
            (panel.status, panel.header("location")),
            (307, Some("/painel")),
            "no browser may remember it while there is no panel"
        );
        assert_eq!(panel.header("cache-control"), Some("no-store"));
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

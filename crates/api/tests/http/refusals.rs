//! Every way a vote is refused, by status, type and advice.

use std::time::Duration;

use crate::support::client::{Answer, PATIENCE, ask};
use crate::support::{House, Opening, Plan, draft};
use paredao_intake::IntakeOptions;
use paredao_store::PollChange;

fn intake(change: impl FnOnce(&mut IntakeOptions)) -> IntakeOptions {
    let mut options = Plan::default().intake;
    change(&mut options);
    options
}

/// Asserts that a refusal says when to come back.
fn comes_back_later(answer: &Answer, slug: &str) {
    let problem = answer.problem(503, slug);
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    let ms = problem["retry_after_ms"].as_u64().unwrap();
    assert!(
        seconds >= 1 && (seconds - 1) * 1000 < ms && ms <= seconds * 1000,
        "{answer:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_vote_is_refused_with_its_reason() {
    House::visit(Plan::default(), async |house| {
        for (body, status, slug) in [
            ("", 400, "malformed"),
            ("{\"voto\":", 400, "malformed"),
            ("voto=1", 400, "malformed"),
            ("{}", 422, "invalid-vote"),
            ("[1]", 422, "invalid-vote"),
            ("{\"voto\":\"1\"}", 422, "invalid-vote"),
            ("{\"voto\":0}", 404, "unknown-candidate"),
            ("{\"voto\":3}", 404, "unknown-candidate"),
            ("{\"voto\":99999999999}", 404, "unknown-candidate"),
        ] {
            house
                .post("/votar", &[], body.as_bytes())
                .await
                .problem(status, slug);
        }
        for path in [
            "/votar/0",
            "/votar/3",
            "/votar/um",
            "/votar/%31%31",
            "/votar/%ff",
        ] {
            house
                .post(path, &[], b"")
                .await
                .problem(404, "unknown-candidate");
        }
        house
            .post("/p/nada/votar", &[], b"{\"voto\":1}")
            .await
            .problem(404, "unknown-poll");
        house
            .post("/p/nada/votar/1", &[], b"")
            .await
            .problem(404, "unknown-poll");
        house
            .post("/p/%2e%2e%2f/votar/1", &[], b"")
            .await
            .problem(404, "unknown-poll");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_another_type_is_refused_and_the_path_needs_none() {
    House::visit(Plan::default(), async |house| {
        let post = async |path: &str, headers: &[(&str, &str)]| {
            ask(house.address, "POST", path, headers, b"{\"voto\":1}").await
        };
        for media_type in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/xml",
        ] {
            let headers = [("content-type", media_type)];
            post("/votar", &headers)
                .await
                .problem(415, "unsupported-media-type");
            post("/votar/1", &headers).await.json();
        }
        post("/votar", &[])
            .await
            .problem(415, "unsupported-media-type");
        post(
            "/votar",
            &[("content-type", "application/json; charset=utf-8")],
        )
        .await
        .json();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_breaks_its_rules_is_refused() {
    House::visit(Plan::default(), async |house| {
        for key in [
            "short",
            "fifteen-letters",
            "with a space in the middle",
            &"x".repeat(129),
        ] {
            let answer = house.vote("/votar", 1, &[("idempotency-key", key)]).await;
            answer.problem(400, "invalid-key");
            house
                .vote("/votar/1", 1, &[("idempotency-key", key)])
                .await
                .problem(400, "invalid-key");
        }
        house
            .vote("/votar", 1, &[("idempotency-key", &"x".repeat(128))])
            .await
            .json();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_that_is_not_open_takes_no_votes_and_stores_none() {
    let polls = vec![
        (draft("fechado", &["Ana", "Bia"]), Opening::Open),
        (draft("futuro", &["Ana", "Bia"]), Opening::Leave),
    ];
    House::visit(
        Plan {
            polls,
            ..Plan::default()
        },
        async |house| {
            house
                .vote("/p/futuro/votar", 1, &[])
                .await
                .problem(409, "poll-not-open");
            house.vote("/p/fechado/votar", 1, &[]).await.json();
            house
                .change("fechado", PollChange::Close { lead_ms: 500 })
                .await;
            house.vote("/p/fechado/votar", 1, &[]).await.json();
            house.clock.move_on(Duration::from_millis(500));
            let closed = house.vote("/p/fechado/votar", 1, &[]).await;
            assert!(
                closed
                    .problem(409, "poll-not-open")
                    .get("retry_after_ms")
                    .is_none()
            );
            house
                .vote("/p/fechado/votar/1", 1, &[])
                .await
                .problem(409, "poll-not-open");
            let settled =
                |total: &serde_json::Value| total["total"] == 2 && total["estado"] != "aberto";
            let total = house.until("/p/fechado/total", settled).await;
            assert_eq!(total["contas"]["aceitos"], 2);
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_methods_are_told_the_right_ones_and_unknown_addresses_that_nothing_is_there() {
    House::visit(Plan::default(), async |house| {
        for (method, path, allow) in [
            ("GET", "/votar", "POST"),
            ("HEAD", "/votar", "POST"),
            ("PUT", "/votar/1", "POST"),
            ("OPTIONS", "/p/paredao-1/votar", "POST"),
            ("POST", "/parcial", "GET, HEAD"),
            ("DELETE", "/", "GET, HEAD"),
            ("POST", "/eventos", "GET"),
            ("HEAD", "/eventos", "GET"),
            ("PATCH", "/total", "GET, HEAD"),
        ] {
            let answer = ask(house.address, method, path, &[], b"").await;
            assert_eq!(
                (answer.status, answer.header("allow")),
                (405, Some(allow)),
                "{method} {path}"
            );
            if method != "HEAD" {
                answer.problem(405, "method-not-allowed");
            }
        }
        for path in [
            "/nada",
            "/votar/1/2",
            "/p/",
            "/painel",
            "/VOTAR",
            "//votar",
            "/votar/",
        ] {
            assert_eq!(house.get(path).await.status, 404, "{path}");
        }
        house.get("/nada").await.problem(404, "not-found");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_votes_than_may_wait_are_refused_at_once() {
    let plan = Plan {
        intake: intake(|options| (options.waiting_max, options.batch_votes_max) = (4, 4)),
        append_delay: Duration::from_millis(300),
        ..Plan::default()
    };
    House::visit(plan, async |house| {
        let votes = futures_util::future::join_all((0..40).map(|_| house.vote("/votar", 1, &[])));
        let answers = votes.await;
        let (accepted, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|a| a.status == 200);
        assert!(!accepted.is_empty() && !refused.is_empty());
        refused
            .iter()
            .for_each(|answer| comes_back_later(answer, "overloaded"));
        house
            .until("/total", |total| {
                total["contas"]["aceitos"] == accepted.len()
            })
            .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vote_confirmed_too_late_is_honestly_unknown_and_counts_once_when_sent_again() {
    let plan = Plan {
        intake: intake(|options| options.append_deadline = Duration::from_millis(50)),
        append_delay: Duration::from_millis(200),
        ..Plan::default()
    };
    House::visit(plan, async |house| {
        let key = [("idempotency-key", "0123456789abcdef")];
        for _ in 0..2 {
            comes_back_later(&house.vote("/votar", 1, &key).await, "outcome-unknown");
        }
        let both = |total: &serde_json::Value| total["fora_do_total"]["duplicados"] == 1;
        assert_eq!(house.until("/total", both).await["total"], 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_votes_until_there_is_room_again() {
    let plan = Plan {
        intake: intake(|options| options.append_deadline = Duration::from_millis(300)),
        ..Plan::default()
    };
    House::visit(plan, async |house| {
        house.disk.set_capacity(Some(0));
        comes_back_later(&house.vote("/votar", 1, &[]).await, "outcome-unknown");
        let answer = house.vote("/votar", 1, &[]).await;
        comes_back_later(&answer, "log-unavailable");
        house.disk.set_capacity(None);
        let deadline = std::time::Instant::now() + PATIENCE;
        while house.vote("/votar", 1, &[]).await.status != 200 {
            assert!(std::time::Instant::now() < deadline, "it never went on");
        }
        house
            .until("/total", |total| {
                total["total"] == 1 && total["contas"]["em_voo"] == 0
            })
            .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stops_refuses_votes_it_no_longer_takes() {
    House::visit(Plan::default(), async |house| {
        house.vote("/votar", 1, &[]).await.json();
        assert!(house.intake.stop(PATIENCE).await);
        comes_back_later(&house.vote("/votar", 1, &[]).await, "shutting-down");
        house
            .until("/total", |total| total["contas"]["aceitos"] == 1)
            .await;
    })
    .await;
}

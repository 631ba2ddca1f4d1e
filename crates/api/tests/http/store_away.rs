//! While the store does not answer, nobody waits for it.

use std::time::{Duration, Instant};

use crate::support::{House, Plan};
use paredao_store::PollChange;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn votes_are_taken_and_the_last_numbers_say_how_old_they_are() {
    House::visit(Plan::default(), async |house| {
        house.vote("/votar", 1, &[]).await.json();
        let shown = house.until("/total", |total| total["total"] == 1).await;
        house.seen_store.go_away();
        assert!(house.api.refresh().await.is_err());
        for _ in 0..3 {
            house.vote("/votar", 2, &[]).await.json();
        }
        house.clock.move_on(Duration::from_mins(1));
        assert!(house.api.refresh().await.is_err());
        let stale = house.get("/total").await.json();
        assert_eq!(stale["total"], 1);
        assert!(stale["contas"]["aceitos"].is_u64());
        let partial = house.get("/parcial").await.json();
        assert_eq!(partial["dados_de"], stale["dados_de"]);
        assert!(shown["dados_de"].as_str() <= stale["dados_de"].as_str());
        assert!(
            house
                .get("/resultado")
                .await
                .text()
                .contains(partial["dados_de"].as_str().unwrap())
        );

        house.seen_store.come_back();
        let fresh = house.until("/total", |total| total["total"] == 4).await;
        assert!(fresh["dados_de"].as_str() > stale["dados_de"].as_str());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_closes_on_time_all_the_same() {
    House::visit(Plan::default(), async |house| {
        house
            .change("paredao-1", PollChange::Close { lead_ms: 500 })
            .await;
        house.seen_store.go_away();
        house.vote("/votar", 1, &[]).await.json();
        house.clock.move_on(Duration::from_millis(500));
        house
            .vote("/votar", 1, &[])
            .await
            .problem(409, "poll-not-open");
        house
            .until("/parcial", |partial| partial["estado"] == "encerrado")
            .await;
        house.seen_store.come_back();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_waits_for_a_store_that_hangs_no_longer_than_a_moment() {
    House::visit(Plan::default(), async |house| {
        let vote = house.vote("/votar", 1, &[]).await.json();
        let path = format!("/recibo/{}", vote["recibo"].as_str().unwrap());
        house.seen_store.get_stuck();
        let asked = Instant::now();
        house.get(&path).await.problem(503, "store-unavailable");
        assert!(asked.elapsed() < Duration::from_secs(5));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_are_told_to_come_back_and_readiness_stays() {
    House::visit(Plan::default(), async |house| {
        let receipt = house.vote("/votar", 1, &[]).await.json()["recibo"]
            .as_str()
            .unwrap()
            .to_owned();
        let path = format!("/recibo/{receipt}");
        house.seen_store.go_away();
        let problem = house.get(&path).await.problem(503, "store-unavailable");
        assert!(problem["retry_after_ms"].as_u64().unwrap() >= 1000);
        assert_eq!(house.get("/ready").await.json()["ready"], json!(true));
        house.seen_store.come_back();
        house
            .until(&path, |receipt| receipt["estado"] == "registrado")
            .await;
    })
    .await;
}

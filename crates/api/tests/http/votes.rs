//! Votes over HTTP: accepted, recognised, counted.

use crate::support::client::{Client, request};
use crate::support::{House, Opening, Plan, draft};

const KEY: &str = "0123456789abcdef0123456789abcdef";

#[tokio::test(flavor = "multi_thread")]
async fn a_vote_is_answered_with_its_receipt_and_the_shares_and_is_counted() {
    House::visit(Plan::default(), async |house| {
        let answer = house.vote("/votar", 1, &[]).await;
        assert_eq!(
            (answer.status, answer.header("cache-control")),
            (200, Some("no-store"))
        );
        let body = answer.json();
        assert_eq!(body["recibo"].as_str().unwrap().len(), 32);
        assert_eq!(body["numero"], 1);
        assert_eq!(body["parciais"].as_array().unwrap().len(), 2);
        assert!(body["dados_de"].as_str().unwrap().ends_with("-03:00"));
        assert_eq!(body.as_object().unwrap().len(), 4);

        let by_path = house.vote("/votar/2", 9, &[]).await.json();
        assert_eq!(by_path["numero"], 2, "the path counts, the body is ignored");
        let total = house.until("/total", |total| total["total"] == 2).await;
        assert_eq!((&total["voto_1"], &total["voto_2"]), (&1.into(), &1.into()));
        let body = house.vote("/votar", 1, &[]).await.json();
        assert_eq!(
            body["parciais"][0],
            serde_json::json!({"numero": 1, "percentual": "50.00"})
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_sent_again_is_one_vote_and_for_another_candidate_a_conflict() {
    House::visit(Plan::default(), async |house| {
        let key = [("idempotency-key", KEY)];
        for number in [1, 1, 2] {
            assert_eq!(house.vote("/votar", number, &key).await.status, 200);
        }
        let settled = |total: &serde_json::Value| {
            total["contas"]["aceitos"] == 3 && total["contas"]["em_voo"] == 0
        };
        let total = house.until("/total", settled).await;
        assert_eq!((&total["total"], &total["voto_1"]), (&1.into(), &1.into()));
        let outside = &total["fora_do_total"];
        assert_eq!(
            (&outside["duplicados"], &outside["conflitos_de_chave"]),
            (&1.into(), &1.into())
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_s_request_id_is_a_key_unless_the_client_has_one_or_it_is_none() {
    House::visit(Plan::default(), async |house| {
        let id = ("x-request-id", KEY);
        for _ in 0..2 {
            house.vote("/votar", 1, &[id]).await.json();
        }
        for key in ["fedcba9876543210", "0000000000000000"] {
            house
                .vote("/votar", 2, &[id, ("idempotency-key", key)])
                .await
                .json();
        }
        for _ in 0..2 {
            house
                .vote("/votar", 2, &[("x-request-id", "short")])
                .await
                .json();
        }
        let total = house
            .until("/total", |total| total["contas"]["contados"] == 5)
            .await;
        assert_eq!((&total["voto_1"], &total["voto_2"]), (&1.into(), &4.into()));
        assert_eq!(total["fora_do_total"]["duplicados"], 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn votes_without_a_key_are_votes_of_their_own_also_on_one_connection() {
    House::visit(Plan::default(), async |house| {
        let mut client = Client::connect(house.address).await;
        let vote = request(
            "POST",
            "/votar",
            &[("content-type", "application/json")],
            b"{\"voto\":1}",
        );
        client.send(vote.repeat(20)).await;
        let mut receipts = std::collections::HashSet::new();
        for _ in 0..20 {
            let answer = client.answer().await;
            assert!(receipts.insert(answer.json()["recibo"].to_string()));
        }
        house.until("/total", |total| total["total"] == 20).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_poll_takes_its_own_votes_and_the_bare_route_those_of_the_one_opened_last() {
    let polls = vec![
        (draft("velho", &["Ana", "Bia"]), Opening::Open),
        (draft("novo", &["Cris", "Davi", "Eva"]), Opening::Leave),
    ];
    House::visit(
        Plan {
            polls,
            ..Plan::default()
        },
        async |house| {
            assert_eq!(
                house.vote("/votar", 1, &[]).await.json()["parciais"]
                    .as_array()
                    .unwrap()
                    .len(),
                2
            );
            house.clock.move_on(std::time::Duration::from_millis(10));
            house.change("novo", paredao_store::PollChange::Open).await;
            house.vote("/votar", 3, &[]).await.json();
            house.vote("/p/velho/votar", 2, &[]).await.json();
            house.vote("/p/novo/votar/1", 0, &[]).await.json();
            house
                .vote("/p/velho/votar", 3, &[])
                .await
                .problem(404, "unknown-candidate");
            let old = house
                .until("/p/velho/total", |total| total["total"] == 2)
                .await;
            let new = house
                .until("/p/novo/total", |total| total["total"] == 2)
                .await;
            assert_eq!((&old["voto_1"], &old["voto_2"]), (&1.into(), &1.into()));
            let votes: Vec<_> = new["candidatos"]
                .as_array()
                .unwrap()
                .iter()
                .map(|c| &c["votos"])
                .collect();
            assert_eq!(votes, [1, 0, 1]);
            assert_eq!(house.get("/total").await.json()["poll"], "novo");
            assert_eq!(
                new["contas"]["aceitos"], 4,
                "the books are those of the deployment"
            );
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_in_two_polls_is_two_votes() {
    let polls = ["um", "dois"]
        .map(|slug| (draft(slug, &["Ana", "Bia"]), Opening::Open))
        .into();
    House::visit(
        Plan {
            polls,
            ..Plan::default()
        },
        async |house| {
            for path in ["/p/um/votar", "/p/dois/votar"] {
                house
                    .vote(path, 1, &[("idempotency-key", KEY)])
                    .await
                    .json();
            }
            for path in ["/p/um/total", "/p/dois/total"] {
                house.until(path, |total| total["total"] == 1).await;
            }
        },
    )
    .await;
}

//! What is read of the numbers: percentages, totals, books.

use std::time::Duration;

use crate::support::client::{Client, request};
use crate::support::{House, Opening, Plan, draft};
use futures_util::future::join_all;
use paredao_api::{ApiOptions, TotalAccess};
use serde_json::{Value, json};

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
        let voter = async |_| {
            let mut client = Client::connect(house.address).await;
            for _ in 0..VOTES_OF_A_VOTER {
                client.send(request("POST", "/votar/1", &[], b"")).await;
                client.answer().await.json();
            }
        };
        let reader = async {
            loop {
                house.api.refresh().await.unwrap();
                let books = house.get("/total").await.json()["contas"].take();
                let of = |name: &str| books[name].as_u64().unwrap();
                let accounted: u64 = ACCOUNTED.map(of).iter().sum();
                assert_eq!(of("aceitos"), accounted, "{books}");
                if of("contados") == VOTERS * VOTES_OF_A_VOTER {
                    return;
                }
            }
        };
        tokio::join!(join_all((0..VOTERS).map(voter)), reader);
    })
    .await;
}

const VOTERS: u64 = 8;
const VOTES_OF_A_VOTER: u64 = 200;

/// The terms that `aceitos` is the sum of.
const ACCOUNTED: [&str; 9] = [
    "contados",
    "duplicados",
    "conflitos_de_chave",
    "quarentena",
    "depois_do_fechamento",
    "atrasados",
    "mortos",
    "perdidos",
    "em_voo",
];

#[tokio::test(flavor = "multi_thread")]
async fn totals_are_refused_where_they_are_not_public() {
    let options = ApiOptions {
        total_access: TotalAccess::Refused,
        ..Plan::default().api
    };
    let plan = Plan {
        api: options,
        ..Plan::default()
    };
    House::visit(plan, async |house| {
        house.get("/total").await.problem(403, "forbidden");
        house
            .get("/p/paredao-1/total")
            .await
            .problem(403, "forbidden");
    })
    .await;
}

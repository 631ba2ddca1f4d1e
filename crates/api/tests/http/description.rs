//! The API's description against the API itself.

use std::collections::BTreeSet;

use crate::support::client::{Client, request};
use crate::support::{House, Plan};
use paredao_api::ProblemType;
use paredao_api::routes::{Methods, SERVED, methods};
use paredao_telemetry::metrics::Label as _;
use serde_json::Value;

const JSON: (&str, &str) = ("content-type", "application/json");

/// Every documented operation: path and method.
fn documented(description: &Value) -> BTreeSet<(String, String)> {
    let mut operations = BTreeSet::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            operations.insert((path.clone(), method.to_uppercase()));
        }
    }
    operations
}

fn served() -> BTreeSet<(String, String)> {
    let method = |route| match methods(route) {
        Methods::Post => "POST",
        Methods::Get | Methods::GetAndHead => "GET",
    };
    let operations = SERVED
        .iter()
        .map(|&route| (route.value().to_owned(), method(route).to_owned()));
    operations.collect()
}

fn operations(description: &Value) -> Vec<&Value> {
    let items = description["paths"].as_object().unwrap().values();
    items
        .flat_map(|item| item.as_object().unwrap().values())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_documented_and_every_documented_route_is_served() {
    House::visit(Plan::default(), async |house| {
        let description = house.get("/openapi.json").await.json();
        assert_eq!(documented(&description), served());
        let receipt = house.vote("/votar", 1, &[]).await.json()["recibo"]
            .as_str()
            .unwrap()
            .to_owned();
        for (path, method) in documented(&description) {
            let file = if path.starts_with("/static") {
                "vote.js"
            } else {
                "index.html"
            };
            let path = path.replace("{poll}", "paredao-1").replace("{n}", "1");
            let path = path.replace("{receipt}", &receipt).replace("{file}", file);
            let mut client = Client::connect(house.address).await;
            client
                .send(request(&method, &path, &[JSON], b"{\"voto\":1}"))
                .await;
            let status = client.head().await.status;
            assert!(
                matches!(status, 200 | 307 | 308),
                "{method} {path}: {status}"
            );
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_has_its_own_name_and_every_reference_leads_somewhere() {
    House::visit(Plan::default(), async |house| {
        let answer = house.get("/openapi.json").await;
        let description = answer.json();
        let ids: BTreeSet<_> = operations(&description)
            .iter()
            .map(|o| o["operationId"].to_string())
            .collect();
        assert_eq!(ids.len(), operations(&description).len());
        for reference in answer.text().split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(description.pointer(pointer).is_some(), "{pointer}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_problem_and_the_life_of_a_key_are_stated() {
    House::visit(Plan::default(), async |house| {
        let text = house.get("/openapi.json").await.text().to_owned();
        // Answers to addresses and methods that are not documented, and a fault, belong to no operation.
        let everywhere = [ProblemType::MethodNotAllowed, ProblemType::Internal];
        for kind in ProblemType::ALL
            .into_iter()
            .filter(|kind| !everywhere.contains(kind))
        {
            assert!(
                text.contains(&format!("`{}`", kind.slug())),
                "{}",
                kind.slug()
            );
        }
        assert!(text.contains("key_life_s") && text.contains("180"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn swagger_is_served_from_here_alone() {
    House::visit(Plan::default(), async |house| {
        let page = house.get("/swagger/").await;
        assert_eq!(
            (page.status, page.header("content-type")),
            (200, Some("text/html"))
        );
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.contains("script-src 'self';"), "{policy}");
        assert!(!page.text().contains("http://") && !page.text().contains("https://"));
        assert!(
            !page.text().contains("<script>"),
            "the policy forbids inline scripts"
        );
        for file in [
            "swagger-ui.css",
            "swagger-ui-bundle.js",
            "swagger-ui-standalone-preset.js",
            "index.css",
        ] {
            assert!(page.text().contains(file));
            assert_eq!(
                house.get(&format!("/swagger/{file}")).await.status,
                200,
                "{file}"
            );
        }
        let start = house.get("/swagger/swagger-initializer.js").await;
        assert!(start.text().contains("/openapi.json") && !start.text().contains("petstore"));
        house
            .get("/swagger/nada.js")
            .await
            .problem(404, "not-found");
    })
    .await;
}

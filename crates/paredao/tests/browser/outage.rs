//! Lost answers, dead lines and impatient fingers: a tap is one vote, and the page never claims
//! to know more than it does.

use serde_json::{Value, json};

use crate::chromium::{Chromium, PHONE};
use crate::program::Program;
use crate::relay::{Line, Relay};

const TWO: [&str; 2] = ["Ana Clara", "Gustavo Henrique"];
const CONFIRMED: &str = "!document.querySelector('#confirmation').hidden";

async fn page_behind_a_line() -> (Program, Relay, Chromium) {
    let program = Program::with_poll(&TWO).await;
    let relay = Relay::before(program.address()).await;
    let browser = Chromium::start(PHONE).await;
    browser.visit(relay.address(), "/").await;
    (program, relay, browser)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vote_whose_answer_was_lost_is_counted_once() {
    let (program, relay, browser) = page_behind_a_line().await;
    relay.turn(Line::LosesAnswers);
    browser.click(".poster[data-numero=\"1\"]").await;
    browser.until_text("#status", "ainda não sabemos").await;
    assert_eq!(
        program.settled_votes().await,
        [1, 0],
        "it is stored, unknown to the page"
    );
    browser.screenshot("in-doubt-360").await;

    relay.turn(Line::Open);
    browser.until(CONFIRMED).await;
    assert_eq!(program.settled_votes().await, [1, 0]);
    assert!(
        program.account("duplicados").as_u64().unwrap() > 0,
        "it was sent again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vote_during_an_outage_arrives_once_it_is_over() {
    let (program, relay, browser) = page_behind_a_line().await;
    relay.turn(Line::Cut);
    browser.click(".poster[data-numero=\"2\"]").await;
    browser.until_text("#status", "mesmo voto").await;
    assert_eq!(program.settled_votes().await, [0, 0]);

    relay.turn(Line::Open);
    browser.until(CONFIRMED).await;
    assert_eq!(program.settled_votes().await, [0, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn taps_while_a_vote_is_on_its_way_are_not_votes() {
    let (program, relay, browser) = page_behind_a_line().await;
    relay.turn(Line::Holds);
    browser.click(".poster[data-numero=\"1\"]").await;
    browser.until_text("#status", "Registrando").await;
    browser.screenshot("pending-360").await;
    assert_eq!(busy(&browser).await, json!(["true", null]));
    browser.click(".poster[data-numero=\"1\"]").await;
    browser.click(".poster[data-numero=\"2\"]").await;

    relay.turn(Line::Open);
    browser.until(CONFIRMED).await;
    assert_eq!(busy(&browser).await, json!([null, null]));
    assert_eq!(program.settled_votes().await, [1, 0]);
    assert_eq!(program.account("aceitos"), 1);
}

/// What the posters of the wall say of themselves to assistive technology.
async fn busy(browser: &Chromium) -> Value {
    let said =
        "[...document.querySelectorAll('.wall .poster')].map((p) => p.getAttribute('aria-busy'))";
    browser.script(&format!("return {said}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tap_has_a_key_of_its_own() {
    let program = Program::with_poll(&TWO).await;
    let browser = Chromium::start(PHONE).await;
    browser.visit(program.address(), "/").await;
    browser
        .script(
            "window.keys = []; const send = window.fetch; \
             window.fetch = (url, options) => { keys.push(options.headers['Idempotency-Key']); return send(url, options); };",
        )
        .await;
    for _ in 0..3 {
        browser.click(".poster[data-numero=\"1\"]").await;
        browser.until(CONFIRMED).await;
        browser.click("#vote-again").await;
    }
    browser
        .until("new Set(keys).size === 3 && keys.every((key) => /^[0-9a-f]{32}$/.test(key))")
        .await;
    assert_eq!(program.settled_votes().await, [3, 0]);
}

//! Numbers as they come, until they are final.

use crate::chromium::{Chromium, DESKTOP, PHONE};
use crate::program::Program;
use crate::relay::{Line, Relay};

const THREE: [&str; 3] = ["Ana Clara", "Gustavo Henrique", "Bia"];

#[tokio::test(flavor = "multi_thread")]
async fn numbers_move_while_votes_come_and_end_exact_and_final() {
    let program = Program::with_poll(&THREE).await;
    let browser = Chromium::start(PHONE).await;
    browser.visit(program.address(), "/resultado").await;
    browser.until_text("#link-state", "Ao vivo").await;
    assert_eq!(browser.text("#verdict").await, "PARCIAL");
    for number in [1, 1, 2, 3] {
        program.vote(number);
    }
    browser
        .until_text(".bar[data-numero=\"1\"] .bar-percent", "50,00%")
        .await;
    browser
        .until_text(".bar[data-numero=\"3\"] .bar-percent", "25,00%")
        .await;
    browser.assert_fits().await;
    browser.screenshot("resultado-360").await;
    let exact = "document.querySelector('.grand-total').hidden";
    browser.until(exact).await;

    program.close();
    browser.until_text("#phase-text", "encerrada").await;
    browser.until_text("#verdict", "RESULTADO FINAL").await;
    browser.until_text(".grand-total", "4 VOTOS").await;
    browser
        .until_text(".bar[data-numero=\"1\"] .bar-votes", "2 votos")
        .await;
    browser.screenshot("resultado-final-360").await;
    browser.resize(DESKTOP);
    browser.screenshot("resultado-final-1280").await;
    assert_eq!(browser.complaints(), Vec::<String>::new());

    browser.visit(program.address(), "/resultado").await;
    assert!(
        browser.text(".grand-total").await.contains("4 VOTOS"),
        "rendered by the server"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_may_be_old_say_so_until_the_line_is_back() {
    let program = Program::with_poll(&THREE).await;
    let relay = Relay::before(program.address()).await;
    let browser = Chromium::start(DESKTOP).await;
    browser.visit(relay.address(), "/resultado").await;
    browser.until_text("#link-state", "Ao vivo").await;
    browser.screenshot("resultado-1280").await;

    relay.turn(Line::Cut);
    browser.until_text("#link-state", "Sem conexão").await;
    browser.until_text("#data-age", "Podem ter mudado").await;
    browser.screenshot("resultado-1280-stale").await;
    program.vote(2);

    relay.turn(Line::Open);
    browser.until_text("#link-state", "Ao vivo").await;
    browser
        .until_text(".bar[data-numero=\"2\"] .bar-percent", "100,00%")
        .await;
}

/// Makes the page believe that time has passed, as after a phone's sleep.
const LATER: &str = "const real = Date.now; Date.now = () => real() + 30_000";

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_died_without_a_word_is_made_anew_and_brings_the_end() {
    let program = Program::with_poll(&THREE).await;
    let relay = Relay::before(program.address()).await;
    let browser = Chromium::start(PHONE).await;
    browser.visit(relay.address(), "/resultado").await;
    browser.until_text("#link-state", "Ao vivo").await;

    relay.silence_streams();
    program.vote(2);
    program.settled_votes().await;
    assert_eq!(
        browser.text(".bar[data-numero=\"2\"] .bar-percent").await,
        "0,00%",
        "the stream is dead"
    );
    browser.script(LATER).await;
    browser
        .until_text(".bar[data-numero=\"2\"] .bar-percent", "100,00%")
        .await;
    program.close();
    browser.until_text("#phase-text", "encerrada").await;
    browser.until_text(".grand-total", "1 VOTO").await;
    browser.until_text("#verdict", "RESULTADO FINAL").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_stream_the_page_asks_says_so_and_still_ends_with_exact_numbers() {
    let program = Program::with_poll(&THREE).await;
    let relay = Relay::before(program.address()).await;
    relay.turn(Line::RefusesStreams);
    let browser = Chromium::start(PHONE).await;
    browser.visit(relay.address(), "/resultado").await;
    browser
        .until_text("#link-state", "Sem transmissão ao vivo")
        .await;
    program.vote(3);
    browser
        .until_text(".bar[data-numero=\"3\"] .bar-percent", "100,00%")
        .await;
    browser
        .until_text("#data-age", "a cada poucos segundos")
        .await;
    browser.assert_fits().await;
    browser.screenshot("resultado-360-asking").await;

    program.close();
    program.until_state("encerrado").await;
    program.until_state("final").await;
    browser.until_text("#verdict", "RESULTADO FINAL").await;
    assert_eq!(browser.text("#link-state").await, "", "it ages no more");
    relay.turn(Line::Open);
    browser.until_text(".grand-total", "1 VOTO").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn results_need_no_javascript() {
    let program = Program::with_poll(&THREE).await;
    program.vote(1);
    program.settled_votes().await;
    let browser = Chromium::start(PHONE).await;
    browser.forbid_scripts();
    browser.visit(program.address(), "/p/teste/resultado").await;
    assert_eq!(
        browser.text(".bar[data-numero=\"1\"] .bar-percent").await,
        "100,00%"
    );
    assert!(browser.text("noscript").await.contains("recarregue"));
    browser.screenshot("resultado-360-noscript").await;
}

//! Two polls at once: a page stays with the one it shows, whatever the bare addresses mean by now.

use std::time::Duration;

use crate::chromium::{Chromium, DESKTOP, PHONE, Screen};
use crate::program::{Draft, Program, TESTE};

const TWO: [&str; 2] = ["Ana Clara", "Gustavo Henrique"];
const OUTRA: Draft = Draft {
    slug: "outra",
    title: "Quem leva o carro?",
    candidates: &["Zeca", "Yara"],
};

/// A page of the bare addresses whose poll is no longer the one that they mean.
async fn page_left_behind(path: &str, screen: Screen) -> (Program, Chromium) {
    let program = Program::with_poll(&TWO).await;
    let browser = Chromium::start(screen).await;
    browser.visit(program.address(), path).await;
    program.open_another(&OUTRA).await;
    (program, browser)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tap_counts_for_the_poll_on_the_screen_though_another_was_opened_meanwhile() {
    let (program, browser) = page_left_behind("/", PHONE).await;
    browser.click(".poster[data-numero=\"1\"]").await;
    browser
        .until("!document.querySelector('#confirmation').hidden")
        .await;
    assert_eq!(browser.text(".confirmed .poster-name").await, "ANA CLARA");
    assert_eq!(program.settled_votes_of(TESTE).await, [1, 0]);
    assert_eq!(program.settled_votes_of(OUTRA.slug).await, [0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vote_after_the_end_is_told_so_and_shown_the_way_to_the_poll_that_is_open() {
    let (program, browser) = page_left_behind("/", PHONE).await;
    program.close();
    program.until_state("encerrado").await;
    browser.click(".poster[data-numero=\"1\"]").await;
    browser
        .until_text("#problem-title", "A VOTAÇÃO ENCERROU")
        .await;
    let told = browser.text(".problem-text").await;
    assert!(
        told.contains("Ana Clara") && told.contains("não foi registrado"),
        "{told}"
    );
    browser.until_text("#elsewhere", "QUEM LEVA O CARRO?").await;
    browser.assert_fits().await;
    browser.screenshot("closed-360-elsewhere").await;
    browser.resize(DESKTOP);
    browser.night();
    browser.screenshot("closed-1280-elsewhere-night").await;

    browser.click("#elsewhere a").await;
    browser.until_text("h1", "QUEM LEVA O CARRO?").await;
    browser.click(".poster[data-numero=\"2\"]").await;
    browser
        .until("!document.querySelector('#confirmation').hidden")
        .await;
    assert_eq!(program.settled_votes_of(OUTRA.slug).await, [0, 1]);
    assert_eq!(program.settled_votes_of(TESTE).await, [0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn results_stay_with_their_poll_to_its_end_and_then_show_the_way_on() {
    let (program, browser) = page_left_behind("/resultado", PHONE).await;
    program.vote_in(OUTRA.slug, 2);
    program.settled_votes_of(OUTRA.slug).await;
    program.vote_in(TESTE, 1);
    browser
        .until_text(".bar[data-numero=\"1\"] .bar-percent", "100,00%")
        .await;
    assert_eq!(
        browser.text(".bar[data-numero=\"2\"] .bar-percent").await,
        "0,00%"
    );
    program.vote_in(OUTRA.slug, 2);
    program.close();
    browser.until_text("#phase-text", "encerrada").await;
    browser.until_text("#verdict", "RESULTADO FINAL").await;
    browser.until_text(".grand-total", "1 VOTO").await;
    browser.until_text("#elsewhere", "QUEM LEVA O CARRO?").await;
    browser.assert_fits().await;
    browser.screenshot("resultado-360-elsewhere").await;
    assert_eq!(browser.complaints(), Vec::<String>::new());

    browser.forbid_scripts();
    browser.visit(program.address(), "/p/teste/resultado").await;
    assert!(
        browser
            .text("#elsewhere")
            .await
            .contains("QUEM LEVA O CARRO?"),
        "rendered by the server"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_waits_for_its_poll_shows_the_way_to_one_that_is_open_already() {
    let program = Program::with_scheduled_poll(&TWO).await;
    let browser = Chromium::start(DESKTOP).await;
    browser.visit(program.address(), "/").await;
    browser.until_text("main", "AINDA NÃO COMEÇOU").await;
    program.open_another(&OUTRA).await;
    // The page may have asked just before; then it asks again within 40 s.
    let is_shown = "document.querySelector('#elsewhere').innerText.includes('QUEM LEVA O CARRO?')";
    browser.until_within(Duration::from_mins(1), is_shown).await;
    browser.screenshot("scheduled-1280-elsewhere").await;
    browser.click("#elsewhere a").await;
    browser.until_text("h1", "QUEM LEVA O CARRO?").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn results_of_a_poll_that_opens_send_nobody_to_the_other_one_any_more() {
    let program = Program::with_scheduled_poll(&TWO).await;
    program.open_another(&OUTRA).await;
    let browser = Chromium::start(PHONE).await;
    browser.visit(program.address(), "/p/teste/resultado").await;
    browser.until_text("#elsewhere", "QUEM LEVA O CARRO?").await;
    program.open();
    browser.until_text("#phase-text", "aberta").await;
    let is_hidden = "document.querySelector('#elsewhere').hidden";
    browser.until(is_hidden).await;
}

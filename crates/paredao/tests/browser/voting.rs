//! From a tap to a confirmation.

use fantoccini::key::Key;
use serde_json::{Value, json};

use crate::chromium::{Chromium, DESKTOP, PHONE, SMALL_PHONE, Screen};
use crate::program::Program;

const TWO: [&str; 2] = ["Ana Clara", "Gustavo Henrique"];

async fn vote_and_confirm(screen: Screen) {
    let program = Program::with_poll(&TWO).await;
    for number in [1, 2, 1] {
        program.vote(number);
    }
    assert_eq!(program.settled_votes().await, [2, 1]);
    let browser = Chromium::start(screen).await;
    browser.visit(program.address(), "/").await;
    browser.assert_fits().await;
    browser.screenshot(&format!("vote-{}", screen.width)).await;

    browser.click(".poster[data-numero=\"1\"]").await;
    browser
        .until("document.querySelector('main').dataset.cena === 'confirmation'")
        .await;
    assert_eq!(browser.text(".confirmed .poster-name").await, "ANA CLARA");
    assert_shares_add_up(&browser).await;
    let receipt = browser
        .script("return document.querySelector('.receipt-link').pathname")
        .await;
    let receipt = receipt.as_str().unwrap().strip_prefix("/recibo/").unwrap();
    assert_eq!(receipt.len(), 32);
    browser.assert_fits().await;
    browser
        .screenshot(&format!("confirm-{}", screen.width))
        .await;
    browser.night();
    browser
        .screenshot(&format!("confirm-{}-night", screen.width))
        .await;

    assert_eq!(program.settled_votes().await, [3, 1]);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

async fn assert_shares_add_up(browser: &Chromium) {
    let shares = browser
        .script("return [...document.querySelectorAll('#confirmation .bar-percent')].map((e) => e.textContent)")
        .await;
    let hundredths = |text: &Value| -> u32 {
        let digits: String = text
            .as_str()
            .unwrap()
            .chars()
            .filter(char::is_ascii_digit)
            .collect();
        digits.parse().unwrap()
    };
    let sum: u32 = shares.as_array().unwrap().iter().map(hundredths).sum();
    assert_eq!(sum, 10_000, "{shares}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vote_on_a_phone_is_confirmed_with_percentages() {
    vote_and_confirm(PHONE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vote_on_a_wide_screen_is_confirmed_with_percentages() {
    vote_and_confirm(DESKTOP).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn voting_again_counts_a_second_vote() {
    let program = Program::with_poll(&TWO).await;
    let browser = Chromium::start(PHONE).await;
    browser.visit(program.address(), "/p/teste/").await;
    for number in [1, 2] {
        browser
            .click(&format!(".poster[data-numero=\"{number}\"]"))
            .await;
        browser
            .until("!document.querySelector('#confirmation').hidden")
            .await;
        browser.click("#vote-again").await;
        browser
            .until("!document.querySelector('#wall').hidden")
            .await;
    }
    assert_eq!(program.settled_votes().await, [1, 1]);
    assert_eq!(program.account("duplicados"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keyboard_alone_is_enough_to_vote_and_to_vote_again() {
    let program = Program::with_poll(&TWO).await;
    let browser = Chromium::start(DESKTOP).await;
    browser.visit(program.address(), "/").await;
    tab_to(&browser, ".poster[data-numero=\"2\"]").await;
    browser.screenshot("vote-1280-focus").await;
    browser.press(Key::Enter).await;
    browser
        .until("document.activeElement?.id === 'confirmation-title'")
        .await;
    tab_to(&browser, "#vote-again").await;
    browser.press(Key::Enter).await;
    browser
        .until("document.activeElement?.dataset.numero === '2'")
        .await;
    browser.press(Key::Space).await;
    browser
        .until("document.activeElement?.id === 'confirmation-title'")
        .await;
    assert_eq!(program.settled_votes().await, [0, 2]);
}

async fn tab_to(browser: &Chromium, css: &str) {
    let focused = format!("return document.activeElement.matches('{css}')");
    for _ in 0..20 {
        browser.press(Key::Tab).await;
        if browser.script(&focused).await == true {
            return;
        }
    }
    panic!("twenty steps with the tab key never reach {css}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_screen_reader_hears_what_each_poster_does() {
    let program = Program::with_poll(&TWO).await;
    let browser = Chromium::start(PHONE).await;
    browser.visit(program.address(), "/").await;
    let tree = browser.devtools("Accessibility.getFullAXTree", &json!({}));
    let buttons: Vec<String> = tree["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|node| node["role"]["value"] == "button")
        .map(|node| node["name"]["value"].to_string().to_lowercase())
        .collect();
    assert_eq!(
        buttons,
        [
            "\"votar no 1 ana clara\"",
            "\"votar no 2 gustavo henrique\""
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_receipt_says_that_the_vote_is_there() {
    let program = Program::with_poll(&TWO).await;
    let browser = Chromium::start(PHONE).await;
    browser.visit(program.address(), "/").await;
    browser.click(".poster[data-numero=\"1\"]").await;
    browser
        .until("!document.querySelector('#confirmation').hidden")
        .await;
    program.settled_votes().await;
    browser.click(".receipt-link").await;
    browser.until_text(".receipt-state", "registrado").await;
    assert_eq!(browser.complaints(), Vec::<String>::new());

    browser
        .script("document.querySelector('.receipt-link').href = '/recibo/nunca-emitido'")
        .await;
    browser.click(".receipt-link").await;
    browser
        .until_text(".receipt-state", "não foi emitido por este sistema")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_candidates_fit_on_the_smallest_phone() {
    let names: Vec<String> = (1..=20)
        .map(|n| format!("Participante Extraordinária {n}"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let program = Program::with_poll(&names).await;
    let browser = Chromium::start(SMALL_PHONE).await;
    browser.visit(program.address(), "/").await;
    browser.assert_fits().await;
    browser.screenshot("vote-320-twenty").await;
    let smallest = "return Math.min(...[...document.querySelectorAll('.wall .poster')].map((p) => Math.min(p.offsetWidth, p.offsetHeight)))";
    assert!(browser.script(smallest).await.as_f64().unwrap() >= 48.0);
    browser.click(".poster[data-numero=\"20\"]").await;
    browser
        .until("!document.querySelector('#confirmation').hidden")
        .await;
    browser.assert_fits().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vote_after_the_end_gets_a_notice_and_a_way_to_the_numbers() {
    let program = Program::with_poll(&TWO).await;
    let browser = Chromium::start(PHONE).await;
    browser.visit(program.address(), "/").await;
    program.close();
    program.until_state("encerrado").await;
    browser.click(".poster[data-numero=\"1\"]").await;
    browser
        .until_text(
            "#problem-title",
            "A votação encerrou".to_uppercase().as_str(),
        )
        .await;
    browser
        .until("document.activeElement?.id === 'problem-title'")
        .await;
    assert_eq!(browser.text("#problem-results").await, "VER OS NÚMEROS");
    assert_eq!(browser.text(".foot").await, "", "nobody is invited to vote");
    browser.screenshot("closed-360").await;
    assert_eq!(program.settled_votes().await, [0, 0]);

    browser.visit(program.address(), "/").await;
    browser.until_text("h2", "ENCERRADA").await;
    assert_eq!(
        browser
            .script("return document.querySelectorAll('button').length")
            .await,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wall_closes_by_itself_when_the_countdown_is_over() {
    let program = Program::with_poll(&TWO).await;
    let browser = Chromium::start(PHONE).await;
    program.close();
    program.until_end_is_known().await;
    browser.visit(program.address(), "/").await;
    browser.until_text(".countdown-time", "0:0").await;
    browser
        .until("!document.querySelector('#problem').hidden")
        .await;
    assert_eq!(browser.text("#problem-title").await, "A VOTAÇÃO ENCERROU");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_opened_early_shows_the_wall_once_the_poll_opens() {
    let program = Program::with_scheduled_poll(&TWO).await;
    let browser = Chromium::start(PHONE).await;
    browser.visit(program.address(), "/").await;
    browser.until_text("main", "AINDA NÃO COMEÇOU").await;
    browser.screenshot("scheduled-360").await;
    program.open();
    browser
        .until("document.querySelector('button.poster:not([disabled])')")
        .await;
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_javascript_the_page_says_that_it_cannot_vote() {
    let program = Program::with_poll(&TWO).await;
    let browser = Chromium::start(PHONE).await;
    browser.forbid_scripts();
    browser.visit(program.address(), "/").await;
    assert!(
        browser
            .text("noscript")
            .await
            .contains("ATIVE O JAVASCRIPT")
    );
    assert!(!browser.text(".poster").await.is_empty());
    browser.screenshot("vote-360-noscript").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_poll_the_page_says_what_to_do_next() {
    let program = Program::empty().await;
    let browser = Chromium::start(PHONE).await;
    browser.visit(program.address(), "/").await;
    assert!(browser.text("main").await.contains("paredao poll create"));
    browser.assert_fits().await;
    browser.screenshot("no-poll-360").await;
    browser.visit(program.address(), "/nada/aqui").await;
    assert!(browser.text("h1").await.contains("ELIMINADA"));
    browser.screenshot("not-found-360").await;
}

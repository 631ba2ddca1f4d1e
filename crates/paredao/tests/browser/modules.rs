//! The pages' pure modules, run where they run: in the browser.

use crate::chromium::{Chromium, PHONE};
use crate::program::Program;

#[tokio::test(flavor = "multi_thread")]
async fn the_modules_keep_their_promises() {
    let program = Program::empty().await;
    let browser = Chromium::start(PHONE).await;
    browser.visit(program.address(), "/").await;
    let report = browser
        .async_script(include_str!("modules.js"), "/static".into())
        .await;
    let failures = report["failures"].as_array().unwrap();
    assert!(failures.is_empty(), "{failures:#?}");
    assert_eq!(report["passed"], 45);
}

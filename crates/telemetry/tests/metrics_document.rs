//! `docs/metrics.md` is written from the code and stays so.

use std::path::Path;

use paredao_telemetry::metrics;

#[test]
fn the_document_says_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let document = metrics::document();
    if std::env::var_os("PAREDAO_BLESS").is_some() {
        std::fs::write(&path, &document).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    assert!(
        written == document,
        "docs/metrics.md is out of date: PAREDAO_BLESS=1 cargo test -p paredao-telemetry --test metrics_document"
    );
}

//! Replays the corpus of the fuzz targets: what once was interesting stays covered.

#![expect(
    clippy::expect_used,
    reason = "a failed assumption in a test is a failed test"
)]

use std::path::Path;

#[path = "../fuzz/checks.rs"]
mod checks;

fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let files = std::fs::read_dir(&folder).expect("the corpus is in git");
    let mut replayed = 0;
    for file in files {
        let path = file.expect("a readable folder").path();
        check(&std::fs::read(&path).expect("a readable file"));
        replayed += 1;
    }
    assert!(replayed > 0, "{} holds no inputs", folder.display());
}

#[test]
fn the_corpus_of_votes_holds() {
    replay("vote", checks::vote);
}

#[test]
fn the_corpus_of_headers_holds() {
    replay("headers", checks::headers);
}

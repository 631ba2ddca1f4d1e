//! One process uses a data folder at a time, and only one that can read it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::support::{Done, Home};

fn serve(home: &Home) -> Done {
    home.run(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--metrics-listen",
        "127.0.0.1:0",
        "--log-level",
        "off",
    ])
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn everything_in_the_folder_is_its_owners_alone() {
    let home = Home::new();
    let program = home.serve(&["--demo"]);
    assert_eq!(mode(&home.data()), 0o700);
    for entry in fs::read_dir(home.data()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path) & 0o077, 0, "{}", path.display());
    }
    program.stop();
}

#[test]
fn a_folder_in_use_is_refused_with_the_pid_of_its_user() {
    let home = Home::new();
    let program = home.serve(&[]);
    let expected = format!(
        "paredao: data_dir: ./paredao-data is in use by another process (pid {})",
        program.pid()
    );
    assert_eq!(serve(&home).refusal(), expected);
    program.stop();
    home.serve(&[]).stop();
}

#[test]
fn the_lock_of_a_killed_process_is_free() {
    let home = Home::new();
    home.serve(&["--demo"]).kill();
    home.serve(&["--demo"]).stop();
}

#[test]
fn where_a_file_stands_in_place_of_the_folder_it_is_refused() {
    let home = Home::new();
    home.write("paredao-data", "");
    let done = serve(&home);
    let line = done.refusal();
    assert!(
        line.starts_with("paredao: data_dir: ./paredao-data cannot be made: "),
        "{line}"
    );
}

/// Permissions do not hold root back, so the folder lies on /proc, where nobody makes files.
#[test]
fn a_folder_that_cannot_be_written_is_refused() {
    let home = Home::new();
    let done = home.run(&[
        "serve",
        "--data-dir",
        "/proc/self",
        "--log-level",
        "off",
        "--control-socket",
        "s",
        "--listen",
        "127.0.0.1:0",
        "--metrics-listen",
        "127.0.0.1:0",
    ]);
    let line = done.refusal();
    assert!(
        line.starts_with("paredao: data_dir: /proc/self cannot be written: "),
        "{line}"
    );
}

#[test]
fn a_folder_made_by_a_newer_version_is_refused_and_left_as_it_is() {
    let home = Home::new();
    home.serve(&["--demo"]).stop();
    fs::write(home.data().join("format"), "2\n").unwrap();
    let expected = "paredao: data_dir: ./paredao-data was made by a newer version (format 2, this one reads 1)";
    assert_eq!(serve(&home).refusal(), expected);
    assert_eq!(home.run(&["poll", "list"]).refusal(), expected);
    assert_eq!(
        fs::read_to_string(home.data().join("format")).unwrap(),
        "2\n"
    );
}

#[test]
fn a_store_of_a_newer_version_is_refused() {
    let home = Home::new();
    home.serve(&["--demo"]).stop();
    let store = rusqlite::Connection::open(home.data().join("store.sqlite")).unwrap();
    store.pragma_update(None, "user_version", 99).unwrap();
    drop(store);
    let done = serve(&home);
    assert!(
        done.refusal()
            .contains("store.sqlite was written by a newer release (schema 99"),
        "{done:?}"
    );
}

#[test]
fn a_folder_that_lost_its_store_is_refused_and_not_begun_anew() {
    let home = Home::new();
    home.serve(&["--demo"]).stop();
    let store = home.data().join("store.sqlite");
    let copy = fs::read(&store).unwrap();
    fs::remove_file(&store).unwrap();
    let expected = "paredao: data_dir: ./paredao-data has lost the file store.sqlite, which held \
                    polls and votes: put it or a copy back; to begin anew, choose another folder";
    assert_eq!(serve(&home).refusal(), expected);
    assert_eq!(home.run(&["poll", "list"]).refusal(), expected);
    assert!(!store.exists());

    fs::write(&store, "").unwrap();
    let done = serve(&home);
    assert_eq!(done.code, Some(1), "{done:?}");
    let line = done.stderr.trim_end();
    assert!(
        line.contains("store.sqlite is empty") && line.lines().count() == 1,
        "{line}"
    );
    assert_eq!(fs::metadata(&store).unwrap().len(), 0);

    fs::write(&store, copy).unwrap();
    home.serve(&["--demo"]).stop();
}

#[test]
fn a_start_that_was_killed_before_the_store_was_made_can_be_made_again() {
    let home = Home::new();
    fs::create_dir(home.data()).unwrap();
    for half in ["store.sqlite.new", "store.sqlite.new-journal", "lock"] {
        fs::write(home.data().join(half), "half").unwrap();
    }
    home.serve(&["--demo"]).stop();
    assert!(!home.data().join("store.sqlite.new").exists());
    home.serve(&["--demo"]).stop();
}

#[test]
fn commands_make_no_folder_except_the_one_that_creates_a_poll() {
    let home = Home::new();
    let line = home.run(&["poll", "list"]);
    assert_eq!(
        line.refusal(),
        "paredao: data_dir: ./paredao-data does not exist; `paredao serve` makes it"
    );
    assert!(!home.data().exists());
    home.open_poll("novo");
    assert!(home.data().exists());
}

//! The control socket: private, bounded, and deaf to garbage.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Home, Program, eventually, poll_file};

fn connect(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

/// Sends bytes, and reads the one line that comes back.
fn answer(socket: &Path, request: &[u8]) -> Value {
    let mut stream = connect(socket);
    // A server that has read enough may close before everything is written.
    let _ = stream.write_all(request);
    let _ = stream.shutdown(Shutdown::Write);
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or(Value::Null)
}

fn refusal(socket: &Path, request: &[u8]) -> String {
    let answer = answer(socket, request);
    assert_eq!(answer["refused"]["fault"], "misuse", "{answer}");
    answer["refused"]["message"].as_str().unwrap().to_owned()
}

#[test]
fn the_socket_is_its_owners_alone_also_outside_the_data_folder() {
    let home = Home::new();
    let socket = home.path().join("own.sock");
    let program = home.serve(&["--control-socket", "own.sock"]);
    assert_eq!(
        fs::metadata(&socket).unwrap().permissions().mode() & 0o777,
        0o600
    );
    home.good(&["health", "--control-socket", "own.sock"]);
    assert!(!home.socket().exists());
    program.stop();
    assert!(!socket.exists());
}

#[test]
fn garbage_is_refused_in_words_and_the_next_command_is_served() {
    let home = Home::new();
    let program = home.serve(&["--demo"]);
    let socket = home.socket();
    assert!(refusal(&socket, b"hello\n").starts_with("not a request: "));
    assert!(refusal(&socket, b"{}\n").starts_with("not a request: missing field `version`"));
    assert!(
        refusal(&socket, b"{\"version\":1,\"task\":\"dance\"}\n")
            .contains("unknown variant `dance`")
    );
    assert!(
        refusal(&socket, b"{\"version\":1,\"task\":\"polls\",\"x\":1}\n")
            .contains("unknown field `x`")
    );
    assert!(refusal(&socket, &[0xff, 0xfe, b'\n']).starts_with("not a request: "));
    let deep = [
        b"{\"version\":1,\"task\":".as_slice(),
        &b"[".repeat(50_000),
        b"\n",
    ]
    .concat();
    assert!(refusal(&socket, &deep).starts_with("not a request: "));
    assert_eq!(
        refusal(&socket, &b"x".repeat(65_536)),
        "a request is one line of at most 64 KiB"
    );
    assert_eq!(
        answer(&socket, b""),
        Value::Null,
        "whoever says nothing hears nothing"
    );
    home.good(&["health"]);
    program.stop();
}

#[test]
fn another_version_of_the_protocol_is_refused_with_both_numbers() {
    let home = Home::new();
    let program = home.serve(&[]);
    let refused = refusal(
        &home.socket(),
        b"{\"version\":2,\"task\":{\"of\":\"tomorrow\"}}\n",
    );
    assert_eq!(
        refused,
        "the command speaks version 2 of the control protocol, the process 1: use the same release"
    );
    program.stop();
}

#[test]
fn commands_that_say_nothing_keep_nobody_waiting() {
    let home = Home::new();
    let program = home.serve(&[]);
    // Fewer than are served at once, and then as many: the last one has to wait for a time-out.
    let silent: Vec<UnixStream> = (0..16).map(|_| connect(&home.socket())).collect();
    home.good(&["health"]);
    for mut stream in silent {
        assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0, "it was closed");
    }
    program.stop();
}

#[test]
fn a_command_that_is_under_way_when_the_process_stops_is_told_what_became_of_it() {
    let home = Home::new();
    let mut command = home.command();
    // The poll is there long before whoever made it hears so.
    command.env("PAREDAO_FAILPOINTS", "store.checkpoint.before=delay:1500ms");
    let mut program = Program::start(&home, command, &[]);
    let file = home.write("um.toml", &poll_file("um"));
    let create = ["poll", "create", file.to_str().unwrap()];
    thread::scope(|scope| {
        let creation = scope.spawn(|| home.run(&create));
        eventually("the poll is there", || {
            program.get("/p/um/parcial").status == 200
        });
        program.signal(Signal::INT);
        let done = creation.join().unwrap();
        assert_eq!(done.code, Some(0), "{done:?}");
    });
    assert_eq!(program.wait().code(), Some(0));
}

#[test]
fn what_a_dead_process_left_is_replaced_and_what_a_living_one_holds_is_not() {
    let home = Home::new();
    home.serve(&[]).kill();
    assert!(home.socket().exists());
    home.serve(&[]).stop();

    let _other = UnixListener::bind(home.path().join("taken.sock")).unwrap();
    home.write("file.sock", "");
    for (socket, expected) in [
        ("taken.sock", "is in use by another process"),
        ("file.sock", "is there already and is no socket"),
    ] {
        let done = home.run(&[
            "serve",
            "--control-socket",
            socket,
            "--log-level",
            "off",
            "--listen",
            "127.0.0.1:0",
            "--metrics-listen",
            "127.0.0.1:0",
        ]);
        assert_eq!(
            done.refusal(),
            format!("paredao: control_socket: {socket} {expected}")
        );
    }
}

#[test]
fn a_process_that_does_not_answer_is_not_waited_for_for_ever() {
    let home = Home::new();
    let listener = UnixListener::bind(home.path().join("mute.sock")).unwrap();
    let mute = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(stream).lines();
        lines.next().unwrap().unwrap();
        // The connection stays open until the command has had enough.
        assert!(lines.next().is_none_or(|line| line.is_err()));
    });
    let done = home.run(&["health", "--control-socket", "mute.sock"]);
    assert_eq!(
        (done.code, done.stderr.as_str()),
        (Some(1), "paredao: the process does not answer\n")
    );
    mute.join().unwrap();
}

#[test]
fn a_process_that_hangs_up_is_said_to_have_gone() {
    let home = Home::new();
    let listener = UnixListener::bind(home.path().join("rude.sock")).unwrap();
    let rude = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        BufReader::new(stream)
            .read_line(&mut String::new())
            .unwrap();
    });
    let done = home.run(&["health", "--control-socket", "rude.sock"]);
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.contains("the process went away"), "{done:?}");
    rude.join().unwrap();
}

#[test]
fn a_command_against_a_store_that_is_stuck_is_given_up_and_says_so() {
    let home = Home::new();
    let mut command = home.command();
    command.env("PAREDAO_FAILPOINTS", "store.apply.before_commit=delay:60s");
    let program = Program::start(&home, command, &["--demo"]);
    assert_eq!(program.vote(1, None).status, 200);
    eventually("the vote is being applied", || {
        program.metric("paredao_consumer_lane_owned") > 0.0
    });
    let done = home.run(&["poll", "close", "demo"]);
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.stderr.contains("given up after 10 s"), "{done:?}");
    home.good(&["poll", "list"]);
    program.kill();
}

#[test]
fn logs_change_their_level_and_go_back_by_themselves() {
    let home = Home::new();
    let mut program = home.serve(&["--demo"]);
    home.good(&["logging", "level", "debug", "--for", "1s"]);
    program.event("log_level_returned");
    home.good(&["logging", "level", "error"]);
    home.good(&["poll", "close", "demo"]);
    assert_eq!(
        program.events("poll_closed").len(),
        0,
        "an info is no longer written"
    );
    let done = home.run(&["logging", "level", "loud"]);
    assert!(done.refusal().contains("`loud` sets no level"));
    program.stop();
}

#[test]
fn a_command_sees_its_change_on_the_page_at_once() {
    let home = Home::new();
    let program = home.serve(&["--refresh-ms", "60000", "--close-lead-ms", "60001"]);
    home.open_poll("agora");
    assert_eq!(program.get("/parcial").body["poll"], json!("agora"));
    eventually("a vote is taken", || program.vote(1, None).status == 200);
    // (Its books are read at the next refresh, in a minute.)
    program.stop_whatever_its_books_say();
}

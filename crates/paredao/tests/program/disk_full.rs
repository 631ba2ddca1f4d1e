//! A full disk: votes are refused in words, nothing is corrupt, and with room it goes on by itself.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::geteuid;

use crate::http::Connection;
use crate::support::{Home, Program, eventually};

/// Room for the store, its journal and a few segments.
const DISK: &str = "size=12m";
const SMALL_SEGMENTS: &[&str] = &[
    "--demo",
    "--control-socket",
    "control.sock",
    "--segment-bytes",
    "65536",
    "--batch-votes-max",
    "1000",
    "--append-deadline-ms",
    "300",
    "--refresh-ms",
    "100",
];

/// A small disk of its own under the data folder, in a namespace that goes with the program.
fn serve_on_small_disk(home: &Home) -> (Program, PathBuf) {
    fs::create_dir(home.data()).unwrap();
    let script = format!("mount -t tmpfs -o {DISK} tmpfs \"$1\" && shift && exec \"$@\"");
    let mut command = Command::new("unshare");
    // Root may mount without it, also where user namespaces are forbidden (.ci/setup.sh checks both).
    if !geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--mount", "sh", "-c", &script, "sh"]);
    command.arg(home.data()).arg(env!("CARGO_BIN_EXE_paredao"));
    let program = Program::start(home, home.prepared(command), SMALL_SEGMENTS);
    let seen_from_here = Path::new("/proc")
        .join(program.pid().to_string())
        .join("root");
    let disk = seen_from_here.join(home.data().strip_prefix("/").unwrap());
    (program, disk)
}

/// Takes all the room there is.
fn fill(disk: &Path) -> PathBuf {
    let path = disk.join("ballast");
    let mut ballast = fs::File::create(&path).unwrap();
    for size in [64 * 1024, 4096, 512, 1] {
        while ballast.write_all(&vec![0; size]).is_ok() {}
    }
    path
}

/// Votes under keys of their own until one is refused; returns how many were answered, and the
/// refused key with the problem.
fn vote_until_refused(connection: &mut Connection) -> (u64, String, crate::http::Answer) {
    for number in 0_u64.. {
        let key = format!("vote-on-a-full-disk-{number}");
        let answer = connection.vote(1, Some(&key)).unwrap();
        if answer.status != 200 {
            return (number, key, answer);
        }
    }
    unreachable!("the numbers do not end before the disk does")
}

#[test]
fn a_full_disk_refuses_votes_and_takes_them_again_when_there_is_room() {
    let home = Home::new();
    let (program, disk) = serve_on_small_disk(&home);
    let mut connection = program.connect();
    assert_eq!(connection.vote(2, None).unwrap().status, 200);
    let ballast = fill(&disk);

    let (answered, refused_key, refusal) = vote_until_refused(&mut connection);
    assert_eq!(refusal.status, 503);
    assert!(
        ["log-unavailable", "outcome-unknown"].contains(&refusal.problem()),
        "{refusal:?}"
    );
    let wait: u64 = refusal.header("retry-after").unwrap().parse().unwrap();
    assert!(wait >= 1);
    assert_eq!(program.get("/live").status, 200);
    assert_eq!(program.get("/parcial").status, 200, "readers are served");
    eventually("it is not ready", || program.get("/ready").status == 503);

    fs::remove_file(ballast).unwrap();
    eventually("the same vote is taken", || {
        connection.vote(1, Some(&refused_key)).unwrap().status == 200
    });
    eventually("it is ready again", || program.get("/ready").status == 200);
    // The refused vote may have been stored at its first try: then the later one is its copy.
    let expected = 1 + answered + 1;
    eventually("everything answered is counted, once", || {
        let total = program.get("/total").body;
        total["contas"]["em_voo"] == 0 && total["total"] == expected
    });
    let recount = home.json(&["recount", "--keys", "--control-socket", "control.sock"]);
    assert_eq!(recount["counted"], expected);
    program.stop();
}

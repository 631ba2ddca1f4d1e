//! Health, for containers: an exit status and the reason.

use crate::support::{Home, Program, eventually};

#[test]
fn a_ready_process_is_status_0_and_none_is_status_1() {
    let home = Home::new();
    let done = home.run(&["health"]);
    assert_eq!(done.code, Some(1));
    assert_eq!(
        done.stderr,
        "paredao: no process is running on the data folder ./paredao-data\n"
    );
    let program = home.serve(&[]);
    assert_eq!(home.good(&["health"]), "ready\n");
    assert_eq!(home.json(&["health"])["ready"], true);
    program.stop();
}

#[test]
fn a_process_whose_log_takes_nothing_is_status_1_with_the_reason() {
    let home = Home::new();
    let mut command = home.command();
    command.env("PAREDAO_FAILPOINTS", "log.append.before_write=error:eio");
    let arguments = ["--demo", "--append-deadline-ms", "200"];
    let program = Program::start(&home, command, &arguments);
    assert_eq!(program.vote(1, None).status, 503);
    eventually("it is unready", || home.run(&["health"]).code == Some(1));
    let done = home.run(&["health"]);
    assert_eq!(
        done.stdout,
        "not ready\n  intake: the vote log takes no votes\n"
    );
    assert_eq!(program.get("/live").status, 200);
    program.kill();
}

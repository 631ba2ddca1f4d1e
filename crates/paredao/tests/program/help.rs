//! The help of every command is complete, and changes only on purpose.

use crate::support::Home;

const COMMANDS: &[&str] = &[
    "",
    "serve",
    "config",
    "poll",
    "poll create",
    "poll open",
    "poll close",
    "poll extend",
    "poll list",
    "poll show",
    "vote-log",
    "vote-log status",
    "dead-letters",
    "dead-letters list",
    "dead-letters show",
    "dead-letters requeue",
    "dead-letters write-off",
    "recount",
    "health",
    "logging",
    "logging level",
];

fn help(command: &str) -> String {
    let words: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
    Home::new().good(&words)
}

#[test]
fn every_command_has_its_help() {
    for command in COMMANDS {
        let name = if command.is_empty() {
            "paredao"
        } else {
            command
        };
        insta::assert_snapshot!(name.replace(' ', "_"), help(command));
    }
}

#[test]
fn no_command_is_missing_among_those_whose_help_is_kept() {
    for command in COMMANDS {
        let text = help(command);
        let Some((_, listed)) = text.split_once("Commands:\n") else {
            continue;
        };
        let listed = listed.lines().take_while(|line| !line.is_empty());
        for name in listed.filter_map(|line| line.split_whitespace().next()) {
            let full = format!("{command} {name}").trim().to_owned();
            assert!(COMMANDS.contains(&full.as_str()), "{full}");
        }
    }
}

#[test]
fn a_command_without_its_arguments_is_status_2() {
    for arguments in [
        &["poll"][..],
        &["poll", "open"],
        &["poll", "extend", "x"],
        &["frobnicate"],
    ] {
        assert_eq!(Home::new().run(arguments).code, Some(2), "{arguments:?}");
    }
}

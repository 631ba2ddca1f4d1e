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
    "vote-log missing",
    "vote-log write-off",
    "vote-log write-off-segments",
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
fn wrong_usage_is_refused_in_one_line_with_status_2() {
    let home = Home::new();
    assert_eq!(
        home.run(&["serve", "--lisen", "127.0.0.1:0"]).refusal(),
        "paredao: unexpected argument '--lisen' found; tip: a similar argument exists: '--listen'; \
         see `paredao serve --help`"
    );
    for arguments in [
        &["poll", "open"][..],
        &["poll", "extend", "x"],
        &["poll", "show", "Não"],
        &["frobnicate"],
    ] {
        let done = home.run(arguments);
        assert!(done.refusal().contains("; see `paredao"), "{done:?}");
        assert_eq!(done.stdout, "");
    }
    assert!(!home.data().exists(), "nothing was made");
}

#[test]
fn a_command_without_a_word_about_what_to_do_shows_its_help_with_status_2() {
    for arguments in [&[][..], &["poll"]] {
        let done = Home::new().run(arguments);
        assert_eq!(done.code, Some(2), "{done:?}");
        assert!(done.stderr.contains("Commands:\n"), "{done:?}");
    }
}

#[test]
fn the_version_is_one_line_on_standard_output() {
    let version = concat!("paredao ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(Home::new().good(&["--version"]), version);
}

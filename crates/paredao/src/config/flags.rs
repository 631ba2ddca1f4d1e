//! The keys as flags of the command line.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::keys::{Default, KEYS, Key, Reach};
use super::kind::Kind;
use super::layers::Flag;

/// Under which the help of a command lists the flags that every command takes.
pub(crate) const PLACE_HEADING: &str = "Where the process and its files are";

/// Flags that every command takes: where the process and its files are.
#[derive(Clone, Debug)]
pub(crate) struct PlaceFlags(pub(crate) Vec<Flag>);

/// Flags of the commands that serve or show the configuration.
#[derive(Clone, Debug)]
pub(crate) struct ServeFlags(pub(crate) Vec<Flag>);

fn keys(reach: Reach) -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(move |key| key.reach == reach)
}

fn arg(key: &'static Key) -> Arg {
    let arg = Arg::new(key.name)
        .long(key.flag())
        .help(help(key))
        .action(ArgAction::Set);
    match key.kind {
        Kind::Switch => arg
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        _ => arg,
    }
    .value_name(key.kind.placeholder())
}

fn help(key: &Key) -> String {
    let default = match key.default {
        Default::Fixed(text) => text,
        Default::Derived { words, .. } => words,
    };
    format!(
        "{} [default: {default}] [env: {}]",
        key.help,
        key.variable()
    )
}

fn given(matches: &ArgMatches, reach: Reach) -> Vec<Flag> {
    let flag = |key: &'static Key| {
        let text = matches.get_one::<String>(key.name)?;
        Some(Flag {
            key,
            text: text.clone(),
        })
    };
    keys(reach).filter_map(flag).collect()
}

impl Args for PlaceFlags {
    fn augment_args(command: Command) -> Command {
        let place = |key| arg(key).global(true).help_heading(PLACE_HEADING);
        command.args(keys(Reach::Everywhere).map(place))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for PlaceFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(given(matches, Reach::Everywhere)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for ServeFlags {
    fn augment_args(command: Command) -> Command {
        command.args(keys(Reach::Serving).map(arg))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ServeFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(given(matches, Reach::Serving)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

//! How a command ends: exit statuses, and which errors are the caller's own.

use std::process::ExitCode;

/// Whether what was asked holds. A check that fails is no error: it did its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It does: exit status 0.
    Good,
    /// It does not: exit status 1.
    Bad,
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Good => Self::SUCCESS,
            Verdict::Bad => Self::from(1),
        }
    }
}

/// Wrong usage or configuration, in one line that names the key: exit status 2.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Misuse(pub(crate) String);

impl Misuse {
    /// What is wrong with a configuration key.
    pub(crate) fn of(key: &str, what: impl std::fmt::Display) -> Self {
        Self(format!("{key}: {what}"))
    }
}

/// The exit status of an error: 2 for the caller's own, 1 for everything else.
pub(crate) fn exit_code(error: &anyhow::Error) -> ExitCode {
    let own = error.chain().any(<dyn std::error::Error>::is::<Misuse>);
    ExitCode::from(if own { 2 } else { 1 })
}

/// An error and its causes in one line.
pub(crate) fn one_line(error: &anyhow::Error) -> String {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    causes.join(": ").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};

    use super::*;

    #[test]
    fn misuse_is_status_2_however_deep_it_lies_and_the_rest_is_1() {
        let misuse = anyhow::Error::from(Misuse::of("listen", "no address")).context("starting");
        assert_eq!(exit_code(&misuse), ExitCode::from(2));
        assert_eq!(exit_code(&anyhow!("disk on fire")), ExitCode::from(1));
    }

    #[test]
    fn an_error_is_one_line_with_its_causes() {
        let error: anyhow::Error = Err::<(), _>(anyhow!("no\nspace"))
            .context("writing")
            .unwrap_err();
        assert_eq!(one_line(&error), "writing: no space");
    }
}

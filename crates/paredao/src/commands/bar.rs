//! A bar for long work, where somebody watches.

use indicatif::{ProgressBar, ProgressStyle};

use crate::control::protocol::{Progress, Task};

const TEMPLATE: &str = "{bar:40} {percent:>3} %  {elapsed} (left: {eta})";

/// A bar on stderr; hidden where stderr is no terminal.
pub(super) struct Bar(ProgressBar);

impl Bar {
    /// Recounts get a bar.
    pub(super) fn for_task(task: &Task) -> Self {
        match task {
            Task::Recount { .. } => {
                let bar = ProgressBar::new(0);
                if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
                    bar.set_style(style);
                }
                Self(bar)
            }
            _ => Self(ProgressBar::hidden()),
        }
    }

    /// Shows how far it is.
    pub(super) fn show(&mut self, now: Progress) {
        if now.of > 0 {
            self.0.set_length(now.of);
            self.0.set_position(now.done);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

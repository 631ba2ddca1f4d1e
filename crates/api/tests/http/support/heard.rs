//! What the rooms log as an error, for tests of alarms.
//!
//! There is one log for all tests of a process: an alarm is told apart by a number that only its
//! test brings about.

use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber, subscriber};

static HEARD: Mutex<Vec<Alarm>> = Mutex::new(Vec::new());

/// An event and its fields, as text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Alarm(Vec<(&'static str, String)>);

impl Alarm {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(field, _)| *field == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Hears every error from now on.
pub(crate) fn listen() {
    // A second test of the same process finds it set.
    let _ = subscriber::set_global_default(Ear);
}

/// The alarms of that name so far.
pub(crate) fn alarms(event: &str) -> Vec<Alarm> {
    let heard = HEARD.lock().unwrap_or_else(PoisonError::into_inner);
    let named = heard
        .iter()
        .filter(|alarm| alarm.field("event") == Some(event));
    named.cloned().collect()
}

struct Ear;

impl Subscriber for Ear {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR
    }

    fn event(&self, event: &Event<'_>) {
        let mut alarm = Alarm::default();
        event.record(&mut alarm);
        HEARD
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(alarm);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Visit for Alarm {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push((field.name(), format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), value.to_owned()));
    }
}

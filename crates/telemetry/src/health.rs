//! What the process is made of, and whether it may be sent votes.
//!
//! A part of the program registers and keeps its [`Component`] as long as it works. The process is
//! ready while every component is and nobody stops it. A component that goes away without being
//! asked to — its thread panicked, its task returned — ends the process in an orderly way: the
//! program awaits [`Health::ended`] and then drains.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Serialize, Serializer};
use tokio::sync::watch;

/// The components of a process. Clones are handles to the same.
#[derive(Clone, Debug)]
pub struct Health {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    components: Mutex<Vec<ComponentReport>>,
    ending: watch::Sender<Option<Ending>>,
}

/// Why the process ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    /// Somebody asked it to: a signal, a command.
    Requested,
    /// A component went away on its own.
    ComponentDied(&'static str),
}

/// How a component is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum State {
    /// It does its work.
    Ready,
    /// It cannot at present, for this reason.
    Unready(String),
    /// It ended while the process was stopping, as it should.
    Ended,
    /// It went away while it was needed.
    Died,
}

/// A component in a report.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ComponentReport {
    /// Its name.
    pub name: &'static str,
    /// How it is.
    pub state: State,
}

/// The process at one instant; the body of `/ready`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Report {
    /// Whether it may be sent votes.
    pub ready: bool,
    /// Whether it is on its way out.
    pub stopping: bool,
    /// Its components, in the order in which they registered.
    pub components: Vec<ComponentReport>,
}

impl Health {
    /// Without components a process is ready.
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                components: Mutex::new(Vec::new()),
                ending: watch::Sender::new(None),
            }),
        }
    }

    /// Takes in a component that is not ready yet. It is to keep what it gets until its work ends.
    pub fn register(&self, name: &'static str) -> Component {
        let mut components = self.shared.components();
        components.push(ComponentReport {
            name,
            state: State::Unready("starting".to_owned()),
        });
        Component {
            shared: Arc::clone(&self.shared),
            place: components.len() - 1,
            name,
        }
    }

    /// Begins the end: the process is no longer ready, and whoever awaits [`Health::ended`] goes on.
    pub fn stop(&self) {
        self.shared.end(Ending::Requested);
    }

    /// Waits until the process is to end, and says why.
    pub async fn ended(&self) -> Ending {
        let mut ending = self.shared.ending.subscribe();
        match ending.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(ending)) => *ending,
            // The sender lives as long as `self`, and the condition asked for a value.
            Ok(None) | Err(_) => Ending::Requested,
        }
    }

    /// Whether the process may be sent votes.
    pub fn is_ready(&self) -> bool {
        !self.is_stopping() && all_ready(&self.shared.components())
    }

    /// Whether the process is on its way out.
    pub fn is_stopping(&self) -> bool {
        self.shared.is_stopping()
    }

    /// How everything is.
    pub fn report(&self) -> Report {
        let components = self.shared.components().clone();
        let stopping = self.is_stopping();
        Report {
            ready: !stopping && all_ready(&components),
            stopping,
            components,
        }
    }
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

fn all_ready(components: &[ComponentReport]) -> bool {
    components
        .iter()
        .all(|component| component.state == State::Ready)
}

impl Shared {
    fn components(&self) -> MutexGuard<'_, Vec<ComponentReport>> {
        // A change is one assignment: a panic elsewhere leaves the list whole.
        self.components
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopping(&self) -> bool {
        self.ending.borrow().is_some()
    }

    /// The first reason stands.
    fn end(&self, reason: Ending) {
        self.ending.send_if_modified(|ending| {
            let is_first = ending.is_none();
            ending.get_or_insert(reason);
            is_first
        });
    }
}

/// A component's own handle: it says how it is, and dropping it says that it ended.
#[derive(Debug)]
#[must_use = "a component that is dropped while the process runs ends the process"]
pub struct Component {
    shared: Arc<Shared>,
    place: usize,
    name: &'static str,
}

impl Component {
    /// It does its work.
    pub fn ready(&self) {
        if self.change(State::Ready) {
            tracing::info!(event = "component_ready", component = self.name);
        }
    }

    /// It cannot work at present; the reason is for the operator, so it holds no secret.
    pub fn unready(&self, reason: impl Into<String>) {
        let reason = reason.into();
        if self.change(State::Unready(reason.clone())) {
            tracing::warn!(event = "component_unready", component = self.name, reason);
        }
    }

    /// Returns whether that is news.
    fn change(&self, state: State) -> bool {
        let mut components = self.shared.components();
        match components.get_mut(self.place) {
            Some(own) if own.state != state => {
                own.state = state;
                true
            }
            _ => false,
        }
    }
}

impl Drop for Component {
    fn drop(&mut self) {
        if self.shared.is_stopping() {
            self.change(State::Ended);
            return;
        }
        self.change(State::Died);
        tracing::error!(event = "component_died", component = self.name);
        self.shared.end(Ending::ComponentDied(self.name));
    }
}

impl State {
    /// The word in a report.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Unready(_) => "unready",
            Self::Ended => "ended",
            Self::Died => "died",
        }
    }

    /// Why it is not ready, where that is more than the word says.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Unready(reason) => Some(reason),
            Self::Ready | Self::Ended | Self::Died => None,
        }
    }
}

impl Serialize for ComponentReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Flat<'a> {
            name: &'a str,
            state: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            reason: Option<&'a str>,
        }
        Flat {
            name: self.name,
            state: self.state.name(),
            reason: self.state.reason(),
        }
        .serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    async fn ended(health: &Health) -> Ending {
        let ended = tokio::time::timeout(Duration::from_secs(10), health.ended());
        ended.await.expect("the process was to end")
    }

    fn body(health: &Health) -> Value {
        serde_json::to_value(health.report()).unwrap()
    }

    #[test]
    fn a_process_is_ready_when_every_component_is() {
        let health = Health::new();
        assert!(health.is_ready());
        let log = health.register("vote-log");
        let store = health.register("store");
        assert!(!health.is_ready());
        log.ready();
        assert!(!health.is_ready());
        store.ready();
        assert!(health.is_ready());
        log.unready("disk full");
        assert!(!health.is_ready());
        log.ready();
        assert!(health.is_ready());
        health.stop();
    }

    #[test]
    fn the_report_names_every_component_and_why_it_is_not_ready() {
        let health = Health::new();
        let log = health.register("vote-log");
        let _store = health.register("store");
        log.ready();
        let expected = json!({
            "ready": false,
            "stopping": false,
            "components": [
                {"name": "vote-log", "state": "ready"},
                {"name": "store", "state": "unready", "reason": "starting"},
            ],
        });
        assert_eq!(body(&health), expected);
        health.stop();
    }

    #[tokio::test]
    async fn stopping_makes_it_unready_at_once_and_lets_components_end() {
        let health = Health::new();
        let log = health.register("vote-log");
        log.ready();
        health.stop();
        assert!(health.is_stopping() && !health.is_ready());
        assert_eq!(ended(&health).await, Ending::Requested);
        drop(log);
        let components = json!([{"name": "vote-log", "state": "ended"}]);
        assert_eq!(body(&health)["components"], components);
        assert_eq!(ended(&health).await, Ending::Requested);
    }

    #[tokio::test]
    async fn a_component_that_panics_ends_the_process_and_is_named() {
        let health = Health::new();
        let consumer = health.register("consumer");
        consumer.ready();
        let waiting = tokio::spawn({
            let health = health.clone();
            async move { ended(&health).await }
        });
        let thread = std::thread::spawn(move || {
            let _consumer = consumer;
            panic!("a bug");
        });
        assert!(thread.join().is_err());
        assert_eq!(waiting.await.unwrap(), Ending::ComponentDied("consumer"));
        assert!(health.is_stopping() && !health.is_ready());
        assert_eq!(body(&health)["components"][0]["state"], "died");
    }

    #[tokio::test]
    async fn the_first_reason_to_end_stands() {
        let health = Health::new();
        let (first, second) = (health.register("intake"), health.register("consumer"));
        drop(first);
        health.stop();
        drop(second);
        assert_eq!(ended(&health).await, Ending::ComponentDied("intake"));
    }
}

//! Acting at the very moment at which the worker says something: between two steps that no other signal parts.

use std::fmt::Debug;
use std::sync::Mutex;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{DefaultGuard, set_default};
use tracing::{Event, Metadata, Subscriber};

/// The first time that the worker says `words` on this thread, `act` is done before it goes on. For as long as the
/// guard is held.
#[must_use = "it listens for as long as the guard is held"]
pub(crate) fn when_said(words: &'static str, act: impl FnOnce() + Send + 'static) -> DefaultGuard {
    set_default(Listener { words, act: Mutex::new(Some(Box::new(act))) })
}

struct Listener {
    words: &'static str,
    act: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target().starts_with("loyalty_worker")
    }

    fn event(&self, event: &Event<'_>) {
        let mut heard = MessageMatch { words: self.words, yes: false };
        event.record(&mut heard);
        if heard.yes
            && let Some(act) = self.act.lock().expect("no panics").take()
        {
            act();
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Whether an event's message is these words.
struct MessageMatch {
    words: &'static str,
    yes: bool,
}

impl Visit for MessageMatch {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.yes |= field.name() == "message" && format!("{value:?}") == self.words;
    }
}

//! mdBook's warnings, which it only logs: an HTML tag that is never closed, a footnote without its text.
//!
//! A page with such a mistake is built all the same and looks broken. Here they are collected while mdBook
//! runs, so that the build can refuse them like everything else that is wrong.

use std::fmt;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Runs `work` and returns what it returns, and what it warned of.
pub fn collect<T>(work: impl FnOnce() -> T) -> (T, Vec<String>) {
    let collector = Collector::default();
    let warnings = collector.warnings.clone();
    let result = tracing::subscriber::with_default(collector, work);
    let warnings = std::mem::take(&mut *warnings.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    (result, warnings)
}

/// Keeps the texts of warnings and errors, nothing else.
#[derive(Default)]
struct Collector {
    warnings: Arc<Mutex<Vec<String>>>,
}

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN && metadata.is_event()
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let line = text.0.split_whitespace().collect::<Vec<_>>().join(" ");
        self.warnings.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(line);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The message of one event.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn warnings_are_kept_and_the_rest_is_not() {
        let (result, warnings) = super::collect(|| {
            tracing::info!("not this");
            tracing::warn!("unclosed `{}`", "x.md");
            7
        });
        assert_eq!((result, warnings), (7, vec!["unclosed `x.md`".to_owned()]));
    }
}

//! The journal, where standard error goes there: an event's fields are the journal's, so that `journalctl GEOM_DISPLAY=HDMI-A-1` finds what
//! concerns one display.
//!
//! Source: systemd.journal-fields(7); <https://systemd.io/JOURNAL_NATIVE_PROTOCOL>.

use std::fmt::{Debug, Write};

use libsystemd::logging::{connected_to_journal, journal_send, Priority};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// Writes events to the journal.
pub struct Journal;

impl Journal {
    /// Where standard error is the journal's (`JOURNAL_STREAM`, systemd.exec(5)).
    pub fn open() -> Option<Self> {
        connected_to_journal().then_some(Self)
    }
}

/// An event as a line and as fields.
#[derive(Debug, Default, PartialEq)]
struct Words {
    message: String,
    rest: String,
    fields: Vec<(String, String)>,
}

impl Words {
    fn add(&mut self, field: &Field, shown: &dyn Debug, value: String) {
        let name = field.name();
        if name == "message" {
            self.message = value;
            return;
        }
        let _ = write!(self.rest, " {name}={shown:?}");
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        if name.chars().all(is_plain) {
            self.fields.push((format!("GEOM_{}", name.to_ascii_uppercase()), value));
        }
    }
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, &value, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, value, format!("{value:?}"));
    }
}

fn priority(level: Level) -> Priority {
    match level {
        Level::ERROR => Priority::Error,
        Level::WARN => Priority::Warning,
        Level::INFO => Priority::Info,
        _ => Priority::Debug,
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut words = Words::default();
        event.record(&mut words);
        let metadata = event.metadata();
        let text = format!("{}{}", words.message, words.rest);
        let mut fields = words.fields;
        fields.push(("SYSLOG_IDENTIFIER".into(), env!("CARGO_PKG_NAME").into()));
        fields.push(("CODE_MODULE".into(), metadata.target().into()));
        if let (Some(file), Some(line)) = (metadata.file(), metadata.line()) {
            fields.push(("CODE_FILE".into(), file.into()));
            fields.push(("CODE_LINE".into(), line.to_string()));
        }
        if journal_send(priority(*metadata.level()), &text, fields.into_iter()).is_err() {
            // Which goes there as well, without fields.
            eprintln!("{text}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    struct Keep(Arc<Mutex<Words>>);

    impl<S: Subscriber> Layer<S> for Keep {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut words = Words::default();
            event.record(&mut words);
            *self.0.lock().expect("a lock") = words;
        }
    }

    #[test]
    fn events_are_lines_and_fields() {
        let kept = Arc::new(Mutex::new(Words::default()));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(Keep(kept.clone())), || {
            let gpu = std::path::Path::new("/dev/dri/card0").display();
            tracing::info!(display = "DP-1", %gpu, client = 7, "mode set to {}", 3);
        });
        let words = kept.lock().expect("a lock");
        assert_eq!(words.message, "mode set to 3");
        assert_eq!(words.rest, " display=\"DP-1\" gpu=/dev/dri/card0 client=7");
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let wanted =
            [field("GEOM_DISPLAY", "DP-1"), field("GEOM_GPU", "/dev/dri/card0"), field("GEOM_CLIENT", "7")];
        assert_eq!(words.fields, wanted);
    }
}

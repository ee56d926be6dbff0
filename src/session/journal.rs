//! Log events in the journal, if standard error goes there: the fields of an event become fields of
//! the journal, so that `journalctl GEOM_DISPLAY=HDMI-A-1` finds what concerns one display.
//!
//! tracing-journald (tokio-rs) is not used: its MESSAGE lacks the fields of the event, which a
//! reader of plain `journalctl` needs, and its records have no CODE_MODULE.
//!
//! Sources: systemd.journal-fields(7); <https://systemd.io/JOURNAL_NATIVE_PROTOCOL>.

use std::fmt::{Debug, Write};
use std::io;
use std::os::unix::net::UnixDatagram;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// journald's socket for the native protocol.
const SOCKET: &str = "/run/systemd/journal/socket";

/// The log layer that writes to the journal.
pub struct Journal {
    socket: UnixDatagram,
}

impl Journal {
    /// Returns the layer if standard error is connected to the journal (`JOURNAL_STREAM`,
    /// systemd.exec(5)).
    pub fn open() -> Option<Self> {
        let stream = std::env::var("JOURNAL_STREAM").ok()?;
        let stderr = rustix::fs::fstat(rustix::stdio::stderr()).ok()?;
        let is_journal = parse_stream(&stream)? == (stderr.st_dev, stderr.st_ino);
        let socket = UnixDatagram::unbound().ok().filter(|_| is_journal)?;
        Some(Self { socket })
    }

    fn send(&self, record: &[u8]) -> io::Result<()> {
        // By address each time: journald may have been restarted.
        self.socket.send_to(record, SOCKET).map(drop)
    }
}

/// Returns the device and the inode of `JOURNAL_STREAM`.
fn parse_stream(text: &str) -> Option<(u64, u64)> {
    let (device, inode) = text.split_once(':')?;
    Some((device.parse().ok()?, inode.parse().ok()?))
}

/// Appends a field. A value with a newline is written with its length, all others as `NAME=value`.
fn push_field(record: &mut Vec<u8>, name: &str, value: &str) {
    record.extend(name.as_bytes());
    if value.contains('\n') {
        record.push(b'\n');
        record.extend((value.len() as u64).to_le_bytes());
    } else {
        record.push(b'=');
    }
    record.extend(value.as_bytes());
    record.push(b'\n');
}

/// An event as a line of text and as fields.
#[derive(Debug, Default, PartialEq)]
struct EventText {
    message: String,
    /// The fields as text, ` name=value` each.
    rest: String,
    fields: Vec<(String, String)>,
}

impl EventText {
    fn add(&mut self, field: &Field, shown: &dyn Debug, value: String) {
        let name = field.name();
        if name == "message" {
            self.message = value;
            return;
        }
        let _ = write!(self.rest, " {name}={shown:?}");
        // journald ignores fields with other names, or with more than 64 bytes.
        let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        let journal_name = format!("GEOM_{}", name.to_ascii_uppercase());
        if name.chars().all(is_allowed) && journal_name.len() <= 64 {
            self.fields.push((journal_name, value));
        }
    }
}

impl Visit for EventText {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, &value, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, value, format!("{value:?}"));
    }
}

/// Returns the priority of syslog(3).
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        _ => "7",
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut event_text = EventText::default();
        event.record(&mut event_text);
        let metadata = event.metadata();
        let line = format!("{}{}", event_text.message, event_text.rest);
        let mut record = Vec::with_capacity(512);
        push_field(&mut record, "PRIORITY", priority(*metadata.level()));
        push_field(&mut record, "MESSAGE", &line);
        for (name, value) in &event_text.fields {
            push_field(&mut record, name, value);
        }
        push_field(&mut record, "SYSLOG_IDENTIFIER", env!("CARGO_PKG_NAME"));
        push_field(&mut record, "CODE_MODULE", metadata.target());
        if let (Some(file), Some(line)) = (metadata.file(), metadata.line()) {
            push_field(&mut record, "CODE_FILE", file);
            push_field(&mut record, "CODE_LINE", &line.to_string());
        }
        if self.send(&record).is_err() {
            // Standard error goes to the journal too, but without fields. A record that is too
            // large for a datagram takes this way: the protocol's other one, a sealed memfd, is
            // not worth its code for our lines.
            eprintln!("{line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    struct KeepLast(Arc<Mutex<EventText>>);

    impl<S: Subscriber> Layer<S> for KeepLast {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut event_text = EventText::default();
            event.record(&mut event_text);
            *self.0.lock().expect("a lock") = event_text;
        }
    }

    #[test]
    fn events_are_lines_and_fields() {
        let last = Arc::new(Mutex::new(EventText::default()));
        tracing::subscriber::with_default(
            tracing_subscriber::registry().with(KeepLast(last.clone())),
            || {
                let gpu = std::path::Path::new("/dev/dri/card0").display();
                tracing::info!(display = "DP-1", %gpu, client = 7, "mode set to {}", 3);
            },
        );
        let text = last.lock().expect("a lock");
        assert_eq!(text.message, "mode set to 3");
        assert_eq!(text.rest, " display=\"DP-1\" gpu=/dev/dri/card0 client=7");
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let wanted =
            [field("GEOM_DISPLAY", "DP-1"), field("GEOM_GPU", "/dev/dri/card0"), field("GEOM_CLIENT", "7")];
        assert_eq!(text.fields, wanted);
    }

    #[test]
    fn values_with_newlines_have_a_length() {
        let mut record = Vec::new();
        push_field(&mut record, "PRIORITY", "6");
        push_field(&mut record, "MESSAGE", "a\nb");
        assert_eq!(record, b"PRIORITY=6\nMESSAGE\n\x03\0\0\0\0\0\0\0a\nb\n");
    }

    #[test]
    fn journal_stream_is_a_device_and_an_inode() {
        assert_eq!(parse_stream("9:1048576"), Some((9, 1048576)));
        for text in ["", "9", "9:", "a:b"] {
            assert_eq!(parse_stream(text), None);
        }
    }
}

//! Which requests were accepted without a protocol error, at least once in this process.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::client::Client;
use super::interfaces::requests_of;

#[derive(Default)]
struct Coverage {
    /// By `interface.request`.
    accepted: BTreeMap<String, u64>,
    sent: u64,
    /// Errors by interface of the object and code.
    errors: BTreeMap<String, u64>,
}

static COVERAGE: Mutex<Option<Coverage>> = Mutex::new(None);

fn with<T>(call: impl FnOnce(&mut Coverage) -> T) -> T {
    let mut coverage = COVERAGE.lock().unwrap_or_else(PoisonError::into_inner);
    call(coverage.get_or_insert_default())
}

/// Adds the requests of the globals to those that can be reached.
pub fn note_globals(globals: &[(u32, String, u32)]) {
    with(|coverage| {
        if coverage.accepted.is_empty() || !coverage.accepted.contains_key("zwlr_layer_shell_v1.destroy") {
            for (name, count) in
                requests_of(globals.iter().map(|(_, name, version)| (name.as_str(), *version)))
            {
                coverage.accepted.entry(name).or_insert(count);
            }
        }
    });
}

pub fn count_sent() {
    with(|coverage| coverage.sent += 1);
}

/// Adds what a client has had accepted, and its error.
pub fn add(client: &mut Client) {
    if client.accepted.is_empty() && client.error.is_none() {
        return;
    }
    with(|coverage| {
        for name in client.accepted.drain(..) {
            if let Some(count) = coverage.accepted.get_mut(&name) {
                *count += 1;
            }
        }
        if let Some((object, code, message)) = client.error.take() {
            let interface = client.objects.get(&object).map_or("?", |object| object.interface.name);
            let text: String = message.chars().take(60).filter(|char| !char.is_ascii_digit()).collect();
            *coverage.errors.entry(format!("{interface} {code} {text}")).or_default() += 1;
            client.is_closed = true;
        }
    });
}

/// Returns the number of requests sent, the share of request types that were accepted, the others,
/// and the most frequent protocol errors.
pub fn report() -> String {
    with(|coverage| {
        let missing: Vec<&str> = coverage
            .accepted
            .iter()
            .filter(|(_, count)| **count == 0)
            .map(|(name, _)| name.as_str())
            .collect();
        let all = coverage.accepted.len();
        let mut errors: Vec<(&String, &u64)> = coverage.errors.iter().collect();
        errors.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let errors: Vec<String> =
            errors.iter().take(25).map(|(name, count)| format!("  {count} {name}")).collect();
        format!(
            "{} requests sent, {} of {all} request types accepted; never: {}\nmost frequent errors:\n{}",
            coverage.sent,
            all - missing.len(),
            missing.join(" "),
            errors.join("\n")
        )
    })
}

//! What the service tells its guard: datagrams of sd_notify(3), and descriptors to keep.

use std::os::fd::OwnedFd;

/// The maximum number of kept descriptors; the same as in the unit (FileDescriptorStoreMax=).
pub const MAX_STORED_FDS: usize = 16;
/// The maximum length of a descriptor's name, as systemd has it.
const MAX_NAME: usize = 255;

/// What a datagram asks for. Other variables are for the service manager.
#[derive(Debug, PartialEq, Eq)]
pub enum Notification<'a> {
    /// The service works.
    Beat,
    /// Keep the descriptors that come with the datagram.
    Store(&'a str),
    /// Close the descriptors of this name.
    Remove(&'a str),
    Other,
}

impl<'a> Notification<'a> {
    /// Reads lines of `VARIABLE=value`.
    pub fn parse(text: &'a str) -> Self {
        if text.trim_end() == "WATCHDOG=1" {
            return Self::Beat;
        }
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        let Some(name) = value("FDNAME").filter(|name| is_name(name)) else { return Self::Other };
        match (value("FDSTOREREMOVE"), value("FDSTORE")) {
            (Some("1"), _) => Self::Remove(name),
            (_, Some("1")) => Self::Store(name),
            _ => Self::Other,
        }
    }
}

/// Returns whether this can be the name of a descriptor in LISTEN_FDNAMES. A zero in it would fail
/// each start of the service, and a colon would give the next descriptors the wrong names.
fn is_name(name: &str) -> bool {
    let is_allowed = |byte: u8| (b' '..0x7f).contains(&byte) && byte != b':';
    !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(is_allowed)
}

/// The descriptors that the guard keeps, by name.
#[derive(Debug, Default)]
pub struct Stored(Vec<(String, OwnedFd)>);

impl Stored {
    /// Takes what the service manager kept while no guard ran.
    pub fn new(passed: Vec<(String, OwnedFd)>) -> Self {
        let mut stored = Self::default();
        for (name, fd) in passed {
            if is_name(&name) {
                stored.add(&name, fd);
            }
        }
        stored
    }

    fn add(&mut self, name: &str, fd: OwnedFd) {
        if self.0.len() < MAX_STORED_FDS {
            self.0.push((name.to_owned(), fd));
        }
    }

    /// Does what a notification asks for.
    pub fn apply(&mut self, notification: &Notification<'_>, fds: Vec<OwnedFd>) {
        match notification {
            Notification::Store(name) => fds.into_iter().for_each(|fd| self.add(name, fd)),
            Notification::Remove(name) => self.0.retain(|(known, _)| known != name),
            Notification::Beat | Notification::Other => {}
        }
    }

    /// Returns the kept descriptors, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &OwnedFd)> {
        self.0.iter().map(|(name, fd)| (name.as_str(), fd))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_start_cannot_pass_on_are_refused() {
        for name in ["", "a:b", "a\0b", "a\u{1b}", "\u{e4}"] {
            let text = format!("FDSTORE=1\nFDNAME={name}");
            assert_eq!(Notification::parse(&text), Notification::Other, "{name:?}");
        }
        assert_eq!(Notification::parse("FDNAME=geom.a\nFDSTORE=1\n"), Notification::Store("geom.a"));
        let long = format!("FDSTORE=1\nFDNAME={}", "a".repeat(256));
        assert_eq!(Notification::parse(&long), Notification::Other);
    }
}

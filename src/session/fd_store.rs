//! Descriptors that outlive this process. The service manager or the guard holds them while the
//! service runs (FDSTORE=1, sd_pid_notify_with_fds(3)) and passes them to the next process, as it
//! passes the sockets of a unit (sd_listen_fds(3)).

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use ::sd_notify::NotifyState;
use rustix::io::{fcntl_setfd, FdFlags};
use tracing::debug;

use super::sd_notify::send_with_fds;

/// The first passed descriptor (SD_LISTEN_FDS_START).
pub(super) const FIRST_PASSED_FD: i32 = 3;

/// Prefix of the names of stored descriptors. Sockets of units have other names
/// (`geom-compositor.socket`).
const STORED_PREFIX: &str = "geom.";

/// Lists the descriptors that a program executed in this process inherits: the process ID, and
/// `number:name` for each.
pub const VARIABLE: &str = "GEOM_COMPOSITOR_HELD";

/// The descriptors that were passed to this process, and those that are stored for the next one.
#[derive(Debug, Default)]
pub struct FdStore {
    passed: Vec<(String, OwnedFd)>,
    stored: BTreeMap<String, OwnedFd>,
    /// Sockets of a unit: the service manager passes them to each process that it starts, but not
    /// to a program that this process executes.
    unit_sockets: Vec<(String, OwnedFd)>,
}

/// The maximum number of passed descriptors: a number beyond is no count.
const MAX_PASSED: usize = 256;

/// Takes ownership of a descriptor that was passed to this process, if it is open. Each is taken
/// once.
fn take(number: i32) -> Option<OwnedFd> {
    // SAFETY: used for one system call, which fails if the descriptor is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    // Programs that we start must not inherit it.
    if let Err(error) = fcntl_setfd(borrowed, FdFlags::CLOEXEC) {
        debug!(number, %error, "a passed descriptor is not open");
        return None;
    }
    // SAFETY: it is open, the program that started us opened it for us, and no other code here owns
    // it.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Reads a list of [`VARIABLE`] for this process: numbers and names. A number that comes twice
/// would be closed twice.
pub fn parse_held(list: &str, pid: u32) -> Option<BTreeMap<i32, &str>> {
    let (of, list) = list.split_once(' ')?;
    if of.parse() != Ok(pid) {
        return None;
    }
    let entry = |entry: &'_ str| {
        let (number, _) = entry.split_once(':')?;
        number.parse::<i32>().ok().filter(|number| *number >= FIRST_PASSED_FD)
    };
    let numbered = list.split(' ').filter_map(|text| Some((entry(text)?, text.split_once(':')?.1)));
    Some(numbered.take(MAX_PASSED).collect())
}

/// Returns the names of passed descriptors, from the first on, from LISTEN_FDS and LISTEN_FDNAMES.
pub fn parse_passed(count: u32, names: &str) -> Vec<(i32, &str)> {
    let names = names.split(':').chain(std::iter::repeat(""));
    (FIRST_PASSED_FD..).zip(names).take((count as usize).min(MAX_PASSED)).collect()
}

impl FdStore {
    /// Takes the descriptors that the environment says were passed to this process. Must be called
    /// once only.
    pub fn inherit(pid: u32, variable: impl Fn(&str) -> Option<String>) -> Self {
        let number = |name: &str| variable(name).and_then(|text| text.parse::<u32>().ok());
        let from_exec = variable(VARIABLE).unwrap_or_default();
        let taken = |(number, name): (i32, &str)| Some((name.to_owned(), take(number)?));
        if let Some(held) = parse_held(&from_exec, pid) {
            return Self { passed: held.into_iter().filter_map(taken).collect(), ..Self::default() };
        }
        let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
        let has_guard = parent.is_some() && number(super::guard::VARIABLE) == parent;
        let is_for_us = number("LISTEN_PID") == Some(pid) || has_guard;
        let count = number("LISTEN_FDS").filter(|_| is_for_us).unwrap_or(0);
        let names = variable("LISTEN_FDNAMES").unwrap_or_default();
        let passed = parse_passed(count, &names);
        Self { passed: passed.into_iter().filter_map(taken).collect(), ..Self::default() }
    }

    /// Returns all descriptors that were passed to this process, for the guard, which passes them
    /// on.
    pub fn into_passed(self) -> Vec<(String, OwnedFd)> {
        self.passed
    }

    /// Returns a descriptor that the previous process stored. It stays stored for the next process.
    pub fn recover(&mut self, name: &str) -> Option<OwnedFd> {
        let is_wanted = |known: &str| known.strip_prefix(STORED_PREFIX) == Some(name);
        let place = self.passed.iter().position(|(known, _)| is_wanted(known))?;
        let fd = self.passed.swap_remove(place).1;
        self.stored.insert(name.to_owned(), fd.try_clone().ok()?);
        Some(fd)
    }

    /// Takes the listening sockets of a unit, with the names that the unit gives them.
    pub fn sockets(&mut self) -> Vec<(String, OwnedFd)> {
        let (stored, sockets): (Vec<_>, Vec<_>) = std::mem::take(&mut self.passed)
            .into_iter()
            .partition(|(name, _)| name.starts_with(STORED_PREFIX));
        self.passed = stored;
        let copy = |(name, fd): &(String, OwnedFd)| Some((name.clone(), fd.try_clone().ok()?));
        self.unit_sockets = sockets.iter().filter_map(copy).collect();
        sockets
    }

    /// Stores a descriptor for the next process, if the service manager or the guard holds
    /// descriptors.
    ///
    /// # Errors
    /// If the limit of open descriptors is reached.
    pub fn hold(&mut self, name: &str, fd: BorrowedFd<'_>) -> std::io::Result<()> {
        self.stored.insert(name.to_owned(), fd.try_clone_to_owned()?);
        let full = format!("{STORED_PREFIX}{name}");
        // FDPOLL=0: systemd would otherwise drop a descriptor on EPOLLHUP or EPOLLERR, which this
        // process handles itself.
        let states = [NotifyState::FdStore, NotifyState::FdName(&full), NotifyState::Custom("FDPOLL=0")];
        send_with_fds(&states, &[fd]);
        Ok(())
    }

    /// Returns the names with this prefix of the descriptors that the previous process stored and
    /// that were not recovered.
    pub fn unrecovered(&self, prefix: &str) -> Vec<String> {
        let names = self.passed.iter().filter_map(|(name, _)| name.strip_prefix(STORED_PREFIX));
        names.filter(|name| name.starts_with(prefix)).map(str::to_owned).collect()
    }

    /// Removes a descriptor from the store, whether this process or the previous one stored it.
    pub fn release(&mut self, name: &str) {
        let full = format!("{STORED_PREFIX}{name}");
        let count = self.passed.len() + self.stored.len();
        self.passed.retain(|(passed, _)| *passed != full);
        self.stored.remove(name);
        if self.passed.len() + self.stored.len() < count {
            send_with_fds(&[NotifyState::FdStoreRemove, NotifyState::FdName(&full)], &[]);
        }
    }

    /// Removes all descriptors from the store: after an orderly shutdown the next process starts
    /// from scratch.
    pub fn clear(&mut self) {
        for name in self.stored.keys().cloned().collect::<Vec<_>>() {
            self.release(&name);
        }
    }

    /// Executes a program in this process and passes it the stored descriptors and the unit's
    /// sockets. Returns only if that fails, and then nothing has changed.
    pub fn exec(&self, command: &mut Command) -> std::io::Error {
        let stored = self.stored.iter().map(|(name, fd)| (format!("{STORED_PREFIX}{name}"), fd));
        let all = stored.chain(self.unit_sockets.iter().map(|(name, fd)| (name.clone(), fd)));
        let mut list = std::process::id().to_string();
        // They are closed if exec(2) fails.
        let mut copies = Vec::new();
        for (name, fd) in all {
            let copy =
                fd.try_clone().and_then(|copy| Ok(fcntl_setfd(&copy, FdFlags::empty()).map(|()| copy)?));
            let copy = match copy {
                Ok(copy) => copy,
                Err(error) => return error,
            };
            list += &format!(" {}:{name}", copy.as_raw_fd());
            copies.push(copy);
        }
        command.env(VARIABLE, list);
        for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
            command.env_remove(name);
        }
        command.exec()
    }
}

#[cfg(test)]
impl FdStore {
    /// Returns the stored descriptors by name.
    pub fn stored(&self) -> impl Iterator<Item = (&str, BorrowedFd<'_>)> {
        self.stored.iter().map(|(name, fd)| (name.as_str(), std::os::fd::AsFd::as_fd(fd)))
    }

    /// Returns what the next process would inherit.
    pub fn inherited(&self) -> Self {
        let passed = self.stored().map(|(name, fd)| {
            (format!("{STORED_PREFIX}{name}"), fd.try_clone_to_owned().expect("a descriptor"))
        });
        Self { passed: passed.collect(), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_for_another_process_are_not_taken() {
        let variable = |name: &str| {
            let value = match name {
                "LISTEN_FDS" => "2",
                "LISTEN_PID" => "77",
                _ => return None,
            };
            Some(value.to_owned())
        };
        assert!(FdStore::inherit(78, variable).passed.is_empty());
    }

    #[test]
    fn lists_of_passed_descriptors_are_bounded() {
        assert_eq!(parse_passed(3, "a:b"), [(3, "a"), (4, "b"), (5, "")]);
        assert_eq!(parse_passed(u32::MAX, "a").len(), MAX_PASSED);
        let held = parse_held("7 5:a 5:b 2:c x:d 9:e:f", 7).expect("for this process");
        assert_eq!(held.into_iter().collect::<Vec<_>>(), [(5, "b"), (9, "e:f")]);
        assert_eq!(parse_held("8 5:a", 7), None);
    }

    #[test]
    fn descriptors_that_are_not_open_are_not_taken() {
        let variable = |name: &str| (name == VARIABLE).then(|| "7 1000000:geom.a".to_owned());
        assert!(FdStore::inherit(7, variable).passed.is_empty());
    }

    #[test]
    fn released_descriptors_are_removed() {
        let fd = || std::fs::File::open("/dev/null").map(OwnedFd::from).expect("a descriptor");
        let passed = vec![("geom.gpu-226-0".to_owned(), fd()), ("geom.gpu-226-1".to_owned(), fd())];
        let mut store = FdStore { passed, ..FdStore::default() };
        assert_eq!(store.unrecovered("gpu-"), ["gpu-226-0", "gpu-226-1"]);
        store.release("gpu-226-0");
        assert_eq!(store.unrecovered("gpu-"), ["gpu-226-1"]);
        let card = fd();
        store.release("gpu-226-1");
        store.hold("gpu-226-1", std::os::fd::AsFd::as_fd(&card)).expect("a descriptor");
        assert!(store.unrecovered("gpu-").is_empty() && store.stored().count() == 1);
        store.release("gpu-226-1");
        assert_eq!(store.stored().count(), 0);
    }

    #[test]
    fn stored_descriptors_and_unit_sockets_are_distinguished() {
        let fd = || std::fs::File::open("/dev/null").map(OwnedFd::from).expect("a descriptor");
        let passed = [("geom.control", fd()), ("wayland", fd()), ("geom.wayland", fd())];
        let passed = passed.into_iter().map(|(name, fd)| (name.to_owned(), fd)).collect();
        let mut store = FdStore { passed, ..FdStore::default() };
        let sockets: Vec<String> = store.sockets().into_iter().map(|(name, _)| name).collect();
        assert_eq!(sockets, ["wayland"]);
        assert!(store.recover("wayland").is_some() && store.recover("wayland").is_none());
        let stored: Vec<&str> = store.stored().map(|(name, _)| name).collect();
        assert_eq!(stored, ["wayland"]);
        store.clear();
        assert_eq!(store.stored().count(), 0);
    }
}

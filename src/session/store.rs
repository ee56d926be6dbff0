//! Descriptors that outlive the process: whoever started us holds them while we run (FDSTORE=1, sd_pid_notify_with_fds(3)) and hands them to
//! the next of us, as it hands us sockets of its own (sd_listen_fds(3)).

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::{fcntl_setfd, FdFlags};
use sd_notify::NotifyState;
use tracing::debug;

use super::readiness::tell_with;

/// Where passed descriptors begin (SD_LISTEN_FDS_START).
pub(super) const FIRST: i32 = 3;

/// Names of what we store begin with it; sockets of units have other names (`geom-compositor.socket`).
const OURS: &str = "geom.";

/// Descriptors that a program which takes our place finds where they are: the process' number, and `number:name` for each.
pub const VARIABLE: &str = "GEOM_COMPOSITOR_HELD";

/// What was handed to us, and what is held for the next.
#[derive(Debug, Default)]
pub struct Store {
    passed: Vec<(String, OwnedFd)>,
    held: BTreeMap<String, OwnedFd>,
    /// Sockets of a unit, which its manager hands to each process, but not to one that takes our place.
    units: Vec<(String, OwnedFd)>,
}

/// A descriptor that was opened for us. Each is taken once.
fn take(number: i32) -> OwnedFd {
    // SAFETY: whoever started us opened it for us, and it is nobody else's.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    // Not for the programs that we start.
    if let Err(error) = fcntl_setfd(&fd, FdFlags::CLOEXEC) {
        debug!(%error, "a passed descriptor is not open");
    }
    fd
}

impl Store {
    /// What the environment says was passed to this process. Each descriptor is taken once: call it once.
    pub fn inherit(pid: u32, variable: impl Fn(&str) -> Option<String>) -> Self {
        let number = |name: &str| variable(name).and_then(|text| text.parse::<u32>().ok());
        let taken_over = variable(VARIABLE).unwrap_or_default();
        if let Some((_, list)) = taken_over.split_once(' ').filter(|(of, _)| of.parse() == Ok(pid)) {
            let entry = |entry: &str| {
                let (number, name) = entry.split_once(':')?;
                let number = number.parse::<i32>().ok().filter(|number| *number >= FIRST)?;
                Some((name.to_owned(), take(number)))
            };
            return Self { passed: list.split(' ').filter_map(entry).collect(), ..Self::default() };
        }
        let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
        let guarded = parent.is_some() && number(super::guard::VARIABLE) == parent;
        let meant = number("LISTEN_PID") == Some(pid) || guarded;
        let count = number("LISTEN_FDS").filter(|_| meant).unwrap_or(0);
        let names = variable("LISTEN_FDNAMES").unwrap_or_default();
        let names: Vec<&str> = names.split(':').collect();
        let one = |index: usize| {
            (names.get(index).copied().unwrap_or_default().to_owned(), take(FIRST + index as i32))
        };
        Self { passed: (0..count as usize).map(one).collect(), ..Self::default() }
    }

    /// All that was handed to us, for who hands it on.
    pub fn into_passed(self) -> Vec<(String, OwnedFd)> {
        self.passed
    }

    /// What the process before us stored by a name; it stays held for the next.
    pub fn recover(&mut self, name: &str) -> Option<OwnedFd> {
        let place = self.passed.iter().position(|(known, _)| known.strip_prefix(OURS) == Some(name))?;
        let fd = self.passed.swap_remove(place).1;
        self.held.insert(name.to_owned(), fd.try_clone().ok()?);
        Some(fd)
    }

    /// Sockets that a unit listens on, by its names for them.
    pub fn sockets(&mut self) -> Vec<(String, OwnedFd)> {
        let (ours, theirs): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.passed).into_iter().partition(|(name, _)| name.starts_with(OURS));
        self.passed = ours;
        let copy = |(name, fd): &(String, OwnedFd)| Some((name.clone(), fd.try_clone().ok()?));
        self.units = theirs.iter().filter_map(copy).collect();
        theirs
    }

    /// Has a descriptor held for the next of us, where there is someone to hold it.
    ///
    /// # Errors
    /// Without descriptors to spare.
    pub fn hold(&mut self, name: &str, fd: BorrowedFd<'_>) -> std::io::Result<()> {
        self.held.insert(name.to_owned(), fd.try_clone_to_owned()?);
        let full = format!("{OURS}{name}");
        // What hangs up or fails is ours to see, and nothing to be thrown out for.
        let states = [NotifyState::FdStore, NotifyState::FdName(&full), NotifyState::Custom("FDPOLL=0")];
        tell_with(&states, &[fd]);
        Ok(())
    }

    /// Names of ours that begin so, of what the process before us stored and nobody has recovered.
    pub fn left(&self, beginning: &str) -> Vec<String> {
        let ours = self.passed.iter().filter_map(|(name, _)| name.strip_prefix(OURS));
        ours.filter(|name| name.starts_with(beginning)).map(str::to_owned).collect()
    }

    /// Has something held no longer, whoever had stored it.
    pub fn release(&mut self, name: &str) {
        let full = format!("{OURS}{name}");
        let known = self.passed.len() + self.held.len();
        self.passed.retain(|(passed, _)| *passed != full);
        self.held.remove(name);
        if self.passed.len() + self.held.len() < known {
            tell_with(&[NotifyState::FdStoreRemove, NotifyState::FdName(&full)], &[]);
        }
    }

    /// The end is meant: nothing is for anyone.
    pub fn let_go(&mut self) {
        for name in self.held.keys().cloned().collect::<Vec<_>>() {
            self.release(&name);
        }
    }

    /// Lets a program take this process' place and have what is held, and a unit's sockets. Returns only where it can't, and then nothing
    /// has changed.
    pub fn replace_by(&self, command: &mut Command) -> std::io::Error {
        let ours = self.held.iter().map(|(name, fd)| (format!("{OURS}{name}"), fd));
        let all = ours.chain(self.units.iter().map(|(name, fd)| (name.clone(), fd)));
        let mut list = std::process::id().to_string();
        // Open until it is known that nothing came of it.
        let mut copies = Vec::new();
        for (name, fd) in all {
            let copy = match fd
                .try_clone()
                .and_then(|copy| Ok(fcntl_setfd(&copy, FdFlags::empty()).map(|()| copy)?))
            {
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
impl Store {
    /// What is held, by name.
    pub fn held(&self) -> impl Iterator<Item = (&str, BorrowedFd<'_>)> {
        self.held.iter().map(|(name, fd)| (name.as_str(), std::os::fd::AsFd::as_fd(fd)))
    }

    /// What the next process would have of this one's.
    pub fn inherited(&self) -> Self {
        let passed = self
            .held()
            .map(|(name, fd)| (format!("{OURS}{name}"), fd.try_clone_to_owned().expect("a descriptor")));
        Self { passed: passed.collect(), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_meant_for_another_process_is_not_taken() {
        let variable = |name: &str| {
            let value = match name {
                "LISTEN_FDS" => "2",
                "LISTEN_PID" => "77",
                _ => return None,
            };
            Some(value.to_owned())
        };
        assert!(Store::inherit(78, variable).passed.is_empty());
    }

    #[test]
    fn what_is_released_is_nobody_s() {
        let fd = || std::fs::File::open("/dev/null").map(OwnedFd::from).expect("a descriptor");
        let passed = vec![("geom.gpu-226-0".to_owned(), fd()), ("geom.gpu-226-1".to_owned(), fd())];
        let mut store = Store { passed, ..Store::default() };
        assert_eq!(store.left("gpu-"), ["gpu-226-0", "gpu-226-1"]);
        store.release("gpu-226-0");
        assert_eq!(store.left("gpu-"), ["gpu-226-1"]);
        let card = fd();
        store.release("gpu-226-1");
        store.hold("gpu-226-1", std::os::fd::AsFd::as_fd(&card)).expect("a descriptor");
        assert!(store.left("gpu-").is_empty() && store.held().count() == 1);
        store.release("gpu-226-1");
        assert_eq!(store.held().count(), 0);
    }

    #[test]
    fn ours_are_told_from_a_unit_s() {
        let fd = || std::fs::File::open("/dev/null").map(OwnedFd::from).expect("a descriptor");
        let passed = [("geom.control", fd()), ("wayland", fd()), ("geom.wayland", fd())];
        let passed = passed.into_iter().map(|(name, fd)| (name.to_owned(), fd)).collect();
        let mut store = Store { passed, ..Store::default() };
        let sockets: Vec<String> = store.sockets().into_iter().map(|(name, _)| name).collect();
        assert_eq!(sockets, ["wayland"]);
        assert!(store.recover("wayland").is_some() && store.recover("wayland").is_none());
        let held: Vec<&str> = store.held().map(|(name, _)| name).collect();
        assert_eq!(held, ["wayland"]);
        store.let_go();
        assert_eq!(store.held().count(), 0);
    }
}

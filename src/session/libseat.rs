//! The session of libseat: devices of the seat, and when they may be used.
//!
//! In place of Smithay's session, which ends the program when the seat daemon goes away or refuses
//! an answer (`unwrap` in session/libseat.rs of Smithay 0.7.0). Here that is an event.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::rc::Rc;

use libseat::{Device, Seat, SeatEvent};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::net::sockopt::socket_peercred;
use smithay::reexports::calloop::channel::{self, Channel};
use smithay::reexports::calloop::generic::Generic;
use smithay::reexports::calloop::{Interest, LoopHandle, Mode, PostAction, RegistrationToken};
use smithay::reexports::input::LibinputInterface;
use tracing::{debug, warn};

/// What happens to the session.
#[derive(Debug)]
pub enum Event {
    /// Devices may be used.
    Enabled,
    /// Devices may not be used until the session is enabled again.
    Disabled,
    /// The connection to the seat daemon, or to logind, broke: the seat has to be taken again.
    Lost(io::Error),
}

struct Inner {
    seat: RefCell<Seat>,
    name: String,
    /// The open devices, by their descriptor.
    devices: RefCell<HashMap<RawFd, Device>>,
    is_active: Cell<bool>,
}

/// A session on a seat. Clones are the same session.
#[derive(Clone)]
pub struct Session(Rc<Inner>);

/// The session's events, to be watched by [`Session::watch`].
pub struct Events(Channel<SeatEvent>);

fn error(errno: impl Into<i32>) -> io::Error {
    io::Error::from_raw_os_error(errno.into())
}

/// Checks that the other side has not closed the connection: libseat_dispatch(3) without a timeout
/// returns success then, and the descriptor stays readable.
fn check_connection(connection: &impl AsFd) -> io::Result<()> {
    let mut fds = [PollFd::new(connection, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::default()))?;
    match fds.iter().any(|fd| fd.revents().intersects(PollFlags::HUP | PollFlags::ERR)) {
        true => Err(io::ErrorKind::BrokenPipe.into()),
        false => Ok(()),
    }
}

/// Returns whether libseat has started a seat daemon of its own, the last of its choices: the other
/// end of the connection is this process' child then, on a socket pair of this process.
///
/// For an ordinary user that one opens, and never enables the session.
fn is_builtin(seat: &mut Seat) -> bool {
    let Ok(connection) = seat.get_fd() else { return false };
    socket_peercred(connection).is_ok_and(|peer| peer.pid == rustix::process::getpid())
}

impl Session {
    /// Opens a session, by the seat daemon, logind, or as root.
    ///
    /// # Errors
    /// libseat's error, or that only its own seat daemon would serve an ordinary user.
    pub fn open() -> io::Result<(Self, Events)> {
        let (sender, events) = channel::channel();
        let opened = Seat::open(move |_, event| {
            // Fails when nothing watches the session any longer.
            let _ = sender.send(event);
        });
        let mut seat = opened.map_err(error)?;
        // The first event may be there already.
        seat.dispatch(0).map_err(error)?;
        let is_active = matches!(events.try_recv(), Ok(SeatEvent::Enable));
        if !is_active && !rustix::process::geteuid().is_root() && is_builtin(&mut seat) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "no seat daemon gives the seat"));
        }
        let name = seat.name().to_owned();
        let inner = Inner {
            seat: RefCell::new(seat),
            name,
            devices: RefCell::default(),
            is_active: Cell::new(is_active),
        };
        Ok((Self(Rc::new(inner)), Events(events)))
    }

    /// Returns the seat's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns whether devices may be used.
    pub fn is_active(&self) -> bool {
        self.0.is_active.get()
    }

    /// Opens a device.
    ///
    /// # Errors
    /// libseat's error.
    pub fn open_device(&self, path: &Path) -> io::Result<OwnedFd> {
        // libseat's wrapper panics for such paths.
        if path.to_str().is_none_or(|path| path.contains('\0')) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let device = self.call(|seat| seat.open_device(&path).map_err(error))?;
        let raw = device.as_fd().as_raw_fd();
        self.0.devices.borrow_mut().insert(raw, device);
        // SAFETY: libseat gives the descriptor to its caller: `Device` does not close it, and
        // libseat_close_device(3) leaves that to the caller.
        Ok(unsafe { OwnedFd::from_raw_fd(raw) })
    }

    /// Closes a device.
    ///
    /// # Errors
    /// libseat's error; the descriptor is closed even then.
    pub fn close_device(&self, fd: OwnedFd) -> io::Result<()> {
        let device = self.0.devices.borrow_mut().remove(&fd.as_raw_fd());
        let Some(device) = device else { return Ok(()) };
        self.call(|seat| seat.close_device(device).map_err(error))
    }

    /// Asks for another VT.
    ///
    /// # Errors
    /// libseat's error.
    pub fn switch_vt(&self, vt: i32) -> io::Result<()> {
        self.call(|seat| seat.switch_session(vt).map_err(error))
    }

    /// Calls libseat. Events may arrive with the answer: they are read from the connection then, so
    /// that it does not become readable for them.
    fn call<T>(&self, call: impl FnOnce(&mut Seat) -> T) -> T {
        let mut seat = self.0.seat.borrow_mut();
        let result = call(&mut seat);
        if let Err(errno) = seat.dispatch(0) {
            debug!(error = %error(errno), "cannot read events of the seat");
        }
        result
    }

    /// Reports the session's events. After [`Event::Lost`] there are none. Returns what to remove
    /// from the event loop to stop.
    ///
    /// # Errors
    /// If the session cannot be watched.
    pub fn watch<D: 'static>(
        &self,
        events: Events,
        handle: &LoopHandle<'static, D>,
        on_event: impl Fn(&mut D, Event) + Clone + 'static,
    ) -> io::Result<Vec<RegistrationToken>> {
        let failed = |error: smithay::reexports::calloop::Error| io::Error::other(error.to_string());
        let connection = self.0.seat.borrow_mut().get_fd().map_err(error)?.try_clone_to_owned()?;
        let (session, report) = (self.clone(), on_event.clone());
        let source = Generic::new(connection, Interest::READ, Mode::Level);
        let connection = handle.insert_source(source, move |_, connection, data| {
            // Events arrive through the channel, as they may arrive while a device is opened.
            let dispatched = session.0.seat.borrow_mut().dispatch(0).map_err(error);
            Ok(match dispatched.and_then(|_| check_connection(&**connection)) {
                Ok(()) => PostAction::Continue,
                Err(error) => {
                    session.0.is_active.set(false);
                    report(data, Event::Lost(error));
                    PostAction::Remove
                }
            })
        });
        let connection = connection.map_err(|error| failed(error.error))?;
        let session = self.clone();
        let events = handle.insert_source(events.0, move |event, (), data| {
            let channel::Event::Msg(event) = event else { return };
            debug!(?event, "libseat event");
            let is_active = matches!(event, SeatEvent::Enable);
            session.0.is_active.set(is_active);
            match is_active {
                true => on_event(data, Event::Enabled),
                false => {
                    // Devices are no longer used when the seat takes them.
                    on_event(data, Event::Disabled);
                    let acknowledged = session.0.seat.borrow_mut().disable();
                    if let Err(errno) = acknowledged {
                        warn!(error = %error(errno), "cannot acknowledge that the session is disabled");
                    }
                }
            }
        });
        Ok(vec![connection, events.map_err(|error| failed(error.error))?])
    }
}

impl LibinputInterface for Session {
    fn open_restricted(&mut self, path: &Path, _: i32) -> Result<OwnedFd, i32> {
        let failed = |error: io::Error| -error.raw_os_error().unwrap_or(libc::EPERM);
        self.open_device(path).map_err(failed)
    }

    fn close_restricted(&mut self, fd: OwnedFd) {
        if let Err(error) = self.close_device(fd) {
            debug!(%error, "the seat has closed the input device already");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn connection_that_the_other_side_closed_is_found() {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        assert!(check_connection(&ours).is_ok());
        drop(theirs);
        let error = check_connection(&ours).expect_err("closed");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}

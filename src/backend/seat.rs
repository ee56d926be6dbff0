//! The seat: the right to use its GPUs and input devices.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use geom_kms::discovery::Candidate;
use geom_kms::DrmFd;
use smithay::reexports::calloop::ping::Ping;
use smithay::reexports::calloop::LoopHandle;
use smithay::reexports::input::Libinput;
use tracing::{info, warn};

use super::input_source::OnInput;
use super::kms::Event;
use super::{hotplug, input_source, udev};
use crate::session;
use crate::session::libseat::{Event as SessionEvent, Events, Session};

/// What the KMS backend does with its seat. Implemented by libseat, and by tests.
pub trait Seat {
    /// Opens a GPU; the descriptor is DRM master.
    ///
    /// # Errors
    ///
    /// If the seat does not give the device.
    fn open_gpu(&mut self, path: &Path) -> io::Result<DrmFd>;

    /// Closes a GPU.
    ///
    /// # Errors
    ///
    /// If the seat has closed it already.
    fn close_gpu(&mut self, fd: OwnedFd) -> io::Result<()>;

    /// Returns the paths of all GPUs of the seat.
    fn gpu_paths(&self) -> Vec<PathBuf>;

    /// Returns what sysfs has about a GPU.
    fn describe(&self, id: u64, path: &Path) -> Candidate {
        Candidate::read(id, path)
    }

    /// Stops using input devices.
    fn suspend_input(&mut self);

    /// Opens input devices again. Returns whether all could be opened.
    fn resume_input(&mut self) -> bool;

    /// Asks for another VT.
    ///
    /// # Errors
    ///
    /// If the seat has no VTs, or refuses.
    fn switch_vt(&mut self, vt: i32) -> io::Result<()>;
}

/// The seat of libseat, whose input devices belong to libinput.
pub struct LibSeat {
    session: Session,
    libinput: Libinput,
    /// Has the events handled that libinput has queued.
    queued_input: Ping,
    /// Removes session and libinput from the event loop.
    unwatch: Box<dyn FnMut()>,
}

/// A seat that was taken.
pub struct TakenSeat {
    /// The seat.
    pub seat: LibSeat,
    /// False if its VT is not active yet.
    pub is_active: bool,
}

impl LibSeat {
    /// Takes the seat, and reports its events and those of its devices. Returns its GPUs too:
    /// device numbers and paths.
    ///
    /// # Errors
    ///
    /// If there is no seat; the message says what to do.
    pub fn take<D: 'static>(
        handle: &LoopHandle<'static, D>,
        on_event: fn(&mut D, Event),
        on_input: OnInput<D>,
    ) -> Result<(TakenSeat, Vec<(u64, PathBuf)>)> {
        let (session, events) = session::open()?;
        let taken = Self::watch(session, events, handle, on_event, on_input)?;
        let seat = taken.seat.session.name().to_owned();
        // Listening first: a GPU that comes in between is reported twice, not missed.
        udev::listen(handle, seat.clone(), on_event)
            .with_context(|| format!("watch the devices of seat {seat} through udev"))?;
        let gpus = udev::gpus(&seat).with_context(|| format!("list the devices of seat {seat}"))?;
        if let Err(error) = hotplug::listen(handle, move |data, gpus| on_event(data, Event::Uevents(gpus))) {
            warn!(%error, "cannot listen to kernel uevents; hotplug events come from udev, later");
        }
        Ok((taken, gpus))
    }

    /// Takes the seat again, after [`Event::SeatLost`].
    ///
    /// # Errors
    ///
    /// If there is no seat yet.
    pub fn retake<D: 'static>(
        handle: &LoopHandle<'static, D>,
        on_event: fn(&mut D, Event),
        on_input: OnInput<D>,
    ) -> Result<TakenSeat> {
        let (session, events) = Session::open().context("no seat")?;
        Self::watch(session, events, handle, on_event, on_input)
    }

    fn watch<D: 'static>(
        session: Session,
        events: Events,
        handle: &LoopHandle<'static, D>,
        on_event: fn(&mut D, Event),
        on_input: OnInput<D>,
    ) -> Result<TakenSeat> {
        let is_active = session.is_active();
        if !is_active {
            info!("session not active yet; waiting for its VT");
        }
        let name = session.name();
        let mut libinput = Libinput::new_with_udev(session.clone());
        if libinput.udev_assign_seat(name).is_err() {
            bail!("libinput cannot watch seat {name}: is udev running?");
        }
        let (queued_input, mut tokens) =
            input_source::watch(handle, &libinput, on_input).context("watch libinput")?;
        queued_input.ping();
        let on_session = move |data: &mut D, event| {
            let event = match event {
                SessionEvent::Enabled => Event::SessionResumed,
                SessionEvent::Disabled => Event::SessionPaused,
                SessionEvent::Lost(error) => Event::SeatLost(error.to_string()),
            };
            on_event(data, event);
        };
        tokens.extend(session.watch(events, handle, on_session).context("watch the session")?);
        let handle = handle.clone();
        let unwatch = Box::new(move || tokens.drain(..).for_each(|token| handle.remove(token)));
        Ok(TakenSeat { seat: Self { session, libinput, queued_input, unwatch }, is_active })
    }
}

impl Drop for LibSeat {
    fn drop(&mut self) {
        (self.unwatch)();
    }
}

impl Seat for LibSeat {
    fn open_gpu(&mut self, path: &Path) -> io::Result<DrmFd> {
        self.session.open_device(path).map(DrmFd::new)
    }

    fn close_gpu(&mut self, fd: OwnedFd) -> io::Result<()> {
        self.session.close_device(fd)
    }

    fn gpu_paths(&self) -> Vec<PathBuf> {
        let gpus = udev::gpus(self.session.name()).inspect_err(|error| {
            warn!(%error, "cannot ask udev for GPUs; using those that are known");
        });
        gpus.unwrap_or_default().into_iter().map(|(_, path)| path).collect()
    }

    fn suspend_input(&mut self) {
        self.libinput.suspend();
        self.queued_input.ping();
    }

    fn resume_input(&mut self) -> bool {
        let is_resumed = self.libinput.resume().is_ok();
        self.queued_input.ping();
        is_resumed
    }

    fn switch_vt(&mut self, vt: i32) -> io::Result<()> {
        self.session.switch_vt(vt)
    }
}

//! The seat: the right to use its GPUs and input devices.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use geom_kms::DrmFd;
use smithay::backend::libinput::LibinputSessionInterface;
use smithay::backend::session::libseat::LibSeatSession;
use smithay::backend::session::{Event as SessionEvent, Session};
use smithay::reexports::calloop::ping::Ping;
use smithay::reexports::calloop::LoopHandle;
use smithay::reexports::input::Libinput;
use smithay::reexports::rustix::fs::OFlags;
use tracing::{info, warn};

use super::input_source::OnInput;
use super::kms::Event;
use super::{hotplug, input_source, udev};
use crate::session;

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
    session: LibSeatSession,
    libinput: Libinput,
    /// Has the events handled that libinput has queued.
    queued_input: Ping,
}

/// A seat that was taken.
pub struct TakenSeat {
    /// The seat.
    pub seat: LibSeat,
    /// Its GPUs: device numbers and paths.
    pub gpus: Vec<(u64, PathBuf)>,
    /// False if its VT is not active yet.
    pub is_active: bool,
}

impl LibSeat {
    /// Takes the seat, and reports its events and those of its devices.
    ///
    /// # Errors
    ///
    /// If there is no seat; the message says what to do.
    pub fn take<D: 'static>(
        handle: &LoopHandle<'static, D>,
        on_event: fn(&mut D, Event),
        on_input: OnInput<D>,
    ) -> Result<TakenSeat> {
        let (session, notifier) = session::open()?;
        let is_active = session.is_active();
        if !is_active {
            info!("session not active yet; waiting for its VT");
        }
        let seat = session.seat();
        let mut libinput = Libinput::new_with_udev(LibinputSessionInterface::from(session.clone()));
        if libinput.udev_assign_seat(&seat).is_err() {
            bail!("libinput cannot watch seat {seat}: is udev running?");
        }
        let insertion = "add a source to the event loop";
        let queued_input = input_source::watch(handle, &libinput, on_input).context(insertion)?;
        queued_input.ping();
        // Listening first: a GPU that comes in between is reported twice, not missed.
        udev::listen(handle, seat.clone(), on_event)
            .with_context(|| format!("watch the devices of seat {seat} through udev"))?;
        let gpus = udev::gpus(&seat).with_context(|| format!("list the devices of seat {seat}"))?;
        handle
            .insert_source(notifier, move |event, &mut (), data| {
                let event = match event {
                    SessionEvent::PauseSession => Event::SessionPaused,
                    SessionEvent::ActivateSession => Event::SessionResumed,
                };
                on_event(data, event);
            })
            .map_err(|error| error.error)
            .context(insertion)?;
        if let Err(error) = hotplug::listen(handle, move |data, gpus| on_event(data, Event::Uevents(gpus))) {
            warn!(%error, "cannot listen to kernel uevents; hotplug events come from udev, later");
        }
        Ok(TakenSeat { seat: Self { session, libinput, queued_input }, gpus, is_active })
    }
}

impl Seat for LibSeat {
    fn open_gpu(&mut self, path: &Path) -> io::Result<DrmFd> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        self.session.open(path, flags).map(DrmFd::new).map_err(io::Error::other)
    }

    fn close_gpu(&mut self, fd: OwnedFd) -> io::Result<()> {
        self.session.close(fd).map_err(io::Error::other)
    }

    fn gpu_paths(&self) -> Vec<PathBuf> {
        let gpus = udev::gpus(&self.session.seat()).inspect_err(|error| {
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
        self.session.change_vt(vt).map_err(io::Error::other)
    }
}

//! The machine's own monitors: Gpus and input devices of the seat, as they come and go.

use std::path::PathBuf;

use anyhow::{bail, Context, Result};
use smithay::backend::libinput::{LibinputInputBackend, LibinputSessionInterface};
use smithay::backend::session::libseat::LibSeatSession;
use smithay::backend::session::{Event as SessionEvent, Session};
use smithay::backend::udev::{UdevBackend, UdevEvent};
use smithay::reexports::calloop::LoopHandle;
use smithay::reexports::input::Libinput;
use smithay::reexports::rustix::fs::OFlags;
use tracing::{debug, error, info, warn};

use crate::backend::{hotplug, Backend};
use crate::gpu::device::Gpu;
use crate::gpu::discovery::{sort, Candidate};
use crate::power::HeldInput;
use crate::event_loop::reactor::{Reactor, Source};
use crate::compositor::deadline::Deadline;
use crate::compositor::output_config::{MASTER_RETRY_DELAY, MAX_MASTER_RETRIES};
use crate::session;
use crate::compositor::State;

/// A Gpu and its place in the event loop.
pub struct GpuEntry {
    pub gpu: Gpu,
    candidate: Candidate,
    /// Changes that the kernel told of itself, and udev has not yet.
    pending_udev_echoes: u32,
}

/// The seat and what it gives.
pub struct Kms {
    pub session: LibSeatSession,
    pub gpus: Vec<GpuEntry>,
    /// The seat is somebody else's.
    pub away: bool,
    pub asleep: bool,
    libinput: Libinput,
}

impl Kms {
    /// Takes the seat and watches for its devices. Gpus are opened by [`State::start_kms`].
    ///
    /// # Errors
    /// Where no seat can be had; the message says what to do.
    pub fn new(handle: &LoopHandle<'static, State>) -> Result<(Self, Vec<(u64, PathBuf)>)> {
        let (session, notifier) = session::open()?;
        let away = !session.is_active();
        if away {
            info!("the seat is not active yet; waiting for its VT");
        }
        let seat = session.seat();
        let mut libinput = Libinput::new_with_udev(LibinputSessionInterface::from(session.clone()));
        if libinput.udev_assign_seat(&seat).is_err() {
            bail!("libinput can't watch seat {seat}: is udev running?");
        }
        let registered = "the event loop takes no more sources";
        handle
            .insert_source(LibinputInputBackend::new(libinput.clone()), |event, (), state| state.input(event))
            .map_err(|error| error.error)
            .context(registered)?;
        let udev = UdevBackend::new(&seat)
            .with_context(|| format!("watch the devices of seat {seat} through udev"))?;
        let present = udev.device_list().map(|(id, path)| (id, path.to_owned())).collect();
        handle
            .insert_source(udev, |event, (), state| state.udev(event))
            .map_err(|error| error.error)
            .context(registered)?;
        handle
            .insert_source(notifier, |event, &mut (), state| match event {
                SessionEvent::PauseSession => state.pause(),
                SessionEvent::ActivateSession => state.resume(),
            })
            .map_err(|error| error.error)
            .context(registered)?;
        if let Err(error) = hotplug::listen(handle) {
            warn!(%error, "the kernel does not tell of cables; udev does, later");
        }
        Ok((Self { session, gpus: Vec::new(), away, asleep: false, libinput }, present))
    }

    fn open(&mut self, reactor: &Reactor, candidate: Candidate, state: &crate::config::Config) -> Result<()> {
        let path = candidate.path.clone();
        let id = candidate.id;
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        let fd = self.session.open(&path, flags).with_context(|| {
            format!(
                "{}: the seat does not give it (another display server may hold it, or this user has no \
                 active session on the seat)",
                path.display()
            )
        })?;
        let gpu = match Gpu::open(&path, id, fd, state.renderer) {
            Ok(gpu) => gpu,
            Err((error, fd)) => {
                if let Some(fd) = fd {
                    let _ = self.session.close(fd);
                }
                return Err(error.into());
            }
        };
        reactor.add(&gpu.card, Source::Gpu(id)).context("watch the GPU for page flips")?;
        let connected = gpu.objects.connectors.iter().filter(|connector| connector.state.connected).count();
        self.gpus.push(GpuEntry { gpu, candidate: Candidate { connected, ..candidate }, pending_udev_echoes: 0 });
        self.sort();
        Ok(())
    }

    /// The primary one first.
    fn sort(&mut self) {
        let mut order: Vec<Candidate> = self.gpus.iter().map(|entry| entry.candidate.clone()).collect();
        sort(&mut order);
        self.gpus.sort_by_key(|entry| order.iter().position(|candidate| *candidate == entry.candidate));
    }
}

/// A switch of VTs takes less.
const SWITCH: std::time::Duration = std::time::Duration::from_secs(1);

impl State {
    /// Takes the seat, opens its Gpus and lights its monitors.
    ///
    /// # Errors
    /// Without a seat, or where every Gpu is there and none may be used.
    pub fn start_kms(&mut self) -> Result<()> {
        let (kms, present) = Kms::new(&self.handle)?;
        self.backend = Backend::Kms(Box::new(kms));
        let mut candidates: Vec<Candidate> =
            present.iter().map(|(id, path)| Candidate::read(*id, path)).collect();
        sort(&mut candidates);
        if candidates.is_empty() {
            warn!("no GPU yet; waiting for udev to show one");
        }
        let mut failures = Vec::new();
        for candidate in candidates {
            if let Err(error) = self.open_gpu(candidate) {
                failures.push(format!("{error:#}"));
            }
        }
        self.release_gone_gpus();
        if !failures.is_empty() && self.backend.gpus().next().is_none() {
            bail!("no GPU can be used:\n  {}", failures.join("\n  "));
        }
        self.reconfigure("start");
        Ok(())
    }

    fn open_gpu(&mut self, candidate: Candidate) -> Result<()> {
        let path = candidate.path.clone();
        let firmware = candidate.firmware;
        let Backend::Kms(kms) = &mut self.backend else { return Ok(()) };
        if let Err(error) = kms.open(&self.reactor, candidate, &self.config) {
            warn!(gpu = %path.display(), "GPU left out: {error:#}");
            self.notices.add(format!("{}: {error}", path.display()));
            return Err(error);
        }
        if !firmware {
            // simpledrm gives way to the real driver.
            let Backend::Kms(kms) = &self.backend else { return Ok(()) };
            let replaced: Vec<u64> =
                kms.gpus.iter().filter(|entry| entry.candidate.firmware).map(|entry| entry.gpu.id).collect();
            for id in replaced {
                info!("the firmware's framebuffer gives way");
                self.close_gpu(id);
            }
        }
        Ok(())
    }

    fn close_gpu(&mut self, id: u64) {
        let Backend::Kms(kms) = &mut self.backend else { return };
        let Some(place) = kms.gpus.iter().position(|entry| entry.gpu.id == id) else { return };
        let entry = kms.gpus.remove(place);
        if let Err(error) = self.reactor.remove(&entry.gpu.card) {
            debug!(%error, "the GPU was not watched any more");
        }
        // Everything that holds the device goes first: scanouts, buffers, the renderer.
        self.reconfigure("GPU gone");
        self.release_gpu(id);
        let GpuEntry { gpu, .. } = entry;
        let path = gpu.path.clone();
        let card = gpu.card.clone();
        drop(gpu);
        let Backend::Kms(kms) = &mut self.backend else { return };
        match card.into_fd() {
            Ok(fd) => {
                if let Err(error) = kms.session.close(fd) {
                    debug!(gpu = %path.display(), %error, "the seat had taken the GPU already");
                }
            }
            Err(_) => error!(gpu = %path.display(), "a part of the program still holds the GPU's descriptor"),
        }
        info!(gpu = %path.display(), "GPU closed");
    }

    fn udev(&mut self, event: UdevEvent) {
        match event {
            UdevEvent::Added { device_id, path } => self.gpu_added(device_id, path, 0),
            UdevEvent::Changed { device_id } => {
                // What the kernel told was seen to; what of it was lost, or could not be heard, comes here.
                match self.pending_udev_echoes(device_id) {
                    Some(pending_udev_echoes) if *pending_udev_echoes > 0 => *pending_udev_echoes -= 1,
                    _ => self.gpu_changed(device_id),
                }
            }
            UdevEvent::Removed { device_id } => self.close_gpu(device_id),
        }
    }

    fn pending_udev_echoes(&mut self, id: u64) -> Option<&mut u32> {
        let Backend::Kms(kms) = &mut self.backend else { return None };
        kms.gpus.iter_mut().find(|entry| entry.gpu.id == id).map(|entry| &mut entry.pending_udev_echoes)
    }

    /// The kernel told of a change that udev will tell of.
    pub fn note_kernel_uevent(&mut self, id: u64) {
        if let Some(pending_udev_echoes) = self.pending_udev_echoes(id) {
            *pending_udev_echoes += 1;
        }
    }

    /// A Gpu's connectors may have changed.
    pub fn gpu_changed(&mut self, id: u64) {
        let Some(gpu) = self.backend.gpu_mut(id) else { return };
        if let Err(error) = gpu.probe() {
            warn!(gpu = %gpu.path.display(), %error, "connectors can't be probed");
        }
        self.reconfigure("hotplug");
    }

    pub fn gpu_added(&mut self, id: u64, path: PathBuf, failures: u32) {
        // A paused session is not given devices: `resume` looks again.
        if self.backend.gpu(id).is_some() || self.backend.is_paused() || !path.exists() {
            return;
        }
        if self.open_gpu(Candidate::read(id, &path)).is_ok() {
            let prefix = path.display().to_string();
            self.notices.dismiss(|text| text.starts_with(&prefix));
            self.reconfigure("GPU added");
        } else if failures < MAX_MASTER_RETRIES {
            // The kernel tells of a device before it can be opened (drm_minor_register(): its number is entered after device_add()).
            let at = self.now() + MASTER_RETRY_DELAY * 2u32.pow(failures);
            self.timers.at(at, Deadline::OpenGpu { id, path, failures: failures + 1 });
        }
    }

    /// Has the seat open Gpus again.
    pub fn reopen(&mut self, ids: &[u64]) {
        if ids.is_empty() || self.backend.is_paused() {
            return;
        }
        ids.iter().for_each(|id| self.close_gpu(*id));
        self.find_gpus();
    }

    /// The seat is taken away: nothing may be drawn until it is given back.
    fn pause(&mut self) {
        info!("session paused");
        self.pause_all();
        if let Backend::Kms(kms) = &mut self.backend {
            kms.away = true;
            kms.libinput.suspend();
        }
    }

    /// The seat is given back: everything may have changed meanwhile.
    fn resume(&mut self) {
        info!("session resumed");
        let Backend::Kms(kms) = &mut self.backend else { return };
        kms.away = false;
        if kms.libinput.resume().is_err() {
            warn!("libinput could not open every input device again");
        }
        self.rescan("session resumed");
        self.ask_logind_again();
        self.activity();
    }

    /// Looks at everything again: others may have set anything, and monitors may have been changed.
    pub fn rescan(&mut self, cause: &'static str) {
        if let Backend::Kms(kms) = &mut self.backend {
            if kms.away || kms.asleep {
                // Whoever ends that looks.
                return;
            }
            for entry in &mut kms.gpus {
                entry.gpu.state_is_ours = false;
                if let Err(error) = entry.gpu.probe() {
                    warn!(gpu = %entry.gpu.path.display(), %error, "connectors can't be probed");
                }
            }
            self.find_gpus();
        }
        self.reconfigure(cause);
    }

    /// Opens Gpus that came while the session was paused.
    fn find_gpus(&mut self) {
        let Backend::Kms(kms) = &self.backend else { return };
        let all = smithay::backend::udev::all_gpus(kms.session.seat()).unwrap_or_default();
        for path in all {
            let Ok(status) = rustix::fs::stat(&path) else { continue };
            if self.backend.gpu(status.st_rdev).is_none() {
                // Reported where it fails.
                let _ = self.open_gpu(Candidate::read(status.st_rdev, &path));
            }
        }
    }

    /// Keys held while the session goes away would stay pressed for clients.
    pub fn release_keys(&mut self) {
        use smithay::backend::input::KeyState;
        use smithay::input::keyboard::FilterResult;
        let Some(keyboard) = self.seat.get_keyboard() else { return };
        let time = self.now().as_millis() as u32;
        for code in keyboard.pressed_keys() {
            let serial = smithay::utils::SERIAL_COUNTER.next_serial();
            let withheld = self.power.release(HeldInput::Key(code.raw()));
            keyboard.input::<(), _>(self, code, KeyState::Released, serial, time, |_, _, _| match withheld {
                true => FilterResult::Intercept(()),
                false => FilterResult::Forward,
            });
        }
    }

    pub fn switch_vt(&mut self, vt: i32) {
        // Once the seat tells us, it has taken the devices.
        self.reset_color_state();
        let Backend::Kms(kms) = &mut self.backend else { return };
        info!(vt, "switching VT");
        if let Err(error) = kms.session.change_vt(vt) {
            warn!(vt, %error, "the seat does not switch VTs");
        }
        // Where nothing comes of it, color come back.
        let at = self.now() + SWITCH;
        self.timers.at(at, Deadline::Reconfigure("no switch of VTs"));
    }

    /// Leaves Gpus to whoever comes next without color of ours.
    pub fn reset_color_state(&mut self) {
        if !self.backend.is_paused() {
            self.backend.gpus_mut().for_each(|gpu| gpu.reset_color_state());
        }
    }
}

//! The KMS backend: the GPUs of the seat, as they come and go.
//!
//! [`Kms::on`] takes the [`Event`]s of libseat, udev and the kernel, and returns [`Effect`]s.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use geom_display::connector_override::ConnectorOverrides;
use geom_kms::calls::PageFlip;
use geom_kms::discovery::{self, Candidate};
use geom_kms::objects::Connector;
use geom_kms::Probe;
use tracing::{debug, error, info, warn};

use super::hotplug::{Change, Hotplug};
use super::seat::Seat;
use crate::config::RendererPreference;
use crate::event_loop::backoff::Backoff;
use crate::event_loop::reactor::{Reactor, Source};
use crate::gpu::{Gpu, OpenError};

/// When to ask again for a GPU that the kernel or the seat does not give: 100 ms after the first
/// failure, 3.2 s after the sixth and last.
///
/// The kernel reports a device before it can be opened (drm_minor_register() enters its number
/// after device_add()), and a VT switch or another display server that ends may hold DRM master for
/// a moment.
pub const GPU_RETRY: Backoff =
    Backoff::new(Duration::from_millis(100), Duration::from_millis(3200)).with_max_retries(6);

/// An event of libseat, udev or the kernel.
#[derive(Debug)]
pub enum Event {
    /// libseat has disabled the session: nothing may be rendered until it is enabled again.
    SessionPaused,
    /// libseat has enabled the session.
    SessionResumed,
    /// The seat daemon is gone: the seat has to be taken again. The text says why.
    SeatLost(String),
    /// udev: a GPU was added.
    GpuAdded { id: u64, path: PathBuf },
    /// udev: a GPU's connectors may have changed.
    GpuChanged { id: u64 },
    /// udev: a GPU was removed.
    GpuRemoved { id: u64 },
    /// The kernel: connectors may have changed. udev will report each of them as
    /// [`Event::GpuChanged`].
    Uevents(Vec<Hotplug>),
}

/// What the caller has to do.
pub enum Effect {
    /// libseat disabled the session: stop rendering, and release held keys.
    SessionPaused,
    /// libseat enabled the session, and the devices are read again: input devices and logind may
    /// have news.
    SessionResumed,
    /// Take the seat again, and pass it to [`Kms::replace_seat`]. The text says why.
    SeatLost(String),
    /// What is connected may have changed. The text is the cause, for the log.
    Reconfigure(&'static str),
    /// Drop everything that belongs to this GPU, and then call [`Kms::close`].
    CloseGpu(ClosingGpu),
    /// This GPU was opened: notices that begin with its path are outdated.
    GpuOpened { id: u64, path: PathBuf },
    /// A GPU that could not be opened is gone: notices that begin with its path are outdated.
    GpuGone { path: PathBuf },
    /// A GPU cannot be used: a notice for the user.
    Notice(String),
    /// Call [`Kms::add`] after this delay.
    RetryOpen { id: u64, path: PathBuf, failures: u32, delay: Duration },
}

/// Effects in the order in which they have to be applied.
pub type Effects = Vec<Effect>;

/// What the backend reads.
pub struct Cx<'a> {
    /// Watches GPUs for page flip events.
    pub reactor: &'a Reactor,
    /// The configured renderer.
    pub renderer: RendererPreference,
    /// What the configuration says about connectors.
    pub connectors: &'a ConnectorOverrides,
}

/// An open GPU and its place in the event loop.
struct GpuEntry {
    gpu: Gpu,
    candidate: Candidate,
    /// Hotplug events of the kernel that udev has not reported yet.
    pending_udev_echoes: u32,
}

/// A GPU that is about to be closed.
pub struct ClosingGpu(Box<GpuEntry>);

impl ClosingGpu {
    /// Returns its device number.
    pub fn id(&self) -> u64 {
        self.0.gpu.device.id()
    }

    /// Returns the GPU.
    pub fn gpu(&self) -> &Gpu {
        &self.0.gpu
    }
}

/// The seat and its GPUs.
pub struct Kms {
    seat: Box<dyn Seat>,
    /// The primary one first.
    gpus: Vec<GpuEntry>,
    /// The device number of the GPU that clients' buffers are for.
    render_gpu: Option<u64>,
    /// Devices without KMS, which are not opened again.
    without_kms: BTreeSet<u64>,
    /// Devices that could not be opened.
    failed: BTreeMap<u64, PathBuf>,
    is_session_paused: bool,
    is_asleep: bool,
}

impl Kms {
    /// Wraps a seat. `is_active` is false if its VT is not active yet.
    pub fn new(seat: Box<dyn Seat>, is_active: bool) -> Self {
        Self {
            seat,
            gpus: Vec::new(),
            render_gpu: None,
            without_kms: BTreeSet::new(),
            failed: BTreeMap::new(),
            is_session_paused: !is_active,
            is_asleep: false,
        }
    }

    /// Returns whether GPUs may not be used.
    pub fn is_paused(&self) -> bool {
        self.is_session_paused || self.is_asleep
    }

    /// Returns whether libseat's session is enabled.
    pub fn is_session_active(&self) -> bool {
        !self.is_session_paused
    }

    /// Returns whether the system sleeps, or is about to.
    pub fn is_asleep(&self) -> bool {
        self.is_asleep
    }

    /// Sets whether the system sleeps, or is about to.
    pub fn set_asleep(&mut self, asleep: bool) {
        self.is_asleep = asleep;
    }

    /// Returns the open GPUs, the primary one first.
    pub fn gpus(&self) -> impl Iterator<Item = &Gpu> {
        self.gpus.iter().map(|entry| &entry.gpu)
    }

    /// As [`Kms::gpus`].
    pub fn gpus_mut(&mut self) -> impl Iterator<Item = &mut Gpu> {
        self.gpus.iter_mut().map(|entry| &mut entry.gpu)
    }

    /// Returns the device number of the GPU that clients' buffers are for.
    pub fn render_gpu(&self) -> Option<u64> {
        self.render_gpu
    }

    /// Chooses the GPU that clients' buffers are for: the configured one, or else the first one
    /// that accelerates GLES, or else the primary one. It stays the same until it is removed or
    /// another one accelerates what it does not.
    pub fn choose_render_gpu(&mut self, configured: Option<&str>) {
        let is_configured = |gpu: &Gpu| configured.is_some_and(|name| gpu.is_named(name));
        let current = |gpu: &Gpu| Some(gpu.device.id()) == self.render_gpu;
        let rank = |gpu: &&Gpu| (!is_configured(gpu), !gpu.accelerates(), !current(gpu));
        // The first one of equal rank.
        let best = self.gpus().min_by_key(rank).map(|gpu| gpu.device.id());
        if best != self.render_gpu {
            if let Some(gpu) = self.gpus().find(|gpu| Some(gpu.device.id()) == best) {
                info!(gpu = %gpu.device.path().display(), "clients render on this GPU");
            }
        }
        self.render_gpu = best;
    }

    /// Returns the connectors of the firmware's framebuffers, each with the hardware that shows it
    /// ([`Candidate::shown_by`]).
    pub fn firmware_connectors(&self) -> BTreeMap<String, Option<PathBuf>> {
        let firmware = self.gpus.iter().filter(|entry| entry.candidate.is_firmware);
        let connectors = firmware.flat_map(|GpuEntry { gpu, candidate, .. }| {
            let names = gpu.device.connectors().iter().map(|connector| connector.state.name.clone());
            names.map(|name| (name, candidate.shown_by.clone()))
        });
        connectors.collect()
    }

    /// Returns whether an open GPU is the driver of this hardware; see [`Candidate::drives`].
    pub fn drives(&self, id: u64, hardware: Option<&Path>) -> bool {
        self.gpus.iter().any(|entry| entry.gpu.device.id() == id && entry.candidate.drives(hardware))
    }

    fn entry_mut(&mut self, id: u64) -> Option<&mut GpuEntry> {
        self.gpus.iter_mut().find(|entry| entry.gpu.device.id() == id)
    }

    fn is_open(&self, id: u64) -> bool {
        self.gpus().any(|gpu| gpu.device.id() == id)
    }

    /// Handles an event.
    pub fn on(&mut self, event: Event, cx: &Cx<'_>) -> Effects {
        match event {
            Event::SessionPaused => {
                info!("session paused");
                self.is_session_paused = true;
                self.seat.suspend_input();
                vec![Effect::SessionPaused]
            }
            Event::SessionResumed => {
                info!("session resumed");
                self.is_session_paused = false;
                if !self.seat.resume_input() {
                    warn!("libinput could not reopen all input devices; see its messages above");
                }
                let mut effects = self.rescan("session resumed", cx);
                effects.push(Effect::SessionResumed);
                effects
            }
            Event::SeatLost(reason) => {
                self.is_session_paused = true;
                self.seat.suspend_input();
                vec![Effect::SessionPaused, Effect::SeatLost(reason)]
            }
            Event::GpuAdded { id, path } => self.add(id, path, 0, cx),
            Event::GpuChanged { id } => match self.entry_mut(id) {
                // Handled when the kernel reported it. What the kernel could not report comes here.
                Some(entry) if entry.pending_udev_echoes > 0 => {
                    entry.pending_udev_echoes -= 1;
                    Effects::new()
                }
                _ => self.probe(BTreeMap::from([(id, Probe::All)])),
            },
            Event::GpuRemoved { id } => {
                // Its driver may come back with KMS.
                self.without_kms.remove(&id);
                let mut effects = self.remove(&[id], cx);
                effects.extend(self.failed.remove(&id).map(|path| Effect::GpuGone { path }));
                effects
            }
            Event::Uevents(events) => {
                // Several connectors that change at once are one change of the GPU.
                let mut probes = BTreeMap::new();
                for Hotplug { gpu, what } in events {
                    if let Some(entry) = self.entry_mut(gpu) {
                        entry.pending_udev_echoes += 1;
                    }
                    let probe = match what {
                        Change::Any => Probe::All,
                        Change::Connector(id) => Probe::Only(BTreeSet::from([id])),
                        Change::Property => Probe::Only(BTreeSet::new()),
                    };
                    let merged = match probes.remove(&gpu) {
                        Some(known) => probe.and(known),
                        None => probe,
                    };
                    probes.insert(gpu, merged);
                }
                self.probe(probes)
            }
        }
    }

    /// Opens the GPUs of a seat that was just taken. Returns why GPUs could not be opened, too. If
    /// the session is not active, they are opened when it is.
    pub fn open_all(&mut self, present: Vec<(u64, PathBuf)>, cx: &Cx<'_>) -> (Effects, Vec<String>) {
        if self.is_paused() {
            return Default::default();
        }
        let mut candidates: Vec<Candidate> =
            present.into_iter().map(|(id, path)| self.seat.describe(id, &path)).collect();
        discovery::sort(&mut candidates);
        let (mut effects, mut failures) = (Effects::new(), Vec::new());
        for candidate in candidates {
            if let Err(error) = self.open(candidate, cx, &mut effects) {
                failures.push(format!("{error:#}"));
            }
        }
        // Now that the monitors are known. GPUs that come later go to the end: clients render with
        // the primary one, and cannot follow at once.
        self.gpus.sort_by_cached_key(|entry| discovery::order(&entry.candidate));
        if self.gpus.is_empty() && failures.is_empty() {
            warn!("no GPU with KMS yet; waiting for udev to report one");
        }
        (effects, failures)
    }

    /// Opens a GPU that udev has reported. `failures` counts earlier attempts.
    pub fn add(&mut self, id: u64, path: PathBuf, failures: u32, cx: &Cx<'_>) -> Effects {
        // libseat gives no devices to a paused session: `rescan` opens them when it is resumed.
        if self.is_open(id) || self.is_paused() || !path.exists() {
            return Effects::new();
        }
        let mut effects = Effects::new();
        let is_opened = self.open(self.seat.describe(id, &path), cx, &mut effects).is_ok();
        if self.is_open(id) {
            effects.push(Effect::Reconfigure("GPU added"));
        } else if let Some(delay) = GPU_RETRY.delay_after(failures + 1).filter(|_| !is_opened) {
            effects.push(Effect::RetryOpen { id, path, failures: failures + 1, delay });
        }
        effects
    }

    /// Takes all GPUs out of use, before [`Kms::replace_seat`].
    pub fn remove_all(&mut self, cx: &Cx<'_>) -> Effects {
        let ids: Vec<u64> = self.gpus().map(|gpu| gpu.device.id()).collect();
        self.remove(&ids, cx)
    }

    /// Uses another seat, as the old one was lost. Its GPUs are opened when the session is resumed.
    pub fn replace_seat(&mut self, seat: Box<dyn Seat>) {
        self.seat = seat;
    }

    /// Opens the GPUs of the seat that are not open.
    pub fn open_missing(&mut self, cx: &Cx<'_>) -> Effects {
        let mut effects = Effects::new();
        for path in self.seat.gpu_paths() {
            let Ok(status) = rustix::fs::stat(&path) else { continue };
            if !self.is_open(status.st_rdev) {
                // A failure is logged, and a notice.
                let _ = self.open(self.seat.describe(status.st_rdev, &path), cx, &mut effects);
            }
        }
        effects
    }

    /// Opens a device. One without KMS, which only renders, is closed again and remembered: that it
    /// has no displays is no fault. The firmware's framebuffer is closed, or not opened, if the
    /// driver of its hardware is there: some drivers leave it in place (NVIDIA's without `fbdev`),
    /// and it would be a display without a monitor.
    fn open(&mut self, candidate: Candidate, cx: &Cx<'_>, effects: &mut Effects) -> Result<()> {
        let (id, path) = (candidate.id, candidate.path.clone());
        if self.without_kms.contains(&id) {
            return Ok(());
        }
        if self.gpus.iter().any(|entry| candidate.is_replaced_by(&entry.candidate)) {
            debug!(gpu = %path.display(), "not used for displays: the driver of this framebuffer's GPU is there");
            return Ok(());
        }
        if let Err(error) = self.open_candidate(candidate.clone(), cx) {
            if error.downcast_ref::<OpenError>().is_some_and(OpenError::is_without_kms) {
                debug!(gpu = %path.display(), "not used for displays: its driver has no KMS");
                self.without_kms.insert(id);
                return Ok(());
            }
            if !path.exists() {
                debug!(gpu = %path.display(), "GPU gone before it was opened: {error:#}");
                return Ok(());
            }
            warn!(gpu = %path.display(), "cannot open GPU: {error:#}");
            effects.push(Effect::Notice(format!("{}: {error}", path.display())));
            self.failed.insert(id, path);
            return Err(error);
        }
        self.failed.remove(&id);
        let replaced = self.gpus.iter().filter(|entry| entry.candidate.is_replaced_by(&candidate));
        let replaced: Vec<u64> = replaced.map(|entry| entry.gpu.device.id()).collect();
        if !replaced.is_empty() {
            info!("firmware framebuffer replaced by the GPU's driver");
            effects.extend(self.remove(&replaced, cx));
        }
        effects.push(Effect::GpuOpened { id, path });
        Ok(())
    }

    fn open_candidate(&mut self, candidate: Candidate, cx: &Cx<'_>) -> Result<()> {
        let path = candidate.path.clone();
        let fd = self.seat.open_gpu(&path).with_context(|| {
            format!(
                "{}: the seat does not give it (another display server may hold it, or this user has no \
                 active session on the seat)",
                path.display()
            )
        })?;
        let opened = Gpu::open(fd.clone(), &path, candidate.id, cx.renderer);
        let mut gpu = match opened {
            Ok(gpu) => gpu,
            Err(error) => {
                if let Ok(fd) = fd.into_fd() {
                    let _ = self.seat.close_gpu(fd);
                }
                return Err(error.into());
            }
        };
        drop(fd);
        if gpu.device.set_overrides(cx.connectors) {
            probe_connectors(&mut gpu, &Probe::All);
        }
        cx.reactor.add(gpu.device.fd(), Source::Gpu(candidate.id)).context("watch the GPU for page flips")?;
        let connectors = gpu.device.connectors().iter();
        let monitors = connectors.filter(|connector| connector.state.connected).count();
        let candidate = Candidate { monitors, ..candidate };
        self.gpus.push(GpuEntry { gpu, candidate, pending_udev_echoes: 0 });
        Ok(())
    }

    /// Takes GPUs out of use.
    pub fn remove(&mut self, ids: &[u64], cx: &Cx<'_>) -> Effects {
        let mut effects = Effects::new();
        for id in ids {
            let index = self.gpus.iter().position(|entry| entry.gpu.device.id() == *id);
            let Some(entry) = index.map(|index| self.gpus.remove(index)) else { continue };
            if let Err(error) = cx.reactor.remove(entry.gpu.device.fd()) {
                debug!(%error, "the GPU was not watched");
            }
            effects.push(Effect::CloseGpu(ClosingGpu(Box::new(entry))));
        }
        effects
    }

    /// Closes a GPU. The caller has dropped everything that belongs to it: scanouts and buffers.
    pub fn close(&mut self, closing: ClosingGpu) {
        let GpuEntry { gpu, .. } = *closing.0;
        let path = gpu.device.path().to_owned();
        let path = path.display();
        let fd = gpu.device.fd().clone();
        drop(gpu);
        match fd.into_fd() {
            Ok(fd) => {
                if let Err(error) = self.seat.close_gpu(fd) {
                    debug!(gpu = %path, %error, "the seat has closed the GPU already");
                }
            }
            Err(_) => {
                error!(gpu = %path, "GPU closed while a part of the program uses it; please report this bug")
            }
        }
        info!(gpu = %path, "GPU closed");
    }

    /// Probes connectors of GPUs.
    fn probe(&mut self, probes: BTreeMap<u64, Probe>) -> Effects {
        let mut is_known = false;
        for entry in &mut self.gpus {
            if let Some(probe) = probes.get(&entry.gpu.device.id()) {
                is_known = true;
                probe_connectors(&mut entry.gpu, probe);
            }
        }
        is_known.then_some(Effect::Reconfigure("hotplug")).into_iter().collect()
    }

    /// Probes GPUs again that have a monitor at a connector without modes.
    pub fn probe_without_modes(&mut self) -> Effects {
        let is_late = |connector: &Connector| {
            let state = &connector.state;
            state.connected && !state.non_desktop && state.modes.is_empty()
        };
        let late = self.gpus().filter(|gpu| gpu.device.connectors().iter().any(is_late));
        let probes = late.map(|gpu| (gpu.device.id(), Probe::All)).collect();
        self.probe(probes)
    }

    /// Uses what the configuration now says about connectors.
    pub fn set_overrides(&mut self, cx: &Cx<'_>) -> Effects {
        let mut changed = BTreeMap::new();
        for gpu in self.gpus_mut() {
            if gpu.device.set_overrides(cx.connectors) {
                changed.insert(gpu.device.id(), Probe::All);
            }
        }
        self.probe(changed)
    }

    /// Probes everything again: another program may have changed anything, and monitors may have
    /// been connected and disconnected. Does nothing while paused, as what ends the pause rescans.
    pub fn rescan(&mut self, cause: &'static str, cx: &Cx<'_>) -> Effects {
        if self.is_paused() {
            return Effects::new();
        }
        for entry in &mut self.gpus {
            entry.gpu.device.invalidate_state();
            probe_connectors(&mut entry.gpu, &Probe::All);
        }
        let mut effects = self.open_missing(cx);
        effects.push(Effect::Reconfigure(cause));
        effects
    }

    /// Reads the page flip events of a GPU and appends them to `flips`, with the index of the CRTC.
    pub fn read_page_flips(&self, id: u64, reactor: &Reactor, flips: &mut Vec<(usize, PageFlip)>) {
        let Some(gpu) = self.gpus().find(|gpu| gpu.device.id() == id) else { return };
        let Err(error) = gpu.device.read_page_flips(flips) else { return };
        let path = gpu.device.path().display();
        warn!(gpu = %path, %error, "cannot read page flip events");
        // The descriptor of an unplugged GPU stays readable until udev reports the removal.
        if error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error()) {
            if let Err(error) = reactor.remove(gpu.device.fd()) {
                warn!(gpu = %path, %error, "cannot stop watching the GPU");
            }
        }
    }

    /// Asks for another VT. libseat pauses the session when it has taken the devices.
    ///
    /// # Errors
    ///
    /// If the seat has no VTs, or refuses.
    pub fn switch_vt(&mut self, vt: i32) -> std::io::Result<()> {
        self.seat.switch_vt(vt)
    }
}

fn probe_connectors(gpu: &mut Gpu, probe: &Probe) {
    if let Err(error) = gpu.device.probe(probe) {
        warn!(gpu = %gpu.device.path().display(), %error, "cannot probe connectors; using the last state");
    }
}

#[cfg(test)]
pub(crate) mod tests;

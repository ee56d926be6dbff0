//! Applies what the KMS backend reports.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{bail, Result};
use geom_ipc::Event as IpcEvent;
use tracing::{debug, info, warn};

use super::deadline::Deadline;
use super::{notify_user, State};
use crate::backend::kms::{Cx, Effect, Effects, Event, Kms};
use crate::backend::seat::{LibSeat, TakenSeat};
use crate::backend::Backend;
use crate::control::report;
use crate::event_loop::backoff::Backoff;

/// A VT switch that libseat has not reported after this time has failed.
const VT_SWITCH_TIMEOUT: Duration = Duration::from_secs(1);

/// How often a seat that was lost is taken again, without end: a daemon that is restarted is there
/// after a moment.
const SEAT_RETRY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));

/// The beginning of the notice about a seat that was lost.
const SEAT_LOST: &str = "displays and input devices cannot be used: the seat daemon is gone";

impl State {
    /// Takes the seat, opens its GPUs and enables their outputs.
    ///
    /// # Errors
    ///
    /// If there is no seat, or none of its GPUs can be used.
    pub fn start_kms(&mut self) -> Result<()> {
        let (TakenSeat { seat, is_active }, gpus) =
            LibSeat::take(&self.handle, Self::on_backend_event, Self::input)?;
        self.backend = Backend::Kms(Box::new(Kms::new(Box::new(seat), is_active)));
        let mut failures = Vec::new();
        self.with_kms(|kms, cx| {
            let (effects, reasons) = kms.open_all(gpus, cx);
            failures = reasons;
            effects
        });
        self.release_gone_gpus();
        if !failures.is_empty() && self.backend.gpus().next().is_none() {
            bail!("no GPU can be used:\n  {}", failures.join("\n  "));
        }
        self.reconfigure("start");
        Ok(())
    }

    /// Handles an event of libseat, udev or the kernel.
    pub fn on_backend_event(&mut self, event: Event) {
        self.with_kms(|kms, cx| kms.on(event, cx));
    }

    /// Calls the KMS backend, if it is in use, and applies the effects.
    pub(super) fn with_kms(&mut self, call: impl FnOnce(&mut Kms, &Cx<'_>) -> Effects) {
        let connectors = &self.config.connectors;
        let cx = Cx { reactor: &self.reactor, renderer: self.config.renderer, connectors };
        let Some(kms) = self.backend.kms_mut() else { return };
        for effect in call(kms, &cx) {
            self.apply_backend_effect(effect);
        }
    }

    fn apply_backend_effect(&mut self, effect: Effect) {
        match effect {
            Effect::SessionPaused => {
                self.pause_all();
                self.publish_event(&IpcEvent::Session { active: false });
            }
            Effect::SessionResumed => {
                self.ask_logind_again();
                self.activity();
                self.publish_event(&IpcEvent::Session { active: true });
            }
            Effect::SeatLost(reason) => {
                notify_user!(self, "{SEAT_LOST} ({reason}); start seatd or systemd-logind again");
                self.retake_seat_later(1);
            }
            Effect::Reconfigure(cause) => self.reconfigure(cause),
            Effect::CloseGpu(closing) => {
                // Those that render on it must not hold it.
                self.update_renderers();
                // Drops the GPU's scanouts, and with them all buffers.
                self.reconfigure("GPU gone");
                self.drop_outputs_of(closing.id());
                self.release_gpu(closing.id());
                let gpu = report::gpu(closing.gpu());
                if let Some(kms) = self.backend.kms_mut() {
                    kms.close(closing);
                }
                self.publish_event(&IpcEvent::GpuRemoved { gpu });
            }
            Effect::GpuOpened { id, path } => {
                self.dismiss_notices_of(&path);
                self.update_renderers();
                if let Some(gpu) = self.backend.gpu(id).map(report::gpu) {
                    self.publish_event(&IpcEvent::GpuAdded { gpu });
                }
                self.check_held_start();
            }
            Effect::GpuGone { path } => self.dismiss_notices_of(&path),
            Effect::Notice(text) => self.notices.add(text),
            Effect::RetryOpen { id, path, failures, delay } => {
                let at = self.now() + delay;
                self.timers.at(at, Deadline::OpenGpu { id, path, failures });
            }
        }
    }

    fn dismiss_notices_of(&mut self, gpu: &Path) {
        let prefix = gpu.display().to_string();
        let is_own = |rest: &str| !rest.starts_with(|next: char| next.is_ascii_digit());
        self.notices.dismiss(|text| text.strip_prefix(&prefix).is_some_and(is_own));
    }

    fn retake_seat_later(&mut self, failures: u32) {
        if let Some(delay) = SEAT_RETRY.delay_after(failures) {
            let at = self.now() + delay;
            self.timers.at(at, Deadline::RetakeSeat { failures });
        }
    }

    /// Takes the seat again after the seat daemon was gone. Its devices are opened again: the
    /// old descriptors are not DRM master.
    pub fn retake_seat(&mut self, failures: u32) {
        let TakenSeat { seat, is_active } =
            match LibSeat::retake(&self.handle, Self::on_backend_event, Self::input) {
                Ok(taken) => taken,
                Err(error) => {
                    debug!(error = format!("{error:#}"), "no seat yet");
                    self.retake_seat_later(failures.saturating_add(1));
                    return;
                }
            };
        info!("seat taken again");
        self.notices.dismiss(|text| text.starts_with(SEAT_LOST));
        self.with_kms(|kms, cx| kms.remove_all(cx));
        if let Some(kms) = self.backend.kms_mut() {
            kms.replace_seat(Box::new(seat));
        }
        if is_active {
            self.on_backend_event(Event::SessionResumed);
        }
    }

    /// Tries again to open a GPU.
    pub fn open_gpu(&mut self, id: u64, path: PathBuf, failures: u32) {
        self.with_kms(|kms, cx| kms.add(id, path, failures, cx));
    }

    /// Closes GPUs and opens them again: libseat asks for DRM master when it opens a device.
    pub fn reopen(&mut self, ids: &[u64]) {
        if ids.is_empty() || self.backend.is_paused() {
            return;
        }
        self.with_kms(|kms, cx| kms.remove(ids, cx));
        self.with_kms(Kms::open_missing);
    }

    /// Probes everything again; see [`Kms::rescan`].
    pub fn rescan(&mut self, cause: &'static str) {
        match self.backend {
            Backend::Kms(_) => self.with_kms(|kms, cx| kms.rescan(cause, cx)),
            Backend::Headless(_) | Backend::None => self.reconfigure(cause),
        }
    }

    /// Switches to another VT.
    pub fn switch_vt(&mut self, vt: i32) {
        // Once libseat pauses the session, it has taken the devices.
        self.backend.reset_color_state();
        let Some(kms) = self.backend.kms_mut() else { return };
        info!(vt, "switching VT");
        if let Err(error) = kms.switch_vt(vt) {
            warn!(vt, %error, "cannot switch VT");
        }
        // Restores color if nothing comes of it.
        let at = self.now() + VT_SWITCH_TIMEOUT;
        self.timers.at(at, Deadline::Reconfigure("no VT switch"));
    }
}

//! Programs of `--exec`, and the report that the service is ready, wait for the GPU's driver while
//! udev still loads drivers after a boot.
//!
//! The service may start before it, on the firmware's framebuffer or without any GPU. It shows what
//! it has at once, but programs choose their renderer once, when they start: those that find no GPU
//! render on the CPU for as long as they run. Units that are ordered after the service wait too.

use std::path::Path;
use std::time::Duration;

use smithay::reexports::calloop::RegistrationToken;
use tracing::{info, warn};

use super::deadline::Deadline;
use super::State;
use crate::backend::udev;
use crate::config::watch::Watch;
use crate::event_loop::timers::Timer;
use crate::session::sd_notify;

/// Programs start after this time at the latest, as udev may wait for other hardware.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// What is started later.
pub struct HeldStart {
    programs: Vec<String>,
    watch: Option<RegistrationToken>,
    timer: Timer,
}

impl State {
    /// Starts these programs, and reports that the service is ready, once a driver has a GPU, udev
    /// has loaded all drivers, or [`MAX_WAIT`] is over.
    pub fn hold_start(&mut self, programs: Vec<String>) {
        info!("programs wait for the driver of the GPU, as udev still loads drivers");
        sd_notify::status("waiting for the driver of the GPU");
        let watch = Watch::new(Path::new(udev::QUEUE))
            .and_then(|watch| watch.listen(&self.handle, |state: &mut Self| state.check_held_start()));
        let watch = watch
            .inspect_err(|error| warn!(%error, "cannot watch udev's queue: programs start in {MAX_WAIT:?}"))
            .ok();
        let at = self.now() + MAX_WAIT;
        let timer = self.timers.at(at, Deadline::HeldStart);
        self.held_start = Some(HeldStart { programs, watch, timer });
        // Either may have come before the watch.
        self.check_held_start();
    }

    /// Returns whether a driver may come: none has a GPU, and udev still loads drivers.
    pub fn awaits_driver(&self) -> bool {
        !self.backend.has_driver() && udev::is_settling()
    }

    /// Starts what waits if a driver has a GPU, or none will come.
    pub fn check_held_start(&mut self) {
        if self.held_start.is_some() && !self.awaits_driver() {
            self.release_start();
        }
    }

    /// Starts what waits.
    pub fn release_start(&mut self) {
        let Some(held) = self.held_start.take() else { return };
        self.timers.cancel(held.timer);
        held.watch.into_iter().for_each(|token| self.handle.remove(token));
        info!(has_driver = self.backend.has_driver(), "starting programs");
        // Those of the driver are enabled in this iteration.
        if !self.backend.has_driver() {
            self.check_named_displays();
        }
        for command in held.programs {
            self.start_program(command, &[]);
        }
        sd_notify::ready(&self.status());
    }
}

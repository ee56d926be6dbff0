//! The page-flip watchdog: page flips that the kernel does not report, and commits that it keeps
//! refusing.

use std::time::Duration;

use geom_kms::commit::is_busy;
use tracing::{debug, info, warn};

use super::deadline::Deadline;
use super::{notify_user, State};
use crate::output::pacing::{FailedCommit, PAGEFLIP_TIMEOUT, UNBLANK_TIMEOUT};
use crate::output::power_change::PowerChange;
use crate::output::redraw::Event;
use crate::output::{Output, OutputId};

impl State {
    /// Arms the page-flip watchdog after a commit. One timer serves all outputs and is left to
    /// expire: to cancel it per frame would need one `timerfd_settime` per frame.
    pub fn arm_pageflip_watchdog(&mut self, now: Duration) {
        if !std::mem::replace(&mut self.pageflip_watchdog_armed, true) {
            self.timers.at(now + PAGEFLIP_TIMEOUT, Deadline::CheckPageflips);
        }
    }

    pub fn check_pageflips(&mut self) {
        let now = self.iteration_start();
        let flips = self.outputs.check_pageflips(now);
        self.pageflip_watchdog_armed = flips.next_check.is_some();
        match flips.next_check {
            Some(at) => {
                self.timers.at(at, Deadline::CheckPageflips);
            }
            None => debug!("no page flip pending"),
        }
        for id in flips.overdue {
            let name = self.outputs.name(id).unwrap_or_default();
            notify_user!(
                self,
                "{name}: page flip timed out after {} s; continuing without it. See the kernel's log for the driver",
                PAGEFLIP_TIMEOUT.as_secs()
            );
            self.outputs.give_up_pageflip(id, now);
            self.redraw_event(id, Event::Damage);
            self.redraw_event(id, Event::Vblank);
        }
        for id in flips.not_powered {
            let name = self.outputs.name(id).unwrap_or_default();
            notify_user!(
                self,
                "{name}: not powered up after {} s; continuing as if it were. See the kernel's log for the driver",
                UNBLANK_TIMEOUT.as_secs()
            );
            self.powered_up(id);
        }
        self.continue_power_changes();
    }

    /// A commit failed. Logged once per series of failures; in the end the output gets a new
    /// modeset.
    pub fn frame_failed(&mut self, id: OutputId, error: &std::io::Error) {
        let now = self.iteration_start();
        let is_powering = |output: &Output| matches!(output.power_change(), PowerChange::Unblanking { .. });
        if is_busy(error) && self.outputs.iter().any(is_powering) {
            debug!(display = self.outputs.name(id), "commit waits for a display that is being powered up");
            return;
        }
        let failed = self.outputs.commit_failed(id, now);
        let name = self.outputs.name(id);
        match failed {
            FailedCommit::First => warn!(display = name, %error, "commit failed; trying again"),
            FailedCommit::Repeated => {}
            FailedCommit::ForceModeset { gpu, crtc } => {
                warn!(display = name, %error, "no commit succeeded for 11 s; forcing a modeset");
                if let Some(gpu) = self.backend.gpu_mut(gpu) {
                    gpu.device.force_modeset(crtc);
                }
                // Not from within a frame.
                self.timers.at(now, Deadline::Reconfigure("no frames"));
            }
        }
    }

    /// A commit succeeded.
    pub fn frame_succeeded(&mut self, id: OutputId) {
        let now = self.iteration_start();
        if self.outputs.commit_succeeded(id, now) {
            info!(display = self.outputs.name(id), "commits succeed again");
        }
        self.arm_pageflip_watchdog(now);
    }
}

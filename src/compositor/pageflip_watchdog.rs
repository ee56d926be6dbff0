//! The page-flip watchdog: page flips that the kernel does not report, and commits that it keeps refusing.

use std::time::Duration;

use tracing::{debug, info, warn};

use super::deadline::Deadline;
use super::{notify_user, State};
use crate::output::redraw::Event;
use crate::output::scanout::Target;
use crate::output::OutputId;

/// A page flip that takes longer is lost: the slowest display shows a frame in a fifth of that.
const PAGEFLIP_TIMEOUT: Duration = Duration::from_secs(2);

/// After this time without a successful commit the output gets a new modeset. The kernel itself waits 10 s for a frame
/// (drm_atomic_helper.c), and a modeset during that wait would block the event loop.
const MODESET_RETRY_AFTER: Duration = Duration::from_secs(11);

impl State {
    /// Arms the page-flip watchdog after a commit. One timer serves all outputs and is left to expire: to cancel it per frame
    /// would need one `timerfd_settime` per frame.
    fn arm_pageflip_watchdog(&mut self, now: Duration) {
        if !std::mem::replace(&mut self.pageflip_watchdog_armed, true) {
            self.timers.at(now + PAGEFLIP_TIMEOUT, Deadline::CheckPageflips);
        }
    }

    pub fn check_pageflips(&mut self) {
        let now = self.iteration_start();
        self.pageflip_watchdog_armed = false;
        let mut next = None::<Duration>;
        let mut late = Vec::new();
        for output in self.outputs.iter() {
            let waiting = output.scanout.as_ref().filter(|scanout| scanout.redraw.awaits_vblank());
            let Some(since) = waiting.and_then(|scanout| scanout.submitted) else { continue };
            if since + PAGEFLIP_TIMEOUT <= now {
                late.push((output.id, output.name.clone()));
            } else {
                next = Some(next.map_or(since, |next| next.min(since)));
            }
        }
        if let Some(since) = next {
            self.pageflip_watchdog_armed = true;
            self.timers.at(since + PAGEFLIP_TIMEOUT, Deadline::CheckPageflips);
        } else {
            debug!("no page flip pending");
        }
        for (id, name) in late {
            notify_user!(
                self,
                "{name}: page flip timed out after 2 s; continuing without it. See the kernel's log for the driver"
            );
            if let Some(scanout) = self.outputs.scanout_mut(id) {
                // Presentation feedback of this frame is sent with the next one.
                let _ = scanout.presented(now);
                scanout.forget();
            }
            self.redraw_event(id, Event::Damage);
            self.redraw_event(id, Event::Vblank);
        }
    }

    /// A commit failed. Logged once per series of failures; in the end the output gets a new modeset.
    pub fn frame_failed(&mut self, id: OutputId, error: &std::io::Error) {
        let now = self.iteration_start();
        let Some(output) = self.outputs.get_mut(id) else { return };
        let name = output.name.as_str();
        let Some(scanout) = output.scanout.as_mut() else { return };
        let since = *scanout.failing.get_or_insert_with(|| {
            warn!(display = name, %error, "commit failed; trying again");
            now
        });
        let Target::Crtc { gpu, index } = scanout.target else { return };
        if now.saturating_sub(since) < MODESET_RETRY_AFTER {
            return;
        }
        scanout.failing = None;
        warn!(display = name, %error, "no commit succeeded for 11 s; forcing a modeset");
        if let Some(gpu) = self.backend.gpu_mut(gpu) {
            gpu.force_modeset(index);
        }
        // Not from within a frame.
        self.timers.at(now, Deadline::Reconfigure("no frames"));
    }

    /// A commit succeeded.
    pub fn frame_succeeded(&mut self, id: OutputId) {
        let now = self.iteration_start();
        let Some(output) = self.outputs.get_mut(id) else { return };
        let Some(scanout) = output.scanout.as_mut() else { return };
        scanout.submitted = Some(now);
        if scanout.failing.take().is_some() {
            info!(display = output.name, "commits succeed again");
        }
        self.arm_pageflip_watchdog(now);
    }
}

//! Frames that do not come: page flips that the kernel owes, commits that it refuses again and again.

use std::time::Duration;

use tracing::{debug, info, warn};

use crate::scanout::redraw::Event;
use crate::scanout::surface::Target;
use crate::state::{trouble, State};

/// A page flip that takes longer is lost: the slowest display shows a frame in a fifth of that.
const LOST: Duration = Duration::from_secs(2);

/// After so long without a frame its mode is set anew. The kernel's own patience for a frame is 10 s (drm_atomic_helper.c), and a mode set within that
/// would hold us up.
const HOPELESS: Duration = Duration::from_secs(11);

impl State {
    /// A frame was handed over: somebody looks whether it comes. One timer for all displays, which ends after the last frame: to end it with each frame
    /// would cost as many system calls as the frame itself.
    pub fn watch_flips(&mut self, now: Duration) {
        if !std::mem::replace(&mut self.watching_flips, true) {
            self.timers.at(now + LOST, Self::look_for_flips);
        }
    }

    fn look_for_flips(&mut self) {
        let now = self.turn_time();
        self.watching_flips = false;
        let mut next = None::<Duration>;
        let mut late = Vec::new();
        for screen in self.screens.iter() {
            let waiting = screen.scanout.as_ref().filter(|scanout| scanout.redraw.awaits_vblank());
            let Some(since) = waiting.and_then(|scanout| scanout.submitted) else { continue };
            if since + LOST <= now {
                late.push(screen.name.clone());
            } else {
                next = Some(next.map_or(since, |next| next.min(since)));
            }
        }
        if let Some(since) = next {
            self.watching_flips = true;
            self.timers.at(since + LOST, Self::look_for_flips);
        } else {
            debug!("no frame is awaited");
        }
        for name in late {
            trouble!(
                self,
                "{name}: the kernel did not tell within 2 s that a frame is shown; going on without"
            );
            if let Some(scanout) = self.screens.get_mut(&name).and_then(|screen| screen.scanout.as_mut()) {
                // Clients who wait for this frame hear of the next.
                let _ = scanout.presented(now);
                scanout.forget();
            }
            self.redraw_event(&name, Event::Damage);
            self.redraw_event(&name, Event::Vblank);
        }
    }

    /// A frame could not be shown: said once, and not for each try; in the end the display is set anew.
    pub fn frame_failed(&mut self, name: &str, error: &std::io::Error) {
        let now = self.turn_time();
        let Some(scanout) = self.screens.get_mut(name).and_then(|screen| screen.scanout.as_mut()) else {
            return;
        };
        let since = *scanout.failing.get_or_insert_with(|| {
            warn!(display = name, %error, "a frame could not be shown; trying again");
            now
        });
        let Target::Crtc { gpu, index } = scanout.target else { return };
        if now.saturating_sub(since) < HOPELESS {
            return;
        }
        scanout.failing = None;
        warn!(display = name, %error, "no frame could be shown for 11 s; the display is set anew");
        if let Some(gpu) = self.backend.gpu_mut(gpu) {
            gpu.distrust(index);
        }
        // Not now, within a frame.
        self.timers.at(now, |state| state.reconfigure("no frames"));
    }

    /// A frame was taken.
    pub fn frame_succeeded(&mut self, name: &str) {
        let now = self.turn_time();
        let Some(scanout) = self.screens.get_mut(name).and_then(|screen| screen.scanout.as_mut()) else {
            return;
        };
        scanout.submitted = Some(now);
        if scanout.failing.take().is_some() {
            info!(display = name, "frames are shown again");
        }
        self.watch_flips(now);
    }
}

//! Handoff of a GPU from the previous DRM master, a boot splash or the run that crashed, without a
//! blank moment (flicker-free boot): the previous run's descriptor of the device stays open until
//! our first commit, and its frame stays until there is a window.
//!
//! Source: the kernel's drm_file.c: framebuffers are removed with the last descriptor of a device's
//! file, and CRTCs that scan them out are disabled.

use std::os::fd::AsFd;

use geom_display::mode::Mode;
use rustix::fs::{major, minor, Dev};
use tracing::{debug, info, warn};

use super::deadline::Deadline;
use super::State;
use crate::cli::options::GuardChoice;
use crate::render::inherited_frame::InheritedFrame;

/// Prefix of a GPU's name in the descriptor store; the device number follows.
const STORE_PREFIX: &str = "gpu-";

fn store_name(id: Dev) -> String {
    format!("{STORE_PREFIX}{}-{}", major(id), minor(id))
}

impl State {
    /// Closes descriptors of GPUs that the previous run left and that are gone.
    pub fn release_gone_gpus(&mut self) {
        for left in self.store.unrecovered(STORE_PREFIX) {
            if !self.backend.gpus().any(|gpu| store_name(gpu.device.id()) == left) {
                self.store.release(&left);
            }
        }
    }

    /// Our first commit on a GPU succeeded: closes the previous run's descriptor, and stores ours
    /// so that our framebuffers survive a crash.
    pub fn hold_gpu(&mut self, id: Dev) {
        let name = store_name(id);
        self.store.release(&name);
        let Some(gpu) = self.backend.gpu(id) else { return };
        if let Err(error) = self.store.hold(&name, gpu.device.fd().as_fd()) {
            warn!(gpu = %gpu.device.path().display(), %error, "cannot store the descriptor: displays will go black if the service crashes");
        }
    }

    /// Closes the stored descriptor of a GPU that was closed, or whose DRM master the previous run
    /// still is.
    pub fn release_gpu(&mut self, id: Dev) {
        self.store.release(&store_name(id));
    }

    /// Returns whether to keep the frame of the previous DRM master. A text console that the
    /// service was started from is not kept.
    fn keeps_inherited_frames(&self) -> bool {
        let succeeds = !self.store.unrecovered(STORE_PREFIX).is_empty();
        let in_unit = self.options.guard == GuardChoice::Always;
        // Notices on the diagnostic screen are more important.
        (succeeds || in_unit) && !self.config.keep_framebuffer.is_zero() && self.notices.recent().is_empty()
    }

    /// Before the first modeset of an output on a GPU: keeps the frame that its CRTC shows,
    /// behind the windows that will come.
    pub fn inherit_frame(&mut self, id: Dev, crtc: usize, name: &str, mode: &Mode) {
        // Another mode needs another frame.
        if let Some(output) = self.outputs.named_mut(name) {
            output.own_content.drop_inherited_frame();
        }
        let Some(gpu) = self.backend.gpu(id).filter(|gpu| gpu.device.never_committed()) else { return };
        let Some(timing) = gpu.device.kms_mode(name, mode).filter(|_| self.keeps_inherited_frames()) else {
            return;
        };
        let framebuffer = match gpu.device.inherited_framebuffer(name, crtc, &timing) {
            Ok(Some(framebuffer)) => framebuffer,
            Ok(None) => return,
            Err(error) => {
                debug!(display = name, %error, "cannot read the framebuffer of the previous DRM master");
                return;
            }
        };
        let time = self.config.keep_framebuffer;
        let at = self.now() + time;
        let Some(output) = self.outputs.named_mut(name) else { return };
        // The frame is in the monitor's color space already: it would be converted twice.
        if output.scanout.as_ref().is_none_or(|scanout| scanout.converts()) {
            return;
        }
        output.own_content.inherit(InheritedFrame::new(framebuffer, output.state().transform));
        info!(display = name, "keeping inherited framebuffer until the first window");
        let id = output.id;
        self.timers.at(at, Deadline::DropInheritedFrame(id));
    }
}

//! The geometry of an output's framebuffer.

use smithay::backend::renderer::damage::OutputDamageTracker;
use smithay::utils::{Physical, Size, Transform};

/// Size, scale and orientation of what is drawn for one output.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrameGeometry {
    /// Framebuffer pixels, as the kernel scans them out.
    pub size: Size<i32, Physical>,
    /// Framebuffer pixels per logical pixel.
    pub scale: f64,
    /// How the image is turned in the framebuffer.
    pub transform: Transform,
}

impl FrameGeometry {
    /// Returns the framebuffer's size without sign.
    pub fn pixels(&self) -> (u32, u32) {
        (self.size.w.unsigned_abs(), self.size.h.unsigned_abs())
    }

    /// Returns the size of the upright image, in framebuffer pixels.
    pub fn upright_size(&self) -> Size<i32, Physical> {
        self.transform.transform_size(self.size)
    }

    /// Returns a damage tracker for framebuffers of this geometry; another geometry needs another
    /// tracker.
    pub fn damage_tracker(&self) -> OutputDamageTracker {
        OutputDamageTracker::new(self.size, self.scale, self.transform)
    }
}

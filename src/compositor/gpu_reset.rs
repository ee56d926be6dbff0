//! GPU resets, by the driver or because a program hung the GPU: the renderer is replaced, and no
//! client is disconnected.

use std::time::Duration;

use tracing::{info, warn};

use super::deadline::Deadline;
use super::{notify_user, State};
use crate::gpu::RendererState;
use crate::output::scanout::Target;
use crate::output::OutputId;

/// How long to wait for a GPU that is not back yet.
const RETRY_DELAY: Duration = Duration::from_millis(250);

impl State {
    /// Checks for a GPU reset before an output is rendered. Returns whether its renderer is usable.
    pub fn ensure_renderer(&mut self, id: OutputId) -> bool {
        let now = self.iteration_start();
        let target = self.outputs.scanout(id).map(|scanout| scanout.target());
        let Some(Target::Crtc { gpu, .. }) = target else { return true };
        let Some(device) = self.backend.gpu_mut(gpu) else { return true };
        match device.check_renderer(now) {
            RendererState::Usable => return true,
            RendererState::Lost => return false,
            RendererState::JustLost => {}
        }
        warn!(gpu = %device.device.path().display(), "GPU was reset; replacing its renderer");
        // Not from within a frame.
        self.timers.at(now, Deadline::ReplaceRenderer { gpu, failures: 0 });
        false
    }

    pub fn replace_renderer(&mut self, id: u64, failures: u32) {
        let preference = self.config.renderer;
        let Some(gpu) = self.backend.gpu_mut(id) else { return };
        let (renderer, given_up) = match gpu.renderer_after_reset(preference, failures) {
            Ok(renderer) => renderer,
            Err(error) => {
                warn!(gpu = %gpu.device.path().display(), failures, error, "no renderer yet after the GPU reset");
                let at = self.now() + RETRY_DELAY;
                self.timers.at(at, Deadline::ReplaceRenderer { gpu: id, failures: failures + 1 });
                return;
            }
        };
        let path = gpu.device.path().to_owned();
        // Buffers and textures of the old renderer are dropped before it.
        self.lose_renderer(id);
        if let Some(gpu) = self.backend.gpu_mut(id) {
            gpu.replace_renderer(renderer);
        }
        match given_up {
            Some(why) => {
                notify_user!(
                    self,
                    "{}: the GPU {why}; rendering in software until the service is restarted",
                    path.display()
                );
            }
            None => info!(gpu = %path.display(), "renderer replaced after the GPU reset"),
        }
        // Color conversion and dma-buf formats may differ now, and everything must be rendered
        // again. A GPU that renders in software now does not render for others.
        self.update_renderers();
        self.reconfigure("GPU reset");
    }
}

//! A GPU that was reset, by its driver or because a program hung it: its renderer is made anew, and nobody loses a connection.

use std::time::Duration;

use tracing::{info, warn};

use crate::config::RendererWish;
use crate::display::screen::Screen;
use crate::gpu::renderer::Renderer;
use crate::scanout::surface::Target;
use crate::state::{trouble, State};

/// So many resets within [`SPAN`] are a GPU that is not to be drawn with.
const MOST: usize = 3;
const SPAN: Duration = Duration::from_secs(60);

/// From one try to the next while the GPU is not there again, and how many.
const PAUSE: Duration = Duration::from_millis(250);
const TRIES: u32 = 20;

impl State {
    /// Before a display's frame is drawn: whether its renderer is there to draw it.
    pub fn has_renderer(&mut self, display: &str) -> bool {
        let now = self.turn_time();
        let scanout = self.screens.get(display).and_then(|screen| screen.scanout.as_ref());
        let Some(Target::Crtc { gpu, .. }) = scanout.map(|scanout| scanout.target) else { return true };
        let Some(device) = self.backend.gpu_mut(gpu) else { return true };
        if device.is_resetting {
            return false;
        }
        if !device.renderer.is_lost() {
            return true;
        }
        device.is_resetting = true;
        device.resets.retain(|reset| now.saturating_sub(*reset) < SPAN);
        device.resets.push(now);
        warn!(gpu = %device.path.display(), "the GPU was reset; its renderer is made anew");
        // Not now, within a frame.
        self.timers.at(now, move |state| state.renew_renderer(gpu, 0));
        false
    }

    fn renew_renderer(&mut self, id: u64, failures: u32) {
        let wish = self.config.renderer;
        let Some(gpu) = self.backend.gpu_mut(id) else { return };
        let given_up = match (gpu.resets.len() > MOST, failures >= TRIES) {
            (true, _) => Some("is reset again and again"),
            (_, true) => Some("does not come back from a reset"),
            _ => None,
        };
        let made = match given_up {
            Some(_) => Renderer::choose(&gpu.card, &gpu.driver, RendererWish::Pixman),
            None => Renderer::gles(&gpu.card, wish == RendererWish::Llvmpipe),
        };
        let renderer = match made {
            Ok(renderer) => renderer,
            Err(error) => {
                warn!(gpu = %gpu.path.display(), failures, error, "no renderer yet");
                let at = self.now() + PAUSE;
                self.timers.at(at, move |state| state.renew_renderer(id, failures + 1));
                return;
            }
        };
        let path = gpu.path.clone();
        // What the old one made goes before it.
        for name in self.shown_by(id) {
            if let Some(scanout) = self.screens.get_mut(&name).and_then(|screen| screen.scanout.as_mut()) {
                scanout.lose_renderer();
            }
        }
        if let Some(gpu) = self.backend.gpu_mut(id) {
            gpu.renew(renderer);
        }
        match given_up {
            Some(why) => {
                trouble!(
                    self,
                    "{}: the GPU {why}: drawing without it until the service is started anew",
                    path.display()
                );
            }
            None => info!(gpu = %path.display(), "the GPU draws again"),
        }
        // Colours and dma-bufs may be had otherwise now; and everything is drawn.
        self.reconfigure("GPU reset");
    }

    /// Displays that a GPU shows pictures on.
    fn shown_by(&self, id: u64) -> Vec<String> {
        let of_it = |screen: &&Screen| {
            let target = screen.scanout.as_ref().map(|scanout| scanout.target);
            matches!(target, Some(Target::Crtc { gpu, .. }) if gpu == id)
        };
        self.screens.iter().filter(of_it).map(|screen| screen.name.clone()).collect()
    }
}

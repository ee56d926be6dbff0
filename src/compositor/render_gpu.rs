//! The GPU that renders for all outputs, so that a client's buffer is shown by every GPU.
//!
//! Clients allocate their buffers for one GPU, whose formats linux-dmabuf announces. Others seldom
//! can read them: layouts differ by vendor, and drivers without a GPU read none of them. Outputs of
//! the others are rendered on that GPU too, each with a context of its own, into linear buffers
//! that the other device scans out; see [`Renderer::allocate`].
//!
//! [`Renderer::allocate`]: crate::render::renderer::Renderer::allocate

use tracing::{info, warn};

use super::notices::notify_user;
use super::State;
use crate::gpu::{Gpu, OtherGpu};

/// The key in the configuration.
const CONFIGURED: &str = "render_gpu";

impl State {
    /// Chooses the GPU that renders, and replaces the renderers of GPUs that render elsewhere.
    pub fn update_renderers(&mut self) {
        let ids: Vec<u64> = self.backend.gpus().map(|gpu| gpu.device.id()).collect();
        // First, as nothing may hold a GPU that is gone, and what renders elsewhere cannot be
        // judged.
        for id in &ids {
            let renders_on = self.backend.gpu(*id).map_or(*id, Gpu::renders_on);
            if renders_on != *id && !self.backend.gpu(renders_on).is_some_and(Gpu::accelerates) {
                self.render_on(*id, None);
            }
        }
        let configured = self.config.render_gpu.clone();
        let Some(kms) = self.backend.kms_mut() else { return };
        kms.choose_render_gpu(configured.as_deref());
        if let Some(id) = self.backend.render_gpu().map(|gpu| gpu.device.id()) {
            if self.backend.gpu(id).is_some_and(|gpu| gpu.renders_on() != id) {
                self.render_on(id, None);
            }
        }
        self.check_configured_render_gpu(configured.as_deref());
        let render_gpu = self.backend.render_gpu().filter(|gpu| gpu.accelerates()).map(Gpu::as_other);
        for id in ids {
            let Some(gpu) = self.backend.gpu(id) else { continue };
            let other = render_gpu.as_ref().filter(|other| other.id != id && gpu.shows_other_gpus());
            if gpu.renders_on() != other.map_or(id, |other| other.id) {
                self.render_on(id, other.cloned());
            }
        }
        self.update_syncobj();
    }

    /// Reports a configured GPU that cannot render for the others.
    fn check_configured_render_gpu(&mut self, configured: Option<&str>) {
        self.notices.dismiss(|text| text.starts_with(CONFIGURED));
        let Some(name) = configured else { return };
        let Some(gpu) = self.backend.render_gpu() else { return };
        if !gpu.is_named(name) {
            notify_user!(
                self,
                "{CONFIGURED} = {name:?} names no GPU that is there; `displays` shows their paths"
            );
        } else if !gpu.renderer.is_accelerated() {
            notify_user!(
                self,
                "{CONFIGURED} = {name:?} does not accelerate GLES; each GPU renders for itself"
            );
        }
    }

    /// Has the outputs of a GPU rendered on another one, or (`None`) on itself.
    fn render_on(&mut self, id: u64, other: Option<OtherGpu>) {
        let preference = self.config.renderer;
        let Some(gpu) = self.backend.gpu(id) else { return };
        let path = gpu.device.path().to_owned();
        let renderer = match &other {
            Some(other) => gpu.renderer_on(other),
            None => gpu.own_renderer(preference),
        };
        let renderer = match renderer {
            Ok(renderer) => renderer,
            Err(error) => {
                warn!(gpu = %path.display(), error, "cannot change the GPU that renders for this one");
                return;
            }
        };
        self.lose_renderer(id);
        if let Some(gpu) = self.backend.gpu_mut(id) {
            let is_remote = other.is_some();
            gpu.render_on(renderer, other);
            info!(gpu = %path.display(), is_remote, "GPU that renders for this one changed");
        }
    }

    /// Drops buffers and textures of a GPU's renderer, which is about to be replaced.
    pub fn lose_renderer(&mut self, id: u64) {
        let scanouts = self.outputs.iter_mut().filter_map(|output| output.scanout.as_mut());
        for scanout in scanouts.filter(|scanout| scanout.target().crtc_on(id).is_some()) {
            scanout.lose_renderer();
        }
    }
}

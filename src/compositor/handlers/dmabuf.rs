//! linux-dmabuf: buffers in GPU memory.

use smithay::backend::allocator::dmabuf::Dmabuf;
use smithay::backend::renderer::ImportDma;
use smithay::delegate_dmabuf;
use smithay::wayland::dmabuf::{
    DmabufFeedbackBuilder, DmabufGlobal, DmabufHandler, DmabufState, ImportNotifier,
};
use tracing::{debug, warn};

use crate::compositor::State;
use crate::render::renderer::Renderer;

impl State {
    /// Creates the global with the formats of the primary GPU, once there is one.
    pub fn announce_dmabuf(&mut self) {
        if self.protocols.dmabuf_global.is_some() {
            return;
        }
        let Some(gpu) = self.backend.gpus().next() else { return };
        let feedback = DmabufFeedbackBuilder::new(gpu.device.id(), gpu.renderer.dmabuf_formats()).build();
        match feedback {
            Ok(feedback) => {
                let display = self.display_handle.clone();
                let global =
                    self.protocols.dmabuf.create_global_with_default_feedback::<Self>(&display, &feedback);
                self.protocols.dmabuf_global = Some(global);
            }
            Err(error) => warn!(%error, "cannot offer linux-dmabuf: no memory for its format table"),
        }
    }
}

impl DmabufHandler for State {
    fn dmabuf_state(&mut self) -> &mut DmabufState {
        &mut self.protocols.dmabuf
    }

    fn dmabuf_imported(&mut self, _global: &DmabufGlobal, dmabuf: Dmabuf, notifier: ImportNotifier) {
        let mut result = Err("no GPU".to_owned());
        if let Some(gpu) = self.backend.gpus_mut().next() {
            result = match &mut gpu.renderer {
                Renderer::Pixman(renderer) => {
                    renderer.import_dmabuf(&dmabuf, None).map(drop).map_err(|error| error.to_string())
                }
                Renderer::Gles { renderer, .. } => {
                    renderer.import_dmabuf(&dmabuf, None).map(drop).map_err(|error| error.to_string())
                }
            };
        }
        match result {
            // Fails if the client is disconnected already.
            Ok(()) => drop(notifier.successful::<Self>()),
            Err(error) => {
                debug!(error, "cannot import a client's dma-buf");
                notifier.failed();
            }
        }
    }
}

delegate_dmabuf!(State);

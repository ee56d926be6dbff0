//! linux-drm-syncobj: points on timelines of the kernel say when a client's buffer is ready, and
//! when it is free again.

use smithay::backend::drm::DrmDeviceFd;
use smithay::utils::DeviceFd;
use smithay::wayland::drm_syncobj::{supports_syncobj_eventfd, DrmSyncobjHandler, DrmSyncobjState};
use tracing::{debug, warn};

use crate::compositor::State;
use crate::gpu::Gpu;

/// The global, and the GPU that imports timelines.
#[derive(Default)]
pub struct SyncobjGlobal {
    state: Option<DrmSyncobjState>,
    gpu: Option<u64>,
}

impl State {
    /// Offers the protocol with the GPU that renders, if its driver has timelines. After this
    /// nothing holds the GPU that was used before.
    pub fn update_syncobj(&mut self) {
        let gpu = self.backend.render_gpu();
        let id = gpu.map(|gpu| gpu.device.id());
        if self.protocols.syncobj.gpu == id {
            return;
        }
        let device = gpu.and_then(timeline_device);
        let SyncobjGlobal { state, gpu } = &mut self.protocols.syncobj;
        *gpu = id;
        match (state.as_mut(), device) {
            (Some(state), Some(device)) => state.update_device(device),
            (None, Some(device)) => {
                *state = Some(DrmSyncobjState::new::<Self>(&self.display_handle, device));
                debug!("linux-drm-syncobj is offered");
            }
            (_, None) => {
                if let Some(global) = state.take().map(DrmSyncobjState::into_global) {
                    self.disable_global(global);
                }
            }
        }
    }
}

/// Returns another descriptor of a GPU that can wait for points on timelines.
fn timeline_device(gpu: &Gpu) -> Option<DrmDeviceFd> {
    use std::os::fd::AsFd;
    let path = gpu.device.path().display();
    match gpu.device.fd().as_fd().try_clone_to_owned() {
        Ok(fd) => {
            let device = DrmDeviceFd::new(DeviceFd::from(fd));
            supports_syncobj_eventfd(&device).then_some(device)
        }
        Err(error) => {
            warn!(gpu = %path, %error, "cannot offer linux-drm-syncobj");
            None
        }
    }
}

impl DrmSyncobjHandler for State {
    fn drm_syncobj_state(&mut self) -> Option<&mut DrmSyncobjState> {
        self.protocols.syncobj.state.as_mut()
    }
}

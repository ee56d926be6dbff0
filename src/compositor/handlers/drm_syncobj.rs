//! linux-drm-syncobj: points on timelines of the kernel say when a client's buffer is ready, and
//! when it is free again.

use std::fs::File;
use std::path::Path;

use geom_kms::discovery;
use smithay::backend::drm::DrmDeviceFd;
use smithay::utils::DeviceFd;
use smithay::wayland::drm_syncobj::{supports_syncobj_eventfd, DrmSyncobjHandler, DrmSyncobjState};
use tracing::debug;

use crate::compositor::State;
use crate::gpu::Gpu;

/// Timelines that are imported with one open file of the device. Smithay does not free them one by
/// one; the kernel frees all when the file is closed.
const IMPORTS_PER_FILE: u32 = 256;

/// The global, and the GPU that imports timelines.
#[derive(Default)]
pub struct SyncobjGlobal {
    state: Option<DrmSyncobjState>,
    gpu: Option<u64>,
    imports: u32,
}

impl State {
    /// Offers the protocol with the GPU that renders, if its driver has timelines. Without a GPU
    /// the last one's stay as they are.
    pub fn update_syncobj(&mut self) {
        let Some(gpu) = self.backend.render_gpu() else { return };
        let id = gpu.device.id();
        if self.protocols.syncobj.gpu == Some(id) {
            return;
        }
        let device = timeline_device(gpu);
        let SyncobjGlobal { state, gpu, imports } = &mut self.protocols.syncobj;
        (*gpu, *imports) = (Some(id), 0);
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

    /// A client is about to import a timeline.
    pub fn count_timeline(&mut self) {
        self.protocols.syncobj.imports += 1;
        if self.protocols.syncobj.imports < IMPORTS_PER_FILE {
            return;
        }
        let device = self.backend.render_gpu().and_then(timeline_device);
        let SyncobjGlobal { state, imports, .. } = &mut self.protocols.syncobj;
        if let Some((state, device)) = state.as_mut().zip(device) {
            state.update_device(device);
            *imports = 0;
        }
    }
}

/// Opens the render node of a GPU, if it can wait for points on timelines. Its timelines are not
/// those of the descriptor that displays are set with, which stays open.
fn timeline_device(gpu: &Gpu) -> Option<DrmDeviceFd> {
    let node = discovery::render_node(gpu.device.id())?;
    let path = format!("/dev/char/{}:{}", rustix::fs::major(node), rustix::fs::minor(node));
    match File::options().read(true).write(true).open(Path::new(&path)) {
        Ok(file) => {
            let device = DrmDeviceFd::new(DeviceFd::from(std::os::fd::OwnedFd::from(file)));
            supports_syncobj_eventfd(&device).then_some(device)
        }
        Err(error) => {
            debug!(node = path, %error, "linux-drm-syncobj is not offered: the render node cannot be opened");
            None
        }
    }
}

impl DrmSyncobjHandler for State {
    fn drm_syncobj_state(&mut self) -> Option<&mut DrmSyncobjState> {
        self.protocols.syncobj.state.as_mut()
    }
}

//! Where outputs come from: the machine's GPUs, or memory. Backends report events and never see the
//! compositor's state.

pub mod headless;
mod hotplug;
pub mod input_source;
pub mod kms;
pub mod leases;
pub mod seat;
pub mod udev;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use geom_display::plan;
use smithay::backend::renderer::pixman::PixmanRenderer;

use crate::gpu::Gpu;

/// The backend in use.
pub enum Backend {
    /// None is chosen yet.
    None,
    /// The GPUs of the seat.
    Kms(Box<kms::Kms>),
    /// Virtual outputs.
    Headless(headless::Headless),
}

impl Backend {
    fn kms(&self) -> Option<&kms::Kms> {
        match self {
            Self::Kms(kms) => Some(kms),
            _ => None,
        }
    }

    /// Returns the KMS backend, if that is in use.
    pub fn kms_mut(&mut self) -> Option<&mut kms::Kms> {
        match self {
            Self::Kms(kms) => Some(kms),
            _ => None,
        }
    }

    /// Returns whether libseat's session is enabled. The headless backend needs none.
    pub fn is_session_active(&self) -> bool {
        match self {
            Self::None => false,
            Self::Kms(kms) => kms.is_session_active(),
            Self::Headless(_) => true,
        }
    }

    /// Returns whether outputs may not be changed: the session is disabled, or the system sleeps.
    pub fn is_paused(&self) -> bool {
        match self {
            Self::None => true,
            Self::Kms(kms) => kms.is_paused(),
            Self::Headless(_) => false,
        }
    }

    /// Returns why outputs may not be changed, as text.
    pub fn pause_reason(&self) -> &'static str {
        match self.is_asleep() {
            true => "the system is about to sleep",
            false => "the session is on another VT",
        }
    }

    /// Returns whether the system sleeps, or is about to. Virtual outputs are not affected.
    pub fn is_asleep(&self) -> bool {
        self.kms().is_some_and(kms::Kms::is_asleep)
    }

    /// Sets whether the system sleeps, or is about to.
    pub fn set_asleep(&mut self, asleep: bool) {
        if let Some(kms) = self.kms_mut() {
            kms.set_asleep(asleep);
        }
    }

    /// Returns what is connected, the primary GPU's first.
    pub fn probed(&self) -> Vec<plan::ProbedGpu> {
        match self {
            Self::None => Vec::new(),
            Self::Kms(_) => {
                let mut probed = self.gpus().map(Gpu::probed).collect::<Vec<_>>();
                self.use_unknown(&mut probed);
                probed
            }
            Self::Headless(headless) => vec![headless.probed()],
        }
    }

    /// Uses connectors of which the driver cannot tell whether a monitor is connected (VGA through
    /// some KVM switches, composite video), if no other one is connected: a black screen is worse
    /// than a signal that goes nowhere.
    fn use_unknown(&self, probed: &mut [plan::ProbedGpu]) {
        let mut connectors = probed.iter().flat_map(|gpu| &gpu.connectors);
        if connectors.any(|connector| connector.connected && !connector.non_desktop) {
            return;
        }
        for (gpu, probed) in self.gpus().zip(probed) {
            let is_unknown = |name: &str| gpu.device.connector(name).is_some_and(|known| known.is_unknown);
            let unknown = probed.connectors.iter_mut().filter(|connector| is_unknown(&connector.name));
            unknown.for_each(|connector| connector.connected = true);
        }
    }

    /// Returns the names of all connectors.
    pub fn connector_names(&self) -> Vec<String> {
        self.probed().into_iter().flat_map(|gpu| gpu.connectors).map(|connector| connector.name).collect()
    }

    /// See [`kms::Kms::firmware_connectors`].
    pub fn firmware_connectors(&self) -> BTreeMap<String, Option<PathBuf>> {
        self.kms().map(kms::Kms::firmware_connectors).unwrap_or_default()
    }

    /// Returns whether a driver has a GPU: not only the firmware's framebuffer is there.
    pub fn has_driver(&self) -> bool {
        self.gpus().any(|gpu| self.drives(gpu.device.id(), None))
    }

    /// See [`kms::Kms::drives`].
    pub fn drives(&self, id: u64, hardware: Option<&Path>) -> bool {
        self.kms().is_some_and(|kms| kms.drives(id, hardware))
    }

    /// Returns the open GPUs, the primary one first.
    pub fn gpus(&self) -> impl Iterator<Item = &Gpu> {
        self.kms().into_iter().flat_map(kms::Kms::gpus)
    }

    /// As [`Backend::gpus`].
    pub fn gpus_mut(&mut self) -> impl Iterator<Item = &mut Gpu> {
        self.kms_mut().into_iter().flat_map(kms::Kms::gpus_mut)
    }

    /// Returns the GPU that clients' buffers are for.
    pub fn render_gpu(&self) -> Option<&Gpu> {
        self.gpu(self.kms()?.render_gpu()?)
    }

    /// As [`Backend::render_gpu`].
    pub fn render_gpu_mut(&mut self) -> Option<&mut Gpu> {
        let id = self.kms()?.render_gpu()?;
        self.gpu_mut(id)
    }

    /// Returns the open GPU with this device number.
    pub fn gpu(&self, id: u64) -> Option<&Gpu> {
        self.gpus().find(|gpu| gpu.device.id() == id)
    }

    /// As [`Backend::gpu`].
    pub fn gpu_mut(&mut self, id: u64) -> Option<&mut Gpu> {
        self.gpus_mut().find(|gpu| gpu.device.id() == id)
    }

    /// Returns the renderer of virtual outputs.
    pub fn memory_renderer(&mut self) -> Option<&mut PixmanRenderer> {
        match self {
            Self::Headless(headless) => Some(&mut headless.renderer),
            _ => None,
        }
    }

    /// Frees the buffers that were allocated for test commits.
    pub fn release_spare_buffers(&mut self) {
        self.gpus_mut().for_each(Gpu::release_spare_buffers);
    }

    /// Resets color properties for the next DRM master; see
    /// [`Device::reset_color_state`](geom_kms::Device::reset_color_state).
    pub fn reset_color_state(&mut self) {
        if !self.is_paused() {
            self.gpus_mut().for_each(|gpu| gpu.device.reset_color_state());
        }
    }
}

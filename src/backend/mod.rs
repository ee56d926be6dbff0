//! What displays are made of: a machine's monitors, or memory.

pub mod headless;
mod hotplug;
pub mod kms;

use smithay::backend::renderer::pixman::PixmanRenderer;
use geom_display::plan;

use crate::gpu::device::Gpu;

/// The backend in use.
pub enum Backend {
    /// Before one is chosen.
    None,
    Kms(Box<kms::Kms>),
    Headless(headless::Headless),
}

impl Backend {
    /// Displays may not be touched now: the session is elsewhere.
    pub fn is_paused(&self) -> bool {
        match self {
            Self::None => true,
            Self::Kms(kms) => kms.away || kms.asleep,
            Self::Headless(_) => false,
        }
    }

    /// Why displays may not be touched, in words.
    pub fn pause(&self) -> &'static str {
        match self.is_asleep() {
            true => "the system is about to sleep",
            false => "the session is on another VT",
        }
    }

    /// The system sleeps, or is about to: virtual displays do not mind.
    pub fn is_asleep(&self) -> bool {
        matches!(self, Self::Kms(kms) if kms.asleep)
    }

    pub fn set_asleep(&mut self, asleep: bool) {
        if let Self::Kms(kms) = self {
            kms.asleep = asleep;
        }
    }

    /// What is plugged in, the primary Gpu's first.
    pub fn present(&self) -> Vec<plan::ProbedGpu> {
        match self {
            Self::None => Vec::new(),
            Self::Kms(_) => self.gpus().map(Gpu::present).collect(),
            Self::Headless(headless) => vec![headless.present()],
        }
    }

    pub fn connector_names(&self) -> Vec<String> {
        self.present().into_iter().flat_map(|gpu| gpu.connectors).map(|connector| connector.name).collect()
    }

    /// The primary Gpu first.
    pub fn gpus(&self) -> impl Iterator<Item = &Gpu> {
        let kms = match self {
            Self::Kms(kms) => Some(kms),
            _ => None,
        };
        kms.into_iter().flat_map(|kms| kms.gpus.iter().map(|entry| &entry.gpu))
    }

    pub fn gpus_mut(&mut self) -> impl Iterator<Item = &mut Gpu> {
        let kms = match self {
            Self::Kms(kms) => Some(kms),
            _ => None,
        };
        kms.into_iter().flat_map(|kms| kms.gpus.iter_mut().map(|entry| &mut entry.gpu))
    }

    pub fn gpu(&self, id: u64) -> Option<&Gpu> {
        self.gpus().find(|gpu| gpu.id == id)
    }

    pub fn gpu_mut(&mut self, id: u64) -> Option<&mut Gpu> {
        self.gpus_mut().find(|gpu| gpu.id == id)
    }

    pub fn memory_renderer(&mut self) -> Option<&mut PixmanRenderer> {
        match self {
            Self::Headless(headless) => Some(&mut headless.renderer),
            _ => None,
        }
    }

    /// Lets go of buffers that were made for tests only.
    pub fn release_spare_buffers(&mut self) {
        for gpu in self.gpus_mut() {
            let lit: Vec<usize> = gpu.crtc_states.keys().copied().collect();
            gpu.drop_unused(&lit);
        }
    }
}

//! A GPU: a DRM device, and the renderer that renders for its outputs.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use drm::buffer::DrmFourcc;
use drm::control::framebuffer;
use geom_display::{fallback, plan};
use geom_kms::objects::PlaneFormats;
use geom_kms::search::{OutputRequest, TestFramebuffers};
use geom_kms::{Device, DrmFd};

use crate::config::RendererPreference;
use crate::render::drawable::Drawable;
use crate::render::renderer::Renderer;

/// Disables atomic modesetting if set, for tests of legacy drivers' code.
const NO_ATOMIC_VARIABLE: &str = "GEOM_COMPOSITOR_NO_ATOMIC";

/// The format of buffers, and of test framebuffers.
const FORMAT: DrmFourcc = DrmFourcc::Xrgb8888;

/// The format of buffers with more than 8 bits per color.
const DEEP_FORMAT: DrmFourcc = DrmFourcc::Xrgb2101010;

/// An open GPU.
pub struct Gpu {
    /// Its connectors, CRTCs and planes, and what is committed to them.
    pub device: Device,
    /// Renders its outputs' frames.
    pub renderer: Renderer,
    /// When the GPU was reset, as far back as `compositor/gpu_reset.rs` counts.
    pub resets: Vec<Duration>,
    /// The GPU was reset, and `renderer` waits to be replaced.
    pub is_resetting: bool,
    spare_buffers: SpareBuffers,
}

/// Why a GPU cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The device cannot enable outputs.
    #[error(transparent)]
    Device(#[from] geom_kms::OpenError),
    /// There is no renderer.
    #[error("{path}: {reason}")]
    Renderer { path: PathBuf, reason: String },
}

impl Gpu {
    /// Reads what a device has, and creates a renderer. `fd` is DRM master, `id` its device number.
    ///
    /// # Errors
    ///
    /// If the device cannot enable outputs, or there is no renderer. Nothing holds `fd` then.
    pub fn open(fd: DrmFd, path: &Path, id: u64, preference: RendererPreference) -> Result<Self, OpenError> {
        let allow_atomic = std::env::var_os(NO_ATOMIC_VARIABLE).is_none();
        let device = Device::open(fd, path, id, allow_atomic)?;
        let renderer = Renderer::choose(device.fd(), device.driver(), preference)
            .map_err(|reason| OpenError::Renderer { path: path.to_owned(), reason })?;
        let (resets, spare_buffers) = (Vec::new(), SpareBuffers::default());
        Ok(Self { device, renderer, resets, is_resetting: false, spare_buffers })
    }

    /// Replaces the renderer. The caller has dropped what belongs to the old one.
    pub fn replace_renderer(&mut self, renderer: Renderer) {
        self.spare_buffers.0.clear();
        self.renderer = renderer;
        self.is_resetting = false;
    }

    /// Returns what is connected, for the plan.
    pub fn probed(&self) -> plan::ProbedGpu {
        self.device.probed(self.renderer.converts())
    }

    /// Searches which outputs can be enabled; see [`Device::search`].
    pub fn search(&mut self, wanted: &[OutputRequest]) -> fallback::SearchResult {
        let Self { device, renderer, spare_buffers, .. } = self;
        device.search(wanted, &mut Allocation { renderer, spare_buffers })
    }

    /// Allocates a buffer to render a frame into. `bits` is the number of bits per color.
    ///
    /// # Errors
    ///
    /// If no buffer can be allocated.
    pub fn drawable(&mut self, size: (u32, u32), bits: u32) -> io::Result<Drawable> {
        let code = if bits > 8 { DEEP_FORMAT } else { FORMAT };
        if code == FORMAT {
            if let Some(spare) = self.spare_buffers.take(size) {
                return Ok(spare);
            }
        }
        let no_formats = PlaneFormats::default();
        let formats = self.device.any_primary_plane().map_or(&no_formats, |plane| &plane.formats);
        self.renderer.allocate(self.device.fd(), formats, size, code)
    }

    /// Returns the most bits per color that a CRTC's buffers can have.
    pub fn max_bits(&self, crtc: usize) -> u32 {
        let plane = self.device.primary_plane(crtc);
        if plane.is_some_and(|plane| self.renderer.can_render(DEEP_FORMAT, &plane.formats)) {
            10
        } else {
            8
        }
    }

    /// Frees the buffers of all CRTCs but these, which a commit has disabled, and those of tests.
    pub fn drop_unused(&mut self, crtcs: &[usize]) {
        self.device.drop_unused(crtcs);
        self.release_spare_buffers();
    }

    /// Frees the buffers that were allocated for test commits.
    pub fn release_spare_buffers(&mut self) {
        self.spare_buffers.0.clear();
    }
}

/// Buffers that were allocated for test commits. The first frames use them.
#[derive(Default)]
struct SpareBuffers(Vec<((u32, u32), Drawable)>);

impl SpareBuffers {
    fn take(&mut self, size: (u32, u32)) -> Option<Drawable> {
        let index = self.0.iter().position(|(spare, _)| *spare == size)?;
        Some(self.0.swap_remove(index).1)
    }
}

/// Allocates framebuffers for test commits.
struct Allocation<'a> {
    renderer: &'a mut Renderer,
    spare_buffers: &'a mut SpareBuffers,
}

impl TestFramebuffers for Allocation<'_> {
    fn framebuffer(
        &mut self,
        fd: &DrmFd,
        formats: &PlaneFormats,
        size: (u32, u32),
    ) -> io::Result<framebuffer::Handle> {
        let spare = &mut self.spare_buffers.0;
        let index = match spare.iter().position(|(known, _)| *known == size) {
            Some(index) => index,
            None => {
                spare.push((size, self.renderer.allocate(fd, formats, size, FORMAT)?));
                spare.len() - 1
            }
        };
        let framebuffer = spare.get(index).and_then(|(_, drawable)| drawable.framebuffer());
        framebuffer.map(|framebuffer| framebuffer.handle()).ok_or_else(|| io::ErrorKind::Unsupported.into())
    }
}

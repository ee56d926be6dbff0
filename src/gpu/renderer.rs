//! Which renderer draws for a Gpu.

use smithay::backend::allocator::format::FormatSet;
use smithay::backend::allocator::gbm::{GbmAllocator, GbmBufferFlags, GbmDevice};
use smithay::backend::egl::{EGLContext, EGLDevice, EGLDisplay};
use smithay::backend::renderer::gles::GlesRenderer;
use smithay::backend::renderer::pixman::PixmanRenderer;
use smithay::backend::renderer::ImportDma;
use tracing::{info, warn};

use super::drm_fd::DrmFd;
use super::robust_context::{watched, ResetWatch};
use crate::config::RendererPreference;
use crate::render::color_shader::Shader;

/// A renderer, and with GLES what allocates its buffers.
pub enum Renderer {
    Pixman(Box<PixmanRenderer>),
    Gles {
        renderer: Box<GlesRenderer>,
        allocator: GbmAllocator<DrmFd>,
        /// Converts color; none where GLES is too old for it.
        shader: Option<Shader>,
        /// Goes after all that is its context's.
        watch: Option<ResetWatch>,
    },
}

/// Drivers that only show memory: there is no GPU to draw with, and Mesa would run GLES on the
/// processor, several times slower than pixman.
const WITHOUT_GPU: [&str; 16] = [
    "vkms",
    "bochs-drm",
    "bochs",
    "simpledrm",
    "ofdrm",
    "efidrm",
    "vesadrm",
    "cirrus",
    "qxl",
    "ast",
    "mgag200",
    "udl",
    "gud",
    "evdi",
    "hyperv_drm",
    "vboxvideo",
];

impl Renderer {
    /// The renderer that fits the wish and the driver; pixman where GLES can't be had.
    pub fn choose(card: &DrmFd, driver: &str, wish: RendererPreference) -> Result<Self, String> {
        let software_allowed = wish == RendererPreference::Llvmpipe;
        let try_gles = match wish {
            RendererPreference::Pixman => false,
            RendererPreference::Gles | RendererPreference::Llvmpipe => true,
            RendererPreference::Auto => !WITHOUT_GPU.contains(&driver),
        };
        if try_gles {
            match Self::gles(card, software_allowed) {
                Ok(gles) => return Ok(gles),
                Err(error) => warn!(driver, %error, "no GLES; drawing with pixman"),
            }
        }
        info!(driver, "drawing with pixman");
        PixmanRenderer::new()
            .map(|renderer| Self::Pixman(Box::new(renderer)))
            .map_err(|error| error.to_string())
    }

    /// # Errors
    /// Where GLES can't be had, in words.
    pub fn gles(card: &DrmFd, software_allowed: bool) -> Result<Self, String> {
        let gbm = GbmDevice::new(card.clone()).map_err(|error| format!("GBM: {error}"))?;
        // SAFETY: the GBM device outlives the display, which keeps a clone of it.
        let display = unsafe { EGLDisplay::new(gbm.clone()) }.map_err(|error| format!("EGL: {error}"))?;
        let software = EGLDevice::device_for_display(&display).is_ok_and(|device| device.is_software());
        if software && !software_allowed {
            return Err("EGL would draw on the processor (ask for it by renderer = \"llvmpipe\")".into());
        }
        // A context of our own making can't be had everywhere; any will do then.
        let (context, watch) = match watched(&display) {
            Ok((context, watch)) => (context, Some(watch)),
            Err(error) => {
                warn!(error, "resets of the GPU will not be noticed");
                (EGLContext::new(&display).map_err(|error| format!("EGL context: {error}"))?, None)
            }
        };
        // SAFETY: the context is current nowhere else.
        let mut renderer = unsafe { GlesRenderer::new(context) }.map_err(|error| format!("GLES: {error}"))?;
        let shader = Shader::new(&mut renderer);
        let shader = shader.inspect_err(|error| warn!(%error, "GLES does not convert color")).ok();
        info!(software, tells_of_resets = watch.as_ref().is_some_and(ResetWatch::tells), "drawing with GLES");
        let flags = GbmBufferFlags::RENDERING | GbmBufferFlags::SCANOUT;
        Ok(Self::Gles {
            renderer: Box::new(renderer),
            allocator: GbmAllocator::new(gbm, flags),
            shader,
            watch,
        })
    }

    /// Whether the GPU was reset: nothing that it draws comes of anything any more.
    pub fn is_lost(&self) -> bool {
        let Self::Gles { renderer, watch: Some(watch), .. } = self else { return false };
        // SAFETY: its context is used by this thread only.
        unsafe { renderer.egl_context().make_current() }.is_err() || watch.is_lost()
    }

    pub fn is_gles(&self) -> bool {
        matches!(self, Self::Gles { .. })
    }

    /// Its pictures can be had in other color than sRGB's.
    pub fn converts(&self) -> bool {
        match self {
            Self::Pixman(_) => true,
            Self::Gles { shader, .. } => shader.is_some(),
        }
    }

    /// What clients may send as dma-bufs.
    pub fn dmabuf_formats(&self) -> FormatSet {
        match self {
            Self::Pixman(renderer) => renderer.dmabuf_formats(),
            Self::Gles { renderer, .. } => renderer.dmabuf_formats(),
        }
    }
}

//! The renderer of a GPU, and the allocation of buffers that it renders into and planes scan out.

use std::error::Error as _;
use std::io;

use drm::buffer::{DrmFourcc, DrmModifier};
use geom_display::fallback::BufferLayout;
use geom_kms::formats::PlaneFormats;
use geom_kms::{quirks, DrmFd};
use smithay::backend::allocator::format::FormatSet;
use smithay::backend::allocator::gbm::{GbmAllocator, GbmBufferFlags, GbmDevice};
use smithay::backend::allocator::Allocator;
use smithay::backend::drm::NodeType;
use smithay::backend::egl::{EGLContext, EGLDevice, EGLDisplay, EGLError};
use smithay::backend::renderer::gles::GlesRenderer;
use smithay::backend::renderer::pixman::PixmanRenderer;
use smithay::backend::renderer::ImportDma;
use tracing::{debug, info, warn};

use super::color_shader::Shader;
use super::drawable::Drawable;
use super::robust_context::{robust_context, ResetWatch};
use super::texture_program;
use crate::config::RendererPreference;

/// A renderer, and with GLES the allocator of its buffers.
pub enum Renderer {
    /// On the CPU.
    Pixman(Box<PixmanRenderer>),
    /// On the GPU.
    Gles(Box<Gles>),
}

/// How what is rendered gets to the device that scans it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanoutTarget {
    /// That device renders itself.
    Own,
    /// Another device scans out the same memory, or copies if it cannot.
    Shared,
    /// Another device scans out copies.
    Copied,
}

/// A GLES renderer.
pub struct Gles {
    pub renderer: GlesRenderer,
    allocator: GbmAllocator<DrmFd>,
    /// Converts color; `None` if the GPU's GLES is too old.
    pub shader: Option<Shader>,
    /// The device number of the render node that EGL uses. On SoCs it belongs to another device
    /// than the one that has the connectors.
    render_node: Option<u64>,
    /// It runs on the CPU.
    is_software: bool,
    target: ScanoutTarget,
    /// The last field, as it ends the context that the others belong to.
    watch: Option<ResetWatch>,
}

impl Renderer {
    /// Creates the renderer that fits preference and driver; pixman if GLES is not available.
    ///
    /// # Errors
    ///
    /// If pixman is not available either.
    pub fn choose(fd: &DrmFd, driver: &str, preference: RendererPreference) -> Result<Self, String> {
        let allow_software = preference == RendererPreference::Llvmpipe;
        let try_gles = match preference {
            RendererPreference::Pixman => false,
            RendererPreference::Gles | RendererPreference::Llvmpipe => true,
            RendererPreference::Auto => quirks::of(driver).has_gpu,
        };
        if try_gles {
            match Self::gles(fd, allow_software, ScanoutTarget::Own) {
                Ok(gles) => return Ok(gles),
                Err(error) => warn!(driver, %error, "GLES is not available; rendering with pixman"),
            }
        }
        info!(driver, "rendering with pixman");
        PixmanRenderer::new()
            .map(|renderer| Self::Pixman(Box::new(renderer)))
            .map_err(|error| error.to_string())
    }

    /// Creates a GLES renderer. With `allow_software` it may be Mesa's llvmpipe, which runs on the
    /// CPU.
    ///
    /// # Errors
    ///
    /// If the driver has no GLES.
    pub fn gles(fd: &DrmFd, allow_software: bool, target: ScanoutTarget) -> Result<Self, String> {
        let gbm = GbmDevice::new(fd.clone()).map_err(|error| format!("GBM: {error}"))?;
        // SAFETY: the GBM device outlives the display, which keeps a clone of it.
        let display = unsafe { EGLDisplay::new(gbm.clone()) }.map_err(|error| format!("EGL: {error}"))?;
        let device = EGLDevice::device_for_display(&display).ok();
        let is_software = device.as_ref().is_some_and(EGLDevice::is_software);
        let node = device.and_then(|device| device.try_get_render_node().ok().flatten());
        let render_node = node.filter(|node| node.ty() == NodeType::Render).map(|node| node.dev_id());
        if is_software && !allow_software {
            return Err("EGL would render on the CPU (renderer = \"llvmpipe\" allows it)".into());
        }
        // Not every EGL creates the context that we want; any will do then.
        let (context, watch) = match robust_context(&display) {
            Ok((context, watch)) => (context, Some(watch)),
            Err(error) => {
                warn!(error, "GPU resets will not be noticed; update Mesa or the GPU's driver");
                (EGLContext::new(&display).map_err(|error| format!("EGL context: {error}"))?, None)
            }
        };
        // SAFETY: the context is current nowhere else.
        let mut renderer = unsafe { GlesRenderer::new(context) }.map_err(|error| format!("GLES: {error}"))?;
        texture_program::install(&mut renderer).map_err(|error| format!("GLES: {error}"))?;
        let shader = Shader::new(&mut renderer);
        let shader = shader.inspect_err(|error| warn!(%error, "GLES cannot convert color")).ok();
        let reports_resets = watch.as_ref().is_some_and(ResetWatch::reports_resets);
        info!(software = is_software, reports_resets, "rendering with GLES");
        let flags = match target {
            ScanoutTarget::Own => GbmBufferFlags::RENDERING | GbmBufferFlags::SCANOUT,
            // The other device decides what it scans out.
            ScanoutTarget::Shared | ScanoutTarget::Copied => GbmBufferFlags::RENDERING,
        };
        let allocator = GbmAllocator::new(gbm, flags);
        Ok(Self::Gles(Box::new(Gles {
            renderer,
            allocator,
            shader,
            render_node,
            is_software,
            target,
            watch,
        })))
    }

    /// Returns whether the GPU was reset: the renderer cannot render any more.
    pub fn is_lost(&self) -> bool {
        let Self::Gles(gles) = self else { return false };
        let Some(watch) = &gles.watch else { return false };
        // SAFETY: the context is used by this thread only.
        match unsafe { gles.renderer.egl_context().make_current() } {
            Ok(()) => watch.is_lost(),
            Err(error) => {
                let cause = error.source().and_then(|cause| cause.downcast_ref::<EGLError>());
                // Rendering reports others, which say nothing about a reset.
                matches!(cause, Some(EGLError::ContextLost))
            }
        }
    }

    /// Returns the device number of the render node that it renders with.
    pub fn render_node(&self) -> Option<u64> {
        match self {
            Self::Pixman(_) => None,
            Self::Gles(gles) => gles.render_node,
        }
    }

    /// Returns whether it is GLES.
    pub fn is_gles(&self) -> bool {
        matches!(self, Self::Gles(_))
    }

    /// Returns whether it renders on a GPU, not on the CPU.
    pub fn is_accelerated(&self) -> bool {
        matches!(self, Self::Gles(gles) if !gles.is_software)
    }

    /// Returns whether its buffers are scanned out by another device than the one that it renders
    /// on.
    pub fn is_remote(&self) -> bool {
        matches!(self, Self::Gles(gles) if gles.is_remote())
    }

    /// Returns whether it can convert to other color spaces than sRGB.
    pub fn converts(&self) -> bool {
        match self {
            Self::Pixman(_) => true,
            Self::Gles(gles) => gles.shader.is_some(),
        }
    }

    /// Returns the formats of dma-bufs that clients may send.
    pub fn dmabuf_formats(&self) -> FormatSet {
        match self {
            Self::Pixman(renderer) => renderer.dmabuf_formats(),
            Self::Gles(gles) => gles.renderer.dmabuf_formats(),
        }
    }

    /// Returns whether it can render a format into a buffer that a plane with these formats scans
    /// out.
    pub fn can_render(&self, code: DrmFourcc, formats: &PlaneFormats) -> bool {
        match self {
            Self::Pixman(_) => formats.supports(code, DrmModifier::Linear),
            Self::Gles(gles) if gles.is_remote() => code == REMOTE_FORMAT && formats.contains(code),
            Self::Gles(gles) => {
                let rendered = gles.renderer.egl_context().dmabuf_render_formats();
                formats.contains(code) && rendered.iter().any(|format| format.code == code)
            }
        }
    }

    /// Returns the modifiers for buffers with the best layout on a plane with these formats.
    fn modifiers(renderer: &GlesRenderer, formats: &PlaneFormats, code: DrmFourcc) -> Vec<DrmModifier> {
        let rendered = renderer.egl_context().dmabuf_render_formats();
        let can_render = |modifier: &DrmModifier| {
            rendered.iter().any(|format| format.code == code && format.modifier == *modifier)
        };
        formats.buffer_modifiers(code).into_iter().filter(can_render).collect()
    }

    /// Returns whether the best layout on a plane with these formats is another one than the plain
    /// layout.
    pub fn has_layouts(&self, formats: &PlaneFormats) -> bool {
        let Self::Gles(gles) = self else { return false };
        if gles.is_remote() {
            // Copies are the plain layout.
            return gles.target == ScanoutTarget::Shared;
        }
        let Some(code) = formats.buffer_format(|code| self.can_render(code, formats)) else { return false };
        let modifiers = Self::modifiers(&gles.renderer, formats, code);
        modifiers.iter().any(|modifier| *modifier != DrmModifier::Linear)
    }

    /// Allocates a buffer of `size` pixels that a plane with these formats scans out.
    ///
    /// With GLES, modifiers without compression that both support are tried first, then the
    /// driver's choice (implicit modifier), then linear. The plain layout leaves the first step
    /// out. For another device than the renderer's, buffers are linear; in the plain layout, or if
    /// that device cannot use the renderer's memory, they are copied to it.
    ///
    /// # Errors
    ///
    /// If no buffer can be allocated.
    pub fn allocate(
        &mut self,
        fd: &DrmFd,
        formats: &PlaneFormats,
        size: (u32, u32),
        code: DrmFourcc,
        layout: BufferLayout,
    ) -> io::Result<Drawable> {
        let (renderer, allocator) = match self {
            Self::Pixman(_) => return Drawable::dumb(fd, size, code),
            Self::Gles(gles) if gles.is_remote() => return gles.allocate_remote(fd, size, code, layout),
            Self::Gles(gles) => (&gles.renderer, &mut gles.allocator),
        };
        let common = match layout {
            BufferLayout::Best => Self::modifiers(renderer, formats, code),
            BufferLayout::Plain => Vec::new(),
        };
        let mut last = io::Error::other("no modifier can be both rendered and scanned out");
        for modifiers in [common.as_slice(), &[DrmModifier::Invalid], &[DrmModifier::Linear]] {
            if modifiers.is_empty() {
                continue;
            }
            let bo = allocator.create_buffer(size.0, size.1, code, modifiers);
            match bo.and_then(|bo| Drawable::gbm(fd, bo)) {
                Ok(drawable) => return Ok(drawable),
                Err(error) => {
                    debug!(?modifiers, %error, "cannot allocate a buffer with these modifiers");
                    last = error;
                }
            }
        }
        Err(last)
    }
}

/// The format of buffers for another device than the renderer's. All drivers know it.
pub const REMOTE_FORMAT: DrmFourcc = DrmFourcc::Xrgb8888;

impl Gles {
    fn is_remote(&self) -> bool {
        self.target != ScanoutTarget::Own
    }

    /// Allocates a buffer in linear layout that the device of `fd` scans out, or one whose content
    /// is copied into a buffer of that device.
    fn allocate_remote(
        &mut self,
        fd: &DrmFd,
        size: (u32, u32),
        code: DrmFourcc,
        layout: BufferLayout,
    ) -> io::Result<Drawable> {
        if self.target == ScanoutTarget::Shared && layout == BufferLayout::Best {
            let linear = self.allocator.create_buffer(size.0, size.1, code, &[DrmModifier::Linear]);
            match linear.map_err(io::Error::other).and_then(|bo| Drawable::shared(fd, bo)) {
                Ok(drawable) => return Ok(drawable),
                Err(error) => debug!(%error, "the display's GPU cannot show the renderer's memory; copying"),
            }
        }
        let target = self.allocator.create_buffer(size.0, size.1, code, &[DrmModifier::Invalid]);
        let target =
            target.or_else(|_| self.allocator.create_buffer(size.0, size.1, code, &[DrmModifier::Linear]));
        Drawable::copied(fd, target.map_err(io::Error::other)?, size, code)
    }
}

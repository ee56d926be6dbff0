//! A GPU: a DRM device, and the renderer that renders for its outputs.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use drm::buffer::DrmFourcc;
use drm::control::framebuffer;
use geom_display::fallback::{self, BufferLayout};
use geom_display::plan;
use geom_kms::formats::PlaneFormats;
use geom_kms::search::{OutputRequest, TestBuffer, TestFramebuffers};
use geom_kms::{discovery, Device, DrmFd};

use crate::config::RendererPreference;
use crate::render::drawable::Drawable;
use crate::render::renderer::{Renderer, ScanoutTarget, REMOTE_FORMAT};

/// Disables atomic modesetting if set, for tests of legacy drivers' code.
const NO_ATOMIC_VARIABLE: &str = "GEOM_COMPOSITOR_NO_ATOMIC";

/// The format of buffers with more than 8 bits per color.
const DEEP_FORMAT: DrmFourcc = DrmFourcc::Xrgb2101010;

/// An open GPU.
pub struct Gpu {
    /// Its connectors, CRTCs and planes, and what is committed to them.
    pub device: Device,
    /// Renders its outputs' frames.
    pub renderer: Renderer,
    /// The GPU that it renders on, if that is another one.
    renders_on: Option<OtherGpu>,
    resets: Resets,
    spare_buffers: SpareBuffers,
}

/// A GPU that renders for outputs of others.
#[derive(Debug, Clone)]
pub struct OtherGpu {
    /// Its device number.
    pub id: u64,
    fd: DrmFd,
    /// Other devices can read what it renders.
    shares_memory: bool,
}

/// Whether a frame can be rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RendererState {
    Usable,
    /// The GPU was reset since the last frame: its renderer has to be replaced.
    JustLost,
    /// The renderer is being replaced.
    Lost,
}

/// More resets than this within [`RESET_WINDOW`] mean that the GPU is unusable: rendering goes on
/// in software.
const MAX_RESETS: usize = 3;
const RESET_WINDOW: Duration = Duration::from_secs(60);

/// How often to try again with a GPU that is not back yet.
const MAX_RETRIES: u32 = 20;

/// Resets of a GPU, by the driver or because a program hung it.
#[derive(Debug, Default)]
struct Resets {
    /// When it was reset, within [`RESET_WINDOW`].
    times: Vec<Duration>,
    /// Its renderer waits to be replaced.
    is_pending: bool,
}

impl Resets {
    fn begin(&mut self, now: Duration) {
        self.is_pending = true;
        self.times.retain(|reset| now.saturating_sub(*reset) < RESET_WINDOW);
        self.times.push(now);
    }

    fn ended(&mut self) {
        self.is_pending = false;
    }

    /// Returns why the GPU is not used any more, after this many failures to replace its renderer.
    fn unusable(&self, failures: u32) -> Option<&'static str> {
        match (self.times.len() > MAX_RESETS, failures >= MAX_RETRIES) {
            (true, _) => Some("was reset more than 3 times within a minute"),
            (_, true) => Some("does not come back from a reset"),
            _ => None,
        }
    }
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

impl OpenError {
    /// Returns whether the device has no KMS, which is no fault of it: it only renders.
    pub fn is_without_kms(&self) -> bool {
        matches!(self, Self::Device(geom_kms::OpenError::WithoutKms(_)))
    }
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
        let (resets, spare_buffers) = (Resets::default(), SpareBuffers::default());
        Ok(Self { device, renderer, renders_on: None, resets, spare_buffers })
    }

    /// Returns the number of the device that clients should render with for it: the render node, or
    /// the device itself if there is none.
    pub fn render_device(&self) -> u64 {
        let id = self.device.id();
        self.renderer.render_node().or_else(|| discovery::render_node(id)).unwrap_or(id)
    }

    /// Returns whether a name of the configuration is its device node or its place on the bus.
    pub fn is_named(&self, name: &str) -> bool {
        self.device.path() == Path::new(name) || discovery::bus_path(self.device.id()) == name
    }

    /// Returns the device number of the GPU that it renders on.
    pub fn renders_on(&self) -> u64 {
        self.renders_on.as_ref().map_or(self.device.id(), |other| other.id)
    }

    /// Returns whether it renders for itself, and not on the CPU: it can render for others.
    pub fn accelerates(&self) -> bool {
        self.renders_on() == self.device.id() && self.renderer.is_accelerated()
    }

    /// Returns whether its outputs can show what another GPU renders: that is XRGB8888.
    pub fn shows_other_gpus(&self) -> bool {
        let planes = self.device.primary_planes();
        planes.into_iter().all(|plane| plane.formats.contains(REMOTE_FORMAT))
    }

    /// Creates a renderer for its outputs that renders on another GPU.
    ///
    /// # Errors
    /// If that GPU has no GLES.
    pub fn renderer_on(&self, other: &OtherGpu) -> Result<Renderer, String> {
        let target = if other.shares_memory { ScanoutTarget::Shared } else { ScanoutTarget::Copied };
        Renderer::gles(&other.fd, false, target)
    }

    /// Returns it as the GPU that renders for others.
    pub fn as_other(&self) -> OtherGpu {
        OtherGpu {
            id: self.device.id(),
            fd: self.device.fd().clone(),
            shares_memory: !self.device.quirks().renders_on_host,
        }
    }

    /// Creates a renderer that renders on this GPU.
    ///
    /// # Errors
    /// If there is none.
    pub fn own_renderer(&self, preference: RendererPreference) -> Result<Renderer, String> {
        Renderer::choose(self.device.fd(), self.device.driver(), preference)
    }

    /// Replaces the renderer by one that renders on this GPU (`None`) or on another one. The caller
    /// has dropped what belongs to the old one.
    pub fn render_on(&mut self, renderer: Renderer, other: Option<OtherGpu>) {
        self.replace_renderer(renderer);
        self.renders_on = other;
    }

    /// Replaces the renderer. The caller has dropped what belongs to the old one.
    pub fn replace_renderer(&mut self, renderer: Renderer) {
        self.spare_buffers.0.clear();
        self.renderer = renderer;
        self.resets.ended();
    }

    /// Checks for a reset of the GPU before a frame is rendered.
    pub fn check_renderer(&mut self, now: Duration) -> RendererState {
        if self.resets.is_pending {
            return RendererState::Lost;
        }
        if !self.renderer.is_lost() {
            return RendererState::Usable;
        }
        self.resets.begin(now);
        RendererState::JustLost
    }

    /// Creates the renderer after a reset, which failed `failures` times. Returns it, and why it
    /// draws in software.
    ///
    /// # Errors
    /// If the GPU has no renderer yet.
    pub fn renderer_after_reset(
        &self,
        preference: RendererPreference,
        failures: u32,
    ) -> Result<(Renderer, Option<&'static str>), String> {
        let given_up = self.resets.unusable(failures);
        let (fd, driver) = (self.device.fd(), self.device.driver());
        let renderer = match (given_up, &self.renders_on) {
            (Some(_), _) => Renderer::choose(fd, driver, RendererPreference::Pixman),
            (None, Some(other)) => self.renderer_on(other),
            (None, None) => {
                Renderer::gles(fd, preference == RendererPreference::Llvmpipe, ScanoutTarget::Own)
            }
        };
        Ok((renderer?, given_up))
    }

    /// Returns what is connected, for the plan.
    pub fn probed(&self) -> plan::ProbedGpu {
        self.device.probed(self.renderer.converts())
    }

    /// Searches which outputs can be enabled; see [`Device::search`].
    pub fn search(&mut self, wanted: &[OutputRequest], now: &dyn Fn() -> Duration) -> fallback::SearchResult {
        let Self { device, renderer, spare_buffers, .. } = self;
        device.search(wanted, &mut Allocation { renderer, spare_buffers }, now)
    }

    /// Allocates a buffer to render a frame of a CRTC into. `bits` is the number of bits per color.
    ///
    /// # Errors
    ///
    /// If no buffer can be allocated.
    pub fn drawable(
        &mut self,
        crtc: usize,
        size: (u32, u32),
        bits: u32,
        layout: BufferLayout,
    ) -> io::Result<Drawable> {
        let plane = self.device.primary_plane(crtc);
        let formats = &plane.ok_or_else(|| io::Error::other("the CRTC has no primary plane"))?.formats;
        if bits > 8 {
            return self.renderer.allocate(self.device.fd(), formats, size, DEEP_FORMAT, layout);
        }
        match self.spare_buffers.take(crtc, (size, layout)) {
            Some(spare) => Ok(spare),
            None => allocate(&mut self.renderer, self.device.fd(), formats, (size, layout)),
        }
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

/// The size of a buffer in pixels, and its layout.
type SizeAndLayout = ((u32, u32), BufferLayout);

/// Allocates a buffer in the best format with at most 8 bits per color that both know.
fn allocate(
    renderer: &mut Renderer,
    fd: &DrmFd,
    formats: &PlaneFormats,
    (size, layout): SizeAndLayout,
) -> io::Result<Drawable> {
    // If none is known to both, the allocation or the test commit decides about the usual one.
    let format = formats.buffer_format(|code| renderer.can_render(code, formats));
    let format = format.unwrap_or(geom_kms::formats::FORMATS[0]);
    renderer.allocate(fd, formats, size, format, layout)
}

/// Buffers that were allocated for test commits, at most one for each CRTC. The first frames use
/// them.
///
/// The one before is freed when a test needs another size or layout: on devices with little
/// contiguous memory, buffers of all tried sizes together would fill it.
#[derive(Default)]
struct SpareBuffers(BTreeMap<usize, (SizeAndLayout, Drawable)>);

impl SpareBuffers {
    fn take(&mut self, crtc: usize, wanted: SizeAndLayout) -> Option<Drawable> {
        let is_fitting = self.0.get(&crtc).is_some_and(|(spare, _)| *spare == wanted);
        self.0.remove(&crtc).filter(|_| is_fitting).map(|(_, drawable)| drawable)
    }

    /// Returns the spare buffer of a CRTC with this size and layout, which `allocate` allocates if
    /// there is none.
    fn entry(
        &mut self,
        crtc: usize,
        wanted: SizeAndLayout,
        allocate: impl FnOnce() -> io::Result<Drawable>,
    ) -> io::Result<&Drawable> {
        let known = self.take(crtc, wanted);
        let drawable = known.map_or_else(allocate, Ok)?;
        // `take` has removed the one before.
        Ok(&self.0.entry(crtc).or_insert((wanted, drawable)).1)
    }
}

/// Allocates framebuffers for test commits.
struct Allocation<'a> {
    renderer: &'a mut Renderer,
    spare_buffers: &'a mut SpareBuffers,
}

impl TestFramebuffers for Allocation<'_> {
    fn has_layouts(&self, formats: &PlaneFormats) -> bool {
        self.renderer.has_layouts(formats)
    }

    fn framebuffer(&mut self, fd: &DrmFd, wanted: &TestBuffer<'_>) -> io::Result<framebuffer::Handle> {
        let Self { renderer, spare_buffers } = self;
        let TestBuffer { crtc, formats, size, layout } = *wanted;
        let wanted = (size, layout);
        let drawable = spare_buffers.entry(crtc, wanted, || allocate(renderer, fd, formats, wanted))?;
        let framebuffer = drawable.framebuffer().ok_or(io::ErrorKind::Unsupported)?;
        Ok(framebuffer.handle())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crtc_has_one_spare_buffer_which_is_freed_before_another_size() {
        let mut spare = SpareBuffers::default();
        let memory = |wanted: SizeAndLayout| move || Drawable::memory(wanted.0);
        let (small, large) = (((4, 4), BufferLayout::Best), ((8, 8), BufferLayout::Best));
        let plain = ((8, 8), BufferLayout::Plain);
        for crtc in [0, 1] {
            spare.entry(crtc, small, memory(small)).expect("memory");
        }
        spare.entry(0, small, || panic!("it is kept")).expect("memory");
        let fails = || Err(io::ErrorKind::OutOfMemory.into());
        assert!(spare.entry(0, large, fails).is_err());
        assert!(spare.take(0, small).is_none(), "it was freed before the other was allocated");
        spare.entry(0, large, memory(large)).expect("memory");
        assert_eq!(spare.0.len(), 2);
        spare.entry(1, large, memory(large)).expect("memory");
        assert!(spare.take(1, plain).is_none(), "another layout is another buffer");
        assert!(spare.take(0, large).is_some() && spare.take(1, large).is_none());
    }

    #[test]
    fn gpu_that_is_reset_often_or_does_not_come_back_is_given_up() {
        let seconds = Duration::from_secs;
        let mut resets = Resets::default();
        for time in [0, 10, 20] {
            resets.begin(seconds(time));
            assert!(resets.is_pending);
            resets.ended();
            assert_eq!(resets.unusable(0), None);
        }
        // The first one is over a minute ago.
        resets.begin(seconds(60));
        assert_eq!(resets.unusable(0), None);
        resets.begin(seconds(61));
        assert!(resets.unusable(0).is_some());
        let once = Resets { times: vec![seconds(1)], is_pending: true };
        assert_eq!(once.unusable(MAX_RETRIES - 1), None);
        assert!(once.unusable(MAX_RETRIES).is_some());
    }
}

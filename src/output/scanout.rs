//! One display's scanout: draws its scene into a buffer and hands it to the kernel.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use drm::control::Device as ControlDevice;
use smithay::backend::allocator::Buffer as _;
use smithay::backend::renderer::damage::OutputDamageTracker;
use smithay::backend::renderer::pixman::PixmanRenderer;
use smithay::backend::renderer::utils::{Buffer, CommitCounter};
use smithay::desktop::utils::OutputPresentationFeedback;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::{Physical, Rectangle};
use tracing::{debug, warn};
use geom_color::target::ColorTarget;

use crate::render::shadow_buffer::ShadowBuffer;
use crate::output::frame_clock::FrameClock;
use crate::render::drawing::{changed_on_gpu, draw, draw_converted, draw_on_gpu};
use crate::output::planes::{CursorState, ImportedBuffers};
use crate::output::redraw::Redraw;
use crate::output::swapchain::Swapchain;
use crate::gpu::buffer::Drawable;
use crate::gpu::drm_fd::{Blob, Framebuffer};
use crate::gpu::commit::{self, CursorPlane, Frame};
use crate::gpu::device::Gpu;
use crate::render::geometry::FrameGeometry;
use crate::render::scene::{ScanoutCandidate, Pass, Scene, BACKGROUND};
use crate::event_loop::timers::Timer;

/// Where the picture goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Crtc {
        gpu: u64,
        index: usize,
    },
    /// A virtual display: the picture stays in memory.
    Memory,
}

impl Target {
    /// Returns the index of its CRTC if it is one of this GPU.
    pub fn crtc_on(self, id: u64) -> Option<usize> {
        match self {
            Self::Crtc { gpu, index } if gpu == id => Some(index),
            _ => None,
        }
    }
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Submitted,
    Unchanged,
}

/// One lit display's buffers, planes and pace.
pub struct Scanout {
    pub target: Target,
    pub redraw: Redraw,
    pub clock: FrameClock,
    /// The timer that the redraw state waits for.
    pub timer: Option<Timer>,
    /// Surfaces that were told to draw at the last frame's end and have not committed since.
    pub awaited: Vec<WlSurface>,
    /// Clients waiting to hear when the submitted frame was shown.
    pub feedback: Option<OutputPresentationFeedback>,
    /// Roots of the surface trees in the last rendered frame.
    pub surfaces: Vec<WlSurface>,
    /// When the frame was handed over that has not been shown yet.
    pub submitted: Option<Duration>,
    /// Since when no frame could be handed over.
    pub failing: Option<Duration>,
    /// Frames shown, for virtual displays; the kernel counts its own.
    pub sequence: u64,
    geometry: FrameGeometry,
    tracker: OutputDamageTracker,
    swapchain: Swapchain,
    cursor: CursorState,
    imported: ImportedBuffers,
    /// Between the picture and the buffers, where the monitor's color space is not sRGB.
    shadow: Option<ShadowBuffer>,
    /// A client's buffer that the kernel shows, and the one it showed before until the flip.
    direct: Option<Shown>,
    deferred: Option<Shown>,
}

/// A client's buffer on the output: not released to the client while the kernel reads it.
struct Shown {
    framebuffer: Arc<Framebuffer>,
    commit: CommitCounter,
    _buffer: Buffer,
}

impl Scanout {
    pub fn new(target: Target, geometry: FrameGeometry, refresh: u32) -> Self {
        Self {
            target,
            redraw: Redraw::default(),
            clock: FrameClock::new(refresh),
            timer: None,
            awaited: Vec::new(),
            feedback: None,
            surfaces: Vec::new(),
            submitted: None,
            failing: None,
            sequence: 0,
            geometry,
            tracker: geometry.damage_tracker(),
            swapchain: Swapchain::new(geometry.pixels()),
            cursor: CursorState::default(),
            imported: ImportedBuffers::default(),
            shadow: None,
            direct: None,
            deferred: None,
        }
    }

    pub fn size(&self) -> (u32, u32) {
        self.swapchain.size()
    }

    /// How the monitor wants its pictures from now on, converted by the GPU or in memory. Whether that is another way than before.
    ///
    /// # Errors
    /// Without memory for another picture.
    pub fn set_color_conversion(&mut self, look: ColorTarget, by_gpu: bool) -> io::Result<bool> {
        let fits = self.shadow.as_ref().map_or(look == ColorTarget::default(), |shadow| shadow.is_for(&look));
        if fits {
            return Ok(false);
        }
        let (before, bits) = (self.shadow.is_some(), self.bits());
        self.shadow = ShadowBuffer::new(look, self.size(), by_gpu)?;
        if self.bits() != bits {
            self.swapchain = Swapchain::new(self.size());
        }
        self.forget();
        Ok(before || self.shadow.is_some())
    }

    /// Renders for another scale or orientation from now on. Another size needs another scanout.
    fn set_geometry(&mut self, geometry: FrameGeometry) {
        if self.geometry == geometry {
            return;
        }
        self.geometry = geometry;
        self.tracker = geometry.damage_tracker();
        self.forget_pictures();
        self.shadow.iter_mut().for_each(ShadowBuffer::drop_layers);
    }

    /// Bits of a color in its buffers.
    fn bits(&self) -> u32 {
        self.shadow.as_ref().map_or(8, ShadowBuffer::bits)
    }

    /// Someone else may have changed what the CRTC shows: draw and set everything anew.
    pub fn forget(&mut self) {
        self.forget_pictures();
        self.cursor.shown = None;
        self.direct = None;
        self.clock.reset();
    }

    /// What is in our buffers can't be built on.
    pub fn forget_pictures(&mut self) {
        self.swapchain.forget();
        self.shadow.iter_mut().for_each(ShadowBuffer::forget);
    }

    /// Its renderer is gone, with all that it has drawn; what is on the output stays there.
    pub fn lose_renderer(&mut self) {
        self.swapchain = Swapchain::new(self.size());
        self.tracker = self.geometry.damage_tracker();
        self.shadow = None;
        self.forget();
    }

    /// Its pictures are converted in software, or by the renderer.
    pub fn converts(&self) -> bool {
        self.shadow.is_some()
    }

    /// Draws the first frame, for the commit that sets the mode.
    pub fn first_frame(&mut self, gpu: &mut Gpu, scene: &Scene<'_>) -> io::Result<Arc<Framebuffer>> {
        self.set_geometry(scene.geometry);
        self.forget_pictures();
        if let Some(framebuffer) = scene.as_before() {
            self.cursor.shown = Some(CursorPlane::Hidden);
            return Ok(framebuffer.clone());
        }
        let bits = self.bits();
        let (slot, _) = self.swapchain.acquire(|size| gpu.drawable(size, bits))?;
        let drawable = self.swapchain.drawable(slot).ok_or(io::ErrorKind::NotFound)?;
        let drawn = draw_on_gpu(
            &mut gpu.renderer,
            &mut self.shadow,
            drawable,
            &mut self.tracker,
            0,
            scene,
        )?;
        drawn.sync.wait().map_err(io::Error::other)?;
        let framebuffer = drawable.framebuffer().cloned().ok_or(io::ErrorKind::Unsupported)?;
        self.swapchain.submitted(slot);
        // The commit that sets the mode switches every other plane off.
        self.cursor.shown = Some(CursorPlane::Hidden);
        Ok(framebuffer)
    }

    /// Draws what changed and hands it to the kernel.
    pub fn frame(&mut self, gpu: &mut Gpu, crtc: usize, scene: &mut Scene<'_>) -> io::Result<Outcome> {
        self.set_geometry(scene.geometry);
        if self.shadow.is_some() {
            // What goes to the kernel past us is not converted.
            scene.direct = None;
            scene.cursor_plane_allowed = false;
        }
        if gpu.converts_by_plane(crtc) {
            scene.cursor_plane_allowed = false;
        }
        let cursor = self.cursor_plane(gpu, crtc, scene);
        scene.draws_cursor = cursor.is_none();
        let cursor = cursor.unwrap_or(CursorPlane::Hidden);
        let cursor_changed = match self.cursor.shown {
            Some(shown) => shown != cursor,
            None => gpu.objects.crtcs[crtc].cursor.is_some(),
        };
        let color = gpu.color_changes(crtc);
        let mut frame = Frame { cursor: cursor_changed.then_some(cursor), color, ..Frame::default() };

        let direct = scene.direct.take();
        let outcome = if direct.is_some_and(|direct| self.show_directly(gpu, crtc, direct, &mut frame)) {
            if frame.primary.is_none() && frame.cursor.is_none() && frame.color.is_none() {
                return Ok(Outcome::Unchanged);
            }
            let outcome = self.submit(gpu, crtc, &frame);
            if outcome.is_ok() && frame.primary.is_some() {
                self.swapchain.bypassed();
            }
            outcome
        } else {
            self.draw_and_submit(gpu, crtc, scene, &mut frame)
        };
        match &outcome {
            Ok(Outcome::Submitted) => {
                self.cursor.shown = Some(cursor);
                if let Some((color, lit)) = frame.color.take().zip(gpu.crtc_states.get_mut(&crtc)) {
                    lit.setup.color = color;
                }
            }
            Ok(Outcome::Unchanged) => {}
            // Busy or without master is no word about the plane.
            Err(error)
                if error.kind() == io::ErrorKind::InvalidInput
                    && frame.cursor.is_some_and(|cursor| cursor != CursorPlane::Hidden) =>
            {
                warn!(%error, "the kernel refuses the frame with its cursor plane; the cursor is drawn from now on");
                self.cursor.refuse();
            }
            Err(_) => {}
        }
        outcome
    }

    fn cursor_plane(&mut self, gpu: &Gpu, crtc: usize, scene: &Scene<'_>) -> Option<CursorPlane> {
        let cursor = scene.cursor.as_ref()?;
        let picture = cursor.picture.as_ref()?;
        if !scene.cursor_plane_allowed || !self.cursor.fits(gpu, crtc, picture) {
            return None;
        }
        match self.cursor.place(gpu, picture, cursor.position) {
            Ok(plane) => Some(plane),
            Err(error) => {
                warn!(%error, "no cursor plane; the cursor is drawn");
                self.cursor.refuse();
                None
            }
        }
    }

    /// Puts a client's buffer on the primary plane, where the kernel agrees.
    fn show_directly(&mut self, gpu: &Gpu, crtc: usize, direct: ScanoutCandidate, frame: &mut Frame) -> bool {
        let Some(framebuffer) = self.imported.framebuffer(gpu, crtc, &direct.dmabuf) else { return false };
        let shown = self.direct.as_ref();
        if shown.is_none() {
            debug!("a client's buffer is scanned out directly");
        }
        if shown.is_none_or(|shown| {
            shown.framebuffer.handle != framebuffer.handle || shown.commit != direct.commit
        }) {
            frame.primary = Some((framebuffer.handle, (direct.dmabuf.width(), direct.dmabuf.height())));
            let next = Shown { framebuffer, commit: direct.commit, _buffer: direct.buffer };
            self.deferred = self.direct.replace(next);
        }
        true
    }

    fn draw_and_submit(
        &mut self,
        gpu: &mut Gpu,
        crtc: usize,
        scene: &Scene<'_>,
        frame: &mut Frame,
    ) -> io::Result<Outcome> {
        let only = frame.cursor.is_none() && frame.color.is_none();
        // What was there before us is not drawn, only left.
        let shown = gpu.crtc_states.get(&crtc).map(|lit| lit.framebuffer.handle);
        let draws_cursor = scene.draws_cursor && scene.cursor.is_some();
        let before = scene.as_before().map(|framebuffer| framebuffer.handle).filter(|_| !draws_cursor);
        if before.is_some() && before == shown {
            return match only {
                true => Ok(Outcome::Unchanged),
                false => self.submit(gpu, crtc, frame),
            };
        }
        // An empty buffer is drawn whole, and costs memory from then on: not for an unchanged picture.
        let asks = self.direct.is_none() && only && self.swapchain.next_is_empty();
        if asks && !changed_on_gpu(&mut gpu.renderer, &mut self.tracker, scene) {
            return Ok(Outcome::Unchanged);
        }
        if asks {
            // Asking counted as a frame of the tracker's.
            self.shadow.iter_mut().for_each(ShadowBuffer::forget);
        }
        let bits = self.bits();
        let (slot, age) = self.swapchain.acquire(|size| gpu.drawable(size, bits))?;
        let drawable = self.swapchain.drawable(slot).ok_or(io::ErrorKind::NotFound)?;
        let drawn = draw_on_gpu(
            &mut gpu.renderer,
            &mut self.shadow,
            drawable,
            &mut self.tracker,
            age,
            scene,
        );
        let framebuffer = drawable.framebuffer().cloned().ok_or(io::ErrorKind::Unsupported)?;
        let drawn = match drawn {
            Ok(drawn) => drawn,
            Err(error) => {
                self.lose_count();
                return Err(error);
            }
        };
        // After a client's buffer even an unchanged picture has to come back.
        let returns = self.direct.is_some();
        if drawn.damage.is_some() || returns {
            frame.primary = Some((framebuffer.handle, self.swapchain.size()));
            let fences = gpu.objects.crtcs[crtc]
                .primary
                .and_then(|plane| gpu.objects.planes.get(plane)?.ids?.in_fence_fd);
            frame.fence = fences.and_then(|_| drawn.sync.export());
            if frame.fence.is_none() {
                drawn.sync.wait().map_err(io::Error::other)?;
            }
            if gpu.needs_damage && !returns {
                frame.damage = damage_clips(gpu, drawn.damage.as_deref().unwrap_or_default());
            }
        } else if only {
            return Ok(Outcome::Unchanged);
        }
        let outcome = match self.submit(gpu, crtc, frame) {
            Ok(outcome) => outcome,
            Err(error) => {
                self.lose_count();
                return Err(error);
            }
        };
        if frame.primary.is_some() && outcome == Outcome::Submitted {
            self.swapchain.submitted(slot);
            if asks {
                // Asking counted as a frame of the tracker's: an age in frames of ours would leave damage out.
                self.swapchain.forget_others(slot);
            }
            self.deferred = self.direct.take();
            if let Some(lit) = gpu.crtc_states.get_mut(&crtc) {
                lit.framebuffer = framebuffer;
            }
        }
        Ok(outcome)
    }

    /// The tracker has counted a frame that was never shown: its ages are wrong from here on.
    fn lose_count(&mut self) {
        self.tracker = self.geometry.damage_tracker();
        self.forget_pictures();
    }

    fn submit(&mut self, gpu: &Gpu, crtc: usize, frame: &Frame) -> io::Result<Outcome> {
        if gpu.atomic {
            commit::flip(&gpu.card, &gpu.objects, crtc, frame)?;
            return Ok(Outcome::Submitted);
        }
        match frame.primary {
            Some((framebuffer, _)) => {
                commit::flip_legacy(&gpu.card, &gpu.objects, crtc, framebuffer)?;
                Ok(Outcome::Submitted)
            }
            None => Ok(Outcome::Unchanged),
        }
    }

    /// Draws a virtual display's frame.
    pub fn memory_frame(&mut self, renderer: &mut PixmanRenderer, scene: &Scene<'_>) -> io::Result<Outcome> {
        self.set_geometry(scene.geometry);
        let (slot, age) = self.swapchain.acquire(Drawable::memory)?;
        let drawable = self.swapchain.drawable(slot).ok_or(io::ErrorKind::NotFound)?;
        let drawn = match (&mut self.shadow, drawable) {
            (Some(ShadowBuffer::Memory(shadow)), drawable) => {
                draw_converted(renderer, shadow, drawable, &mut self.tracker, age, scene)?
            }
            (None, Drawable::Memory(image)) => {
                draw(renderer, image, &mut self.tracker, age, scene, Pass::Whole, BACKGROUND)?
            }
            _ => return Err(io::ErrorKind::Unsupported.into()),
        };
        if drawn.damage.is_none() {
            return Ok(Outcome::Unchanged);
        }
        self.swapchain.submitted(slot);
        Ok(Outcome::Submitted)
    }

    /// A virtual display's picture: width, height and XRGB8888 pixels without padding.
    pub fn memory_picture(&mut self) -> Option<(u32, u32, Vec<u8>)> {
        let size = self.swapchain.size();
        let Some(Drawable::Memory(image)) = self.swapchain.shown() else { return None };
        let length = image.stride() * image.height();
        // SAFETY: pixman allocated stride * height bytes, and nothing draws meanwhile.
        let bytes = unsafe { std::slice::from_raw_parts(image.data().cast::<u8>(), length) };
        let rows = bytes.chunks(image.stride()).flat_map(|row| row.iter().take(size.0 as usize * 4));
        Some((size.0, size.1, rows.copied().collect()))
    }

    /// The submitted frame is on the output: so many vblanks late, and so long after it was handed over.
    pub fn presented(&mut self, time: Duration) -> (u64, Duration) {
        self.deferred = None;
        let submitted = self.submitted.take().unwrap_or(time);
        (self.clock.presented(time), time.saturating_sub(submitted))
    }
}

/// `FB_DAMAGE_CLIPS`: rectangles in framebuffer pixels (struct drm_mode_rect).
fn damage_clips(gpu: &Gpu, damage: &[Rectangle<i32, Physical>]) -> Option<Blob> {
    // The kernel takes any number; past these the whole is as cheap.
    const MOST: usize = 16;
    if damage.is_empty() || damage.len() > MOST {
        return None;
    }
    let mut clips = [[0i32; 4]; MOST];
    for (clip, rectangle) in clips.iter_mut().zip(damage) {
        let (from, size) = (rectangle.loc, rectangle.size);
        *clip = [from.x, from.y, from.x + size.w, from.y + size.h];
    }
    // Repeating the last fills the fixed size without changing the union.
    let last = clips[damage.len() - 1];
    clips[damage.len()..].fill(last);
    Blob::new(&gpu.card, &clips).ok()
}

/// Reads page flips from a Gpu: CRTC, time of the first scanned out pixel, sequence number.
pub fn page_flips(gpu: &Gpu) -> io::Result<Vec<(usize, Duration, u32)>> {
    let events = gpu.card.receive_events()?;
    Ok(events
        .filter_map(|event| match event {
            drm::control::Event::PageFlip(flip) => {
                Some((gpu.objects.crtc_index(flip.crtc)?, flip.duration, flip.frame))
            }
            _ => None,
        })
        .collect())
}

//! The scanout of an enabled output: draws its scene into a buffer and commits it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use geom_color::target::ColorTarget;
use geom_display::fallback::BufferLayout;
use geom_kms::commit::{is_refusal, CursorPlane};
use geom_kms::cursor::{Cursor, CursorImage};
use geom_kms::{fences, Device, Frame, Framebuffer};
use smithay::backend::allocator::Buffer as _;
use smithay::backend::renderer::damage::OutputDamageTracker;
use smithay::backend::renderer::pixman::PixmanRenderer;
use smithay::backend::renderer::utils::Buffer;
use smithay::desktop::utils::OutputPresentationFeedback;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::{Physical, Rectangle};
use tracing::{debug, warn};

use crate::event_loop::timers::Timer;
use crate::gpu::Gpu;
use crate::output::frame_clock::FrameClock;
use crate::output::planes::{ImportedBuffers, Shown};
use crate::output::redraw::Redraw;
use crate::output::swapchain::Swapchain;
use crate::render::cursor::CursorBuffer;
use crate::render::drawable::Drawable;
use crate::render::drawing::{changed_on_gpu, draw, draw_converted, draw_on_gpu};
use crate::render::geometry::FrameGeometry;
use crate::render::scene::{Pass, Scene, BACKGROUND};
use crate::render::shadow_buffer::ShadowBuffer;

/// Where the frames of an output go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Crtc {
        gpu: u64,
        index: usize,
    },
    /// A virtual output: frames stay in memory.
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

/// The result of rendering a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Submitted,
    Unchanged,
}

/// What the kernel says about a frame.
enum Attempt {
    Done(Outcome),
    /// It refuses the commit, perhaps because of what is on planes: nothing has changed.
    Refused(io::Error),
}

impl Attempt {
    fn is_submitted(&self) -> bool {
        matches!(self, Self::Done(Outcome::Submitted))
    }
}

/// The buffers, planes and pacing of one enabled output.
pub struct Scanout {
    target: Target,
    layout: BufferLayout,
    pub(super) redraw: Redraw,
    pub(super) clock: FrameClock,
    /// The timer that the redraw state waits for.
    pub(super) timer: Option<Timer>,
    /// Surfaces that got a frame callback for the last frame and have not committed since.
    pub(super) awaited: Vec<WlSurface>,
    /// Presentation feedback to send when the submitted frame is shown.
    pub(super) feedback: Option<OutputPresentationFeedback>,
    /// Roots of the surface trees in the last rendered frame.
    pub(super) surfaces: Vec<WlSurface>,
    /// When the frame was committed whose page flip is pending.
    pub(super) submitted: Option<Duration>,
    /// Since when commits fail.
    pub(super) failing: Option<Duration>,
    /// Frames shown by a virtual output; the kernel counts the others.
    pub(super) sequence: u64,
    geometry: FrameGeometry,
    tracker: OutputDamageTracker,
    swapchain: Swapchain,
    cursor: Cursor,
    imported: ImportedBuffers,
    /// The shadow buffer, if frames are converted to the monitor's color space while rendering.
    shadow: Option<ShadowBuffer>,
    /// A client's buffer that the kernel shows, and the one it showed before until the flip.
    direct_scanout: Option<Shown>,
    deferred: Option<Shown>,
    /// Clients' buffers that the submitted frame may be drawn from, though their surfaces show
    /// others already.
    pub(super) held_buffers: Vec<Buffer>,
    /// Signaled when the GPU is done with the submitted frame.
    fence: Option<OwnedFd>,
    /// The submitted frame's page flip was reported too early: the frame counts as shown then.
    pub(super) held_until: Option<Duration>,
}

impl Scanout {
    pub fn new(target: Target, geometry: FrameGeometry, refresh: u32, layout: BufferLayout) -> Self {
        Self {
            target,
            layout,
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
            cursor: Cursor::default(),
            imported: ImportedBuffers::default(),
            shadow: None,
            direct_scanout: None,
            deferred: None,
            held_buffers: Vec::new(),
            fence: None,
            held_until: None,
        }
    }

    /// Returns where it shows its frames.
    pub fn target(&self) -> Target {
        self.target
    }

    /// Returns the layout of its buffers.
    pub fn layout(&self) -> BufferLayout {
        self.layout
    }

    /// The timer that the redraw state waits for is set.
    pub fn timer_armed(&mut self, timer: Timer) {
        self.timer = Some(timer);
    }

    /// The timer that the redraw state waits for has ended, or is to be cancelled.
    pub fn take_timer(&mut self) -> Option<Timer> {
        self.timer.take()
    }

    /// Notes the roots of the surface trees in the frame that is rendered now.
    pub fn set_surfaces(&mut self, surfaces: Vec<WlSurface>) {
        self.surfaces = surfaces;
    }

    /// Notes when rendering of the frame began, and when it was committed.
    pub fn frame_drawn(&mut self, began: Duration, committed: Duration) {
        self.clock.drawn(began, committed);
    }

    /// Changes the refresh rate, in millihertz, and whether it is variable.
    pub fn set_refresh(&mut self, refresh: u32, is_variable: bool) {
        self.clock.set_refresh(refresh, is_variable);
    }

    /// A page flip was reported. Returns when its frame counts as shown, if that is later than the
    /// kernel says; see [`FrameClock::hold`].
    pub fn hold_flip(&mut self, flip: Duration) -> Option<Duration> {
        self.held_until = self.clock.hold(flip);
        self.held_until
    }

    /// Returns whether a page flip is held until this time, and ends that.
    pub fn release_flip(&mut self, until: Duration) -> bool {
        self.held_until.take_if(|held| *held == until).is_some()
    }

    /// Returns when the next frame is shown.
    pub fn next_vblank(&self, now: Duration) -> Duration {
        self.clock.estimate(now)
    }

    pub fn size(&self) -> (u32, u32) {
        self.swapchain.size()
    }

    /// Converts frames to a target from now on, by the GPU or in memory. Returns whether the
    /// conversion changed.
    ///
    /// # Errors
    /// If there is no memory for a shadow buffer.
    pub fn set_color_conversion(&mut self, target: ColorTarget, by_gpu: bool) -> io::Result<bool> {
        let fits =
            self.shadow.as_ref().map_or(target == ColorTarget::default(), |shadow| shadow.is_for(&target));
        if fits {
            return Ok(false);
        }
        let (converted, bits) = (self.shadow.is_some(), self.bits());
        self.shadow = ShadowBuffer::new(target, self.size(), by_gpu)?;
        if self.bits() != bits {
            self.swapchain = Swapchain::new(self.size());
        }
        self.forget();
        Ok(converted || self.shadow.is_some())
    }

    /// Renders with another scale or transform from now on. Another size needs another scanout.
    fn set_geometry(&mut self, geometry: FrameGeometry) {
        if self.geometry == geometry {
            return;
        }
        self.geometry = geometry;
        self.tracker = geometry.damage_tracker();
        self.reset_buffer_ages();
        self.shadow.iter_mut().for_each(ShadowBuffer::drop_layers);
    }

    /// Returns the bits per channel of its buffers.
    fn bits(&self) -> u32 {
        self.shadow.as_ref().map_or(8, ShadowBuffer::bits)
    }

    /// Renders and commits everything with the next frame: another DRM master may have changed the
    /// CRTC.
    pub fn forget(&mut self) {
        self.reset_buffer_ages();
        self.cursor.set_committed(None);
        self.direct_scanout = None;
        self.clock.reset();
    }

    /// Draws the next frame whole: what is in our buffers is of no use for it.
    pub fn reset_buffer_ages(&mut self) {
        self.swapchain.forget();
        self.shadow.iter_mut().for_each(ShadowBuffer::forget);
    }

    /// The renderer is lost with all its buffers; what is scanned out stays.
    pub fn lose_renderer(&mut self) {
        self.swapchain = Swapchain::new(self.size());
        self.tracker = self.geometry.damage_tracker();
        self.shadow = None;
        self.forget();
    }

    /// Returns whether the last frame scans out this surface's buffer itself.
    pub fn scans_out(&self, surface: &WlSurface) -> bool {
        self.direct_scanout.as_ref().is_some_and(|shown| shown.surface == *surface)
    }

    /// Returns whether frames are converted while rendering.
    pub fn converts(&self) -> bool {
        self.shadow.is_some()
    }

    /// Renders the first frame, for the modeset.
    ///
    /// # Errors
    /// If there is no memory for a buffer, or the renderer fails.
    pub fn first_frame(&mut self, gpu: &mut Gpu, scene: &Scene<'_>) -> io::Result<Arc<Framebuffer>> {
        self.set_geometry(scene.geometry);
        self.reset_buffer_ages();
        // What the kernel refuses with one mode, it may accept with another.
        self.imported = ImportedBuffers::default();
        self.cursor.allow();
        if let Some(framebuffer) = scene.inherited_framebuffer() {
            self.cursor.set_committed(Some(CursorPlane::Hidden));
            return Ok(framebuffer.clone());
        }
        let (bits, layout) = (self.bits(), self.layout);
        let Target::Crtc { index: crtc, .. } = self.target else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let (slot, _) = self.swapchain.acquire(|size| gpu.drawable(crtc, size, bits, layout))?;
        let drawable = self.swapchain.drawable(slot).ok_or(io::ErrorKind::NotFound)?;
        let drawn = draw_on_gpu(&mut gpu.renderer, &mut self.shadow, drawable, &mut self.tracker, 0, scene)?;
        drawn.sync.wait().map_err(io::Error::other)?;
        let framebuffer = drawable.framebuffer().cloned().ok_or(io::ErrorKind::Unsupported)?;
        self.swapchain.submitted(slot);
        // The commit that sets the mode switches every other plane off.
        self.cursor.set_committed(Some(CursorPlane::Hidden));
        Ok(framebuffer)
    }

    /// Renders what changed and commits it.
    ///
    /// If the kernel refuses planes, the frame is made again in the same call: without direct
    /// scanout, then without the cursor plane.
    ///
    /// # Errors
    /// If the renderer or the commit fails.
    pub fn frame(&mut self, gpu: &mut Gpu, crtc: usize, scene: &mut Scene<'_>) -> io::Result<Outcome> {
        self.set_geometry(scene.geometry);
        if gpu.renderer.is_remote() {
            // Clients' buffers are in the memory of the GPU that renders.
            scene.scanout_candidate = None;
        }
        if self.shadow.is_some() {
            // What goes to the kernel past us is not converted.
            scene.scanout_candidate = None;
            scene.cursor_plane_allowed = false;
        }
        if gpu.device.converts_by_plane(crtc) {
            scene.cursor_plane_allowed = false;
        }
        let mut without_cursor_plane = false;
        loop {
            let allowed = !without_cursor_plane;
            let cursor = allowed.then(|| self.cursor_plane(&gpu.device, crtc, scene)).flatten();
            scene.draws_cursor = cursor.is_none();
            let cursor = cursor.unwrap_or(CursorPlane::Hidden);
            let direct = self.direct_frame(&gpu.device, crtc, scene);
            let is_direct = direct.is_some();
            let error = match self.frame_with(gpu, crtc, scene, cursor, direct)? {
                Attempt::Done(outcome) => {
                    if without_cursor_plane {
                        warn!("the kernel refuses frames with the cursor plane; drawing the cursor");
                        self.cursor.give_up();
                    }
                    return Ok(outcome);
                }
                Attempt::Refused(error) => error,
            };
            if let Some(candidate) = scene.scanout_candidate.take().filter(|_| is_direct) {
                debug!(%error, "the kernel refuses the frame with a client's buffer; drawing it");
                self.imported.refuse(&candidate.dmabuf);
            } else if cursor != CursorPlane::Hidden {
                without_cursor_plane = true;
            } else {
                return Err(error);
            }
        }
    }

    /// As [`Self::frame`], with this state of the cursor plane, and with a client's buffer in place
    /// of drawing.
    fn frame_with(
        &mut self,
        gpu: &mut Gpu,
        crtc: usize,
        scene: &Scene<'_>,
        cursor: CursorPlane,
        direct: Option<Shown>,
    ) -> io::Result<Attempt> {
        let cursor_changed = self.cursor.is_changed(&gpu.device, crtc, cursor);
        let color = gpu.device.pending_color(crtc);
        let mut frame = Frame { cursor: cursor_changed.then_some(cursor), color, ..Frame::default() };
        let attempt = match direct {
            Some(direct) => self.submit_direct(gpu, crtc, direct, &mut frame)?,
            None => self.draw_and_submit(gpu, crtc, scene, &mut frame)?,
        };
        // Without a page flip as well: drivers that are not atomic move the cursor at once.
        if matches!(attempt, Attempt::Done(_)) {
            self.cursor.set_committed(Some(cursor));
        }
        Ok(attempt)
    }

    fn cursor_plane(&mut self, device: &Device, crtc: usize, scene: &Scene<'_>) -> Option<CursorPlane> {
        let cursor = scene.cursor.as_ref()?;
        let image = cursor_image(cursor.buffer.as_ref()?, cursor.hotspot);
        if !scene.cursor_plane_allowed || !self.cursor.fits(device, crtc, &image) {
            return None;
        }
        match self.cursor.place(device, crtc, &image, cursor.position) {
            Ok(plane) => Some(plane),
            Err(error) => {
                warn!(%error, "no cursor plane; the cursor is drawn");
                self.cursor.give_up();
                None
            }
        }
    }

    /// Returns the client's buffer that can be scanned out in place of drawing the scene.
    fn direct_frame(&mut self, device: &Device, crtc: usize, scene: &Scene<'_>) -> Option<Shown> {
        let candidate = scene.scanout_candidate.as_ref()?;
        let framebuffer = self.imported.framebuffer(device, crtc, &candidate.dmabuf)?;
        Some(Shown {
            surface: candidate.surface.clone(),
            framebuffer,
            size: (candidate.dmabuf.width(), candidate.dmabuf.height()),
            commit: candidate.commit,
            _buffer: candidate.buffer.clone(),
        })
    }

    /// Commits a client's buffer on the primary plane. The one that was there before is held until
    /// the page flip; if the commit fails, it is still shown.
    fn submit_direct(
        &mut self,
        gpu: &mut Gpu,
        crtc: usize,
        direct: Shown,
        frame: &mut Frame,
    ) -> io::Result<Attempt> {
        if self.direct_scanout.as_ref().is_some_and(|shown| shown.is_same(&direct)) {
            return match frame.cursor.is_none() && frame.color.is_none() {
                true => Ok(Attempt::Done(Outcome::Unchanged)),
                false => submit(gpu, crtc, frame),
            };
        }
        frame.primary = Some((direct.framebuffer.clone(), direct.size));
        let attempt = submit(gpu, crtc, frame)?;
        if attempt.is_submitted() {
            if self.direct_scanout.is_none() {
                debug!("a client's buffer is scanned out directly");
            }
            self.deferred = self.direct_scanout.replace(direct);
            self.swapchain.bypassed();
        }
        Ok(attempt)
    }

    /// Renders what changed and commits it with what the frame has already.
    fn draw_and_submit(
        &mut self,
        gpu: &mut Gpu,
        crtc: usize,
        scene: &Scene<'_>,
        frame: &mut Frame,
    ) -> io::Result<Attempt> {
        const UNCHANGED: Attempt = Attempt::Done(Outcome::Unchanged);
        let only = frame.cursor.is_none() && frame.color.is_none();
        if is_left_as_inherited(&gpu.device, crtc, scene) {
            return match only {
                true => Ok(UNCHANGED),
                false => submit(gpu, crtc, frame),
            };
        }
        // An empty buffer is drawn whole, and costs memory from then on: not for an unchanged
        // frame.
        if self.direct_scanout.is_none() && only && self.swapchain.next_is_empty() {
            if !changed_on_gpu(&mut gpu.renderer, &mut self.tracker, scene) {
                return Ok(UNCHANGED);
            }
            // The tracker counts the frame that it was asked about, and then the one that is drawn.
            self.swapchain.counted();
            self.shadow.iter_mut().for_each(ShadowBuffer::forget);
        }
        let slot = self.draw(gpu, crtc, scene, frame)?;
        if frame.primary.is_none() && only {
            return Ok(UNCHANGED);
        }
        let attempt = submit(gpu, crtc, frame).inspect_err(|_| self.restart_damage())?;
        if matches!(attempt, Attempt::Refused(_)) {
            self.restart_damage();
        } else if frame.primary.is_some() && attempt.is_submitted() {
            self.swapchain.submitted(slot);
            self.deferred = self.direct_scanout.take();
        }
        Ok(attempt)
    }

    /// Draws the scene into a buffer, and adds that to the frame if it has to be shown. Returns the
    /// buffer's slot.
    fn draw(
        &mut self,
        gpu: &mut Gpu,
        crtc: usize,
        scene: &Scene<'_>,
        frame: &mut Frame,
    ) -> io::Result<usize> {
        let (bits, layout) = (self.bits(), self.layout);
        let (slot, age) = self.swapchain.acquire(|size| gpu.drawable(crtc, size, bits, layout))?;
        let drawable = self.swapchain.drawable(slot).ok_or(io::ErrorKind::NotFound)?;
        let drawn = draw_on_gpu(&mut gpu.renderer, &mut self.shadow, drawable, &mut self.tracker, age, scene);
        let framebuffer = drawable.framebuffer().cloned().ok_or(io::ErrorKind::Unsupported)?;
        let drawn = drawn.inspect_err(|_| self.restart_damage())?;
        // After a client's buffer even an unchanged frame has to come back.
        let returns = self.direct_scanout.is_some();
        if drawn.damage.is_none() && !returns {
            return Ok(slot);
        }
        frame.primary = Some((framebuffer, self.swapchain.size()));
        frame.fence = gpu.device.takes_fences(crtc).then(|| drawn.sync.export()).flatten();
        // Without a copy, the clock knows the time of the CPU alone.
        self.fence = frame.fence.as_ref().and_then(|fence| fence.try_clone().ok());
        if frame.fence.is_none() {
            drawn.sync.wait().map_err(io::Error::other)?;
        }
        if !returns {
            let damage = drawn.damage.as_deref().unwrap_or_default();
            frame.damage = gpu.device.damage_clips(damage.iter().map(edges));
        }
        Ok(slot)
    }

    /// The tracker has counted a frame that was never shown: its ages are wrong from here on.
    fn restart_damage(&mut self) {
        self.tracker = self.geometry.damage_tracker();
        self.reset_buffer_ages();
    }

    /// Renders a frame of a virtual output.
    ///
    /// # Errors
    /// If there is no memory for a buffer, or the renderer fails.
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

    /// Returns the frame that a virtual output shows: width, height and XRGB8888 pixels without
    /// padding.
    #[cfg(test)]
    pub fn memory_pixels(&mut self) -> Option<(u32, u32, Vec<u8>)> {
        let size = self.swapchain.size();
        let Some(Drawable::Memory(image)) = self.swapchain.shown() else { return None };
        let length = image.stride() * image.height();
        // SAFETY: pixman allocated stride * height bytes, and nothing draws during the borrow.
        let bytes = unsafe { std::slice::from_raw_parts(image.data().cast::<u8>(), length) };
        let rows = bytes.chunks(image.stride()).flat_map(|row| row.iter().take(size.0 as usize * 4));
        Some((size.0, size.1, rows.copied().collect()))
    }

    /// The submitted frame is shown since `time`. Returns how many vblanks late that is, and the
    /// time since its commit.
    pub fn presented(&mut self, time: Duration) -> (u64, Duration) {
        self.deferred = None;
        self.held_buffers.clear();
        let done = self.fence.take().and_then(|fence| fences::signaled_at(fence.as_fd()).ok().flatten());
        if let Some(done) = done {
            self.clock.gpu_done(done);
        }
        let submitted = self.submitted.take().unwrap_or(time);
        (self.clock.presented(time), time.saturating_sub(submitted))
    }
}

/// Returns whether a CRTC already shows all of a scene: what was there before us is not drawn, only
/// left.
fn is_left_as_inherited(device: &Device, crtc: usize, scene: &Scene<'_>) -> bool {
    let draws_cursor = scene.draws_cursor && scene.cursor.is_some();
    let inherited = scene.inherited_framebuffer().filter(|_| !draws_cursor);
    inherited.is_some_and(|inherited| {
        device.framebuffer(crtc).is_some_and(|shown| shown.handle() == inherited.handle())
    })
}

/// Commits a frame. See [`Attempt`] for errors that may be because of its planes.
fn submit(gpu: &mut Gpu, crtc: usize, frame: &Frame) -> io::Result<Attempt> {
    match gpu.device.submit(crtc, frame) {
        Ok(true) => Ok(Attempt::Done(Outcome::Submitted)),
        Ok(false) => Ok(Attempt::Done(Outcome::Unchanged)),
        Err(error) if is_refusal(&error) => Ok(Attempt::Refused(error)),
        Err(error) => Err(error),
    }
}

/// Returns left, top, right and bottom of a rectangle.
fn edges(rectangle: &Rectangle<i32, Physical>) -> [i32; 4] {
    let (from, size) = (rectangle.loc, rectangle.size);
    [from.x, from.y, from.x + size.w, from.y + size.h]
}

/// The hotspot of a client's cursor belongs to the surface, not to the buffer.
fn cursor_image(buffer: &CursorBuffer, hotspot: (i32, i32)) -> CursorImage<'_> {
    let CursorBuffer { serial, width, height, argb, .. } = buffer;
    CursorImage { serial: *serial, width: *width, height: *height, hotspot, argb }
}

//! Renders the frames of an output and commits them.

use std::io;
use std::sync::Arc;

use geom_kms::commit::{is_refusal, CursorPlane};
use geom_kms::cursor::CursorImage;
use geom_kms::{Device, Frame, Framebuffer};
use smithay::backend::allocator::Buffer as _;
use smithay::backend::renderer::pixman::PixmanRenderer;
use smithay::utils::{Physical, Rectangle};
use tracing::{debug, warn};

use super::{Outcome, Scanout, Target};
use crate::gpu::Gpu;
use crate::output::planes::{ImportedBuffers, Shown};
use crate::render::cursor::CursorBuffer;
use crate::render::drawable::Drawable;
use crate::render::drawing::{changed_on_gpu, draw, draw_converted, draw_on_gpu};
use crate::render::scene::{Pass, Scene, BACKGROUND};
use crate::render::shadow_buffer::ShadowBuffer;

/// What the kernel says about a frame.
enum Attempt {
    Done(Outcome),
    /// It refuses the commit, perhaps because of what is on planes: nothing has changed.
    Refused(io::Error),
}

const UNCHANGED: Attempt = Attempt::Done(Outcome::Unchanged);

impl Attempt {
    fn is_submitted(&self) -> bool {
        matches!(self, Self::Done(Outcome::Submitted))
    }
}

impl Scanout {
    /// Renders the first frame, for the modeset.
    ///
    /// # Errors
    /// If there is no memory for a buffer, or the renderer fails.
    pub fn first_frame(&mut self, gpu: &mut Gpu, scene: &Scene<'_>) -> io::Result<Arc<Framebuffer>> {
        self.set_geometry(scene.geometry);
        self.drop_ahead();
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
        let (slot, _) = self.swapchain.acquire(false, |size| gpu.drawable(crtc, size, bits, layout))?;
        let drawable = self.swapchain.drawable(slot).ok_or(io::ErrorKind::NotFound)?;
        let drawn = draw_on_gpu(&mut gpu.renderer, &mut self.shadow, drawable, &mut self.tracker, 0, scene)?;
        drawn.sync.wait().map_err(io::Error::other)?;
        let framebuffer = drawable.framebuffer().cloned().ok_or(io::ErrorKind::Unsupported)?;
        self.must_draw = false;
        self.swapchain.submitted(slot);
        self.swapchain.presented();
        // The commit that sets the mode switches every other plane off.
        self.cursor.set_committed(Some(CursorPlane::Hidden));
        Ok(framebuffer)
    }

    /// Renders what changed and commits it.
    ///
    /// If the kernel refuses planes, the frame is made again in the same call: without direct
    /// scanout, then without the cursor plane. If it refuses to switch VRR, that is left to a
    /// modeset.
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
            let direct = self.direct_frame(&gpu.device, crtc, scene);
            let needs_flip = direct.is_some() || gpu.device.pending_vrr(crtc).is_some();
            if self.redraw.renders_ahead() && needs_flip {
                return Ok(Outcome::Postponed);
            }
            let allowed = !without_cursor_plane;
            let cursor = allowed.then(|| self.cursor_plane(&gpu.device, crtc, scene)).flatten();
            scene.draws_cursor = cursor.is_none();
            let cursor = cursor.unwrap_or(CursorPlane::Hidden);
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
            let has_planes = is_direct || cursor != CursorPlane::Hidden;
            let vrr = gpu.device.pending_vrr(crtc);
            if vrr.is_some_and(|vrr| !has_planes || !gpu.device.can_switch_vrr(crtc, vrr)) {
                debug!(%error, "the kernel refuses the frame that switches VRR; setting the mode");
                gpu.device.refuse_vrr_switch(crtc);
                return Ok(Outcome::NeedsModeset);
            }
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
        let (color, vrr) = (gpu.device.pending_color(crtc), gpu.device.pending_vrr(crtc));
        let mut frame = Frame { cursor: cursor_changed.then_some(cursor), color, vrr, ..Frame::default() };
        let attempt = match direct {
            Some(direct) => self.submit_direct(gpu, crtc, direct, &mut frame)?,
            None => self.draw_and_submit(gpu, crtc, scene, &mut frame)?,
        };
        // Without a page flip as well: drivers that are not atomic move the cursor at once.
        if matches!(attempt, Attempt::Done(Outcome::Submitted | Outcome::Drawn | Outcome::Unchanged)) {
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
            return match has_nothing(frame) {
                true => Ok(UNCHANGED),
                false => self.submit(gpu, crtc, frame),
            };
        }
        frame.primary = Some((direct.framebuffer.clone(), direct.size));
        let attempt = self.submit(gpu, crtc, frame)?;
        if attempt.is_submitted() {
            if self.direct_scanout.is_none() {
                debug!("a client's buffer is scanned out directly");
            }
            self.deferred = self.direct_scanout.replace(direct);
            self.swapchain.bypassed();
            // Nothing is drawn, and so nothing would end it.
            self.clock.end_ahead();
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
        let submit_others = |scanout: &mut Self, gpu: &mut Gpu, frame: &mut Frame| match has_nothing(frame) {
            true => Ok(UNCHANGED),
            false => scanout.submit(gpu, crtc, frame),
        };
        if is_left_as_inherited(&gpu.device, crtc, scene) {
            return submit_others(self, gpu, frame);
        }
        // An empty buffer is drawn whole, and costs memory from then on; others miss what the last
        // frame drew. Neither is drawn for an unchanged scene if that is likely.
        let only_cursor_plane = !self.drawn_has_content && !scene.has_drawn_cursor() && self.shadow.is_none();
        let others = only_cursor_plane || frame.color.is_some() || frame.vrr.is_some();
        let may_be_left = self.direct_scanout.is_none() && !self.must_draw;
        if may_be_left && (others || self.swapchain.next_is_empty()) {
            if !changed_on_gpu(&mut gpu.renderer, &mut self.tracker, scene) {
                return submit_others(self, gpu, frame);
            }
            // The tracker counts the frame that it was asked about, and then the one that is drawn.
            self.swapchain.counted();
            self.shadow.iter_mut().for_each(ShadowBuffer::forget);
        }
        let Some(slot) = self.draw(gpu, crtc, scene, frame)? else {
            return Ok(Attempt::Done(Outcome::Postponed));
        };
        if frame.primary.is_none() {
            return submit_others(self, gpu, frame);
        }
        let attempt = self.submit(gpu, crtc, frame).inspect_err(|_| self.restart_damage())?;
        match attempt {
            Attempt::Refused(_) => self.restart_damage(),
            Attempt::Done(Outcome::Submitted) => {
                self.must_draw = false;
                self.swapchain.submitted(slot);
                self.deferred = self.direct_scanout.take();
            }
            Attempt::Done(Outcome::Drawn) => {
                self.must_draw = false;
                self.swapchain.drawn_ahead(slot);
            }
            Attempt::Done(_) => {}
        }
        Ok(attempt)
    }

    /// Draws the scene into a buffer, and adds that to the frame if it has to be shown. Returns the
    /// buffer's slot; `None` if there is none to draw into before the page flip.
    fn draw(
        &mut self,
        gpu: &mut Gpu,
        crtc: usize,
        scene: &Scene<'_>,
        frame: &mut Frame,
    ) -> io::Result<Option<usize>> {
        let (bits, layout) = (self.bits(), self.layout);
        let is_ahead = self.redraw.renders_ahead();
        let acquired = self.swapchain.acquire(is_ahead, |size| gpu.drawable(crtc, size, bits, layout));
        let (slot, age) = match acquired {
            Err(error) if is_ahead => {
                debug!(%error, "no third buffer; frames are not drawn ahead");
                self.clock.refuse_ahead();
                return Ok(None);
            }
            acquired => acquired?,
        };
        let drawable = self.swapchain.drawable(slot).ok_or(io::ErrorKind::NotFound)?;
        let drawn = draw_on_gpu(&mut gpu.renderer, &mut self.shadow, drawable, &mut self.tracker, age, scene);
        let framebuffer = drawable.framebuffer().cloned().ok_or(io::ErrorKind::Unsupported)?;
        let drawn = drawn.inspect_err(|_| self.restart_damage())?;
        // After a client's buffer even an unchanged frame has to come back.
        let returns = self.direct_scanout.is_some();
        if drawn.damage.is_none() && !returns {
            return Ok(Some(slot));
        }
        frame.primary = Some((framebuffer, self.swapchain.size()));
        frame.fence = gpu.device.takes_fences(crtc).then(|| drawn.sync.export()).flatten();
        if frame.fence.is_none() {
            drawn.sync.wait().map_err(io::Error::other)?;
        }
        if !returns {
            let damage = drawn.damage.as_deref().unwrap_or_default();
            frame.damage = gpu.device.damage_clips(damage.iter().map(edges));
        }
        Ok(Some(slot))
    }

    /// Commits a frame. See [`Attempt`] for errors that may be because of its planes.
    ///
    /// If another frame is pending, it is kept until that is shown; without anything drawn, it is
    /// postponed.
    fn submit(&mut self, gpu: &mut Gpu, crtc: usize, frame: &mut Frame) -> io::Result<Attempt> {
        if self.redraw.renders_ahead() {
            if frame.primary.is_none() {
                return Ok(Attempt::Done(Outcome::Postponed));
            }
            self.keep_ahead(std::mem::take(frame));
            return Ok(Attempt::Done(Outcome::Drawn));
        }
        if self.cursor_waits && frame.is_cursor_only() {
            return Ok(Attempt::Done(Outcome::Postponed));
        }
        match self.submit_now(gpu, crtc, frame) {
            Ok(true) => {
                self.frame_has_content = self.drawn_has_content && frame.primary.is_some();
                Ok(Attempt::Done(Outcome::Submitted))
            }
            Ok(false) => Ok(UNCHANGED),
            Err(error) if is_refusal(&error) => Ok(Attempt::Refused(error)),
            Err(error) => Err(error),
        }
    }

    /// Commits a frame. Returns whether a page flip follows.
    pub(super) fn submit_now(&mut self, gpu: &mut Gpu, crtc: usize, frame: &Frame) -> io::Result<bool> {
        let is_submitted = gpu.device.submit(crtc, frame)?;
        if is_submitted {
            // Without a copy, the clock knows the time of the CPU alone.
            self.fence = frame.fence.as_ref().and_then(|fence| fence.try_clone().ok());
        }
        Ok(is_submitted)
    }

    /// The tracker has counted a frame that was never shown: its ages are wrong from here on.
    pub(super) fn restart_damage(&mut self) {
        self.tracker = self.geometry.damage_tracker();
        self.reset_buffer_ages();
    }

    /// Renders a frame of a virtual output.
    ///
    /// # Errors
    /// If there is no memory for a buffer, or the renderer fails.
    pub fn memory_frame(&mut self, renderer: &mut PixmanRenderer, scene: &Scene<'_>) -> io::Result<Outcome> {
        self.set_geometry(scene.geometry);
        let (slot, age) = self.swapchain.acquire(false, Drawable::memory)?;
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
}

/// Returns whether a CRTC already shows all of a scene: what was there before us is not drawn, only
/// left.
fn is_left_as_inherited(device: &Device, crtc: usize, scene: &Scene<'_>) -> bool {
    let inherited = scene.inherited_framebuffer().filter(|_| !scene.has_drawn_cursor());
    inherited.is_some_and(|inherited| {
        device.framebuffer(crtc).is_some_and(|shown| shown.handle() == inherited.handle())
    })
}

/// Returns whether there is nothing in a frame to commit.
fn has_nothing(frame: &Frame) -> bool {
    frame.primary.is_none() && frame.cursor.is_none() && frame.color.is_none() && frame.vrr.is_none()
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

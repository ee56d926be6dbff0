//! The scanout of an enabled output: its buffers and planes, and the state of its frames.

mod ahead;
mod frames;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use geom_color::target::ColorTarget;
use geom_display::fallback::BufferLayout;
use geom_kms::cursor::Cursor;
use geom_kms::fences;
use smithay::backend::renderer::damage::OutputDamageTracker;
use smithay::backend::renderer::utils::Buffer;
use smithay::desktop::utils::OutputPresentationFeedback;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;

use crate::event_loop::timers::Timer;
use crate::output::frame_clock::FrameClock;
use crate::output::planes::{ImportedBuffers, Shown};
use crate::output::redraw::Redraw;
use crate::output::scanout::ahead::AheadFrame;
use crate::output::swapchain::Swapchain;
#[cfg(test)]
use crate::render::drawable::Drawable;
use crate::render::geometry::FrameGeometry;
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
    /// It is committed at the next vblank.
    Drawn,
    Unchanged,
    /// Only the cursor moved, and that waits: see [`FrameClock::cursor_deadline`].
    Postponed,
    /// The kernel does not accept a frame until the output's mode is set again.
    NeedsModeset,
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
    /// The frame that is drawn while one is pending.
    ahead: Option<AheadFrame>,
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
    /// The client's buffer that was shown when [`Self::forget`] was called: released after the
    /// second page flip.
    forgotten: Option<Shown>,
    /// Clients' buffers that the submitted frame may be drawn from, though their surfaces show
    /// others already.
    pub(super) held_buffers: Vec<Buffer>,
    /// Signaled when the GPU is done with the submitted frame.
    fence: Option<OwnedFd>,
    /// What is shown during a modeset, until the kernel accepts it: a slot of the swapchain, or a
    /// client's buffer.
    before_modeset: Option<(Option<usize>, Option<Shown>)>,
    /// What is shown is not how the scene would be drawn now: the next frame is drawn even if the
    /// scene is unchanged.
    must_draw: bool,
    /// A frame in which only the cursor moves must not be committed yet.
    pub(super) cursor_waits: bool,
    /// The frame that is rendered was caused by more than the cursor.
    pub(super) drawn_has_content: bool,
    /// The submitted frame was caused by more than the cursor, and shows something new.
    pub(super) frame_has_content: bool,
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
            ahead: None,
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
            forgotten: None,
            held_buffers: Vec::new(),
            fence: None,
            before_modeset: None,
            must_draw: false,
            cursor_waits: false,
            drawn_has_content: false,
            frame_has_content: false,
            held_until: None,
        }
    }

    /// Returns whether no frame is drawn or awaited.
    #[cfg(test)]
    pub fn is_idle(&self) -> bool {
        self.redraw == Redraw::Idle
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
        let is_ahead = self.redraw.renders_ahead();
        self.clock.drawn(began, committed, is_ahead);
    }

    /// Changes the refresh rate, in millihertz; `lowest` is that of the range if it is variable.
    pub fn set_refresh(&mut self, refresh: u32, lowest: Option<u32>) {
        self.clock.set_refresh(refresh, lowest);
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
        self.drop_ahead();
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
        self.drop_ahead();
        self.reset_buffer_ages();
        self.cursor.set_committed(None);
        // It may still be on the screen, and the page flip of another frame may be pending.
        if let Some(shown) = self.direct_scanout.take() {
            self.forgotten = Some(shown);
        }
        self.clock.reset();
    }

    /// A modeset begins, with a first frame.
    pub fn begin_modeset(&mut self) {
        let direct_scanout = self.direct_scanout.take();
        self.before_modeset.get_or_insert((self.swapchain.shown_slot(), direct_scanout));
        self.forget();
    }

    /// The kernel accepted the modeset.
    pub fn modeset_done(&mut self) {
        self.before_modeset = None;
    }

    /// The kernel refused the modeset: it shows what it showed before, and not the first frame.
    pub fn modeset_refused(&mut self) {
        let Some((shown, direct_scanout)) = self.before_modeset.take() else { return };
        self.forget();
        self.swapchain.set_shown(shown);
        self.direct_scanout = direct_scanout;
        self.forgotten = None;
    }

    /// Draws the next frame whole: what is in our buffers is of no use for it.
    pub fn reset_buffer_ages(&mut self) {
        self.must_draw = true;
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
        self.deferred = self.forgotten.take();
        self.held_buffers.clear();
        self.swapchain.presented();
        let done = self.fence.take().and_then(|fence| fences::signaled_at(fence.as_fd()).ok().flatten());
        if let Some(done) = done {
            self.clock.gpu_done(done);
        }
        let submitted = self.submitted.take().unwrap_or(time);
        let has_content = std::mem::take(&mut self.frame_has_content);
        let missed = self.clock.presented(time, has_content);
        if !self.clock.draws_ahead() && self.ahead.is_none() {
            self.swapchain.trim();
        }
        (missed, time.saturating_sub(submitted))
    }
}

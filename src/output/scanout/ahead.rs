//! The frame that is drawn while another one awaits its page flip, if the GPU is too slow for one
//! at a time: the kernel takes one pending frame of a CRTC, so it is committed with the flip.

use std::io;

use geom_kms::Frame;
use smithay::backend::renderer::utils::Buffer;
use smithay::desktop::utils::OutputPresentationFeedback;

use super::{Scanout, Target};
use crate::gpu::Gpu;
use crate::output::redraw::Redraw;

/// A frame that is drawn and not committed yet.
pub struct AheadFrame {
    pub frame: Frame,
    /// It was caused by more than the cursor.
    pub has_content: bool,
    /// Presentation feedback to send when it is shown.
    feedback: Option<OutputPresentationFeedback>,
    /// Clients' buffers that the GPU may draw it from.
    held_buffers: Vec<Buffer>,
}

impl AheadFrame {
    pub fn new(frame: Frame, has_content: bool) -> Self {
        Self { frame, has_content, feedback: None, held_buffers: Vec::new() }
    }
}

impl Scanout {
    /// Returns whether a frame that awaits its page flip is no reason to wait with the next one.
    ///
    /// Clients' buffers that are scanned out directly cost the GPU nothing, and are not drawn.
    pub(in crate::output) fn may_draw_ahead(&self) -> bool {
        self.draws_ahead()
            && matches!(self.redraw, Redraw::AwaitingVblank { .. })
            && matches!(self.target, Target::Crtc { .. })
            && self.deferred.is_none()
    }

    /// Returns whether clients get their frame callbacks when a frame is committed, so that the
    /// next one can be drawn while that one is pending.
    pub fn draws_ahead(&self) -> bool {
        self.clock.draws_ahead() && self.direct_scanout.is_none()
    }

    /// Draws frames ahead from now on, or not.
    #[cfg(test)]
    pub fn set_draws_ahead(&mut self, draws_ahead: bool) {
        self.clock.set_draws_ahead(draws_ahead);
    }

    /// Returns whether a frame is drawn and waits for the page flip of another one.
    #[cfg(test)]
    pub fn is_ahead(&self) -> bool {
        self.ahead.is_some()
    }

    /// Commits the frame that was drawn ahead.
    ///
    /// # Errors
    /// If there is none, or the kernel refuses it. The next frame is drawn whole then.
    pub fn commit_ahead(&mut self, gpu: &mut Gpu, crtc: usize) -> io::Result<()> {
        let ahead = self.ahead.take().ok_or(io::ErrorKind::NotFound)?;
        if let Err(error) = self.submit_now(gpu, crtc, &ahead.frame) {
            self.ahead = Some(ahead);
            self.drop_ahead();
            return Err(error);
        }
        self.swapchain.ahead_submitted();
        self.frame_has_content = ahead.has_content;
        self.feedback = ahead.feedback;
        self.held_buffers.extend(ahead.held_buffers);
        Ok(())
    }

    /// Does not show the frame that was drawn ahead.
    pub(in crate::output) fn drop_ahead(&mut self) {
        if let Some(ahead) = self.ahead.take() {
            // The pending frame may be drawn from them, too.
            self.held_buffers.extend(ahead.held_buffers);
            self.clock.ahead_dropped();
            self.swapchain.ahead_dropped();
            self.cursor.set_committed(None);
            self.restart_damage();
        }
    }

    /// Keeps a frame until the pending one is shown.
    pub(super) fn keep_ahead(&mut self, frame: Frame) {
        self.ahead = Some(AheadFrame::new(frame, self.drawn_has_content));
    }

    /// Returns the clients' buffers that are held for the newest frame.
    pub fn held_buffers(&mut self) -> &mut Vec<Buffer> {
        match &mut self.ahead {
            Some(ahead) => &mut ahead.held_buffers,
            None => &mut self.held_buffers,
        }
    }

    /// Returns the presentation feedback of the newest frame.
    pub(in crate::output) fn feedback(&mut self) -> &mut Option<OutputPresentationFeedback> {
        match &mut self.ahead {
            Some(ahead) => &mut ahead.feedback,
            None => &mut self.feedback,
        }
    }
}

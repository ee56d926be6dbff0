//! The variable refresh rate of an enabled CRTC: a frame switches it without a modeset, if the
//! driver can.
//!
//! Most drivers switch it with any commit. Others (i915 of older kernels) refuse `VRR_ENABLED`
//! without `ALLOW_MODESET`: a test commit shows which kind the driver is.

use tracing::debug;

use crate::commit::Frame;
use crate::device::Device;

impl Device {
    /// Returns whether the kernel switches the variable refresh rate of an enabled CRTC without a
    /// modeset.
    pub fn can_switch_vrr(&self, crtc: usize, vrr: bool) -> bool {
        if !self.is_atomic || self.refused_vrr_switches.contains(&crtc) {
            return false;
        }
        let tested = self.test_frame(crtc, &Frame { vrr: Some(vrr), ..Frame::default() });
        if let Err(error) = &tested {
            debug!(crtc, vrr, %error, "the kernel switches VRR by a modeset only");
        }
        tested.is_ok()
    }

    /// Returns whether the refresh rate is to be variable, if a CRTC's next frame has to switch it.
    pub fn pending_vrr(&self, crtc: usize) -> Option<bool> {
        let state = self.crtc_states.get(&crtc)?;
        (self.is_atomic && state.vrr != state.setup.signal.vrr).then_some(state.vrr)
    }

    /// The kernel refused a frame with [`Device::pending_vrr`], although the test commit passed:
    /// leaves it out of frames from now on, and has the next commit set the mode.
    pub fn refuse_vrr_switch(&mut self, crtc: usize) {
        self.refused_vrr_switches.insert(crtc);
        if let Some(state) = self.crtc_states.get_mut(&crtc) {
            state.vrr = state.setup.signal.vrr;
        }
        self.force_modeset(crtc);
    }
}

//! The fallback search with the kernel's test commits.

use std::io;
use std::time::Duration;

use drm::control::framebuffer;
use geom_display::fallback::{self, BufferLayout, CrtcAssignment, TestCommit};
use geom_display::mode::Mode;
use geom_display::signal_format::SignalFormat;

use crate::commit::{self, CrtcSetup};
use crate::device::Device;
use crate::drm_fd::DrmFd;
use crate::formats::PlaneFormats;

/// What a search asks for: the name of the output, its modes (best first), and its signal format.
pub type OutputRequest = (String, Vec<Mode>, SignalFormat);

/// A framebuffer that a test commit needs.
#[derive(Debug, Clone, Copy)]
pub struct TestBuffer<'a> {
    /// Index of the CRTC whose primary plane would scan it out.
    pub crtc: usize,
    /// The formats of that plane.
    pub formats: &'a PlaneFormats,
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// The layout.
    pub layout: BufferLayout,
}

/// Where framebuffers for test commits come from. They are never scanned out.
pub trait TestFramebuffers {
    /// Returns whether buffers with the plain layout differ from those with the best one, on a
    /// plane with these formats.
    fn has_layouts(&self, formats: &PlaneFormats) -> bool;

    /// Returns a framebuffer, allocated as the first frame of the CRTC will be. It lives at least
    /// until this is called for the same CRTC again, or the search ends.
    ///
    /// # Errors
    ///
    /// If no such buffer can be allocated.
    fn framebuffer(&mut self, fd: &DrmFd, wanted: &TestBuffer<'_>) -> io::Result<framebuffer::Handle>;
}

fn first_choice((_, modes, signal): &OutputRequest) -> Option<(Mode, SignalFormat)> {
    Some((*modes.first()?, *signal))
}

impl Device {
    /// Searches which of the outputs can be enabled, and with which mode and signal format.
    ///
    /// Does not change what later searches find. `now` is the time of any clock.
    ///
    /// On devices that are not atomic every test passes; a mode that fails is excluded by
    /// [`Device::note_refused_mode`].
    pub fn search(
        &mut self,
        wanted: &[OutputRequest],
        framebuffers: &mut impl TestFramebuffers,
        now: &dyn Fn() -> Duration,
    ) -> fallback::SearchResult {
        let requests: Vec<fallback::Request> = wanted
            .iter()
            .map(|request| {
                let (name, modes, signal) = request;
                let current = self.crtc_states.iter().find(|(_, state)| state.output == *name);
                let choice = first_choice(request);
                let crtcs = self.crtcs_for(name);
                let mut planes = crtcs.iter().filter_map(|crtc| self.primary_plane(*crtc));
                let has_layouts = planes.any(|plane| framebuffers.has_layouts(&plane.formats));
                let plain = has_layouts.then_some(BufferLayout::Plain);
                fallback::Request {
                    name: name.clone(),
                    modes: modes.clone(),
                    signals: signal.fallbacks(),
                    layouts: std::iter::once(BufferLayout::Best).chain(plain).collect(),
                    crtcs,
                    current: current.map(|(crtc, state)| (*crtc, state.choice())),
                    settled: choice.is_some() && self.committed_requests.get(name).copied() == choice,
                }
            })
            .collect();
        let mut tester = AtomicTester { device: self, framebuffers, requests: &requests };
        fallback::search(&requests, &mut tester, now)
    }

    /// Notes what was asked for in the search whose result was committed. If the kernel refused a
    /// first choice of these, later searches do not try it again at the cost of other outputs.
    ///
    /// Not a part of [`Device::search`]: a search may also be a test of a change that is not
    /// committed.
    pub fn note_committed_requests(&mut self, wanted: &[OutputRequest]) {
        let choices = wanted.iter().filter_map(|request| Some((request.0.clone(), first_choice(request)?)));
        self.committed_requests = choices.collect();
    }

    /// Returns the CRTCs that can drive an output.
    ///
    /// If the state is not ours, the CRTC that drives it now comes first and those that drive other
    /// connectors come last: an output that stays where it is needs no modeset.
    fn crtcs_for(&self, output: &str) -> Vec<usize> {
        let Some(connector) = self.connector(output) else { return Vec::new() };
        let mut crtcs: Vec<usize> = (0..self.objects.crtcs.len())
            .filter(|crtc| connector.can_use(*crtc) && self.primary_plane(*crtc).is_some())
            .filter(|crtc| !self.is_leased(*crtc))
            .collect();
        if !self.state_is_ours {
            let is_used =
                |crtc: usize| self.connectors().iter().any(|connector| connector.current_crtc == Some(crtc));
            crtcs.sort_by_key(|crtc| (connector.current_crtc != Some(*crtc), is_used(*crtc)));
        }
        crtcs
    }

    /// Returns the setup of an assignment, with a framebuffer to test with.
    fn test_setup(
        &self,
        output: &str,
        assignment: &CrtcAssignment,
        framebuffers: &mut impl TestFramebuffers,
    ) -> Result<CrtcSetup, String> {
        let CrtcAssignment { crtc, mode, signal, layout, .. } = assignment;
        let timing = self.kms_mode(output, mode).ok_or("the connector no longer has the mode")?;
        let connector = self.connector(output).ok_or("the connector is gone")?.handle;
        let known = self.crtc_states.get(crtc);
        let size = (mode.width, mode.height);
        let known = known.filter(|state| state.setup.mode.size() == size && state.setup.layout == *layout);
        let framebuffer = match known {
            Some(state) => state.framebuffer.handle(),
            None => {
                let plane = self.primary_plane(*crtc).ok_or("the CRTC has no primary plane")?;
                let size = (u32::from(mode.width), u32::from(mode.height));
                let wanted = TestBuffer { crtc: *crtc, formats: &plane.formats, size, layout: *layout };
                let framebuffer = framebuffers.framebuffer(&self.fd, &wanted);
                framebuffer.map_err(|error| format!("cannot allocate a framebuffer for {mode}: {error}"))?
            }
        };
        Ok(CrtcSetup {
            crtc: *crtc,
            connector,
            mode: timing,
            active: !self.is_blanked(output),
            signal: *signal,
            color: self.color_of(output),
            framebuffer,
            layout: *layout,
        })
    }
}

/// Asks the kernel by test commits.
struct AtomicTester<'a, F> {
    device: &'a mut Device,
    framebuffers: &'a mut F,
    requests: &'a [fallback::Request],
}

impl<F: TestFramebuffers> TestCommit for AtomicTester<'_, F> {
    fn test(&mut self, assignments: &[CrtcAssignment]) -> Result<(), String> {
        let mut setups = Vec::new();
        for assignment in assignments {
            let CrtcAssignment { request, mode, signal, .. } = assignment;
            let name = &self.requests.get(*request).ok_or("unknown output")?.name;
            let is_refused = |(output, refused, with): &(String, Mode, SignalFormat)| {
                output == name && refused == mode && with == signal
            };
            if self.device.refused_modes.iter().any(is_refused) {
                return Err(format!("{mode} failed on {name}"));
            }
            setups.push(self.device.test_setup(name, assignment, self.framebuffers)?);
        }
        if !self.device.is_atomic() {
            return Ok(());
        }
        let unchanged = self.device.unchanged(&setups);
        if unchanged.len() == self.device.objects.crtcs.len() {
            return Ok(());
        }
        let result = commit::modeset(&self.device.fd, &self.device.objects, &setups, &unchanged, true);
        self.device.note_result(&result);
        result.map_err(|error| error.to_string())
    }
}

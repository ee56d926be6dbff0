//! The device on a [`FakeDevice`]: what it commits, and what it does about errors.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use drm::buffer::{DrmFourcc, DrmModifier};
use drm::control::framebuffer;
use geom_display::fallback::{BufferLayout, Choice, SearchResult};
use geom_display::mode::Mode;
use geom_display::signal_format::SignalFormat;

use crate::dumb::DumbBuffer;
use crate::fake::{Commit, FakeDevice};
use crate::formats::PlaneFormats;
use crate::framebuffer::FramebufferLayout;
use crate::search::{OutputRequest, TestBuffer, TestFramebuffers};
use crate::{CrtcState, Device, DrmFd, Frame, Framebuffer};

mod blanking;
mod color;
mod cursors;
mod errors;
mod fake_checks;
mod fake_limits;
mod frames;
mod handoff;
mod leases;
mod legacy;
mod links;
mod machines;
mod modeset;
mod planes;
mod probes;
mod search;
mod vrr;

/// Buffers for test commits, one for each CRTC, as renderers on a GPU allocate them: in the first
/// format and with the last modifier that our own buffers may have.
#[derive(Default)]
struct Buffers {
    buffers: BTreeMap<usize, Framebuffer>,
    /// Formats and modifiers that were chosen, by CRTC.
    chosen: BTreeMap<usize, (DrmFourcc, Option<DrmModifier>)>,
    /// Allocating any larger buffer fails.
    max_width: Option<u32>,
}

/// A clock that stands still: searches have all the time that they need.
fn stopped() -> Duration {
    Duration::ZERO
}

impl TestFramebuffers for Buffers {
    fn has_layouts(&self, formats: &PlaneFormats) -> bool {
        let format = formats.buffer_format(|_| true);
        format.is_some_and(|format| formats.buffer_modifiers(format).len() > 1)
    }

    fn framebuffer(&mut self, fd: &DrmFd, wanted: &TestBuffer<'_>) -> io::Result<framebuffer::Handle> {
        let TestBuffer { crtc, formats, size, layout } = *wanted;
        if self.max_width.is_some_and(|max| size.0 > max) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let format = formats.buffer_format(|_| true).ok_or(io::ErrorKind::Unsupported)?;
        let best = formats.buffer_modifiers(format).last().copied();
        let modifier = best.filter(|_| layout == BufferLayout::Best);
        let bits_per_pixel = if format == DrmFourcc::Rgb565 { 16 } else { 32 };
        let info = fd.create_dumb(size, bits_per_pixel)?;
        let layout = FramebufferLayout::single_plane(size, format, info.handle, info.pitch, 0);
        let framebuffer = Framebuffer::new(fd, &FramebufferLayout { modifier, ..layout });
        fd.destroy_dumb(info.handle)?;
        let framebuffer = framebuffer?;
        let handle = framebuffer.handle();
        self.buffers.insert(crtc, framebuffer);
        self.chosen.insert(crtc, (format, modifier));
        Ok(handle)
    }
}

/// A device on a fake one, with buffers.
struct Rig {
    fake: FakeDevice,
    device: Device,
    buffers: Buffers,
    /// Buffers that are or were scanned out.
    shown: Vec<DumbBuffer>,
}

impl Rig {
    fn new(fake: FakeDevice) -> Self {
        let device = Device::open(fake.open(), "/dev/dri/card0".as_ref(), 0, true).expect("a device");
        Self { fake, device, buffers: Buffers::default(), shown: Vec::new() }
    }

    fn with_outputs(count: usize) -> Self {
        Self::new(FakeDevice::with_outputs(count))
    }

    /// Returns the modes of an output, the preferred one first.
    fn modes(&self, output: &str) -> Vec<Mode> {
        self.device.connector(output).expect("a connector").state.modes.clone()
    }

    fn framebuffer(&mut self, size: (u32, u32)) -> Arc<Framebuffer> {
        let buffer = DumbBuffer::new(self.device.fd(), size, DrmFourcc::Xrgb8888).expect("a buffer");
        let framebuffer = buffer.framebuffer().clone();
        self.shown.push(buffer);
        framebuffer
    }

    /// Returns requests for all modes of these outputs.
    fn requests(&self, wanted: &[(&str, SignalFormat)]) -> Vec<OutputRequest> {
        wanted.iter().map(|(name, signal)| ((*name).to_owned(), self.modes(name), *signal)).collect()
    }

    fn search(&mut self, wanted: &[(&str, SignalFormat)]) -> SearchResult {
        self.device.search(&self.requests(wanted), &mut self.buffers, &stopped)
    }

    /// Returns the state of an output with this mode.
    fn state(&mut self, output: &str, crtc: usize, choice: Choice) -> CrtcState {
        let mode = choice.mode;
        let known = self.device.unchanged_state(output, crtc, &choice);
        known.unwrap_or_else(|| {
            let framebuffer = self.framebuffer((mode.width.into(), mode.height.into()));
            self.device.crtc_state(output, crtc, &choice, framebuffer).expect("a connected output")
        })
    }

    /// Searches and commits, as the compositor does. Returns the commit's result.
    fn commit_with(&mut self, wanted: &[(&str, SignalFormat)]) -> io::Result<()> {
        self.commit_requests(&self.requests(wanted))
    }

    /// As [`Rig::commit_with`].
    fn commit_requests(&mut self, wanted: &[OutputRequest]) -> io::Result<()> {
        let result = self.device.search(wanted, &mut self.buffers, &stopped);
        let states: Vec<CrtcState> = result
            .assignments
            .iter()
            .map(|found| self.state(&wanted[found.request].0, found.crtc, found.choice()))
            .collect();
        let crtcs: Vec<usize> = states.iter().map(|state| state.setup.crtc).collect();
        self.device.commit(states)?;
        self.device.note_committed_requests(wanted);
        self.device.drop_unused(&crtcs);
        Ok(())
    }

    /// Enables these outputs with their preferred modes, and disables the others.
    fn enable(&mut self, outputs: &[&str]) {
        let wanted: Vec<_> = outputs.iter().map(|output| (*output, SignalFormat::default())).collect();
        self.commit_with(&wanted).expect("the kernel accepts it");
    }

    /// Returns the commits since the last call, without test commits.
    fn commits(&self) -> Vec<Commit> {
        self.fake.take_commits().into_iter().filter(|commit| !commit.is_test()).collect()
    }

    /// Returns the only commit since the last call, without test commits.
    fn the_commit(&self) -> Commit {
        let mut commits = self.commits();
        assert_eq!(commits.len(), 1, "{commits:?}");
        commits.remove(0)
    }

    /// Returns a frame with a new buffer of this size.
    fn frame(&mut self, size: (u32, u32)) -> Frame {
        Frame { primary: Some((self.framebuffer(size), size)), ..Frame::default() }
    }
}

/// Returns a mode with the default signal format and the best layout.
fn plain_choice(mode: Mode) -> Choice {
    Choice { mode, signal: SignalFormat::default(), layout: BufferLayout::Best }
}

/// The size of the preferred mode of [`FakeDevice::with_outputs`].
const SIZE: (u32, u32) = (1920, 1080);

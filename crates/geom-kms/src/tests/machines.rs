//! What is chosen on real machines: formats, planes and CRTCs, on fake devices with the objects of
//! their drivers.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use drm::buffer::{DrmFourcc, DrmModifier};
use drm::control::framebuffer;
use geom_display::fallback::{BufferLayout, Choice, CrtcAssignment, SearchResult};
use geom_display::mode::Mode;
use geom_display::signal_format::SignalFormat;

use super::stopped;
use crate::commit::{self, CrtcSetup, CursorPlane};
use crate::drm_fd::raw;
use crate::dumb::DumbBuffer;
use crate::fake::{mode, FakeDevice};
use crate::formats::PlaneFormats;
use crate::framebuffer::FramebufferLayout;
use crate::search::{OutputRequest, TestBuffer, TestFramebuffers};
use crate::{CrtcState, Device, DrmFd, Frame, Framebuffer, Probe};

mod load;
mod table;

use load::{connector, load, Formats, Machine};

/// The machines, in the order of docs/gpus.md.
const MACHINES: [&str; 11] = [
    include_str!("../../machines/intel-gen9.txt"),
    include_str!("../../machines/intel-gen12.txt"),
    include_str!("../../machines/amd-navi10.txt"),
    include_str!("../../machines/nvidia.txt"),
    include_str!("../../machines/rpi4.txt"),
    include_str!("../../machines/rpi5.txt"),
    include_str!("../../machines/rk3588.txt"),
    include_str!("../../machines/imx8mq.txt"),
    include_str!("../../machines/vmwgfx.txt"),
    include_str!("../../machines/evdi.txt"),
    include_str!("../../machines/rpi4-fkms.txt"),
];

// Indices into `MACHINES`.
const GEN9: usize = 0;
const GEN12: usize = 1;
const NAVI: usize = 2;
const NVIDIA: usize = 3;
const RPI4: usize = 4;
const RK3588: usize = 6;
const VMWGFX: usize = 8;
const EVDI: usize = 9;
const RPI4_FIRMWARE: usize = 10;

/// Maximum number of test commits of a search on any machine: the search ends after 300 ms, and a
/// test commit takes up to 10 ms.
const MAX_TESTS: usize = 30;

/// Allocates buffers as the compositor does with GLES: with the best modifier that both the plane
/// and the GPU have, else without one.
struct Renderer {
    renders: Formats,
    /// The buffers of test commits, by CRTC.
    buffers: BTreeMap<usize, Arc<Framebuffer>>,
}

impl Renderer {
    fn format(&self, formats: &PlaneFormats) -> Option<DrmFourcc> {
        formats.buffer_format(|code| self.renders.iter().any(|(known, _)| *known == code))
    }

    /// Returns the best modifier of a format for a plane.
    fn modifier(&self, formats: &PlaneFormats, code: DrmFourcc) -> Option<DrmModifier> {
        let (_, renders) = self.renders.iter().find(|(known, _)| *known == code)?;
        let usable = formats.buffer_modifiers(code);
        renders.iter().copied().find(|modifier| usable.contains(modifier))
    }

    fn allocate(
        &self,
        fd: &DrmFd,
        formats: &PlaneFormats,
        size: (u32, u32),
        layout: BufferLayout,
    ) -> io::Result<Framebuffer> {
        let format = self.format(formats).ok_or(io::ErrorKind::Unsupported)?;
        let modifier = self.modifier(formats, format).filter(|_| layout == BufferLayout::Best);
        let info = fd.create_dumb(size, 32)?;
        let plain = FramebufferLayout::single_plane(size, format, info.handle, info.pitch, 0);
        let framebuffer = Framebuffer::new(fd, &FramebufferLayout { modifier, ..plain });
        fd.destroy_dumb(info.handle)?;
        framebuffer
    }
}

impl TestFramebuffers for Renderer {
    fn has_layouts(&self, formats: &PlaneFormats) -> bool {
        let Some(format) = self.format(formats) else { return false };
        self.modifier(formats, format).is_some_and(|modifier| modifier != DrmModifier::Linear)
    }

    fn framebuffer(&mut self, fd: &DrmFd, wanted: &TestBuffer<'_>) -> io::Result<framebuffer::Handle> {
        let framebuffer = Arc::new(self.allocate(fd, wanted.formats, wanted.size, wanted.layout)?);
        let handle = framebuffer.handle();
        self.buffers.insert(wanted.crtc, framebuffer);
        Ok(handle)
    }
}

/// A machine with its device opened, and a renderer.
struct Rig {
    machine: Machine,
    device: Device,
    renderer: Renderer,
}

impl Rig {
    fn new(index: usize) -> Self {
        Self::of(load(MACHINES[index]))
    }

    fn of(machine: Machine) -> Self {
        let device = Device::open(machine.fake.open(), "/dev/dri/card0".as_ref(), 0, true);
        let renderer = Renderer { renders: machine.renders.clone(), buffers: BTreeMap::new() };
        Self { device: device.expect("a device"), machine, renderer }
    }

    fn fake(&self) -> &FakeDevice {
        &self.machine.fake
    }

    fn requests(&self) -> Vec<OutputRequest> {
        let request = |name: &String| {
            let modes = self.device.connector(name).expect("a connector").state.modes.clone();
            (name.clone(), modes, SignalFormat::default())
        };
        self.machine.outputs.iter().map(request).collect()
    }

    fn search(&mut self) -> SearchResult {
        let requests = self.requests();
        self.device.search(&requests, &mut self.renderer, &stopped)
    }

    /// Searches and commits, as the compositor does.
    fn configure(&mut self) -> SearchResult {
        let result = self.search();
        let states = result.assignments.iter().map(|found| {
            let output = &self.machine.outputs[found.request];
            let (framebuffer, _) = self.buffer(found);
            self.device.crtc_state(output, found.crtc, &found.choice(), framebuffer).expect("connected")
        });
        let states: Vec<CrtcState> = states.collect();
        self.device.commit(states).expect("the kernel accepts what passed the search");
        result
    }

    /// Returns a buffer for an assignment, and its size.
    fn buffer(&self, found: &CrtcAssignment) -> (Arc<Framebuffer>, (u32, u32)) {
        let plane = self.device.primary_plane(found.crtc).expect("a plane");
        let size = (found.mode.width.into(), found.mode.height.into());
        let framebuffer = self.renderer.allocate(self.device.fd(), &plane.formats, size, found.layout);
        (Arc::new(framebuffer.expect("a buffer")), size)
    }

    /// Returns the plane that scans out an output's buffer, and the buffer's layout.
    fn scanout(&self, crtc: usize) -> (u32, FramebufferLayout) {
        let id = u64::from(raw(self.device.objects.crtcs[crtc].handle));
        let shows = |plane: &u32| self.fake().value(*plane, "CRTC_ID") == Some(id);
        let planes: Vec<u32> = self.fake().planes().into_iter().filter(shows).collect();
        let [plane] = planes[..] else { panic!("planes {planes:?} on CRTC {crtc}") };
        let framebuffer = self.fake().value(plane, "FB_ID").expect("a framebuffer") as u32;
        (plane, self.fake().framebuffer_layout(framebuffer).expect("a framebuffer"))
    }

    /// Returns how many outputs the kernel enables at most, each with its smallest mode and plain
    /// buffers, over all assignments of CRTCs.
    fn most_outputs(&self) -> usize {
        let smallest = |(name, modes, _): OutputRequest| {
            (name, *modes.iter().min_by_key(|mode| mode.area()).expect("a mode"))
        };
        let outputs: Vec<(String, Mode)> = self.requests().into_iter().map(smallest).collect();
        let mut best = 0;
        self.enable_each(&outputs, &mut Vec::new(), &mut best);
        best
    }

    fn enable_each(&self, outputs: &[(String, Mode)], states: &mut Vec<CrtcState>, best: &mut usize) {
        let Some(((name, mode), rest)) = outputs.split_first() else {
            let setups: Vec<CrtcSetup> = states.iter().map(|state| state.setup.clone()).collect();
            if commit::modeset(&self.device.fd, &self.device.objects, &setups, &[], true).is_ok() {
                *best = (*best).max(setups.len());
            }
            return;
        };
        for crtc in 0..self.device.objects.crtcs.len() {
            let is_usable = self.device.connector(name).is_some_and(|connector| connector.can_use(crtc));
            let Some(plane) = self.device.primary_plane(crtc).filter(|_| is_usable) else { continue };
            if states.iter().any(|state| state.setup.crtc == crtc) {
                continue;
            }
            let size = (mode.width.into(), mode.height.into());
            let buffer = self.renderer.allocate(self.device.fd(), &plane.formats, size, BufferLayout::Plain);
            let Ok(buffer) = buffer.map(Arc::new) else { continue };
            let (signal, layout) = (SignalFormat::default(), BufferLayout::Plain);
            let choice = Choice { mode: *mode, signal, layout };
            states.push(self.device.crtc_state(name, crtc, &choice, buffer).expect("connected"));
            self.enable_each(rest, states, best);
            states.pop();
        }
        self.enable_each(rest, states, best);
    }
}

fn modifier_of(rig: &Rig, crtc: usize) -> String {
    rig.machine.modifier_name(rig.scanout(crtc).1.modifier).to_owned()
}

#[test]
fn no_plane_is_used_on_two_crtcs() {
    for index in 0..MACHINES.len() {
        let rig = Rig::new(index);
        let crtcs = &rig.device.objects.crtcs;
        let used: Vec<usize> = crtcs.iter().flat_map(|crtc| [crtc.primary, crtc.cursor]).flatten().collect();
        let distinct: std::collections::BTreeSet<&usize> = used.iter().collect();
        assert_eq!(distinct.len(), used.len(), "{}", rig.machine.title);
        assert!(crtcs.iter().all(|crtc| crtc.primary.is_some()), "{}", rig.machine.title);
    }
}

#[test]
fn buffers_have_modifiers_that_the_plane_lists() {
    for index in 0..MACHINES.len() {
        let mut rig = Rig::new(index);
        for found in rig.configure().assignments {
            let (_, layout) = rig.scanout(found.crtc);
            let formats = &rig.device.primary_plane(found.crtc).expect("a plane").formats;
            let is_listed = layout.modifier.is_none_or(|modifier| formats.supports(layout.format, modifier));
            assert!(is_listed && formats.contains(layout.format), "{}: {layout:?}", rig.machine.title);
        }
    }
}

#[test]
fn every_monitor_is_enabled_that_any_assignment_enables() {
    for index in 0..MACHINES.len() {
        let mut rig = Rig::new(index);
        let most = rig.most_outputs();
        let result = rig.search();
        let title = &rig.machine.title;
        assert_eq!(result.assignments.len(), most, "{title}: {:?}", result.failed);
        assert!(result.tests <= MAX_TESTS, "{title}: {} test commits", result.tests);
    }
}

#[test]
fn commit_after_a_vt_switch_is_accepted() {
    for index in 0..MACHINES.len() {
        let mut rig = Rig::new(index);
        let first = rig.configure();
        rig.device.invalidate_state();
        let second = rig.configure();
        let of = |result: &SearchResult| -> Vec<(usize, usize, u16)> {
            result.assignments.iter().map(|found| (found.request, found.crtc, found.mode.width)).collect()
        };
        assert_eq!(of(&first), of(&second), "{}", rig.machine.title);
    }
}

#[test]
fn frames_with_a_cursor_and_blanking_are_accepted() {
    for index in 0..MACHINES.len() {
        let mut rig = Rig::new(index);
        let assignments = rig.configure().assignments;
        let size = rig.device.cursor_size();
        let cursor = DumbBuffer::new(rig.device.fd(), size, DrmFourcc::Argb8888).expect("a buffer");
        for found in &assignments {
            let framebuffer = cursor.framebuffer().handle();
            let shown = CursorPlane::Shown {
                framebuffer,
                buffer: cursor.handle(),
                size,
                position: (-8, 16),
                hotspot: (3, 4),
            };
            let frame = Frame {
                primary: Some(rig.buffer(found)),
                cursor: rig.device.has_hardware_cursor(found.crtc).then_some(shown),
                ..Frame::default()
            };
            let result = rig.device.submit(found.crtc, &frame);
            assert!(result.is_ok(), "{}: {result:?}", rig.machine.title);
        }
        rig.fake().complete_flips(std::time::Duration::ZERO);
        let outputs: Vec<&str> =
            assignments.iter().map(|found| rig.machine.outputs[found.request].as_str()).collect();
        for active in [false, true] {
            let result = rig.device.set_active(&outputs, active);
            assert!(result.is_ok(), "{}: {result:?}", rig.machine.title);
        }
    }
}

#[test]
fn wanted_signal_format_disables_no_monitor() {
    for index in 0..MACHINES.len() {
        let mut rig = Rig::new(index);
        let most = rig.search().assignments.len();
        let signal = SignalFormat { bit_depth: Some(10), vrr: true, ..SignalFormat::default() };
        let wanted: Vec<OutputRequest> =
            rig.requests().into_iter().map(|(name, modes, _)| (name, modes, signal)).collect();
        let result = rig.device.search(&wanted, &mut rig.renderer, &stopped);
        assert_eq!(result.assignments.len(), most, "{}: {:?}", rig.machine.title, result.failed);
        assert!(result.tests <= MAX_TESTS, "{}: {} test commits", rig.machine.title, result.tests);
    }
}

#[test]
fn software_rendering_enables_the_same_monitors() {
    for index in 0..MACHINES.len() {
        let most = Rig::new(index).search().assignments.len();
        let mut rig = Rig::new(index);
        // Dumb buffers, which have no modifier.
        rig.renderer.renders = vec![(DrmFourcc::Xrgb8888, Vec::new())];
        assert_eq!(rig.configure().assignments.len(), most, "{}", rig.machine.title);
    }
}

/// Generation 9 has no decompressor on pipe C; our buffers need none.
#[test]
fn third_pipe_of_gen9_gets_the_tiling_of_the_others_until_the_display_buffer_is_full() {
    let mut rig = Rig::new(GEN9);
    let result = rig.configure();
    assert_eq!(result.assignments.len(), 3);
    let modifiers: Vec<String> = (0..3).map(|crtc| modifier_of(&rig, crtc)).collect();
    let tiled = modifiers.iter().filter(|name| *name == "Y").count();
    assert_eq!((tiled, result.assignments[0].mode.width), (2, 1920), "{modifiers:?}");
    assert!(result.assignments[1..].iter().all(|found| found.mode.width == 3840));
}

/// Y-tiled framebuffers are at most 4096 pixels wide on generation 9.
#[test]
fn wide_monitor_on_gen9_gets_a_plain_buffer() {
    let mut rig = Rig::new(GEN9);
    rig.fake()
        .connect(connector(rig.fake(), "DP-1").expect("DP-1"), &[mode(5120, 1440, 60), mode(2560, 1440, 60)]);
    rig.device.probe(&Probe::All).expect("a probe");
    let found = rig.configure().assignments.remove(1);
    assert_eq!((found.mode.width, found.layout), (5120, BufferLayout::Plain));
}

#[test]
fn seventh_monitor_on_navi_stays_disabled() {
    let text = MACHINES[NAVI].to_owned()
        + "connector DP all\nconnector DP all\nconnector DP all\n\
           monitor DP-4 1920x1080@60\nmonitor DP-5 1920x1080@60\nmonitor DP-6 1920x1080@60\n";
    let mut rig = Rig::of(load(&text));
    let result = rig.configure();
    assert_eq!((result.assignments.len(), result.failed.len()), (6, 1));
    assert_eq!(modifier_of(&rig, 0), "R_X", "not compressed");
}

#[test]
fn gen12_buffers_are_tiled_and_not_compressed() {
    let mut rig = Rig::new(GEN12);
    assert_eq!(rig.configure().assignments.len(), 4);
    assert!((0..4).all(|crtc| modifier_of(&rig, crtc) == "Y"));
}

/// nvidia-drm starts with full range.
#[test]
fn planes_of_nvidia_keep_full_range() {
    let mut rig = Rig::new(NVIDIA);
    rig.configure();
    let (plane, _) = rig.scanout(0);
    assert_eq!(rig.fake().value(plane, "COLOR_RANGE"), Some(1));
}

#[test]
fn raspberry_pi_4_lowers_the_refresh_rates_of_two_4k_monitors() {
    let mut rig = Rig::new(RPI4);
    let result = rig.configure();
    let mut refreshes: Vec<u32> =
        result.assignments.iter().map(|found| (found.mode.refresh + 500) / 1000).collect();
    refreshes.sort_unstable();
    assert_eq!(result.assignments.len(), 3, "{:?}", result.failed);
    assert_eq!(refreshes, [30, 30, 60]);
}

/// The primary planes of RK3588 list only compressed layouts, and accept linear buffers too.
#[test]
fn rk3588_scans_out_buffers_without_a_modifier() {
    let mut rig = Rig::new(RK3588);
    let result = rig.configure();
    assert_eq!(result.assignments.len(), 2, "{:?}", result.failed);
    for found in result.assignments {
        let (_, layout) = rig.scanout(found.crtc);
        assert_eq!((found.mode.width, layout.modifier), (3840, None));
    }
}

/// The kernel lists cursor planes of virtual GPUs to clients that place the hotspot.
#[test]
fn vmwgfx_has_hardware_cursors() {
    let mut rig = Rig::new(VMWGFX);
    assert_eq!(rig.configure().assignments.len(), 2);
    assert!((0..8).all(|crtc| rig.device.has_hardware_cursor(crtc)));
}

#[test]
fn planes_of_evdi_are_used_despite_bits_of_other_crtcs() {
    let mut rig = Rig::new(EVDI);
    assert_eq!(rig.configure().assignments.len(), 1);
    assert!(rig.device.has_hardware_cursor(0));
}

/// The masks of these planes have all bits, and each belongs to the CRTC that it follows.
#[test]
fn planes_of_the_raspberry_pi_firmware_go_to_their_own_crtcs() {
    let rig = Rig::new(RPI4_FIRMWARE);
    let planes = |crtc: usize| {
        let crtc = &rig.device.objects.crtcs[crtc];
        (crtc.primary, crtc.cursor)
    };
    assert_eq!([planes(0), planes(1)], [(Some(0), Some(2)), (Some(3), Some(5))]);
}

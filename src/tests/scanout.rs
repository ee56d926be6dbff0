//! Frames on a GPU in memory: damage, and planes that the kernel refuses.

use std::os::fd::OwnedFd;
use std::time::Duration;

use geom_display::mode::ConfiguredMode;
use geom_display::output_config::OutputConfig;
use geom_kms::fake::{mode, Commit, FakeDevice};
use rustix::io::Errno;
use smithay::backend::allocator::dmabuf::{Dmabuf, DmabufFlags};
use smithay::backend::allocator::{Format, Fourcc, Modifier};
use smithay::backend::renderer::utils::{Buffer, CommitCounter, RendererSurfaceStateUserData};
use smithay::wayland::compositor::with_states;

use super::{Fixture, TestClient};
use crate::output::requests::OutputTransaction;
use crate::output::scanout::{Outcome, Scanout};
use crate::output::OutputId;
use crate::render::scene::{ScanoutCandidate, Scene};

const SIZE: (i32, i32) = (1920, 1080);

/// A GPU in memory with a monitor, and a client with a fullscreen window.
pub(super) struct Rig {
    pub fixture: Fixture,
    pub fake: FakeDevice,
    pub client: TestClient,
    frames: u64,
}

impl Rig {
    /// Starts on a GPU with a monitor, with a fullscreen window.
    fn new() -> Self {
        Self::on(FakeDevice::with_outputs(1))
    }

    /// As [`Rig::new`], on this GPU, whose driver transmits damage.
    pub fn on(fake: FakeDevice) -> Self {
        Self::with_driver(fake, "virtio_gpu")
    }

    /// As [`Rig::new`], on this GPU with this driver.
    pub fn with_driver(fake: FakeDevice, driver: &str) -> Self {
        fake.set_driver(driver, true);
        let mut fixture = Fixture::on_gpu(&fake);
        let mut client = fixture.client();
        client.open("window", 0xff00_ff00, Some("DP-1"));
        fixture.until_long("a window", |fixture| {
            fake.complete_flips(fixture.compositor.state.now());
            client.poll() && !fixture.compositor.state.shell.windows().is_empty()
        });
        let mut rig = Self { fixture, fake, client, frames: 0 };
        rig.settle();
        rig
    }

    pub fn output(&self) -> OutputId {
        self.fixture.compositor.state.outputs.iter().next().expect("an output").id
    }

    /// Runs until no frame is pending, and none comes.
    pub fn settle(&mut self) {
        let mut idle_iterations = 0;
        while idle_iterations < 5 {
            self.fixture.compositor.iterate(Some(Duration::from_millis(5))).expect("an iteration");
            self.fake.complete_flips(self.fixture.compositor.state.now());
            self.client.poll();
            // An unchanged frame awaits the time of its vblank without any call.
            let outputs = &self.fixture.compositor.state.outputs;
            let mut scanouts = outputs.iter().filter_map(|output| outputs.scanout(output.id));
            let is_idle = scanouts.all(Scanout::is_idle) && self.fake.take_calls().is_empty();
            idle_iterations = if is_idle { idle_iterations + 1 } else { 0 };
        }
    }

    /// Returns the next frame's commit.
    pub fn next_commit(&mut self) -> Commit {
        let primary = self.fake.planes()[0];
        let mut found = None;
        let Self { fixture, fake, client, .. } = self;
        fixture.until("a frame", |_| {
            client.poll();
            let shows = |commit: &Commit| {
                commit.result.is_ok() && !commit.is_test() && commit.value(primary, "FB_ID").is_some()
            };
            found = fake.take_commits().into_iter().find(shows);
            found.is_some()
        });
        self.fake.complete_flips(self.fixture.compositor.state.now());
        found.expect("until it is there")
    }

    /// Renders a frame whose fullscreen client sends a dma-buf.
    pub fn direct_frame(&mut self, dmabuf: &Dmabuf) -> std::io::Result<Outcome> {
        self.frames += 1;
        let commit = CommitCounter::from(self.frames as usize);
        let id = self.output();
        let state = &mut self.fixture.compositor.state;
        let gpu_id = state.backend.gpus().next().expect("a GPU").device.id();
        let visible = state.visible_surfaces(state.outputs.content_of(id).expect("content"));
        let outcome = state.with_scene(id, visible, |state, scene: &mut Scene<'_>| {
            let buffer = buffer_of(&scene.surfaces()[0]);
            let surface = scene.surfaces()[0].clone();
            let dmabuf = dmabuf.clone();
            scene.scanout_candidate = Some(ScanoutCandidate { surface, dmabuf, buffer, commit });
            let gpu = state.backend.gpu_mut(gpu_id).expect("the GPU");
            state.outputs.scanout_mut(id).expect("enabled").frame(gpu, 0, scene)
        });
        outcome.expect("enabled")
    }

    /// Draws frames while one is pending, or not.
    pub fn set_draws_ahead(&mut self, draws_ahead: bool) {
        let id = self.output();
        let scanout = self.fixture.compositor.state.outputs.scanout_mut(id).expect("enabled");
        scanout.set_draws_ahead(draws_ahead);
    }

    /// Returns the framebuffer on the primary plane.
    pub fn shown(&self) -> Option<u64> {
        self.fake.value(self.fake.planes()[0], "FB_ID")
    }
}

/// Returns the buffer of a surface, as what holds a client's buffer.
pub(super) fn buffer_of(
    surface: &smithay::reexports::wayland_server::protocol::wl_surface::WlSurface,
) -> Buffer {
    with_states(surface, |states| {
        let state = states.data_map.get::<RendererSurfaceStateUserData>().expect("a committed surface");
        state.lock().expect("a lock").buffer().cloned().expect("a buffer")
    })
}

/// Returns a buffer with the size of the mode. The device in memory takes any file.
pub(super) fn dmabuf() -> Dmabuf {
    let memory: OwnedFd =
        rustix::fs::memfd_create("dmabuf", rustix::fs::MemfdFlags::CLOEXEC).expect("a memfd");
    let format = Format { code: Fourcc::Xrgb8888, modifier: Modifier::Linear };
    let mut builder = Dmabuf::builder(SIZE, format.code, format.modifier, DmabufFlags::empty());
    builder.add_plane(memory, 0, 0, SIZE.0 as u32 * 4);
    builder.build().expect("a plane")
}

/// Returns a mouse.
pub(super) fn mouse() -> crate::input::DeviceInfo {
    crate::input::DeviceInfo {
        sysname: "event3".into(),
        name: "mouse".into(),
        vendor: 1,
        product: 1,
        capabilities: vec![smithay::reexports::input::DeviceCapability::Pointer],
        ..Default::default()
    }
}

/// Returns the area of the damage of a commit in pixels.
fn damaged(commit: &Commit, plane: u32) -> u64 {
    let Some(clips) = commit.blob(plane, "FB_DAMAGE_CLIPS") else {
        return SIZE.0 as u64 * SIZE.1 as u64;
    };
    let edge = |bytes: &[u8]| u64::from(u32::from_ne_bytes(bytes.try_into().expect("4 bytes")));
    let area = |clip: &[u8]| {
        let edges: Vec<u64> = clip.chunks(4).map(edge).collect();
        (edges[2] - edges[0]) * (edges[3] - edges[1])
    };
    clips.chunks(16).map(area).sum()
}

#[test]
fn small_changes_cause_small_damage() {
    let mut rig = Rig::new();
    let primary = rig.fake.planes()[0];
    let mut areas = Vec::new();
    for _ in 0..6 {
        rig.client.change(0, (64, 64));
        let commit = rig.next_commit();
        areas.push(damaged(&commit, primary));
    }
    // The first ones fill the second buffer, and follow the window's appearance.
    assert!(areas[2..].iter().all(|area| *area <= 2 * 64 * 64), "{areas:?}");
}

/// Returns the damage of a commit: left, top, right and bottom of each clip in pixels.
fn clips(commit: &Commit, plane: u32) -> Vec<[u32; 4]> {
    let bytes = commit.blob(plane, "FB_DAMAGE_CLIPS").unwrap_or_default();
    let edges: Vec<u32> =
        bytes.chunks(4).map(|edge| u32::from_ne_bytes(edge.try_into().expect("4 bytes"))).collect();
    edges.chunks(4).map(|clip| clip.try_into().expect("4 edges")).collect()
}

/// A change in the top left corner of a panel that is built in with its left side up is in the top
/// right corner of the framebuffer, or in the bottom left one with its right side up.
#[test]
fn damage_of_turned_panels_is_where_the_framebuffer_changes() {
    let (width, height) = (SIZE.0 as u32, SIZE.1 as u32);
    let expected = [
        (1, [width - 64, height - 32, width, height]),
        (2, [0, height - 64, 32, height]),
        (3, [width - 32, 0, width, 64]),
    ];
    for (orientation, corner) in expected {
        let fake = FakeDevice::with_outputs(1);
        fake.add_panel_orientation(fake.connectors()[0], orientation);
        let mut rig = Rig::on(fake);
        let primary = rig.fake.planes()[0];
        let mut last = Vec::new();
        for _ in 0..4 {
            rig.client.change(0, (64, 32));
            last = clips(&rig.next_commit(), primary);
        }
        assert!(!last.is_empty() && last.iter().all(|clip| *clip == corner), "{orientation}: {last:?}");
    }
}

/// As on drivers whose dumb buffers are video memory, turned or not.
#[test]
fn staged_frames_are_shown_completely() {
    for orientation in [None, Some(2)] {
        let fake = FakeDevice::with_outputs(1);
        fake.set_prefers_shadow(true);
        if let Some(orientation) = orientation {
            fake.add_panel_orientation(fake.connectors()[0], orientation);
        }
        let mut rig = Rig::on(fake);
        for color in [0xff00_00ff_u32, 0xffff_0000, 0xff00_00ff, 0xffff_ffff] {
            rig.client.set_color(0, color);
            rig.client.change(0, (SIZE.0, SIZE.0));
            rig.next_commit();
            let pixels = rig.fake.pixels(rig.shown().expect("a framebuffer") as u32);
            let wrong = pixels.chunks(4).filter(|pixel| pixel[..3] != color.to_ne_bytes()[..3]).count();
            assert_eq!(wrong, 0, "{orientation:?} {color:#x}");
        }
    }
}

#[test]
fn surface_whose_buffer_is_scanned_out_is_not_copied() {
    let mut rig = Rig::new();
    let id = rig.output();
    let scans_out = |rig: &mut Rig| {
        let state = &mut rig.fixture.compositor.state;
        let visible = state.visible_surfaces(state.outputs.content_of(id).expect("content"));
        let surface = state.with_scene(id, visible, |_, scene: &mut Scene<'_>| scene.surfaces()[0].clone());
        let scanout = state.outputs.scanout_mut(id).expect("enabled");
        scanout.scans_out(&surface.expect("a scene"))
    };
    assert!(!scans_out(&mut rig), "it is drawn");
    assert_eq!(rig.direct_frame(&dmabuf()).ok(), Some(Outcome::Submitted));
    assert!(scans_out(&mut rig));
}

#[test]
fn device_without_vblanks_shows_no_more_frames_than_its_mode() {
    let mut rig = Rig::new();
    let shown = |rig: &Rig| rig.fixture.compositor.state.frames;
    let (began, before) = (rig.fixture.compositor.state.now(), shown(&rig));
    while shown(&rig) < before + 30 {
        // The window changes as often as it may, and the device reports each flip at once.
        rig.client.change(0, (64, 64));
        rig.client.poll();
        rig.fixture.compositor.iterate(Some(Duration::from_millis(1))).expect("an iteration");
        rig.fake.complete_flips(rig.fixture.compositor.state.now());
    }
    let took = rig.fixture.compositor.state.now() - began;
    // 30 frames at 60 Hz, without the first one and what was shown before; stamps may be early by
    // an eighth.
    assert!(took >= Duration::from_millis(28 * 14), "{took:?}");
}

#[test]
fn client_buffer_that_the_kernel_refuses_is_drawn_in_the_same_frame() {
    let mut rig = Rig::new();
    let (first, second) = (dmabuf(), dmabuf());
    for error in [Errno::INVAL, Errno::NOSPC, Errno::RANGE] {
        assert_eq!(rig.direct_frame(&first).ok(), Some(Outcome::Submitted));
        rig.fake.complete_flips(Duration::from_secs(1));
        let direct = rig.shown();
        // The test commit passes, the real one does not.
        rig.fake.fail_nth_commit(1, error);
        let next = if error == Errno::INVAL { &second } else { &dmabuf() };
        assert_eq!(rig.direct_frame(next).ok(), Some(Outcome::Submitted), "{error}");
        rig.fake.clear_failures();
        rig.fake.complete_flips(Duration::from_secs(1));
        assert_ne!(rig.shown(), direct, "{error}: it is drawn");
    }
    rig.fake.take_calls();
    let drawn = rig.shown();
    // It is not tried again, and another buffer is.
    assert!(rig.direct_frame(&second).is_ok());
    rig.fake.complete_flips(Duration::from_secs(1));
    assert!(rig.fake.take_commits().iter().all(|commit| !commit.is_test()));
    assert_eq!(rig.direct_frame(&first).ok(), Some(Outcome::Submitted));
    assert_ne!(rig.shown(), drawn);
    assert_eq!(rig.fake.removed_while_shown(), 0);
}

#[test]
fn failed_commit_of_a_client_buffer_is_made_again() {
    let mut rig = Rig::new();
    let (first, second) = (dmabuf(), dmabuf());
    for buffer in [&first, &second] {
        assert_eq!(rig.direct_frame(buffer).ok(), Some(Outcome::Submitted));
        rig.fake.complete_flips(Duration::from_secs(1));
    }
    let shown = rig.shown();
    // EACCES says nothing about the buffer, and nothing is shown.
    rig.fake.fail_commits(Errno::ACCESS, |_| true);
    assert!(rig.direct_frame(&first).is_err());
    assert_eq!(rig.shown(), shown);
    rig.fake.clear_failures();
    rig.frames -= 1;
    assert_eq!(rig.direct_frame(&first).ok(), Some(Outcome::Submitted), "the same content");
    assert_ne!(rig.shown(), shown);
    assert_eq!(rig.fake.removed_while_shown(), 0);
}

#[test]
fn test_commit_that_fails_without_the_session_is_made_again() {
    let mut rig = Rig::new();
    let buffer = dmabuf();
    for error in [Errno::BUSY, Errno::ACCESS] {
        rig.fake.fail_nth_commit(0, error);
        assert!(rig.direct_frame(&buffer).is_ok(), "{error}: it is drawn");
        rig.fake.clear_failures();
        rig.fake.complete_flips(Duration::from_secs(1));
    }
    let drawn = rig.shown();
    assert_eq!(rig.direct_frame(&buffer).ok(), Some(Outcome::Submitted));
    assert_ne!(rig.shown(), drawn, "it is scanned out");
    assert!(rig.fake.take_commits().iter().any(Commit::is_test));
}

#[test]
fn frame_that_is_held_is_shown_after_its_scanout_was_reset() {
    let mut rig = Rig::new();
    let id = rig.output();
    for _ in 0..3 {
        rig.client.change(0, (64, 64));
        // The device reports the flip at once, and it is held.
        rig.next_commit();
        rig.fixture.iterate();
        rig.fixture.compositor.state.outputs.scanout_mut(id).expect("enabled").forget();
    }
    let notices = rig.fixture.compositor.state.notices.recent();
    assert!(notices.is_empty(), "no page flip is missing: {notices:?}");
}

#[test]
fn cursor_plane_that_the_kernel_refuses_is_drawn_in_the_same_frame() {
    // On virtio_gpu, a plane without hotspot is not used.
    let mut rig = Rig::with_driver(FakeDevice::with_outputs(1), "amdgpu");
    let (primary, cursor) = (rig.fake.planes()[0], rig.fake.planes()[1]);
    let shows = move |commit: &Commit| commit.value(cursor, "FB_ID").is_some_and(|id| id != 0);
    rig.fake.fail_commits(Errno::NOSPC, shows);
    rig.fixture.compositor.state.device_added(mouse());
    rig.fixture.point(200.0, 200.0);
    rig.client.change(0, (64, 64));
    let mut commits = Vec::new();
    let Rig { fixture, fake, client, .. } = &mut rig;
    fixture.until_long("a frame", |_| {
        client.poll();
        commits.extend(fake.take_commits());
        commits.iter().any(|commit| commit.result.is_ok() && !commit.is_test())
    });
    fake.complete_flips(fixture.compositor.state.now());
    assert!(commits.iter().any(shows), "it was tried");
    let commit = commits.iter().find(|commit| commit.result.is_ok()).expect("a frame");
    assert!(commit.value(primary, "FB_ID").is_some() && !shows(commit));
    // It is not tried again.
    rig.settle();
    rig.client.change(0, (64, 64));
    assert!(rig.next_commit().result.is_ok());
    assert!(rig.fake.take_commits().iter().all(|commit| !shows(commit)));
}

#[test]
fn clock_follows_a_mode_of_the_same_size() {
    let mut rig = Rig::new();
    let connector = rig.fake.connectors()[0];
    rig.fake.connect(connector, &[mode(1920, 1080, 60), mode(1920, 1080, 144)]);
    let state = &mut rig.fixture.compositor.state;
    state.rescan("test");
    let fast = ConfiguredMode { width: 1920, height: 1080, refresh: Some(144_000), modeline: None };
    let config = OutputConfig { mode: Some(fast), ..OutputConfig::default() };
    let transaction =
        OutputTransaction { changes: [("DP-1".into(), config)].into(), ..OutputTransaction::default() };
    state.apply_transaction(&transaction, "test").expect("accepted");
    let id = rig.output();
    let state = &rig.fixture.compositor.state;
    let scanout = state.outputs.scanout(id).expect("enabled");
    let now = state.now();
    assert!(scanout.next_vblank(now) - now <= Duration::from_millis(7));
}

#[test]
fn unchanged_scene_is_drawn_again_after_its_buffers_were_forgotten() {
    // Without a hardware cursor, whose state would be committed as well.
    let mut rig = Rig::new();
    let id = rig.output();
    for _ in 0..3 {
        rig.settle();
        let state = &mut rig.fixture.compositor.state;
        state.outputs.scanout_mut(id).expect("enabled").forget();
        state.queue_redraw(id);
        rig.next_commit();
    }
}

#[test]
fn refused_modeset_leaves_the_buffers_as_they_are_shown() {
    let mut rig = Rig::new();
    for _ in 0..3 {
        rig.client.change(0, (64, 64));
        rig.next_commit();
    }
    rig.settle();
    let (id, shown, crtc) = (rig.output(), rig.shown(), rig.fake.crtcs()[0]);
    // As if another program were DRM master.
    let sets_mode = move |commit: &Commit| !commit.is_test() && commit.value(crtc, "MODE_ID").is_some();
    rig.fake.fail_commits(Errno::ACCESS, sets_mode);
    let state = &mut rig.fixture.compositor.state;
    state.backend.gpus_mut().for_each(|gpu| gpu.device.force_modeset(0));
    state.reconfigure("test");
    assert!(rig.fake.take_commits().iter().any(|commit| sets_mode(commit) && commit.result.is_err()));
    rig.fake.clear_failures();
    rig.fixture.compositor.state.queue_redraw(id);
    let next = rig.next_commit().value(rig.fake.planes()[0], "FB_ID");
    assert_ne!(next, shown, "it is not drawn into the buffer that is shown");
    assert_eq!(rig.fixture.compositor.state.outputs.get(id).map(|output| output.counts().modesets), Some(1));
}

/// Windows of all kinds come and go, and parts of them change: what is scanned out is what a whole
/// frame would show, whichever buffer it is in.
fn frames_by_damage_are_like_whole_frames(draws_ahead: bool) {
    let mut rig = Rig::new();
    rig.set_draws_ahead(draws_ahead);
    let mut random = fastrand::Rng::with_seed(18);
    let mut dialogs: Vec<usize> = Vec::new();
    for step in 0..60 {
        match random.u32(0..5) {
            0 => dialogs.push(rig.client.open_dialog(0, random.u32(..) | 0xff00_0000)),
            1 if !dialogs.is_empty() => {
                let closed = dialogs.swap_remove(random.usize(0..dialogs.len()));
                rig.client.close(closed);
            }
            2 => {
                rig.client.set_color(0, random.u32(..) | 0xff00_0000);
                rig.client.change(0, (SIZE.0, SIZE.1));
            }
            _ => rig.client.change(0, (random.i32(1..400), random.i32(1..400))),
        }
        // Some steps are in one frame, and some frames have nothing new.
        for _ in 0..random.u32(0..12) {
            rig.client.poll();
            rig.fixture.compositor.iterate(Some(Duration::from_millis(2))).expect("an iteration");
            rig.fake.complete_flips(rig.fixture.compositor.state.now());
        }
        if step % 4 != 3 {
            continue;
        }
        let Rig { fixture, fake, client, .. } = &mut rig;
        let mut wrong = 0;
        fixture.until("what a whole frame shows", |fixture| {
            client.poll();
            fake.complete_flips(fixture.compositor.state.now());
            let whole = fixture.compositor.state.render_to_image("DP-1").expect("an image");
            let shown = fake.value(fake.planes()[0], "FB_ID").expect("a framebuffer");
            let pixels = fake.pixels(shown as u32);
            let pairs = pixels.chunks(4).zip(whole.rgb.chunks(3));
            wrong = pairs.filter(|(shown, whole)| [shown[2], shown[1], shown[0]] != whole[..3]).count();
            wrong == 0
        });
        assert_eq!(wrong, 0, "step {step}");
    }
}

#[test]
fn frames_by_damage_look_right() {
    frames_by_damage_are_like_whole_frames(false);
}

#[test]
fn frames_that_are_drawn_ahead_look_right() {
    frames_by_damage_are_like_whole_frames(true);
}

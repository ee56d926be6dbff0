//! Displays with a variable refresh rate, on a GPU in memory: what switches it, and what drives the
//! display.

use std::time::Duration;

use drm::control::AtomicCommitFlags;
use geom_display::output_config::OutputConfig;
use geom_display::signal_format::{SignalConfig, Vrr};
use geom_kms::fake::{Commit, FakeDevice};
use rustix::io::Errno;

use super::scanout::{mouse, Rig};
use crate::output::requests::OutputTransaction;

/// Returns an EDID with display range limits from this rate to 60 Hz.
fn edid(lowest: u8) -> Vec<u8> {
    let mut bytes = vec![0; 128];
    bytes[..8].copy_from_slice(&[0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0]);
    bytes[8..12].copy_from_slice(&[0x1d, 0xaf, 1, 0]);
    (bytes[18], bytes[19]) = (1, 4);
    bytes[54..64].copy_from_slice(&[0, 0, 0, 0xfd, 0, lowest, 60, 30, 140, 30]);
    let sum = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    bytes[127] = sum.wrapping_neg();
    bytes
}

/// Starts on a GPU with a monitor whose refresh rate may be as low as this, with a fullscreen
/// window.
fn variable(lowest: u8) -> Rig {
    let fake = FakeDevice::with_outputs(1);
    let connector = fake.connectors()[0];
    let blob = fake.add_blob(&edid(lowest));
    fake.set_value(connector, "EDID", blob);
    fake.set_value(connector, "vrr_capable", 1);
    // Its cursor planes need no hotspot.
    let mut rig = Rig::with_driver(fake, "amdgpu");
    until_idle(&mut rig);
    rig
}

/// Runs until nothing is drawn any more.
fn until_idle(rig: &mut Rig) {
    let id = rig.output();
    let Rig { fixture, fake, client, .. } = rig;
    let mut idle_iterations = 0;
    fixture.until_long("an idle display", |fixture| {
        client.poll();
        fake.complete_flips(fixture.compositor.state.now());
        let is_idle = fixture.compositor.state.outputs.scanout(id).expect("enabled").is_idle();
        idle_iterations = if is_idle { idle_iterations + 1 } else { 0 };
        idle_iterations > 10
    });
    fake.take_calls();
}

fn set_vrr(rig: &mut Rig, vrr: Vrr) {
    let signal = SignalConfig { vrr: Some(vrr), ..SignalConfig::default() };
    let config = OutputConfig { signal, ..OutputConfig::default() };
    let transaction =
        OutputTransaction { changes: [("DP-1".into(), config)].into(), ..OutputTransaction::default() };
    rig.fixture.compositor.state.apply_transaction(&transaction, "test").expect("accepted");
}

fn modesets(rig: &Rig) -> u64 {
    rig.fixture.compositor.state.outputs.get(rig.output()).expect("an output").counts().modesets
}

fn is_modeset(commit: &Commit) -> bool {
    !commit.is_test() && commit.flags.contains(AtomicCommitFlags::ALLOW_MODESET)
}

/// Runs until the kernel has this value of `VRR_ENABLED`. Returns the commits.
fn until_switched(rig: &mut Rig, vrr: bool) -> Vec<Commit> {
    let crtc = rig.fake.crtcs()[0];
    let mut commits = Vec::new();
    let Rig { fixture, fake, client, .. } = rig;
    fixture.until_long("VRR_ENABLED", |fixture| {
        client.poll();
        fake.complete_flips(fixture.compositor.state.now());
        commits.extend(fake.take_commits());
        fake.value(crtc, "VRR_ENABLED") == Some(vrr.into())
    });
    commits
}

#[test]
fn vrr_is_switched_without_a_modeset_and_without_a_new_frame() {
    let mut rig = variable(40);
    let (crtc, primary) = (rig.fake.crtcs()[0], rig.fake.planes()[0]);
    let (shown, before) = (rig.shown(), modesets(&rig));
    for (vrr, is_on) in [(Vrr::On, true), (Vrr::Off, false)] {
        set_vrr(&mut rig, vrr);
        let commits = until_switched(&mut rig, is_on);
        assert!(!commits.iter().any(is_modeset), "{commits:?}");
        let switches = |commit: &&Commit| !commit.is_test() && commit.value(crtc, "VRR_ENABLED").is_some();
        let switch = commits.iter().find(switches).expect("a commit");
        assert_eq!(switch.value(primary, "FB_ID"), None, "nothing is drawn");
        let blanks = |commit: &Commit| !commit.is_test() && commit.value(crtc, "ACTIVE").is_some();
        assert!(!commits.iter().any(blanks), "{commits:?}");
        assert_eq!(rig.shown(), shown);
    }
    assert_eq!(modesets(&rig), before);
}

#[test]
fn vrr_is_switched_by_a_modeset_if_the_kernel_refuses_a_frame_with_it() {
    for refuses_tests in [true, false] {
        let mut rig = variable(40);
        let crtc = rig.fake.crtcs()[0];
        rig.fake.fail_commits(Errno::INVAL, move |commit| {
            commit.value(crtc, "VRR_ENABLED").is_some()
                && !commit.flags.contains(AtomicCommitFlags::ALLOW_MODESET)
                && (refuses_tests || !commit.is_test())
        });
        set_vrr(&mut rig, Vrr::On);
        let commits = until_switched(&mut rig, true);
        assert_eq!(commits.iter().filter(|commit| is_modeset(commit)).count(), 1, "{commits:?}");
    }
}

/// Shows a frame of the client. Returns a time shortly before it was shown.
fn show_content(rig: &mut Rig) -> Duration {
    rig.client.change(0, (64, 64));
    let before = rig.fixture.compositor.state.now();
    rig.next_commit();
    rig.fixture.iterate();
    rig.fake.take_calls();
    before
}

fn move_pointer(rig: &mut Rig, x: f64) {
    rig.fixture.compositor.state.pointer_moved((x, 200.0).into(), 0, None);
}

#[test]
fn moving_cursor_waits_for_the_next_frame_of_a_client() {
    let mut rig = variable(40);
    rig.fixture.compositor.state.device_added(mouse());
    set_vrr(&mut rig, Vrr::On);
    until_switched(&mut rig, true);
    let (primary, cursor) = (rig.fake.planes()[0], rig.fake.planes()[1]);
    until_idle(&mut rig);
    let shown = show_content(&mut rig);
    for x in 0..10 {
        move_pointer(&mut rig, f64::from(x) * 10.0);
        rig.fixture.compositor.iterate(Some(Duration::ZERO)).expect("an iteration");
        rig.client.poll();
    }
    let (commits, took) = (rig.fake.take_commits(), rig.fixture.compositor.state.now() - shown);
    assert!(commits.is_empty() || took >= Duration::from_millis(25), "{took:?}: {commits:?}");
    // On a loaded machine the cursor did not wait, and its page flip is pending.
    rig.fake.complete_flips(rig.fixture.compositor.state.now());
    rig.client.change(0, (64, 64));
    while rig.next_commit().value(primary, "FB_ID").is_none() {}
    let x = rig.fake.value(cursor, "CRTC_X").expect("a cursor plane");
    assert!((80..=90).contains(&x), "the cursor comes with it: {x}");
}

#[test]
fn moving_cursor_waits_until_the_display_would_refresh_by_itself() {
    let mut rig = variable(40);
    rig.fixture.compositor.state.device_added(mouse());
    set_vrr(&mut rig, Vrr::On);
    until_switched(&mut rig, true);
    let cursor = rig.fake.planes()[1];
    until_idle(&mut rig);
    let shown = show_content(&mut rig);
    move_pointer(&mut rig, 300.0);
    let Rig { fixture, fake, .. } = &mut rig;
    fixture.until_long("the cursor", |_| {
        fake.take_commits().iter().any(|commit| commit.value(cursor, "CRTC_X").is_some())
    });
    let waited = fixture.compositor.state.now() - shown;
    assert!(waited >= Duration::from_millis(25), "{waited:?}");
}

//! Frames that are drawn while another one awaits its page flip, on a GPU in memory.

use std::time::Duration;

use geom_kms::fake::{Commit, FakeDevice};
use rustix::io::Errno;

use super::scanout::{buffer_of, dmabuf, Rig};
use crate::output::redraw::Event;
use crate::output::scanout::Outcome;
use crate::render::scene::Scene;

/// Starts with frames that are drawn ahead.
fn rig() -> Rig {
    let mut rig = Rig::with_driver(FakeDevice::with_outputs(1), "amdgpu");
    rig.set_draws_ahead(true);
    rig
}

fn is_ahead(rig: &Rig) -> bool {
    rig.fixture.compositor.state.outputs.scanout(rig.output()).expect("enabled").is_ahead()
}

/// Changes the window to a color.
fn change(rig: &mut Rig, color: u32) {
    rig.client.set_color(0, color);
    rig.client.change(0, (1920, 1080));
}

/// Returns the frames among the commits since the last call.
fn frames(rig: &Rig) -> Vec<Commit> {
    let primary = rig.fake.planes()[0];
    let is_frame = |commit: &Commit| !commit.is_test() && commit.value(primary, "FB_ID").is_some();
    rig.fake.take_commits().into_iter().filter(is_frame).collect()
}

/// Shows the window with a color; the page flip is pending.
fn pending_frame(rig: &mut Rig, color: u32) {
    rig.settle();
    change(rig, color);
    let primary = rig.fake.planes()[0];
    let Rig { fixture, fake, client, .. } = rig;
    fixture.until_long("a frame", |_| {
        client.poll();
        fake.take_commits().iter().any(|commit| commit.value(primary, "FB_ID").is_some())
    });
}

/// Shows one frame of the window, and has another one drawn while its page flip is pending.
fn draw_ahead(rig: &mut Rig, colors: [u32; 2]) {
    let id = rig.output();
    pending_frame(rig, colors[0]);
    change(rig, colors[1]);
    let Rig { fixture, client, .. } = rig;
    fixture.until_long("a frame ahead", |fixture| {
        client.poll();
        fixture.compositor.state.outputs.scanout(id).expect("enabled").is_ahead()
    });
}

/// Completes page flips until the window has this color.
fn until_shown(rig: &mut Rig, color: u32) {
    let primary = rig.fake.planes()[0];
    let Rig { fixture, fake, client, .. } = rig;
    fixture.until_long("the color", |fixture| {
        client.poll();
        fake.complete_flips(fixture.compositor.state.now());
        let shown = fake.value(primary, "FB_ID").expect("a framebuffer");
        let pixels = fake.pixels(shown as u32);
        let at = (500 * 1920 + 500) * 4;
        pixels[at..at + 3] == color.to_ne_bytes()[..3]
    });
}

#[test]
fn frame_that_is_drawn_ahead_is_committed_with_the_page_flip() {
    let mut rig = rig();
    draw_ahead(&mut rig, [0xff00_00ff, 0xffff_0000]);
    assert!(frames(&rig).is_empty(), "the kernel takes one frame at a time");
    let before = rig.shown();
    until_shown(&mut rig, 0xffff_0000);
    assert_ne!(rig.shown(), before);
    let commits = frames(&rig);
    assert!(commits.iter().all(|commit| commit.result.is_ok()), "{commits:?}");
    assert_eq!(rig.fake.removed_while_shown(), 0);
}

#[test]
fn third_buffer_is_freed_when_frames_are_not_drawn_ahead_any_more() {
    let mut rig = rig();
    rig.set_draws_ahead(false);
    for color in [0xff00_00ff, 0xffff_0000, 0xff00_00ff] {
        change(&mut rig, color);
        until_shown(&mut rig, color);
    }
    rig.settle();
    let (usual, ..) = rig.fake.resource_counts();
    rig.set_draws_ahead(true);
    draw_ahead(&mut rig, [0xffff_0000, 0xff00_00ff]);
    assert_eq!(rig.fake.resource_counts().0, usual + 1);
    rig.set_draws_ahead(false);
    until_shown(&mut rig, 0xff00_00ff);
    for color in [0xffff_0000, 0xff00_00ff] {
        change(&mut rig, color);
        until_shown(&mut rig, color);
    }
    assert_eq!(rig.fake.resource_counts().0, usual);
}

#[test]
fn frame_ahead_that_the_kernel_refuses_is_drawn_again() {
    for error in [Errno::INVAL, Errno::BUSY, Errno::ACCESS] {
        let mut rig = rig();
        draw_ahead(&mut rig, [0xff00_00ff, 0xffff_0000]);
        let primary = rig.fake.planes()[0];
        let mut refused = false;
        rig.fake.fail_commits(error, move |commit| {
            let refuses = !refused && commit.value(primary, "FB_ID").is_some();
            refused |= refuses;
            refuses
        });
        until_shown(&mut rig, 0xffff_0000);
        assert!(frames(&rig).iter().any(|commit| commit.result.is_err()), "{error}");
    }
}

#[test]
fn display_that_is_blanked_with_a_frame_ahead_comes_back() {
    let mut rig = rig();
    draw_ahead(&mut rig, [0xff00_00ff, 0xffff_0000]);
    rig.fixture.compositor.state.blank(&["DP-1".into()], true).expect("blanked");
    assert!(!is_ahead(&rig), "it holds no buffer of a client");
    rig.fixture.compositor.state.blank(&["DP-1".into()], false).expect("unblanked");
    until_shown(&mut rig, 0xffff_0000);
    // What was known of the load is forgotten.
    rig.set_draws_ahead(true);
    draw_ahead(&mut rig, [0xff00_00ff, 0xffff_0000]);
    until_shown(&mut rig, 0xffff_0000);
}

/// The next frame is to be rendered now.
fn render_next(rig: &mut Rig) {
    let id = rig.output();
    let state = &mut rig.fixture.compositor.state;
    let now = state.now();
    state.outputs.scanout_mut(id).expect("enabled").reset_buffer_ages();
    state.outputs.on_redraw(id, Event::Damage, now, Duration::ZERO);
    assert!(state.outputs.on_redraw(id, Event::Deadline, now, Duration::ZERO).render);
}

#[test]
fn fullscreen_client_whose_buffer_cannot_be_scanned_out_is_drawn_ahead() {
    let mut rig = rig();
    let buffer = dmabuf();
    pending_frame(&mut rig, 0xff00_00ff);
    render_next(&mut rig);
    assert_eq!(rig.direct_frame(&buffer).ok(), Some(Outcome::Postponed), "it is scanned out at the flip");

    let mut rig = self::rig();
    rig.fake.fail_commits(Errno::INVAL, Commit::is_test);
    pending_frame(&mut rig, 0xff00_00ff);
    render_next(&mut rig);
    assert_eq!(rig.direct_frame(&buffer).ok(), Some(Outcome::Drawn));
}

#[test]
fn frames_are_not_drawn_ahead_while_a_client_buffer_is_scanned_out() {
    let mut rig = rig();
    let id = rig.output();
    rig.settle();
    render_next(&mut rig);
    assert_eq!(rig.direct_frame(&dmabuf()).ok(), Some(Outcome::Submitted));
    let draws_ahead = |rig: &Rig| {
        rig.fixture.compositor.state.outputs.scanout(id).is_some_and(|scanout| scanout.draws_ahead())
    };
    assert!(!draws_ahead(&rig));
    rig.set_draws_ahead(true);
    assert!(!draws_ahead(&rig), "clients get no early frame callbacks");
}

#[test]
fn buffers_of_a_frame_that_is_dropped_are_held_for_the_pending_one() {
    let mut rig = rig();
    let id = rig.output();
    draw_ahead(&mut rig, [0xff00_00ff, 0xffff_0000]);
    let state = &mut rig.fixture.compositor.state;
    let visible = state.visible_surfaces(state.outputs.content_of(id).expect("content"));
    let surface = state.with_scene(id, visible, |_, scene: &mut Scene<'_>| scene.surfaces()[0].clone());
    let buffer = buffer_of(&surface.expect("a scene"));
    state.outputs.hold_buffer(id, &buffer);
    let scanout = state.outputs.scanout_mut(id).expect("enabled");
    scanout.forget();
    assert!(!scanout.is_ahead());
    assert!(scanout.held_buffers().iter().any(|held| **held == *buffer), "the GPU may read it still");
}

#[test]
fn third_buffer_that_cannot_be_allocated_is_not_tried_again() {
    let mut rig = rig();
    let id = rig.output();
    rig.set_draws_ahead(false);
    for color in [0xff00_00ff, 0xffff_0000, 0xff00_00ff] {
        change(&mut rig, color);
        until_shown(&mut rig, color);
    }
    rig.settle();
    rig.fake.limit_buffers(Some(rig.fake.resource_counts().1));
    for _ in 0..3 {
        // The GPU is too slow all the time.
        rig.set_draws_ahead(true);
        pending_frame(&mut rig, 0xffff_0000);
        change(&mut rig, 0xff00_00ff);
        let Rig { fixture, client, .. } = &mut rig;
        let until = fixture.compositor.state.now() + Duration::from_millis(50);
        fixture.until_long("the end of the time", |fixture| {
            client.poll();
            fixture.compositor.state.now() > until
        });
        assert!(!is_ahead(&rig));
        until_shown(&mut rig, 0xff00_00ff);
    }
    assert_eq!(rig.fake.refused_buffers(), 1);
    rig.fake.limit_buffers(None);
    rig.settle();
    rig.fixture.compositor.state.outputs.scanout_mut(id).expect("enabled").forget();
    rig.set_draws_ahead(true);
    draw_ahead(&mut rig, [0xffff_0000, 0xff00_00ff]);
}

//! Displays that the kernel refuses to unblank, and GPUs that are unplugged during a pause.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use drm::buffer::DrmFourcc;
use drm::control::connector::Interface;
use drm::control::AtomicCommitFlags;
use geom_ipc::{DisplayState, Event, Request, Response};
use geom_kms::fake::{mode, Commit, FakeDevice};
use geom_kms::objects::PlaneKind;
use rustix::io::Errno;
use serde_json::json;

use super::control::Control;
use super::Fixture;
use crate::backend::kms::tests::{FakeSeat, SeatState};
use crate::backend::kms::Event as KmsEvent;
use crate::config::Policy;

/// A device node that exists everywhere, in place of a GPU's.
const CARD: &str = "/dev/null";

/// A compositor whose displays are blanked until the next input, and their GPU.
struct Blanked {
    fixture: Fixture,
    gpu: FakeDevice,
    seat: Rc<RefCell<SeatState>>,
}

impl Blanked {
    fn new(displays: usize) -> Self {
        let id = rustix::fs::stat(CARD).expect("a device node").st_rdev;
        let gpu = FakeDevice::with_outputs(displays);
        let seat = Rc::new(RefCell::new(SeatState::default()));
        seat.borrow_mut().gpus.insert(CARD.into(), gpu.clone());
        let mut fixture = Fixture::on_seat(FakeSeat(seat.clone()));
        let state = &mut fixture.compositor.state;
        state.on_backend_event(KmsEvent::GpuAdded { id, path: CARD.into() });
        state.config.power.power_button = Policy::Blank;
        let mut blanked = Self { fixture, gpu, seat };
        blanked.blank();
        blanked
    }

    /// Presses the power button.
    fn blank(&mut self) {
        self.fixture.compositor.state.power_button();
        assert!(self.active().iter().all(|active| !active), "{:?}", self.active());
    }

    /// Whether each CRTC is powered.
    fn active(&self) -> Vec<bool> {
        self.gpu.crtcs().into_iter().map(|crtc| self.gpu.value(crtc, "ACTIVE") == Some(1)).collect()
    }

    /// What the control protocol says: whether each display is blanked.
    fn reported(&mut self) -> Vec<bool> {
        let mut control = Control::greeted(&mut self.fixture, json!({}));
        match control.request(&mut self.fixture, Request::Displays) {
            Ok(Response::Displays(displays)) => displays.iter().map(|display| display.blanked).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn notices(&self) -> Vec<String> {
        self.fixture.compositor.state.notices.recent()
    }

    /// Refuses to power up the CRTC with this index.
    fn refuse(&self, index: usize) {
        let crtc = self.gpu.crtcs()[index];
        self.gpu.fail_commits(Errno::INVAL, move |commit| commit.value(crtc, "ACTIVE") == Some(1));
    }

    fn until_unblanked(&mut self) {
        self.until_active();
        self.power_up();
        assert!(self.reported().iter().all(|blanked| !blanked));
        assert_eq!(self.notices(), [""; 0]);
    }

    /// The kernel has powered up what it was asked to.
    fn power_up(&mut self) {
        self.gpu.complete_flips(self.fixture.compositor.state.now());
        self.fixture.run_for(Duration::from_millis(5));
    }

    /// Unblanks the displays, and commits a frame whose page flip does not come.
    fn with_pending_frame(displays: usize) -> Self {
        let mut blanked = Self::new(displays);
        blanked.fixture.compositor.state.activity();
        blanked.until_unblanked();
        blanked.pending_frame();
        blanked
    }

    fn pending_frame(&mut self) {
        for _ in 0..3 {
            self.power_up();
        }
        self.gpu.take_commits();
        let (gpu, primary) = (self.gpu.clone(), self.gpu.planes()[0]);
        let state = &mut self.fixture.compositor.state;
        let id = state.outputs.named("DP-1").expect("an output").id;
        state.outputs.scanout_mut(id).expect("enabled").forget();
        state.queue_redraw(id);
        self.fixture.until("a frame", |_| {
            gpu.take_commits()
                .iter()
                .any(|commit| !commit.is_test() && commit.value(primary, "FB_ID").is_some())
        });
    }

    /// Whether a commit did not return at once.
    fn waited(&self) -> bool {
        let waits =
            |commit: &Commit| !commit.is_test() && !commit.flags.contains(AtomicCommitFlags::NONBLOCK);
        self.gpu.take_commits().iter().any(waits)
    }

    fn until_active(&mut self) {
        let all = vec![true; self.active().len()];
        let gpu = self.gpu.clone();
        self.fixture.until("unblanked displays", |_| {
            let active = gpu.crtcs().into_iter().map(|crtc| gpu.value(crtc, "ACTIVE") == Some(1));
            active.collect::<Vec<_>>() == all
        });
    }
}

#[test]
fn all_displays_of_a_gpu_are_unblanked_by_one_commit() {
    let mut blanked = Blanked::new(3);
    blanked.gpu.take_commits();
    assert!(blanked.fixture.compositor.state.activity());
    assert_eq!(blanked.active(), [true; 3]);
    let crtcs = blanked.gpu.crtcs();
    let commits = blanked.gpu.take_commits();
    let powers = |commit: &&Commit| crtcs.iter().any(|crtc| commit.value(*crtc, "ACTIVE") == Some(1));
    assert_eq!(commits.iter().filter(powers).count(), 1);
}

#[test]
fn unblanking_does_not_hold_the_event_loop_and_frames_wait_for_its_end() {
    let mut blanked = Blanked::new(1);
    blanked.fixture.run_for(Duration::from_millis(50));
    let mut control = Control::greeted(&mut blanked.fixture, json!({}));
    assert!(control.request(&mut blanked.fixture, Request::Subscribe).is_ok());
    blanked.gpu.take_commits();
    assert!(blanked.fixture.compositor.state.activity());
    assert_eq!(blanked.active(), [true]);
    // The kernel powers the display up meanwhile.
    blanked.fixture.run_for(Duration::from_millis(100));
    let commits: Vec<_> = blanked.gpu.take_commits().into_iter().filter(|commit| !commit.is_test()).collect();
    assert_eq!(commits.len(), 1, "no frame is tried: {commits:?}");
    assert!(commits[0].flags.contains(AtomicCommitFlags::NONBLOCK), "{commits:?}");
    assert_eq!(blanked.reported(), [true], "it is not on yet");
    let is_on = |event: &Event| matches!(event, Event::Display { display } if !display.blanked);
    assert!(control.request(&mut blanked.fixture, Request::Heartbeat).is_ok());
    assert!(!control.events.iter().any(is_on), "{:?}", control.events);
    let (gpu, primary) = (blanked.gpu.clone(), blanked.gpu.planes()[0]);
    gpu.complete_flips(blanked.fixture.compositor.state.now());
    blanked.fixture.until("a frame", |_| {
        let mut commits = gpu.take_commits().into_iter();
        commits.any(|commit| commit.result.is_ok() && commit.value(primary, "FB_ID").is_some())
    });
    assert!(control.request(&mut blanked.fixture, Request::Heartbeat).is_ok());
    assert!(control.events.iter().any(is_on), "{:?}", control.events);
    assert_eq!(blanked.notices(), [""; 0]);
}

#[test]
fn blanking_does_not_wait_for_a_pending_frame() {
    let mut blanked = Blanked::with_pending_frame(2);
    blanked.fixture.compositor.state.blank(&["DP-1".into(), "DP-2".into()], true).expect("it is blanked");
    assert_eq!(blanked.reported(), [true, true]);
    blanked.fixture.run_for(Duration::from_millis(50));
    assert_eq!(blanked.active(), [true, false], "the one with the frame follows");
    blanked.power_up();
    assert_eq!(blanked.active(), [false, false]);
    assert!(!blanked.waited());
    blanked.fixture.compositor.state.blank(&["DP-1".into(), "DP-2".into()], false).expect("unblanked");
    blanked.until_unblanked();
}

#[test]
fn display_is_not_blanked_if_it_is_unblanked_before_its_frame_is_shown() {
    let mut blanked = Blanked::with_pending_frame(1);
    let names = ["DP-1".into()];
    blanked.fixture.compositor.state.blank(&names, true).expect("it is blanked");
    blanked.fixture.compositor.state.blank(&names, false).expect("it is on again");
    assert_eq!(blanked.reported(), [false]);
    blanked.fixture.run_for(Duration::from_millis(50));
    assert!(blanked.gpu.take_commits().iter().all(Commit::is_test), "the frame before is pending");
    let (gpu, primary) = (blanked.gpu.clone(), blanked.gpu.planes()[0]);
    gpu.complete_flips(blanked.fixture.compositor.state.now());
    blanked.fixture.until("the next frame", |_| {
        gpu.take_commits().iter().any(|commit| commit.value(primary, "FB_ID").is_some())
    });
    assert_eq!(blanked.active(), [true]);
}

#[test]
fn display_that_is_being_powered_up_is_blanked_at_the_end() {
    let mut blanked = Blanked::new(1);
    blanked.gpu.take_commits();
    let names = ["DP-1".into()];
    blanked.fixture.compositor.state.blank(&names, false).expect("unblanked");
    assert_eq!(blanked.active(), [true]);
    blanked.fixture.compositor.state.blank(&names, true).expect("it is blanked");
    blanked.fixture.run_for(Duration::from_millis(50));
    blanked.power_up();
    assert_eq!((blanked.active(), blanked.reported()), (vec![false], vec![true]));
    assert!(!blanked.waited());
    blanked.fixture.compositor.state.blank(&names, false).expect("unblanked");
    blanked.until_unblanked();
}

#[test]
fn page_flip_of_an_old_frame_is_not_the_end_of_unblanking() {
    let mut blanked = Blanked::with_pending_frame(1);
    // The watchdog has given the frame up; its page flip comes, and is not read yet.
    let state = &mut blanked.fixture.compositor.state;
    let (id, now) = (state.outputs.named("DP-1").expect("an output").id, state.now());
    state.outputs.give_up_pageflip(id, now);
    blanked.gpu.complete_flips(now);
    let names = ["DP-1".into()];
    blanked.fixture.compositor.state.blank(&names, true).expect("it is blanked");
    assert_eq!(blanked.active(), [false]);
    blanked.fixture.compositor.state.blank(&names, false).expect("unblanked");
    assert_eq!(blanked.active(), [true]);
    blanked.gpu.take_commits();
    blanked.fixture.run_for(Duration::from_millis(50));
    assert_eq!(blanked.reported(), [true]);
    assert!(blanked.gpu.take_commits().is_empty(), "the display is not powered up yet");
    blanked.until_unblanked();
}

#[test]
fn kernel_that_is_busy_without_a_known_frame_is_asked_again() {
    let mut blanked = Blanked::with_pending_frame(1);
    let state = &mut blanked.fixture.compositor.state;
    let (id, now) = (state.outputs.named("DP-1").expect("an output").id, state.now());
    state.outputs.give_up_pageflip(id, now);
    blanked.fixture.compositor.state.blank(&["DP-1".into()], true).expect("it is blanked");
    blanked.fixture.run_for(Duration::from_millis(50));
    assert_eq!(blanked.active(), [true]);
    assert!(!blanked.waited());
    let gpu = blanked.gpu.clone();
    gpu.complete_flips(blanked.fixture.compositor.state.now());
    blanked.fixture.until("a blanked display", |_| gpu.value(gpu.crtcs()[0], "ACTIVE") == Some(0));
    assert_eq!(blanked.notices(), [""; 0]);
}

#[test]
fn displays_of_other_gpus_are_blanked_again_if_one_gpu_refuses() {
    const OTHER_CARD: &str = "/dev/zero";
    let mut blanked = Blanked::new(1);
    let other = FakeDevice::new();
    let crtc = other.add_crtc();
    other.add_plane(PlaneKind::Primary, &[crtc], &[DrmFourcc::Xrgb8888]);
    let connector = other.add_connector(Interface::HDMIA, &[crtc]);
    other.connect(connector, &[mode(1920, 1080, 60)]);
    blanked.seat.borrow_mut().gpus.insert(OTHER_CARD.into(), other.clone());
    let id = rustix::fs::stat(OTHER_CARD).expect("a device node").st_rdev;
    let state = &mut blanked.fixture.compositor.state;
    state.on_backend_event(KmsEvent::GpuAdded { id, path: OTHER_CARD.into() });
    let names = state.outputs.enabled_names();
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(other.value(crtc, "ACTIVE"), Some(0));
    other.fail_commits(Errno::NOMEM, move |commit| {
        commit.value(crtc, "ACTIVE") == Some(1) && !commit.is_test()
    });
    blanked.gpu.take_commits();
    blanked.fixture.compositor.state.set_blanked(&names, false).expect_err("refused");
    assert_eq!(blanked.active(), [true], "it is being powered up");
    blanked.fixture.run_for(Duration::from_millis(50));
    blanked.power_up();
    assert_eq!((blanked.active(), blanked.reported()), (vec![false], vec![true, true]));
    assert!(!blanked.waited());
}

#[test]
fn blanking_that_the_kernel_refuses_after_its_test_is_taken_back() {
    let mut blanked = Blanked::with_pending_frame(1);
    let crtc = blanked.gpu.crtcs()[0];
    blanked.gpu.fail_commits(Errno::NOMEM, move |commit| {
        commit.value(crtc, "ACTIVE") == Some(0) && !commit.is_test()
    });
    blanked.fixture.compositor.state.power_button();
    assert_eq!(blanked.reported(), [true]);
    blanked.power_up();
    assert_eq!((blanked.active(), blanked.reported()), (vec![true], vec![false]));
    assert!(
        !blanked.fixture.compositor.state.power.is_idle_blanked()
            || blanked.fixture.compositor.state.activity()
    );
}

#[test]
fn display_that_is_not_unblanked_once_comes_back_by_itself() {
    let mut blanked = Blanked::new(2);
    blanked.refuse(1);
    assert!(blanked.fixture.compositor.state.activity());
    assert_eq!(blanked.active(), [true, false], "the other display does not wait for it");
    blanked.power_up();
    assert_eq!(blanked.reported(), [false, true]);
    let notices = blanked.notices();
    assert!(matches!(&notices[..], [notice] if notice.starts_with("DP-2 stays blanked")), "{notices:?}");
    blanked.gpu.clear_failures();
    blanked.until_unblanked();
}

#[test]
fn refused_display_is_unblanked_by_the_next_input() {
    let mut blanked = Blanked::new(1);
    blanked.refuse(0);
    blanked.fixture.compositor.state.activity();
    // Long enough for retries to become rare.
    blanked.fixture.run_for(Duration::from_secs(2));
    assert_eq!(blanked.active(), [false]);
    blanked.gpu.clear_failures();
    assert!(blanked.fixture.compositor.state.activity(), "the user sees nothing: no client gets the input");
    assert_eq!(blanked.active(), [true]);
    assert!(!blanked.fixture.compositor.state.activity());
    assert_eq!(blanked.notices(), [""; 0]);
}

#[test]
fn full_configuration_follows_commits_that_are_refused_again_and_again() {
    let mut blanked = Blanked::new(1);
    let crtc = blanked.gpu.crtcs()[0];
    // As after another monitor took the bandwidth: only a modeset can power it up.
    blanked.gpu.fail_commits(Errno::INVAL, move |commit| {
        commit.value(crtc, "ACTIVE") == Some(1) && commit.value(crtc, "MODE_ID").is_none()
    });
    blanked.fixture.compositor.state.activity();
    assert_eq!(blanked.active(), [false]);
    blanked.until_unblanked();
}

/// `tests` says whether the kernel refuses test commits too.
fn display_for_which_no_mode_works_is_tried_until_one_does(tests: bool) {
    let mut blanked = Blanked::new(2);
    let refused = blanked.gpu.crtcs()[0];
    blanked.gpu.fail_commits(Errno::INVAL, move |commit| {
        commit.value(refused, "ACTIVE") == Some(1) && (tests || !commit.is_test())
    });
    blanked.fixture.compositor.state.activity();
    let first = blanked.gpu.crtcs()[0];
    let gpu = blanked.gpu.clone();
    gpu.take_commits();
    blanked.fixture.until("a modeset", |_| {
        gpu.take_commits().iter().any(|commit| {
            commit.value(first, "ACTIVE") == Some(1) && commit.value(first, "MODE_ID").is_some()
        })
    });
    assert!(blanked.active()[1], "the other display is not affected");
    let is_enabled = |fixture: &Fixture| {
        fixture.compositor.state.outputs.named("DP-1").is_some_and(|output| output.is_enabled())
    };
    assert_eq!(is_enabled(&blanked.fixture), tests, "it keeps its windows if tests say what happens");
    blanked.gpu.clear_failures();
    blanked.until_active();
    blanked.power_up();
    assert!(blanked.reported().iter().all(|blanked| !blanked));
}

#[test]
fn display_for_which_no_test_passes_is_tried_until_one_does() {
    display_for_which_no_mode_works_is_tried_until_one_does(true);
}

#[test]
fn display_for_which_no_commit_succeeds_is_tried_until_one_does() {
    display_for_which_no_mode_works_is_tried_until_one_does(false);
}

#[test]
fn display_that_is_blanked_on_request_is_not_tried_again() {
    let mut blanked = Blanked::new(1);
    blanked.refuse(0);
    let state = &mut blanked.fixture.compositor.state;
    let error = state.blank(&["DP-1".into()], false).expect_err("refused");
    assert!(error.contains("as soon as"), "{error}");
    state.blank(&["DP-1".into()], true).expect("it is blanked");
    assert_eq!(blanked.notices(), [""; 0]);
    blanked.gpu.clear_failures();
    blanked.fixture.run_for(Duration::from_millis(300));
    assert_eq!(blanked.active(), [false]);
    blanked.fixture.compositor.state.blank(&["DP-1".into()], false).expect("unblanked");
    assert_eq!(blanked.active(), [true]);
}

/// A GPU is unplugged while the session is on another VT, or while the system sleeps.
#[test]
fn gpu_that_is_removed_during_a_pause_is_closed() {
    for sleeps in [false, true] {
        let mut blanked = Blanked::new(2);
        let seat = blanked.seat.clone();
        let id = rustix::fs::stat(CARD).expect("a device node").st_rdev;
        let mut control = Control::greeted(&mut blanked.fixture, json!({}));
        assert!(control.request(&mut blanked.fixture, Request::Subscribe).is_ok());
        let state = &mut blanked.fixture.compositor.state;
        state.activity();
        match sleeps {
            true => {
                state.pause_all();
                state.backend.set_asleep(true);
            }
            false => state.on_backend_event(KmsEvent::SessionPaused),
        }
        state.on_backend_event(KmsEvent::GpuRemoved { id });
        assert_eq!(seat.borrow().closed(), 1);
        assert_eq!(blanked.gpu.resource_counts().0, 0, "its buffers are freed");
        assert!(control.request(&mut blanked.fixture, Request::Heartbeat).is_ok());
        let is_disconnected = |event: &&Event| matches!(event, Event::Display { display } if display.state == DisplayState::Disconnected);
        assert_eq!(control.events.iter().filter(is_disconnected).count(), 2, "{:?}", control.events);

        // It is plugged in again.
        let state = &mut blanked.fixture.compositor.state;
        match sleeps {
            true => {
                state.backend.set_asleep(false);
                state.rescan("system resumed");
            }
            false => state.on_backend_event(KmsEvent::SessionResumed),
        }
        blanked.until_unblanked();
    }
}

#[test]
fn display_that_could_not_be_unblanked_on_another_vt_is_unblanked_on_return() {
    let mut blanked = Blanked::new(1);
    let state = &mut blanked.fixture.compositor.state;
    state.on_backend_event(KmsEvent::SessionPaused);
    // Blanking is disabled by the configuration meanwhile.
    state.read_power();
    assert_eq!(blanked.active(), [false]);
    assert_eq!(blanked.notices(), [""; 0]);
    blanked.fixture.compositor.state.on_backend_event(KmsEvent::SessionResumed);
    blanked.until_unblanked();
}

//! Displays that the kernel refuses to unblank, and GPUs that are unplugged during a pause.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use geom_ipc::{DisplayState, Event, Request, Response};
use geom_kms::fake::FakeDevice;
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
        assert!(self.reported().iter().all(|blanked| !blanked));
        assert_eq!(self.notices(), [""; 0]);
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
    let powers =
        |commit: &&geom_kms::fake::Commit| crtcs.iter().any(|crtc| commit.value(*crtc, "ACTIVE") == Some(1));
    assert_eq!(commits.iter().filter(powers).count(), 1);
}

#[test]
fn display_that_is_not_unblanked_once_comes_back_by_itself() {
    let mut blanked = Blanked::new(2);
    blanked.refuse(1);
    assert!(blanked.fixture.compositor.state.activity());
    assert_eq!(blanked.active(), [true, false], "the other display does not wait for it");
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

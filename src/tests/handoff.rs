//! Handoff: the image of the previous DRM master, on a GPU in memory.

use std::cell::RefCell;
use std::rc::Rc;

use geom_display::output_config::{OutputConfig, Transform};
use geom_kms::fake::{mode, FakeDevice};

use super::Fixture;
use crate::backend::kms::tests::{FakeSeat, SeatState};
use crate::backend::kms::Event;
use crate::cli::options::GuardChoice;
use crate::output::requests::OutputTransaction;

/// A device node that exists everywhere, in place of a GPU's.
const CARD: &str = "/dev/null";
const GRAY: [u8; 3] = [0x80; 3];

/// Starts on a GPU whose monitor shows a gray image, as a service does that follows a boot splash.
fn after_splash() -> Fixture {
    let fake = FakeDevice::with_outputs(1);
    fake.show(fake.crtcs()[0], fake.connectors()[0], &mode(1920, 1080, 60), 0xff80_8080);
    let seat = Rc::new(RefCell::new(SeatState::default()));
    seat.borrow_mut().gpus.insert(CARD.into(), fake);
    let mut fixture = Fixture::on_seat(FakeSeat(seat));
    fixture.compositor.state.options.guard = GuardChoice::Always;
    let id = rustix::fs::stat(CARD).expect("a device node").st_rdev;
    fixture.compositor.state.on_backend_event(Event::GpuAdded { id, path: CARD.into() });
    fixture
}

/// Returns the number of pixels of these colors that the display shows.
fn count(fixture: &mut Fixture, counts: impl Fn(&[u8]) -> bool) -> usize {
    let image = fixture.compositor.state.render_to_image("DP-1").expect("an image");
    image.rgb.chunks(3).filter(|pixel| counts(pixel)).count()
}

#[test]
fn rotation_replaces_the_inherited_frame_by_the_diagnostic_screen_at_once() {
    let mut fixture = after_splash();
    assert_eq!(count(&mut fixture, |pixel| pixel == GRAY), 1920 * 1080);
    let rotated = OutputConfig { transform: Some(Transform::Rotated90), ..OutputConfig::default() };
    let transaction =
        OutputTransaction { changes: [("DP-1".into(), rotated)].into(), ..OutputTransaction::default() };
    fixture.compositor.state.apply_transaction(&transaction, "test").expect("accepted");
    // The first frame after it: a display without damage gets no second one.
    let image = fixture.compositor.state.render_to_image("DP-1").expect("an image");
    let background = &image.rgb[..3];
    assert!(image.rgb.chunks(3).any(|pixel| pixel != background), "the display is empty");
}

//! Calibration of a touchscreen by a control client, end to end but for libinput.

use geom_ipc::{Calibration, CalibrationState, ErrorKind, Event, Request, Response};
use serde_json::json;
use smithay::reexports::input::DeviceCapability::Touch;

use super::control::Control;
use super::Fixture;

const DISPLAYS: &str = "[headless]\ndisplays = [\"800x600\", \"640x480\"]\n";
const PANEL: &str = "event5";
/// The yellow of the cross, and the ground.
const CROSS: u32 = 0x00ff_cc33;

/// A display with a touchscreen whose axes are swapped, and a matrix that it has already.
fn fixture() -> Fixture {
    let mut fixture =
        Fixture::new(&format!("{DISPLAYS}[[input]]\nname = \"{PANEL}\"\ndisplay = \"HEADLESS-1\"\n"));
    fixture.plug_device(PANEL, Touch);
    let old = [1.0, 0.0, 0.5, 0.0, 1.0, 0.0];
    fixture.compositor.state.input.fake_calibrations.insert(PANEL.into(), old);
    fixture
}

fn subscriber(fixture: &mut Fixture) -> Control {
    let mut control = Control::greeted(fixture, json!({"connect_type": "DISCONNECT_ONCE"}));
    assert!(matches!(control.request(fixture, Request::Subscribe), Ok(Response::Done)));
    control
}

fn start(fixture: &mut Fixture, control: &mut Control) -> Calibration {
    match control.request(fixture, Request::Calibrate { device: None }) {
        Ok(Response::Calibration(calibration)) => calibration,
        other => panic!("{other:?}"),
    }
}

fn matrix(fixture: &Fixture) -> [f64; 6] {
    fixture.compositor.state.input.calibration(PANEL).expect("a device")
}

/// Touches the device at a place of the display, in fractions.
fn touch(fixture: &mut Fixture, (x, y): (f64, f64)) {
    fixture.compositor.state.calibration_down(Some(0), (y, x));
    fixture.compositor.state.calibration_up(Some(0));
}

/// Returns the pixel of the first display at fractions of its size.
fn pixel(fixture: &mut Fixture, (x, y): (f64, f64)) -> u32 {
    let output = fixture.compositor.state.outputs.named_mut("HEADLESS-1");
    let scanout = output.and_then(|output| output.scanout.as_mut());
    let Some((width, height, pixels)) = scanout.and_then(|scanout| scanout.memory_pixels()) else { return 0 };
    let at = |fraction: f64, size: u32| (fraction * f64::from(size)) as usize;
    let start = (at(y, height) * width as usize + at(x, width)) * 4;
    u32::from_le_bytes(pixels[start..start + 4].try_into().expect("four bytes")) & 0x00ff_ffff
}

fn events(control: &Control) -> Vec<(CalibrationState, u32)> {
    let states = control.events.iter().filter_map(|event| match event {
        Event::Calibration { calibration } => Some((calibration.state, calibration.target)),
        _ => None,
    });
    states.collect()
}

const TARGETS: [(f64, f64); 6] = [(0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.1, 0.9), (0.4, 0.3), (0.65, 0.7)];

#[test]
fn touches_of_the_targets_give_the_matrix() {
    let mut fixture = fixture();
    let mut control = subscriber(&mut fixture);
    let started = start(&mut fixture, &mut control);
    assert_eq!((started.display.as_str(), started.target, started.targets), ("HEADLESS-1", 1, 6));
    assert_eq!(matrix(&fixture), [1.0, 0.0, 0.0, 0.0, 1.0, 0.0], "touches are not calibrated");
    for (index, target) in TARGETS.into_iter().enumerate() {
        fixture.until("the target", |fixture| pixel(fixture, target) == CROSS);
        if index == 2 {
            // Next to the cross: it does not count until all are there.
            fixture.compositor.state.calibration_down(Some(0), (0.1, 0.1));
            fixture.compositor.state.calibration_down(Some(1), (0.5, 0.5));
            fixture.compositor.state.calibration_up(Some(1));
            assert_eq!(pixel(&mut fixture, target), CROSS, "a second finger does not count");
            fixture.compositor.state.calibration_up(Some(0));
        } else {
            touch(&mut fixture, target);
        }
        if index == 4 {
            fixture.until("the wrong one again", |fixture| pixel(fixture, TARGETS[2]) == CROSS);
            touch(&mut fixture, TARGETS[2]);
        }
    }
    let near = |one: [f64; 6], other: [f64; 6]| one.iter().zip(other).all(|(a, b)| (a - b).abs() < 1e-9);
    assert!(near(matrix(&fixture), [0.0, 1.0, 0.0, 1.0, 0.0, 0.0]), "{:?}", matrix(&fixture));
    fixture.until("the display as before", |fixture| pixel(fixture, TARGETS[5]) != CROSS);
    assert!(matches!(control.request(&mut fixture, Request::Heartbeat), Ok(Response::Done)));
    let expected = [2, 3, 4, 5, 3, 6].map(|target| (CalibrationState::Target, target));
    let events = events(&control);
    assert_eq!(events[..6], expected);
    assert_eq!(events[6..], [(CalibrationState::Finished, 6)]);
}

/// The device and the display are as before, whatever ends it.
#[test]
fn calibration_that_ends_leaves_everything_as_before() {
    type End = fn(&mut Fixture, &mut Control);
    let ends: [(&str, End); 5] = [
        ("cancel", |fixture, control| {
            assert!(matches!(control.request(fixture, Request::CancelCalibration), Ok(Response::Done)));
        }),
        ("the device", |fixture, _| fixture.compositor.state.device_removed(PANEL)),
        ("the display", |fixture, _| fixture.plug("HEADLESS-1", false)),
        ("a minute without a touch", |fixture, _| fixture.compositor.state.calibration_overdue()),
        ("the transform", |fixture, control| {
            let change = geom_ipc::DisplayChange { transform: Some("90".into()), ..Default::default() };
            let set = Request::SetDisplay {
                display: "HEADLESS-1".into(),
                change: Box::new(change),
                confirm_within: None,
            };
            assert!(control.request(fixture, set).is_ok());
        }),
    ];
    for (what, end) in ends {
        let mut fixture = fixture();
        let before = matrix(&fixture);
        let mut control = subscriber(&mut fixture);
        start(&mut fixture, &mut control);
        fixture.until("the target", |fixture| pixel(fixture, TARGETS[0]) == CROSS);
        end(&mut fixture, &mut control);
        fixture.until(what, |fixture| matrix(fixture) == before);
        assert!(matches!(control.request(&mut fixture, Request::Heartbeat), Ok(Response::Done)));
        assert_eq!(events(&control).last().map(|last| last.0), Some(CalibrationState::Ended), "{what}");
        if what != "the display" {
            fixture.until("no target", |fixture| pixel(fixture, TARGETS[0]) != CROSS);
        }
    }
}

/// Ctrl+C, or a crash.
#[test]
fn calibration_ends_with_the_client_that_began_it() {
    let mut fixture = fixture();
    let before = matrix(&fixture);
    let mut control = subscriber(&mut fixture);
    start(&mut fixture, &mut control);
    let mut other = subscriber(&mut fixture);
    let refused = other.request(&mut fixture, Request::Calibrate { device: None });
    assert!(refused.is_err_and(|error| error.kind == ErrorKind::Failed), "one at a time");
    drop(control);
    fixture.until("the matrix of before", |fixture| matrix(fixture) == before);
    assert!(matches!(other.request(&mut fixture, Request::Heartbeat), Ok(Response::Done)));
    assert_eq!(events(&other), [(CalibrationState::Ended, 1)]);
    start(&mut fixture, &mut other);
}

#[test]
fn device_is_named_if_there_are_several() {
    let mut fixture = fixture();
    let mut control = subscriber(&mut fixture);
    let mut kind = |fixture: &mut Fixture, device: Option<&str>| {
        let request = Request::Calibrate { device: device.map(str::to_owned) };
        control.request(fixture, request).err().map(|error| error.kind)
    };
    assert_eq!(kind(&mut fixture, Some("mouse")), Some(ErrorKind::NotFound));
    fixture.plug_device("event6", Touch);
    assert_eq!(kind(&mut fixture, None), Some(ErrorKind::BadValue));
    assert_eq!(kind(&mut fixture, Some("event6")), Some(ErrorKind::Failed), "libinput cannot");
    assert_eq!(kind(&mut fixture, Some(PANEL)), None);
}

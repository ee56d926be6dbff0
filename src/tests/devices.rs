//! Events and requests about what the service uses: input devices, GPUs, the session, and programs
//! of `--exec`; and the notice of a metrics file that cannot be written.

use std::cell::RefCell;
use std::rc::Rc;

use geom_display::lifecycle::Event as LifecycleEvent;
use geom_ipc::{Event, Gpu, InputCapability, InputDevice, Metrics, Request, Response, Status};
use geom_kms::fake::FakeDevice;
use rustix::io::Errno;
use serde_json::json;
use smithay::reexports::input::DeviceCapability;

use super::control::Control;
use super::{card_id, Fixture, CARD};
use crate::backend::kms::tests::{FakeSeat, SeatState};
use crate::backend::kms::Event as KmsEvent;
use crate::input::DeviceInfo;
use crate::session::spawn::{EndedChild, Exit};

fn subscriber(fixture: &mut Fixture) -> Control {
    let mut control = Control::greeted(fixture, json!({}));
    assert!(matches!(control.request(fixture, Request::Subscribe), Ok(Response::Done)));
    control
}

fn status(fixture: &mut Fixture, control: &mut Control) -> Status {
    match control.request(fixture, Request::Status) {
        Ok(Response::Status(status)) => *status,
        other => panic!("{other:?}"),
    }
}

fn metrics(fixture: &mut Fixture, control: &mut Control) -> Metrics {
    match control.request(fixture, Request::Metrics) {
        Ok(Response::Metrics(metrics)) => metrics,
        other => panic!("{other:?}"),
    }
}

fn input_devices(fixture: &mut Fixture, control: &mut Control) -> Vec<InputDevice> {
    match control.request(fixture, Request::InputDevices) {
        Ok(Response::InputDevices(devices)) => devices,
        other => panic!("{other:?}"),
    }
}

fn device(sysname: &str, name: &str, capabilities: &[DeviceCapability]) -> DeviceInfo {
    DeviceInfo {
        sysname: sysname.into(),
        name: name.into(),
        vendor: 0x46d,
        product: 0xc52b,
        capabilities: capabilities.to_vec(),
        ..DeviceInfo::default()
    }
}

#[test]
fn input_devices_are_listed_and_published() {
    let config =
        "[headless]\ndisplays = [\"800x600\", \"640x480\"]\n[[input]]\nname = \"panel\"\ndisplay = \"HEADLESS-2\"\n";
    let mut fixture = Fixture::new(config);
    let mut control = subscriber(&mut fixture);
    assert_eq!(input_devices(&mut fixture, &mut control), []);
    let mouse = device("event3", "mouse", &[DeviceCapability::Pointer]);
    let panel = device("event4", "panel", &[DeviceCapability::Touch]);
    let expected = |info: &DeviceInfo, capability, display: Option<&str>| InputDevice {
        sysname: info.sysname.clone(),
        name: info.name.clone(),
        vendor: 0x46d,
        product: 0xc52b,
        capabilities: vec![capability],
        display: display.map(str::to_owned),
        ..InputDevice::default()
    };
    let mut mouse_seen = expected(&mouse, InputCapability::Pointer, None);
    mouse_seen.settings.scroll_factor = Some(1.0);
    let mut panel_seen = expected(&panel, InputCapability::Touch, Some("HEADLESS-2"));
    panel_seen.sources.insert("display".into(), "[[input]] at line 3".into());
    let state = &mut fixture.compositor.state;
    state.device_added(mouse);
    state.device_added(panel);
    assert_eq!(
        input_devices(&mut fixture, &mut control),
        [mouse_seen.clone(), panel_seen.clone()],
        "the touchscreen belongs to the configured display"
    );
    assert!(fixture.compositor.state.input.pointer().is_present());
    fixture.compositor.state.device_removed("event3");
    fixture.compositor.state.device_removed("event9");
    assert_eq!(input_devices(&mut fixture, &mut control), std::slice::from_ref(&panel_seen));
    assert!(!fixture.compositor.state.input.pointer().is_present());
    let published = [
        Event::InputDeviceAdded { device: mouse_seen.clone() },
        Event::InputDeviceAdded { device: panel_seen },
        Event::InputDeviceRemoved { device: mouse_seen },
    ];
    assert_eq!(control.events, published);
}

#[test]
fn gpus_modesets_and_the_session_are_published() {
    let id = card_id();
    let seat = Rc::new(RefCell::new(SeatState::default()));
    seat.borrow_mut().gpus.insert(CARD.into(), FakeDevice::with_outputs(1));
    let mut fixture = Fixture::on_seat(FakeSeat(seat));
    let mut control = subscriber(&mut fixture);
    assert_eq!(status(&mut fixture, &mut control).gpus, []);

    fixture.compositor.state.on_backend_event(KmsEvent::GpuAdded { id, path: CARD.into() });
    let open = status(&mut fixture, &mut control);
    let [gpu] = &open.gpus[..] else { panic!("{open:?}") };
    let Gpu { path, atomic, renderer, driver } = gpu;
    assert!(*atomic && !driver.is_empty(), "{gpu:?}");
    assert_eq!((path.as_str(), renderer.as_str(), open.session_active), (CARD, "pixman", true));
    assert!(control.events.contains(&Event::GpuAdded { gpu: gpu.clone() }), "{:?}", control.events);
    let modesets = |fixture: &mut Fixture, control: &mut Control| -> Vec<u64> {
        metrics(fixture, control).displays.iter().map(|display| display.modesets).collect()
    };
    assert_eq!(modesets(&mut fixture, &mut control), [1]);
    fixture.compositor.state.reconfigure("nothing");
    assert_eq!(modesets(&mut fixture, &mut control), [1], "nothing changed");

    for (event, active) in [(KmsEvent::SessionPaused, false), (KmsEvent::SessionResumed, true)] {
        control.events.clear();
        fixture.compositor.state.on_backend_event(event);
        assert_eq!(status(&mut fixture, &mut control).session_active, active);
        let sessions: Vec<_> =
            control.events.iter().filter(|event| matches!(event, Event::Session { .. })).collect();
        assert_eq!(sessions, [&Event::Session { active }]);
    }
    // Another program may have set another mode.
    assert_eq!(modesets(&mut fixture, &mut control), [2]);

    fixture.compositor.state.on_backend_event(KmsEvent::GpuRemoved { id });
    assert_eq!(status(&mut fixture, &mut control).gpus, []);
    assert!(control.events.contains(&Event::GpuRemoved { gpu: gpu.clone() }), "{:?}", control.events);
}

#[test]
fn monitors_of_a_closed_gpu_are_no_virtual_displays() {
    let mut fixture = Fixture::on_gpu(&FakeDevice::with_outputs(1));
    let state = &mut fixture.compositor.state;
    let probed = state.backend.probed();
    state.on_backend_event(KmsEvent::GpuRemoved { id: card_id() });
    let resolution = state.resolve(&probed);
    assert!(resolution.enabled.is_empty());
    assert_eq!(resolution.disabled, [("DP-1".to_owned(), LifecycleEvent::Disconnected)]);
}

#[test]
fn displays_are_blanked_all_or_none() {
    let fake = FakeDevice::with_outputs(2);
    let mut fixture = Fixture::on_gpu(&fake);
    let mut control = subscriber(&mut fixture);
    let mut blank = |fixture: &mut Fixture| {
        let reply = control.request(fixture, Request::BlankDisplay { display: "*".into(), blank: true });
        let outputs = fixture.compositor.state.outputs.iter();
        (reply.is_ok(), outputs.map(|output| output.state().blanked).collect::<Vec<_>>())
    };
    let second = fake.crtcs()[1];
    fake.fail_commits(Errno::INVAL, move |commit| commit.value(second, "ACTIVE") == Some(0));
    assert_eq!(blank(&mut fixture), (false, vec![false, false]));
    fake.clear_failures();
    assert_eq!(blank(&mut fixture), (true, vec![true, true]));
}

#[test]
fn end_of_a_program_is_published_with_its_command() {
    let mut fixture = Fixture::new("");
    let mut control = subscriber(&mut fixture);
    let state = &mut fixture.compositor.state;
    state.programs.started(7, "exit 3".into());
    state.programs.started(8, "sleep 9".into());
    let ended = |pid, exit| EndedChild { pid, exit };
    // The first one is no program of `--exec`.
    let children = vec![ended(6, Exit::Code(0)), ended(7, Exit::Code(3)), ended(8, Exit::Signal(15))];
    state.children_ended(children);
    state.children_ended(vec![ended(7, Exit::Code(0))]);
    assert!(matches!(control.request(&mut fixture, Request::Heartbeat), Ok(Response::Done)));
    let event = |command: &str, pid, exit_code, signal| Event::ProgramEnded {
        command: command.into(),
        pid,
        exit_code,
        signal,
    };
    let published = [event("exit 3", 7, Some(3), None), event("sleep 9", 8, None, Some(15))];
    assert_eq!(control.events, published);
}

#[test]
fn metrics_file_that_cannot_be_written_is_a_notice_until_it_can() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("missing");
    let file = missing.join("geom.prom");
    let mut fixture = Fixture::new(&format!("metrics_file = \"{}\"\n", file.display()));
    let mut control = subscriber(&mut fixture);
    let path = file.display().to_string();
    let reported = move |fixture: &Fixture| {
        let notices = fixture.compositor.state.notices.recent();
        notices.iter().filter(|notice| notice.starts_with(&path)).count()
    };
    fixture.compositor.state.start_metrics();
    fixture.until("a notice", |fixture| reported(fixture) == 1);
    fixture.compositor.state.write_metrics();
    std::fs::create_dir(&missing).expect("a folder");
    // The second write may have failed before there was a folder.
    fixture.until("the end of the second write", |fixture| {
        assert!(reported(fixture) <= 1, "not for each attempt");
        !fixture.compositor.state.metrics.is_writing()
    });
    fixture.compositor.state.write_metrics();
    fixture.until("the end of the third write", |fixture| !fixture.compositor.state.metrics.is_writing());
    assert_eq!(reported(&fixture), 0);
    assert!(file.exists());
    std::fs::remove_dir_all(&missing).expect("a folder");
    fixture.compositor.state.write_metrics();
    fixture.until("the end of the last write", |fixture| !fixture.compositor.state.metrics.is_writing());
    let notices = status(&mut fixture, &mut control).notices;
    assert!(notices.iter().any(|notice| notice.contains("metrics file")), "{notices:?}");
    fixture.compositor.state.config.metrics_file = None;
    fixture.compositor.state.start_metrics();
    assert_eq!(reported(&fixture), 0, "no file is configured any more");
}

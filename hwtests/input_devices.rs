//! Input devices that are configured one by one, equal devices, and devices that report nonsense.

use anyhow::{ensure, Context, Result};
use geom_ipc::InputDevice;
use geom_lab::keys::KeyCode;
use geom_lab::protocol::InputKind;
use geom_lab::Absurd;

use crate::support::client::TestClient;
use crate::support::harness::{Service, Setup};
use crate::support::{CONFIG, GREEN, RED};

/// Ports of two equal touchscreens, as drivers of USB devices name them. The second one is found
/// first, and comes first in alphabetical order.
const LEFT: &str = "usb-0000:00:14.0-1.9/input0";
const RIGHT: &str = "usb-0000:00:14.0-1.10/input0";

/// Opens a program on each of two displays.
fn one_client_each(service: &Service) -> Result<[TestClient<'_>; 2]> {
    let first = service.client("first", &["--fullscreen", "Virtual-1"])?;
    service.wait_for_color("Virtual-1", RED)?;
    let second = service.client("second", &["--fullscreen", "Virtual-2", "--color", "00ff00"])?;
    service.wait_for_color("Virtual-2", GREEN)?;
    Ok([first, second])
}

fn display_at(service: &Service, port: &str) -> Result<Option<String>> {
    let devices = service.input_devices()?;
    let device = devices.into_iter().find(|device| device.port.as_deref() == Some(port));
    Ok(device.with_context(|| format!("no device at {port}"))?.display)
}

/// labwc 1422: both panels worked one display.
#[test]
fn port_decides_between_equal_touchscreens() -> Result<()> {
    // The other way round than without configuration.
    let config = format!(
        "[[input]]\nport = \"*-1.9/*\"\nkind = \"touch\"\ndisplay = \"Virtual-2\"\n\
         [[input]]\nport = \"{RIGHT}\"\ndisplay = \"Virtual-1\"\n"
    );
    let service = Setup::with_monitors(2)?.start(&config, &[])?;
    let (right, left) = (service.touch_at("panel", RIGHT)?, service.touch_at("panel", LEFT)?);
    ensure!(display_at(&service, LEFT)?.as_deref() == Some("Virtual-2"));
    ensure!(display_at(&service, RIGHT)?.as_deref() == Some("Virtual-1"));
    let [first, second] = one_client_each(&service)?;
    left.tap(0.5, 0.25)?;
    second.wait_for_touch(512, 192)?;
    right.tap(0.25, 0.5)?;
    first.wait_for_touch(256, 384)?;
    ensure!(first.touches()?.len() == 1 && second.touches()?.len() == 1);
    service.finish()
}

#[test]
fn equal_touchscreens_belong_to_displays_in_the_order_of_their_ports() -> Result<()> {
    let service = Service::with_monitors(2)?;
    let (right, left) = (service.touch_at("panel", RIGHT)?, service.touch_at("panel", LEFT)?);
    ensure!(display_at(&service, LEFT)?.as_deref() == Some("Virtual-1"));
    ensure!(display_at(&service, RIGHT)?.as_deref() == Some("Virtual-2"));
    let [first, second] = one_client_each(&service)?;
    right.tap(0.5, 0.25)?;
    second.wait_for_touch(512, 192)?;
    left.tap(0.25, 0.5)?;
    first.wait_for_touch(256, 384)?;
    service.finish()
}

/// Each device counts its fingers from 0.
#[test]
fn fingers_on_two_touchscreens_are_two_fingers() -> Result<()> {
    let service = Service::with_monitors(2)?;
    let (right, left) = (service.touch_at("panel", RIGHT)?, service.touch_at("panel", LEFT)?);
    let [first, second] = one_client_each(&service)?;
    left.down(0.5, 0.5)?;
    first.wait_for_touch(512, 384)?;
    right.down(0.25, 0.25)?;
    second.wait_for_touch(256, 192)?;
    left.up()?;
    first.wait_for_touch_released()?;
    ensure!(second.touches_released()? == 0, "the finger on the other panel was lifted");
    right.up()?;
    second.wait_for_touch_released()?;
    service.finish()
}

/// A finger on a button while the panel is unplugged is no click, and does not stay down.
#[test]
fn finger_on_a_touchscreen_that_is_unplugged_is_cancelled() -> Result<()> {
    let service = Service::with_monitors(1)?;
    let client = service.client("client", &[])?;
    service.wait_for_color("Virtual-1", RED)?;
    let touch = service.touch("panel")?;
    touch.down(0.5, 0.5)?;
    client.wait_for_touch(512, 384)?;
    touch.remove()?;
    service.wait_for_input_device_removed("panel")?;
    client.wait_for_touch_cancelled()?;
    ensure!(client.touches_released()? == 0, "lifted: that is a click");
    let touch = service.touch("panel")?;
    touch.tap(0.25, 0.25)?;
    client.wait_for_touch(256, 192)?;
    client.wait_for_touch_released()?;
    service.finish()
}

#[test]
fn settings_of_a_mouse_reach_its_client_and_go_back_with_a_reload() -> Result<()> {
    let config =
        "[[input]]\nname = \"mouse\"\nnatural_scroll = true\nleft_handed = true\nscroll_factor = 2\n\
                  rotation = 90\nclick_method = \"clickfinger\"\n";
    let service = Setup::with_monitors(1)?.start(config, &[])?;
    let (mouse, other) = (service.pointer("mouse")?, service.pointer("other")?);
    let client = service.client("client", &[])?;
    client.wait_for_pointer()?;
    mouse.click()?;
    client.wait_for_button_pressed(KeyCode::BTN_RIGHT.code())?;
    mouse.wheel(1)?;
    client.wait_for_wheel_steps(2)?;
    other.click()?;
    client.wait_for_button_pressed(KeyCode::BTN_LEFT.code())?;
    other.wheel(1)?;
    client.wait_for_wheel_steps(-1)?;

    let device = device(&service, "mouse")?;
    let settings = &device.settings;
    ensure!(settings.left_handed == Some(true) && settings.natural_scroll == Some(true), "{device:#?}");
    ensure!(settings.scroll_factor == Some(2.0) && device.kinds == ["mouse"], "{device:#?}");
    ensure!(device.sources.get("left_handed").is_some_and(|source| source == "[[input]] at line 1"));
    let refused = |name: &str| device.warnings.iter().any(|warning| warning.starts_with(name));
    ensure!(device.warnings.len() == 2 && refused("click_method: ") && refused("rotation: "), "{device:#?}");
    let table = service.command(&["inputs"])?;
    println!("{table}");
    for words in [
        &["event", "mouse"][..],
        &["left_handed", "true", "[[input]] at line 1"],
        &["speed", "[pointer]"],
        &["click_method", "does not apply"],
    ] {
        let has_all = |line: &str| words.iter().all(|word| line.contains(word));
        ensure!(table.lines().any(has_all), "{words:?}: {table}");
    }

    let events = service.subscribe()?;
    service.machine.write(CONFIG, "")?;
    events.wait_for("the reload", |event| *event == geom_ipc::Event::ConfigApplied)?;
    mouse.wheel(2)?;
    client.wait_for_wheel_steps(-2)?;
    let device = self::device(&service, "mouse")?;
    ensure!(device.settings.left_handed == Some(false) && device.warnings.is_empty(), "{device:#?}");
    service.finish()
}

fn device(service: &Service, name: &str) -> Result<InputDevice> {
    let devices = service.input_devices()?;
    devices.into_iter().find(|device| device.name == name).with_context(|| format!("no device {name}"))
}

#[test]
fn disabled_touchscreen_touches_nothing() -> Result<()> {
    let config = "[[input]]\nname = \"panel\"\nenabled = false\n";
    let service = Setup::with_monitors(1)?.start(config, &[])?;
    let (panel, other) = (service.touch("panel")?, service.touch("other")?);
    let client = service.client("client", &[])?;
    service.wait_for_color("Virtual-1", RED)?;
    panel.tap(0.25, 0.25)?;
    other.tap(0.5, 0.5)?;
    client.wait_for_touch(512, 384)?;
    ensure!(client.touches()?.len() == 1, "{:?}", client.touches()?);
    service.finish()
}

/// The keys of y and z are exchanged on a German keyboard.
#[test]
fn scanner_types_with_its_own_layout() -> Result<()> {
    let config = "[keyboard]\nlayout = \"us\"\n[[input]]\nname = \"scanner\"\nlayout = \"de\"\n";
    let service = Setup::with_monitors(1)?.start(config, &[])?;
    let (keyboard, scanner) = (service.keyboard("keyboard")?, service.keyboard("scanner")?);
    let argv = ["foot", "sh", "-c", "stty -icanon -echo; exec cat > /tmp/typed"];
    service.program("foot", &argv)?;
    service.wait_for_window("foot", "focused", |window| window.focused)?;
    service.machine.wait_until("the file", |machine| Ok(machine.read("/tmp/typed").is_ok()))?;
    let typed = |text: &str| {
        service.machine.wait_until(&format!("the text {text:?}"), |machine| {
            let typed = machine.read("/tmp/typed")?;
            ensure!(text.starts_with(&typed), "typed: {typed:?}");
            Ok(typed == text)
        })
    };
    keyboard.type_text("yz")?;
    typed("yz")?;
    // Shift stays down on the keyboard while the scanner types.
    keyboard.key(KeyCode::KEY_LEFTSHIFT, true)?;
    keyboard.chord(&[KeyCode::KEY_A])?;
    typed("yzA")?;
    scanner.type_text("yz")?;
    typed("yzAzy")?;
    keyboard.chord(&[KeyCode::KEY_Y])?;
    typed("yzAzyY")?;
    keyboard.key(KeyCode::KEY_LEFTSHIFT, false)?;
    keyboard.chord(&[KeyCode::KEY_Y])?;
    typed("yzAzyYy")?;
    service.finish()
}

/// Ranges that overflow, every axis that there is, no resolution, a name that is not UTF-8, and two
/// devices of one identity: the service and its clients go on, and no touch is outside the display.
#[test]
fn devices_that_report_nonsense_do_no_harm() -> Result<()> {
    let service = Service::with_monitors(1)?;
    let client = service.client("client", &[])?;
    service.wait_for_color("Virtual-1", RED)?;
    let events = service.subscribe()?;
    let mut absurd = Vec::new();
    for (kind, name) in [(InputKind::HugeTouch, "huge"), (InputKind::AllAxes, "all")] {
        absurd.push(Absurd::create(&service.machine, kind, name)?);
    }
    let twins = [service.touch_at("panel", LEFT)?, service.touch_at("panel", RIGHT)?];
    for device in &absurd {
        for value in [i32::MIN, -1, 0, 1, i32::MAX - 1, i32::MAX] {
            device.tap(value)?;
            device.set_all(value)?;
        }
    }
    twins[0].tap(0.5, 0.5)?;
    client.wait_for_touch(512, 384)?;
    for device in absurd {
        device.remove()?;
    }
    twins[1].tap(0.25, 0.25)?;
    client.wait_for_touch(256, 192)?;
    let touches = client.touches()?;
    println!("touches: {touches:?}");
    let is_inside = |(x, y): &(i32, i32)| (0..=1024).contains(x) && (0..=768).contains(y);
    ensure!(touches.iter().all(is_inside), "{touches:?}");
    let table = service.command(&["inputs"])?;
    ensure!(!table.contains('\u{1b}'), "{table:?}");
    drop(events);
    service.finish()
}

//! Input events reach the right client: keys, pointer, touch, hotplug of devices.

use anyhow::{ensure, Result};
use geom_ipc::{ClientKind, DisplayState, Event, InputCapability};
use geom_lab::keys::KeyCode;
use geom_lab::Keyboard;

use crate::support::harness::{Service, Setup};
use crate::support::{GREEN, RED};
use crate::vt_switch::OWN_VT;

#[test]
fn typed_text_reaches_the_focused_terminal() -> Result<()> {
    let rule = "[[rules]]\napp_id = \"foot\"\ndisplay = \"Virtual-2\"\n";
    let service = Setup::with_monitors(2)?.start(rule, &[])?;
    let keyboard = service.keyboard("keyboard")?;
    let argv = ["foot", "sh", "-c", "read line; echo \"$line\" > /tmp/typed; exec sleep 1000"];
    service.program("foot", &argv)?;
    service.wait_for_window("foot", "focused, on the display of the rule", |window| {
        window.assigned_output.as_deref() == Some("Virtual-2") && window.focused
    })?;
    keyboard.type_text("Hello, Lab! 1+1=2\n")?;
    service
        .machine
        .wait_until("the typed line", |machine| Ok(machine.read("/tmp/typed")? == "Hello, Lab! 1+1=2\n"))?;
    service.finish()
}

#[test]
fn keyboards_work_from_plug_to_unplug() -> Result<()> {
    let service = Service::with_monitors(1)?;
    let client = service.client("red", &[])?;
    client.wait_until_focused()?;
    let events = service.subscribe()?;
    for name in ["first", "second"] {
        let keyboard = service.keyboard(name)?;
        keyboard.chord(&[KeyCode::KEY_A])?;
        keyboard.remove()?;
        service.wait_for_input_device_removed(name)?;
        events.wait_for("the keyboard", |event| match event {
            Event::InputDeviceAdded { device } => {
                device.name == name && device.capabilities.contains(&InputCapability::Keyboard)
            }
            _ => false,
        })?;
        let is_removal =
            |event: &Event| matches!(event, Event::InputDeviceRemoved { device } if device.name == name);
        events.wait_for("its removal", is_removal)?;
    }
    client.wait_for_key_pressed(KeyCode::KEY_A.code(), 2)?;
    service.finish()
}

/// The lamps of all keyboards follow the seat's locks, also of one that comes later and after a VT
/// switch.
#[test]
fn lamps_of_keyboards_follow_caps_lock_and_num_lock() -> Result<()> {
    let service = Setup::with_monitors(1)?.start("[keyboard]\nnum_lock = true\n", &[])?;
    let client = service.client("red", &[])?;
    client.wait_until_focused()?;
    let wait_for_lamps = |keyboard: &Keyboard<'_>, what: &str, expected: &[&str]| {
        service.machine.wait_until(what, |_| {
            let mut lamps = keyboard.lamps()?;
            lamps.sort_unstable();
            ensure!(lamps == expected, "{lamps:?}");
            Ok(true)
        })
    };
    let first = service.keyboard("first")?;
    wait_for_lamps(&first, "Num Lock of the start", &["LED_NUML"])?;
    first.chord(&[KeyCode::KEY_CAPSLOCK])?;
    wait_for_lamps(&first, "Caps Lock", &["LED_CAPSL", "LED_NUML"])?;
    let second = service.keyboard("second")?;
    wait_for_lamps(&second, "the lamps of a later keyboard", &["LED_CAPSL", "LED_NUML"])?;
    second.chord(&[KeyCode::KEY_NUMLOCK])?;
    wait_for_lamps(&first, "Num Lock that is off", &["LED_CAPSL"])?;
    let events = service.subscribe()?;
    service.machine.activate_vt(OWN_VT + 1)?;
    events.wait_for("the disabled session", |event| *event == Event::Session { active: false })?;
    service.machine.activate_vt(OWN_VT)?;
    events.wait_for("the enabled session", |event| *event == Event::Session { active: true })?;
    wait_for_lamps(&second, "the lamps after a VT switch", &["LED_CAPSL"])?;
    service.finish()
}

/// Devices that are there before the service are known before they send anything, after a VT switch
/// too. So a display is blanked, and a lid that is closed disables its display.
#[test]
fn devices_of_the_start_are_known_without_input() -> Result<()> {
    let config = "[power]\nblank_after = 2\nlid = \"disable\"\nlid_displays = [\"Virtual-1\"]\n";
    let setup = Setup::with_monitors(2)?;
    setup.machine.keyboard("keyboard")?;
    setup.machine.lid("lid")?.set_closed(true)?;
    let service = setup.start(config, &[])?;
    let names = |service: &Service| -> Result<Vec<String>> {
        let mut names: Vec<String> = service.input_devices()?.into_iter().map(|device| device.name).collect();
        names.sort_unstable();
        Ok(names)
    };
    let known = ["keyboard", "lid"];
    service.machine.wait_until("the devices", |_| Ok(names(&service)? == known))?;
    service.wait_for_display("Virtual-1", "disabled", |display| display.state == DisplayState::Disabled)?;
    service.wait_for_active_crtcs(0)?;
    let events = service.subscribe()?;
    service.machine.activate_vt(OWN_VT + 1)?;
    events.wait_for("the disabled session", |event| *event == Event::Session { active: false })?;
    service.machine.activate_vt(OWN_VT)?;
    events.wait_for("the enabled session", |event| *event == Event::Session { active: true })?;
    service.machine.wait_until("the devices again", |_| Ok(names(&service)? == known))?;
    service.finish()
}

#[test]
fn keyboard_focus_follows_clicks() -> Result<()> {
    let service = Service::with_monitors(2)?;
    let pointer = service.pointer("mouse")?;
    let first = service.client("first", &["--fullscreen", "Virtual-1"])?;
    service.wait_for_color("Virtual-1", RED)?;
    let second = service.client("second", &["--fullscreen", "Virtual-2", "--color", "00ff00"])?;
    service.wait_for_color("Virtual-2", GREEN)?;
    // The second window opened on another display, so the first keeps the keyboard.
    first.wait_until_focused()?;
    // The pointer starts in the center of the first display.
    pointer.motion(1, 0)?;
    pointer.click()?;
    pointer.wheel(1)?;
    first.wait_for_wheel()?;
    // Far to the right, in steps that pointer acceleration does not make too short.
    for _ in 0..40 {
        pointer.motion(100, 0)?;
    }
    pointer.click()?;
    second.wait_for_button_pressed(KeyCode::BTN_LEFT.code())?;
    first.wait_until_unfocused()?;
    second.wait_until_focused()?;
    service.finish()
}

/// The mouse lies still while a window opens under it.
#[test]
fn click_without_motion_reaches_the_window_that_opened_under_the_pointer() -> Result<()> {
    let service = Service::with_monitors(1)?;
    let pointer = service.pointer("mouse")?;
    let below = service.client("below", &[])?;
    below.wait_for_pointer()?;
    let above = service.client("above", &["--color", "00ff00"])?;
    above.wait_for_pointer()?;
    below.wait_for_pointer_left()?;
    pointer.click()?;
    above.wait_for_button_pressed(KeyCode::BTN_LEFT.code())?;
    below.ensure_no_button()?;
    // A KVM switch takes the mouse away and gives it back.
    pointer.remove()?;
    service.wait_for_input_device_removed("mouse")?;
    above.terminate()?;
    let pointer = service.pointer("mouse")?;
    pointer.click()?;
    below.wait_for_button_pressed(KeyCode::BTN_LEFT.code())?;
    service.finish()
}

/// A seat with touchscreens only, one for each display.
#[test]
fn menu_that_a_finger_opens_is_closed_by_a_touch_on_another_display() -> Result<()> {
    let config = "[[input]]\nname = \"left\"\ndisplay = \"Virtual-1\"\n\
                  [[input]]\nname = \"right\"\ndisplay = \"Virtual-2\"\n";
    let service = Setup::with_monitors(2)?.start(config, &[])?;
    let (left, right) = (service.touch("left")?, service.touch("right")?);
    let first = service.client("first", &["--menu", "--fullscreen", "Virtual-1"])?;
    service.wait_for_color("Virtual-1", RED)?;
    let second = service.client("second", &["--menu", "--fullscreen", "Virtual-2", "--color", "00ff00"])?;
    service.wait_for_color("Virtual-2", GREEN)?;
    left.tap(0.1, 0.1)?;
    first.wait_for_menu(1)?;
    right.tap(0.1, 0.1)?;
    first.wait_for_menu_dismissed(1)?;
    second.wait_for_menu(1)?;
    left.tap(0.2, 0.1)?;
    second.wait_for_menu_dismissed(1)?;
    first.wait_for_menu(2)?;
    let clients = service.clients()?;
    let programs = clients.iter().filter(|client| client.kind == ClientKind::Wayland);
    ensure!(programs.count() == 2, "a program was disconnected: {clients:#?}");
    service.finish()
}

#[test]
fn touches_land_on_the_configured_display() -> Result<()> {
    let service =
        Setup::with_monitors(2)?.start("[[input]]\nname = \"panel\"\ndisplay = \"Virtual-2\"\n", &[])?;
    let touch = service.touch("panel")?;
    let panel = service.input_devices()?.into_iter().find(|device| device.name == "panel");
    ensure!(panel.as_ref().and_then(|panel| panel.display.as_deref()) == Some("Virtual-2"), "{panel:#?}");
    service.client("first", &["--fullscreen", "Virtual-1"])?;
    service.wait_for_color("Virtual-1", RED)?;
    let second = service.client("second", &["--fullscreen", "Virtual-2", "--color", "00ff00"])?;
    service.wait_for_color("Virtual-2", GREEN)?;
    touch.tap(0.5, 0.25)?;
    second.wait_for_touch(512, 192)?;
    second.wait_for_touch_released()?;
    touch.tap(1.0, 1.0)?;
    service.machine.wait_until("a touch in the far corner", |_| {
        let touches = second.touches()?;
        Ok(touches.contains(&(1024, 768)) || touches.contains(&(1023, 767)))
    })?;
    service.finish()
}

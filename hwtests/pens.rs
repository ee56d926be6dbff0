//! Pens of graphics tablets, from the kernel's events to clients.

use std::path::Path;

use anyhow::{ensure, Result};
use geom_ipc::InputCapability;
use geom_lab::keys::KeyCode;

use crate::support::harness::{Service, Setup};
use crate::support::{GREEN, RED};

/// gst-wayland-display 64, niri 2015: nothing at all happened.
#[test]
fn pen_taps_programs_with_and_without_tablet_support() -> Result<()> {
    let config = "[[input]]\nname = \"pen\"\ndisplay = \"Virtual-2\"\n";
    let service = Setup::with_monitors(2)?.start(config, &[])?;
    let first = service.client("first", &["--fullscreen", "Virtual-1"])?;
    service.wait_for_color("Virtual-1", RED)?;
    let second = service.client("second", &["--fullscreen", "Virtual-2", "--color", "00ff00"])?;
    service.wait_for_color("Virtual-2", GREEN)?;
    let pen = service.pen("pen")?;
    let device = service.input_devices()?.into_iter().find(|device| device.name == "pen");
    ensure!(
        device.as_ref().is_some_and(|device| {
            device.capabilities == [InputCapability::TabletTool]
                && device.display.as_deref() == Some("Virtual-2")
        }),
        "{device:#?}"
    );
    // Until a tablet has reported that its pen is away, libinput takes it away after 50 ms without
    // an event (evdev-tablet.c: FORCED_PROXOUT_TIMEOUT).
    pen.hover(0.4, 0.4)?;
    pen.away()?;
    // Without tablet-v2, it is the pointer, its tip the left and its button the right one.
    pen.hover(0.5, 0.5)?;
    second.wait_for_pointer()?;
    let hovering = service.wait_for_pixels("Virtual-2", "the cursor at the pen", |screenshot| {
        screenshot.pixel(514, 388) != GREEN
    })?;
    hovering.save(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("pen-hovering.png"))?;
    pen.down(0.5, 0.5)?;
    second.wait_for_button_pressed(KeyCode::BTN_LEFT.code())?;
    pen.up()?;
    pen.button(true)?;
    second.wait_for_button_pressed(KeyCode::BTN_RIGHT.code())?;
    pen.button(false)?;
    pen.away()?;
    service.wait_for_pixels("Virtual-2", "no cursor", |screenshot| {
        screenshot.fraction(|pixel| pixel == GREEN) == 1.0
    })?;
    // With it, the pen's own events.
    let third = service.client("third", &["--fullscreen", "Virtual-2", "--color", "0000ff", "--tablet"])?;
    service.wait_for_color("Virtual-2", [0, 0, 0xff])?;
    pen.hover(0.25, 0.25)?;
    pen.down(0.25, 0.25)?;
    pen.up()?;
    third.wait_for_pen(256, 192)?;
    third.wait_for_pen_tap()?;
    let pressure = third.greatest_pen_pressure()?;
    ensure!((20_000..=45_000).contains(&pressure), "half of the greatest pressure is {pressure}");
    pen.remove()?;
    third.wait_for_pen_away()?;
    third.ensure_no_button()?;
    first.ensure_no_button()?;
    service.finish()
}

/// The display of the pen is off: its pen presses nothing on another one.
#[test]
fn pen_of_a_display_that_is_off_is_dead() -> Result<()> {
    let config = "[[input]]\nname = \"pen\"\ndisplay = \"Virtual-2\"\n";
    let service: Service = Setup::with_monitors(2)?.start(config, &[])?;
    let first = service.client("first", &["--fullscreen", "Virtual-1"])?;
    service.wait_for_color("Virtual-1", RED)?;
    let pen = service.pen("pen")?;
    service.command(&["set", "Virtual-2", "--power", "off"])?;
    service.wait_for_active_crtcs(1)?;
    pen.hover(0.5, 0.5)?;
    pen.down(0.5, 0.5)?;
    pen.up()?;
    pen.away()?;
    service.command(&["set", "Virtual-2", "--power", "on"])?;
    let second = service.client("second", &["--fullscreen", "Virtual-2", "--color", "00ff00"])?;
    service.wait_for_color("Virtual-2", GREEN)?;
    pen.hover(0.5, 0.5)?;
    pen.down(0.5, 0.5)?;
    second.wait_for_button_pressed(KeyCode::BTN_LEFT.code())?;
    first.ensure_no_button()?;
    service.finish()
}

//! When the cursor is shown, by screenshots.

use std::path::Path;

use anyhow::Result;
use geom_lab::Screenshot;

use crate::support::harness::Setup;
use crate::support::{CONFIG, GREEN, RED};

fn is_red(screenshot: &Screenshot) -> bool {
    screenshot.fraction(|pixel| pixel == RED) == 1.0
}

fn shows_cursor(screenshot: &Screenshot) -> bool {
    let other = screenshot.fraction(|pixel| pixel != RED);
    (0.0001..0.01).contains(&other)
}

fn save(screenshot: &Screenshot, name: &str) -> Result<()> {
    screenshot.save(&Path::new(env!("CARGO_TARGET_TMPDIR")).join(name))
}

/// cage 422, labwc 1535: a panel that is touched, on a machine with a receiver that counts as a
/// mouse.
#[test]
fn cursor_is_shown_while_a_mouse_is_used_only() -> Result<()> {
    let service = Setup::with_monitors(1)?.start("", &[])?;
    let client = service.client("red", &["--fullscreen", "Virtual-1"])?;
    service.wait_for_color("Virtual-1", RED)?;
    let touch = service.touch("panel")?;
    let pointer = service.pointer("mouse")?;
    client.wait_for_pointer()?;
    // A frame that is certainly later than the mouse.
    let second = service.client("second", &["--fullscreen", "Virtual-1", "--color", "00ff00"])?;
    let unused =
        service.wait_for_pixels("Virtual-1", "no cursor of a mouse that was never moved", |screenshot| {
            screenshot.fraction(|pixel| pixel == GREEN) == 1.0
        })?;
    save(&unused, "cursor-unused.png")?;
    second.terminate()?;
    service.wait_for_pixels("Virtual-1", "the first window", is_red)?;
    pointer.motion(7, 5)?;
    let used = service.wait_for_pixels("Virtual-1", "a cursor", shows_cursor)?;
    save(&used, "cursor-used.png")?;
    touch.tap(0.2, 0.2)?;
    client.wait_for_touch_released()?;
    let touched = service.wait_for_pixels("Virtual-1", "no cursor after a touch", is_red)?;
    save(&touched, "cursor-touched.png")?;
    pointer.click()?;
    service.wait_for_pixels("Virtual-1", "the cursor of a click", shows_cursor)?;
    let events = service.subscribe()?;
    service.machine.write(CONFIG, "[cursor]\nhide_after = 1\n")?;
    events.wait_for_config_applied()?;
    service.wait_for_pixels("Virtual-1", "no cursor after the time", is_red)?;
    service.finish()
}

/// A mouse that is there from the start, before any window.
#[test]
fn mouse_of_the_start_shows_no_cursor() -> Result<()> {
    let setup = Setup::with_monitors(1)?;
    setup.machine.pointer("receiver")?;
    let service = setup.start("", &[])?;
    let client = service.client("red", &[])?;
    service.wait_for_color("Virtual-1", RED)?;
    client.wait_for_pointer()?;
    service.wait_for_pixels("Virtual-1", "no cursor", is_red)?;
    service.finish()
}

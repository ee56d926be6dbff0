//! Calibration of a touchscreen whose axes are swapped and shorter than its display.

use std::path::Path;
use std::time::Duration;

use anyhow::{ensure, Result};
use geom_lab::protocol::ExitStatus;
use geom_lab::{Program, Screenshot, Touch};

use crate::support::harness::{Service, Setup};
use crate::support::{COMPOSITOR, GREEN, RED};

/// Of the guest's user.
const SOCKET: &str = "/run/user/65534/geom-compositor.sock";
/// Where the crosses are, in fractions of the display.
const TARGETS: [(f64, f64); 6] = [(0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.1, 0.9), (0.4, 0.3), (0.65, 0.7)];
/// The yellow of the cross.
const CROSS: [u8; 3] = [0xff, 0xcc, 0x33];
const SIGINT: i32 = 2;
const EXIT_TIMEOUT: Duration = Duration::from_secs(20);

/// Touches a place of the display, on a device whose axes are swapped and offset.
fn tap(touch: &Touch<'_>, (x, y): (f64, f64)) -> Result<()> {
    touch.tap(0.1 + 0.8 * y, x)
}

fn has_cross_at(screenshot: &Screenshot, (x, y): (f64, f64)) -> bool {
    screenshot.pixel((x * 1024.0) as u32, (y * 768.0) as u32) == CROSS
}

/// Starts `calibrate`, as root, who may write the configuration.
fn calibrate(service: &Service, name: &str, options: &[&str]) -> Result<Program> {
    let mut argv = vec![COMPOSITOR, "calibrate"];
    argv.extend(options);
    service.machine.spawn_as_root(name, &argv, &[("GEOM_COMPOSITOR_SOCKET", SOCKET)])
}

fn is_red(screenshot: &Screenshot) -> bool {
    screenshot.fraction(|pixel| pixel == RED) > 0.999
}

#[test]
fn touch_screen_with_swapped_axes_is_calibrated_by_one_finger() -> Result<()> {
    let config = "# the lobby\n[[input]]\nname = \"panel\"\ndisplay = \"Virtual-1\" # left\n";
    let service = Setup::with_monitors(2)?.start(config, &[])?;
    let client = service.client("red", &["--fullscreen", "Virtual-1"])?;
    service.wait_for_color("Virtual-1", RED)?;
    service.client("green", &["--fullscreen", "Virtual-2", "--color", "00ff00"])?;
    service.wait_for_color("Virtual-2", GREEN)?;
    let touch = service.touch("panel")?;
    tap(&touch, (0.75, 0.25))?;
    // It lands where 0.3, 0.75 is.
    client.wait_for_touch(307, 576)?;

    let cli = calibrate(&service, "calibrate", &["panel", "--save"])?;
    for (index, target) in TARGETS.into_iter().enumerate() {
        let shown =
            service.wait_for_pixels("Virtual-1", "a cross", |screenshot| has_cross_at(screenshot, target))?;
        shown.save(&Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("calibration-{index}.png")))?;
        if index == 1 {
            // A finger next to the cross, which is noticed when all are there.
            tap(&touch, (0.7, 0.3))?;
        } else {
            tap(&touch, target)?;
        }
        if index == 4 {
            let again = service.wait_for_pixels("Virtual-1", "the wrong one again", |screenshot| {
                has_cross_at(screenshot, TARGETS[1])
            })?;
            again.save(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("calibration-again.png"))?;
            tap(&touch, TARGETS[1])?;
        }
    }
    let status = service.machine.wait(&cli, EXIT_TIMEOUT)?;
    let printed = std::fs::read_to_string(&cli.log)?;
    ensure!(status == Some(ExitStatus::Exited(0)), "{status:?}: {printed}");
    ensure!(printed.contains("[[input]]") && printed.contains("once more"), "{printed}");
    service.wait_for_pixels("Virtual-1", "the window again", is_red)?;
    let before = client.touches()?.len();
    ensure!(before == 1, "the client got touches of targets");
    tap(&touch, (0.75, 0.25))?;
    service.machine.wait_until("a touch at its place", |_| {
        let touches = client.touches()?;
        Ok(touches.iter().skip(before).any(|(x, y)| (x - 768).abs() <= 3 && (y - 192).abs() <= 3))
    })?;
    let saved = std::fs::read_to_string(service.machine.shared_dir().join("geom_compositor.toml"))?;
    ensure!(saved.starts_with(config) && saved.contains("# left\ncalibration = ["), "{saved}");
    service.finish()
}

/// Ctrl+C, and the loss of the device: the display and the touches are as before.
#[test]
fn calibration_that_is_interrupted_changes_nothing() -> Result<()> {
    let service = Setup::with_monitors(1)?.start("", &[])?;
    let client = service.client("red", &["--fullscreen", "Virtual-1"])?;
    service.wait_for_color("Virtual-1", RED)?;
    let touch = service.touch("panel")?;
    let cli = calibrate(&service, "interrupted", &[])?;
    let shows_target = |screenshot: &Screenshot| has_cross_at(screenshot, TARGETS[0]);
    service.wait_for_pixels("Virtual-1", "a cross", shows_target)?;
    tap(&touch, TARGETS[0])?;
    service
        .wait_for_pixels("Virtual-1", "the next cross", |screenshot| has_cross_at(screenshot, TARGETS[1]))?;
    service.machine.signal(&cli, SIGINT)?;
    service.wait_for_pixels("Virtual-1", "the window again", is_red)?;
    touch.tap(0.5, 0.25)?;
    client.wait_for_touch(512, 192)?;

    let cli = calibrate(&service, "unplugged", &[])?;
    service.wait_for_pixels("Virtual-1", "a cross", shows_target)?;
    touch.remove()?;
    service.wait_for_pixels("Virtual-1", "the window again", is_red)?;
    let status = service.machine.wait(&cli, EXIT_TIMEOUT)?;
    ensure!(status == Some(ExitStatus::Exited(1)), "{status:?}");
    let printed = std::fs::read_to_string(&cli.log)?;
    ensure!(printed.contains("the device is gone"), "{printed}");
    service.finish()
}

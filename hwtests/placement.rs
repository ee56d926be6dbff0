//! Placement of windows: by rules, focus and size; and programs that are started with the service.

use anyhow::{ensure, Result};
use geom_ipc::Event;

use crate::support::harness::{Service, Setup};
use crate::support::{BLUE, GREEN, RED};

#[test]
fn rules_match_app_id_and_title() -> Result<()> {
    let config = r#"
        [[rules]]
        app_id = "org.example.*"
        title = "wall *"
        display = "Virtual-3"
        [[rules]]
        app_id = "org.example.*"
        display = "Virtual-2"
    "#;
    let service = Setup::with_monitors(3)?.start(config, &[])?;
    service.client("a", &["--app-id", "org.example.Player", "--title", "wall 7", "--color", "0000ff"])?;
    service.wait_for_color("Virtual-3", BLUE)?;
    service.client("b", &["--app-id", "org.example.Player", "--color", "00ff00"])?;
    service.wait_for_color("Virtual-2", GREEN)?;
    service.client("c", &["--app-id", "other", "--fullscreen", "Virtual-1"])?;
    service.wait_for_color("Virtual-1", RED)?;
    service.finish()
}

#[test]
fn window_without_a_rule_is_placed_on_the_focused_display() -> Result<()> {
    let service = Service::with_monitors(2)?;
    service.client("a", &["--app-id", "a", "--fullscreen", "Virtual-2", "--color", "0000ff"])?;
    service.wait_for_color("Virtual-2", BLUE)?;
    // The user has focused no display yet, so it is the leftmost one.
    let red = service.client("b", &["--color", "ff0000"])?;
    service.wait_for_color("Virtual-1", RED)?;
    red.wait_until_focused()?;
    let window = service.wait_for_window("a", "on the second display", |window| {
        window.display.as_deref() == Some("Virtual-2")
    })?;
    service.command(&["focus", &window.id.to_string()])?;
    service.client("c", &["--color", "00ff00"])?;
    service.wait_for_color("Virtual-2", GREEN)?;
    service.finish()
}

#[test]
fn small_windows_and_dialogs_are_centered() -> Result<()> {
    let service = Service::with_monitors(1)?;
    service.client("under", &["--color", "0000ff"])?;
    service.wait_for_color("Virtual-1", BLUE)?;
    // A window that keeps its size is shown on black, not on the window behind it. Its dialog is
    // centered over it.
    service.client("small", &["--size", "400x300", "--color", "00ff00", "--dialog", "100x100"])?;
    let screenshot = service.wait_for_pixels("Virtual-1", "window and dialog", |screenshot| {
        screenshot.pixel(512, 384) == [0xff, 0, 0xff] && screenshot.pixel(330, 250) == GREEN
    })?;
    ensure!(screenshot.pixel(10, 10) == [0; 3], "behind a small window: {:?}", screenshot.pixel(10, 10));
    ensure!(screenshot.pixel(311, 384) == [0; 3] && screenshot.pixel(312, 384) == GREEN);
    ensure!(screenshot.pixel(461, 384) == GREEN && screenshot.pixel(462, 384) == [0xff, 0, 0xff]);
    service.finish()
}

#[test]
fn panels_reserve_an_exclusive_zone() -> Result<()> {
    let service = Service::with_monitors(1)?;
    service.client("panel", &["--panel", "40", "--color", "0000ff"])?;
    let window = service.client("window", &[])?;
    window.wait_for_configured(1024, 728)?;
    service.wait_for_pixels("Virtual-1", "the panel above the window", |screenshot| {
        screenshot.pixel(512, 39) == BLUE
            && screenshot.pixel(512, 40) == RED
            && screenshot.pixel(5, 767) == RED
    })?;
    // A fullscreen window covers it.
    service.client("fullscreen", &["--fullscreen", "--color", "00ff00"])?;
    service.wait_for_color("Virtual-1", GREEN)?;
    service.finish()
}

#[test]
fn foot_simple_shm_and_gtk_are_shown() -> Result<()> {
    let config = "[[rules]]\napp_id = \"foot\"\ndisplay = \"Virtual-2\"\n\
                  [[rules]]\napp_id = \"*simple-shm\"\ndisplay = \"Virtual-1\"\n\
                  [[rules]]\napp_id = \"*gtk3*\"\ndisplay = \"Virtual-3\"\n";
    let service = Setup::with_monitors(3)?.start(config, &[])?;
    service.program("foot", &["foot"])?;
    service.program("shm", &["weston-simple-shm"])?;
    service.program("gtk", &["gtk3-demo"])?;
    // foot has a background of #111111, simple-shm a moving pattern on black, GTK a bright window.
    service.wait_for_pixels("Virtual-2", "foot", |screenshot| {
        screenshot.fraction(|pixel| pixel == [0x11, 0x11, 0x11]) > 0.9
    })?;
    service.wait_for_pixels("Virtual-1", "simple-shm", |screenshot| {
        let black = screenshot.fraction(|pixel| pixel == [0; 3]);
        screenshot.pixel(512, 384) != [0; 3] && black > 0.85
    })?;
    service.wait_for_pixels("Virtual-3", "gtk3-demo", |screenshot| {
        screenshot.fraction(|pixel| pixel.iter().all(|channel| *channel > 0xe0)) > 0.5
    })?;
    service.finish()
}

#[test]
fn programs_of_exec_are_started_with_the_service() -> Result<()> {
    // Ends once the test is subscribed.
    const ENDS: &str = "read status < /run/end; exit $status";
    let setup = Setup::with_monitors(1)?;
    setup.machine.run_as_root("mkfifo", &["mkfifo", "/run/end"])?;
    let service = setup.start("", &["--exec", "/run/bin/geom-lab-client --color 00ff00", "--exec", ENDS])?;
    service.wait_for_color("Virtual-1", GREEN)?;
    let events = service.subscribe()?;
    service.machine.run_as_root("end", &["sh", "-c", "echo 3 > /run/end"])?;
    events.wait_for("the end of the program", |event| match event {
        Event::ProgramEnded { command, exit_code, .. } => command == ENDS && *exit_code == Some(3),
        _ => false,
    })?;
    service.finish()
}

//! Clients that break the protocol or ask for too much: no other client notices.

use anyhow::{ensure, Result};
use geom_lab::protocol::ExitStatus;

use crate::support::harness::{install_program, Service, Setup};
use crate::support::{GREEN, RED};

/// The time for which the hostile client does each thing. No outcome depends on it.
const SECONDS_EACH: &str = "0.2";
const HOSTILE: &str = "/run/bin/geom-lab-hostile";

#[test]
fn client_that_sends_garbage_is_disconnected() -> Result<()> {
    let service = Service::with_monitors(1)?;
    let good = service.client("green", &["--color", "00ff00"])?;
    service.wait_for_color("Virtual-1", GREEN)?;
    for round in 0..3 {
        service.client(&format!("garbage-{round}"), &["--garbage"])?.wait_until_refused()?;
    }
    ensure!(service.is_running(&good.program)?, "another client ended");
    service.wait_for_color("Virtual-1", GREEN)?;
    service.finish()
}

#[test]
fn buffer_of_ten_thousand_pixels_square_is_shown() -> Result<()> {
    let service = Service::with_monitors(1)?;
    let huge = service.client("huge", &["--size", "10000x10000", "--color", "00ff00"])?;
    service.wait_for_color("Virtual-1", GREEN)?;
    huge.terminate()?;
    service.client("red", &[])?;
    service.wait_for_color("Virtual-1", RED)?;
    service.finish()
}

/// A client that is killed takes its window with it, and nothing else.
#[test]
fn killed_client_leaves_no_trace() -> Result<()> {
    let service = Service::with_monitors(1)?;
    service.client("green", &["--color", "00ff00"])?;
    service.wait_for_color("Virtual-1", GREEN)?;
    let red = service.client("red", &[])?;
    service.wait_for_color("Virtual-1", RED)?;
    red.signal(crate::support::SIGKILL)?;
    service.wait_for_color("Virtual-1", GREEN)?;
    service.finish()
}

/// Everything that was once found to end, stop or exhaust a display server, one after the other.
#[test]
fn other_clients_do_not_notice_hostile_ones() -> Result<()> {
    let setup = Setup::with_monitors(1)?;
    install_program(&setup.machine, "geom-lab-hostile", HOSTILE)?;
    let service = setup.start("", &[])?;
    let good = service.client("green", &["--color", "00ff00", "--animate", "small"])?;
    let events = service.subscribe()?;
    let (status, output) = service.run_program(&[HOSTILE, "--seconds", SECONDS_EACH])?;
    ensure!(status == Some(ExitStatus::Exited(0)), "{status:?}: {output}");
    ensure!(service.is_running(&good.program)?, "another client ended");
    let is_unresponsive = |event: &geom_ipc::Event| matches!(event, geom_ipc::Event::ClientState { client } if client.pid == good.program.pid as i32);
    ensure!(events.count(is_unresponsive)? == 0, "another client became unresponsive");
    let animated = service.client("animated", &["--animate", "small", "--frames", "30"])?;
    animated.wait_for_frames_presented(30)?;
    service.finish()
}

/// What a program that connects again and again is refused, others of its user are not.
#[test]
fn program_starts_after_another_flooded_the_control_socket() -> Result<()> {
    let setup = Setup::with_monitors(1)?;
    install_program(&setup.machine, "geom-lab-hostile", HOSTILE)?;
    let service = setup.start("", &[])?;
    for round in 0..5 {
        let flood = [HOSTILE, "control-connections", "--seconds", SECONDS_EACH];
        let (status, output) = service.run_program(&flood)?;
        ensure!(status == Some(ExitStatus::Exited(0)), "{status:?}: {output}");
        let name = format!("animated-{round}");
        service.client(&name, &["--animate", "small", "--frames", "3"])?.wait_for_frames_presented(3)?;
    }
    service.finish()
}

//! Clients that break the protocol or ask for too much: no other client notices.

use anyhow::{ensure, Result};

use crate::support::harness::Service;
use crate::support::{GREEN, RED};

#[test]
fn client_that_sends_garbage_is_disconnected() -> Result<()> {
    let service = Service::with_monitors(1)?;
    let good = service.client("green", &["--color", "00ff00"])?;
    service.wait_for_color("Virtual-1", GREEN)?;
    for round in 0..3 {
        service.client(&format!("garbage-{round}"), &["--garbage"])?.wait_until_rejected()?;
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

//! Helpers of all hwtests.
//!
//! Tests observe the service as its users can:
//!
//! - the control protocol: `geom_compositor events --json` ([`control::Events`]) and the answers of
//!   `status`, `displays`, `clients`, `windows` and `metrics` ([`control`]);
//! - pixels: the framebuffers that the kernel has committed ([`harness::wait_for_pixels`]);
//! - KMS properties and the kernel's atomic state ([`kms`]);
//! - exit statuses, and the messages of commands and of refused starts. Tests check what such a
//!   message must name (the device, file, key or remedy), not its sentence;
//! - Wayland events that the test client reports ([`client`]).
//!
//! The service's log is not one of them, except where the log is the product:
//!
//! - `boot`: fields of the journal (`GEOM_DISPLAY`), and systemd's own word on a missed watchdog.
//! - `suspend`: the journal has no entry of priority *warning* for what happens during sleep.
//! - [`harness::Service::ensure_no_errors_logged`]: no line of level ERROR, and no panic.
//! - `crash_recovery`: crash reports, and the findings of `doctor`.
//!
//! `HWTESTS_PROGRAMS` names another folder of programs to test than cargo's, such as
//! `target/release`.

pub mod client;
pub mod control;
pub mod device;
pub mod edids;
pub mod harness;
pub mod host;
pub mod input;
pub mod kms;

/// Where the guest has the programs and the configuration file.
pub const COMPOSITOR: &str = "/run/bin/geom_compositor";
pub const TEST_CLIENT: &str = "/run/bin/geom-lab-client";
pub const CONFIG: &str = "/run/lab/geom_compositor.toml";

pub const RED: [u8; 3] = [0xff, 0, 0];
pub const GREEN: [u8; 3] = [0, 0xff, 0];
pub const BLUE: [u8; 3] = [0, 0, 0xff];
/// The background of the diagnostic screen.
pub const BACKGROUND: [u8; 3] = [0x10, 0x14, 0x1a];

/// The background of the names that `identify` draws.
pub const NAME_BACKGROUND: [u8; 3] = [0x10, 0x40, 0xa0];

/// Whether a screenshot is the diagnostic screen: its background nearly everywhere.
pub fn is_diagnostic_screen(screenshot: &geom_lab::Screenshot) -> bool {
    screenshot.fraction(|pixel| pixel == BACKGROUND) > 0.9
}

/// Whether a diagnostic screen shows notices, which are amber.
pub fn shows_notices(screenshot: &geom_lab::Screenshot) -> bool {
    screenshot.fraction(|pixel| pixel[0] > 0xa0 && pixel[2] < 0x80) > 0.0005
}

// Signal numbers (signal(7)).
pub const SIGKILL: i32 = 9;
pub const SIGTERM: i32 = 15;
pub const SIGCONT: i32 = 18;
pub const SIGSTOP: i32 = 19;

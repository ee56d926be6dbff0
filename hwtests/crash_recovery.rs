//! Crashes of the service: sockets, sessions, window placement and displays outlive them.

use std::time::Instant;

use anyhow::{ensure, Context, Result};
use geom_lab::protocol::{ExitStatus, RUNTIME_DIR};

use crate::support::harness::{unique, Service, Setup, EXIT_TIMEOUT};
use crate::support::{COMPOSITOR, GREEN, RED};

/// The folder of crash reports.
const REPORTS: (&str, &str) = ("STATE_DIRECTORY", "/tmp/reports");

/// Inodes of the sockets.
fn socket_inodes(service: &Service) -> Result<String> {
    let log = unique("inodes");
    let sockets = [format!("{RUNTIME_DIR}/wayland-1"), format!("{RUNTIME_DIR}/{}", geom_ipc::SOCKET_NAME)];
    service.machine.run_as_root(&log, &["stat", "-c", "%n %i", &sockets[0], &sockets[1]])?;
    Ok(std::fs::read_to_string(service.machine.shared_dir().join(format!("{log}.log")))?)
}

/// The findings of `doctor` as (grade, subject, finding), and its report.
fn doctor(service: &Service) -> Result<(Vec<[String; 3]>, String)> {
    const BUNDLE: &str = "/tmp/bundle";
    let argv = [COMPOSITOR, "doctor", "--json", "--report", BUNDLE];
    let program = service.machine.spawn_as_user("doctor", &argv, &[REPORTS])?;
    let status = service.machine.wait(&program, EXIT_TIMEOUT)?;
    let text = std::fs::read_to_string(&program.log)?;
    ensure!(status == Some(ExitStatus::Exited(0)), "{status:?}: {text}");
    // The line that names the report follows.
    let json = text.rsplit_once(']').map_or("", |(json, _)| json).to_owned() + "]";
    let findings: Vec<serde_json::Value> = serde_json::from_str(&json).context(text)?;
    let field =
        |finding: &serde_json::Value, name: &str| finding[name].as_str().unwrap_or_default().to_owned();
    let findings = findings.iter().map(|finding| ["grade", "what", "found"].map(|name| field(finding, name)));
    Ok((findings.collect(), service.machine.read(BUNDLE)?))
}

#[test]
fn five_crashes_in_a_minute_end_in_safe_settings() -> Result<()> {
    let service = Setup::with_monitors(3)?.start_with(
        "[displays.Virtual-3]\nenabled = false\n",
        &["--guard", "always"],
        &[REPORTS],
    )?;
    let inodes = socket_inodes(&service)?;
    let first = service.status()?;
    ensure!(first.enabled_displays == 2, "{first:#?}");
    service.client("kiosk", &["--fullscreen", "Virtual-2", "--app-id", "kiosk"])?;
    service.wait_for_color("Virtual-2", RED)?;
    let mut pid = first.pid;
    for (crash, signal) in ["-KILL", "-SEGV", "-KILL", "-ABRT", "-SEGV"].into_iter().enumerate() {
        let start = Instant::now();
        service.machine.run_as_root(&unique("kill"), &["kill", signal, &pid.to_string()])?;
        // Connections wait in the socket until the next process accepts them.
        let status = service.wait_for_status("another process with displays", |status| {
            status.pid != pid && status.enabled_displays > 0
        })?;
        println!("back after {signal}: {:.0} ms", start.elapsed().as_secs_f64() * 1e3);
        pid = status.pid;
        ensure!(socket_inodes(&service)? == inodes, "the sockets were created again");
        if crash == 0 {
            // An application that names no display is placed where it was.
            service.client("kiosk-again", &["--app-id", "kiosk", "--color", "00ff00"])?;
            service.wait_for_color("Virtual-2", GREEN)?;
        }
        let safe = crash == 4;
        let has_notice = status.notices.iter().any(|notice| notice.contains("safe settings"));
        ensure!(has_notice == safe, "crash {crash}: {status:#?}");
        // The configuration disables one display; safe settings ignore it.
        ensure!(status.enabled_displays == if safe { 3 } else { 2 }, "{status:#?}");
    }
    // Reports name the signal, its sender, the displays and the last events.
    let reports = service.machine.read_dir("/tmp/reports")?;
    ensure!(reports.len() == 3, "SIGKILL leaves no report, the other signals one each: {reports:?}");
    let mut text = String::new();
    for report in &reports {
        text += &service.machine.read(&format!("/tmp/reports/{report}"))?;
    }
    for expected in [
        "SIGSEGV",
        "SIGABRT",
        "sent by process",
        "Backtrace",
        "Virtual-2",
        "DEBUG geom_compositor",
        "/run/bin/geom_compositor(",
    ] {
        ensure!(text.contains(expected), "no {expected} in: {text}");
    }
    let (findings, bundle) = doctor(&service)?;
    for expected in
        [["good", "GPU card0", ""], ["poor", "crashes", "3"], ["poor", "service", "crashed 5 times"]]
    {
        let is_expected = |finding: &[String; 3]| {
            finding[0] == expected[0] && finding[1] == expected[1] && finding[2].contains(expected[2])
        };
        ensure!(findings.iter().any(is_expected), "no {expected:?} in {findings:#?}");
    }
    ensure!(bundle.contains("==== findings") && bundle.contains("sent by process"), "{bundle}");
    // An upgrade execs the new program in the same process, with the configuration again.
    let before = service.status()?;
    service.command(&["upgrade"])?;
    let upgraded = service.wait_for_status("displays of the upgraded service", |status| {
        status.uptime_s < before.uptime_s && status.enabled_displays == 2
    })?;
    ensure!(upgraded.pid == pid, "{upgraded:#?}");
    ensure!(socket_inodes(&service)? == inodes, "the sockets were created again");
    // A program that is no geom_compositor is refused, and nothing is lost.
    service.try_command(&["upgrade", "/bin/true"])?.ensure_fails(1, &["/bin/true", "--version"])?;
    service.command(&["stop"])?;
    service.wait_until_ended()?;
    let left = service.machine.read_dir(RUNTIME_DIR)?;
    ensure!(!left.iter().any(|name| name.contains("wayland") || name.contains("geom")), "{left:?}");
    service.ensure_no_errors()
}

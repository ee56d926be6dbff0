//! Faults of the machine at start: each is refused or reported with what to do, and disturbs no
//! other program.

use anyhow::{ensure, Result};
use geom_lab::protocol::GpuSpec;
use geom_lab::Machine;

use crate::support::device::{Device, CONTROL, SERVICE};
use crate::support::harness::{refuses, Setup, EXIT_TIMEOUT};
use crate::support::{COMPOSITOR, RED, SIGKILL};

/// Makes /run/full and /run/ro, file systems of the user: the first has these mount options and is
/// filled by a line of shell, the second is read-only.
fn make_bad_folders(machine: &Machine, options: &str, fill: &str) -> Result<()> {
    let line = format!(
        "cd /run && mkdir full ro && user=$(stat -c %u /run/user/* | head -n 1) && \
         mount -t tmpfs -o mode=700,uid=$user,{options} tmpfs full && {fill} && \
         mount -t tmpfs -o mode=700,uid=$user tmpfs ro && mount -o remount,ro ro"
    );
    machine.run_as_root("folders", &["sh", "-c", &line])
}

#[test]
fn unknown_display_is_refused_with_the_ones_that_exist() -> Result<()> {
    let setup = Setup::with_monitors(2)?;
    let compositor = setup.launch("", &["-w", "HDMI-A-9", "--connect-type=DISCONNECT_ONCE"], &[])?;
    refuses(&setup.machine, &compositor, &["HDMI-A-9", "Virtual-1", "Virtual-2"])
}

#[test]
fn missing_seat_daemon_is_refused_with_a_remedy() -> Result<()> {
    let setup = Setup::without_seat(&[GpuSpec::new("gpu0", 1)])?;
    let compositor = setup.launch("", &[], &[("LIBSEAT_BACKEND", "seatd")])?;
    refuses(&setup.machine, &compositor, &["seat", "systemctl start seatd"])
}

#[test]
fn missing_permission_for_the_seat_is_refused_with_a_remedy() -> Result<()> {
    // The seat daemon serves another user.
    let setup = Setup::without_seat(&[GpuSpec::new("gpu0", 1)])?;
    setup.start_seat_daemon("daemon")?;
    setup.machine.run_as_root("chmod", &["chmod", "600", "/run/seatd.sock"])?;
    let compositor = setup.launch("", &[], &[("LIBSEAT_BACKEND", "seatd")])?;
    refuses(&setup.machine, &compositor, &["Permission denied", "usermod"])
}

#[test]
fn missing_runtime_folder_is_refused() -> Result<()> {
    let setup = Setup::with_monitors(1)?;
    let compositor = setup.launch("", &[], &[("XDG_RUNTIME_DIR", "/nowhere")])?;
    refuses(&setup.machine, &compositor, &["XDG_RUNTIME_DIR"])
}

#[test]
fn unusable_runtime_folders_are_refused_with_a_remedy() -> Result<()> {
    let setup = Setup::with_monitors(1)?;
    make_bad_folders(&setup.machine, "nr_inodes=2", "touch full/filled")?;
    setup
        .machine
        .run_as_root("other", &["sh", "-c", "cd /run && mkdir -m 777 other && chown daemon other"])?;
    for (folder, named) in [
        ("/run/full", ["/run/full/wayland-1", "full", "df -h"]),
        ("/run/ro", ["/run/ro/wayland-1", "read-only", "tmpfs"]),
        ("/run/other", ["/run/other", "user 1", "that user"]),
    ] {
        let env = [("XDG_RUNTIME_DIR", folder), ("NO_COLOR", "1")];
        let log = folder.replace('/', "-");
        let compositor = setup.machine.spawn_as_user(&log, &[COMPOSITOR, "--backend=kms"], &env)?;
        refuses(&setup.machine, &compositor, &named)?;
    }
    ensure!(setup.machine.read_dir("/run/other")?.is_empty(), "it left something in another user's folder");
    Ok(())
}

/// A socket without a listener is taken over. One with a listener is not.
#[test]
fn second_service_is_refused_and_a_stale_socket_reused() -> Result<()> {
    let argv = [COMPOSITOR, "--backend=kms", "--guard=never"];
    let first = Setup::with_monitors(1)?.start("", &["--guard=never"])?;
    first.machine.signal(&first.compositor, SIGKILL)?;
    first.machine.wait(&first.compositor, EXIT_TIMEOUT)?;
    let setup = Setup { machine: first.machine, gpus: first.gpus };
    let again = setup.machine.spawn_as_user("again", &argv, &[("NO_COLOR", "1")])?;
    let service = setup.into_service(again)?;
    service.wait_for_enabled_displays()?;
    let address = service.status()?.wayland_display;
    ensure!(address == "wayland-1", "another name: {address}");

    // A second one on the same seat, with the same runtime folder and with another.
    let machine = &service.machine;
    let second = machine.spawn_as_user("second", &argv, &[("NO_COLOR", "1")])?;
    refuses(machine, &second, &["already", "geom_compositor stop"])?;
    let elsewhere = [("GEOM_COMPOSITOR_SOCKET", "/tmp/second.sock"), ("NO_COLOR", "1")];
    let third = machine.spawn_as_user("third", &argv, &elsewhere)?;
    refuses(machine, &third, &["seat"])?;
    ensure!(!std::fs::read_to_string(&third.log)?.contains("panicked"));
    service.client("red", &[])?;
    service.wait_for_color("Virtual-1", RED)?;
    Ok(())
}

/// With full, read-only and missing folders of the user the displays are enabled all the same, and
/// what can't be written is reported.
#[test]
fn unwritable_user_folders_are_reported() -> Result<()> {
    let setup = Setup::with_monitors(1)?;
    let fill =
        "mkdir full/nobody && chown $user full/nobody && (yes | dd of=full/filled bs=4k status=none || true)";
    make_bad_folders(&setup.machine, "size=16k", fill)?;
    let config = "metrics_file = \"/run/full/metrics.prom\"\nmetrics_interval = 1\n";
    let env =
        [("HOME", "/nowhere"), ("XDG_STATE_HOME", "/run/ro/state"), ("STATE_DIRECTORY", "/run/ro/state")];
    let service = setup.start_with(config, &["--userdata", "/run/full", "--user", "nobody"], &env)?;
    service.client("red", &[])?;
    service.wait_for_color("Virtual-1", RED)?;
    service.wait_for_notice("/run/full/metrics.prom")?;
    let save = ["profile", "save", "--userdata", "/run/full", "--user", "nobody"];
    service.try_command(&save)?.ensure_fails(1, &["/run/full/nobody/displays.toml", "No space left"])?;
    ensure!(service.machine.read_dir("/run/full/nobody")?.is_empty(), "half a profile is left");
    let notices = service.status()?.notices;
    let reports = notices.iter().filter(|notice| notice.contains("/run/full/metrics.prom")).count();
    ensure!(reports == 1, "it is reported at each try: {notices:#?}");
    service.finish()
}

/// logind brings the service's VT to the front when another one is active at the start.
#[test]
fn service_activates_its_own_vt() -> Result<()> {
    let device = Device::boot(&[SERVICE], &[])?;
    let machine = &device.machine;
    device.wait_until_active()?;
    device.run(&["systemctl", "stop", SERVICE])?;
    machine.activate_vt(3)?;
    device.run(&["systemctl", "start", SERVICE])?;
    let vt = machine.vt_state(1)?;
    ensure!(vt.active == 1, "VT {} is active", vt.active);
    device.wait_for_enabled_displays(CONTROL, 3)?;
    Ok(())
}

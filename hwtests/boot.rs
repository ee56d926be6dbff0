//! Devices that boot with Debian's systemd: the service is started at boot, on demand or by a
//! person, and comes back after crashes.

use anyhow::{ensure, Context, Result};
use geom_ipc::Display;
use geom_lab::keys::KeyCode;
use geom_lab::Program;

use crate::support::device::{command, Device, CONTROL, PERSON, RUNTIME_FOLDER, SERVICE};
use crate::support::harness::{unique, EXIT_TIMEOUT};

/// Crashes in a row.
const CRASHES: usize = 20;

/// Inodes, owners and modes of sockets.
fn socket_inodes(device: &Device, sockets: [&str; 2]) -> Result<String> {
    device.run(&["stat", "-c", "%n %i %U %a", sockets[0], sockets[1]])
}

/// The sessions that `geom-lab-session` reported, one per connection: the id and the token.
fn sessions(program: &Program) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(&program.log)?;
    Ok(text.lines().filter(|line| line.starts_with("session ")).map(str::to_owned).collect())
}

#[test]
fn service_starts_at_boot_and_comes_back_after_crashes() -> Result<()> {
    let device = Device::boot(&[SERVICE, "geom-kiosk@red.service"], &[])?;
    let machine = &device.machine;
    device.wait_until_active()?;
    // systemctl shows the service's own status line with the displays and modes.
    let status = device.run(&["systemctl", "status", "--no-pager", SERVICE])?;
    for display in ["Virtual-1", "Virtual-2", "Virtual-3"] {
        ensure!(status.contains(&format!("{display} 1024x768@60.00")), "{status}");
    }
    device.wait_until_kiosk_shown()?;
    // systemd opens the session without PAM's authentication.
    let pam = device.machine.read("/etc/pam.d/geom-compositor")?;
    ensure!(pam.contains("auth     required pam_deny.so"), "{pam}");
    ensure!(device.run(&["loginctl", "--no-legend", "list-sessions"])?.contains("geom"), "no session");
    let wayland = format!("{RUNTIME_FOLDER}/wayland-1");
    let sockets = [wayland.as_str(), CONTROL];
    let inodes = socket_inodes(&device, sockets)?;
    let argv =
        ["/usr/local/bin/geom-lab-session", "--name", "holder", "--connect-type", "KEEP_CONNECTION_OPEN"];
    let holder = machine.spawn_as_root("session", &argv, &[("GEOM_COMPOSITOR_SOCKET", CONTROL)])?;
    machine.wait_until("the session", |_| Ok(!sessions(&holder)?.is_empty()))?;

    // systemd watches the guard; its child is the service.
    let guard = device.property("MainPID")?;
    let mut times = Vec::new();
    for crash in 0..CRASHES {
        let signal = if crash % 2 == 0 { "KILL" } else { "SEGV" };
        let before = device.status()?.pid;
        // A client that connects meanwhile waits in the socket for the next process's answer.
        let line = format!(
            "start=$(date +%s%N); kill -{signal} {before}; {}; echo took $((($(date +%s%N) - start) / 1000000))",
            command(CONTROL, "status --json")
        );
        let answer = device.run(&["sh", "-c", &line])?;
        let (json, time) = answer.rsplit_once("took ").context("no time")?;
        times.push(time.trim().parse::<u32>()?);
        let status: geom_ipc::Status = serde_json::from_str(json).context(answer.clone())?;
        ensure!(status.enabled_displays == 3, "crash {crash}: {status:#?}");
        ensure!(status.pid != before, "SIG{signal} did not end it");
        ensure!(socket_inodes(&device, sockets)? == inodes, "the sockets were created again");
        machine.wait_until("the resumed session", |_| Ok(sessions(&holder)?.len() == crash + 2))?;
    }
    times.sort_unstable();
    println!("back after a crash: median {} ms, at most {} ms", times[CRASHES / 2], times[CRASHES - 1]);
    ensure!(device.property("MainPID")? == guard, "the unit was restarted");
    let sessions = sessions(&holder)?;
    ensure!(sessions.iter().all(|session| *session == sessions[0]), "{sessions:?}");
    device.wait_until_kiosk_shown()?;
    // Five crashes in a minute are a loop.
    let notices = device.status()?.notices;
    ensure!(notices.iter().any(|notice| notice.contains("safe settings")), "{notices:?}");

    // A service that hangs is ended by its guard, which goes on. A stopped process gets no SIGABRT.
    let hung = device.status()?.pid;
    device.run(&["kill", "-STOP", &hung.to_string()])?;
    machine.wait_until("the end of the hung service", |_| {
        let left = device.run(&["pgrep", "-x", "geom_compositor"])?;
        Ok(left.lines().all(|pid| pid != hung.to_string()))
    })?;
    ensure!(device.status()?.pid != hung && device.property("MainPID")? == guard, "the unit was restarted");
    // Entries of the journal have the display as a field.
    let argv =
        ["journalctl", "-b", "--no-pager", "-o", "cat", "GEOM_DISPLAY=Virtual-2", "_COMM=geom_compositor"];
    let of_one = device.run(&argv)?;
    ensure!(of_one.contains("display=\"Virtual-2\"") && !of_one.contains("Virtual-3\""), "{of_one}");
    let reports = machine.read_dir("/var/lib/geom-compositor")?;
    let count = reports.iter().filter(|name| name.starts_with("crash-")).count();
    ensure!((9..=10).contains(&count), "the last ten are kept: {reports:?}");

    // When the guard is killed, systemd starts it again, with the same sockets.
    let wait_for_restart = |what: &str, guard: &str| {
        machine.wait_until(what, |_| {
            let now = device.property("MainPID")?;
            Ok(now != guard && now != "0" && device.property("ActiveState")? == "active")
        })
    };
    device.run(&["kill", "-KILL", &guard])?;
    wait_for_restart("the restart after the guard's death", &guard)?;
    ensure!(socket_inodes(&device, sockets)? == inodes, "the sockets were created again");
    let processes = device.run(&["pgrep", "-c", "-x", "geom_compositor"])?;
    ensure!(processes.trim() == "2", "the service of a dead guard still runs: {processes}");

    // An orderly restart does not count as a crash, and an orderly end leaves no socket.
    device.run(&["systemctl", "restart", SERVICE])?;
    device.wait_until_active()?;
    let status = device.wait_for_enabled_displays(CONTROL, 3)?;
    ensure!(!status.notices.iter().any(|notice| notice.contains("safe settings")), "{status:#?}");
    device.run(&["systemctl", "stop", SERVICE])?;
    let left = device.run(&["ls", RUNTIME_FOLDER])?;
    ensure!(!left.contains("wayland") && !left.contains("geom"), "{left}");
    Ok(())
}

/// With the drop-in of docs/install.md.
#[test]
fn service_runs_on_another_vt_for_another_user() -> Result<()> {
    let manual = include_str!("../docs/install.md");
    let drop_in =
        manual.split_once("## Use another VT or user").and_then(|(_, rest)| rest.split_once("```ini\n"));
    let drop_in = drop_in.and_then(|(_, rest)| rest.split_once("```"));
    let drop_in = drop_in.context("no drop-in in the manual")?.0.replace("User=kiosk", "User=person");
    let file = "etc/systemd/system/geom-compositor.service.d/override.conf";
    let device = Device::boot(&[SERVICE], &[(file, &drop_in)])?;
    device.wait_until_active()?;
    let status = device.status_at(&format!("/run/user/{PERSON}/geom-compositor.sock"))?;
    ensure!(status.enabled_displays == 3 && status.user == "person", "{status:#?}");
    let vt = device.machine.vt_state(7)?;
    ensure!(vt.active == 7 && vt.graphics, "VT {} is active", vt.active);
    Ok(())
}

/// With geom-compositor.socket, the first connection starts the service, and it comes back with the
/// same sockets.
#[test]
fn socket_activation_starts_the_service() -> Result<()> {
    const UNIT: &str = "geom-compositor.socket";
    let sockets = ["/run/geom-compositor/wayland", "/run/geom-compositor/geom-compositor.sock"];
    let device = Device::boot(&[UNIT], &[])?;
    let machine = &device.machine;
    machine.wait_until("the sockets", |_| {
        Ok(device.run(&["systemctl", "is-active", UNIT])?.trim() == "active")
    })?;
    ensure!(device.property("ActiveState")? == "inactive", "it runs without a connection");
    let inodes = socket_inodes(&device, sockets)?;
    ensure!(inodes.matches(" geom 660").count() == 2, "{inodes}");
    // The CLI finds the socket without being given its path.
    let status = || -> Result<geom_ipc::Status> {
        let text = device.run(&["/usr/local/bin/geom_compositor", "status", "--json"])?;
        serde_json::from_str(&text).context(text)
    };
    let first = status()?;
    ensure!(first.enabled_displays == 3, "{first:#?}");
    let env = [("XDG_RUNTIME_DIR", "/run"), ("WAYLAND_DISPLAY", sockets[0])];
    let argv = ["/usr/local/bin/geom-lab-client", "--fullscreen", "Virtual-2"];
    let client = machine.spawn_as_root("red", &argv, &env)?;
    device.wait_until_kiosk_shown()?;
    device.run(&["kill", "-SEGV", &first.pid.to_string()])?;
    machine.wait(&client, EXIT_TIMEOUT)?;
    let next = status()?;
    ensure!(next.enabled_displays == 3 && next.pid != first.pid, "{next:#?}");
    ensure!(socket_inodes(&device, sockets)? == inodes, "the sockets were created again");
    let client = machine.spawn_as_root("red-again", &argv, &env)?;
    device.wait_until_kiosk_shown()?;
    // The sockets outlive the service's end; the next connection starts it again.
    device.run(&["systemctl", "stop", SERVICE])?;
    machine.wait(&client, EXIT_TIMEOUT)?;
    ensure!(socket_inodes(&device, sockets)? == inodes, "the sockets were created again");
    ensure!(status()?.enabled_displays == 3);
    device.run(&["systemctl", "stop", UNIT, SERVICE])?;
    machine
        .wait_until("the end of all sockets", |_| Ok(machine.read_dir("/run/geom-compositor")?.is_empty()))?;
    Ok(())
}

/// A person logs in at the first VT, starts the service by its name, switches VTs, has it crash,
/// and ends it by keys: the console is as before.
#[test]
fn person_starts_it_from_a_tty() -> Result<()> {
    let device = Device::boot(&["getty@tty1.service"], &[])?;
    let machine = &device.machine;
    let console = || machine.read("/dev/vcs1");
    let wait_for_text = |text: &str| {
        machine.wait_until(&format!("{text:?} on the console"), |_| Ok(console()?.contains(text)))
    };
    // Debian's login takes an empty password on a console.
    device.run(&["passwd", "-d", "person"])?;
    let keyboard = machine.keyboard("keyboard")?;
    wait_for_text("login:")?;
    keyboard.type_text("person\n")?;
    wait_for_text("$ ")?;
    keyboard.type_text("geom_compositor\n")?;
    let socket = format!("/run/user/{PERSON}/geom-compositor.sock");
    let status = device.wait_for_enabled_displays(&socket, 3)?;
    ensure!(status.user == "person", "{status:#?}");
    ensure!(machine.vt_state(1)?.graphics, "the VT is in text mode");

    keyboard.chord(&[KeyCode::KEY_LEFTCTRL, KeyCode::KEY_LEFTALT, KeyCode::KEY_F2])?;
    machine.wait_until("VT 2", |machine| Ok(machine.vt_state(2)?.active == 2))?;
    keyboard.chord(&[KeyCode::KEY_LEFTALT, KeyCode::KEY_F1])?;
    machine.wait_until("VT 1", |machine| {
        let vt = machine.vt_state(1)?;
        Ok(vt.active == 1 && vt.graphics)
    })?;
    let runtime_dir = format!("/run/user/{PERSON}");
    let env = [("XDG_RUNTIME_DIR", runtime_dir.as_str()), ("WAYLAND_DISPLAY", "wayland-1")];
    let argv = ["/usr/local/bin/geom-lab-client", "--fullscreen", "Virtual-2"];
    let client = machine.spawn_as_root(&unique("red"), &argv, &env)?;
    device.wait_until_kiosk_shown()?;

    // On a terminal it has a guard, which starts it again.
    device.run(&["kill", "-SEGV", &status.pid.to_string()])?;
    machine.wait(&client, EXIT_TIMEOUT)?;
    machine.wait_until("another process", |_| {
        let now = device.status_at(&socket)?;
        Ok(now.enabled_displays == 3 && now.pid != status.pid)
    })?;
    machine.spawn_as_root(&unique("red"), &argv, &env)?;
    device.wait_until_kiosk_shown()?;

    keyboard.chord(&[KeyCode::KEY_LEFTCTRL, KeyCode::KEY_LEFTALT, KeyCode::KEY_BACKSPACE])?;
    machine.wait_until("a VT in text mode", |machine| Ok(!machine.vt_state(1)?.graphics))?;
    machine.wait_until("the prompt", |_| Ok(console()?.trim_end().ends_with('$')))?;
    keyboard.type_text("echo the console is usable: $((40 + 2))\n")?;
    wait_for_text("usable: 42")
}

/// The kernel knows how panels are built in from the firmware, from a list of devices, and from its
/// command line, which may also ask for a mode (Documentation/fb/modedb.rst).
#[test]
fn panel_that_is_built_in_turned_is_upright() -> Result<()> {
    let arguments = ["video=Virtual-2:panel_orientation=right_side_up", "video=Virtual-3:1280x720@60"];
    let device = Device::boot_with_arguments(&arguments, &[SERVICE], &[])?;
    device.wait_until_active()?;
    device.wait_for_enabled_displays(CONTROL, 3)?;
    let text = device.control(CONTROL, "displays --json")?;
    let displays: Vec<Display> = serde_json::from_str(&text).context(text)?;
    let transforms: Vec<&str> = displays.iter().map(|display| display.transform.as_str()).collect();
    ensure!(transforms == ["normal", "270", "normal"], "{transforms:?}");
    // That mode is used because none is configured.
    let modes = displays.iter().map(|display| display.mode.map(|mode| (mode.width, mode.height)));
    let modes: Vec<_> = modes.collect();
    ensure!(modes == [Some((1024, 768)), Some((1024, 768)), Some((1280, 720))], "{modes:?}");
    Ok(())
}

/// logind and the bus are restarted, as by an upgrade of Debian's packages: displays and programs
/// stay, and keys arrive afterwards.
#[test]
#[ignore = "known fault: the session's input devices are lost when logind restarts"]
fn displays_and_keys_survive_restarts_of_logind_and_the_bus() -> Result<()> {
    const KEY: KeyCode = KeyCode::KEY_B;
    let device = Device::boot(&[SERVICE], &[])?;
    let machine = &device.machine;
    device.wait_until_active()?;
    let before = device.wait_for_enabled_displays(CONTROL, 3)?;
    let keyboard = machine.keyboard("keyboard")?;
    let env = [("XDG_RUNTIME_DIR", RUNTIME_FOLDER), ("WAYLAND_DISPLAY", "wayland-1")];
    let argv = ["/usr/local/bin/geom-lab-client", "--fullscreen", "Virtual-2"];
    let client = machine.spawn_as_root("red", &argv, &env)?;
    device.wait_until_kiosk_shown()?;
    let released = || -> Result<usize> {
        let text = std::fs::read_to_string(&client.log)?;
        Ok(text.matches(&format!("key {} up", KEY.code())).count())
    };
    let wait_for_seat = |what: &str| {
        let has_seat = machine.wait_until(&format!("the seat and the keyboard {what}"), |_| {
            let status = device.status()?;
            ensure!(status.pid == before.pid, "the service was restarted: {status:#?}");
            let devices = device.control(CONTROL, "inputs --json")?;
            Ok(status.session_active && status.notices.is_empty() && devices.contains("\"keyboard\""))
        });
        if has_seat.is_err() {
            println!("{}", device.run(&["journalctl", "-b", "--no-pager", "-n", "60"])?);
        }
        has_seat
    };
    wait_for_seat("of the start")?;
    for (count, unit) in [(1, "systemd-logind.service"), (2, "dbus.service")] {
        device.run(&["systemctl", "restart", unit])?;
        wait_for_seat(&format!("after {unit}"))?;
        ensure!(device.status()?.enabled_displays == 3);
        // A key that the kernel reports while the seat is given back may be lost.
        machine.wait_until(&format!("a key after {unit}"), |_| {
            keyboard.chord(&[KEY])?;
            Ok(released()? >= count)
        })?;
        device.wait_until_kiosk_shown()?;
    }
    Ok(())
}

//! A machine that boots with Debian's systemd: the service is there, and always comes back.

use anyhow::{ensure, Context, Result};
use geom_lab::keys::KeyCode;

use crate::device::{command, Device, CONTROL, PERSON, SERVICE};

#[test]
fn the_service_is_there_at_boot_and_comes_back() -> Result<()> {
    let device = Device::boot(&[SERVICE, "geom-kiosk@red.service"], &[])?;
    device.until_active()?;
    let status = device.run(&["systemctl", "status", "--no-pager", SERVICE])?;
    let lit = "3 lit: Virtual-1 1024x768@60.00, Virtual-2 1024x768@60.00, Virtual-3 1024x768@60.00";
    ensure!(status.contains(lit), "{status}");
    device.until_red()?;
    let sockets = ["/run/user/995/wayland-1", CONTROL];
    let inodes = || device.run(&["stat", "-c", "%n %i", sockets[0], sockets[1]]);
    let before = inodes()?;
    let argv =
        ["/usr/local/bin/geom-lab-session", "--name", "holder", "--connect-type", "KEEP_CONNECTION_OPEN"];
    let session = device.machine.root("session", &argv, &[("GEOM_COMPOSITOR_SOCKET", CONTROL)])?;
    let told = || -> Result<Vec<String>> {
        let text = std::fs::read_to_string(&session.log)?;
        Ok(text.lines().filter(|line| line.starts_with("session ")).map(str::to_owned).collect())
    };
    device.machine.until_logged(&session, "session ")?;

    // The service's own process, below its guard, which is what systemd watches.
    let pid = || -> Result<String> {
        let said = device.ask(CONTROL, "status --json")?;
        let said: serde_json::Value = serde_json::from_str(&said).with_context(|| said.clone())?;
        Ok(said["pid"].to_string())
    };
    let guard = device.property("MainPID")?;
    let mut times = Vec::new();
    for crash in 0..20 {
        let signal = if crash % 2 == 0 { "KILL" } else { "SEGV" };
        let before_it = pid()?;
        // Whoever connects meanwhile waits in the socket, and has the answer of the next.
        let deed = format!(
            "start=$(date +%s%N); kill -{signal} {before_it}; {}; echo took $((($(date +%s%N) - start) / 1000000))",
            command(CONTROL, "status --json")
        );
        let answer = device.run(&["sh", "-c", &deed])?;
        let time = answer.lines().find_map(|line| line.strip_prefix("took ")).context("no time")?;
        times.push(time.parse::<u32>()?);
        ensure!(answer.contains("\"displays_lit\": 3"), "{crash}: {answer}");
        ensure!(pid()? != before_it, "{signal} did not end it");
        ensure!(inodes()? == before, "other sockets");
        device.machine.until("the session again", |_| Ok(told()?.len() == crash + 2))?;
    }
    times.sort_unstable();
    println!("back after a crash: median {} ms, at most {} ms", times[10], times[19]);
    ensure!(device.property("MainPID")? == guard, "the unit was restarted");
    let sessions = told()?;
    ensure!(sessions.iter().all(|line| *line == sessions[0]), "{sessions:?}");
    device.until_red()?;

    // One that does not turn is ended by the watchdog.
    let until_another = |what: &str, guard: &str| {
        device.machine.until(what, |_| {
            let now = device.property("MainPID")?;
            Ok(now != guard && now != "0" && device.property("ActiveState")? == "active")
        })
    };
    device.run(&["kill", "-STOP", &pid()?])?;
    until_another("the watchdog", &guard)?;
    let journal = device.run(&["journalctl", "-b", "--no-pager", "-u", SERVICE])?;
    ensure!(journal.contains("Watchdog timeout"), "{journal}");
    // Its own words are those of its session, which logind has put it in.
    let own = device.run(&["journalctl", "-b", "--no-pager", "-t", "geom_compositor"])?;
    ensure!(own.contains("safe settings"), "twenty crashes are no loop: {own}");
    let of_one =
        ["journalctl", "-b", "--no-pager", "-o", "cat", "GEOM_DISPLAY=Virtual-2", "_COMM=geom_compositor"];
    let of_one = device.run(&of_one)?;
    ensure!(of_one.contains("mode set display=\"Virtual-2\"") && !of_one.contains("Virtual-3\""), "{of_one}");
    let reports = device.machine.list("/var/lib/geom-compositor")?;
    let count = reports.iter().filter(|name| name.starts_with("crash-")).count();
    ensure!((9..=10).contains(&count), "the last ten are kept: {reports:?}");

    // Without its guard it is systemd that starts it again, with the same sockets.
    let guard = device.property("MainPID")?;
    device.run(&["kill", "-KILL", &guard])?;
    until_another("systemd", &guard)?;
    ensure!(inodes()? == before, "other sockets");
    let alive = device.run(&["pgrep", "-c", "-x", "geom_compositor"])?;
    ensure!(alive.trim() == "2", "a service whose guard is gone stays: {alive}");

    // An end that is meant leaves no socket, and the next start knows nothing of crashes.
    device.run(&["systemctl", "restart", SERVICE])?;
    device.until_active()?;
    let status = device.run(&["systemctl", "status", "--no-pager", SERVICE])?;
    ensure!(status.contains(lit) && !status.contains("safe settings used"), "{status}");
    device.run(&["systemctl", "stop", SERVICE])?;
    let left = device.run(&["ls", "/run/user/995"])?;
    ensure!(!left.contains("wayland") && !left.contains("geom"), "{left}");
    Ok(())
}

/// By the drop-in of docs/install.md.
#[test]
fn on_another_vt_for_another_user() -> Result<()> {
    let manual = include_str!("../docs/install.md");
    let drop_in = manual.split_once("```ini\n").and_then(|(_, rest)| rest.split_once("```"));
    let drop_in = drop_in.context("no drop-in in the manual")?.0.replace("User=kiosk", "User=person");
    let file = "etc/systemd/system/geom-compositor.service.d/override.conf";
    let device = Device::boot(&[SERVICE], &[(file, &drop_in)])?;
    device.until_active()?;
    let said = device.ask(&format!("/run/user/{PERSON}/geom-compositor.sock"), "status --json")?;
    ensure!(said.contains("\"displays_lit\": 3") && said.contains("\"user\": \"person\""), "{said}");
    let vt = device.machine.vt(7)?;
    ensure!(vt.active == 7 && vt.graphics, "VT {} is shown", vt.active);
    Ok(())
}

/// Addresses that are there before the service: who connects starts it, and it comes back to the same ones.
#[test]
fn who_connects_starts_it() -> Result<()> {
    const UNIT: &str = "geom-compositor.socket";
    let sockets = ["/run/geom-compositor/wayland", "/run/geom-compositor/geom-compositor.sock"];
    let device = Device::boot(&[UNIT], &[])?;
    let machine = &device.machine;
    let socket = || device.run(&["systemctl", "is-active", UNIT]);
    machine.until("the sockets", |_| Ok(socket()?.trim() == "active"))?;
    ensure!(device.property("ActiveState")? == "inactive", "it runs although nobody has asked");
    let inodes = || device.run(&["stat", "-c", "%n %i %U %a", sockets[0], sockets[1]]);
    let before = inodes()?;
    ensure!(before.matches(" geom 660").count() == 2, "{before}");
    // Where programs look without being told.
    let status = || -> Result<serde_json::Value> {
        let said = device.run(&["/usr/local/bin/geom_compositor", "status", "--json"])?;
        serde_json::from_str(&said).context(said)
    };
    let first = status()?;
    ensure!(first["displays_lit"] == 3, "{first}");
    let env = [("XDG_RUNTIME_DIR", "/run"), ("WAYLAND_DISPLAY", sockets[0])];
    let red = ["/usr/local/bin/geom-lab-client", "--fullscreen", "Virtual-2"];
    let client = machine.root("red", &red, &env)?;
    device.until_red()?;
    device.run(&["kill", "-SEGV", &first["pid"].to_string()])?;
    machine.wait(&client, std::time::Duration::from_secs(30))?;
    let next = status()?;
    ensure!(next["displays_lit"] == 3 && next["pid"] != first["pid"], "{next}");
    ensure!(inodes()? == before, "other sockets");
    let client = machine.root("red-again", &red, &env)?;
    device.until_red()?;
    // It ends alone, and is there again for who asks.
    device.run(&["systemctl", "stop", SERVICE])?;
    machine.wait(&client, std::time::Duration::from_secs(30))?;
    ensure!(inodes()? == before, "other sockets");
    ensure!(status()?["displays_lit"] == 3);
    device.run(&["systemctl", "stop", UNIT, SERVICE])?;
    ensure!(machine.list("/run/geom-compositor")?.is_empty(), "sockets are left");
    Ok(())
}

/// Logs in at the first VT, starts it by its name, goes to another VT and back, has it crash, and ends it by keys: the console is as it was.
#[test]
fn a_person_starts_it_from_a_tty() -> Result<()> {
    let device = Device::boot(&["getty@tty1.service"], &[])?;
    let machine = &device.machine;
    let screen = || machine.read("/dev/vcs1");
    let until_says =
        |text: &str| machine.until(&format!("{text:?} on the console"), |_| Ok(screen()?.contains(text)));
    // Debian's login takes an empty password on a console.
    device.run(&["passwd", "-d", "person"])?;
    let keyboard = machine.keyboard("keyboard")?;
    until_says("login:")?;
    keyboard.type_text("person\n")?;
    until_says("$ ")?;
    keyboard.type_text("geom_compositor\n")?;
    let socket = format!("/run/user/{PERSON}/geom-compositor.sock");
    let ask = |command: &str| device.ask(&socket, command);
    let until_lit =
        |what: &str| machine.until(what, |_| Ok(ask("status --json")?.contains("\"displays_lit\": 3")));
    until_lit("three displays lit")?;
    ensure!(machine.vt(1)?.graphics, "the VT is in text mode");
    let asked = |text: &str| -> Result<bool> { Ok(ask("status --json")?.contains(text)) };
    ensure!(asked("\"user\": \"person\"")?);

    // To another VT and back.
    keyboard.chord(&[KeyCode::KEY_LEFTCTRL, KeyCode::KEY_LEFTALT, KeyCode::KEY_F2])?;
    machine.until("VT 2", |machine| Ok(machine.vt(2)?.active == 2))?;
    keyboard.chord(&[KeyCode::KEY_LEFTALT, KeyCode::KEY_F1])?;
    machine.until("VT 1", |machine| Ok(machine.vt(1)?.active == 1 && machine.vt(1)?.graphics))?;
    let env = [("XDG_RUNTIME_DIR", format!("/run/user/{PERSON}")), ("WAYLAND_DISPLAY", "wayland-1".into())];
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let red = ["/usr/local/bin/geom-lab-client", "--fullscreen", "Virtual-2"];
    let client = machine.root("red", &red, &env)?;
    device.until_red()?;

    // Its guard starts it again.
    let status: serde_json::Value = serde_json::from_str(&ask("status --json")?)?;
    let pid = status["pid"].to_string();
    device.run(&["kill", "-SEGV", &pid])?;
    machine.wait(&client, std::time::Duration::from_secs(30))?;
    let gone = format!("\"pid\": {pid},");
    machine.until("another process", |_| {
        let said = ask("status --json")?;
        Ok(said.contains("\"displays_lit\": 3") && !said.contains(&gone))
    })?;
    machine.root("red-again", &red, &env)?;
    device.until_red()?;

    keyboard.chord(&[KeyCode::KEY_LEFTCTRL, KeyCode::KEY_LEFTALT, KeyCode::KEY_BACKSPACE])?;
    machine.until("a VT in text mode", |machine| Ok(!machine.vt(1)?.graphics))?;
    machine.until("the prompt again", |_| Ok(screen()?.trim_end().ends_with('$')))?;
    keyboard.type_text("echo the console is usable: $((40 + 2))\n")?;
    until_says("usable: 42")
}

//! Kiosk programs (geom-kiosk@.service): they are shown, and are not the service. Limits of the
//! service's memory.

use anyhow::{ensure, Context, Result};

use crate::support::device::{Device, SERVICE};

const SOCKETS: &str = "geom-compositor.socket";
/// The control socket of [`SOCKETS`].
const SYSTEM_CONTROL: &str = "/run/geom-compositor/geom-compositor.sock";
/// Where the probe writes what it may do.
const REPORT: &str = "/var/lib/geom-kiosk/probe/report";

/// Tries what a compromised kiosk program would try, then shows a window. Each line of the report
/// is the name of an attempt, and "yes" or "no".
const PROBE: &str = r#"
try() { name=$1; shift; if sh -c "$*" >/dev/null 2>&1; then echo "$name yes"; else echo "$name no"; fi; }
userdata=/usr/local/share/GeometryOS/userdata/geom
{
  echo "groups $(id -Gn)"
  try keyboard-exists 'test -c /dev/input/event0'
  try reads-keys ': </dev/input/event0'
  try opens-card ': <>/dev/dri/card0'
  try opens-tty ': <>/dev/tty1'
  try commands-by-default 'geom_compositor status'
  try commands 'GEOM_COMPOSITOR_SOCKET=/run/geom-compositor/geom-compositor.sock geom_compositor status'
  try opens-own-sockets 'ls /run/user/950'
  try opens-wayland 'WAYLAND_DISPLAY=/run/geom-compositor/wayland geom-lab-client --frames 1 --animate full'
  try has-privileged-protocols 'geom-lab-client --panel 20 --frames 1 --animate full'
  try asks-for-kills 'test -w /run/geom-compositor/kiosk-kill'
  try writes-profile ": >$userdata/displays.toml"
  try reads-profiles "ls $userdata"
  try writes-own-unit ': >>/etc/default/geom-kiosk-probe'
  try writes-programs ': >>/usr/local/bin/geom-lab-client'
  try sees-service 'pgrep -x geom_compositor'
  try gains-privileges 'unshare --mount true'
  try hides-from-limits 'unshare --user --cgroup true'
  try writes-own-folders ': >$HOME/a && : >$XDG_RUNTIME_DIR/b && : >/tmp/c'
  try builds-a-sandbox 'unshare --user --map-root-user --pid --fork --net --ipc --uts --mount-proc \
    sh -c "mount -t tmpfs tmpfs /mnt && chroot / true"'
} >$HOME/report.new
mv $HOME/report.new $HOME/report
exec geom-lab-client --fullscreen Virtual-2 --app-id kiosk
"#;

/// What a kiosk program may do.
const ALLOWED: [&str; 3] = ["keyboard-exists", "writes-own-folders", "builds-a-sandbox"];

/// The files of the instance "probe".
fn probe() -> [(&'static str, &'static str); 2] {
    [
        ("usr/local/bin/kiosk-probe", PROBE),
        ("etc/default/geom-kiosk-probe", "COMMAND='/bin/sh /usr/local/bin/kiosk-probe'\n"),
    ]
}

/// Waits for the probe's report, at this path.
fn report(device: &Device, path: &str) -> Result<String> {
    device.machine.wait_until("the probe's report", |machine| Ok(machine.read(path).is_ok()))?;
    device.machine.read(path)
}

/// The attempts of a report that succeeded.
fn allowed(report: &str) -> Vec<&str> {
    report.lines().filter_map(|line| line.strip_suffix(" yes")).collect()
}

fn main_pid(device: &Device, unit: &str) -> Result<String> {
    Ok(device.run(&["systemctl", "show", "--value", "-p", "MainPID", unit])?.trim().to_owned())
}

/// Waits for a connection of the kiosk program that is newer than `last`.
fn wait_for_client(device: &Device, last: u64) -> Result<geom_ipc::Client> {
    let mut found = None;
    device.machine.wait_until("the kiosk program among the clients", |_| {
        let clients = device.control(SYSTEM_CONTROL, "clients --json")?;
        let clients: Vec<geom_ipc::Client> = serde_json::from_str(&clients).context(clients)?;
        let is_new = |client: &geom_ipc::Client| client.id > last;
        let mut kiosks = clients.into_iter().filter(|client| client.app_id.as_deref() == Some("kiosk"));
        found = kiosks.find(is_new);
        Ok(found.is_some())
    })?;
    found.context("a client")
}

#[test]
fn kiosk_program_is_shown_and_is_not_the_service() -> Result<()> {
    const UNIT: &str = "geom-kiosk@probe.service";
    let device = Device::boot(&[SOCKETS, SERVICE], &probe())?;
    device.wait_until_active()?;
    let machine = &device.machine;
    let keyboard = machine.keyboard("keyboard")?;
    device.run(&["udevadm", "settle"])?;
    device.run(&["systemctl", "start", UNIT])?;
    let report = report(&device, REPORT)?;
    ensure!(report.starts_with("groups geom-kiosk render\n"), "{report}");
    ensure!(allowed(&report) == ALLOWED, "{report}");
    device.wait_until_kiosk_shown()?;
    drop(keyboard);

    // The service knows it as a sandboxed client of another user.
    let geom = device.run(&["id", "-u", "geom"])?;
    let kiosk = wait_for_client(&device, 0)?;
    ensure!(kiosk.security_context.as_deref() == Some("geom-kiosk"), "{kiosk:#?}");
    ensure!(kiosk.uid != 0 && kiosk.uid.to_string() != geom.trim(), "{kiosk:#?}");

    // One that hangs is killed, although it is another user's, and starts again.
    let before = main_pid(&device, UNIT)?;
    ensure!(before == kiosk.pid.to_string(), "the program is not the unit's main process");
    device.run(&["kill", "-STOP", &before])?;
    device.control(SYSTEM_CONTROL, &format!("kill {}", kiosk.id))?;
    let kiosk = wait_for_client(&device, kiosk.id)?;
    ensure!(kiosk.pid.to_string() != before, "the stopped process was not killed");

    // The socket stays through a crash and an upgrade.
    let inode = || device.run(&["stat", "-c", "%i %U %G %a", "/run/geom-compositor/kiosk"]);
    let first = inode()?;
    ensure!(first.ends_with(" geom geom-kiosk 660\n"), "{first}");
    let pid = device.status_at(SYSTEM_CONTROL)?.pid;
    device.run(&["kill", "-SEGV", &pid.to_string()])?;
    let kiosk = wait_for_client(&device, kiosk.id)?;
    ensure!(device.status_at(SYSTEM_CONTROL)?.pid != pid, "SIGSEGV did not end it");
    device.control(SYSTEM_CONTROL, "upgrade")?;
    wait_for_client(&device, kiosk.id)?;
    ensure!(inode()? == first, "the socket was created again");
    Ok(())
}

/// With the drop-in of docs/install.md.
#[test]
fn kiosk_program_of_the_service_user_may_command() -> Result<()> {
    let manual = include_str!("../docs/install.md");
    let (_, rest) =
        manual.split_once("```ini\n[Service]\nUser=geom\n").context("no drop-in in the manual")?;
    let (rest, _) = rest.split_once("```").context("the end of the drop-in")?;
    let drop_in = format!("[Service]\nUser=geom\n{rest}");
    let file = ("etc/systemd/system/geom-kiosk@probe.service.d/trusted.conf", drop_in.as_str());
    let files: Vec<_> = probe().into_iter().chain([file]).collect();
    let device = Device::boot(&[SOCKETS, SERVICE, "geom-kiosk@probe.service"], &files)?;
    let report = report(&device, REPORT)?;
    for attempt in ["commands", "opens-wayland", "has-privileged-protocols"] {
        ensure!(allowed(&report).contains(&attempt), "{attempt}: {report}");
    }
    device.wait_until_kiosk_shown()
}

/// logind moves the service into the slice of its user, where the limits of the unit do not hold.
#[test]
fn memory_limit_ends_a_leaking_program_and_not_the_service() -> Result<()> {
    const LIMIT: u64 = 200 << 20;
    let limit = format!("[Service]\nMemoryMax={LIMIT}\n");
    let leak = "GEOM_COMPOSITOR_EXEC='while [ ! -e /run/leak ]; do sleep 0.1; done; exec dd if=/dev/zero of=/dev/null bs=1G'\n";
    let files = [
        ("etc/systemd/system/geom-compositor.service.d/memory.conf", limit.as_str()),
        ("etc/default/geom-compositor", leak),
    ];
    let device = Device::boot(&[SERVICE], &files)?;
    device.wait_until_active()?;
    let machine = &device.machine;
    let pid = device.status()?.pid;
    let cgroup = machine.read(&format!("/proc/{pid}/cgroup"))?;
    let slice = cgroup.split('/').find(|part| part.starts_with("user-")).context(cgroup.clone())?;
    let file = format!("/sys/fs/cgroup/user.slice/{slice}/memory.max");
    machine.wait_until("the limit", |machine| Ok(machine.read(&file)?.trim() == LIMIT.to_string()))?;
    ensure!(!cgroup.contains("geom-compositor.service"), "the unit's own limit holds: {cgroup}");

    machine.write("/run/leak", "")?;
    let events = format!("/sys/fs/cgroup/user.slice/{slice}/memory.events");
    machine.wait_until("the end of the program that leaks", |machine| {
        Ok(machine.read(&events)?.lines().any(|line| line == "oom_kill 1"))
    })?;
    ensure!(device.status()?.pid == pid, "the service was killed");
    Ok(())
}

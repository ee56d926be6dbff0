//! Process 1 of the lab's guest: mounts what is missing, starts udev and the seat daemon, then
//! does what the host asks for over the second serial line.

mod gpu;
mod input;
mod kernel_log;
mod processes;
mod screenshot;
mod systemd;
mod timed;
mod vt;

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{chown, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use geom_lab::protocol::{Answer, Envelope, Reply, Request, RUNTIME_DIR, SHARED, USER_ID};
use rustix::mount::{mount, MountFlags};

/// Everything that requests share.
pub struct Guest {
    pub processes: processes::Processes,
    pub inputs: Mutex<HashMap<String, evdev::uinput::VirtualDevice>>,
    pub kernel_log: kernel_log::KernelLog,
}

fn main() {
    let is_unit = std::env::args().nth(1).as_deref() == Some("--unit");
    if std::process::id() != 1 && !is_unit {
        eprintln!("geom-lab-guest is process 1 of the lab's virtual machine; use geom-lab to start one");
        std::process::exit(2);
    }
    if let Err(error) = run(is_unit) {
        eprintln!("geom-lab-guest: {error:#}");
    }
    power_off();
}

fn power_off() {
    if fs::write("/proc/sysrq-trigger", "o").is_ok() {
        // The kernel powers off from a work queue; process 1 must not end before it.
        std::thread::sleep(Duration::from_secs(10));
    }
}

fn run(is_unit: bool) -> Result<()> {
    if is_unit {
        make_folders()?;
    } else {
        mount_all()?;
        if let Some(enabled) = systemd::option("geomlab.systemd")? {
            systemd::become_init(&enabled)?;
        }
        make_folders()?;
    }
    let line = open_line().context("the serial line to the host, /dev/ttyS1")?;
    let writer = Arc::new(Mutex::new(line.try_clone()?));
    let guest = Arc::new(Guest {
        processes: processes::Processes::start(),
        inputs: Mutex::default(),
        kernel_log: kernel_log::KernelLog::start()?,
    });
    if !is_unit {
        start_services(&guest)?;
    }
    send(&writer, &Reply { id: 0, result: Ok(Answer::Done) });

    for text in BufReader::new(line).lines() {
        let text = text?;
        let envelope: Envelope = match serde_json::from_str(&text) {
            Ok(envelope) => envelope,
            Err(error) => {
                eprintln!("geom-lab-guest: not a request: {error}: {text}");
                continue;
            }
        };
        if matches!(envelope.request, Request::PowerOff) {
            break;
        }
        let (guest, writer) = (guest.clone(), writer.clone());
        std::thread::spawn(move || {
            let result = serve(&guest, envelope.request).map_err(|error| format!("{error:#}"));
            send(&writer, &Reply { id: envelope.id, result });
        });
    }
    Ok(())
}

fn send(writer: &Mutex<File>, reply: &Reply) {
    let Ok(mut text) = serde_json::to_vec(reply) else { return };
    text.push(b'\n');
    let mut line = writer.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Err(error) = line.write_all(&text) {
        eprintln!("geom-lab-guest: cannot reply: {error}");
    }
}

fn serve(guest: &Guest, request: Request) -> Result<Answer> {
    Ok(match request {
        Request::CreateGpu(spec) => Answer::Gpu(gpu::create(&spec)?),
        Request::RemoveGpu { name } => gpu::remove(&name).map(|()| Answer::Done)?,
        Request::SetConnected { gpu, connector, connected } => {
            gpu::set_connected(&gpu, connector, connected).map(|()| Answer::Done)?
        }
        Request::CreateInput { kind, name } => input::create(guest, kind, &name).map(|()| Answer::Done)?,
        Request::RemoveInput { name } => input::remove(guest, &name).map(|()| Answer::Done)?,
        Request::Input { name, events } => input::emit(guest, &name, &events).map(|()| Answer::Done)?,
        Request::Spawn(spec) => Answer::Pid(guest.processes.spawn(&spec)?),
        Request::Timed { deed, path, text, count, millis } => {
            let bound = Duration::from_millis(millis);
            Answer::Measured(timed::measure(guest, &deed, &path, &text, count, bound)?)
        }
        Request::Wait { pid, millis } => {
            Answer::Ended(guest.processes.wait(pid, Duration::from_millis(millis))?)
        }
        Request::Signal { pid, signal } => processes::signal(pid, signal).map(|()| Answer::Done)?,
        Request::Screenshot { connector, file } => {
            let picture = screenshot::of_connector(&connector)?;
            fs::write(Path::new(SHARED).join(file), &picture.rgba)?;
            Answer::Picture { width: picture.width, height: picture.height }
        }
        Request::ReadFile { path } => {
            let bytes = fs::read(&path).with_context(|| path.clone())?;
            Answer::Text(String::from_utf8_lossy(&bytes).into_owned())
        }
        Request::WriteFile { path, contents } => {
            fs::write(&path, contents).with_context(|| path.clone())?;
            Answer::Done
        }
        Request::Install { from, to } => {
            if let Some(folder) = Path::new(&to).parent() {
                fs::create_dir_all(folder)?;
            }
            fs::copy(&from, &to).with_context(|| format!("{from} to {to}"))?;
            fs::set_permissions(&to, fs::Permissions::from_mode(0o755))?;
            Answer::Done
        }
        Request::ReadDir { path } => {
            let mut names = Vec::new();
            for entry in fs::read_dir(&path).with_context(|| path.clone())? {
                names.push(entry?.file_name().to_string_lossy().into_owned());
            }
            names.sort();
            Answer::Names(names)
        }
        Request::ReadLink { path } => {
            Answer::Text(fs::read_link(&path).with_context(|| path.clone())?.to_string_lossy().into_owned())
        }
        Request::ActivateVt { vt } => vt::activate(vt).map(|()| Answer::Done)?,
        Request::VtState { vt } => Answer::Vt(vt::state(vt)?),
        Request::KernelWarnings => Answer::Names(guest.kernel_log.warnings()),
        Request::PowerOff => Answer::Done,
    })
}

fn mount_all() -> Result<()> {
    let none = MountFlags::empty();
    let at = |what: &str, place: &str, kind: &str, data: &str| {
        let data = std::ffi::CString::new(data)?;
        mount(what, place, kind, none, data.as_c_str()).with_context(|| format!("mount {kind} on {place}"))
    };
    at("proc", "/proc", "proc", "")?;
    at("sysfs", "/sys", "sysfs", "")?;
    at("debugfs", "/sys/kernel/debug", "debugfs", "")?;
    at("configfs", "/sys/kernel/config", "configfs", "")?;
    for folder in ["/dev/pts", "/dev/shm"] {
        fs::create_dir_all(folder)?;
    }
    at("devpts", "/dev/pts", "devpts", "mode=620,ptmxmode=666")?;
    for (place, data) in
        [("/dev/shm", "mode=1777"), ("/tmp", "mode=1777"), ("/run", "mode=755"), ("/var/tmp", "mode=1777")]
    {
        at("tmpfs", place, "tmpfs", data)?;
    }
    if !Path::new("/dev/ptmx").exists() {
        std::os::unix::fs::symlink("pts/ptmx", "/dev/ptmx")?;
    }
    for (link, target) in
        [("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1")]
    {
        let _ = std::os::unix::fs::symlink(target, Path::new("/dev").join(link));
    }
    // As the rules of Debian's desktop session have it.
    for device in ["/dev/null", "/dev/udmabuf"] {
        fs::set_permissions(device, fs::Permissions::from_mode(0o666))?;
    }
    fs::create_dir_all(SHARED)?;
    let folder =
        systemd::option("geomlab.dir")?.context("the kernel's command line names no geomlab.dir=")?;
    at("none", SHARED, "hostfs", &folder)?;
    Ok(())
}

/// What the ordinary user has.
fn make_folders() -> Result<()> {
    for folder in [RUNTIME_DIR, "/tmp/home"] {
        fs::create_dir_all(folder)?;
        chown(folder, Some(USER_ID), Some(USER_ID))?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// The line is a host socket: bytes must pass as they are, without echo or line editing.
fn open_line() -> Result<File> {
    let line = OpenOptions::new().read(true).write(true).open("/dev/ttyS1")?;
    let mut settings = rustix::termios::tcgetattr(&line)?;
    settings.make_raw();
    rustix::termios::tcsetattr(&line, rustix::termios::OptionalActions::Now, &settings)?;
    Ok(line)
}

fn start_services(guest: &Guest) -> Result<()> {
    let run = |program: &str, arguments: &[&str]| -> Result<()> {
        let child = Command::new(program).args(arguments).spawn().with_context(|| program.to_owned())?;
        match guest.processes.wait(child.id(), Duration::from_secs(20))? {
            Some(geom_lab::protocol::Ending::Exited(0)) => Ok(()),
            other => anyhow::bail!("{program} {arguments:?}: {other:?}"),
        }
    };
    run("/lib/systemd/systemd-udevd", &["--daemon", "--resolve-names=never", "--children-max=4"])?;
    run(
        "udevadm",
        &[
            "trigger",
            "--subsystem-match=drm",
            "--subsystem-match=input",
            "--subsystem-match=tty",
            "--action=add",
        ],
    )?;
    run("udevadm", &["settle"])
}

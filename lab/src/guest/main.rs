//! Process 1 of the lab's guest: mounts file systems, starts udev, then serves the host's requests
//! from the second serial line.

mod gpu;
mod input;
mod kernel_log;
mod measure;
mod processes;
mod screenshot;
mod systemd;
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
use geom_lab::protocol::{
    Envelope, Reply, Request, Response, MODULES, MODULES_TAG, RUNTIME_DIR, SHARED, SHARED_TAG, USER_ID,
};
use rustix::mount::{mount, MountFlags};

/// The state that requests share.
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
        // The kernel powers off from a work queue; process 1 must not exit before it does.
        std::thread::sleep(Duration::from_secs(10));
    }
}

fn run(is_unit: bool) -> Result<()> {
    if is_unit {
        make_directories()?;
    } else {
        mount_all()?;
        if let Some(enabled) = systemd::option("geomlab.systemd")? {
            systemd::become_init(&enabled)?;
        }
        make_directories()?;
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
    send(&writer, &Reply { id: 0, result: Ok(Response::Done) });

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

fn serve(guest: &Guest, request: Request) -> Result<Response> {
    Ok(match request {
        Request::CreateGpu(spec) => Response::Gpu(gpu::create(&spec)?),
        Request::RemoveGpu { name } => gpu::remove(&name).map(|()| Response::Done)?,
        Request::SetConnected { gpu, connector, connected } => {
            gpu::set_connected(&gpu, connector, connected).map(|()| Response::Done)?
        }
        Request::CreateInput { kind, id, name, port } => {
            input::create(guest, kind, &id, &name, port.as_deref()).map(|()| Response::Done)?
        }
        Request::RemoveInput { name } => input::remove(guest, &name).map(|()| Response::Done)?,
        Request::InputLamps { name } => Response::Names(input::lamps(guest, &name)?),
        Request::Input { name, events } => input::emit(guest, &name, &events).map(|()| Response::Done)?,
        Request::Spawn(spec) => Response::Pid(guest.processes.spawn(&spec)?),
        Request::Measure { trigger, path, text, count, timeout_ms } => {
            let timeout = Duration::from_millis(timeout_ms);
            Response::Measured(measure::measure(guest, &trigger, &path, &text, count, timeout)?)
        }
        Request::Wait { pid, timeout_ms } => {
            Response::Exited(guest.processes.wait(pid, Duration::from_millis(timeout_ms))?)
        }
        Request::Signal { pid, signal } => processes::signal(pid, signal).map(|()| Response::Done)?,
        Request::Screenshot { connector, file } => {
            let image = screenshot::of_connector(&connector)?;
            fs::write(Path::new(SHARED).join(file), &image.rgba)?;
            Response::Screenshot { width: image.width, height: image.height }
        }
        Request::ReadFile { path } => {
            let bytes = fs::read(&path).with_context(|| path.clone())?;
            Response::Text(String::from_utf8_lossy(&bytes).into_owned())
        }
        Request::WriteFile { path, contents } => {
            fs::write(&path, contents).with_context(|| path.clone())?;
            Response::Done
        }
        Request::Install { from, to } => {
            if let Some(parent) = Path::new(&to).parent() {
                fs::create_dir_all(parent)?;
            }
            fs::copy(&from, &to).with_context(|| format!("{from} to {to}"))?;
            fs::set_permissions(&to, fs::Permissions::from_mode(0o755))?;
            Response::Done
        }
        Request::ReadDir { path } => {
            let mut names = Vec::new();
            for entry in fs::read_dir(&path).with_context(|| path.clone())? {
                names.push(entry?.file_name().to_string_lossy().into_owned());
            }
            names.sort();
            Response::Names(names)
        }
        Request::ReadLink { path } => {
            Response::Text(fs::read_link(&path).with_context(|| path.clone())?.to_string_lossy().into_owned())
        }
        Request::ActivateVt { vt } => vt::activate(vt).map(|()| Response::Done)?,
        Request::VtState { vt } => Response::Vt(vt::state(vt)?),
        Request::KernelWarnings => Response::Names(guest.kernel_log.warnings()),
        Request::PowerOff => Response::Done,
    })
}

/// Gives the ordinary user the render nodes, as udev's rules do for an active session.
const RENDER_NODES: &str = "SUBSYSTEM==\"drm\", KERNEL==\"renderD*\", MODE=\"0666\"\n";

fn mount_all() -> Result<()> {
    let none = MountFlags::empty();
    let at = |source: &str, target: &str, kind: &str, data: &str| {
        let data = std::ffi::CString::new(data)?;
        mount(source, target, kind, none, data.as_c_str())
            .with_context(|| format!("mount {kind} on {target}"))
    };
    at("proc", "/proc", "proc", "")?;
    at("sysfs", "/sys", "sysfs", "")?;
    at("debugfs", "/sys/kernel/debug", "debugfs", "")?;
    // A module of Debian's kernels, which only the lab's own GPUs need.
    if fs::read_to_string("/proc/filesystems")?.contains("configfs") {
        at("configfs", "/sys/kernel/config", "configfs", "")?;
    }
    for directory in ["/dev/pts", "/dev/shm"] {
        fs::create_dir_all(directory)?;
    }
    at("devpts", "/dev/pts", "devpts", "mode=620,ptmxmode=666")?;
    for (target, data) in
        [("/dev/shm", "mode=1777"), ("/tmp", "mode=1777"), ("/run", "mode=755"), ("/var/tmp", "mode=1777")]
    {
        at("tmpfs", target, "tmpfs", data)?;
    }
    if !Path::new("/dev/ptmx").exists() {
        std::os::unix::fs::symlink("pts/ptmx", "/dev/ptmx")?;
    }
    for (link, target) in
        [("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1")]
    {
        let _ = std::os::unix::fs::symlink(target, Path::new("/dev").join(link));
    }
    // As udev's rules do for an active session.
    for device in ["/dev/null", "/dev/udmabuf"].into_iter().filter(|device| Path::new(device).exists()) {
        fs::set_permissions(device, fs::Permissions::from_mode(0o666))?;
    }
    fs::create_dir_all("/run/udev/rules.d")?;
    fs::write("/run/udev/rules.d/99-geom-lab.rules", RENDER_NODES)?;
    fs::create_dir_all(SHARED)?;
    match systemd::option("geomlab.dir")? {
        Some(shared) => at("none", SHARED, "hostfs", &shared)?,
        None => {
            // Not cached: the host reads logs while programs write them.
            at(SHARED_TAG, SHARED, "9p", "trans=virtio,version=9p2000.L,cache=none,msize=262144")?;
            fs::create_dir_all(MODULES)?;
            at(MODULES_TAG, MODULES, "9p", "trans=virtio,version=9p2000.L,ro,msize=262144")?;
        }
    }
    Ok(())
}

/// Creates the directories of the ordinary user.
fn make_directories() -> Result<()> {
    for directory in [RUNTIME_DIR, "/tmp/home"] {
        fs::create_dir_all(directory)?;
        chown(directory, Some(USER_ID), Some(USER_ID))?;
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Opens the line to the host's socket in raw mode: without echo, line editing or translation.
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
            Some(geom_lab::protocol::ExitStatus::Exited(0)) => Ok(()),
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
    // udevd may close the connection of the first one while it starts (Broken pipe).
    run("udevadm", &["settle"]).or_else(|_| run("udevadm", &["settle"]))
}

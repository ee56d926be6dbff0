//! A guest whose process 1 is Debian's systemd: what process 1 of the lab does before it becomes that, and this program as a unit of it.
//!
//! The root is the host's own, read only: what the boot writes to is copied to memory, and nothing of the host's services is enabled.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{ensure, Context, Result};
use drm::control::Device as _;
use geom_lab::protocol::{GpuSpec, SHARED};
use geom_lab::Card;
use rustix::mount::{mount, mount_bind, MountFlags};

const SYSTEMD: &str = "/lib/systemd/systemd";
const HANDS: &str = "/run/geom-lab-guest";

/// Of the kernel's command line.
pub fn option(name: &str) -> Result<Option<String>> {
    let line = fs::read_to_string("/proc/cmdline")?;
    let value = |word: &str| word.strip_prefix(name)?.strip_prefix('=').map(str::to_owned);
    Ok(line.split_whitespace().find_map(value))
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program).args(arguments).output().with_context(|| program.to_owned())?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{program} {arguments:?}: {}: {said}", output.status);
    Ok(())
}

fn memory(place: &str) -> Result<()> {
    let data = CString::new("mode=755")?;
    mount("tmpfs", place, "tmpfs", MountFlags::empty(), data.as_c_str())
        .with_context(|| format!("mount tmpfs on {place}"))
}

/// Lays out what boots: the host's /etc without its services, and of the shared folder's `root` all that was installed there.
fn lay_out(enabled: &str) -> Result<()> {
    fs::create_dir_all("/run/etc")?;
    run("cp", &["-a", "/etc/.", "/run/etc"])?;
    mount_bind("/run/etc", "/etc").context("bind /etc")?;
    let _ = fs::remove_dir_all("/etc/systemd/system");
    fs::create_dir_all("/etc/systemd/system")?;
    fs::write("/etc/fstab", "")?;
    fs::write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")?;
    for place in ["/usr/local", "/var/lib", "/var/log"] {
        memory(place)?;
    }
    fs::create_dir_all("/var/lib/dbus")?;
    symlink("/etc/machine-id", "/var/lib/dbus/machine-id")?;
    let root = Path::new(SHARED).join("root");
    for part in ["usr/local", "etc"] {
        let from = root.join(part);
        if from.exists() {
            run("cp", &["-a", &format!("{}/.", from.display()), &format!("/{part}")])?;
        }
    }
    run("systemd-sysusers", &[])?;
    for unit in enabled.split(',').filter(|unit| !unit.is_empty()) {
        run("systemctl", &["--root=/", "enable", unit])?;
    }
    Ok(())
}

/// This program as a unit, started as early as there are devices.
fn enlist() -> Result<()> {
    // Its own file may lie where memory has been mounted over.
    fs::copy("/proc/self/exe", HANDS)?;
    let units = Path::new("/run/systemd/system");
    let wanted = units.join("sysinit.target.wants");
    fs::create_dir_all(&wanted)?;
    let unit = format!(
        "[Unit]\nDescription=The lab's hands\nDefaultDependencies=no\nAfter=systemd-udevd.service\n\
         [Service]\nExecStart={} --unit\nStandardOutput=null\nStandardError=journal+console\nOOMScoreAdjust=-900\n",
        HANDS
    );
    fs::write(units.join("geom-lab-guest.service"), unit)?;
    symlink("../geom-lab-guest.service", wanted.join("geom-lab-guest.service"))?;
    Ok(())
}

/// What a kernel with a console on framebuffers has done by the time that a boot splash starts, which relies on it: it is no master when it asks.
fn probe(card: &str) -> Result<()> {
    let card = Card::open(format!("/dev/dri/{card}"))?;
    for connector in card.resource_handles()?.connectors() {
        card.get_connector(*connector, true)?;
    }
    Ok(())
}

/// Becomes systemd, with a GPU of so many monitors, all plugged in.
///
/// # Errors
/// Where it can't; it does not return otherwise.
pub fn become_init(enabled: &str) -> Result<()> {
    if let Some(count) = option("geomlab.monitors")? {
        let made = super::gpu::create(&GpuSpec::new("gpu0", count.parse()?))?;
        probe(&made.card)?;
    }
    lay_out(enabled)?;
    enlist()?;
    Err(Command::new(SYSTEMD).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").exec())
        .context(SYSTEMD)
}

//! A guest whose process 1 is Debian's systemd: prepares the file system, then executes systemd,
//! which runs this program as a unit.
//!
//! The root is the host's own, read only. The directories that the boot writes to are copied to
//! memory, and none of the host's services is enabled.

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
/// Where this program's copy lies, outside of the directories that get a tmpfs.
const OWN_COPY: &str = "/run/geom-lab-guest";

/// Returns an option of the kernel's command line.
pub fn option(name: &str) -> Result<Option<String>> {
    let line = fs::read_to_string("/proc/cmdline")?;
    let value = |word: &str| word.strip_prefix(name)?.strip_prefix('=').map(str::to_owned);
    Ok(line.split_whitespace().find_map(value))
}

/// Runs a program that must succeed.
fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program).args(arguments).output().with_context(|| program.to_owned())?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{program} {arguments:?}: {}: {errors}", output.status);
    Ok(())
}

/// Mounts an empty tmpfs.
fn mount_tmpfs(target: &str) -> Result<()> {
    let data = CString::new("mode=755")?;
    mount("tmpfs", target, "tmpfs", MountFlags::empty(), data.as_c_str())
        .with_context(|| format!("mount tmpfs on {target}"))
}

/// Prepares the file system: the host's /etc without its services, and the files of the shared
/// directory's `root`.
fn prepare_root(enabled: &str) -> Result<()> {
    fs::create_dir_all("/run/etc")?;
    run("cp", &["-a", "/etc/.", "/run/etc"])?;
    mount_bind("/run/etc", "/etc").context("bind /etc")?;
    let _ = fs::remove_dir_all("/etc/systemd/system");
    fs::create_dir_all("/etc/systemd/system")?;
    fs::write("/etc/fstab", "")?;
    fs::write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")?;
    for target in ["/usr/local", "/var/lib", "/var/log"] {
        mount_tmpfs(target)?;
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

/// Installs this program as a unit that starts as soon as there are devices.
fn install_unit() -> Result<()> {
    // A tmpfs may hide this program's own file.
    fs::copy("/proc/self/exe", OWN_COPY)?;
    let units = Path::new("/run/systemd/system");
    let wanted = units.join("sysinit.target.wants");
    fs::create_dir_all(&wanted)?;
    let unit = format!(
        "[Unit]\nDescription=Request server of the lab\nDefaultDependencies=no\nAfter=systemd-udevd.service\n\
         [Service]\nExecStart={} --unit\nStandardOutput=null\nStandardError=journal+console\nOOMScoreAdjust=-900\n",
        OWN_COPY
    );
    fs::write(units.join("geom-lab-guest.service"), unit)?;
    symlink("../geom-lab-guest.service", wanted.join("geom-lab-guest.service"))?;
    Ok(())
}

/// Probes the connectors, as a kernel with a framebuffer console does before a boot splash starts.
/// The splash relies on it: it is not DRM master when it reads the connectors.
fn probe(card: &str) -> Result<()> {
    let card = Card::open(format!("/dev/dri/{card}"))?;
    for connector in card.resource_handles()?.connectors() {
        card.get_connector(*connector, true)?;
    }
    Ok(())
}

/// Executes systemd, after creating the GPU that `geomlab.monitors` describes, all monitors
/// connected.
///
/// # Errors
/// If a step fails; otherwise it does not return.
pub fn become_init(enabled: &str) -> Result<()> {
    if let Some(count) = option("geomlab.monitors")? {
        let gpu = super::gpu::create(&GpuSpec::new("gpu0", count.parse()?))?;
        probe(&gpu.card)?;
    }
    prepare_root(enabled)?;
    install_unit()?;
    Err(Command::new(SYSTEMD).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").exec())
        .context(SYSTEMD)
}

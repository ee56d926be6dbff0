//! The Debian packages: installed by apt in a clean root, run there, and purged.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use geom_lab::protocol::{ExitStatus, GpuSpec};
use geom_lab::{BootOptions, Machine};

use crate::support::harness::{programs, unique, wait_for_pixels, EXIT_TIMEOUT};
use crate::support::BACKGROUND;

/// Where the guest has the Debian root.
const ROOT: &str = "/run/debian";
/// An installation by apt takes longer than other steps.
const APT_TIMEOUT: Duration = Duration::from_secs(240);

/// Builds the packages from the programs that this test was built with, without compression.
fn packages(out: &Path) -> Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let built = programs();
    let output = Command::new(here.join("tools/deb.sh"))
        .envs([("FROM", built.as_path()), ("LIBRARY", built.as_path()), ("OUT", out)])
        .env("DPKG_DEB_COMPRESSOR_TYPE", "none")
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// The clean root as a tar file, which is made by the first call.
fn clean_root() -> Result<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab/debian.sh");
    let output = Command::new(&script).output().with_context(|| script.display().to_string())?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// A machine with a Debian root in its memory.
struct Device {
    machine: Machine,
}

impl Device {
    /// Runs a line of shell as root, which must succeed; its output.
    fn run(&self, line: &str) -> Result<String> {
        let program = self.machine.spawn_as_root(&unique("debian"), &["sh", "-c", line], &[])?;
        let status = self.machine.wait(&program, APT_TIMEOUT)?;
        let output = std::fs::read_to_string(&program.log)?;
        ensure!(status == Some(ExitStatus::Exited(0)), "{line}: {status:?}: {output}");
        Ok(output)
    }

    /// The same inside the root.
    fn inside(&self, line: &str) -> Result<String> {
        let environment = "DEBIAN_FRONTEND=noninteractive XDG_RUNTIME_DIR=/run/user/0 LC_ALL=C";
        self.run(&format!("{environment} chroot {ROOT} sh -c '{line}' 2>&1"))
    }

    fn boot() -> Result<Self> {
        let machine = Machine::boot(&BootOptions { memory_mib: 2048, ..BootOptions::default() })?;
        let folder = machine.shared_dir().join("debs");
        packages(&folder)?;
        let (root, tar) = (clean_root()?, machine.shared_dir().join("debian.tar"));
        // The guest's own /tmp hides the host's.
        std::fs::hard_link(&root, &tar).or_else(|_| std::fs::copy(&root, &tar).map(|_| ()))?;
        let device = Self { machine };
        device.run(&format!(
            "mkdir {ROOT} && mount -t tmpfs -o mode=755 tmpfs {ROOT} && tar -x -f /run/lab/debian.tar -C {ROOT} && \
             mkdir -p {ROOT}/debs {ROOT}/run/udev {ROOT}/run/user/0 && cp /run/lab/debs/*.deb {ROOT}/debs && \
             for folder in dev proc sys run/udev; do mount --rbind /$folder {ROOT}/$folder; done"
        ))?;
        Ok(device)
    }
}

#[test]
fn debian_packages_are_installed_run_and_purged() -> Result<()> {
    let device = Device::boot()?;
    let machine = &device.machine;
    let gpu = machine.create_gpu(&GpuSpec::new("gpu0", 2))?;
    let output = device.inside("apt-get install -y --no-install-recommends /debs/*.deb")?;
    ensure!(output.contains("Setting up geom-compositor "), "{output}");
    let installed = device.inside("geom_compositor --version; getent passwd geom; ls /lib/systemd/system")?;
    for wanted in
        [concat!("geom_compositor ", env!("CARGO_PKG_VERSION")), "geom:x:", "geom-compositor.service"]
    {
        ensure!(installed.contains(wanted), "no {wanted}: {installed}");
    }
    // On the machine's monitors, with libseat's builtin backend, as this root has neither logind
    // nor seatd. Its state directory is the unit's.
    let line = format!("exec chroot {ROOT} /usr/bin/geom_compositor --backend=kms --guard=never");
    let env = [
        ("XDG_RUNTIME_DIR", "/run/user/0"),
        ("STATE_DIRECTORY", "/var/lib/geom-compositor"),
        ("LIBSEAT_BACKEND", "builtin"),
        ("NO_COLOR", "1"),
    ];
    let service = machine.spawn_as_root("service", &["sh", "-c", &line], &env)?;
    for connector in &gpu.connectors {
        wait_for_pixels(machine, connector, "the diagnostic screen", |screenshot| {
            screenshot.fraction(|pixel| pixel == BACKGROUND) > 0.8
        })?;
    }
    let displays = device.inside("geom_compositor displays")?;
    ensure!(displays.contains("Virtual-1") && displays.contains("Virtual-2"), "{displays}");
    let module = "import geom_compositor; print(geom_compositor.ConnectionType.DISCONNECT_ONCE.value)";
    let printed = device.inside(&format!("python3 -c \"{module}\""))?;
    ensure!(printed.trim() == "1", "{printed}");
    device.inside("geom_compositor stop")?;
    let status = machine.wait(&service, EXIT_TIMEOUT)?;
    ensure!(status == Some(ExitStatus::Exited(0)), "{status:?}");

    // Files of users stay through a reinstallation and a purge.
    let geometry = "/usr/local/share/GeometryOS";
    let conf = format!("{geometry}/system/conf/geom_compositor.toml");
    device.inside(&format!(
        "echo \"# mine\" >> {conf}; mkdir {geometry}/userdata/ann; echo \"# mine\" > {geometry}/userdata/ann/displays.toml"
    ))?;
    device.inside("apt-get install -y --reinstall --no-install-recommends /debs/geom-compositor_*.deb")?;
    ensure!(
        device.inside(&format!("tail -n 1 {conf}"))?.trim() == "# mine",
        "the configuration was overwritten"
    );
    device.inside("apt-get purge -y geom-compositor geom-compositor-dev python3-geom-compositor")?;
    let find = "find / -xdev -iname \"*geom*\" -not -path \"/usr/share/X11/*\"";
    let left = device.inside(&format!("rm -r /debs; {find}; grep geom /etc/passwd /etc/group || true"))?;
    let left: Vec<&str> = left.lines().collect();
    ensure!(left == [geometry], "{left:#?}");
    let left = device.inside(&format!("cd {geometry}; find . -type f"))?;
    ensure!(left.trim() == "./userdata/ann/displays.toml", "{left}");
    Ok(())
}

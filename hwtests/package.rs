//! The Debian packages: installed by apt in a clean root, run there, and purged.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use geom_lab::protocol::{Ending, GpuSpec};
use geom_lab::{BootOptions, Machine};

use crate::world::GROUND;

/// Where the guest has the Debian root.
const ROOT: &str = "/run/debian";

/// Builds the packages from what this test was built with, without compressing them.
fn packages(out: &Path) -> Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let built = Path::new(env!("CARGO_BIN_EXE_geom_compositor")).parent().context("its folder")?;
    let output = Command::new(here.join("tools/deb.sh"))
        .envs([("FROM", built), ("LIBRARY", built), ("OUT", out)])
        .env("DPKG_DEB_COMPRESSOR_TYPE", "none")
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// The clean root's tar file, made where there is none yet.
fn clean_root() -> Result<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab/debian.sh");
    let output = Command::new(&script).output().with_context(|| script.display().to_string())?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// A machine with a Debian root in its memory.
struct Device {
    machine: Machine,
    asked: std::cell::Cell<u32>,
}

impl Device {
    /// Runs a line of shell as root; what it said.
    fn run(&self, line: &str) -> Result<String> {
        self.asked.set(self.asked.get() + 1);
        let log = format!("debian-{}", self.asked.get());
        let program = self.machine.root(&log, &["sh", "-c", line], &[])?;
        let ending = self.machine.wait(&program, Duration::from_secs(240))?;
        let said = std::fs::read_to_string(&program.log)?;
        ensure!(ending == Some(Ending::Exited(0)), "{line}: {ending:?}: {said}");
        Ok(said)
    }

    /// The same inside the root.
    fn inside(&self, line: &str) -> Result<String> {
        let environment = "DEBIAN_FRONTEND=noninteractive XDG_RUNTIME_DIR=/run/user/0 LC_ALL=C";
        self.run(&format!("{environment} chroot {ROOT} sh -c '{line}' 2>&1"))
    }

    fn boot() -> Result<Self> {
        let machine = Machine::boot(&BootOptions { memory: 2048, ..BootOptions::default() })?;
        let folder = machine.folder().join("debs");
        packages(&folder)?;
        let (root, tar) = (clean_root()?, machine.folder().join("debian.tar"));
        // The guest does not see all of the host's folders.
        std::fs::hard_link(&root, &tar).or_else(|_| std::fs::copy(&root, &tar).map(|_| ()))?;
        let device = Self { machine, asked: std::cell::Cell::new(0) };
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
    let said = device.inside("apt-get install -y --no-install-recommends /debs/*.deb")?;
    ensure!(said.contains("Setting up geom-compositor "), "{said}");
    let installed = device.inside("geom_compositor --version; getent passwd geom; ls /lib/systemd/system")?;
    for wanted in
        [concat!("geom_compositor ", env!("CARGO_PKG_VERSION")), "geom:x:", "geom-compositor.service"]
    {
        ensure!(installed.contains(wanted), "no {wanted}: {installed}");
    }
    // On the machine's monitors, by libseat's own seat: there is neither logind nor seatd in this root. Its state is where the unit has it.
    let line = format!("exec chroot {ROOT} /usr/bin/geom_compositor --backend=kms --guard=never");
    let env = [
        ("XDG_RUNTIME_DIR", "/run/user/0"),
        ("STATE_DIRECTORY", "/var/lib/geom-compositor"),
        ("LIBSEAT_BACKEND", "builtin"),
        ("NO_COLOR", "1"),
    ];
    let service = machine.root("service", &["sh", "-c", &line], &env)?;
    machine.until_logged(&service, "displays lit")?;
    for connector in &gpu.connectors {
        machine.until("the diagnostic screen", |machine| {
            Ok(machine.screenshot(connector)?.share(|pixel| pixel == GROUND) > 0.8)
        })?;
    }
    let told = device.inside("geom_compositor displays")?;
    ensure!(told.contains("Virtual-1") && told.contains("Virtual-2"), "{told}");
    let module = "import geom_compositor; print(geom_compositor.ConnectionType.DISCONNECT_ONCE.value)";
    let printed = device.inside(&format!("python3 -c \"{module}\""))?;
    ensure!(printed.trim() == "1", "{printed}");
    device.inside("geom_compositor stop")?;
    let ending = machine.wait(&service, Duration::from_secs(30))?;
    ensure!(ending == Some(Ending::Exited(0)), "{ending:?}");

    // What a person has written is theirs: through an installation over it, and a purge.
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

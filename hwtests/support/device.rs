//! A device that boots with Debian's systemd, with the files of `make install`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{ensure, Context, Result};
use geom_ipc::Status;
use geom_lab::{BootOptions, Machine, SystemdOptions};

use super::harness::{built_program, programs, unique, EXIT_TIMEOUT};
use super::RED;

pub const SERVICE: &str = "geom-compositor.service";
/// The folder of the sockets of the service's user, and its control socket. The user's number is
/// set here: which ones are free depends on the packages of this machine.
pub const RUNTIME_FOLDER: &str = "/run/user/950";
pub const CONTROL: &str = "/run/user/950/geom-compositor.sock";
const SERVICE_USER: &str = "u geom 950 \"Geometry OS displays\" /var/lib/geom-compositor /usr/sbin/nologin\n";
/// The user id of the person who logs in.
pub const PERSON: u32 = 1234;

/// Runs tools/install.sh with the programs that this test was built with; its output.
pub fn install(action: &str, root: &Path) -> Result<String> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let built = programs();
    let output = Command::new(here.join("tools/install.sh"))
        .arg(action)
        .env("DESTDIR", root)
        .env("FROM", &built)
        .env("LIBRARY", &built)
        .env_remove("PREFIX")
        .output()?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(output.status.success(), "{action}: {text}");
    Ok(text)
}

/// A line of shell that runs the CLI on a control socket.
pub fn command(socket: &str, command: &str) -> String {
    format!("GEOM_COMPOSITOR_SOCKET={socket} /usr/local/bin/geom_compositor {command}")
}

/// A booted device of three monitors.
pub struct Device {
    pub machine: Machine,
}

impl Device {
    /// Boots with these units enabled. `files` are laid over the installed ones; their paths have
    /// no leading `/`.
    pub fn boot(enabled: &[&str], files: &[(&str, &str)]) -> Result<Self> {
        Self::boot_with_arguments(&[], enabled, files)
    }

    /// As [`Self::boot`], with more arguments of the kernel's command line.
    pub fn boot_with_arguments(arguments: &[&str], enabled: &[&str], files: &[(&str, &str)]) -> Result<Self> {
        let root = tempfile::tempdir()?;
        install("install", root.path())?;
        let destination = |to: &str| -> Result<PathBuf> {
            let to = root.path().join(to);
            std::fs::create_dir_all(to.parent().context("a folder")?)?;
            Ok(to)
        };
        for program in ["geom-lab-client", "geom-lab-session"] {
            let from = built_program(program)?;
            std::fs::copy(&from, destination(&format!("usr/local/bin/{program}"))?)
                .with_context(|| from.display().to_string())?;
        }
        let person = format!("u person {PERSON} - /tmp/person /bin/sh\n");
        let kiosk = "COMMAND='/usr/local/bin/geom-lab-client --fullscreen Virtual-2 --app-id kiosk'\n";
        let always = [
            ("etc/default/geom-kiosk-red", kiosk),
            ("usr/local/lib/sysusers.d/person.conf", person.as_str()),
            // Before the installed file, whose line for the same user is ignored then.
            ("usr/local/lib/sysusers.d/00-geom.conf", SERVICE_USER),
        ];
        for (path, text) in always.iter().chain(files) {
            std::fs::write(destination(path)?, text)?;
        }
        let enabled_units = enabled.iter().map(|unit| (*unit).to_owned()).collect();
        let kernel_args = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let systemd =
            SystemdOptions { root: root.path().to_owned(), enabled_units, monitors: 3, kernel_args };
        let machine = Machine::boot(&BootOptions { systemd: Some(systemd), ..BootOptions::default() })?;
        Ok(Self { machine })
    }

    /// Runs a program as root; its output, whatever its exit status.
    pub fn run(&self, argv: &[&str]) -> Result<String> {
        let program = self.machine.spawn_as_root(&unique("run"), argv, &[])?;
        self.machine.wait(&program, EXIT_TIMEOUT)?;
        Ok(std::fs::read_to_string(&program.log)?)
    }

    /// Runs the CLI as root on a control socket.
    pub fn control(&self, socket: &str, arguments: &str) -> Result<String> {
        self.run(&["sh", "-c", &command(socket, arguments)])
    }

    /// The status of the service at a control socket.
    pub fn status_at(&self, socket: &str) -> Result<Status> {
        let text = self.control(socket, "status --json")?;
        serde_json::from_str(&text).context(text)
    }

    /// The status of the system's service.
    pub fn status(&self) -> Result<Status> {
        self.status_at(CONTROL)
    }

    /// Waits until the service at a control socket has this many enabled displays; its status.
    pub fn wait_for_enabled_displays(&self, socket: &str, count: usize) -> Result<Status> {
        let mut found = None;
        self.machine.wait_until(&format!("{count} enabled displays"), |_| {
            found = Some(self.status_at(socket)?);
            Ok(found.as_ref().is_some_and(|status| status.enabled_displays == count))
        })?;
        found.context("a status")
    }

    /// Waits until systemd has started the service.
    pub fn wait_until_active(&self) -> Result<()> {
        let active =
            self.machine.wait_until("the active service", |_| Ok(self.property("ActiveState")? == "active"));
        if active.is_err() {
            println!("{}", self.run(&["journalctl", "-b", "--no-pager", "-n", "80"])?);
        }
        active
    }

    /// Waits until the kiosk's program is shown on the second display.
    pub fn wait_until_kiosk_shown(&self) -> Result<()> {
        self.machine.wait_until("the kiosk's program", |machine| {
            Ok(machine.screenshot("Virtual-2")?.fraction(|pixel| pixel == RED) > 0.97)
        })
    }

    /// A property of the service's unit (systemctl(1), `show`).
    pub fn property(&self, name: &str) -> Result<String> {
        Ok(self.run(&["systemctl", "show", "--value", "-p", name, SERVICE])?.trim().to_owned())
    }
}

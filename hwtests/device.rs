//! A device that boots by Debian's systemd, with what `make install` lays out.

use std::path::PathBuf;

use anyhow::{Context, Result};
use geom_lab::{BootOptions, Machine, SystemdOptions};

use crate::install::install;
use crate::world::{lab_program, RED};

pub const SERVICE: &str = "geom-compositor.service";
pub const CONTROL: &str = "/run/user/995/geom-compositor.sock";

/// The number of the one who logs in.
pub const PERSON: u32 = 1234;

/// A line of shell that commands the service at a control socket.
pub fn command(socket: &str, command: &str) -> String {
    format!("GEOM_COMPOSITOR_SOCKET={socket} /usr/local/bin/geom_compositor {command}")
}

/// A booted machine of three monitors with the service and a kiosk program enabled.
pub struct Device {
    pub machine: Machine,
    asked: std::cell::Cell<u32>,
}

impl Device {
    /// With these units enabled and these files, by their paths without the first `/`, beside what is installed.
    pub fn boot(enabled: &[&str], files: &[(&str, &str)]) -> Result<Self> {
        Self::boot_by(&[], enabled, files)
    }

    /// With more words of the kernel's command line as well.
    pub fn boot_by(words: &[&str], enabled: &[&str], files: &[(&str, &str)]) -> Result<Self> {
        let root = tempfile::tempdir()?;
        install("install", root.path())?;
        let place = |to: &str| -> Result<PathBuf> {
            let to = root.path().join(to);
            std::fs::create_dir_all(to.parent().context("a folder")?)?;
            Ok(to)
        };
        for program in ["geom-lab-client", "geom-lab-session"] {
            let from = lab_program(program)?;
            std::fs::copy(&from, place(&format!("usr/local/bin/{program}"))?)
                .with_context(|| from.display().to_string())?;
        }
        // Somebody to log in.
        let person = format!("u person {PERSON} - /tmp/person /bin/sh\n");
        let kiosk = "COMMAND='/usr/local/bin/geom-lab-client --fullscreen Virtual-2 --app-id kiosk'\n";
        let always = [
            ("etc/default/geom-kiosk-red", kiosk),
            ("usr/local/lib/sysusers.d/person.conf", person.as_str()),
        ];
        for (path, text) in always.iter().chain(files) {
            std::fs::write(place(path)?, text)?;
        }
        let enabled = enabled.iter().map(|unit| (*unit).to_owned()).collect();
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        let systemd = SystemdOptions { root: root.path().to_owned(), enabled, monitors: 3, words };
        let machine = Machine::boot(&BootOptions { systemd: Some(systemd), ..BootOptions::default() })?;
        Ok(Self { machine, asked: std::cell::Cell::new(0) })
    }

    /// Runs a program as root; what it said.
    pub fn run(&self, argv: &[&str]) -> Result<String> {
        self.asked.set(self.asked.get() + 1);
        let log = format!("run-{}", self.asked.get());
        let program = self.machine.root(&log, argv, &[])?;
        self.machine.wait(&program, std::time::Duration::from_secs(30))?;
        Ok(std::fs::read_to_string(&program.log)?)
    }

    /// What the service at a control socket answers.
    pub fn ask(&self, socket: &str, asked: &str) -> Result<String> {
        self.run(&["sh", "-c", &command(socket, asked)])
    }

    pub fn until_active(&self) -> Result<()> {
        let active = self.machine.until("the service", |_| Ok(self.property("ActiveState")? == "active"));
        if active.is_err() {
            println!("{}", self.run(&["journalctl", "-b", "--no-pager", "-n", "80"])?);
        }
        active
    }

    pub fn until_red(&self) -> Result<()> {
        self.machine.until("the kiosk's program", |machine| {
            Ok(machine.screenshot("Virtual-2")?.share(|pixel| pixel == RED) > 0.97)
        })
    }

    pub fn property(&self, name: &str) -> Result<String> {
        Ok(self.run(&["systemctl", "show", "--value", "-p", name, SERVICE])?.trim().to_owned())
    }
}

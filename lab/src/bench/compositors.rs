//! The compositors that the bench compares, and how each is started.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{bail, Result};
use geom_lab::protocol::{ProgramSpec, RUNTIME_DIR};
use geom_lab::Machine;

/// A program that the bench measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Compositor {
    /// No compositor, only page flips.
    Floor,
    /// geom_compositor.
    Ours,
    /// sway.
    Sway,
    /// cage.
    Cage,
}

/// The test client in the guest.
pub const CLIENT: &str = "/run/bin/geom-lab-client";
/// The program that only flips pages.
pub const FLIP: &str = "/run/bin/geom-lab-flip";
/// geom_compositor in the guest.
pub const GEOM_COMPOSITOR: &str = "/run/bin/geom_compositor";
const SWAY_CONFIG: &str = "/tmp/sway.conf";

impl Compositor {
    /// All programs, in the order of the first round.
    pub const ALL: [Self; 4] = [Self::Floor, Self::Ours, Self::Sway, Self::Cage];

    /// Returns the name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Ours => "ours",
            Self::Sway => "sway",
            Self::Cage => "cage",
        }
    }

    /// Returns the command that starts it, with a client that it starts itself.
    pub fn spec(self, machine: &Machine, client: &str, log: &str) -> Result<ProgramSpec> {
        let argv: Vec<String> = match self {
            Self::Floor => bail!("the floor has no client"),
            Self::Ours => [GEOM_COMPOSITOR, "--backend=kms", "--renderer=pixman", "--exec", client]
                .map(str::to_owned)
                .to_vec(),
            Self::Sway => {
                machine.write(SWAY_CONFIG, &format!("default_border none\nexec {client}\n"))?;
                ["sway", "-c", SWAY_CONFIG].map(str::to_owned).to_vec()
            }
            Self::Cage => ["cage", "--", "sh", "-c", client].map(str::to_owned).to_vec(),
        };
        let env = [
            ("WLR_RENDERER", "pixman"),
            ("WLR_BACKENDS", "drm,libinput"),
            ("WLR_LIBINPUT_NO_DEVICES", "1"),
            ("LIBSEAT_BACKEND", "seatd"),
            ("NO_COLOR", "1"),
        ];
        let env: BTreeMap<String, String> =
            env.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        Ok(ProgramSpec { argv, env, root: false, log: log.into(), tty: None })
    }

    /// Returns the same command under a supervisor that restarts it at once after a crash: our
    /// guard, and for the peers a shell loop.
    pub fn guarded(self, machine: &Machine, client: &str, log: &str) -> Result<ProgramSpec> {
        let mut spec = self.spec(machine, client, log)?;
        match self {
            Self::Ours => spec.argv.push("--guard=always".to_owned()),
            _ => {
                let shell = ["sh", "-c", r#"while :; do "$@"; done"#, "again"].map(str::to_owned);
                spec.argv.splice(0..0, shell);
            }
        }
        Ok(spec)
    }

    /// Installs the programs in a machine.
    pub fn install(machine: &Machine, compositor: &Path) -> Result<()> {
        let own = std::env::current_exe()?;
        machine.install(compositor, GEOM_COMPOSITOR)?;
        machine.install(&own.with_file_name("geom-lab-flip"), FLIP)?;
        machine.install(&own.with_file_name("geom-lab-client"), CLIENT)
    }

    /// Waits for the compositor's Wayland socket and returns its name.
    pub fn socket(machine: &Machine) -> Result<String> {
        let mut found = String::new();
        machine.wait_until("a Wayland socket", |machine| {
            let names = machine.read_dir(RUNTIME_DIR)?;
            let socket =
                names.into_iter().find(|name| name.starts_with("wayland-") && !name.ends_with(".lock"));
            found = socket.unwrap_or_default();
            Ok(!found.is_empty())
        })?;
        Ok(found)
    }
}

//! How each compositor is started.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{bail, Result};
use geom_lab::protocol::{ProgramSpec, RUNTIME_DIR};
use geom_lab::Machine;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Contestant {
    /// No compositor: page flips alone.
    Floor,
    Ours,
    Sway,
    Cage,
}

pub const CLIENT: &str = "/run/bin/geom-lab-client";
pub const FLIP: &str = "/run/bin/geom-lab-flip";
pub const OURS: &str = "/run/bin/geom_compositor";
const SWAY_CONFIG: &str = "/tmp/sway.conf";

impl Contestant {
    pub const ALL: [Self; 4] = [Self::Floor, Self::Ours, Self::Sway, Self::Cage];

    pub fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Ours => "ours",
            Self::Sway => "sway",
            Self::Cage => "cage",
        }
    }

    /// The program, with a client that it starts itself.
    pub fn spec(self, machine: &Machine, client: &str, log: &str) -> Result<ProgramSpec> {
        let argv: Vec<String> = match self {
            Self::Floor => bail!("the floor shows no client"),
            Self::Ours => {
                [OURS, "--backend=kms", "--renderer=pixman", "--exec", client].map(str::to_owned).to_vec()
            }
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

    /// The same with somebody who starts it again at once when it crashes: our guard, and for the peers a shell that does nothing else.
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

    pub fn install(machine: &Machine, compositor: &Path) -> Result<()> {
        let beside = std::env::current_exe()?;
        machine.install(compositor, OURS)?;
        machine.install(&beside.with_file_name("geom-lab-flip"), FLIP)?;
        machine.install(&beside.with_file_name("geom-lab-client"), CLIENT)
    }

    /// The socket that the compositor made.
    pub fn socket(machine: &Machine) -> Result<String> {
        let mut found = String::new();
        machine.until("a Wayland socket", |machine| {
            let names = machine.list(RUNTIME_DIR)?;
            let socket =
                names.into_iter().find(|name| name.starts_with("wayland-") && !name.ends_with(".lock"));
            found = socket.unwrap_or_default();
            Ok(!found.is_empty())
        })?;
        Ok(found)
    }
}

//! The system's configuration and users' profiles. Each mistake in a file is reported, and the rest
//! of the file applies; files are read again when they change.

mod clients;
mod connectors;
mod cursor;
mod displays;
mod input;
pub mod open;
mod power;
pub mod profile;
mod reader;
mod shortcuts;
mod system;
mod system_keyboard;
pub mod watch;

pub use clients::{ClientsConfig, CpuPercent, Limits, ObjectLimits, UnresponsivePolicy};
pub use cursor::{Cursor, CursorVisible};
pub use displays::color_space;
pub use geom_ipc::ConnectType;
pub use input::{
    ClickMethod, DeviceKind, DeviceTraits, Enabled, InputEntry, InputSettings, Keyboard, ScrollMethod,
    TapButtons,
};
pub use power::{Policy, PowerConfig};
pub use reader::{names, Problem};
pub use shortcuts::{Action, Chord};
pub use system::{
    parse, Config, FocusNew, HardwareColor, RendererPreference, Rule, WindowTraits, DEFAULT_PATH,
};
pub use system_keyboard::{use_system_keyboard, DEFAULT_LAYOUT};

use std::path::Path;

use self::connectors::read_edid_files;

/// Reads and parses the configuration, and the EDID files that it names. Returns the valid settings
/// over the defaults, or `None` if the file cannot be read or is not TOML.
pub fn load(path: &Path) -> (Option<Config>, Vec<Problem>) {
    match open::read_system_text(path, open::MAX_TOML_BYTES) {
        Ok(text) => {
            let (mut config, mut problems) = parse(path, &text);
            if let Some(config) = &mut config {
                problems.extend(read_edid_files(&mut config.connectors, &config.edid_files, path));
            }
            (config, problems)
        }
        Err(error) => (None, vec![Problem::of_file(path, format!("cannot be read: {error}"))]),
    }
}

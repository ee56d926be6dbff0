//! The system's configuration: parsed with every mistake reported and the rest applied, and read
//! again when the file changes.

mod clients;
mod displays;
mod power;
pub mod profile;
mod reader;
mod system;
pub mod watch;

pub use clients::LossPolicy;
pub use displays::color_space;
pub use geom_ipc::ConnectType;
pub use power::{Policy, PowerConfig};
pub use reader::Problem;
pub use system::{
    matches_pattern, parse, Config, HardwareColor, Keyboard, Pointer, RendererWish, Rule, WindowTraits,
    DEFAULT_PATH,
};

use std::path::Path;

/// Reads and parses a file. The configuration is what of it could be used; a file that can't be
/// read, or is no TOML at all, gives none.
pub fn load(path: &Path) -> (Option<Config>, Vec<Problem>) {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(path, &text),
        Err(error) => (None, vec![Problem::of_file(path, format!("cannot be read: {error}"))]),
    }
}

//! The cursor in the configuration.

use std::time::Duration;

use super::reader::{names, Reader, Section};
use super::system::set;

/// When the cursor is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum CursorVisible {
    /// From the first motion of a pointing device, until a screen is touched or `hide_after`.
    Auto,
    /// While there is a pointing device.
    Always,
    Never,
}

/// The cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    pub theme: String,
    /// Logical pixels.
    pub size: u8,
    pub visible: CursorVisible,
    /// The time without use after which [`CursorVisible::Auto`] hides it; zero: never.
    pub hide_after: Duration,
}

impl Default for Cursor {
    fn default() -> Self {
        Self { theme: "default".into(), size: 24, visible: CursorVisible::Auto, hide_after: Duration::ZERO }
    }
}

/// Reads the section over the defaults.
pub fn read(cursor: &mut Cursor, section: &mut Section<'_>, reader: &mut Reader<'_>) {
    set(&mut cursor.theme, section.string(reader, "theme"));
    set(&mut cursor.size, section.integer(reader, "size", 8..256).map(|size| size as u8));
    set(&mut cursor.visible, section.choice(reader, "visible", names::<CursorVisible>()));
    let seconds = section.number(reader, "hide_after", 0.0, 86_400.0);
    set(&mut cursor.hide_after, seconds.map(Duration::from_secs_f64));
}

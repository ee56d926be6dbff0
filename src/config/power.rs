//! `[power]`: idle blanking, the lid and the power button.

use std::time::Duration;

use geom_display::pattern::matches_pattern;

use super::reader::{names, Reader, Section};
use super::system::set;

/// What the lid or the power button does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Policy {
    /// What logind does by itself (logind.conf(5), HandleLidSwitch= and HandlePowerKey=).
    System,
    Nothing,
    /// Disables the built-in displays while the lid is closed.
    Disable,
    /// Blanks all displays until the next input.
    Blank,
    Suspend,
    PowerOff,
}

/// The whole section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PowerConfig {
    /// Time without input before displays are blanked; `None`: never.
    pub blank_after: Option<Duration>,
    pub lid: Policy,
    /// Connectors of the displays that a closed lid covers; `*` matches any text.
    pub lid_displays: Vec<String>,
    pub power_button: Policy,
}

impl Default for PowerConfig {
    fn default() -> Self {
        Self {
            blank_after: None,
            lid: Policy::System,
            // Connector types of built-in panels (drm_connector.c).
            lid_displays: ["eDP-*", "LVDS-*", "DSI-*", "DPI-*"].map(str::to_owned).to_vec(),
            power_button: Policy::System,
        }
    }
}

impl PowerConfig {
    /// Returns whether a connector is that of a built-in display, which a closed lid covers.
    pub fn is_lid_display(&self, connector: &str) -> bool {
        self.lid_displays.iter().any(|pattern| matches_pattern(pattern, connector))
    }

    /// Returns whether the compositor handles the power button.
    pub fn takes_power_button(&self) -> bool {
        self.power_button != Policy::System
    }
}

/// A week.
const MAX_BLANK_AFTER_SECONDS: f64 = 604_800.0;

/// Reads the section over the defaults.
pub fn read(config: &mut PowerConfig, section: &mut Section<'_>, reader: &mut Reader<'_>) {
    let blank_after = section.number(reader, "blank_after", 0.0, MAX_BLANK_AFTER_SECONDS);
    let blank_after = blank_after.map(|seconds| (seconds > 0.0).then(|| Duration::from_secs_f64(seconds)));
    set(&mut config.blank_after, blank_after);
    section.rename_value(reader, "lid", "off", "disable");
    let lid = names::<Policy>().filter(|(_, policy)| *policy != Policy::Blank);
    set(&mut config.lid, section.choice(reader, "lid", lid));
    let displays = section.value(reader, "lid_displays", "a list of connectors, [\"eDP-*\"]", |value| {
        value.as_array()?.iter().map(|name| name.as_str().map(str::to_owned)).collect()
    });
    set(&mut config.lid_displays, displays);
    let button = names::<Policy>().filter(|(_, policy)| *policy != Policy::Disable);
    set(&mut config.power_button, section.choice(reader, "power_button", button));
}

//! `[power]`: the lid, the power button, and what happens when nobody is there.

use std::time::Duration;

use super::reader::{Reader, Section};
use super::system::set;

/// What a lid or a button does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// What logind does of itself (logind.conf(5), HandleLidSwitch= and HandlePowerKey=).
    System,
    Nothing,
    /// Displays go dark: for a lid the built-in ones.
    Dark,
    Suspend,
    PowerOff,
}

impl Policy {
    const LID: [(&'static str, Self); 5] = [
        ("system", Self::System),
        ("nothing", Self::Nothing),
        ("off", Self::Dark),
        ("suspend", Self::Suspend),
        ("power-off", Self::PowerOff),
    ];
    const BUTTON: [(&'static str, Self); 5] = [
        ("system", Self::System),
        ("nothing", Self::Nothing),
        ("blank", Self::Dark),
        ("suspend", Self::Suspend),
        ("power-off", Self::PowerOff),
    ];
}

/// The whole section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PowerConfig {
    /// Without input for so long displays go dark; never without.
    pub blank_after: Option<Duration>,
    pub lid: Policy,
    /// Connectors of the displays that a closed lid hides; `*` stands for any text.
    pub lid_displays: Vec<String>,
    pub power_button: Policy,
}

impl Default for PowerConfig {
    fn default() -> Self {
        Self {
            blank_after: None,
            lid: Policy::System,
            // Panels that are a part of the machine, by their types' names (drm_connector.c).
            lid_displays: ["eDP-*", "LVDS-*", "DSI-*", "DPI-*"].map(str::to_owned).to_vec(),
            power_button: Policy::System,
        }
    }
}

/// A week.
const LONGEST: f64 = 604_800.0;

pub fn read(config: &mut PowerConfig, section: &mut Section<'_>, reader: &mut Reader<'_>) {
    let blank_after = section.number(reader, "blank_after", 0.0, LONGEST);
    let blank_after = blank_after.map(|seconds| (seconds > 0.0).then(|| Duration::from_secs_f64(seconds)));
    set(&mut config.blank_after, blank_after);
    set(&mut config.lid, section.choice(reader, "lid", &Policy::LID));
    let displays = section.value(reader, "lid_displays", "a list of connectors, [\"eDP-*\"]", |value| {
        value.as_array()?.iter().map(|name| name.as_str().map(str::to_owned)).collect()
    });
    set(&mut config.lid_displays, displays);
    set(&mut config.power_button, section.choice(reader, "power_button", &Policy::BUTTON));
}

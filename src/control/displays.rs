//! Displays that control clients name, and the settings of `set_display`. Pure.

use std::ops::RangeInclusive;

use geom_color::adjustments::AdjustmentConfig;
use geom_display::output_config::{OutputConfig, Position, Transform};
use geom_display::signal_format::{ContentType, RgbRange, Scaling, SignalConfig, Vrr};
use geom_ipc::{DisplayChange, Error};

use super::command::{bad_value, not_found, DisplaySettings};
use crate::config::{color_space, names};
use crate::output::outputs::Outputs;
use crate::output::requests::OutputTransaction;

/// Decodes a change. Settings that are left out are `None`.
///
/// # Errors
/// Which value is not allowed, and which ones are.
pub fn decode(change: DisplayChange) -> Result<OutputConfig, Error> {
    let mode = match change.mode.as_deref() {
        None | Some("preferred") => None,
        Some(text) => {
            let mode = text.parse();
            Some(mode.map_err(|error| bad_value(format!("mode: {error}; or preferred")))?)
        }
    };
    let position = match change.position {
        Some((x, y)) => Some(position(x, y)?),
        None => change.relative_position.as_deref().map(str::parse).transpose().map_err(bad_value)?,
    };
    let space = change.color_space.map(|text| color_space(&text)).transpose().map_err(bad_value)?;
    let (color_space, icc) = space.map_or((None, None), |(space, icc)| (Some(space), icc));
    Ok(OutputConfig {
        mode,
        position,
        mirror: change.mirror,
        scale: within("scale", change.scale, 0.25..=8.0)?,
        transform: choice::<Transform>("transform", change.transform)?,
        enabled: change.enabled,
        signal: SignalConfig {
            color_space,
            bit_depth: within("bit_depth", change.bit_depth, 6..=16)?,
            rgb_range: choice::<RgbRange>("rgb_range", change.rgb_range)?,
            content_type: choice::<ContentType>("content_type", change.content_type)?,
            scaling: choice::<Scaling>("scaling", change.scaling)?,
            vrr: change.vrr.map(|vrr| match vrr {
                geom_ipc::Vrr::Always(on) => on.into(),
                geom_ipc::Vrr::When(geom_ipc::VrrCondition::Fullscreen) => Vrr::Fullscreen,
            }),
        },
        icc,
        adjustments: AdjustmentConfig {
            white_point: within("white_point", change.white_point, 1000..=10_000)?,
            brightness: within("brightness", change.brightness, 0.1..=1.0)?,
            night_light: change.night_light,
        },
    })
}

fn position(x: i32, y: i32) -> Result<Position, Error> {
    let range = i32::from(i16::MIN)..=i32::from(i16::MAX);
    if range.contains(&x) && range.contains(&y) {
        return Ok(Position::At(x, y));
    }
    Err(bad_value(format!("position {x},{y} is not allowed; both are from -32768 to 32767")))
}

/// Returns the one display that a name means. `matching` are the connectors that the name matches.
///
/// # Errors
/// If there is no such display, or there are several.
pub fn the_display(name: &str, mut matching: Vec<String>, outputs: &Outputs) -> Result<String, Error> {
    matching.retain(|name| outputs.named(name).is_some());
    match (matching.pop(), matching.is_empty()) {
        (Some(one), true) => Ok(one),
        (Some(one), false) => {
            matching.push(one);
            Err(bad_value(format!("{name} matches {}; name one of them", matching.join(", "))))
        }
        (None, _) => {
            let known = outputs.iter().map(|output| match &output.state().monitor.identity {
                Some(monitor) => format!("{} ({monitor})", output.name),
                None => output.name.clone(),
            });
            let known: Vec<String> = known.collect();
            Err(not_found(format!("there is no display {name}; there are: {}", known.join(", "))))
        }
    }
}

/// Returns the transaction of `set_display` for a display. `resolve` returns the one display that a
/// name in the settings means.
///
/// # Errors
/// If a display in the settings is not known, or the monitor does not offer the mode.
pub fn transaction(
    display: String,
    settings: DisplaySettings,
    outputs: &Outputs,
    resolve: impl Fn(&str) -> Result<String, Error>,
) -> Result<OutputTransaction, Error> {
    let DisplaySettings { mut config, reset_mode, confirm_within } = settings;
    if let Some(Position::NextTo(_, other)) = &mut config.position {
        *other = resolve(other)?;
    }
    // An empty name ends mirroring.
    if let Some(other) = config.mirror.as_mut().filter(|other| !other.is_empty()) {
        *other = resolve(other)?;
    }
    if let Some(mode) = config.mode.filter(|mode| mode.modeline.is_none()) {
        let offered =
            outputs.named(&display).map(|output| output.state().modes.as_slice()).unwrap_or_default();
        if !offered.iter().any(|known| mode.matches(known)) {
            let offered: Vec<String> = offered.iter().map(ToString::to_string).collect();
            let offered = offered.join(", ");
            return Err(bad_value(format!("{display} has no mode {mode}; it offers {offered}")));
        }
    }
    Ok(OutputTransaction {
        reset_modes: reset_mode.then(|| display.clone()).into_iter().collect(),
        changes: [(display, config)].into(),
        confirm_within,
        ..OutputTransaction::default()
    })
}

/// Checks the range of a number.
fn within<T>(what: &str, value: Option<T>, range: RangeInclusive<T>) -> Result<Option<T>, Error>
where
    T: PartialOrd + std::fmt::Display,
{
    match value {
        Some(value) if !range.contains(&value) => {
            let (first, last) = (range.start(), range.end());
            Err(bad_value(format!("{what} {value} is not allowed; write a number from {first} to {last}")))
        }
        value => Ok(value),
    }
}

/// Finds a value by its name.
fn choice<T>(what: &str, text: Option<String>) -> Result<Option<T>, Error>
where
    T: strum::VariantArray + Copy + Into<&'static str> + 'static,
{
    let Some(text) = text else { return Ok(None) };
    let known = names::<T>().find(|(name, _)| *name == text).map(|(_, value)| value);
    let list = names::<T>().map(|(name, _)| name).collect::<Vec<_>>().join(", ");
    let wrong = || bad_value(format!("{what} {text:?} is not allowed; write one of {list}"));
    known.map(Some).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use geom_ipc::ErrorKind;

    use super::*;

    /// Decodes the JSON of a change.
    fn decoded(json: &str) -> Result<OutputConfig, Error> {
        decode(serde_json::from_str(json).expect("a change"))
    }

    #[test]
    fn settings_are_decoded() {
        let config = decoded(
            r#"{"mode": "800x600@60", "scale": 2, "transform": "flipped-90", "position": [-5, 7],
                "color_space": "bt2020-pq", "bit_depth": 10, "rgb_range": "full", "vrr": "fullscreen",
                "white_point": 6500, "brightness": 0.5, "enabled": true}"#,
        );
        let config = config.expect("valid");
        assert!(config.mode.is_some());
        assert_eq!((config.scale, config.transform), (Some(2.0), Some(Transform::Flipped90)));
        assert_eq!(config.position, Some(Position::At(-5, 7)));
        assert_eq!((config.signal.bit_depth, config.signal.vrr), (Some(10), Some(Vrr::Fullscreen)));
        assert_eq!((config.signal.rgb_range, config.enabled), (Some(RgbRange::Full), Some(true)));
        assert_eq!(config.adjustments.brightness, Some(0.5));
        assert_eq!(decoded("{}"), Ok(OutputConfig::default()));
    }

    #[test]
    fn relative_position_is_used_without_a_position() {
        let next_to = decoded(r#"{"relative_position": "left-of DP-2"}"#).expect("valid");
        assert_eq!(next_to.position.map(|position| position.to_string()), Some("left-of DP-2".into()));
        let at = decoded(r#"{"relative_position": "left-of DP-2", "position": [1, 2]}"#);
        assert_eq!(at.expect("valid").position, Some(Position::At(1, 2)));
    }

    #[test]
    fn icc_profile_is_a_color_space() {
        let config = decoded(r#"{"color_space": "/etc/monitor.icc"}"#).expect("valid");
        assert_eq!(config.icc, Some("/etc/monitor.icc".into()));
    }

    #[test]
    fn errors_name_the_value_and_what_is_allowed() {
        for (json, words) in [
            (r#"{"mode": "large"}"#, ["mode", "preferred"]),
            (r#"{"scale": 99}"#, ["scale 99", "0.25 to 8"]),
            (r#"{"scale": 0.1}"#, ["scale 0.1", "0.25 to 8"]),
            (r#"{"position": [40000, 0]}"#, ["40000,0", "-32768"]),
            (r#"{"relative_position": "near DP-2"}"#, ["near DP-2", "right-of"]),
            (r#"{"transform": "45"}"#, ["transform \"45\"", "flipped-270"]),
            (r#"{"white_point": 999}"#, ["white_point 999", "1000 to 10000"]),
            (r#"{"brightness": 1.5}"#, ["brightness 1.5", "0.1 to 1"]),
            (r#"{"bit_depth": 5}"#, ["bit_depth 5", "6 to 16"]),
            (r#"{"color_space": "adobe"}"#, ["adobe", "srgb"]),
            (r#"{"rgb_range": "most"}"#, ["rgb_range", "limited"]),
            (r#"{"content_type": "text"}"#, ["content_type", "graphics"]),
            (r#"{"scaling": "fit"}"#, ["scaling", "aspect"]),
        ] {
            let error = decoded(json).expect_err(json);
            assert_eq!(error.kind, ErrorKind::BadValue, "{json}");
            let has_all = words.iter().all(|word| error.message.contains(word));
            assert!(has_all, "{json}: {}", error.message);
        }
    }

    fn outputs() -> Outputs {
        let mut outputs = Outputs::default();
        for name in ["DP-1", "DP-2"] {
            outputs.entry(name);
        }
        outputs
    }

    #[test]
    fn name_means_one_display() {
        let outputs = outputs();
        let named = |matching: &[&str]| {
            the_display("Dell", matching.iter().map(|name| (*name).to_owned()).collect(), &outputs)
        };
        assert_eq!(named(&["DP-2", "HDMI-A-1"]), Ok("DP-2".to_owned()), "the other is not known");
        let several = named(&["DP-1", "DP-2"]).expect_err("no display");
        assert_eq!(several.kind, ErrorKind::BadValue);
        assert!(several.message.contains("DP-1, DP-2"), "{several:?}");
        let none = named(&[]).expect_err("no display");
        assert_eq!(none.kind, ErrorKind::NotFound);
        assert!(none.message.contains("DP-1, DP-2"), "{none:?}");
    }

    #[test]
    fn settings_name_known_displays_and_offered_modes() {
        let outputs = outputs();
        let settings = |json| {
            let config = decoded(json).expect("settings");
            DisplaySettings { config, reset_mode: true, confirm_within: None }
        };
        let change = |json| {
            let resolve = |name: &str| match name {
                "right" => Ok("DP-2".to_owned()),
                name => Err(not_found(name.to_owned())),
            };
            transaction("DP-1".to_owned(), settings(json), &outputs, resolve)
        };
        let changed = change(r#"{"mirror": "right"}"#).expect("a transaction");
        assert_eq!(changed.changes["DP-1"].mirror.as_deref(), Some("DP-2"));
        assert_eq!(changed.reset_modes, ["DP-1"]);
        let changed = change(r#"{"mirror": ""}"#).expect("a transaction");
        assert_eq!(changed.changes["DP-1"].mirror.as_deref(), Some(""));
        assert!(change(r#"{"mirror": "left"}"#).is_err());
        assert!(change(r#"{"relative_position": "left-of left"}"#).is_err());
        let error = change(r#"{"mode": "800x600"}"#).expect_err("not offered");
        assert_eq!(error.kind, ErrorKind::BadValue);
    }
}

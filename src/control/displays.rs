//! Changes of displays that control clients ask for.

use std::collections::BTreeMap;
use std::time::Duration;

use geom_ipc::{Response, DisplayChange, Error, ErrorKind};
use geom_display::signal_format::{ContentType, SignalConfig, RgbRange, Scaling, Vrr};
use geom_display::output_config::{Position, Transform, OutputConfig};
use geom_color::adjustments::AdjustmentConfig;

use super::requests::{bad_value, not_found, Outcome};
use crate::config::color_space;
use crate::output::requests::OutputTransaction;
use crate::compositor::State;

/// Reads what is wished of a display; what is left out is none.
fn wish(change: DisplayChange) -> Result<OutputConfig, Error> {
    let mode = match change.mode.as_deref() {
        None | Some("preferred") => None,
        Some(text) => Some(text.parse().map_err(|why| bad_value(format!("mode: {why}; or preferred")))?),
    };
    if let Some(scale) = change.scale.filter(|scale| !(0.25..=8.0).contains(scale)) {
        return Err(bad_value(format!("scale {scale} is not allowed; write a number from 0.25 to 8")));
    }
    if let Some((x, y)) = change.position.filter(|(x, y)| {
        let bounds = i32::from(i16::MIN)..=i32::from(i16::MAX);
        !bounds.contains(x) || !bounds.contains(y)
    }) {
        return Err(bad_value(format!("position {x},{y} is not allowed; both are from -32768 to 32767")));
    }
    let relative = change.relative_position.as_deref().map(str::parse).transpose().map_err(bad_value)?;
    if let Some(white) = change.white_point.filter(|white| !(1000..=10_000).contains(white)) {
        return Err(bad_value(format!(
            "white_point {white} is not allowed; write a number from 1000 to 10000"
        )));
    }
    if let Some(part) = change.brightness.filter(|part| !(0.1..=1.0).contains(part)) {
        return Err(bad_value(format!("brightness {part} is not allowed; write a number from 0.1 to 1")));
    }
    let space = change.color_space.map(|text| color_space(&text)).transpose().map_err(bad_value)?;
    let (color_space, icc) = space.map_or((None, None), |(space, icc)| (Some(space), icc));
    if let Some(depth) = change.bit_depth.filter(|depth| !(6..=16).contains(depth)) {
        return Err(bad_value(format!("bit_depth {depth} is not allowed; write a number from 6 to 16")));
    }
    Ok(OutputConfig {
        mode,
        position: change.position.map(|(x, y)| Position::At(x, y)).or(relative),
        mirror: change.mirror,
        scale: change.scale,
        transform: choice("transform", change.transform, &Transform::NAMES)?,
        power: change.enabled,
        signal: SignalConfig {
            color_space,
            bit_depth: change.bit_depth,
            rgb_range: choice("rgb_range", change.rgb_range, &RgbRange::NAMES)?,
            content_type: choice("content_type", change.content_type, &ContentType::NAMES)?,
            scaling: choice("scaling", change.scaling, &Scaling::NAMES)?,
            vrr: change.vrr.map(|vrr| match vrr {
                geom_ipc::Vrr::Always(on) => on.into(),
                geom_ipc::Vrr::When(geom_ipc::VrrCondition::Fullscreen) => Vrr::Fullscreen,
            }),
        },
        icc,
        adjustments: AdjustmentConfig {
            white_point: change.white_point,
            brightness: change.brightness,
            night_light: change.night_light,
        },
    })
}

/// A value by its name.
fn choice<T: Copy>(what: &str, text: Option<String>, names: &[(&str, T)]) -> Result<Option<T>, Error> {
    let Some(text) = text else { return Ok(None) };
    let known = names.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
    let list = names.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let wrong = || bad_value(format!("{what} {text:?} is not allowed; write one of {list}"));
    known.map(Some).ok_or_else(wrong)
}

impl State {
    pub(super) fn set_display(
        &mut self,
        name: &str,
        change: DisplayChange,
        confirm_within: Option<u32>,
    ) -> Outcome {
        let name = self.display_named(name)?;
        if let Some(seconds) = confirm_within.filter(|seconds| !(1..=600).contains(seconds)) {
            return Err(bad_value(format!(
                "confirm_within {seconds} is not allowed; write a number from 1 to 600"
            )));
        }
        let name = name.as_str();
        let preferred = change.mode.as_deref() == Some("preferred");
        let mut wish = wish(change)?;
        let one = |name: &mut String| -> Result<(), Error> {
            *name = self.display_named(name)?;
            Ok(())
        };
        if let Some(Position::NextTo(_, other)) = &mut wish.position {
            one(other)?;
        }
        wish.mirror.iter_mut().filter(|other| !other.is_empty()).try_for_each(one)?;
        if let Some(mode) = &wish.mode {
            let offered = self.outputs.named(name).map(|output| output.modes.clone()).unwrap_or_default();
            if mode.modeline.is_none() && !offered.iter().any(|known| mode.matches(known)) {
                let offered: Vec<String> = offered.iter().map(ToString::to_string).collect();
                return Err(bad_value(format!("{name} has no mode {mode}; it offers {}", offered.join(", "))));
            }
        }
        let transaction = OutputTransaction {
            changes: BTreeMap::from([(name.to_owned(), wish)]),
            reset_modes: preferred.then(|| name.to_owned()).into_iter().collect(),
            confirm_within: confirm_within.map(|seconds| Duration::from_secs(seconds.into())),
            ..OutputTransaction::default()
        };
        self.apply_transaction(&transaction, "control").map_err(|why| Error::new(ErrorKind::Failed, why))?;
        Ok(Response::Displays(self.ipc_displays()))
    }

    /// The light of every display that a name means.
    pub(super) fn blank_displays(&mut self, name: &str, blank: bool) -> Outcome {
        let mut meant = self.displays_named(name);
        meant.retain(|name| self.outputs.named(name).is_some_and(|output| output.is_enabled()));
        if meant.is_empty() {
            return Err(not_found(format!("no display {name} is lit")));
        }
        for name in meant {
            self.blank(&name, blank).map_err(|why| Error::new(ErrorKind::Failed, why))?;
        }
        Ok(Response::Done)
    }
}

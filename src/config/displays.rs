//! The sections about displays: `[displays]`, `[aliases]`, `[night_light]`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use geom_color::adjustments::AdjustmentConfig;
use geom_color::color_space::ColorSpace;
use geom_color::night_light::NightLight;
use geom_display::output_config::{OutputConfig, Position, Transform};
use geom_display::signal_format::{ContentType, RgbRange, Scaling, SignalConfig, Vrr};

use super::reader::{names, Reader, Section};

/// Reads `[displays]`, by the names in the file.
pub(super) fn read_displays(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
) -> BTreeMap<String, OutputConfig> {
    let mut all = BTreeMap::new();
    if let Some(mut displays) = section.section(reader, "displays") {
        for (name, mut section) in displays.named_sections(reader) {
            let config = read_display(&mut section, reader);
            section.finish(reader);
            all.insert(name, config);
        }
    }
    all
}

fn read_display(section: &mut Section<'_>, reader: &mut Reader<'_>) -> OutputConfig {
    section.rename_key(reader, "power", "enabled");
    let vrr = "true, false or \"fullscreen\"";
    let space = section.parsed_by(reader, "color_space", color_space);
    let (color_space, icc) = space.map_or((None, None), |(space, icc)| (Some(space), icc));
    OutputConfig {
        mode: section.parsed_by(reader, "mode", str::parse),
        position: read_position(section, reader),
        mirror: section.string(reader, "mirror"),
        scale: section.number(reader, "scale", 0.25, 8.0),
        transform: section.choice(reader, "transform", names::<Transform>()),
        enabled: section.boolean(reader, "enabled"),
        signal: SignalConfig {
            color_space,
            bit_depth: section.integer(reader, "bit_depth", 6..17).map(|bits| bits as u8),
            rgb_range: section.choice(reader, "rgb_range", names::<RgbRange>()),
            content_type: section.choice(reader, "content_type", names::<ContentType>()),
            scaling: section.choice(reader, "scaling", names::<Scaling>()),
            vrr: section.value(reader, "vrr", vrr, |value| match value.as_str() {
                Some("fullscreen") => Some(Vrr::Fullscreen),
                _ => value.as_bool().map(Vrr::from),
            }),
        },
        icc,
        adjustments: AdjustmentConfig {
            white_point: section.integer(reader, "white_point", 1000..10_001).map(|kelvin| kelvin as u16),
            brightness: section.number(reader, "brightness", 0.1, 1.0),
            night_light: section.boolean(reader, "night_light"),
        },
    }
}

/// Parses the name of a color space, or the absolute path of an ICC profile.
///
/// # Errors
/// A message with the allowed values.
pub fn color_space(text: &str) -> Result<(ColorSpace, Option<PathBuf>), String> {
    let named = names::<ColorSpace>().filter(|(_, space)| *space != ColorSpace::Icc);
    if let Some((_, space)) = named.clone().find(|(name, _)| *name == text) {
        return Ok((space, None));
    }
    let path = Path::new(text);
    if path.is_absolute() {
        return Ok((ColorSpace::Icc, Some(path.to_owned())));
    }
    let allowed: Vec<_> = named.map(|(name, _)| name).collect();
    let allowed = allowed.join(", ");
    Err(format!(
        "{text:?} is not a color space; write one of {allowed}, or the absolute path of an ICC profile"
    ))
}

/// Reads `[night_light]`.
pub(super) fn read_night_light(root: &mut Section<'_>, reader: &mut Reader<'_>) -> Option<NightLight> {
    let mut section = root.section(reader, "night_light")?;
    let from = section.parsed_by(reader, "from", str::parse);
    let to = section.parsed_by(reader, "to", str::parse);
    let white_point =
        section.integer(reader, "white_point", 1000..10_001).map_or(3400, |kelvin| kelvin as u16);
    let fade = section.integer(reader, "fade", 0..721).map_or(30, |minutes| minutes as u16);
    section.finish(reader);
    let night_light = from.zip(to).map(|(from, to)| NightLight { from, to, white_point, fade });
    if night_light.is_none() {
        reader
            .report(None, "night_light needs from and to; write from = \"21:00\" and to = \"06:30\"".into());
    }
    night_light
}

/// Reads `[aliases]`: the user's own names for displays.
pub(super) fn read_aliases(root: &mut Section<'_>, reader: &mut Reader<'_>) -> BTreeMap<String, String> {
    let Some(section) = root.section(reader, "aliases") else { return BTreeMap::new() };
    section.strings(reader)
}

/// Reads `[x, y]`, or a position relative to another display.
fn read_position(section: &mut Section<'_>, reader: &mut Reader<'_>) -> Option<Position> {
    let allowed = "[x, y], whole numbers from -32768 to 32767, or \"right-of NAME\", left-of, above or below";
    section.value(reader, "position", allowed, |value| {
        if let Some(text) = value.as_str() {
            return text.parse().ok();
        }
        let list = value.as_array()?;
        let number =
            |index: usize| list.get(index)?.as_integer().and_then(|number| i16::try_from(number).ok());
        (list.len() == 2).then_some(Position::At(number(0)?.into(), number(1)?.into()))
    })
}

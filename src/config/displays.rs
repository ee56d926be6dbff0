//! What files say of displays: `[displays]`, `[aliases]`, `[night_light]`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::reader::{Reader, Section};
use crate::display::link::{ColorSpace, ContentType, LinkWish, RgbRange, Scaling, Vrr};
use crate::display::night::NightLight;
use crate::display::plan::{Position, Transform, Wish};
use crate::display::tone::ToneWish;

/// The wishes of `[displays]`, by the names in the file.
pub(super) fn read_displays(section: &mut Section<'_>, reader: &mut Reader<'_>) -> BTreeMap<String, Wish> {
    let mut all = BTreeMap::new();
    if let Some(mut displays) = section.section(reader, "displays") {
        for (name, mut section) in displays.named_sections(reader) {
            let wish = read_display(&mut section, reader);
            section.finish(reader);
            all.insert(name, wish);
        }
    }
    all
}

fn read_display(section: &mut Section<'_>, reader: &mut Reader<'_>) -> Wish {
    let vrr = "true, false or \"fullscreen\"";
    let space = section.parsed_by(reader, "color_space", color_space);
    let (color_space, icc) = space.map_or((None, None), |(space, icc)| (Some(space), icc));
    Wish {
        mode: section.parsed_by(reader, "mode", str::parse),
        position: read_position(section, reader),
        mirror: section.string(reader, "mirror"),
        scale: section.number(reader, "scale", 0.25, 8.0),
        transform: section.choice(reader, "transform", &Transform::NAMES),
        power: section.boolean(reader, "power"),
        link: LinkWish {
            color_space,
            bit_depth: section.integer(reader, "bit_depth", 6..17).map(|bits| bits as u8),
            rgb_range: section.choice(reader, "rgb_range", &RgbRange::NAMES),
            content_type: section.choice(reader, "content_type", &ContentType::NAMES),
            scaling: section.choice(reader, "scaling", &Scaling::NAMES),
            vrr: section.value(reader, "vrr", vrr, |value| match value.as_str() {
                Some("fullscreen") => Some(Vrr::Fullscreen),
                _ => value.as_bool().map(Vrr::from),
            }),
        },
        icc,
        tone: ToneWish {
            white: section.integer(reader, "white_point", 1000..10_001).map(|kelvin| kelvin as u16),
            brightness: section.number(reader, "brightness", 0.1, 1.0),
            night_light: section.boolean(reader, "night_light"),
        },
    }
}

/// A colour space by name, or by an ICC profile's absolute path.
pub fn color_space(text: &str) -> Result<(ColorSpace, Option<PathBuf>), String> {
    if let Some((_, space)) = ColorSpace::NAMES.iter().find(|(name, _)| *name == text) {
        return Ok((*space, None));
    }
    let path = Path::new(text);
    if path.is_absolute() {
        return Ok((ColorSpace::Icc, Some(path.to_owned())));
    }
    let names = ColorSpace::NAMES.map(|(name, _)| name).join(", ");
    Err(format!("{text:?} is no colour space; write one of {names}, or the absolute path of an ICC profile"))
}

/// `[night_light]`.
pub(super) fn read_night_light(root: &mut Section<'_>, reader: &mut Reader<'_>) -> Option<NightLight> {
    let mut section = root.section(reader, "night_light")?;
    let from = section.parsed_by(reader, "from", str::parse);
    let to = section.parsed_by(reader, "to", str::parse);
    let white = section.integer(reader, "white_point", 1000..10_001).map_or(3400, |kelvin| kelvin as u16);
    let fade = section.integer(reader, "fade", 0..721).map_or(30, |minutes| minutes as u16);
    section.finish(reader);
    let light = from.zip(to).map(|(from, to)| NightLight { from, to, white, fade });
    if light.is_none() {
        reader
            .report(None, "night_light needs from and to; write from = \"21:00\" and to = \"06:30\"".into());
    }
    light
}

/// Names of the user's own for displays.
pub(super) fn read_aliases(root: &mut Section<'_>, reader: &mut Reader<'_>) -> BTreeMap<String, String> {
    let Some(section) = root.section(reader, "aliases") else { return BTreeMap::new() };
    section.texts(reader)
}

/// `[x, y]`, or beside another display.
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

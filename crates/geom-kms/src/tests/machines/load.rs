//! Builds fake devices from files about real machines (`machines/README.md`).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use drm::buffer::{DrmFourcc, DrmModifier};
use drm::control::connector::Interface;
use drm::control::Mode as KmsMode;

use crate::fake::{mode, FakeDevice};
use crate::objects::PlaneKind;

/// Formats with their modifiers, in the order of the file.
pub type Formats = Vec<(DrmFourcc, Vec<DrmModifier>)>;

/// A machine: its device, and what its GPU renders.
pub struct Machine {
    pub title: String,
    pub fake: FakeDevice,
    /// Connected outputs, in the order of the file.
    pub outputs: Vec<String>,
    /// What the GPU renders, the best modifier first.
    pub renders: Formats,
    /// Names of modifiers.
    names: BTreeMap<u64, String>,
}

impl Machine {
    /// Returns the name of a modifier in the file.
    pub fn modifier_name(&self, modifier: Option<DrmModifier>) -> &str {
        let Some(modifier) = modifier else { return "implicit" };
        self.names.get(&u64::from(modifier)).map_or("unknown", String::as_str)
    }
}

/// Optional properties of planes: the name in the file and in the kernel.
const PLANE_PROPERTIES: [(&str, &str); 9] = [
    ("fence", "IN_FENCE_FD"),
    ("damage", "FB_DAMAGE_CLIPS"),
    ("rotation", "rotation"),
    ("alpha", "alpha"),
    ("blend", "pixel blend mode"),
    ("encoding", "COLOR_ENCODING"),
    ("range", "COLOR_RANGE"),
    ("filter", "SCALING_FILTER"),
    ("zpos", "zpos"),
];

/// As [`PLANE_PROPERTIES`], of connectors.
const CONNECTOR_PROPERTIES: [(&str, &str); 7] = [
    ("bpc", "max bpc"),
    ("colorspace", "Colorspace"),
    ("hdr", "HDR_OUTPUT_METADATA"),
    ("rgb", "Broadcast RGB"),
    ("content", "content type"),
    ("scaling", "scaling mode"),
    ("vrr", "vrr_capable"),
];

const INTERFACES: [(&str, Interface); 6] = [
    ("eDP", Interface::EmbeddedDisplayPort),
    ("DP", Interface::DisplayPort),
    ("HDMI-A", Interface::HDMIA),
    ("DVI-I", Interface::DVII),
    ("DSI", Interface::DSI),
    ("Virtual", Interface::Virtual),
];

/// Builds the machine that a file describes. Panics with the line if it is not valid.
pub fn load(text: &str) -> Machine {
    let mut loader = Loader::default();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if !line.is_empty() {
            let (keyword, rest) = line.split_once(' ').unwrap_or((line, ""));
            assert!(loader.read(keyword, rest).is_some(), "line {}: {line}", number + 1);
        }
    }
    let renders = loader.sets.remove("render").unwrap_or_default();
    let names = loader.modifiers.iter().map(|(name, code)| (*code, name.clone())).collect();
    let Loader { title, fake, outputs, .. } = loader;
    Machine { title, fake, outputs, renders, names }
}

struct Loader {
    title: String,
    fake: FakeDevice,
    outputs: Vec<String>,
    modifiers: BTreeMap<String, u64>,
    sets: BTreeMap<String, Formats>,
}

impl Default for Loader {
    fn default() -> Self {
        let modifiers = BTreeMap::from([("LINEAR".to_owned(), 0)]);
        let (title, fake, outputs) = (String::new(), FakeDevice::new(), Vec::new());
        Self { title, fake, outputs, modifiers, sets: BTreeMap::new() }
    }
}

impl Loader {
    /// Reads a line; `None` if it is not valid.
    fn read(&mut self, keyword: &str, rest: &str) -> Option<()> {
        let words: Vec<&str> = rest.split_whitespace().collect();
        match (keyword, words.as_slice()) {
            ("title", _) => rest.clone_into(&mut self.title),
            ("driver", [name]) => self.fake.set_driver(name, true),
            ("cursor", [width, height]) => {
                self.fake.set_cursor_size((width.parse().ok()?, height.parse().ok()?));
            }
            ("hidden-cursors", []) => self.fake.hide_cursor_planes(),
            ("modifier", [name, code]) => {
                let code = u64::from_str_radix(code.strip_prefix("0x")?, 16).ok()?;
                self.modifiers.insert((*name).to_owned(), code);
            }
            ("formats", [set, rest @ ..]) => self.add_formats(set, rest)?,
            ("render", rest) => self.add_formats("render", rest)?,
            ("crtcs", [count, properties @ ..]) => self.add_crtcs(count.parse().ok()?, properties)?,
            ("planes", [kind, crtcs, set, count, properties @ ..]) => {
                self.add_planes(kind, crtcs, set, count.parse().ok()?, properties)?;
            }
            ("connector", [interface, crtcs, properties @ ..]) => {
                self.add_connector(interface, crtcs, properties)?;
            }
            ("limit", [kind, values @ ..]) => self.limit(kind, values)?,
            ("monitor", [connector, modes @ ..]) => self.connect(connector, modes)?,
            _ => return None,
        }
        Some(())
    }

    fn modifiers(&self, names: &[&str]) -> Option<Vec<DrmModifier>> {
        names.iter().map(|name| self.modifiers.get(*name).copied().map(DrmModifier::from)).collect()
    }

    fn add_formats(&mut self, set: &str, words: &[&str]) -> Option<()> {
        let colon = words.iter().position(|word| *word == ":")?;
        let (modifiers, codes) = (self.modifiers(words.get(..colon)?)?, words.get(colon + 1..)?);
        for code in codes {
            let bytes: [u8; 4] = format!("{code:4}").into_bytes().try_into().ok()?;
            let format = DrmFourcc::try_from(u32::from_le_bytes(bytes)).ok()?;
            self.sets.entry(set.to_owned()).or_default().push((format, modifiers.clone()));
        }
        Some(())
    }

    fn add_crtcs(&self, count: usize, properties: &[&str]) -> Option<()> {
        for _ in 0..count {
            let crtc = self.fake.add_crtc();
            let size = |name: &str| {
                properties.iter().find_map(|property| property.strip_prefix(name)?.parse::<u64>().ok())
            };
            for (lut, size) in [("GAMMA_LUT", size("gamma=")), ("DEGAMMA_LUT", size("degamma="))] {
                let size_name = format!("{lut}_SIZE");
                match size {
                    Some(size) => self.fake.set_value(crtc, &size_name, size),
                    None => {
                        self.fake.remove_property(crtc, lut);
                        self.fake.remove_property(crtc, &size_name);
                    }
                }
            }
            for (name, property) in [("ctm", "CTM"), ("vrr", "VRR_ENABLED")] {
                if !properties.contains(&name) {
                    self.fake.remove_property(crtc, property);
                }
            }
        }
        Some(())
    }

    /// Returns the masks that `crtcs` names: one for each CRTC if it is `each`.
    fn masks(&self, crtcs: &str) -> Option<Vec<u32>> {
        let all: Range<usize> = 0..self.fake.crtcs().len();
        let bits =
            |indices: &mut dyn Iterator<Item = usize>| indices.fold(0, |mask, index| mask | 1 << index);
        match crtcs {
            "each" => Some(all.map(|index| 1 << index).collect()),
            "all" => Some(vec![bits(&mut all.into_iter())]),
            _ => match crtcs.strip_prefix("0x") {
                Some(mask) => Some(vec![u32::from_str_radix(mask, 16).ok()?]),
                None => {
                    let indices: Option<Vec<usize>> =
                        crtcs.split(',').map(|index| index.parse().ok()).collect();
                    Some(vec![bits(&mut indices?.into_iter())])
                }
            },
        }
    }

    fn add_planes(
        &self,
        kind: &str,
        crtcs: &str,
        set: &str,
        count: usize,
        properties: &[&str],
    ) -> Option<()> {
        let kind = match kind {
            "primary" => PlaneKind::Primary,
            "cursor" => PlaneKind::Cursor,
            "overlay" => PlaneKind::Overlay,
            _ => return None,
        };
        let formats = self.sets.get(set)?;
        let formats: Vec<(DrmFourcc, &[DrmModifier])> =
            formats.iter().map(|(format, modifiers)| (*format, modifiers.as_slice())).collect();
        let kept: BTreeSet<&str> =
            properties.iter().map(|property| property.split(['=', '-']).next().unwrap_or_default()).collect();
        let known = |name: &&str| {
            ["linear", "hotspot"].contains(name) || PLANE_PROPERTIES.iter().any(|(known, _)| known == name)
        };
        kept.iter().all(known).then_some(())?;
        for mask in self.masks(crtcs)?.into_iter().flat_map(|mask| std::iter::repeat_n(mask, count)) {
            let plane = self.fake.add_plane(kind, &[], &[DrmFourcc::Xrgb8888]);
            self.fake.set_possible_crtcs(plane, mask);
            self.fake.set_modifiers(plane, &formats);
            for (name, property) in PLANE_PROPERTIES {
                if !kept.contains(name) {
                    self.fake.remove_property(plane, property);
                }
            }
            if kept.contains("hotspot") {
                self.fake.add_hotspot(plane);
            }
            if kept.contains("linear") {
                self.fake.accept_unlisted_linear(plane);
            }
            if properties.contains(&"range-full") {
                self.fake.set_value(plane, "COLOR_RANGE", 1);
            }
            if let Some(zpos) = properties.iter().find_map(|property| property.strip_prefix("zpos=")) {
                let (min, max) = zpos.trim_end_matches('!').split_once('-')?;
                let range = (min.parse().ok()?, max.parse().ok()?);
                self.fake.set_range(plane, "zpos", range, zpos.ends_with('!'));
            }
        }
        Some(())
    }

    fn add_connector(&self, interface: &str, crtcs: &str, properties: &[&str]) -> Option<()> {
        let (_, interface) = INTERFACES.into_iter().find(|(name, _)| *name == interface)?;
        let mask = *self.masks(crtcs)?.first()?;
        let usable = self.fake.crtcs().into_iter().enumerate();
        let usable: Vec<u32> =
            usable.filter(|(index, _)| mask & 1 << index != 0).map(|(_, crtc)| crtc).collect();
        let connector = self.fake.add_connector(interface, &usable);
        for (name, property) in CONNECTOR_PROPERTIES {
            if !properties.contains(&name) {
                self.fake.remove_property(connector, property);
            }
        }
        Some(())
    }

    fn limit(&self, kind: &str, values: &[&str]) -> Option<()> {
        match (kind, values) {
            ("bandwidth", [rate]) => self.fake.limit_bandwidth(rate.parse().ok()?),
            ("tiled-planes", [planes]) => self.fake.limit_tiled_planes(planes.parse().ok()?),
            ("active", [crtcs]) => self.fake.limit_active_crtcs(crtcs.parse().ok()?),
            ("width", [width, modifiers @ ..]) => {
                self.fake.limit_width(&self.modifiers(modifiers)?, width.parse().ok()?);
            }
            ("mode", [crtc, width, height]) => {
                let crtc = *self.fake.crtcs().get(crtc.parse::<usize>().ok()?)?;
                self.fake.limit_mode(crtc, (width.parse().ok()?, height.parse().ok()?));
            }
            _ => return None,
        }
        Some(())
    }

    fn connect(&mut self, name: &str, modes: &[&str]) -> Option<()> {
        let modes: Option<Vec<KmsMode>> = modes.iter().map(|text| parse_mode(text)).collect();
        self.fake.connect(connector(&self.fake, name)?, &modes?);
        self.outputs.push(name.to_owned());
        Some(())
    }
}

fn parse_mode(text: &str) -> Option<KmsMode> {
    let (size, refresh) = text.split_once('@')?;
    let (width, height) = size.split_once('x')?;
    Some(mode(width.parse().ok()?, height.parse().ok()?, refresh.parse().ok()?))
}

/// Returns the id of the connector with this name.
pub fn connector(fake: &FakeDevice, name: &str) -> Option<u32> {
    let (interface, number) = name.rsplit_once('-')?;
    let (_, interface) = INTERFACES.into_iter().find(|(known, _)| *known == interface)?;
    let number: u32 = number.parse().ok()?;
    let is_it =
        |id: &u32| fake.connector_kind(*id).is_some_and(|(kind, id, _)| (kind, id) == (interface, number));
    fake.connectors().into_iter().find(is_it)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "line 2: planes primary each missing 1")]
    fn unknown_names_are_reported_with_their_line() {
        load("crtcs 1\nplanes primary each missing 1\n");
    }

    #[test]
    fn masks_may_have_bits_of_crtcs_that_do_not_exist() {
        let loader = Loader::default();
        loader.add_crtcs(2, &[]).expect("valid");
        assert_eq!(loader.masks("each"), Some(vec![1, 2]));
        assert_eq!(loader.masks("all"), Some(vec![3]));
        assert_eq!(loader.masks("0xff"), Some(vec![255]));
        assert_eq!(loader.masks("1"), Some(vec![2]));
    }
}

//! The plan: the full desired state of every display, computed from what is present and what is
//! wished. Pure: no device, no clock, no I/O.
//!
//! ```text
//!  Gpu 1: Connector, Connector ─┐
//!  Gpu 2: Connector            ─┼─> plan() ──> Display: modes to try, place, scale, transform
//!  wishes (config, -w)         ─┤              Display: off, and why
//!  places of known displays    ─┘
//! ```
//!
//! A display that was given a place keeps it while its monitor is away, so a cable that is pulled
//! moves nobody. A monitor seen for the first time is put to the right of all others; those that
//! come together are put there in connector order.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::arrange::arrange;
use super::identity::Identity;
use super::link::{self, Abilities, Link, LinkWish, Vrr};
use super::mode::{Mode, ModeWish};
use super::tone::ToneWish;

/// How a display's picture is turned, counter-clockwise, as `wl_output.transform` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Transform {
    #[default]
    Normal,
    Rotated90,
    Rotated180,
    Rotated270,
    Flipped,
    Flipped90,
    Flipped180,
    Flipped270,
}

impl Transform {
    pub const NAMES: [(&'static str, Self); 8] = [
        ("normal", Self::Normal),
        ("90", Self::Rotated90),
        ("180", Self::Rotated180),
        ("270", Self::Rotated270),
        ("flipped", Self::Flipped),
        ("flipped-90", Self::Flipped90),
        ("flipped-180", Self::Flipped180),
        ("flipped-270", Self::Flipped270),
    ];

    /// Whether width and height change places.
    pub fn swaps_axes(self) -> bool {
        matches!(self, Self::Rotated90 | Self::Rotated270 | Self::Flipped90 | Self::Flipped270)
    }
}

/// A connector as the last probe found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connector {
    /// The kernel's name, `HDMI-A-1` and so on.
    pub name: String,
    pub connected: bool,
    /// The kernel's list, in its order.
    pub modes: Vec<Mode>,
    /// Who is plugged in, where it says so.
    pub monitor: Option<Identity>,
    /// Its exact EDID, as `identity::edid_name` has it.
    pub edid: Option<String>,
    /// The way to it, the same after each start; see `identity::Seen`.
    pub port: Option<String>,
    /// What it can beside modes.
    pub abilities: Abilities,
    /// Not for pictures of ours: headsets and such.
    pub non_desktop: bool,
}

/// One Gpu's connectors, in the kernel's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    pub id: u64,
    pub connectors: Vec<Connector>,
}

/// Where a display stands beside another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    RightOf,
    LeftOf,
    Above,
    Below,
}

impl Side {
    pub const NAMES: [(&'static str, Self); 4] = [
        ("right-of", Self::RightOf),
        ("left-of", Self::LeftOf),
        ("above", Self::Above),
        ("below", Self::Below),
    ];
}

/// Where a display's top left corner is wished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Position {
    /// In the layout's logical pixels.
    At(i32, i32),
    /// Edge to edge with another display, their tops or left edges in one line.
    Beside(Side, String),
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(x, y) => write!(formatter, "{x},{y}"),
            Self::Beside(side, name) => {
                let word = Side::NAMES.iter().find(|(_, known)| known == side).map_or("", |(word, _)| word);
                write!(formatter, "{word} {name}")
            }
        }
    }
}

impl FromStr for Position {
    type Err = String;

    /// `right-of NAME` and so on, or `X,Y`.
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.trim().parse::<i16>().ok().map(i32::from);
        let point = text.split_once(',').and_then(|(x, y)| Some(Self::At(number(x)?, number(y)?)));
        let beside = || {
            let (word, name) = text.trim().split_once(char::is_whitespace)?;
            let (_, side) = Side::NAMES.iter().find(|(known, _)| *known == word)?;
            Some(Self::Beside(*side, name.trim().to_owned()))
        };
        point.or_else(beside).ok_or_else(|| {
            let words = Side::NAMES.map(|(word, _)| word).join(", ");
            format!("{text:?} is no position; write X,Y, or one of {words} and a display's name")
        })
    }
}

/// The connectors that have a monitor for our pictures, and of these the ones that could show any: others offer no mode.
pub fn desktop(present: &[Gpu]) -> (BTreeSet<String>, BTreeSet<String>) {
    let connectors = present.iter().flat_map(|gpu| &gpu.connectors);
    let monitors = connectors.filter(|connector| connector.connected && !connector.non_desktop);
    let able = |connector: &&Connector| !connector.modes.is_empty();
    let names = |connector: &Connector| connector.name.clone();
    (monitors.clone().map(names).collect(), monitors.filter(able).map(names).collect())
}

/// What is wished for one display; `None` leaves the choice to the plan.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Wish {
    pub mode: Option<ModeWish>,
    pub position: Option<Position>,
    /// The display whose picture it shows instead of one of its own; empty for none.
    pub mirror: Option<String>,
    /// Device pixels for one logical pixel.
    pub scale: Option<f64>,
    pub transform: Option<Transform>,
    pub power: Option<bool>,
    pub link: LinkWish,
    /// The profile of `ColorSpace::Icc`.
    pub icc: Option<PathBuf>,
    pub tone: ToneWish,
}

impl Wish {
    /// The same, with what `over` says instead.
    pub fn under(&self, over: &Self) -> Self {
        Self {
            mode: over.mode.or(self.mode),
            position: over.position.clone().or_else(|| self.position.clone()),
            mirror: over.mirror.clone().or_else(|| self.mirror.clone()),
            scale: over.scale.or(self.scale),
            transform: over.transform.or(self.transform),
            power: over.power.or(self.power),
            link: self.link.under(over.link),
            // A profile goes with its colour space.
            icc: if over.link.color_space.is_some() { over.icc.clone() } else { self.icc.clone() },
            tone: self.tone.under(over.tone),
        }
    }
}

/// Everything that is wished.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Wishes {
    /// By display name.
    pub displays: BTreeMap<String, Wish>,
    /// Only these are driven where there are any (`-w`); the others are switched off.
    pub only: Vec<String>,
    /// Displays that a window has for itself.
    pub fullscreen: BTreeSet<String>,
}

/// A rectangle of the layout, in logical pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub x: i32,
    pub y: i32,
    pub width: i32,
    pub height: i32,
}

impl Place {
    pub fn overlaps(&self, other: &Self) -> bool {
        self.x < other.x + other.width
            && other.x < self.x + self.width
            && self.y < other.y + other.height
            && other.y < self.y + self.height
    }
}

/// Why a connected monitor shows nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OffReason {
    #[error("its power is off in the configuration")]
    Configured,
    #[error("it is not among the displays named by --display")]
    NotNamed,
    #[error("its connector offers no mode")]
    NoModes,
    #[error("it is not a desktop monitor")]
    NonDesktop,
}

/// What a monitor should be.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    Lit {
        /// The wished mode first, then what may stand in for it, best first; never empty.
        modes: Vec<Mode>,
        link: Link,
    },
    Off(OffReason),
}

/// One connected monitor's part of the plan.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedDisplay {
    pub gpu: u64,
    pub name: String,
    pub target: Target,
    /// Its part of the layout; empty for one that is off or a mirror.
    pub place: Place,
    pub scale: f64,
    pub transform: Transform,
    /// The display whose picture it shows.
    pub mirror: Option<String>,
    /// For `ColorSpace::Icc`.
    pub icc: Option<PathBuf>,
    pub tone: ToneWish,
    /// Where its refresh is to vary while a window has it for itself: whether one has.
    pub by_window: Option<bool>,
    /// Wishes that could not be honoured, for the log and the diagnostic screen.
    pub complaints: Vec<String>,
}

/// The whole desired state.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// In the order of Gpus and their connectors.
    pub displays: Vec<PlannedDisplay>,
}

impl Plan {
    pub fn display(&self, name: &str) -> Option<&PlannedDisplay> {
        self.displays.iter().find(|display| display.name == name)
    }
}

/// The modes to try for a wish, best first.
///
/// The order is that in which a person would give things up: first the wished mode, then the same
/// size at other refresh rates, then the monitor's preferred mode, then smaller modes by size and
/// refresh. Interlaced modes come last, and none comes twice.
pub fn candidates(modes: &[Mode], wish: Option<ModeWish>) -> Vec<Mode> {
    let preferred = modes.iter().find(|mode| mode.preferred).or(modes.first());
    let wished = wish.and_then(|wish| {
        if let Some(line) = wish.modeline {
            return Some(Mode::custom(line));
        }
        let listed = modes.iter().filter(|mode| wish.is_met_by(mode));
        listed.max_by_key(|mode| (!mode.interlaced, mode.refresh)).copied()
    });
    let Some(first) = wished.or(preferred.copied()) else { return Vec::new() };
    let mut rest: Vec<Mode> = modes.iter().filter(|mode| mode.index != first.index).copied().collect();
    rest.sort_by_key(|mode| {
        let same_size = (mode.width, mode.height) == (first.width, first.height);
        // Larger than what was asked for only when nothing smaller will do.
        let larger = mode.area() > first.area();
        (
            mode.interlaced && !first.interlaced,
            !same_size,
            !(mode.preferred && preferred.is_some_and(|preferred| preferred.index == mode.index)),
            larger,
            if larger { mode.area() } else { u32::MAX - mode.area() },
            u32::MAX - mode.refresh,
        )
    });
    let mut all = vec![first];
    for mode in rest {
        let is_known = |known: &Mode| {
            (known.width, known.height, known.refresh, known.interlaced, known.modeline)
                == (mode.width, mode.height, mode.refresh, mode.interlaced, mode.modeline)
        };
        if !all.iter().any(is_known) {
            all.push(mode);
        }
    }
    all
}

/// A display's size in logical pixels.
pub fn logical_size(mode: &Mode, scale: f64, transform: Transform) -> (i32, i32) {
    let scaled = |pixels: u16| ((f64::from(pixels) / scale).round() as i32).max(1);
    let (width, height) = (scaled(mode.width), scaled(mode.height));
    if transform.swaps_axes() {
        (height, width)
    } else {
        (width, height)
    }
}

/// Computes the plan.
///
/// `known` are the places of displays that were lit before, dark ones included; each keeps its
/// place unless the configuration says otherwise or it would overlap.
pub fn plan(present: &[Gpu], wishes: &Wishes, known: &BTreeMap<String, Place>) -> Plan {
    let no_wish = Wish::default();
    let mut displays = Vec::new();
    for gpu in present {
        for connector in gpu.connectors.iter().filter(|connector| connector.connected) {
            let wish = wishes.displays.get(&connector.name).unwrap_or(&no_wish);
            let (target, complaints) = target(connector, wish, wishes);
            let scale = wish.scale.filter(|scale| scale.is_finite() && *scale > 0.0).unwrap_or(1.0);
            let transform = wish.transform.unwrap_or_default();
            let (width, height) = match &target {
                Target::Lit { modes, .. } => {
                    modes.first().map_or((0, 0), |mode| logical_size(mode, scale, transform))
                }
                Target::Off(_) => (0, 0),
            };
            displays.push(PlannedDisplay {
                gpu: gpu.id,
                name: connector.name.clone(),
                target,
                place: Place { x: 0, y: 0, width, height },
                scale,
                transform,
                mirror: None,
                icc: wish.icc.clone(),
                tone: wish.tone,
                by_window: (wish.link.vrr == Some(Vrr::Fullscreen))
                    .then(|| wishes.fullscreen.contains(&connector.name)),
                complaints,
            });
        }
    }
    mirror(&mut displays, wishes);
    arrange(&mut displays, wishes, known);
    Plan { displays }
}

/// Finds whose picture mirrors show: a lit display that is no mirror itself. They have no part of the layout.
fn mirror(displays: &mut [PlannedDisplay], wishes: &Wishes) {
    let wished = |name: &str| {
        let wish = wishes.displays.get(name)?;
        wish.mirror.as_deref().filter(|source| !source.is_empty())
    };
    let lit = |display: &&PlannedDisplay| matches!(display.target, Target::Lit { .. });
    let found: Vec<Option<Result<usize, String>>> = displays
        .iter()
        .map(|display| {
            let mut source = wished(&display.name).filter(|_| lit(&display))?;
            // A mirror's mirror shows what both show.
            for _ in 0..displays.len() {
                let Some(at) = displays.iter().position(|other| other.name == source && lit(&other)) else {
                    return Some(Err(format!("mirror can't be: {source} is not lit")));
                };
                match wished(source) {
                    Some(next) => source = next,
                    None => return Some(Ok(at)),
                }
            }
            Some(Err("mirror can't be: it would show itself".into()))
        })
        .collect();
    for (index, found) in found.into_iter().enumerate() {
        match found {
            Some(Ok(source)) => {
                let (name, scale) = (displays[source].name.clone(), displays[source].scale);
                let display = &mut displays[index];
                // The picture is made for the other's scale.
                (display.mirror, display.scale) = (Some(name), scale);
                (display.place.width, display.place.height) = (0, 0);
            }
            Some(Err(complaint)) => displays[index].complaints.push(complaint),
            None => {}
        }
    }
}

fn target(connector: &Connector, wish: &Wish, wishes: &Wishes) -> (Target, Vec<String>) {
    let only = &wishes.only;
    let off = |reason| (Target::Off(reason), Vec::new());
    if connector.non_desktop {
        return off(OffReason::NonDesktop);
    }
    if !only.is_empty() && !only.contains(&connector.name) {
        return off(OffReason::NotNamed);
    }
    // A display named on the command line is wanted now, whatever the file says.
    if wish.power == Some(false) && !only.contains(&connector.name) {
        return off(OffReason::Configured);
    }
    let modes = candidates(&connector.modes, wish.mode);
    let Some(first) = modes.first() else { return off(OffReason::NoModes) };
    let (link, mut complaints) =
        link::resolve(wish.link, &connector.abilities, wishes.fullscreen.contains(&connector.name));
    let complaint = wish
        .mode
        .filter(|wish| !wish.is_met_by(first))
        .map(|wish| format!("mode {wish} is not in the monitor's list; using {first}"));
    complaints.extend(complaint);
    (Target::Lit { modes, link }, complaints)
}

#[cfg(test)]
mod tests;

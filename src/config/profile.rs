//! A user's wishes for monitors: `userdata/<user>/displays.toml`.
//!
//! ```toml
//! [displays."DEL U2720Q 7TR8XY2"]     # a connector, `make model serial`, or a pattern of either
//! scale = 2
//! color_space = "display-p3"
//!
//! [layouts.desk]                      # for a set of monitors: exactly these, or else the most of those that are there
//! monitors = ["DEL U2720Q 7TR8XY2", "BOE *"]
//! [layouts.desk.displays."BOE *"]
//! position = [0, 0]
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::displays::{read_displays, read_night_light};
use super::reader::{Problem, Reader, Section};
use crate::display::identity::Known;
use crate::display::night::NightLight;
use crate::display::plan::{Wish, Wishes};

/// Where users' folders are installed.
pub const USERDATA: &str = "/usr/local/share/GeometryOS/userdata";

/// Wishes for a set of monitors that come together.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    pub name: String,
    pub monitors: Vec<String>,
    pub displays: BTreeMap<String, Wish>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Profile {
    pub displays: BTreeMap<String, Wish>,
    /// By name.
    pub layouts: Vec<Layout>,
    /// Instead of the system's.
    pub night_light: Option<NightLight>,
}

/// A user's file. None for what is no user's name: it must not lead out of the folder.
pub fn file_of(userdata: &Path, user: &str) -> Option<PathBuf> {
    let sound = !user.is_empty() && !user.starts_with('.') && !user.contains(['/', '\0']);
    sound.then(|| userdata.join(user).join("displays.toml"))
}

/// Reads and parses a user's file. A user without one wishes nothing; a file that is no TOML gives none.
pub fn load(path: &Path) -> (Option<Profile>, Vec<Problem>) {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(path, &text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => (Some(Profile::default()), Vec::new()),
        Err(error) => (None, vec![Problem::of_file(path, format!("cannot be read: {error}"))]),
    }
}

/// Parses a profile. None where the text is no TOML; otherwise what could be used of it.
pub fn parse(path: &Path, text: &str) -> (Option<Profile>, Vec<Problem>) {
    let mut reader = Reader::new(path, text);
    let Some(document) = reader.document() else { return (None, reader.problems) };
    let mut root = Section::new("", document.as_table());
    let displays = read_displays(&mut root, &mut reader);
    let night_light = read_night_light(&mut root, &mut reader);
    let mut profile = Profile { displays, night_light, layouts: Vec::new() };
    if let Some(mut layouts) = root.section(&mut reader, "layouts") {
        for (name, mut section) in layouts.named_sections(&mut reader) {
            let monitors = section.value(&mut reader, "monitors", "a list of names in quotes", |value| {
                let names = value.as_array()?.iter().map(|name| name.as_str().map(str::to_owned));
                names.collect::<Option<Vec<String>>>().filter(|names| !names.is_empty())
            });
            let displays = read_displays(&mut section, &mut reader);
            section.finish(&mut reader);
            match monitors {
                Some(monitors) => profile.layouts.push(Layout { name, monitors, displays }),
                None => {
                    let message = format!("layout {name:?} names no monitors; write monitors = [\"DP-1\"]");
                    reader.report(None, message);
                }
            }
        }
    }
    root.finish(&mut reader);
    (Some(profile), reader.problems)
}

impl Profile {
    /// The layout for these connectors: whose monitors are exactly there, or else the one with the most of them that are all there.
    pub fn layout(&self, known: &Known, present: &BTreeSet<String>) -> Option<&Layout> {
        let covered = |layout: &Layout| {
            let mut all = BTreeSet::new();
            for name in &layout.monitors {
                let mut meant: Vec<String> = known.meant(name);
                meant.retain(|connector| present.contains(connector));
                if meant.is_empty() {
                    return None;
                }
                all.extend(meant);
            }
            Some(all)
        };
        let fitting = self.layouts.iter().filter_map(|layout| Some((covered(layout)?, layout)));
        // The first of equals: max_by_key would take the last.
        let best = fitting.rev().max_by_key(|(covered, _)| (covered == present, covered.len()));
        best.map(|(_, layout)| layout)
    }

    /// What it wishes, by connector, over what the system does.
    pub fn over(&self, system: Wishes, known: &Known, present: &BTreeSet<String>) -> Wishes {
        let mut wishes = known.by_connector(&system);
        let layout = self.layout(known, present).map(|layout| &layout.displays);
        for displays in std::iter::once(&self.displays).chain(layout) {
            let own = Wishes { displays: displays.clone(), ..Wishes::default() };
            for (name, wish) in known.by_connector(&own).displays {
                let under = wishes.displays.entry(name).or_default();
                *under = under.under(&wish);
            }
        }
        wishes
    }
}

/// Where everything that is there would be off: one that stays on all the same.
pub fn keep_one_lit(wishes: &mut Wishes, present: &BTreeSet<String>) -> Option<String> {
    let is_off = |name: &String| wishes.displays.get(name).is_some_and(|wish| wish.power == Some(false));
    let candidates: Vec<&String> =
        present.iter().filter(|name| wishes.only.is_empty() || wishes.only.contains(name)).collect();
    let first = (*candidates.first()?).clone();
    // What is named on the command line is on whatever is wished.
    if !wishes.only.is_empty() || !candidates.into_iter().all(is_off) {
        return None;
    }
    wishes.displays.entry(first.clone()).or_default().power = None;
    Some(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::display::identity::Identity;
    use crate::display::link::{ColorSpace, Vrr};
    use crate::display::plan::Position;

    #[test]
    fn the_manual_s_example() {
        let text = include_str!("../../docs/displays.md");
        let block =
            text.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap_or_default();
        let (profile, problems) = read(block);
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!((profile.displays.len(), profile.layouts.len()), (2, 1));
        assert!(profile.night_light.is_some());
    }

    fn read(text: &str) -> (Profile, Vec<String>) {
        let (profile, problems) = parse(Path::new("displays.toml"), text);
        (profile.unwrap_or_default(), problems.iter().map(ToString::to_string).collect())
    }

    fn known() -> Known {
        let mut known = Known::default();
        for (connector, model) in [("DP-1", "Wide"), ("DP-2", "Tall"), ("eDP-1", "Panel")] {
            let identity = Identity { make: "GSM".into(), model: model.into(), serial: None };
            known.add(connector, Some(identity));
        }
        known
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    const LAYOUTS: &str = "[displays.\"GSM Wide\"]\nscale = 2\nmode = \"1920x1080\"\n\
        [layouts.alone]\nmonitors = [\"eDP-1\"]\n\
        [layouts.desk]\nmonitors = [\"GSM Wide\", \"eDP-1\"]\ndisplays.\"GSM Wide\" = { scale = 1.5, position = [10, 0] }\n\
        [layouts.all]\nmonitors = [\"DP-*\", \"eDP-1\"]\n";

    #[test]
    fn layouts_are_for_sets_of_monitors() {
        let (profile, problems) = read(LAYOUTS);
        assert_eq!(problems, Vec::<String>::new());
        for (present, expected) in [
            (set(&["eDP-1"]), Some("alone")),
            (set(&["DP-1", "eDP-1"]), Some("desk")),
            (set(&["DP-1", "DP-2", "eDP-1"]), Some("all")),
            // Not exactly: the most that are there.
            (set(&["DP-1", "eDP-1", "HDMI-A-1"]), Some("desk")),
            (set(&["DP-1"]), None),
        ] {
            let layout = profile.layout(&known(), &present).map(|layout| layout.name.as_str());
            assert_eq!(layout, expected, "{present:?}");
        }
    }

    #[test]
    fn a_layout_lies_over_the_profile_and_that_over_the_system() {
        let (profile, _) = read(LAYOUTS);
        let system = |text: &str| read(text).0.displays;
        let system =
            Wishes { displays: system("[displays.\"*\"]\nscale = 3\nvrr = true\n"), ..Wishes::default() };
        let wishes = profile.over(system, &known(), &set(&["DP-1", "eDP-1"]));
        let wide = &wishes.displays["DP-1"];
        assert_eq!(
            (wide.scale, wide.position.clone(), wide.link.vrr),
            (Some(1.5), Some(Position::At(10, 0)), Some(Vrr::On))
        );
        assert_eq!(wide.mode.map(|mode| mode.width), Some(1920));
        assert_eq!(wishes.displays["eDP-1"].scale, Some(3.0));
    }

    #[test]
    fn mistakes_cost_only_themselves() {
        let (profile, problems) = read(
            "colour = 1\n[displays.DP-1]\nscale = \"big\"\ncolor_space = \"rec709\"\nvrr = true\n[layouts.x]\nmonitors = 3\n",
        );
        assert_eq!(profile.displays["DP-1"].link.vrr, Some(Vrr::On));
        assert_eq!(problems.len(), 5, "{problems:#?}");
        let scale = |problem: &String| problem.starts_with("displays.toml:3: displays.\"DP-1\".scale");
        assert!(problems.iter().any(scale), "{problems:#?}");
        let (profile, problems) = parse(Path::new("displays.toml"), "[displays\n");
        assert!(profile.is_none() && problems.len() == 1);
    }

    #[test]
    fn every_wish_is_read() {
        let (profile, problems) = read(
            "[displays.DP-1]\nmode = \"2560x1440@59.95 cvt-rb\"\nposition = \"left-of GSM Tall\"\nvrr = \"fullscreen\"\n\
             scaling = \"aspect\"\ncolor_space = \"/etc/dell.icc\"\nwhite_point = 5000\nbrightness = 0.8\nnight_light = false\n\
             [displays.DP-2]\nmirror = \"DP-1\"\n[night_light]\nfrom = \"21:30\"\nto = \"6:00\"\n",
        );
        assert_eq!(problems, Vec::<String>::new());
        let wish = &profile.displays["DP-1"];
        assert!(wish.mode.and_then(|mode| mode.modeline).is_some_and(|line| line.horizontal[0] == 2560));
        assert_eq!(wish.position.as_ref().map(ToString::to_string).as_deref(), Some("left-of GSM Tall"));
        assert_eq!((wish.link.vrr, wish.link.color_space), (Some(Vrr::Fullscreen), Some(ColorSpace::Icc)));
        assert_eq!(wish.icc.as_deref(), Some(Path::new("/etc/dell.icc")));
        assert_eq!(
            (wish.tone.white, wish.tone.brightness, wish.tone.night_light),
            (Some(5000), Some(0.8), Some(false))
        );
        assert_eq!(profile.displays["DP-2"].mirror.as_deref(), Some("DP-1"));
        let light = profile.night_light.map(|light| (light.from.0, light.to.0, light.white, light.fade));
        assert_eq!(light, Some((1290, 360, 3400, 30)));
        // A named space over it takes the profile away.
        let over = Wish {
            link: crate::display::link::LinkWish {
                color_space: Some(ColorSpace::Srgb),
                ..Default::default()
            },
            ..Wish::default()
        };
        assert_eq!(wish.under(&over).icc, None);
    }

    #[test]
    fn one_stays_lit() {
        let (profile, _) = read("[displays.\"*\"]\npower = false\n");
        let present = set(&["DP-1", "DP-2"]);
        let mut wishes = profile.over(Wishes::default(), &known(), &present);
        assert_eq!(keep_one_lit(&mut wishes, &present).as_deref(), Some("DP-1"));
        assert_eq!(wishes.displays["DP-1"].power, None);
        assert_eq!(wishes.displays["DP-2"].power, Some(false));
        assert_eq!(keep_one_lit(&mut wishes, &present), None);
        assert_eq!(keep_one_lit(&mut wishes, &set(&[])), None);
    }

    #[test]
    fn a_user_s_name_leads_nowhere_else() {
        let file = |user: &str| file_of(Path::new("/u"), user);
        assert_eq!(file("ann"), Some("/u/ann/displays.toml".into()));
        for user in ["", "..", ".", "../root", "a/b", ".hidden"] {
            assert_eq!(file(user), None, "{user}");
        }
    }
}

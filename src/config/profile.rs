//! A user's settings for displays: `userdata/<user>/displays.toml`.
//!
//! ```toml
//! [displays."DEL U2720Q 7TR8XY2"]     # a connector, `make model serial`, or a pattern of either
//! scale = 2
//! color_space = "display-p3"
//!
//! # For a set of monitors. The layout applies whose monitors are exactly the ones that are
//! # connected, or else the one with the most monitors that are all connected.
//! [layouts.desk]
//! monitors = ["DEL U2720Q 7TR8XY2", "BOE *"]
//! [layouts.desk.displays."BOE *"]
//! position = [0, 0]
//! ```

use std::io;
use std::path::{Path, PathBuf};

use geom_display::profile::{Layout, UserProfile};

use super::displays::{read_displays, read_night_light};
use super::open::{read_user_text, MAX_TOML_BYTES};
use super::reader::{Problem, Reader, Section};

/// The installed folder of the users' folders.
pub const USERDATA: &str = "/usr/local/share/GeometryOS/userdata";

/// Returns the path of a user's profile, or `None` if the name would lead out of the folder.
pub fn file_of(userdata: &Path, user: &str) -> Option<PathBuf> {
    let is_folder_name = !user.is_empty() && !user.starts_with('.') && !user.contains(['/', '\0']);
    is_folder_name.then(|| userdata.join(user).join("displays.toml"))
}

/// Reads and parses a user's profile. Without a file it is empty; for a file that is not TOML it is
/// `None`.
pub fn load(path: &Path) -> (Option<UserProfile>, Vec<Problem>) {
    match read_user_text(path, MAX_TOML_BYTES) {
        Ok(text) => parse(path, &text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (Some(UserProfile::default()), Vec::new()),
        Err(error) => (None, vec![Problem::of_file(path, format!("cannot be read: {error}"))]),
    }
}

/// Parses a profile. Returns the valid settings, or `None` if the text is not TOML.
pub fn parse(path: &Path, text: &str) -> (Option<UserProfile>, Vec<Problem>) {
    let mut reader = Reader::new(path, text);
    let Some(document) = reader.document() else { return (None, reader.problems) };
    let mut root = Section::new("", document.as_table());
    let outputs = read_displays(&mut root, &mut reader);
    let night_light = read_night_light(&mut root, &mut reader);
    let mut profile = UserProfile { outputs, night_light, layouts: Vec::new() };
    if let Some(mut layouts) = root.section(&mut reader, "layouts") {
        for (name, mut section) in layouts.named_sections(&mut reader) {
            let monitors = section.value(&mut reader, "monitors", "a list of quoted strings", |value| {
                let names = value.as_array()?.iter().map(|name| name.as_str().map(str::to_owned));
                names.collect::<Option<Vec<String>>>().filter(|names| !names.is_empty())
            });
            let outputs = read_displays(&mut section, &mut reader);
            section.finish(&mut reader);
            match monitors {
                Some(monitors) => profile.layouts.push(Layout { name, monitors, outputs }),
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use geom_color::color_space::ColorSpace;
    use geom_display::identity::{Identity, KnownOutputs};
    use geom_display::output_config::keep_one_enabled;
    use geom_display::output_config::{OutputConfig, OutputConfigs, Position};
    use geom_display::signal_format::{SignalConfig, Vrr};

    use super::*;

    #[test]
    fn example_of_the_manual_is_valid() {
        let text = include_str!("../../docs/displays.md");
        let block =
            text.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap_or_default();
        let (profile, problems) = read(block);
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!((profile.outputs.len(), profile.layouts.len()), (2, 1));
        assert!(profile.night_light.is_some());
    }

    fn read(text: &str) -> (UserProfile, Vec<String>) {
        let (profile, problems) = parse(Path::new("displays.toml"), text);
        (profile.unwrap_or_default(), problems.iter().map(ToString::to_string).collect())
    }

    fn known() -> KnownOutputs {
        let mut known = KnownOutputs::default();
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
    fn layout_is_chosen_by_the_connected_monitors() {
        let (profile, problems) = read(LAYOUTS);
        assert_eq!(problems, Vec::<String>::new());
        for (present, expected) in [
            (set(&["eDP-1"]), Some("alone")),
            (set(&["DP-1", "eDP-1"]), Some("desk")),
            (set(&["DP-1", "DP-2", "eDP-1"]), Some("all")),
            // None matches exactly: the one with the most monitors.
            (set(&["DP-1", "eDP-1", "HDMI-A-1"]), Some("desk")),
            (set(&["DP-1"]), None),
        ] {
            let layout = profile.layout(&known(), &present).map(|layout| layout.name.as_str());
            assert_eq!(layout, expected, "{present:?}");
        }
    }

    #[test]
    fn layout_overrides_profile_and_profile_overrides_system() {
        let (profile, _) = read(LAYOUTS);
        let system = |text: &str| read(text).0.outputs;
        let system = OutputConfigs {
            outputs: system("[displays.\"*\"]\nscale = 3\nvrr = true\n"),
            ..OutputConfigs::default()
        };
        let configs = profile.over(system, &known(), &set(&["DP-1", "eDP-1"]));
        let wide = &configs.outputs["DP-1"];
        assert_eq!(
            (wide.scale, wide.position.clone(), wide.signal.vrr),
            (Some(1.5), Some(Position::At(10, 0)), Some(Vrr::On))
        );
        assert_eq!(wide.mode.map(|mode| mode.width), Some(1920));
        assert_eq!(configs.outputs["eDP-1"].scale, Some(3.0));
    }

    #[test]
    fn mistakes_affect_only_their_own_keys() {
        let (profile, problems) = read(
            "color = 1\n[displays.DP-1]\nscale = \"big\"\ncolor_space = \"rec709\"\nvrr = true\n[layouts.x]\nmonitors = 3\n",
        );
        assert_eq!(profile.outputs["DP-1"].signal.vrr, Some(Vrr::On));
        assert_eq!(problems.len(), 5, "{problems:#?}");
        let scale = |problem: &String| problem.starts_with("displays.toml:3: displays.\"DP-1\".scale");
        assert!(problems.iter().any(scale), "{problems:#?}");
        let (profile, problems) = parse(Path::new("displays.toml"), "[displays\n");
        assert!(profile.is_none() && problems.len() == 1);
    }

    #[test]
    fn every_setting_is_read() {
        let (profile, problems) = read(
            "[displays.DP-1]\nmode = \"2560x1440@59.95 cvt-rb\"\nposition = \"left-of GSM Tall\"\nvrr = \"fullscreen\"\n\
             scaling = \"aspect\"\ncolor_space = \"/etc/dell.icc\"\nwhite_point = 5000\nbrightness = 0.8\nnight_light = false\n\
             [displays.DP-2]\nmirror = \"DP-1\"\n[night_light]\nfrom = \"21:30\"\nto = \"6:00\"\n",
        );
        assert_eq!(problems, Vec::<String>::new());
        let config = &profile.outputs["DP-1"];
        assert!(config.mode.and_then(|mode| mode.modeline).is_some_and(|line| line.horizontal[0] == 2560));
        assert_eq!(config.position.as_ref().map(ToString::to_string).as_deref(), Some("left-of GSM Tall"));
        assert_eq!(
            (config.signal.vrr, config.signal.color_space),
            (Some(Vrr::Fullscreen), Some(ColorSpace::Icc))
        );
        assert_eq!(config.icc.as_deref(), Some(Path::new("/etc/dell.icc")));
        assert_eq!(
            (config.adjustments.white_point, config.adjustments.brightness, config.adjustments.night_light),
            (Some(5000), Some(0.8), Some(false))
        );
        assert_eq!(profile.outputs["DP-2"].mirror.as_deref(), Some("DP-1"));
        let night_light = profile
            .night_light
            .map(|setting| (setting.from.0, setting.to.0, setting.white_point, setting.fade));
        assert_eq!(night_light, Some((1290, 360, 3400, 30)));
        // A named color space overrides the ICC profile.
        let over = OutputConfig {
            signal: SignalConfig { color_space: Some(ColorSpace::Srgb), ..Default::default() },
            ..OutputConfig::default()
        };
        assert_eq!(config.overridden_by(&over).icc, None);
    }

    #[test]
    fn obsolete_power_disables_a_display_and_is_reported() {
        let (profile, problems) = read("[displays.DP-1]\npower = false\n");
        assert_eq!(profile.outputs["DP-1"].enabled, Some(false));
        assert_eq!(problems, ["displays.toml:2: displays.\"DP-1\".power is now called enabled; rename it"]);
    }

    #[test]
    fn one_display_stays_enabled() {
        let (profile, _) = read("[displays.\"*\"]\nenabled = false\n");
        let present = set(&["DP-1", "DP-2"]);
        let mut configs = profile.over(OutputConfigs::default(), &known(), &present);
        assert_eq!(keep_one_enabled(&mut configs, &present).as_deref(), Some("DP-1"));
        assert_eq!(configs.outputs["DP-1"].enabled, None);
        assert_eq!(configs.outputs["DP-2"].enabled, Some(false));
        assert_eq!(keep_one_enabled(&mut configs, &present), None);
        assert_eq!(keep_one_enabled(&mut configs, &set(&[])), None);
    }

    #[test]
    fn user_name_does_not_lead_out_of_the_folder() {
        let file = |user: &str| file_of(Path::new("/u"), user);
        assert_eq!(file("ann"), Some("/u/ann/displays.toml".into()));
        for user in ["", "..", ".", "../root", "a/b", ".hidden"] {
            assert_eq!(file(user), None, "{user}");
        }
    }

    #[test]
    fn profile_that_is_not_a_regular_file_is_refused() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let (profile, problems) = load(&folder.path().join("missing.toml"));
        assert_eq!((profile, problems.len()), (Some(UserProfile::default()), 0));
        // Opening a FIFO without O_NONBLOCK would wait for a writer.
        let fifo = folder.path().join("fifo.toml");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU)?;
        for path in [fifo.as_path(), folder.path()] {
            let (profile, problems) = load(path);
            assert!(profile.is_none() && problems[0].message.contains("not a regular file"), "{problems:?}");
        }
        let large = folder.path().join("large.toml");
        std::fs::write(&large, vec![b'#'; MAX_TOML_BYTES as usize + 1])?;
        assert!(load(&large).0.is_none());
        Ok(())
    }
}

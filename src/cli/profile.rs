//! `geom_compositor profile`: manages a user's settings for displays. The file stays the user's:
//! comments, order and unknown keys are kept.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use geom_client::Error as ClientError;
use geom_ipc::{Display, DisplayState, Request};
use toml_edit::{value, Array, DocumentMut, Item, Key, Table};

use super::connect;
use super::error::Error;
use super::terminal::{field, lines};
use crate::config::open::{read_user_text, MAX_TOML_BYTES};
use crate::config::profile::{file_of, parse, USERDATA};
use crate::session::users;

/// What to do with a profile.
#[derive(Debug, Clone, Subcommand)]
pub enum Profile {
    /// Write the current settings of each connected monitor into the profile
    Save {
        #[command(flatten)]
        whose: Whose,
        /// Write them into a layout of this name, for this set of monitors
        #[arg(long)]
        layout: Option<String>,
    },
    /// Print the profile
    Show(Whose),
    /// Open the profile in $VISUAL or $EDITOR; it is saved and applied if it is valid
    Edit(Whose),
    /// Apply the profile: read it again, or switch to that of --user
    Apply(Whose),
    /// Rename the profile to displays.toml.bak, so that the defaults apply
    Reset(Whose),
    /// Report the mistakes of a profile with their lines
    Check {
        #[command(flatten)]
        whose: Whose,
        file: Option<PathBuf>,
    },
}

/// The user whose profile it is.
#[derive(Debug, Clone, Args)]
pub struct Whose {
    /// The user [default: the one whose profile the service applies]
    #[arg(long)]
    user: Option<String>,
    /// The folder of the users' folders
    #[arg(long, default_value = USERDATA, env = "GEOM_COMPOSITOR_USERDATA")]
    userdata: PathBuf,
}

impl Whose {
    /// Returns the path of the profile. If no user is named, it is the one that the running service
    /// applies.
    fn file(&self) -> Result<PathBuf, Error> {
        let user = match &self.user {
            Some(user) => user.clone(),
            None => match connect().and_then(|mut service| service.status()) {
                Ok(status) => return Ok(status.profile.into()),
                Err(ClientError::NotRunning(_) | ClientError::NotPermitted(_)) => {
                    users::own_name().ok_or(Error::NoUserName)?
                }
                Err(error) => return Err(error.into()),
            },
        };
        file_of(&self.userdata, &user).ok_or(Error::InvalidUserName(user))
    }
}

/// Reads a profile; without a file it is `None`.
fn read(file: &Path) -> Result<Option<String>, Error> {
    match read_user_text(file, MAX_TOML_BYTES) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::at(file)(error)),
    }
}

/// Replaces the file atomically: writes a new file, syncs it to the disk, and renames it over the
/// old one.
pub(super) fn write(file: &Path, text: &str) -> Result<(), Error> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let save = || {
        std::fs::create_dir_all(folder)?;
        let mut new = tempfile::Builder::new().prefix(".displays").suffix(".toml").tempfile_in(folder)?;
        new.write_all(text.as_bytes())?;
        // The permissions of the old file, or usual ones: those of a temporary file are 0600.
        // Not those of a symbolic link's target, and no setuid bit: root may save a user's profile.
        let old = std::fs::symlink_metadata(file).ok().filter(std::fs::Metadata::is_file);
        let mode = old.map_or(0o644, |old| old.permissions().mode() & 0o666);
        new.as_file().set_permissions(Permissions::from_mode(mode))?;
        new.as_file().sync_all()?;
        new.persist(file).map_err(|error| error.error)?;
        std::fs::File::open(folder)?.sync_all()
    };
    save().map_err(Error::at(file))
}

/// Prints the mistakes of a profile. Returns whether there are none.
fn check(file: &Path, text: &str) -> bool {
    let (_, problems) = parse(file, text);
    for problem in &problems {
        eprintln!("{}", field(&problem.to_string()));
    }
    problems.is_empty()
}

/// Applies a profile in the running service. Without one, it applies at the next start.
fn apply(user: Option<String>) -> Result<(), Error> {
    match connect().and_then(|mut service| service.request(Request::UseProfile { user })) {
        Ok(_) | Err(ClientError::NotRunning(_) | ClientError::NotPermitted(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Returns the name of each display in the file: the first of make/model/serial, hash of the EDID,
/// and port path that no other display has, or else the connector.
fn names(displays: &[Display]) -> BTreeMap<String, String> {
    let identity = |display: &Display| {
        let monitor = display.monitor.as_ref()?;
        let parts = [Some(&monitor.make), Some(&monitor.model), monitor.serial.as_ref()];
        Some(parts.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" "))
    };
    let edid = |display: &Display| display.monitor.as_ref()?.edid.clone();
    let port = |display: &Display| display.port.clone();
    type NameOf<'a> = &'a dyn Fn(&Display) -> Option<String>;
    let fallbacks: [NameOf<'_>; 3] = [&identity, &edid, &port];
    let name = |display: &Display| {
        let unique = |name_of: &NameOf<'_>| {
            let own = name_of(display)?;
            let count = displays.iter().filter(|other| name_of(other).as_ref() == Some(&own)).count();
            (count == 1).then_some(own)
        };
        fallbacks.iter().find_map(unique).unwrap_or_else(|| display.name.clone())
    };
    displays.iter().map(|display| (display.name.clone(), name(display))).collect()
}

/// Returns the table at `path` within another table, and creates it if it is missing.
fn table<'a>(root: &'a mut Table, path: &[&str]) -> Result<&'a mut Table, Error> {
    let mut table = root;
    for (depth, key) in path.iter().enumerate() {
        let last = depth + 1 == path.len();
        let item = table.entry(key).or_insert_with(|| {
            let mut table = Table::new();
            table.set_implicit(!last);
            Item::Table(table)
        });
        if item.is_inline_table() {
            // A user may have written it inline; keys are added to a standard table.
            *item = std::mem::take(item).into_table().map_or_else(|item| item, Item::Table);
        }
        table = item.as_table_mut().ok_or_else(|| Error::ProfileKeyNotTable((*key).to_owned()))?;
    }
    Ok(table)
}

/// Sets a value if it differs, so that comments and order stay.
fn put(table: &mut Table, key: &str, new: toml_edit::Value) {
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(old) if old.to_string().trim() == new.to_string().trim() => {}
        Some(old) => {
            let decor = old.decor().clone();
            *old = new;
            *old.decor_mut() = decor;
        }
        None => {
            table.insert(key, value(new));
        }
    }
}

/// Returns whether the position is relative to another display. It is kept, because the current
/// coordinates would lose that relation.
fn has_relative_position(table: &Table) -> bool {
    table.get("position").and_then(Item::as_str).is_some()
}

/// Writes the current settings of a display into its table.
fn put_display(table: &mut Table, display: &Display) {
    // The key's former name.
    if let Some((key, item)) = table.remove_entry("power") {
        if !table.contains_key("enabled") {
            let key = Key::new("enabled").with_leaf_decor(key.leaf_decor().clone());
            table.insert_formatted(&key, item);
        }
    }
    if display.state == DisplayState::Disabled {
        return put(table, "enabled", false.into());
    }
    if table.contains_key("enabled") {
        put(table, "enabled", true.into());
    }
    if let Some(line) = &display.modeline {
        put(table, "mode", line.as_str().into());
    } else if let Some(mode) = display.mode {
        let hertz = f64::from(mode.refresh) / 1000.0;
        put(table, "mode", format!("{}x{}@{hertz:.2}", mode.width, mode.height).into());
    }
    put(table, "scale", display.scale.into());
    put(table, "transform", display.transform.as_str().into());
    if let Some(source) = display.mirror.as_deref().or(table.contains_key("mirror").then_some("")) {
        put(table, "mirror", source.into());
    }
    if display.mirror.is_none() && !has_relative_position(table) {
        put(
            table,
            "position",
            Array::from_iter([i64::from(display.logical.x), i64::from(display.logical.y)]).into(),
        );
    }
    let Some(signal) = &display.signal else { return };
    put(table, "color_space", signal.color_space.as_str().into());
    // Defaults are left out, unless the file has them.
    for (key, new, default) in
        [("rgb_range", &signal.rgb_range, "automatic"), ("content_type", &signal.content_type, "none")]
    {
        if new != default || table.contains_key(key) {
            put(table, key, new.as_str().into());
        }
    }
    let fullscreen_vrr = table.get("vrr").and_then(Item::as_str).is_some();
    if (signal.vrr || table.contains_key("vrr")) && !fullscreen_vrr {
        put(table, "vrr", signal.vrr.into());
    }
    if signal.scaling != "none" && table.contains_key("scaling") {
        put(table, "scaling", signal.scaling.as_str().into());
    }
    if let Some(white) = signal.white_point {
        put(table, "white_point", i64::from(white).into());
    }
    if let Some(brightness) = signal.brightness {
        put(table, "brightness", brightness.into());
    }
    let default = if signal.color_space.starts_with("bt2020-") { 10 } else { 8 };
    let differs = |depth: &u8| *depth != default || table.contains_key("bit_depth");
    if let Some(depth) = signal.bit_depth.filter(differs) {
        put(table, "bit_depth", i64::from(depth).into());
    }
}

/// Returns the text of the profile with the current settings of the displays.
fn with_current_settings(text: &str, displays: &[Display], layout: Option<&str>) -> Result<String, Error> {
    let mut document: DocumentMut = text.parse().map_err(Error::ProfileNotToml)?;
    // Without a table, comments would be moved behind the new ones.
    let comments = if document.is_empty() { text.trim_end() } else { "" };
    if !comments.is_empty() {
        document = DocumentMut::new();
    }
    let connected: Vec<Display> = displays
        .iter()
        .filter(|display| matches!(display.state, DisplayState::Enabled | DisplayState::Disabled))
        .cloned()
        .collect();
    let names = names(&connected);
    let mut path: Vec<&str> = Vec::new();
    if let Some(layout) = layout {
        path = vec!["layouts", layout];
        let monitors: Array = names.values().map(String::as_str).collect();
        put(table(document.as_table_mut(), &path)?, "monitors", monitors.into());
    }
    path.push("displays");
    for display in &connected {
        let Some(name) = names.get(&display.name) else { continue };
        let mut path = path.clone();
        path.push(name);
        put_display(table(document.as_table_mut(), &path)?, display);
    }
    Ok(if comments.is_empty() { document.to_string() } else { format!("{comments}\n\n{document}") })
}

fn edit(file: &Path) -> Result<(), Error> {
    let text = read(file)?.unwrap_or_default();
    let draft = tempfile::Builder::new().prefix("displays").suffix(".toml").tempfile()?;
    std::fs::write(draft.path(), &text)?;
    let variable = |name: &str| std::env::var(name).ok().filter(|editor| !editor.is_empty());
    let editor = variable("VISUAL").or_else(|| variable("EDITOR")).unwrap_or_else(|| "vi".into());
    // By a shell, as other programs do: the variable may contain arguments.
    let command = format!("{editor} \"$1\"");
    let status = std::process::Command::new("sh")
        .args(["-c", &command, "sh"])
        .arg(draft.path())
        .status()
        .map_err(|error| Error::EditorNotStarted { editor: editor.clone(), error })?;
    if !status.success() {
        return Err(Error::EditorFailed { editor, status });
    }
    let new = std::fs::read_to_string(draft.path())?;
    if new == text {
        return Ok(());
    }
    if !check(draft.path(), &new) {
        let (_, path) = draft.keep().map_err(|error| Error::Io(error.error))?;
        return Err(Error::InvalidEdit(path));
    }
    write(file, &new)
}

/// Runs a command on a profile.
///
/// # Errors
/// If the profile is invalid, cannot be read or written, or the service refuses the request.
pub fn run(command: Profile) -> Result<(), Error> {
    match command {
        Profile::Save { whose, layout } => {
            let file = whose.file()?;
            let displays = connect()?.displays()?;
            let text = read(&file)?.unwrap_or_default();
            write(&file, &with_current_settings(&text, &displays, layout.as_deref())?)?;
            writeln!(io::stdout(), "{}", field(&file.display().to_string()))?;
            apply(whose.user)
        }
        Profile::Show(whose) => {
            let file = whose.file()?;
            let text = read(&file)?
                .unwrap_or_else(|| "# no such file; `geom_compositor profile save` writes it\n".into());
            Ok(write!(io::stdout(), "# {}\n{}", field(&file.display().to_string()), lines(&text))?)
        }
        Profile::Edit(whose) => {
            edit(&whose.file()?)?;
            apply(whose.user)
        }
        Profile::Apply(whose) => {
            connect()?.request(Request::UseProfile { user: whose.user })?;
            Ok(())
        }
        Profile::Reset(whose) => {
            let file = whose.file()?;
            if read(&file)?.is_some() {
                std::fs::rename(&file, file.with_extension("toml.bak")).map_err(Error::at(&file))?;
            }
            apply(whose.user)
        }
        Profile::Check { whose, file } => {
            let file = file.map_or_else(|| whose.file(), Ok)?;
            let text = std::fs::read_to_string(&file).map_err(Error::at(&file))?;
            match check(&file, &text) {
                true => Ok(()),
                false => Err(Error::InvalidProfile),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use geom_display::output_config::Position;
    use geom_ipc::{LogicalRect, Mode, Monitor, Signal};

    use super::*;

    fn display(name: &str, model: &str) -> Display {
        Display {
            name: name.into(),
            state: DisplayState::Enabled,
            reason: None,
            mode: Some(Mode { width: 1920, height: 1080, refresh: 59_940 }),
            modes: Vec::new(),
            logical: LogicalRect { x: 5, y: -6, width: 1920, height: 1080 },
            scale: 1.5,
            transform: "90".into(),
            disconnects: 0,
            focused: false,
            monitor: Some(Box::new(Monitor {
                make: "GSM".into(),
                model: model.into(),
                serial: Some("1".into()),
                edid: None,
            })),
            port: Some(format!("pci-0000:00:02.0/{name}")),
            blanked: false,
            mirror: None,
            modeline: None,
            signal: Some(Box::new(Signal {
                color_space: "bt2020".into(),
                bit_depth: Some(10),
                rgb_range: "full".into(),
                content_type: "none".into(),
                scaling: "none".into(),
                vrr: false,
                white_point: None,
                brightness: None,
            })),
            warnings: Vec::new(),
        }
    }

    #[test]
    fn saved_settings_are_read_back() -> Result<(), Error> {
        let displays = [display("DP-1", "Wide"), display("DP-2", "Twin"), display("DP-3", "Twin")];
        let text = with_current_settings("", &displays, None)?;
        let (profile, problems) = parse(Path::new("displays.toml"), &text);
        assert_eq!(problems, []);
        let profile = profile.unwrap_or_default();
        // Monitors with the same EDID are distinguished by their ports.
        let names = ["GSM Wide 1", "pci-0000:00:02.0/DP-2", "pci-0000:00:02.0/DP-3"];
        assert_eq!(profile.outputs.keys().collect::<Vec<_>>(), names);
        let config = &profile.outputs["GSM Wide 1"];
        assert_eq!((config.scale, config.position.clone()), (Some(1.5), Some(Position::At(5, -6))));
        assert_eq!(config.signal.bit_depth, Some(10));
        // Saving again changes nothing.
        assert_eq!(with_current_settings(&text, &displays, None)?, text);
        Ok(())
    }

    #[test]
    fn comments_of_the_user_are_kept() -> Result<(), Error> {
        let before = "# my desk\n[displays.\"GSM Wide 1\"] # the big one\nscale = 1 # as small as I like\n\n[displays.other]\nscale = 3\n";
        let after = with_current_settings(before, &[display("DP-1", "Wide")], None)?;
        assert!(
            after.starts_with(
                "# my desk\n[displays.\"GSM Wide 1\"] # the big one\nscale = 1.5 # as small as I like\n"
            ),
            "{after}"
        );
        assert!(after.contains("[displays.other]\nscale = 3\n"), "{after}");
        let after = with_current_settings("# to come\n", &[display("DP-1", "Wide")], None)?;
        assert!(after.starts_with("# to come\n\n[displays.\"GSM Wide 1\"]\n"), "{after}");
        Ok(())
    }

    #[test]
    fn obsolete_key_is_renamed_in_its_place() -> Result<(), Error> {
        let before = "[displays.\"GSM Wide 1\"]\n# the big one\npower = false # for now\n";
        let after = with_current_settings(before, &[display("DP-1", "Wide")], None)?;
        assert!(after.contains("\n# the big one\nenabled = true # for now\n"), "{after}");
        assert!(!after.contains("power"), "{after}");
        Ok(())
    }

    #[test]
    fn layout_names_its_monitors() -> Result<(), Error> {
        let text =
            with_current_settings("", &[display("DP-1", "Wide"), display("DP-2", "Tall")], Some("desk"))?;
        let (profile, problems) = parse(Path::new("displays.toml"), &text);
        assert_eq!(problems, []);
        let layouts = profile.unwrap_or_default().layouts;
        assert_eq!(layouts[0].monitors, ["GSM Wide 1", "GSM Tall 1"]);
        assert_eq!(layouts[0].outputs.len(), 2);
        Ok(())
    }
}

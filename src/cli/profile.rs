//! `geom_compositor profile`: a user's wishes for monitors, kept in a file that stays theirs, comments and all.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use geom_client::Error;
use geom_ipc::{Display, DisplayState, Request};
use toml_edit::{value, Array, DocumentMut, Item, Table};

use super::connect;
use crate::config::profile::{file_of, parse, USERDATA};

/// What to do with a profile.
#[derive(Debug, Clone, Subcommand)]
pub enum Profile {
    /// Write how displays are now into the profile, for each monitor
    Save {
        #[command(flatten)]
        whose: Whose,
        /// Into a layout of this name, for the monitors that are there
        #[arg(long)]
        layout: Option<String>,
    },
    /// Print the profile
    Show(Whose),
    /// Open the profile in $VISUAL or $EDITOR; it is saved and applied where it is sound
    Edit(Whose),
    /// Let the profile apply, of another user with --user
    Apply(Whose),
    /// Take the profile away, to displays.toml.bak beside it
    Reset(Whose),
    /// Report mistakes of a profile with their lines
    Check {
        #[command(flatten)]
        whose: Whose,
        file: Option<PathBuf>,
    },
}

/// Whose profile.
#[derive(Debug, Clone, Args)]
pub struct Whose {
    /// Another user than the one whose profile applies
    #[arg(long)]
    user: Option<String>,
    /// The folder of users' folders
    #[arg(long, default_value = USERDATA, env = "GEOM_COMPOSITOR_USERDATA")]
    userdata: PathBuf,
}

fn failed(message: String) -> Error {
    Error::BadArgument(message)
}

impl Whose {
    /// The running service's file, where nobody else is named and one runs.
    fn file(&self) -> Result<PathBuf, Error> {
        let user = match &self.user {
            Some(user) => user.clone(),
            None => match connect().and_then(|mut service| service.status()) {
                Ok(status) => return Ok(status.profile.into()),
                Err(Error::NotRunning(_)) => uzers::get_current_username()
                    .map(|name| name.to_string_lossy().into_owned())
                    .ok_or_else(|| failed("this user has no name; give one by --user".into()))?,
                Err(error) => return Err(error),
            },
        };
        file_of(&self.userdata, &user).ok_or_else(|| failed(format!("{user:?} is no user's name")))
    }
}

fn named(file: &Path) -> impl Fn(io::Error) -> Error + '_ {
    move |error| failed(format!("{}: {error}", file.display()))
}

fn read(file: &Path) -> Result<Option<String>, Error> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(named(file)(error)),
    }
}

/// Whole or not at all, whatever happens meanwhile: another file, on the disk, renamed over the old one.
fn write(file: &Path, text: &str) -> Result<(), Error> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let save = || {
        std::fs::create_dir_all(folder)?;
        let mut new = tempfile::Builder::new().prefix(".displays").suffix(".toml").tempfile_in(folder)?;
        new.write_all(text.as_bytes())?;
        // As the old one, or as any file of this user's.
        let permissions = std::fs::metadata(file).map(|old| old.permissions());
        let usual = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        new.as_file().set_permissions(permissions.unwrap_or(usual))?;
        new.as_file().sync_all()?;
        new.persist(file).map_err(|error| error.error)?;
        std::fs::File::open(folder)?.sync_all()
    };
    save().map_err(named(file))
}

/// Whether a profile is sound; what is wrong is printed.
fn check(file: &Path, text: &str) -> bool {
    let (_, problems) = parse(file, text);
    for problem in &problems {
        eprintln!("{problem}");
    }
    problems.is_empty()
}

/// A running service takes it over; without one it applies at the next start.
fn apply(user: Option<String>) -> Result<(), Error> {
    match connect().and_then(|mut service| service.request(Request::UseProfile { user })) {
        Ok(_) | Err(Error::NotRunning(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// What each display is called in the file: its monitor, or else what says more.
fn names(displays: &[Display]) -> BTreeMap<String, String> {
    let identity = |display: &Display| {
        let monitor = display.monitor.as_ref()?;
        let parts = [Some(&monitor.make), Some(&monitor.model), monitor.serial.as_ref()];
        Some(parts.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" "))
    };
    let edid = |display: &Display| display.monitor.as_ref()?.edid.clone();
    let port = |display: &Display| display.port.clone();
    // The first that is the display's alone: who the monitor is, its exact EDID, its port.
    type Rung<'a> = &'a dyn Fn(&Display) -> Option<String>;
    let ladder: [Rung<'_>; 3] = [&identity, &edid, &port];
    let name = |display: &Display| {
        let alone = |rung: &Rung<'_>| {
            let own = rung(display)?;
            let same = displays.iter().filter(|other| rung(other).as_ref() == Some(&own)).count();
            (same == 1).then_some(own)
        };
        ladder.iter().find_map(alone).unwrap_or_else(|| display.name.clone())
    };
    displays.iter().map(|display| (display.name.clone(), name(display))).collect()
}

/// Where `path` leads below a table, made where it is not there.
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
            // Written inline by hand: made a table of its own, to have room.
            *item = std::mem::take(item).into_table().map_or_else(|item| item, Item::Table);
        }
        table = item.as_table_mut().ok_or_else(|| failed(format!("{key} is no table in the profile")))?;
    }
    Ok(table)
}

/// Changes what differs, so that comments and order stay.
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

/// A place beside another display says more than where that is now.
fn stays_beside(table: &Table) -> bool {
    table.get("position").and_then(Item::as_str).is_some()
}

fn note(table: &mut Table, display: &Display) {
    if display.state == DisplayState::Off {
        return put(table, "power", false.into());
    }
    if table.contains_key("power") {
        put(table, "power", true.into());
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
    if display.mirror.is_none() && !stays_beside(table) {
        put(
            table,
            "position",
            Array::from_iter([i64::from(display.place.x), i64::from(display.place.y)]).into(),
        );
    }
    let Some(link) = &display.link else { return };
    put(table, "color_space", link.color_space.as_str().into());
    // Usual ones are left to us, unless they were wished for.
    for (key, new, usual) in
        [("rgb_range", &link.rgb_range, "automatic"), ("content_type", &link.content_type, "none")]
    {
        if new != usual || table.contains_key(key) {
            put(table, key, new.as_str().into());
        }
    }
    let by_window = table.get("vrr").and_then(Item::as_str).is_some();
    if (link.vrr || table.contains_key("vrr")) && !by_window {
        put(table, "vrr", link.vrr.into());
    }
    if link.scaling != "none" && table.contains_key("scaling") {
        put(table, "scaling", link.scaling.as_str().into());
    }
    if let Some(white) = link.white_point {
        put(table, "white_point", i64::from(white).into());
    }
    if let Some(brightness) = link.brightness {
        put(table, "brightness", brightness.into());
    }
    let usual = if link.color_space.starts_with("bt2020-") { 10 } else { 8 };
    if let Some(depth) = link.bit_depth.filter(|depth| *depth != usual || table.contains_key("bit_depth")) {
        put(table, "bit_depth", i64::from(depth).into());
    }
}

/// The profile with what displays are like now.
fn noted(text: &str, displays: &[Display], layout: Option<&str>) -> Result<String, Error> {
    let mut document: DocumentMut =
        text.parse().map_err(|error| failed(format!("the profile is no TOML, mend it first: {error}")))?;
    // Comments without a table would end up behind the new ones.
    let before = if document.is_empty() { text.trim_end() } else { "" };
    if !before.is_empty() {
        document = DocumentMut::new();
    }
    let there: Vec<Display> = displays
        .iter()
        .filter(|display| matches!(display.state, DisplayState::Lit | DisplayState::Off))
        .cloned()
        .collect();
    let names = names(&there);
    let mut path: Vec<&str> = Vec::new();
    if let Some(layout) = layout {
        path = vec!["layouts", layout];
        let monitors: Array = names.values().map(String::as_str).collect();
        put(table(document.as_table_mut(), &path)?, "monitors", monitors.into());
    }
    path.push("displays");
    for display in &there {
        let Some(name) = names.get(&display.name) else { continue };
        let mut path = path.clone();
        path.push(name);
        note(table(document.as_table_mut(), &path)?, display);
    }
    Ok(if before.is_empty() { document.to_string() } else { format!("{before}\n\n{document}") })
}

fn edit(file: &Path) -> Result<(), Error> {
    let text = read(file)?.unwrap_or_default();
    let draft = tempfile::Builder::new().prefix("displays").suffix(".toml").tempfile()?;
    std::fs::write(draft.path(), &text)?;
    let variable = |name: &str| std::env::var(name).ok().filter(|editor| !editor.is_empty());
    let editor = variable("VISUAL").or_else(|| variable("EDITOR")).unwrap_or_else(|| "vi".into());
    // As others do: the variable may have arguments.
    let command = format!("{editor} \"$1\"");
    let status = std::process::Command::new("sh")
        .args(["-c", &command, "sh"])
        .arg(draft.path())
        .status()
        .map_err(|error| failed(format!("{editor}: {error}")))?;
    if !status.success() {
        return Err(failed(format!("{editor} ended with {status}; the profile stays as it was")));
    }
    let new = std::fs::read_to_string(draft.path())?;
    if new == text {
        return Ok(());
    }
    if !check(draft.path(), &new) {
        let (_, kept) = draft.keep().map_err(|error| Error::Io(error.error))?;
        let kept = kept.display();
        return Err(failed(format!("the profile stays as it was; what you wrote is in {kept}")));
    }
    write(file, &new)
}

pub fn run(command: Profile) -> Result<(), Error> {
    match command {
        Profile::Save { whose, layout } => {
            let file = whose.file()?;
            let displays = connect()?.displays()?;
            write(&file, &noted(&read(&file)?.unwrap_or_default(), &displays, layout.as_deref())?)?;
            writeln!(io::stdout(), "{}", file.display())?;
            apply(whose.user)
        }
        Profile::Show(whose) => {
            let file = whose.file()?;
            let text = read(&file)?
                .unwrap_or_else(|| "# there is none: `geom_compositor profile save` writes it\n".into());
            Ok(write!(io::stdout(), "# {}\n{text}", file.display())?)
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
                std::fs::rename(&file, file.with_extension("toml.bak")).map_err(named(&file))?;
            }
            apply(whose.user)
        }
        Profile::Check { whose, file } => {
            let file = file.map_or_else(|| whose.file(), Ok)?;
            let text = std::fs::read_to_string(&file).map_err(named(&file))?;
            match check(&file, &text) {
                true => Ok(()),
                false => Err(failed("the profile has mistakes; the rest of it applies".into())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::display::plan::Position;
    use geom_ipc::{Link, Mode, Monitor, Place};

    fn display(name: &str, model: &str) -> Display {
        Display {
            name: name.into(),
            state: DisplayState::Lit,
            reason: None,
            mode: Some(Mode { width: 1920, height: 1080, refresh: 59_940 }),
            modes: Vec::new(),
            place: Place { x: 5, y: -6, width: 1920, height: 1080 },
            scale: 1.5,
            transform: "90".into(),
            losses: 0,
            focused: false,
            monitor: Some(Box::new(Monitor {
                make: "GSM".into(),
                model: model.into(),
                serial: Some("1".into()),
                edid: None,
            })),
            port: Some(format!("pci-0000:00:02.0/{name}")),
            blank: false,
            mirror: None,
            modeline: None,
            link: Some(Box::new(Link {
                color_space: "bt2020".into(),
                bit_depth: Some(10),
                rgb_range: "full".into(),
                content_type: "none".into(),
                scaling: "none".into(),
                vrr: false,
                white_point: None,
                brightness: None,
            })),
            complaints: Vec::new(),
        }
    }

    #[test]
    fn what_is_saved_is_what_is_read() -> Result<(), Error> {
        let displays = [display("DP-1", "Wide"), display("DP-2", "Twin"), display("DP-3", "Twin")];
        let text = noted("", &displays, None)?;
        let (profile, problems) = parse(Path::new("displays.toml"), &text);
        assert_eq!(problems, []);
        let profile = profile.unwrap_or_default();
        // Twins are told apart by their ports.
        let names = ["GSM Wide 1", "pci-0000:00:02.0/DP-2", "pci-0000:00:02.0/DP-3"];
        assert_eq!(profile.displays.keys().collect::<Vec<_>>(), names);
        let wish = &profile.displays["GSM Wide 1"];
        assert_eq!((wish.scale, wish.position.clone()), (Some(1.5), Some(Position::At(5, -6))));
        assert_eq!(wish.link.bit_depth, Some(10));
        // Saved again nothing changes.
        assert_eq!(noted(&text, &displays, None)?, text);
        Ok(())
    }

    #[test]
    fn comments_of_the_user_stay() -> Result<(), Error> {
        let before = "# my desk\n[displays.\"GSM Wide 1\"] # the big one\nscale = 1 # as small as I like\n\n[displays.other]\nscale = 3\n";
        let after = noted(before, &[display("DP-1", "Wide")], None)?;
        assert!(
            after.starts_with(
                "# my desk\n[displays.\"GSM Wide 1\"] # the big one\nscale = 1.5 # as small as I like\n"
            ),
            "{after}"
        );
        assert!(after.contains("[displays.other]\nscale = 3\n"), "{after}");
        let after = noted("# to come\n", &[display("DP-1", "Wide")], None)?;
        assert!(after.starts_with("# to come\n\n[displays.\"GSM Wide 1\"]\n"), "{after}");
        Ok(())
    }

    #[test]
    fn a_layout_names_its_monitors() -> Result<(), Error> {
        let text = noted("", &[display("DP-1", "Wide"), display("DP-2", "Tall")], Some("desk"))?;
        let (profile, problems) = parse(Path::new("displays.toml"), &text);
        assert_eq!(problems, []);
        let layouts = profile.unwrap_or_default().layouts;
        assert_eq!(layouts[0].monitors, ["GSM Wide 1", "GSM Tall 1"]);
        assert_eq!(layouts[0].displays.len(), 2);
        Ok(())
    }
}

//! `geom_compositor doctor`: what is wrong with a machine, and a bundle for who can mend it.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use geom_client::Error;

use crate::config::profile::USERDATA;
use crate::config::DEFAULT_PATH;
use crate::doctor::{examine, table, Files, Grade, Machine};
use crate::session::crash;

/// What to examine.
#[derive(Debug, Clone, Args)]
pub struct Doctor {
    /// Print JSON for programs
    #[arg(long)]
    json: bool,
    /// Write findings, versions, configuration, the journal's last lines and reports of crashes into a new file, without names of people and
    /// serial numbers of monitors
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH, env = "GEOM_COMPOSITOR_CONFIG")]
    config: PathBuf,
    /// Another user than the one who asks
    #[arg(long)]
    user: Option<String>,
    /// The folder of users' folders
    #[arg(long, value_name = "FOLDER", default_value = USERDATA, env = "GEOM_COMPOSITOR_USERDATA")]
    userdata: PathBuf,
}

/// Lines of the journal that go into a bundle.
const LINES: &str = "400";

/// Says what it finds.
///
/// # Errors
/// Where something is so wrong that the service can't run, and where the bundle can't be written.
pub fn run(asked: Doctor) -> Result<(), Error> {
    let own = || uzers::get_current_username().map(|name| name.to_string_lossy().into_owned());
    let user = asked.user.or_else(own).unwrap_or_else(|| "nobody".into());
    let files = Files { config: asked.config, userdata: asked.userdata, user };
    let findings = examine(&Machine::here(), &files);
    match asked.json {
        true => {
            writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&findings).map_err(io::Error::from)?)?
        }
        false => write!(io::stdout(), "{}", table(&findings))?,
    }
    if let Some(file) = asked.report {
        let text = anonymous(&bundle(&table(&findings), &files), &files.user);
        let new = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&file);
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", file.display()));
        new.and_then(|mut new| new.write_all(text.as_bytes())).map_err(named)?;
        writeln!(io::stdout(), "written: {}", file.display())?;
    }
    let bad = findings.iter().filter(|finding| finding.grade == Grade::Bad).count();
    match bad {
        0 => Ok(()),
        1 => Err(Error::BadArgument("one finding is bad".into())),
        bad => Err(Error::BadArgument(format!("{bad} findings are bad"))),
    }
}

fn bundle(findings: &str, files: &Files) -> String {
    let mut text = String::new();
    let mut part = |title: &str, body: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "==== {title}\n{}\n", body.trim_end());
    };
    let kernel = rustix::system::uname();
    let versions = format!(
        "geom_compositor {}\n{} {} {}\n{}",
        env!("CARGO_PKG_VERSION"),
        kernel.sysname().to_string_lossy(),
        kernel.release().to_string_lossy(),
        kernel.machine().to_string_lossy(),
        std::fs::read_to_string("/etc/os-release").unwrap_or_default(),
    );
    part("versions", &versions);
    part("findings", findings);
    let read = |file: &Path| std::fs::read_to_string(file).unwrap_or_else(|error| error.to_string());
    part(&files.config.display().to_string(), &read(&files.config));
    if let Some(profile) = crate::config::profile::file_of(&files.userdata, &files.user) {
        part("profile", &read(&profile));
    }
    let journal =
        Command::new("journalctl").args(["-b", "--no-pager", "-t", "geom_compositor", "-n", LINES]).output();
    let journal = journal.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    part("journal", &journal.unwrap_or_else(|error| error.to_string()));
    for report in crash::folders().flat_map(|folder| crash::reports(&folder)) {
        part(&report.display().to_string(), &read(&report));
    }
    text
}

/// Without what names people, machines and monitors: user and host names, titles of windows, serial numbers.
fn anonymous(text: &str, user: &str) -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let serials: Vec<String> = serials();
    let mut clean = String::with_capacity(text.len());
    for line in text.lines() {
        let mut line = untitled(line);
        for (name, sign) in [(user, "<user>"), (host.as_str(), "<host>")] {
            // Short ones are parts of other words.
            if name.len() > 2 && name != "root" && name != "nobody" {
                line = line.replace(name, sign);
            }
        }
        for serial in &serials {
            line = line.replace(serial.as_str(), "<serial>");
        }
        clean += &line;
        clean.push('\n');
    }
    clean
}

/// Without what a window is called; a quotation mark in that has a backslash before it.
fn untitled(line: &str) -> String {
    const TITLE: &str = "title=\"";
    let Some((before, rest)) = line.split_once(TITLE) else { return line.to_owned() };
    let mut escaped = false;
    let end = rest.find(|character| {
        let ends = character == '"' && !escaped;
        escaped = character == '\\' && !escaped;
        ends
    });
    format!("{before}{TITLE}<title>{}", end.and_then(|end| rest.get(end..)).unwrap_or_default())
}

/// Of the monitors that are there.
fn serials() -> Vec<String> {
    let folders = std::fs::read_dir("/sys/class/drm").into_iter().flatten().flatten();
    let edids = folders.filter_map(|folder| std::fs::read(folder.path().join("edid")).ok());
    let edids = edids.filter_map(|bytes| crate::display::edid::Edid::parse(&bytes).ok());
    let serials = edids.flat_map(|edid| {
        let number = (edid.serial_number > 9999).then(|| edid.serial_number.to_string());
        let hexadecimal = (edid.serial_number != 0).then(|| format!("0x{:08X}", edid.serial_number));
        edid.serial.into_iter().chain(number).chain(hexadecimal)
    });
    serials.filter(|serial| serial.len() > 3).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_left_out() {
        let text = "INFO window shown app_id=\"mail\" title=\"Letter to \\\" Bob\" home=\"HDMI-A-1\"\nuserdata/annabel/displays.toml\n";
        let clean = anonymous(text, "annabel");
        assert_eq!(
            clean,
            "INFO window shown app_id=\"mail\" title=\"<title>\" home=\"HDMI-A-1\"\nuserdata/<user>/displays.toml\n"
        );
        assert_eq!(anonymous("title=\"all", "x"), "title=\"<title>\n");
    }
}

//! `geom_compositor doctor`: prints the findings about the machine, or writes a report about them
//! that can be sent to a developer.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use super::error::Error;
use super::terminal::{self, field};
use crate::config::open::{read_user_text, MAX_TOML_BYTES};
use crate::config::profile::USERDATA;
use crate::config::DEFAULT_PATH;
use crate::doctor::{examine, table, Files, Finding, Grade, Machine};
use crate::session::{crash, users};

/// What to examine.
#[derive(Debug, Clone, Args)]
pub struct Doctor {
    /// Print JSON for programs
    #[arg(long)]
    json: bool,
    /// Write findings, versions, configuration, the end of the journal and crash reports into a new
    /// file, without names of users and serial numbers of monitors
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH, env = "GEOM_COMPOSITOR_CONFIG")]
    config: PathBuf,
    /// The user whose profile is examined [default: the user who runs this]
    #[arg(long)]
    user: Option<String>,
    /// The folder of the users' folders
    #[arg(long, value_name = "FOLDER", default_value = USERDATA, env = "GEOM_COMPOSITOR_USERDATA")]
    userdata: PathBuf,
}

/// Lines of the journal in a report.
const JOURNAL_LINES: &str = "400";

/// Prints the findings, and writes the report if one is requested.
///
/// # Errors
/// If a finding prevents the service from running, or the report cannot be written.
pub fn run(options: Doctor) -> Result<(), Error> {
    let user = options.user.or_else(users::own_name).unwrap_or_else(|| "nobody".into());
    let files = Files { config: options.config, userdata: options.userdata, user };
    let findings = examine(&Machine::here(), &files);
    let text = table(&printable(&findings));
    match options.json {
        true => writeln!(io::stdout(), "{}", terminal::json(&findings)?)?,
        false => write!(io::stdout(), "{text}")?,
    }
    if let Some(file) = options.report {
        let text = anonymize(&terminal::lines(&report(&text, &files)), &files.user);
        let new = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&file);
        new.and_then(|mut new| new.write_all(text.as_bytes())).map_err(Error::at(&file))?;
        writeln!(io::stdout(), "written: {}", field(&file.display().to_string()))?;
    }
    match findings.iter().filter(|finding| finding.grade == Grade::Bad).count() {
        0 => Ok(()),
        count => Err(Error::BadFindings(count)),
    }
}

/// Returns the findings for a terminal: they have text of clients, monitors and files.
fn printable(findings: &[Finding]) -> Vec<Finding> {
    let clean = |finding: &Finding| Finding {
        grade: finding.grade,
        what: field(&finding.what),
        found: field(&finding.found),
        remedy: field(&finding.remedy),
    };
    findings.iter().map(clean).collect()
}

fn report(findings: &str, files: &Files) -> String {
    let mut text = String::new();
    let mut part = |title: &str, body: &str| {
        // Writing to a string cannot fail.
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
        let text = read_user_text(&profile, MAX_TOML_BYTES);
        part("profile", &text.unwrap_or_else(|error| error.to_string()));
    }
    let journal = Command::new("journalctl")
        .args(["-b", "--no-pager", "-t", "geom_compositor", "-n", JOURNAL_LINES])
        .output();
    let journal = journal.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    part("journal", &journal.unwrap_or_else(|error| error.to_string()));
    for crash_report in crash::folders().flat_map(|folder| crash::reports(&folder)) {
        part(&crash_report.display().to_string(), &read(&crash_report));
    }
    text
}

/// Removes what identifies people, machines and monitors: user and host names, window titles,
/// serial numbers.
fn anonymize(text: &str, user: &str) -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let serials: Vec<String> = monitor_serials();
    let mut clean = String::with_capacity(text.len());
    for line in text.lines() {
        let mut line = without_title(line);
        for (name, placeholder) in [(user, "<user>"), (host.as_str(), "<host>")] {
            // A short name would be found within other words.
            if name.len() > 2 && name != "root" && name != "nobody" {
                line = line.replace(name, placeholder);
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

/// Removes the title of a window. A quotation mark within it is escaped by a backslash.
fn without_title(line: &str) -> String {
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

/// Returns the serial numbers of the connected monitors, in all forms that are printed.
fn monitor_serials() -> Vec<String> {
    let folders = std::fs::read_dir("/sys/class/drm").into_iter().flatten().flatten();
    let edids = folders.filter_map(|folder| std::fs::read(folder.path().join("edid")).ok());
    let edids = edids.filter_map(|bytes| geom_edid::Edid::parse(&bytes).ok());
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
    fn finding_is_one_line_without_controls() {
        let finding = Finding {
            grade: Grade::Good,
            what: "monitor".into(),
            found: "A\x1b[2J\ngood  GPU: fine".into(),
            remedy: String::new(),
        };
        let text = table(&printable(&[finding]));
        assert_eq!(text, "good  monitor: A\\u001b[2J\\ngood  GPU: fine\n");
    }

    #[test]
    fn report_has_no_names_and_titles() {
        let text = "INFO window shown app_id=\"mail\" title=\"Letter to \\\" Bob\" display=\"HDMI-A-1\"\nuserdata/annabel/displays.toml\n";
        let clean = anonymize(text, "annabel");
        assert_eq!(
            clean,
            "INFO window shown app_id=\"mail\" title=\"<title>\" display=\"HDMI-A-1\"\nuserdata/<user>/displays.toml\n"
        );
        assert_eq!(anonymize("title=\"all", "x"), "title=\"<title>\n");
    }
}

//! `geom_compositor calibrate`: calibrates a touch screen by touching targets on its display.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use clap::Args;
use geom_ipc::{Calibration, CalibrationState, Event, Request, Response};
use toml_edit::{value, Array, ArrayOfTables, DocumentMut, Item, Table};

use super::error::Error;
use super::terminal::field;
use super::{connect, profile};
use crate::config::open::{read_user_text, MAX_TOML_BYTES};

/// The device, and what becomes of the result.
#[derive(Debug, Clone, Args)]
pub struct Calibrate {
    /// The device's name, or its name in /dev/input, as `inputs` lists them [default: the
    /// only touch screen]
    device: Option<String>,
    /// Write the result into the configuration that the service reads
    #[arg(long)]
    save: bool,
}

/// Digits behind the decimal point of the result: a hundredth of a pixel.
const DIGITS: i32 = 6;

pub fn run(options: &Calibrate) -> Result<(), Error> {
    let mut client = connect()?;
    client.subscribe()?;
    let started = match client.request(Request::Calibrate { device: options.device.clone() })? {
        Response::Calibration(started) => started,
        _ => return Err(Error::UnsupportedByService("calibrations")),
    };
    let mut out = io::stdout();
    writeln!(
        out,
        "Touch each cross on {} with one finger. Ctrl+C ends without a change.",
        field(&started.display)
    )?;
    print_target(&mut out, &started)?;
    let finished = loop {
        // The service gives up after a minute without a touch.
        match client.next_event(Duration::from_secs(3600))? {
            Some(Event::Calibration { calibration }) if calibration.sysname == started.sysname => {
                match calibration.state {
                    CalibrationState::Target => print_target(&mut out, &calibration)?,
                    CalibrationState::Finished => break calibration,
                    CalibrationState::Ended | CalibrationState::Unknown => {
                        let why = calibration.message.unwrap_or_default();
                        return Err(Error::CalibrationEnded(field(&why)));
                    }
                }
            }
            Some(Event::EventsLost) => return Err(Error::CalibrationEnded("events were lost".into())),
            _ => {}
        }
    };
    let Some(matrix) = finished.matrix else {
        return Err(Error::CalibrationEnded("the service sent no result".into()));
    };
    let block = block(&finished.name, matrix);
    if !options.save {
        writeln!(
            out,
            "Calibrated until the device is unplugged or the service ends. To keep it, add this to"
        )?;
        writeln!(out, "the configuration, or calibrate with --save:\n\n{block}")?;
        return Ok(());
    }
    let config = client.status()?.config.ok_or(Error::NoConfiguration)?;
    // A link stays one.
    let path = std::fs::canonicalize(&config).map_err(Error::at(&config))?;
    save(&path, &finished.name, matrix)?;
    writeln!(out, "Calibrated, and saved in {}:\n\n{block}", field(&path.display().to_string()))?;
    Ok(())
}

fn print_target(out: &mut impl Write, calibration: &Calibration) -> Result<(), Error> {
    if let Some(message) = &calibration.message {
        writeln!(out, "{}", field(message))?;
    }
    Ok(writeln!(out, "{} of {}", calibration.target, calibration.targets)?)
}

/// Returns the matrix as a configuration has it.
fn numbers(matrix: [f64; 6]) -> Array {
    let scale = 10f64.powi(DIGITS);
    // Adding zero makes of -0 a 0.
    matrix.into_iter().map(|number| (number * scale).round() / scale + 0.0).collect()
}

fn entry(name: &str, matrix: [f64; 6]) -> Table {
    let mut table = Table::new();
    table.insert("name", value(name));
    table.insert("calibration", value(numbers(matrix)));
    table
}

/// Returns the entry of the configuration.
fn block(name: &str, matrix: [f64; 6]) -> String {
    let mut entries = ArrayOfTables::new();
    entries.push(entry(name, matrix));
    let mut document = DocumentMut::new();
    document.insert("input", Item::ArrayOfTables(entries));
    document.to_string()
}

/// Writes a device's matrix into a configuration: into its entry if there is one, or else into a
/// new one at the end. Comments and all others stay.
fn save(file: &Path, name: &str, matrix: [f64; 6]) -> Result<(), Error> {
    let text = read_user_text(file, MAX_TOML_BYTES).map_err(Error::at(file))?;
    let text = with_calibration(&text, name, matrix)?;
    profile::write(file, &text)
}

fn with_calibration(text: &str, name: &str, matrix: [f64; 6]) -> Result<String, Error> {
    let mut document: DocumentMut = text.parse().map_err(Error::ConfigurationNotToml)?;
    let item = document.entry("input").or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
    let entries = item.as_array_of_tables_mut().ok_or(Error::InputNotEntries)?;
    // An entry for one of several devices of this name is not for all of them.
    let is_own =
        |table: &Table| table.get("name").and_then(Item::as_str) == Some(name) && !table.contains_key("port");
    let own = entries.iter().position(is_own);
    match own.and_then(|own| entries.get_mut(own)) {
        Some(table) => {
            let numbers = numbers(matrix);
            match table.get_mut("calibration").and_then(Item::as_array_mut) {
                Some(present) => {
                    let decor = present.decor().clone();
                    *present = numbers;
                    *present.decor_mut() = decor;
                }
                None => drop(table.insert("calibration", value(numbers))),
            }
        }
        None => entries.push(entry(name, matrix)),
    }
    Ok(document.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MATRIX: [f64; 6] = [1.0, -0.0, 0.123_456_789, 0.0, 1.5, -0.25];

    #[test]
    fn block_is_an_entry_of_the_configuration() {
        let expected =
            "[[input]]\nname = \"a \\\"b\\\"\"\ncalibration = [1.0, 0.0, 0.123457, 0.0, 1.5, -0.25]\n";
        let text = block("a \"b\"", MATRIX).replace("'a \"b\"'", "\"a \\\"b\\\"\"");
        assert_eq!(text, expected);
    }

    #[test]
    fn saving_keeps_comments_and_other_entries() {
        let text =
            "# mine\nrenderer = \"auto\" # fast\n\n[[input]]\nname = \"mouse\"\n\n[[input]]\n# the panel\n\
                    name = \"panel\"\ncalibration = [1, 0, 0, 0, 1, 0] # old\n";
        let saved = with_calibration(text, "panel", MATRIX).expect("TOML");
        let expected = text.replace("[1, 0, 0, 0, 1, 0]", "[1.0, 0.0, 0.123457, 0.0, 1.5, -0.25]");
        assert_eq!(saved, expected);
        let saved = with_calibration(text, "other", MATRIX).expect("TOML");
        assert!(saved.starts_with(text) && saved.contains("name = \"other\""), "{saved}");
        let saved = with_calibration("[keyboard]\nlayout = \"de\"\n", "panel", MATRIX).expect("TOML");
        assert!(saved.starts_with("[keyboard]\nlayout = \"de\"\n"), "{saved}");
        assert!(saved.contains("[[input]]\nname = \"panel\"\ncalibration ="), "{saved}");
        // One of two equal devices.
        let text = "[[input]]\nname = \"panel\"\nport = \"usb-1\"\n";
        let saved = with_calibration(text, "panel", MATRIX).expect("TOML");
        assert!(saved.starts_with(text) && saved.matches("[[input]]").count() == 2, "{saved}");
    }

    #[test]
    fn configuration_that_is_no_toml_is_left_alone() {
        assert!(matches!(with_calibration("[", "panel", MATRIX), Err(Error::ConfigurationNotToml(_))));
        assert!(matches!(with_calibration("input = 3\n", "panel", MATRIX), Err(Error::InputNotEntries)));
    }
}

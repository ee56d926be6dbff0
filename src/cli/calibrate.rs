//! `geom_compositor calibrate`: calibrates a touchscreen by touching targets on its display.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use clap::Args;
use geom_ipc::{Calibration, CalibrationState, Event, InputDevice, Request, Response};
use toml_edit::{value, Array, ArrayOfTables, DocumentMut, Item, Table};

use super::error::Error;
use super::terminal::field;
use super::{connect, profile};
use crate::config::open::{read_user_text, MAX_TOML_BYTES};
use crate::config::{parse, DeviceKind, DeviceTraits};

/// The device, and what becomes of the result.
#[derive(Debug, Clone, Args)]
pub struct Calibrate {
    /// The device's name, or its name in /dev/input, as `inputs` lists them [default: the
    /// only touchscreen]
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
    let devices = client.input_devices()?;
    let device = Calibrated::of(&finished.sysname, &devices)?;
    writeln!(out, "Calibrated until the device is unplugged or the service ends. In the configuration:")?;
    writeln!(out, "\n{}", block(&device, matrix))?;
    if options.save {
        let config = client.status()?.config.ok_or(Error::NoConfiguration)?;
        // A link stays one.
        let path = std::fs::canonicalize(&config).map_err(Error::at(&config))?;
        save(&path, &device, matrix)?;
        writeln!(out, "Saved in {}.", field(&path.display().to_string()))?;
    }
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

/// The device that was calibrated.
struct Calibrated<'a> {
    info: &'a InputDevice,
    kinds: Vec<DeviceKind>,
    /// Another device has its name: an entry needs its port too.
    has_twin: bool,
}

impl<'a> Calibrated<'a> {
    fn of(sysname: &str, devices: &'a [InputDevice]) -> Result<Self, Error> {
        let info = devices.iter().find(|device| device.sysname == sysname);
        let info = info.ok_or_else(|| Error::CalibrationEnded("the device is gone".into()))?;
        let kinds = info.kinds.iter().filter_map(|kind| kind.parse().ok()).collect();
        let is_twin = |device: &&InputDevice| device.name == info.name && device.sysname != info.sysname;
        Ok(Self { info, kinds, has_twin: devices.iter().any(|device| is_twin(&device)) })
    }

    /// Returns the port that an entry for it alone names.
    fn port(&self) -> Option<&str> {
        self.info.port.as_deref().filter(|_| self.has_twin)
    }

    /// Returns whether an entry is for this device and for no other.
    fn is_own(&self, entry: &Table) -> bool {
        let text = |key: &str| entry.get(key).and_then(Item::as_str);
        let is_narrower = ["kind", "vendor", "product"].iter().any(|key| entry.contains_key(key));
        text("name") == Some(&self.info.name) && text("port") == self.port() && !is_narrower
    }

    fn traits(&self) -> DeviceTraits<'_> {
        let InputDevice { name, port, vendor, product, .. } = self.info;
        DeviceTraits {
            name,
            ports: [port.as_deref(), None],
            kinds: &self.kinds,
            vendor: *vendor,
            product: *product,
        }
    }
}

fn entry(device: &Calibrated<'_>, matrix: [f64; 6]) -> Table {
    let mut table = Table::new();
    table.insert("name", value(&device.info.name));
    if let Some(port) = device.port() {
        table.insert("port", value(port));
    }
    table.insert("calibration", value(numbers(matrix)));
    table
}

/// Returns the entry of the configuration.
fn block(device: &Calibrated<'_>, matrix: [f64; 6]) -> String {
    let mut entries = ArrayOfTables::new();
    entries.push(entry(device, matrix));
    let mut document = DocumentMut::new();
    document.insert("input", Item::ArrayOfTables(entries));
    document.to_string()
}

/// Writes a device's matrix into a configuration: into its entry if there is one, or else into a
/// new one at the end. Comments and all others stay.
fn save(file: &Path, device: &Calibrated<'_>, matrix: [f64; 6]) -> Result<(), Error> {
    let text = read_user_text(file, MAX_TOML_BYTES).map_err(Error::at(file))?;
    let text = with_calibration(&text, device, matrix)?;
    // Another entry that matches and comes before has a matrix, which would apply.
    let (config, _) = parse(file, &text);
    let entries = config.unwrap_or_default().input;
    let first = entries
        .iter()
        .find(|entry| entry.settings.calibration.is_some() && entry.conditions.matches(device.traits()));
    if let Some(first) = first.filter(|first| !is_near(first.settings.calibration, matrix)) {
        return Err(Error::CalibrationShadowed { file: file.to_owned(), line: first.line });
    }
    profile::write(file, &text)
}

fn is_near(written: Option<[f32; 6]>, matrix: [f64; 6]) -> bool {
    let is_near = |(one, other): (f32, f64)| (f64::from(one) - other).abs() < 1e-4;
    written.is_some_and(|written| written.into_iter().zip(matrix).all(is_near))
}

fn with_calibration(text: &str, device: &Calibrated<'_>, matrix: [f64; 6]) -> Result<String, Error> {
    let mut document: DocumentMut = text.parse().map_err(Error::ConfigurationNotToml)?;
    let item = document.entry("input").or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
    let entries = item.as_array_of_tables_mut().ok_or(Error::InputNotEntries)?;
    let own = entries.iter().position(|entry| device.is_own(entry));
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
        None => entries.push(entry(device, matrix)),
    }
    Ok(document.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MATRIX: [f64; 6] = [1.0, -0.0, 0.123_456_789, 0.0, 1.5, -0.25];
    const OLD: &str = "[1, 0, 0, 0, 1, 0]";
    const NEW: &str = "[1.0, 0.0, 0.123457, 0.0, 1.5, -0.25]";

    fn panel(sysname: &str, port: &str) -> InputDevice {
        InputDevice {
            sysname: sysname.into(),
            name: "panel".into(),
            kinds: vec!["touch".into()],
            port: Some(port.into()),
            ..InputDevice::default()
        }
    }

    fn calibrated(devices: &[InputDevice]) -> Calibrated<'_> {
        Calibrated::of("event1", devices).expect("a device")
    }

    #[test]
    fn block_is_an_entry_of_the_configuration() {
        let one = [panel("event1", "usb-1")];
        let text = block(&calibrated(&one), MATRIX);
        assert_eq!(text, format!("[[input]]\nname = \"panel\"\ncalibration = {NEW}\n"));
    }

    #[test]
    fn saving_keeps_comments_and_other_entries() {
        let one = [panel("event1", "usb-1")];
        let device = calibrated(&one);
        let text = format!(
            "# mine\nrenderer = \"auto\" # fast\n\n[[input]]\nname = \"mouse\"\n\n[[input]]\n# the panel\n\
             name = \"panel\"\ncalibration = {OLD} # old\n"
        );
        let saved = with_calibration(&text, &device, MATRIX).expect("TOML");
        assert_eq!(saved, text.replace(OLD, NEW));
        for text in ["[keyboard]\nlayout = \"de\"\n", "[[input]]\nname = \"panel\"\nkind = \"pen\"\n"] {
            let saved = with_calibration(text, &device, MATRIX).expect("TOML");
            let added = format!("[[input]]\nname = \"panel\"\ncalibration = {NEW}\n");
            assert!(saved.starts_with(text) && saved.ends_with(&added), "{saved}");
        }
    }

    #[test]
    fn one_of_two_equal_devices_is_saved_with_its_port() {
        let two = [panel("event1", "usb-1"), panel("event2", "usb-2")];
        let device = calibrated(&two);
        let text = format!("[[input]]\nname = \"panel\"\nport = \"usb-2\"\ncalibration = {OLD}\n");
        let saved = with_calibration(&text, &device, MATRIX).expect("TOML");
        let added = format!("name = \"panel\"\nport = \"usb-1\"\ncalibration = {NEW}\n");
        assert!(saved.starts_with(&text) && saved.ends_with(&added), "{saved}");
    }

    /// It would look as if it were saved until the next start.
    #[test]
    fn matrix_behind_one_that_applies_is_not_saved() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("conf.toml");
        let text = format!("[[input]]\nname = \"pan*\"\ncalibration = {OLD}\n");
        std::fs::write(&file, &text).expect("a file");
        let one = [panel("event1", "usb-1")];
        let saved = save(&file, &calibrated(&one), MATRIX);
        assert!(matches!(saved, Err(Error::CalibrationShadowed { line: 1, .. })), "{saved:?}");
        assert_eq!(std::fs::read_to_string(&file).expect("a file"), text);
    }

    #[test]
    fn configuration_that_is_no_toml_is_left_alone() {
        let one = [panel("event1", "usb-1")];
        let device = calibrated(&one);
        assert!(matches!(with_calibration("[", &device, MATRIX), Err(Error::ConfigurationNotToml(_))));
        assert!(matches!(with_calibration("input = 3\n", &device, MATRIX), Err(Error::InputNotEntries)));
    }
}

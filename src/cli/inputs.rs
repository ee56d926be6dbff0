//! `geom_compositor inputs`: the input devices, their settings, and where these come from.

use geom_ipc::InputDevice;

use super::tables::table;

/// Describes input devices: one line each, and then one line for each setting.
pub fn inputs<T: AsRef<[InputDevice]> + ?Sized>(devices: &T) -> String {
    let devices = devices.as_ref();
    let row = |device: &InputDevice| {
        vec![
            device.sysname.clone(),
            device.kinds.join(","),
            format!("{:04x}:{:04x}", device.vendor, device.product),
            device.port.clone().unwrap_or_default(),
            device.display.clone().unwrap_or_default(),
            device.name.clone(),
        ]
    };
    let rows: Vec<_> = devices.iter().map(row).collect();
    let mut text = table(&["DEVICE", "KIND", "ID", "PORT", "ON", "NAME"], &rows);
    let rows: Vec<_> = devices.iter().flat_map(settings).collect();
    if !rows.is_empty() {
        text += "\n\n";
        text += &table(&["DEVICE", "SETTING", "VALUE", "FROM"], &rows);
    }
    text
}

/// Returns a row for each setting of a device, and for each one that does not apply.
fn settings(device: &InputDevice) -> Vec<Vec<String>> {
    let source = |name: &str| device.sources.get(name).map_or("device", String::as_str).to_owned();
    let all = serde_json::to_value(&device.settings).unwrap_or_default();
    let mut rows = Vec::new();
    for (name, value) in all.as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        rows.push(vec![device.sysname.clone(), name.clone(), value, source(name)]);
    }
    for warning in &device.warnings {
        let (name, reason) = warning.split_once(": ").unwrap_or(("", warning));
        let reason = format!("does not apply: {reason}");
        rows.push(vec![device.sysname.clone(), name.to_owned(), reason, source(name)]);
    }
    rows
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use geom_ipc::{InputCapability, InputSettings};

    use super::*;

    fn panel() -> InputDevice {
        InputDevice {
            sysname: "event3".into(),
            name: "Panel".into(),
            vendor: 0x46d,
            product: 0xc52b,
            capabilities: vec![InputCapability::Touch, InputCapability::TabletTool],
            kinds: vec!["touch".into(), "pen".into()],
            port: Some("usb-0:1.2".into()),
            display: Some("DP-1".into()),
            ..InputDevice::default()
        }
    }

    #[test]
    fn input_devices_have_one_line_each() {
        let expected = "DEVICE  KIND       ID         PORT       ON    NAME\n\
                        event3  touch,pen  046d:c52b  usb-0:1.2  DP-1  Panel";
        assert_eq!(inputs(&[panel()]), expected);
    }

    #[test]
    fn settings_are_listed_with_their_sources_and_refusals() {
        let settings = InputSettings {
            speed: Some(-0.5),
            left_handed: Some(true),
            scroll_method: Some("edge".into()),
            calibration: Some([0.1, 0.0, 0.0, 0.0, 1.0, 0.0]),
            ..InputSettings::default()
        };
        let sources = [("left_handed", "[[input]] at line 3"), ("speed", "[pointer]")];
        let sources = sources.map(|(name, source)| (name.to_owned(), source.to_owned()));
        let warnings = vec!["rotation: the device does not have this setting".into()];
        let device = InputDevice {
            settings: Box::new(settings),
            sources: BTreeMap::from(sources),
            warnings,
            ..panel()
        };
        let text = inputs(&[device]);
        let lines: Vec<&str> = text.lines().skip(3).collect();
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
        let lines: Vec<String> = lines.into_iter().map(words).collect();
        for expected in [
            "DEVICE SETTING VALUE FROM",
            "event3 speed -0.5 [pointer]",
            "event3 left_handed true [[input]] at line 3",
            "event3 scroll_method edge device",
            "event3 calibration [0.1,0.0,0.0,0.0,1.0,0.0] device",
            "event3 rotation does not apply: the device does not have this setting device",
        ] {
            assert!(lines.iter().any(|line| line == expected), "{expected}: {lines:#?}");
        }
    }

    /// A device's name is one cell, whatever it is.
    #[test]
    fn device_cannot_fake_a_row() {
        let device = InputDevice { name: "a\nevent9 \x1b]0;".into(), ..panel() };
        let text = inputs(&[device]);
        assert!(text.lines().count() == 2 && !text.contains('\x1b'), "{text}");
    }
}

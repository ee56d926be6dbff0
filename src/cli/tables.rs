//! Results as text for a person.

use geom_ipc::{Client, Display, Event, Gpu, Status, Window};

use super::terminal::field;

/// Formats rows in columns, each as wide as its widest cell.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| field(cell)).collect()).collect();
    let widths: Vec<usize> = (0..head.len())
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain([head.get(column).map_or(0, |title| title.len())]).max().unwrap_or(0)
        })
        .collect();
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let head: Vec<String> = head.iter().map(ToString::to_string).collect();
    std::iter::once(line(&head)).chain(rows.iter().map(|row| line(row))).collect::<Vec<_>>().join("\n")
}

/// Returns the name of an enum's value in JSON.
fn json_name(value: impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        _ => String::new(),
    }
}

fn seconds(time: f64) -> String {
    match time {
        time if time < 10.0 => format!("{time:.1} s"),
        time if time < 120.0 => format!("{time:.0} s"),
        time if time < 7200.0 => format!("{:.0} min", time / 60.0),
        time => format!("{:.0} h", time / 3600.0),
    }
}

/// Returns a process id, or `?` if the process is in another PID namespace.
fn process(pid: i32) -> String {
    match pid {
        0 => "?".to_owned(),
        pid => pid.to_string(),
    }
}

pub fn displays<T: AsRef<[Display]> + ?Sized>(displays: &T) -> String {
    let row = |display: &Display| {
        let mode = display.mode.map_or_else(String::new, |mode| {
            format!("{}x{}@{:.2}", mode.width, mode.height, f64::from(mode.refresh) / 1000.0)
        });
        let focus = if display.focused { "focused" } else { "" };
        vec![
            display.name.clone(),
            json_name(display.state),
            mode,
            format!("{},{}", display.logical.x, display.logical.y),
            format!("{}", display.scale),
            display.transform.clone(),
            display.monitor.as_ref().map_or_else(String::new, |monitor| {
                let parts = [Some(&monitor.make), Some(&monitor.model), monitor.serial.as_ref()];
                parts.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" ")
            }),
            [focus, display.reason.as_deref().unwrap_or_default()].join(" ").trim().to_owned(),
        ]
    };
    let rows: Vec<_> = displays.as_ref().iter().map(row).collect();
    table(&["DISPLAY", "STATE", "MODE", "POSITION", "SCALE", "TRANSFORM", "MONITOR", ""], &rows)
}

pub fn clients<T: AsRef<[Client]> + ?Sized>(clients: &T) -> String {
    let row = |client: &Client| {
        let rtt = client.rtt_us.map_or_else(String::new, |rtt| format!("{:.2} ms", rtt.last as f64 / 1000.0));
        vec![
            client.id.to_string(),
            json_name(client.kind),
            json_name(client.state),
            process(client.pid),
            client.uid.to_string(),
            seconds(client.connected_s),
            seconds(client.idle_s),
            rtt,
            client.displays.join(","),
            client.app_id.clone().or_else(|| client.executable.clone()).unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = clients.as_ref().iter().map(row).collect();
    let head = ["CLIENT", "KIND", "STATE", "PID", "UID", "SINCE", "IDLE", "ROUND TRIP", "ON", "PROGRAM"];
    table(&head, &rows)
}

pub fn windows<T: AsRef<[Window]> + ?Sized>(windows: &T) -> String {
    let row = |window: &Window| {
        let away = window.assigned_output != window.display;
        let assigned = window.assigned_output.clone().filter(|_| away).unwrap_or_default();
        vec![
            window.id.to_string(),
            window.client.to_string(),
            window.display.clone().unwrap_or_default(),
            assigned,
            if window.focused { "focused" } else { "" }.to_owned(),
            window.app_id.clone().unwrap_or_default(),
            window.title.clone().unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = windows.as_ref().iter().map(row).collect();
    table(&["WINDOW", "CLIENT", "ON", "ASSIGNED TO", "", "APP ID", "TITLE"], &rows)
}

/// Describes a GPU in one line.
fn gpu(gpu: &Gpu) -> String {
    let interface = if gpu.atomic { "atomic" } else { "legacy KMS" };
    format!("{}, {}, {interface}, {}", gpu.path, gpu.driver, gpu.renderer)
}

/// Describes the exit of a program in one phrase.
fn exit(exit_code: Option<i32>, signal: Option<i32>) -> String {
    match (exit_code, signal) {
        (Some(code), _) => format!("with status {code}"),
        (None, Some(signal)) => format!("by signal {signal}"),
        (None, None) => "with an unknown status".to_owned(),
    }
}

pub fn status(status: &Status) -> String {
    let mut rows = vec![
        vec!["version".to_owned(), status.version.clone()],
        vec!["process".to_owned(), status.pid.to_string()],
        vec!["running for".to_owned(), seconds(status.uptime_s)],
        vec!["backend".to_owned(), status.backend.clone()],
        vec!["session".to_owned(), if status.session_active { "active" } else { "on another VT" }.to_owned()],
        vec!["WAYLAND_DISPLAY".to_owned(), status.wayland_display.clone()],
        vec!["configuration".to_owned(), status.config.clone().unwrap_or_else(|| "defaults".to_owned())],
        vec!["enabled displays".to_owned(), status.enabled_displays.to_string()],
        vec!["frames shown".to_owned(), status.frames.to_string()],
        vec!["clients".to_owned(), status.clients.to_string()],
        vec!["unresponsive".to_owned(), status.unresponsive_clients.to_string()],
        vec!["refused".to_owned(), status.refused_clients.to_string()],
    ];
    if let Some(title) = &status.title {
        rows.insert(0, vec!["title".to_owned(), title.clone()]);
    }
    rows.extend(status.gpus.iter().map(|open| vec!["GPU".to_owned(), gpu(open)]));
    rows.extend(status.notices.iter().map(|notice| vec!["notice".to_owned(), notice.clone()]));
    table(&["", ""], &rows).trim_start().to_owned()
}

/// Describes an event in one line.
pub fn event(event: &Event) -> String {
    field(&event_text(event))
}

fn event_text(event: &Event) -> String {
    match event {
        Event::Ping { .. } | Event::Unknown => String::new(),
        Event::Goodbye { reason } => format!("the service ends the connection: {}", json_name(reason)),
        Event::Display { display } => format!("display {} is {}", display.name, json_name(display.state)),
        Event::Layout { cause, enabled } => format!("{cause}: enabled displays are {}", enabled.join(", ")),
        Event::ClientConnected { client } => {
            let pid = process(client.pid);
            format!("client {} connected: {} of process {pid}", client.id, json_name(client.kind))
        }
        Event::ClientState { client } => format!("client {} is {}", client.id, json_name(client.state)),
        Event::ClientDisconnected { client, reason } => {
            format!("client {client} disconnected: {}", json_name(reason))
        }
        Event::Window { window } => format!(
            "window {} of client {} is on {}: {}",
            window.id,
            window.client,
            window.display.as_deref().unwrap_or("no display"),
            window.app_id.as_deref().unwrap_or_default()
        ),
        Event::WindowClosed { window } => format!("window {window} closed"),
        Event::Focus { window: Some(window) } => format!("window {window} is focused"),
        Event::Focus { window: None } => "no window is focused".to_owned(),
        Event::InputDeviceAdded { device } => {
            format!("input device {} added: {}", device.sysname, device.name)
        }
        Event::InputDeviceRemoved { device } => {
            format!("input device {} removed: {}", device.sysname, device.name)
        }
        Event::Calibration { calibration } => format!(
            "calibration of {}: {} {} of {}",
            calibration.name,
            json_name(calibration.state),
            calibration.target,
            calibration.targets
        ),
        Event::GpuAdded { gpu: added } => format!("GPU added: {}", gpu(added)),
        Event::GpuRemoved { gpu: removed } => format!("GPU removed: {}", gpu(removed)),
        Event::Session { active: true } => "the session is active".to_owned(),
        Event::Session { active: false } => "the session is not active: another VT is".to_owned(),
        Event::ProgramEnded { command, pid, exit_code, signal } => {
            format!("program {pid} ended {}: {command}", exit(*exit_code, *signal))
        }
        Event::ConfigError { message } => format!("configuration: {message}"),
        Event::ConfigApplied => "configuration applied".to_owned(),
        Event::EventsLost => "events were lost: read faster, and subscribe again".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_of_a_program_has_its_status_or_signal() {
        let ended = |exit_code, signal| {
            event(&Event::ProgramEnded { command: "run".into(), pid: 7, exit_code, signal })
        };
        assert_eq!(ended(Some(3), None), "program 7 ended with status 3: run");
        assert_eq!(ended(None, Some(9)), "program 7 ended by signal 9: run");
    }

    /// A title is one cell, and an event one line, whatever a client writes into it.
    #[test]
    fn client_cannot_fake_a_row() {
        let window = Window {
            id: 1,
            client: 7,
            app_id: Some("app\x1b]0;".into()),
            title: Some("x\n2       8       DP-1".into()),
            assigned_output: None,
            display: None,
            fullscreen: false,
            focused: true,
        };
        let text = windows(std::slice::from_ref(&window));
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(!text.contains('\x1b') && text.contains("x\\n2"), "{text}");
        let text = event(&Event::Window { window });
        assert!(!text.contains('\x1b') && text.contains("\\u001b"), "{text}");
        let text = event(&Event::ConfigError { message: "a\nwindow 9 is focused".into() });
        assert_eq!(text.lines().count(), 1, "{text}");
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [vec!["1".to_owned(), "a".to_owned()], vec!["1000".to_owned(), "b".to_owned()]];
        assert_eq!(table(&["ID", "NAME"], &rows), "ID    NAME\n1     a\n1000  b");
    }
}

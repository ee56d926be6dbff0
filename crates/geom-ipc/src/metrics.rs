//! Metrics of a running service, and their Prometheus text format.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Counters since the service started, and current values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Metrics {
    /// Seconds since the service started.
    pub uptime_s: f64,
    /// Processor time in seconds, user and system.
    pub cpu_s: f64,
    /// Resident memory in bytes.
    pub memory_bytes: u64,
    /// Number of open file descriptors.
    pub open_fds: u64,
    /// Number of connections refused.
    pub refused_clients: u64,
    /// Number of connections by [`ConnectionState`](crate::ConnectionState).
    pub clients: BTreeMap<String, u64>,
    /// Metrics of each display.
    pub displays: Vec<DisplayMetrics>,
}

/// Metrics of one display.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DisplayMetrics {
    /// Connector name.
    pub name: String,
    /// Whether it is enabled.
    pub enabled: bool,
    /// Modesets: commits that set its mode and signal, after a VT switch also.
    #[serde(default)]
    pub modesets: u64,
    /// Frames presented.
    pub frames: u64,
    /// Vblanks between the one that a frame was scheduled for and the one that presented it, summed
    /// over all frames.
    pub missed_vblanks: u64,
    /// Average time from commit to page flip, in microseconds.
    pub latency_avg_us: u64,
    /// Maximum time from commit to page flip, in microseconds.
    pub latency_max_us: u64,
}

impl Metrics {
    /// Returns the metrics in the Prometheus text format, version 0.0.4.
    pub fn prometheus(&self) -> String {
        let mut text = String::new();
        let mut metric = |name: &str, kind: &str, help: &str, values: &[(String, String)]| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "# HELP geom_compositor_{name} {help}");
            let _ = writeln!(text, "# TYPE geom_compositor_{name} {kind}");
            for (labels, value) in values {
                let _ = writeln!(text, "geom_compositor_{name}{labels} {value}");
            }
        };
        let one = |value: String| [(String::new(), value)];
        metric("uptime_seconds", "gauge", "Time since the service started.", &one(self.uptime_s.to_string()));
        metric("cpu_seconds_total", "counter", "Processor time.", &one(self.cpu_s.to_string()));
        metric("resident_memory_bytes", "gauge", "Resident memory.", &one(self.memory_bytes.to_string()));
        metric("open_fds", "gauge", "Open file descriptors.", &one(self.open_fds.to_string()));
        metric(
            "refused_clients_total",
            "counter",
            "Connections refused.",
            &one(self.refused_clients.to_string()),
        );
        let clients = self.clients.iter().map(|(state, count)| (label("state", state), count.to_string()));
        metric("clients", "gauge", "Connections by state.", &clients.collect::<Vec<_>>());
        let of = |value: &dyn Fn(&DisplayMetrics) -> String| -> Vec<(String, String)> {
            self.displays.iter().map(|display| (label("display", &display.name), value(display))).collect()
        };
        let seconds = |micros: u64| (micros as f64 / 1e6).to_string();
        metric(
            "display_enabled",
            "gauge",
            "Whether the display is enabled.",
            &of(&|display| u8::from(display.enabled).to_string()),
        );
        metric("modesets_total", "counter", "Modesets.", &of(&|display| display.modesets.to_string()));
        metric("frames_total", "counter", "Frames presented.", &of(&|display| display.frames.to_string()));
        metric(
            "missed_vblanks_total",
            "counter",
            "Vblanks by which frames were late.",
            &of(&|display| display.missed_vblanks.to_string()),
        );
        metric(
            "latency_avg_seconds",
            "gauge",
            "Average time from commit to page flip.",
            &of(&|display| seconds(display.latency_avg_us)),
        );
        metric(
            "latency_max_seconds",
            "gauge",
            "Maximum time from commit to page flip.",
            &of(&|display| seconds(display.latency_max_us)),
        );
        text
    }
}

/// Returns a label set of one label, with its value escaped.
fn label(name: &str, value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{{{name}=\"{value}\"}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_text_has_each_metric_with_escaped_labels() {
        let display = DisplayMetrics {
            name: "a\"b".into(),
            enabled: true,
            modesets: 3,
            frames: 7,
            missed_vblanks: 1,
            latency_avg_us: 1500,
            latency_max_us: 20_000,
        };
        let metrics = Metrics {
            uptime_s: 1.5,
            cpu_s: 0.25,
            memory_bytes: 1024,
            open_fds: 9,
            refused_clients: 0,
            clients: [("alive".to_owned(), 2)].into(),
            displays: vec![display],
        };
        let text = metrics.prometheus();
        for line in [
            "geom_compositor_uptime_seconds 1.5",
            "geom_compositor_clients{state=\"alive\"} 2",
            "geom_compositor_modesets_total{display=\"a\\\"b\"} 3",
            "geom_compositor_frames_total{display=\"a\\\"b\"} 7",
            "geom_compositor_latency_avg_seconds{display=\"a\\\"b\"} 0.0015",
            "# TYPE geom_compositor_missed_vblanks_total counter",
        ] {
            assert!(text.lines().any(|known| known == line), "no {line} in {text}");
        }
    }
}

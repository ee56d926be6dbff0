//! Figures of a running service, and their text for Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is counted since the service's start, and what is measured now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Metrics {
    pub uptime_s: f64,
    /// Seconds of processor time.
    pub cpu_s: f64,
    /// Resident memory in bytes.
    pub memory: u64,
    pub descriptors: u64,
    /// Newcomers that were refused.
    pub refused: u64,
    /// Connections by state.
    pub clients: BTreeMap<String, u64>,
    pub displays: Vec<DisplayMetrics>,
}

/// One display's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DisplayMetrics {
    pub name: String,
    pub lit: bool,
    /// Frames shown.
    pub frames: u64,
    /// Vblanks that went by between the one a frame was meant for and the one that it came with.
    pub missed: u64,
    /// Microseconds from handing a frame over to its being shown, on average.
    pub latency_us: u64,
    /// At most.
    pub latency_most_us: u64,
}

impl Metrics {
    /// In the text format of Prometheus, version 0.0.4.
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
        metric("uptime_seconds", "gauge", "Time since the start.", &one(self.uptime_s.to_string()));
        metric("cpu_seconds_total", "counter", "Processor time.", &one(self.cpu_s.to_string()));
        metric("resident_memory_bytes", "gauge", "Resident memory.", &one(self.memory.to_string()));
        metric("open_fds", "gauge", "Open descriptors.", &one(self.descriptors.to_string()));
        metric(
            "refused_clients_total",
            "counter",
            "Newcomers that were refused.",
            &one(self.refused.to_string()),
        );
        let clients = self.clients.iter().map(|(state, count)| (label("state", state), count.to_string()));
        metric("clients", "gauge", "Connections by state.", &clients.collect::<Vec<_>>());
        let of = |value: &dyn Fn(&DisplayMetrics) -> String| -> Vec<(String, String)> {
            self.displays.iter().map(|display| (label("display", &display.name), value(display))).collect()
        };
        let seconds = |micros: u64| (micros as f64 / 1e6).to_string();
        metric(
            "display_lit",
            "gauge",
            "Whether it is lit.",
            &of(&|display| u8::from(display.lit).to_string()),
        );
        metric("frames_total", "counter", "Frames shown.", &of(&|display| display.frames.to_string()));
        metric(
            "missed_vblanks_total",
            "counter",
            "Vblanks that frames came late.",
            &of(&|display| display.missed.to_string()),
        );
        metric(
            "latency_seconds",
            "gauge",
            "From commit to light, on average.",
            &of(&|display| seconds(display.latency_us)),
        );
        metric(
            "latency_most_seconds",
            "gauge",
            "From commit to light, at most.",
            &of(&|display| seconds(display.latency_most_us)),
        );
        text
    }
}

/// Backslashes, quotation marks and line ends of a value have a backslash before them.
fn label(name: &str, value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{{{name}=\"{value}\"}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_for_prometheus() {
        let display = DisplayMetrics {
            name: "a\"b".into(),
            lit: true,
            frames: 7,
            missed: 1,
            latency_us: 1500,
            latency_most_us: 20_000,
        };
        let metrics = Metrics {
            uptime_s: 1.5,
            cpu_s: 0.25,
            memory: 1024,
            descriptors: 9,
            refused: 0,
            clients: [("alive".to_owned(), 2)].into(),
            displays: vec![display],
        };
        let text = metrics.prometheus();
        for line in [
            "geom_compositor_uptime_seconds 1.5",
            "geom_compositor_clients{state=\"alive\"} 2",
            "geom_compositor_frames_total{display=\"a\\\"b\"} 7",
            "geom_compositor_latency_seconds{display=\"a\\\"b\"} 0.0015",
            "# TYPE geom_compositor_missed_vblanks_total counter",
        ] {
            assert!(text.lines().any(|known| known == line), "no {line} in {text}");
        }
    }
}

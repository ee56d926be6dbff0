//! Metrics of the service: answered to control requests, and written to a file if the configuration names one.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use geom_ipc::{DisplayMetrics, Metrics};
use tracing::warn;

use crate::compositor::deadline::Deadline;
use crate::compositor::State;
use crate::output::frame_stats::FrameStats;

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl State {
    pub fn ipc_metrics(&self) -> Metrics {
        let mut clients = BTreeMap::new();
        for record in self.clients.connections.values() {
            *clients.entry(format!("{:?}", record.ipc_state()).to_lowercase()).or_default() += 1;
        }
        let displays = self.outputs.iter().map(|output| {
            let FrameStats { frames, missed, latency, max_latency } = output.frame_stats;
            DisplayMetrics {
                name: output.name.clone(),
                enabled: output.is_enabled(),
                frames,
                missed_vblanks: missed,
                latency_avg_us: micros(latency).checked_div(frames).unwrap_or(0),
                latency_max_us: micros(max_latency),
            }
        });
        let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
        Metrics {
            uptime_s: self.now().saturating_sub(self.started).as_secs_f64(),
            cpu_s: cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9,
            memory_bytes: pages.unwrap_or(0) * rustix::param::page_size() as u64,
            // Without the descriptor of this listing.
            open_fds: std::fs::read_dir("/proc/self/fd")
                .map_or(0, |all| all.count().saturating_sub(1) as u64),
            refused_clients: self.clients.refused,
            clients,
            displays: displays.collect(),
        }
    }

    /// Writes the metrics file now, and again at the configured interval.
    pub fn start_metrics(&mut self) {
        if let Some(timer) = self.metrics_timer.take() {
            self.timers.cancel(timer);
        }
        if self.config.metrics_file.is_some() {
            self.write_metrics();
        }
    }

    pub fn write_metrics(&mut self) {
        let Some(file) = self.config.metrics_file.clone() else { return };
        match replace(&file, &self.ipc_metrics().prometheus()) {
            Ok(()) => self.metrics_failed = false,
            // Logged once, not for each attempt.
            Err(error) if !self.metrics_failed => {
                self.metrics_failed = true;
                warn!(file = %file.display(), %error, "cannot write the metrics file; trying again at the next interval");
            }
            Err(_) => {}
        }
        let at = self.now() + self.config.metrics_interval;
        self.metrics_timer = Some(self.timers.at(at, Deadline::WriteMetrics));
    }
}

/// Replaces the file by renaming a new one over it: a collector that reads at any time sees a whole file.
fn replace(file: &Path, text: &str) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let folder = file.parent().ok_or(std::io::ErrorKind::InvalidInput)?;
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.write_all(text.as_bytes())?;
    new.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    new.persist(file).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_file_is_replaced_as_a_whole() -> std::io::Result<()> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("geom.prom");
        replace(&file, "old")?;
        replace(&file, "new")?;
        assert_eq!(std::fs::read_to_string(&file)?, "new");
        assert_eq!(std::fs::read_dir(folder.path())?.count(), 1);
        assert!(replace(&folder.path().join("none/geom.prom"), "").is_err());
        Ok(())
    }
}

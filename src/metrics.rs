//! Figures of the service: counted as things happen, told to who asks, and written to a file where that is wanted.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use geom_ipc::{DisplayMetrics, Metrics};
use tracing::warn;

use crate::state::State;

/// One display's frames since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    frames: u64,
    missed: u64,
    latency: Duration,
    most: Duration,
}

impl Figures {
    /// A frame was shown, so many vblanks late, so long after it was handed over.
    pub fn count(&mut self, missed: u64, latency: Duration) {
        self.frames += 1;
        self.missed += missed;
        self.latency += latency;
        self.most = self.most.max(latency);
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl State {
    pub fn report_metrics(&self) -> Metrics {
        let mut clients = BTreeMap::new();
        for record in self.clients.records.values() {
            *clients.entry(format!("{:?}", record.ipc_state()).to_lowercase()).or_default() += 1;
        }
        let displays = self.screens.iter().map(|screen| {
            let Figures { frames, missed, latency, most } = screen.figures;
            DisplayMetrics {
                name: screen.name.clone(),
                lit: screen.is_lit(),
                frames,
                missed,
                latency_us: micros(latency).checked_div(frames).unwrap_or(0),
                latency_most_us: micros(most),
            }
        });
        let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
        Metrics {
            uptime_s: self.now().saturating_sub(self.started).as_secs_f64(),
            cpu_s: cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9,
            memory: pages.unwrap_or(0) * rustix::param::page_size() as u64,
            // The one that lists them is among them.
            descriptors: std::fs::read_dir("/proc/self/fd")
                .map_or(0, |all| all.count().saturating_sub(1) as u64),
            refused: self.clients.refused,
            clients,
            displays: displays.collect(),
        }
    }

    /// Writes the file of the configuration from now on, as often as that says.
    pub fn start_metrics(&mut self) {
        if let Some(timer) = self.metrics_timer.take() {
            self.timers.cancel(timer);
        }
        if self.config.metrics_file.is_some() {
            self.write_metrics();
        }
    }

    fn write_metrics(&mut self) {
        let Some(file) = self.config.metrics_file.clone() else { return };
        match replace(&file, &self.report_metrics().prometheus()) {
            Ok(()) => self.metrics_failed = false,
            // Once, and not for each try.
            Err(error) if !self.metrics_failed => {
                self.metrics_failed = true;
                warn!(file = %file.display(), %error, "metrics can't be written; trying again");
            }
            Err(_) => {}
        }
        let at = self.now() + self.config.metrics_interval;
        self.metrics_timer = Some(self.timers.at(at, Self::write_metrics));
    }
}

/// Whole at any time, as who collects it may read at any time.
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
    fn averages_and_files() -> std::io::Result<()> {
        let mut figures = Figures::default();
        figures.count(0, Duration::from_millis(2));
        figures.count(3, Duration::from_millis(4));
        assert_eq!((figures.frames, figures.missed, figures.most), (2, 3, Duration::from_millis(4)));
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

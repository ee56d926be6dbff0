//! The metrics file, if the configuration names one. A thread writes it: its file system may be
//! slow, or not answer at all.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::compositor::deadline::Deadline;
use crate::compositor::{notify_user, State};
use crate::event_loop::background::{self, Newest};
use crate::event_loop::timers::Timer;

/// What to write, and where.
type FileWrite = (PathBuf, String);

/// The writing of the metrics file.
#[derive(Default)]
pub struct MetricsFile {
    /// The timer of the next write.
    timer: Option<Timer>,
    /// The file, if the last attempt could not write it.
    unwritable: Option<PathBuf>,
    writes: Newest<FileWrite>,
}

impl MetricsFile {
    /// Returns whether a thread writes the file.
    #[cfg(test)]
    pub fn is_writing(&self) -> bool {
        self.writes.is_running()
    }
}

impl State {
    /// Writes the metrics file now, and again at the configured interval.
    pub fn start_metrics(&mut self) {
        if let Some(timer) = self.metrics.timer.take() {
            self.timers.cancel(timer);
        }
        self.dismiss_metrics_notice();
        self.metrics.writes.cancel_waiting();
        if self.config.metrics_file.is_some() {
            self.write_metrics();
        }
    }

    pub fn write_metrics(&mut self) {
        let Some(file) = self.config.metrics_file.clone() else { return };
        if let Some(timer) = self.metrics.timer.take() {
            self.timers.cancel(timer);
        }
        let text = self.ipc_metrics().prometheus();
        match self.metrics.writes.submit((file.clone(), text)) {
            Some(write) => self.start_write(write),
            None => self.report_metrics(&file, Err(io::Error::other("the last write has not ended yet"))),
        }
        let at = self.now() + self.config.metrics_interval;
        self.metrics.timer = Some(self.timers.at(at, Deadline::WriteMetrics));
    }

    fn start_write(&mut self, (file, text): FileWrite) {
        let written = file.clone();
        let started = background::run(&self.handle, "metrics file", move || replace(&file, &text), {
            let file = written.clone();
            move |state: &mut State, result| state.metrics_written(&file, result)
        });
        if let Err(error) = started {
            self.metrics_written(&written, Err(error));
        }
    }

    fn metrics_written(&mut self, file: &Path, result: io::Result<()>) {
        self.report_metrics(file, result);
        if let Some(next) = self.metrics.writes.finished() {
            self.start_write(next);
        }
    }

    fn report_metrics(&mut self, file: &Path, result: io::Result<()>) {
        if self.config.metrics_file.as_deref() != Some(file) {
            return;
        }
        match result {
            Ok(()) => self.dismiss_metrics_notice(),
            // Reported once, not for each attempt.
            Err(error) if self.metrics.unwritable.is_none() => {
                notify_user!(
                    self,
                    "{}: cannot write the metrics file: {error}; trying again at the next interval",
                    file.display()
                );
                self.metrics.unwritable = Some(file.to_owned());
            }
            Err(_) => {}
        }
    }

    /// The metrics file was written, or another one is configured.
    fn dismiss_metrics_notice(&mut self) {
        if let Some(file) = self.metrics.unwritable.take() {
            let prefix = file.display().to_string();
            self.notices.dismiss(|text| text.starts_with(&prefix));
        }
    }
}

/// Replaces the file by renaming a new one over it: a collector that reads at any time sees a whole
/// file. Runs on a thread, where nothing may panic.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let folder = file.parent().ok_or(io::ErrorKind::InvalidInput)?;
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

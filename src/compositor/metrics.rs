//! The metrics file, if the configuration names one.

use std::io::Write;
use std::path::Path;

use crate::compositor::deadline::Deadline;
use crate::compositor::{notify_user, State};

impl State {
    /// Writes the metrics file now, and again at the configured interval.
    pub fn start_metrics(&mut self) {
        if let Some(timer) = self.metrics_timer.take() {
            self.timers.cancel(timer);
        }
        self.dismiss_metrics_notice();
        if self.config.metrics_file.is_some() {
            self.write_metrics();
        }
    }

    pub fn write_metrics(&mut self) {
        let Some(file) = self.config.metrics_file.clone() else { return };
        match replace(&file, &self.ipc_metrics().prometheus()) {
            Ok(()) => self.dismiss_metrics_notice(),
            // Reported once, not for each attempt.
            Err(error) if self.unwritable_metrics.is_none() => {
                notify_user!(
                    self,
                    "{}: cannot write the metrics file: {error}; trying again at the next interval",
                    file.display()
                );
                self.unwritable_metrics = Some(file);
            }
            Err(_) => {}
        }
        let at = self.now() + self.config.metrics_interval;
        self.metrics_timer = Some(self.timers.at(at, Deadline::WriteMetrics));
    }

    /// The metrics file was written, or another one is configured.
    fn dismiss_metrics_notice(&mut self) {
        if let Some(file) = self.unwritable_metrics.take() {
            let prefix = file.display().to_string();
            self.notices.dismiss(|text| text.starts_with(&prefix));
        }
    }
}

/// Replaces the file by renaming a new one over it: a collector that reads at any time sees a whole
/// file.
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

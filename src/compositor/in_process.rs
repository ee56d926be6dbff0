//! The compositor in the process of tests and of fuzz targets, on virtual displays.

use anyhow::{Context, Result};
use clap::Parser;

use super::run::Compositor;
use super::State;
use crate::backend::Backend;
use crate::cli::options::Options;

/// Builds a compositor for virtual displays with a configuration, whose file is kept as well. Its
/// backend is not started.
///
/// # Errors
/// If epoll, xkb layouts, pixman or temporary files are not available.
pub(crate) fn configured(config: &str) -> Result<(Compositor, tempfile::NamedTempFile)> {
    let file = tempfile::NamedTempFile::new().context("create a configuration")?;
    std::fs::write(file.path(), config).context("write the configuration")?;
    let path = file.path().to_string_lossy().into_owned();
    let options = Options::try_parse_from(["geom_compositor", "--backend=headless", "--config", &path])?;
    Ok((Compositor::new(options)?, file))
}

impl State {
    /// Connects or disconnects a virtual display.
    pub(crate) fn plug_virtual(&mut self, display: &str, is_connected: bool) {
        if let Backend::Headless(headless) = &mut self.backend {
            headless.set_connected(display, is_connected);
        }
        self.reconfigure("hotplug");
    }
}

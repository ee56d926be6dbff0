//! Virtual outputs, for tests and servers.

use anyhow::{Context, Result};
use geom_display::mode::Mode;
use geom_display::plan::{ProbedConnector, ProbedGpu};
use smithay::backend::renderer::pixman::PixmanRenderer;

/// The id of the virtual outputs' GPU. No device has this number.
const GPU_ID: u64 = 0;

/// Virtual outputs `HEADLESS-1` and so on, rendered into memory.
pub struct Headless {
    /// Renders all of them.
    pub renderer: PixmanRenderer,
    connectors: Vec<ProbedConnector>,
}

impl Headless {
    /// Creates one output per mode.
    ///
    /// # Errors
    ///
    /// If pixman is not available.
    pub fn new(modes: &[Mode]) -> Result<Self> {
        let renderer = PixmanRenderer::new().context("create the software renderer")?;
        let mut headless = Self { renderer, connectors: Vec::new() };
        headless.set_modes(modes);
        Ok(headless)
    }

    /// Replaces the outputs by one per mode, all connected.
    pub fn set_modes(&mut self, modes: &[Mode]) {
        let connectors = modes.iter().enumerate().map(|(index, mode)| ProbedConnector {
            name: format!("HEADLESS-{}", index + 1),
            connected: true,
            modes: vec![*mode],
            ..ProbedConnector::default()
        });
        self.connectors = connectors.collect();
    }

    /// Connects or disconnects an output, for tests and the fuzz target.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn set_connected(&mut self, name: &str, connected: bool) {
        for connector in self.connectors.iter_mut().filter(|connector| connector.name == name) {
            connector.connected = connected;
        }
    }

    /// Returns what is connected, for the plan.
    pub fn probed(&self) -> ProbedGpu {
        ProbedGpu { id: GPU_ID, connectors: self.connectors.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_replaced_and_disconnected() -> Result<()> {
        let mut headless = Headless::new(&[Mode::new(800, 600, 60_000); 2])?;
        headless.set_connected("HEADLESS-2", false);
        let found = |headless: &Headless| -> Vec<(String, bool)> {
            let connectors = headless.probed().connectors.into_iter();
            connectors.map(|connector| (connector.name, connector.connected)).collect()
        };
        assert_eq!(found(&headless), [("HEADLESS-1".into(), true), ("HEADLESS-2".into(), false)]);
        headless.set_modes(&[Mode::new(640, 480, 60_000)]);
        assert_eq!(found(&headless), [("HEADLESS-1".into(), true)]);
        Ok(())
    }
}

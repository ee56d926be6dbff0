//! Virtual displays, for tests and servers.

use anyhow::{Context, Result};
use smithay::backend::renderer::pixman::PixmanRenderer;
use geom_display::signal_format::Capabilities;
use geom_display::mode::Mode;
use geom_display::plan::{ProbedConnector, ProbedGpu};

use crate::compositor::State;

/// Displays named HEADLESS-1 and so on, drawn into memory.
pub struct Headless {
    pub renderer: PixmanRenderer,
    connectors: Vec<ProbedConnector>,
}

/// No device has this number.
const ID: u64 = 0;

impl Headless {
    pub fn new(modes: &[Mode]) -> Result<Self> {
        let renderer = PixmanRenderer::new().context("the software renderer")?;
        let mut headless = Self { renderer, connectors: Vec::new() };
        headless.set_modes(modes);
        Ok(headless)
    }

    /// Makes it so many displays in these modes, all plugged in.
    pub fn set_modes(&mut self, modes: &[Mode]) {
        let connectors = modes.iter().enumerate().map(|(index, mode)| ProbedConnector {
            name: format!("HEADLESS-{}", index + 1),
            connected: true,
            modes: vec![*mode],
            monitor: None,
            edid: None,
            port: None,
            capabilities: Capabilities::default(),
            non_desktop: false,
        });
        self.connectors = connectors.collect();
    }

    pub fn present(&self) -> ProbedGpu {
        ProbedGpu { id: ID, connectors: self.connectors.clone() }
    }
}

impl State {
    /// Plugs a virtual display in, or pulls its cable.
    pub fn set_headless_connected(&mut self, name: &str, connected: bool) {
        if let crate::backend::Backend::Headless(headless) = &mut self.backend {
            for connector in headless.connectors.iter_mut().filter(|connector| connector.name == name) {
                connector.connected = connected;
            }
        }
        self.reconfigure("hotplug");
    }
}

//! Virtual displays, for tests and servers.

use anyhow::{Context, Result};
use smithay::backend::renderer::pixman::PixmanRenderer;

use crate::display::link::Abilities;
use crate::display::mode::Mode;
use crate::display::plan::{Connector, Gpu};
use crate::state::State;

/// Displays named HEADLESS-1 and so on, drawn into memory.
pub struct Headless {
    pub renderer: PixmanRenderer,
    connectors: Vec<Connector>,
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
        let connectors = modes.iter().enumerate().map(|(index, mode)| Connector {
            name: format!("HEADLESS-{}", index + 1),
            connected: true,
            modes: vec![*mode],
            monitor: None,
            edid: None,
            port: None,
            abilities: Abilities::default(),
            non_desktop: false,
        });
        self.connectors = connectors.collect();
    }

    pub fn present(&self) -> Gpu {
        Gpu { id: ID, connectors: self.connectors.clone() }
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

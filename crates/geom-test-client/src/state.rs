//! The globals, outputs and windows of a client.

use anyhow::{Context, Result};
use wayland_client::protocol::wl_compositor::WlCompositor;
use wayland_client::protocol::wl_output::WlOutput;
use wayland_client::protocol::wl_shm::WlShm;
use wayland_client::protocol::wl_surface::WlSurface;
use wayland_client::QueueHandle;
use wayland_protocols::wp::presentation_time::client::wp_presentation::WpPresentation;
use wayland_protocols::xdg::shell::client::xdg_surface::XdgSurface;
use wayland_protocols::xdg::shell::client::xdg_toplevel::XdgToplevel;
use wayland_protocols::xdg::shell::client::xdg_wm_base::XdgWmBase;

use crate::{Buffer, Handler};

/// An output that the compositor offers.
#[derive(Debug)]
pub struct Output {
    /// The name of its global in the registry.
    pub global: u32,
    /// The protocol object.
    pub output: WlOutput,
    /// Its name; empty until the compositor has sent it.
    pub name: String,
}

/// The objects that make a surface a toplevel.
#[derive(Debug)]
pub struct Toplevel {
    /// The xdg_surface.
    pub xdg_surface: XdgSurface,
    /// The xdg_toplevel.
    pub toplevel: XdgToplevel,
}

/// A surface with a role, and what the compositor sent about it.
#[derive(Debug)]
pub struct Window {
    /// The surface.
    pub surface: WlSurface,
    /// The toplevel; `None` for another role.
    pub toplevel: Option<Toplevel>,
    /// The color that it is filled with, 0x00RRGGBB.
    pub color: u32,
    /// The size that the compositor configured, or the one it started with.
    pub size: (i32, i32),
    /// Whether the compositor configured it as fullscreen.
    pub fullscreen: bool,
    /// Whether the compositor configured it as suspended: it is not visible.
    pub suspended: bool,
    /// Number of configure events.
    pub configured: usize,
    /// The outputs that it is on, in the order of their enter events.
    pub outputs: Vec<String>,
}

impl Window {
    /// Creates a window of a surface.
    pub fn new(surface: WlSurface, toplevel: Option<Toplevel>, color: u32, size: (i32, i32)) -> Self {
        let (fullscreen, suspended) = (false, false);
        Self { surface, toplevel, color, size, fullscreen, suspended, configured: 0, outputs: Vec::new() }
    }
}

/// What a client has bound and created, and what the compositor sent.
#[derive(Debug, Default)]
pub struct ClientState {
    /// The global wl_compositor.
    pub compositor: Option<WlCompositor>,
    /// The global wl_shm.
    pub shm: Option<WlShm>,
    /// The global xdg_wm_base.
    pub wm_base: Option<XdgWmBase>,
    /// The version of xdg_wm_base to bind, at most; 3 by default.
    pub wm_base_version: Option<u32>,
    /// The global wp_presentation.
    pub presentation: Option<WpPresentation>,
    /// The outputs.
    pub outputs: Vec<Output>,
    /// The windows in the order of their creation.
    pub windows: Vec<Window>,
}

impl ClientState {
    /// Returns the output of a name.
    pub fn output(&self, name: &str) -> Option<&WlOutput> {
        self.outputs.iter().find(|output| output.name == name).map(|output| &output.output)
    }

    /// Returns an output's name; empty if there is no such output.
    pub fn output_name(&self, output: &WlOutput) -> String {
        let known = self.outputs.iter().find(|known| known.output == *output);
        known.map(|known| known.name.clone()).unwrap_or_default()
    }

    /// Creates a surface without a role.
    ///
    /// # Errors
    /// If the compositor has no wl_compositor.
    pub fn create_surface<S: Handler>(&self, queue: &QueueHandle<S>) -> Result<WlSurface> {
        Ok(self.compositor.as_ref().context("no wl_compositor")?.create_surface(queue, ()))
    }

    /// Creates a toplevel, fullscreen on an output if `fullscreen_on` is set: on that of the name,
    /// or on one of the compositor's choice if there is no such output. It is not committed.
    ///
    /// Returns its index in [`Self::windows`].
    ///
    /// # Errors
    /// If the compositor has no wl_compositor or xdg_wm_base.
    pub fn create_toplevel<S: Handler>(
        &mut self,
        queue: &QueueHandle<S>,
        app_id: &str,
        color: u32,
        size: (i32, i32),
        fullscreen_on: Option<&str>,
    ) -> Result<usize> {
        let index = self.windows.len();
        let surface = self.create_surface(queue)?;
        let wm_base = self.wm_base.as_ref().context("no xdg_wm_base")?;
        let xdg_surface = wm_base.get_xdg_surface(&surface, queue, Some(index));
        let toplevel = xdg_surface.get_toplevel(queue, index);
        toplevel.set_app_id(app_id.into());
        if let Some(name) = fullscreen_on {
            toplevel.set_fullscreen(self.output(name));
        }
        self.windows.push(Window::new(surface, Some(Toplevel { xdg_surface, toplevel }), color, size));
        Ok(index)
    }

    /// Creates a buffer through wl_shm.
    ///
    /// # Errors
    /// If the compositor has no wl_shm, or the memory cannot be allocated.
    pub fn create_buffer<S: Handler>(
        &self,
        queue: &QueueHandle<S>,
        size: (i32, i32),
        color: u32,
    ) -> Result<Buffer> {
        Buffer::shm(self.shm.as_ref().context("no wl_shm")?, queue, size, color)
    }
}

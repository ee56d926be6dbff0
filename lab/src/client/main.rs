//! A Wayland client of known colour that tells on standard output what it hears, one event a line:
//! `configured 1024x768`, `enter Virtual-1`, `key 30`, `presented 4.2`, `closed`.

mod buffers;
mod events;
mod timing;

use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use wayland_client::protocol::{wl_compositor, wl_output, wl_seat, wl_shm, wl_surface};
use wayland_client::{Connection, EventQueue, QueueHandle};
use wayland_protocols::wp::color_management::v1::client::wp_color_manager_v1::{
    Primaries, TransferFunction, WpColorManagerV1,
};
use wayland_protocols::wp::linux_dmabuf::zv1::client::zwp_linux_dmabuf_v1::ZwpLinuxDmabufV1;
use wayland_protocols::wp::presentation_time::client::wp_presentation::WpPresentation;
use wayland_protocols::wp::single_pixel_buffer::v1::client::wp_single_pixel_buffer_manager_v1::WpSinglePixelBufferManagerV1;
use wayland_protocols::wp::viewporter::client::{wp_viewport::WpViewport, wp_viewporter::WpViewporter};
use wayland_protocols::xdg::shell::client::{xdg_surface, xdg_toplevel, xdg_wm_base};
use wayland_protocols_wlr::layer_shell::v1::client::{zwlr_layer_shell_v1, zwlr_layer_surface_v1};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BufferKind {
    Shm,
    /// A udmabuf: memory of ours as a dma-buf.
    Dmabuf,
    /// One pixel, scaled by a viewport.
    Pixel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Animation {
    /// The whole window changes with each frame.
    Full,
    /// A square of 64 pixels does.
    Small,
}

/// What the colour's numbers mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Colors {
    DisplayP3,
    /// BT.2020 by SMPTE ST 2084.
    Pq,
}

/// A Wayland client of known colour that tells what it hears.
#[derive(Debug, Clone, Parser)]
pub struct Options {
    #[arg(long, default_value = "geom-lab-client")]
    pub app_id: String,
    #[arg(long, default_value = "client")]
    pub title: String,
    /// RRGGBB
    #[arg(long, default_value = "ff0000", value_parser = color)]
    pub color: u32,
    /// Describe them so (color-management); sRGB where nothing is said.
    #[arg(long, value_enum)]
    pub colors: Option<Colors>,
    /// Ask for the whole of a display, by name, or of any with an empty name.
    #[arg(long, num_args = 0..=1, default_missing_value = "")]
    pub fullscreen: Option<String>,
    /// Keep this size whatever is configured.
    #[arg(long, value_parser = size)]
    pub size: Option<(i32, i32)>,
    #[arg(long, value_enum, default_value = "shm")]
    pub buffer: BufferKind,
    #[arg(long, value_enum)]
    pub animate: Option<Animation>,
    /// End after so many shown frames, with their figures.
    #[arg(long)]
    pub frames: Option<u32>,
    /// Connect so many times, one after the other, and tell the median time to the first window's size.
    #[arg(long)]
    pub connects: Option<u32>,
    /// Open a dialog of this size in the inverse colour.
    #[arg(long, value_parser = size)]
    pub dialog: Option<(i32, i32)>,
    /// Be a panel at the top of this height instead of a window.
    #[arg(long)]
    pub panel: Option<u32>,
    /// Send bytes that are no requests, then wait to be thrown out.
    #[arg(long)]
    pub garbage: bool,
}

fn color(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 16).map_err(|_| "write RRGGBB".into())
}

fn size(text: &str) -> Result<(i32, i32), String> {
    let wrong = || "write WIDTHxHEIGHT".to_owned();
    let (width, height) = text.split_once('x').ok_or_else(wrong)?;
    Ok((width.parse().map_err(|_| wrong())?, height.parse().map_err(|_| wrong())?))
}

/// What a window's surface is.
pub enum Role {
    Toplevel { xdg: xdg_surface::XdgSurface, toplevel: xdg_toplevel::XdgToplevel },
    Panel(zwlr_layer_surface_v1::ZwlrLayerSurfaceV1),
}

/// One surface with a role.
pub struct Window {
    pub surface: wl_surface::WlSurface,
    pub role: Role,
    pub viewport: Option<WpViewport>,
    pub color: u32,
    pub wished: (i32, i32),
    pub size: Option<(i32, i32)>,
    pub buffers: buffers::Ring,
}

/// Globals and windows.
pub struct App {
    pub options: Options,
    pub compositor: Option<wl_compositor::WlCompositor>,
    pub shm: Option<wl_shm::WlShm>,
    pub dmabuf: Option<ZwpLinuxDmabufV1>,
    pub pixel: Option<WpSinglePixelBufferManagerV1>,
    pub viewporter: Option<WpViewporter>,
    pub presentation: Option<WpPresentation>,
    pub color_manager: Option<WpColorManagerV1>,
    pub wm_base: Option<xdg_wm_base::XdgWmBase>,
    pub layer_shell: Option<zwlr_layer_shell_v1::ZwlrLayerShellV1>,
    pub seat: Option<wl_seat::WlSeat>,
    pub outputs: Vec<(wl_output::WlOutput, String)>,
    /// The main window first, then its dialog.
    pub windows: Vec<Window>,
    pub timing: timing::Timing,
    pub closed: bool,
    /// A frame callback is under way.
    pub awaits_frame: bool,
}

impl App {
    fn open(&mut self, queue: &QueueHandle<Self>) -> Result<()> {
        let role = match self.options.panel {
            Some(height) => self.panel(queue, height)?,
            None => self.toplevel(queue, self.options.color, (640, 480))?,
        };
        self.windows.push(role);
        if let Some(size) = self.options.dialog {
            let mut dialog = self.toplevel(queue, !self.options.color & 0x00ff_ffff, size)?;
            dialog.size = Some(size);
            if let (Role::Toplevel { toplevel, .. }, Role::Toplevel { toplevel: parent, .. }) =
                (&dialog.role, &self.windows[0].role)
            {
                toplevel.set_parent(Some(parent));
            }
            self.windows.push(dialog);
        }
        for window in &self.windows {
            window.surface.commit();
        }
        Ok(())
    }

    fn surface(&self, queue: &QueueHandle<Self>) -> Result<(wl_surface::WlSurface, Option<WpViewport>)> {
        let surface = self.compositor.as_ref().context("no wl_compositor")?.create_surface(queue, ());
        let pixel = self.options.buffer == BufferKind::Pixel;
        let viewporter = self.viewporter.as_ref().filter(|_| pixel);
        let viewport = viewporter.map(|viewporter| viewporter.get_viewport(&surface, queue, ()));
        Ok((surface, viewport))
    }

    fn toplevel(&self, queue: &QueueHandle<Self>, color: u32, wished: (i32, i32)) -> Result<Window> {
        let (surface, viewport) = self.surface(queue)?;
        let index = self.windows.len();
        let xdg = self.wm_base.as_ref().context("no xdg_wm_base")?.get_xdg_surface(&surface, queue, index);
        let toplevel = xdg.get_toplevel(queue, index);
        toplevel.set_app_id(self.options.app_id.clone());
        toplevel.set_title(self.options.title.clone());
        if let Some(name) = self.options.fullscreen.as_ref().filter(|_| index == 0) {
            let output = self.outputs.iter().find(|(_, known)| known == name).map(|(output, _)| output);
            toplevel.set_fullscreen(output);
        }
        if let Some(colors) = self.options.colors {
            let manager = self.color_manager.as_ref().context("no wp_color_manager_v1")?;
            let creator = manager.create_parametric_creator(queue, ());
            let (primaries, transfer) = match colors {
                Colors::DisplayP3 => (Primaries::DisplayP3, TransferFunction::Srgb),
                Colors::Pq => (Primaries::Bt2020, TransferFunction::St2084Pq),
            };
            creator.set_primaries_named(primaries);
            creator.set_tf_named(transfer);
            creator.create(queue, surface.clone());
        }
        let buffers = buffers::Ring::default();
        Ok(Window {
            surface,
            role: Role::Toplevel { xdg, toplevel },
            viewport,
            color,
            wished,
            size: self.options.size,
            buffers,
        })
    }

    fn panel(&self, queue: &QueueHandle<Self>, height: u32) -> Result<Window> {
        let (surface, viewport) = self.surface(queue)?;
        let shell = self.layer_shell.as_ref().context("no layer shell")?;
        let name = self.options.fullscreen.clone().unwrap_or_default();
        let output = self.outputs.iter().find(|(_, known)| *known == name).map(|(output, _)| output);
        let layer = zwlr_layer_shell_v1::Layer::Top;
        let panel = shell.get_layer_surface(&surface, output, layer, self.options.app_id.clone(), queue, ());
        panel.set_size(0, height);
        panel.set_anchor(
            zwlr_layer_surface_v1::Anchor::Top
                | zwlr_layer_surface_v1::Anchor::Left
                | zwlr_layer_surface_v1::Anchor::Right,
        );
        panel.set_exclusive_zone(height as i32);
        let buffers = buffers::Ring::default();
        let color = self.options.color;
        Ok(Window { surface, role: Role::Panel(panel), viewport, color, wished: (1, 1), size: None, buffers })
    }
}

fn main() -> Result<()> {
    let options = Options::parse();
    if options.garbage {
        return send_garbage();
    }
    if let Some(count) = options.connects {
        return connect_repeatedly(&options, count);
    }
    let (mut app, mut queue) = open(options)?;
    while !app.closed {
        queue.blocking_dispatch(&mut app)?;
    }
    Ok(())
}

/// Connects and opens the windows; the size of the first is still to come.
fn open(options: Options) -> Result<(App, EventQueue<App>)> {
    let timing = timing::Timing::new(options.frames);
    let connection = Connection::connect_to_env().context("connect to the compositor")?;
    let mut queue: EventQueue<App> = connection.new_event_queue();
    let handle = queue.handle();
    connection.display().get_registry(&handle, ());
    let mut app = App {
        timing,
        options,
        compositor: None,
        shm: None,
        dmabuf: None,
        pixel: None,
        viewporter: None,
        presentation: None,
        color_manager: None,
        wm_base: None,
        layer_shell: None,
        seat: None,
        outputs: Vec::new(),
        windows: Vec::new(),
        closed: false,
        awaits_frame: false,
    };
    queue.roundtrip(&mut app)?;
    queue.roundtrip(&mut app)?;
    app.open(&handle)?;
    Ok((app, queue))
}

fn connect_repeatedly(options: &Options, count: u32) -> Result<()> {
    let mut times = Vec::new();
    for _ in 0..count {
        let (mut app, mut queue) = open(Options { frames: Some(u32::MAX), ..options.clone() })?;
        while app.timing.configured_ms().is_none() {
            queue.blocking_dispatch(&mut app)?;
        }
        times.extend(app.timing.configured_ms());
        drop((app, queue));
        // The compositor sees to its end: that is no part of the next one's beginning.
        std::thread::sleep(Duration::from_millis(10));
    }
    times.sort_by(f64::total_cmp);
    let median = times.get(times.len() / 2).context("no connection was asked for")?;
    println!("figures configured_ms={median:.3}");
    Ok(())
}

/// Speaks nonsense on a fresh connection and reports how it ends.
fn send_garbage() -> Result<()> {
    use std::io::{Read, Write};
    let folder = std::env::var("XDG_RUNTIME_DIR")?;
    let name = std::env::var("WAYLAND_DISPLAY")?;
    let mut stream = UnixStream::connect(format!("{folder}/{name}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let nonsense: Vec<u8> =
        (0..4096u32).flat_map(|word| word.wrapping_mul(2_654_435_761).to_ne_bytes()).collect();
    // The server may hang up while we write.
    let _ = stream.write_all(&nonsense);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    println!("thrown out after {} bytes of answer", answer.len());
    Ok(())
}

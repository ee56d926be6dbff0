//! A Wayland client of a known color that prints the events it receives, one per line:
//! `configured 1024x768`, `enter Virtual-1`, `key 30 down`, `closed`.

mod buffers;
mod events;
mod fences;
mod menu;
mod sync_points;
mod tablet;
mod timing;

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use geom_test_client::{Client, ClientState, Window};
use wayland_client::protocol::{wl_seat, wl_surface};
use wayland_client::QueueHandle;
use wayland_protocols::wp::color_management::v1::client::wp_color_manager_v1::{
    Primaries, TransferFunction, WpColorManagerV1,
};
use wayland_protocols::wp::linux_dmabuf::zv1::client::zwp_linux_dmabuf_v1::ZwpLinuxDmabufV1;
use wayland_protocols::wp::linux_drm_syncobj::v1::client::wp_linux_drm_syncobj_manager_v1::WpLinuxDrmSyncobjManagerV1;
use wayland_protocols::wp::single_pixel_buffer::v1::client::wp_single_pixel_buffer_manager_v1::WpSinglePixelBufferManagerV1;
use wayland_protocols::wp::viewporter::client::{wp_viewport::WpViewport, wp_viewporter::WpViewporter};
use wayland_protocols_wlr::layer_shell::v1::client::{zwlr_layer_shell_v1, zwlr_layer_surface_v1};

/// The memory of buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BufferKind {
    /// Shared memory through wl_shm.
    Shm,
    /// A udmabuf: the client's memory as a dma-buf.
    Dmabuf,
    /// One pixel, scaled by a viewport.
    Pixel,
}

/// The part of a window that changes with each frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Animation {
    /// The whole window.
    Full,
    /// A square of 64 pixels.
    Small,
}

/// The color space of the window's color.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Colors {
    /// Display P3 with the sRGB transfer function.
    DisplayP3,
    /// BT.2020 with SMPTE ST 2084.
    Pq,
}

/// Shows a window of a known color and prints the events it receives.
#[derive(Debug, Clone, Parser)]
pub struct Options {
    /// The window's app_id.
    #[arg(long, default_value = "geom-lab-client")]
    pub app_id: String,
    /// The window's title.
    #[arg(long, default_value = "client")]
    pub title: String,
    /// The window's color: RRGGBB.
    #[arg(long, default_value = "ff0000", value_parser = color)]
    pub color: u32,
    /// Set an image description of this color space (color-management); the default is none: sRGB.
    #[arg(long, value_enum)]
    pub colors: Option<Colors>,
    /// Ask to be fullscreen on the display of this name, or on any if the name is empty.
    #[arg(long, num_args = 0..=1, default_missing_value = "")]
    pub fullscreen: Option<String>,
    /// Keep this size and ignore the configured one.
    #[arg(long, value_parser = size)]
    pub size: Option<(i32, i32)>,
    /// The memory of buffers.
    #[arg(long, value_enum, default_value = "shm")]
    pub buffer: BufferKind,
    /// Change this part of the window with each frame.
    #[arg(long, value_enum)]
    pub animate: Option<Animation>,
    /// Exit after this number of presented frames and print their statistics.
    #[arg(long)]
    pub frames: Option<u32>,
    /// Connect this number of times, one after the other, and print the median time from connecting
    /// to the first configure event.
    #[arg(long)]
    pub connects: Option<u32>,
    /// Open a dialog of this size in the inverse color.
    #[arg(long, value_parser = size)]
    pub dialog: Option<(i32, i32)>,
    /// Show a panel of this height at the top (layer-shell) instead of a window.
    #[arg(long)]
    pub panel: Option<u32>,
    /// Open a menu, a popup that takes all input, at each press and touch while none is open.
    #[arg(long)]
    pub menu: bool,
    /// Bind tablet-v2: pens send their own events in place of the pointer's.
    #[arg(long)]
    pub tablet: bool,
    /// Print the main device of the server's dma-buf feedback, and each change of it.
    #[arg(long)]
    pub feedback: bool,
    /// Give sync points to dma-bufs of the window, on a timeline of this DRM device.
    #[arg(long, requires = "ready_file")]
    pub sync_points: Option<PathBuf>,
    /// When the first frame is shown, change the window to the inverse color, in a dma-buf with a
    /// fence of this device: one of vgem, or debugfs' sw_sync. The fence is signaled when the ready
    /// file exists, by sw_sync with an error.
    #[arg(long, requires = "ready_file")]
    pub fence: Option<PathBuf>,
    /// The window's first buffer is ready when this file exists, or its second one with a fence.
    #[arg(long)]
    pub ready_file: Option<PathBuf>,
    /// Send bytes that are no requests, then wait until the compositor disconnects.
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

/// What the client draws into a window of [`ClientState::windows`].
#[derive(Default)]
pub struct Drawing {
    pub viewport: Option<WpViewport>,
    /// The size to use instead of the configured one.
    pub fixed_size: Option<(i32, i32)>,
    pub buffers: buffers::Buffers,
}

/// The client's state.
pub struct App {
    pub options: Options,
    /// The main window or the panel first, then the dialog.
    pub client: ClientState,
    /// One for each window.
    pub drawings: Vec<Drawing>,
    pub dmabuf: Option<ZwpLinuxDmabufV1>,
    pub syncobj: Option<WpLinuxDrmSyncobjManagerV1>,
    /// Of the main window.
    pub sync_points: Option<sync_points::SyncPoints>,
    /// Of the main window.
    pub fence: Option<fences::Fence>,
    pub pixel: Option<WpSinglePixelBufferManagerV1>,
    pub viewporter: Option<WpViewporter>,
    pub color_manager: Option<WpColorManagerV1>,
    pub layer_shell: Option<zwlr_layer_shell_v1::ZwlrLayerShellV1>,
    pub seat: Option<wl_seat::WlSeat>,
    pub tablet: Option<tablet::Tablet>,
    pub menu: Option<menu::Menu>,
    pub timing: timing::Timing,
    pub closed: bool,
    /// Whether a frame callback is pending.
    pub awaits_frame: bool,
}

impl AsMut<ClientState> for App {
    fn as_mut(&mut self) -> &mut ClientState {
        &mut self.client
    }
}

impl App {
    fn new(options: Options) -> Self {
        Self {
            timing: timing::Timing::new(options.frames),
            options,
            client: ClientState::default(),
            drawings: Vec::new(),
            dmabuf: None,
            syncobj: None,
            sync_points: None,
            fence: None,
            pixel: None,
            viewporter: None,
            color_manager: None,
            layer_shell: None,
            seat: None,
            tablet: None,
            menu: None,
            closed: false,
            awaits_frame: false,
        }
    }

    /// Opens the window or the panel, and the dialog.
    fn open(&mut self, queue: &QueueHandle<Self>) -> Result<()> {
        match self.options.panel {
            Some(height) => self.open_panel(queue, height)?,
            None => {
                let fullscreen_on = self.options.fullscreen.clone();
                let size = self.options.size;
                self.open_toplevel(queue, self.options.color, fullscreen_on.as_deref(), size)?;
            }
        }
        if let Some(size) = self.options.dialog {
            self.open_toplevel(queue, !self.options.color & 0x00ff_ffff, None, Some(size))?;
            if let [main, dialog] = &self.client.windows[..] {
                if let (Some(parent), Some(dialog)) = (&main.toplevel, &dialog.toplevel) {
                    dialog.toplevel.set_parent(Some(&parent.toplevel));
                }
            }
        }
        if let (Some(device), Some(file)) = (&self.options.sync_points, &self.options.ready_file) {
            let manager = self.syncobj.as_ref().context("no wp_linux_drm_syncobj_manager_v1")?;
            let window = self.client.windows.first().context("no window")?;
            let points = sync_points::SyncPoints::new(manager, &window.surface, queue, (device, file))?;
            self.sync_points = Some(points);
        }
        if let (Some(device), Some(file)) = (&self.options.fence, &self.options.ready_file) {
            self.fence = Some(fences::Fence::new(device, file)?);
        }
        if self.options.feedback {
            let dmabuf = self.dmabuf.as_ref().context("no zwp_linux_dmabuf_v1 of version 4")?;
            dmabuf.get_default_feedback(queue, ());
        }
        for window in &self.client.windows {
            window.surface.commit();
        }
        Ok(())
    }

    fn open_toplevel(
        &mut self,
        queue: &QueueHandle<Self>,
        color: u32,
        fullscreen_on: Option<&str>,
        fixed_size: Option<(i32, i32)>,
    ) -> Result<()> {
        let size = fixed_size.unwrap_or((640, 480));
        let app_id = &self.options.app_id;
        let index = self.client.create_toplevel(queue, app_id, color, size, fullscreen_on)?;
        let window = &self.client.windows[index];
        if let Some(toplevel) = &window.toplevel {
            toplevel.toplevel.set_title(self.options.title.clone());
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
            creator.create(queue, window.surface.clone());
        }
        let viewport = self.viewport(queue, &window.surface);
        self.drawings.push(Drawing { viewport, fixed_size, ..Drawing::default() });
        Ok(())
    }

    /// Returns the viewport that a surface with a single-pixel buffer needs.
    fn viewport(&self, queue: &QueueHandle<Self>, surface: &wl_surface::WlSurface) -> Option<WpViewport> {
        let is_pixel = self.options.buffer == BufferKind::Pixel;
        let viewporter = self.viewporter.as_ref().filter(|_| is_pixel)?;
        Some(viewporter.get_viewport(surface, queue, ()))
    }

    fn open_panel(&mut self, queue: &QueueHandle<Self>, height: u32) -> Result<()> {
        let surface = self.client.create_surface(queue)?;
        let shell = self.layer_shell.as_ref().context("no zwlr_layer_shell_v1")?;
        let output = self.client.output(self.options.fullscreen.as_deref().unwrap_or_default());
        let layer = zwlr_layer_shell_v1::Layer::Top;
        let panel = shell.get_layer_surface(&surface, output, layer, self.options.app_id.clone(), queue, ());
        panel.set_size(0, height);
        panel.set_anchor(
            zwlr_layer_surface_v1::Anchor::Top
                | zwlr_layer_surface_v1::Anchor::Left
                | zwlr_layer_surface_v1::Anchor::Right,
        );
        panel.set_exclusive_zone(height as i32);
        let viewport = self.viewport(queue, &surface);
        self.client.windows.push(Window::new(surface, None, self.options.color, (1, 1)));
        self.drawings.push(Drawing { viewport, ..Drawing::default() });
        Ok(())
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
    let mut client = open(options)?;
    while !client.state.closed {
        client.wait()?;
    }
    Ok(())
}

/// Connects and opens the windows, whose first configure event has not arrived yet.
fn open(options: Options) -> Result<Client<App>> {
    let mut client = Client::connect_to_env(App::new(options))?;
    // The first for the globals, the second for the events of the objects that were bound.
    client.roundtrip()?;
    client.roundtrip()?;
    let queue = client.handle();
    client.state.open(&queue)?;
    Ok(client)
}

fn connect_repeatedly(options: &Options, count: u32) -> Result<()> {
    let mut times = Vec::new();
    for _ in 0..count {
        let mut client = open(Options { frames: Some(u32::MAX), ..options.clone() })?;
        while client.state.timing.configured_ms().is_none() {
            client.wait()?;
        }
        times.extend(client.state.timing.configured_ms());
        drop(client);
        // Lets the compositor finish the disconnect, which is not part of the next connect.
        std::thread::sleep(Duration::from_millis(10));
    }
    times.sort_by(f64::total_cmp);
    let median = times.get(times.len() / 2).context("--connects needs at least 1")?;
    println!("stats configured_ms={median:.3}");
    Ok(())
}

/// The number of invalid bytes, and the seed of their generator.
/// More than the longest message, of which libwayland may await the rest.
const GARBAGE_BYTES: usize = 1 << 17;
const GARBAGE_SEED: u64 = 2_654_435_761;

/// Sends invalid bytes on a new connection and prints that the compositor disconnected.
fn send_garbage() -> Result<()> {
    use std::io::{Read, Write};
    let directory = std::env::var("XDG_RUNTIME_DIR")?;
    let name = std::env::var("WAYLAND_DISPLAY")?;
    let mut stream = UnixStream::connect(format!("{directory}/{name}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut garbage = vec![0; GARBAGE_BYTES];
    fastrand::Rng::with_seed(GARBAGE_SEED).fill(&mut garbage);
    // The compositor may disconnect while the bytes are written.
    let _ = stream.write_all(&garbage);
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    println!("disconnected after a reply of {} bytes", reply.len());
    Ok(())
}

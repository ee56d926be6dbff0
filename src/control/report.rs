//! Describes the service in the types of the control protocol.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use geom_color::color_space::ColorSpace;
use geom_display::lifecycle::Lifecycle;
use geom_display::output_config::Transform;
use geom_ipc::{
    Display, DisplayMetrics, DisplayState, Gpu as IpcGpu, InputCapability, InputDevice, LogicalRect, Metrics,
    Mode, Monitor, Signal, Status, Window,
};
use smithay::reexports::input::DeviceCapability;
use strum::VariantArray;

use crate::clients::connection::{micros, Connection};
use crate::clients::{ClientId, Clients};
use crate::gpu::Gpu;
use crate::input::ConfiguredDevice;
use crate::output::frame_stats::FrameStats;
use crate::output::outputs::Outputs;
use crate::output::{smithay_transform, Output};
use crate::session::user_profile::ActiveProfile;
use crate::shell::{Shell, ShellWindow};

fn mode(mode: &geom_display::mode::Mode) -> Mode {
    Mode { width: mode.width.into(), height: mode.height.into(), refresh: mode.refresh }
}

fn name(value: impl Into<&'static str>) -> String {
    value.into().to_owned()
}

fn signal(output: &Output) -> Signal {
    let state = output.state();
    let signal = &state.signal;
    let icc = state.icc.as_ref().filter(|_| signal.color_space == ColorSpace::Icc);
    Signal {
        color_space: icc
            .map_or_else(|| signal.color_space.name().to_owned(), |path| path.display().to_string()),
        bit_depth: signal.bit_depth,
        rgb_range: name(signal.rgb_range),
        content_type: name(signal.content_type),
        scaling: name(signal.scaling),
        vrr: signal.vrr,
        white_point: state.adjustments.white_point,
        brightness: state.adjustments.brightness,
    }
}

/// Describes an output.
pub fn display(output: &Output, outputs: &Outputs, is_focused: bool) -> Display {
    let (display_state, reason) = match output.lifecycle() {
        Lifecycle::Enabled => (DisplayState::Enabled, None),
        Lifecycle::Disabled => (DisplayState::Disabled, None),
        Lifecycle::Absent | Lifecycle::Disconnected => (DisplayState::Disconnected, None),
        Lifecycle::Failed(reason) => (DisplayState::Failed, Some(reason.clone())),
    };
    let (state, is_enabled) = (output.state(), output.is_enabled());
    let transform = output.wl_output().current_transform();
    let transform = Transform::VARIANTS.iter().find(|known| smithay_transform(**known) == transform);
    let enabled_mode = state.mode.filter(|_| is_enabled);
    Display {
        name: output.name.clone(),
        state: display_state,
        reason,
        mode: enabled_mode.as_ref().map(mode),
        modeline: enabled_mode.and_then(|mode| mode.modeline).map(|line| line.to_string()),
        modes: state.modes.iter().map(mode).collect(),
        logical: LogicalRect {
            x: state.logical.x,
            y: state.logical.y,
            width: state.logical.width,
            height: state.logical.height,
        },
        scale: state.scale,
        transform: name(transform.copied().unwrap_or_default()),
        disconnects: output.counts().disconnects,
        focused: is_focused,
        monitor: state.monitor.identity.as_ref().map(|identity| {
            Box::new(Monitor {
                make: identity.make.clone(),
                model: identity.model.clone(),
                serial: identity.serial.clone(),
                edid: state.monitor.edid.clone(),
            })
        }),
        port: outputs.port(&output.name).cloned(),
        signal: is_enabled.then(|| Box::new(signal(output))),
        blanked: state.blanked,
        mirror: state.mirror.and_then(|source| outputs.name(source)).map(str::to_owned),
        warnings: state.warnings.clone(),
    }
}

/// Adds to a Wayland client's description what the shell knows: its app id, its windows, and the
/// displays that show them.
pub fn add_windows(client: &mut geom_ipc::Client, shell: &Shell, outputs: &Outputs) {
    let id = ClientId::from(client.id);
    client.app_id = client.app_id.take().or_else(|| shell.app_id_of(id));
    client.windows = shell.windows_of(id).count();
    let displays = shell.outputs_of(id).into_iter().filter_map(|output| outputs.name(output));
    client.displays = displays.map(str::to_owned).collect();
}

/// Describes a window. `focus` is the surface with the keyboard focus.
pub fn window(window: &ShellWindow, outputs: &Outputs, focused: bool) -> Option<Window> {
    window.toplevel()?;
    let (app_id, title) = window.app_id_and_title();
    Some(Window {
        id: window.id,
        client: window.client.into(),
        app_id,
        title,
        assigned_output: window.assigned_output.clone(),
        display: window.shown_on.and_then(|id| outputs.name(id)).map(str::to_owned),
        fullscreen: window.fullscreen,
        focused,
    })
}

/// Describes an input device. `display` is the output that it belongs to.
pub fn input_device(device: &ConfiguredDevice, display: Option<&Output>) -> InputDevice {
    let ConfiguredDevice { info, settings, present, refused, .. } = device;
    let capability = |capability: &DeviceCapability| match capability {
        DeviceCapability::Keyboard => InputCapability::Keyboard,
        DeviceCapability::Pointer => InputCapability::Pointer,
        DeviceCapability::Touch => InputCapability::Touch,
        DeviceCapability::TabletTool => InputCapability::TabletTool,
        DeviceCapability::TabletPad => InputCapability::TabletPad,
        DeviceCapability::Gesture => InputCapability::Gesture,
        DeviceCapability::Switch => InputCapability::Switch,
        _ => InputCapability::Unknown,
    };
    let has = |name: &str| {
        let present = serde_json::to_value(present).unwrap_or_default();
        present.get(name).is_some()
    };
    InputDevice {
        sysname: info.sysname.clone(),
        name: info.name.clone(),
        vendor: info.vendor,
        product: info.product,
        capabilities: info.capabilities.iter().map(capability).collect(),
        kinds: info.kinds.iter().map(|kind| name(*kind)).collect(),
        port: info.port().map(str::to_owned),
        display: display.map(|output| output.name.clone()),
        settings: Box::new(present.clone()),
        sources: settings.sources(has),
        warnings: refused.iter().map(ToString::to_string).collect(),
    }
}

/// Describes a GPU.
pub fn gpu(gpu: &Gpu) -> IpcGpu {
    IpcGpu {
        path: gpu.device.path().display().to_string(),
        driver: gpu.device.driver().to_owned(),
        atomic: gpu.device.is_atomic(),
        renderer: if gpu.renderer.is_gles() { "gles" } else { "pixman" }.to_owned(),
    }
}

/// What [`status`] reads.
pub struct Service<'a> {
    pub title: Option<&'a String>,
    pub uptime: Duration,
    pub backend: &'static str,
    pub session_active: bool,
    pub gpus: Vec<IpcGpu>,
    pub config: Option<&'a Path>,
    pub profile: &'a ActiveProfile,
    pub frames: u64,
    pub notices: Vec<String>,
}

/// Describes the service as a whole.
pub fn status(service: Service<'_>, outputs: &Outputs, clients: &Clients) -> Status {
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        title: service.title.cloned(),
        pid: std::process::id(),
        uptime_s: service.uptime.as_secs_f64(),
        backend: service.backend.to_owned(),
        wayland_display: clients.addresses().wayland.clone(),
        config: service.config.map(|path| path.display().to_string()),
        user: service.profile.user.clone(),
        profile: service.profile.file.display().to_string(),
        session_active: service.session_active,
        gpus: service.gpus,
        enabled_displays: outputs.in_layout().len(),
        frames: service.frames,
        clients: clients.len(),
        unresponsive_clients: clients.iter().filter(|client| client.is_unresponsive()).count(),
        refused_clients: clients.refused(),
        notices: service.notices,
    }
}

fn state_name(connection: &Connection) -> String {
    format!("{:?}", connection.ipc_state()).to_lowercase()
}

/// Returns the metrics of the service. Reads the process's own from /proc.
pub fn metrics(uptime: Duration, outputs: &Outputs, clients: &Clients) -> Metrics {
    let mut by_state = BTreeMap::new();
    for connection in clients.iter() {
        *by_state.entry(state_name(connection)).or_default() += 1;
    }
    let displays = outputs.iter().map(|output| {
        let FrameStats { frames, missed, latency, max_latency } = output.counts().frames;
        DisplayMetrics {
            name: output.name.clone(),
            enabled: output.is_enabled(),
            modesets: output.counts().modesets,
            frames,
            missed_vblanks: missed,
            latency_avg_us: micros(latency).checked_div(frames).unwrap_or(0),
            latency_max_us: micros(max_latency),
        }
    });
    let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    // Without the descriptor of this listing.
    let open_fds = std::fs::read_dir("/proc/self/fd").map_or(0, |all| all.count().saturating_sub(1));
    Metrics {
        uptime_s: uptime.as_secs_f64(),
        cpu_s: cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9,
        memory_bytes: pages.unwrap_or(0) * rustix::param::page_size() as u64,
        open_fds: open_fds as u64,
        refused_clients: clients.refused(),
        clients: by_state,
        displays: displays.collect(),
    }
}

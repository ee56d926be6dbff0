//! The state of things in the control protocol's words.

use geom_ipc::{Client, Display, DisplayState, LogicalRect, Mode, Monitor, Signal, Status, Window};
use geom_display::lifecycle::Lifecycle;
use geom_color::color_space::ColorSpace;
use geom_display::signal_format::{ContentType, RgbRange, Scaling};
use geom_display::output_config::Transform;

use crate::backend::Backend;
use crate::clients::connection::{Connection, Transport};
use crate::output::Output;
use crate::shell::ShellWindow;
use crate::compositor::State;

fn mode(mode: &geom_display::mode::Mode) -> Mode {
    Mode { width: mode.width.into(), height: mode.height.into(), refresh: mode.refresh }
}

fn name<T: PartialEq>(value: T, names: &[(&str, T)]) -> String {
    names.iter().find(|(_, known)| *known == value).map_or_else(String::new, |(name, _)| (*name).to_owned())
}

fn signal(output: &Output) -> Signal {
    let link = &output.signal;
    let profile = output.icc.as_ref().filter(|_| link.color_space == ColorSpace::Icc);
    Signal {
        color_space: profile
            .map_or_else(|| link.color_space.name().to_owned(), |path| path.display().to_string()),
        bit_depth: link.bit_depth,
        rgb_range: name(link.rgb_range, &RgbRange::NAMES),
        content_type: name(link.content_type, &ContentType::NAMES),
        scaling: name(link.scaling, &Scaling::NAMES),
        vrr: link.vrr,
        white_point: output.adjustments.white_point,
        brightness: output.adjustments.brightness,
    }
}

impl State {
    pub fn ipc_displays(&self) -> Vec<Display> {
        self.outputs.iter().map(|output| self.ipc_display(output)).collect()
    }

    pub fn ipc_display(&self, output: &Output) -> Display {
        let (state, reason) = match &output.lifecycle {
            Lifecycle::Enabled => (DisplayState::Enabled, None),
            Lifecycle::Disabled => (DisplayState::Disabled, None),
            Lifecycle::Absent | Lifecycle::Disconnected => (DisplayState::Disconnected, None),
            Lifecycle::Failed(reason) => (DisplayState::Failed, Some(reason.clone())),
        };
        let lit = output.is_enabled();
        let transform = output.wl_output.current_transform();
        let name = Transform::NAMES
            .iter()
            .find(|(_, known)| crate::output::smithay_transform(*known) == transform)
            .map_or("normal", |(name, _)| *name);
        Display {
            name: output.name.clone(),
            state,
            reason,
            mode: output.mode.as_ref().filter(|_| lit).map(mode),
            modeline: output.mode.filter(|_| lit).and_then(|mode| mode.modeline).map(|line| line.to_string()),
            modes: output.modes.iter().map(mode).collect(),
            logical: LogicalRect {
                x: output.logical.x,
                y: output.logical.y,
                width: output.logical.width,
                height: output.logical.height,
            },
            scale: output.scale,
            transform: name.to_owned(),
            disconnects: output.disconnects,
            focused: self.shell.focused_output() == Some(output.id),
            monitor: output.monitor.identity.as_ref().map(|known| {
                Box::new(Monitor {
                    make: known.make.clone(),
                    model: known.model.clone(),
                    serial: known.serial.clone(),
                    edid: output.monitor.edid.clone(),
                })
            }),
            port: self.outputs.ports.get(&output.name).cloned(),
            signal: lit.then(|| Box::new(signal(output))),
            blanked: output.blanked,
            mirror: output.mirror.clone(),
            warnings: output.warnings.clone(),
        }
    }

    pub fn ipc_clients(&self) -> Vec<Client> {
        self.clients.connections.keys().filter_map(|id| self.ipc_client(*id)).collect()
    }

    pub fn ipc_client(&self, id: u64) -> Option<Client> {
        let connection: &Connection = self.clients.connections.get(&id)?;
        let now = self.now();
        let app_id = match &connection.transport {
            Transport::Wayland(_) => self.app_id_of(id),
            Transport::Control(control) => Some(control.name.clone()).filter(|name| !name.is_empty()),
        };
        Some(Client {
            id,
            kind: connection.kind(),
            state: connection.ipc_state(),
            pid: connection.peer.pid,
            uid: connection.peer.uid,
            executable: connection.peer.executable.clone(),
            app_id,
            security_context: connection.context.clone(),
            connect_type: connection.connect_type,
            connected_s: now.saturating_sub(connection.since).as_secs_f64(),
            idle_s: connection.state.heard().map_or(0.0, |heard| now.saturating_sub(heard).as_secs_f64()),
            rtt_us: connection.rtt,
            unread_bytes: connection.unread_bytes(),
            displays: self.outputs_of(id).into_iter().filter_map(|id| self.outputs.name(id)).map(str::to_owned).collect(),
            windows: self.shell.windows_of(id).count(),
        })
    }

    pub fn ipc_windows(&self) -> Vec<Window> {
        self.shell.windows().iter().filter_map(|window| self.ipc_window(window)).collect()
    }

    pub fn ipc_window(&self, window: &ShellWindow) -> Option<Window> {
        let toplevel = window.toplevel()?;
        let (app_id, title) = window.app_id_and_title();
        Some(Window {
            id: window.id,
            client: window.client,
            app_id,
            title,
            assigned_output: window.assigned_output.clone(),
            display: window.shown_on.and_then(|id| self.outputs.name(id)).map(str::to_owned),
            fullscreen: window.fullscreen,
            focused: self.keyboard_focus().as_ref() == Some(toplevel.wl_surface()),
        })
    }

    pub fn ipc_status(&self) -> Status {
        let connections = self.clients.connections.values();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            title: self.options.window_title.clone(),
            pid: std::process::id(),
            uptime_s: self.now().saturating_sub(self.started).as_secs_f64(),
            backend: match self.backend {
                Backend::Headless(_) => "headless",
                Backend::None | Backend::Kms(_) => "kms",
            }
            .to_owned(),
            wayland_display: self.clients.address().to_owned(),
            config: self.config_path.as_ref().map(|path| path.display().to_string()),
            user: self.profile.user.clone(),
            profile: self.profile.file.display().to_string(),
            enabled_displays: self.outputs.in_layout().len(),
            frames: self.frames,
            clients: self.clients.connections.len(),
            unresponsive_clients: connections.filter(|connection| connection.is_unresponsive()).count(),
            refused_clients: self.clients.refused,
            notices: self.notices.recent(),
        }
    }
}

//! The state of things in the control protocol's words.

use geom_ipc::{Client, Display, DisplayState, Mode, Monitor, Place, Status, Window};

use crate::backend::Backend;
use crate::clients::record::{Link, Record};
use crate::display::lifecycle::Life;
use crate::display::link::{ColorSpace, ContentType, RgbRange, Scaling};
use crate::display::plan::Transform;
use crate::display::screen::Screen;
use crate::shell::windows::{traits, Managed};
use crate::state::State;

fn mode(mode: &crate::display::mode::Mode) -> Mode {
    Mode { width: mode.width.into(), height: mode.height.into(), refresh: mode.refresh }
}

fn name<T: PartialEq>(value: T, names: &[(&str, T)]) -> String {
    names.iter().find(|(_, known)| *known == value).map_or_else(String::new, |(name, _)| (*name).to_owned())
}

fn link(screen: &Screen) -> geom_ipc::Link {
    let link = &screen.link;
    let profile = screen.icc.as_ref().filter(|_| link.color_space == ColorSpace::Icc);
    geom_ipc::Link {
        color_space: profile
            .map_or_else(|| link.color_space.name().to_owned(), |path| path.display().to_string()),
        bit_depth: link.bit_depth,
        rgb_range: name(link.rgb_range, &RgbRange::NAMES),
        content_type: name(link.content_type, &ContentType::NAMES),
        scaling: name(link.scaling, &Scaling::NAMES),
        vrr: link.vrr,
        white_point: screen.tone.white,
        brightness: screen.tone.brightness,
    }
}

impl State {
    pub fn report_displays(&self) -> Vec<Display> {
        self.screens.iter().map(|screen| self.report_display(screen)).collect()
    }

    pub fn report_display(&self, screen: &Screen) -> Display {
        let (state, reason) = match &screen.life {
            Life::Lit => (DisplayState::Lit, None),
            Life::Off => (DisplayState::Off, None),
            Life::Absent | Life::Dark => (DisplayState::Dark, None),
            Life::Failed(reason) => (DisplayState::Failed, Some(reason.clone())),
        };
        let lit = screen.is_lit();
        let transform = screen.output.current_transform();
        let name = Transform::NAMES
            .iter()
            .find(|(_, known)| crate::display::screen::smithay_transform(*known) == transform)
            .map_or("normal", |(name, _)| *name);
        Display {
            name: screen.name.clone(),
            state,
            reason,
            mode: screen.mode.as_ref().filter(|_| lit).map(mode),
            modeline: screen.mode.filter(|_| lit).and_then(|mode| mode.modeline).map(|line| line.to_string()),
            modes: screen.modes.iter().map(mode).collect(),
            place: Place {
                x: screen.place.x,
                y: screen.place.y,
                width: screen.place.width,
                height: screen.place.height,
            },
            scale: screen.scale(),
            transform: name.to_owned(),
            losses: screen.losses,
            focused: self.shell.focused_display.as_deref() == Some(&screen.name),
            monitor: screen.monitor.identity.as_ref().map(|known| {
                Box::new(Monitor {
                    make: known.make.clone(),
                    model: known.model.clone(),
                    serial: known.serial.clone(),
                    edid: screen.monitor.edid.clone(),
                })
            }),
            port: self.ports.get(&screen.name).cloned(),
            link: lit.then(|| Box::new(link(screen))),
            blank: screen.blank,
            mirror: screen.mirror.clone(),
            complaints: screen.complaints.clone(),
        }
    }

    pub fn report_clients(&self) -> Vec<Client> {
        self.clients.records.keys().filter_map(|id| self.report_client(*id)).collect()
    }

    pub fn report_client(&self, id: u64) -> Option<Client> {
        let record: &Record = self.clients.records.get(&id)?;
        let now = self.now();
        let app_id = match &record.link {
            Link::Wayland(_) => self.app_id_of(id),
            Link::Control(control) => Some(control.name.clone()).filter(|name| !name.is_empty()),
        };
        Some(Client {
            id,
            kind: record.kind(),
            state: record.ipc_state(),
            pid: record.peer.pid,
            uid: record.peer.uid,
            executable: record.peer.executable.clone(),
            app_id,
            security_context: record.context.clone(),
            connect_type: record.connect_type,
            connected_s: now.saturating_sub(record.since).as_secs_f64(),
            silent_s: record.state.heard().map_or(0.0, |heard| now.saturating_sub(heard).as_secs_f64()),
            rtt_us: record.rtt,
            queued: record.queued(),
            displays: self.displays_of(id),
            windows: self.shell.windows.iter().filter(|managed| managed.client == id).count(),
        })
    }

    pub fn report_windows(&self) -> Vec<Window> {
        self.shell.windows.iter().filter_map(|managed| self.report_window(managed)).collect()
    }

    pub fn report_window(&self, managed: &Managed) -> Option<Window> {
        let toplevel = managed.toplevel()?;
        let (app_id, title) = traits(toplevel);
        let focus = self.seat.get_keyboard().and_then(|keyboard| keyboard.current_focus());
        Some(Window {
            id: managed.id,
            client: managed.client,
            app_id,
            title,
            home: managed.home.clone(),
            display: managed.shown_on.clone(),
            fullscreen: managed.fullscreen,
            focused: focus.as_ref() == Some(toplevel.wl_surface()),
        })
    }

    pub fn report_status(&self) -> Status {
        let records = self.clients.records.values();
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
            displays_lit: self.screens.lit().len(),
            frames: self.frames,
            clients: self.clients.records.len(),
            unresponsive: records.filter(|record| record.is_unresponsive()).count(),
            refused: self.clients.refused,
            troubles: self.troubles.recent(),
        }
    }
}

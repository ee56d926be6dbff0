//! wlr-output-management: tools such as wlr-randr, kanshi and wdisplays see displays and change them.
//!
//! Source: wlr-output-management-unstable-v1.xml. What a tool applies is a change by hand, as of `geom_compositor set`: it lies over
//! configuration and profile until one of these is read again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use smithay::reexports::wayland_protocols_wlr::output_management::v1::server::zwlr_output_configuration_head_v1::{
    self, ZwlrOutputConfigurationHeadV1,
};
use smithay::reexports::wayland_protocols_wlr::output_management::v1::server::zwlr_output_configuration_v1::{
    self, ZwlrOutputConfigurationV1,
};
use smithay::reexports::wayland_protocols_wlr::output_management::v1::server::zwlr_output_head_v1::{
    self, AdaptiveSyncState, ZwlrOutputHeadV1,
};
use smithay::reexports::wayland_protocols_wlr::output_management::v1::server::zwlr_output_manager_v1::{
    self, ZwlrOutputManagerV1,
};
use smithay::reexports::wayland_protocols_wlr::output_management::v1::server::zwlr_output_mode_v1::{
    self, ZwlrOutputModeV1,
};
use smithay::reexports::wayland_server::protocol::wl_output;
use smithay::reexports::wayland_server::{
    Client, DataInit, Dispatch, DisplayHandle, GlobalDispatch, New, Resource, WEnum,
};
use tracing::{debug, info};
use geom_display::identity::Identity;
use geom_display::mode::{Mode, ConfiguredMode};
use geom_display::modeline::{Blanking, Modeline};
use geom_display::output_config::{Position, Transform, OutputConfig};
use geom_display::plan::mode_candidates;

use super::security_context::is_trusted;
use crate::output::{smithay_transform, Output};
use crate::output::requests::OutputTransaction;
use crate::compositor::State;

/// The version that we speak: adaptive sync is its last addition.
pub const VERSION: u32 = 4;

/// The global, for programs outside sandboxes.
pub struct Global;

/// What a tool is told of one display.
#[derive(Debug, Clone, PartialEq)]
struct Told {
    monitor: Option<Identity>,
    /// Millimetres; 0 where unknown.
    size: (u32, u32),
    modes: Vec<Mode>,
    /// While it is lit.
    lit: Option<HeadState>,
}

#[derive(Debug, Clone, PartialEq)]
struct HeadState {
    mode: Mode,
    position: (i32, i32),
    transform: wl_output::Transform,
    scale: f64,
    vrr: bool,
}

struct Head {
    resource: ZwlrOutputHeadV1,
    modes: Vec<(Mode, ZwlrOutputModeV1)>,
    told: Told,
}

struct Manager {
    resource: ZwlrOutputManagerV1,
    heads: BTreeMap<String, Head>,
}

/// All tools that listen.
#[derive(Default)]
pub struct OutputManagement {
    managers: Vec<Manager>,
    /// Of what was told last.
    serial: u32,
}

/// What a configuration wants, until it is applied.
pub struct Configuration {
    serial: u32,
    used: AtomicBool,
    /// By display; none where it is to be off.
    heads: Mutex<BTreeMap<String, Option<Arc<Mutex<Wanted>>>>>,
}

#[derive(Default)]
pub struct Wanted {
    wish: OutputConfig,
    /// The mode need not be one of the list.
    custom: bool,
    /// It was put where no layout reaches, for which the protocol has no error of its own.
    astray: bool,
}

/// A display as a tool holds it, by name.
pub struct HeadName(String);

impl Manager {
    /// Brings one tool to the present state. Whether there was anything to tell.
    fn tell(&mut self, display: &DisplayHandle, now: &BTreeMap<String, Told>) -> bool {
        let Some(client) = self.resource.client() else { return false };
        let mut changed = false;
        self.heads.retain(|name, head| {
            let same = now.get(name).is_some_and(|told| {
                (&told.monitor, told.size, &told.modes)
                    == (&head.told.monitor, head.told.size, &head.told.modes)
            });
            if !same {
                // Another monitor's head is another object.
                head.modes.iter().for_each(|(_, mode)| mode.finished());
                head.resource.finished();
                changed = true;
            }
            same
        });
        for (name, told) in now {
            match self.heads.get_mut(name) {
                Some(head) if head.told == *told => continue,
                Some(head) => {
                    head.told = told.clone();
                    head.tell_state();
                }
                None => {
                    let head = Head::introduce(display, &client, &self.resource, name, told);
                    self.heads.extend(head.map(|head| (name.clone(), head)));
                }
            }
            changed = true;
        }
        changed
    }
}

impl Head {
    fn introduce(
        display: &DisplayHandle,
        client: &Client,
        manager: &ZwlrOutputManagerV1,
        name: &str,
        told: &Told,
    ) -> Option<Self> {
        let version = manager.version();
        let resource: ZwlrOutputHeadV1 =
            client.create_resource::<_, _, State>(display, version, HeadName(name.to_owned())).ok()?;
        manager.head(&resource);
        resource.name(name.to_owned());
        let monitor = told.monitor.as_ref();
        resource
            .description(monitor.map_or_else(|| name.to_owned(), |monitor| format!("{monitor} ({name})")));
        if told.size.0 > 0 && told.size.1 > 0 {
            resource.physical_size(told.size.0 as i32, told.size.1 as i32);
        }
        if let Some(monitor) = monitor.filter(|_| version >= zwlr_output_head_v1::EVT_MAKE_SINCE) {
            resource.make(monitor.make.clone());
            resource.model(monitor.model.clone());
            monitor.serial.iter().for_each(|serial| resource.serial_number(serial.clone()));
        }
        let mut modes = Vec::new();
        for mode in &told.modes {
            let object: ZwlrOutputModeV1 =
                client.create_resource::<_, _, State>(display, version.min(3), *mode).ok()?;
            resource.mode(&object);
            object.size(mode.width.into(), mode.height.into());
            object.refresh(mode.refresh as i32);
            if mode.preferred {
                object.preferred();
            }
            modes.push((*mode, object));
        }
        let head = Self { resource, modes, told: told.clone() };
        head.tell_state();
        Some(head)
    }

    fn tell_state(&self) {
        self.resource.enabled(self.told.lit.is_some().into());
        let Some(lit) = &self.told.lit else { return };
        let current = self.modes.iter().find(|(mode, _)| *mode == lit.mode);
        current.iter().for_each(|(_, object)| self.resource.current_mode(object));
        self.resource.position(lit.position.0, lit.position.1);
        self.resource.transform(lit.transform);
        self.resource.scale(lit.scale);
        if self.resource.version() >= zwlr_output_head_v1::EVT_ADAPTIVE_SYNC_SINCE {
            let state = if lit.vrr { AdaptiveSyncState::Enabled } else { AdaptiveSyncState::Disabled };
            self.resource.adaptive_sync(state);
        }
    }
}

fn lit(output: &Output) -> Option<HeadState> {
    Some(HeadState {
        mode: output.mode.filter(|_| output.is_enabled())?,
        position: (output.logical.x, output.logical.y),
        transform: output.wl_output.current_transform().into(),
        scale: output.scale,
        vrr: output.signal.vrr,
    })
}

/// The plan's word for the protocol's transform.
fn transform(of: wl_output::Transform) -> Option<Transform> {
    let all = Transform::NAMES.iter().map(|(_, known)| *known);
    all.into_iter().find(|known| wl_output::Transform::from(smithay_transform(*known)) == of)
}

impl State {
    /// Tells tools what changed of displays.
    pub fn send_heads(&mut self) {
        let management = &mut self.protocols.output_management;
        management.managers.retain(|manager| manager.resource.is_alive());
        if management.managers.is_empty() {
            return;
        }
        let present = self.backend.present();
        let connectors = present.iter().flat_map(|gpu| &gpu.connectors);
        let now =
            connectors.filter(|connector| connector.connected && !connector.non_desktop).map(|connector| {
                let output = self.outputs.named(&connector.name);
                let mut modes = mode_candidates(&connector.modes, None);
                modes.extend(output.and_then(|output| output.mode).filter(|mode| mode.modeline.is_some()));
                let told = Told {
                    monitor: connector.monitor.clone(),
                    size: output.map_or((0, 0), |output| output.monitor.size),
                    modes,
                    lit: output.and_then(lit),
                };
                (connector.name.clone(), told)
            });
        let now: BTreeMap<String, Told> = now.collect();
        let serial = management.serial.wrapping_add(1);
        let mut changed = false;
        for manager in &mut management.managers {
            if manager.tell(&self.display_handle, &now) {
                manager.resource.done(serial);
                changed = true;
            }
        }
        if changed {
            management.serial = serial;
        }
    }

    /// None where it can't be, whatever the kernel says.
    fn configured(&self, configuration: &Configuration) -> Option<BTreeMap<String, OutputConfig>> {
        let heads = configuration.heads.lock().unwrap_or_else(PoisonError::into_inner);
        let wish = |name: &str, wanted: &Option<Arc<Mutex<Wanted>>>| match wanted {
            Some(wanted) => {
                let wanted = wanted.lock().unwrap_or_else(PoisonError::into_inner);
                let mut wish = OutputConfig { power: Some(true), ..wanted.wish.clone() };
                if wanted.custom {
                    wish.mode = Some(self.custom_mode(name, wish.mode?)?);
                }
                (!wanted.astray).then_some(wish)
            }
            None => Some(OutputConfig { power: Some(false), ..OutputConfig::default() }),
        };
        heads.iter().map(|(name, wanted)| Some((name.clone(), wish(name, wanted)?))).collect()
    }

    /// The mode of the monitor's list that a tool means, or else one by formula for flat panels.
    fn custom_mode(&self, name: &str, wished: ConfiguredMode) -> Option<ConfiguredMode> {
        let listed = self.outputs.named(name).map(|output| output.modes.as_slice()).unwrap_or_default();
        if listed.iter().any(|mode| wished.matches(mode)) {
            return Some(wished);
        }
        let blanking = if wished.width % 8 == 0 { Blanking::Reduced } else { Blanking::Reduced2 };
        let refresh = wished.refresh.unwrap_or(60_000);
        Modeline::cvt(wished.width, wished.height, refresh, blanking).map(ConfiguredMode::from).ok()
    }

    /// Applies a configuration, or only finds out whether it could.
    fn use_configuration(&mut self, object: &ZwlrOutputConfigurationV1, data: &Configuration, test: bool) {
        if data.used.swap(true, Ordering::Relaxed) {
            let error = zwlr_output_configuration_v1::Error::AlreadyUsed;
            object.post_error(error, "a configuration is applied or tested once");
            return;
        }
        if data.serial != self.protocols.output_management.serial {
            debug!("a tool's configuration is of an older state");
            object.cancelled();
            return;
        }
        let Some(wanted) = self.configured(data) else { return object.failed() };
        if wanted.values().all(|wish| wish.power == Some(false))
            && !wanted.is_empty()
            && !self.options.headless_ok
        {
            info!("a tool would switch everything off; refused");
            object.failed();
            return;
        }
        let displays = wanted.len();
        let transaction =
            OutputTransaction { changes: wanted, exact_positions: true, ..OutputTransaction::default() };
        let done = match test {
            true => self.test_transaction(&transaction),
            false => self.apply_transaction(&transaction, "output management"),
        };
        debug!(test, displays, refusal = done.as_ref().err(), "configuration of a tool");
        match done {
            Ok(()) => object.succeeded(),
            Err(_) => object.failed(),
        }
    }
}

impl GlobalDispatch<ZwlrOutputManagerV1, Global> for State {
    fn bind(
        state: &mut Self,
        _: &DisplayHandle,
        _: &Client,
        manager: New<ZwlrOutputManagerV1>,
        _: &Global,
        init: &mut DataInit<'_, Self>,
    ) {
        let resource = init.init(manager, ());
        state.protocols.output_management.managers.push(Manager { resource, heads: BTreeMap::new() });
        state.send_heads();
    }

    fn can_view(client: Client, _: &Global) -> bool {
        is_trusted(&client)
    }
}

impl Dispatch<ZwlrOutputManagerV1, ()> for State {
    fn request(
        state: &mut Self,
        _: &Client,
        manager: &ZwlrOutputManagerV1,
        request: zwlr_output_manager_v1::Request,
        _: &(),
        _: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        match request {
            zwlr_output_manager_v1::Request::CreateConfiguration { id, serial } => {
                init.init(
                    id,
                    Configuration { serial, used: AtomicBool::new(false), heads: Mutex::default() },
                );
            }
            zwlr_output_manager_v1::Request::Stop => {
                state.protocols.output_management.managers.retain(|known| known.resource != *manager);
                manager.finished();
            }
            _ => {}
        }
    }
}

impl Dispatch<ZwlrOutputHeadV1, HeadName> for State {
    fn request(
        _: &mut Self,
        _: &Client,
        _: &ZwlrOutputHeadV1,
        _: zwlr_output_head_v1::Request,
        _: &HeadName,
        _: &DisplayHandle,
        _: &mut DataInit<'_, Self>,
    ) {
        // Only release, which the library does.
    }
}

impl Dispatch<ZwlrOutputModeV1, Mode> for State {
    fn request(
        _: &mut Self,
        _: &Client,
        _: &ZwlrOutputModeV1,
        _: zwlr_output_mode_v1::Request,
        _: &Mode,
        _: &DisplayHandle,
        _: &mut DataInit<'_, Self>,
    ) {
    }
}

impl Dispatch<ZwlrOutputConfigurationV1, Configuration> for State {
    fn request(
        state: &mut Self,
        _: &Client,
        object: &ZwlrOutputConfigurationV1,
        request: zwlr_output_configuration_v1::Request,
        data: &Configuration,
        _: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        let note = |head: &ZwlrOutputHeadV1, wanted| {
            let Some(HeadName(name)) = head.data::<HeadName>() else { return };
            let mut heads = data.heads.lock().unwrap_or_else(PoisonError::into_inner);
            if heads.insert(name.clone(), wanted).is_some() {
                let error = zwlr_output_configuration_v1::Error::AlreadyConfiguredHead;
                object.post_error(error, format!("{name} is configured twice"));
            }
        };
        match request {
            zwlr_output_configuration_v1::Request::EnableHead { id, head } => {
                let wanted = Arc::<Mutex<Wanted>>::default();
                init.init(id, wanted.clone());
                note(&head, Some(wanted));
            }
            zwlr_output_configuration_v1::Request::DisableHead { head } => note(&head, None),
            zwlr_output_configuration_v1::Request::Apply => state.use_configuration(object, data, false),
            zwlr_output_configuration_v1::Request::Test => state.use_configuration(object, data, true),
            _ => {}
        }
    }
}

impl Dispatch<ZwlrOutputConfigurationHeadV1, Arc<Mutex<Wanted>>> for State {
    fn request(
        _: &mut Self,
        _: &Client,
        object: &ZwlrOutputConfigurationHeadV1,
        request: zwlr_output_configuration_head_v1::Request,
        wanted: &Arc<Mutex<Wanted>>,
        _: &DisplayHandle,
        _: &mut DataInit<'_, Self>,
    ) {
        use zwlr_output_configuration_head_v1::{Error, Request};
        let mut wanted = wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let Wanted { wish, custom, astray } = &mut *wanted;
        let set = match &request {
            Request::SetMode { .. } | Request::SetCustomMode { .. } => wish.mode.is_some(),
            Request::SetPosition { .. } => wish.position.is_some(),
            Request::SetTransform { .. } => wish.transform.is_some(),
            Request::SetScale { .. } => wish.scale.is_some(),
            Request::SetAdaptiveSync { .. } => wish.signal.vrr.is_some(),
            _ => false,
        };
        if set {
            return object.post_error(Error::AlreadySet, "it was set before");
        }
        match request {
            Request::SetMode { mode } => {
                let Some(mode) = mode.data::<Mode>() else { return };
                let (width, height, refresh) = (mode.width, mode.height, Some(mode.refresh));
                wish.mode = Some(ConfiguredMode { width, height, refresh, modeline: mode.modeline });
            }
            Request::SetCustomMode { width, height, refresh } => {
                let (Ok(width @ 1..), Ok(height @ 1..), Ok(refresh)) =
                    (u16::try_from(width), u16::try_from(height), u32::try_from(refresh))
                else {
                    return object.post_error(Error::InvalidCustomMode, "no mode has such numbers");
                };
                let refresh = Some(refresh).filter(|refresh| *refresh > 0);
                wish.mode = Some(ConfiguredMode { width, height, refresh, modeline: None });
                *custom = true;
            }
            Request::SetPosition { x, y } => {
                *astray = i16::try_from(x).is_err() || i16::try_from(y).is_err();
                wish.position = Some(Position::At(x, y));
            }
            Request::SetTransform { transform: wanted } => {
                match wanted.into_result().ok().and_then(transform) {
                    Some(transform) => wish.transform = Some(transform),
                    None => object.post_error(Error::InvalidTransform, "no such transform"),
                }
            }
            Request::SetScale { scale } => match scale {
                0.25..=8.0 => wish.scale = Some(scale),
                _ => object.post_error(Error::InvalidScale, "a scale is from 0.25 to 8"),
            },
            Request::SetAdaptiveSync { state } => match state {
                WEnum::Value(state) => wish.signal.vrr = Some((state == AdaptiveSyncState::Enabled).into()),
                WEnum::Unknown(_) => object.post_error(Error::InvalidAdaptiveSyncState, "no such state"),
            },
            _ => {}
        }
    }
}

//! wlr-output-management: tools such as wlr-randr, kanshi and wdisplays list and configure
//! displays.
//!
//! Source: wlr-output-management-unstable-v1.xml. What a tool applies overrides configuration and
//! profile until one of these is read again, as `geom_compositor set` does.

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
    Client, DataInit, Dispatch, DisplayHandle, GlobalDispatch, New, Resource,
};
use strum::VariantArray;
use tracing::{debug, info};
use geom_display::mode::Mode;
use geom_display::output_config::Transform;

use super::security_context::is_trusted;
use crate::compositor::State;
use crate::output::heads::{
    disables_all, requested_changes, HeadConfig, HeadError, HeadProperties, HeadSetting,
};
use crate::output::requests::OutputTransaction;
use crate::output::smithay_transform;

/// The supported version, which adds adaptive sync.
pub const VERSION: u32 = 4;

/// The user data of the global, which is not available in sandboxes.
pub struct Global;

/// A display as one tool has it.
struct Head {
    resource: ZwlrOutputHeadV1,
    modes: Vec<(Mode, ZwlrOutputModeV1)>,
    /// The properties that were sent last.
    sent: HeadProperties,
}

/// A tool, and the heads that it has.
struct Manager {
    resource: ZwlrOutputManagerV1,
    heads: BTreeMap<String, Head>,
}

/// All tools that use the protocol.
#[derive(Default)]
pub struct OutputManagement {
    managers: Vec<Manager>,
    /// The serial of the last `done` event.
    serial: u32,
}

/// The user data of a configuration.
pub struct Configuration {
    serial: u32,
    used: AtomicBool,
    /// The settings by display; `None` if it is to be disabled.
    heads: Mutex<BTreeMap<String, Option<Arc<Mutex<HeadConfig>>>>>,
}

impl Configuration {
    /// Returns the settings by display; `None` if it is to be disabled.
    fn heads(&self) -> Vec<(String, Option<HeadConfig>)> {
        let heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        let settings =
            |head: &Arc<Mutex<HeadConfig>>| head.lock().unwrap_or_else(PoisonError::into_inner).clone();
        heads.iter().map(|(name, head)| (name.clone(), head.as_ref().map(settings))).collect()
    }
}

/// The display of a head, by name.
pub struct HeadName(String);

impl Manager {
    /// Sends what changed to one tool. Returns whether anything changed.
    fn send(&mut self, display: &DisplayHandle, now: &BTreeMap<String, HeadProperties>) -> bool {
        let Some(client) = self.resource.client() else { return false };
        let mut changed = false;
        self.heads.retain(|name, head| {
            let same = now.get(name).is_some_and(|now| head.sent.is_same_monitor(now));
            if !same {
                head.modes.iter().for_each(|(_, mode)| mode.finished());
                head.resource.finished();
                changed = true;
            }
            same
        });
        for (name, properties) in now {
            match self.heads.get_mut(name) {
                Some(head) if head.sent == *properties => continue,
                Some(head) => {
                    head.sent = properties.clone();
                    head.send_state();
                }
                None => {
                    let head = Head::create(display, &client, &self.resource, name, properties);
                    self.heads.extend(head.map(|head| (name.clone(), head)));
                }
            }
            changed = true;
        }
        changed
    }
}

impl Head {
    /// Creates the head of a display, and sends all its properties. Returns `None` if the client is
    /// gone.
    fn create(
        display: &DisplayHandle,
        client: &Client,
        manager: &ZwlrOutputManagerV1,
        name: &str,
        properties: &HeadProperties,
    ) -> Option<Self> {
        let version = manager.version();
        let resource: ZwlrOutputHeadV1 =
            client.create_resource::<_, _, State>(display, version, HeadName(name.to_owned())).ok()?;
        manager.head(&resource);
        resource.name(name.to_owned());
        let monitor = properties.monitor.as_ref();
        resource
            .description(monitor.map_or_else(|| name.to_owned(), |monitor| format!("{monitor} ({name})")));
        let (width, height) = properties.size;
        if width > 0 && height > 0 {
            resource.physical_size(width as i32, height as i32);
        }
        if let Some(monitor) = monitor.filter(|_| version >= zwlr_output_head_v1::EVT_MAKE_SINCE) {
            resource.make(monitor.make.clone());
            resource.model(monitor.model.clone());
            monitor.serial.iter().for_each(|serial| resource.serial_number(serial.clone()));
        }
        let mut modes = Vec::new();
        for mode in &properties.modes {
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
        let head = Self { resource, modes, sent: properties.clone() };
        head.send_state();
        Some(head)
    }

    fn send_state(&self) {
        self.resource.enabled(self.sent.state.is_some().into());
        let Some(state) = &self.sent.state else { return };
        let current = self.modes.iter().find(|(mode, _)| *mode == state.mode);
        current.iter().for_each(|(_, object)| self.resource.current_mode(object));
        self.resource.position(state.position.0, state.position.1);
        self.resource.transform(state.transform.into());
        self.resource.scale(state.scale);
        if self.resource.version() >= zwlr_output_head_v1::EVT_ADAPTIVE_SYNC_SINCE {
            let vrr = if state.vrr { AdaptiveSyncState::Enabled } else { AdaptiveSyncState::Disabled };
            self.resource.adaptive_sync(vrr);
        }
    }
}

/// Returns the plan's type for a transform of the protocol.
fn transform(of: wl_output::Transform) -> Option<Transform> {
    Transform::VARIANTS
        .iter()
        .copied()
        .find(|known| wl_output::Transform::from(smithay_transform(*known)) == of)
}

impl State {
    /// Sends tools what changed about displays.
    pub fn send_heads(&mut self) {
        let management = &mut self.protocols.output_management;
        management.managers.retain(|manager| manager.resource.is_alive());
        if management.managers.is_empty() {
            return;
        }
        let now = self.outputs.heads(&self.backend.probed());
        let serial = management.serial.wrapping_add(1);
        let mut changed = false;
        for manager in &mut management.managers {
            if manager.send(&self.display_handle, &now) {
                manager.resource.done(serial);
                changed = true;
            }
        }
        if changed {
            management.serial = serial;
        }
    }

    /// Applies a configuration, or tests whether it can be applied.
    fn use_configuration(&mut self, object: &ZwlrOutputConfigurationV1, data: &Configuration, test: bool) {
        if data.used.swap(true, Ordering::Relaxed) {
            let error = zwlr_output_configuration_v1::Error::AlreadyUsed;
            object.post_error(error, "the configuration was already applied or tested");
            return;
        }
        if data.serial != self.protocols.output_management.serial {
            debug!("configuration of a tool has an outdated serial");
            object.cancelled();
            return;
        }
        let Some(changes) = requested_changes(data.heads(), &self.outputs) else { return object.failed() };
        if disables_all(&changes) && !self.options.headless_ok {
            info!("configuration of a tool refused: it disables all displays");
            object.failed();
            return;
        }
        let displays = changes.len();
        let transaction =
            OutputTransaction { changes, exact_positions: true, ..OutputTransaction::default() };
        let done = match test {
            true => self.test_transaction(&transaction),
            false => self.apply_transaction(&transaction, "output management"),
        };
        debug!(test, displays, refusal = done.as_ref().err(), "configuration of a tool handled");
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
        // `release` only, which wayland-server handles.
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
        let add = |head: &ZwlrOutputHeadV1, config| {
            let Some(HeadName(name)) = head.data::<HeadName>() else { return };
            let mut heads = data.heads.lock().unwrap_or_else(PoisonError::into_inner);
            if heads.insert(name.clone(), config).is_some() {
                let error = zwlr_output_configuration_v1::Error::AlreadyConfiguredHead;
                object.post_error(error, format!("{name} is configured twice"));
            }
        };
        match request {
            zwlr_output_configuration_v1::Request::EnableHead { id, head } => {
                let config = Arc::<Mutex<HeadConfig>>::default();
                init.init(id, config.clone());
                add(&head, Some(config));
            }
            zwlr_output_configuration_v1::Request::DisableHead { head } => add(&head, None),
            zwlr_output_configuration_v1::Request::Apply => state.use_configuration(object, data, false),
            zwlr_output_configuration_v1::Request::Test => state.use_configuration(object, data, true),
            _ => {}
        }
    }
}

impl Dispatch<ZwlrOutputConfigurationHeadV1, Arc<Mutex<HeadConfig>>> for State {
    fn request(
        _: &mut Self,
        _: &Client,
        object: &ZwlrOutputConfigurationHeadV1,
        request: zwlr_output_configuration_head_v1::Request,
        head: &Arc<Mutex<HeadConfig>>,
        _: &DisplayHandle,
        _: &mut DataInit<'_, Self>,
    ) {
        use zwlr_output_configuration_head_v1::{Error, Request};
        let setting = match request {
            Request::SetMode { mode } => mode.data::<Mode>().copied().map(HeadSetting::Mode),
            Request::SetCustomMode { width, height, refresh } => {
                Some(HeadSetting::CustomMode(width, height, refresh))
            }
            Request::SetPosition { x, y } => Some(HeadSetting::Position(x, y)),
            Request::SetTransform { transform: requested } => {
                Some(HeadSetting::Transform(requested.into_result().ok().and_then(transform)))
            }
            Request::SetScale { scale } => Some(HeadSetting::Scale(scale)),
            Request::SetAdaptiveSync { state } => {
                let state = state.into_result().ok();
                Some(HeadSetting::AdaptiveSync(state.map(|state| state == AdaptiveSyncState::Enabled)))
            }
            _ => None,
        };
        let Some(setting) = setting else { return };
        let mut head = head.lock().unwrap_or_else(PoisonError::into_inner);
        let (error, message) = match head.set(setting) {
            Ok(()) => return,
            Err(HeadError::AlreadySet) => (Error::AlreadySet, "the property is already set"),
            Err(HeadError::CustomMode) => (Error::InvalidCustomMode, "the mode is out of range"),
            Err(HeadError::Transform) => (Error::InvalidTransform, "unknown transform"),
            Err(HeadError::Scale) => (Error::InvalidScale, "the scale must be from 0.25 to 8"),
            Err(HeadError::AdaptiveSync) => (Error::InvalidAdaptiveSyncState, "unknown state"),
        };
        object.post_error(error, message);
    }
}

//! wlr-output-power-management: tools blank and unblank outputs (DPMS); `wl_output` and windows
//! stay.
//!
//! Source: wlr-output-power-management-unstable-v1.xml.

use smithay::output::Output;
use smithay::reexports::wayland_protocols_wlr::output_power_management::v1::server::zwlr_output_power_manager_v1::{
    self, ZwlrOutputPowerManagerV1,
};
use smithay::reexports::wayland_protocols_wlr::output_power_management::v1::server::zwlr_output_power_v1::{
    self, Mode, ZwlrOutputPowerV1,
};
use smithay::reexports::wayland_server::backend::ClientId;
use smithay::reexports::wayland_server::{
    Client, DataInit, Dispatch, DisplayHandle, GlobalDispatch, New, Resource, WEnum,
};

use super::security_context::is_trusted;
use crate::compositor::State;

/// The user data of the global, which is not available in sandboxes.
pub struct Global;

/// The clients' `zwlr_output_power_v1` objects, each with the name of its display.
pub type Controls = Vec<(String, ZwlrOutputPowerV1)>;

/// The display of a `zwlr_output_power_v1`, by name.
pub struct OutputName(String);

fn mode(blank: bool) -> Mode {
    if blank {
        Mode::Off
    } else {
        Mode::On
    }
}

impl State {
    /// Informs tools that a display was blanked or unblanked.
    pub fn send_power_mode(&self, name: &str, blank: bool) {
        let own = self.protocols.power.iter().filter(|(display, _)| display == name);
        own.for_each(|(_, control)| control.mode(mode(blank)));
    }

    /// Sends `failed` to tools whose displays are no longer enabled.
    pub fn check_power(&mut self) {
        let Self { outputs, protocols, .. } = self;
        protocols.power.retain(|(name, control)| {
            let is_enabled = outputs.named(name).is_some_and(|output| output.is_enabled());
            if !is_enabled {
                control.failed();
            }
            is_enabled
        });
    }
}

impl GlobalDispatch<ZwlrOutputPowerManagerV1, Global> for State {
    fn bind(
        _: &mut Self,
        _: &DisplayHandle,
        _: &Client,
        manager: New<ZwlrOutputPowerManagerV1>,
        _: &Global,
        init: &mut DataInit<'_, Self>,
    ) {
        init.init(manager, ());
    }

    fn can_view(client: Client, _: &Global) -> bool {
        is_trusted(&client)
    }
}

impl Dispatch<ZwlrOutputPowerManagerV1, ()> for State {
    fn request(
        state: &mut Self,
        _: &Client,
        _: &ZwlrOutputPowerManagerV1,
        request: zwlr_output_power_manager_v1::Request,
        (): &(),
        _: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        let zwlr_output_power_manager_v1::Request::GetOutputPower { id, output } = request else { return };
        let name = Output::from_resource(&output).map(|output| output.name()).unwrap_or_default();
        let control = init.init(id, OutputName(name.clone()));
        match state.outputs.named(&name).filter(|output| output.is_enabled()) {
            Some(output) => {
                control.mode(mode(output.state().blanked));
                state.protocols.power.push((name, control));
            }
            None => control.failed(),
        }
    }
}

impl Dispatch<ZwlrOutputPowerV1, OutputName> for State {
    fn request(
        state: &mut Self,
        _: &Client,
        control: &ZwlrOutputPowerV1,
        request: zwlr_output_power_v1::Request,
        OutputName(name): &OutputName,
        _: &DisplayHandle,
        _: &mut DataInit<'_, Self>,
    ) {
        let zwlr_output_power_v1::Request::SetMode { mode } = request else { return };
        let known = state.protocols.power.iter().any(|(_, known)| known == control);
        match mode {
            WEnum::Value(mode) if known => {
                if state.blank(std::slice::from_ref(name), mode == Mode::Off).is_err() {
                    state.protocols.power.retain(|(_, known)| known != control);
                    control.failed();
                }
            }
            WEnum::Unknown(_) | WEnum::Value(_) if !known => {}
            _ => control.post_error(zwlr_output_power_v1::Error::InvalidMode, "unknown mode"),
        }
    }

    fn destroyed(state: &mut Self, _: ClientId, control: &ZwlrOutputPowerV1, _: &OutputName) {
        state.protocols.power.retain(|(_, known)| known != control);
    }
}

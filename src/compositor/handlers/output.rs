//! wl_output and xdg-output: how clients see outputs.

use std::time::Duration;

use smithay::delegate_output;
use smithay::output::Output;
use smithay::reexports::wayland_server::backend::GlobalId;
use smithay::reexports::wayland_server::protocol::wl_output::WlOutput;
use smithay::wayland::output::OutputHandler;

use crate::clients::connection::Connection;
use crate::clients::heartbeat::Event;
use crate::clients::{ClientData, ClientId};
use crate::compositor::deadline::Deadline;
use crate::compositor::State;

/// How long a disabled global can still be bound: clients receive its removal after its
/// announcement.
const GLOBAL_REMOVAL_DELAY: Duration =
    if cfg!(test) { Duration::from_millis(200) } else { Duration::from_secs(5) };

/// Disabled globals, which exist until all clients have received their removal.
#[derive(Default)]
pub struct DisabledGlobals {
    /// The globals, and when each was disabled.
    pub globals: Vec<(GlobalId, Duration)>,
    /// [`Deadline::DestroyDisabledGlobals`] is armed.
    pub is_check_armed: bool,
}

#[cfg(test)]
impl DisabledGlobals {
    pub fn is_empty(&self) -> bool {
        self.globals.is_empty()
    }
}

impl State {
    /// Disables an output's global: new clients do not get it, and it is destroyed once no client
    /// can bind it any more.
    pub fn disable_global(&mut self, global: GlobalId) {
        self.display_handle.disable_global::<Self>(global.clone());
        let now = self.now();
        self.timers.at(now + GLOBAL_REMOVAL_DELAY, Deadline::GlobalDisabled { global, at: now });
    }

    /// Destroys disabled globals that all clients know to be removed: binding one that is destroyed
    /// is a protocol error. Pings the clients that may not know. An unresponsive client is waited
    /// for: its pong, or its disconnect, calls this again.
    pub fn destroy_disabled_globals(&mut self) {
        if self.protocols.disabled_globals.globals.is_empty()
            || self.protocols.disabled_globals.is_check_armed
        {
            return;
        }
        let clients = || self.clients.wayland();
        if clients().any(Connection::is_unresponsive) {
            return;
        }
        let newest =
            self.protocols.disabled_globals.globals.iter().map(|(_, at)| *at).max().unwrap_or_default();
        let behind: Vec<ClientId> = clients()
            .filter(|connection| !connection.has_acked(newest))
            .map(|connection| connection.id)
            .collect();
        let is_known = |at: Duration| clients().all(|connection| connection.has_acked(at));
        let known: Vec<bool> =
            self.protocols.disabled_globals.globals.iter().map(|(_, at)| is_known(*at)).collect();
        let mut known = known.into_iter();
        let (destroyed, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.protocols.disabled_globals.globals)
                .into_iter()
                .partition(|_| known.next().unwrap_or(false));
        self.protocols.disabled_globals.globals = kept;
        for (global, _) in destroyed {
            self.display_handle.remove_global::<Self>(global);
        }
        if self.protocols.disabled_globals.globals.is_empty() {
            return;
        }
        self.protocols.disabled_globals.is_check_armed = true;
        let at = self.now() + GLOBAL_REMOVAL_DELAY;
        self.timers.at(at, Deadline::DestroyDisabledGlobals);
        for id in behind {
            self.on_connection_event(id, Event::PingRequested);
        }
    }
}

impl OutputHandler for State {
    /// Sends `wl_surface.enter` for the windows that were on the output before the client bound it.
    fn output_bound(&mut self, output: Output, wl_output: WlOutput) {
        use smithay::reexports::wayland_server::Resource;
        let Some(id) = self.outputs.of_wl_output(&output).map(|output| output.id) else { return };
        let Some(client) = wl_output.client() else { return };
        self.shell.enter_windows_of(ClientData::of(&client).id, id, &output);
    }
}

delegate_output!(State);

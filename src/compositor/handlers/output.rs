//! wl_output and xdg-output: displays, as clients see them.

use std::time::Duration;

use smithay::delegate_output;
use smithay::output::Output;
use smithay::reexports::wayland_server::backend::GlobalId;
use smithay::reexports::wayland_server::protocol::wl_output::WlOutput;
use smithay::wayland::output::OutputHandler;

use crate::clients::heartbeat::Event;
use crate::clients::connection::Connection;
use crate::clients::{ClientData, ClientId};
use crate::compositor::deadline::Deadline;
use crate::compositor::State;

/// So long clients may still bind what was withdrawn: they hear of it after they heard of the global itself.
const GRACE: Duration = if cfg!(test) { Duration::from_millis(200) } else { Duration::from_secs(5) };

/// Globals that are announced no more, and live until every client must know.
#[derive(Default)]
pub struct Withdrawn {
    /// And since when.
    pub globals: Vec<(GlobalId, Duration)>,
    /// A timer will look at them.
    pub awaited: bool,
}

#[cfg(test)]
impl Withdrawn {
    pub fn is_empty(&self) -> bool {
        self.globals.is_empty()
    }
}

impl State {
    /// Takes a display's global back: at once for newcomers, later for those who may be binding it.
    pub fn disable_global(&mut self, global: GlobalId) {
        self.display_handle.disable_global::<Self>(global.clone());
        let now = self.now();
        self.timers.at(now + GRACE, Deadline::GlobalDisabled { global, at: now });
    }

    /// Destroys what was withdrawn, once every client has come to where it says so: those who bind it before would be thrown out.
    /// They are asked. One that hangs is waited for: its answer, or its end, comes back here.
    pub fn destroy_withdrawn(&mut self) {
        if self.protocols.withdrawn.globals.is_empty() || self.protocols.withdrawn.awaited {
            return;
        }
        let clients = || self.clients.wayland();
        if clients().any(Connection::is_unresponsive) {
            return;
        }
        let newest = self.protocols.withdrawn.globals.iter().map(|(_, at)| *at).max().unwrap_or_default();
        let behind: Vec<ClientId> =
            clients().filter(|connection| !connection.has_acked(newest)).map(|connection| connection.id).collect();
        let known = |at: Duration| clients().all(|connection| connection.has_acked(at));
        let gone: Vec<bool> = self.protocols.withdrawn.globals.iter().map(|(_, at)| known(*at)).collect();
        let mut gone = gone.into_iter();
        let (destroyed, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.protocols.withdrawn.globals)
            .into_iter()
            .partition(|_| gone.next().unwrap_or(false));
        self.protocols.withdrawn.globals = kept;
        for (global, _) in destroyed {
            self.display_handle.remove_global::<Self>(global);
        }
        if self.protocols.withdrawn.globals.is_empty() {
            return;
        }
        self.protocols.withdrawn.awaited = true;
        let at = self.now() + GRACE;
        self.timers.at(at, Deadline::DestroyDisabledGlobals);
        for id in behind {
            self.on_connection_event(id, Event::PingRequested);
        }
    }
}

impl OutputHandler for State {
    /// A client that binds a display's output late learns which of its windows are there.
    fn output_bound(&mut self, output: Output, wl_output: WlOutput) {
        use smithay::reexports::wayland_server::Resource;
        let Some(id) = self.outputs.of_wl_output(&output).map(|output| output.id) else { return };
        let Some(client) = wl_output.client() else { return };
        self.shell.enter_windows_of(ClientData::of(&client).id, id, &output);
    }
}

delegate_output!(State);

//! Clients that do not answer: shown as such, spared input, left alone or closed as a person chooses.

use geom_ipc::{CloseReason, Event as IpcEvent};
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::SERIAL_COUNTER;
use tracing::{info, warn};

use super::connection::Connection;
use crate::compositor::State;
use crate::output::OutputId;

/// So many keys go to a client that does not answer; the rest is dropped, and it is told the keyboard's true
/// state when it answers again.
const MAX_KEYS_WHILE_UNRESPONSIVE: u32 = 256;

impl State {
    /// It stopped answering.
    pub fn mark_unresponsive(&mut self, id: u64) {
        warn!(client = id, app_id = self.app_id_of(id), "client does not answer");
        if let Some(connection) = self.clients.connections.get_mut(&id) {
            connection.keys_held = 0;
        }
        self.clear_pointer_focus(id);
        self.redraw_client(id);
        self.publish_client(id, |client| IpcEvent::ClientState { client });
    }

    /// It answers again: all is undone.
    pub fn mark_responsive(&mut self, id: u64) {
        info!(client = id, "client answers again");
        let mut dropped = false;
        if let Some(connection) = self.clients.connections.get_mut(&id) {
            connection.wait_until = None;
            dropped = connection.keys_held > MAX_KEYS_WHILE_UNRESPONSIVE;
        }
        if dropped {
            self.refresh_keyboard(id);
        }
        self.destroy_disabled_globals();
        self.redraw_client(id);
        self.publish_client(id, |client| IpcEvent::ClientState { client });
    }

    /// A client that can't be pinged: whether its process goes on and reads what it is sent. A process that ended says
    /// nothing, as its socket may be a child's (wl-copy's is); then the queue alone does.
    pub fn look_at(&mut self, id: u64) {
        let Some(connection) = self.clients.connections.get(&id) else { return };
        let stopped = || self.clients.process(id).is_some_and(|process| process.is_stopped());
        if connection.unread_bytes() == 0 && !stopped() {
            self.answered(id);
            self.heard(id);
        }
    }

    /// Whether a surface's client does not answer.
    pub fn is_unresponsive(&self, surface: &WlSurface) -> bool {
        // The usual case: nobody hangs.
        let connection = Self::client_of(surface).and_then(|id| self.clients.connections.get(&id));
        connection.is_some_and(Connection::is_unresponsive)
    }

    /// Whether a key may go to the client that has the keyboard.
    pub fn accepts_key(&mut self) -> bool {
        let focus = self.seat.get_keyboard().and_then(|keyboard| keyboard.current_focus());
        let id = focus.and_then(|surface| Self::client_of(&surface));
        let connection = id.and_then(|id| self.clients.connections.get_mut(&id));
        let Some(connection) = connection.filter(|connection| connection.is_unresponsive()) else { return true };
        connection.keys_held = connection.keys_held.saturating_add(1);
        connection.keys_held <= MAX_KEYS_WHILE_UNRESPONSIVE
    }

    /// A person chose to wait for it: the notice is hidden for as long as it took to come.
    pub fn extend_wait(&mut self, id: u64) {
        let until = self.now() + self.config.clients.heartbeat(self.app_id_of(id).as_deref()).unresponsive;
        if let Some(connection) = self.clients.connections.get_mut(&id) {
            connection.wait_until = Some(until);
        }
        info!(client = id, "a person waits for the client");
        self.set_deadline(id);
        self.redraw_client(id);
    }

    /// A person chose to close it. It does not answer, so it is not asked.
    pub fn close_unresponsive(&mut self, id: u64) {
        info!(client = id, "a person closes the client");
        self.disconnect(id, CloseReason::Requested);
    }

    /// The pointer leaves a client's surfaces: motion is withheld from now on.
    fn clear_pointer_focus(&mut self, id: u64) {
        let Some(pointer) = self.seat.get_pointer() else { return };
        let on_it = pointer.current_focus().is_some_and(|surface| Self::client_of(&surface) == Some(id));
        if on_it {
            let (location, time) = (self.input.pointer.location, self.now().as_millis() as u32);
            let serial = SERIAL_COUNTER.next_serial();
            pointer.motion(self, None, &smithay::input::pointer::MotionEvent { location, serial, time });
            pointer.frame(self);
        }
    }

    /// Leaves and enters its surface again, which tells it the keys that are down now.
    fn refresh_keyboard(&mut self, id: u64) {
        let Some(keyboard) = self.seat.get_keyboard() else { return };
        let focus = keyboard.current_focus().filter(|surface| Self::client_of(surface) == Some(id));
        if focus.is_some() {
            keyboard.set_focus(self, None, SERIAL_COUNTER.next_serial());
            keyboard.set_focus(self, focus, SERIAL_COUNTER.next_serial());
        }
    }

    /// Draws the displays again that a client's windows are on.
    pub fn redraw_client(&mut self, id: u64) {
        for output in self.outputs_of(id) {
            self.queue_redraw(output);
        }
    }

    /// The outputs that a client's windows are shown on.
    pub fn outputs_of(&self, id: u64) -> Vec<OutputId> {
        self.shell.outputs_of(id)
    }
}
